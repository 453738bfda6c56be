//! What a review needs from the Kubernetes API: policies, namespaces, pull secrets, trust.
//!
//! [`WatchedPolicies`] and [`ClusterNamespaces`] follow what the API server stores and answer from
//! memory; [`WatchedTrust`] brings trust roots, and the Secrets and ConfigMaps that are named, to whoever
//! makes keys and trust roots of them; [`WatchedVerdicts`] brings scan verdicts to whoever keeps them, and
//! [`ScanEvents`] tells whoever scans which of them are missing; [`scan_verdicts`] asks for those on one digest; [`ClusterPullSecrets`] asks when a review needs it and
//! remembers the answer for seconds.
//! Each of them says what it does not know: before the first list every policy fails, a namespace
//! that is not known to be current is asked for, and what cannot be asked is an error.
//!
//! Everything runs on the runtime that is handed in and never on the caller's, so that no connection
//! belongs to a webhook worker. What the process must be allowed to do stands in
//! `docs/running-in-a-cluster.md`; a test runs all of this with exactly those rights.

mod client;
mod failure;
mod flights;
mod index;
mod namespaces;
mod policies;
mod pull_secrets;
mod scan_events;
mod scan_verdicts;
mod standing;
#[cfg(test)]
mod testing;
mod trust;
mod verdicts;
mod watch;

pub use client::{ClientError, client};
pub use namespaces::ClusterNamespaces;
pub use policies::{PoliciesObserver, PolicyTally, PublishedPolicies, WatchedPolicies};
pub use pull_secrets::{ClusterPullSecrets, NoPullSecrets};
pub use scan_events::ScanEvents;
pub use scan_verdicts::{ScanVerdictsError, scan_verdicts};
pub use standing::WatchState;
pub use trust::WatchedTrust;
pub use verdicts::WatchedVerdicts;
