//! What a review needs from outside the process, as traits that adapters implement.

mod layers;
mod scans;
mod trust;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;

use super::credentials::{Credential, Keyring};
use crate::{
    evidence::{Attached, AuthorityEvidence, Candidate, RegistryError},
    image::{Digest, ImageReference, Repository},
    policy::{Authority, PolicySet},
};

pub use layers::{ImageLayers, Layers, Pass};
pub use scans::{
    ImagePlatform, KeptVerdict, NoVerdicts, Platforms, ScanObserver, ScanRequest, VerdictKeeper, Verdicts,
    Watched,
};
pub use trust::{Mirror, ObjectContent, TrustMaterial, TrustRootCheck, TrustRootState, WantedObjects};

/// Labels of a namespace or an object.
pub type Labels = BTreeMap<String, String>;

/// Asks a registry which digest a reference stands for.
pub trait Resolver: Send + Sync + 'static {
    /// Tries `credentials` in their order and then asks without any. Answers before `deadline`.
    ///
    /// Never called for a reference that names its digest. Does not cache and does not share
    /// requests: the review does both.
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>>;
}

/// Finds what was published beside an image: signatures and attestations that nobody has verified yet.
pub trait Attachments: Send + Sync + 'static {
    /// Everything of the kinds `wanted` that stands beside `image` in `place`, which need not be the
    /// repository that the image comes from. Empty means that the registry was asked and there is nothing.
    ///
    /// Tries `credentials` in their order and then asks without any. Answers before `deadline`. One thing
    /// that cannot be read is a candidate of its own; more than are looked at is an error. Does not
    /// cache and does not share requests: the review does both.
    fn beside<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        wanted: Attached,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>>;
}

/// Checks what was found beside an image. Computes, and asks nobody.
pub trait Examiner: Send + Sync + 'static {
    /// Which keys and trust roots are in force: grows whenever one of them changes. Cheap.
    fn trust_version(&self) -> u64;

    /// What each of `authorities` has said about `image`, by what was `found` for it at the same place. Takes
    /// up to some hundred milliseconds where a publisher has left as much as is looked at.
    fn examine(
        &self,
        authorities: &[Authority],
        found: &[Result<Arc<[Candidate]>, RegistryError>],
        image: &Digest,
    ) -> Vec<AuthorityEvidence>;
}

/// Where no policy looks at anything beside an image. One that does all the same hears that nobody could
/// look, which is never a pass.
pub struct NobodyLooks;

impl Attachments for NobodyLooks {
    fn beside<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Digest,
        _: Attached,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>> {
        ready(Err(RegistryError::Unreachable("nobody looks beside images here".to_owned()))).boxed()
    }
}

impl Examiner for NobodyLooks {
    fn trust_version(&self) -> u64 {
        0
    }

    fn examine(
        &self,
        authorities: &[Authority],
        _: &[Result<Arc<[Candidate]>, RegistryError>],
        _: &Digest,
    ) -> Vec<AuthorityEvidence> {
        let unseen = RegistryError::Unreachable("nobody looks beside images here".to_owned());
        vec![AuthorityEvidence::Unseen(unseen); authorities.len()]
    }
}

/// The policies in force now.
pub trait Policies: Send + Sync + 'static {
    /// The current set: cheap, never waits, replaced as a whole when a policy changes.
    fn current(&self) -> Arc<PolicySet>;
}

/// What is known of namespaces.
pub trait Namespaces: Send + Sync + 'static {
    /// The labels of `namespace` if they are known without asking anyone.
    fn known(&self, namespace: &str) -> Option<Arc<Labels>>;

    /// Asks for a namespace that is not known yet. An error means that nobody knows, never that
    /// the namespace has no labels.
    fn fetch<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>>;
}

/// The credentials that an object itself brings.
pub trait PullSecrets: Send + Sync + 'static {
    /// What [`keyring`](Self::keyring) would answer, if that is known without asking anyone.
    fn known(&self, namespace: &str, service_account: &str, secrets: &[&str]) -> Option<Arc<Keyring>>;

    /// The credentials of these `secrets` and of `service_account`'s own, all in `namespace` and
    /// nowhere else. A Secret or ServiceAccount that does not exist is skipped, as the kubelet
    /// does; one that cannot be read is an error.
    fn keyring<'a>(
        &'a self,
        namespace: &'a str,
        service_account: &'a str,
        secrets: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>>;
}

/// The time of day, for dates that policies name.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// Hears what a review's cache was asked, for metrics.
pub trait CacheObserver: Send + Sync + 'static {
    /// A cache was asked one question.
    fn cache(&self, name: CacheName, answer: CacheAnswer);
}

/// Which cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheName {
    /// What stands beside an image.
    Attachments,
    /// What a policy makes of what stands beside an image.
    Judgement,
    /// Which platforms an image has.
    Platforms,
    /// Which digest a tag stands for.
    Tag,
}

impl CacheName {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attachments => "attachments",
            Self::Judgement => "judgement",
            Self::Platforms => "platforms",
            Self::Tag => "tag",
        }
    }
}

/// What a cache had to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheAnswer {
    /// It knew.
    Hit,
    /// It did not, and somebody else was already asking.
    Shared,
    /// It did not.
    Miss,
}

/// Hears of every request that an adapter makes, for metrics.
pub trait RegistryObserver: Send + Sync + 'static {
    /// One HTTP exchange with a registry or its token server has ended.
    fn registry_request(&self, exchange: &RegistryExchange<'_>);
}

/// One HTTP exchange with a registry or its token server.
#[derive(Clone, Copy, Debug)]
pub struct RegistryExchange<'a> {
    /// The registry's `host[:port]`, canonical; of its token server the registry's.
    pub host: &'a str,
    /// `resolve`, `manifest`, `referrers`, `blob`, `token` or `tuf`.
    pub class: &'static str,
    /// `ok`, `not_found`, `denied`, `throttled`, `unreachable`, `timed_out`, `too_large`, `malformed`, `forbidden`.
    pub outcome: &'static str,
    /// From sending the request to the last byte that was read.
    pub duration: std::time::Duration,
}

/// The API server could not be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);
