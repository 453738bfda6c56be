use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;

use crate::{
    evidence::RegistryError,
    image::{Digest, ImageReference},
    policy::PolicySet,
    registry::Registries,
    review::{
        credentials::Credential,
        ports::{Clock, Labels, LookupError, Namespaces, Policies, Resolver},
    },
};

/// What surrounds the webhook during one case: its policies, its namespace and its time of day.
#[derive(Default)]
pub struct Scene(ArcSwap<Setting>);

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
    pub fn set(&self, setting: Setting) {
        self.0.store(Arc::new(setting));
    }
}

impl Policies for Scene {
    fn current(&self) -> Arc<PolicySet> {
        self.0.load().policies.clone()
    }
}

impl Namespaces for Scene {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(self.0.load().labels.clone())
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Ok(self.0.load().labels.clone())).boxed()
    }
}

impl Clock for Scene {
    fn now(&self) -> Timestamp {
        self.0.load().now.unwrap_or_else(Timestamp::now)
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
        deadline: std::time::Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        async move {
            if image.host() != self.name {
                return Err(RegistryError::Unreachable(
                    "the demo asks nobody outside this machine".to_owned(),
                ));
            }
            let moved = image.to_string().replacen(self.name, &self.place, 1);
            let moved = moved.parse().map_err(|_| RegistryError::NotFound)?;
            self.registries.resolve(&moved, credentials, deadline).await
        }
        .boxed()
    }
}
