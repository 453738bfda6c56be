use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use rstest::rstest;
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::{
    image::Digest,
    workload::{Document, ExtractError, Patch, Pin, Workload, WorkloadKind},
};

/// What an API server 1.37 sends when a Pod is made, cut down.
fn review() -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "web", "namespace": "team-a", "operation": "CREATE",
            "userInfo": {"username": "jane", "uid": "1", "groups": ["dev"], "extra": {"key": ["value"]}},
            "object": {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "app", "image": "nginx"}]}},
            "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

/// The review with one field of its request replaced; `null` takes it away for our purposes.
fn with(field: &str, value: Value) -> Vec<u8> {
    let mut review = review();
    review["request"][field] = value;
    review.to_string().into_bytes()
}

fn error(body: &[u8]) -> EnvelopeError {
    parse::<Document<'_>>(body).unwrap_err()
}

#[test]
fn a_request_is_read_with_its_object_in_one_go() {
    let body = review().to_string();
    let request = parse::<Document<'_>>(body.as_bytes()).unwrap();
    assert_eq!(request.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!((&*request.kind.group, &*request.kind.version, &*request.kind.kind), ("", "v1", "Pod"));
    assert_eq!(
        (&*request.resource.group, &*request.resource.version, &*request.resource.resource),
        ("", "v1", "pods")
    );
    assert_eq!((&*request.name, &*request.namespace, &*request.sub_resource), ("web", "team-a", ""));
    assert_eq!((request.operation, request.dry_run, &*request.username), (Operation::Create, false, "jane"));
    assert_eq!(request.old_object, Ok(None));

    let kind = WorkloadKind::of(&request.requested_type()).unwrap();
    let object = request.object.unwrap().unwrap();
    let workload = Workload::extract(kind, object, None).unwrap();
    assert_eq!(workload.images()[0].image(), "nginx");
}

#[test]
fn texts_without_escapes_are_borrowed_from_the_body() {
    let body = review().to_string();
    let request = parse::<Document<'_>>(body.as_bytes()).unwrap();
    for text in [request.uid, request.kind.kind, request.resource.resource, request.username] {
        assert!(matches!(text, std::borrow::Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn the_kind_that_was_converted_to_counts_and_not_the_one_that_was_sent() {
    let body = with("requestKind", json!({"group": "acme.example.com", "version": "v1", "kind": "Pond"}));
    let request = parse::<Document<'_>>(&body).unwrap();
    assert_eq!(WorkloadKind::of(&request.requested_type()), Ok(WorkloadKind::Pod));
}

#[rstest]
#[case::groups_differ(with("resource", json!({"group": "apps", "version": "v1", "resource": "pods"})))]
#[case::no_kind(with("kind", Value::Null))]
#[case::no_resource(with("resource", Value::Null))]
#[case::exec(with("subResource", json!("exec")))]
fn a_request_about_nothing_that_we_know_is_read_and_is_no_workload(#[case] body: Vec<u8>) {
    let request = parse::<Document<'_>>(&body).unwrap();
    assert!(WorkloadKind::of(&request.requested_type()).is_err());
}

#[test]
fn an_ephemeral_container_arrives_as_a_pod() {
    let request = with("subResource", json!("ephemeralcontainers"));
    let request = parse::<Document<'_>>(&request).unwrap();
    assert_eq!(WorkloadKind::of(&request.requested_type()), Ok(WorkloadKind::Pod));
}

#[rstest]
#[case("CREATE", Operation::Create)]
#[case("UPDATE", Operation::Update)]
#[case("DELETE", Operation::Delete)]
#[case("CONNECT", Operation::Connect)]
fn there_are_four_operations(#[case] text: &str, #[case] wanted: Operation) {
    let operation = parse::<Document<'_>>(&with("operation", json!(text))).unwrap().operation;
    assert_eq!((operation, operation.as_str()), (wanted, text));
}

#[rstest]
#[case::unknown(json!("PATCH"), "PATCH")]
#[case::case_matters(json!("create"), "create")]
#[case::absent(Value::Null, "")]
#[case::long(json!("\u{202e}".repeat(9_000)), &r"\u{202e}".repeat(8))]
fn any_other_operation_is_an_error_that_can_be_answered_by_its_uid(
    #[case] given: Value,
    #[case] wanted: &str,
) {
    let error = error(&with("operation", given));
    assert_eq!(error.uid(), Some("705ab4f5-6393-11e8-b7cc-42010a800002"));
    let EnvelopeError::UnknownOperation { found, .. } = error else { panic!("{error}") };
    assert_eq!(found, wanted);
}

#[rstest]
#[case::v1beta1(json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "1"}}), "admission.k8s.io/v1beta1 AdmissionReview")]
#[case::of_tomorrow_with_other_fields(json!({"apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview", "request": [1]}), "admission.k8s.io/v2 AdmissionReview")]
#[case::a_pod(json!({"apiVersion": "v1", "kind": "Pod"}), "v1 Pod")]
#[case::nothing(json!({}), "")]
#[case::case_matters(json!({"apiVersion": "admission.k8s.io/v1", "kind": "admissionreview"}), "admission.k8s.io/v1 admissionreview")]
fn another_version_is_told_apart_from_bad_json(#[case] body: Value, #[case] wanted: &str) {
    let error = error(body.to_string().as_bytes());
    assert_eq!(error, EnvelopeError::WrongVersion { found: wanted.to_owned() });
    assert_eq!(error.uid(), None);
}

#[test]
fn the_answer_to_another_version_says_what_to_set() {
    let message = error(br#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#);
    insta::assert_snapshot!(message, @r#"the body is "admission.k8s.io/v1beta1 AdmissionReview" and this webhook speaks "admission.k8s.io/v1 AdmissionReview"; set admissionReviewVersions to ["v1"]"#);
}

#[rstest]
#[case::empty("", 1, 0)]
#[case::no_json("<html>", 1, 1)]
#[case::not_an_object("[]", 1, 0)]
#[case::cut_short("{\n  \"kind\": \"Adm", 2, 14)]
#[case::something_behind("{} x", 1, 4)]
#[case::nul("\0", 1, 1)]
fn a_body_that_is_no_json_is_an_error_with_its_place(
    #[case] body: &str,
    #[case] wanted_line: usize,
    #[case] wanted_column: usize,
) {
    let EnvelopeError::BadJson { line, column, .. } = error(body.as_bytes()) else { panic!() };
    assert_eq!((line, column), (wanted_line, wanted_column));
}

#[rstest]
#[case::uid_as_number(with("uid", json!(1)))]
#[case::kind_as_text(with("kind", json!("Pod")))]
#[case::kind_as_array(with("kind", json!(["", "v1", "Pod"])))]
#[case::dry_run_as_text(with("dryRun", json!("true")))]
#[case::user_as_text(with("userInfo", json!("jane")))]
#[case::request_as_array(json!({"apiVersion": API_VERSION, "kind": KIND, "request": ["uid"]}).to_string().into_bytes())]
#[case::invalid_utf8([b"{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": \"\xff\"}".to_vec()].concat())]
#[case::request_twice(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1"},"request":{"uid":"2"}}"#.to_vec())]
#[case::object_twice(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","object":{},"object":{}}}"#.to_vec())]
fn an_envelope_of_the_wrong_shape_is_bad_json(#[case] body: Vec<u8>) {
    let error = error(&body);
    assert!(matches!(error, EnvelopeError::BadJson { line: 1, .. }), "{error}");
}

#[test]
fn an_error_repeats_little_of_the_body() {
    let secret = "hunter2 ".repeat(10_000);
    for body in [with("uid", json!(secret)), with("kind", json!(secret)), with("operation", json!(secret))] {
        let message = error(&body).to_string();
        assert!(message.len() < 400, "{message}");
    }
}

#[rstest]
#[case::no_request(json!({"apiVersion": API_VERSION, "kind": KIND}), EnvelopeError::MissingRequest)]
#[case::null_request(json!({"apiVersion": API_VERSION, "kind": KIND, "request": null}), EnvelopeError::MissingRequest)]
#[case::a_response(json!({"apiVersion": API_VERSION, "kind": KIND, "response": {"uid": "1", "allowed": true}}), EnvelopeError::MissingRequest)]
#[case::no_uid(json!({"apiVersion": API_VERSION, "kind": KIND, "request": {}}), EnvelopeError::Uid)]
#[case::empty_uid(json!({"apiVersion": API_VERSION, "kind": KIND, "request": {"uid": ""}}), EnvelopeError::Uid)]
#[case::long_uid(json!({"apiVersion": API_VERSION, "kind": KIND, "request": {"uid": "x".repeat(MAX_UID + 1)}}), EnvelopeError::Uid)]
fn a_review_without_what_an_answer_needs_is_an_error(#[case] body: Value, #[case] wanted: EnvelopeError) {
    assert_eq!(error(body.to_string().as_bytes()), wanted);
}

#[rstest]
#[case::image_as_number(json!({"spec": {"containers": [{"image": 7}]}}), "/spec/containers/0/image")]
#[case::text(json!("Pod"), "")]
#[case::array(json!([]), "")]
fn an_unreadable_object_leaves_a_review_that_can_be_denied(#[case] object: Value, #[case] pointer: &str) {
    let body = with("object", object);
    let request = parse::<Document<'_>>(&body).unwrap();
    assert_eq!(request.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(request.object.clone().unwrap_err().pointer, pointer);
    assert_eq!(request.old_object, Ok(None));
    assert_eq!(ExtractError::from(request.object.unwrap_err()).reason(), "ObjectUnreadable");
}

#[test]
fn an_unreadable_stored_object_leaves_the_new_one_readable() {
    let body = with("oldObject", json!({"spec": 1}));
    let request = parse::<Document<'_>>(&body).unwrap();
    assert!(matches!(request.object, Ok(Some(_))));
    assert_eq!(request.old_object.unwrap_err().pointer, "/spec");
}

#[rstest]
#[case::absent(|request: &mut serde_json::Map<String, Value>| { request.remove("object"); })]
#[case::null(|request: &mut serde_json::Map<String, Value>| { request.insert("object".to_owned(), Value::Null); })]
fn a_missing_object_is_none_and_not_an_empty_one(#[case] change: fn(&mut serde_json::Map<String, Value>)) {
    let mut review = review();
    change(review["request"].as_object_mut().unwrap());
    let body = review.to_string();
    assert_eq!(parse::<Document<'_>>(body.as_bytes()).unwrap().object, Ok(None));
    assert!(parse::<&RawValue>(body.as_bytes()).unwrap().object.unwrap().is_none());
}

#[test]
fn objects_can_be_taken_raw_or_whole() {
    let body = review().to_string();
    let raw = parse::<&RawValue>(body.as_bytes()).unwrap().object.unwrap().unwrap();
    let whole = parse::<Value>(body.as_bytes()).unwrap().object.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(raw.get()).unwrap(), whole);
    assert_eq!(whole, review()["request"]["object"]);
}

#[rstest]
#[case::at_the_limit("x".repeat(MAX_USERNAME), MAX_USERNAME)]
#[case::one_too_many("x".repeat(MAX_USERNAME + 1), MAX_USERNAME)]
#[case::a_character_across_the_limit(format!("x{}", "é".repeat(MAX_USERNAME)), MAX_USERNAME - 1)]
fn a_long_user_name_is_cut_between_characters(#[case] name: String, #[case] kept: usize) {
    let body = with("userInfo", json!({"username": name}));
    let username = parse::<Document<'_>>(&body).unwrap().username;
    assert_eq!((username.len(), name.starts_with(&*username)), (kept, true));
}

fn text(response: &AdmissionResponse<'_>) -> String {
    String::from_utf8(response.to_json()).unwrap()
}

#[test]
fn an_admission_is_short() {
    let response = AdmissionResponse::admitted("1-2", Patch::default());
    assert!(response.allowed());
    insta::assert_snapshot!(text(&response), @r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1-2","allowed":true}}"#);
}

#[test]
fn a_denial_carries_its_reason() {
    let response = AdmissionResponse::denied("1-2", "image \"x\":\nno")
        .with_warnings(vec!["mind the \u{1} gap".to_owned()])
        .with_audit_annotations(vec![("decision-id", "42".to_owned()), ("reason", "TagDenied".to_owned())]);
    assert!(!response.allowed());
    insta::assert_snapshot!(text(&response), @r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1-2","allowed":false,"status":{"code":403,"reason":"Forbidden","message":"image \"x\":\nno"},"auditAnnotations":{"decision-id":"42","reason":"TagDenied"},"warnings":["mind the \u0001 gap"]}}"#);
}

#[test]
fn a_patch_travels_in_base64_with_its_type() {
    let digest = Digest::sha256(b"manifest");
    let pin = Pin { pointer: "/spec/containers/0/image", image: "nginx", digest: &digest };
    let response = text(&AdmissionResponse::admitted("1", Patch::pinning([pin])));
    let response: Value = serde_json::from_str(&response).unwrap();
    assert_eq!(response["response"]["patchType"], "JSONPatch");
    use base64::Engine as _;
    let patch = response["response"]["patch"].as_str().unwrap();
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    assert_eq!(patch, Patch::pinning([pin]).to_json());
}

#[rstest]
#[case("", None)]
#[case("other=1", None)]
#[case("Timeout=1s", None)]
#[case("timeout=10s", Some(10_000))]
#[case("a=b&timeout=10s&c", Some(10_000))]
#[case("timeout=10s&timeout=1s", Some(10_000))]
#[case("timeout=1m30s", Some(30_000))]
#[case("timeout=0m5s", Some(5_000))]
#[case("timeout=30s", Some(30_000))]
#[case("timeout=30.001s", Some(30_000))]
#[case("timeout=500ms", Some(500))]
#[case("timeout=1.5s", Some(1_500))]
#[case("timeout=.5s", Some(500))]
#[case("timeout=1.s", Some(1_000))]
#[case("timeout=%2B2s", Some(2_000))]
#[case("timeout=1500%C2%B5s500us", Some(2))]
#[case("timeout=1%73", Some(1_000))]
#[case("timeout=99999999999999999999999999h", Some(30_000))]
#[case("timeout=2562047h99999999999s", Some(30_000))]
fn a_timeout_is_a_go_duration(#[case] query: &str, #[case] millis: Option<u64>) {
    assert_eq!(parse_timeout(query), Ok(millis.map(Duration::from_millis)));
}

#[rstest]
fn a_timeout_that_is_none_is_an_error_and_not_a_default(
    #[values(
        "", "0", "0s", "0.0s", "-1s", "-0", "10", "s", ".s", "10S", "10 s", "1d", "1s2", "1..5s", "1.5.5s",
        "+", "++1s", "1e3s", "0x1s", "NaN", "0.1ns", "10s,", "ten"
    )]
    text: &str,
) {
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("timeout", text).finish();
    assert_eq!(parse_timeout(&query), Err(TimeoutError));
}

proptest! {
    #[test]
    fn what_go_prints_is_read_back(millis in 1u64..30_000) {
        // Go prints a Duration with the largest units first and a fraction of the last one.
        let text = match millis {
            0..1_000 => format!("{millis}ms"),
            _ => format!("{}m{}.{:03}s", millis / 60_000, millis / 1_000 % 60, millis % 1_000),
        };
        let duration = parse_timeout(&format!("timeout={text}"));
        prop_assert_eq!(duration, Ok(Some(Duration::from_millis(millis))));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in vec(any::<u8>(), 0..256), query in "\\PC{0,32}") {
        let _ = parse::<Document<'_>>(&body);
        let _ = parse_timeout(&query);
    }

    #[test]
    fn no_damage_to_a_review_makes_the_parser_panic(at in 0usize..900, byte in any::<u8>(), cut in 0usize..900) {
        let mut body = review().to_string().into_bytes();
        let length = body.len();
        body[at % length] = byte;
        body.truncate(cut.max(1));
        let _ = parse::<Document<'_>>(&body);
    }
}
