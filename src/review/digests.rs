use std::{sync::Arc, time::Duration, time::Instant};

use futures::FutureExt as _;
use tokio::runtime::Handle;

use super::{
    credentials::{Credential, CredentialClass},
    lookups::{Answer, Asker, FLIGHT_TIME, Lookups, Memory},
    ports::{CacheName, CacheObserver, Resolver},
};
use crate::image::{Digest, ImageReference};

/// How long a registry's own "no" is remembered: long enough to answer a burst of retries once, short
/// enough that somebody who pushes the missing image does not notice.
const REFUSAL_TTL: Duration = Duration::from_secs(5);
/// How many bytes of references and digests are kept.
const CACHE_BYTES: u64 = 16 << 20;

/// Which digest a reference stands for, asked once however many reviews want to know, and remembered
/// briefly.
///
/// What one credential class learned is never told to another. "We could not ask" is never remembered.
pub(super) struct Digests {
    resolver: Arc<dyn Resolver>,
    lookups: Lookups<Key, Digest>,
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
        let memory = Memory {
            bytes: CACHE_BYTES,
            weight,
            lifetime: Box::new(move |answer| Some(if answer.is_ok() { ttl } else { REFUSAL_TTL.min(ttl) })),
        };
        Self { resolver, lookups: Lookups::new(CacheName::Tag, memory, observer, runtime) }
    }

    /// The answer, if it is remembered.
    pub(super) fn known(&self, key: &Key) -> Option<Answer<Digest>> {
        self.lookups.known(key)
    }

    /// Tells the observer of `count` questions that memory alone has answered.
    pub(super) fn observe_hits(&self, count: usize) {
        self.lookups.observe_hits(count);
    }

    /// The answer, asked for if need be. The look-up counts as begun by `namespace`.
    pub(super) async fn find(
        &self,
        key: Key,
        credentials: Vec<Credential>,
        namespace: &str,
        deadline: Instant,
    ) -> Answer<Digest> {
        let (resolver, image) = (self.resolver.clone(), key.image.clone());
        let host = key.image.host().to_owned();
        let ask = move || {
            async move { resolver.resolve(&image, &credentials, Instant::now() + FLIGHT_TIME).await }.boxed()
        };
        self.lookups.find(key, Asker { host: &host, namespace }, deadline, ask).await
    }
}

fn weight(key: &Key, answer: &Answer<Digest>) -> usize {
    let image = &key.image;
    let name = image.host().len() + image.repository().len() + image.tag().map_or(0, str::len);
    let answer = match answer {
        Ok(digest) => digest.as_str().len(),
        Err(error) => error.to_string().len(),
    };
    512 + name + answer
}
