use std::{collections::HashMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;

use crate::{
    evidence::{Attached, AuthorityError, Candidate, RegistryError},
    image::{Digest, ImageReference, Repository},
    policy::{KeyRef, ObjectKey, PolicySet, PublicKey, RootRef},
    registry::Registries,
    review::{
        credentials::Credential,
        ports::{
            Attachments, Clock, ImagePlatform, Labels, LookupError, Namespaces, Platforms, Policies, Resolver,
        },
    },
    signature::{Trust, TrustRoot, Trusted},
};

/// What surrounds the webhook during one case: its policies, its namespace, its time of day, and the keys and
/// trust roots that policies name.
pub struct Scene {
    setting: ArcSwap<Setting>,
    keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    trusted: ArcSwap<Trusted>,
}

/// One setting of a [`Scene`].
#[derive(Clone, Default)]
pub struct Setting {
    pub policies: Arc<PolicySet>,
    /// The labels that every namespace has.
    pub labels: Arc<Labels>,
    /// None is the machine's own time.
    pub now: Option<Timestamp>,
}

impl Scene {
    /// `secret` is what the Secret `tidewaiter/release-keys` holds: keys in PEM.
    pub fn new(secret: impl IntoIterator<Item = (&'static str, String)>) -> anyhow::Result<Self> {
        let mut keys = HashMap::new();
        for (key, pem) in secret {
            let place =
                ObjectKey { namespace: "tidewaiter".into(), name: "release-keys".into(), key: key.into() };
            keys.insert(KeyRef::Secret(place), Ok(PublicKey::from_pem(&pem)?));
        }
        let trusted = ArcSwap::from_pointee(Trusted::new(1, keys.clone(), HashMap::new()));
        Ok(Self { setting: ArcSwap::default(), keys, trusted })
    }

    pub fn set(&self, setting: Setting) {
        self.setting.store(Arc::new(setting));
    }

    /// From now on these are the trust roots that there are.
    pub fn trust(&self, roots: impl IntoIterator<Item = (RootRef, Arc<TrustRoot>)>) {
        let roots = roots.into_iter().map(|(name, root)| (name, Ok(root))).collect();
        let version = self.trusted.load().version() + 1;
        self.trusted.store(Arc::new(Trusted::new(version, self.keys.clone(), roots)));
    }
}

impl Trust for Scene {
    fn current(&self) -> Arc<Trusted> {
        self.trusted.load_full()
    }
}

impl Policies for Scene {
    fn current(&self) -> Arc<PolicySet> {
        self.setting.load().policies.clone()
    }
}

impl Namespaces for Scene {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(self.setting.load().labels.clone())
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Ok(self.setting.load().labels.clone())).boxed()
    }
}

impl Clock for Scene {
    fn now(&self) -> Timestamp {
        self.setting.load().now.unwrap_or_else(Timestamp::now)
    }
}

/// Says where, in this demo, the registry of the manifests is. All others cannot be reached: nothing
/// leaves the machine.
pub struct Signpost {
    pub registries: Registries,
    /// The registry's name in manifests.
    pub name: &'static str,
    /// Where it really is.
    pub place: String,
}

impl Resolver for Signpost {
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        async move {
            if image.host() != self.name {
                return Err(outside());
            }
            let moved = image.to_string().replacen(self.name, &self.place, 1);
            let moved = moved.parse().map_err(|_| RegistryError::NotFound)?;
            self.registries.resolve(&moved, credentials, deadline).await
        }
        .boxed()
    }
}

impl Attachments for Signpost {
    fn beside<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        wanted: Attached,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>> {
        async move {
            if place.host() != self.name {
                return Err(outside());
            }
            let moved = format!("{}/{}", self.place, place.path()).parse();
            let moved = moved.map_err(|_| RegistryError::NotFound)?;
            self.registries.beside(&moved, image, wanted, credentials, deadline).await
        }
        .boxed()
    }
}

impl Platforms for Signpost {
    fn platforms<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>> {
        async move {
            if place.host() != self.name {
                return Err(outside());
            }
            let moved = format!("{}/{}", self.place, place.path()).parse();
            let moved = moved.map_err(|_| RegistryError::NotFound)?;
            self.registries.platforms(&moved, image, credentials, deadline).await
        }
        .boxed()
    }
}

fn outside() -> RegistryError {
    RegistryError::Unreachable("the demo asks nobody outside this machine".to_owned())
}
