use serde_json::{Value, json};

use super::{WEB, house, house_rules};
use crate::support::cluster::Cluster;

const FOREIGN: &str = "docker.io/library/nginx:1.27";

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "web", "image": image}]},
    })
}

fn deployment(namespace: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    })
}

/// Every kind that makes Pods, with one image in it.
fn workloads(namespace: &str, image: &str) -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": namespace}, "spec": spec});
    let mut once = template(image);
    once["spec"]["restartPolicy"] = "Never".into();
    let mut pod_template = object("v1", "PodTemplate", Value::Null);
    pod_template.as_object_mut().unwrap().remove("spec");
    pod_template["template"] = template(image);
    let job = json!({"template": once});
    vec![
        deployment(namespace, image, 0),
        object(
            "apps/v1",
            "ReplicaSet",
            json!({"replicas": 0, "selector": selector, "template": template(image)}),
        ),
        object(
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 0, "serviceName": "web", "selector": selector, "template": template(image)}),
        ),
        object("apps/v1", "DaemonSet", json!({"selector": selector, "template": template(image)})),
        object(
            "v1",
            "ReplicationController",
            json!({"replicas": 0, "selector": {"app": "web"}, "template": template(image)}),
        ),
        object("batch/v1", "Job", job.clone()),
        object("batch/v1", "CronJob", json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}})),
        pod_template,
    ]
}

#[tokio::test]
async fn every_kind_that_makes_pods_is_refused_early_and_never_changed() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = house(cluster, "workloads").await;
    for object in workloads(&namespace, FOREIGN) {
        let said = cluster.dry_run(&object.to_string()).await;
        assert!(!said.success && said.stderr.contains("RegistryNotAllowed"), "{}: {said:?}", object["kind"]);
    }
    for object in workloads(&namespace, WEB) {
        let kubectl = ["create", "--dry-run=server", "-ojson", "-f", "-"];
        let said = cluster.api.kubectl_with(&kubectl, &object.to_string()).await;
        assert!(said.success, "{}: {said:?}", object["kind"]);
        assert!(said.stdout.contains(&format!("\"{WEB}\"")), "{}: a template stays as it is", object["kind"]);
    }
}

#[tokio::test]
async fn a_pod_of_a_deployment_that_was_stored_before_the_policy_is_still_judged() {
    let Some(cluster) = Cluster::shared().await else { return };
    let Some(()) = cluster.api.run_controllers().await else { return };
    let namespace = cluster.api.namespace("stored").await;
    let said = cluster.apply(&deployment(&namespace, FOREIGN, 0).to_string()).await;
    assert!(said.success, "{said:?}");
    let replica_sets = ["-n", &namespace, "get", "replicasets", "-oname"];
    let made = async || !cluster.api.kubectl(&replica_sets).await.stdout.is_empty();
    cluster.until("the ReplicaSet is stored too", made).await;
    cluster.enforce(&house_rules(&namespace)).await;

    let said = cluster.api.kubectl(&["-n", &namespace, "scale", "deployment/web", "--replicas=1"]).await;
    assert!(said.success, "{said:?}");
    let condition = "-ojsonpath={.items[*].status.conditions[?(@.type=='ReplicaFailure')].message}";
    cluster
        .until("the controller hears the refusal", async || {
            let said = cluster.api.kubectl(&["-n", &namespace, "get", "replicasets", condition]).await;
            said.stdout.contains("RegistryNotAllowed")
        })
        .await;
    let said = cluster.api.kubectl(&["-n", &namespace, "get", "pods", "-oname"]).await;
    assert_eq!(said.stdout, "");
}
