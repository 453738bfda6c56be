//! The edge that the API server talks to.
//!
//! In come AdmissionReviews over HTTPS; out go AdmissionResponses. The [`envelope`] is their format.

pub mod envelope;
