//! Expressions and attestations that mean harm. Never judged by the clock: by the steps, and by the stack of
//! a small thread.

use std::{fmt::Write as _, sync::LazyLock};

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::policy::condition::fuel::{STEPS, STEPS_TOGETHER};
use ConditionFailure::{Failed, OverBudget};

/// What is left of a thread's stack in the middle of a review, in bytes: a quarter of the usual.
const STACK: usize = 512 << 10;

fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

/// Lists and texts, each larger than its neighbour.
static LARGE: LazyLock<Value> = LazyLock::new(|| {
    let list: Vec<usize> = (0..100).collect();
    let long: Vec<usize> = (0..20_000).collect();
    statement(json!({
        "list": list,
        "long": long,
        "texts": vec!["a".repeat(1000); 1000],
        "text": "a".repeat(8_000_000),
        "bits": "0110100110010110".repeat(500_000),
        "commas": ",".repeat(1_000_000),
    }))
});

fn nested(macro_call: &str, depth: usize) -> String {
    let mut expression = "true".to_owned();
    for at in 0..depth {
        expression = format!("predicate.list.{macro_call}(v{at}, {expression})");
    }
    expression
}

/// Shapes that grow with `n`.
fn shape(kind: &str, n: usize) -> String {
    let around =
        |open: &str, inside: &str, close: &str| format!("{}{inside}{}", open.repeat(n), close.repeat(n));
    match kind {
        "sum" => vec!["1"; n].join("+"),
        "difference" => vec!["1"; n].join("-"),
        "comparison" => vec!["1"; n].join("=="),
        "membership" => vec!["1"; n].join(" in "),
        "and" => vec!["true"; n].join("&&"),
        "or" => vec!["true"; n].join("||"),
        "and and or" => format!("{}true", "true&&true||".repeat(n)),
        "fields" => format!("predicate{}", ".a".repeat(n)),
        "optional fields" => format!("predicate{}", ".?a".repeat(n)),
        "indexes" => format!("predicate{}", "[0]".repeat(n)),
        "calls" => format!("predicate{}", ".size()".repeat(n)),
        "conditionals" => format!("{}true", "true?true:".repeat(n)),
        "conditions of conditionals" => around("(", "true", "?true:true)"),
        "brackets" => around("(", "true", ")"),
        "lists" => around("[", "1", "]"),
        "maps" => around("{1:", "1", "}"),
        "arguments" => around("size(", "''", ")"),
        "indexes in indexes" => around("predicate[", "1", "]"),
        "messages" => around("A{a:", "1", "}"),
        "has" => around("has(", "predicate.a", ")"),
        "not" => format!("{}true", "!".repeat(n)),
        "minus" => format!("{}1", "- ".repeat(n)),
        "not and minus" => format!("{}1", "!-".repeat(n)),
        "not and brackets" => around("!(", "true", ")"),
        "sums in brackets" => around("1+(", "1", ")"),
        "maps of maps" => format!("[1]{}", ".map(x,x)".repeat(n)),
        "loops in loops" => around("[1].all(x,", "true", ")"),
        "loops over loops" => around("[1].filter(x,", "true", ").size()==1"),
        "open brackets" => "(".repeat(n),
        "open lists" => "[".repeat(n),
        "open maps" => "{1:".repeat(n),
        "open calls" => "size(".repeat(n),
        "open loops" => "[1].all(x,".repeat(n),
        "open conditionals" => "true?".repeat(n),
        "closed brackets" => ")".repeat(n),
        "elements" => format!("[{}1]", "1,".repeat(n)),
        "quotes" => "'".repeat(n),
        "backslashes" => format!("'{}'", "\\".repeat(n)),
        "dots" => ".".repeat(n),
        "commas" => ",".repeat(n),
        _ => panic!("{kind} is no shape"),
    }
}

#[rstest]
fn no_shape_of_expression_exhausts_a_small_stack(
    #[values(
        "sum",
        "difference",
        "comparison",
        "membership",
        "and",
        "or",
        "and and or",
        "fields",
        "optional fields",
        "indexes",
        "calls",
        "conditionals",
        "conditions of conditionals",
        "brackets",
        "lists",
        "maps",
        "arguments",
        "indexes in indexes",
        "messages",
        "has",
        "not",
        "minus",
        "not and minus",
        "not and brackets",
        "sums in brackets",
        "maps of maps",
        "loops in loops",
        "loops over loops",
        "open brackets",
        "open lists",
        "open maps",
        "open calls",
        "open loops",
        "open conditionals",
        "closed brackets",
        "elements",
        "quotes",
        "backslashes",
        "dots",
        "commas"
    )]
    kind: &'static str,
) {
    let sizes = (1..130).chain([200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 2040]);
    let (compiled, evaluated) = on_a_small_stack(move || {
        let (mut compiled, mut evaluated) = (0, 0);
        for size in sizes {
            let expression = shape(kind, size);
            if expression.len() > EXPRESSION_LIMIT {
                assert!(matches!(Condition::compile(&expression, None), Err(ConditionError::TooLong { .. })));
                break;
            }
            if let Ok(condition) = Condition::compile(&expression, None) {
                compiled += 1;
                let again = condition.clone();
                let outcome = with_facts(&statement(json!({"a": {"a": []}})), |facts| again.check(facts));
                evaluated += usize::from(outcome != Err(OverBudget));
            }
        }
        (compiled, evaluated)
    });
    assert_eq!(compiled, evaluated);
}

#[test]
fn a_deep_expression_is_refused_and_the_deepest_is_evaluated_on_a_small_stack() {
    let deepest = shape("sum", DEPTH_LIMIT);
    assert_eq!(
        Condition::compile(&shape("sum", DEPTH_LIMIT + 1), None).unwrap_err(),
        ConditionError::TooDeep
    );
    let outcome = on_a_small_stack(move || check(&deepest, &statement(json!(null))));
    assert_eq!(outcome, Err(ConditionFailure::NotABool { found: "int".to_owned() }));
    assert_eq!(Condition::compile(&shape("sum", 1000), None).unwrap_err(), ConditionError::TooDeep);
    let length = shape("sum", 5000).len();
    assert_eq!(
        Condition::compile(&shape("sum", 5000), None).unwrap_err(),
        ConditionError::TooLong { length }
    );
}

#[test]
fn many_conditions_in_a_row_are_not_deep() {
    let expression = vec!["predicate.a == 1"; 100].join(" && ");
    assert_eq!(on_a_small_stack(move || check(&expression, &statement(json!({"a": 1})))), Ok(()));
}

#[test]
fn the_limit_of_length_counts_characters_as_the_api_server_does() {
    let longest = format!("'{}' == ''", "ä".repeat(EXPRESSION_LIMIT - 8));
    assert_eq!(check(&longest, &statement(json!(null))), Err(ConditionFailure::False));
    let error = Condition::compile(&format!("{longest} "), None).unwrap_err();
    assert_eq!(error, ConditionError::TooLong { length: EXPRESSION_LIMIT + 1 });
    let error = Condition::compile("true", Some(&"ä".repeat(MESSAGE_LIMIT + 1))).unwrap_err();
    assert_eq!(error, ConditionError::MessageTooLong { length: MESSAGE_LIMIT + 1 });
    assert!(Condition::compile("true", Some(&"ä".repeat(MESSAGE_LIMIT))).is_ok());
}

/// A million turns and more, in forty characters.
#[rstest]
#[case("all", 2, Ok(()))]
#[case("all", 3, Err(OverBudget))]
#[case("exists", 1, Ok(()))]
#[case("filter", 3, Err(Failed("there is list where bool should be".to_owned())))]
fn nested_loops_end(
    #[case] call: &str,
    #[case] depth: usize,
    #[case] expected: Result<(), ConditionFailure>,
) {
    assert_eq!(check(&nested(call, depth), &LARGE), expected);
}

/// Or one policy with many conditions about many attestations would keep a processor busy for hours.
#[test]
fn the_conditions_of_one_judgement_share_their_steps() {
    let (dear, cheap) = (compile(&nested("all", 3)), compile("true"));
    with_facts(&LARGE, |facts| {
        let steps = Steps::default();
        for _ in 0..STEPS_TOGETHER / STEPS - 1 {
            assert_eq!(dear.check_within(facts, &steps), Err(OverBudget));
        }
        let two = compile(&nested("all", 2));
        let outcomes: Vec<_> = (0..1000).map(|_| two.check_within(facts, &steps)).collect();
        assert_eq!(outcomes.first(), Some(&Ok(())));
        assert_eq!(outcomes.last(), Some(&Err(ConditionFailure::OverTotal)));
        assert_eq!(cheap.check_within(facts, &steps), Err(ConditionFailure::OverTotal));
        assert_eq!(cheap.check(facts), Ok(()));
    });
}

#[test]
fn more_than_three_loops_in_one_another_are_refused() {
    assert!(Condition::compile(&nested("all", 3), None).is_ok());
    assert_eq!(Condition::compile(&nested("all", 4), None).unwrap_err(), ConditionError::TooManyLoops);
}

#[rstest]
// Text that doubles with each of 22 calls
#[case(format!("['xxxxxxxxxxxxxxxx']{}[0].size() > 0", ".map(x, x + x)".repeat(22)))]
#[case(format!("predicate.texts{}.size() > 0", ".map(x, x + x)".repeat(14)))]
// Lists and maps that double
#[case(format!("[1]{}.size() > 0", ".map(x, [x, x])".repeat(22)))]
#[case(format!("[[1]]{}.size() > 0", ".map(x, x + x)".repeat(22)))]
#[case(format!("[1]{}.size() > 0", ".map(x, {'a': x, 'b': x})".repeat(20)))]
#[case(format!("[[1]]{}.size() > 0", ".map(x, [x + x])".repeat(22)))]
// Growth by functions
#[case("predicate.long.map(x, predicate.text).join('').size() > 0")]
#[case("[predicate.texts.join(predicate.text)].size() > 0")]
#[case("predicate.commas.replace(',', predicate.texts[0]).size() > 0")]
#[case("predicate.commas.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa').size() > 0")]
#[case("predicate.commas.split(',').size() > 0")]
#[case("(predicate.text + predicate.text).size() > 0")]
#[case("predicate.text.upperAscii().size() > 0")]
#[case("predicate.list.map(x, predicate.text.substring(x)).size() > 0")]
#[case("predicate.long.map(x, predicate.long).map(l, l + l).size() > 0")]
// Copies: a long literal in each turn, an element that was made before, an optional
#[case(format!("predicate.long.map(x, '{}').size() > 0", "a".repeat(1900)))]
#[case("[predicate.long.map(x, [x])].map(l, predicate.list.map(y, l)).size() > 0")]
#[case("[predicate.long.map(x, [x])].exists(l, predicate.list.all(y, {'a': l}.?a.hasValue()))")]
#[case("[predicate.long.map(x, [x])].exists(l, predicate.list.all(y, optional.of(l).hasValue()))")]
// Reading the same again and again
#[case("predicate.long.all(x, !predicate.text.contains('b'))")]
#[case("predicate.long.all(x, predicate.text.size() == 8000000)")]
#[case("predicate.long.all(x, predicate.text == statement.predicate.text)")]
#[case("predicate.long.all(x, predicate.text <= predicate.text)")]
#[case("predicate.long.all(x, predicate.text.startsWith('a'))")]
#[case("predicate.long.all(x, !(predicate.text in {'a': 1}))")]
#[case("predicate.long.all(x, {predicate.text: 1}.size() == 1)")]
#[case("predicate.long.all(x, !([predicate.text, predicate.text] == [predicate.text, 'b']))")]
#[case("predicate.long.all(x, predicate == statement.predicate)")]
#[case("predicate.long.all(x, !(-1 in predicate.long))")]
#[case("predicate.long.all(x, predicate.text.indexOf('b') == -1)")]
#[case("predicate.long.all(x, predicate.long.exists(y, y == 0))")]
// Regular expressions at their worst
#[case("predicate.bits.matches('[01]*1[01]{30}$')")]
#[case("predicate.long.all(x, predicate.texts.all(t, t.matches('^(a?){30}a{30}')))")]
#[case(r"predicate.texts.all(t, t.matches(r'^\w+$'))")]
// Errors that carry what they are about, forgiven
#[case("predicate.long.all(x, predicate.text - 1 == 1 || true)")]
#[case("predicate.long.all(x, predicate.text + 1 == 1 || true)")]
#[case("predicate.long.all(x, predicate.text * 1 == 1 || true)")]
#[case("predicate.long.all(x, predicate.text > 1 || true)")]
#[case("predicate.long.all(x, -predicate.text == 1 || true)")]
#[case("predicate.long.all(x, int(predicate.text) == 1 || true)")]
#[case("predicate.long.all(x, timestamp(predicate.text) > now || true)")]
#[case("predicate.long.all(x, duration(predicate.text) > duration('1s') || true)")]
#[case("predicate.long.all(x, predicate[predicate.text] == 1 || true)")]
#[case("predicate.long.all(x, predicate.?list[?predicate.text].hasValue() || true)")]
#[case("[predicate.long.map(x, [x])].all(l, predicate.list.all(x, l[1.5] == 1 || true))")]
#[case("[predicate.long.map(x, [x])].all(l, predicate.list.all(x, l - 1 == 1 || true))")]
// That the fuel is spent is not forgiven either
#[case(format!("{} || true", nested("all", 3)))]
#[case(format!("true && !({} && false)", nested("all", 3)))]
#[case(format!("[{}].all(x, true) || true", nested("all", 3)))]
fn what_grows_or_repeats_ends(#[case] expression: impl Into<String>) {
    let expression = expression.into();
    assert_eq!(check(&expression, &LARGE), Err(OverBudget), "{expression}");
}

/// The counterpart: what policies ask of large attestations is within the bound.
#[test]
fn a_large_sbom_is_judged() {
    let package = |at: usize| {
        json!({
            "name": format!("package-{at}"), "licenseConcluded": "MIT OR Apache-2.0",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": format!("pkg:generic/package-{at}@1.0")}],
        })
    };
    let packages: Vec<Value> = (0..10_000).map(package).collect();
    let sbom = statement(json!({"packages": packages}));
    for (expression, share) in [
        ("!predicate.packages.exists(p, p.?licenseConcluded.orValue('').contains('AGPL'))", 3),
        ("predicate.packages.all(p, p.name.matches('^[a-z0-9-]+$'))", 3),
        (
            "predicate.packages.all(p, p.?externalRefs.orValue([]).exists(r, r.referenceLocator.startsWith('pkg:')))",
            1,
        ),
        ("predicate.packages.filter(p, p.name == 'package-7').size() == 1", 3),
        ("predicate.packages.map(p, p.name).size() == 10000", 3),
        ("'package-9999' in predicate.packages.map(p, p.name)", 3),
    ] {
        let (outcome, steps) = measure(expression, &sbom);
        assert_eq!(outcome, Ok(()), "{expression}");
        assert!(steps <= STEPS / share, "{expression}: {steps}");
        // A loop costs what it does: the bound is not met by leaving something out
        assert!(steps >= 10_000 * 5, "{expression}: {steps}");
    }
}

#[test]
fn what_is_not_looked_at_costs_nothing() {
    let mut predicate = json!({"a": 1, "huge": vec![vec!["x"; 100]; 1000], "text": "a".repeat(10_000_000)});
    let small = measure("predicate.a == 1", &statement(json!({"a": 1})));
    assert_eq!(small, measure("predicate.a == 1", &statement(predicate.take())));
    assert_eq!(small.0, Ok(()));
}

/// JSON is read 128 deep at most, but a value can be made deeper.
#[test]
fn a_deep_statement_is_compared_as_deep_as_json_goes() {
    let deep = |depth: usize, inside: &str| {
        let mut text = String::new();
        let _ = write!(text, "{}{inside}{}", "[".repeat(depth), "]".repeat(depth));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let same = statement(json!({"a": deep(120, "1"), "b": deep(120, "1"), "c": deep(120, "2")}));
    let outcome = on_a_small_stack(move || {
        (check("predicate.a == predicate.b", &same), check("predicate.a != predicate.c", &same))
    });
    assert_eq!(outcome, (Ok(()), Ok(())));
    let mut deeper = deep(120, "1");
    for _ in 0..200 {
        deeper = json!([deeper]);
    }
    let outcome = check("predicate.a == predicate.b", &statement(json!({"a": deeper.clone(), "b": deeper})));
    assert_eq!(outcome, Err(Failed("the values are nested too deep to be compared".to_owned())));
}
