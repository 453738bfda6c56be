//! Where keys and trust roots come from: what is in force after each change of what policies name.

mod faults;
mod material;
mod repositories;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use serde_json::{Value, json};
use sigstore_verify::trust_root::SigstoreInstance;
use tidewaiter::{
    evidence::{AuthorityError, RegistryError},
    policy::{self, KeyRef, ObjectKey, ObjectKind, ObjectName, PolicySet, RootRef, TrustRootReading},
    review::ports::{Mirror, ObjectContent},
    signature::Trust as _,
    trust::{Published, RefreshOutcome, TrustNamespaces, TrustObserver, TrustSettings, TrustStore},
};
use url::Url;

use crate::support::tuf::Files;

/// A `trusted_root.json` that works, and another one.
fn one_root() -> String {
    SigstoreInstance::PublicGood.embedded_trusted_root_json().to_owned()
}

fn another_root() -> String {
    SigstoreInstance::GitHub.embedded_trusted_root_json().to_owned()
}

/// A store that may read the namespace `trust`, and those who look on.
struct Scene {
    store: Arc<TrustStore>,
    mirror: Arc<Shown>,
    told: Arc<Told>,
}

impl Scene {
    fn new(settings: TrustSettings) -> Self {
        let (mirror, told) = (Arc::new(Shown::default()), Arc::new(Told::default()));
        let store = TrustStore::new(settings, mirror.clone(), told.clone());
        Self { store, mirror, told }
    }

    fn version(&self) -> u64 {
        self.store.current().version()
    }

    /// The fingerprint of a key, or why there is none.
    fn key(&self, key: &KeyRef) -> Result<String, AuthorityError> {
        self.store.current().key(key).map(|key| key.fingerprint().to_string())
    }

    /// The digest of a trust root, or why there is none.
    fn root(&self, name: &str) -> Result<String, AuthorityError> {
        let root = RootRef::Named(name.into());
        self.store.current().root(&root).map(|root| root.digest().to_string())
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new(settings())
    }
}

fn settings() -> TrustSettings {
    let namespaces = TrustNamespaces::Listed(["trust".into()].into());
    TrustSettings { namespaces, ..TrustSettings::default() }
}

/// A mirror in memory that shows files, and notes what it was asked for.
#[derive(Default)]
struct Shown {
    files: Mutex<Option<Files>>,
    asked: Mutex<Vec<String>>,
}

impl Shown {
    /// From now on it shows these.
    fn show(&self, files: Files) {
        *self.files.lock().unwrap() = Some(files);
    }

    /// From now on it cannot be reached.
    fn vanish(&self) {
        *self.files.lock().unwrap() = None;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Mirror for Shown {
    fn fetch<'a>(
        &'a self,
        url: &'a Url,
        limit: u64,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, RegistryError>> {
        self.asked.lock().unwrap().push(url.to_string());
        let name = url.as_str().strip_prefix(MIRROR).unwrap_or("elsewhere");
        let files = self.files.lock().unwrap();
        let answer = match &*files {
            None => Err(RegistryError::Unreachable("nobody is there".to_owned())),
            Some(files) => match files.get(name) {
                Some(file) if file.len() as u64 > limit => {
                    Err(RegistryError::TooLarge { what: "file", limit })
                }
                file => Ok(file.cloned()),
            },
        };
        ready(answer).boxed()
    }
}

const MIRROR: &str = "https://tuf.example.com/house/";

/// Remembers what the store tells.
#[derive(Default)]
struct Told {
    last: Mutex<Option<Published>>,
    refreshes: Mutex<Vec<(String, &'static str)>>,
}

impl Told {
    fn last(&self) -> Published {
        self.last.lock().unwrap().clone().unwrap()
    }

    fn refreshed(&self, root: &str) -> Option<Timestamp> {
        let last = self.last();
        last.refreshed.iter().find(|(name, _)| &**name == root).and_then(|(_, time)| *time)
    }

    /// How the last look at a repository ended.
    fn outcome(&self) -> &'static str {
        self.refreshes.lock().unwrap().last().unwrap().1
    }
}

impl TrustObserver for Told {
    fn published(&self, published: &Published) {
        *self.last.lock().unwrap() = Some(published.clone());
    }

    fn refreshed(&self, root: &str, outcome: RefreshOutcome) {
        self.refreshes.lock().unwrap().push((root.to_owned(), outcome.as_str()));
    }
}

/// Policies of the cluster, each with one authority by this `key` or `keyless` rule.
fn of_cluster(authorities: impl IntoIterator<Item = Value>) -> PolicySet {
    PolicySet::new(authorities.into_iter().enumerate().map(|(at, authority)| {
        policy(&json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
            "metadata": {"name": format!("p{at}")},
            "spec": {"signatures": {"authorities": [authority]}},
        }))
    }))
}

fn policy(document: &Value) -> Arc<policy::Policy> {
    let policy = policy::read(document).unwrap().policy;
    assert_eq!(policy.compile_error(), None);
    Arc::new(policy)
}

/// A policy of a team whose key is in the Secret `name` of its namespace.
fn of_team(namespace: &str, name: &str) -> Arc<policy::Policy> {
    policy(&json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageAdmissionPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"signatures": {"authorities": [{"name": "team", "key": {"secretRef": {"name": name}}}]}},
    }))
}

fn by_secret(namespace: &str, name: &str) -> Value {
    json!({"name": "release", "key": {"secretRef": {"namespace": namespace, "name": name}}})
}

/// An authority that needs the trust root `name`.
fn by_root(name: &str) -> Value {
    let identity = json!({"issuer": "https://issuer.example.com", "subject": "release@example.com"});
    json!({"name": "ci", "keyless": {"trustRootRef": {"name": name}, "identities": [identity]}})
}

fn root(name: &str, spec: Value) -> TrustRootReading {
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot",
        "metadata": {"name": name, "generation": 1}, "spec": spec,
    });
    policy::read_trust_root(&document).unwrap()
}

fn object_key(namespace: &str, name: &str, key: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.into(), name: name.into(), key: key.into() }
}

fn secret(namespace: &str, name: &str) -> ObjectName {
    ObjectName { kind: ObjectKind::Secret, namespace: namespace.into(), name: name.into() }
}

fn holding(key: &str, content: &str) -> ObjectContent {
    ObjectContent::Data(BTreeMap::from([(key.into(), Some(content.as_bytes().into()))]))
}
