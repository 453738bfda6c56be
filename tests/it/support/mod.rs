//! What the tests stand on.

pub mod apiserver;
pub mod certs;
pub mod cluster;
pub mod hostile;
pub mod process;
pub mod registry;
pub mod tokens;
pub mod tools;
pub mod tuf;
