//! Documents from files: manifests that are to be checked, and policies that come from a directory with the
//! trust roots, Secrets and ConfigMaps that they name.
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
pub use policies::{
    Filed, FiledPolicy, FiledRoot, FiledSpec, PolicyFileError, read_policies, read_policies_and_scans,
};
pub use watch::{PolicyDirectory, Reload};
