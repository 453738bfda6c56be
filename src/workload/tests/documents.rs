use rstest::rstest;
use serde_json::{Value, json};

use super::pod;
use crate::workload::{Document, ExtractError, Workload, WorkloadKind, json::Text, read};

fn workload(json: &str) -> Workload<'_> {
    Workload::extract(WorkloadKind::Pod, Document::from_json(json).unwrap(), None).unwrap()
}

#[test]
fn what_surrounds_the_images_is_read_with_them() {
    let json = r#"{"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "generateName": "web-", "namespace": "team-a",
                     "labels": {"b": "2", "a": "1", "c": null}},
        "spec": {"containers": [{"image": "nginx"}], "serviceAccountName": "robot",
                 "imagePullSecrets": [{"name": "one"}, {}, {"name": ""}, {"name": "two"}]}}"#;
    let workload = workload(json);
    assert_eq!(
        (workload.kind(), workload.name(), workload.generate_name(), workload.namespace()),
        (WorkloadKind::Pod, "web", "web-", "team-a")
    );
    let labels = workload.labels().unwrap();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
    assert_eq!((labels.get("b"), labels.get("d")), (Some("2"), None));
    assert_eq!(workload.service_account(), "robot");
    assert_eq!(workload.pull_secrets().collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn what_is_absent_is_empty_and_the_service_account_is_the_default_one() {
    let json = r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "nginx"}]}}"#;
    let workload = workload(json);
    assert_eq!((workload.name(), workload.generate_name(), workload.namespace()), ("", "", ""));
    assert_eq!(workload.labels(), None);
    assert_eq!(workload.service_account(), "default");
    assert_eq!(workload.pull_secrets().count(), 0);
}

#[rstest]
#[case::the_old_name_alone(json!({"serviceAccount": "old"}), "old")]
#[case::the_new_name_wins(json!({"serviceAccount": "old", "serviceAccountName": "new"}), "new")]
#[case::empty_is_absent(json!({"serviceAccount": "old", "serviceAccountName": ""}), "old")]
#[case::null_is_absent(json!({"serviceAccountName": null}), "default")]
fn the_service_account_has_two_names(#[case] mut spec: Value, #[case] wanted: &str) {
    spec["containers"] = json!([{"image": "nginx"}]);
    assert_eq!(workload(&pod(spec).to_string()).service_account(), wanted);
}

#[test]
fn labels_and_pull_secrets_of_a_deployment_are_its_own_and_its_templates() {
    let json = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"of": "deployment"}},
        "spec": {"template": {"metadata": {"labels": {"of": "pod"}},
                              "spec": {"containers": [{"image": "nginx"}], "imagePullSecrets": [{"name": "s"}]}}}})
    .to_string();
    let document = Document::from_json(&json).unwrap();
    let workload = Workload::extract(WorkloadKind::Deployment, document, None).unwrap();
    assert_eq!(workload.labels().unwrap().get("of"), Some("deployment"));
    assert_eq!(workload.pull_secrets().collect::<Vec<_>>(), ["s"]);
}

#[rstest]
#[case::null("null", "", "invalid type: null, expected an object")]
#[case::array(r#"["v1", "Pod"]"#, "", "invalid type: sequence, expected an object")]
#[case::spec_as_array(
    r#"{"spec": [[{"image": "nginx"}]]}"#,
    "/spec",
    "invalid type: sequence, expected an object"
)]
#[case::container_as_array(
    r#"{"spec": {"containers": [["app", "nginx"]]}}"#,
    "/spec/containers/0",
    "invalid type: sequence, expected an object"
)]
#[case::container_null(
    r#"{"spec": {"containers": [{}, null]}}"#,
    "/spec/containers/1",
    "invalid type: null, expected an object"
)]
#[case::containers_as_object(
    r#"{"spec": {"containers": {"image": "nginx"}}}"#,
    "/spec/containers",
    "invalid type: map, expected a sequence"
)]
#[case::image_as_number(
    r#"{"spec": {"containers": [{"image": 7}]}}"#,
    "/spec/containers/0/image",
    "invalid type: integer `7`, expected a string"
)]
#[case::image_as_list(
    r#"{"spec": {"initContainers": [{"image": ["nginx"]}]}}"#,
    "/spec/initContainers/0/image",
    "invalid type: sequence, expected a string"
)]
#[case::reference_as_object(
    r#"{"spec": {"volumes": [{"image": {"reference": {}}}]}}"#,
    "/spec/volumes/0/image/reference",
    "invalid type: map, expected a string"
)]
#[case::image_twice(
    r#"{"spec": {"containers": [{"image": "good", "image": "evil"}]}}"#,
    "/spec/containers/0",
    "duplicate field `image`"
)]
#[case::image_twice_in_disguise(
    r#"{"spec": {"containers": [{"image": "good", "im\u0061ge": "evil"}]}}"#,
    "/spec/containers/0",
    "duplicate field `image`"
)]
#[case::containers_twice(
    r#"{"spec": {"containers": [], "containers": []}}"#,
    "/spec",
    "duplicate field `containers`"
)]
#[case::spec_twice(r#"{"spec": {}, "spec": {}}"#, "", "duplicate field `spec`")]
#[case::kind_twice(r#"{"kind": "Pod", "kind": "Pod"}"#, "", "duplicate field `kind`")]
#[case::label_twice(
    r#"{"metadata": {"labels": {"a": "1", "b": "2", "a": "3"}}}"#,
    "/metadata/labels",
    "a label stands here twice"
)]
#[case::label_as_number(
    r#"{"metadata": {"labels": {"a/b~": 1}}}"#,
    "/metadata/labels/a~1b~0",
    "invalid type: integer `1`, expected a string"
)]
#[case::cut_short(
    r#"{"spec": {"containers": [{"image": "nginx"#,
    "/spec/containers/0/image",
    "EOF while parsing a string"
)]
#[case::something_behind(r#"{} {}"#, "", "trailing characters")]
#[case::lone_surrogate(r#"{"kind": "\ud800"}"#, "/kind", "unexpected end of hex escape")]
fn an_object_of_the_wrong_shape_is_an_error_that_names_the_place(
    #[case] json: &str,
    #[case] pointer: &str,
    #[case] problem: &str,
) {
    let error = Document::from_json(json).unwrap_err();
    assert_eq!((&*error.pointer, &*error.problem), (pointer, problem));
}

#[test]
fn an_error_quotes_little_and_nothing_unprintable() {
    let long = format!(r#"{{"spec": "{}"}}"#, "\u{202e}".repeat(50_000));
    let error = Document::from_json(&long).unwrap_err();
    assert!(error.problem.len() <= 200 && error.problem.is_ascii(), "{error}");
    let key = "\\n".repeat(50_000);
    let error = Document::from_json(&format!(r#"{{"metadata": {{"labels": {{"{key}": 1}}}}}}"#)).unwrap_err();
    assert!(error.pointer.len() <= 200 && !error.pointer.contains('\n'), "{error}");
}

#[test]
fn deep_nesting_is_refused_where_it_is_read_and_skipped_without_recursion_elsewhere() {
    let nested = |open: &str, close: &str| {
        Document::from_json(&format!(r#"{{"spec": {}1{}}}"#, open.repeat(100_000), close.repeat(100_000)))
            .map(|document| document.kind().to_owned())
    };
    assert!(nested("[", "]").is_err());
    assert!(nested(r#"{"template": {"spec": "#, "}}").is_err());
    assert!(nested(r#"{"unknown": "#, "}").is_ok());
}

#[test]
fn a_text_is_borrowed_unless_it_holds_an_escape() {
    use std::borrow::Cow;
    assert!(matches!(read::<Option<Text<'_>>>(r#""plain""#), Ok(Some(Text(Cow::Borrowed("plain"))))));
    let escaped = read::<Option<Text<'_>>>(r#""a\u002fb""#).unwrap().unwrap();
    assert_eq!(escaped.0, Cow::<str>::Owned("a/b".to_owned()));
}

#[test]
fn the_message_of_an_unreadable_object_names_place_and_trouble() {
    let error = Document::from_json(r#"{"spec": {"containers": [{"image": 7}]}}"#).unwrap_err();
    insta::assert_snapshot!(ExtractError::from(error), @"the object cannot be read: /spec/containers/0/image: invalid type: integer `7`, expected a string");
    insta::assert_snapshot!(ExtractError::from(Document::from_json("7").unwrap_err()), @"the object cannot be read: the whole object: invalid type: integer `7`, expected an object");
}
