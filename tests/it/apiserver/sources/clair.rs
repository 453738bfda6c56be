use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::{jobs::wanted, scene::Scene};
use crate::support::{
    client::LAYER,
    hostile::{Act, Hostile, Received, Reply},
};

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

/// A Clair that has indexed nothing, and what it says of a manifest that it is given.
struct FakeClair {
    server: Hostile,
    indexed: Arc<Mutex<Vec<String>>>,
}

impl FakeClair {
    /// One that has indexed `known`, and answers `state` where it is given another manifest.
    async fn start(known: &[&Digest], state: &'static str) -> Self {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        let indexed = Arc::new(Mutex::new(known));
        let shelf = indexed.clone();
        let server = Hostile::start(move |request| Act::Answer(answer(&shelf, state, request))).await;
        Self { server, indexed }
    }

    fn spec(&self, image: &str) -> Value {
        json!({"clair": {"url": format!("http://{}", self.server.host())}, "match": {"images": [image]}})
    }

    /// The manifests that it was given.
    fn given(&self) -> Vec<Value> {
        let received = self.server.received();
        let posts = received.iter().filter(|request| request.method == "POST");
        posts.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }
}

fn answer(indexed: &Mutex<Vec<String>>, state: &str, request: &Received) -> Reply {
    let mut indexed = indexed.lock().unwrap();
    if (&*request.method, request.path()) == ("POST", "/indexer/api/v1/index_report") {
        let given: Value = serde_json::from_slice(&request.body).unwrap();
        let success = state == "IndexFinished";
        if success {
            indexed.push(given["hash"].as_str().unwrap().to_owned());
        }
        let said =
            json!({"manifest_hash": given["hash"], "state": state, "success": success, "err": "no tar"});
        return Reply::status(201).body(said.to_string());
    }
    let digest = request.target.strip_prefix("/matcher/api/v1/vulnerability_report/");
    match digest.filter(|digest| indexed.iter().any(|known| known == digest)) {
        Some(digest) => Reply::status(200).body(report(digest).to_string()),
        None => Reply::status(404),
    }
}

#[tokio::test]
async fn a_clair_is_asked_by_digest_and_its_silence_is_no_verdict() {
    let Some(scene) = Scene::shared().await else { return };
    let (known, unknown) = (Digest::sha256(b"clair known"), Digest::sha256(b"clair unknown"));
    let clair = FakeClair::start(&[&known], "IndexFinished").await;
    let name = format!("{}/clair/one", scene.registry.host());
    scene.source("clair-one", clair.spec(&name)).await;
    for (event, digest) in [("clair-known", &known), ("clair-unknown", &unknown)] {
        scene.apply(&wanted(event, &format!("{name}@{digest}"), "tidewaiter.dev/webhook")).await;
    }
    scene
        .until("there is a verdict", async || scene.verdict(known.as_str(), "clair-one").await.is_some())
        .await;
    let spec = scene.verdict(known.as_str(), "clair-one").await.unwrap()["spec"].clone();
    assert_eq!(spec["counts"]["high"], json!({"found": 1, "fixable": 1}));
    assert_eq!(spec["scanner"]["name"], "clair");
    // The registry does not have it, so that nobody can say what to index.
    scene
        .until("it is told", async || {
            scene.metrics().await.contains("{reason=\"LayersUnknown\",source=\"clair-one\"}")
        })
        .await;
    assert_eq!(scene.verdict(unknown.as_str(), "clair-one").await, None);
    assert!(clair.given().is_empty());
}

#[tokio::test]
async fn what_clair_has_not_indexed_it_is_given_with_a_token_for_its_layers() {
    let Some(scene) = Scene::shared().await else { return };
    let clair = FakeClair::start(&[], "IndexFinished").await;
    let image = scene.registry.push("clair/two", "1").await;
    let index = scene.registry.push_index("clair/two", "all").await;
    let name = format!("{}/clair/two", scene.registry.host());
    scene.source("clair-given", clair.spec(&name)).await;
    for (event, digest) in [("clair-image", &image), ("clair-index", &index)] {
        scene.apply(&wanted(event, &format!("{name}@{digest}"), "tidewaiter.dev/webhook")).await;
    }
    for digest in [&image, &index] {
        scene
            .until("there is a verdict", async || {
                scene.verdict(digest.as_str(), "clair-given").await.is_some()
            })
            .await;
    }
    // Of an index it speaks of the one platform that was given to it.
    let spec = scene.verdict(index.as_str(), "clair-given").await.unwrap()["spec"].clone();
    assert_eq!(spec["platforms"][0]["platform"], "linux/amd64", "{spec}");
    let child = spec["platforms"][0]["digest"].clone();
    let whole = scene.verdict(image.as_str(), "clair-given").await.unwrap()["spec"].clone();
    assert_eq!(whole.get("platforms"), None, "{whole}");

    let given = clair.given();
    assert_eq!(given.len(), 2, "{given:?}");
    let mut hashes: Vec<_> = given.iter().map(|given| given["hash"].clone()).collect();
    hashes.retain(|hash| *hash != json!(image));
    assert_eq!(hashes, [child]);
    let layer = given[0]["layers"][0].clone();
    let shown = layer["headers"]["Authorization"][0].as_str().unwrap();
    assert!(shown.starts_with("Bearer "), "{shown}");
    // Whoever is shown it can read the layer, and nothing of another repository.
    let read = async |url: &str| {
        let request = reqwest::Client::new().get(url).header("authorization", shown);
        request.send().await.unwrap().status().as_u16()
    };
    let url = layer["uri"].as_str().unwrap();
    assert_eq!(read(url).await, 200, "{url}");
    scene.registry.push("clair/other", "1").await;
    assert_eq!(read(&url.replace("/clair/two/", "/clair/other/")).await, 401);
}

#[tokio::test]
async fn an_image_that_clair_cannot_index_or_that_is_too_large_for_it_has_no_verdict() {
    let Some(scene) = Scene::shared().await else { return };
    let clair = FakeClair::start(&[], "IndexError").await;
    let client = scene.registry.client();
    let broken = scene.registry.push("clair/three", "1").await;
    let layer = client.put_blob("clair/three", LAYER, vec![0; 1024]).await.unwrap();
    let manifest = |layers: Vec<Value>| {
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": layer, "layers": layers})
        .to_string()
    };
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let deep = manifest(vec![layer.clone(); 257]);
    let deep = client.put_manifest("clair/three", "deep", media_type, deep).await.unwrap();
    let name = format!("{}/clair/three", scene.registry.host());
    scene.source("clair-broken", clair.spec(&name)).await;
    for (event, digest) in [("clair-broken", &broken), ("clair-deep", &deep)] {
        scene.apply(&wanted(event, &format!("{name}@{digest}"), "tidewaiter.dev/webhook")).await;
    }
    for reason in ["ScanFailed", "LayersUnknown"] {
        let told = format!("{{reason=\"{reason}\",source=\"clair-broken\"}}");
        scene.until(reason, async || scene.metrics().await.contains(&told)).await;
    }
    for digest in [&broken, &deep] {
        assert_eq!(scene.verdict(digest.as_str(), "clair-broken").await, None);
    }
    assert!(clair.given().iter().all(|given| given["hash"] == json!(broken)));
    assert!(clair.indexed.lock().unwrap().is_empty());
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
