//! `grype --output json`, of 0.7 and newer.
//!
//! Source: Grype's JSON schema, `schema/grype/db-search/json` and `grype/presenter/models`.
//!
//! Grype records what it left out. Matches that an ignore rule has struck are findings here all the same, with VEX
//! where the rule comes from a VEX document: what is left out of account is for a policy to say. A report that was
//! made with a filter, by which only some are listed, is incomplete.
//!
//! *Fixable* is what has the state `fixed`, and what has none of `fixed`, `not-fixed` and `wont-fix` but names a
//! version. Grype does not know when a vulnerability was published; when its fix appeared is another date, and is
//! not taken for it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ReadError, Report,
    bounds::{Keys, parse},
    grype_source,
    loose::{Few, Word},
    text,
};
use crate::evidence::{VexStatus, Vulnerability};

const WANTED: &str = "report of Grype on an image";

const KEYS: Keys = Keys {
    counted: &["matches", "ignoredMatches", "alertsByPackage"],
    spelt: &["vulnerability", "severity"],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    matches: Option<Vec<Match>>,
    ignored_matches: Option<Vec<Match>>,
    alerts_by_package: Option<Vec<PackageAlerts>>,
    source: Option<Source>,
    distro: Option<Distro>,
    descriptor: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type", default)]
    kind: String,
    target: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Distro {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct PackageAlerts {
    #[serde(default)]
    alerts: Few<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    name: String,
    version: Option<String>,
    timestamp: Option<Word>,
    db: Option<Database>,
    configuration: Option<Configuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    built: Option<Word>,
    schema_version: Option<Word>,
    /// From 0.88 on, which has the rest in here.
    status: Option<DatabaseStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatabaseStatus {
    built: Option<Word>,
    schema_version: Option<Word>,
    valid: Option<bool>,
}

/// The settings by which matches are left out.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Configuration {
    #[serde(default)]
    only_fixed: bool,
    #[serde(default)]
    only_notfixed: bool,
    #[serde(default)]
    ignore_wontfix: Word,
    #[serde(default)]
    ignore_states: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    vulnerability: Advisory,
    #[serde(default)]
    related_vulnerabilities: Few<Related>,
    artifact: Artifact,
    #[serde(default)]
    applied_ignore_rules: Few<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Advisory {
    #[serde(default)]
    id: String,
    severity: Option<String>,
    #[serde(default)]
    cvss: Few<Cvss>,
    fix: Option<Fix>,
    /// Before 0.10.
    #[serde(default)]
    fixed_in_version: Option<String>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(default)]
    version: String,
    #[serde(rename = "type", default)]
    kind: String,
    metrics: Option<Metrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    base_score: Option<f64>,
}

#[derive(Deserialize)]
struct Fix {
    #[serde(default)]
    state: String,
    #[serde(default)]
    versions: Few<String>,
    #[serde(default)]
    available: Few<Available>,
}

#[derive(Deserialize)]
struct Available {
    version: Option<String>,
}

#[derive(Deserialize)]
struct Related {
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    purl: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Rule {
    #[serde(default)]
    vex_status: String,
}

/// Reads one report.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let Some(descriptor) = document.descriptor.filter(|one| one.name.eq_ignore_ascii_case("grype")) else {
        return Err(foreign("a document without a descriptor of Grype".to_owned()));
    };
    let target = match document.source {
        Some(Source { kind, target: Some(target) }) if kind == "image" => target,
        Some(source) => {
            let kind = text::plain(&source.kind);
            return Err(foreign(format!("a report of Grype on a source of the type {kind:?}")));
        }
        None => return Err(foreign("a document without a source".to_owned())),
    };
    let Some(matches) = document.matches else {
        return Err(incomplete("matches", "there is no list"));
    };
    unfiltered(&descriptor)?;

    let distro = document.distro.map(|distro| text::plain(&format!("{} {}", distro.name, distro.version)));
    let ended = document.alerts_by_package.iter().flatten().flat_map(|package| package.alerts.iter());
    let end_of_life = ended.filter(|alert| alert.kind == "distro-eol").count() > 0;
    let (built, schema) = match descriptor.db {
        Some(Database { status: Some(status), .. }) => (status.built, status.schema_version),
        Some(Database { built, schema_version, .. }) => (built, schema_version),
        None => (None, None),
    };
    let mut report = Report {
        subject: grype_source::subject(&target)?,
        scanner: "grype".to_owned(),
        scanner_version: descriptor.version.map(|version| text::plain(&version)),
        database_version: schema.map(|version| version.text()).filter(|version| !version.is_empty()),
        database_at: built.and_then(|built| built.timestamp()),
        scanned_at: descriptor.timestamp.and_then(|at| at.timestamp()),
        end_of_life: end_of_life.then(|| distro.unwrap_or_default()),
        ..Report::default()
    };
    let lists = [("matches", matches), ("ignoredMatches", document.ignored_matches.unwrap_or_default())];
    for (list, matches) in lists {
        for (at, one) in matches.into_iter().enumerate() {
            report.vulnerabilities.push(vulnerability(one, || format!("{list}[{at}].vulnerability"))?);
        }
    }
    report.rows = report.vulnerabilities.len();
    Ok(vec![report])
}

/// Whether every match is listed, as far as the settings show.
fn unfiltered(descriptor: &Descriptor) -> Result<(), ReadError> {
    if descriptor.db.as_ref().and_then(|db| db.status.as_ref()?.valid) == Some(false) {
        return Err(incomplete("descriptor.db.status.valid", "the database was not valid"));
    }
    let Some(set) = &descriptor.configuration else { return Ok(()) };
    let says = |word: &Word| !matches!(&*word.text(), "" | "false");
    let filters = [
        ("only-fixed", set.only_fixed),
        ("only-notfixed", set.only_notfixed),
        ("ignore-wontfix", says(&set.ignore_wontfix)),
        ("ignore-states", says(&set.ignore_states)),
    ];
    match filters.into_iter().find(|(_, on)| *on) {
        Some((name, _)) => {
            Err(incomplete(&format!("descriptor.configuration.{name}"), "matches are left out by it"))
        }
        None => Ok(()),
    }
}

fn vulnerability(one: Match, place: impl Fn() -> String) -> Result<Vulnerability, ReadError> {
    let Match { vulnerability: advisory, artifact, .. } = one;
    let Some(id) = text::id(&advisory.id) else {
        return Err(ReadError::malformed(place(), "it has no id"));
    };
    let modern = |cvss: &&Cvss| cvss.version.starts_with('3') || cvss.version.starts_with('4');
    let score = |cvss: &Cvss| cvss.metrics.as_ref()?.base_score.and_then(text::score);
    let primary = advisory.cvss.iter().filter(modern).find(|cvss| cvss.kind == "Primary").and_then(score);
    let highest = || advisory.cvss.iter().filter(modern).filter_map(score).max();
    let vex = one.applied_ignore_rules.iter().filter_map(|rule| text::vex(&rule.vex_status));
    Ok(Vulnerability {
        aliases: text::aliases(&id, one.related_vulnerabilities.iter().map(|related| related.id.as_str())),
        severity: advisory.severity.as_deref().and_then(text::severity),
        score: primary.or_else(highest),
        package: text::package(&artifact.name),
        package_type: text::purl_type(&artifact.purl).unwrap_or_else(|| text::kind(&artifact.kind)),
        installed: text::package(&artifact.version),
        fixed: fixed(advisory.fix, advisory.fixed_in_version),
        vex: vex.max_by_key(|status: &VexStatus| status.subtracts()),
        id,
        ..Vulnerability::default()
    })
}

fn fixed(fix: Option<Fix>, fixed_in: Option<String>) -> Option<String> {
    let Some(fix) = fix else { return fixed_in.and_then(|version| text::fixed(&version)) };
    let join = |versions: Vec<&str>| text::fixed(&versions.join(", "));
    let versions = join(fix.versions.iter().map(String::as_str).collect());
    let available = || join(fix.available.iter().filter_map(|one| one.version.as_deref()).collect());
    let named = versions.or_else(available);
    match &*fix.state {
        "fixed" => Some(named.unwrap_or_default()),
        "not-fixed" | "wont-fix" => None,
        _ => named,
    }
}

fn foreign(found: String) -> ReadError {
    ReadError::Foreign { found, wanted: WANTED, remedy: "scan an image, with grype --output json" }
}

fn incomplete(place: &str, problem: &str) -> ReadError {
    ReadError::Incomplete {
        place: place.to_owned(),
        problem: problem.to_owned(),
        remedy: "scan without filters, with a database that is whole",
    }
}
