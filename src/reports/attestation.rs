//! Attestations of a vulnerability scan: cosign's `vuln/v1`, which wraps a scanner's own report, and in-toto's
//! `vulns/v0.1` and `v0.2`, which list vulnerabilities themselves; each as a whole statement or as the predicate alone.
//!
//! Where there is no `result`, nothing was found out. A report inside keeps its own word on which image it is about,
//! beside what the statement says: [`Report::bind`] compares both.
//!
//! in-toto's list names no package and no fix, so that no policy about fixable vulnerabilities can use it.
//!
//! Whether a statement is signed, and by whom, is not known here.
//!
//! Sources: sigstore/cosign, `specs/COSIGN_VULN_ATTESTATION_SPEC.md`; in-toto/attestation, `spec/predicates/vuln.md`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Format, ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, incomplete, said},
    format,
    loose::{Few, Word},
    purl::Purl,
    text,
};
use crate::{
    evidence::{Severity, Vulnerability},
    image::Digest,
};

/// The types of predicates that [`read_statement`] reads. That of `cosign attest --type custom` is read too, though
/// what is in it may be anything: [`CUSTOM`].
pub const PREDICATE_TYPES: [&str; 4] = [COSIGN, OLD_COSIGN, IN_TOTO[0], IN_TOTO[1]];

/// The type of a predicate that holds some document as a text, which may be a scanner's report.
pub const CUSTOM: &str = "https://cosign.sigstore.dev/attestation/v1";

const COSIGN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
/// Before cosign 1.6.
const OLD_COSIGN: &str = "cosign.sigstore.dev/attestation/vuln/v1";
const IN_TOTO: [&str; 2] =
    ["https://in-toto.io/attestation/vulns/v0.1", "https://in-toto.io/attestation/vulns/v0.2"];
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];

const KEYS: Keys = Keys { counted: &["result", "subject"], spelt: &["predicate", "predicateType"] };

/// A statement, or a predicate alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "_type")]
    kind: Option<String>,
    predicate_type: Option<String>,
    subject: Option<Vec<StatementSubject>>,
    predicate: Option<Box<RawValue>>,
    scanner: Option<Scanner>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct StatementSubject {
    name: Option<String>,
    #[serde(default)]
    digest: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    scanner: Option<Scanner>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Custom {
    #[serde(rename = "Data")]
    data: Option<String>,
}

#[derive(Deserialize)]
struct Scanner {
    uri: Option<String>,
    version: Option<String>,
    db: Option<Database>,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    version: Option<String>,
    last_update: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    scan_finished_on: Option<String>,
}

/// An entry of in-toto's list. Its text nests what its example has side by side.
#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    #[serde(default)]
    severity: Few<Rating>,
    vulnerability: Option<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    id: Option<String>,
    #[serde(default)]
    severity: Few<Rating>,
}

#[derive(Deserialize)]
struct Rating {
    #[serde(default)]
    method: String,
    #[serde(default)]
    score: Word,
}

/// How a predicate is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Cosign,
    InToto,
    Custom,
    /// Nobody says, since there is no statement.
    Bare,
}

/// Reads a statement that has been verified, of one of the [`PREDICATE_TYPES`]. The report names the digests that
/// the statement is about, unless the report inside names others, which then must fit too.
pub fn read_statement(statement: &Value) -> Result<Report, ReadError> {
    if statement.get("predicateType").is_none() {
        return Err(foreign("a document without predicateType".to_owned()));
    }
    let mut reports = format::read(Format::VulnAttestation, statement.to_string().as_bytes())?;
    // OK because a reader answers with at least one report, and this one with no more
    Ok(reports.remove(0))
}

/// Reads one statement, or one predicate.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let report = match document.predicate_type.as_deref() {
        Some(predicate_type) => {
            let kind = match predicate_type {
                COSIGN | OLD_COSIGN => Kind::Cosign,
                CUSTOM => Kind::Custom,
                other if IN_TOTO.contains(&other) => Kind::InToto,
                other => return Err(foreign(format!("a predicate of the type {:?}", text::plain(other)))),
            };
            if !document.kind.as_deref().is_some_and(|kind| STATEMENTS.contains(&kind)) {
                return Err(ReadError::malformed("_type", "it is none of an in-toto statement"));
            }
            let (attested, name) = subject(document.subject.unwrap_or_default())?;
            let missing = || ReadError::malformed("predicate", "it is missing");
            let mut report = predicate(kind, document.predicate.as_ref().ok_or_else(missing)?.get())?;
            if report.subject.digests.is_empty() {
                report.subject.digests.clone_from(&attested);
            }
            report.subject.attested = attested;
            report.subject.name = report.subject.name.take().or(name);
            report
        }
        None => match document.scanner {
            Some(scanner) => scanned(Kind::Bare, scanner, document.metadata)?,
            None => return Err(foreign("a document without scanner and predicateType".to_owned())),
        },
    };
    Ok(vec![report])
}

/// The digests that a statement is about, and the name of the first.
fn subject(subjects: Vec<StatementSubject>) -> Result<(Vec<Digest>, Option<String>), ReadError> {
    let name = subjects.first().and_then(|subject| said(subject.name.as_deref()?));
    let mut digests = Vec::new();
    for (at, subject) in subjects.into_iter().enumerate() {
        for algorithm in ["sha256", "sha512"] {
            let Some(hex) = subject.digest.get(algorithm) else { continue };
            let digest = format!("{algorithm}:{hex}").parse::<Digest>().map_err(|error| {
                let place = format!("subject[{at}].digest.{algorithm}");
                ReadError::malformed(place, format!("{:?}: {error}", text::plain(hex)))
            })?;
            digests.push(digest);
        }
    }
    match digests.is_empty() {
        true => {
            Err(ReadError::malformed("subject", "it has no digest, so that the statement is about no image"))
        }
        false => Ok((digests, name)),
    }
}

fn predicate(kind: Kind, json: &str) -> Result<Report, ReadError> {
    // the first cosign wrote it as a text
    if json.starts_with('"') {
        let text: String = parse(json.as_bytes(), &KEYS)?;
        return match text.trim_start().starts_with('{') {
            true => predicate(kind, text.trim_start()),
            false => Err(ReadError::malformed("predicate", "it is a text without a document in it")),
        };
    }
    match kind {
        Kind::Custom => {
            let custom: Custom = parse(json.as_bytes(), &KEYS)?;
            let Some(data) = custom.data.filter(|data| !data.trim().is_empty()) else {
                return Err(incomplete("predicate.Data", "it is empty", ATTEST));
            };
            match format::detect(data.as_bytes())? {
                Format::VulnAttestation => {
                    let inner: Predicate = parse(data.as_bytes(), &KEYS)?;
                    scanned(Kind::Bare, inner.scanner.ok_or_else(no_result)?, inner.metadata)
                }
                _ => inside(&data, "predicate.Data"),
            }
        }
        Kind::Cosign | Kind::InToto | Kind::Bare => {
            let predicate: Predicate = parse(json.as_bytes(), &KEYS)?;
            scanned(kind, predicate.scanner.ok_or_else(no_result)?, predicate.metadata)
        }
    }
}

const ATTEST: &str = "attest the scanner's whole report, as trivy image --format cosign-vuln does";

fn no_result() -> ReadError {
    incomplete("scanner.result", "there is none", ATTEST)
}

fn scanned(kind: Kind, scanner: Scanner, metadata: Option<Metadata>) -> Result<Report, ReadError> {
    let result = scanner.result.ok_or_else(no_result)?;
    let is_list = result.get().starts_with('[');
    let in_toto = match kind {
        Kind::InToto => true,
        Kind::Bare if is_list => format::detect(result.get().as_bytes()).is_err(),
        _ => false,
    };
    let mut report = match in_toto {
        true => listed(&scanner.uri, result.get())?,
        false => inside(result.get(), "scanner.result")?,
    };
    report.scanner_version = report.scanner_version.take().or_else(|| said(scanner.version.as_deref()?));
    if let Some(database) = scanner.db {
        report.database_version =
            report.database_version.take().or_else(|| said(database.version.as_deref()?));
        report.database_at =
            report.database_at.or_else(|| database.last_update.as_deref().and_then(text::timestamp));
    }
    // a report that is wrapped later was not made later
    let finished = metadata.and_then(|metadata| text::timestamp(metadata.scan_finished_on.as_deref()?));
    report.scanned_at = report.scanned_at.or(finished);
    Ok(report)
}

/// The report that a scanner wrote, inside the predicate.
fn inside(json: &str, place: &'static str) -> Result<Report, ReadError> {
    let within = |error| match error {
        ReadError::Malformed { place: inner, problem } => {
            ReadError::Malformed { place: format!("{place}: {inner}"), problem }
        }
        other => other,
    };
    let format = format::detect(json.as_bytes()).map_err(|error| match error {
        ReadError::Foreign { found, .. } => incomplete(place, format!("it is {found}"), ATTEST),
        other => within(other),
    })?;
    if format == Format::VulnAttestation {
        return Err(ReadError::malformed(place, "it is itself a predicate of an attestation"));
    }
    let mut reports = format::read(format, json.as_bytes()).map_err(within)?;
    match reports.len() {
        // OK because there is one
        1 => Ok(reports.pop().unwrap()),
        several => Err(ReadError::malformed(place, format!("it is about {several} images"))),
    }
}

/// in-toto's own list.
#[expect(clippy::ref_option, reason = "it is what the predicate holds")]
fn listed(uri: &Option<String>, json: &str) -> Result<Report, ReadError> {
    let rows: Vec<Row> = parse(json.as_bytes(), &KEYS)?;
    let mut findings = Findings::default();
    for (at, row) in rows.into_iter().enumerate() {
        let nested = row.vulnerability.unwrap_or(Nested { id: None, severity: Few::default() });
        let ratings: Vec<_> = row.severity.iter().chain(nested.severity.iter()).collect();
        let found = Vulnerability {
            id: row.id.or(nested.id).unwrap_or_default(),
            severity: ratings.iter().filter_map(|rating| rating.severity()).max(),
            score: ratings.iter().filter_map(|rating| rating.score()).max(),
            ..Vulnerability::default()
        };
        findings.add(|| format!("scanner.result[{at}].id"), found)?;
    }
    let uri = uri.as_deref().unwrap_or_default();
    let name = Purl::parse(uri).map(|purl| purl.name).or_else(|| said(uri));
    let name = name.unwrap_or_else(|| "in-toto".to_owned());
    Ok(findings.into_report(&text::plain(&name), Subject::default()))
}

impl Rating {
    /// The severity of a word or a CVSS score. That of a vector is not worked out: nobody has said it.
    fn severity(&self) -> Option<Severity> {
        text::severity(&self.score.text()).or_else(|| self.score().map(text::severity_of_score))
    }

    /// Methods other than CVSS measure other things than how bad it is.
    fn score(&self) -> Option<u8> {
        let method = self.method.to_ascii_lowercase();
        let old = method.contains("cvssv2") || method.contains("cvss_v2");
        (method.contains("cvss") && !old).then(|| self.score.number()).flatten().and_then(text::score)
    }
}

fn foreign(found: String) -> ReadError {
    ReadError::Foreign {
        found,
        wanted: "attestation of a vulnerability scan",
        remedy: "use a statement with the predicate type https://cosign.sigstore.dev/attestation/vuln/v1 or https://in-toto.io/attestation/vulns/v0.2, or such a predicate",
    }
}
