//! The webhook that guards our own resources.

use serde::Deserialize;
use serde_json::Value;

use super::envelope::{self, AdmissionResponse, EnvelopeError, Operation};
use crate::{
    decision::printable,
    review::{
        documents::{DocumentReview, review_document},
        ports::TrustRootCheck,
    },
    workload::Patch,
};

/// The longest warning that the API server passes on, in characters.
const WARNING_LIMIT: usize = 256;

/// Answers the AdmissionReview of a policy or a trust root: what the API server is to store must work here,
/// with the very code that will run it.
///
/// An update that leaves the `spec` as it was passes whatever the spec is, so that a document which an
/// older release took can still be labelled and deleted; it counts as failing until it is mended.
pub(super) fn answer(body: &[u8], check: &dyn TrustRootCheck) -> Result<Vec<u8>, EnvelopeError> {
    let request = envelope::parse::<Document>(body)?;
    let admitted = || AdmissionResponse::admitted(&request.uid, Patch::default());
    let denied = |message: String| AdmissionResponse::denied(&request.uid, message);
    let response = match (request.operation, &request.object, &request.old_object) {
        (Operation::Delete, ..) => admitted(),
        (Operation::Update, Ok(Some(new)), Ok(Some(old))) if new.0["spec"] == old.0["spec"] => admitted(),
        (_, Ok(Some(document)), _) => match review_document(&document.0, check) {
            DocumentReview::Accepted { warnings } => {
                let short = |warning: &String| printable(warning, WARNING_LIMIT - 1);
                admitted().with_warnings(warnings.iter().map(short).collect())
            }
            DocumentReview::Refused(error) => denied(match document.0["kind"].as_str() {
                Some("ImageTrustRoot") => format!("the trust root cannot be used: {error}"),
                _ => format!("the policy does not compile: {error}"),
            }),
            DocumentReview::NotOurs => denied(format!(
                "{} is none of Tidewaiter's resources; take it out of the webhook's rules",
                printable(&request.kind.kind, 100)
            )),
        },
        (_, Ok(None), _) => denied("the request carries no object; there is nothing to compile".to_owned()),
        (_, Err(error), _) => {
            denied(format!("the object cannot be read: {}", printable(&error.to_string(), 300)))
        }
    };
    Ok(response.to_json())
}

/// A whole document: ours are small, rare and read in full.
#[derive(Deserialize)]
#[serde(transparent)]
struct Document(Value);
