use serde::de::DeserializeOwned;

/// How much of a report is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most entries, as written, before any are merged.
    pub rows: usize,
}

/// What every reader keeps to: 64 MiB and 50,000 entries, which is ten times the worst real image.
pub const LIMITS: Limits = Limits { bytes: 64 << 20, rows: 50_000 };

/// Why a report cannot be read, or says nothing that can be used. Names the place, the value and the remedy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// It is larger than is read.
    #[error(
        "the report has {found} {what}; at most {limit} are read: scan a smaller image, or leave out what is not needed"
    )]
    TooLarge {
        /// `bytes` or `entries`.
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

/// Reads `bytes` as one JSON document of the shape `T`: UTF-8 without a byte order mark, nothing behind it, no
/// field twice, no deeper than 128 levels.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ReadError> {
    if bytes.len() > LIMITS.bytes {
        return Err(ReadError::TooLarge { what: "bytes", found: bytes.len(), limit: LIMITS.bytes });
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(ReadError::malformed("the file", "not UTF-8 text"));
    }
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let place = match error.path().to_string() {
            path if path == "." => "the document".to_owned(),
            path => path,
        };
        ReadError::malformed(place, error.inner().to_string())
    })?;
    document.end().map_err(|_| ReadError::malformed("the file", "something stands behind the document"))?;
    Ok(value)
}
