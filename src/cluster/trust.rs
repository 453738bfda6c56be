//! What keys and trust roots come from: ImageTrustRoots, Secrets and ConfigMaps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    fmt::Debug,
    panic::catch_unwind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, Unit};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{
    Api, Client, CustomResourceExt as _, Resource,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    failure::Failure,
    index::raw_document,
    standing::{Contact, Standing, WatchState},
    watch::{Change, Pace, Subject, follow, in_time},
};
use crate::{
    api::v1alpha1::{ImageTrustRoot, ImageTrustRootStatus},
    decision::printable,
    policy::{self, CompileError, FieldError, ObjectKind, ObjectName, TrustRootReading},
    review::ports::{ObjectContent, TrustMaterial, TrustRootState},
};

/// How long changes are gathered before they are passed on together.
const GATHER: Duration = Duration::from_millis(50);
/// The shortest time between two statuses of one trust root. Replicas that do not agree take turns no faster.
const STATUS_PAUSE: Duration = Duration::from_secs(10);
/// The pause after a status that could not be written.
const STATUS_RETRY: Duration = Duration::from_secs(60);
/// By how much a refresh must be newer than the one that is stored for it to be worth a write.
const REFRESH_STEP: i64 = 60;
const INSTALL: &str = "install the definitions with `tidewaiter crds | kubectl apply -f -`";
const RESOURCE: &str = "imagetrustroots.tidewaiter.dev";
/// The name by which the API server knows who wrote a status.
const MANAGER: &str = "tidewaiter";
/// The longest text of a status, in bytes.
const MESSAGE: usize = 600;

/// The cluster's trust roots, and the Secrets and ConfigMaps that keys and roots come from.
///
/// Each Secret and ConfigMap is followed by itself, by name, so that rights can be granted for single ones
/// (`resourceNames`). Only the keys of its data that are wanted leave this room. What was read stays known
/// while it cannot be read again; what never could be read says why.
pub struct WatchedTrust {
    standing: Arc<Standing>,
}

/// What is shared by the parts of the watch.
struct Shared {
    client: Client,
    material: Arc<dyn TrustMaterial>,
    pace: Pace,
    known: Mutex<BTreeMap<Box<str>, Known>>,
    changed: Notify,
    observed: Notify,
}

/// An ImageTrustRoot as it was last seen.
struct Known {
    reading: TrustRootReading,
    status: ImageTrustRootStatus,
}

impl WatchedTrust {
    /// Begins to follow on `runtime`, which must be the one that `client` was made on, and brings what it
    /// finds to `material`.
    ///
    /// The task never ends by itself. If it does end, by a panic, changes no longer come into force:
    /// the state is [`WatchState::Failing`] from then on, and the process had better end too.
    pub fn start(
        client: Client,
        material: Arc<dyn TrustMaterial>,
        runtime: &Handle,
    ) -> (Self, JoinHandle<Infallible>) {
        Self::start_at(Pace::default(), client, material, runtime)
    }

    pub(super) fn start_at(
        pace: Pace,
        client: Client,
        material: Arc<dyn TrustMaterial>,
        runtime: &Handle,
    ) -> (Self, JoinHandle<Infallible>) {
        let standing = Standing::new(2);
        let shared = Arc::new(Shared {
            client,
            material,
            pace,
            known: Mutex::default(),
            changed: Notify::new(),
            observed: Notify::new(),
        });
        let task = runtime.spawn(run(shared, standing.clone()));
        (Self { standing }, task)
    }

    /// Whether the trust roots are what the API server stores. Says nothing of Secrets and ConfigMaps: a
    /// team that names one which nobody may read makes its own policy fail, and not the process.
    pub fn state(&self) -> watch::Receiver<WatchState> {
        self.standing.subscribe()
    }
}

async fn run(shared: Arc<Shared>, standing: Arc<Standing>) -> Infallible {
    let _ending = standing.watch_end(1, "trust roots");
    let subject = Subject {
        resource: RESOURCE,
        install: INSTALL,
        fields: None,
        standing: standing.clone(),
        part: 0,
        contact: Contact::new(),
        pace: shared.pace,
    };
    let api = Api::<DynamicObject>::all_with(shared.client.clone(), &ImageTrustRoot::api_resource());
    tokio::select! {
        never = follow(api, subject, |change| shared.change(change)) => never,
        never = shared.publish(&standing) => never,
        never = shared.clone().follow_objects() => never,
        never = shared.write_statuses() => never,
    }
}

impl Shared {
    fn change(&self, change: Change<DynamicObject>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Listed(objects) => *known = objects.into_iter().map(read).collect(),
            Change::Applied(object) => known.extend([read(object)]),
            Change::Deleted(object) => {
                known.remove(object.metadata.name.unwrap_or_default().as_str());
            }
        }
        drop(known);
        self.changed.notify_one();
        self.observed.notify_one();
    }

    /// Passes trust roots on. A status that changes, our own included, is no news for whoever makes them.
    async fn publish(&self, standing: &Standing) -> Infallible {
        let mut published: Option<Vec<TrustRootReading>> = None;
        loop {
            self.changed.notified().await;
            sleep(GATHER).await;
            let readings: Vec<_> = {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.values().map(|known| known.reading.clone()).collect()
            };
            if published.as_ref() != Some(&readings) {
                self.material.roots(readings.clone());
                published = Some(readings);
            }
            standing.set(1, WatchState::Ready);
        }
    }

    /// Keeps one task for each object that is wanted.
    async fn follow_objects(self: Arc<Self>) -> Infallible {
        let mut wanted = self.material.wanted();
        let mut tasks = JoinSet::new();
        let mut kept: HashMap<ObjectName, (BTreeSet<Box<str>>, AbortHandle)> = HashMap::new();
        loop {
            let now = wanted.borrow_and_update().clone();
            kept.retain(|name, (keys, task)| {
                let stays = now.get(name) == Some(keys) && !task.is_finished();
                if !stays {
                    task.abort();
                }
                stays
            });
            for (name, keys) in now.iter() {
                if !kept.contains_key(name) {
                    let task = tasks.spawn(self.clone().follow_object(name.clone(), keys.clone()));
                    kept.insert(name.clone(), (keys.clone(), task));
                }
            }
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        // Nobody wants anything any more, nor ever will.
                        std::future::pending::<()>().await;
                    }
                }
                // Only a panic ends a task that nobody has ended.
                Some(ended) = tasks.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        sleep(self.pace.longest_pause).await;
                    }
                }
            }
        }
    }

    async fn follow_object(self: Arc<Self>, name: ObjectName, keys: BTreeSet<Box<str>>) -> Infallible {
        match name.kind {
            ObjectKind::ConfigMap => self.follow_data::<ConfigMap>(&name, &keys, "configmaps").await,
            ObjectKind::Secret => self.follow_data::<Secret>(&name, &keys, "secrets").await,
        }
    }

    async fn follow_data<K>(
        &self,
        name: &ObjectName,
        keys: &BTreeSet<Box<str>>,
        resource: &'static str,
    ) -> Infallible
    where
        K: Clone
            + Data
            + Debug
            + DeserializeOwned
            + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let standing = Standing::new(1);
        let mut state = standing.subscribe();
        let subject = Subject {
            resource,
            install: "is this a Kubernetes API server?",
            // Also what makes the API server look for a right to this one object.
            fields: Some(format!("metadata.name={}", name.name)),
            standing,
            part: 0,
            contact: Contact::new(),
            pace: self.pace,
        };
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        let read = Mutex::new(false);
        let following = follow(api, subject, |change| {
            let content = match change {
                Change::Listed(objects) => {
                    objects.first().map_or(ObjectContent::Absent, |one| one.take(keys))
                }
                Change::Applied(object) => object.take(keys),
                Change::Deleted(_) => ObjectContent::Absent,
            };
            self.material.object(name, content);
            *read.lock().unwrap_or_else(PoisonError::into_inner) = true;
        });
        let failing = async {
            loop {
                let failure = match &*state.borrow_and_update() {
                    WatchState::Failing(why) => Some(printable(why, MESSAGE)),
                    WatchState::Listing | WatchState::Ready => None,
                };
                if let Some(why) = failure
                    && !*read.lock().unwrap_or_else(PoisonError::into_inner)
                {
                    self.material.object(name, ObjectContent::Unreadable(why));
                }
                if state.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            never = following => never,
            never = failing => never,
        }
    }

    /// Writes what has become of trust roots, where that is not what is stored. A failure is told and tried
    /// again later: a status is for people, and no decision hangs on it.
    async fn write_statuses(&self) -> Infallible {
        let mut states = self.material.states();
        let mut next: HashMap<Box<str>, Instant> = HashMap::new();
        loop {
            let now = states.borrow_and_update().clone();
            let mut again: Option<Instant> = None;
            next.retain(|name, _| now.iter().any(|state| state.name == *name));
            for state in now.iter() {
                let Some(status) = self.status(state) else { continue };
                let at = next.get(&state.name).copied().unwrap_or_else(Instant::now);
                if at > Instant::now() {
                    again = Some(again.map_or(at, |again| again.min(at)));
                    continue;
                }
                let pause = match self.write(&state.name, &status).await {
                    Ok(()) => STATUS_PAUSE,
                    // It has gone meanwhile.
                    Err(failure) if failure.code() == Some(404) => STATUS_PAUSE,
                    Err(failure) => {
                        let remedy = failure.remedy().unwrap_or("it is tried again in a minute");
                        tracing::warn!(trust.root = &*state.name, error = %failure, "cannot write a status: {remedy}");
                        STATUS_RETRY
                    }
                };
                let at = Instant::now() + pause;
                next.insert(state.name.clone(), at);
                if pause == STATUS_RETRY {
                    again = Some(again.map_or(at, |again| again.min(at)));
                }
            }
            let alarm = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = states.changed() => {}
                () = self.observed.notified() => {}
                () = alarm => {}
            }
            sleep(GATHER).await;
        }
    }

    /// The status to write; none if the stored one says the same, or speaks of something newer.
    fn status(&self, state: &TrustRootState) -> Option<ImageTrustRootStatus> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = known.get(&state.name).filter(|known| known.reading.generation == state.generation)?;
        status(state, &stored.status, Timestamp::now())
    }

    async fn write(&self, name: &str, status: &ImageTrustRootStatus) -> Result<(), Failure> {
        let api = Api::<ImageTrustRoot>::all(self.client.clone());
        let document = json!({
            "apiVersion": ImageTrustRoot::api_version(&()),
            "kind": ImageTrustRoot::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(&document));
        in_time(self.pace.answer, api.patch_status(name, &params, &patch)).await?;
        Ok(())
    }
}

/// Reads a document. One whose reading panics is a root that cannot be used: it must neither be lost nor end
/// the watch of all others.
fn read(object: DynamicObject) -> (Box<str>, Known) {
    let name: Box<str> = object.metadata.name.as_deref().unwrap_or_default().into();
    let generation = object.metadata.generation.unwrap_or_default();
    let status = serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
    let document: Value = raw_document("ImageTrustRoot", object);
    let reading = match catch_unwind(|| policy::read_trust_root(&document)) {
        Ok(Some(reading)) => reading,
        Ok(None) | Err(_) => {
            let problem =
                "tidewaiter failed over this document, which is a mistake in tidewaiter: please report it";
            let field = FieldError { path: String::new(), value: String::new(), problem: problem.to_owned() };
            let source = Err(CompileError { fields: vec![field] });
            TrustRootReading { name: name.clone(), generation, source }
        }
    };
    (name, Known { reading, status })
}

/// The status to write; none if the stored one says the same, or speaks of something newer.
fn status(
    state: &TrustRootState,
    stored: &ImageTrustRootStatus,
    now: Timestamp,
) -> Option<ImageTrustRootStatus> {
    let (ready, reason, message) = match (&state.digest, &state.trouble) {
        (Some(_), None) => ("True", "Usable", "it can be used".to_owned()),
        (Some(_), Some(trouble)) => {
            let told = "what its TUF repository last vouched for is in use, and nothing newer comes";
            ("True", "RefreshFailing", format!("{told}: {trouble}"))
        }
        (None, trouble) => ("False", "Unusable", trouble.clone().unwrap_or_default()),
    };
    let stored_ready = stored.conditions.iter().find(|condition| condition.type_ == "Ready");
    let since = stored_ready.filter(|condition| condition.status == ready);
    let new = ImageTrustRootStatus {
        observed_generation: Some(state.generation),
        source: state.source.map(str::to_owned),
        refreshed: state.refreshed.map(whole_seconds),
        digest: state.digest.clone(),
        conditions: vec![Condition {
            last_transition_time: since
                .map_or(whole_seconds(now), |since| since.last_transition_time.clone()),
            message: printable(&message, MESSAGE),
            observed_generation: Some(state.generation),
            reason: reason.to_owned(),
            status: ready.to_owned(),
            type_: "Ready".to_owned(),
        }],
    };
    let newer = match (&new.refreshed, &stored.refreshed) {
        (Some(new), Some(stored)) => Some(new.0.as_second() - stored.0.as_second()),
        _ => None,
    };
    // Another replica has asked since: its word counts.
    if new.observed_generation == stored.observed_generation && newer.is_some_and(|newer| newer < 0) {
        return None;
    }
    let but_for_the_time = ImageTrustRootStatus { refreshed: stored.refreshed.clone(), ..new.clone() };
    let same_time = newer.map_or(new.refreshed == stored.refreshed, |newer| newer < REFRESH_STEP);
    (but_for_the_time != *stored || !same_time).then_some(new)
}

pub(super) fn whole_seconds(time: Timestamp) -> Time {
    Time(time.round(Unit::Second).unwrap_or(time))
}

/// What holds data.
trait Data {
    /// What it has under `keys`.
    fn take(&self, keys: &BTreeSet<Box<str>>) -> ObjectContent;
}

impl Data for ConfigMap {
    fn take(&self, keys: &BTreeSet<Box<str>>) -> ObjectContent {
        let data = keys.iter().map(|key| {
            let text =
                self.data.as_ref().and_then(|data| data.get(&**key)).map(|text| text.as_bytes().into());
            let bytes = || Some(self.binary_data.as_ref()?.get(&**key)?.0.as_slice().into());
            (key.clone(), text.or_else(bytes))
        });
        ObjectContent::Data(data.collect())
    }
}

impl Data for Secret {
    fn take(&self, keys: &BTreeSet<Box<str>>) -> ObjectContent {
        let data = keys.iter().map(|key| {
            let bytes = self.data.as_ref().and_then(|data| data.get(&**key));
            (key.clone(), bytes.map(|bytes| bytes.0.as_slice().into()))
        });
        ObjectContent::Data(data.collect())
    }
}

#[cfg(test)]
mod tests;
