//! ImageScanVerdicts on a real API server: one for each digest and source, and never replaced by an older one.

use kube::core::Status;
use rstest::rstest;
use serde_json::{Value, json};

use super::definitions::{contains, spec};
use crate::support::apiserver::ApiServer;

const PATH: &str = "/apis/tidewaiter.dev/v1alpha1/imagescanverdicts";

fn hex(of: char) -> String {
    of.to_string().repeat(64)
}

/// A verdict by `trivy` on the digest of one digit.
fn verdict(of: char) -> Value {
    let mut verdict = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ImageScanVerdict",
        "metadata": {"name": format!("sha256-{}.trivy", hex(of))},
    });
    verdict["spec"] = spec(
        "{source: trivy, scanner: {name: trivy, version: 0.65.0}, database: {updatedAt: '2026-05-31T06:00:00Z'}, \
         scannedAt: '2026-06-01T00:00:00Z', counts: {critical: {found: 1, fixable: 1}}, \
         packages: [{name: log4j-core, type: maven, version: 2.14.1, findings: [{id: CVE-2021-44228, \
         aliases: [GHSA-jfh8-c2jp-5v3q], severity: Critical, score: '10.0', fixed: 2.15.0, published: '2021-12-10'}]}]}",
    );
    verdict["spec"]["digest"] = json!(format!("sha256:{}", hex(of)));
    verdict
}

async fn send(server: &ApiServer, request: http::request::Builder, body: &Value) -> Result<Value, Status> {
    let request = request.body(body.to_string().into_bytes()).unwrap();
    match server.client().await.request(request).await {
        Ok(stored) => Ok(stored),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

async fn create(server: &ApiServer, verdict: &Value) -> Result<Value, Status> {
    let uri = format!("{PATH}?dryRun=All&fieldValidation=Strict");
    send(server, http::Request::post(uri).header("content-type", "application/json"), verdict).await
}

#[rstest]
#[case::another_name("/metadata/name", json!("mine"), "the name must be the digest with - for :, a . and the source")]
#[case::the_name_of_another_source("/spec/source", json!("grype"), "the name must be the digest with - for :, a . and the source")]
#[case::the_name_of_another_digest("/spec/digest", json!(format!("sha256:{}", hex('b'))), "the name must be the digest with - for :, a . and the source")]
#[case::what_is_signed("/spec/source", json!("attestation"), "attestation is the source of what is signed beside images")]
#[case::a_source_in_capitals("/spec/source", json!("Trivy"), "spec.source: Invalid value: \"Trivy\"")]
#[case::no_digest("/spec/digest", json!("latest"), "spec.digest: Invalid value: \"latest\"")]
#[case::no_date("/spec/scannedAt", json!("yesterday"), "spec.scannedAt: Invalid value: \"yesterday\"")]
#[case::a_severity_of_its_own("/spec/packages/0/findings/0/severity", json!("Defcon1"), "findings[0].severity: Unsupported value: \"Defcon1\"")]
#[case::a_number_below_none("/spec/counts/critical/found", json!(-1), "spec.counts.critical.found: Invalid value: -1")]
#[case::a_score_above_ten("/spec/packages/0/findings/0/score", json!("11"), "findings[0].score: Invalid value: \"11\"")]
#[case::packages_without_findings("/spec/packages/0/findings", json!([]), "findings: Invalid value: 0")]
#[case::no_platforms("/spec/platforms", json!([]), "spec.platforms: Invalid value: 0")]
#[case::an_unknown_field("/spec/clean", json!(true), "unknown field \"spec.clean\"")]
#[tokio::test]
async fn a_verdict_that_could_mislead_is_refused(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    create(server, &verdict('a')).await.unwrap();
    let mut damaged = verdict('a');
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    damaged.pointer_mut(parent).unwrap()[field] = value;
    let status = create(server, &damaged).await.expect_err("it was accepted");
    assert!([400, 422].contains(&status.code), "{status:?}");
    contains(&status, message);
}

/// The same moment again is stored, so that what is applied twice is; only what is older is refused.
#[tokio::test]
async fn an_older_scan_never_replaces_a_newer_one_and_nothing_changes_its_subject() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let verdict = verdict('c');
    let name = verdict["metadata"]["name"].as_str().unwrap();
    let apply = async |change: &dyn Fn(&mut Value)| {
        let mut changed = verdict.clone();
        change(&mut changed["spec"]);
        let uri = format!("{PATH}/{name}?fieldManager=test&force=true&fieldValidation=Strict");
        send(
            server,
            http::Request::patch(uri).header("content-type", "application/apply-patch+yaml"),
            &changed,
        )
        .await
    };
    let at = |time: &'static str| move |spec: &mut Value| spec["scannedAt"] = json!(time);
    apply(&at("2026-06-02T00:00:00Z")).await.unwrap();
    apply(&at("2026-06-02T00:00:00Z")).await.unwrap();
    apply(&at("2026-06-02T00:00:01Z")).await.unwrap();
    for older in ["2026-06-02T00:00:00Z", "2026-06-02T01:00:00+02:00", "2020-01-01T00:00:00Z"] {
        let status = apply(&at(older)).await.expect_err("it was accepted");
        contains(&status, "spec.scannedAt: Invalid value: a scan never replaces a newer one");
    }
    // Later, though it reads as if it were earlier.
    apply(&at("2026-06-01T23:00:02-02:00")).await.unwrap();

    for (field, value) in [("source", json!("grype")), ("digest", json!(format!("sha256:{}", hex('d'))))] {
        let later = |spec: &mut Value| {
            spec["scannedAt"] = json!("2026-06-03T00:00:00Z");
            spec[field] = value.clone();
        };
        let status = apply(&later).await.expect_err("it was accepted");
        contains(&status, "digest and source never change");
    }
}
