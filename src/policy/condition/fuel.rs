use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use cel::{
    ExecutionError,
    common::{
        types::{CelBytes, CelList, CelMap, CelOptional, CelString, Type},
        value::{StaticVal, Val},
    },
};

/// How many steps one evaluation may take. A step is one node of the expression evaluated once, one element
/// looked at, or what [`weight`] and the functions charge for text: some 25 to 65 ns of a release build
/// (`benches/condition.rs`, "dearest"). So an evaluation ends within a tenth of a second, whatever the policy
/// and the attestation say; a condition on an SBOM of 10,000 packages takes a third of it.
pub(super) const STEPS: i64 = 1_000_000;
/// How many steps all evaluations of one judgement may take together: about a second. One policy asks up to 256
/// conditions about up to 64 attestations, and who writes the policy may have written the attestations.
pub(super) const STEPS_TOGETHER: i64 = 16 * STEPS;
/// How many bytes of text are read for one step.
pub(super) const BYTES_READ: usize = 64;
/// How many bytes of new text are made for one step: eight million bytes in one evaluation at most.
pub(super) const BYTES_MADE: usize = 8;
/// What an element of a new list or map costs: it is a box of its own.
pub(super) const ELEMENT: u64 = 4;

/// What is left of the steps that the conditions of one judgement may take together.
#[derive(Debug)]
pub struct Steps(Cell<i64>);

impl Default for Steps {
    /// As many as one judgement may take.
    fn default() -> Self {
        Self(Cell::new(STEPS_TOGETHER))
    }
}

impl Steps {
    /// Runs one evaluation, and pays for it with what it took; none where too little is left for it.
    pub(super) fn pay<T>(&self, evaluate: impl FnOnce(&Fuel) -> T) -> Option<T> {
        let given = Some(self.0.get().min(STEPS)).filter(|given| *given > 0)?;
        let fuel = Fuel(Arc::new(AtomicI64::new(given)));
        let outcome = evaluate(&fuel);
        let spent = fuel.is_spent();
        self.0.set(self.0.get() - given + fuel.0.load(Relaxed).max(0));
        Some(outcome).filter(|_| given == STEPS || !spent)
    }
}

static FUEL: Type = Type::new_unspecified_type("fuel");

/// What is left of the steps of one evaluation. A value, because functions of an expression see nothing but
/// their arguments.
///
/// Once spent it stays spent: an error alone would not end an evaluation, since `||`, `all` and `.?` forgive
/// errors.
#[derive(Clone, Debug)]
pub(super) struct Fuel(Arc<AtomicI64>);

impl Fuel {
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(STEPS)))
    }

    /// Pays for `steps`.
    pub(super) fn burn(&self, steps: u64) -> Result<(), ExecutionError> {
        let left = self.0.load(Relaxed).saturating_sub_unsigned(steps).max(-1);
        self.0.store(left, Relaxed);
        if left < 0 {
            return Err(ExecutionError::InternalError("the evaluation takes too many steps".to_owned()));
        }
        Ok(())
    }

    /// Whether more was asked for than there was.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Relaxed) < 0
    }

    /// How many steps were taken; of no meaning once it is spent.
    #[cfg(test)]
    pub(super) fn burnt(&self) -> i64 {
        STEPS - self.0.load(Relaxed)
    }
}

impl Val for Fuel {
    fn get_type(&self) -> &Type {
        &FUEL
    }

    fn cel_type() -> &'static Type {
        &FUEL
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Fuel {}

/// The steps for reading or making `bytes` of text.
pub(super) fn text(bytes: usize, per_step: usize) -> u64 {
    1 + (bytes / per_step) as u64
}

/// What a value costs whoever reads or copies it.
///
/// Lists and maps that an expression made are copied whole, with all that is in them; those of the statement
/// are not, and cost one step whatever their size.
pub(super) fn weight(value: &dyn Val) -> u64 {
    if let Some(value) = value.downcast_ref::<CelString<'_>>() {
        text(value.inner().len(), if value.as_borrowed().is_some() { BYTES_READ } else { BYTES_MADE })
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().fold(1, |sum, element| sum + ELEMENT + weight(element.as_ref()))
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner()
            .iter()
            .fold(1, |sum, (key, value)| sum + ELEMENT + weight(key.inner()) + weight(value.as_ref()))
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        1 + optional.option().map_or(0, weight)
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        text(bytes.inner().len(), BYTES_MADE)
    } else {
        1
    }
}
