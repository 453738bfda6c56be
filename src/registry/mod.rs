//! Registries over the network: which digest does a tag stand for, and what was published beside an image?
//!
//! In come references or digests and the credentials that may be used for them; out come digests, signatures
//! and attestations that nobody has verified yet, or typed errors.
//! A registry may be hostile, slow or broken: every wait, body, redirect and queue is bounded, requests
//! go only to addresses that our rules allow, and credentials only where they belong.
//!
//! Source: OCI distribution-spec 1.1; the token flow of the distribution project.

mod address;
mod attachments;
mod authorization;
mod breaker;
mod challenge;
mod description;
mod errand;
mod manifest;
mod mirror;
mod platforms;
mod referrers;
mod registries;
mod resolve;
mod settings;
mod transport;

#[cfg(test)]
mod tests;

pub use description::{ImageManifest, Platform};
pub use mirror::Mirrors;
pub use registries::Registries;
pub use settings::{RegistryEntry, RegistrySettings, SettingsError, Timeouts};
