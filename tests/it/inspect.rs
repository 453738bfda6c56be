//! `tidewaiter inspect` of an image that scanners have spoken of: in an attestation, in the cluster and in files.

use std::process::Output;

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::image::Digest;

use crate::support::{
    apiserver::ApiServer,
    cosign::{Cosign, KeyPair, Version::Three, text},
    process,
    registry::Registry,
};

const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";

/// An image that somebody has signed, and who has.
struct Scene {
    cosign: Cosign,
    key: KeyPair,
    digest: Digest,
    image: String,
    /// A file, as an argument.
    settings: String,
}

impl Scene {
    /// `None` if a program is missing, and then the test has been skipped.
    async fn new(name: &str) -> Option<Self> {
        let (cosign, registry) = (Cosign::find()?, Registry::shared().await?);
        let key = cosign.key_pair().await;
        let (host, repository) = (registry.host(), format!("inspected/{name}"));
        let digest = registry.push(&repository, "1.0").await;
        let image = format!("{host}/{repository}@{digest}");
        cosign.sign(Three, &key, &image, &[]).await;
        let settings =
            json!({"registries": [{"host": host, "plainHttp": true, "allowPrivateAddresses": true}]});
        let settings = text(&cosign.write("settings.json", &settings.to_string()));
        Some(Self { cosign, key, digest, image, settings })
    }

    async fn attest(&self, key: &KeyPair) {
        let predicate = json!({
            "scanner": {
                "uri": "pkg:github/aquasecurity/trivy@0.65.0", "version": "0.65.0", "db": {"lastUpdate": now()},
                "result": [{"id": "CVE-2026-0001", "severity": [{"method": "nvd", "score": "LOW"}]}],
            },
            "metadata": {"scanStartedOn": now(), "scanFinishedOn": now()},
        });
        self.cosign.attest(Three, key, &self.image, VULNS, &predicate).await;
    }

    /// What `source` says of the image: one vulnerability of this severity.
    fn verdict(&self, source: &str, scanned_at: &str, severity: &str) -> Value {
        let finding = json!({"id": "CVE-2021-44228", "severity": severity, "fixed": "2.15.0", "published": "2021-12-10"});
        json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageScanVerdict",
            "metadata": {"name": format!("{}.{source}", self.digest.as_str().replace(':', "-"))},
            "spec": {
                "digest": self.digest, "source": source, "scanner": {"name": "grype", "version": "0.1"},
                "scannedAt": scanned_at, "endOfLife": "alpine\u{202e} 3.10.9",
                "counts": {severity.to_lowercase(): {"found": 1, "fixable": 1}},
                "packages": [{"name": "log4j-core", "version": "2.14.1", "findings": [finding]}],
            },
        })
    }

    fn file(&self, verdict: &Value) -> String {
        text(&self.cosign.write("verdict.json", &verdict.to_string()))
    }

    async fn run(&self, command: &str, args: &[&str]) -> Output {
        let mut program = process::tidewaiter();
        program.arg(command).args(args).args(["--config", &self.settings, &self.image]);
        tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap()
    }

    /// The policy that is suggested, by which `check` admits the image.
    async fn suggested(&self, verdicts: &[&str], keys: &[&str]) -> String {
        let key = text(&self.key.public);
        let mut args = vec!["--key", &key, "--suggest-policy"];
        args.extend(verdicts.iter().chain(keys));
        let output = self.run("inspect", &args).await;
        assert!(output.status.success(), "{output:?}");
        let suggested = String::from_utf8(output.stdout).unwrap();
        let policy = text(&self.cosign.write("policy.yaml", &suggested));
        let mut args = vec!["--policies", &policy];
        args.extend(verdicts);
        let judged = self.run("check", &args).await;
        assert_eq!(judged.status.code(), Some(0), "{suggested}{judged:?}");
        suggested
    }
}

fn now() -> String {
    Timestamp::now().round(jiff::Unit::Second).unwrap().to_string()
}

fn said(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_is_attested_filed_and_stored_is_shown() {
    let Some(server) = ApiServer::shared().await else { return };
    let Some(scene) = Scene::new("shown").await else { return };
    server.apply_crds().await;
    scene.attest(&scene.key).await;
    let stored = scene.verdict("house", &now(), "Low").to_string();
    let applied = server.kubectl_with(&["apply", "-f", "-"], &stored).await;
    assert!(applied.success, "{}", applied.stderr);
    let filed = scene.file(&scene.verdict("filed", &now(), "Medium"));
    let (key, kubeconfig) = (text(&scene.key.public), text(server.kubeconfig()));

    let args = ["--key", &key, "--verdicts", &filed, "--kubeconfig", &kubeconfig, "-o", "json"];
    let shown: Value = serde_json::from_str(&said(scene.run("inspect", &args).await)).unwrap();
    let scans = shown["scans"].as_array().unwrap();
    let sources: Vec<_> = scans.iter().map(|scan| scan["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["attestation", "filed", "house"], "{shown:#}");
    assert_eq!(scans[0]["holds"], json!([{ "by": key }]));
    assert_eq!(scans[0]["scanner"], json!({"name": "trivy", "version": "0.65.0"}));
    assert_eq!(scans[1]["counts"]["medium"], json!({"found": 1, "fixable": 1}));
    assert_eq!(scans[1]["worst"][0]["fixed"], "2.15.0");
    assert_eq!(scans[2]["truncated"], false);

    let told = said(scene.run("inspect", &["--verdicts", &filed]).await);
    for line in [
        "scan by attestation",
        "  unproven it does not hold by what is known",
        "  scanner  grype 0.1",
        "(within the hour)",
        r"  ended    alpine\u{202e} 3.10.9 no longer gets advisories",
        "  found    1 Medium (1 with a fix)",
        "CVE-2021-44228 Medium log4j-core 2.14.1 → 2.15.0, published 2021-12-10",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[tokio::test]
async fn without_a_verdict_or_a_flag_nothing_is_said_of_scans() {
    let Some(scene) = Scene::new("unscanned").await else { return };
    let shown: Value = serde_json::from_str(&said(scene.run("inspect", &["-o", "json"]).await)).unwrap();
    assert_eq!(shown.get("scans"), None);
    assert!(!said(scene.run("inspect", &[]).await).contains("\nscan"));
    let other = Digest::sha256(b"other");
    let mut verdict = scene.verdict("filed", &now(), "Low");
    verdict["spec"]["digest"] = json!(other);
    verdict["metadata"]["name"] = json!(format!("{}.filed", other.as_str().replace(':', "-")));
    let told = said(scene.run("inspect", &["--verdicts", &scene.file(&verdict)]).await);
    assert!(told.contains("scanned    by nobody: there is no verdict"), "{told}");
}

/// The rules are as strict as the image bears today, and what is not demanded is said.
#[rstest]
#[case::clean(0, "Medium", "maxVerdictAge: 168h", true)]
#[case::violating(0, "Critical", "would refuse the image today: VulnerabilityDenied", false)]
#[case::old(20, "Medium", "maxVerdictAge: 22d", true)]
#[case::too_old(
    400,
    "Medium",
    "no rule about vulnerabilities admits the image today: ScanVerdictStale",
    false
)]
#[tokio::test]
async fn the_suggested_policy_admits_the_image_by_its_scan(
    #[case] days: i64,
    #[case] severity: &str,
    #[case] said: &str,
    #[case] denies: bool,
) {
    let Some(scene) = Scene::new("suggested").await else { return };
    let scanned_at = Timestamp::now() - jiff::SignedDuration::from_hours(24 * days + 1);
    let scanned_at = scanned_at.round(jiff::Unit::Second).unwrap().to_string();
    let file = scene.file(&scene.verdict("filed", &scanned_at, severity));
    let suggested = scene.suggested(&["--verdicts", &file], &[]).await;
    assert!(suggested.contains(said), "{suggested}");
    let (_, rules) = suggested.split_once("spec:").unwrap();
    assert_eq!(rules.contains("olderThanDays: 7"), denies, "{suggested}");
}

#[tokio::test]
async fn a_verdict_that_nobody_can_read_is_shown_and_no_rule_is_suggested() {
    let Some(scene) = Scene::new("damaged").await else { return };
    let mut damaged = scene.verdict("filed", &now(), "Medium");
    damaged["spec"]["counts"] = json!({});
    let file = scene.file(&damaged);
    let told = said(scene.run("inspect", &["--verdicts", &file]).await);
    assert!(told.contains("unreadable spec.counts: 0 of Medium"), "{told}");
    let key = text(&scene.key.public);
    let args = ["--key", &key, "--verdicts", &file, "--suggest-policy"];
    let suggested = said(scene.run("inspect", &args).await);
    assert!(suggested.contains("admits the image today: ScanVerdictUnreadable"), "{suggested}");
    assert!(!suggested.contains("vulnerabilities:\n"), "{suggested}");
}

#[tokio::test]
async fn an_attestation_counts_by_whoever_has_signed_it() {
    let Some(scene) = Scene::new("attested").await else { return };
    scene.attest(&scene.key).await;
    let suggested = scene.suggested(&[], &[]).await;
    let policy: Value = serde_saphyr::from_str(suggested.trim_start_matches("---\n")).unwrap();
    assert_eq!(policy["spec"]["vulnerabilities"]["sources"]["attestations"], json!(["publisher"]));
    assert_eq!(policy["spec"]["signatures"]["authorities"].as_array().unwrap().len(), 1);
}

/// Somebody else who attests scans must not be able to sign in the publisher's place.
#[tokio::test]
async fn who_scans_does_not_publish() {
    let Some(scene) = Scene::new("scanner").await else { return };
    let scanner = scene.cosign.key_pair().await;
    scene.attest(&scanner).await;
    let suggested = scene.suggested(&[], &["--key", &text(&scanner.public)]).await;
    let policy: Value = serde_saphyr::from_str(suggested.trim_start_matches("---\n")).unwrap();
    assert_eq!(policy["spec"]["vulnerabilities"]["sources"]["attestations"], json!(["scanner"]));
    assert_eq!(policy["spec"]["signatures"]["mustInclude"], json!(["publisher"]));
}
