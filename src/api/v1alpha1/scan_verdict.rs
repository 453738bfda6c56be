use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one source says of one digest.
///
/// The name is the digest with `-` for `:`, a `.` and the source's name, so that sources do not overwrite each
/// other: `sha256-0123….trivy`.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tidewaiter.dev",
    version = "v1alpha1",
    kind = "ImageScanVerdict",
    doc = "What a vulnerability scanner has found in one image, by digest.",
    plural = "imagescanverdicts",
    shortname = "isv",
    category = "tidewaiter",
    derive = "PartialEq",
    status = "ImageScanVerdictStatus",
    validation = Rule::new("self.metadata.name == self.spec.digest.replace(':', '-') + '.' + self.spec.source").message("the name must be the digest with - for :, a . and the source"),
    selectable = ".spec.digest",
    selectable = ".spec.source",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source"),
    printcolumn(name = "Scanner", type_ = "string", json_path = ".spec.scanner.name"),
    printcolumn(name = "Critical", type_ = "integer", json_path = ".spec.counts.critical.found"),
    printcolumn(name = "High", type_ = "integer", json_path = ".spec.counts.high.found"),
    printcolumn(name = "Medium", type_ = "integer", json_path = ".spec.counts.medium.found", priority = 1),
    printcolumn(name = "Low", type_ = "integer", json_path = ".spec.counts.low.found", priority = 1),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".spec.counts.unknown.found"),
    printcolumn(name = "Truncated", type_ = "boolean", json_path = ".spec.truncated", priority = 1),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Scanned", type_ = "date", json_path = ".spec.scannedAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.source != 'attestation'").message("attestation is the source of what is signed beside images: no object speaks for it").field_path(".source"),
    validation = Rule::new("self.scannedAt >= oldSelf.scannedAt").message("a scan never replaces a newer one: delete the verdict first if its date is wrong").field_path(".scannedAt"),
    validation = Rule::new("self.digest == oldSelf.digest && self.source == oldSelf.source").message("digest and source never change")
)]
pub struct ImageScanVerdictSpec {
    /// What was scanned: the digest of an image's manifest or of its index.
    #[schemars(length(min = 71, max = 135), pattern(r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"))]
    pub digest: String,
    /// Of which platforms of an index it speaks, 1 to 32. Absent: of all that the digest stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub platforms: Option<Vec<ScannedPlatform>>,
    /// Who says it: a VulnerabilitySource's name, or the one by which an importer calls itself. Lowercase letters,
    /// digits and `-`.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub source: String,
    /// What scanned the image.
    pub scanner: Scanner,
    /// What the scanner knew. Absent: nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<ScannerDatabase>,
    /// When the image was scanned.
    pub scanned_at: Time,
    /// The distribution, where its makers no longer publish advisories for it: what is not listed means little. Absent:
    /// they do, or nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub end_of_life: Option<String>,
    /// How many vulnerabilities were found, one for each name in each version of each package.
    pub counts: SeverityCounts,
    /// Whether `packages` lists fewer than were found. What it leaves out counts as not clean.
    #[serde(default)]
    pub truncated: bool,
    /// What was found, by package. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub packages: Vec<ScannedPackage>,
}

/// One platform of an index.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScannedPlatform {
    /// `os/architecture[/variant]`, as `linux/amd64`.
    #[schemars(length(min = 3, max = 98))]
    pub platform: String,
    /// The digest of its manifest. Absent: nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 135), pattern(r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"))]
    pub digest: Option<String>,
}

/// What scanned an image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scanner {
    /// `trivy`, `grype`, `clair`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its version, as it says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
}

/// What a scanner knew of vulnerabilities.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScannerDatabase {
    /// Its version, as the scanner says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
}

/// How many vulnerabilities of each severity were found. Absent: none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SeverityCounts {
    /// CVSS v3 9.0 to 10.
    pub critical: VulnerabilityCount,
    /// CVSS v3 7.0 to 8.9.
    pub high: VulnerabilityCount,
    /// CVSS v3 4.0 to 6.9.
    pub medium: VulnerabilityCount,
    /// CVSS v3 0.1 to 3.9.
    pub low: VulnerabilityCount,
    /// CVSS v3 0.
    pub negligible: VulnerabilityCount,
    /// Those whose severity nobody states.
    pub unknown: VulnerabilityCount,
}

/// How many vulnerabilities were found.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VulnerabilityCount {
    /// All of them.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub found: u32,
    /// Those with a fix.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub fixable: u32,
}

/// One version of one package, and what is wrong with it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScannedPackage {
    /// Its name.
    #[schemars(length(max = 256))]
    pub name: String,
    /// What kind of package: `deb`, `apk`, `npm`. Absent: nobody says.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub package_type: String,
    /// The version that is there. Absent: nobody says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub version: String,
    /// What is wrong with it.
    #[schemars(length(min = 1, max = 10_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<VulnerabilityFinding>,
}

/// One vulnerability.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VulnerabilityFinding {
    /// By which the scanner calls it: `CVE-2021-44228`.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Other names of it. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub aliases: Vec<String>,
    /// How bad it is. Absent: nobody states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<super::SeverityName>,
    /// Its CVSS base score, as `9.8`. Absent: nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), pattern(r"^([0-9]|10)(\.[0-9])?$"))]
    pub score: Option<String>,
    /// The version, or versions, that mend it; empty where there is one that nobody names. Absent: nobody says that
    /// there is a fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub fixed: Option<String>,
    /// On which day it was published: `2021-12-10`. Absent: nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 10), pattern(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    pub published: Option<String>,
    /// On which day it was first seen in this image, where nobody says when it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 10), pattern(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    pub seen: Option<String>,
    /// What the image's maker says of it, by VEX. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vex: Option<VexStatusName>,
}

/// What an image's maker says of a vulnerability.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum VexStatusName {
    /// The image is affected.
    Affected,
    /// The image contains the fix.
    Fixed,
    /// The vulnerability cannot be exploited in the image.
    NotAffected,
    /// Nobody knows yet.
    UnderInvestigation,
}

/// What became of a verdict.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageScanVerdictStatus {
    /// The generation of the spec that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether this version of Tidewaiter can read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}
