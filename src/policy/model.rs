use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

use super::{
    AttestationRequirement, Authority, CompileError, MissingVerdict, Selector, SignatureRequirement,
    TagPattern, VulnerabilityRequirement,
};
use crate::{
    evidence::Attached,
    image::{Digest, ImagePattern},
};

/// Which of the two kinds a policy is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PolicyKind {
    /// `ClusterImageAdmissionPolicy`: may match in every namespace.
    Cluster,
    /// `ImageAdmissionPolicy`: matches in its own namespace and nowhere else.
    Namespaced,
}

impl PolicyKind {
    /// The `kind` that a document carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "ClusterImageAdmissionPolicy",
            Self::Namespaced => "ImageAdmissionPolicy",
        }
    }
}

/// The name by which messages, logs and metrics call a policy:
/// `ClusterImageAdmissionPolicy/house-rules` or `ImageAdmissionPolicy/team-a/extra`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyId {
    /// Cluster or namespaced.
    pub kind: PolicyKind,
    /// The namespace of a namespaced policy; empty for a cluster's.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PolicyKind::Cluster => write!(f, "{}/{}", self.kind.as_str(), self.name),
            PolicyKind::Namespaced => write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name),
        }
    }
}

/// What becomes of an object when a check fails. Ordered by severity: [`Deny`](Self::Deny) is greatest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// Seen by auditors only.
    Audit,
    /// Admitted with a warning.
    Warn,
    /// Refused.
    Deny,
}

impl Action {
    /// `Deny`, `Warn` or `Audit`, as in a document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "Audit",
            Self::Warn => "Warn",
            Self::Deny => "Deny",
        }
    }
}

/// What a policy makes of a registry that could not be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnError {
    /// Not knowing counts like any other failure.
    Deny,
    /// Not knowing is a warning at most.
    Warn,
}

/// One thing that a policy demands of an image.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// The image's registry and path are allowed.
    Registries {
        /// Patterns of which one must match; `None` allows whatever is not denied.
        allow: Option<Vec<ImagePattern>>,
        /// Patterns of which none may match.
        deny: Vec<ImagePattern>,
    },
    /// The author has written the digest.
    WrittenDigest,
    /// None of these tags is written.
    DenyTags(Vec<TagPattern>),
    /// The image's digest, written or looked up, is none of these.
    DenyDigests(BTreeSet<Digest>),
    /// Enough authorities have signed it.
    Signatures(SignatureRequirement),
    /// An authority has attested something about it.
    Attestation(AttestationRequirement),
    /// Somebody has scanned it lately, and found nothing that is denied.
    Vulnerabilities(VulnerabilityRequirement),
    /// The document cannot be read, so whatever it demands is not known to hold.
    Readable(CompileError),
}

impl Requirement {
    /// Whether it can be judged only by what was published beside the image.
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Signatures(_) | Self::Attestation(_))
    }
}

/// Which state of a policy's document it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Version {
    /// `metadata.generation`; 0 for a policy that comes from a file.
    pub generation: i64,
    /// The digest of the `spec`, so that whatever was found out for one content is never taken for another.
    pub content: Digest,
}

/// A policy that can be decided.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) id: PolicyId,
    pub(super) version: Version,
    pub(super) action: Action,
    pub(super) enforce_after: Option<Timestamp>,
    pub(super) images: Vec<ImagePattern>,
    pub(super) exclude_images: Vec<ImagePattern>,
    pub(super) namespace_selector: Selector,
    pub(super) object_selector: Selector,
    pub(super) authorities: Vec<Authority>,
    pub(super) requirements: Vec<Requirement>,
    pub(super) on_error: OnError,
}

impl Policy {
    /// The policy's name.
    pub fn id(&self) -> &PolicyId {
        &self.id
    }

    /// `metadata.generation`; 0 for a policy that comes from a file.
    pub fn generation(&self) -> i64 {
        self.version.generation
    }

    /// Which state of the policy's document this is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Those whose signatures and attestations count, at the places that requirements name.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// Which kinds of things beside an image the policy must see; none if it can do without.
    pub fn attached(&self) -> Option<Attached> {
        let any = |wanted: fn(&Requirement) -> bool| self.requirements.iter().any(wanted);
        let attached = Attached {
            signatures: any(|requirement| matches!(requirement, Requirement::Signatures(_))),
            attestations: any(|requirement| match requirement {
                Requirement::Attestation(_) => true,
                Requirement::Vulnerabilities(rule) => !rule.sources.attestations.is_empty(),
                _ => false,
            }),
        };
        (attached.signatures || attached.attestations).then_some(attached)
    }

    /// Whether the policy must know what scanners have said of an image.
    pub fn wants_scans(&self) -> bool {
        self.requirements.iter().any(|requirement| matches!(requirement, Requirement::Vulnerabilities(_)))
    }

    /// What a failed check leads to at the time `now`.
    pub fn action(&self, now: Timestamp) -> Action {
        match self.enforce_after {
            Some(date) if now >= date => Action::Deny,
            _ => self.action,
        }
    }

    /// The date from which a failure is a denial, while that date lies ahead.
    pub fn enforced_from(&self, now: Timestamp) -> Option<Timestamp> {
        self.enforce_after.filter(|date| now < *date)
    }

    /// What the policy demands, apart from the digest that every policy demands.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether a condition asks for the time, so that what was found out may change with nothing else.
    pub fn changes_with_time(&self) -> bool {
        self.requirements.iter().any(|requirement| match requirement {
            Requirement::Attestation(rule) => rule.conditions.iter().any(super::Condition::depends_on_time),
            _ => false,
        })
    }

    /// What the policy makes of a registry that could not be asked.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// What the policy makes of an image that nobody has scanned.
    pub fn missing_verdict(&self) -> MissingVerdict {
        let rule = self.requirements.iter().find_map(|requirement| match requirement {
            Requirement::Vulnerabilities(rule) => Some(rule.missing),
            _ => None,
        });
        rule.unwrap_or(MissingVerdict::Deny)
    }

    /// Why the document cannot be read, if it cannot.
    pub fn compile_error(&self) -> Option<&CompileError> {
        self.requirements.iter().find_map(|requirement| match requirement {
            Requirement::Readable(error) => Some(error),
            _ => None,
        })
    }
}
