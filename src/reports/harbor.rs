//! Harbor: the answer of `…/additions/vulnerabilities`, keyed by media type, or what a scanner adapter itself
//! answers, which is the same object without the key.
//!
//! The overall severity is the worst of all entries, so that a list in which it does not occur is not the whole list.
//!
//! Source: goharbor/pluggable-scanner-spec, `api/spec/scanner-adapter-openapi-v1.2.yaml`, "HarborVulnerabilityReport".

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, fix, incomplete, said},
    loose::Word,
    text,
};
use crate::{evidence::Vulnerability, image::Digest};

const KEYS: Keys =
    Keys { counted: &["vulnerabilities", "artifact_digests"], spelt: &["fix_version", "artifact"] };

/// What the answer is keyed by, before the parameters.
const MEDIA_TYPES: [&str; 2] = [
    "application/vnd.security.vulnerability.report",
    "application/vnd.scanner.adapter.vuln.report.harbor+json",
];

#[derive(Deserialize)]
struct Document {
    generated_at: Option<String>,
    scanner: Option<Scanner>,
    artifact: Option<Artifact>,
    severity: Option<String>,
    vulnerabilities: Option<Vec<Row>>,
}

#[derive(Deserialize)]
struct Scanner {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Artifact {
    repository: Option<String>,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    version: String,
    fix_version: Option<String>,
    severity: Option<String>,
    artifact_digests: Option<Vec<String>>,
    preferred_cvss: Option<Cvss>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(default)]
    score_v3: Word,
}

/// Reads one answer.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let names: HashMap<String, IgnoredAny> = parse(bytes, &KEYS)?;
    if names.is_empty() {
        return Err(no_report("the document"));
    }
    let mut keys = names.keys().filter(|name| is_media_type(name));
    let (place, document) = match (keys.next(), keys.next()) {
        (None, _) => (String::new(), parse::<Document>(bytes, &KEYS)?),
        (Some(key), None) => {
            let mut answer: HashMap<String, Option<Document>> = parse(bytes, &KEYS)?;
            let document = answer.remove(key).flatten().ok_or_else(|| no_report(&text::plain(key)))?;
            (format!("[{:?}].", text::plain(key)), document)
        }
        (Some(_), Some(_)) => {
            return Err(ReadError::malformed("the document", "it holds several reports: ask for one type"));
        }
    };
    if document.scanner.is_none() || document.generated_at.is_none() {
        return Err(ReadError::Foreign {
            found: "another document than a report of Harbor".to_owned(),
            wanted: "vulnerability report",
            remedy: "ask for …/artifacts/sha256:…/additions/vulnerabilities",
        });
    }
    report(document, &place)
}

fn report(document: Document, place: &str) -> Result<Vec<Report>, ReadError> {
    let digest = |text: &str, at: String| {
        text.parse::<Digest>()
            .map_err(|error| ReadError::malformed(at, format!("{:?}: {error}", text::plain(text))))
    };
    let mut digests = BTreeSet::new();
    let mut name = None;
    if let Some(artifact) = document.artifact {
        if let Some(text) = artifact.digest {
            digests.insert(digest(&text, format!("{place}artifact.digest"))?);
        }
        name = artifact.repository.as_deref().and_then(said);
    }
    let mut findings = Findings::default();
    for (at, row) in document.vulnerabilities.into_iter().flatten().enumerate() {
        let place = || format!("{place}vulnerabilities[{at}]");
        for text in row.artifact_digests.iter().flatten() {
            digests.insert(digest(text, format!("{}.artifact_digests", place()))?);
        }
        let found = Vulnerability {
            id: row.id,
            severity: row.severity.as_deref().and_then(text::severity),
            score: row.preferred_cvss.and_then(|cvss| cvss.score_v3.number()).and_then(text::score),
            package: row.package,
            installed: row.version,
            fixed: row.fix_version.as_deref().and_then(fix),
            ..Vulnerability::default()
        };
        findings.add(place, found)?;
    }
    let overall = document.severity.as_deref().and_then(text::severity);
    let worst = findings.list().iter().map(|found| found.severity).max().flatten();
    let all_known = findings.list().iter().all(|found| found.severity.is_some());
    if all_known && overall > worst {
        let problem = format!(
            "the overall severity is {:?}, and no entry has it",
            text::plain(&document.severity.unwrap_or_default())
        );
        return Err(incomplete(format!("{place}severity"), problem, "ask for the report anew, as a whole"));
    }
    let scanner = document.scanner.unwrap_or(Scanner { name: None, version: None });
    let by = scanner.name.as_deref().and_then(said).unwrap_or_else(|| "harbor".to_owned());
    let subject = Subject { digests: digests.into_iter().collect(), name, ..Subject::default() };
    Ok(vec![Report {
        scanner_version: scanner.version.as_deref().and_then(said),
        scanned_at: document.generated_at.as_deref().and_then(text::timestamp),
        ..findings.into_report(&by.to_lowercase(), subject)
    }])
}

fn is_media_type(name: &str) -> bool {
    let media_type = name.split(';').next().unwrap_or_default().trim();
    MEDIA_TYPES.iter().any(|ours| media_type.eq_ignore_ascii_case(ours))
}

fn no_report(place: &str) -> ReadError {
    incomplete(place, "Harbor has no report", "scan the artifact, and ask again when the scan has succeeded")
}
