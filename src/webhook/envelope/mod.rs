//! The AdmissionReview format, `admission.k8s.io/v1`: what is read of a request, and how an answer is written.
//!
//! In comes the body of a request; out comes an [`AdmissionRequest`] that borrows from it, read in one
//! pass together with its objects. An error says what is wrong with the body and, where the request
//! could be told, its uid: such a review can still be answered with a denial instead of leaving the
//! answer to the webhook's `failurePolicy`. Bodies hold Secrets' names, environment variables and
//! whatever else people write into Pods: no error or message repeats more of one than a short quote of
//! the value that does not fit.
//!
//! Source: Kubernetes `k8s.io/api/admission/v1`.

mod request;
mod response;
mod timeout;

pub use request::{
    AdmissionRequest, EnvelopeError, GroupVersionKind, GroupVersionResource, MAX_UID, MAX_USERNAME,
    Operation, parse,
};
pub use response::AdmissionResponse;
pub use timeout::{LONGEST_TIMEOUT, TimeoutError, parse_timeout};

/// The one version of the AdmissionReview that we speak.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// The kind of both requests and answers.
pub const KIND: &str = "AdmissionReview";

#[cfg(test)]
mod tests;
