//! Occurrences of Google's Artifact Analysis, whose API is called Grafeas: an answer of `occurrences.list`, or the
//! list in it.
//!
//! Whether an image was scanned is an occurrence of its own, of the kind `DISCOVERY`: without one, or with one that
//! has not succeeded, there is no answer. VEX notes of the project are not looked at.
//!
//! Source: Artifact Analysis API reference, "Occurrence"; grafeas/grafeas, `proto/v1/vulnerability.proto`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::ByImage;
use crate::{
    evidence::{Severity, Vulnerability},
    image::Digest,
    reports::{
        ReadError, Report,
        bounds::{Keys, parse},
        findings::incomplete,
        loose::{Few, Word},
        text,
    },
};

const KEYS: Keys = Keys {
    counted: &["occurrences", "packageIssue"],
    spelt: &["nextPageToken", "fixAvailable", "fixedVersion", "discovery", "vulnerability", "analysisStatus"],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    occurrences: Option<Vec<Occurrence>>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Occurrence {
    kind: Option<String>,
    resource_uri: Option<String>,
    /// Of the API's beta.
    resource: Option<Resource>,
    #[serde(alias = "note_name")]
    note_name: Option<String>,
    update_time: Option<String>,
    vulnerability: Option<Details>,
    discovery: Option<Discovery>,
}

#[derive(Deserialize)]
struct Resource {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovery {
    analysis_status: Option<String>,
    last_scan_time: Option<String>,
    last_vulnerability_update_time: Option<String>,
    #[serde(default)]
    analysis_error: Few<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    severity: Option<String>,
    effective_severity: Option<String>,
    #[serde(default)]
    cvss_score: Word,
    fix_available: Option<bool>,
    package_issue: Option<Vec<Issue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Issue {
    affected_package: Option<String>,
    affected_version: Option<Version>,
    fixed_version: Option<Version>,
    fix_available: Option<bool>,
    effective_severity: Option<String>,
    package_type: Option<String>,
    /// Of the API's beta, as is the next.
    affected_location: Option<Location>,
    fixed_location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    package: Option<String>,
    version: Option<Version>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Version {
    kind: Option<String>,
    epoch: Word,
    name: Option<String>,
    revision: Option<String>,
    full_name: Option<String>,
}

/// What is known of one image's scan.
#[derive(Default)]
struct Scan {
    found: bool,
    at: Option<Timestamp>,
    database_at: Option<Timestamp>,
}

/// Reads one document. There is a report for each image in it, and each of them must have been scanned.
pub(in crate::reports) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let occurrences = match bytes.trim_ascii_start().starts_with(b"[") {
        true => parse(bytes, &KEYS)?,
        false => {
            let answer: Answer = parse(bytes, &KEYS)?;
            if answer.next_page_token.is_some_and(|token| !token.is_empty()) {
                return Err(incomplete("nextPageToken", "there are further pages", "ask for all pages"));
            }
            answer.occurrences.ok_or_else(|| ReadError::Foreign {
                found: "a document without occurrences".to_owned(),
                wanted: "answer of Artifact Analysis",
                remedy: "list the image's occurrences, those of the kind DISCOVERY too",
            })?
        }
    };
    if occurrences.is_empty() {
        return Err(incomplete("occurrences", "the list is empty, and names no image", LIST));
    }
    let mut images = ByImage::default();
    let mut scans: BTreeMap<Digest, Scan> = BTreeMap::new();
    for (at, one) in occurrences.into_iter().enumerate() {
        let place = format!("occurrences[{at}]");
        match one.kind.as_deref() {
            None | Some("VULNERABILITY") if one.vulnerability.is_none() && one.discovery.is_none() => {
                return Err(ReadError::malformed(place, "it has no vulnerability"));
            }
            _ if one.vulnerability.is_none() && one.discovery.is_none() => continue,
            _ => {}
        }
        let resource = one.resource.and_then(|resource| resource.uri);
        let uri = one.resource_uri.or(resource).unwrap_or_default();
        let (_, digest) = uri.rsplit_once('@').unwrap_or_default();
        let image = images.image(digest, || format!("{place}.resourceUri"))?;
        if let Some(details) = one.vulnerability {
            let note = one.note_name.unwrap_or_default();
            let id = text::id(note.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
            for found in details.vulnerabilities(&id) {
                images.add(&image, || format!("{place}.noteName"), found)?;
            }
        }
        if let Some(discovery) = one.discovery {
            let scan = scans.entry(image).or_default();
            discovery.note(scan, one.update_time.as_deref(), &place)?;
        }
    }
    let mut reports = images.into_reports("artifact-analysis");
    for report in &mut reports {
        // OK because each report of `ByImage` names one digest
        let digest = &report.subject.digests[0];
        let Some(scan) = scans.get(digest).filter(|scan| scan.found) else {
            let problem = format!("no DISCOVERY says that {digest} was scanned");
            return Err(incomplete("occurrences", problem, LIST));
        };
        report.scanned_at = scan.at;
        report.database_at = scan.database_at;
    }
    match reports.is_empty() {
        true => Err(incomplete("occurrences", "none is about vulnerabilities", LIST)),
        false => Ok(reports),
    }
}

const LIST: &str = "list all occurrences of the image, those of the kind DISCOVERY too";

impl Discovery {
    /// Notes that the image was scanned. Several scans of one image must all have succeeded; the oldest counts.
    fn note(self, scan: &mut Scan, updated: Option<&str>, place: &str) -> Result<(), ReadError> {
        let status = self.analysis_status.as_deref().unwrap_or("ANALYSIS_STATUS_UNSPECIFIED");
        if status != "FINISHED_SUCCESS" || self.analysis_error.iter().next().is_some() {
            let problem = match status {
                "FINISHED_SUCCESS" => "the scan had errors".to_owned(),
                other => format!("the scan is {:?}", text::plain(other)),
            };
            let remedy = "ask again when the scan has succeeded";
            return Err(incomplete(format!("{place}.discovery.analysisStatus"), problem, remedy));
        }
        let time = |text: Option<&str>| text.and_then(text::timestamp);
        let at = time(self.last_scan_time.as_deref()).or_else(|| time(updated));
        let database_at = time(self.last_vulnerability_update_time.as_deref());
        *scan = match scan.found {
            false => Scan { found: true, at, database_at },
            true => Scan { found: true, at: scan.at.min(at), database_at: scan.database_at.min(database_at) },
        };
        Ok(())
    }
}

impl Details {
    fn vulnerabilities(self, id: &str) -> Vec<Vulnerability> {
        let word = |word: Option<&String>| word.and_then(|word| text::severity(word));
        let own = word(self.effective_severity.as_ref()).or_else(|| word(self.severity.as_ref()));
        let score = self.cvss_score.number().filter(|score| *score > 0.0).and_then(text::score);
        let mut issues = self.package_issue.unwrap_or_default();
        if issues.is_empty() {
            issues.push(Issue { fix_available: self.fix_available, ..Issue::default() });
        }
        let one = |issue: Issue| issue.vulnerability(id, own, score);
        issues.into_iter().map(one).collect()
    }
}

impl Issue {
    fn vulnerability(self, id: &str, own: Option<Severity>, score: Option<u8>) -> Vulnerability {
        let (old_package, old_version) =
            self.affected_location.map(|at| (at.package, at.version)).unwrap_or_default();
        let fix = self.fixed_version.or_else(|| self.fixed_location?.version);
        let unnamed = self.fix_available.unwrap_or(false).then(String::new);
        Vulnerability {
            id: id.to_owned(),
            severity: self.effective_severity.as_deref().and_then(text::severity).or(own),
            score,
            package: self.affected_package.or(old_package).unwrap_or_default(),
            package_type: self.package_type.unwrap_or_default(),
            installed: self.affected_version.or(old_version).map(Version::into_text).unwrap_or_default(),
            fixed: fix.and_then(Version::into_fix).or(unnamed),
            ..Vulnerability::default()
        }
    }
}

impl Version {
    fn into_text(self) -> String {
        let epoch = self.epoch.number().unwrap_or_default();
        let own = super::inspector::version(epoch, &self.name.unwrap_or_default(), self.revision.as_deref());
        self.full_name.filter(|name| !name.is_empty()).unwrap_or(own)
    }

    /// A fixed version. The kind `MAXIMUM` is later than all that will ever be: none.
    fn into_fix(self) -> Option<String> {
        match self.kind.as_deref() {
            Some("MAXIMUM" | "MINIMUM") => None,
            _ => text::fixed(&self.into_text()),
        }
    }
}
