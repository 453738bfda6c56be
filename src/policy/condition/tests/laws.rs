//! What holds for every expression and every attestation.

use cel::{
    Context, Env, IdedExpr, Value as CelValue,
    common::{
        ast::{CallExpr, EntryExpr, Expr},
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString, CelUInt,
        },
        value::Val,
    },
    parser::PrattParser,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::policy::condition::fuel::{BYTES_MADE, STEPS};

/// What the other parser, and the evaluator without our meter, have room enough in, unoptimised.
fn on_a_large_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

fn json_value() -> impl Strategy<Value = Value> {
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
fn predicate() -> impl Strategy<Value = Value> {
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
fn expression(own: bool) -> impl Strategy<Value = String> {
    Grammar::new(3, own).truth.prop_map(|truth| format!("[1].all(x, ['a'].all(y, {truth}))"))
}

/// Expressions without regard for types: many compile, few make sense.
fn nonsense() -> impl Strategy<Value = String> {
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
fn rubbish() -> impl Strategy<Value = String> {
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

/// Compiles and evaluates, and says what must hold whatever is written.
fn judge(expression: &str, statement: &Value) -> Result<(), TestCaseError> {
    let condition = match Condition::compile(expression, None) {
        Ok(condition) => condition,
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.chars().count() < 500 && !message.contains(char::is_control), "{}", message);
            prop_assert_eq!(Condition::compile(expression, None).unwrap_err(), error);
            return Ok(());
        }
    };
    with_facts(statement, |facts| {
        let fuel = Fuel::new();
        let outcome = condition.evaluate(facts, &fuel);
        prop_assert_eq!(&outcome, &condition.clone().check(facts), "evaluated twice");
        match &outcome {
            Ok(()) | Err(ConditionFailure::False | ConditionFailure::NotABool { .. }) => {
                prop_assert!(fuel.burnt() <= STEPS);
            }
            Err(ConditionFailure::Failed(problem)) => {
                prop_assert!(!problem.is_empty() && !problem.contains(char::is_control), "{}", problem);
                prop_assert!(problem.chars().count() <= FAILURE_LIMIT + 10, "{}", problem);
            }
            Err(ConditionFailure::OverBudget) => prop_assert!(fuel.is_spent()),
        }
        // No expression and its opposite both pass, and neither passes where it cannot be decided
        if let Ok(opposite) = Condition::compile(&format!("!({expression})"), None) {
            let expected = match &outcome {
                Ok(()) => Some(Err(ConditionFailure::False)),
                Err(ConditionFailure::False) => Some(Ok(())),
                Err(_) => None,
            };
            let opposite = opposite.check(facts);
            match expected {
                Some(expected) => prop_assert_eq!(opposite, expected),
                None => prop_assert!(opposite.is_err()),
            }
        }
        if !condition.depends_on_time() {
            let later = Facts { now: "2031-01-01T00:00:00Z".parse().unwrap(), ..*facts };
            prop_assert_eq!(condition.check(&later), outcome);
        }
        Ok(())
    })
}

/// The bytes of the text that an evaluation made and that its value still holds, and the elements.
fn made(value: &dyn Val) -> (usize, usize) {
    let add =
        |(bytes, elements): (usize, usize), (more, others): (usize, usize)| (bytes + more, elements + others);
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        (if text.as_borrowed().is_some() { 0 } else { text.len() }, 0)
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().map(|element| made(element.as_ref())).fold((0, list.inner().len()), add)
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner()
            .iter()
            .map(|(key, value)| add(made(key.inner()), made(value.as_ref())))
            .fold((0, map.inner().len()), add)
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        optional.option().map_or((0, 0), made)
    } else {
        (0, 0)
    }
}

fn without_ids(mut node: IdedExpr) -> IdedExpr {
    let strip = |node: &mut IdedExpr| *node = without_ids(std::mem::take(node));
    node.id = 0;
    match &mut node.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| strip(target));
            call.args.iter_mut().for_each(strip);
        }
        Expr::Comprehension(all) => {
            for part in [
                &mut all.iter_range,
                &mut all.accu_init,
                &mut all.loop_cond,
                &mut all.loop_step,
                &mut all.result,
            ] {
                strip(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(strip),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                entry.id = 0;
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    strip(&mut entry.key);
                    strip(&mut entry.value);
                }
            }
        }
        Expr::Select(select) => strip(&mut select.operand),
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
    node
}

/// A JSON value as the library would have it: all of it copied.
fn copied(json: &Value) -> Box<dyn Val> {
    match json {
        Value::Array(list) => Box::new(CelList::from(list.iter().map(copied).collect::<Vec<_>>())),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Null => Box::new(CelNull),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Box::new(CelInt::from(value)),
            (None, Some(value)) => Box::new(CelUInt::from(value)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap())),
        },
        Value::Object(map) => {
            let entries =
                map.iter().map(|(key, value)| (CelMapKey::String(key.clone().into()), copied(value)));
            Box::new(CelMap::from(entries.collect::<std::collections::HashMap<_, _>>()))
        }
        Value::String(text) => Box::new(CelString::from(text.clone())),
    }
}

/// What the library makes of an expression by itself: its own parser, values that it copied, no meter.
fn unmetered(expression: &str, statement: &Value) -> Option<bool> {
    let env = std::sync::Arc::new(Env::stdlib());
    let ast = env.parser().parse(expression).unwrap();
    let mut context = Context::with_env(env);
    context.add_variable_as_val("statement", copied(statement));
    context.add_variable_as_val("predicate", copied(&statement["predicate"]));
    let value = CelValue::resolve_val(&ast, &context).ok()?;
    value.downcast_ref::<CelBool>().map(|value| *value.inner())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20000))]

    #[test]
    fn no_text_does_harm(expression in rubbish(), predicate in json_value()) {
        judge(&expression, &statement(predicate))?;
    }

    #[test]
    fn no_expression_does_harm(expression in prop_oneof![expression(true), nonsense()], predicate in predicate()) {
        judge(&expression, &statement(predicate))?;
    }

    /// The meter and the values that are not copied change no outcome.
    #[test]
    fn the_outcome_is_that_of_the_library(expression in expression(false), predicate in predicate()) {
        let statement = statement(predicate);
        let Ok(condition) = Condition::compile(&expression, None) else { return Ok(()) };
        let ours = match with_facts(&statement, |facts| condition.check(facts)) {
            Ok(()) => Some(true),
            Err(ConditionFailure::False) => Some(false),
            Err(ConditionFailure::OverBudget) => return Ok(()),
            Err(_) => None,
        };
        prop_assert_eq!(ours, on_a_large_stack(|| unmetered(&expression, &statement)), "{}", expression);
    }

    /// The parser that we use reads what the library's own parser reads.
    #[test]
    fn both_parsers_read_the_same(text in prop_oneof![expression(true), nonsense(), rubbish()]) {
        prop_assume!(text.chars().count() <= EXPRESSION_LIMIT);
        let ours = PrattParser::new().enable_optional_syntax(true).parse(&text).map(without_ids).ok();
        let theirs = on_a_large_stack(|| Env::stdlib().parser().parse(&text).map(without_ids).ok());
        prop_assert_eq!(ours, theirs);
    }

    /// Nothing is made that is not paid for.
    #[test]
    fn what_is_made_is_paid_for(
        expression in prop_oneof![
            expression(true),
            nonsense(),
            (select(vec!["'aaaaaaaa'", "['aaaaaaaa']", "predicate.texts"]), vec(select(vec![
                ".map(x, x + x)", ".map(x, [x, x])", ".map(x, {'a': x})", ".map(x, [[x]])", ".map(x, string(x))",
                ".map(x, x.upperAscii())", ".map(x, x.replace('a', 'aa'))", ".map(x, x.split('a'))", ".join('aa')",
                ".replace('a', 'aaaa')", ".split('a')", ".upperAscii()", ".substring(1)", ".filter(x, true)",
                ".map(x, optional.of(x))", ".map(x, predicate)", ".map(x, 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')",
            ]), 0..12)).prop_map(|(start, tails)| format!("{start}{}", tails.concat())),
        ],
    ) {
        let texts = vec!["aaaaaaaaaaaaaaaaaaaa"; 100];
        let statement = statement(json!({"yes": true, "int": 3, "text": texts[0], "list": [1, 2], "texts": texts}));
        let Ok(condition) = Condition::compile(&expression, None) else { return Ok(()) };
        let fuel = Fuel::new();
        let Expr::Call(CallExpr { args, .. }) = &condition.program.ast.expr else { panic!("a call") };
        let value = |context: &Context<'_, '_>| {
            CelValue::resolve_val(&args[0], context).map_or((0, 0), |value| made(&*value))
        };
        let made = on_a_large_stack(|| with_facts(&statement, |facts| condition.with_context(facts, &fuel, value)));
        if !fuel.is_spent() {
            let paid = usize::try_from(fuel.burnt()).unwrap();
            // Literals outside of loops are not paid for: they are not longer than the expression
            prop_assert!(made.0 <= paid * BYTES_MADE + EXPRESSION_LIMIT, "{:?} for {}", made, paid);
            prop_assert!(made.1 <= paid + EXPRESSION_LIMIT, "{:?} for {}", made, paid);
        }
    }
}

#[test]
fn the_grammar_makes_expressions_of_every_outcome() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let (mut compiled, mut passed, mut refused, mut failed) = (0, 0, 0, 0);
    let (expressions, predicates) = (expression(true), predicate());
    for _ in 0..500 {
        let expression = expressions.new_tree(&mut runner).unwrap().current();
        let predicate = predicates.new_tree(&mut runner).unwrap().current();
        if let Ok(condition) = Condition::compile(&expression, None) {
            compiled += 1;
            match with_facts(&statement(predicate), |facts| condition.check(facts)) {
                Ok(()) => passed += 1,
                Err(ConditionFailure::False) => refused += 1,
                Err(_) => failed += 1,
            }
        }
    }
    assert!(
        compiled > 400 && passed > 50 && refused > 50 && failed > 20,
        "of {compiled}: {passed} passed, {refused} are false, {failed} failed"
    );
}
