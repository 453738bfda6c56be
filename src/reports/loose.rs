//! Shapes for what scanners write in more ways than one, or in any number.

use std::{fmt, marker::PhantomData};

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{bounds::LIMITS, text};

/// The first entries of a list or an object, as many as [`Limits::aliases`](super::Limits::aliases); further
/// ones are passed over, so that a million of them take no memory. Null and absent are none.
///
/// Only for what may be cut without a finding going missing.
#[derive(Debug)]
pub(super) struct Few<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Few<T> {
    /// The entries, without their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Of an object: the entry with this name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(at, _)| at == name).map(|(_, value)| value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_unit<E>(self) -> Result<Few<T>, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while few.0.len() < LIMITS.aliases {
            match list.next_element()? {
                Some(value) => few.0.push((String::new(), value)),
                None => return Ok(few),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(few)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while few.0.len() < LIMITS.aliases {
            match object.next_entry()? {
                Some(entry) => few.0.push(entry),
                None => return Ok(few),
            }
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(few)
    }
}

/// A text, a number, or a truth value; null is the empty text.
#[derive(Debug, Default)]
pub(super) enum Word {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A truth value.
    Truth(bool),
    /// Null.
    #[default]
    Null,
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

/// By hand, since a derived `untagged` would first take in whatever else stands there.
struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Word, E> {
        Ok(Word::Truth(truth))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Word, E> {
        Ok(Word::Number(number))
    }

    // no version and no moment has more than the 53 bits that are kept
    fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
        Ok(Word::Number(number as f64))
    }

    // no version and no moment has more than the 53 bits that are kept
    fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
        Ok(Word::Number(number as f64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Word, E> {
        Ok(Word::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word::Null)
    }
}

impl Word {
    /// As a text, as it is kept.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text::plain(text),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Null => String::new(),
        }
    }

    /// The number that it is.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Truth(_) | Self::Null => None,
        }
    }

    /// The moment that it is: in the way of RFC 3339, or in seconds since 1970.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => text::timestamp(text),
            Self::Number(seconds) => text::unix(*seconds),
            Self::Truth(_) | Self::Null => None,
        }
    }
}
