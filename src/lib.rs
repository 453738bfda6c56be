//! Tidewaiter: a Kubernetes admission webhook that resolves, judges and pins every container image.
pub mod api;
pub mod decision;
pub mod evidence;
pub mod files;
pub mod image;
pub mod policy;
pub mod review;
pub mod webhook;
pub mod workload;
