//! VEX documents, applied to reports: our own to each sample, and real ones.

use serde_json::Value;
use tidewaiter::reports::{Format, read, read_vex};

use super::samples::{DIGEST, SAMPLES, VEX};
use crate::support::tools::shared;

#[test]
fn every_document_takes_the_worst_finding_away_from_the_report_of_every_format() {
    let digest = DIGEST.parse().unwrap();
    for document in VEX {
        let document = read_vex(document.as_bytes()).unwrap();
        for (format, sample) in SAMPLES {
            let mut report = read(*format, sample.as_bytes()).unwrap().remove(0);
            document.apply(&mut report, &digest, Some("registry.example.com/acme/app"));
            let named = report.vulnerabilities.iter().filter(|one| one.vex.is_some());
            let named: Vec<_> = named.collect();
            assert_eq!(named.len(), 1, "{format}");
            assert!(named[0].is_called("CVE-2026-0001"), "{format}");
            assert!(named[0].vex.unwrap().subtracts(), "{format}");
        }
    }
}

/// Of each real document how many statements are about something: those without an analysis, and those about a
/// product of which CSAF's tree does not say what it is, say nothing.
const STATEMENTS: &[(&str, usize)] = &[
    ("csaf.json", 1),
    ("cyclonedx-guac-false-positive.json", 2),
    ("cyclonedx-guac-no-analysis.json", 0),
    ("cyclonedx-guac-unaffected.json", 1),
    ("grype-csaf-demo1.json", 1),
    ("trivy-csaf-relationships.json", 1),
];

#[test]
fn every_real_document_is_read_and_names_the_image_that_it_names() {
    let Some(fixtures) = shared("fixtures") else { return };
    let folder = fixtures.join("verdicts");
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_slice(&expected).unwrap();
    let mut seen = 0;
    for (file, expected) in expected.iter().filter(|(file, _)| file.starts_with("vex/")) {
        seen += 1;
        let answer = read_vex(&std::fs::read(folder.join(file)).unwrap());
        if expected["expect"] == "refuse" {
            assert!(answer.is_err(), "{file}");
            continue;
        }
        let document = answer.unwrap_or_else(|error| panic!("{file}: {error}"));
        let listed = STATEMENTS.iter().find(|(name, _)| file.ends_with(name)).map(|(_, count)| *count);
        let count = listed.or_else(|| usize::try_from(expected["statements"].as_u64()?).ok());
        assert_eq!(Some(document.len()), count, "{file}");

        // all but these name no image by a digest, or another
        let image =
            "sha256:124c7d2707904eea7431fffe91522a01e5a861a624ee31d03372cc1d138a3126".parse().unwrap();
        let mut report = read(Format::Trivy, ALPINE.as_bytes()).unwrap().remove(0);
        document.apply(&mut report, &image, Some("docker.io/library/alpine"));
        let named = report.vulnerabilities.iter().filter(|one| one.vex.is_some()).count();
        let expected = match file.as_str() {
            "vex/go-vex-v0.2.0.json" => 2,
            "vex/grype-openvex-image-no-subcomponents.json" => 2,
            _ => 0,
        };
        assert_eq!(named, expected, "{file}");
    }
    assert!(seen > 20, "only {seen} documents were looked at");
}

/// Two packages of one source with one vulnerability, and one in which nobody has said anything about it.
const ALPINE: &str = r#"{
  "SchemaVersion": 2, "ArtifactType": "container_image", "ArtifactName": "alpine",
  "Results": [{"Class": "os-pkgs", "Type": "alpine", "Vulnerabilities": [
    {"VulnerabilityID": "CVE-2023-1255", "PkgName": "libssl3", "InstalledVersion": "3.0.8-r3", "Severity": "MEDIUM"},
    {"VulnerabilityID": "CVE-2023-1255", "PkgName": "libcrypto3", "InstalledVersion": "3.0.8-r3", "Severity": "MEDIUM"},
    {"VulnerabilityID": "CVE-2024-0001", "PkgName": "libssl3", "InstalledVersion": "3.0.8-r3", "Severity": "MEDIUM"}
  ]}]
}"#;
