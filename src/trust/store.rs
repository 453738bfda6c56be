use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    convert::Infallible,
    fmt,
    hash::Hash,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
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
    directory::{self, FileContent},
    shelf::{self, Shelf},
    tuf::{self, Found, RefreshOutcome, TufError},
};
use crate::{
    decision::printable,
    evidence::AuthorityError,
    image::Digest,
    policy::{
        KeyRef, ObjectKey, ObjectKind, ObjectName, PolicySet, Proof, PublicKey, RootRef, SigstoreRoot,
        TrustRootReading, TrustRootSource, TufRepository,
    },
    review::ports::{Mirror, ObjectContent, TrustMaterial, TrustRootState, WantedObjects},
    signature::{Trust, TrustRoot, Trusted},
};

/// How often files are looked at. A change acts within this time.
const INTERVAL: Duration = Duration::from_millis(500);
/// The largest content that is read for a key, in bytes.
const KEY_LIMIT: usize = 64 << 10;
/// The most Secrets and ConfigMaps that are followed, and of those the most that one namespace's policies name.
const OBJECTS_LIMIT: usize = 256;
const TEAM_OBJECTS_LIMIT: usize = 16;
/// The most files that are looked at.
const FILES_LIMIT: usize = 256;
/// The most ImageTrustRoots that are used.
const ROOTS_LIMIT: usize = 64;
/// How many repositories are asked at a time.
const AT_ONCE: usize = 4;
/// The pause after a failure: from this one on each is twice as long …
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// … up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The longest problem that a message repeats, in bytes.
const PROBLEM: usize = 300;

static PUBLIC_GOOD: LazyLock<Arc<TrustRoot>> = LazyLock::new(|| Arc::new(TrustRoot::public_good()));
static GITHUB: LazyLock<Arc<TrustRoot>> = LazyLock::new(|| Arc::new(TrustRoot::github()));

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
    fn contain(&self, namespace: &str) -> bool {
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

#[derive(Default)]
struct State {
    version: u64,
    /// What policies name.
    keys: HashSet<KeyRef>,
    named: BTreeSet<Box<str>>,
    /// What was found. No roots before they have been listed.
    roots: Option<BTreeMap<Box<str>, TrustRootReading>>,
    objects: Objects,
    files: HashMap<Box<str>, FileContent>,
    repositories: BTreeMap<Box<str>, Repository>,
    /// What came of it.
    wanted_files: BTreeSet<Box<str>>,
    parsed: HashMap<Digest, Result<Arc<TrustRoot>, String>>,
    of_keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    of_roots: HashMap<RootRef, Result<Digest, AuthorityError>>,
}

/// What is known of Secrets and ConfigMaps.
enum Objects {
    /// Those that were read so far; others may follow.
    Followed(HashMap<ObjectName, ObjectContent>),
    /// These are all there are.
    Given(BTreeMap<ObjectName, ObjectContent>),
}

impl Default for Objects {
    fn default() -> Self {
        Self::Followed(HashMap::new())
    }
}

/// A TUF repository and what it showed.
struct Repository {
    at: TufRepository,
    good: Option<Good>,
    trouble: Option<String>,
}

#[derive(Clone)]
struct Good {
    json: Box<str>,
    shelf: Shelf,
    refreshed: Timestamp,
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

/// What must be looked at, by what policies and trust roots name.
struct Needs {
    objects: WantedObjects,
    files: BTreeSet<Box<str>>,
    /// What is named and is too much.
    too_many_objects: BTreeSet<ObjectName>,
    too_many_files: BTreeSet<Box<str>>,
}

impl Needs {
    fn of(state: &State, settings: &TrustSettings) -> Self {
        let mut needs = Self {
            objects: BTreeMap::new(),
            files: BTreeSet::new(),
            too_many_objects: BTreeSet::new(),
            too_many_files: BTreeSet::new(),
        };
        let allowed = |key: &&ObjectKey| settings.namespaces.contain(&key.namespace);
        // The cluster's own come first, so that no team takes their place.
        let mut own: Vec<(ObjectName, &ObjectKey)> = Vec::new();
        let mut teams: Vec<(ObjectName, &ObjectKey)> = Vec::new();
        let mut files: BTreeSet<&Box<str>> = BTreeSet::new();
        for key in &state.keys {
            match key {
                KeyRef::Secret(key) => {
                    own.extend(
                        Some(key).filter(allowed).map(|key| (ObjectName::of(ObjectKind::Secret, key), key)),
                    );
                }
                KeyRef::TeamSecret(key) => teams.push((ObjectName::of(ObjectKind::Secret, key), key)),
                KeyRef::File(name) => {
                    files.insert(name);
                }
                KeyRef::Inline(_) => {}
            }
        }
        for root in state.roots.iter().flat_map(BTreeMap::values).take(ROOTS_LIMIT) {
            match &root.source {
                Ok(TrustRootSource::ConfigMap(key)) => {
                    let key = Some(key).filter(allowed);
                    own.extend(key.map(|key| (ObjectName::of(ObjectKind::ConfigMap, key), key)));
                }
                Ok(TrustRootSource::File(name)) => {
                    files.insert(name);
                }
                Ok(TrustRootSource::Sigstore(_) | TrustRootSource::Inline(_) | TrustRootSource::Tuf(_))
                | Err(_) => {}
            }
        }
        own.sort();
        // Those that are followed already keep their place.
        teams.sort_by_cached_key(|(object, key)| {
            (!state.objects.know(object), object.clone(), key.key.clone())
        });
        let mut of_teams: HashMap<Box<str>, usize> = HashMap::new();
        for (object, key) in own {
            needs.take(object, key, true);
        }
        for (object, key) in teams {
            let taken = of_teams.entry(object.namespace.clone()).or_default();
            let fits = *taken < TEAM_OBJECTS_LIMIT;
            if needs.take(object, key, fits) {
                *taken += 1;
            }
        }
        for name in files {
            let list = match needs.files.len() < FILES_LIMIT {
                true => &mut needs.files,
                false => &mut needs.too_many_files,
            };
            list.insert(name.clone());
        }
        needs
    }

    /// Takes an object in if it fits. Says whether it is new.
    fn take(&mut self, object: ObjectName, key: &ObjectKey, fits: bool) -> bool {
        if let Some(keys) = self.objects.get_mut(&object) {
            keys.insert(key.key.clone());
            return false;
        }
        if !fits || self.objects.len() == OBJECTS_LIMIT {
            self.too_many_objects.insert(object);
            return false;
        }
        self.objects.entry(object).or_default().insert(key.key.clone());
        true
    }
}

/// What comes into force.
struct Made {
    keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    roots: HashMap<RootRef, Result<Arc<TrustRoot>, AuthorityError>>,
    digests: HashMap<RootRef, Result<Digest, AuthorityError>>,
    states: Vec<TrustRootState>,
    new_repositories: bool,
}

impl Objects {
    fn know(&self, name: &ObjectName) -> bool {
        match self {
            Self::Followed(known) => known.contains_key(name),
            Self::Given(given) => given.contains_key(name),
        }
    }
}

impl State {
    fn name(&mut self, set: &PolicySet) {
        self.keys.clear();
        self.named.clear();
        for authority in set.iter().flat_map(|policy| policy.authorities()) {
            let root = match &authority.proof {
                Proof::Key { key, root, .. } => {
                    if !matches!(key, KeyRef::Inline(_)) {
                        self.keys.insert(key.clone());
                    }
                    root.as_ref()
                }
                Proof::Identity { root, .. } => Some(root),
            };
            if let Some(RootRef::Named(name)) = root {
                self.named.insert(name.clone());
            }
        }
    }

    /// Forgets what nobody needs any more.
    fn keep_only(&mut self, needs: &Needs) {
        if let Objects::Followed(known) = &mut self.objects {
            known.retain(|name, _| needs.objects.contains_key(name));
        }
        self.files.retain(|name, _| needs.files.contains(name));
        self.wanted_files.clone_from(&needs.files);
    }

    fn make(&mut self, needs: &Needs, settings: &TrustSettings) -> Made {
        let new_repositories = self.follow_repositories();
        let mut keys = HashMap::new();
        for key in &self.keys {
            if let Some(found) = self.key(key, needs, settings) {
                keys.insert(key.clone(), found);
            }
        }
        let mut roots = HashMap::from([(RootRef::PublicGood, Ok(PUBLIC_GOOD.clone()))]);
        let mut states = Vec::new();
        let (mut parsed, documents) = (HashMap::new(), self.roots.as_ref());
        for (at, (name, reading)) in documents.into_iter().flatten().enumerate() {
            let place = format!("ImageTrustRoot/{name}");
            let found = match at < ROOTS_LIMIT {
                true => self.root(&place, reading, needs, settings, &mut parsed),
                false => {
                    Some(Err(unusable(place, format!("there are more than {ROOTS_LIMIT}: delete some"))))
                }
            };
            states.push(self.state_of(reading, found.as_ref()));
            if let Some(found) = found {
                roots.insert(RootRef::Named(name.clone()), found);
            }
        }
        for name in documents.into_iter().flat_map(|_| &self.named) {
            let root = RootRef::Named(name.clone());
            let missing = AuthorityError::Missing(root.to_string());
            // What is there and not read yet is left out.
            if documents.is_some_and(|documents| !documents.contains_key(name)) {
                roots.insert(root, Err(missing));
            }
        }
        self.parsed = parsed;
        let digests = roots.iter().map(|(root, found)| {
            let digest = found.as_ref().map(|found| found.digest().clone()).map_err(Clone::clone);
            (root.clone(), digest)
        });
        Made { digests: digests.collect(), keys, roots, states, new_repositories }
    }

    /// Takes up the repositories that documents name, and forgets others. Says whether there is another one.
    fn follow_repositories(&mut self) -> bool {
        let documents = self.roots.iter().flatten().take(ROOTS_LIMIT);
        let mut there: BTreeMap<Box<str>, TufRepository> = documents
            .filter_map(|(name, reading)| match &reading.source {
                Ok(TrustRootSource::Tuf(at)) => Some((name.clone(), at.clone())),
                _ => None,
            })
            .collect();
        let before = self.repositories.len();
        self.repositories.retain(|name, known| {
            // How often it is asked changes nothing of what it showed.
            let same =
                there.get(name).is_some_and(|at| at.mirror == known.at.mirror && at.root == known.at.root);
            let changed = same && there[name] != known.at;
            if same && !changed {
                there.remove(name);
            }
            same
        });
        let mut changed = self.repositories.len() != before || !there.is_empty();
        for (name, at) in there {
            let known = self.repositories.entry(name).or_insert_with(|| Repository {
                at: at.clone(),
                good: None,
                trouble: None,
            });
            known.at = at;
            changed = true;
        }
        changed
    }

    /// The key at a place; none if nobody has looked there yet.
    fn key(
        &self,
        key: &KeyRef,
        needs: &Needs,
        settings: &TrustSettings,
    ) -> Option<Result<PublicKey, AuthorityError>> {
        let place = key.to_string();
        let content = match key {
            KeyRef::Inline(key) => return Some(Ok(key.clone())),
            KeyRef::Secret(named) if !settings.namespaces.contain(&named.namespace) => {
                return Some(Err(AuthorityError::Forbidden(place)));
            }
            KeyRef::Secret(named) | KeyRef::TeamSecret(named) => {
                self.data(&place, ObjectKind::Secret, named, needs)
            }
            KeyRef::File(name) => self.file(&place, name, needs, settings),
        };
        let read = |content: &[u8]| {
            if content.len() > KEY_LIMIT {
                return Err(unusable(place.clone(), format!("it is larger than {KEY_LIMIT} bytes")));
            }
            let text = std::str::from_utf8(content).map_err(|_| unusable(place.clone(), "it is no text"))?;
            PublicKey::from_pem(text).map_err(|error| unusable(place.clone(), error))
        };
        Some(content?.and_then(read))
    }

    /// The trust root that a document means; none if nobody knows its content yet.
    fn root(
        &self,
        place: &str,
        reading: &TrustRootReading,
        needs: &Needs,
        settings: &TrustSettings,
        parsed: &mut HashMap<Digest, Result<Arc<TrustRoot>, String>>,
    ) -> Option<Result<Arc<TrustRoot>, AuthorityError>> {
        let mut parse = |json: &[u8]| {
            let digest = Digest::sha256(json);
            let known = self.parsed.get(&digest).cloned().unwrap_or_else(|| {
                let text = std::str::from_utf8(json).map_err(|_| "it is no text".to_owned())?;
                TrustRoot::from_json(text).map(Arc::new).map_err(|error| error.to_string())
            });
            parsed.insert(digest, known.clone());
            known.map_err(|problem| unusable(place.to_owned(), problem))
        };
        let content = match &reading.source {
            Err(error) => return Some(Err(unusable(place.to_owned(), error))),
            Ok(TrustRootSource::Sigstore(SigstoreRoot::PublicGood)) => return Some(Ok(PUBLIC_GOOD.clone())),
            Ok(TrustRootSource::Sigstore(SigstoreRoot::GitHub)) => return Some(Ok(GITHUB.clone())),
            Ok(TrustRootSource::Inline(json)) => Ok(json.as_bytes()),
            Ok(TrustRootSource::ConfigMap(key)) => {
                let place = format!("ConfigMap {key}, which {place} names,");
                if !settings.namespaces.contain(&key.namespace) {
                    return Some(Err(AuthorityError::Forbidden(place)));
                }
                self.data(&place, ObjectKind::ConfigMap, key, needs)?
            }
            Ok(TrustRootSource::File(name)) => {
                self.file(&format!("file {name}, which {place} names,"), name, needs, settings)?
            }
            Ok(TrustRootSource::Tuf(_)) => {
                let repository = self.repositories.get(&reading.name)?;
                match (&repository.good, &repository.trouble) {
                    (Some(good), _) => Ok(good.json.as_bytes()),
                    (None, None) => return None,
                    (None, Some(trouble)) => {
                        let mirror = &repository.at.mirror;
                        let problem = format!("its TUF repository {mirror} has shown nothing yet: {trouble}");
                        Err(unusable(place.to_owned(), problem))
                    }
                }
            }
        };
        Some(content.and_then(&mut parse))
    }

    /// What an object has under a key; none if nobody has looked yet.
    fn data(
        &self,
        place: &str,
        kind: ObjectKind,
        key: &ObjectKey,
        needs: &Needs,
    ) -> Option<Result<&[u8], AuthorityError>> {
        let name = ObjectName::of(kind, key);
        let missing = || Err(AuthorityError::Missing(place.to_owned()));
        let (content, all) = match &self.objects {
            Objects::Given(given) => (given.get(&name), true),
            Objects::Followed(_) if needs.too_many_objects.contains(&name) => {
                let problem = format!(
                    "policies name more than {OBJECTS_LIMIT} Secrets and ConfigMaps, or those of one namespace \
                     more than {TEAM_OBJECTS_LIMIT}: put keys into one Secret"
                );
                return Some(Err(unusable(place.to_owned(), problem)));
            }
            Objects::Followed(known) => (known.get(&name), false),
        };
        match content {
            None if all => Some(missing()),
            None => None,
            Some(ObjectContent::Absent) => Some(missing()),
            Some(ObjectContent::Unreadable(why)) => Some(Err(unusable(place.to_owned(), why))),
            Some(ObjectContent::Data(data)) => match data.get(&key.key) {
                Some(Some(content)) => Some(Ok(content)),
                Some(None) => Some(missing()),
                None if all => Some(missing()),
                None => None,
            },
        }
    }

    /// What a file of the operator's directory holds; none if nobody has looked yet.
    fn file(
        &self,
        place: &str,
        name: &str,
        needs: &Needs,
        settings: &TrustSettings,
    ) -> Option<Result<&[u8], AuthorityError>> {
        let unusable = |problem: &str| Some(Err(unusable(place.to_owned(), problem)));
        if settings.directory.is_none() {
            return unusable("the setting trustDirectory names no directory");
        }
        if needs.too_many_files.contains(name) {
            return unusable(&format!("policies and trust roots name more than {FILES_LIMIT} files"));
        }
        match self.files.get(name)? {
            FileContent::Absent => Some(Err(AuthorityError::Missing(place.to_owned()))),
            FileContent::Content(content) => Some(Ok(content)),
            FileContent::Unreadable(why) => unusable(why),
        }
    }

    fn state_of(
        &self,
        reading: &TrustRootReading,
        found: Option<&Result<Arc<TrustRoot>, AuthorityError>>,
    ) -> TrustRootState {
        let repository = self.repositories.get(&reading.name);
        let trouble = match found {
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(_)) => repository.and_then(|repository| repository.trouble.clone()),
            None => Some("its content has not been read yet".to_owned()),
        };
        TrustRootState {
            name: reading.name.clone(),
            generation: reading.generation,
            source: reading.source.as_ref().ok().map(TrustRootSource::kind),
            refreshed: repository.and_then(|found| found.good.as_ref()).map(|good| good.refreshed),
            digest: found.and_then(|found| found.as_ref().ok()).map(|root| root.digest().to_string()),
            trouble,
        }
    }

    fn published(&self) -> Published {
        let mut published = Published {
            version: self.version,
            keys: Tally::default(),
            roots: Tally::default(),
            refreshed: Vec::new(),
        };
        for key in &self.keys {
            published.keys.count(matches!(self.of_keys.get(key), Some(Ok(_))));
        }
        let documents = self.roots.iter().flat_map(BTreeMap::keys);
        let names: BTreeSet<&Box<str>> = documents.chain(&self.named).collect();
        for name in names {
            let found = self.of_roots.get(&RootRef::Named(name.clone()));
            published.roots.count(matches!(found, Some(Ok(_))));
        }
        for (name, repository) in &self.repositories {
            let refreshed = repository.good.as_ref().map(|good| good.refreshed);
            published.refreshed.push((name.clone(), refreshed));
        }
        published
    }
}

impl Tally {
    fn count(&mut self, ready: bool) {
        match ready {
            true => self.ready += 1,
            false => self.failing += 1,
        }
    }
}

fn unusable(place: String, problem: impl fmt::Display) -> AuthorityError {
    AuthorityError::Unusable { place, problem: printable(&problem.to_string(), PROBLEM) }
}
