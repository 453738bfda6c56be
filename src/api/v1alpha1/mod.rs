//! `tidewaiter.dev/v1alpha1`.

mod definitions;
mod policy;
mod selector;

pub use definitions::{Definition, crds, definitions};
pub use policy::{
    ClusterImageAdmissionPolicy, ClusterImageAdmissionPolicySpec, ClusterMatch, ErrorAction, ErrorRules,
    ImageAdmissionPolicy, ImageAdmissionPolicySpec, NamespacedMatch, PolicyAction, ReferenceRules,
    RegistryRules,
};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};

/// The version part of `apiVersion`.
pub const VERSION: &str = "v1alpha1";
