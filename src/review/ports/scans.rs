//! What a review needs of scans, and those who bring it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::Value;

use crate::{
    evidence::{Platform, RegistryError, ScanError, ScanVerdict},
    image::{Digest, ImageReference, Repository},
    review::credentials::Credential,
};

/// What scanners have said, by digest. Never waits, and asks no scanner.
pub trait Verdicts: Send + Sync + 'static {
    /// What each source says of `digest`. Empty means that nobody has scanned it; an error that nobody knows.
    fn of(&self, digest: &Digest) -> Result<Vec<Arc<ScanVerdict>>, ScanError>;

    /// The names of the cluster's VulnerabilitySources.
    fn sources(&self) -> Arc<[Box<str>]>;

    /// Tells those who scan that a verdict on `image` is wanted, whose digest is `digest`. Returns whether
    /// somebody will hear of it and can scan it.
    fn request(&self, image: &ImageReference, digest: &Digest) -> bool;
}

/// Where no cluster keeps verdicts: nobody has scanned anything, and nobody will.
pub struct NoVerdicts;

impl Verdicts for NoVerdicts {
    fn of(&self, _: &Digest) -> Result<Vec<Arc<ScanVerdict>>, ScanError> {
        Ok(Vec::new())
    }

    fn sources(&self) -> Arc<[Box<str>]> {
        Arc::default()
    }

    fn request(&self, _: &ImageReference, _: &Digest) -> bool {
        false
    }
}

/// Keeps the verdicts of a cluster, for whoever follows them.
pub trait VerdictKeeper: Send + Sync + 'static {
    /// Reads the `spec` of the ImageScanVerdict `name` as JSON text; none if it has none. Where `version` of it is kept
    /// already, what comes out is that, so that a list takes no more memory than what is new in it.
    fn read(&self, name: &str, version: &str, spec: Option<&str>) -> KeptVerdict;

    /// These are all verdicts.
    fn verdicts_listed(&self, all: Vec<KeptVerdict>);

    /// This one is new, or has changed.
    fn verdict_applied(&self, verdict: KeptVerdict);

    /// The one of this name is no more.
    fn verdict_deleted(&self, name: &str);

    /// These are all VulnerabilitySources, by name, with their `spec`.
    fn sources_listed(&self, all: Vec<(Box<str>, Value)>);

    /// What is kept of `what` is current for as long as this from now on, and then no more.
    fn vouched(&self, what: Watched, time: Duration);

    /// Why what is kept of `what` is not current, for people.
    fn failing(&self, what: Watched, why: String);
}

/// What of a cluster is kept for scans.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watched {
    /// Its VulnerabilitySources.
    Sources,
    /// Its ImageScanVerdicts.
    Verdicts,
}

/// An ImageScanVerdict as it is kept.
#[derive(Clone, Debug)]
pub struct KeptVerdict {
    /// The object's name.
    pub name: Box<str>,
    /// Which of its versions this is, among all objects that ever had the name. Empty: nobody says.
    pub version: Box<str>,
    /// What it says; none where not even the digest that it is about can be told.
    pub verdict: Option<Arc<ScanVerdict>>,
}

/// Which platforms an image has.
pub trait Platforms: Send + Sync + 'static {
    /// What the index `image` lists, in its order and without the manifests of attestations; none if `image` is the
    /// manifest of one image. An index in an index, and one of more than 64 platforms, is an error.
    ///
    /// Tries `credentials` in their order and then asks without any. Answers before `deadline`. Does not cache and does
    /// not share requests: the review does both.
    fn platforms<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>>;
}

impl Platforms for super::NobodyLooks {
    fn platforms<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Digest,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>> {
        ready(Err(RegistryError::Unreachable("nobody looks at images here".to_owned()))).boxed()
    }
}

/// One image of an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImagePlatform {
    /// Which platform it is for; none where the index does not say it in a way that can be read.
    pub platform: Option<Platform>,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// Hears of verdicts, for metrics.
pub trait ScanObserver: Send + Sync + 'static {
    /// So many ImageScanVerdicts can be read, and so many cannot.
    fn verdicts(&self, ready: usize, failing: usize);

    /// A review wanted a scan.
    fn scan_request(&self, became: ScanRequest);
}

/// What became of the wish for a scan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScanRequest {
    /// It is passed on.
    Accepted,
    /// It has been passed on lately.
    UnderWay,
    /// No source scans such an image on demand.
    NoSource,
    /// There are too many.
    Shed,
    /// The API server did not take it.
    Failed,
}

impl ScanRequest {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::UnderWay => "under_way",
            Self::NoSource => "no_source",
            Self::Shed => "shed",
            Self::Failed => "failed",
        }
    }
}
