use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use cel::{Context, Value as CelValue, common::value::Val};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::image::{Digest, ImageReference};

mod fuel;
mod functions;
mod json;
mod pattern;
mod program;
mod rules;
mod time;

#[cfg(test)]
mod tests;

use fuel::Fuel;
pub use fuel::Steps;
use program::{DEPTH_LIMIT, EXPRESSION_LIMIT, FUEL, LOOPS_LIMIT, PATTERN, Program};
use time::Instant;

/// The most characters of the message that an author writes beside an expression.
const MESSAGE_LIMIT: usize = 256;
/// The most characters that a failure says of an evaluation that went wrong.
const FAILURE_LIMIT: usize = 240;

/// A CEL expression about an attestation, compiled once when the policy is loaded.
///
/// It is evaluated within a bound of steps, time and memory, whatever author and attestation have in mind.
/// It sees the variables `statement`, `predicate`, `image` and `now`; `docs/conditions.md` says what else
/// there is.
///
/// ```
/// use tidewaiter::policy::Condition;
///
/// let condition = Condition::compile("predicate.result == 'PASSED'", Some("the tests have not passed"))?;
/// assert!(!condition.depends_on_time());
/// assert!(Condition::compile("predicat.result == 'PASSED'", None).is_err());
/// # Ok::<(), tidewaiter::policy::ConditionError>(())
/// ```
///
/// Source: cel-spec, `doc/langdef.md`.
#[derive(Clone)]
pub struct Condition {
    expression: Box<str>,
    message: Option<Box<str>>,
    program: Arc<Program>,
}

/// Why a text is no condition.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConditionError {
    /// Nothing was written.
    #[error("the expression is empty: write what must be true, as in predicate.result == 'PASSED'")]
    Empty,
    /// More characters than an expression may have.
    #[error(
        "the expression has {length} characters; up to {EXPRESSION_LIMIT} are allowed: split it into several conditions"
    )]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// More characters than a message may have.
    #[error("the message has {length} characters; up to {MESSAGE_LIMIT} are allowed")]
    MessageTooLong {
        /// How many it has.
        length: usize,
    },
    /// It is not CEL.
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// The line, from 1; 0 where the parser does not say.
        line: usize,
        /// The column, from 1; 0 where the parser does not say.
        column: usize,
        /// What the parser says, in one line, shortened.
        problem: String,
    },
    /// Operators, calls, fields and brackets are nested too deep.
    #[error("the expression is nested more than {DEPTH_LIMIT} deep: split it into several conditions")]
    TooDeep,
    /// `all`, `exists`, `exists_one`, `map` and `filter` are nested too deep.
    #[error("more than {LOOPS_LIMIT} of all, exists, exists_one, map and filter stand in one another")]
    TooManyLoops,
    /// A variable that nobody knows.
    #[error(
        "there is no variable \"{name}\": there are statement, predicate, image and now, and those that all, exists, exists_one, map and filter name"
    )]
    UnknownVariable {
        /// Its name, shortened.
        name: String,
    },
    /// A field of `image` that it does not have.
    #[error("image has no \"{name}\": it has {}", IMAGE_FIELDS.join(", "))]
    UnknownImageField {
        /// Its name, shortened.
        name: String,
    },
    /// A function that nobody knows, or that is written differently.
    #[error("there is no function \"{name}\" of this kind{}", hint.map(|usage| format!(": write {usage}")).unwrap_or_default())]
    UnknownFunction {
        /// Its name, shortened.
        name: String,
        /// How the function of this name is written, if there is one.
        hint: Option<&'static str>,
    },
    /// A function with too few or too many arguments.
    #[error("\"{function}\" has another number of arguments: write {usage}")]
    Arguments {
        /// Its name.
        function: &'static str,
        /// How it is written.
        usage: &'static str,
    },
    /// A variable of `all`, `exists`, `exists_one`, `map` or `filter` takes a name that says something else.
    #[error("\"{name}\" says something else already: give the variable another name")]
    Shadowed {
        /// The name.
        name: String,
    },
    /// A regular expression that is none, or too large.
    #[error("the pattern {pattern:?}: {problem}")]
    Pattern {
        /// The pattern, shortened.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A regular expression that is not written out.
    #[error("matches takes a pattern that is written out, as in tag.matches('^v[0-9]+$')")]
    PatternNotLiteral,
    /// A time or a duration that is none.
    #[error("{text:?}: {problem}")]
    Time {
        /// What was written, shortened.
        text: String,
        /// What would be right.
        problem: &'static str,
    },
    /// A part of CEL that conditions do without.
    #[error("{what} are not available in conditions")]
    Unavailable {
        /// Which.
        what: &'static str,
    },
}

/// What a condition is about.
///
/// The statement may be of any size: nothing of it is copied, and an evaluation that would look at too much
/// of it ends.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The whole in-toto statement, whose signature has been verified. Where it has no `predicate`, that
    /// variable is null.
    pub statement: &'a Value,
    /// The image that is judged.
    pub image: ImageFacts<'a>,
    /// The time of the judgement.
    pub now: Timestamp,
}

/// What a condition knows of the image.
#[derive(Clone, Copy, Debug)]
pub struct ImageFacts<'a> {
    /// The reference as the object has it, in canonical form.
    pub reference: &'a ImageReference,
    /// The digest that it stands for.
    pub digest: &'a Digest,
}

/// Why a condition does not hold. None of these is a pass.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConditionFailure {
    /// The expression is false.
    #[error("it is false")]
    False,
    /// The expression is neither true nor false.
    #[error("it is neither true nor false, but of the type {found}")]
    NotABool {
        /// The type of what it is.
        found: String,
    },
    /// The evaluation went wrong: a field is missing, types do not fit. One line, shortened.
    #[error("it cannot be evaluated: {0}")]
    Failed(String),
    /// The evaluation took too many steps.
    #[error("it takes more than {} steps: look at less of the attestation", fuel::STEPS)]
    OverBudget,
    /// The conditions that were evaluated before it for the same judgement have left it too few steps.
    #[error(
        "it and those before it take more than {} steps: look at less of the attestations, or have some removed",
        fuel::STEPS_TOGETHER
    )]
    OverTotal,
}

/// The variables that are there from the beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Variable {
    Image,
    Now,
    Predicate,
    Statement,
}

/// What `image` has.
const IMAGE_FIELDS: &[&str] = &["digest", "reference", "registry", "repository", "tag"];

impl Variable {
    fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Now => "now",
            Self::Predicate => "predicate",
            Self::Statement => "statement",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Image, Self::Now, Self::Predicate, Self::Statement]
            .into_iter()
            .find(|variable| variable.as_str() == name)
    }
}

impl Condition {
    /// Reads an expression, and the message that its author wants said where it does not hold.
    ///
    /// Finds names that nobody knows, so that a typing error does not wait for the first image. It does not
    /// know the fields of a predicate, nor the types of values: those errors are failures of the condition.
    pub fn compile(expression: &str, message: Option<&str>) -> Result<Self, ConditionError> {
        if let Some(length) =
            message.map(|text| text.chars().count()).filter(|length| *length > MESSAGE_LIMIT)
        {
            return Err(ConditionError::MessageTooLong { length });
        }
        let program = Arc::new(Program::compile(expression)?);
        Ok(Self { expression: expression.into(), message: message.map(Into::into), program })
    }

    /// The expression as its author wrote it.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// What its author wants said where it does not hold.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Whether the outcome can change with time alone: whether it mentions `now`.
    pub fn depends_on_time(&self) -> bool {
        self.program.uses.contains(&Variable::Now)
    }

    /// Whether the expression is true of these facts, evaluated by itself.
    pub fn check(&self, facts: &Facts<'_>) -> Result<(), ConditionFailure> {
        self.check_within(facts, &Steps::default())
    }

    /// The same as one of several evaluations, which together take no more than `steps`.
    pub fn check_within(&self, facts: &Facts<'_>, steps: &Steps) -> Result<(), ConditionFailure> {
        steps.pay(|fuel| self.evaluate(facts, fuel)).unwrap_or(Err(ConditionFailure::OverTotal))
    }

    fn evaluate(&self, facts: &Facts<'_>, fuel: &Fuel) -> Result<(), ConditionFailure> {
        // Not `resolve_val`: it would be compiled here once more, and a debug build would not optimise it
        let outcome = self.with_context(facts, fuel, |context| CelValue::resolve(&self.program.ast, context));
        // First of all: what forgives an error also forgave that there was no fuel left
        if fuel.is_spent() {
            return Err(ConditionFailure::OverBudget);
        }
        match outcome {
            Ok(CelValue::Bool(true)) => Ok(()),
            Ok(CelValue::Bool(false)) => Err(ConditionFailure::False),
            Ok(CelValue::String(found)) => {
                Err(ConditionFailure::NotABool { found: printable(found, FAILURE_LIMIT) })
            }
            // OK because the compiler lets no other value out; and if it did, it would be no pass
            Ok(_) => Err(ConditionFailure::NotABool { found: "unknown".to_owned() }),
            Err(error) => Err(ConditionFailure::Failed(describe(&error))),
        }
    }

    /// Binds the variables that the expression mentions, for as long as `run` takes.
    fn with_context<T>(&self, facts: &Facts<'_>, fuel: &Fuel, run: impl FnOnce(&Context<'_, '_>) -> T) -> T {
        let image;
        let mut context = Context::with_env(functions::env());
        context.add_variable_as_val(FUEL, Box::new(fuel.clone()));
        if self.program.uses.contains(&Variable::Image) {
            image = image_fields(&facts.image);
            context.add_variable_as_val(Variable::Image.as_str(), json::value(&image));
        }
        for variable in &self.program.uses {
            let value: Box<dyn Val + '_> = match variable {
                Variable::Image => continue,
                Variable::Now => Box::new(Instant(facts.now)),
                Variable::Predicate => json::value(facts.statement.get("predicate").unwrap_or(&Value::Null)),
                Variable::Statement => json::value(facts.statement),
            };
            context.add_variable_as_val(variable.as_str(), value);
        }
        for (at, pattern) in self.program.patterns.iter().enumerate() {
            context.add_variable_as_val(format!("{PATTERN}{at}"), Box::new(pattern.clone()));
        }
        run(&context)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("expression", &self.expression)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

fn image_fields(image: &ImageFacts<'_>) -> Value {
    json!({
        "digest": image.digest.as_str(),
        "reference": image.reference.to_string(),
        "registry": image.reference.host(),
        "repository": image.reference.repository(),
        "tag": image.reference.tag(),
    })
}

/// What went wrong, in the words of who writes expressions.
fn describe(error: &cel::ExecutionError) -> String {
    use cel::ExecutionError as E;
    let say = |text: fmt::Arguments<'_>| printable(text, FAILURE_LIMIT);
    match error {
        E::DivisionByZero(_) | E::RemainderByZero(_) => say(format_args!("a division by zero")),
        E::FunctionError { function, message } => say(format_args!("{function}: {message}")),
        E::IndexOutOfBounds(_) => say(format_args!("an index is beyond the end of its list")),
        E::InternalError(problem) => say(format_args!("{problem}")),
        E::NoSuchKey(key) => say(format_args!("there is no field \"{key}\"")),
        E::NoSuchOverload(error) => {
            let function = error.function().replace(['_', '@'], "");
            say(format_args!("\"{function}\" is not for {}", error.argument_types().join(" and ")))
        }
        E::Overflow(operator, ..) => say(format_args!("the result of \"{operator}\" is too large")),
        E::UnexpectedType { got, want } => say(format_args!("there is {got} where {want} should be")),
        E::UnsupportedBinaryOperator(operator, left, right) => {
            say(format_args!("\"{operator}\" is not for {} and {}", left.type_of(), right.type_of()))
        }
        error => say(format_args!("{error}")),
    }
}

/// One line of about so many characters, with everything escaped that could break it, hide or reorder.
fn printable(text: impl fmt::Display, most: usize) -> String {
    struct Line {
        text: String,
        left: usize,
    }
    impl fmt::Write for Line {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                if self.left == 0 {
                    self.text.push('…');
                    return Err(fmt::Error);
                }
                self.left -= 1;
                match character {
                    '\n' | '\t' => self.text.push(' '),
                    '"' | '\'' | '\\' => self.text.push(character),
                    character => self.text.extend(character.escape_debug()),
                }
            }
            Ok(())
        }
    }
    let mut line = Line { text: String::new(), left: most };
    // An error only says that there is no room left
    let _ = write!(line, "{text}");
    line.text
}
