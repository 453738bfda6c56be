//! What the laws are tried on.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

pub(super) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        (-3_i64..10).prop_map(|value| json!(value)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(1.5)),
        "[a-cäx ,]{0,4}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(3, 24, 4, |inside| {
        prop_oneof![
            vec(inside.clone(), 0..4).prop_map(Value::Array),
            vec((select(vec!["a", "b", "c"]), inside), 0..4)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// A predicate that the expressions of [`Grammar::truth`] are about, in which now and then something is
/// missing or of another type.
pub(super) fn predicate() -> impl Strategy<Value = Value> {
    let list = vec(-1_i64..6, 0..4);
    let texts = vec("[a-cäx ,]{0,4}", 0..4);
    let right = (any::<bool>(), -3_i64..10, "[a-cäx ,]{0,6}", list, texts).prop_map(
        |(yes, int, text, list, texts)| json!({"yes": yes, "int": int, "text": text, "list": list, "texts": texts}),
    );
    (right, prop::option::weighted(0.2, (select(vec!["yes", "int", "text", "list", "texts"]), json_value())))
        .prop_map(|(mut predicate, damage)| {
            match damage {
                Some((field, Value::Null)) => drop(predicate.as_object_mut().unwrap().remove(field)),
                Some((field, value)) => predicate[field] = value,
                None => {}
            }
            predicate
        })
}

/// Expressions by their types, so that most of them are true or false. `x` is a number, `y` a text.
///
/// Without `own`, only those that the library has too.
#[derive(Clone)]
struct Grammar {
    truth: BoxedStrategy<String>,
    int: BoxedStrategy<String>,
    text: BoxedStrategy<String>,
    ints: BoxedStrategy<String>,
    texts: BoxedStrategy<String>,
}

impl Grammar {
    fn new(depth: usize, own: bool) -> Self {
        let leaves = |leaves: &[&'static str]| select(leaves.to_vec()).prop_map(str::to_owned).boxed();
        let mut grammar = Self {
            truth: leaves(&["true", "false", "predicate.yes", "has(predicate.int)", "x == 1", "y == 'a'"]),
            int: leaves(&[
                "0",
                "1",
                "-2",
                "x",
                "predicate.int",
                "predicate.list[0]",
                "predicate.?nothing.orValue(3)",
            ]),
            text: leaves(&[
                "'a'",
                "'ä,x'",
                "y",
                "predicate.text",
                "predicate.texts[0]",
                "predicate.?text.orValue('')",
            ]),
            ints: leaves(&["[]", "[1, 2]", "[x]", "predicate.list", "statement.predicate.list"]),
            texts: leaves(&["['a', 'b']", "[y]", "predicate.texts", "predicate.?texts.orValue([])"]),
        };
        for _ in 0..depth {
            grammar = grammar.deeper(own);
        }
        grammar
    }

    fn deeper(&self, own: bool) -> Self {
        let Self { truth, int, text, ints, texts } = self;
        // The next part takes the place of the next "_": no part has one in itself
        let forms = |forms: &[&'static str], parts: Vec<BoxedStrategy<String>>| {
            let fill = |form: String, part: &String| form.replacen('_', part, 1);
            (select(forms.to_vec()), parts)
                .prop_map(move |(form, parts)| parts.iter().fold(form.to_owned(), fill))
                .boxed()
        };
        let of =
            |part: &BoxedStrategy<String>, more: &[&BoxedStrategy<String>]| -> Vec<BoxedStrategy<String>> {
                std::iter::once(part).chain(more.iter().copied()).cloned().collect()
            };
        let ours = |forms: BoxedStrategy<String>, other: &BoxedStrategy<String>| {
            if own { forms } else { other.clone() }
        };
        Self {
            truth: prop_oneof![
                truth.clone(),
                forms(&["(_ == _)", "(_ != _)", "(_ < _)", "(_ >= _)"], of(int, &[int])),
                forms(
                    &[
                        "(_ == _)",
                        "(_ != _)",
                        "(_ <= _)",
                        "_.contains(_)",
                        "_.startsWith(_)",
                        "_.endsWith(_)"
                    ],
                    of(text, &[text])
                ),
                forms(&["(_ == _)", "(_ != _)"], of(ints, &[ints])),
                forms(&["(_ == _)", "(_ != _)"], of(texts, &[texts])),
                forms(&["(_ in _)"], of(int, &[ints])),
                forms(&["(_ in _)"], of(text, &[texts])),
                forms(&["(_ in [[_]])", "(_ == [_])"], of(ints, &[int])),
                forms(&["(_ && _)", "(_ || _)", "(_ ? _ : true)"], of(truth, &[truth])),
                forms(&["!(_)"], of(truth, &[])),
                forms(&["_.all(x, _)", "_.exists(x, _)", "_.existsOne(x, _)"], of(ints, &[truth])),
                forms(&["_.all(y, _)", "_.exists(y, _)", "_.existsOne(y, _)"], of(texts, &[truth])),
                ours(
                    forms(
                        &[
                            "_.matches('^[a-c]+$')",
                            "(_.trim() == y)",
                            "(_.split(',') == [y])",
                            "(_.indexOf('a') == x)"
                        ],
                        of(text, &[])
                    ),
                    truth
                ),
            ]
            .boxed(),
            int: prop_oneof![
                int.clone(),
                forms(&["(_ + _)", "(_ - _)", "(_ * _)", "(_ / _)", "(_ % _)"], of(int, &[int])),
                forms(&["size(_)", "_.size()"], of(ints, &[])),
                forms(&["size(_)", "_.size()"], of(text, &[])),
                forms(&["(_ ? _ : x)"], of(truth, &[int])),
                forms(&["_[_]", "_[?_].orValue(7)"], of(ints, &[int])),
                forms(
                    &["-(_)", "int(string(_))", "{'a': _}.a", "optional.of(_).value()", "dyn(_)"],
                    of(int, &[])
                ),
            ]
            .boxed(),
            text: prop_oneof![
                text.clone(),
                forms(&["(_ + _)"], of(text, &[text])),
                forms(&["string(_)"], of(int, &[])),
                forms(&["(_ ? _ : y)"], of(truth, &[text])),
                forms(&["_[_]"], of(texts, &[int])),
                ours(
                    forms(
                        &["_.upperAscii()", "_.replace('a', 'bb')", "_.substring(1)", "_.trim()"],
                        of(text, &[])
                    ),
                    text
                ),
            ]
            .boxed(),
            ints: prop_oneof![
                ints.clone(),
                forms(&["(_ + _)"], of(ints, &[ints])),
                forms(&["[_, _]"], of(int, &[int])),
                forms(&["_.map(x, _)"], of(ints, &[int])),
                forms(&["_.map(y, _)"], of(texts, &[int])),
                forms(&["_.filter(x, _)"], of(ints, &[truth])),
                forms(&["_.map(x, _, x + 1)"], of(ints, &[truth])),
            ]
            .boxed(),
            texts: prop_oneof![
                texts.clone(),
                forms(&["(_ + _)"], of(texts, &[texts])),
                forms(&["[_, _]"], of(text, &[text])),
                forms(&["_.map(y, _)"], of(texts, &[text])),
                forms(&["_.map(x, _)"], of(ints, &[text])),
                forms(&["_.filter(y, _)"], of(texts, &[truth])),
            ]
            .boxed(),
        }
    }
}

/// Whole expressions, in which every `x` and `y` is bound.
pub(super) fn expression(own: bool) -> impl Strategy<Value = String> {
    Grammar::new(3, own).truth.prop_map(|truth| format!("[1].all(x, ['a'].all(y, {truth}))"))
}

/// Expressions without regard for types: many compile, few make sense.
pub(super) fn nonsense() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "predicate",
        "predicate.text",
        "predicate.list",
        "statement",
        "image",
        "now",
        "x",
        "1",
        "3u",
        "1.5",
        "'a'",
        "''",
        "true",
        "null",
        "[]",
        "{}",
        "int",
        "duration('1h')",
        "timestamp('2026-11-24T00:00:00Z')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 2, |inside| {
        let one = select(vec![
            "!(#)",
            "-(#)",
            "size(#)",
            "string(#)",
            "int(#)",
            "type(#)",
            "[#]",
            "has((#).a)",
            "optional.of(#)",
            "(#).a",
            "(#).size()",
            "(#).?a",
            "(#).hasValue()",
            "(#).value()",
            "(#)[0]",
            "(#)[?0]",
            "(#)['a']",
            "(#).contains('a')",
            "(#).matches('^a')",
            "(#).split(',')",
            "(#).join('-')",
            "(#).trim()",
            "(#).substring(1)",
            "(#).indexOf('a')",
            "timestamp(#)",
            "duration(#)",
            "(#).getHours()",
            "(#).or(optional.none())",
            "[?#]",
            "{'a': #}",
            "{#: 1}",
        ]);
        let two = select(vec![
            "(# + #)",
            "(# - #)",
            "(# * #)",
            "(# / #)",
            "(# % #)",
            "(# == #)",
            "(# != #)",
            "(# < #)",
            "(# >= #)",
            "(# && #)",
            "(# || #)",
            "(# in #)",
            "(#)[#]",
            "(#).orValue(#)",
            "(#).all(x, #)",
            "(#).exists(x, #)",
            "(#).exists_one(x, #)",
            "(#).filter(x, #)",
            "(#).map(x, #)",
            "(#).map(x, #, x)",
            "(# ? # : 1)",
            "(#).replace(#, 'aa')",
        ]);
        prop_oneof![
            (one, inside.clone()).prop_map(|(form, a)| form.replacen('#', &a, 1)),
            (two, inside.clone(), inside).prop_map(|(form, a, b)| {
                let (before, behind) = form.split_at(form.rfind('#').unwrap());
                format!("{}{b}{}", before.replacen('#', &a, 1), &behind[1..])
            }),
        ]
    })
    .prop_map(|expression| format!("[predicate, 1].all(x, {expression})"))
}

/// Everything out of which CEL is made, in any order.
pub(super) fn rubbish() -> impl Strategy<Value = String> {
    let tokens = vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        "?",
        ".?",
        "[?",
        ":",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        ">=",
        " in ",
        "=",
        "&",
        "predicate",
        "now",
        "image",
        "x",
        "1",
        "0u",
        "1.5",
        "1e400",
        "9223372036854775808",
        "0xffffffffffffffffff",
        "'a'",
        "\"b\"",
        "'''",
        "\"\"\"",
        "'",
        "\"",
        "b'a'",
        "r'\\'",
        "'\\u12'",
        "'\\ud800'",
        "'\\U00110000'",
        "'\\400'",
        "'\\x'",
        "'\\",
        "true",
        "null",
        "has(",
        ".all(x,",
        ".map(x,",
        "size(",
        "optional.none()",
        ".matches('",
        "é",
        "🦀",
        "\0",
        "\n",
        "//",
        "`a b`",
        "@result",
        "@fuel",
        "#",
        "$",
        ";",
        "\u{2028}",
        "int",
        "timestamp(",
        "duration(",
    ];
    prop_oneof![any::<String>(), "[ -~]{0,80}", vec(select(tokens), 0..40).prop_map(|tokens| tokens.concat()),]
}
