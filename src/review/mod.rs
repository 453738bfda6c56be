//! One request from start to answer: gather what is needed, inside one deadline, and decide.
//!
//! In comes an object's images; out comes a decision. What lies outside the process is reached
//! through the traits in [`ports`], which adapters implement. [`Reviewer::review_now`] answers where
//! everything is known already, without waiting and without a task; [`Reviewer::review`] asks whom it
//! must and answers before the deadline, whatever others do.

pub mod credentials;
mod digests;
pub mod documents;
mod judgements;
mod lookups;
mod object;
pub mod ports;
mod reviewer;
mod scans;

#[cfg(test)]
mod tests;

pub use object::ReviewedObject;
pub use reviewer::{DigestPinning, ImageSlot, Ports, Question, ReviewSettings, Reviewer, Stage, Workloads};
