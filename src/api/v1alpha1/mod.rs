//! `tidewaiter.dev/v1alpha1`.

mod definitions;
mod policy;
mod scan_verdict;
mod selector;
mod signatures;
mod trust_root;
mod vulnerabilities;
mod vulnerability_source;

pub use definitions::{Definition, crds, definitions};
pub use policy::{
    ClusterImageAdmissionPolicy, ClusterImageAdmissionPolicySpec, ClusterMatch, ErrorAction, ErrorRules,
    ImageAdmissionPolicy, ImageAdmissionPolicySpec, NamespacedMatch, PolicyAction, ReferenceRules,
    RegistryRules,
};
pub use scan_verdict::{
    ImageScanVerdict, ImageScanVerdictSpec, ImageScanVerdictStatus, ScannedPackage, ScannedPlatform, Scanner,
    ScannerDatabase, SeverityCounts, VexStatusName, VulnerabilityCount, VulnerabilityFinding,
};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};
pub use signatures::{
    AttestationRule, Authority, ConditionRule, Identity, KeyRules, KeylessRules, RemapIdentity, SecretKeyRef,
    SignatureRules, SignatureSource, SignedIdentity, SignedIdentityMatch, TransparencyLogRule, TrustRootRef,
};
pub use trust_root::{
    ConfigMapKeyRef, ImageTrustRoot, ImageTrustRootSpec, ImageTrustRootStatus, SigstoreInstance, TufMirror,
};
pub use vulnerabilities::{
    EndOfLife, IgnoredVulnerability, MissingVerdict, SeverityName, SourcesAnswer, VerdictSources,
    VulnerabilityRule, VulnerabilityRules,
};
pub use vulnerability_source::{
    ClairSource, HarborSource, ImportedSource, LoginSecretRef, QuaySource, ReportFormat, ScanJobSource,
    ScanResources, SourceMatch, SourceSecretRef, TrivyClient, TrivyOperatorSource, VulnerabilitySource,
    VulnerabilitySourceSpec, VulnerabilitySourceStatus,
};

/// The version part of `apiVersion`.
pub const VERSION: &str = "v1alpha1";
