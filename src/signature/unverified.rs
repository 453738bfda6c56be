//! What a candidate says of itself. Good for showing to people, and for nothing else.

use super::bundle::Parsed;
use crate::{
    evidence::{Candidate, Claim, Material, Rejection, Signer},
    image::Digest,
};

/// A candidate as it presents itself. Nobody has checked any of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// In which form it is stored.
    pub format: Format,
    /// Whose it says it is; none where only a key can tell.
    pub signer: Option<Signer>,
    /// Whether it comes with a log entry.
    pub logged: bool,
    /// What it says about the image, or why it says nothing.
    pub claim: Result<Claim, Rejection>,
}

/// In which form a signature or an attestation is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// A Sigstore bundle, of any version.
    Bundle,
    /// A layer of the tag `sha256-….sig`.
    ClassicSignature,
    /// A layer of the tag `sha256-….att`.
    ClassicAttestation,
}

impl Format {
    /// The name in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "sigstore-bundle",
            Self::ClassicSignature => "cosign-signature",
            Self::ClassicAttestation => "cosign-attestation",
        }
    }
}

/// Reads what `candidate` says of itself and of `image`.
pub fn read_unverified(candidate: &Candidate, image: &Digest) -> Result<Unverified, Rejection> {
    let format = match &candidate.material {
        Material::SimpleSigning { .. } => Format::ClassicSignature,
        Material::Envelope { .. } => Format::ClassicAttestation,
        Material::Bundle(_) | Material::Unreadable(_) => Format::Bundle,
    };
    let parsed = Parsed::read(&candidate.material)?;
    let signer = match parsed.has_certificate() {
        true => parsed.unverified_signer().ok(),
        false => parsed.hint().map(Signer::Key),
    };
    Ok(Unverified { format, signer, logged: parsed.is_logged(), claim: parsed.claim(image) })
}
