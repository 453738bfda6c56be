use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use moka::{Expiry, sync::Cache};
use tokio::runtime::Handle;

use super::{
    credentials::{Credential, CredentialClass},
    ports::{CacheAnswer, CacheObserver, Resolver},
};
use crate::{
    evidence::ResolveError,
    image::{Digest, ImageReference},
};

/// How long a registry's own "no" is remembered: long enough to answer a burst of retries once, short
/// enough that somebody who pushes the missing image does not notice.
const REFUSAL_TTL: Duration = Duration::from_secs(5);
/// How long one look-up may take in the background, whatever the deadline of the review that began it.
const FLIGHT_TIME: Duration = Duration::from_secs(30);
/// How many look-ups may be under way at once.
const FLIGHT_LIMIT: usize = 1024;
/// How many bytes of references and digests are kept.
const CACHE_BYTES: u64 = 16 << 20;

type Answer = Result<Digest, ResolveError>;
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
    flights: Arc<Mutex<HashMap<Key, Flight>>>,
}

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
            .weigher(|key: &Key, _: &Answer| {
                let text = key.image.host().len()
                    + key.image.repository().len()
                    + key.image.tag().unwrap_or("").len();
                u32::try_from(text + 512).unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime { ttl })
            .build();
        Self { resolver, observer, runtime, known, flights: Arc::default() }
    }

    /// The answer, if it is remembered.
    pub(super) fn known(&self, key: &Key) -> Option<Answer> {
        let answer = self.known.get(key)?;
        self.observer.tag_cache(CacheAnswer::Hit);
        Some(answer)
    }

    /// The answer, asked for if need be; [`ResolveError::TimedOut`] at the deadline, while the look-up
    /// goes on and fills the cache for the retry.
    pub(super) async fn find(&self, key: Key, credentials: Vec<Credential>, deadline: Instant) -> Answer {
        if let Some(answer) = self.known(&key) {
            return answer;
        }
        let flight = self.join(key, credentials)?;
        tokio::time::timeout_at(deadline.into(), flight).await.unwrap_or(Err(ResolveError::TimedOut))
    }

    /// The look-up that is under way for `key`, or a new one.
    fn join(&self, key: Key, credentials: Vec<Credential>) -> Result<Flight, ResolveError> {
        // OK because nothing that holds this lock can panic
        let mut flights = self.flights.lock().unwrap();
        if let Some(flight) = flights.get(&key) {
            self.observer.tag_cache(CacheAnswer::Shared);
            return Ok(flight.clone());
        }
        if flights.len() >= FLIGHT_LIMIT {
            return Err(ResolveError::Overloaded);
        }
        self.observer.tag_cache(CacheAnswer::Miss);
        let landing = Landing { flights: self.flights.clone(), key: key.clone() };
        let (resolver, known) = (self.resolver.clone(), self.known.clone());
        let task = self.runtime.spawn(async move {
            let image = &landing.key.image;
            let answer = resolver.resolve(image, &credentials, Instant::now() + FLIGHT_TIME).await;
            if answer.as_ref().err().is_none_or(ResolveError::is_answer) {
                known.insert(landing.key.clone(), answer.clone());
            }
            drop(landing);
            answer
        });
        let flight = task
            .map(|ended| {
                ended.unwrap_or_else(|_| Err(ResolveError::Unreachable("the look-up broke off".to_owned())))
            })
            .boxed()
            .shared();
        flights.insert(key, flight.clone());
        Ok(flight)
    }
}

/// Takes a look-up out of the list when it ends, however it ends.
struct Landing {
    flights: Arc<Mutex<HashMap<Key, Flight>>>,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        // OK because nothing that holds this lock can panic
        self.flights.lock().unwrap().remove(&self.key);
    }
}

struct Lifetime {
    ttl: Duration,
}

impl Expiry<Key, Answer> for Lifetime {
    fn expire_after_create(&self, _: &Key, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(if answer.is_ok() { self.ttl } else { REFUSAL_TTL.min(self.ttl) })
    }
}
