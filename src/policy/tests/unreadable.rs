use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::image::ImageReference;

fn image(text: &str) -> ImageReference {
    text.parse().unwrap()
}

/// A policy for one kind of image, Pod and namespace, with something that no version knows.
fn broken() -> Value {
    cluster(json!({
        "action": "Warn",
        "enforceAfter": "2027-01-01T00:00:00Z",
        "match": {
            "images": ["registry.example.com/app"],
            "excludeImages": ["registry.example.com/app"],
            "namespaceSelector": {"matchLabels": {"env": "prod"}},
            "objectSelector": {"matchLabels": {"tier": "web"}},
        },
        "registries": {"allow": ["registry.example.com/app"]},
        "onError": {"action": "Warn"},
        "signatures": {},
    }))
}

fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn covers(policy: &Policy, namespace: &[(&str, &str)], object: &[(&str, &str)]) -> bool {
    let (namespace_labels, object_labels) = (labels(namespace), labels(object));
    policy.covers(&Subject {
        namespace: "team-a",
        namespace_labels: NamespaceLabels::Known(&namespace_labels),
        object_labels: &object_labels,
    })
}

#[test]
fn it_demands_nothing_but_to_be_readable_and_excuses_nothing() {
    let (policy, _) = fail(&broken());
    assert!(matches!(policy.requirements(), [Requirement::Readable(_)]));
    assert_eq!(policy.on_error(), OnError::Deny);
    assert_eq!(policy.generation(), 7);
    assert_eq!(policy.id().to_string(), "ClusterImageAdmissionPolicy/house-rules");
}

#[test]
fn it_keeps_what_can_be_read() {
    let (policy, _) = fail(&broken());
    assert_eq!(policy.action, Action::Warn);
    assert_eq!(policy.enforce_after, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    assert!(!policy.concerns(Some(&image("registry.example.com/app:1"))));
    assert!(!policy.concerns(Some(&image("registry.example.com/other:1"))));
    assert!(covers(&policy, &[("env", "prod")], &[("tier", "web")]));
    assert!(!covers(&policy, &[("env", "test")], &[("tier", "web")]));
    assert!(!covers(&policy, &[("env", "prod")], &[]));
}

#[rstest]
#[case("/spec/action", json!("Refuse"))]
#[case("/spec/action", json!(null))]
#[case("/spec/action", json!(1))]
#[case("/spec", json!([]))]
fn an_action_that_cannot_be_read_is_deny(#[case] pointer: &str, #[case] value: Value) {
    let (policy, _) = fail(&with(broken(), pointer, value));
    assert_eq!(policy.action, Action::Deny);
}

#[rstest]
#[case(json!("soon"))]
#[case(json!(20270101))]
#[case(json!([]))]
fn a_date_that_cannot_be_read_has_passed(#[case] date: Value) {
    let (policy, _) = fail(&with(broken(), "/spec/enforceAfter", date));
    assert_eq!(policy.action("1970-01-01T00:00:00Z".parse().unwrap()), Action::Deny);
}

#[rstest]
#[case::no_list(json!("registry.example.com/app"))]
#[case::empty(json!([]))]
#[case::null(json!(null))]
#[case::no_texts(json!([1, 2]))]
#[case::a_bad_one_among_good(json!(["registry.example.com/app", ""]))]
#[case::a_number_among_good(json!(["registry.example.com/app", 1]))]
fn images_that_cannot_be_read_are_every_image(#[case] images: Value) {
    let document = with(broken(), "/spec/match/images", images);
    let (policy, _) = fail(&with(document, "/spec/match/excludeImages", json!(null)));
    assert!(policy.concerns(Some(&image("other.example.com/thing:1"))));
}

#[rstest]
#[case::no_list(json!("registry.example.com/app"))]
#[case::empty(json!([]))]
#[case::no_texts(json!([1]))]
fn exclusions_that_cannot_be_read_exclude_nothing(#[case] images: Value) {
    let (policy, _) = fail(&with(broken(), "/spec/match/excludeImages", images));
    assert!(policy.concerns(Some(&image("registry.example.com/app:1"))));
}

#[test]
fn a_bad_exclusion_among_good_ones_excludes_nothing_more() {
    let document = with(broken(), "/spec/match/images", json!(null));
    let exclude = json!(["registry.example.com/app", ""]);
    let (policy, _) = fail(&with(document, "/spec/match/excludeImages", exclude));
    assert!(!policy.concerns(Some(&image("registry.example.com/app:1"))));
    assert!(policy.concerns(Some(&image("registry.example.com/other:1"))));
}

#[rstest]
#[case::no_selector(json!("env=prod"))]
#[case::unknown_part(json!({"matchLabels": {"env": "prod"}, "matchAnnotations": {}}))]
#[case::bad_value(json!({"matchLabels": {"env": "not ok"}}))]
#[case::bad_key(json!({"matchLabels": {"-": "prod"}}))]
#[case::no_values(json!({"matchExpressions": [{"key": "env", "operator": "In", "values": []}]}))]
#[case::unknown_operator(json!({"matchExpressions": [{"key": "env", "operator": "Gt", "values": ["1"]}]}))]
#[case::too_large(json!({"matchExpressions": vec![json!({"key": "env", "operator": "Exists"}); 33]}))]
fn a_selector_that_cannot_be_read_selects_everything(#[case] selector: Value) {
    let (policy, _) = fail(&with(broken(), "/spec/match/namespaceSelector", selector.clone()));
    assert!(covers(&policy, &[], &[("tier", "web")]));
    let (policy, _) = fail(&with(broken(), "/spec/match/objectSelector", selector));
    assert!(covers(&policy, &[("env", "prod")], &[]));
}

#[test]
fn a_match_that_cannot_be_read_is_about_everything() {
    let (policy, _) = fail(&with(broken(), "/spec/match", json!("everything")));
    assert!(covers(&policy, &[], &[]));
    assert!(policy.concerns(Some(&image("other.example.com/thing:1"))));
}

#[test]
fn a_teams_policy_that_does_not_name_its_namespace_fails_in_every_namespace() {
    let document = namespaced(json!({"references": {"requireDigest": true}}));
    for namespace in [json!(null), json!(""), json!(5)] {
        let (policy, _) = fail(&with(document.clone(), "/metadata/namespace", namespace));
        assert!(covers(&policy, &[], &[]));
        let set = PolicySet::new([std::sync::Arc::new(policy)]);
        let none = labels(&[]);
        let subject = Subject {
            namespace: "team-b",
            namespace_labels: NamespaceLabels::Known(&none),
            object_labels: &none,
        };
        assert_eq!(set.matching(&subject, None).len(), 1);
    }
}

#[test]
fn a_teams_policy_stays_in_its_namespace_even_where_it_cannot_be_read() {
    let (policy, _) = fail(&namespaced(json!({"match": {"namespaceSelector": {}}})));
    let none = labels(&[]);
    let elsewhere = Subject {
        namespace: "team-b",
        namespace_labels: NamespaceLabels::Known(&none),
        object_labels: &none,
    };
    assert!(covers(&policy, &[], &[]));
    assert!(!policy.covers(&elsewhere));
}
