//! Policies compiled to something decidable, and the question which of them an image must pass; and where
//! the trust roots come from that they name.
//!
//! In come documents as users wrote them. Out comes a [`PolicySet`]: policies whose patterns, dates
//! and selectors are parsed, each of which either works or, where its document cannot be read, counts
//! as failing for all it could match. Nothing is silently dropped.

mod authority;
mod compile;
mod condition;
mod key;
mod matching;
mod model;
mod selector;
mod set;
mod tags;
mod trust_root;
mod vulnerability;

#[cfg(test)]
mod tests;

pub use authority::{
    AttestationRequirement, Authority, IdentityPattern, KeyRef, ObjectKey, Proof, RootRef,
    SignatureRequirement, SignedIdentity,
};
pub use compile::{CompileError, FieldError, Reading, read, trust_roots::read_trust_root, unknown};
pub use condition::{Condition, ConditionError, ConditionFailure, Facts, ImageFacts, Steps};
pub use key::{KeyAlgorithm, KeyError, PublicKey, TransparencyLog};
pub use matching::{NamespaceLabels, Subject};
pub use model::{Action, OnError, Policy, PolicyId, PolicyKind, Requirement, Version};
pub use selector::{LabelSource, Selector};
pub use set::PolicySet;
pub use tags::TagPattern;
pub use trust_root::{
    ObjectKind, ObjectName, SigstoreRoot, TrustRootReading, TrustRootSource, TufRepository,
};
pub use vulnerability::{
    ATTESTATION_SOURCE, CountedSources, DenyRule, Excepted, Exception, Exceptions, MissingVerdict,
    PackagePatterns, VulnerabilityIds, VulnerabilityRequirement,
};
