use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::{jobs::wanted, scene::Scene};
use crate::support::hostile::{Act, Hostile, Reply};

/// A report on `digest` as Clair's matcher has it.
fn report(digest: &str) -> Value {
    json!({
        "manifest_hash": digest,
        "packages": {"1": {"id": "1", "name": "libexample", "version": "1.0-r0", "kind": "binary"}},
        "distributions": {"1": {"id": "1", "did": "alpine", "version_id": "3.20"}},
        "environments": {"1": [{"package_db": "lib/apk/db/installed", "introduced_in": digest, "distribution_id": "1"}]},
        "vulnerabilities": {"7": {"id": "7", "name": "CVE-2026-0001", "links": "", "issued": "2026-01-02T00:00:00Z",
            "severity": "", "normalized_severity": "High", "fixed_in_version": "1.1-r0"}},
        "package_vulnerabilities": {"1": ["7"]},
    })
}

#[tokio::test]
async fn a_clair_is_asked_by_digest_until_it_has_an_answer_and_its_silence_is_no_verdict() {
    let Some(scene) = Scene::shared().await else { return };
    let (known, unknown) = (Digest::sha256(b"clair known"), Digest::sha256(b"clair unknown"));
    let answer = report(known.as_str()).to_string();
    let path = format!("/matcher/api/v1/vulnerability_report/{known}");
    let clair = Hostile::start(move |request| match request.target == path {
        true => Act::Answer(Reply::status(200).body(answer.as_str())),
        false => Act::Answer(Reply::status(404)),
    })
    .await;
    let spec = json!({"clair": {"url": format!("http://{}", clair.host())}, "match": {"images": ["registry.example.com/clair"]}});
    scene.source("clair-one", spec).await;
    for (name, digest) in [("clair-known", &known), ("clair-unknown", &unknown)] {
        let image = format!("registry.example.com/clair@{digest}");
        scene.apply(&wanted(name, &image, "tidewaiter.dev/webhook")).await;
    }
    scene
        .until("there is a verdict", async || scene.verdict(known.as_str(), "clair-one").await.is_some())
        .await;
    let spec = scene.verdict(known.as_str(), "clair-one").await.unwrap()["spec"].clone();
    assert_eq!(spec["counts"]["high"], json!({"found": 1, "fixable": 1}));
    assert_eq!(spec["scanner"]["name"], "clair");
    scene
        .until("it is told", async || {
            scene.metrics().await.contains("{reason=\"NotIndexed\",source=\"clair-one\"}")
        })
        .await;
    assert_eq!(scene.verdict(unknown.as_str(), "clair-one").await, None);
}

#[tokio::test]
async fn a_key_that_may_not_be_read_is_a_trouble_of_the_source() {
    let Some(scene) = Scene::shared().await else { return };
    let spec = json!({
        "clair": {"url": "http://127.0.0.1:1", "pskSecretRef": {"name": "psk", "key": "key"}},
        "match": {"images": ["registry.example.com/clair-two"]},
    });
    scene.source("clair-two", spec).await;
    let image = format!("registry.example.com/clair-two@{}", Digest::sha256(b"clair two"));
    scene.apply(&wanted("clair-two", &image, "tidewaiter.dev/webhook")).await;
    scene.until("it says so", async || scene.standing("clair-two").await.1 == "Forbidden").await;
    assert!(scene.standing("clair-two").await.2.contains("cannot read a source's Secret"));
}
