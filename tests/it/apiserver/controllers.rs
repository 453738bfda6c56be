//! The controllers beside the API server: where Pods come from that nobody wrote.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::support::apiserver::ApiServer;

#[tokio::test]
async fn a_deployment_becomes_a_pod() {
    let Some(server) = ApiServer::shared().await else { return };
    let Some(()) = server.run_controllers().await else { return };
    let client = server.client().await;
    let namespace = server.namespace("controllers").await;
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1"}]},
            },
        },
    }))
    .unwrap();

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    deployments.create(&PostParams::default(), &deployment).await.unwrap();

    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let pod = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Some(pod) = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items.pop()
            {
                return pod;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no Pod came of the Deployment"));
    assert_eq!(pod.spec.unwrap().containers[0].image.as_deref(), Some("registry.example.com/web:1"));
}
