//! The ports of a review where no cluster is at hand.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;

use crate::{
    policy::PolicySet,
    review::ports::{
        CacheAnswer, CacheName, CacheObserver, Clock, Labels, LookupError, Namespaces, Policies,
        RegistryExchange, RegistryObserver, ScanObserver, ScanRequest,
    },
    trust::{Published, RefreshOutcome, TrustObserver},
};

/// Policies that stay as they are until others are put in their place.
#[derive(Default)]
pub struct HeldPolicies(ArcSwap<PolicySet>);

impl HeldPolicies {
    /// From now on these are in force.
    pub fn hold(&self, policies: PolicySet) {
        self.0.store(Arc::new(policies));
    }
}

impl Policies for HeldPolicies {
    fn current(&self) -> Arc<PolicySet> {
        self.0.load_full()
    }
}

/// Namespaces as somebody said that they are.
pub struct StatedNamespaces {
    known: HashMap<String, Arc<Labels>>,
    common: Labels,
    name_label: &'static str,
}

impl StatedNamespaces {
    /// Every namespace has the labels in `common`, its name under `name_label`, and its own of `known`.
    pub fn new(known: HashMap<String, Labels>, common: Labels, name_label: &'static str) -> Self {
        let mut namespaces = Self { known: HashMap::new(), common, name_label };
        for (name, own) in known {
            let mut labels = namespaces.labels(&name);
            labels.extend(own);
            namespaces.known.insert(name, Arc::new(labels));
        }
        namespaces
    }

    fn labels(&self, namespace: &str) -> Labels {
        let mut labels = self.common.clone();
        labels.insert(self.name_label.to_owned(), namespace.to_owned());
        labels
    }
}

impl Namespaces for StatedNamespaces {
    fn known(&self, namespace: &str) -> Option<Arc<Labels>> {
        Some(self.known.get(namespace).cloned().unwrap_or_else(|| Arc::new(self.labels(namespace))))
    }

    fn fetch<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(self.known(namespace).ok_or_else(|| LookupError("nobody said".to_owned()))).boxed()
    }
}

/// Nobody can say anything of a namespace. A policy that selects by labels then refuses what it could
/// match: not knowing is no reason to pass it over.
pub struct UnknownNamespaces;

impl Namespaces for UnknownNamespaces {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        None
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Err(LookupError("there is no cluster to ask".to_owned()))).boxed()
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Nobody watches.
pub struct Unobserved;

impl CacheObserver for Unobserved {
    fn cache(&self, _: CacheName, _: CacheAnswer) {}
}

impl RegistryObserver for Unobserved {
    fn registry_request(&self, _: &RegistryExchange<'_>) {}
}

impl ScanObserver for Unobserved {
    fn verdicts(&self, _: usize, _: usize) {}

    fn scan_request(&self, _: ScanRequest) {}
}

impl TrustObserver for Unobserved {
    fn published(&self, _: &Published) {}

    fn refreshed(&self, _: &str, _: RefreshOutcome) {}
}
