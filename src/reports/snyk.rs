//! `snyk container test --json`, one object or a list of projects of one image.
//!
//! Snyk writes an entry for each path by which a package came into the image; they are merged. Entries that a Snyk
//! policy ignores stand under `filtered`, and are findings here all the same: what is left out of account is for
//! our policy to say.
//!
//! The report names neither digest nor time. What it says to be missing in it makes it incomplete: an error, a
//! threshold below which nothing is listed, a distribution of which Snyk knows nothing, and more vulnerabilities
//! counted (`uniqueCount`) than listed.
//!
//! Source: snyk/cli, `src/lib/snyk-test/legacy.ts`; Snyk's documentation, "snyk container test".

use std::collections::HashSet;

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, fix, incomplete, said},
    loose::{Few, Word},
    text,
};
use crate::evidence::Vulnerability;

const KEYS: Keys = Keys {
    counted: &["vulnerabilities", "applications", "ignore", "patch"],
    spelt: &["error", "filtered", "fixedIn", "nearestFixedInVersion", "isUpgradable", "severityThreshold"],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    vulnerabilities: Option<Vec<Row>>,
    applications: Option<Vec<Project>>,
    filtered: Option<Filtered>,
    error: Option<Word>,
    severity_threshold: Option<String>,
    unique_count: Option<usize>,
    docker: Option<Docker>,
    project_name: Option<String>,
    package_manager: Option<String>,
    platform: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Filtered {
    ignore: Option<Vec<Row>>,
    patch: Option<Vec<Row>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Docker {
    base_image_remediation: Option<Remediation>,
}

#[derive(Deserialize)]
struct Remediation {
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    identifiers: Option<Identifiers>,
    severity: Option<String>,
    severity_with_critical: Option<String>,
    #[serde(default)]
    cvss_score: Word,
    package_name: Option<String>,
    name: Option<String>,
    #[serde(default)]
    version: String,
    nearest_fixed_in_version: Option<String>,
    #[serde(default)]
    fixed_in: Few<String>,
    is_upgradable: Option<bool>,
    publication_time: Option<String>,
    disclosure_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Identifiers {
    #[serde(default)]
    cve: Few<String>,
    #[serde(default)]
    ghsa: Few<String>,
}

/// Reads one document.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let projects: Vec<Project> = match bytes.trim_ascii_start().starts_with(b"[") {
        true => parse(bytes, &KEYS)?,
        false => vec![parse(bytes, &KEYS)?],
    };
    let mut images = projects.iter().filter(|project| project.is_image());
    let Some(image) = images.next().or_else(|| projects.iter().find(|project| project.error.is_some()))
    else {
        return Err(foreign("a report of Snyk on something that is no container image"));
    };
    if images.next().is_some() {
        return Err(foreign("a list of reports of Snyk on several images, which name no digest"));
    }
    if projects.iter().any(|project| project.docker.is_none() && project.error.is_none()) {
        return Err(foreign("a list of reports of Snyk on an image and on something else"));
    }
    let subject = Subject {
        platform: image.platform.as_deref().and_then(|platform| platform.parse().ok()),
        name: image.path.as_deref().and_then(said),
        ..Subject::default()
    };
    let mut findings = Findings::default();
    let listed = bytes.trim_ascii_start().starts_with(b"[");
    for (at, project) in projects.into_iter().enumerate() {
        let place = if listed { format!("[{at}].") } else { String::new() };
        collect(project, &place, &mut findings)?;
    }
    Ok(vec![findings.into_report("snyk", subject)])
}

impl Project {
    /// Whether it is about an image itself, and not about an application or about what lies on a disk.
    fn is_image(&self) -> bool {
        let named = self.project_name.as_deref();
        self.docker.is_some() && named.is_none_or(|name| name.starts_with("docker-image|"))
    }

    /// What it says to be missing in it.
    fn whole(&self, place: &str) -> Result<(), ReadError> {
        if let Some(error) = self.error.as_ref().map(Word::text).filter(|error| !error.is_empty()) {
            return Err(incomplete(
                format!("{place}error"),
                format!("Snyk failed: {error}"),
                "test the image again",
            ));
        }
        if let Some(threshold) = self.severity_threshold.as_deref().filter(|one| *one != "low") {
            let problem = format!("only what is {:?} or worse is listed", text::plain(threshold));
            let remedy = "test the image without --severity-threshold";
            return Err(incomplete(format!("{place}severityThreshold"), problem, remedy));
        }
        let remediation = self.docker.as_ref().and_then(|docker| docker.base_image_remediation.as_ref());
        if let Some(code) = remediation.and_then(|remediation| remediation.code.as_deref())
            && code.starts_with("UNTRACKED")
        {
            let problem = format!("{}: Snyk does not track the image's distribution", text::plain(code));
            let place = format!("{place}docker.baseImageRemediation.code");
            return Err(incomplete(
                place,
                problem,
                "scan the image with a scanner that knows its distribution",
            ));
        }
        let Some(rows) = &self.vulnerabilities else {
            return Err(incomplete(
                format!("{place}vulnerabilities"),
                "it is missing",
                "test the image again",
            ));
        };
        let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        match self.unique_count {
            Some(count) if count > ids.len() => Err(incomplete(
                format!("{place}uniqueCount"),
                format!("there are {count} vulnerabilities, and {} are listed", ids.len()),
                "give the report as Snyk has written it",
            )),
            _ => Ok(()),
        }
    }
}

/// Adds what `project` and its applications list.
fn collect(project: Project, place: &str, findings: &mut Findings) -> Result<(), ReadError> {
    project.whole(place)?;
    let filtered = project.filtered.unwrap_or(Filtered { ignore: None, patch: None });
    let lists = [
        ("vulnerabilities", project.vulnerabilities),
        ("filtered.ignore", filtered.ignore),
        ("filtered.patch", filtered.patch),
    ];
    let manager = project.package_manager.unwrap_or_default();
    for (name, rows) in lists {
        for (at, row) in rows.into_iter().flatten().enumerate() {
            // licences that somebody does not want are listed among the vulnerabilities
            if row.kind.as_deref() == Some("license") {
                continue;
            }
            findings.add(|| format!("{place}{name}[{at}].id"), vulnerability(row, &manager))?;
        }
    }
    for (at, application) in project.applications.into_iter().flatten().enumerate() {
        collect(application, &format!("{place}applications[{at}]."), findings)?;
    }
    Ok(())
}

fn vulnerability(row: Row, manager: &str) -> Vulnerability {
    let word = |word: Option<&String>| word.and_then(|word| text::severity(word));
    let versions: Vec<&str> = row.fixed_in.iter().map(String::as_str).collect();
    let unnamed = row.is_upgradable.unwrap_or(false).then(String::new);
    let named = row.nearest_fixed_in_version.as_deref().and_then(fix);
    let identifiers = row.identifiers.unwrap_or(Identifiers { cve: Few::default(), ghsa: Few::default() });
    Vulnerability {
        id: row.id,
        aliases: identifiers.cve.iter().chain(identifiers.ghsa.iter()).cloned().collect(),
        // before there was `critical`, it stood in a field of its own
        severity: word(row.severity.as_ref()).max(word(row.severity_with_critical.as_ref())),
        score: row.cvss_score.number().and_then(text::score),
        package: row.package_name.or(row.name).unwrap_or_default(),
        package_type: manager.to_owned(),
        installed: row.version,
        fixed: named.or_else(|| fix(&versions.join(", "))).or(unnamed),
        published: [row.publication_time, row.disclosure_time]
            .iter()
            .flatten()
            .find_map(|time| text::date(time)),
        ..Vulnerability::default()
    }
}

fn foreign(found: &str) -> ReadError {
    ReadError::Foreign {
        found: found.to_owned(),
        wanted: "report of Snyk on one image",
        remedy: "use snyk container test --json, a file for each image",
    }
}
