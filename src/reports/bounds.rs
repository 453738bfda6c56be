use serde::de::DeserializeOwned;

use super::walk;
use crate::image::Digest;

/// How much of a report is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most entries, as written, before any are merged.
    pub rows: usize,
    /// The most other names that are kept of one vulnerability.
    pub aliases: usize,
}

/// What every reader keeps to: 64 MiB and 50,000 entries, which is ten times the worst real image, and 128 other
/// names, which is what an advisory for a kernel has.
pub const LIMITS: Limits = Limits { bytes: 64 << 20, rows: 50_000, aliases: 128 };

/// Why a report cannot be read, or says nothing that can be used. Names the place, the value and the remedy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// It is larger than is read.
    #[error(
        "the report has at least {found} {what}; at most {limit} are read: scan a smaller image, or leave out what is not needed"
    )]
    TooLarge {
        /// `bytes`, `entries`, or the field whose entries were counted.
        what: &'static str,
        /// How many there are, as far as was counted.
        found: usize,
        /// How many are read.
        limit: usize,
    },
    /// It is not JSON, or not in the shape that the format has.
    #[error("{place}: {problem}")]
    Malformed {
        /// Where: `Results[2].Vulnerabilities[0].Severity`, or `line 3 column 7`.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// It is a report of another kind, or about something that is no image.
    #[error("this is {found}, and no {wanted}: {remedy}")]
    Foreign {
        /// What it seems to be.
        found: String,
        /// What was asked for.
        wanted: &'static str,
        /// What would help.
        remedy: &'static str,
    },
    /// It is a report in which nothing was looked at, or not everything: silence in it is no verdict.
    #[error("{place}: {problem}, so that what it does not list is not known to be absent: {remedy}")]
    Incomplete {
        /// Where this shows.
        place: String,
        /// What was not looked at.
        problem: String,
        /// What would help.
        remedy: &'static str,
    },
    /// It speaks of another image.
    #[error("the report is about {found}, and not about {wanted}")]
    OtherImage {
        /// What it names, shortened.
        found: String,
        /// What it was to be about.
        wanted: String,
    },
    /// It names no digest, and nobody has said which it is about.
    #[error("the report does not say which digest it is about: say it with --digest sha256:…")]
    Unbound,
    /// It names several digests, and nobody has said which it is about.
    #[error("the report names several digests ({found}): say which it is about with --digest sha256:…")]
    Ambiguous {
        /// Which, shortened.
        found: String,
    },
    /// It is about an index, and does not say which of its platforms was scanned.
    #[error(
        "{digest} is an index of {count} platforms, and the report does not say which was scanned: scan each by its own digest, or say it with --platform linux/amd64"
    )]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// How many platforms it has.
        count: usize,
    },
    /// Nobody says when the image was scanned.
    #[error(
        "the report does not say when the image was scanned: say it with --scanned-at 2026-01-01T00:00:00Z"
    )]
    Undated,
}

impl ReadError {
    pub(super) fn malformed(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { place: place.into(), problem: problem.into() }
    }
}

/// The fields of a format on which a verdict hangs.
pub(super) struct Keys {
    /// Lists, and objects by which others are found, that a reader keeps: at most [`Limits::rows`] entries under
    /// each of these names in the whole document.
    pub(super) counted: &'static [&'static str],
    /// Those without which a finding would be missed, or taken for a lesser one. Like `counted`, they may not
    /// stand there in other letter case: who wrote that meant them, and we would not see them.
    pub(super) spelt: &'static [&'static str],
}

/// Reads `bytes` as one JSON document of the shape `T`: UTF-8 without a byte order mark, nothing behind it, no
/// field twice in any object, no deeper than 128 levels, and no more entries than are read. All that is checked
/// before anything is kept.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], keys: &Keys) -> Result<T, ReadError> {
    walk::check(bytes, keys)?;
    let mut document = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let place = match error.path().to_string() {
            path if path == "." => "the document".to_owned(),
            path => path,
        };
        ReadError::malformed(place, error.inner().to_string())
    })
}
