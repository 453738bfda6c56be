use serde_json::{Value, json};
use tidewaiter::{
    api::v1alpha1::{ImageScanVerdict, ImageScanVerdictSpec},
    cluster::{VerdictWriter, Written},
    image::Digest,
    verdicts::object_name,
};

use crate::support::apiserver::ApiServer;

const MORNING: &str = "2026-11-20T08:00:00Z";
const NOON: &str = "2026-11-20T12:00:00Z";

struct Scene {
    server: &'static ApiServer,
    writer: VerdictWriter,
    digest: Digest,
}

impl Scene {
    async fn new(name: &str) -> Option<Self> {
        let server = ApiServer::shared().await?;
        server.apply_crds().await;
        let writer = VerdictWriter::new(server.client().await);
        Some(Self { server, writer, digest: Digest::sha256(name.as_bytes()) })
    }

    fn name(&self) -> String {
        object_name(&self.digest, "writer")
    }

    fn verdict(&self, at: &str, critical: u32) -> ImageScanVerdict {
        let findings =
            (0..critical).map(|at| json!({"id": format!("CVE-2026-{at:04}"), "severity": "Critical"}));
        let findings: Vec<Value> = findings.collect();
        let mut spec = json!({
            "digest": self.digest, "source": "writer", "scanner": {"name": "trivy"}, "scannedAt": at,
            "counts": {"critical": {"found": critical, "fixable": 0}}, "truncated": false,
        });
        if critical > 0 {
            spec["packages"] = json!([{"name": "a", "findings": findings}]);
        }
        ImageScanVerdict::new(&self.name(), serde_json::from_value(spec).unwrap())
    }

    async fn write(&self, at: &str, critical: u32) -> Written {
        self.writer.write(&self.name(), |_| self.verdict(at, critical)).await.unwrap()
    }

    async fn stored(&self) -> Value {
        let said = self.server.kubectl(&["get", "isv", &self.name(), "--output=json"]).await;
        assert!(said.success, "{said:?}");
        serde_json::from_str(&said.stdout).unwrap()
    }
}

#[tokio::test]
async fn a_verdict_is_written_once_and_never_replaced_by_an_older_one() {
    let Some(scene) = Scene::new("once").await else { return };
    assert_eq!(scene.write(NOON, 1).await, Written::Created);
    let stored = scene.stored().await;
    assert_eq!(stored["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(stored["metadata"]["annotations"]["tidewaiter.dev/scanned-at"], NOON);
    assert_eq!(scene.write(NOON, 1).await, Written::Unchanged);
    assert_eq!(scene.write(MORNING, 0).await, Written::Older);
    assert_eq!(scene.stored().await, stored, "not even its version is another");
    assert_eq!(scene.write("2026-11-20T12:00:01Z", 2).await, Written::Updated);
    assert_eq!(scene.stored().await["spec"]["counts"]["critical"]["found"], 2);
}

#[tokio::test]
async fn of_many_who_write_at_once_the_newest_stays() {
    let Some(scene) = Scene::new("at once").await else { return };
    let writes = (0..8).map(|second| {
        let at = format!("2026-11-20T12:00:0{second}Z");
        let scene = &scene;
        async move { scene.writer.write(&scene.name(), |_| scene.verdict(&at, second)).await }
    });
    let ended = futures::future::join_all(writes).await;
    // One who has lost every race would say so, and be tried again.
    assert!(
        ended.iter().all(|ended| ended.as_ref().map_or_else(|e| e.code() == Some(409), |_| true)),
        "{ended:?}"
    );
    scene.write("2026-11-20T12:00:07Z", 7).await;
    let stored = scene.stored().await;
    assert_eq!(stored["spec"]["scannedAt"], "2026-11-20T12:00:07Z");
    assert_eq!(stored["spec"]["counts"]["critical"]["found"], 7);
}

#[tokio::test]
async fn what_was_said_before_is_at_hand_for_what_is_said_now() {
    let Some(scene) = Scene::new("before").await else { return };
    scene.write(MORNING, 3).await;
    let seen = std::sync::Mutex::new(None);
    let make = |before: Option<&ImageScanVerdictSpec>| {
        *seen.lock().unwrap() = before.map(|spec| spec.counts.critical.found);
        scene.verdict(NOON, 0)
    };
    scene.writer.write(&scene.name(), make).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(3));
}

/// Server-side apply would leave another manager's fields where ours say nothing.
#[tokio::test]
async fn what_another_has_written_is_not_mixed_with_what_is_written_now() {
    let Some(scene) = Scene::new("mixed").await else { return };
    let mut other = serde_json::to_value(scene.verdict(MORNING, 2)).unwrap();
    other["spec"]["platforms"] = json!([{"platform": "linux/s390x"}]);
    other["spec"]["database"] = json!({"updatedAt": "2026-11-20T07:00:00Z"});
    let said = scene.server.kubectl_with(&["create", "-f", "-"], &other.to_string()).await;
    assert!(said.success, "{said:?}");
    assert_eq!(scene.write(NOON, 0).await, Written::Updated);
    let spec = scene.stored().await["spec"].clone();
    for field in ["platforms", "database", "packages"] {
        assert_eq!(spec[field], Value::Null, "{field}");
    }
}
