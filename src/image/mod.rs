//! Image names and digests: parsed once at the edge, then passed as types.
//!
//! In comes text that a stranger wrote. Out comes an [`ImageReference`], a [`Digest`] or an
//! [`ImagePattern`], or an error that says what is wrong with it. `docs/references-and-patterns.md` is
//! the same for those who write manifests and policies.

mod digest;
mod glob;
mod name;
mod pattern;
mod reference;
mod repository;
mod resolved;

pub use digest::{Digest, DigestError};
pub use glob::Glob;
pub use name::NameError;
pub use pattern::{ImagePattern, PatternError};
pub use reference::{ImageReference, ReferenceError, without_user_name};
pub use repository::Repository;
pub use resolved::ResolvedImage;
