use rstest::rstest;
use serde_json::{Value, json};

use super::{WEB, house, pod, stored};
use crate::support::cluster::Cluster;

#[tokio::test]
async fn a_tag_is_pinned_to_its_digest_and_kept() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "pinned").await;
    let mut object = pod(&namespace, "web", WEB);
    object["spec"]["initContainers"] = json!([{"name": "proxy", "image": WEB, "restartPolicy": "Always"}]);
    let said = cluster.apply(&object.to_string()).await;
    assert!(said.success && said.stderr.is_empty(), "{said:?}");
    let image = stored(cluster, &namespace, "pod/web", ".spec['containers','initContainers'][*].image").await;
    let pinned = format!("{WEB}@{}", cluster.digest);
    assert_eq!(image, format!("{pinned} {pinned}"));
}

#[tokio::test]
async fn nothing_is_stored_by_a_dry_run_and_the_answer_is_the_same() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "dry-run").await;
    let kubectl = ["create", "--dry-run=server", "-ojsonpath={.spec.containers[0].image}", "-f", "-"];
    let said = cluster.api.kubectl_with(&kubectl, &pod(&namespace, "web", WEB).to_string()).await;
    assert_eq!(said.stdout, format!("{WEB}@{}", cluster.digest), "{said:?}");
    let refused = cluster.dry_run(&pod(&namespace, "web", "docker.io/library/nginx:1").to_string()).await;
    assert!(!refused.success && refused.stderr.contains("RegistryNotAllowed"), "{refused:?}");
    let said = cluster.api.kubectl(&["-n", &namespace, "get", "pods", "-oname"]).await;
    assert_eq!(said.stdout, "");
}

fn image_volume(namespace: &str) -> Value {
    let mut object = pod(namespace, "web", WEB);
    object["spec"]["volumes"] = json!([{"name": "model", "image": {"reference": "quay.io/acme/model:1"}}]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "model", "mountPath": "/model"}]);
    object
}

fn init_container(namespace: &str) -> Value {
    let mut object = pod(namespace, "web", WEB);
    object["spec"]["initContainers"] = json!([{"name": "prepare", "image": "quay.io/acme/prepare:1"}]);
    object
}

#[rstest]
#[case::latest("latest", |ns: &str| pod(ns, "web", "registry.example.com/shop/web:latest"), "TagDenied", "/spec/containers/0/image")]
#[case::no_tag("no-tag", |ns: &str| pod(ns, "web", "registry.example.com/shop/web"), "TagDenied", "/spec/containers/0/image")]
#[case::registry("registry", |ns: &str| pod(ns, "web", "docker.io/library/nginx:1.27"), "RegistryNotAllowed", "/spec/containers/0/image")]
#[case::short_name("short-name", |ns: &str| pod(ns, "web", "nginx:1.27"), "RegistryNotAllowed", "/spec/containers/0/image")]
#[case::look_alike("look-alike", |ns: &str| pod(ns, "web", "registry.example.com.evil.example.net/shop/web:1.4"), "RegistryNotAllowed", "/spec/containers/0/image")]
#[case::no_reference("no-reference", |ns: &str| pod(ns, "web", "registry.example.com/Shop/web:1.4"), "ReferenceInvalid", "/spec/containers/0/image")]
#[case::image_volume("image-volume", image_volume, "RegistryNotAllowed", "/spec/volumes/0/image/reference")]
#[case::init_container(
    "init-container",
    init_container,
    "RegistryNotAllowed",
    "/spec/initContainers/0/image"
)]
#[tokio::test]
async fn what_the_rules_forbid_is_refused_with_the_place_and_the_reason(
    #[case] name: &str,
    #[case] object: fn(&str) -> Value,
    #[case] reason: &str,
    #[case] place: &str,
) {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, name).await;
    let said = cluster.apply(&object(&namespace).to_string()).await;
    assert!(!said.success, "{said:?}");
    let policy = format!("ClusterImageAdmissionPolicy/house-rules-{namespace}");
    for part in [reason, place, &policy, "found", "wanted", "decision "] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    assert!(said.stderr.len() < 1500, "{said:?}");
}

#[tokio::test]
async fn a_tag_that_the_registry_does_not_have_is_refused() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "absent").await;
    let said = cluster.apply(&pod(&namespace, "web", "registry.example.com/shop/web:9").to_string()).await;
    assert!(!said.success && said.stderr.contains("check Digest"), "{said:?}");
}

#[tokio::test]
async fn a_debug_container_is_judged() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "debug").await;
    assert!(cluster.apply(&pod(&namespace, "web", WEB).to_string()).await.success);
    let debug = async |image: &str| {
        let image = format!("--image={image}");
        cluster
            .api
            .kubectl(&["-n", &namespace, "debug", "web", "--attach=false", "--profile=general", &image])
            .await
    };
    let refused = debug("docker.io/library/busybox:1.36").await;
    assert!(!refused.success && refused.stderr.contains("RegistryNotAllowed"), "{refused:?}");
    assert!(refused.stderr.contains("/spec/ephemeralContainers/0/image"), "{refused:?}");
    let admitted = debug(WEB).await;
    assert!(admitted.success, "{admitted:?}");
    let image = stored(cluster, &namespace, "pod/web", ".spec.ephemeralContainers[*].image").await;
    assert_eq!(
        image,
        format!("{WEB}@{}", cluster.digest),
        "the admitted one is pinned, the refused one is not there"
    );
}

#[tokio::test]
async fn only_an_update_that_changes_an_image_is_judged() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.api.namespace("updates").await;
    let old =
        "docker.io/library/nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert!(cluster.apply(&pod(&namespace, "web", old).to_string()).await.success);
    cluster.enforce(&super::house_rules(&namespace)).await;

    let said = cluster.api.kubectl(&["-n", &namespace, "label", "pod/web", "stage=test"]).await;
    assert!(said.success && said.stderr.is_empty(), "labels run nothing: {said:?}");
    let image = async |image: &str| {
        cluster.api.kubectl(&["-n", &namespace, "set", "image", "pod/web", &format!("web={image}")]).await
    };
    let said = image("docker.io/library/nginx:1.27").await;
    assert!(!said.success && said.stderr.contains("RegistryNotAllowed"), "{said:?}");
    let said = image(WEB).await;
    assert!(said.success, "{said:?}");
    let image = stored(cluster, &namespace, "pod/web", ".spec.containers[0].image").await;
    assert_eq!(image, format!("{WEB}@{}", cluster.digest), "an update is pinned like a new Pod");
}

#[tokio::test]
async fn an_image_that_no_policy_is_about_is_admitted_with_a_warning() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.api.namespace("unmatched").await;
    let said = cluster.apply(&pod(&namespace, "web", "docker.io/library/nginx:1.27").to_string()).await;
    assert!(said.success && said.stderr.contains("Warning:"), "{said:?}");
    let image = stored(cluster, &namespace, "pod/web", ".spec.containers[0].image").await;
    assert_eq!(image, "docker.io/library/nginx:1.27");
}

#[tokio::test]
async fn the_denial_is_found_in_the_decision_log_and_the_audit_log_by_its_id() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "logged").await;
    let said = cluster.apply(&pod(&namespace, "web", "docker.io/library/nginx:1.27").to_string()).await;
    let id =
        said.stderr.split_once("(decision ").and_then(|(_, rest)| rest.split_once(')')).unwrap().0.to_owned();
    cluster
        .until("the decision is logged", async || {
            cluster.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
                line["decision_id"] == id
                    && line["allowed"] == false
                    && line["namespace"] == namespace.as_str()
            })
        })
        .await;
    let annotation = |event: &Value, key: &str| {
        event["annotations"][format!("pin.tidewaiter.dev/{key}")].as_str().unwrap_or_default().to_owned()
    };
    cluster
        .until("the API server's audit log has it", async || {
            let log = cluster.api.audit_log();
            log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|event| {
                annotation(&event, "decision-id") == id
                    && annotation(&event, "failed-checks").contains("Registries RegistryNotAllowed")
            })
        })
        .await;
}
