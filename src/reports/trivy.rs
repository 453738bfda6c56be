//! `trivy image --format json`, of 0.20 and newer (`SchemaVersion` 2).
//!
//! Source: Trivy's documentation, "Reporting", and `pkg/types/report.go`.
//!
//! The report does not record with which filters it was made (`--severity`, `--ignore-unfixed`, an ignore file):
//! whoever runs Trivy must know that it was left unfiltered.
//!
//! *Fixable* is what has a `FixedVersion`. A row whose `Status` is `fixed` and that names no version is not. The
//! status is the distribution's word, never VEX.

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    loose::{Few, Word},
    text,
};
use crate::evidence::{VexStatus, Vulnerability};

const WANTED: &str = "report of Trivy on an image";

const KEYS: Keys = Keys {
    counted: &["Results", "Vulnerabilities", "ExperimentalModifiedFindings"],
    spelt: &["VulnerabilityID", "Severity", "ArtifactType", "Finding"],
};

/// What was looked at in results of these classes is no package.
const NOT_PACKAGES: [&str; 5] = ["config", "secret", "license", "license-file", "custom"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    schema_version: Option<u32>,
    artifact_name: Option<String>,
    artifact_type: Option<String>,
    created_at: Option<Word>,
    #[serde(default)]
    metadata: Metadata,
    trivy: Option<Program>,
    results: Option<Vec<TargetResult>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    #[serde(rename = "OS")]
    os: Option<Os>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    repo_digests: Few<String>,
    image_config: Option<ImageConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Os {
    #[serde(default)]
    family: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "EOSL", default)]
    eosl: bool,
}

#[derive(Deserialize)]
struct ImageConfig {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Program {
    version: Option<String>,
    server: Option<Server>,
}

#[derive(Deserialize)]
struct Server {
    #[serde(rename = "VulnerabilityDB")]
    database: Option<Database>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Database {
    updated_at: Option<Word>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetResult {
    #[serde(default)]
    class: String,
    #[serde(default, rename = "Type")]
    kind: String,
    vulnerabilities: Option<Vec<Row>>,
    #[serde(rename = "ExperimentalModifiedFindings")]
    modified: Option<Vec<Modified>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Modified {
    #[serde(default, rename = "Type")]
    kind: String,
    #[serde(default)]
    status: String,
    finding: Option<Row>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(rename = "VendorIDs")]
    vendor_ids: Few<String>,
    pkg_name: String,
    pkg_identifier: Identifier,
    installed_version: String,
    fixed_version: String,
    severity: String,
    severity_source: String,
    #[serde(rename = "CVSS")]
    cvss: Few<Cvss>,
    published_date: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Identifier {
    #[serde(rename = "PURL")]
    purl: String,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(rename = "V3Score")]
    v3: Option<f64>,
    #[serde(rename = "V40Score")]
    v4: Option<f64>,
}

impl Cvss {
    fn score(&self) -> Option<u8> {
        self.v3.or(self.v4).and_then(text::score)
    }
}

/// Reads one report. Modified findings are findings too: with VEX where their status is a word of VEX, and as any
/// other where somebody's ignore file has struck them.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(foreign("a list of results, as Trivy wrote before 0.20".to_owned()));
    }
    let Some(document) = parse::<Option<Document>>(bytes, &KEYS)? else {
        return Err(foreign("null, as Trivy wrote before 0.20".to_owned()));
    };
    match (document.schema_version, document.artifact_type.as_deref()) {
        (Some(2), Some("container_image")) => {}
        (Some(2), Some(other)) => {
            return Err(foreign(format!("a report of Trivy on a {}", text::plain(other))));
        }
        (version, kind) => {
            let version = version.map_or("none".to_owned(), |version| version.to_string());
            let kind = text::plain(kind.unwrap_or("none"));
            return Err(foreign(format!("a document with SchemaVersion {version} and ArtifactType {kind}")));
        }
    }
    let metadata = document.metadata;
    let results = document.results.unwrap_or_default();
    looked(&results, metadata.os.as_ref())?;

    let mut report = Report {
        subject: Subject {
            digests: metadata.repo_digests.iter().filter_map(|name| text::digest(name)).collect(),
            config: metadata.image_id.as_deref().and_then(text::digest),
            platform: metadata.image_config.and_then(|config| {
                text::platform(
                    config.os.as_deref()?,
                    config.architecture.as_deref()?,
                    config.variant.as_deref(),
                )
            }),
            name: document.artifact_name.map(|name| text::plain(&name)).filter(|name| !name.is_empty()),
            ..Subject::default()
        },
        scanner: "trivy".to_owned(),
        scanned_at: document.created_at.and_then(|at| at.timestamp()),
        end_of_life: metadata
            .os
            .filter(|os| os.eosl)
            .map(|os| text::plain(&format!("{} {}", os.family, os.name))),
        ..Report::default()
    };
    if let Some(program) = document.trivy {
        report.scanner_version = program.version.map(|version| text::plain(&version));
        report.database_at = program.server.and_then(|server| server.database?.updated_at?.timestamp());
    }
    for (at, result) in results.into_iter().enumerate() {
        let kind = result.kind;
        for (nth, row) in result.vulnerabilities.into_iter().flatten().enumerate() {
            let place = || format!("Results[{at}].Vulnerabilities[{nth}]");
            report.vulnerabilities.push(vulnerability(row, &kind, None, place)?);
        }
        for (nth, modified) in result.modified.into_iter().flatten().enumerate() {
            let place = || format!("Results[{at}].ExperimentalModifiedFindings[{nth}]");
            if modified.kind != "vulnerability" {
                continue;
            }
            let Some(row) = modified.finding else {
                return Err(ReadError::malformed(place(), "it has no Finding"));
            };
            report.vulnerabilities.push(vulnerability(row, &kind, text::vex(&modified.status), place)?);
        }
    }
    report.rows = report.vulnerabilities.len();
    Ok(vec![report])
}

/// Whether packages were looked at: those of the distribution, if one was recognised, or those of languages. From
/// 0.20, which writes no classes, every result with a type counts.
fn looked(results: &[TargetResult], os: Option<&Os>) -> Result<(), ReadError> {
    let incomplete = |problem: String| {
        let remedy =
            "scan with --scanners vuln and every --pkg-types, by a Trivy that knows the distribution";
        Err(ReadError::Incomplete { place: "Results".to_owned(), problem, remedy })
    };
    let packages = |result: &&TargetResult| {
        let unclassed = result.class.is_empty() && !result.kind.is_empty();
        unclassed || !(result.class.is_empty() || NOT_PACKAGES.contains(&&*result.class))
    };
    let looked: Vec<_> = results.iter().filter(packages).collect();
    if results.is_empty() {
        return incomplete("nothing was looked at".to_owned());
    }
    if looked.is_empty() {
        return incomplete("no packages were looked at".to_owned());
    }
    let classed = looked.iter().any(|result| !result.class.is_empty());
    match os.filter(|os| !os.family.is_empty() && os.family != "none") {
        Some(os) if classed && !looked.iter().any(|result| result.class == "os-pkgs") => {
            incomplete(format!("the packages of {} were not looked at", text::plain(&os.family)))
        }
        _ => Ok(()),
    }
}

fn vulnerability(
    row: Row,
    kind: &str,
    vex: Option<VexStatus>,
    place: impl Fn() -> String,
) -> Result<Vulnerability, ReadError> {
    let Some(id) = text::id(&row.id) else {
        return Err(ReadError::malformed(place(), "it has no VulnerabilityID"));
    };
    let highest = || row.cvss.iter().filter_map(Cvss::score).max();
    let by = |source: &str| row.cvss.get(source).and_then(Cvss::score);
    Ok(Vulnerability {
        aliases: text::aliases(&id, row.vendor_ids.iter().map(String::as_str)),
        severity: text::severity(&row.severity),
        score: by(&row.severity_source).or_else(|| by("nvd")).or_else(highest),
        package: text::package(&row.pkg_name),
        package_type: text::purl_type(&row.pkg_identifier.purl).unwrap_or_else(|| text::kind(kind)),
        installed: text::package(&row.installed_version),
        fixed: text::fixed(&row.fixed_version),
        published: text::date(&row.published_date),
        first_seen: None,
        vex,
        id,
    })
}

fn foreign(found: String) -> ReadError {
    ReadError::Foreign { found, wanted: WANTED, remedy: "scan an image, with trivy image --format json" }
}
