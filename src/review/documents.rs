//! What a document of ours would become: for the webhook that guards our own resources.

use serde_json::Value;

use super::ports::TrustRootCheck;
use crate::policy::{self, CompileError, FieldError, TrustRootReading, TrustRootSource};

/// What became of a document that somebody wants to store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DocumentReview {
    /// It works. The warnings are for its author.
    Accepted {
        /// What works but probably is not meant.
        warnings: Vec<String>,
    },
    /// It does not work, and this is all that is wrong with it.
    Refused(CompileError),
    /// It is none of our resources.
    NotOurs,
}

/// Reads a document with the very code that will run it, so that what the API server stores works.
///
/// Of a trust root the content that stands in the document is looked at too. What stands elsewhere may
/// follow later.
pub fn review_document(document: &Value, check: &dyn TrustRootCheck) -> DocumentReview {
    if let Some(root) = policy::read_trust_root(document) {
        return review_trust_root(&root, check);
    }
    let Some(reading) = policy::read(document) else { return DocumentReview::NotOurs };
    match reading.policy.compile_error() {
        Some(error) => DocumentReview::Refused(error.clone()),
        None => DocumentReview::Accepted { warnings: reading.warnings },
    }
}

/// Looks at a trust root that was read, and at what of its content stands in the document.
pub fn review_trust_root(root: &TrustRootReading, check: &dyn TrustRootCheck) -> DocumentReview {
    let (path, checked) = match &root.source {
        Err(error) => return DocumentReview::Refused(error.clone()),
        Ok(TrustRootSource::Inline(json)) => ("spec.inline", check.trusted_root(json)),
        Ok(TrustRootSource::Tuf(repository)) => ("spec.tuf.root", check.tuf_root(&repository.root)),
        Ok(TrustRootSource::Sigstore(_) | TrustRootSource::ConfigMap(_) | TrustRootSource::File(_)) => {
            ("", Ok(()))
        }
    };
    match checked {
        Ok(()) => DocumentReview::Accepted { warnings: Vec::new() },
        Err(problem) => {
            let field = FieldError { path: path.to_owned(), value: String::new(), problem };
            DocumentReview::Refused(CompileError { fields: vec![field] })
        }
    }
}
