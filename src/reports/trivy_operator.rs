//! VulnerabilityReports of the Trivy operator, as the API server gives them: one, or a list.
//!
//! Source: trivy-operator, `deploy/helm/crds/aquasecurity.github.io_vulnerabilityreports.yaml` (v1alpha1).
//!
//! A report names a digest only if the operator knew one, which may be an index's, and never a platform. Whoever
//! may write in a namespace can write one: which namespaces are believed is for configuration to say.

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    loose::Word,
    text,
};
use crate::evidence::{Severity, Vulnerability};

const WANTED: &str = "VulnerabilityReport of the Trivy operator";

const KEYS: Keys = Keys {
    counted: &["items", "vulnerabilities", ALL],
    spelt: &["kind", "report", "vulnerabilityID", "severity", "summary"],
};

/// Under which name an object that holds all kinds of the operator's reports has these.
pub(super) const ALL: &str = "vulnerabilityreports.aquasecurity.github.io";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    // the fields of Object, not flattened: that would take in everything unknown
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    report: Option<Content>,
    items: Option<Vec<Object>>,
    #[serde(rename = "vulnerabilityreports.aquasecurity.github.io")]
    all: Option<Vec<Object>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    report: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    artifact: Artifact,
    #[serde(default)]
    registry: Registry,
    os: Option<Os>,
    scanner: Option<Scanner>,
    summary: Summary,
    update_timestamp: Option<Word>,
    vulnerabilities: Option<Vec<Row>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Artifact {
    repository: String,
    digest: String,
    tag: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Registry {
    server: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Os {
    family: String,
    name: String,
    eosl: bool,
}

#[derive(Deserialize)]
struct Scanner {
    version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Summary {
    critical_count: u64,
    high_count: u64,
    medium_count: u64,
    low_count: u64,
    unknown_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Row {
    #[serde(rename = "vulnerabilityID")]
    id: String,
    resource: String,
    installed_version: String,
    fixed_version: String,
    severity: String,
    score: Option<f64>,
    published_date: String,
    package_type: String,
    #[serde(rename = "packagePURL")]
    purl: String,
}

/// Reads one report, a `List` of them, or an object that has all kinds of the operator's reports in lists by name.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let Document { api_version, kind, report: content, items, all } = parse(bytes, &KEYS)?;
    let (place, objects) = match (items, all) {
        (Some(items), _) if kind.ends_with("List") => ("items", items),
        (None, Some(all)) if kind.is_empty() => (ALL, all),
        _ => {
            return Ok(vec![report(
                Object { api_version, kind, report: content },
                "",
                "VulnerabilityReport",
            )?]);
        }
    };
    if objects.is_empty() {
        return Err(foreign(format!("an empty list under {place}")));
    }
    // the API server leaves kind and version out of the items of a list of one kind
    let listed = if kind == "VulnerabilityReportList" { "" } else { "VulnerabilityReport" };
    let read = |(at, object)| report(object, &format!("{place}[{at}]."), listed);
    objects.into_iter().enumerate().map(read).collect()
}

fn report(object: Object, place: &str, kind: &str) -> Result<Report, ReadError> {
    let ours =
        object.kind == "VulnerabilityReport" && object.api_version.starts_with("aquasecurity.github.io/");
    let unsaid = kind.is_empty() && object.kind.is_empty();
    if !ours && !unsaid {
        let (kind, version) = (text::plain(&object.kind), text::plain(&object.api_version));
        return Err(foreign(format!("an object of the kind {kind:?} of {version:?}")));
    }
    let Some(content) = object.report else {
        return Err(ReadError::malformed(format!("{place}report"), "it is missing"));
    };
    let Some(rows) = content.vulnerabilities else {
        return Err(ReadError::Incomplete {
            place: format!("{place}report.vulnerabilities"),
            problem: "nothing is listed, not even that there is nothing".to_owned(),
            remedy: "wait until the operator has scanned the image",
        });
    };
    let found: Result<Vec<_>, _> = rows
        .into_iter()
        .enumerate()
        .map(|(at, row)| vulnerability(row, || format!("{place}report.vulnerabilities[{at}]")))
        .collect();
    let found = found?;
    agrees(&content.summary, &found, place)?;

    let Artifact { repository, digest, tag } = content.artifact;
    let name = [content.registry.server, repository].into_iter().filter(|part| !part.is_empty());
    let name = format!("{}:{tag}", name.collect::<Vec<_>>().join("/"));
    Ok(Report {
        subject: Subject {
            digests: text::digest(&digest).into_iter().collect(),
            name: Some(text::plain(name.trim_end_matches(':'))).filter(|name| !name.is_empty()),
            ..Subject::default()
        },
        scanner: "trivy".to_owned(),
        scanner_version: content
            .scanner
            .and_then(|scanner| scanner.version)
            .map(|version| text::plain(&version)),
        scanned_at: content.update_timestamp.and_then(|at| at.timestamp()),
        end_of_life: content
            .os
            .filter(|os| os.eosl)
            .map(|os| text::plain(&format!("{} {}", os.family, os.name))),
        rows: found.len(),
        vulnerabilities: found,
        ..Report::default()
    })
}

/// Whether the summary counts what is listed. Where it does not, one of the two has been cut or changed, and nobody
/// knows which.
fn agrees(summary: &Summary, found: &[Vulnerability], place: &str) -> Result<(), ReadError> {
    let listed = |severity| found.iter().filter(|one| one.severity == severity).count() as u64;
    let counts = [
        ("criticalCount", summary.critical_count, Some(Severity::Critical)),
        ("highCount", summary.high_count, Some(Severity::High)),
        ("mediumCount", summary.medium_count, Some(Severity::Medium)),
        ("lowCount", summary.low_count, Some(Severity::Low)),
        ("unknownCount", summary.unknown_count, None),
    ];
    for (name, said, severity) in counts {
        let listed = listed(severity);
        if said != listed {
            let problem = format!("it is {said}, and the report lists {listed}");
            return Err(ReadError::malformed(format!("{place}report.summary.{name}"), problem));
        }
    }
    Ok(())
}

fn vulnerability(row: Row, place: impl Fn() -> String) -> Result<Vulnerability, ReadError> {
    let Some(id) = text::id(&row.id) else {
        return Err(ReadError::malformed(place(), "it has no vulnerabilityID"));
    };
    Ok(Vulnerability {
        id,
        severity: text::severity(&row.severity),
        score: row.score.and_then(text::score),
        package: text::package(&row.resource),
        package_type: text::purl_type(&row.purl).unwrap_or_else(|| text::kind(&row.package_type)),
        installed: text::package(&row.installed_version),
        fixed: text::fixed(&row.fixed_version),
        published: text::date(&row.published_date),
        ..Vulnerability::default()
    })
}

fn foreign(found: String) -> ReadError {
    let remedy = "give a VulnerabilityReport, as kubectl get vulnerabilityreport -o json writes it";
    ReadError::Foreign { found, wanted: WANTED, remedy }
}
