use serde_json::{Value, json};

use super::{house_rules, pod};
use crate::support::{cluster::Cluster, registry::ACCOUNTS};

/// A namespace in which the private registry is allowed, and a Pod that wants an image of it.
async fn scene(cluster: &Cluster, name: &str) -> (String, Value) {
    let namespace = cluster.api.namespace(name).await;
    let mut policy = house_rules(&namespace);
    policy["spec"]["registries"]["allow"] = json!([format!("{}/**", cluster.private.host())]);
    cluster.enforce(&policy).await;
    let object = pod(&namespace, "web", &format!("{}/shop/private:1", cluster.private.host()));
    (namespace, object)
}

async fn store_secret(cluster: &Cluster, namespace: &str) {
    let (user, password) = ACCOUNTS[0];
    let config = json!({"auths": {cluster.private.host(): {"username": user, "password": password}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull", "namespace": namespace},
        "stringData": {".dockerconfigjson": config.to_string()},
    });
    let said = cluster.apply(&secret.to_string()).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn a_pods_own_pull_secret_opens_a_private_registry() {
    let Some(cluster) = Cluster::shared().await else { return };
    let (namespace, mut object) = scene(cluster, "private").await;
    store_secret(cluster, &namespace).await;
    let said = cluster.dry_run(&object.to_string()).await;
    assert!(!said.success && said.stderr.contains("ImageUnavailable"), "without the secret: {said:?}");
    object["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    let said = cluster.dry_run(&object.to_string()).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn a_service_accounts_pull_secret_serves_its_pods() {
    let Some(cluster) = Cluster::shared().await else { return };
    let (namespace, mut object) = scene(cluster, "account").await;
    store_secret(cluster, &namespace).await;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop", "namespace": namespace},
        "imagePullSecrets": [{"name": "pull"}],
    });
    assert!(cluster.apply(&account.to_string()).await.success);
    object["spec"]["serviceAccountName"] = "shop".into();
    let said = cluster.dry_run(&object.to_string()).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn another_namespaces_secret_is_never_used() {
    let Some(cluster) = Cluster::shared().await else { return };
    let (rich, mut theirs) = scene(cluster, "rich").await;
    store_secret(cluster, &rich).await;
    theirs["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    assert!(
        cluster.dry_run(&theirs.to_string()).await.success,
        "the answer is known now, for those who may have it"
    );
    let (_, mut ours) = scene(cluster, "poor").await;
    ours["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    let said = cluster.dry_run(&ours.to_string()).await;
    assert!(!said.success && said.stderr.contains("ImageUnavailable"), "{said:?}");
}
