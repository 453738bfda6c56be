use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::{jobs::wanted, scene::Scene};
use crate::support::{
    certs::Authority,
    hostile::{Act, Hostile, Received, Reply},
};

const MEDIA_TYPE: &str = "application/vnd.security.vulnerability.report; version=1.1";

/// What Harbor has: whole images, an index, one that it is scanning, and one that it has never scanned.
struct Shelf {
    image: Digest,
    index: Digest,
    partly: Digest,
    unscanned: Digest,
    child: Digest,
}

impl Shelf {
    fn new() -> Self {
        let [image, index, partly, unscanned, child] =
            ["image", "index", "partly", "unscanned", "child"].map(|name| Digest::sha256(name.as_bytes()));
        Self { image, index, partly, unscanned, child }
    }

    fn answer(&self, request: &Received) -> Reply {
        // robot$reader:wonderland
        if request.header("authorization") != Some("Basic cm9ib3QkcmVhZGVyOndvbmRlcmxhbmQ=") {
            return Reply::status(401);
        }
        let base = "/api/v2.0/projects/shop/repositories/team%252Fweb/artifacts/";
        let Some(rest) = request.path().strip_prefix(base) else { return Reply::status(404) };
        let (digest, addition) = rest.split_once('/').unwrap_or((rest, ""));
        let known = [&self.image, &self.index, &self.partly, &self.unscanned];
        let Some(digest) = known.into_iter().find(|known| known.as_str() == digest) else {
            return Reply::status(404);
        };
        let body =
            if addition == "additions/vulnerabilities" { self.report(digest) } else { self.artifact(digest) };
        Reply::status(200).body(body.to_string())
    }

    fn artifact(&self, digest: &Digest) -> Value {
        let is_index = digest == &self.index || digest == &self.partly;
        let percent = if digest == &self.partly { 50 } else { 100 };
        let overview = match digest == &self.unscanned {
            true => Value::Null,
            false => json!({MEDIA_TYPE: {"scan_status": "Success", "complete_percent": percent}}),
        };
        let references = if is_index { json!([{"child_digest": self.child}]) } else { Value::Null };
        json!({"digest": digest, "references": references, "scan_overview": overview})
    }

    fn report(&self, digest: &Digest) -> Value {
        if digest == &self.unscanned {
            return json!({});
        }
        let named = if digest == &self.image { digest } else { &self.child };
        json!({MEDIA_TYPE: {
            "generated_at": "2026-01-02T03:04:05Z", "scanner": {"name": "Trivy", "vendor": "Aqua", "version": "v0.1"},
            "severity": "High",
            "vulnerabilities": [{"id": "CVE-2026-0001", "package": "libexample", "version": "1.0", "fix_version": "1.1",
                "severity": "High", "artifact_digests": [named]}],
        }})
    }
}

#[tokio::test]
async fn a_harbor_is_asked_about_its_own_images_and_speaks_of_an_index_only_if_all_of_it_is_scanned() {
    let Some(scene) = Scene::shared().await else { return };
    let authority = Authority::new("the authority of a Harbor");
    let shelf = Shelf::new();
    let harbor =
        Hostile::start_tls(&authority, move |request| Act::Answer(Shelf::new().answer(request))).await;
    scene.secret("harbor-robot", json!({"username": "robot$reader", "password": "wonderland\n"})).await;
    let spec = json!({"harbor": {
        "url": format!("https://{}", harbor.host()), "registry": "harbor.example.com",
        "credentialsSecretRef": {"name": "harbor-robot"}, "caBundle": authority.certificate(),
    }});
    scene.source("harbor", spec).await;
    let asked = [
        ("image", "harbor.example.com", &shelf.image),
        ("index", "harbor.example.com", &shelf.index),
        ("partly", "harbor.example.com", &shelf.partly),
        ("unscanned", "harbor.example.com", &shelf.unscanned),
        ("elsewhere", "registry.example.com", &shelf.child),
    ];
    for (event, host, digest) in asked {
        let image = format!("{host}/shop/team/web@{digest}");
        scene.apply(&wanted(&format!("harbor-{event}"), &image, "tidewaiter.dev/webhook")).await;
    }
    for digest in [&shelf.image, &shelf.index] {
        scene
            .until("there is a verdict", async || scene.verdict(digest.as_str(), "harbor").await.is_some())
            .await;
        let spec = scene.verdict(digest.as_str(), "harbor").await.unwrap()["spec"].clone();
        assert_eq!(spec["counts"]["high"], json!({"found": 1, "fixable": 1}), "{spec}");
        assert_eq!(spec["scannedAt"], "2026-01-02T03:04:05Z", "{spec}");
        assert_eq!(spec.get("platforms"), None, "{spec}");
    }
    for reason in ["ScanFailed", "NoReport"] {
        let told = format!("{{reason=\"{reason}\",source=\"harbor\"}}");
        scene.until(reason, async || scene.metrics().await.contains(&told)).await;
    }
    for digest in [&shelf.partly, &shelf.unscanned, &shelf.child] {
        assert_eq!(scene.verdict(digest.as_str(), "harbor").await, None);
    }
    let about_child = |request: &Received| request.target.contains(shelf.child.as_str());
    assert!(!harbor.received().iter().any(about_child), "it was asked about another registry's image");
}
