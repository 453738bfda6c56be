use std::{fmt, str::FromStr};

use crate::image::Glob;

/// A tag that may not be written, with `*` for any run of characters, the empty one included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TagPattern {
    text: Box<str>,
    glob: Glob,
}

/// Why a text is not a tag pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tag has up to 128 letters, digits, \"_\", \".\" and \"-\"; \"*\" stands for any run of them")]
pub struct TagPatternError;

impl TagPattern {
    /// Whether the whole `tag` matches.
    pub fn matches(&self, tag: &str) -> bool {
        self.glob.matches(tag)
    }

    /// The pattern as its author wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for TagPattern {
    type Err = TagPatternError;

    fn from_str(text: &str) -> Result<Self, TagPatternError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
            return Err(TagPatternError);
        }
        Ok(Self { text: text.into(), glob: Glob::new(text) })
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("a b")]
    #[case("a:b")]
    #[case("sha256:0")]
    #[case("späť")]
    fn what_no_tag_can_match_is_refused(#[case] pattern: &str) {
        assert_eq!(pattern.parse::<TagPattern>(), Err(TagPatternError));
    }

    #[test]
    fn the_longest_tag_is_the_longest_pattern() {
        assert!("a".repeat(128).parse::<TagPattern>().is_ok());
        assert!("a".repeat(129).parse::<TagPattern>().is_err());
    }
}
