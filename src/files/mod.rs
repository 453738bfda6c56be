//! Documents from files: manifests that are to be checked and policies that come from a directory.
//!
//! In come paths; out come JSON values that know their file, document and line, or an error that
//! names all three. Every input is bounded, whatever a file holds: its size, its number of documents
//! and, in the YAML reader, its nesting and its aliases.

mod documents;
mod policies;
mod watch;

#[cfg(test)]
mod tests;

pub use documents::{Document, FileError, Place, parse, read, read_each};
pub use policies::{FiledPolicy, PolicyFileError, read_policies};
pub use watch::{PolicyDirectory, Reload};
