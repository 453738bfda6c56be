use std::{fmt, str::FromStr};

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    LIMITS, ReadError, Report, attestation, clair,
    cloud::{defender, ecr, grafeas},
    cyclonedx, grype, harbor, quay, sarif, snyk, text, trivy, trivy_operator,
};

/// In what format a report is written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Format {
    /// Whichever the document's shape shows, as long as it shows one and only one.
    #[default]
    Auto,
    /// `trivy image --format json`, of 0.20 and newer.
    Trivy,
    /// A VulnerabilityReport of the Trivy operator, as JSON.
    TrivyOperator,
    /// `grype --output json`.
    Grype,
    /// SARIF 2.1.0, by Trivy, Grype or Snyk.
    Sarif,
    /// A vulnerability report of Clair v4's matcher.
    Clair,
    /// The answer of Quay's security API.
    Quay,
    /// The answer of Harbor's vulnerability addition, or of a scanner adapter.
    Harbor,
    /// `snyk container test --json`.
    Snyk,
    /// The answer of ECR's DescribeImageScanFindings, or an export of Amazon Inspector or Security Hub.
    Ecr,
    /// Occurrences of Google's Artifact Analysis (Grafeas).
    ArtifactAnalysis,
    /// Sub-assessments of Microsoft Defender for container registries.
    Defender,
    /// A CycloneDX document about an image, with its vulnerabilities.
    CycloneDx,
    /// The predicate or statement of a vulnerability attestation, by cosign or in-toto.
    VulnAttestation,
}

/// A text is no name of a format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no format of reports: use one of {known}", known = Format::words())]
pub struct FormatError(String);

impl Format {
    /// Every format; `Auto` first.
    pub const ALL: [Self; 14] = [
        Self::Auto,
        Self::Trivy,
        Self::TrivyOperator,
        Self::Grype,
        Self::Sarif,
        Self::Clair,
        Self::Quay,
        Self::Harbor,
        Self::Snyk,
        Self::Ecr,
        Self::ArtifactAnalysis,
        Self::Defender,
        Self::CycloneDx,
        Self::VulnAttestation,
    ];

    /// The name on the command line and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Trivy => "trivy",
            Self::TrivyOperator => "trivy-operator",
            Self::Grype => "grype",
            Self::Sarif => "sarif",
            Self::Clair => "clair",
            Self::Quay => "quay",
            Self::Harbor => "harbor",
            Self::Snyk => "snyk",
            Self::Ecr => "ecr",
            Self::ArtifactAnalysis => "artifact-analysis",
            Self::Defender => "defender",
            Self::CycloneDx => "cyclonedx",
            Self::VulnAttestation => "vuln-attestation",
        }
    }

    fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let named = Self::ALL.into_iter().find(|format| format.as_str() == text);
        named.ok_or_else(|| FormatError(text::plain(text)))
    }
}

/// Reads one document. Several reports come out of one that speaks of several images; never none.
pub fn read(format: Format, bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let mut reports: Vec<Report> = match format {
        Format::Auto => return read(detect(bytes)?, bytes),
        Format::Trivy => trivy::read(bytes),
        Format::TrivyOperator => trivy_operator::read(bytes),
        Format::Grype => grype::read(bytes),
        Format::Sarif => sarif::read(bytes),
        Format::Clair => clair::read(bytes),
        Format::Quay => quay::read(bytes),
        Format::Harbor => harbor::read(bytes),
        Format::Snyk => snyk::read(bytes),
        Format::Ecr => ecr::read(bytes),
        Format::ArtifactAnalysis => grafeas::read(bytes),
        Format::Defender => defender::read(bytes),
        Format::CycloneDx => cyclonedx::read(bytes),
        Format::VulnAttestation => attestation::read(bytes),
    }?;
    let rows: usize = reports.iter().map(|report| report.rows).sum();
    if rows > LIMITS.rows {
        return Err(ReadError::TooLarge { what: "entries", found: rows, limit: LIMITS.rows });
    }
    reports.iter_mut().for_each(Report::settle);
    Ok(reports)
}

/// By what a format is known: fields at the top of the document, or of the first entry where it is a list.
type Shape = (Format, fn(&Top<'_>) -> bool);

/// No two of these may hold for a document that a scanner has written.
const SHAPES: &[Shape] = &[
    (Format::Trivy, |top| {
        let new = top.has("SchemaVersion") && top.has_any(&["ArtifactType", "ArtifactName", "Results"]);
        let old = top.is_list && top.has("Target") && top.has("Type");
        new || old || (top.has("ClusterName") && top.has_any(&["Resources", "Vulnerabilities"]))
    }),
    (Format::TrivyOperator, |top| {
        let ours =
            top.text("apiVersion").is_some_and(|version| version.starts_with("aquasecurity.github.io/"));
        let list = top.text("apiVersion").is_some_and(|version| version == "v1")
            && top.text("kind").is_some_and(|kind| kind == "List");
        ours || list || top.has(trivy_operator::ALL)
    }),
    (Format::Grype, |top| top.has("matches") && top.has_any(&["descriptor", "source", "distro"])),
    (Format::Sarif, |top| top.has("runs") && top.has_any(&["version", "$schema"])),
    (Format::Clair, |top| top.has("manifest_hash") && top.has("package_vulnerabilities")),
    (Format::Quay, |top| !top.is_list && ((top.has("status") && top.has("data")) || top.has("Layer"))),
    (Format::Harbor, |top| {
        let adapter = top.has("generated_at") && top.has_any(&["scanner", "artifact"]);
        let addition = top.fields.iter().any(|(name, _)| {
            name.starts_with("application/vnd.security.vulnerability.report")
                || name.starts_with("application/vnd.scanner.adapter.vuln.report")
        });
        adapter || addition
    }),
    (Format::Snyk, |top| {
        let snyk = ["packageManager", "dependencyCount", "docker", "licensesPolicy", "projectName", "ok"];
        top.has_any(&["vulnerabilities", "error"]) && top.has_any(&snyk)
    }),
    (Format::Ecr, |top| top.has_any(&["imageScanFindings", "imageScanStatus", "findings", "Findings"])),
    (Format::ArtifactAnalysis, |top| top.has("occurrences") || top.has("noteName")),
    (Format::Defender, |top| top.has("value") || (top.has("properties") && top.has("id") && top.has("type"))),
    (Format::CycloneDx, |top| top.text("bomFormat").is_some_and(|format| format == "CycloneDX")),
    (Format::VulnAttestation, |top| {
        top.has("predicateType") || (top.has("scanner") && top.has_any(&["invocation", "metadata"]))
    }),
];

/// The one format whose shape the document has.
pub(super) fn detect(bytes: &[u8]) -> Result<Format, ReadError> {
    if bytes.len() > LIMITS.bytes {
        return Err(ReadError::TooLarge { what: "bytes", found: bytes.len(), limit: LIMITS.bytes });
    }
    let malformed = |error: serde_json::Error| ReadError::malformed("the document", error.to_string());
    let mut top: Top<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(first) = top.first {
        top = Top { is_list: true, ..serde_json::from_str(first.get()).map_err(malformed)? };
    }
    let fits: Vec<_> = SHAPES.iter().filter(|(_, fits)| fits(&top)).map(|(format, _)| *format).collect();
    match fits[..] {
        [format] => Ok(format),
        _ => Err(ReadError::Foreign {
            found: top.describe(&fits),
            wanted: "report of which the format can be told",
            remedy: "name the format, with --format trivy, trivy-operator, grype, sarif, clair, quay, harbor, snyk, ecr, artifact-analysis, defender, cyclonedx or vuln-attestation",
        }),
    }
}

/// The most fields at the top of a document.
const TOP_LIMIT: usize = 256;

/// What stands at the top of a document.
#[derive(Default)]
struct Top<'a> {
    is_list: bool,
    fields: Vec<(String, &'a RawValue)>,
    /// Of a list: its first entry.
    first: Option<&'a RawValue>,
}

impl Top<'_> {
    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(field, _)| field == name)?;
        serde_json::from_str(value.get()).ok()
    }

    fn describe(&self, fits: &[Format]) -> String {
        let names: Vec<_> = self.fields.iter().take(8).map(|(name, _)| text::plain(name)).collect();
        let what = match (names.is_empty(), self.is_list) {
            (true, true) => "a list of other things than objects, or an empty one".to_owned(),
            (true, false) => "a value without fields".to_owned(),
            (false, true) => format!("a list of objects with the fields {}", names.join(", ")),
            (false, false) => format!("an object with the fields {}", names.join(", ")),
        };
        match fits.is_empty() {
            true => what,
            false => format!(
                "{what}, which may be {}",
                fits.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" or ")
            ),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Top<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TopVisitor)
    }
}

struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Top<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_unit<E>(self) -> Result<Top<'de>, E> {
        Ok(Top::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Top<'de>, A::Error> {
        let first = list.next_element::<&RawValue>()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Top { is_list: true, fields: Vec::new(), first })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Top<'de>, A::Error> {
        let mut top = Top::default();
        while let Some(field) = object.next_entry::<String, &RawValue>()? {
            if top.fields.len() == TOP_LIMIT {
                return Err(A::Error::custom(format_args!("more than {TOP_LIMIT} fields")));
            }
            top.fields.push(field);
        }
        Ok(top)
    }
}
