//! Where keys and trust roots come from: documents, Secrets, ConfigMaps, files, and repositories of The Update
//! Framework (TUF).
//!
//! In comes what policies name and what is found at the named places; out come the keys and trust roots in
//! force, as a whole, with a version that grows with every change of what they are. Whatever cannot be used
//! is an error with its place and its problem, never something that is not there. No review waits for any of
//! this: what is not known yet says so.
//!
//! [`TrustStore`] holds it all. Somebody else brings documents and objects to it, through
//! [`TrustMaterial`](crate::review::ports::TrustMaterial) or [`TrustStore::filed`]; files of the operator's
//! directory and TUF it looks after itself, in [`TrustStore::run`].
//!
//! TUF is verified by `sigstore-tuf`, whose types stay within `tuf`. What it is fed comes through a
//! [`Mirror`](crate::review::ports::Mirror), so that the bounds on bodies, times, addresses and redirects are
//! those of registries. What was once good is kept in memory, and on disk if the operator gives a place.
//!
//! Source: The Update Framework 1.0.34; Sigstore's client specification §3 for `trusted_root.json`.

mod check;
mod directory;
mod shelf;
mod state;
mod store;
mod tuf;

pub use check::RootCheck;
pub use store::{Published, Tally, TrustNamespaces, TrustObserver, TrustSettings, TrustStore};
pub use tuf::RefreshOutcome;
