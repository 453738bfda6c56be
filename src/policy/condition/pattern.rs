use cel::common::{
    types::Type,
    value::{StaticVal, Val},
};
use regex::{Regex, RegexBuilder};

/// A regular expression that the compiler has read. A match takes time in proportion to the size of its
/// machine and to the text; `cost` is the steps for 64 bytes of text.
///
/// Syntax, and the promise of time in proportion: the crate `regex`.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    cost: usize,
}

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl Pattern {
    /// How many bytes a pattern's machine may take, and what it then costs: it is in the first class that it
    /// fits into. `^refs/tags/v[0-9]+$` takes 1 KB, `\d` 6 KB, `\w` 40 KB.
    const SIZES: [(usize, usize); 4] = [(1 << 10, 16), (1 << 12, 64), (1 << 14, 256), (1 << 16, 1024)];

    pub(super) fn parse(pattern: &str) -> Result<Self, regex::Error> {
        for (size, cost) in Self::SIZES {
            match RegexBuilder::new(pattern).size_limit(size).nest_limit(32).build() {
                Err(regex::Error::CompiledTooBig(_)) => {}
                outcome => return outcome.map(|regex| Self { regex, cost }),
            }
        }
        Err(regex::Error::CompiledTooBig(0))
    }

    /// How many steps a match with `text` takes.
    pub(super) fn cost(&self, text: &str) -> u64 {
        1 + (text.len().saturating_mul(self.cost) / 64) as u64
    }

    /// Whether the pattern is found anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
