//! Scans in a cluster with nodes: the controller orders a Job, a real Trivy in it asks a real Trivy server, and what
//! it prints becomes a verdict.
//!
//! Run by `make test-cluster`.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};
use tidewaiter::image::Digest;

use crate::{
    scanners::vulnerable,
    support::{
        image::Image,
        layout,
        nodes::Nodes,
        process::{self, Guarded},
        scanners::Scanners,
    },
};

/// What the controller may do; in the repository as users apply it.
const RIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/controller-rbac.yaml");
const NAMESPACE: &str = "tidewaiter";
const REPOSITORY: &str = "acme/scanned";
/// How long Pods may take to start, and scans to end.
const PATIENCE: Duration = Duration::from_secs(240);

/// The cluster with a Trivy server, and a controller at work.
struct Scene {
    nodes: Nodes,
    /// Trivy's image, by digest.
    trivy: String,
    controller: Guarded,
}

impl Scene {
    /// `None` if something is missing, and then the test has been skipped.
    async fn new() -> Option<Self> {
        let nodes = Nodes::find()?;
        let scanners = Scanners::shared().await?;
        let crds = process::run(
            {
                let mut command = process::tidewaiter();
                command.arg("crds");
                command
            },
            "",
            PATIENCE,
        )
        .await
        .unwrap();
        nodes.must(&["apply", "--server-side", "-f", "-"], &crds.stdout).await;
        nodes.must(&["wait", "--for=condition=Established", "crd", "--all"], "").await;
        nodes.must(&["apply", "-f", RIGHTS], "").await;
        // Whatever runs there must fit the strictest standard.
        nodes
            .must(
                &[
                    "label",
                    "--overwrite",
                    "namespace",
                    NAMESPACE,
                    "pod-security.kubernetes.io/enforce=restricted",
                ],
                "",
            )
            .await;

        let database = scanners.trivy_cache().join("db");
        let file = |name: &str| fs::read(database.join(name)).unwrap();
        let image = Image::default()
            .program("trivy", fs::read(&scanners.trivy).unwrap())
            .file("cache/db/trivy.db", file("trivy.db"))
            .file("cache/db/metadata.json", file("metadata.json"))
            .open();
        let pushed = layout::digest(&image.push(&nodes.registry, "tests/trivy", "amd64").await);
        let trivy = format!("{}/tests/trivy@{pushed}", nodes.registry.host());
        nodes.must(&["apply", "-f", "-"], &server(&trivy).to_string()).await;
        nodes
            .must(&["-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/trivy", "--timeout=100s"], "")
            .await;
        let controller = controller(&nodes).await;
        Some(Self { nodes, trivy, controller })
    }

    async fn push(&self, image: &Image) -> Digest {
        layout::digest(&image.push(&self.nodes.registry, REPOSITORY, "amd64").await)
    }

    /// The verdict of a source on a digest, once it is there.
    async fn verdict(&self, digest: &Digest, source: &str) -> Value {
        let name = format!("{}.{source}", digest.as_str().replace(':', "-"));
        let there = async || self.nodes.get(&["imagescanverdict", &name]).await;
        let what = format!("there is a verdict; the controller says {}", self.controller.log());
        self.nodes.until(&what, NAMESPACE, PATIENCE, there).await
    }

    /// Waits until the Jobs of `source` are cleared away and it is said to be ready.
    async fn until_settled(&self, source: &str) {
        let label = format!("tidewaiter.dev/scan-source={source}");
        let gone = async || {
            let jobs = self.nodes.get(&["-n", NAMESPACE, "jobs", "-l", &label]).await?;
            jobs["items"].as_array()?.is_empty().then_some(())
        };
        self.nodes.until("the Job is cleared away", NAMESPACE, PATIENCE, gone).await;
        let ready = async || {
            let source = self.nodes.get(&["vulnerabilitysource", source]).await?;
            let conditions = source["status"]["conditions"].as_array()?.clone();
            let mut ready =
                conditions.iter().filter(|one| one["type"] == "SourceReady" && one["status"] == "True");
            (ready.next().is_some() && source["status"]["lastSuccess"].is_string()).then_some(())
        };
        self.nodes.until("the source is ready", NAMESPACE, PATIENCE, ready).await;
    }
}

/// The Trivy server, and the Service by which clients find it.
fn server(image: &str) -> Value {
    let labels = json!({"app": "trivy"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "trivy", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "trivy", "image": image,
                "args": ["server", "--skip-db-update", "--cache-dir", "/cache", "--listen", "0.0.0.0:4954"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 4954}, "periodSeconds": 1},
            }],
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "trivy", "namespace": NAMESPACE},
        "spec": {"selector": labels, "ports": [{"port": 4954}]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]})
}

/// Our own controller, beside the cluster, with the rights that users are told to give it.
async fn controller(nodes: &Nodes) -> Guarded {
    let token = nodes.must(&["-n", NAMESPACE, "create", "token", "tidewaiter-controller"], "").await;
    let config = nodes.must(&["config", "view", "--raw", "--minify", "-o", "json"], "").await;
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["users"][0]["user"] = json!({"token": token.trim()});
    let directory = process::directory("controller").unwrap();
    let kubeconfig = directory.join("kubeconfig");
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let mut command: Command = process::tidewaiter();
    command
        .args(["controller", "--namespace", NAMESPACE, "--health-listen", "127.0.0.1:0", "--kubeconfig"])
        .arg(kubeconfig);
    Guarded::start(&command, directory).unwrap()
}

fn source(name: &str, images: &str, job: &Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "VulnerabilitySource", "metadata": {"name": name},
        "spec": {"match": {"images": [images]}, "scanJob": job},
    })
}

const SERVER: &str = "http://trivy.tidewaiter.svc.cluster.local:4954";

#[tokio::test]
async fn what_runs_is_scanned_by_a_job() {
    let Some(scene) = Scene::new().await else { return };
    let nodes = &scene.nodes;
    let digest = scene.push(&vulnerable("1.2.3-1").file("for", "a Pod")).await;
    let host = nodes.registry.host();
    // A scanner of one's own, since Trivy must be told that the registry has no TLS.
    let arguments = [
        "image",
        "--server",
        SERVER,
        "--image-src",
        "remote",
        "--insecure",
        "--scanners",
        "vuln",
        "--platform",
        "$(TIDEWAITER_PLATFORM)",
        "--format",
        "json",
        "--quiet",
        "$(TIDEWAITER_IMAGE)",
    ];
    let job = json!({"image": scene.trivy, "command": ["/trivy"], "args": arguments, "format": "Trivy"});
    nodes.must(&["apply", "-f", "-"], &source("running", &format!("{host}/acme/**"), &job).to_string()).await;

    // It need not run for long: the image has no program.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "scanned", "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [
            {"name": "app", "image": format!("{host}/{REPOSITORY}@{digest}"), "command": ["/none"]},
        ]},
    });
    nodes.must(&["delete", "pod", "scanned", "--ignore-not-found", "--wait"], "").await;
    nodes.must(&["apply", "-f", "-"], &pod.to_string()).await;

    let verdict = scene.verdict(&digest, "running").await;
    assert_eq!(verdict["spec"]["digest"], digest.as_str());
    assert_eq!(verdict["spec"]["counts"]["critical"], json!({"found": 1, "fixable": 1}), "{verdict}");
    assert_eq!(verdict["spec"]["counts"]["unknown"], json!({"found": 1, "fixable": 0}), "{verdict}");
    scene.until_settled("running").await;
}

/// As the webhook says it of an image that it has refused because nobody had scanned it.
#[tokio::test]
async fn what_is_waited_for_is_scanned_by_trivy_itself() {
    let Some(scene) = Scene::new().await else { return };
    let nodes = &scene.nodes;
    let digest = scene.push(&vulnerable("1.2.3-2").file("for", "an Event")).await;
    // Trivy asks private addresses without TLS.
    let mut addresses = tokio::net::lookup_host(nodes.registry.host()).await.unwrap();
    let address = addresses.next().expect("the registry has an address");
    let job = json!({"image": scene.trivy, "trivy": {"server": SERVER}});
    nodes
        .must(&["apply", "-f", "-"], &source("waited", &format!("{address}/acme/**"), &job).to_string())
        .await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"generateName": "scan-wanted-", "namespace": NAMESPACE},
        "eventTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(), "type": "Normal",
        "action": "Scan", "reason": "ScanWanted", "reportingController": "tidewaiter.dev/webhook",
        "reportingInstance": "tests", "note": format!("{address}/{REPOSITORY}@{digest}"),
        "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": NAMESPACE, "namespace": NAMESPACE},
    });
    nodes.must(&["create", "-f", "-"], &event.to_string()).await;

    let verdict = scene.verdict(&digest, "waited").await;
    assert_eq!(verdict["spec"]["counts"]["critical"]["found"], 0, "{verdict}");
    assert_eq!(verdict["spec"]["counts"]["medium"], json!({"found": 1, "fixable": 1}), "{verdict}");
    assert_eq!(verdict["spec"]["scanner"]["name"], "trivy");
    scene.until_settled("waited").await;
}
