//! What scanners have said of images: found in memory, and by platform where that is needed.
//!
//! 1. Where verdicts on the image's own digest speak of all of its platforms that count, they are all there is to
//!    know. Nobody is asked.
//! 2. Otherwise the registry says what the digest stands for: the manifest of one image, which its own verdicts are
//!    about; or an index, and then each platform that counts must have been scanned, under its own digest or under
//!    that of the index by a verdict that speaks of the platform.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::runtime::Handle;

use super::{
    credentials::{Credential, CredentialClass, Keyring},
    lookups::{Answer, Asker, FLIGHT_TIME, Lookups, Memory},
    ports::{CacheName, CacheObserver, ImagePlatform, Platforms, Verdicts},
};
use crate::{
    evidence::{Platform, RegistryError, ScanError, ScanEvidence, ScanSubject, ScanVerdict},
    image::{Digest, ImageReference, Repository},
};

/// How long it is remembered which platforms an index has. It never changes; who may see it does.
const PLATFORMS_TTL: Duration = Duration::from_secs(86_400);
/// How long a registry's own "no" is remembered.
const REFUSAL_TTL: Duration = Duration::from_secs(5);
/// How many bytes of lists of platforms are kept.
const CACHE_BYTES: u64 = 8 << 20;

/// What a digest stands for: the images of an index; none for the manifest of one image.
type Listed = Option<Arc<[ImagePlatform]>>;

/// Gathers what is known of images' scans.
pub(super) struct Scans {
    verdicts: Arc<dyn Verdicts>,
    platforms: Arc<dyn Platforms>,
    lookups: Lookups<Key, Listed>,
    /// The platforms that count; none if all do.
    wanted: Option<Box<[Platform]>>,
}

/// What one credential class may learn.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Key {
    place: Repository,
    image: Digest,
    class: CredentialClass,
}

/// What is known without asking which platforms an image has.
enum Unasked {
    /// All that need be known.
    Settled(ScanEvidence),
    /// The verdicts on the image's own digest, which are not enough.
    Open(Vec<Arc<ScanVerdict>>),
}

impl Scans {
    pub(super) fn new(
        (verdicts, platforms): (Arc<dyn Verdicts>, Arc<dyn Platforms>),
        wanted: Option<Box<[Platform]>>,
        observer: Arc<dyn CacheObserver>,
        runtime: Handle,
    ) -> Self {
        let memory = Memory {
            bytes: CACHE_BYTES,
            weight: |_, answer: &Answer<Listed>| {
                let listed = answer.as_ref().ok().and_then(Option::as_ref);
                512 + listed.map_or(0, |platforms| 256 * platforms.len())
            },
            lifetime: Box::new(|answer| Some(if answer.is_ok() { PLATFORMS_TTL } else { REFUSAL_TTL })),
        };
        let lookups = Lookups::new(CacheName::Platforms, memory, observer, runtime);
        Self { verdicts, platforms, lookups, wanted }
    }

    /// Whether a registry must say which platforms an image has, or have said it.
    pub(super) fn needs_platforms(&self, image: &ImageReference, digest: &Digest) -> bool {
        matches!(self.unasked(image, digest), Unasked::Open(_))
    }

    /// The evidence, if it can be had without asking anybody.
    pub(super) fn known(
        &self,
        image: &ImageReference,
        digest: &Digest,
        keyring: &Keyring,
    ) -> Option<ScanEvidence> {
        match self.unasked(image, digest) {
            Unasked::Settled(evidence) => Some(evidence),
            Unasked::Open(own) => {
                let (key, _) = key(image, digest, keyring);
                let listed = self.lookups.known(&key)?;
                self.lookups.observe_hits(1);
                Some(self.evidence(image, digest, own, listed))
            }
        }
    }

    /// The evidence. A look-up counts as begun by `namespace`, and goes on behind the deadline for whoever asks next.
    pub(super) async fn find(
        &self,
        image: &ImageReference,
        digest: &Digest,
        keyring: &Result<Arc<Keyring>, RegistryError>,
        namespace: &str,
        deadline: Instant,
    ) -> ScanEvidence {
        let own = match self.unasked(image, digest) {
            Unasked::Settled(evidence) => return evidence,
            Unasked::Open(own) => own,
        };
        let keyring = match keyring {
            Ok(keyring) => keyring,
            Err(error) => return ScanEvidence::Unseen(ScanError::Platforms(error.clone())),
        };
        let (key, credentials) = key(image, digest, keyring);
        let (platforms, asked) = (self.platforms.clone(), key.clone());
        let ask = move || {
            async move {
                let deadline = Instant::now() + FLIGHT_TIME;
                let listed = platforms.platforms(&asked.place, &asked.image, &credentials, deadline).await?;
                Ok(listed.map(Arc::from))
            }
            .boxed()
        };
        let asker = Asker { host: image.host(), namespace };
        let listed = self.lookups.find(key, asker, deadline, ask).await;
        self.evidence(image, digest, own, listed)
    }

    fn unasked(&self, image: &ImageReference, digest: &Digest) -> Unasked {
        let own = match self.verdicts.of(digest) {
            Ok(own) => own,
            Err(error) => return Unasked::Settled(ScanEvidence::Unseen(error)),
        };
        match !own.is_empty() && own.iter().all(|verdict| self.speaks_of_all(verdict)) {
            true => Unasked::Settled(self.seen(vec![self.subject(image, digest, None, own)])),
            false => Unasked::Open(own),
        }
    }

    /// Whether a verdict on an image's own digest speaks of every platform that counts, whichever there are.
    fn speaks_of_all(&self, verdict: &ScanVerdict) -> bool {
        let all = |wanted: &[Platform]| wanted.iter().all(|wanted| speaks_of(verdict, wanted));
        verdict.platforms.is_empty() || self.wanted.as_deref().is_some_and(all)
    }

    fn evidence(
        &self,
        image: &ImageReference,
        digest: &Digest,
        own: Vec<Arc<ScanVerdict>>,
        listed: Answer<Listed>,
    ) -> ScanEvidence {
        let platforms = match listed {
            Err(error) => return ScanEvidence::Unseen(ScanError::Platforms(error)),
            Ok(None) => return self.seen(vec![self.subject(image, digest, None, own)]),
            Ok(Some(platforms)) => platforms,
        };
        let counting = platforms.iter().filter(|one| self.counts(one.platform.as_ref()));
        let mut subjects = Vec::new();
        for one in counting {
            let mut verdicts = match self.verdicts.of(&one.digest) {
                Ok(verdicts) => verdicts,
                Err(error) => return ScanEvidence::Unseen(error),
            };
            let of_index = own.iter().filter(|verdict| {
                verdict.platforms.is_empty()
                    || one.platform.as_ref().is_some_and(|platform| speaks_of(verdict, platform))
            });
            verdicts.extend(of_index.cloned());
            subjects.push(self.subject(image, &one.digest, one.platform.clone(), verdicts));
        }
        if subjects.is_empty() {
            // None of its platforms is one that counts: what was said of others says nothing of what will run.
            let (digest, verdicts) = (digest.clone(), Vec::new());
            subjects.push(ScanSubject { digest, platform: None, verdicts, requested: false });
        }
        self.seen(subjects)
    }

    fn seen(&self, subjects: Vec<ScanSubject>) -> ScanEvidence {
        ScanEvidence::Seen { subjects, sources: self.verdicts.sources() }
    }

    /// One subject, for which a scan is asked for where nobody has said anything.
    fn subject(
        &self,
        image: &ImageReference,
        digest: &Digest,
        platform: Option<Platform>,
        verdicts: Vec<Arc<ScanVerdict>>,
    ) -> ScanSubject {
        let requested = verdicts.is_empty() && self.verdicts.request(image, digest);
        ScanSubject { digest: digest.clone(), platform, verdicts, requested }
    }

    /// Whether an image of an index is for a platform that counts. One that does not say for which it is may be.
    fn counts(&self, platform: Option<&Platform>) -> bool {
        let (Some(wanted), Some(platform)) = (&self.wanted, platform) else { return true };
        wanted.iter().any(|wanted| may_run(wanted, platform))
    }
}

fn speaks_of(verdict: &ScanVerdict, platform: &Platform) -> bool {
    verdict.platforms.iter().any(|one| one.covers(platform))
}

/// Whether nodes of the platform `wanted` may run an image that is for `platform`. A variant that one of the two does not
/// say may be any.
fn may_run(wanted: &Platform, platform: &Platform) -> bool {
    let parts = |platform: &'_ Platform| {
        let mut parts = platform.as_str().splitn(3, '/').map(str::to_owned);
        (parts.next(), parts.next(), parts.next())
    };
    let ((os, architecture, variant), (other_os, other_architecture, other_variant)) =
        (parts(wanted), parts(platform));
    let variants = variant.zip(other_variant);
    (os, architecture) == (other_os, other_architecture)
        && variants.is_none_or(|(variant, other)| variant == other)
}

fn key(image: &ImageReference, digest: &Digest, keyring: &Keyring) -> (Key, Vec<Credential>) {
    let credentials = keyring.lookup(image);
    let class = CredentialClass::of(&credentials);
    (Key { place: Repository::from(image), image: digest.clone(), class }, credentials)
}

#[cfg(test)]
mod tests;
