//! The custom resources as users write them, one module per API version.
//!
//! Only shape and documentation live here. What a document means is decided by
//! [`policy`](crate::policy), which compiles it; nothing here is consulted while a review waits.

pub mod v1alpha1;

/// The API group of every Tidewaiter resource.
pub const GROUP: &str = "tidewaiter.dev";
