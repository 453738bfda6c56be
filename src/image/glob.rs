/// A text in which each `*` stands for any run of characters, the empty one included; anchored.
///
/// Takes time in proportion to the text it is matched with: after the first piece and before the last,
/// the leftmost place of each piece is the right one, so nothing is ever tried twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Glob {
    /// Without a `*`: the text itself.
    Literal(Box<str>),
    /// What stands before the first `*`, between them, and behind the last.
    Pieces { first: Box<str>, middle: Box<[Box<str>]>, last: Box<str> },
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        let Some((first, rest)) = text.split_once('*') else { return Self::Literal(text.into()) };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|piece| !piece.is_empty()).map(Box::from).collect();
        Self::Pieces { first: first.into(), middle, last: last.into() }
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (first, middle, last) = match self {
            Self::Literal(literal) => return **literal == *text,
            Self::Pieces { first, middle, last } => (first, middle, last),
        };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            let Some((_, behind)) = rest.split_once(&**piece) else { return false };
            rest = behind;
        }
        rest.ends_with(&**last)
    }
}
