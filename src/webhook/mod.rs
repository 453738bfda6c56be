//! The edge that the API server talks to.
//!
//! In come AdmissionReviews over HTTPS; out go AdmissionResponses. The [`envelope`] is their format,
//! [`Admission`] takes one from its bytes to the answer's, and [`routes`] are what of it is HTTP.

mod admission;
pub mod envelope;
pub mod health;
mod policies;
pub mod report;
pub mod routes;
pub mod server;
pub mod tls;

#[cfg(test)]
mod tests;

pub use admission::Admission;
