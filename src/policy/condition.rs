//! Stub.
use jiff::Timestamp;
use serde_json::Value;

use crate::image::{Digest, ImageReference};

/// stub
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Box<str>,
    message: Option<Box<str>>,
}
/// stub
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("stub")]
pub struct ConditionError;
/// stub
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConditionFailure {
    /// stub
    #[error("it is false")]
    False,
    /// stub
    #[error("it is no yes or no")]
    NotABool {
        /// stub
        found: String,
    },
    /// stub
    #[error("{0}")]
    Failed(String),
    /// stub
    #[error("it took too long")]
    OverBudget,
}
/// stub
pub struct Facts<'a> {
    /// stub
    pub statement: &'a Value,
    /// stub
    pub image: ImageFacts<'a>,
    /// stub
    pub now: Timestamp,
}
/// stub
pub struct ImageFacts<'a> {
    /// stub
    pub reference: &'a ImageReference,
    /// stub
    pub digest: &'a Digest,
}
impl Condition {
    /// stub
    pub fn compile(expression: &str, message: Option<&str>) -> Result<Self, ConditionError> {
        Ok(Self { expression: expression.into(), message: message.map(Into::into) })
    }
    /// stub
    pub fn expression(&self) -> &str {
        &self.expression
    }
    /// stub
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
    /// stub
    pub fn depends_on_time(&self) -> bool {
        self.expression.contains("now")
    }
    /// stub
    pub fn check(&self, _: &Facts<'_>) -> Result<(), ConditionFailure> {
        Err(ConditionFailure::False)
    }
}
