//! What policies make of the signatures and attestations beside images.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context, SHA256};
use futures::{FutureExt as _, future::join_all};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    credentials::{Credential, CredentialClass, Keyring},
    lookups::{Answer, Asker, FLIGHT_TIME, Lookups, Memory},
    ports::{Attachments, CacheName, CacheObserver, Clock, Examiner},
};
use crate::{
    decision::{Judgement, judge_attached},
    evidence::{Attached, AuthorityEvidence, Candidate, Material, RegistryError},
    image::{Digest, ImageReference, Repository},
    policy::Policy,
};

/// How long a judgement is kept that is a no, and how old what was seen may be for a no to be based on it:
/// somebody who signs the image meanwhile waits no longer than that.
const REFUSAL_TTL: Duration = Duration::from_secs(10);
/// How old a judgement may become that time alone may change, in seconds.
const TIMED_SECONDS: i64 = 60;
/// How many bytes of what was seen beside images are kept.
const EVIDENCE_BYTES: u64 = 32 << 20;
/// How many bytes of judgements are kept.
const JUDGEMENT_BYTES: u64 = 16 << 20;
/// How many images are examined at once. What is examined takes memory many times its size.
const EXAMINATIONS: usize = 8;

/// Judges images by what was published beside them: looked for once, examined once, however many reviews
/// want to know, and remembered.
///
/// A judgement is remembered for one digest under one name, one state of one policy, one state of keys and
/// trust roots, and one credential class, and for one minute where a condition asks for the time: what changes
/// any of them makes the next review look again.
pub(super) struct Judgements {
    known: Lookups<JudgementKey, Judged>,
    work: Arc<Work>,
}

/// What it takes to come to a judgement.
struct Work {
    attachments: Arc<dyn Attachments>,
    examiner: Arc<dyn Examiner>,
    clock: Arc<dyn Clock>,
    seen: Lookups<SightKey, Sight>,
    desks: Arc<Semaphore>,
    runtime: Handle,
}

/// One image that is to be judged by one policy.
#[derive(Clone)]
pub(super) struct Matter {
    pub(super) policy: Arc<Policy>,
    pub(super) image: ImageReference,
    pub(super) digest: Digest,
    /// What all policies together want to see beside the image, so that it is fetched once.
    pub(super) wanted: Attached,
}

/// A hash of all that a judgement hangs on.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct JudgementKey([u8; 32]);

/// What stands beside one image in one place, as one credential class sees it.
#[derive(Clone, Eq, Hash, PartialEq)]
struct SightKey {
    place: Repository,
    image: Digest,
    wanted: Attached,
    class: CredentialClass,
}

/// A judgement, and when what it is based on was seen.
#[derive(Clone)]
struct Judged {
    judgement: Arc<Judgement>,
    seen: Instant,
}

/// What was seen, and when.
#[derive(Clone)]
struct Sight {
    candidates: Arc<[Candidate]>,
    at: Instant,
}

impl Sight {
    /// Whether there is something, and all of it could be read. Anything else may be mended at any time.
    fn is_whole(&self) -> bool {
        let unreadable = |one: &Candidate| matches!(one.material, Material::Unreadable(_));
        !self.candidates.is_empty() && !self.candidates.iter().any(unreadable)
    }
}

/// Where one authority's signatures are, and with which credentials they may be asked for.
#[derive(Clone)]
struct Place {
    repository: Repository,
    credentials: Vec<Credential>,
}

impl Judgements {
    /// `ttl` is how long what was seen, and a judgement that is a yes, is kept.
    pub(super) fn new(
        (attachments, examiner): (Arc<dyn Attachments>, Arc<dyn Examiner>),
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CacheObserver>,
        runtime: Handle,
        ttl: Duration,
    ) -> Self {
        let sights = Memory {
            bytes: EVIDENCE_BYTES,
            weight: |_, answer: &Answer<Sight>| {
                512 + answer.as_ref().map_or(0, |sight| sight.candidates.iter().map(size).sum())
            },
            lifetime: Box::new(move |answer: &Answer<Sight>| match answer {
                Ok(sight) if sight.is_whole() => Some(ttl),
                _ => Some(REFUSAL_TTL.min(ttl)),
            }),
        };
        let judgements = Memory {
            bytes: JUDGEMENT_BYTES,
            weight: |_, answer: &Answer<Judged>| {
                answer.as_ref().map_or(1024, |judged| judged.judgement.size())
            },
            lifetime: Box::new(move |answer: &Answer<Judged>| match answer {
                Ok(Judged { judgement, .. }) if !judgement.is_conclusive() => None,
                // Not from now on: what is remembered twice must not live twice as long.
                Ok(Judged { judgement, seen }) if judgement.holds() => {
                    Some(ttl.saturating_sub(seen.elapsed()))
                }
                _ => Some(REFUSAL_TTL.min(ttl)),
            }),
        };
        let seen = Lookups::new(CacheName::Attachments, sights, observer.clone(), runtime.clone());
        let known = Lookups::new(CacheName::Judgement, judgements, observer, runtime.clone());
        let desks = Arc::new(Semaphore::new(EXAMINATIONS));
        Self { known, work: Arc::new(Work { attachments, examiner, clock, seen, desks, runtime }) }
    }

    /// By what the judgement of a matter is remembered, for whoever has the credentials of `keyring`.
    pub(super) fn key(
        &self,
        policy: &Policy,
        image: &ImageReference,
        digest: &Digest,
        keyring: &Keyring,
    ) -> JudgementKey {
        let mut hash = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let (id, version) = (policy.id(), policy.version());
        for text in [id.kind.as_str(), &id.namespace, &id.name, version.content.as_str(), digest.as_str()] {
            add(text.as_bytes());
        }
        add(&version.generation.to_be_bytes());
        add(&self.work.examiner.trust_version().to_be_bytes());
        if policy.changes_with_time() {
            add(&self.work.clock.now().as_second().div_euclid(TIMED_SECONDS).to_be_bytes());
        }
        add(image.name().as_bytes());
        add(image.tag().unwrap_or_default().as_bytes());
        add(CredentialClass::of(&keyring.lookup(image)).as_bytes());
        for source in policy.authorities().iter().filter_map(|authority| authority.source.as_ref()) {
            add(CredentialClass::of(&keyring.find(source.host(), source.path())).as_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        JudgementKey(key)
    }

    /// The judgement, if it is remembered.
    pub(super) fn known(&self, key: &JudgementKey) -> Option<Arc<Judgement>> {
        Some(self.known.known(key)?.ok()?.judgement)
    }

    /// Tells the observer of `count` questions that memory alone has answered.
    pub(super) fn observe_hits(&self, count: usize) {
        self.known.observe_hits(count);
    }

    /// The judgement. Where it is not known at the deadline it says so, and the work goes on and fills the
    /// cache for the retry. Counts as begun by `namespace`.
    pub(super) async fn find(
        &self,
        matter: Matter,
        keyring: &Keyring,
        namespace: &str,
        deadline: Instant,
    ) -> Arc<Judgement> {
        let key = self.key(&matter.policy, &matter.image, &matter.digest, keyring);
        let places = places(&matter, keyring);
        let asker = Asker { host: matter.image.host(), namespace };
        let ask = || {
            let (work, matter, namespace) = (self.work.clone(), matter.clone(), Box::<str>::from(namespace));
            async move { Ok(work.judge(matter, places, &namespace).await) }.boxed()
        };
        match self.known.find(key, asker, deadline, ask).await {
            Ok(Judged { judgement, .. }) => judgement,
            Err(error) => self.work.unseen(&matter, &error),
        }
    }

    /// The judgement where nobody could look.
    pub(super) fn unseen(&self, matter: &Matter, error: &RegistryError) -> Arc<Judgement> {
        self.work.unseen(matter, error)
    }
}

impl Work {
    async fn judge(self: &Arc<Self>, matter: Matter, places: Vec<Place>, namespace: &str) -> Judged {
        let judged = async |found: Vec<Answer<Sight>>| {
            let times = found.iter().filter_map(|sight| sight.as_ref().ok()).map(|sight| sight.at);
            let seen = times.min().unwrap_or_else(Instant::now);
            Judged { judgement: self.examine(&matter, &found).await, seen }
        };
        let first = judged(self.look(&matter, &places, namespace, false).await).await;
        if first.judgement.holds() || first.seen.elapsed() <= REFUSAL_TTL {
            return first;
        }
        // What was seen a while ago is good for a yes. For a no somebody must look again.
        judged(self.look(&matter, &places, namespace, true).await).await
    }

    /// What stands at each place; `afresh` does not take what is remembered for long.
    async fn look(
        self: &Arc<Self>,
        matter: &Matter,
        places: &[Place],
        namespace: &str,
        afresh: bool,
    ) -> Vec<Answer<Sight>> {
        let deadline = Instant::now() + FLIGHT_TIME;
        join_all(places.iter().map(|place| async move {
            let class = CredentialClass::of(&place.credentials);
            let (repository, image, wanted) =
                (place.repository.clone(), matter.digest.clone(), matter.wanted);
            let key = SightKey { place: repository, image, wanted, class };
            if afresh
                && self
                    .seen
                    .known(&key)
                    .is_some_and(|sight| sight.is_ok_and(|sight| sight.at.elapsed() > REFUSAL_TTL))
            {
                self.seen.forget(&key);
            }
            let asker = Asker { host: place.repository.host(), namespace };
            let ask = {
                let (attachments, key) = (self.attachments.clone(), key.clone());
                let credentials = place.credentials.clone();
                move || {
                    async move {
                        let SightKey { place, image, wanted, .. } = &key;
                        let deadline = Instant::now() + FLIGHT_TIME;
                        let found = attachments.beside(place, image, *wanted, &credentials, deadline).await?;
                        Ok(Sight { candidates: found.into(), at: Instant::now() })
                    }
                    .boxed()
                }
            };
            self.seen.find(key, asker, deadline, ask).await
        }))
        .await
    }

    async fn examine(self: &Arc<Self>, matter: &Matter, found: &[Answer<Sight>]) -> Arc<Judgement> {
        let found: Vec<_> = found.iter().map(|sight| sight.clone().map(|sight| sight.candidates)).collect();
        let Ok(desk) = self.desks.clone().acquire_owned().await else {
            return self.unseen(matter, &RegistryError::Overloaded);
        };
        let (work, matter_) = (self.clone(), matter.clone());
        let examining = self.runtime.spawn_blocking(move || {
            // Until it ends, also where nobody waits for it any more.
            let _desk = desk;
            let Matter { policy, image, digest, .. } = matter_;
            let evidence = work.examiner.examine(policy.authorities(), &found, &digest);
            judge_attached(&policy, &image, &digest, &evidence, work.clock.now())
        });
        match examining.await {
            Ok(judgement) => Arc::new(judgement),
            Err(_) => {
                let broken_off = RegistryError::Unreachable("the examination broke off".to_owned());
                self.unseen(matter, &broken_off)
            }
        }
    }

    fn unseen(&self, matter: &Matter, error: &RegistryError) -> Arc<Judgement> {
        let Matter { policy, image, digest, .. } = matter;
        let evidence = vec![AuthorityEvidence::Unseen(error.clone()); policy.authorities().len()];
        Arc::new(judge_attached(policy, image, digest, &evidence, self.clock.now()))
    }
}

/// Where the signatures of each of the policy's authorities are.
fn places(matter: &Matter, keyring: &Keyring) -> Vec<Place> {
    let place = |source: Option<&Repository>| {
        let repository = source.cloned().unwrap_or_else(|| Repository::from(&matter.image));
        let credentials = keyring.find(repository.host(), repository.path());
        Place { repository, credentials }
    };
    matter.policy.authorities().iter().map(|authority| place(authority.source.as_ref())).collect()
}

fn size(candidate: &Candidate) -> usize {
    let annotations = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations.iter().map(|(key, value)| key.len() + value.len() + 64).sum::<usize>()
    };
    256 + match &candidate.material {
        Material::Bundle(json) => json.len(),
        Material::SimpleSigning { payload: content, annotations: map }
        | Material::Envelope { envelope: content, annotations: map } => content.len() + annotations(map),
        Material::Unreadable(_) => 0,
    }
}
