//! One request from start to answer: gather what is needed, inside one deadline, and decide.
//!
//! In comes an object's images; out comes a decision. What lies outside the process is reached
//! through the traits in [`ports`], which adapters implement.

pub mod credentials;
pub mod ports;
