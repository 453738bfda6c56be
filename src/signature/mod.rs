//! Does a candidate's signature hold, and what does it say about the image?
//!
//! In come bytes that a stranger stored, the image's digest, and a key or a trust root; out comes what was
//! said and by whom, or the reason why it does not count. Nothing here asks anybody over the network, and the
//! clock is read only to refuse what is dated ahead of it. [`Examination`] does that for all authorities of a
//! policy; [`Trust`] is where keys and roots come from.
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
mod examine;
mod raw;
mod trust;
mod unverified;

#[cfg(test)]
mod tests;

pub use examine::{Examination, verify_with_certificate, verify_with_key};
pub use trust::{Trust, TrustRoot, TrustRootError, Trusted};
pub use unverified::{Format, Unverified, read_unverified};
