use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::select};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::image::ImageReference;

type Labels = BTreeMap<String, String>;

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selecting(selector: Value) -> Policy {
    compile(&cluster(json!({
        "match": {"namespaceSelector": selector}, "references": {"requireDigest": true}
    })))
}

fn expression(operator: &str, values: &[&str]) -> Value {
    let values = if values.is_empty() { Value::Null } else { json!(values) };
    json!({"matchExpressions": [{"key": "env", "operator": operator, "values": values}]})
}

/// The table of `k8s.io/apimachinery/pkg/labels.Requirement.Matches`.
#[rstest]
#[case::empty(json!({}), &[], true)]
#[case::empty_lists(json!({"matchLabels": {}, "matchExpressions": []}), &[("env", "prod")], true)]
#[case::label(json!({"matchLabels": {"env": "prod"}}), &[("env", "prod")], true)]
#[case::label_other(json!({"matchLabels": {"env": "prod"}}), &[("env", "test")], false)]
#[case::label_absent(json!({"matchLabels": {"env": "prod"}}), &[], false)]
#[case::label_empty(json!({"matchLabels": {"env": ""}}), &[("env", "")], true)]
#[case::label_empty_is_not_absent(json!({"matchLabels": {"env": ""}}), &[], false)]
#[case::label_case(json!({"matchLabels": {"env": "prod"}}), &[("env", "Prod")], false)]
#[case::in_one(expression("In", &["prod", "live"]), &[("env", "live")], true)]
#[case::in_none(expression("In", &["prod", "live"]), &[("env", "test")], false)]
#[case::in_absent(expression("In", &["prod", "live"]), &[], false)]
#[case::not_in_one(expression("NotIn", &["prod"]), &[("env", "prod")], false)]
#[case::not_in_other(expression("NotIn", &["prod"]), &[("env", "test")], true)]
#[case::not_in_absent(expression("NotIn", &["prod"]), &[], true)]
#[case::exists(expression("Exists", &[]), &[("env", "")], true)]
#[case::exists_absent(expression("Exists", &[]), &[("other", "x")], false)]
#[case::does_not_exist(expression("DoesNotExist", &[]), &[("env", "")], false)]
#[case::does_not_exist_absent(expression("DoesNotExist", &[]), &[], true)]
#[case::all_must_hold(
    json!({"matchLabels": {"env": "prod", "team": "a"}}), &[("env", "prod"), ("team", "b")], false
)]
#[case::both_parts_must_hold(
    json!({"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]}),
    &[("env", "prod"), ("off", "1")],
    false
)]
fn a_selector_selects_as_kubernetes_does(
    #[case] selector: Value,
    #[case] of: &[(&str, &str)],
    #[case] expected: bool,
) {
    let of = labels(of);
    let policy = selecting(selector);
    assert_eq!(policy.namespace_selector.selects(&of), expected);
    let none = Labels::new();
    let subject =
        Subject { namespace: "n", namespace_labels: NamespaceLabels::Known(&of), object_labels: &none };
    assert_eq!(policy.covers(&subject), expected);
}

#[test]
fn a_policy_that_selects_namespaces_covers_one_whose_labels_nobody_knows() {
    let none = Labels::new();
    let subject =
        Subject { namespace: "n", namespace_labels: NamespaceLabels::Unknown, object_labels: &none };
    let policy = selecting(json!({"matchLabels": {"env": "prod"}}));
    assert!(policy.covers(&subject) && policy.hinges_on_unknown(&subject));
    let policy = selecting(json!({}));
    assert!(policy.covers(&subject) && !policy.hinges_on_unknown(&subject));
}

#[test]
fn an_unknown_namespace_does_not_put_an_object_into_the_policy_that_its_own_labels_keep_it_out_of() {
    let none = Labels::new();
    let subject =
        Subject { namespace: "n", namespace_labels: NamespaceLabels::Unknown, object_labels: &none };
    let policy = compile(&cluster(json!({
        "match": {
            "namespaceSelector": {"matchLabels": {"env": "prod"}},
            "objectSelector": {"matchLabels": {"tier": "web"}},
        },
        "references": {"requireDigest": true},
    })));
    assert!(!policy.covers(&subject));
}

#[test]
fn an_excluded_image_is_none_of_the_policys_and_an_unreadable_one_always_is() {
    let policy = compile(&cluster(json!({
        "match": {"images": ["a.example/x", "a.example/y"], "excludeImages": ["a.example/y"]},
        "references": {"requireDigest": true},
    })));
    let concerns = |text: &str| policy.concerns(Some(&text.parse::<ImageReference>().unwrap()));
    assert!(concerns("a.example/x:1"));
    assert!(!concerns("a.example/y:1"));
    assert!(!concerns("b.example/x:1"));
    assert!(policy.concerns(None));
}

#[test]
fn a_set_keeps_its_order_whatever_order_its_policies_come_in() {
    let named = |base: Value, name: &str| Arc::new(compile(&with(base, "/metadata/name", json!(name))));
    let rules = json!({"references": {"requireDigest": true}});
    let policies = [
        named(namespaced(rules.clone()), "b"),
        named(cluster(rules.clone()), "z"),
        named(namespaced(rules.clone()), "a"),
        named(cluster(rules), "y"),
    ];
    let none = Labels::new();
    let subject =
        Subject { namespace: "team-a", namespace_labels: NamespaceLabels::Unknown, object_labels: &none };
    for turn in 0..policies.len() {
        let mut policies = policies.clone();
        policies.rotate_left(turn);
        let set = PolicySet::new(policies);
        let names: Vec<String> =
            set.matching(&subject, None).iter().map(|policy| policy.id().to_string()).collect();
        assert_eq!(
            names,
            [
                "ClusterImageAdmissionPolicy/y",
                "ClusterImageAdmissionPolicy/z",
                "ImageAdmissionPolicy/team-a/a",
                "ImageAdmissionPolicy/team-a/b",
            ]
        );
        assert_eq!(set.iter().count(), 4);
    }
}

#[test]
fn two_policies_of_one_name_are_both_kept() {
    let policy = Arc::new(compile(&cluster(json!({"references": {"requireDigest": true}}))));
    let none = Labels::new();
    let subject =
        Subject { namespace: "n", namespace_labels: NamespaceLabels::Unknown, object_labels: &none };
    assert_eq!(PolicySet::new([policy.clone(), policy]).matching(&subject, None).len(), 2);
}

#[rstest]
#[case::no_policies(vec![], false)]
#[case::no_selector(vec![cluster(json!({"references": {"requireDigest": true}}))], false)]
#[case::empty_selector(
    vec![cluster(json!({"match": {"namespaceSelector": {}}, "references": {"requireDigest": true}}))], false
)]
#[case::selector(
    vec![
        cluster(json!({"references": {"requireDigest": true}})),
        cluster(json!({"match": {"namespaceSelector": {"matchLabels": {"a": "b"}}}, "references": {"requireDigest": true}})),
    ],
    true
)]
#[case::object_selector(
    vec![cluster(json!({"match": {"objectSelector": {"matchLabels": {"a": "b"}}}, "references": {"requireDigest": true}}))],
    false
)]
fn labels_of_namespaces_are_needed_where_a_policy_selects_by_them(
    #[case] documents: Vec<Value>,
    #[case] expected: bool,
) {
    let set = PolicySet::new(documents.iter().map(compile).map(Arc::new));
    assert_eq!(set.needs_namespace_labels(), expected);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let text = |of| select(of).prop_map(|text: &str| text.to_owned());
    proptest::collection::btree_map(text(&["k", "l"]), text(&["a", "b"]), 0..3)
}

fn any_selector() -> impl Strategy<Value = Value> {
    let expression = (select(&["k", "l"]), 0..5).prop_map(|(key, form)| match form {
        0 => json!({"key": key, "operator": "In", "values": ["a"]}),
        1 => json!({"key": key, "operator": "In", "values": ["a", "b"]}),
        2 => json!({"key": key, "operator": "NotIn", "values": ["a"]}),
        3 => json!({"key": key, "operator": "Exists"}),
        _ => json!({"key": key, "operator": "DoesNotExist"}),
    });
    (any_labels(), proptest::collection::vec(expression, 0..3))
        .prop_map(|(labels, expressions)| json!({"matchLabels": labels, "matchExpressions": expressions}))
}

fn any_patterns() -> impl Strategy<Value = Value> {
    let pattern = select(&["a.example/x", "a.example/y", "b.example/x", "docker.io/library/x", "**"]);
    prop_oneof![
        1 => Just(Value::Null),
        3 => proptest::collection::vec(pattern, 1..4).prop_map(|patterns| json!(patterns)),
    ]
}

fn any_document() -> impl Strategy<Value = Value> {
    let places = (any_patterns(), any_patterns(), any_selector(), any_selector());
    (places, 0..3, any::<bool>()).prop_map(|((images, exclude, namespaces, objects), scope, readable)| {
        let rules = json!({
            "match": {"images": images, "excludeImages": exclude, "objectSelector": objects},
            "references": {"requireDigest": true},
        });
        let document = match scope {
            0 => namespaced(rules),
            1 => with(namespaced(rules), "/metadata/namespace", json!("team-b")),
            _ => with(cluster(rules), "/spec/match/namespaceSelector", namespaces),
        };
        if readable { document } else { with(document, "/spec/unknown", json!(1)) }
    })
}

proptest! {
    /// The arrangement of the shelf is a shortcut and nothing else.
    #[test]
    fn a_set_finds_exactly_the_policies_that_match(
        documents in proptest::collection::vec(any_document(), 0..12),
        namespace_labels in proptest::option::of(any_labels()),
        object_labels in any_labels(),
        image in proptest::option::of(select(&["a.example/x:1", "a.example/y", "b.example/x", "x", "c.example/x"])),
    ) {
        let policies: Vec<Arc<Policy>> = documents.iter().enumerate().map(|(at, document)| {
            let document = with(document.clone(), "/metadata/name", json!(format!("p{at:02}")));
            Arc::new(read(&document).unwrap().policy)
        }).collect();
        let subject = Subject {
            namespace: "team-a",
            namespace_labels: namespace_labels.as_ref().map_or(NamespaceLabels::Unknown, NamespaceLabels::Known),
            object_labels: &object_labels,
        };
        let image = image.map(|text| text.parse::<ImageReference>().unwrap());
        let mut expected: Vec<&PolicyId> = policies.iter()
            .filter(|policy| policy.covers(&subject) && policy.concerns(image.as_ref()))
            .map(|policy| policy.id())
            .collect();
        expected.sort();
        let set = PolicySet::new(policies.clone());
        let found: Vec<&PolicyId> =
            set.matching(&subject, image.as_ref()).into_iter().map(|policy| policy.id()).collect();
        prop_assert_eq!(found, expected);
    }
}
