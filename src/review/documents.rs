//! What a policy document would become: for the webhook that guards our own resources.

use serde_json::Value;

use crate::policy;

/// What became of a policy document that somebody wants to store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DocumentReview {
    /// It compiles. The warnings are for its author.
    Accepted {
        /// What works but probably is not meant.
        warnings: Vec<String>,
    },
    /// It does not compile, and this is all that is wrong with it.
    Refused(policy::CompileError),
    /// It is none of our resources.
    NotOurs,
}

/// Compiles a document with the very code that will run it, so that what the API server stores works.
pub fn review_document(document: &Value) -> DocumentReview {
    let Some(reading) = policy::read(document) else { return DocumentReview::NotOurs };
    match reading.policy.compile_error() {
        Some(error) => DocumentReview::Refused(error.clone()),
        None => DocumentReview::Accepted { warnings: reading.warnings },
    }
}
