use std::{fmt, str::FromStr};

use super::ImageReference;

/// An anchored pattern over canonical `host[:port]/path`; tags and digests are never part of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImagePattern {
    source: Box<str>,
}

/// Why a text is not an image pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was written.
    #[error("the image pattern is empty")]
    Empty,
}

impl ImagePattern {
    /// Whether the reference's host and path match; its tag and digest play no part.
    pub fn matches(&self, image: &ImageReference) -> bool {
        &*self.source == "**" || self.source.split_once('/') == Some((image.host(), image.repository()))
    }

    /// The host of every image that matches, as [`ImageReference::host`] gives it; none where the pattern
    /// leaves the host open.
    pub fn host(&self) -> Option<&str> {
        self.source.split_once('/').map(|(host, _)| host).filter(|host| !host.contains('*'))
    }

    /// The pattern as its author wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError::Empty) } else { Ok(Self { source: text.into() }) }
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
