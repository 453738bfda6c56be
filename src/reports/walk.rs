//! A first look at a whole document, which keeps nothing: whether it is one JSON document, without a field twice,
//! with no more entries than are read.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::bounds::{Keys, LIMITS, ReadError};

/// Whether `bytes` are a document that a reader may look at. See [`parse`](super::bounds::parse).
pub(super) fn check(bytes: &[u8], keys: &Keys) -> Result<(), ReadError> {
    if bytes.len() > LIMITS.bytes {
        return Err(ReadError::TooLarge { what: "bytes", found: bytes.len(), limit: LIMITS.bytes });
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(ReadError::malformed("the file", "it is not UTF-8 text: write it as UTF-8"));
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err(ReadError::malformed("the file", "it begins with a byte order mark: write it without"));
    }
    let mut walk = Walk { keys, counts: vec![0; keys.counted.len()], overflow: None };
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let walked = Value { walk: &mut walk, counted: None }.deserialize(&mut document);
    match (walk.overflow, walked) {
        (Some(what), _) => Err(ReadError::TooLarge { what, found: LIMITS.rows + 1, limit: LIMITS.rows }),
        (None, Err(error)) => Err(ReadError::malformed(place(&error), problem(&error))),
        (None, Ok(())) => document.end().map_err(|error| {
            ReadError::malformed(
                place(&error),
                "something stands behind the document: keep one document to a file",
            )
        }),
    }
}

fn place(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

/// The error's text without the place, which the library puts at its end.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.strip_suffix(&format!(" at {}", place(error))).unwrap_or(&text).to_owned()
}

struct Walk<'k> {
    keys: &'k Keys,
    /// How many entries stand under each of the counted fields so far.
    counts: Vec<usize>,
    /// The field under which there are too many.
    overflow: Option<&'static str>,
}

impl Walk<'_> {
    /// One more entry under the counted field at `at`; false if that is one too many.
    fn count(&mut self, at: Option<usize>) -> bool {
        let Some(at) = at else { return true };
        self.counts[at] += 1;
        if self.counts[at] > LIMITS.rows {
            self.overflow = Some(self.keys.counted[at]);
        }
        self.overflow.is_none()
    }

    /// Which of our fields is written here in other letter case.
    fn misspelt(&self, key: &str) -> Option<&'static str> {
        let ours = self.keys.counted.iter().chain(self.keys.spelt);
        let mut alike = ours.copied().filter(|ours| ours.eq_ignore_ascii_case(key)).peekable();
        alike.peek()?;
        let first = alike.clone().next();
        if alike.any(|ours| ours == key) { None } else { first }
    }
}

/// One value, wherever it stands.
struct Value<'w, 'k> {
    walk: &'w mut Walk<'k>,
    /// Which counted field it stands under.
    counted: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Value { walk: self.walk, counted: None })?.is_some() {
            if !self.walk.count(self.counted) {
                return Err(A::Error::custom("too many entries"));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut keys: Vec<Cow<'de, str>> = Vec::new();
        while let Some(key) = object.next_key_seed(Key)? {
            if !self.walk.count(self.counted) {
                return Err(A::Error::custom("too many entries"));
            }
            if let Some(ours) = self.walk.misspelt(&key) {
                return Err(A::Error::custom(format_args!("the field {key} is written {ours}")));
            }
            let counted = self.walk.keys.counted.iter().position(|ours| *ours == key);
            object.next_value_seed(Value { walk: self.walk, counted })?;
            keys.push(key);
        }
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(A::Error::custom(format_args!(
                "the field {} stands twice in one object",
                super::text::plain(&pair[0])
            ))),
            None => Ok(()),
        }
    }
}

/// The name of a field.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
