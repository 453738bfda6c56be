use cel::{
    IdedExpr, ParseErrors,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
    parser::PrattParser,
};

use super::{
    ConditionError, IMAGE_FIELDS, Variable,
    fuel::{BYTES_MADE, ELEMENT, text},
    functions::{ADD, EQUALS, IN, LOOP, MATCHES, OUTCOME, WEIGH},
    pattern::Pattern,
    printable,
    rules::{self, Reads, Rule},
    time::{Instant, Span},
};

/// How many characters an expression may have: as many as the API server takes.
pub(super) const EXPRESSION_LIMIT: usize = 2048;
/// How deep an expression may be nested, in operators, calls, fields and brackets. Evaluation recurses: one
/// level takes 2 KB of stack, twice that where the compiler adds to it, so that 64 levels fit into any thread.
pub(super) const DEPTH_LIMIT: usize = 64;
/// How deep `all`, `exists`, `exists_one`, `map` and `filter` may be nested in one another. The steps bound
/// them too; this catches what can never end before it does any work.
pub(super) const LOOPS_LIMIT: usize = 3;
/// How deep the parser recurses before it gives up.
const BRACKETS_LIMIT: u16 = 48;
/// The most characters that an error quotes of an expression.
const QUOTE_LIMIT: usize = 64;
/// The most characters that an error repeats of what the parser says.
const PROBLEM_LIMIT: usize = 200;
/// What a turn of a loop costs besides the nodes of its body: a variable is bound.
const TURN: u64 = 4;

/// The name of the fuel, and what the names of patterns begin with. No author can write them.
pub(super) const FUEL: &str = "@fuel";
pub(super) const PATTERN: &str = "@pattern";
/// The name that macros give to what they gather.
const RESULT: &str = "@result";

/// A checked expression that pays for what it does.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) ast: IdedExpr,
    pub(super) uses: Vec<Variable>,
    pub(super) patterns: Vec<Pattern>,
}

impl Program {
    /// Reads, checks and meters an expression.
    ///
    /// 1. Nothing longer than [`EXPRESSION_LIMIT`] is parsed. The parser recurses for brackets and
    ///    conditionals only, and that many do not exhaust a stack.
    /// 2. What is nested too deep is refused, before anything else recurses into it.
    /// 3. Every name must be known: a typing error is found when the policy is stored.
    /// 4. Each operation whose cost depends on its operands is replaced by, or given operands by, a function
    ///    that takes the fuel. See [`super::fuel`].
    pub(super) fn compile(expression: &str) -> Result<Self, ConditionError> {
        // 1. Length, then syntax
        if expression.trim().is_empty() {
            return Err(ConditionError::Empty);
        }
        let length = expression.chars().count();
        if length > EXPRESSION_LIMIT {
            return Err(ConditionError::TooLong { length });
        }
        // `Env::compile` has another parser: it takes 100 KB of stack for each bracket in a debug build, and
        // recurses for each `+`. The tests compare what the two make of the same text.
        let parser = PrattParser::new().enable_optional_syntax(true).max_recursion_depth(BRACKETS_LIMIT);
        let mut ast = parser.parse(expression).map_err(|errors| syntax(&errors))?;
        // 2. Depth
        check_depth(&ast)?;
        // 3. and 4.
        let mut compiler = Compiler::default();
        compiler.node(&mut ast)?;
        wrap(&mut ast, OUTCOME);
        Ok(Self { ast, uses: compiler.uses, patterns: compiler.patterns })
    }
}

fn syntax(errors: &ParseErrors) -> ConditionError {
    let Some(first) = errors.errors.first() else {
        return ConditionError::Syntax { line: 0, column: 0, problem: String::new() };
    };
    if first.msg.starts_with("expression recursion limit exceeded") {
        return ConditionError::TooDeep;
    }
    let number = |number: isize| usize::try_from(number).unwrap_or_default();
    let problem = first.msg.trim_start_matches("Syntax error: ");
    ConditionError::Syntax {
        line: number(first.pos.0),
        column: number(first.pos.1),
        problem: printable(problem, PROBLEM_LIMIT),
    }
}

fn quoted(text: &str) -> String {
    printable(text, QUOTE_LIMIT)
}

/// Refuses what is nested too deep. Walks, because recursion is what it is there to prevent.
fn check_depth(ast: &IdedExpr) -> Result<(), ConditionError> {
    let mut open = vec![(ast, 1)];
    while let Some((node, depth)) = open.pop() {
        if depth > DEPTH_LIMIT {
            return Err(ConditionError::TooDeep);
        }
        let mut inside = |node| open.push((node, depth + 1));
        match &node.expr {
            Expr::Call(call) => {
                call.target.iter().for_each(|target| inside(target));
                call.args.iter().for_each(inside);
            }
            Expr::Comprehension(all) => {
                [&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result]
                    .into_iter()
                    .for_each(inside);
            }
            Expr::List(list) => list.elements.iter().for_each(inside),
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            [&entry.key, &entry.value].into_iter().for_each(&mut inside);
                        }
                        EntryExpr::StructField(field) => inside(&field.value),
                    }
                }
            }
            Expr::Select(select) => inside(&select.operand),
            // Not looked into, since the compiler refuses it without looking into it
            Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }
    Ok(())
}

/// What is known of a variable that a macro binds.
struct Bound {
    name: String,
    borrowed: bool,
}

#[derive(Default)]
struct Compiler {
    bound: Vec<Bound>,
    uses: Vec<Variable>,
    patterns: Vec<Pattern>,
}

impl Compiler {
    // In place, and one function for each kind of node: these recurse too, and their frames should be small
    fn node(&mut self, node: &mut IdedExpr) -> Result<(), ConditionError> {
        match &mut node.expr {
            Expr::Call(_) => self.call(node),
            Expr::Comprehension(all) => self.comprehension(all),
            Expr::Ident(name) => self.name(name),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.copied(element)),
            Expr::Literal(LiteralValue::Bytes(_)) => Err(ConditionError::Unavailable { what: "bytes" }),
            Expr::Literal(_) => Ok(()),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.read(&mut entry.key).and_then(|()| self.copied(&mut entry.value))
                }
                EntryExpr::StructField(_) => Err(ConditionError::Unavailable { what: "messages" }),
            }),
            Expr::Select(select) => {
                check_image_field(&select.operand.expr, &select.field)?;
                self.copied(&mut select.operand)
            }
            Expr::Struct(_) => Err(ConditionError::Unavailable { what: "messages" }),
            Expr::Unspecified => Err(unfinished()),
        }
    }

    fn nodes(&mut self, nodes: &mut [IdedExpr]) -> Result<(), ConditionError> {
        nodes.iter_mut().try_for_each(|node| self.node(node))
    }

    /// A node whose value is handed on, or copied as it is.
    fn copied(&mut self, node: &mut IdedExpr) -> Result<(), ConditionError> {
        let free = self.is_borrowed(&node.expr) || is_small(&node.expr);
        self.node(node)?;
        if !free {
            weigh(node);
        }
        Ok(())
    }

    /// A node whose value is read to its end.
    fn read(&mut self, node: &mut IdedExpr) -> Result<(), ConditionError> {
        let free = is_small(&node.expr);
        self.node(node)?;
        if !free {
            weigh(node);
        }
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), ConditionError> {
        let is_bound = name == RESULT || self.bound.iter().any(|bound| bound.name == name);
        if is_bound || rules::TYPES.contains(&name) {
            return Ok(());
        }
        let variable =
            Variable::named(name).ok_or_else(|| ConditionError::UnknownVariable { name: quoted(name) })?;
        if !self.uses.contains(&variable) {
            self.uses.push(variable);
        }
        Ok(())
    }

    /// A loop, into which macros have turned. Its range pays for all turns at once, so that the evaluator
    /// still sees the shapes that it gathers lists in without copying them each turn.
    fn comprehension(&mut self, all: &mut ComprehensionExpr) -> Result<(), ConditionError> {
        if Variable::named(&all.iter_var).is_some() || rules::is_reserved(&all.iter_var) {
            return Err(ConditionError::Shadowed { name: quoted(&all.iter_var) });
        }
        if self.bound.len() == LOOPS_LIMIT {
            return Err(ConditionError::TooManyLoops);
        }
        let borrowed = self.is_borrowed(&all.iter_range.expr);
        self.node(&mut all.iter_range)?;
        self.bound.push(Bound { name: all.iter_var.clone(), borrowed });
        // What it begins with, how long it goes on and what it gives are the macro's own
        self.node(&mut all.loop_step)?;
        self.bound.pop();
        let turn = i64::try_from(TURN + cost(&all.loop_cond) + cost(&all.loop_step)).unwrap_or(i64::MAX);
        let range = std::mem::take(&mut all.iter_range);
        all.iter_range = call(LOOP, vec![range, node(Expr::Literal(LiteralValue::Int(turn.into()))), fuel()]);
        Ok(())
    }

    fn call(&mut self, whole: &mut IdedExpr) -> Result<(), ConditionError> {
        let Expr::Call(call) = &mut whole.expr else { return Ok(()) };
        if call.target.is_some() {
            return self.function(call);
        }
        let is_result =
            matches!(call.args.first().map(|first| &first.expr), Some(Expr::Ident(name)) if name == RESULT);
        let paid = match &*call.func_name {
            // What macros do with what they gather. They append it in a list of one.
            operators::ADD if is_result => return self.nodes(&mut call.args),
            operators::ADD => ADD,
            operators::EQUALS | operators::NOT_EQUALS => EQUALS,
            operators::IN => IN,
            operators::CONDITIONAL
            | operators::LOGICAL_AND
            | operators::LOGICAL_NOT
            | operators::LOGICAL_OR
            | operators::NOT_STRICTLY_FALSE => return self.nodes(&mut call.args),
            operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => {
                return self.index(&mut call.args);
            }
            operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => return call.args.iter_mut().try_for_each(|arg| self.read(arg)),
            _ => return self.function(call),
        };
        self.nodes(&mut call.args)?;
        call.args.push(fuel());
        let old = std::mem::replace(&mut call.func_name, paid.to_owned());
        if old == operators::NOT_EQUALS {
            wrap(whole, operators::LOGICAL_NOT);
        }
        Ok(())
    }

    fn index(&mut self, args: &mut [IdedExpr]) -> Result<(), ConditionError> {
        let [operand, index] = args else { return Err(unfinished()) };
        if let Expr::Literal(LiteralValue::String(field)) = &index.expr {
            check_image_field(&operand.expr, field.inner())?;
        }
        self.copied(operand)?;
        self.read(index)
    }

    fn function(&mut self, call: &mut CallExpr) -> Result<(), ConditionError> {
        let name = &*call.func_name;
        let is_optional = call.target.as_deref().is_some_and(
            |target| matches!(&target.expr, Expr::Ident(namespace) if namespace == rules::OPTIONAL),
        );
        let rule = rules::find(name, call.target.is_some(), is_optional)
            .ok_or_else(|| ConditionError::UnknownFunction { name: quoted(name), hint: rules::hint(name) })?;
        if !rule.arguments.contains(&call.args.len()) {
            return Err(ConditionError::Arguments { function: rule.name, usage: rule.usage });
        }
        check_literal(rule, &call.args)?;
        if let Some(paid) = rule.paid {
            if let Some(target) = call.target.take() {
                call.args.insert(0, *target);
            }
            if paid == MATCHES
                && let Some(pattern) = call.args.last_mut()
            {
                self.pattern(pattern)?;
            }
            let texts = if paid == MATCHES { 1 } else { call.args.len() };
            self.nodes(&mut call.args[..texts])?;
            call.args.push(fuel());
            paid.clone_into(&mut call.func_name);
            return Ok(());
        }
        let target = call.target.as_deref_mut().filter(|_| !is_optional);
        target.into_iter().chain(&mut call.args).try_for_each(|argument| match rule.reads {
            Reads::All => self.read(argument),
            Reads::Nothing => self.copied(argument),
        })
    }

    /// The pattern in `text.matches('pattern')`: it is read now, and cannot come from an attestation.
    fn pattern(&mut self, node: &mut IdedExpr) -> Result<(), ConditionError> {
        let Expr::Literal(LiteralValue::String(text)) = &node.expr else {
            return Err(ConditionError::PatternNotLiteral);
        };
        let pattern = Pattern::parse(text.inner()).map_err(|error| ConditionError::Pattern {
            pattern: quoted(text.inner()),
            problem: match error {
                regex::Error::CompiledTooBig(_) => {
                    "it is too large: repeat less, and write [0-9] for \\d and [0-9A-Za-z_] for \\w"
                        .to_owned()
                }
                // The last line says what is wrong; those before it draw where
                error => {
                    printable(error.to_string().lines().last().unwrap_or_default().trim(), PROBLEM_LIMIT)
                }
            },
        })?;
        node.expr = Expr::Ident(format!("{PATTERN}{}", self.patterns.len()));
        self.patterns.push(pattern);
        Ok(())
    }

    /// Whether the value is part of what is judged, so that it is handed on without a copy.
    fn is_borrowed(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Call(CallExpr { func_name, target, args }) => match (&**func_name, target) {
                (operators::OPT_SELECT | operators::INDEX | operators::OPT_INDEX, None) => {
                    args.first().is_some_and(|operand| self.is_borrowed(&operand.expr))
                }
                ("value", Some(target)) => self.is_borrowed(&target.expr),
                ("or" | "orValue", Some(target)) => {
                    self.is_borrowed(&target.expr)
                        && args.iter().all(|arg| self.is_borrowed(&arg.expr) || is_small(&arg.expr))
                }
                _ => false,
            },
            Expr::Ident(name) => match self.bound.iter().rev().find(|bound| bound.name == *name) {
                Some(bound) => bound.borrowed,
                None => Variable::named(name).is_some(),
            },
            Expr::Select(select) => self.is_borrowed(&select.operand.expr),
            _ => false,
        }
    }
}

/// Whether the value takes a few bytes, whatever is judged.
fn is_small(expr: &Expr) -> bool {
    match expr {
        Expr::Call(CallExpr { func_name, target, args }) => match (&**func_name, target) {
            (operators::CONDITIONAL, None) => args.iter().skip(1).all(|arg| is_small(&arg.expr)),
            (operators::ADD | operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, None) => false,
            (name, None) if name.contains('_') || name == operators::IN => true,
            (name, target) => rules::find(name, target.is_some(), false).is_some_and(|rule| rule.small),
        },
        // What `all`, `exists` and `exists_one` begin with; `map` and `filter` begin with a list
        Expr::Comprehension(all) => matches!(all.accu_init.expr, Expr::Literal(_)),
        Expr::List(list) => list.elements.is_empty(),
        Expr::Literal(LiteralValue::String(text)) => text.inner().len() <= QUOTE_LIMIT,
        Expr::Literal(_) => true,
        Expr::Map(map) => map.entries.is_empty(),
        Expr::Select(select) => select.test,
        Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

/// Finds the typing errors in `image.…`, whose fields are known.
fn check_image_field(operand: &Expr, field: &str) -> Result<(), ConditionError> {
    match operand {
        Expr::Ident(name) if name == Variable::Image.as_str() && !IMAGE_FIELDS.contains(&field) => {
            Err(ConditionError::UnknownImageField { name: quoted(field) })
        }
        _ => Ok(()),
    }
}

/// Finds the errors in times that are written out.
fn check_literal(rule: &Rule, args: &[IdedExpr]) -> Result<(), ConditionError> {
    let [IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }] = args else {
        return Ok(());
    };
    let outcome = match rule.name {
        "duration" => Span::parse(text.inner()).map(drop),
        "timestamp" => Instant::parse(text.inner()).map(drop),
        _ => Ok(()),
    };
    outcome.map_err(|problem| ConditionError::Time { text: quoted(text.inner()), problem })
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn fuel() -> IdedExpr {
    node(Expr::Ident(FUEL.to_owned()))
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

fn wrap(inner: &mut IdedExpr, name: &str) {
    *inner = call(name, vec![std::mem::take(inner)]);
}

/// Has a value paid for before it is used.
fn weigh(inner: &mut IdedExpr) {
    *inner = call(WEIGH, vec![std::mem::take(inner), fuel()]);
}

/// The parser says this of what it could not read; it never gives it out.
fn unfinished() -> ConditionError {
    ConditionError::Syntax { line: 0, column: 0, problem: "the expression is not complete".to_owned() }
}

/// How many steps one evaluation of a node takes, without the turns of loops in it and what functions
/// charge: for each node one, for each element of a new list or map its box, for long literals their copy.
fn cost(node: &IdedExpr) -> u64 {
    let all = |nodes: &[&IdedExpr]| nodes.iter().fold(1, |sum: u64, node| sum + cost(node));
    match &node.expr {
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| cost(target))
            .chain(call.args.iter().map(cost))
            .fold(1, |sum, one| sum + one),
        Expr::Comprehension(loops) => {
            TURN + all(&[&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.result])
        }
        Expr::List(list) => list.elements.iter().fold(1, |sum, element| sum + ELEMENT + cost(element)),
        Expr::Literal(LiteralValue::String(literal)) => text(literal.inner().len(), BYTES_MADE),
        Expr::Map(map) => map.entries.iter().fold(1, |sum, entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => sum + ELEMENT + cost(&entry.key) + cost(&entry.value),
            EntryExpr::StructField(field) => sum + cost(&field.value),
        }),
        Expr::Select(select) => 1 + cost(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 1,
    }
}
