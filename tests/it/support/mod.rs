//! What the tests stand on.

pub mod apiserver;
pub mod certs;
pub mod process;
pub mod tools;
