//! Registries over the network: which digest does a tag stand for?
//!
//! In come references and the credentials that may be used for them; out come digests or typed errors.
//! A registry may be hostile, slow or broken: every wait, body, redirect and queue is bounded, requests
//! go only to addresses that our rules allow, and credentials only where they belong.
//!
//! Source: OCI distribution-spec 1.1; the token flow of the distribution project.

mod address;
mod authorization;
mod breaker;
mod challenge;
mod mirror;
mod registries;
mod resolve;
mod settings;
mod transport;

#[cfg(test)]
mod tests;

pub use mirror::Mirrors;
pub use registries::Registries;
pub use settings::{RegistryEntry, RegistrySettings, SettingsError, Timeouts};
