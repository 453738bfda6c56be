//! Tidewaiter: a Kubernetes admission webhook that resolves, judges and pins every container image.
//!
//! # The map
//!
//! One line per room: its name, and the rooms that it may name. What a room is for stands in its own
//! first lines. `tests/architecture.rs` reads the code against this map, so both change together.
//!
//! ```text
//! api:
//! image:
//! workload: image
//! evidence: image
//! reports: image evidence
//! policy: api image evidence
//! decision: image evidence reports policy
//! review: api image workload evidence reports policy decision
//! files: api image workload evidence policy decision review::ports review::credentials
//! signature: api image workload evidence policy decision review::ports
//! trust: api image evidence policy decision signature review::ports
//! registry: api image workload evidence policy decision review::ports review::credentials
//! cluster: api image workload evidence policy decision review::ports review::credentials
//! verdicts: api image workload evidence reports policy decision cluster review::ports review::credentials
//! telemetry:
//! webhook: api workload decision review telemetry
//! cli: *
//! ```
//!
//! The rooms `api`, `image`, `workload`, `evidence`, `reports`, `policy` and `decision` only compute: they know no
//! clock, network, file, environment, task or log. Time and facts arrive as arguments, so every decision
//! can be replayed.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod decision;
pub mod evidence;
pub mod files;
pub mod image;
pub mod policy;
pub mod registry;
pub mod reports;
pub mod review;
pub mod signature;
pub mod telemetry;
pub mod trust;
pub mod verdicts;
pub mod webhook;
pub mod workload;
