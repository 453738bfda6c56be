//! What the tests stand on.

pub mod apiserver;
pub mod certs;
pub mod client;
pub mod cluster;
pub mod cosign;
pub mod hostile;
pub mod image;
pub mod layout;
pub mod miniature;
pub mod nodes;
pub mod process;
pub mod referrers;
pub mod registry;
pub mod scanners;
pub mod sigstore;
pub mod tokens;
pub mod tools;
pub mod tuf;
