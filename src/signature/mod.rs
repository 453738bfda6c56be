//! Does a candidate's signature hold, and what does it say about the image?
//!
//! In come bytes that a stranger stored, the image's digest, and a key or a trust root; out comes what was
//! said and by whom, or the reason why it does not count. Nothing here asks anybody: no network, no clock.
//!
//! Two engines decide. `raw` checks signatures of keys over bytes, and nothing else. Whatever carries a
//! certificate, a log entry or a timestamp that is to count goes to `sigstore-verify`, whose types stay
//! within `trust` and `bundle`. What the payload says is read here, whichever engine decided: both leave open which
//! kind of statement it is.
//!
//! Source: Sigstore's bundle format and client specification; cosign's `SIGNATURE_SPEC.md`; DSSE v1; in-toto
//! attestation framework v0.1 and v1.

mod bundle;
mod claim;
mod classic;
mod raw;
mod trust;

#[cfg(test)]
mod tests;

use bundle::{Content, Parsed};
pub use trust::{TrustRoot, TrustRootError};

use crate::{
    evidence::{Candidate, Rejection, Signer, Verified},
    image::Digest,
    policy::{PublicKey, TransparencyLog},
};

/// Checks a candidate with a key.
///
/// A log entry counts only under `trust`. [`TransparencyLog::Required`] without a trust root that knows
/// the log is never met.
pub fn verify_with_key(
    candidate: &Candidate,
    image: &Digest,
    key: &PublicKey,
    log: TransparencyLog,
    trust: Option<&TrustRoot>,
) -> Result<Verified, Rejection> {
    let parsed = Parsed::read(&candidate.material)?;
    if parsed.has_certificate() {
        return Err(Rejection::Certificate);
    }
    if parsed.hint().is_some_and(|hint| hint != key.fingerprint()) {
        return Err(Rejection::OtherKey);
    }
    let claim = parsed.claim(image)?;
    let holds = match &parsed.content {
        Content::Envelope(envelope) => raw::holds(key, &envelope.pae(), envelope.signature.sig.as_bytes()),
        Content::Payload { payload, signature } => raw::holds(key, payload, signature),
        Content::Digest { signature } => raw::holds_for_digest(key, image, signature)?,
    };
    if !holds {
        return Err(Rejection::OtherKey);
    }
    let signer = Signer::Key(key.fingerprint());
    let demanded = match log {
        TransparencyLog::Required => true,
        TransparencyLog::IfPresent => parsed.is_logged(),
        TransparencyLog::Ignored => false,
    };
    if !demanded {
        return Ok(Verified { signer, claim, logged: false, times: Vec::new() });
    }
    if !parsed.is_logged() {
        return Err(Rejection::NotLogged);
    }
    let trust =
        trust.ok_or_else(|| Rejection::Untrusted("there is none to check its log entry by".to_owned()))?;
    let times = trust.check_key(&parsed, image, key)?;
    Ok(Verified { signer, claim, logged: true, times })
}

/// Checks a candidate that carries a certificate. Whose certificate it is, the caller must look at: anybody
/// with an email address can sign anything.
pub fn verify_with_certificate(
    candidate: &Candidate,
    image: &Digest,
    log: TransparencyLog,
    trust: &TrustRoot,
) -> Result<Verified, Rejection> {
    let parsed = Parsed::read(&candidate.material)?;
    if !parsed.has_certificate() {
        return Err(Rejection::NoCertificate);
    }
    let claim = parsed.claim(image)?;
    let logged = match log {
        TransparencyLog::Required => true,
        TransparencyLog::IfPresent => parsed.is_logged(),
        TransparencyLog::Ignored => false,
    };
    if logged && !parsed.is_logged() {
        return Err(Rejection::NotLogged);
    }
    let (signer, times) = trust.check_certificate(&parsed, image, logged)?;
    Ok(Verified { signer, claim, logged, times })
}
