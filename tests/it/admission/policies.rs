use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::files;

use super::{WEB, house, house_rules, pod};
use crate::support::cluster::Cluster;

#[rstest]
#[case::pattern(json!({"registries": {"allow": ["registry.example.com/**/"]}}), "spec.registries.allow[0]")]
#[case::digest(json!({"references": {"denyDigests": ["sha256:abc"]}}), "spec.references.denyDigests[0]")]
#[case::tag(json!({"references": {"denyTags": ["no tag"]}}), "spec.references.denyTags[0]")]
#[case::nothing_required(json!({"action": "Deny"}), "spec")]
#[case::empty_allow(json!({"registries": {"allow": []}}), "spec.registries")]
#[case::action(json!({"action": "Refuse", "references": {"requireDigest": true}}), "spec.action")]
#[case::selector(json!({"references": {"requireDigest": true}, "match": {"namespaceSelector": {"matchExpressions": [{"key": "stage", "operator": "In"}]}}}), "matchExpressions[0]")]
#[case::a_field_of_later(json!({"references": {"requireDigest": true}, "signatures": {"atLeast": 1}}), "spec.signatures")]
#[case::a_misspelt_field(json!({"references": {"requireDigests": true}}), "spec.references.requireDigests")]
#[tokio::test]
async fn a_policy_that_would_not_work_is_not_stored_and_its_field_is_named(
    #[case] spec: Value,
    #[case] field: &str,
) {
    let Some(cluster) = Cluster::shared().await else { return };
    let policy = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "bad"}, "spec": spec,
    });
    let said = cluster.apply(&policy.to_string()).await;
    assert!(!said.success && said.stderr.contains(field), "{field}: {said:?}");
    let said = cluster.api.kubectl(&["get", "ciap", "bad"]).await;
    assert!(!said.success, "{said:?}");
}

#[rstest]
#[case::no_trusted_root(json!({"inline": "{}"}), "spec.inline: this is no trusted_root.json that can be used")]
#[case::no_tuf_root(json!({"tuf": {"mirror": "https://tuf.example.com", "root": "{}"}}), "spec.tuf.root: this is no root.json that can be used")]
#[case::no_mirror(json!({"tuf": {"mirror": "https://u:hunter2@tuf.example.com", "root": "{}"}}), "spec.tuf.mirror: a TUF repository is read without a user name")]
#[tokio::test]
async fn a_trust_root_that_would_not_work_is_not_stored_and_its_field_is_named(
    #[case] spec: Value,
    #[case] field: &str,
) {
    let Some(cluster) = Cluster::shared().await else { return };
    let root = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot", "metadata": {"name": "bad"},
        "spec": spec,
    });
    let said = cluster.dry_run(&root.to_string()).await;
    assert!(!said.success && said.stderr.contains(field), "{field}: {said:?}");
    assert!(
        said.stderr.contains("the trust root cannot be used: ") && !said.stderr.contains("hunter2"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_trust_root_that_works_is_stored_and_says_so() {
    let Some(cluster) = Cluster::shared().await else { return };
    let root = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot", "metadata": {"name": "github"},
        "spec": {"sigstore": "GitHub"},
    });
    let said = cluster.apply(&root.to_string()).await;
    assert!(said.success && said.stderr.is_empty(), "{said:?}");
    cluster
        .until("its status says that it can be used", async || {
            let said = cluster.api.kubectl(&["get", "itr", "github", "--no-headers"]).await;
            said.stdout.split_whitespace().take(3).eq(["github", "True", "GitHub"])
        })
        .await;
}

#[tokio::test]
async fn every_policy_of_the_gallery_is_accepted_and_listed_with_its_columns() {
    let Some(cluster) = Cluster::shared().await else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    assert!(cluster.apply(&namespace.to_string()).await.success);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            for document in files::read(&path).unwrap() {
                let said = cluster.dry_run(&document.value.to_string()).await;
                assert!(said.success && said.stderr.is_empty(), "{}: {said:?}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 4, "{count}");
}

#[tokio::test]
async fn an_edit_acts_without_a_restart_and_a_deletion_too() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "edits").await;
    let object = pod(&namespace, "web", WEB).to_string();
    assert!(cluster.dry_run(&object).await.success);

    let mut policy = house_rules(&namespace);
    policy["spec"]["registries"]["allow"] = json!(["elsewhere.example.com/**"]);
    assert!(cluster.apply(&policy.to_string()).await.success);
    cluster.until("the edit acts", async || !cluster.dry_run(&object).await.success).await;

    let name = format!("ciap/house-rules-{namespace}");
    assert!(cluster.api.kubectl(&["delete", &name]).await.success);
    cluster.until("the deletion acts", async || cluster.dry_run(&object).await.success).await;
}

/// Edits take effect within a second. A kubectl alone can take longer on a busy machine, so an edit counts as
/// acting when the first request that it decides begins, and the middle one of five speaks for all.
#[tokio::test]
async fn an_edit_acts_within_a_second() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "quick").await;
    let object = pod(&namespace, "web", WEB).to_string();
    let mut policy = house_rules(&namespace);
    let mut took = Vec::new();
    for (at, allow) in
        ["elsewhere.example.com/**", "registry.example.com/**"].iter().cycle().take(5).enumerate()
    {
        policy["spec"]["registries"]["allow"] = json!([allow]);
        assert!(cluster.apply(&policy.to_string()).await.success);
        let edited = Instant::now();
        let mut acted = None;
        cluster
            .until("the edit acts", async || {
                let asked = edited.elapsed();
                let admitted = cluster.dry_run(&object).await.success;
                acted = (admitted == (at % 2 == 1)).then_some(asked);
                acted.is_some()
            })
            .await;
        took.push(acted.unwrap());
    }
    took.sort();
    assert!(took[2] < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_namespaced_policy_adds_to_the_clusters_and_lifts_nothing() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "team").await;
    cluster
        .enforce(&json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageAdmissionPolicy",
            "metadata": {"name": "team", "namespace": namespace},
            "spec": {"registries": {"allow": ["**"]}, "references": {"denyTags": ["1.*"]}},
        }))
        .await;
    let said = cluster.dry_run(&pod(&namespace, "web", WEB).to_string()).await;
    assert!(!said.success && said.stderr.contains("TagDenied"), "{said:?}");
    let said = cluster.dry_run(&pod(&namespace, "web", "docker.io/library/nginx:2").to_string()).await;
    assert!(!said.success && said.stderr.contains("RegistryNotAllowed"), "{said:?}");
}

#[tokio::test]
async fn a_warning_reaches_the_author_and_an_audit_nobody() {
    let Some(cluster) = Cluster::shared().await else { return };
    for (action, warned) in [("Warn", true), ("Audit", false)] {
        let namespace = cluster.api.namespace("gentle").await;
        let mut policy = house_rules(&namespace);
        policy["spec"]["action"] = action.into();
        cluster.enforce(&policy).await;
        let said = cluster
            .dry_run(&pod(&namespace, "web", "registry.example.com/shop/web:latest").to_string())
            .await;
        assert!(said.success, "{said:?}");
        assert_eq!(said.stderr.contains("TagDenied"), warned, "{action}: {said:?}");
    }
}

#[tokio::test]
async fn a_namespaces_labels_count_from_its_first_pod_on() {
    let Some(cluster) = Cluster::shared().await else { return };
    let mut policy = house_rules("fresh");
    policy["spec"]["match"]["namespaceSelector"] = json!({"matchLabels": {"tidewaiter-tests/fresh": "yes"}});
    cluster.enforce(&policy).await;
    for at in 0..5 {
        let name = format!("fresh-and-labelled-{at}");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"tidewaiter-tests/fresh": "yes"}}});
        let both = json!({"apiVersion": "v1", "kind": "List", "items": [namespace, pod(&name, "web", "docker.io/library/nginx:1")]});
        let said = cluster.apply(&both.to_string()).await;
        assert!(!said.success && said.stderr.contains("RegistryNotAllowed"), "{said:?}");
    }
}
