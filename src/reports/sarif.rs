//! SARIF 2.1.0, as Trivy, Grype and Snyk Container write it.
//!
//! Source: OASIS SARIF 2.1.0, and each scanner's own presenter.
//!
//! SARIF has no fields for packages, versions and fixes: they stand in texts for people, and no dates stand there at
//! all. Use it only where a scanner's JSON cannot be had. Each result is one entry; what its text does not
//! say in the very form that the scanner uses counts against the image: no severity, and a fix that nobody names.
//! Results that somebody has suppressed count. No result does not mean that the distribution was known.

mod texts;

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    loose::{Few, Word},
    text,
};

const WANTED: &str = "SARIF report of Trivy, Grype or Snyk on an image";

const KEYS: Keys = Keys {
    counted: &["runs", "results", "rules"],
    spelt: &["ruleId", "ruleIndex", "message", "shortDescription"],
};

#[derive(Deserialize)]
struct Document {
    version: Option<String>,
    runs: Option<Vec<Run>>,
}

#[derive(Deserialize)]
struct Run {
    tool: Tool,
    results: Option<Vec<Entry>>,
    properties: Option<Properties>,
    #[serde(default)]
    invocations: Few<Invocation>,
}

#[derive(Deserialize)]
struct Tool {
    driver: Driver,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: String,
    version: Option<String>,
    semantic_version: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    id: String,
    name: String,
    short_description: Message,
    full_description: Message,
    help: Message,
    properties: RuleProperties,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct RuleProperties {
    security_severity: Word,
}

impl Rule {
    /// The CVSS score that the scanner gives; Grype gives the highest of all sources.
    fn score(&self) -> Option<u8> {
        self.properties.security_severity.number().and_then(text::score)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    rule_id: String,
    rule_index: Option<usize>,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    locations: Few<Location>,
    #[serde(default)]
    fixes: Few<EntryFix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(default)]
    logical_locations: Few<LogicalLocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    fully_qualified_name: Option<String>,
}

#[derive(Deserialize)]
struct EntryFix {
    #[serde(default)]
    description: Message,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    image_name: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
    repo_digests: Few<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: Option<bool>,
}

/// Who wrote it.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Trivy,
    Grype,
    Snyk,
}

/// Reads all runs as one report.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    if document.version.as_deref() != Some("2.1.0") {
        let version = text::plain(document.version.as_deref().unwrap_or("none"));
        return Err(foreign(format!("a document of the version {version:?}")));
    }
    let runs = document.runs.unwrap_or_default();
    let Some(dialect) = runs.first().map(dialect).transpose()? else {
        return Err(incomplete("runs".to_owned(), "nothing was run"));
    };
    let mut report = Report::default();
    let mut others = 0;
    for (at, run) in runs.into_iter().enumerate() {
        if self::dialect(&run)? != dialect {
            return Err(foreign("a document with runs of several tools".to_owned()));
        }
        if run.invocations.iter().any(|invocation| invocation.execution_successful == Some(false)) {
            return Err(incomplete(format!("runs[{at}].invocations"), "the run has failed"));
        }
        let Some(results) = run.results else {
            return Err(incomplete(format!("runs[{at}].results"), "there is no list"));
        };
        let driver = run.tool.driver;
        let version = driver.version.or(driver.semantic_version).map(|version| text::plain(&version));
        report.scanner_version = report.scanner_version.or(version);
        describe(&mut report.subject, run.properties.unwrap_or_default());
        let rules = Rules::new(&driver.rules);
        for (nth, entry) in results.into_iter().enumerate() {
            let rule = rules.of(&entry);
            if dialect == Dialect::Trivy
                && rule.is_some_and(|rule| matches!(&*rule.name, "Misconfiguration" | "Secret" | "License"))
            {
                others += 1;
                continue;
            }
            let Some(found) = texts::vulnerability(dialect, &entry, rule) else {
                let place = format!("runs[{at}].results[{nth}].ruleId");
                return Err(ReadError::malformed(place, "it names no vulnerability"));
            };
            report.vulnerabilities.push(found);
        }
    }
    if others > 0 && report.vulnerabilities.is_empty() {
        let problem = "it lists secrets, misconfigurations or licences only";
        return Err(incomplete("runs[0].results".to_owned(), problem));
    }
    report.scanner = match dialect {
        Dialect::Trivy => "trivy",
        Dialect::Grype => "grype",
        Dialect::Snyk => "snyk",
    }
    .to_owned();
    report.rows = report.vulnerabilities.len();
    Ok(vec![report])
}

fn dialect(run: &Run) -> Result<Dialect, ReadError> {
    let image = run.properties.as_ref().is_some_and(|properties| properties.image_name.is_some());
    match (run.tool.driver.name.to_ascii_lowercase().as_str(), image) {
        ("trivy", true) => Ok(Dialect::Trivy),
        ("trivy", false) => Err(foreign("a report of Trivy without imageName, as on a directory".to_owned())),
        ("grype", _) => Ok(Dialect::Grype),
        ("snyk container", _) => Ok(Dialect::Snyk),
        (other, _) => Err(foreign(format!("a report of {}", text::plain(other)))),
    }
}

/// Adds what Trivy says of the image to what is known of it.
fn describe(subject: &mut Subject, properties: Properties) {
    for digest in properties.repo_digests.iter().filter_map(|name| text::digest(name)) {
        if !subject.digests.contains(&digest) {
            subject.digests.push(digest);
        }
    }
    let config = properties.image_id.as_deref().and_then(text::digest);
    if subject.config.is_some() && config.is_some() && subject.config != config {
        subject.contradiction = Some("the runs are about several images, by imageID".to_owned());
    }
    subject.config = subject.config.take().or(config);
    let name = properties.image_name.map(|name| text::plain(&name)).filter(|name| !name.is_empty());
    subject.name = subject.name.take().or(name);
}

/// The rules of a run, by their name.
struct Rules<'a> {
    all: &'a [Rule],
    named: HashMap<&'a str, &'a Rule>,
}

impl<'a> Rules<'a> {
    fn new(all: &'a [Rule]) -> Self {
        Self { all, named: all.iter().map(|rule| (&*rule.id, rule)).collect() }
    }

    /// The rule of a result: by its index, if it has the right name (SARIF 2.1.0, 3.27.7), else by its name.
    fn of(&self, entry: &Entry) -> Option<&'a Rule> {
        let at = entry.rule_index.and_then(|at| self.all.get(at)).filter(|rule| rule.id == entry.rule_id);
        at.or_else(|| self.named.get(&*entry.rule_id).copied())
    }
}

fn foreign(found: String) -> ReadError {
    let remedy = "use the scanner's own JSON, or SARIF 2.1.0 of trivy image, grype or snyk container test";
    ReadError::Foreign { found, wanted: WANTED, remedy }
}

fn incomplete(place: String, problem: &str) -> ReadError {
    ReadError::Incomplete { place, problem: problem.to_owned(), remedy: "use the scanner's own JSON" }
}
