//! Every real report is read with exactly the counts that `expected.json` beside it has, which another program has
//! counted; or refused where it is no report on an image.
//!
//! A new format is a line in [`format_of`]; a file about which we mean something else than the other program is a
//! line in [`DEVIATIONS`].

use std::path::Path;

use serde_json::Value;
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
        _ if name.contains(".cdx.") => None,
        "grype" => Some(Format::Grype),
        "trivy" => Some(Format::Trivy),
        "trivy-operator" => Some(Format::TrivyOperator),
        _ => None,
    }
}

/// Files that the other program reads, and we refuse: the variant of the error, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    ("grype/TestEmptyJsonPresenter.json", "Foreign", "its source is of the type unknown: no image"),
    ("trivy/juice-shop-v12-empty-results.json", "Incomplete", "nothing was looked at"),
    ("trivy/juice-shop-v12-no-results.json", "Incomplete", "nothing was looked at"),
    ("trivy/license-only-alpine-311.json", "Incomplete", "only licences were looked at"),
    ("trivy-operator/clustervulnerabilityreport-1.yaml", "Foreign", "about the cluster, not an image"),
    ("trivy-operator/vulnerability-ttl.yaml", "Malformed", "its summary counts 27, and it lists 1"),
];

/// What is counted where entries were merged, and of SARIF, of which `expected.json` counts no severities. Critical,
/// high, medium, low, negligible and unknown, and how many are fixable; counted by a script of its own.
const COUNTED: &[(&str, [u32; 6], u32)] = &[
    ("grype/check-all-fields.json", [2, 2, 0, 0, 1, 0], 1),
    ("grype/same-cve-different-paths.json", [1, 0, 0, 0, 0, 0], 0),
    ("trivy/juice-shop-v12-cut.json", [25, 73, 46, 6, 0, 0], 138),
    ("grype/TestSarifPresenter_image.sarif.json", [1, 1, 0, 0, 0, 0], 1),
    ("grype/nginx.sarif.json", [4, 24, 63, 8, 0, 0], 0),
    ("snyk/container-file.sarif.json", [0, 0, 0, 1, 0, 0], 0),
    ("snyk/container.sarif.json", [0, 0, 0, 1, 0, 0], 0),
    ("trivy/alpine-310.sarif.json", [0, 0, 4, 0, 0, 0], 4),
    ("trivy/nginx.sarif.json", [0, 3, 21, 75, 0, 0], 0),
];

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
    assert!(seen >= 60, "only {seen} files were looked at");
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
    let rows = number(&expected["rows"]) + expected.get("suppressed").map_or(0, number);
    let [report] = reports else { return Err(format!("there are {} reports in it", reports.len())) };
    if report.rows != rows {
        return Err(format!("{rows} rows were expected, and there are {}", report.rows));
    }
    if let Some(unique) = expected.get("unique").map(number)
        && unique != report.vulnerabilities.len()
    {
        return Err(format!("{unique} were expected, and there are {}", report.vulnerabilities.len()));
    }
    let content = expected["reports"].get(0).unwrap_or(expected);
    let (found, fixable) = match COUNTED.iter().find(|(name, ..)| *name == file) {
        Some((_, found, fixable)) => (*found, *fixable),
        None => (severities(content), u32::try_from(number(&content["fixable"])).unwrap()),
    };
    let counted = counts(&report.counts());
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
