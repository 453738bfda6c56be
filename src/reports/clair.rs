//! Clair v4: the matcher's `vulnerability_report`.
//!
//! Counted is over `package_vulnerabilities`, and never over `vulnerabilities`, where newer versions also keep
//! assertions that something is *not* vulnerable. Where a package points to an entry that is not there, the report
//! is unreadable.
//!
//! The severity is `normalized_severity`. Where that is `Unknown`, as it is for everything in Alpine and Python,
//! it is the worst that an enricher has given by CVSS, as Quay does it; where no enricher has, nobody says.
//!
//! Source: quay/clair, `httptransport/types/v1/vulnerability_report.schema.json`; quay/claircore, `libvuln/driver`.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, cves, fix, incomplete, name_in_title, named},
    loose::Word,
    text,
};
use crate::{
    evidence::{Severity, Vulnerability},
    image::Digest,
};

const KEYS: Keys = Keys {
    counted: &["packages", "vulnerabilities", "package_vulnerabilities"],
    spelt: &["fixed_in_version"],
};

#[derive(Deserialize)]
struct Document {
    manifest_hash: Option<String>,
    packages: Option<HashMap<String, Package>>,
    environments: Option<HashMap<String, Option<Vec<Environment>>>>,
    vulnerabilities: Option<HashMap<String, Advisory>>,
    package_vulnerabilities: Option<HashMap<String, Vec<String>>>,
    enrichments: Option<HashMap<String, Option<Vec<HashMap<String, Vec<Cvss>>>>>>,
    /// Of a report of the indexer, which says what packages there are and nothing about them.
    state: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    distribution_id: String,
    repository_ids: Option<Vec<String>>,
    #[serde(default)]
    package_db: String,
}

#[derive(Deserialize)]
struct Advisory {
    name: String,
    #[serde(default)]
    links: String,
    #[serde(default)]
    issued: String,
    #[serde(default)]
    normalized_severity: String,
    #[serde(default)]
    fixed_in_version: String,
    #[serde(default, rename = "Invert")]
    invert: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cvss {
    #[serde(default)]
    base_score: Word,
    base_severity: Option<String>,
}

/// Reads one report of the matcher.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let (Some(hash), Some(by_package)) = (&document.manifest_hash, &document.package_vulnerabilities) else {
        return Err(foreign(&document));
    };
    let digest: Digest = hash.parse().map_err(|error| {
        ReadError::malformed("manifest_hash", format!("{:?}: {error}", text::plain(hash)))
    })?;
    let none = HashMap::new();
    let packages = document.packages.as_ref().unwrap_or(&none);
    if !recognised(packages, document.environments.as_ref()) {
        return Err(incomplete(
            "packages",
            "no package belongs to a distribution or repository that Clair knows",
            "scan the image with a scanner that knows its distribution",
        ));
    }
    let nothing = HashMap::new();
    let advisories = document.vulnerabilities.as_ref().unwrap_or(&nothing);
    let scores = scores(document.enrichments.unwrap_or_default());
    let known: HashMap<&str, Vulnerability> = advisories
        .iter()
        .map(|(id, advisory)| {
            (id.as_str(), advisory.vulnerability(scores.get(id).copied().unwrap_or_default()))
        })
        .collect();
    let mut findings = Findings::default();
    for (package_id, ids) in by_package {
        let place = || format!("package_vulnerabilities.{}", text::plain(package_id));
        let package = packages
            .get(package_id)
            .ok_or_else(|| ReadError::malformed(place(), "there is no such package in packages"))?;
        let environments = document.environments.as_ref().and_then(|all| all.get(package_id)?.as_deref());
        let (name, version) = (text::package(&package.name), text::package(&package.version));
        for id in ids {
            let (Some(advisory), Some(found)) = (advisories.get(id), known.get(id.as_str())) else {
                let problem = format!("{:?} is not in vulnerabilities", text::plain(id));
                return Err(ReadError::malformed(place(), problem));
            };
            if advisory.invert {
                continue;
            }
            let found = Vulnerability {
                package: name.clone(),
                package_type: package_type(environments.unwrap_or_default()).to_owned(),
                installed: version.clone(),
                ..found.clone()
            };
            findings.add(place, found)?;
        }
    }
    let subject = Subject { digests: vec![digest], ..Subject::default() };
    Ok(vec![findings.into_report("clair", subject)])
}

impl Advisory {
    /// What it says of any package.
    fn vulnerability(&self, (by_cvss, score): (Option<Severity>, Option<u8>)) -> Vulnerability {
        let cves = cves(&self.name).chain(cves(&self.links));
        Vulnerability {
            severity: text::severity(&self.normalized_severity).or(by_cvss),
            score,
            fixed: fixed(&self.fixed_in_version),
            published: text::date(&self.issued),
            ..named(name_in_title(&self.name), cves)
        }
    }
}

/// The version that mends it. The updaters of OSV write a query for Maven, PyPI and RubyGems,
/// `introduced=1.0&fixed=1.2`, in which only `fixed` is a fix.
fn fixed(version: &str) -> Option<String> {
    if !version.contains('=') {
        return fix(version);
    }
    let mut query = url::form_urlencoded::parse(version.as_bytes());
    query.find(|(name, _)| name == "fixed").and_then(|(_, version)| fix(&version))
}

/// The worst severity and score that enrichers give to each entry of `vulnerabilities`.
fn scores(
    enrichments: HashMap<String, Option<Vec<HashMap<String, Vec<Cvss>>>>>,
) -> HashMap<String, (Option<Severity>, Option<u8>)> {
    let mut worst: HashMap<String, (Option<Severity>, Option<u8>)> = HashMap::new();
    for (id, one) in enrichments.into_values().flatten().flatten().flatten() {
        let (severity, score) = worst.entry(id).or_default();
        for cvss in one {
            let by_score = cvss.base_score.number().and_then(text::score);
            let by_word = cvss.base_severity.as_deref().and_then(text::severity);
            *severity = (*severity).max(by_word).max(by_score.map(text::severity_of_score));
            *score = (*score).max(by_score);
        }
    }
    worst
}

/// Whether at least one package stands in a distribution or repository, so that something is known about it. What
/// stands in none is never found vulnerable.
fn recognised(
    packages: &HashMap<String, Package>,
    environments: Option<&HashMap<String, Option<Vec<Environment>>>>,
) -> bool {
    let known = |one: &Environment| {
        !one.distribution_id.is_empty() || one.repository_ids.as_ref().is_some_and(|ids| !ids.is_empty())
    };
    packages.keys().any(|id| {
        let of_package = environments.and_then(|all| all.get(id)).and_then(Option::as_ref);
        of_package.is_some_and(|list| list.iter().any(known))
    })
}

/// What kind of package stands in a database of packages: `lib/apk/db/installed`, `python:usr/lib/…`.
fn package_type(environments: &[Environment]) -> &'static str {
    let kind = |database: &str| match database {
        database if database.contains("lib/apk/") => "apk",
        database if database.contains("lib/dpkg/") => "deb",
        database if database.contains("rpm") => "rpm",
        database => match database.split_once(':').map(|(kind, _)| kind) {
            Some("python") => "pypi",
            Some("go") => "golang",
            Some("maven" | "jar") => "maven",
            Some("ruby") => "gem",
            Some("nodejs") => "npm",
            _ => "",
        },
    };
    let kinds = environments.iter().map(|one| kind(&one.package_db));
    kinds.max().unwrap_or_default()
}

fn foreign(document: &Document) -> ReadError {
    let found = match (&document.state, &document.manifest_hash) {
        (Some(_), Some(_)) => "a report of Clair's indexer",
        _ => "another document than a report of Clair v4",
    };
    ReadError::Foreign {
        found: found.to_owned(),
        wanted: "vulnerability report",
        remedy: "ask the matcher, at /matcher/api/v1/vulnerability_report/",
    }
}
