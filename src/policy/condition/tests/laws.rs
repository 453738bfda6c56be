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

use super::{
    grammar::{expression, json_value, nonsense, predicate, rubbish},
    *,
};
use crate::policy::condition::fuel::{BYTES_MADE, STEPS};

/// What the other parser, and the evaluator without our meter, have room enough in, unoptimised.
fn on_a_large_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
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
            Err(ConditionFailure::OverTotal) => prop_assert!(false, "alone, it has all the steps"),
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
    #![proptest_config(ProptestConfig::with_cases(500))]

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
