use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use moka::{Expiry, sync::Cache};
use tokio::{runtime::Handle, sync::oneshot};

use super::ports::{CacheAnswer, CacheName, CacheObserver};
use crate::evidence::RegistryError;

/// How long one look-up may take in the background, whatever the deadline of the review that began it.
pub(super) const FLIGHT_TIME: Duration = Duration::from_secs(30);
/// How many look-ups of one kind may be under way at once, and how many of them for one registry or begun
/// by one namespace: a registry that hangs, or a namespace that asks for a thousand images, must leave room
/// for everybody else.
const FLIGHT_LIMIT: usize = 1024;
const FLIGHT_LIMIT_PER_HOST: usize = 512;
const FLIGHT_LIMIT_PER_NAMESPACE: usize = 256;

pub(super) type Answer<V> = Result<V, RegistryError>;
type Flight<V> = Shared<BoxFuture<'static, Answer<V>>>;
type LifetimeOf<V> = Box<dyn Fn(&Answer<V>) -> Option<Duration> + Send + Sync>;

/// Questions of one kind, each asked once however many reviews want to know, and remembered for as long as
/// its answer is worth.
pub(super) struct Lookups<K, V> {
    name: CacheName,
    observer: Arc<dyn CacheObserver>,
    runtime: Handle,
    known: Cache<K, Answer<V>>,
    flights: Arc<Mutex<Flights<K, V>>>,
}

/// What a kind of questions remembers, and for how long.
pub(super) struct Memory<K, V> {
    /// The most bytes that are kept.
    pub(super) bytes: u64,
    /// How many bytes one answer takes up.
    pub(super) weight: fn(&K, &Answer<V>) -> usize,
    /// How long an answer is kept; none not at all.
    pub(super) lifetime: LifetimeOf<V>,
}

/// Who asks: what bounds how many look-ups are begun.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The registry that is asked.
    pub(super) host: &'a str,
    /// The namespace whose review it is.
    pub(super) namespace: &'a str,
}

impl<K, V> Lookups<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(
        name: CacheName,
        memory: Memory<K, V>,
        observer: Arc<dyn CacheObserver>,
        runtime: Handle,
    ) -> Self {
        let Memory { bytes, weight, lifetime } = memory;
        let known = Cache::builder()
            .max_capacity(bytes)
            .weigher(move |key: &K, answer: &Answer<V>| {
                u32::try_from(weight(key, answer)).unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime(lifetime))
            .build();
        Self { name, observer, runtime, known, flights: Arc::new(Mutex::new(Flights::default())) }
    }

    /// The answer, if it is remembered.
    pub(super) fn known(&self, key: &K) -> Option<Answer<V>> {
        self.known.get(key)
    }

    /// Forgets the answer, so that it is asked for again.
    pub(super) fn forget(&self, key: &K) {
        self.known.invalidate(key);
    }

    /// Tells the observer of `count` questions that memory alone has answered.
    pub(super) fn observe_hits(&self, count: usize) {
        for _ in 0..count {
            self.observer.cache(self.name, CacheAnswer::Hit);
        }
    }

    /// The answer, asked for if need be; [`RegistryError::TimedOut`] at the deadline, while the look-up
    /// goes on and fills the cache for the retry. "We could not ask" is never remembered.
    pub(super) async fn find(
        &self,
        key: K,
        asker: Asker<'_>,
        deadline: Instant,
        ask: impl FnOnce() -> BoxFuture<'static, Answer<V>>,
    ) -> Answer<V> {
        if let Some(answer) = self.known(&key) {
            self.observe_hits(1);
            return answer;
        }
        let flight = self.join(key, asker, ask)?;
        tokio::time::timeout_at(deadline.into(), flight).await.unwrap_or(Err(RegistryError::TimedOut))
    }

    /// The look-up that is under way for `key`, or a new one.
    fn join(
        &self,
        key: K,
        asker: Asker<'_>,
        ask: impl FnOnce() -> BoxFuture<'static, Answer<V>>,
    ) -> Result<Flight<V>, RegistryError> {
        let (landed, landing) = oneshot::channel();
        let boarding = lock(&self.flights).board(&key, asker, landing);
        let flight = match boarding {
            Boarding::Joined(flight) => {
                self.observer.cache(self.name, CacheAnswer::Shared);
                return Ok(flight);
            }
            Boarding::Full => return Err(RegistryError::Overloaded),
            Boarding::Begun(flight) => flight,
        };
        // From here on the flight leaves the list when this is dropped, also where the runtime is
        // shutting down and drops the task instead of running it.
        let departure = Departure {
            flights: self.flights.clone(),
            key,
            host: asker.host.into(),
            namespace: asker.namespace.into(),
        };
        // A flight may have landed since the cache was asked: it fills the cache before it leaves the
        // list, so this second look cannot miss it.
        if let Some(answer) = self.known(&departure.key) {
            drop(departure);
            self.observe_hits(1);
            // OK to lose because this review holds the other end in `flight`
            let _ = landed.send(answer);
            return Ok(flight);
        }
        self.observer.cache(self.name, CacheAnswer::Miss);
        let (known, asking) = (self.known.clone(), ask());
        self.runtime.spawn(async move {
            // Whoever answers keeps to its deadline; this is for the day on which it does not.
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
struct Flights<K, V> {
    by_key: HashMap<K, Flight<V>>,
    by_host: HashMap<Box<str>, usize>,
    by_namespace: HashMap<Box<str>, usize>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), by_host: HashMap::new(), by_namespace: HashMap::new() }
    }
}

enum Boarding<V> {
    Joined(Flight<V>),
    Begun(Flight<V>),
    Full,
}

impl<K: Clone + Eq + Hash, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// Joins the flight for `key`, or enters one that ends with what `landing` brings.
    fn board(&mut self, key: &K, asker: Asker<'_>, landing: oneshot::Receiver<Answer<V>>) -> Boarding<V> {
        if let Some(flight) = self.by_key.get(key) {
            return Boarding::Joined(flight.clone());
        }
        let under_way =
            |counts: &HashMap<Box<str>, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
        if self.by_key.len() >= FLIGHT_LIMIT
            || under_way(&self.by_host, asker.host) >= FLIGHT_LIMIT_PER_HOST
            || under_way(&self.by_namespace, asker.namespace) >= FLIGHT_LIMIT_PER_NAMESPACE
        {
            return Boarding::Full;
        }
        let broken_off = || Err(RegistryError::Unreachable("the look-up broke off".to_owned()));
        let flight = landing.map(move |answer| answer.unwrap_or_else(|_| broken_off())).boxed().shared();
        self.by_key.insert(key.clone(), flight.clone());
        *self.by_host.entry(asker.host.into()).or_default() += 1;
        *self.by_namespace.entry(asker.namespace.into()).or_default() += 1;
        Boarding::Begun(flight)
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    fn leave(&mut self, key: &K, host: &str, namespace: &str) {
        self.by_key.remove(key);
        for (counts, name) in [(&mut self.by_host, host), (&mut self.by_namespace, namespace)] {
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
struct Departure<K: Eq + Hash, V> {
    flights: Arc<Mutex<Flights<K, V>>>,
    key: K,
    host: Box<str>,
    namespace: Box<str>,
}

impl<K: Eq + Hash, V> Drop for Departure<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).leave(&self.key, &self.host, &self.namespace);
    }
}

/// The list, also where somebody has panicked with it in hand: a look-up too many or too few is better
/// than no more answers.
fn lock<K, V>(flights: &Mutex<Flights<K, V>>) -> MutexGuard<'_, Flights<K, V>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lifetime<V>(LifetimeOf<V>);

impl<K, V> Expiry<K, Answer<V>> for Lifetime<V> {
    fn expire_after_create(&self, _: &K, answer: &Answer<V>, _: Instant) -> Option<Duration> {
        Some((self.0)(answer).unwrap_or_default())
    }

    /// A newer answer lives as long as any other, not only for what the older one had left.
    fn expire_after_update(
        &self,
        key: &K,
        answer: &Answer<V>,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, answer, updated)
    }
}
