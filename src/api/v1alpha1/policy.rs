use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AttestationRule, LabelSelector, SignatureRules, VulnerabilityRules};

/// Rules for the images of a whole cluster.
///
/// Every matching policy must pass: adding a policy never admits more, and neither order nor names matter.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tidewaiter.dev",
    version = "v1alpha1",
    kind = "ClusterImageAdmissionPolicy",
    doc = "What a cluster demands of the images of its Pods.",
    plural = "clusterimageadmissionpolicies",
    shortname = "ciap",
    category = "tidewaiter",
    derive = "PartialEq",
    selectable = ".spec.action",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Enforce-After", type_ = "string", json_path = ".spec.enforceAfter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.signatures) || self.signatures.authorities.all(authority, !has(authority.key) || !has(authority.key.secretRef) || has(authority.key.secretRef.__namespace__))").message("name the Secret's namespace in secretRef.namespace").field_path(".signatures"),
    validation = Rule::new("!has(self.attestations) || self.attestations.all(rule, !has(rule.inlineAuthorities) || rule.inlineAuthorities.all(authority, !has(authority.key) || !has(authority.key.secretRef) || has(authority.key.secretRef.__namespace__)))").message("name the Secret's namespace in secretRef.namespace").field_path(".attestations"),
    validation = Rule::new("has(self.registries) || has(self.references) || has(self.signatures) || has(self.attestations) || has(self.vulnerabilities)").message("the policy requires nothing: set registries, references, signatures, attestations or vulnerabilities"),
    validation = Rule::new("!has(self.attestations) || self.attestations.all(rule, !has(rule.authorities) || rule.authorities.all(name, has(self.signatures) && self.signatures.authorities.exists(authority, authority.name == name)))").message("an attestation names an authority that is not in signatures.authorities").field_path(".attestations"),
    validation = Rule::new("!has(self.vulnerabilities) || !has(self.vulnerabilities.sources) || !has(self.vulnerabilities.sources.attestations) || self.vulnerabilities.sources.attestations.all(name, has(self.signatures) && self.signatures.authorities.exists(authority, authority.name == name))").message("sources.attestations names an authority that is not in signatures.authorities").field_path(".vulnerabilities"),
    validation = Rule::new("!has(self.enforceAfter) || self.action != 'Deny'").message("enforceAfter turns Warn or Audit into Deny: with action Deny it says nothing").field_path(".enforceAfter")
)]
pub struct ClusterImageAdmissionPolicySpec {
    /// What happens when a check fails: Deny refuses the object, Warn admits it with a warning, Audit
    /// admits it and shows the failure in metrics and the decision log only.
    #[serde(default)]
    pub action: PolicyAction,
    /// From this time on, Warn and Audit act as Deny. Warnings state the date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_after: Option<Time>,
    /// Which images the policy is about. Absent: every image of every namespace.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<ClusterMatch>,
    /// Where images may come from. Absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registries: Option<RegistryRules>,
    /// How images may be written. Absent: in any way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<ReferenceRules>,
    /// Who must have signed the image. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SignatureRules>,
    /// Signed statements about the image that must be there, 1 to 16. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attestations: Option<Vec<AttestationRule>>,
    /// Which known vulnerabilities the image may have. Absent: any, known or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<VulnerabilityRules>,
    /// What happens when a registry could not be asked. Absent: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<ErrorRules>,
}

/// A team's own rules for the images of its namespace. They add to the cluster's and can lift none of them.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tidewaiter.dev",
    version = "v1alpha1",
    kind = "ImageAdmissionPolicy",
    doc = "What a team demands of the images of its namespace's Pods, beside what the cluster demands.",
    plural = "imageadmissionpolicies",
    namespaced,
    shortname = "iap",
    category = "tidewaiter",
    derive = "PartialEq",
    selectable = ".spec.action",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Enforce-After", type_ = "string", json_path = ".spec.enforceAfter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.signatures) || self.signatures.authorities.all(authority, !has(authority.key) || (!has(authority.key.file) && (!has(authority.key.secretRef) || !has(authority.key.secretRef.__namespace__))))").message("a team's policy reads Secrets of its own namespace: leave file and secretRef.namespace out").field_path(".signatures"),
    validation = Rule::new("!has(self.attestations) || self.attestations.all(rule, !has(rule.inlineAuthorities) || rule.inlineAuthorities.all(authority, !has(authority.key) || (!has(authority.key.file) && (!has(authority.key.secretRef) || !has(authority.key.secretRef.__namespace__)))))").message("a team's policy reads Secrets of its own namespace: leave file and secretRef.namespace out").field_path(".attestations"),
    validation = Rule::new("has(self.registries) || has(self.references) || has(self.signatures) || has(self.attestations) || has(self.vulnerabilities)").message("the policy requires nothing: set registries, references, signatures, attestations or vulnerabilities"),
    validation = Rule::new("!has(self.attestations) || self.attestations.all(rule, !has(rule.authorities) || rule.authorities.all(name, has(self.signatures) && self.signatures.authorities.exists(authority, authority.name == name)))").message("an attestation names an authority that is not in signatures.authorities").field_path(".attestations"),
    validation = Rule::new("!has(self.vulnerabilities) || !has(self.vulnerabilities.sources) || !has(self.vulnerabilities.sources.attestations) || self.vulnerabilities.sources.attestations.all(name, has(self.signatures) && self.signatures.authorities.exists(authority, authority.name == name))").message("sources.attestations names an authority that is not in signatures.authorities").field_path(".vulnerabilities"),
    validation = Rule::new("!has(self.enforceAfter) || self.action != 'Deny'").message("enforceAfter turns Warn or Audit into Deny: with action Deny it says nothing").field_path(".enforceAfter")
)]
pub struct ImageAdmissionPolicySpec {
    /// What happens when a check fails: Deny refuses the object, Warn admits it with a warning, Audit
    /// admits it and shows the failure in metrics and the decision log only.
    #[serde(default)]
    pub action: PolicyAction,
    /// From this time on, Warn and Audit act as Deny. Warnings state the date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_after: Option<Time>,
    /// Which images of the namespace the policy is about. Absent: every one.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<NamespacedMatch>,
    /// Where images may come from. Absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registries: Option<RegistryRules>,
    /// How images may be written. Absent: in any way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<ReferenceRules>,
    /// Who must have signed the image. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SignatureRules>,
    /// Signed statements about the image that must be there, 1 to 16. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attestations: Option<Vec<AttestationRule>>,
    /// Which known vulnerabilities the image may have. Absent: any, known or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<VulnerabilityRules>,
    /// What happens when a registry could not be asked. Absent: Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<ErrorRules>,
}

/// What happens when a check fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PolicyAction {
    /// The object is refused.
    #[default]
    Deny,
    /// The object is admitted and its author is warned.
    Warn,
    /// The object is admitted; the failure shows in metrics and the decision log only.
    Audit,
}

/// Which images a cluster's policy is about. All parts must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterMatch {
    /// Image patterns, of which one must match: canonical `host[:port]/path`, `*` within one path
    /// segment or host label, `**` across them. Absent: every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub images: Option<Vec<String>>,
    /// Image patterns that take an image out again. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub exclude_images: Option<Vec<String>>,
    /// Labels of the namespaces that the policy is about. Absent or empty: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the objects that the policy is about. Absent or empty: every object. Whoever
    /// creates an object writes its labels, so this lets them step out of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<LabelSelector>,
}

/// Which images of its namespace a team's policy is about. All parts must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespacedMatch {
    /// Image patterns, of which one must match: canonical `host[:port]/path`, `*` within one path
    /// segment or host label, `**` across them. Absent: every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub images: Option<Vec<String>>,
    /// Image patterns that take an image out again. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub exclude_images: Option<Vec<String>>,
    /// Labels of the objects that the policy is about. Absent or empty: every object. Whoever
    /// creates an object writes its labels, so this lets them step out of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<LabelSelector>,
}

/// Where images may come from.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.allow) || has(self.deny)").message("set allow, deny or both"))]
pub struct RegistryRules {
    /// Image patterns, of which one must match. Absent: every image that `deny` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub allow: Option<Vec<String>>,
    /// Image patterns, of which none may match. Beats `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 512)))]
    pub deny: Option<Vec<String>>,
}

/// How images may be written.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.requireDigest) && self.requireDigest) || has(self.denyTags) || has(self.denyDigests)").message("set requireDigest: true, denyTags or denyDigests"))]
pub struct ReferenceRules {
    /// Whether authors must write the digest themselves. Without it Tidewaiter pins the digest into Pods.
    #[serde(default)]
    pub require_digest: bool,
    /// Tags that may not be written, with `*` for any run of characters. An image written with neither
    /// tag nor digest has the tag `latest`. A tag written beside a digest counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 128)))]
    pub deny_tags: Option<Vec<String>>,
    /// Digests that may not run, under whatever name: `sha256:` and 64, or `sha512:` and 128 hex digits.
    /// An image that is written with a sha512 digest cannot be compared with sha256 digests and fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), inner(length(min = 71, max = 135)))]
    pub deny_digests: Option<Vec<String>>,
}

/// What happens when a registry could not be asked: no connection, a time-out, 429 or 5xx. An answer
/// that refuses or denies (not found, not allowed, not what was asked for) is never excused by this.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorRules {
    /// Deny refuses the object, Warn admits it with a warning and without a digest.
    #[serde(default)]
    pub action: ErrorAction,
}

/// What happens when a registry could not be asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ErrorAction {
    /// The object is refused; a retry may be admitted.
    #[default]
    Deny,
    /// The object is admitted with a warning.
    Warn,
}
