use rstest::rstest;
use serde_json::{Value, json};

use super::*;

mod golden;
mod grammar;
mod hostile;
mod laws;

const NOW: &str = "2026-11-24T12:00:00Z";

/// What is asked about an image with this statement.
fn with_facts<T>(statement: &Value, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let reference = "registry.example.com:5000/team/app:1.2".parse().unwrap();
    let digest = Digest::sha256(b"an image");
    let image = ImageFacts { reference: &reference, digest: &digest };
    ask(&Facts { statement, image, now: NOW.parse().unwrap() })
}

fn compile(expression: &str) -> Condition {
    Condition::compile(expression, None).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

fn check(expression: &str, statement: &Value) -> Result<(), ConditionFailure> {
    with_facts(statement, |facts| compile(expression).check(facts))
}

/// The outcome, and how many steps it took.
fn measure(expression: &str, statement: &Value) -> (Result<(), ConditionFailure>, i64) {
    let fuel = Fuel::new();
    let outcome = with_facts(statement, |facts| compile(expression).evaluate(facts, &fuel));
    (outcome, fuel.burnt())
}

fn statement(predicate: Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "registry.example.com/team/app", "digest": {"sha256": "00"}}],
        "predicateType": "https://example.com/test/v1",
        "predicate": predicate,
    })
}

#[test]
fn a_condition_keeps_what_its_author_wrote() {
    let condition = Condition::compile(" predicate.ok ", Some("say this")).unwrap();
    assert_eq!(condition.expression(), " predicate.ok ");
    assert_eq!(condition.message(), Some("say this"));
    assert_eq!(Condition::compile("true", None).unwrap().message(), None);
}

#[rstest]
#[case("predicate.now == 1", false)]
#[case("'now' == 'now'", false)]
#[case("has(predicate.now)", false)]
#[case("now > timestamp('2026-01-01T00:00:00Z')", true)]
#[case("[1].all(x, [now].all(y, y == now))", true)]
#[case("true || string(now) == ''", true)]
fn what_mentions_now_depends_on_time(#[case] expression: &str, #[case] depends: bool) {
    assert_eq!(compile(expression).depends_on_time(), depends);
}

#[rstest]
#[case("", "the expression is empty: write what must be true, as in predicate.result == 'PASSED'")]
#[case(" \n", "the expression is empty: write what must be true, as in predicate.result == 'PASSED'")]
#[case("predicate.x =", "line 1, column 13: mismatched input '=' expecting <EOF>")]
#[case("true &&\n  (", "line 2, column 4: mismatched input '<EOF>' expecting expression")]
#[case("'x", "line 1, column 1: unterminated string literal")]
#[case("'\\q' == ''", "line 1, column 1: unable to unescape string")]
#[case("predicate . `a-b`", "line 1, column 13: unsupported syntax: '`'")]
#[case("1 # 1", "line 1, column 3: unexpected character")]
#[case("has(predicate)", "line 1, column 5: invalid argument to has() macro")]
#[case("predicate.all(1, true)", "line 1, column 15: argument must be a simple name")]
#[case(
    "predicat.x == 1",
    "there is no variable \"predicat\": there are statement, predicate, image and now, and those that all, exists, exists_one, map and filter name"
)]
#[case("image.tags == 'x'", "image has no \"tags\": it has digest, reference, registry, repository, tag")]
#[case(
    "image.?name.hasValue()",
    "image has no \"name\": it has digest, reference, registry, repository, tag"
)]
#[case("image['host'] == 'x'", "image has no \"host\": it has digest, reference, registry, repository, tag")]
#[case("lower(predicate.x) == 'a'", "there is no function \"lower\" of this kind")]
#[case(
    "contains(predicate.x, 'a')",
    "there is no function \"contains\" of this kind: write text.contains(part)"
)]
#[case("predicate.x.all(y)", "there is no function \"all\" of this kind: write list.all(x, condition)")]
#[case("bytes('a') == bytes('a')", "there is no function \"bytes\" of this kind")]
#[case("predicate.x.contains()", "\"contains\" has another number of arguments: write text.contains(part)")]
#[case(
    "now.getHours('Europe/Berlin') == 1",
    "\"getHours\" has another number of arguments: write time.getHours()"
)]
#[case("[1].all(now, true)", "\"now\" says something else already: give the variable another name")]
#[case("[1].all(string, true)", "\"string\" says something else already: give the variable another name")]
#[case("image.tag.matches('(')", "the pattern \"(\": error: unclosed group")]
#[case(
    "image.tag.matches('(?:a{1000}){1000}')",
    "the pattern \"(?:a{1000}){1000}\": it is too large: repeat less, and write [0-9] for \\d and [0-9A-Za-z_] for \\w"
)]
#[case(
    "image.tag.matches(predicate.pattern)",
    "matches takes a pattern that is written out, as in tag.matches('^v[0-9]+$')"
)]
#[case(
    "now - duration('3d') < now",
    "\"3d\": a duration is numbers with the units h, m, s, ms, us or ns, as in 72h or 1h30m"
)]
#[case(
    "now > timestamp('2026-11-24')",
    "\"2026-11-24\": a timestamp is a date and time with its offset, as in 2026-11-24T00:00:00Z (RFC 3339)"
)]
#[case("b'a' == predicate.x", "bytes are not available in conditions")]
#[case("Thing{a: 1} == predicate.x", "messages are not available in conditions")]
fn an_error_says_what_would_be_right(#[case] expression: &str, #[case] message: &str) {
    assert_eq!(Condition::compile(expression, None).unwrap_err().to_string(), message);
}

#[rstest]
#[case("predicate.nothing == 1", "there is no field \"nothing\"")]
#[case("predicate.list[3] == 1", "an index is beyond the end of its list")]
#[case("predicate.text > 1", "\">\" is not for string and int")]
#[case("predicate.text + 1 == 1", "\"+\" is not for string and int")]
#[case("predicate.text - 1 == 1", "\"sub\" is not for string and int")]
#[case("1 in predicate.text", "\"in\" is not for int and string")]
#[case("predicate.number.contains('a')", "\"contains\" is not for int and string")]
#[case("predicate.number.split('a') == []", "\"split\" is not for int")]
#[case("1 / predicate.zero == 1", "a division by zero")]
#[case("9223372036854775807 + predicate.number == 1", "the result of \"add\" is too large")]
#[case(
    "timestamp(predicate.text) < now",
    "a timestamp is a date and time with its offset, as in 2026-11-24T00:00:00Z (RFC 3339)"
)]
#[case("predicate.text ? true : false", "there is string where bool should be")]
#[case("predicate.list.all(x, x.y == 1)", "\".\" is not for int and string")]
#[case("predicate.?nothing.value() == 1", "value: optional.none() dereference")]
#[case("['a'].join(predicate.number) == ''", "\"join\" is not for int")]
#[case("'a\\u202e\\u0007\\n' + predicate.hostile > 1", "\">\" is not for string and int")]
#[case("predicate[predicate.hostile] == 1", "there is no field \"a\\u{202e}\\u{7} b\"")]
fn an_error_at_run_time_is_a_failure_that_says_why(#[case] expression: &str, #[case] message: &str) {
    let predicate =
        json!({"text": "t", "number": 5, "zero": 0, "list": [1, 2], "hostile": "a\u{202e}\u{7}\nb"});
    let failure = ConditionFailure::Failed(message.to_owned());
    assert_eq!(check(expression, &statement(predicate)), Err(failure));
}

#[test]
fn a_failure_is_short_however_long_what_failed_is() {
    let predicate = json!({"key": "ä".repeat(100_000)});
    let Err(ConditionFailure::Failed(problem)) = check("predicate[predicate.key]", &statement(predicate))
    else {
        panic!("a failure");
    };
    assert_eq!(problem.chars().count(), FAILURE_LIMIT + 1);
    assert!(problem.ends_with('…'));
}

#[rstest]
#[case("predicate", "map")]
#[case("predicate.list", "list")]
#[case("predicate.text", "string")]
#[case("predicate.nothing", "null_type")]
#[case("1", "int")]
#[case("predicate.?ok", "optional_type")]
#[case("now", "google.protobuf.Timestamp")]
fn only_true_is_true(#[case] expression: &str, #[case] found: &str) {
    let predicate = json!({"text": "true", "list": [], "nothing": null, "ok": true});
    let failure = ConditionFailure::NotABool { found: found.to_owned() };
    assert_eq!(check(expression, &statement(predicate)), Err(failure));
}

#[rstest]
#[case(json!({}))]
#[case(json!(null))]
#[case(json!([1]))]
#[case(json!("text"))]
fn a_statement_without_a_predicate_fails_what_looks_into_it(#[case] statement: Value) {
    assert!(matches!(check("predicate.x != 'a'", &statement), Err(ConditionFailure::Failed(_))));
    assert_eq!(check("predicate == null", &statement), Ok(()));
}

#[test]
fn every_function_and_macro_is_named_in_the_manual() {
    let manual = include_str!("../../../docs/conditions.md");
    let missing: Vec<&str> =
        rules::usages().into_iter().filter(|usage| !manual.contains(&format!("`{usage}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
    for limit in [EXPRESSION_LIMIT, DEPTH_LIMIT, LOOPS_LIMIT, MESSAGE_LIMIT] {
        assert!(manual.contains(&format!("| {limit}")), "the limit {limit}");
    }
}

#[test]
fn every_example_of_the_manual_compiles() {
    let manual = include_str!("../../../docs/conditions.md");
    let mut examples = 0;
    for block in manual.split("```cel\n").skip(1) {
        let expression = block.split("```").next().unwrap();
        compile(expression);
        examples += 1;
    }
    assert!(examples >= 8, "{examples} examples");
}
