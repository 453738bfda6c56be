//! Which images an object would run, and how a digest is written into it.
//!
//! In comes the JSON of an object as the API server or a manifest has it. Out comes a [`Workload`]:
//! every image with its JSON pointer, and what surrounds them (labels, ServiceAccount, pull
//! secrets). What cannot be read is an error, never an object without images. A [`Patch`] writes
//! the digests that were judged back to where their images stand.
//!
//! The table of all places is [`image_paths`]; a test compares it with the schema that a real API
//! server serves, so that a new place fails the test before it runs an unseen image.

mod document;
mod extract;
mod json;
mod kind;
mod patch;

pub use document::{Document, Labels};
pub use extract::{ExtractError, ImageSlot, MAX_IMAGES, MAX_PULL_SECRETS, Place, Workload, image_paths};
pub use json::{ReadError, read};
pub(crate) use json::{Strict, Text, cut, problem, quote};
pub use kind::{RequestedType, UnsupportedType, WorkloadKind};
pub use patch::{Patch, Pin};

#[cfg(test)]
mod tests;
