//! ImageScanVerdicts, read and written.
//!
//! What is written can be read: [`to_object`] keeps to the bounds of the definition, and says so where it had
//! to leave something out. What is read is checked once more, whoever wrote it: an object that contradicts
//! itself is a verdict that nobody can read, and never one that is clean, or none at all.

mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::image::Digest;

pub use read::{Unbound, from_json, from_value};
pub use write::{OBJECT_BYTES, Scanned, to_object};

/// The most platforms of an index that one object speaks of.
const PLATFORM_LIMIT: usize = 32;
/// The most packages that one object lists.
const PACKAGE_LIMIT: usize = 10_000;
/// The most vulnerabilities that one object counts of one severity.
const COUNT_LIMIT: u32 = 10_000_000;
/// The longest id, in characters.
const ID_CHARS: usize = 64;
/// The most other names of one vulnerability.
const ALIAS_LIMIT: usize = 32;
/// The longest name or version, in characters.
const TEXT_CHARS: usize = 256;
/// The longest name of a distribution, in characters.
const DISTRIBUTION_CHARS: usize = 128;
/// The longest type of a package, in characters.
const TYPE_CHARS: usize = 64;

/// The name of the object in which `source` speaks of `digest`.
pub fn object_name(digest: &Digest, source: &str) -> String {
    format!("{}-{}.{source}", digest.algorithm(), digest.hex())
}
