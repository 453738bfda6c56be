use serde_json::json;
use tidewaiter::image::Digest;

use super::{jobs::wanted, scene::Scene};
use crate::support::hostile::{Act, Hostile, Received, Reply};

/// A Quay that has scanned every manifest but `queued`, and supports no `index`.
fn answer(index: &str, queued: &str, request: &Received) -> Reply {
    if request.header("authorization") != Some("Bearer wonderland") {
        return Reply::status(401);
    }
    let rest = request.path().strip_prefix("/api/v1/repository/quay/app/manifest/");
    let Some(digest) = rest.and_then(|rest| rest.strip_suffix("/security")) else {
        return Reply::status(404);
    };
    assert_eq!(request.query("vulnerabilities").as_deref(), Some("true"));
    let said = match digest {
        digest if digest == index => json!({"status": "unsupported", "data": null}),
        digest if digest == queued => json!({"status": "queued", "data": null}),
        digest => {
            json!({"status": "scanned", "data": {"Layer": {"Name": digest, "IndexedByVersion": 4, "Features": [{
                "Name": "libexample", "Version": "1.0", "Vulnerabilities": [
                    {"Severity": "High", "Name": "CVE-2026-0001", "FixedBy": "1.1", "Link": "", "Metadata": null}],
            }]}}})
        }
    };
    Reply::status(200).body(said.to_string())
}

#[tokio::test]
async fn a_quay_is_asked_about_the_image_in_an_index_and_what_is_queued_has_no_verdict() {
    let Some(scene) = Scene::shared().await else { return };
    let image = scene.registry.push("quay/app", "1").await;
    let index = scene.registry.push_index("quay/app", "all").await;
    let queued = Digest::sha256(b"quay queued");
    let (of_index, in_queue) = (index.to_string(), queued.to_string());
    let quay = Hostile::start(move |request| Act::Answer(answer(&of_index, &in_queue, request))).await;
    scene.secret("quay-token", json!({"token": "wonderland"})).await;
    let spec = json!({
        "quay": {"url": format!("http://{}", quay.host()), "registry": scene.registry.host(),
            "tokenSecretRef": {"name": "quay-token", "key": "token"}},
        "match": {"images": [format!("{}/quay/app", scene.registry.host())]},
    });
    scene.source("quay", spec).await;
    for (event, digest) in [("quay-image", &image), ("quay-index", &index), ("quay-queued", &queued)] {
        let image = format!("{}/quay/app@{digest}", scene.registry.host());
        scene.apply(&wanted(event, &image, "tidewaiter.dev/webhook")).await;
    }
    for digest in [&image, &index] {
        scene
            .until("there is a verdict", async || scene.verdict(digest.as_str(), "quay").await.is_some())
            .await;
        let spec = scene.verdict(digest.as_str(), "quay").await.unwrap()["spec"].clone();
        assert_eq!(spec["counts"]["high"], json!({"found": 1, "fixable": 1}), "{spec}");
        let platform = spec["platforms"][0]["platform"].as_str();
        assert_eq!(platform, (digest == &index).then_some("linux/amd64"), "{spec}");
    }
    let asked = || quay.received().iter().any(|request| request.target.contains(queued.as_str()));
    scene.until("it was asked about the one that is queued", async || asked()).await;
    assert_eq!(scene.verdict(queued.as_str(), "quay").await, None);
    assert_eq!(scene.standing("quay").await.2, "");
}
