use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::scene::Scene;

async fn job_of(scene: &Scene, source: &str) -> Option<Value> {
    let label = format!("tidewaiter.dev/scan-source={source}");
    let list = scene.get(&["jobs", "--namespace", "tidewaiter", "--selector", &label]).await;
    list.and_then(|mut list| list["items"].as_array_mut().unwrap().pop())
}

fn jobs(pattern: &str) -> Value {
    json!({"scanJob": {"trivy": {"server": "http://trivy.example.com:4954"}, "retries": 0},
        "match": {"images": [pattern]}})
}

/// Says that a Job has failed, as the cluster's controller would.
async fn fail(scene: &Scene, name: &str, reason: &str) {
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "message": "",
            "lastProbeTime": "2026-11-20T08:00:00Z", "lastTransitionTime": "2026-11-20T08:00:00Z"})
    };
    let status = json!({"status": {"startTime": "2026-11-20T08:00:00Z", "failed": 1,
        "conditions": [condition("FailureTarget"), condition("Failed")]}});
    let patch = ["patch", "job", name, "--namespace=tidewaiter", "--subresource=status", "--type=merge"];
    let said = scene.server.kubectl(&[&patch[..], &["--patch", &status.to_string()]].concat()).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn what_runs_is_scanned_by_a_job_that_fits_the_restricted_standard() {
    let Some(scene) = Scene::shared().await else { return };
    let digest = Digest::sha256(b"jobs-one");
    let image = format!("registry.example.com/jobs-one@{digest}");
    let namespace = scene.server.namespace("runs").await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"containers": [{"name": "web", "image": "registry.example.com/jobs-one:1"}]},
    });
    scene.apply(&pod).await;
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "web", "image": "registry.example.com/jobs-one:1", "imageID": image, "ready": true, "restartCount": 0,
    }]}});
    let patch = ["patch", "pod", "web", "--namespace", &namespace, "--subresource=status", "--type=merge"];
    let said = scene.server.kubectl(&[&patch[..], &["--patch", &status.to_string()]].concat()).await;
    assert!(said.success, "{said:?}");
    scene.source("jobs-one", jobs("registry.example.com/jobs-one")).await;
    scene.until("there is a Job", async || job_of(scene, "jobs-one").await.is_some()).await;
    let job = job_of(scene, "jobs-one").await.unwrap();
    let template = &job["spec"]["template"];
    assert_eq!(template["spec"]["containers"][0]["args"].as_array().unwrap().last().unwrap(), &json!(image));

    // The API server itself says whether a Pod of it fits.
    let restricted = scene.server.namespace("restricted").await;
    let label = ["label", "namespace", &restricted, "pod-security.kubernetes.io/enforce=restricted"];
    assert!(scene.server.kubectl(&label).await.success);
    let create = ["create", "--dry-run=server", "--namespace", &restricted, "-f", "-"];
    let bad = scene
        .server
        .kubectl_with(
            &create,
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"},
                "spec": {"containers": [{"name": "web", "image": "a"}]},
            })
            .to_string(),
        )
        .await;
    assert!(bad.stderr.contains("violates PodSecurity"), "{bad:?}");
    let mut spec = template["spec"].clone();
    spec["serviceAccountName"] = Value::Null;
    let good = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "good"}, "spec": spec});
    let said = scene.server.kubectl_with(&create, &good.to_string()).await;
    assert!(said.success, "{said:?}");

    // It fails: that is told, and the Job is cleared away.
    let name = job["metadata"]["name"].as_str().unwrap();
    fail(scene, name, "DeadlineExceeded").await;
    scene.until("the Job is gone", async || job_of(scene, "jobs-one").await.is_none()).await;
    scene.until("it is told", async || scene.standing("jobs-one").await.2.starts_with("TimedOut: ")).await;
    let metrics = scene.metrics().await;
    assert!(
        metrics.contains("tidewaiter_source_errors_total{reason=\"TimedOut\",source=\"jobs-one\"} 1"),
        "{metrics}"
    );
}

pub fn wanted(name: &str, image: &str, controller: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": name, "namespace": "tidewaiter"},
        "eventTime": "2026-11-20T08:00:00.000000Z", "reason": "ScanWanted", "action": "Scan", "type": "Normal",
        "reportingController": controller, "reportingInstance": "webhook-0", "note": image,
        "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": "tidewaiter", "namespace": "tidewaiter"},
    })
}

#[tokio::test]
async fn what_the_webhook_waits_for_is_scanned_and_nobody_elses_wish() {
    let Some(scene) = Scene::shared().await else { return };
    scene.source("jobs-two", jobs("registry.example.com/jobs-two/**")).await;
    let image =
        |name: &str| format!("registry.example.com/jobs-two/{name}@{}", Digest::sha256(name.as_bytes()));
    scene.apply(&wanted("jobs-two-a", &image("stranger"), "example.com/stranger")).await;
    scene.apply(&wanted("jobs-two-b", &image("wanted"), "tidewaiter.dev/webhook")).await;
    scene.until("there is a Job", async || job_of(scene, "jobs-two").await.is_some()).await;
    let job = job_of(scene, "jobs-two").await.unwrap();
    assert_eq!(job["metadata"]["annotations"]["tidewaiter.dev/image"], image("wanted"));
    fail(scene, job["metadata"]["name"].as_str().unwrap(), "BackoffLimitExceeded").await;
    scene.until("it is told", async || scene.standing("jobs-two").await.2.starts_with("ScanFailed: ")).await;
    assert!(job_of(scene, "jobs-two").await.is_none(), "the other is not scanned");
}

#[tokio::test]
async fn jobs_that_a_former_process_left_are_cleared_away_before_the_first_scan() {
    let Some(scene) = Scene::shared().await else { return };
    scene
        .apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "left", "namespace": "tidewaiter", "labels": {"tidewaiter.dev/scan-source": "jobs-three"}},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}},
        }))
        .await;
    scene.source("jobs-three", jobs("registry.example.com/jobs-three")).await;
    let image = format!("registry.example.com/jobs-three@{}", Digest::sha256(b"jobs-three"));
    scene.apply(&wanted("jobs-three", &image, "tidewaiter.dev/webhook")).await;
    scene
        .until("its own Job runs", async || {
            job_of(scene, "jobs-three").await.is_some_and(|job| job["metadata"]["name"] != "left")
        })
        .await;
    assert_eq!(scene.get(&["job", "left", "--namespace", "tidewaiter"]).await, None);
}
