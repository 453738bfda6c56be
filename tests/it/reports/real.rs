//! Every real report is read with exactly the counts that `expected.json` beside it has, which another program has
//! counted; or refused where it is no report on an image.
//!
//! A new format is a line in [`format_of`]; a file about which we mean something else than the other program is a
//! line in [`DEVIATIONS`].

use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Count, Counts},
    reports::{Format, ReadError, Report, read},
};

use crate::support::tools::shared;

/// Which reader a file is for; none for what is no report.
fn format_of(file: &str) -> Option<Format> {
    let (folder, name) = file.split_once('/')?;
    match folder {
        _ if name.contains(".sarif.") => Some(Format::Sarif),
        _ if name.contains(".cdx.") => Some(Format::CycloneDx),
        "attestation" => Some(Format::VulnAttestation),
        "clair" => Some(Format::Clair),
        "cloud" if name.starts_with("azure") => Some(Format::Defender),
        "cloud" if name.starts_with("grafeas") => Some(Format::ArtifactAnalysis),
        "cloud" => Some(Format::Ecr),
        "grype" => Some(Format::Grype),
        "harbor" => Some(Format::Harbor),
        "quay" => Some(Format::Quay),
        "snyk" => Some(Format::Snyk),
        "trivy" => Some(Format::Trivy),
        "trivy-operator" => Some(Format::TrivyOperator),
        _ => None,
    }
}

/// Files that the other program reads, and we refuse: the variant of the error, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("attestation/cosign-vuln-predicate-result-null.json", "Incomplete", "it has no result"),
    ("attestation/intoto-vulns-v0.1-no-result.json", "Malformed", "its digest has 40 hex digits"),
    ("attestation/intoto-vulns-v0.1.json", "Malformed", "its subject has no digest"),
    ("attestation/intoto-vulns-v0.2.json", "Malformed", "its subject has no digest"),
    ("cloud/aws-inspector2-zero.json", "Incomplete", "an empty list names no image"),
    ("cloud/azure-subassessments-acr.json", "Malformed", "its imageDigest is none"),
    ("cloud/grafeas-note-vulnerability.json", "Foreign", "one note, and no answer"),
    ("cloud/grafeas-occurrence-vulnerability.json", "Foreign", "one occurrence, and no answer"),
    ("grype/TestEmptyJsonPresenter.json", "Foreign", "its source is of the type unknown: no image"),
    ("harbor/report-1.1-trivy.json", "Incomplete", "its worst severity is in no entry"),
    ("snyk/container-epss.json", "Incomplete", "it counts 13 and lists 1"),
    ("snyk/container-none-cvss-rpm.json", "Incomplete", "its distribution is not tracked"),
    ("trivy/juice-shop-v12-empty-results.json", "Incomplete", "nothing was looked at"),
    ("trivy/juice-shop-v12-no-results.json", "Incomplete", "nothing was looked at"),
    ("trivy/license-only-alpine-311.json", "Incomplete", "only licences were looked at"),
    ("trivy-operator/clustervulnerabilityreport-1.yaml", "Foreign", "about the cluster, not an image"),
    ("trivy-operator/vulnerability-ttl.yaml", "Malformed", "its summary counts 27, and it lists 1"),
];

/// What is counted where entries were merged, and of SARIF, of which `expected.json` counts no severities. Critical,
/// high, medium, low, negligible and unknown, and how many are fixable; counted by a script of its own.
const COUNTED: &[(&str, [u32; 6], u32)] = &[
    ("clair/vulnerabilityreport-duplicates.json", [0, 0, 3, 0, 0, 0], 3),
    // by CVSS, since the severities are all Unknown: as in quay/securityinformation-enriched.json
    ("clair/vulnerabilityreport-enriched.json", [3, 13, 7, 1, 0, 2], 17),
    ("cloud/aws-inspector2-many.json", [0, 2, 4, 0, 0, 2], 7),
    ("cloud/aws-securityhub-inspector-ecr.json", [2, 6, 1, 0, 0, 0], 9),
    ("cyclonedx/no-severity.cdx.json", [1, 0, 0, 0, 0, 0], 1),
    ("cyclonedx/trivy-ubuntu-latest.cdx.json", [0, 0, 1, 13, 0, 0], 0),
    ("grype/TestCycloneDxPresenterImage.cdx.json", [1, 0, 0, 1, 0, 0], 2),
    ("snyk/app-vulns-non-grouped.json", [0, 3, 4, 1, 0, 0], 8),
    ("snyk/container-deb-juiceshop.json", [1, 2, 9, 13, 0, 0], 12),
    ("snyk/fixable.json", [0, 3, 0, 0, 0, 0], 3),
    ("snyk/fixable-with-docker-remediation.json", [0, 3, 0, 0, 0, 0], 3),
    ("grype/check-all-fields.json", [2, 2, 0, 0, 1, 0], 1),
    ("grype/same-cve-different-paths.json", [1, 0, 0, 0, 0, 0], 0),
    ("trivy/juice-shop-v12-cut.json", [25, 73, 46, 6, 0, 0], 138),
    ("grype/TestSarifPresenter_image.sarif.json", [1, 1, 0, 0, 0, 0], 1),
    ("grype/nginx.sarif.json", [4, 24, 63, 5, 0, 3], 0),
    ("snyk/container-file.sarif.json", [0, 0, 0, 1, 0, 0], 0),
    ("snyk/container.sarif.json", [0, 0, 0, 1, 0, 0], 0),
    ("trivy/alpine-310.sarif.json", [0, 0, 4, 0, 0, 0], 4),
    ("trivy/nginx.sarif.json", [0, 3, 21, 75, 0, 0], 0),
];

/// How many entries are read, and how many remain when they are merged, where the other program counts other things.
const LISTED: &[(&str, usize, usize, &str)] = &[
    ("cloud/aws-inspector2-many.json", 8, 8, "without the two packages of an EC2 instance"),
    ("cloud/aws-securityhub-inspector-ecr.json", 12, 9, "by package"),
    ("snyk/app-vulns-non-grouped.json", 14, 8, "with the applications"),
    ("snyk/container-deb-juiceshop.json", 37, 25, "with the applications"),
];

/// Of how many images a document is that is of several.
const IMAGES: &[(&str, usize)] = &[("cloud/aws-securityhub-inspector-ecr.json", 7)];

#[test]
fn every_real_report_is_read_with_exactly_its_counts() {
    let Some(fixtures) = shared("fixtures") else { return };
    let folder = fixtures.join("verdicts");
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_slice(&expected).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (file, expected) in &expected {
        let Some(format) = format_of(file) else { continue };
        if expected["expect"] == "schema" {
            continue;
        }
        seen += 1;
        if let Err(problem) = check(&folder, file, format, expected) {
            wrong.push(format!("{file}: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(seen >= 90, "only {seen} files were looked at");
}

/// Reports that are refused, changed in what they are refused for, and one that is read otherwise without what it has
/// beside: how many entries there are, the counts, and how many are fixable.
#[rstest]
#[case::harbor(
    "harbor/report-1.1-trivy.json",
    json!({"/application~1vnd.security.vulnerability.report; version=1.1/severity": "High"}),
    (3, [0, 1, 0, 2, 0, 0], 0)
)]
#[case::snyk("snyk/container-epss.json", json!({"/uniqueCount": 1}), (13, [1, 2, 9, 1, 0, 0], 12))]
#[case::untracked(
    "snyk/container-none-cvss-rpm.json",
    json!({"/uniqueCount": 1, "/docker/baseImageRemediation/code": "REMEDIATION_AVAILABLE"}),
    (1, [0, 0, 0, 1, 0, 0], 1)
)]
#[case::in_toto_01(
    "attestation/intoto-vulns-v0.1.json",
    json!({"/subject/0/digest": {"sha256": "1".repeat(64)}}),
    (8, [0, 0, 0, 0, 0, 8], 0)
)]
#[case::in_toto_02(
    "attestation/intoto-vulns-v0.2.json",
    json!({"/subject/0/digest": {"sha256": "1".repeat(64)}}),
    (8, [0, 0, 0, 0, 0, 8], 0)
)]
#[case::defender(
    "cloud/azure-subassessments-acr.json",
    json!({"/value/0/properties/additionalData/imageDigest": format!("sha256:{}", "1".repeat(64))}),
    (1, [0, 1, 0, 0, 0, 0], 1)
)]
#[case::clair_without_enrichments(
    "clair/vulnerabilityreport-enriched.json",
    json!({"/enrichments": {}}),
    (26, [0, 0, 0, 0, 0, 26], 17)
)]
fn what_a_report_says_when_it_is_changed(
    #[case] file: &str,
    #[case] changes: Value,
    #[case] (rows, found, fixable): (usize, [u32; 6], u32),
) {
    let Some(fixtures) = shared("fixtures") else { return };
    let bytes = std::fs::read(fixtures.join("verdicts").join(file)).unwrap();
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    for (place, value) in changes.as_object().unwrap() {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.to_owned(), value.clone());
    }
    let reports = read(format_of(file).unwrap(), document.to_string().as_bytes()).unwrap();
    assert_eq!((reports.len(), reports[0].rows), (1, rows));
    let counted = counts(&reports[0].counts());
    assert_eq!(counted.map(|count| count.found), found);
    assert_eq!(counted.iter().map(|count| count.fixable).sum::<u32>(), fixable);
}

fn check(folder: &Path, file: &str, format: Format, expected: &Value) -> Result<(), String> {
    let bytes = match document(&folder.join(file)) {
        Ok(bytes) => bytes,
        Err(_) if expected["expect"] == "refuse" => return Ok(()),
        Err(problem) => return Err(problem),
    };
    let answer = read(format, &bytes);
    let variant = answer.as_ref().err().map(variant);
    if let Some((_, wanted, _)) = DEVIATIONS.iter().find(|(name, ..)| *name == file) {
        return match variant == Some(*wanted) {
            true => Ok(()),
            false => Err(format!("{wanted} was to be the error, and the answer is {answer:?}")),
        };
    }
    match (expected["expect"].as_str(), answer) {
        (Some("refuse"), Err(_)) => Ok(()),
        (Some("refuse"), Ok(_)) => Err("it was to be refused".to_owned()),
        (_, Err(error)) => Err(format!("it was to be read: {error}")),
        (_, Ok(reports)) => {
            let auto = read(Format::Auto, &bytes);
            if auto.as_ref() != Ok(&reports) {
                return Err(format!("by its shape it is read as {auto:?}"));
            }
            compare(file, &reports, expected)
        }
    }
}

fn compare(file: &str, reports: &[Report], expected: &Value) -> Result<(), String> {
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let content = expected.get("result").unwrap_or(expected);
    let (rows, unique) = match LISTED.iter().find(|(name, ..)| *name == file) {
        Some((_, rows, unique, _)) => (*rows, Some(*unique)),
        None if content.get("rows").is_none() => {
            return Err("the other program has not counted it".to_owned());
        }
        None => {
            let suppressed = content.get("suppressed").map_or(0, number);
            (number(&content["rows"]) + suppressed, content.get("unique").map(number))
        }
    };
    let images = IMAGES.iter().find(|(name, _)| *name == file).map_or(1, |(_, images)| *images);
    if reports.len() != images {
        return Err(format!("it was to be about {images} images, and is about {}", reports.len()));
    }
    let ours: usize = reports.iter().map(|report| report.rows).sum();
    if ours != rows {
        return Err(format!("{rows} rows were expected, and there are {ours}"));
    }
    let ours: usize = reports.iter().map(|report| report.vulnerabilities.len()).sum();
    if let Some(unique) = unique
        && unique != ours
    {
        return Err(format!("{unique} were expected, and there are {ours}"));
    }
    let content = expected["reports"].get(0).unwrap_or(content);
    let (found, fixable) = match COUNTED.iter().find(|(name, ..)| *name == file) {
        Some((_, found, fixable)) => (*found, *fixable),
        None if content.get("fixable").is_none() => {
            return Err("its severities have not been counted".to_owned());
        }
        None => (severities(content), u32::try_from(number(&content["fixable"])).unwrap()),
    };
    let mut counted = [Count::default(); 6];
    for (sum, count) in reports.iter().flat_map(|report| counts(&report.counts()).into_iter().enumerate()) {
        counted[sum].found += count.found;
        counted[sum].fixable += count.fixable;
    }
    match (counted.map(|count| count.found), counted.iter().map(|count| count.fixable).sum::<u32>()) {
        (ours, fix) if ours == found && fix == fixable => Ok(()),
        (ours, fix) => {
            Err(format!("{found:?} and {fixable} fixable were expected, and there are {ours:?} and {fix}"))
        }
    }
}

/// Counts by severity, the worst first, unknown last.
fn counts(counts: &Counts) -> [Count; 6] {
    let [critical, high, medium, low, negligible] = counts.known;
    [critical, high, medium, low, negligible, counts.unknown]
}

/// The same of what the other program has counted, by the scanner's own words.
fn severities(expected: &Value) -> [u32; 6] {
    let mut found = [0; 6];
    for (word, count) in expected["severities"].as_object().unwrap() {
        let at = match word.as_str() {
            "CRITICAL" | "Critical" | "critical" => 0,
            "HIGH" | "High" | "high" => 1,
            "MEDIUM" | "Medium" | "medium" => 2,
            "LOW" | "Low" | "low" => 3,
            "Negligible" | "INFORMATIONAL" | "MINIMAL" => 4,
            _ => 5,
        };
        found[at] += u32::try_from(count.as_u64().unwrap()).unwrap();
    }
    found
}

/// The file as JSON: what is YAML there comes from the API server as JSON.
fn document(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).unwrap();
    match path.extension().is_some_and(|extension| extension == "yaml") {
        true => {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            let value: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
            Ok(serde_json::to_vec(&value).unwrap())
        }
        false => Ok(bytes),
    }
}

/// The name of an error's variant.
fn variant(error: &ReadError) -> &'static str {
    match error {
        ReadError::TooLarge { .. } => "TooLarge",
        ReadError::Malformed { .. } => "Malformed",
        ReadError::Foreign { .. } => "Foreign",
        ReadError::Incomplete { .. } => "Incomplete",
        ReadError::OtherImage { .. } => "OtherImage",
        ReadError::Unbound => "Unbound",
        ReadError::Ambiguous { .. } => "Ambiguous",
        ReadError::NoPlatform { .. } => "NoPlatform",
        ReadError::Undated => "Undated",
    }
}
