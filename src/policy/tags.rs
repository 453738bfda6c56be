use std::{fmt, str::FromStr};

/// A tag that may not be written, with `*` for any run of characters, the empty one included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TagPattern(Box<str>);

/// Why a text is not a tag pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tag has up to 128 letters, digits, \"_\", \".\" and \"-\"; \"*\" stands for any run of them")]
pub struct TagPatternError;

impl TagPattern {
    /// Whether the whole `tag` matches.
    pub fn matches(&self, tag: &str) -> bool {
        let mut parts = self.0.split('*');
        // OK because split yields at least one part
        let first = parts.next().unwrap();
        let Some(mut rest) = tag.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// The pattern as its author wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagPattern {
    type Err = TagPatternError;

    fn from_str(text: &str) -> Result<Self, TagPatternError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
            return Err(TagPatternError);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("latest", "latest", true)]
    #[case("latest", "latest2", false)]
    #[case("latest", "not-latest", false)]
    #[case("*", "anything", true)]
    #[case("*-dev", "1.0-dev", true)]
    #[case("*-dev", "1.0-dev2", false)]
    #[case("1.*", "1.2.3", true)]
    #[case("1.*", "11.2", false)]
    #[case("a*a", "a", false)]
    #[case("a*a", "aa", true)]
    #[case("a*b*c", "a-b-c", true)]
    #[case("a*b*c", "a-c-b", false)]
    #[case("a**c", "ac", true)]
    #[case("v*.*-rc*", "v1.2-rc3", true)]
    #[case("Latest", "latest", false)]
    fn a_tag_matches_as_a_whole(#[case] pattern: &str, #[case] tag: &str, #[case] expected: bool) {
        assert_eq!(pattern.parse::<TagPattern>().unwrap().matches(tag), expected);
    }

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
