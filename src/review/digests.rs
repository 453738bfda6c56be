use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use moka::{Expiry, sync::Cache};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    credentials::{Credential, CredentialClass},
    ports::{CacheAnswer, CacheObserver, Resolver},
};
use crate::{
    evidence::RegistryError,
    image::{Digest, ImageReference},
};

/// How long a registry's own "no" is remembered: long enough to answer a burst of retries once, short
/// enough that somebody who pushes the missing image does not notice.
const REFUSAL_TTL: Duration = Duration::from_secs(5);
/// How long one look-up may take in the background, whatever the deadline of the review that began it.
const FLIGHT_TIME: Duration = Duration::from_secs(30);
/// How many look-ups may be under way at once, and how many of them for one registry or begun by one
/// namespace: a registry that hangs, or a namespace that asks for a thousand images, must leave room
/// for everybody else.
const FLIGHT_LIMIT: usize = 1024;
const FLIGHT_LIMIT_PER_HOST: usize = 512;
const FLIGHT_LIMIT_PER_NAMESPACE: usize = 256;
/// How many bytes of references and digests are kept.
const CACHE_BYTES: u64 = 16 << 20;

type Answer = Result<Digest, RegistryError>;
type Flight = Shared<BoxFuture<'static, Answer>>;

/// Which digest a reference stands for, asked once however many reviews want to know, and remembered
/// briefly.
///
/// What one credential class learned is never told to another. "We could not ask" is never remembered.
pub(super) struct Digests {
    resolver: Arc<dyn Resolver>,
    observer: Arc<dyn CacheObserver>,
    runtime: Handle,
    known: Cache<Key, Answer>,
    flights: Arc<Mutex<Flights>>,
}

/// What is asked, and with which credentials.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct Key {
    image: ImageReference,
    class: CredentialClass,
}

impl Key {
    pub(super) fn new(image: &ImageReference, credentials: &[Credential]) -> Self {
        Self { image: image.clone(), class: CredentialClass::of(credentials) }
    }
}

impl Digests {
    /// `ttl` is how long a digest is believed; zero remembers nothing.
    pub(super) fn new(
        resolver: Arc<dyn Resolver>,
        observer: Arc<dyn CacheObserver>,
        runtime: Handle,
        ttl: Duration,
    ) -> Self {
        let known = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|key: &Key, answer: &Answer| {
                let image = &key.image;
                let name = image.host().len() + image.repository().len() + image.tag().map_or(0, str::len);
                let answer = match answer {
                    Ok(digest) => digest.as_str().len(),
                    Err(error) => error.to_string().len(),
                };
                u32::try_from(512 + name + answer).unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime { ttl })
            .build();
        Self { resolver, observer, runtime, known, flights: Arc::default() }
    }

    /// The answer, if it is remembered.
    pub(super) fn known(&self, key: &Key) -> Option<Answer> {
        self.known.get(key)
    }

    /// Tells the observer of `count` questions that memory alone has answered.
    pub(super) fn observe_hits(&self, count: usize) {
        for _ in 0..count {
            self.observer.tag_cache(CacheAnswer::Hit);
        }
    }

    /// The answer, asked for if need be; [`RegistryError::TimedOut`] at the deadline, while the look-up
    /// goes on and fills the cache for the retry. The look-up counts as begun by `namespace`.
    pub(super) async fn find(
        &self,
        key: Key,
        credentials: Vec<Credential>,
        namespace: &str,
        deadline: Instant,
    ) -> Answer {
        if let Some(answer) = self.known(&key) {
            self.observe_hits(1);
            return answer;
        }
        let flight = self.join(key, credentials, namespace)?;
        tokio::time::timeout_at(deadline.into(), flight).await.unwrap_or(Err(RegistryError::TimedOut))
    }

    /// The look-up that is under way for `key`, or a new one.
    fn join(&self, key: Key, credentials: Vec<Credential>, namespace: &str) -> Result<Flight, RegistryError> {
        let (landed, landing) = oneshot::channel();
        let boarding = lock(&self.flights).board(&key, namespace, landing);
        let flight = match boarding {
            Boarding::Joined(flight) => {
                self.observer.tag_cache(CacheAnswer::Shared);
                return Ok(flight);
            }
            Boarding::Full => return Err(RegistryError::Overloaded),
            Boarding::Begun(flight) => flight,
        };
        // From here on the flight leaves the list when this is dropped, also where the runtime is
        // shutting down and drops the task instead of running it.
        let departure = Departure { flights: self.flights.clone(), key, namespace: namespace.into() };
        // A flight may have landed since the cache was asked: it fills the cache before it leaves the
        // list, so this second look cannot miss it.
        if let Some(answer) = self.known(&departure.key) {
            drop(departure);
            self.observe_hits(1);
            // OK to lose because this review holds the other end in `flight`
            let _ = landed.send(answer);
            return Ok(flight);
        }
        self.observer.tag_cache(CacheAnswer::Miss);
        let (resolver, known) = (self.resolver.clone(), self.known.clone());
        self.runtime.spawn(async move {
            let image = &departure.key.image;
            let asking = resolver.resolve(image, &credentials, Instant::now() + FLIGHT_TIME);
            // The resolver keeps to its deadline; this is for the day on which it does not.
            let answer =
                tokio::time::timeout(FLIGHT_TIME, asking).await.unwrap_or(Err(RegistryError::TimedOut));
            if answer.as_ref().err().is_none_or(RegistryError::is_answer) {
                known.insert(departure.key.clone(), answer.clone());
            }
            // Out of the list before anybody hears, and only after the cache knows: whoever asks next
            // finds one of the two.
            drop(departure);
            // Nobody may be left who wants to hear.
            let _ = landed.send(answer);
        });
        Ok(flight)
    }
}

/// The look-ups that are under way.
#[derive(Default)]
struct Flights {
    by_key: HashMap<Key, Flight>,
    by_host: HashMap<Box<str>, usize>,
    by_namespace: HashMap<Box<str>, usize>,
}

enum Boarding {
    Joined(Flight),
    Begun(Flight),
    Full,
}

impl Flights {
    /// Joins the flight for `key`, or enters one that ends with what `landing` brings.
    fn board(&mut self, key: &Key, namespace: &str, landing: oneshot::Receiver<Answer>) -> Boarding {
        if let Some(flight) = self.by_key.get(key) {
            return Boarding::Joined(flight.clone());
        }
        let host = key.image.host();
        let under_way =
            |counts: &HashMap<Box<str>, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
        if self.by_key.len() >= FLIGHT_LIMIT
            || under_way(&self.by_host, host) >= FLIGHT_LIMIT_PER_HOST
            || under_way(&self.by_namespace, namespace) >= FLIGHT_LIMIT_PER_NAMESPACE
        {
            return Boarding::Full;
        }
        let broken_off = || Err(RegistryError::Unreachable("the look-up broke off".to_owned()));
        let flight = landing.map(move |answer| answer.unwrap_or_else(|_| broken_off())).boxed().shared();
        self.by_key.insert(key.clone(), flight.clone());
        *self.by_host.entry(host.into()).or_default() += 1;
        *self.by_namespace.entry(namespace.into()).or_default() += 1;
        Boarding::Begun(flight)
    }

    fn leave(&mut self, key: &Key, namespace: &str) {
        self.by_key.remove(key);
        for (counts, name) in [(&mut self.by_host, key.image.host()), (&mut self.by_namespace, namespace)] {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

/// Takes a look-up out of the list when it ends, however it ends.
struct Departure {
    flights: Arc<Mutex<Flights>>,
    key: Key,
    namespace: Box<str>,
}

impl Drop for Departure {
    fn drop(&mut self) {
        lock(&self.flights).leave(&self.key, &self.namespace);
    }
}

/// The list, also where somebody has panicked with it in hand: a look-up too many or too few is better
/// than no more answers.
fn lock(flights: &Mutex<Flights>) -> MutexGuard<'_, Flights> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lifetime {
    ttl: Duration,
}

impl Expiry<Key, Answer> for Lifetime {
    fn expire_after_create(&self, _: &Key, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(if answer.is_ok() { self.ttl } else { REFUSAL_TTL.min(self.ttl) })
    }

    /// A newer answer lives as long as any other, not only for what the older one had left.
    fn expire_after_update(
        &self,
        key: &Key,
        answer: &Answer,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, updated)
    }
}
