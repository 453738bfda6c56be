//! Image names and digests: parsed once at the edge, then passed as types.
//!
//! In comes text that a stranger wrote. Out comes an [`ImageReference`], a [`Digest`] or an
//! [`ImagePattern`], or an error that says what is wrong with it.

mod digest;
mod pattern;
mod reference;
mod resolved;

pub use digest::{Digest, DigestError};
pub use pattern::{ImagePattern, PatternError};
pub use reference::{ImageReference, ReferenceError};
pub use resolved::ResolvedImage;
