use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde_json::Value;

use super::RegistryError;
use crate::image::Digest;

/// Something that stood beside an image and may be a signature of it or an attestation about it. Nobody
/// has verified it yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The digest of the manifest or layer that held it.
    pub place: Digest,
    /// What was found there.
    pub material: Material,
}

/// A candidate in the form in which its publisher's tool stored it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Material {
    /// A Sigstore bundle v0.1 to v0.3, in JSON.
    Bundle(Box<str>),
    /// A layer of the tag `sha256-….sig`: a simple signing payload, and the layer's annotations.
    SimpleSigning {
        /// The layer's content.
        payload: Box<[u8]>,
        /// The layer's annotations, which hold signature, certificate and log entry.
        annotations: BTreeMap<String, String>,
    },
    /// A layer of the tag `sha256-….att`: a DSSE envelope, and the layer's annotations.
    Envelope {
        /// The layer's content.
        envelope: Box<[u8]>,
        /// The layer's annotations, which hold certificate and log entry.
        annotations: BTreeMap<String, String>,
    },
    /// Something that the registry lists and does not give: it is not there, it is too large, or it is not
    /// what its digest says. One that could not be asked for is no candidate: nobody knows what it is.
    Unreadable(RegistryError),
}

/// Which kinds of things beside an image somebody wants to see. At least one of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Attached {
    /// Signatures of the image.
    pub signatures: bool,
    /// Attestations about the image.
    pub attestations: bool,
}

/// A candidate whose signature holds: somebody said something about this image.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Who said it.
    pub signer: Signer,
    /// What was said.
    pub claim: Claim,
    /// Whether a transparency log that is trusted holds it.
    pub logged: bool,
    /// When it was said, by each log and timestamp authority that is trusted; empty where nobody says.
    pub times: Vec<Timestamp>,
}

/// Who signed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Signer {
    /// Whoever holds the private half of a key.
    Key(KeyFingerprint),
    /// Whoever proved an identity to the authority that issued the certificate.
    Identity {
        /// The certificate's subject alternative name: a URI or an email address.
        subject: String,
        /// Who vouched for the subject, as an OpenID Connect issuer.
        issuer: String,
    },
}

/// The SHA-256 digest of a key's SubjectPublicKeyInfo, which names it in messages and in the hints of
/// bundles. Prints as lowercase hex digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyFingerprint([u8; 32]);

impl KeyFingerprint {
    /// The fingerprint with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

/// What a signature says about the image.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// "I sign this image": simple signing, or a statement of type `https://sigstore.dev/cosign/sign/v1`.
    Image {
        /// The signed annotations.
        annotations: BTreeMap<String, String>,
        /// The `docker-reference` of simple signing, which names a repository; none in a bundle.
        identity: Option<String>,
    },
    /// An in-toto statement of any other type. Never a signature of the image.
    Attestation {
        /// Its `predicateType`.
        predicate_type: String,
        /// All of it, `predicate` included.
        statement: Value,
    },
}

/// What one authority has said about one image.
#[derive(Clone, Debug)]
pub enum AuthorityEvidence {
    /// The registry could not be asked what is there, or did not say it.
    Unseen(RegistryError),
    /// There is nothing to check by.
    Unusable(AuthorityError),
    /// This is all that is there.
    Seen {
        /// What the authority has signed.
        verified: Vec<Verified>,
        /// What does not count as the authority's, and why not.
        rejected: Vec<Rejection>,
    },
}

/// Why an authority's signatures cannot be checked. Names no key material.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorityError {
    /// The key or the trust root is not there.
    #[error("{0} does not exist")]
    Missing(String),
    /// What is there is no key or no trust root.
    #[error("{place} cannot be used: {problem}")]
    Unusable {
        /// The Secret, file or ImageTrustRoot.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody could say yet what is there.
    #[error("{0} has not been read yet")]
    Unread(String),
    /// It lies where policies may not read.
    #[error("{0} lies where Tidewaiter may not read: the setting trustNamespaces lists where it may")]
    Forbidden(String),
}

/// Why a candidate does not count. A fact about the candidate: "we could not look" is none of these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// It is not what it says it is.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// The registry lists it and does not give it.
    #[error("{0}")]
    Unreadable(RegistryError),
    /// It is about another image.
    #[error("it is about {found}")]
    OtherImage {
        /// What it is about, shortened; `nothing` for an empty list.
        found: String,
    },
    /// The payload is of a kind that says nothing about images.
    #[error("its payload is of type {found}")]
    PayloadType {
        /// The type, shortened.
        found: String,
    },
    /// It was made with another key, or changed since.
    #[error("its signature does not fit the key")]
    OtherKey,
    /// It holds a certificate where a key was asked for.
    #[error("it is signed with a certificate")]
    Certificate,
    /// It holds no certificate where one was asked for.
    #[error("it is signed with a key, without a certificate")]
    NoCertificate,
    /// Somebody else has signed it.
    #[error("it is signed by {subject} (issuer {issuer})")]
    OtherIdentity {
        /// Who, by the certificate; shortened.
        subject: String,
        /// Who vouched for that; shortened.
        issuer: String,
    },
    /// The certificate says nothing about who holds it.
    #[error("its certificate names no identity and issuer")]
    NoIdentity,
    /// No transparency log holds it, and one was asked for.
    #[error("no transparency log holds it")]
    NotLogged,
    /// Its certificate, log entry or timestamp does not hold under the trust root.
    #[error("the trust root does not accept it: {0}")]
    Untrusted(String),
    /// It is in a form that is not supported.
    #[error("it is not supported: {0}")]
    Unsupported(String),
}
