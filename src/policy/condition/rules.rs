use std::ops::RangeInclusive;

/// A function that an author may call.
pub(super) struct Rule {
    pub(super) name: &'static str,
    /// How it is written, for messages.
    pub(super) usage: &'static str,
    style: Style,
    /// How many arguments it takes besides its target.
    pub(super) arguments: RangeInclusive<usize>,
    pub(super) reads: Reads,
    /// Whether what it gives takes a few bytes.
    pub(super) small: bool,
    /// The function that stands for it, pays for itself, and takes the target as its first argument.
    pub(super) paid: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Global,
    Member,
    Optional,
}

/// What a function that does not pay for itself does with its arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reads {
    /// Reads or copies all of them.
    All,
    /// Hands them on.
    Nothing,
}

/// What the functions are called behind: `optional.of(x)`.
pub(super) const OPTIONAL: &str = "optional";

/// Types, as `type(x)` gives them.
pub(super) const TYPES: &[&str] =
    &["bool", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

const fn rule(
    style: Style,
    name: &'static str,
    usage: &'static str,
    arguments: RangeInclusive<usize>,
    reads: Reads,
    small: bool,
) -> Rule {
    Rule { name, usage, style, arguments, reads, small, paid: None }
}

const fn global(name: &'static str, usage: &'static str) -> Rule {
    rule(Style::Global, name, usage, 1..=1, Reads::All, true)
}

const fn question(name: &'static str, usage: &'static str) -> Rule {
    rule(Style::Member, name, usage, 1..=1, Reads::All, true)
}

const fn part(name: &'static str, usage: &'static str) -> Rule {
    rule(Style::Member, name, usage, 0..=0, Reads::All, true)
}

const fn paid(
    name: &'static str,
    usage: &'static str,
    arguments: RangeInclusive<usize>,
    paid: &'static str,
) -> Rule {
    Rule { name, usage, style: Style::Member, arguments, reads: Reads::All, small: false, paid: Some(paid) }
}

const RULES: &[Rule] = &[
    global("bool", "bool(x)"),
    global("double", "double(x)"),
    global("duration", "duration('72h')"),
    global("int", "int(x)"),
    global("size", "size(x)"),
    global("timestamp", "timestamp('2026-11-24T00:00:00Z')"),
    global("type", "type(x)"),
    global("uint", "uint(x)"),
    rule(Style::Global, "string", "string(x)", 1..=1, Reads::All, false),
    rule(Style::Global, "dyn", "dyn(x)", 1..=1, Reads::Nothing, false),
    Rule {
        paid: Some("@matches"),
        ..rule(Style::Global, "matches", "matches(text, 'pattern')", 2..=2, Reads::All, true)
    },
    question("contains", "text.contains(part)"),
    question("endsWith", "text.endsWith(end)"),
    Rule { paid: Some("@matches"), ..question("matches", "text.matches('pattern')") },
    question("startsWith", "text.startsWith(start)"),
    part("size", "x.size()"),
    part("getDate", "time.getDate()"),
    part("getDayOfMonth", "time.getDayOfMonth()"),
    part("getDayOfWeek", "time.getDayOfWeek()"),
    part("getDayOfYear", "time.getDayOfYear()"),
    part("getFullYear", "time.getFullYear()"),
    part("getHours", "time.getHours()"),
    part("getMilliseconds", "time.getMilliseconds()"),
    part("getMinutes", "time.getMinutes()"),
    part("getMonth", "time.getMonth()"),
    part("getSeconds", "time.getSeconds()"),
    paid("indexOf", "text.indexOf(part)", 1..=1, "@indexOf"),
    paid("join", "list.join(between)", 0..=1, "@join"),
    paid("lowerAscii", "text.lowerAscii()", 0..=0, "@lowerAscii"),
    paid("replace", "text.replace(old, new)", 2..=2, "@replace"),
    paid("split", "text.split(between)", 1..=1, "@split"),
    paid("substring", "text.substring(start, end)", 1..=2, "@substring"),
    paid("trim", "text.trim()", 0..=0, "@trim"),
    paid("upperAscii", "text.upperAscii()", 0..=0, "@upperAscii"),
    rule(Style::Member, "hasValue", "optional.hasValue()", 0..=0, Reads::Nothing, true),
    rule(Style::Member, "or", "optional.or(other)", 1..=1, Reads::Nothing, false),
    rule(Style::Member, "orValue", "optional.orValue(x)", 1..=1, Reads::Nothing, false),
    rule(Style::Member, "value", "optional.value()", 0..=0, Reads::Nothing, false),
    rule(Style::Optional, "none", "optional.none()", 0..=0, Reads::Nothing, true),
    rule(Style::Optional, "of", "optional.of(x)", 1..=1, Reads::Nothing, false),
    rule(Style::Optional, "ofNonZeroValue", "optional.ofNonZeroValue(x)", 1..=1, Reads::Nothing, false),
];

const MACROS: &[(&str, &str)] = &[
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("existsOne", "list.existsOne(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("filter", "list.filter(x, condition)"),
    ("has", "has(x.field)"),
    ("map", "list.map(x, value)"),
];

/// The function of this name that is called on a target, or on none, or in the namespace `optional`.
pub(super) fn find(name: &str, on_target: bool, optional: bool) -> Option<&'static Rule> {
    let style = match (on_target, optional) {
        (true, true) => Style::Optional,
        (true, false) => Style::Member,
        (false, _) => Style::Global,
    };
    RULES.iter().find(|rule| rule.name == name && rule.style == style)
}

/// How something of this name is written, where it is known but written differently.
pub(super) fn hint(name: &str) -> Option<&'static str> {
    let functions = RULES.iter().map(|rule| (rule.name, rule.usage));
    functions.chain(MACROS.iter().copied()).find(|(known, _)| *known == name).map(|(_, usage)| usage)
}

/// Whether a variable of this name would be taken for something else.
pub(super) fn is_reserved(name: &str) -> bool {
    name == OPTIONAL || TYPES.contains(&name)
}

/// Every name of a function, and how it is written.
#[cfg(test)]
pub(super) fn usages() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.usage).chain(MACROS.iter().map(|(_, usage)| *usage)).collect()
}
