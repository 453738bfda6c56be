//! What a user of a cluster sees: a real API server, asked by the real kubectl, asks a real Tidewaiter,
//! which asks a real registry.

mod moved;
mod policies;
mod pull_secrets;
mod refusals;
mod scans;
mod signatures;
mod workloads;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;

/// The image that every test's policy allows.
const WEB: &str = "registry.example.com/shop/web:1.4";

/// A namespace of the test's own, and in force in it alone: images from one registry, no `latest`.
async fn house(cluster: &Cluster, name: &str) -> String {
    let namespace = cluster.api.namespace(name).await;
    cluster.enforce(&house_rules(&namespace)).await;
    namespace
}

fn house_rules(namespace: &str) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": format!("house-rules-{namespace}")},
        "spec": {
            "match": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            "registries": {"allow": ["registry.example.com/**"]},
            "references": {"denyTags": ["latest"]},
        },
    })
}

fn pod(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

/// What is stored at `path`, a JSONPath without its braces.
async fn stored(cluster: &Cluster, namespace: &str, object: &str, path: &str) -> String {
    let output = format!("-ojsonpath={{{path}}}");
    let said = cluster.api.kubectl(&["-n", namespace, "get", object, &output]).await;
    assert!(said.success, "{said:?}");
    said.stdout
}
