use std::{fmt, sync::OnceLock};

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer, Iterable, Iterator, Sizer, Zeroer},
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelUInt, Kind, Type},
        value::{CowVal, Val},
    },
};
use serde_json::{Map, Value};

use super::functions::equal;

/// A JSON value as expressions see it. Nothing is copied: neither what the expression does not look at, nor
/// what it does.
///
/// Numbers are `int` where they fit, else `uint`, else `double`.
pub(super) fn value(json: &Value) -> Box<dyn Val + '_> {
    match Element::new(json) {
        Element::Bool(value) => Box::new(value),
        Element::Double(value) => Box::new(value),
        Element::Int(value) => Box::new(value),
        Element::Many(value) => Box::new(value),
        Element::Null(value) => Box::new(value),
        Element::Text(value) => Box::new(value),
        Element::UInt(value) => Box::new(value),
    }
}

enum Element<'v> {
    Bool(CelBool),
    Double(CelDouble),
    Int(CelInt),
    Many(Many<'v>),
    Null(CelNull),
    Text(CelString<'v>),
    UInt(CelUInt),
}

impl<'v> Element<'v> {
    fn new(json: &'v Value) -> Self {
        match json {
            Value::Array(list) => Self::Many(Many::new(Source::List(list))),
            Value::Bool(value) => Self::Bool((*value).into()),
            Value::Null => Self::Null(CelNull),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value.into()),
                (None, Some(value)) => Self::UInt(value.into()),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN).into()),
            },
            Value::Object(map) => Self::Many(Many::new(Source::Map(map))),
            Value::String(text) => Self::Text(text.as_str().into()),
        }
    }

    fn get(&self) -> &(dyn Val + 'v) {
        match self {
            Self::Bool(value) => value,
            Self::Double(value) => value,
            Self::Int(value) => value,
            Self::Many(value) => value,
            Self::Null(value) => value,
            Self::Text(value) => value,
            Self::UInt(value) => value,
        }
    }
}

#[derive(Clone, Copy)]
enum Source<'v> {
    List(&'v [Value]),
    Map(&'v Map<String, Value>),
}

/// An array or an object. Its elements become values when somebody walks through them.
struct Many<'v> {
    source: Source<'v>,
    elements: OnceLock<Box<[Element<'v>]>>,
}

impl<'v> Many<'v> {
    fn new(source: Source<'v>) -> Self {
        Self { source, elements: OnceLock::new() }
    }

    fn len(&self) -> usize {
        match self.source {
            Source::List(list) => list.len(),
            Source::Map(map) => map.len(),
        }
    }
}

impl fmt::Debug for Many<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::List(list) => write!(f, "a list of {}", list.len()),
            Source::Map(map) => write!(f, "a map of {}", map.len()),
        }
    }
}

impl<'v> Val for Many<'v> {
    fn get_type(&self) -> &Type {
        match self.source {
            Source::List(_) => CelList::cel_type(),
            Source::Map(_) => CelMap::cel_type(),
        }
    }

    fn cel_type() -> &'static Type {
        &cel::common::types::DYN_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        equal(self, other, None).unwrap_or(false)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(Many::new(self.source))
    }
}

impl Sizer for Many<'_> {
    fn size(&self) -> CelInt {
        i64::try_from(self.len()).unwrap_or(i64::MAX).into()
    }
}

impl Zeroer for Many<'_> {
    fn is_zero_value(&self) -> bool {
        self.len() == 0
    }
}

impl Container for Many<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        match self.source {
            Source::List(list) => Ok(list.iter().any(|element| Element::new(element).get().equals(value))),
            Source::Map(map) => match value.downcast_ref::<CelString<'_>>() {
                Some(key) => Ok(map.contains_key(key.inner())),
                None if is_key(value) => Ok(false),
                None => Err(not_an_index(value, "map key")),
            },
        }
    }
}

impl<'v> Indexer for Many<'v> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let found = match self.source {
            Source::List(list) => {
                let at = position(index)?;
                at.and_then(|at| list.get(at)).ok_or_else(|| {
                    ExecutionError::IndexOutOfBounds(index.try_into().unwrap_or(cel::Value::Null))
                })?
            }
            Source::Map(map) => {
                let key =
                    index.downcast_ref::<CelString<'_>>().ok_or_else(|| not_an_index(index, "map key"))?;
                map.get(key.inner()).ok_or_else(|| ExecutionError::no_such_key(key.inner()))?
            }
        };
        Ok(CowVal::Owned(value(found)))
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        Ok(self.get(index)?.into_owned())
    }
}

/// Whether a map could have such a key, though none of JSON has.
fn is_key(value: &dyn Val) -> bool {
    matches!(value.get_type().kind(), Kind::Boolean | Kind::Double | Kind::Int | Kind::UInt)
}

/// The position that an index stands for; none where it cannot stand for one of this machine's.
fn position(index: &dyn Val) -> Result<Option<usize>, ExecutionError> {
    if let Some(index) = index.downcast_ref::<CelInt>() {
        Ok(usize::try_from(*index.inner()).ok())
    } else if let Some(index) = index.downcast_ref::<CelUInt>() {
        Ok(usize::try_from(*index.inner()).ok())
    } else {
        Err(not_an_index(index, "int"))
    }
}

fn not_an_index(index: &dyn Val, want: &str) -> ExecutionError {
    ExecutionError::UnexpectedType { got: index.get_type().name().to_owned(), want: want.to_owned() }
}

impl<'v> Iterable for Many<'v> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        let elements = self.elements.get_or_init(|| match self.source {
            Source::List(list) => list.iter().map(Element::new).collect(),
            Source::Map(map) => map.keys().map(|key| Element::Text(key.as_str().into())).collect(),
        });
        Box::new(Walk(elements.iter()))
    }
}

struct Walk<'b, 'v>(std::slice::Iter<'b, Element<'v>>);

impl<'b, 'v: 'w, 'w> Iterator<'b, 'w> for Walk<'b, 'v> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        let element: &'b Element<'v> = self.0.next()?;
        Some(element.get())
    }
}
