//! What a review needs from the Kubernetes API: policies, namespaces, pull secrets, trust; and what scans need.
//!
//! [`WatchedPolicies`] and [`ClusterNamespaces`] follow what the API server stores and answer from
//! memory; [`WatchedTrust`] brings trust roots, and the Secrets and ConfigMaps that are named, to whoever
//! makes keys and trust roots of them; [`WatchedVerdicts`] brings scan verdicts to whoever keeps them, and
//! [`ScanEvents`] tells whoever scans which of them are missing; [`scan_verdicts`] asks for those on one digest; [`ClusterPullSecrets`] asks when a review needs it and
//! remembers the answer for seconds.
//! Each of them says what it does not know: before the first list every policy fails, a namespace
//! that is not known to be current is asked for, and what cannot be asked is an error.
//!
//! For the controller, `follow_pods` and its like tell what runs, what is wanted and what there is,
//! [`WatchedSources`] what it is to do; [`JobRunner`] runs its scans, and [`VerdictWriter`] writes what came of them.
//!
//! Everything runs on the runtime that is handed in and never on the caller's, so that no connection
//! belongs to a webhook worker. What the process must be allowed to do stands in
//! `docs/running-in-a-cluster.md`; a test runs all of this with exactly those rights.

mod client;
mod failure;
mod feeds;
mod flights;
mod index;
mod jobs;
mod namespaces;
mod policies;
mod pull_secrets;
mod scan_events;
mod scan_verdicts;
mod sources;
mod standing;
#[cfg(test)]
mod testing;
mod trust;
mod verdict_writer;
mod verdicts;
mod watch;

pub use client::{ClientError, client};
pub use failure::ClusterError;
pub use feeds::{
    Feed, Following, PodImages, ReportName, StoredVerdict, follow_pods, follow_reports, follow_verdicts,
    follow_wanted, read_report, read_secret,
};
pub use jobs::{JobEnd, JobRunner, SCAN_NAME, SCAN_SOURCE};
pub use namespaces::ClusterNamespaces;
pub use policies::{PoliciesObserver, PolicyTally, PublishedPolicies, WatchedPolicies};
pub use pull_secrets::{ClusterPullSecrets, NoPullSecrets};
pub use scan_events::ScanEvents;
pub use scan_verdicts::{ScanVerdictsError, scan_verdicts};
pub use sources::{SourceObject, WatchedSources};
pub use standing::WatchState;
pub use trust::WatchedTrust;
pub use verdict_writer::{VerdictWriter, Written};
pub use verdicts::WatchedVerdicts;
