use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    fmt,
    hash::Hash,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{interval, sleep},
};

use super::{
    directory,
    shelf::{self, Shelf},
    state::{Good, Needs, Objects, State},
    tuf::{self, Found, RefreshOutcome, TufError},
};
use crate::{
    evidence::AuthorityError,
    policy::{ObjectName, PolicySet, RootRef, TrustRootReading, TufRepository},
    review::ports::{Mirror, ObjectContent, TrustMaterial, TrustRootState, WantedObjects},
    signature::{Trust, TrustRoot, Trusted},
};

/// How often files are looked at. A change acts within this time.
const INTERVAL: Duration = Duration::from_millis(500);
/// How many repositories are asked at a time.
const AT_ONCE: usize = 4;
/// The pause after a failure: from this one on each is twice as long …
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Where keys and trust roots may come from.
#[derive(Clone, Debug, Default)]
pub struct TrustSettings {
    /// The directory that holds the files which policies and trust roots name; none if they may name none.
    pub directory: Option<PathBuf>,
    /// Where the Secrets of the cluster's policies and the ConfigMaps of trust roots may be.
    pub namespaces: TrustNamespaces,
    /// Where what TUF repositories showed is kept over a restart; none if it is not.
    pub cache: Option<PathBuf>,
}

/// The namespaces that the cluster's policies and trust roots may read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TrustNamespaces {
    /// All of them: for documents that somebody hands over as files.
    Every,
    /// These; none if empty.
    Listed(BTreeSet<Box<str>>),
}

impl Default for TrustNamespaces {
    fn default() -> Self {
        Self::Listed(BTreeSet::new())
    }
}

impl TrustNamespaces {
    pub(super) fn contain(&self, namespace: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Listed(listed) => listed.contains(namespace),
        }
    }
}

/// Hears of keys and trust roots, for metrics. Must not wait.
pub trait TrustObserver: Send + Sync + 'static {
    /// This is in force from now on. Also told when nothing but a time has changed.
    fn published(&self, published: &Published);

    /// A look at the TUF repository of the ImageTrustRoot `root` has ended.
    fn refreshed(&self, root: &str, outcome: RefreshOutcome);
}

/// What there is to say of keys and trust roots in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// Their version.
    pub version: u64,
    /// The keys that policies name and do not hold themselves.
    pub keys: Tally,
    /// The ImageTrustRoots that there are or that policies name.
    pub roots: Tally,
    /// The ImageTrustRoots that TUF repositories vouch for, and when they last did; none if never.
    pub refreshed: Vec<(Box<str>, Option<Timestamp>)>,
}

/// How many there are of something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Those that can be used.
    pub ready: usize,
    /// Those that cannot, and fail whatever needs them. What is only not read yet is among them.
    pub failing: usize,
}

/// The keys and trust roots in force, made of what policies name and what was found there.
///
/// * The public-good root is always there, and whatever else is part of the program as soon as a document
///   names it. Nobody is asked for either.
/// * A change of what something is comes into force at once and gives a new version; one that changes
///   nothing does not.
/// * An object or a file that is gone is [`AuthorityError::Missing`]; what cannot be used says why. Neither
///   repeats any of its content.
/// * A TUF repository is asked in the background. While it cannot be asked, or shows what is not to be
///   believed, what it last vouched for stays in force.
pub struct TrustStore {
    settings: TrustSettings,
    mirror: Arc<dyn Mirror>,
    observer: Arc<dyn TrustObserver>,
    current: ArcSwap<Trusted>,
    state: Mutex<State>,
    wanted: watch::Sender<Arc<WantedObjects>>,
    states: watch::Sender<Arc<Vec<TrustRootState>>>,
    /// What is to be looked at has changed: files, and TUF repositories.
    files: Notify,
    repositories: Notify,
    slots: Semaphore,
}

impl TrustStore {
    /// Repositories are asked through `mirror`. Nothing is in force yet but what is part of the program.
    pub fn new(
        settings: TrustSettings,
        mirror: Arc<dyn Mirror>,
        observer: Arc<dyn TrustObserver>,
    ) -> Arc<Self> {
        let nothing = Trusted::new(0, HashMap::new(), HashMap::new());
        let store = Self {
            settings,
            mirror,
            observer,
            current: ArcSwap::from_pointee(nothing),
            state: Mutex::default(),
            wanted: watch::Sender::default(),
            states: watch::Sender::default(),
            files: Notify::new(),
            repositories: Notify::new(),
            slots: Semaphore::new(AT_ONCE),
        };
        store.renew(|_| {});
        Arc::new(store)
    }

    /// These policies are in force: what they name is needed. To be called before or as they come into
    /// force; what is not read by then is [`AuthorityError::Unread`].
    pub fn policies(&self, set: &PolicySet) {
        self.renew(|state| state.name(set));
    }

    /// These are all policies, ImageTrustRoots, Secrets and ConfigMaps that there are, as somebody has
    /// written them to files.
    pub fn filed(
        &self,
        set: &PolicySet,
        roots: Vec<TrustRootReading>,
        objects: BTreeMap<ObjectName, ObjectContent>,
    ) {
        self.renew(|state| {
            state.name(set);
            state.roots = Some(by_name(roots));
            state.objects = Objects::Given(objects);
        });
    }

    /// Looks after files and TUF repositories for ever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        tokio::select! {
            never = self.clone().watch_files() => never,
            never = self.clone().watch_repositories() => never,
        }
    }

    /// Reads the named files and asks the TUF repositories that policies name, once: for a process that
    /// judges once and then ends.
    pub async fn settle(self: &Arc<Self>) {
        self.clone().read_files().await;
        let named: Vec<_> = {
            let state = self.state();
            let named = state.repositories.iter().filter(|(name, _)| state.named.contains(*name));
            named.map(|(name, repository)| (name.clone(), repository.at.clone())).collect()
        };
        join_all(named.into_iter().map(|(name, at)| async move {
            self.recall(&name, &at).await;
            self.refresh(&name, &at).await;
        }))
        .await;
    }

    /// Why keys and trust roots that policies name cannot be used, in no order.
    pub fn troubles(&self) -> Vec<AuthorityError> {
        let state = self.state();
        let named = |root: &RootRef| matches!(root, RootRef::Named(name) if state.named.contains(name));
        let of_keys = state.of_keys.values().filter_map(|found| found.as_ref().err());
        let of_roots = state.of_roots.iter().filter(|(root, _)| named(root));
        of_keys.chain(of_roots.filter_map(|(_, found)| found.as_ref().err())).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic leaves behind is computed anew from what was found.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and brings into force what follows from it.
    fn renew(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let needs = Needs::of(&state, &self.settings);
        let new_files = !needs.files.is_subset(&state.wanted_files);
        state.keep_only(&needs);
        let made = state.make(&needs, &self.settings);
        let changed = made.keys != state.of_keys || made.digests != state.of_roots || state.version == 0;
        if changed {
            announce(&state.of_keys, &made.keys);
            announce(&state.of_roots, &made.digests);
            state.version += 1;
            state.of_keys.clone_from(&made.keys);
            state.of_roots.clone_from(&made.digests);
            self.current.store(Arc::new(Trusted::new(state.version, made.keys, made.roots)));
        }
        let published = state.published();
        self.observer.published(&published);
        self.states.send_if_modified(|told| replace(told, made.states));
        self.wanted.send_if_modified(|told| replace(told, needs.objects));
        if new_files {
            self.files.notify_one();
        }
        if made.new_repositories {
            self.repositories.notify_one();
        }
    }

    async fn watch_files(self: Arc<Self>) -> Infallible {
        let mut ticks = interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.files.notified() => {}
            }
            self.clone().read_files().await;
        }
    }

    async fn read_files(self: Arc<Self>) {
        let Some(directory) = self.settings.directory.clone() else { return };
        let names = self.state().wanted_files.clone();
        if names.is_empty() {
            return;
        }
        let read = spawn_blocking(move || {
            let read = names.into_iter().map(|name| {
                let content = directory::read(&directory, &name);
                (name, content)
            });
            read.collect::<HashMap<_, _>>()
        });
        // A runtime that shuts down reads no more.
        let Ok(read) = read.await else { return };
        let new = {
            let state = self.state();
            read.iter().any(|(name, content)| state.files.get(name) != Some(content))
        };
        if new {
            self.renew(|state| state.files.extend(read));
        }
    }

    /// Keeps one task for each repository that a document names.
    async fn watch_repositories(self: Arc<Self>) -> Infallible {
        let mut tasks = JoinSet::new();
        let mut kept: BTreeMap<Box<str>, (TufRepository, AbortHandle)> = BTreeMap::new();
        loop {
            let there: BTreeMap<_, _> = {
                let state = self.state();
                state.repositories.iter().map(|(name, found)| (name.clone(), found.at.clone())).collect()
            };
            kept.retain(|name, (at, task)| {
                let stays = there.get(name) == Some(at) && !task.is_finished();
                if !stays {
                    task.abort();
                }
                stays
            });
            for (name, at) in there {
                kept.entry(name).or_insert_with_key(|name| {
                    let task = tasks.spawn(self.clone().keep_fresh(name.clone(), at.clone()));
                    (at, task)
                });
            }
            tokio::select! {
                () = self.repositories.notified() => {}
                // Only a panic ends a task that nobody has ended.
                Some(ended) = tasks.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("asking a TUF repository has failed over a mistake in tidewaiter: please report it");
                        sleep(SHORTEST_PAUSE).await;
                    }
                }
            }
        }
    }

    async fn keep_fresh(self: Arc<Self>, name: Box<str>, at: TufRepository) -> Infallible {
        self.recall(&name, &at).await;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let rest = match self.refresh(&name, &at).await {
                true => {
                    pause = SHORTEST_PAUSE;
                    at.refresh
                }
                false => {
                    let rest = pause.min(at.refresh);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    rest
                }
            };
            // Replicas do not come all at once.
            sleep(rest.mul_f64(rand::random_range(0.8..=1.0))).await;
        }
    }

    /// Takes up what was kept on disk, as far as it is verified again.
    async fn recall(&self, name: &str, at: &TufRepository) {
        let Some(directory) = &self.settings.cache else { return };
        // What this process has seen is no older.
        if self.state().repositories.get(name).is_none_or(|known| known.good.is_some()) {
            return;
        }
        let place = shelf::place(directory, name, at);
        let path = place.display().to_string();
        let (shelf, refreshed) = match spawn_blocking(move || shelf::read(&place)).await {
            Ok(Ok(Some(kept))) => kept,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::warn!(trust.root = name, path, %error, "what was kept of a trust root cannot be read");
                return;
            }
        };
        // A time to come is nobody's who has been there.
        let refreshed = refreshed.min(Timestamp::now());
        match tuf::recall(at, &shelf, refreshed).await.and_then(usable) {
            Ok(found) => self.found(name, at, found, refreshed),
            Err(error) => {
                tracing::warn!(trust.root = name, path, %error, "what was kept of a trust root is not believed");
            }
        }
    }

    /// Asks a repository once. Says whether it vouches for something that can be used.
    async fn refresh(&self, name: &str, at: &TufRepository) -> bool {
        // OK because the semaphore is never closed
        let _slot = self.slots.acquire().await.unwrap();
        let shelf = {
            let state = self.state();
            let good = state.repositories.get(name).filter(|found| found.at == *at);
            good.and_then(|found| found.good.as_ref()).map(|good| good.shelf.clone()).unwrap_or_default()
        };
        let now = Timestamp::now();
        match tuf::refresh(at, &shelf, &self.mirror, now).await.and_then(usable) {
            Ok(found) => {
                self.keep(name, at, &found.shelf, now).await;
                self.found(name, at, found, now);
                self.observer.refreshed(name, RefreshOutcome::Refreshed);
                true
            }
            Err(error) => {
                tracing::warn!(trust.root = name, mirror = %at.mirror, %error, "a TUF repository brings no trust root");
                self.observer.refreshed(name, error.outcome);
                self.failed(name, at, error.to_string());
                false
            }
        }
    }

    /// A repository vouches for what it has shown.
    fn found(&self, name: &str, at: &TufRepository, found: Found, refreshed: Timestamp) {
        let Found { json, shelf } = found;
        self.renew(|state| {
            if let Some(repository) = state.repositories.get_mut(name).filter(|known| known.at == *at) {
                repository.good = Some(Good { json, shelf, refreshed });
                repository.trouble = None;
            }
        });
    }

    fn failed(&self, name: &str, at: &TufRepository, trouble: String) {
        self.renew(|state| {
            if let Some(repository) = state.repositories.get_mut(name).filter(|known| known.at == *at) {
                repository.trouble = Some(trouble);
            }
        });
    }

    async fn keep(&self, name: &str, at: &TufRepository, shelf: &Shelf, refreshed: Timestamp) {
        let Some(directory) = &self.settings.cache else { return };
        let (place, shelf) = (shelf::place(directory, name, at), shelf.clone());
        let path = place.display().to_string();
        if let Ok(Err(error)) = spawn_blocking(move || shelf::write(&place, &shelf, refreshed)).await {
            tracing::warn!(trust.root = name, path, %error, "a trust root cannot be kept over a restart");
        }
    }
}

impl Trust for TrustStore {
    fn current(&self) -> Arc<Trusted> {
        self.current.load_full()
    }
}

impl TrustMaterial for TrustStore {
    fn roots(&self, roots: Vec<TrustRootReading>) {
        self.renew(|state| state.roots = Some(by_name(roots)));
    }

    fn object(&self, name: &ObjectName, content: ObjectContent) {
        self.renew(|state| {
            if let Objects::Followed(known) = &mut state.objects {
                known.insert(name.clone(), content);
            }
        });
    }

    fn wanted(&self) -> watch::Receiver<Arc<WantedObjects>> {
        self.wanted.subscribe()
    }

    fn states(&self) -> watch::Receiver<Arc<Vec<TrustRootState>>> {
        self.states.subscribe()
    }
}

/// That what a repository holds can be used. Otherwise what it held before stays.
fn usable(found: Found) -> Result<Found, TufError> {
    match TrustRoot::from_json(&found.json) {
        Ok(_) => Ok(found),
        Err(error) => Err(TufError::refused(&error.to_string())),
    }
}

/// Of two documents of one name the first counts, and both cannot be in a cluster.
fn by_name(roots: Vec<TrustRootReading>) -> BTreeMap<Box<str>, TrustRootReading> {
    roots.into_iter().map(|root| (root.name.clone(), root)).collect()
}

fn replace<T: PartialEq>(told: &mut Arc<T>, new: T) -> bool {
    let modified = **told != new;
    if modified {
        *told = Arc::new(new);
    }
    modified
}

/// Tells once what can no longer be used, and what can again.
fn announce<K: Eq + fmt::Display + Hash, T>(
    before: &HashMap<K, Result<T, AuthorityError>>,
    after: &HashMap<K, Result<T, AuthorityError>>,
) {
    for (what, now) in after {
        match (before.get(what), now) {
            (Some(Err(told)), Err(error)) if told == error => {}
            (_, Err(error)) => tracing::warn!(trust.name = %what, %error, "trust cannot be used"),
            (Some(Ok(_)), Ok(_)) => {}
            (_, Ok(_)) => tracing::info!(trust.name = %what, "trust in force"),
        }
    }
}
