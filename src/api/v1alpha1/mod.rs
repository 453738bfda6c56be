//! `tidewaiter.dev/v1alpha1`.

mod policy;
mod selector;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use policy::{
    ClusterImageAdmissionPolicy, ClusterImageAdmissionPolicySpec, ClusterMatch, ErrorAction, ErrorRules,
    ImageAdmissionPolicy, ImageAdmissionPolicySpec, NamespacedMatch, PolicyAction, ReferenceRules,
    RegistryRules,
};
pub use selector::{LabelSelector, SelectorOperator, SelectorRequirement};

/// The version part of `apiVersion`.
pub const VERSION: &str = "v1alpha1";

/// Every definition that the API server needs, in the order in which they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![ClusterImageAdmissionPolicy::crd(), ImageAdmissionPolicy::crd()]
}
