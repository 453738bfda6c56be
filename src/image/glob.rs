/// A text in which each `*` stands for any run of characters, the empty one included; anchored.
///
/// Takes time in proportion to the text it is matched with: after the first piece and before the last,
/// the leftmost place of each piece is the right one, so nothing is ever tried twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob(Kind);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// Without a `*`: the text itself.
    Literal(Box<str>),
    /// What stands before the first `*`, between them, and behind the last.
    Pieces { first: Box<str>, middle: Box<[Box<str>]>, last: Box<str> },
}

impl Glob {
    /// Every text is a glob.
    pub fn new(text: &str) -> Self {
        let Some((first, rest)) = text.split_once('*') else { return Self(Kind::Literal(text.into())) };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|piece| !piece.is_empty()).map(Box::from).collect();
        Self(Kind::Pieces { first: first.into(), middle, last: last.into() })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let (first, middle, last) = match &self.0 {
            Kind::Literal(literal) => return **literal == *text,
            Kind::Pieces { first, middle, last } => (first, middle, last),
        };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            let Some((_, behind)) = rest.split_once(&**piece) else { return false };
            rest = behind;
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Glob;

    #[rstest]
    #[case("latest", "latest", true)]
    #[case("latest", "latest2", false)]
    #[case("latest", "not-latest", false)]
    #[case("", "", true)]
    #[case("", "a", false)]
    #[case("*", "", true)]
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
    fn a_text_matches_as_a_whole(#[case] glob: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(Glob::new(glob).matches(text), expected);
    }
}
