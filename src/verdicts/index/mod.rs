use std::{
    array,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{currency::Currency, object, requests::Requests, source::Source};
use crate::{
    evidence::{ScanError, ScanVerdict},
    image::{Digest, ImageReference},
    review::ports::{KeptVerdict, ScanObserver, ScanRequest, VerdictKeeper, Verdicts, Watched},
};

/// In how many parts the index is kept. Whoever changes a verdict copies the list of one part.
const SHARDS: usize = 256;

/// All scan verdicts, by digest.
///
/// Who looks something up takes no lock and waits for nobody. Several verdicts on one digest are in the order of
/// their sources.
pub struct VerdictIndex {
    shards: [ArcSwap<Shard>; SHARDS],
    hasher: RandomState,
    /// By object; also what makes writers take turns.
    objects: Mutex<Objects>,
    sources: ArcSwap<Sources>,
    verdicts_current: Currency,
    sources_current: Currency,
    requests: Option<Requests>,
    observer: Arc<dyn ScanObserver>,
}

type Shard = HashMap<Digest, Arc<[Arc<ScanVerdict>]>, RandomState>;

#[derive(Debug, Default)]
struct Objects {
    by_name: HashMap<Box<str>, Object>,
    /// How many of them can be read.
    ready: usize,
}

#[derive(Debug)]
struct Object {
    version: Box<str>,
    verdict: Option<Arc<ScanVerdict>>,
}

#[derive(Debug, Default)]
struct Sources {
    all: Vec<Source>,
    names: Arc<[Box<str>]>,
}

impl VerdictIndex {
    /// An index of what somebody has handed over, and for which nobody scans anything. Empty so far.
    pub fn fixed(observer: Arc<dyn ScanObserver>) -> Arc<Self> {
        Arc::new(Self::new(None, observer, Currency::always))
    }

    /// An index for whoever follows a cluster, and the wishes for scans that are to be brought there, each an image as
    /// `repository:tag@digest`. Says that nobody knows anything until it has been vouched for.
    pub fn followed(observer: Arc<dyn ScanObserver>) -> (Arc<Self>, mpsc::Receiver<Box<str>>) {
        let (requests, wanted) = Requests::new();
        (Arc::new(Self::new(Some(requests), observer, Currency::never)), wanted)
    }

    fn new(requests: Option<Requests>, observer: Arc<dyn ScanObserver>, current: fn() -> Currency) -> Self {
        let hasher = RandomState::new();
        Self {
            shards: array::from_fn(|_| ArcSwap::from_pointee(Shard::with_hasher(hasher.clone()))),
            hasher,
            objects: Mutex::default(),
            sources: ArcSwap::default(),
            verdicts_current: current(),
            sources_current: current(),
            requests,
            observer,
        }
    }

    /// Takes what files hold in place of all that there was: verdicts and VulnerabilitySources by name, with their
    /// `spec`. Returns why which of the verdicts cannot be read.
    pub fn hold(
        &self,
        verdicts: Vec<(Box<str>, Value)>,
        sources: Vec<(Box<str>, Value)>,
    ) -> Vec<(Box<str>, String)> {
        let mut troubles = Vec::new();
        let kept = verdicts.into_iter().map(|(name, spec)| {
            let read = object::from_value(&name, spec);
            match &read {
                Ok(verdict) => {
                    troubles.extend(verdict.content.as_ref().err().map(|why| (name.clone(), why.clone())));
                }
                Err(unbound) => troubles.push((name.clone(), unbound.to_string())),
            }
            KeptVerdict { name, version: Box::default(), verdict: read.ok().map(Arc::new) }
        });
        let kept = kept.collect();
        self.verdicts_listed(kept);
        self.sources_listed(sources);
        troubles
    }

    fn currency(&self, what: Watched) -> &Currency {
        match what {
            Watched::Sources => &self.sources_current,
            Watched::Verdicts => &self.verdicts_current,
        }
    }

    fn shard_of(&self, digest: &Digest) -> usize {
        // OK because the remainder is less than the number of parts
        usize::try_from(self.hasher.hash_one(digest) % SHARDS as u64).unwrap()
    }

    /// What is known of all objects, also where somebody has panicked with it in hand: the next list mends it.
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `new` in the place of `old`, of which either may be none.
    fn exchange(&self, old: Option<&Arc<ScanVerdict>>, new: Option<&Arc<ScanVerdict>>) {
        let digests = [old, new].map(|verdict| verdict.map(|verdict| &verdict.digest));
        let other = digests[1].filter(|digest| digests[0] != Some(digest));
        for digest in [digests[0], other].into_iter().flatten() {
            let place = &self.shards[self.shard_of(digest)];
            let mut shard = Shard::clone(&place.load());
            let kept = shard.remove(digest).unwrap_or_default();
            let kept = kept.iter().filter(|one| old.is_none_or(|old| !Arc::ptr_eq(old, one)));
            let added = new.filter(|new| new.digest == *digest);
            let all: Vec<_> = kept.chain(added).cloned().collect();
            if !all.is_empty() {
                shard.insert(digest.clone(), in_order(all));
            }
            place.store(Arc::new(shard));
        }
    }

    fn tell(&self, objects: &Objects) {
        self.observer.verdicts(objects.ready, objects.by_name.len() - objects.ready);
    }
}

impl Objects {
    /// Puts `new` in the place of what is there under `name`, and returns that; none takes it away.
    fn exchange(&mut self, name: &str, new: Option<Object>) -> Option<Object> {
        let old = match new {
            Some(new) => {
                self.ready += usize::from(new.is_ready());
                self.by_name.insert(name.into(), new)
            }
            None => self.by_name.remove(name),
        };
        self.ready -= usize::from(old.as_ref().is_some_and(Object::is_ready));
        old
    }
}

impl Object {
    fn is_ready(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.content.is_ok())
    }
}

fn in_order(mut verdicts: Vec<Arc<ScanVerdict>>) -> Arc<[Arc<ScanVerdict>]> {
    verdicts.sort_by(|one, other| one.source.cmp(&other.source));
    verdicts.into()
}

impl Verdicts for VerdictIndex {
    fn of(&self, digest: &Digest) -> Result<Vec<Arc<ScanVerdict>>, ScanError> {
        let now = Instant::now();
        self.verdicts_current.check(now).map_err(ScanError::Unlisted)?;
        self.sources_current.check(now).map_err(ScanError::Unlisted)?;
        let shard = self.shards[self.shard_of(digest)].load();
        Ok(shard.get(digest).map_or_else(Vec::new, |verdicts| verdicts.to_vec()))
    }

    fn sources(&self) -> Arc<[Box<str>]> {
        self.sources.load().names.clone()
    }

    fn request(&self, image: &ImageReference, digest: &Digest) -> bool {
        let Some(requests) = &self.requests else { return false };
        let became = match self.sources.load().all.iter().any(|source| source.scans(image)) {
            false => ScanRequest::NoSource,
            true => {
                let written = || match image.tag() {
                    Some(tag) => format!("{}:{tag}@{digest}", image.name()).into(),
                    None => format!("{}@{digest}", image.name()).into(),
                };
                requests.pass_on(written, digest, Instant::now())
            }
        };
        self.observer.scan_request(became);
        matches!(became, ScanRequest::Accepted | ScanRequest::UnderWay)
    }
}

impl VerdictKeeper for VerdictIndex {
    fn read(&self, name: &str, version: &str, spec: Option<&str>) -> KeptVerdict {
        let known = self.objects().by_name.get(name).and_then(|object| {
            let same = !version.is_empty() && *object.version == *version;
            same.then(|| object.verdict.clone())
        });
        let verdict = known.unwrap_or_else(|| match object::from_json(name, spec) {
            Ok(verdict) => {
                if let Err(why) = &verdict.content {
                    tracing::warn!(verdict.name = name, error = %why, "a scan verdict cannot be read and counts as failing");
                }
                Some(Arc::new(verdict))
            }
            Err(unbound) => {
                tracing::warn!(verdict.name = name, error = %unbound, "a scan verdict is about no image");
                None
            }
        });
        KeptVerdict { name: name.into(), version: version.into(), verdict }
    }

    fn verdicts_listed(&self, all: Vec<KeptVerdict>) {
        let mut objects = self.objects();
        *objects = Objects::default();
        for KeptVerdict { name, version, verdict } in all {
            objects.exchange(&name, Some(Object { version, verdict }));
        }
        let mut by_digest: HashMap<&Digest, Vec<Arc<ScanVerdict>>> = HashMap::new();
        for verdict in objects.by_name.values().filter_map(|object| object.verdict.as_ref()) {
            by_digest.entry(&verdict.digest).or_default().push(verdict.clone());
        }
        let mut shards: [Shard; SHARDS] = array::from_fn(|_| Shard::with_hasher(self.hasher.clone()));
        for (digest, verdicts) in by_digest {
            shards[self.shard_of(digest)].insert(digest.clone(), in_order(verdicts));
        }
        for (place, shard) in self.shards.iter().zip(shards) {
            place.store(Arc::new(shard));
        }
        self.tell(&objects);
    }

    fn verdict_applied(&self, KeptVerdict { name, version, verdict }: KeptVerdict) {
        let mut objects = self.objects();
        let old = objects.exchange(&name, Some(Object { version, verdict: verdict.clone() }));
        self.exchange(old.and_then(|old| old.verdict).as_ref(), verdict.as_ref());
        self.tell(&objects);
    }

    fn verdict_deleted(&self, name: &str) {
        let mut objects = self.objects();
        if let Some(Object { verdict, .. }) = objects.exchange(name, None) {
            self.exchange(verdict.as_ref(), None);
        }
        self.tell(&objects);
    }

    fn sources_listed(&self, all: Vec<(Box<str>, Value)>) {
        let mut all: Vec<_> = all.into_iter().map(|(name, spec)| Source::read(name, &spec)).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let names = all.iter().map(|source| source.name.clone()).collect();
        self.sources.store(Arc::new(Sources { all, names }));
    }

    fn vouched(&self, what: Watched, time: Duration) {
        self.currency(what).vouch(Instant::now(), time);
    }

    fn failing(&self, what: Watched, why: String) {
        self.currency(what).failing(why);
    }
}

#[cfg(test)]
mod tests;
