use std::sync::{Arc, LazyLock};

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        traits::Iterable,
        types::{CelBool, CelBytes, CelInt, CelList, CelOptional, CelString, DYN_TYPE, Kind},
        value::{CowVal, FromVal, Val},
    },
};

use super::{
    fuel::{BYTES_MADE, BYTES_READ, ELEMENT, Fuel, text, weight},
    pattern::Pattern,
    time,
};

pub(super) type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
pub(super) type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

// Functions that the compiler writes into an expression. No author can: "@" begins no name.
pub(super) const ADD: &str = "@add";
pub(super) const EQUALS: &str = "@equals";
pub(super) const IN: &str = "@in";
pub(super) const LOOP: &str = "@loop";
pub(super) const MATCHES: &str = "@matches";
pub(super) const OUTCOME: &str = "@outcome";
pub(super) const WEIGH: &str = "@weigh";

/// How deep two values are compared. JSON is 128 deep at most, and what an expression makes of it not much
/// deeper.
const DEPTH_LIMIT: usize = 256;

/// The functions and operators that there are, besides those of [`cel`] that cost the same whatever their
/// arguments are.
///
/// Those of the compiler are told the fuel as their last argument; all but [`OUTCOME`].
pub(super) fn env() -> Arc<Env> {
    static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        // OK because no two overloads have the same name
        time::extension(&mut env).and_then(|()| extension(&mut env)).unwrap();
        Arc::new(env)
    });
    ENV.clone()
}

fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let mut add = |name: &str, arguments: usize, function| {
        let types = std::iter::repeat_with(|| DYN_TYPE).take(arguments + 1).collect();
        env.add_overload(name, &format!("{name}{arguments}"), types, function)
    };
    add(ADD, 2, plus)?;
    add(EQUALS, 2, |args| Ok(bool(equal(&*args[0], &*args[1], Some(fuel(&args)?))?)))?;
    add(IN, 2, contains)?;
    add(LOOP, 2, iterate)?;
    add(MATCHES, 2, matches)?;
    add(OUTCOME, 0, outcome)?;
    add(WEIGH, 1, |args| pay(args, |args| weight(&*args[0])))?;
    add("@lowerAscii", 1, |args| change(&args, "lowerAscii", str::to_ascii_lowercase))?;
    add("@upperAscii", 1, |args| change(&args, "upperAscii", str::to_ascii_uppercase))?;
    add("@trim", 1, |args| change(&args, "trim", |text| text.trim().to_owned()))?;
    add("@indexOf", 2, index_of)?;
    add("@join", 1, join)?;
    add("@join", 2, join)?;
    add("@replace", 3, replace)?;
    add("@split", 2, split)?;
    add("@substring", 2, substring)?;
    add("@substring", 3, substring)
}

/// The error of a function that says itself what is wrong.
pub(super) fn failed(problem: &str) -> ExecutionError {
    ExecutionError::InternalError(problem.to_owned())
}

/// The error of a function that is not there for values of these types.
pub(super) fn no_overload<'a>(
    function: &str,
    values: impl IntoIterator<Item = &'a dyn Val>,
) -> ExecutionError {
    let types = values.into_iter().map(|value| value.get_type().name().to_owned()).collect();
    ExecutionError::no_such_overload(function, types)
}

/// The argument `at`, which must be a `T`.
pub(super) fn argument<'a, 'b, 'v, T: FromVal<'a, 'v>>(
    args: &'a [CowVal<'b, 'v>],
    at: usize,
    function: &str,
) -> Result<&'a T, ExecutionError> {
    let found = args.get(at).ok_or_else(ExecutionError::missing_argument_or_target)?;
    found.downcast_ref::<T>().ok_or_else(|| no_overload(function, [&**found]))
}

fn fuel<'a>(args: &'a [CowVal<'_, '_>]) -> Result<&'a Fuel, ExecutionError> {
    argument::<Fuel>(args, args.len().saturating_sub(1), "fuel")
}

fn string<'a>(args: &'a [CowVal<'_, '_>], at: usize, function: &str) -> Result<&'a str, ExecutionError> {
    let text: &CelString<'_> = argument(args, at, function)?;
    Ok(text.inner())
}

fn bool<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

fn new_string<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn new_list<'b, 'v>(elements: Vec<Box<dyn Val + 'v>>) -> CowVal<'b, 'v> {
    CowVal::owned(CelList::from(elements))
}

/// Hands its first argument on, once it is paid for.
fn pay<'b, 'v>(mut args: Args<'b, 'v>, price: fn(&Args<'b, 'v>) -> u64) -> Outcome<'b, 'v> {
    fuel(&args)?.burn(price(&args))?;
    Ok(args.swap_remove(0))
}

/// What the whole expression gives: true or false, or else the name of its type. So no other value, which may
/// be large, is handed out.
fn outcome<'b, 'v>(mut args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let value = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let is_truth = value.downcast_ref::<CelBool>().is_some();
    Ok(if is_truth { value } else { new_string(value.get_type().name().to_owned()) })
}

/// The range of a loop: pays for all its turns before the first.
fn iterate<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    pay(args, |args| {
        let turn = args[1].downcast_ref::<CelInt>().map_or(u64::MAX, |turn| turn.unsigned_abs());
        turn.saturating_mul(length(&*args[0])).saturating_add(weight(&*args[0]))
    })
}

/// How many elements or entries there are; none where it is neither list nor map.
fn length(value: &dyn Val) -> u64 {
    value.as_sizer().map_or(0, |sizer| sizer.size().unsigned_abs())
}

fn plus<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let (left, right, fuel) = (&*args[0], &*args[1], fuel(&args)?);
    match (left.get_type().kind(), right.get_type().kind()) {
        (Kind::String, Kind::String) => {
            let (left, right) = (string(&args, 0, "_+_")?, string(&args, 1, "_+_")?);
            fuel.burn(text(left.len() + right.len(), BYTES_MADE))?;
            Ok(new_string([left, right].concat()))
        }
        (Kind::List, Kind::List) => {
            let mut elements = Vec::new();
            for list in [left, right] {
                fuel.burn(ELEMENT * length(list) + weight(list))?;
                walk(list, "_+_", |element| {
                    elements.push(element.clone_as_boxed());
                    Ok(true)
                })?;
            }
            Ok(new_list(elements))
        }
        _ => {
            fuel.burn(weight(left) + weight(right))?;
            let adder = left.as_adder().ok_or_else(|| no_overload("_+_", [left, right]))?;
            match adder.add(right) {
                Ok(sum) => Ok(CowVal::Owned(sum.into_owned())),
                Err(ExecutionError::UnsupportedBinaryOperator(..)) => Err(no_overload("_+_", [left, right])),
                Err(error) => Err(error),
            }
        }
    }
}

/// Shows the elements of a list, or the keys of a map, until `see` has seen enough. To be paid for before.
fn walk<'b, 'v>(
    value: &'b (dyn Val + 'v),
    function: &str,
    mut see: impl FnMut(&'b (dyn Val + 'v)) -> Result<bool, ExecutionError>,
) -> Result<(), ExecutionError> {
    let all: &(dyn Iterable + 'v) = value.as_iterable().ok_or_else(|| no_overload(function, [value]))?;
    let mut elements = all.iter();
    while let Some(element) = elements.next() {
        if !see(element)? {
            break;
        }
    }
    Ok(())
}

/// Whether two values are equal: lists and maps by what is in them, whoever made them, all else as [`cel`]
/// has it. Without `fuel` nobody pays.
pub(super) fn equal(left: &dyn Val, right: &dyn Val, fuel: Option<&Fuel>) -> Result<bool, ExecutionError> {
    equal_within(left, right, fuel, DEPTH_LIMIT)
}

fn equal_within(
    left: &dyn Val,
    right: &dyn Val,
    fuel: Option<&Fuel>,
    depth: usize,
) -> Result<bool, ExecutionError> {
    let depth =
        depth.checked_sub(1).ok_or_else(|| failed("the values are nested too deep to be compared"))?;
    let burn = |steps| fuel.map_or(Ok(()), |fuel| fuel.burn(steps));
    match (left.get_type().kind(), right.get_type().kind()) {
        (Kind::List, Kind::List) => {
            if length(left) != length(right) {
                return Ok(false);
            }
            burn(1 + 2 * length(left))?;
            let (Some(left), Some(right)) = (left.as_iterable(), right.as_iterable()) else {
                return Ok(false);
            };
            let (mut left, mut right) = (left.iter(), right.iter());
            while let (Some(left), Some(right)) = (left.next(), right.next()) {
                if !equal_within(left, right, fuel, depth)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::Map, Kind::Map) => {
            if length(left) != length(right) {
                return Ok(false);
            }
            burn(1 + 4 * length(left))?;
            let (Some(values), Some(others)) = (left.as_indexer(), right.as_indexer()) else {
                return Ok(false);
            };
            let mut same = true;
            walk(left, "_==_", |key| {
                burn(weight(key))?;
                same = match (values.get(key), others.get(key)) {
                    (Ok(value), Ok(other)) => equal_within(&*value, &*other, fuel, depth)?,
                    _ => false,
                };
                Ok(same)
            })?;
            Ok(same)
        }
        // Not left to the values: a list of the statement would ask us again
        (Kind::List | Kind::Map, _) | (_, Kind::List | Kind::Map) => Ok(false),
        _ => match (left.downcast_ref::<CelOptional<'_>>(), right.downcast_ref::<CelOptional<'_>>()) {
            (Some(left), Some(right)) => match (left.option(), right.option()) {
                (Some(left), Some(right)) => equal_within(left, right, fuel, depth),
                (left, right) => Ok(left.is_none() && right.is_none()),
            },
            _ => {
                burn(text(bytes(left).min(bytes(right)), BYTES_READ))?;
                Ok(left.equals(right))
            }
        },
    }
}

/// How many bytes there are to compare.
fn bytes(value: &dyn Val) -> usize {
    match (value.downcast_ref::<CelString<'_>>(), value.downcast_ref::<CelBytes<'_>>()) {
        (Some(text), _) => text.len(),
        (None, Some(bytes)) => bytes.len(),
        (None, None) => 0,
    }
}

fn contains<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let (value, all, fuel) = (&*args[0], &*args[1], fuel(&args)?);
    fuel.burn(weight(value))?;
    if all.get_type().kind() != Kind::List {
        let keys = all.as_container().ok_or_else(|| no_overload("@in", [value, all]))?;
        return keys.contains(value).map(bool).map_err(|_| no_overload("@in", [value, all]));
    }
    fuel.burn(length(all))?;
    let mut found = false;
    walk(all, "@in", |element| {
        found = equal(element, value, Some(fuel))?;
        Ok(!found)
    })?;
    Ok(bool(found))
}

fn matches<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let text = string(&args, 0, "matches")?;
    let pattern: &Pattern = argument(&args, 1, "matches")?;
    fuel(&args)?.burn(pattern.cost(text))?;
    Ok(bool(pattern.is_match(text)))
}

fn change<'b, 'v>(args: &Args<'b, 'v>, function: &str, change: fn(&str) -> String) -> Outcome<'b, 'v> {
    let old = string(args, 0, function)?;
    fuel(args)?.burn(text(old.len(), BYTES_MADE))?;
    Ok(new_string(change(old)))
}

/// The position of the first of some code points; -1 where they are not there.
fn index_of<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let (all, part) = (string(&args, 0, "indexOf")?, string(&args, 1, "indexOf")?);
    fuel(&args)?.burn(text(2 * all.len() + part.len(), BYTES_READ))?;
    let position = all.find(part).map(|at| all[..at].chars().count());
    Ok(CowVal::owned(CelInt::from(position.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))))
}

fn join<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let between = if args.len() == 3 { string(&args, 1, "join")? } else { "" };
    let fuel = fuel(&args)?;
    let list = &*args[0];
    if list.get_type().kind() != Kind::List {
        return Err(no_overload("join", [list]));
    }
    fuel.burn(ELEMENT * length(list))?;
    let mut parts = Vec::new();
    walk(list, "join", |part| {
        let part: &CelString<'_> = part.downcast_ref().ok_or_else(|| no_overload("join", [part]))?;
        fuel.burn(text(part.len() + between.len(), BYTES_MADE))?;
        parts.push(part.inner());
        Ok(true)
    })?;
    Ok(new_string(parts.join(between)))
}

fn replace<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let [all, old, new] = [0, 1, 2].map(|at| string(&args, at, "replace"));
    let (all, old, new, fuel) = (all?, old?, new?, fuel(&args)?);
    fuel.burn(text(all.len() + old.len(), BYTES_READ))?;
    let made = all.matches(old).count().saturating_mul(new.len()).saturating_add(all.len());
    fuel.burn(text(made, BYTES_MADE))?;
    Ok(new_string(all.replace(old, new)))
}

fn split<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let (all, between, fuel) = (string(&args, 0, "split")?, string(&args, 1, "split")?, fuel(&args)?);
    if between.is_empty() {
        return Err(failed("split takes the text that stands between the parts"));
    }
    fuel.burn(text(all.len() + between.len(), BYTES_READ))?;
    fuel.burn(ELEMENT * (1 + all.matches(between).count() as u64) + text(all.len(), BYTES_MADE))?;
    let part = |part: &str| -> Box<dyn Val + 'v> { Box::new(CelString::from(part.to_owned())) };
    Ok(new_list(all.split(between).map(part).collect()))
}

/// The code points from one position, up to another or the end.
fn substring<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let all = string(&args, 0, "substring")?;
    fuel(&args)?.burn(text(all.len(), BYTES_MADE))?;
    let position = |at| {
        let index: &CelInt = argument(&args, at, "substring")?;
        let bytes = usize::try_from(*index.inner())
            .ok()
            .and_then(|index| all.char_indices().map(|(at, _)| at).chain([all.len()]).nth(index));
        bytes.ok_or_else(|| failed("substring: the text is not that long"))
    };
    let start = position(1)?;
    let end = if args.len() == 4 { position(2)? } else { all.len() };
    match all.get(start..end) {
        Some(part) => Ok(new_string(part.to_owned())),
        None => Err(failed("substring: the end stands before the start")),
    }
}
