use std::{collections::BTreeSet, sync::Arc};

use kube::api::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Index;
use crate::{
    cluster::{PolicyTally, watch::Change},
    policy::{self, Policy, PolicyId, PolicyKind, PolicySet},
};

const KINDS: [PolicyKind; 2] = [PolicyKind::Cluster, PolicyKind::Namespaced];

fn object(name: &str, version: &str, spec: Value) -> DynamicObject {
    let document = json!({
        "metadata": {"name": name, "namespace": "team-a", "uid": "u", "resourceVersion": version, "generation": 1},
        "spec": spec,
    });
    serde_json::from_value(document).unwrap()
}

fn cluster(name: &str, version: &str, spec: Value) -> DynamicObject {
    let mut object = object(name, version, spec);
    object.metadata.namespace = None;
    object
}

fn good() -> Value {
    json!({"references": {"requireDigest": true}})
}

/// Passes the API server's schema, and yet no pattern can be made of it.
fn bad() -> Value {
    json!({"match": {"images": ["registry.example.com/**"]}, "registries": {"allow": ["a b"]}})
}

/// An index in which both kinds are listed, and nothing else.
fn listed() -> Index {
    let mut index = Index::default();
    for kind in KINDS {
        index.change(kind, Change::Listed(Vec::new()));
    }
    index.publish().unwrap();
    index
}

fn names(set: &PolicySet) -> BTreeSet<String> {
    set.iter().map(|policy| policy.id().to_string()).collect()
}

fn find<'a>(set: &'a PolicySet, name: &str) -> &'a Arc<Policy> {
    set.iter().find(|policy| *policy.id().name == *name).unwrap()
}

#[test]
fn half_of_the_policies_are_never_published() {
    let mut index = Index::default();
    index.change(PolicyKind::Cluster, Change::Listed(vec![cluster("a", "1", good())]));
    assert!(index.publish().is_none());
    index.change(PolicyKind::Cluster, Change::Applied(cluster("b", "2", good())));
    assert!(index.publish().is_none());
    index.change(PolicyKind::Namespaced, Change::Listed(vec![object("a", "1", good())]));
    let (set, published) = index.publish().unwrap();
    let expected =
        ["ClusterImageAdmissionPolicy/a", "ClusterImageAdmissionPolicy/b", "ImageAdmissionPolicy/team-a/a"];
    assert_eq!(names(&set), BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(published.cluster, PolicyTally { ready: 2, failing: 0 });
    assert_eq!(published.namespaced, PolicyTally { ready: 1, failing: 0 });
}

#[test]
fn a_cluster_without_policies_is_published_too() {
    let mut index = Index::default();
    for kind in KINDS {
        index.change(kind, Change::Listed(Vec::new()));
    }
    assert_eq!(index.publish().unwrap().0.iter().count(), 0);
    assert!(index.publish().is_none(), "nothing has changed since");
}

#[test]
fn a_policy_that_cannot_be_read_is_kept_and_counts_as_failing() {
    let mut index = listed();
    index.change(PolicyKind::Cluster, Change::Applied(cluster("a", "1", good())));
    index.change(PolicyKind::Cluster, Change::Applied(cluster("a", "2", bad())));
    index.change(PolicyKind::Namespaced, Change::Applied(object("b", "3", json!({"newerRule": {}}))));
    let (set, published) = index.publish().unwrap();
    assert_eq!(published.cluster, PolicyTally { ready: 0, failing: 1 });
    assert_eq!(published.namespaced, PolicyTally { ready: 0, failing: 1 });
    let error = find(&set, "a").compile_error().unwrap();
    assert_eq!(error.fields[0].path, "spec.registries.allow[0]");
    let image = |text: &str| text.parse().unwrap();
    assert!(find(&set, "a").concerns(Some(&image("registry.example.com/app"))));
    assert!(!find(&set, "a").concerns(Some(&image("elsewhere.example.com/app"))));
    assert!(find(&set, "b").concerns(Some(&image("elsewhere.example.com/app"))));
}

#[test]
fn a_list_takes_away_what_it_does_not_name_of_its_own_kind_only() {
    let mut index = listed();
    index.change(PolicyKind::Cluster, Change::Applied(cluster("a", "1", good())));
    index.change(PolicyKind::Cluster, Change::Applied(cluster("b", "2", good())));
    index.change(PolicyKind::Namespaced, Change::Applied(object("a", "3", good())));
    index.publish().unwrap();
    index.change(PolicyKind::Cluster, Change::Listed(vec![cluster("b", "2", good())]));
    let (set, published) = index.publish().unwrap();
    let expected = ["ClusterImageAdmissionPolicy/b", "ImageAdmissionPolicy/team-a/a"];
    assert_eq!(names(&set), BTreeSet::from(expected.map(str::to_owned)));
    let gone = PolicyId { kind: PolicyKind::Cluster, namespace: Box::default(), name: "a".into() };
    assert_eq!(published.vanished, [gone]);
}

#[test]
fn a_list_that_brings_nothing_new_publishes_and_compiles_nothing() {
    let mut index = listed();
    index.change(PolicyKind::Cluster, Change::Applied(cluster("a", "1", good())));
    let (before, _) = index.publish().unwrap();
    index.change(PolicyKind::Cluster, Change::Listed(vec![cluster("a", "1", good())]));
    assert!(index.publish().is_none());
    index.change(PolicyKind::Cluster, Change::Applied(cluster("b", "2", good())));
    let (after, _) = index.publish().unwrap();
    assert!(Arc::ptr_eq(find(&before, "a"), find(&after, "a")));
}

#[test]
fn another_object_of_the_same_name_takes_its_place() {
    let mut index = listed();
    index.change(PolicyKind::Cluster, Change::Applied(cluster("a", "1", bad())));
    index.publish().unwrap();
    let mut other = cluster("a", "1", good());
    other.metadata.uid = Some("other".to_owned());
    index.change(PolicyKind::Cluster, Change::Deleted(cluster("a", "1", bad())));
    index.change(PolicyKind::Cluster, Change::Applied(other));
    let (set, published) = index.publish().unwrap();
    assert!(find(&set, "a").compile_error().is_none());
    assert_eq!(published.vanished, [], "the name is still there");
}

#[test]
fn the_kind_follows_from_where_it_was_watched() {
    let mut index = listed();
    let mut object = cluster("a", "1", good());
    object.types = Some(kube::core::TypeMeta { api_version: "v1".into(), kind: "ConfigMap".into() });
    index.change(PolicyKind::Cluster, Change::Applied(object));
    assert!(find(&index.publish().unwrap().0, "a").compile_error().is_none());
}

#[test]
fn a_document_over_which_the_reader_fails_is_set_apart() {
    let mut index = Index::reading_with(|document| {
        assert!(document["spec"]["boom"].is_null(), "on purpose");
        policy::read(document)
    });
    for kind in KINDS {
        index.change(kind, Change::Listed(Vec::new()));
    }
    index.change(PolicyKind::Cluster, Change::Applied(cluster("poison", "1", json!({"boom": 1}))));
    index.change(PolicyKind::Cluster, Change::Applied(cluster("sound", "2", good())));
    let (set, published) = index.publish().unwrap();
    assert_eq!(published.cluster, PolicyTally { ready: 1, failing: 1 });
    assert!(find(&set, "poison").compile_error().unwrap().to_string().contains("mistake in tidewaiter"));
}

proptest! {
    /// Whatever happens in whatever order, what is published is what is there.
    #[test]
    fn the_set_is_what_the_changes_add_up_to(
        changes in prop::collection::vec((any::<bool>(), 0..3_u8, prop::collection::vec(0..4_u8, 1..4)), 0..40)
    ) {
        let mut index = listed();
        let mut expected = BTreeSet::new();
        let mut published = BTreeSet::new();
        for (version, (in_cluster, change, which)) in changes.into_iter().enumerate() {
            let (kind, prefix) = match in_cluster {
                true => (PolicyKind::Cluster, "ClusterImageAdmissionPolicy/"),
                false => (PolicyKind::Namespaced, "ImageAdmissionPolicy/team-a/"),
            };
            let object = |name: u8| match in_cluster {
                true => cluster(&format!("p{name}"), &version.to_string(), good()),
                false => object(&format!("p{name}"), &version.to_string(), good()),
            };
            let text = |name: u8| format!("{prefix}p{name}");
            match change {
                0 => {
                    index.change(kind, Change::Applied(object(which[0])));
                    expected.insert(text(which[0]));
                }
                1 => {
                    index.change(kind, Change::Deleted(object(which[0])));
                    expected.remove(&text(which[0]));
                }
                _ => {
                    index.change(kind, Change::Listed(which.iter().map(|name| object(*name)).collect()));
                    expected.retain(|name| !name.starts_with(prefix));
                    expected.extend(which.iter().map(|name| text(*name)));
                }
            }
            if let Some((set, report)) = index.publish() {
                let now = names(&set);
                let vanished: BTreeSet<_> = report.vanished.iter().map(PolicyId::to_string).collect();
                prop_assert_eq!(&vanished, &published.difference(&now).cloned().collect());
                published = now;
            }
            prop_assert_eq!(&published, &expected);
        }
    }
}
