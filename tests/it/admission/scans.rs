//! Scan verdicts that act without a restart.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidewaiter::{image::Digest, verdicts::object_name};

use super::pod;
use crate::support::cluster::Cluster;

/// A policy for one namespace: no critical vulnerability with a fix.
fn policy(namespace: &str) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": format!("scanned-{namespace}")},
        "spec": {
            "match": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            "vulnerabilities": {"deny": [{"severity": "Critical", "fixable": true}]},
        },
    })
}

fn verdict(digest: &Digest, counts: &Value, findings: &Value) -> Value {
    let packages = match findings.as_array().is_some_and(Vec::is_empty) {
        true => json!([]),
        false => json!([{"name": "openssl", "type": "deb", "version": "1.1.1", "findings": findings}]),
    };
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageScanVerdict",
        "metadata": {"name": object_name(digest, "trivy")},
        "spec": {
            "digest": digest.as_str(), "source": "trivy", "scanner": {"name": "trivy"},
            "scannedAt": Timestamp::now().to_string(), "counts": counts, "packages": packages,
        },
    })
}

#[tokio::test]
async fn a_verdict_that_appears_changes_or_goes_acts_without_a_restart() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.api.namespace("scanned").await;
    cluster.enforce(&policy(&namespace)).await;
    // An image of its own, so that no other test is judged by what is said of it.
    let digest = cluster.registry.push("shop/scanned", &namespace).await;
    let image = format!("registry.example.com/shop/scanned:{namespace}");
    let pod = pod(&namespace, "web", &image).to_string();
    let becomes = async |what: &str, reason: Option<&str>| {
        let since = Instant::now();
        cluster
            .until(what, async || {
                let said = cluster.dry_run(&pod).await;
                match reason {
                    None => said.success,
                    Some(reason) => !said.success && said.stderr.contains(reason),
                }
            })
            .await;
        eprintln!("{what} {:?} after the change, kubectl included", since.elapsed());
    };
    let finding = json!([{"id": "CVE-2026-0001", "severity": "Critical", "fixed": "1.1.2"}]);
    becomes("nobody has scanned it", Some("ScanVerdictMissing")).await;
    let steps = [
        ("it is clean", json!({}), json!([]), None),
        (
            "it has a vulnerability",
            json!({"critical": {"found": 1, "fixable": 1}}),
            finding.clone(),
            Some("VulnerabilityDenied"),
        ),
        ("its verdict contradicts itself", json!({}), finding, Some("ScanVerdictUnreadable")),
        ("it is clean again", json!({}), json!([]), None),
    ];
    for (what, counts, findings, reason) in steps {
        let said = cluster.apply(&verdict(&digest, &counts, &findings).to_string()).await;
        assert!(said.success, "{said:?}");
        becomes(what, reason).await;
    }
    let name = object_name(&digest, "trivy");
    let said = cluster.api.kubectl(&["delete", "isv", &name]).await;
    assert!(said.success, "{said:?}");
    becomes("its verdict is gone", Some("ScanVerdictMissing")).await;
}
