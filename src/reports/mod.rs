//! The reports of vulnerability scanners, read.
//!
//! In come the bytes that a scanner wrote, and what format they are said to be in. Out comes a [`Report`]:
//! which image it is about, as far as it says so, who scanned it when, and what was found. Each reader is
//! a pure function with bounds on everything; what it cannot read to the end is an error that names the
//! place, and never a report with less in it.
//!
//! A report is not believed for what it says of itself: [`Report::bind`] ties it to the digest that it is to
//! speak for.
//!
//! # How a reader is made
//!
//! One file for each format, with `pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError>`. It takes
//! the document through `bounds::parse` and names there the lists that it keeps, gives every text to
//! `text`, sets `rows` to the number of entries as written, and leaves merging to [`read`]. It answers with
//! at least one report; several if the document speaks of several images. A document of another kind is
//! [`ReadError::Foreign`], one in which not everything was looked at [`ReadError::Incomplete`].

mod attestation;
mod bind;
mod bounds;
mod clair;
mod cloud;
mod cyclonedx;
mod findings;
mod format;
mod grype;
mod grype_source;
mod harbor;
mod loose;
mod purl;
mod quay;
mod sarif;
mod settle;
mod snyk;
mod text;
mod trivy;
mod trivy_operator;
mod vex;
mod walk;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

use crate::{
    evidence::{Platform, Vulnerability},
    image::Digest,
};
pub use attestation::{CUSTOM, PREDICATE_TYPES, read_statement};
pub use bind::{Binding, Bound, KnownImage};
pub use bounds::{LIMITS, Limits, ReadError};
pub use format::{Format, FormatError, read};
pub(crate) use settle::worst_first;
pub use vex::{VexDocument, read_vex};

/// What a scanner said of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Which image it is about, as far as the report says so.
    pub subject: Subject,
    /// What scanned it: `trivy`, `grype`, `clair`, `snyk`.
    pub scanner: String,
    /// The scanner's version; none where nobody says.
    pub scanner_version: Option<String>,
    /// The version of the scanner's database; none where nobody says.
    pub database_version: Option<String>,
    /// When the scanner's database was made; none where nobody says.
    pub database_at: Option<Timestamp>,
    /// When the image was scanned; none where nobody says.
    pub scanned_at: Option<Timestamp>,
    /// The distribution, if the scanner says that its makers have ended their support: `alpine 3.10.9`. No more
    /// advisories appear for it then, so that no findings mean little. None: supported, or nobody says.
    pub end_of_life: Option<String>,
    /// How many entries the report has, as written.
    pub rows: usize,
    /// What was found: one for each name in each version of each package, the worst first. See
    /// [`Report::settle`].
    pub vulnerabilities: Vec<Vulnerability>,
}

/// Which image a report is about, in its own words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// Digests of manifests or indexes that the report names. Empty: it names none, and must be told.
    pub digests: Vec<Digest>,
    /// Digests of which the statement speaks that the report was in. Where there are any, the report speaks for these
    /// only, whatever else it names.
    pub attested: Vec<Digest>,
    /// The digest of the image's configuration, which a manifest names.
    pub config: Option<Digest>,
    /// Which platform was scanned.
    pub platform: Option<Platform>,
    /// The name under which the image was scanned: for people, and no binding.
    pub name: Option<String>,
    /// Why what the report says of its image cannot be true, as where it carries a configuration that does not
    /// hash to the digest beside it: somebody has changed it. Such a report can be read, and binds to nothing.
    pub contradiction: Option<String>,
}
