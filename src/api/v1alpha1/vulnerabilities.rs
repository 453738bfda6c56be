use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which known vulnerabilities an image may have, and how fresh that knowledge must be.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.deny) || has(self.maxVerdictAge) || has(self.sources) || (has(self.endOfLife) && self.endOfLife == 'Deny')").message("set deny, maxVerdictAge, sources or endOfLife: Deny"),
    validation = Rule::new("has(self.deny) || (!has(self.ignore) && !has(self.unknownSeverity) && (!has(self.honorVEX) || !self.honorVEX))").message("ignore, honorVEX and unknownSeverity speak of deny, and there is none")
)]
pub struct VulnerabilityRules {
    /// What an image may not have, 1 to 16 rules of which none may match. Absent: whatever it has, there must be
    /// a verdict that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub deny: Option<Vec<VulnerabilityRule>>,
    /// What is left out of account, 1 to 256 entries, each with its end and its reason. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub ignore: Option<Vec<IgnoredVulnerability>>,
    /// Whether vulnerabilities count as absent of which a verdict says, by VEX, that the image is not affected or
    /// contains the fix. Whoever may write verdicts can say so.
    #[serde(default, rename = "honorVEX")]
    pub honor_vex: bool,
    /// What a vulnerability counts as whose severity nobody states. Absent: Critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_severity: Option<SeverityName>,
    /// How old the scan may be and, where the scanner says it, its database: `90m`, `72h`, `7d`; 1m to 365d.
    /// Absent: 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), pattern(r"^[1-9][0-9]*[mhd]$"))]
    pub max_verdict_age: Option<String>,
    /// What becomes of an image of which a verdict says that its distribution no longer gets advisories, so that what it
    /// does not list means little. Absent: Allow.
    #[serde(default)]
    pub end_of_life: EndOfLife,
    /// What becomes of an image that nobody has scanned of those who must have. Absent: Deny, by which the policy's
    /// action applies.
    #[serde(default)]
    pub missing_verdict: MissingVerdict,
    /// Whose verdicts count. Absent: any, and at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<VerdictSources>,
}

/// Vulnerabilities that an image may not have. All parts must hold.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.severity) || has(self.ids) || has(self.packages)").message("set severity, ids or packages"),
    validation = Rule::new("!has(self.fixable) || self.fixable").message("fixable: false says nothing: leave it out")
)]
pub struct VulnerabilityRule {
    /// Of this severity and above. Absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<SeverityName>,
    /// Only those for which a fix exists. Absent: whether or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixable: Option<bool>,
    /// Only those that have been known for more than this many days, 1 to 3650: since they were published or, where
    /// nobody says when, since they were first seen in the image. What has neither date has no grace. Absent:
    /// from the first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub older_than_days: Option<u16>,
    /// Only those that are called by one of these names, in any case of letters, other names included:
    /// `CVE-2021-44228`. Absent: under any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 64)))]
    pub ids: Option<Vec<String>>,
    /// Only those in one of these packages, with `*` for any run of characters; all rules together have at most
    /// 256 of them. Capitals count. Absent: in any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    pub packages: Option<Vec<String>>,
}

/// A vulnerability that is left out of account for a time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoredVulnerability {
    /// Its name, or another name of it, in any case of letters.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// In these packages only, with `*` for any run of characters. Capitals count. Absent: in any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub packages: Option<Vec<String>>,
    /// Until when. From then on it counts again, and messages say that the entry has expired.
    pub until: Time,
    /// Why, for whoever reads the policy.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
}

/// How bad a vulnerability is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SeverityName {
    /// CVSS v3 9.0 to 10.
    Critical,
    /// CVSS v3 7.0 to 8.9.
    High,
    /// CVSS v3 4.0 to 6.9.
    Medium,
    /// CVSS v3 0.1 to 3.9.
    Low,
    /// CVSS v3 0.
    Negligible,
}

/// What becomes of an image whose distribution no longer gets advisories.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EndOfLife {
    /// It is judged like any other.
    #[default]
    Allow,
    /// The check fails, by which the policy's action applies.
    Deny,
}

/// What becomes of an image that nobody has scanned.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MissingVerdict {
    /// The check fails, by which the policy's action applies.
    #[default]
    Deny,
    /// A warning at most.
    Warn,
    /// Nothing but a line in the decision log.
    Allow,
}

/// Whose verdicts count.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.names) || has(self.attestations) || (has(self.answer) && self.answer == 'All')").message("set names, attestations or answer: All"))]
pub struct VerdictSources {
    /// How many of them must have answered, lately enough. What any of them has found counts in either case.
    /// Absent: Any.
    #[serde(default)]
    pub answer: SourcesAnswer,
    /// Which: names of VulnerabilitySources, or those by which importers call themselves. Nobody else's verdicts
    /// count, but those of `attestations`. The name `attestation` stands for them. Absent: all that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub names: Option<Vec<String>>,
    /// Vulnerability attestations beside the image count too, as the source `attestation`, if one of these authorities
    /// has signed them: names from `signatures.authorities`. Absent: they do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub attestations: Option<Vec<String>>,
}

/// How many sources must have answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SourcesAnswer {
    /// At least one.
    #[default]
    Any,
    /// Each of `names`, or each VulnerabilitySource of the cluster where there are no names; and `attestation` where
    /// attestations count.
    All,
}
