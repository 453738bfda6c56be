//! What keys and trust roots are made of, and what is made of it: a pure function of what policies name and of
//! what was found.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;

use super::{
    directory::FileContent,
    shelf::Shelf,
    store::{Published, Tally, TrustSettings},
};
use crate::{
    decision::printable,
    evidence::AuthorityError,
    image::Digest,
    policy::{
        KeyRef, ObjectKey, ObjectKind, ObjectName, PolicySet, Proof, PublicKey, RootRef, SigstoreRoot,
        TrustRootReading, TrustRootSource, TufRepository,
    },
    review::ports::{ObjectContent, TrustRootState, WantedObjects},
    signature::TrustRoot,
};

/// The largest content that is read for a key, in bytes.
const KEY_LIMIT: usize = 64 << 10;
/// The most Secrets and ConfigMaps that are followed, and of those the most that one namespace's policies name.
const OBJECTS_LIMIT: usize = 256;
const TEAM_OBJECTS_LIMIT: usize = 16;
/// The most files that are looked at.
const FILES_LIMIT: usize = 256;
/// The most ImageTrustRoots that are used.
const ROOTS_LIMIT: usize = 64;
/// The longest problem that a message repeats, in bytes.
const PROBLEM: usize = 300;

static PUBLIC_GOOD: LazyLock<Arc<TrustRoot>> = LazyLock::new(|| Arc::new(TrustRoot::public_good()));
static GITHUB: LazyLock<Arc<TrustRoot>> = LazyLock::new(|| Arc::new(TrustRoot::github()));

#[derive(Default)]
pub(super) struct State {
    pub(super) version: u64,
    /// What policies name.
    pub(super) keys: HashSet<KeyRef>,
    pub(super) named: BTreeSet<Box<str>>,
    /// What was found. No roots before they have been listed.
    pub(super) roots: Option<BTreeMap<Box<str>, TrustRootReading>>,
    pub(super) objects: Objects,
    pub(super) files: HashMap<Box<str>, FileContent>,
    pub(super) repositories: BTreeMap<Box<str>, Repository>,
    /// What came of it.
    pub(super) wanted_files: BTreeSet<Box<str>>,
    pub(super) parsed: HashMap<Digest, Result<Arc<TrustRoot>, String>>,
    pub(super) of_keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    pub(super) of_roots: HashMap<RootRef, Result<Digest, AuthorityError>>,
}

/// What is known of Secrets and ConfigMaps.
pub(super) enum Objects {
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
pub(super) struct Repository {
    pub(super) at: TufRepository,
    pub(super) good: Option<Good>,
    pub(super) trouble: Option<String>,
}

#[derive(Clone)]
pub(super) struct Good {
    pub(super) json: Box<str>,
    pub(super) shelf: Shelf,
    pub(super) refreshed: Timestamp,
}

/// What must be looked at, by what policies and trust roots name.
pub(super) struct Needs {
    pub(super) objects: WantedObjects,
    pub(super) files: BTreeSet<Box<str>>,
    /// What is named and is too much.
    pub(super) too_many_objects: BTreeSet<ObjectName>,
    pub(super) too_many_files: BTreeSet<Box<str>>,
}

impl Needs {
    pub(super) fn of(state: &State, settings: &TrustSettings) -> Self {
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
pub(super) struct Made {
    pub(super) keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    pub(super) roots: HashMap<RootRef, Result<Arc<TrustRoot>, AuthorityError>>,
    pub(super) digests: HashMap<RootRef, Result<Digest, AuthorityError>>,
    pub(super) states: Vec<TrustRootState>,
    pub(super) new_repositories: bool,
}

impl Objects {
    pub(super) fn know(&self, name: &ObjectName) -> bool {
        match self {
            Self::Followed(known) => known.contains_key(name),
            Self::Given(given) => given.contains_key(name),
        }
    }
}

impl State {
    pub(super) fn name(&mut self, set: &PolicySet) {
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
    pub(super) fn keep_only(&mut self, needs: &Needs) {
        if let Objects::Followed(known) = &mut self.objects {
            known.retain(|name, _| needs.objects.contains_key(name));
        }
        self.files.retain(|name, _| needs.files.contains(name));
        self.wanted_files.clone_from(&needs.files);
    }

    pub(super) fn make(&mut self, needs: &Needs, settings: &TrustSettings) -> Made {
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
    pub(super) fn follow_repositories(&mut self) -> bool {
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

    pub(super) fn published(&self) -> Published {
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
