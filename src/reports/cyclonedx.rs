//! CycloneDX JSON about an image, with the vulnerabilities in it, as Trivy and Grype write it.
//!
//! A list of parts alone is no report: without `vulnerabilities`, nobody has looked for any. An empty list is believed
//! of Grype only, which always looks; Trivy writes one too where it was not told to look (`--scanners vuln`).
//! A document with an `analysis` is VEX, and read as such.
//!
//! Only Trivy says which version mends a vulnerability, and by its silence that there is none. Others, Grype among
//! them, do not say whether there is one: that counts against the image, as a fix that nobody names.
//!
//! Where there are several ratings, the severity is that of the source which the vulnerability itself names, and
//! the worst of all where that has none. So Trivy's CycloneDX says what its JSON says.
//!
//! Source: CycloneDX 1.6, JSON reference; Trivy, `pkg/sbom/cyclonedx/marshal.go`.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, incomplete, named, said},
    loose::{Few, Word},
    purl::Purl,
    text,
};
use crate::evidence::{Severity, Vulnerability};

const KEYS: Keys = Keys {
    counted: &["vulnerabilities", "components", "affects", "ratings", "tools"],
    spelt: &["analysis", "recommendation", "bomFormat"],
};

/// The longest recommendation that is looked through, in bytes.
const RECOMMENDATION_LIMIT: usize = 4_096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    components: Vec<Component>,
    vulnerabilities: Option<Vec<Entry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    timestamp: Option<String>,
    component: Option<Image>,
    tools: Tools,
}

/// Before 1.5 a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tools {
    List(Vec<Tool>),
    Components { components: Option<Vec<Tool>> },
}

impl Default for Tools {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Deserialize)]
struct Tool {
    name: Option<String>,
    version: Option<Word>,
}

/// What the document is about.
#[derive(Deserialize)]
struct Image {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Component {
    bom_ref: Option<String>,
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    source: Option<Source>,
    #[serde(default)]
    references: Few<Reference>,
    #[serde(default)]
    ratings: Vec<Rating>,
    recommendation: Option<String>,
    published: Option<String>,
    created: Option<String>,
    analysis: Option<IgnoredAny>,
    #[serde(default)]
    affects: Vec<Affected>,
}

#[derive(Deserialize)]
struct Reference {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Rating {
    source: Option<Source>,
    #[serde(default)]
    score: Word,
    severity: Option<String>,
    method: Option<String>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    versions: Few<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: Option<String>,
}

/// A package in the image.
#[derive(Clone, Default)]
struct Part {
    package: String,
    package_type: String,
    installed: String,
}

/// Reads one document.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let component = document.metadata.component.as_ref();
    let kind = component.and_then(|component| component.kind.as_deref());
    if document.bom_format.as_deref() != Some("CycloneDX") {
        return Err(foreign("a document that is not CycloneDX".to_owned()));
    }
    if component.is_some() && kind != Some("container") {
        return Err(foreign(format!(
            "CycloneDX about a thing of the type {:?}",
            text::plain(kind.unwrap_or_default())
        )));
    }
    let Some(entries) = document.vulnerabilities else {
        return Err(incomplete("vulnerabilities", "it is missing: the document only lists parts", SCAN));
    };
    if entries.iter().any(|entry| entry.analysis.is_some()) {
        return Err(ReadError::Foreign {
            found: "a VEX document".to_owned(),
            wanted: "report of a scanner",
            remedy: "give it as VEX, beside a report",
        });
    }
    let (scanner, version) = document.metadata.tools.scanner();
    if entries.is_empty() && (scanner != "grype" || document.components.is_empty()) {
        return Err(incomplete("vulnerabilities", "it is empty, as where nobody has looked", SCAN));
    }

    let mut parts = HashMap::new();
    collect(&document.components, &mut parts);
    let fixed = |recommendation: &str, package: &str| match recommendation.trim() {
        "" if scanner != "trivy" => Some(String::new()),
        recommendation => fixed(recommendation, package),
    };
    let mut findings = Findings::default();
    for (at, entry) in entries.iter().enumerate() {
        let place = || format!("vulnerabilities[{at}].id");
        let found = entry.vulnerability();
        let recommendation = entry.recommendation.as_deref().unwrap_or_default();
        for affected in &entry.affects {
            let Part { package, package_type, installed } = affected.part(&parts);
            let fixed = fixed(recommendation, &package);
            findings
                .add(place, Vulnerability { package, package_type, installed, fixed, ..found.clone() })?;
        }
        if entry.affects.is_empty() {
            findings.add(place, Vulnerability { fixed: fixed(recommendation, ""), ..found })?;
        }
    }
    Ok(vec![Report {
        scanner_version: version,
        scanned_at: document.metadata.timestamp.as_deref().and_then(text::timestamp),
        ..findings.into_report(&scanner, component.map(subject).unwrap_or_default())
    }])
}

const SCAN: &str = "write the report with trivy image --format cyclonedx --scanners vuln, or with grype";

fn foreign(found: String) -> ReadError {
    ReadError::Foreign { found, wanted: "report on an image in CycloneDX", remedy: SCAN }
}

/// Which image it is about: by its package URL, by the properties that Trivy writes, and by the version that Grype
/// gives an image.
fn subject(component: &Image) -> Subject {
    let of = |name: &str| {
        let found = component.properties.iter().filter(move |property| property.name == name);
        found.filter_map(|property| text::digest(&property.value)).collect::<Vec<_>>()
    };
    let mut digests = of("aquasecurity:trivy:RepoDigest");
    digests.extend(component.purl.as_deref().and_then(Purl::parse).and_then(|purl| purl.image()));
    digests.extend(component.version.as_deref().and_then(text::digest));
    digests.sort_unstable();
    digests.dedup();
    Subject {
        digests,
        config: of("aquasecurity:trivy:ImageID").pop(),
        name: component.name.as_deref().and_then(said),
        ..Subject::default()
    }
}

/// Adds `components`, and those in them, by their references.
fn collect<'a>(components: &'a [Component], parts: &mut HashMap<&'a str, Part>) {
    for component in components {
        if let Some(reference) = &component.bom_ref {
            let purl = component.purl.as_deref().and_then(Purl::parse);
            let name = purl.as_ref().map(Purl::package).or_else(|| component.name.clone());
            let version = component.version.clone();
            let version = version.or_else(|| purl.as_ref().map(|purl| purl.version.clone()));
            let part = Part {
                package: text::package(&name.unwrap_or_default()),
                package_type: purl.map(|purl| purl.kind).unwrap_or_default(),
                installed: text::package(&version.unwrap_or_default()),
            };
            parts.insert(reference, part);
        }
        collect(&component.components, parts);
    }
}

impl Tools {
    /// The first program that made the document, and its version.
    fn scanner(self) -> (String, Option<String>) {
        let tools = match self {
            Self::List(tools) | Self::Components { components: Some(tools) } => tools,
            Self::Components { components: None } => Vec::new(),
        };
        let first = tools.into_iter().find_map(|tool| Some((said(tool.name.as_deref()?)?, tool.version)));
        let (name, version) = first.unwrap_or_else(|| ("cyclonedx".to_owned(), None));
        (name.to_lowercase(), version.map(|version| version.text()).filter(|version| !version.is_empty()))
    }
}

impl Entry {
    /// What it says of any package.
    fn vulnerability(&self) -> Vulnerability {
        let (severity, score) = self.severity();
        let others = self.references.iter().filter_map(|reference| reference.id.as_deref());
        let dates = [&self.published, &self.created];
        Vulnerability {
            severity,
            score,
            published: dates.into_iter().flatten().find_map(|date| text::date(date)),
            ..named(&self.id, others)
        }
    }

    fn severity(&self) -> (Option<Severity>, Option<u8>) {
        let name =
            |source: Option<&Source>| source.and_then(|source| source.name.clone()).unwrap_or_default();
        let own = name(self.source.as_ref());
        let mine =
            |rating: &&Rating| !own.is_empty() && name(rating.source.as_ref()).eq_ignore_ascii_case(&own);
        let worst = |ratings: &mut dyn Iterator<Item = &Rating>| ratings.filter_map(Rating::severity).max();
        let severity =
            worst(&mut self.ratings.iter().filter(mine)).or_else(|| worst(&mut self.ratings.iter()));
        let score = |ratings: &mut dyn Iterator<Item = &Rating>| ratings.filter_map(Rating::score).max();
        (severity, score(&mut self.ratings.iter().filter(mine)).or_else(|| score(&mut self.ratings.iter())))
    }
}

impl Rating {
    /// The severity that it states, or that its score has.
    fn severity(&self) -> Option<Severity> {
        let word = self.severity.as_deref().and_then(text::severity);
        word.or_else(|| self.score().map(text::severity_of_score))
    }

    /// Its score by CVSS v3 or v4. Scores by other methods measure other things.
    fn score(&self) -> Option<u8> {
        let cvss = matches!(self.method.as_deref(), Some("CVSSv3" | "CVSSv31" | "CVSSv4"));
        cvss.then(|| self.score.number()).flatten().and_then(text::score)
    }
}

impl Affected {
    /// The package. Its reference stands for the name where nothing else is said.
    fn part(&self, parts: &HashMap<&str, Part>) -> Part {
        // a BOM-Link, urn:cdx:serial/version#reference, may point to this document or to another
        let reference = match self.reference.strip_prefix("urn:cdx:") {
            Some(link) => link.split_once('#').map_or(link, |(_, reference)| reference),
            None => &self.reference,
        };
        let mut part = parts.get(reference).cloned().unwrap_or_default();
        let purl = if part.package.is_empty() { Purl::parse(reference) } else { None };
        if let Some(purl) = purl {
            part = Part { package: purl.package(), package_type: purl.kind, installed: purl.version };
        }
        if part.package.is_empty() {
            reference.clone_into(&mut part.package);
        }
        if part.installed.is_empty() {
            let listed = self.versions.iter().find_map(|version| version.version.clone());
            part.installed = listed.unwrap_or_default();
        }
        part
    }
}

/// The version that mends `package`, from a recommendation. Trivy writes `Upgrade name to version 1.2; Upgrade …`. Any
/// other text, and one that is too long to be looked through for each package, says that there is one, and not which.
fn fixed(recommendation: &str, package: &str) -> Option<String> {
    let recommendation = Some(recommendation.trim()).filter(|text| !text.is_empty())?;
    if recommendation.len() > RECOMMENDATION_LIMIT {
        return Some(String::new());
    }
    let upgrades = recommendation
        .split("; ")
        .map(|one| one.strip_prefix("Upgrade ").and_then(|upgrade| upgrade.split_once(" to version ")));
    let upgrades: Option<Vec<_>> = upgrades.collect();
    match upgrades {
        None => Some(String::new()),
        Some(upgrades) => {
            let of_package = upgrades.into_iter().find(|(name, _)| *name == package);
            of_package.and_then(|(_, version)| text::fixed(version))
        }
    }
}
