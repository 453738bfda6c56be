use std::fs;

use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::scene::Scene;
use crate::support::tools;

const CRD: &str = "crd-vulnerabilityreports.yaml";

/// The scene with the operator's own definition; none if that is not at hand.
async fn scene() -> Option<&'static Scene> {
    let folder = tools::shared("fixtures/verdicts/trivy-operator")?;
    let scene = Scene::shared().await?;
    // By the server, which creates and finds in one step: the tests come all at once.
    let definition = folder.join(CRD);
    let apply = ["apply", "--server-side", "-f", definition.to_str().unwrap()];
    let said = scene.server.kubectl(&apply).await;
    assert!(said.success, "{said:?}");
    let wait = ["wait", "--for=condition=Established", "crd/vulnerabilityreports.aquasecurity.github.io"];
    assert!(scene.server.kubectl(&wait).await.success);
    Some(scene)
}

/// A namespace in which the controller may read reports.
async fn namespace(scene: &Scene, prefix: &str) -> String {
    let namespace = scene.server.namespace(prefix).await;
    scene
        .apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "reports", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tidewaiter-controller-reports"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidewaiter-controller", "namespace": "tidewaiter"}],
        }))
        .await;
    namespace
}

fn report(namespace: &str, name: &str, digest: Option<&Digest>, at: &str, severities: &[&str]) -> Value {
    let count = |severity: &str| severities.iter().filter(|one| **one == severity).count();
    let rows = severities.iter().enumerate().map(|(at, severity)| {
        json!({
            "vulnerabilityID": format!("CVE-2026-{at:04}"), "resource": "libexample", "installedVersion": "1.0",
            "fixedVersion": "1.1", "severity": severity, "title": "an example", "primaryLink": "",
            "publishedDate": "2026-01-02T03:04:05Z", "lastModifiedDate": "2026-01-02T03:04:05Z", "links": [], "target": "",
        })
    });
    let mut artifact = json!({"repository": "shop/web", "tag": "1.4"});
    if let Some(digest) = digest {
        artifact["digest"] = json!(digest);
    }
    json!({
        "apiVersion": "aquasecurity.github.io/v1alpha1", "kind": "VulnerabilityReport",
        "metadata": {"name": name, "namespace": namespace},
        "report": {
            "artifact": artifact, "registry": {"server": "registry.example.com"},
            "os": {"family": "debian", "name": "12"},
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.65.0"},
            "summary": {
                "criticalCount": count("CRITICAL"), "highCount": count("HIGH"), "mediumCount": count("MEDIUM"),
                "lowCount": count("LOW"), "unknownCount": count("UNKNOWN"), "noneCount": 0,
            },
            "updateTimestamp": at, "vulnerabilities": rows.collect::<Vec<_>>(),
        },
    })
}

const MORNING: &str = "2026-11-20T08:00:00Z";
const NOON: &str = "2026-11-20T12:00:00Z";

#[tokio::test]
async fn a_report_becomes_a_verdict_and_only_a_newer_one_takes_its_place() {
    let Some(scene) = scene().await else { return };
    let namespace = namespace(scene, "operator").await;
    scene.source("operator-one", json!({"trivyOperator": {"namespaces": [namespace]}})).await;
    let image = Digest::sha256(b"operator-one");
    let verdict = || scene.verdict(image.as_str(), "operator-one");
    scene.apply(&report(&namespace, "web", Some(&image), NOON, &["CRITICAL", "LOW"])).await;
    scene.until("there is a verdict", async || verdict().await.is_some()).await;
    scene
        .until("it is ready", async || {
            verdict().await.unwrap()["status"]["conditions"][0]["status"] == "True"
        })
        .await;
    let object = verdict().await.unwrap();
    let spec = &object["spec"];
    assert_eq!((&spec["scannedAt"], &spec["truncated"]), (&json!(NOON), &json!(false)));
    assert_eq!(spec["counts"]["critical"], json!({"found": 1, "fixable": 1}));
    assert_eq!(spec["packages"][0]["findings"].as_array().unwrap().len(), 2);

    // An older one of another workload, and then a newer one.
    scene.apply(&report(&namespace, "old", Some(&image), MORNING, &[])).await;
    let marker = Digest::sha256(b"operator-one, read after the old one");
    scene.apply(&report(&namespace, "zzz", Some(&marker), NOON, &[])).await;
    scene
        .until("what came after it is read", async || {
            scene.verdict(marker.as_str(), "operator-one").await.is_some()
        })
        .await;
    assert_eq!(verdict().await.unwrap()["spec"], object["spec"]);
    let later = "2026-11-20T12:00:01Z";
    scene.apply(&report(&namespace, "new", Some(&image), later, &["HIGH"])).await;
    scene.until("it is replaced", async || verdict().await.unwrap()["spec"]["scannedAt"] == later).await;
    assert_eq!(verdict().await.unwrap()["spec"]["counts"]["critical"]["found"], 0);

    // What was found does not become untrue when the report goes.
    let gone =
        scene.server.kubectl(&["delete", "--namespace", &namespace, "vulnerabilityreports", "--all"]).await;
    assert!(gone.success, "{gone:?}");
    scene.until("the source is ready", async || scene.standing("operator-one").await.0 == "True").await;
    assert!(verdict().await.is_some());
    let table = scene.server.kubectl(&["get", "vs", "operator-one"]).await.stdout;
    let columns: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "KIND", "READY", "VERDICTS", "QUEUED", "LAST-SUCCESS", "AGE"]);
    let metrics = scene.metrics().await;
    assert!(metrics.contains("tidewaiter_source_last_success_timestamp_seconds{source=\"operator-one\"}"));
}

#[tokio::test]
async fn a_report_is_believed_only_where_it_may_be_and_for_what_it_says() {
    let Some(scene) = scene().await else { return };
    let (listed, other) = (namespace(scene, "listed").await, namespace(scene, "unlisted").await);
    let spec = json!({"trivyOperator": {"namespaces": [listed]}, "match": {"images": ["registry.example.com/shop/**"]}});
    scene.source("operator-two", spec).await;
    let image = |name: &str| Digest::sha256(format!("operator-two {name}").as_bytes());
    let forged = image("forged");
    scene.apply(&report(&other, "forged", Some(&forged), NOON, &[])).await;
    scene.apply(&report(&listed, "unbound", None, NOON, &["LOW"])).await;
    scene.apply(&report(&listed, "early", Some(&image("early")), "2199-01-01T00:00:00Z", &[])).await;
    let mut foreign = report(&listed, "foreign", Some(&image("foreign")), NOON, &[]);
    foreign["report"]["artifact"]["repository"] = json!("elsewhere/web");
    scene.apply(&foreign).await;
    let mut cut = report(&listed, "cut", Some(&image("cut")), NOON, &["CRITICAL"]);
    cut["report"]["vulnerabilities"] = json!([]);
    scene.apply(&cut).await;
    let good = image("good");
    scene.apply(&report(&listed, "zzz", Some(&good), NOON, &[])).await;
    scene
        .until("the good one is read", async || scene.verdict(good.as_str(), "operator-two").await.is_some())
        .await;
    for bad in ["forged", "early", "foreign", "cut"] {
        assert_eq!(scene.verdict(image(bad).as_str(), "operator-two").await, None, "{bad}");
    }
    let metrics = scene.metrics().await;
    for reason in ["NoDigest", "FutureDated", "Unreadable"] {
        let series =
            format!("tidewaiter_source_errors_total{{reason=\"{reason}\",source=\"operator-two\"}} 1");
        assert!(metrics.contains(&series), "{reason}: {metrics}");
    }
}

#[tokio::test]
async fn a_source_whose_reports_may_not_be_read_says_so_and_others_go_on() {
    let Some(scene) = scene().await else { return };
    let namespace = scene.server.namespace("forbidden").await;
    scene.source("operator-three", json!({"trivyOperator": {"namespaces": [namespace]}})).await;
    scene.until("it says so", async || scene.standing("operator-three").await.1 == "WatchFailing").await;
    scene.source("operator-four", json!({"imported": {}})).await;
    scene.until("another is ready", async || scene.standing("operator-four").await.1 == "Imported").await;
}

/// The one published report of a single namespace that today's definition takes.
#[tokio::test]
async fn a_real_report_becomes_a_verdict() {
    let Some(scene) = scene().await else { return };
    let folder = tools::shared("fixtures/verdicts/trivy-operator").unwrap();
    let text = fs::read_to_string(folder.join("vulnerabilityreport-extended.json")).unwrap();
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let namespace = namespace(scene, "real").await;
    let name = object["metadata"]["name"].clone();
    object["metadata"] = json!({"name": name, "namespace": namespace});
    let digest = object["report"]["artifact"]["digest"].as_str().unwrap().to_owned();
    scene
        .source(
            "operator-real",
            json!({"trivyOperator": {"namespaces": [namespace]}, "platform": "linux/amd64"}),
        )
        .await;
    scene.apply(&object).await;
    scene.until("there is a verdict", async || scene.verdict(&digest, "operator-real").await.is_some()).await;
    let spec = scene.verdict(&digest, "operator-real").await.unwrap()["spec"].clone();
    assert_eq!(spec["counts"]["medium"], json!({"found": 5, "fixable": 5}));
    assert_eq!(spec["platforms"], json!([{"platform": "linux/amd64"}]));
}
