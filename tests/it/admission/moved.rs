//! A tag that moves while a Pod is on its way through admission.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::{house_rules, pod, stored};
use crate::support::{certs::Authority, cluster::Cluster, process::Said};

const IMAGE: &str = "registry.example.com/shop/moving:1";

/// What another webhook does between our mutating and our validating look at a Pod.
#[derive(Clone, Copy)]
enum Meddler {
    /// It moves the tag and leaves the Pod alone.
    MovesTheTag,
    /// It moves the tag and takes the digest out of the Pod again.
    TakesTheDigestOut,
    /// It does so once more when the digest has been put in a second time.
    InsistsOnIt,
}

struct Scene {
    cluster: Cluster,
    namespace: String,
    judged: Digest,
    /// Where the tag points to after the meddler was there.
    moved: Arc<Mutex<Option<Digest>>>,
}

async fn scene(meddler: Meddler) -> Option<Scene> {
    // A webhook of this test's alone needs an API server of its own.
    let cluster = Cluster::start().await?;
    let namespace = cluster.api.namespace("moving").await;
    cluster.enforce(&house_rules(&namespace)).await;
    let judged = cluster.registry.push("shop/moving", "1").await;
    let moved = Arc::new(Mutex::new(None));
    register(&cluster, &namespace, meddler, moved.clone()).await;
    Some(Scene { cluster, namespace, judged, moved })
}

/// Registers a mutating webhook that the API server asks after ours, by its name.
async fn register(cluster: &Cluster, namespace: &str, meddler: Meddler, moved: Arc<Mutex<Option<Digest>>>) {
    let authority = Authority::new("the authority of another webhook");
    let serving = authority.server(&["127.0.0.1"]);
    let chain = vec![CertificateDer::from_pem_slice(serving.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let registry = cluster.registry.clone();
    let app = move || {
        let (registry, moved) = (registry.clone(), moved.clone());
        let answer = move |review: web::Json<Value>| {
            let (registry, moved) = (registry.clone(), moved.clone());
            async move {
                let digest = registry.push("shop/moving", "1").await;
                *moved.lock().unwrap() = Some(digest);
                HttpResponse::Ok().json(admit(meddler, &review))
            }
        };
        App::new().app_data(web::JsonConfig::default().limit(1 << 20)).route("/", web::post().to(answer))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(
        HttpServer::new(app).workers(1).disable_signals().listen_rustls_0_23(listener, tls).unwrap().run(),
    );

    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zz-another"},
        "webhooks": [{
            "name": "another.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "NoneOnDryRun",
            "clientConfig": {"url": url, "caBundle": BASE64_STANDARD.encode(authority.certificate())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "reinvocationPolicy": if matches!(meddler, Meddler::InsistsOnIt) { "IfNeeded" } else { "Never" },
        }],
    });
    assert!(cluster.apply(&configuration.to_string()).await.success);
}

fn admit(meddler: Meddler, review: &Value) -> Value {
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if !matches!(meddler, Meddler::MovesTheTag) {
        let patch = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": IMAGE}]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = BASE64_STANDARD.encode(patch.to_string()).into();
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Creates Pods until the API server asks the meddler too; says what became of the first that it saw.
async fn created_before_the_meddler(scene: &Scene) -> (String, Said) {
    let Scene { cluster, namespace, moved, .. } = scene;
    for attempt in 0..100 {
        let name = format!("web-{attempt}");
        let said = cluster.apply(&pod(namespace, &name, IMAGE).to_string()).await;
        if moved.lock().unwrap().is_some() {
            return (name, said);
        }
        assert!(said.success, "{said:?}");
    }
    panic!("the other webhook is never asked");
}

#[tokio::test]
async fn the_digest_that_was_judged_is_stored_though_the_tag_has_moved() {
    let Some(scene) = scene(Meddler::MovesTheTag).await else { return };
    let (name, said) = created_before_the_meddler(&scene).await;
    assert!(said.success, "{said:?}");
    let Scene { cluster, namespace, judged, moved } = &scene;
    let image = stored(cluster, namespace, &format!("pod/{name}"), ".spec.containers[0].image").await;
    assert_ne!(moved.lock().unwrap().as_ref(), Some(judged));
    assert_eq!(image, format!("{IMAGE}@{judged}"));
}

#[tokio::test]
async fn a_digest_that_was_taken_out_is_put_in_again() {
    // `reinvocationPolicy: IfNeeded`: who changes a Pod after us has us look at it once more.
    let Some(scene) = scene(Meddler::TakesTheDigestOut).await else { return };
    let (name, said) = created_before_the_meddler(&scene).await;
    assert!(said.success, "{said:?}");
    let Scene { cluster, namespace, judged, .. } = &scene;
    let image = stored(cluster, namespace, &format!("pod/{name}"), ".spec.containers[0].image").await;
    assert_eq!(image, format!("{IMAGE}@{judged}"));
}

#[tokio::test]
async fn a_pod_whose_digest_is_taken_out_for_good_is_refused() {
    let Some(scene) = scene(Meddler::InsistsOnIt).await else { return };
    let (_, said) = created_before_the_meddler(&scene).await;
    assert!(!said.success && said.stderr.contains("DigestNotPinned"), "{said:?}");
}
