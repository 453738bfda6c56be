use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::{Path, Segment};

/// The longest [`ReadError::problem`], in bytes. The parser quotes values, and a stranger wrote them.
const MAX_PROBLEM: usize = 200;

/// The longest [`ReadError::pointer`], in bytes: it goes into messages, and map keys are a stranger's text.
const MAX_POINTER: usize = 200;

/// Why a JSON text could not be read, and where in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: {problem}", if pointer.is_empty() { "the whole object" } else { pointer })]
pub struct ReadError {
    /// The JSON pointer (RFC 6901) of the value that does not fit, cut after 200 bytes; empty for
    /// the whole text.
    pub pointer: String,
    /// What is wrong with it, at most 200 bytes.
    pub problem: String,
}

/// Reads `json` as a `T` that may borrow from it. Nothing but white space may follow.
///
/// The first pass looks for nothing but the value. Only where it fails does a second one find out
/// where, so that the place in the message costs nothing when all is well.
pub fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, ReadError> {
    serde_json::from_str(json).map_err(|error| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(located) => ReadError { pointer: pointer(located.path()), problem: problem(located.inner()) },
            // The value itself is fine: what follows it is not.
            Ok(_) => ReadError { pointer: String::new(), problem: problem(&error) },
        }
    })
}

/// What the parser has to say, without the place: it counts from the start of a text that nobody sees.
pub(crate) fn problem(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    cut(whole.strip_suffix(&place).unwrap_or(&whole).into(), MAX_PROBLEM).into_owned()
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push_str(&quote(&key.replace('~', "~0").replace('/', "~1"), MAX_POINTER));
            }
            Segment::Unknown => pointer.push('?'),
        }
    }
    cut(pointer.into(), MAX_POINTER).into_owned()
}

/// The beginning of a text: at most `most` bytes, cut between two characters.
pub(crate) fn cut(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    // OK because a text begins with a boundary
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

/// A stranger's text for a message: printable, and at most `most` bytes.
pub(crate) fn quote(text: &str, most: usize) -> String {
    // Escaping makes nothing shorter: what is beyond `most` cannot show.
    let begun = cut(Cow::Borrowed(text), most);
    cut(begun.escape_debug().collect::<String>().into(), most).into_owned()
}

/// A JSON string, borrowed where no escape stands in it.
///
/// `Option<Cow<str>>` would always copy: serde borrows a `Cow` only where it is the field itself.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'a> Text<'a> {
    /// The text; empty where there is none.
    pub(crate) fn or_empty(text: Option<Self>) -> Cow<'a, str> {
        text.map(|text| text.0).unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A struct that is read from a JSON object only.
///
/// serde's derived structs also accept an array of their fields in order. In such a text no JSON
/// pointer of ours would point anywhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Strict<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Strict<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strict<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Strict)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}
