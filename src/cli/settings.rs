use std::{collections::BTreeSet, fs, path::Path, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use ipnet::IpNet;
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::{
    decision::Unmatched,
    evidence::Platform,
    files,
    registry::{Mirrors, Registries, RegistryEntry, RegistrySettings, Timeouts},
    review::{
        DigestPinning, Ports, ReviewSettings, Reviewer, Workloads,
        credentials::Keyring,
        ports::{CacheObserver, Clock, Namespaces, Policies, PullSecrets, RegistryObserver, Verdicts},
    },
    signature::{Examination, Trust},
    trust::{TrustNamespaces, TrustObserver, TrustSettings, TrustStore},
};

/// The longest that a tag may be believed without asking again, in seconds.
const LONGEST_TAG_CACHE: u64 = 3600;
/// The longest that signatures may be remembered without looking again, in seconds: a day.
const LONGEST_EVIDENCE_CACHE: u64 = 86_400;
/// The most platforms that a cluster has.
const PLATFORM_LIMIT: usize = 32;

/// Where a Pod finds the name of its own namespace (Kubernetes, "Accessing the API from a Pod").
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What an operator settles once for the whole process: the settings file, read and checked.
///
/// It is read at the start and not again. Every field may be absent; what that means is the field's
/// default. `docs/settings.md` is its page.
#[derive(Debug, Default)]
pub struct Settings {
    review: ReviewSettings,
    pull_secrets: ImagePullSecrets,
    registries: RegistrySettings,
    operator: Keyring,
    trust_directory: Option<PathBuf>,
    trust_namespaces: Option<BTreeSet<Box<str>>>,
    trust_cache: Option<PathBuf>,
}

/// Where policies come from, and with them what they name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The cluster.
    Cluster,
    /// Files that somebody has handed over.
    Files,
}

/// Whether credentials that objects bring are used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum ImagePullSecrets {
    /// Those of the Pod and of its ServiceAccount, from the Pod's own namespace.
    #[default]
    Use,
    /// Never: the webhook then reads no Secret.
    Ignore,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SettingsFile {
    digest_pinning: DigestPinning,
    unmatched_images: Unmatched,
    workloads: Workloads,
    image_pull_secrets: ImagePullSecrets,
    tag_cache_seconds: Option<u64>,
    evidence_cache_seconds: Option<u64>,
    platforms: Option<Vec<String>>,
    docker_config: Option<PathBuf>,
    registries: Vec<RegistryEntry>,
    cluster_ranges: Vec<IpNet>,
    timeouts: Timeouts,
    trust_directory: Option<PathBuf>,
    trust_namespaces: Option<Vec<String>>,
    trust_cache_directory: Option<PathBuf>,
}

/// What a reviewer works with, beside registries and caches.
pub struct Surroundings {
    pub policies: Arc<dyn Policies>,
    pub namespaces: Arc<dyn Namespaces>,
    pub pull_secrets: Arc<dyn PullSecrets>,
    pub clock: Arc<dyn Clock>,
    pub trust: Arc<dyn Trust>,
    pub verdicts: Arc<dyn Verdicts>,
}

impl Settings {
    /// Reads the file at `path`; without one, everything is as by default.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let mut documents = files::read(path)?;
        let document = documents.pop().with_context(|| format!("{}: holds no document", path.display()))?;
        anyhow::ensure!(documents.is_empty(), "{}: wanted one document", path.display());
        let file: SettingsFile = serde_path_to_error::deserialize(document.value)
            .map_err(|error| anyhow::anyhow!("{}: {}: {}", document.place, error.path(), error.inner()))?;
        Self::new(file).with_context(|| document.place.to_string())
    }

    fn new(file: SettingsFile) -> anyhow::Result<Self> {
        let mut review = ReviewSettings {
            digest_pinning: file.digest_pinning,
            unmatched_images: file.unmatched_images,
            workloads: file.workloads,
            ..Default::default()
        };
        if let Some(seconds) = file.tag_cache_seconds {
            anyhow::ensure!(seconds <= LONGEST_TAG_CACHE, "tagCacheSeconds: wanted 0 to {LONGEST_TAG_CACHE}");
            review.tag_cache = Duration::from_secs(seconds);
        }
        if let Some(seconds) = file.evidence_cache_seconds {
            anyhow::ensure!(
                seconds <= LONGEST_EVIDENCE_CACHE,
                "evidenceCacheSeconds: wanted 0 to {LONGEST_EVIDENCE_CACHE}"
            );
            review.evidence_cache = Duration::from_secs(seconds);
        }
        review.platforms = file.platforms.map(platforms).transpose()?;
        let operator = match &file.docker_config {
            None => Keyring::default(),
            Some(path) => {
                let json = fs::read(path)
                    .with_context(|| format!("dockerConfig: cannot read {}", path.display()))?;
                Keyring::from_docker_config(&json)
                    .with_context(|| format!("dockerConfig: cannot use {}", path.display()))?
            }
        };
        let trust_namespaces = file.trust_namespaces.map(namespaces).transpose()?;
        let SettingsFile { registries, cluster_ranges, timeouts, .. } = file;
        let registries = RegistrySettings { registries, cluster_ranges, timeouts };
        registries.check()?;
        Ok(Self {
            review,
            pull_secrets: file.image_pull_secrets,
            registries,
            operator,
            trust_directory: file.trust_directory,
            trust_namespaces,
            trust_cache: file.trust_cache_directory,
        })
    }

    /// The keys and trust roots of policies that come from `origin`, by these settings.
    ///
    /// Without `trustNamespaces` the cluster's policies may read the Pod's own namespace, and those of files
    /// whatever stands beside them.
    pub fn trust(
        &self,
        origin: Origin,
        observer: Arc<impl RegistryObserver + TrustObserver>,
    ) -> anyhow::Result<Arc<TrustStore>> {
        let namespaces = match (&self.trust_namespaces, origin) {
            (Some(listed), _) => TrustNamespaces::Listed(listed.clone()),
            (None, Origin::Cluster) => TrustNamespaces::Listed(own_namespace().into_iter().collect()),
            (None, Origin::Files) => TrustNamespaces::Every,
        };
        let mirrors = Mirrors::new(self.registries.clone(), observer.clone())?;
        let (directory, cache) = (self.trust_directory.clone(), self.trust_cache.clone());
        let settings = TrustSettings { directory, namespaces, cache };
        Ok(TrustStore::new(settings, Arc::new(mirrors), observer))
    }

    /// Whether credentials that objects bring are used.
    pub fn pull_secrets(&self) -> ImagePullSecrets {
        self.pull_secrets
    }

    /// The registries that have a label of their own in metrics.
    pub fn registry_hosts(&self) -> impl Iterator<Item = String> {
        self.registries.registries.iter().map(|entry| entry.host.clone())
    }

    /// The registries as these settings have them.
    pub fn registries(&self, observer: Arc<dyn RegistryObserver>) -> anyhow::Result<Registries> {
        Ok(Registries::new(self.registries.clone(), self.operator.clone(), observer)?)
    }

    /// A reviewer by these settings. Look-ups run on `runtime`.
    pub fn reviewer(
        &self,
        surroundings: Surroundings,
        observer: Arc<impl CacheObserver + RegistryObserver>,
        runtime: &Handle,
    ) -> anyhow::Result<Reviewer> {
        let registries = Arc::new(self.registries(observer.clone())?);
        let Surroundings { policies, namespaces, pull_secrets, clock, trust, verdicts } = surroundings;
        let ports = Ports {
            policies,
            namespaces,
            pull_secrets,
            resolver: registries.clone(),
            attachments: registries.clone(),
            examiner: Arc::new(Examination::new(trust)),
            verdicts,
            platforms: registries,
            clock,
            observer,
        };
        Ok(Reviewer::new(ports, self.review.clone(), runtime.clone()))
    }
}

fn platforms(listed: Vec<String>) -> anyhow::Result<Box<[Platform]>> {
    anyhow::ensure!(
        (1..=PLATFORM_LIMIT).contains(&listed.len()),
        "platforms: wanted 1 to {PLATFORM_LIMIT}; leave it out for all that an image has"
    );
    let read = |(at, text): (usize, String)| {
        text.parse().map_err(|error| anyhow::anyhow!("platforms[{at}]: {text:?}: {error}"))
    };
    listed.into_iter().enumerate().map(read).collect()
}

fn namespaces(listed: Vec<String>) -> anyhow::Result<BTreeSet<Box<str>>> {
    let checked = listed.into_iter().enumerate().map(|(at, name)| {
        let bytes = name.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        let good = bytes.len() <= 63
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && ends.is_some_and(|(first, last)| *first != b'-' && *last != b'-');
        anyhow::ensure!(good, "trustNamespaces[{at}]: {name:?} cannot be the name of a namespace");
        Ok(name.into())
    });
    checked.collect()
}

/// The namespace of the Pod that this process runs in, if it runs in one.
pub fn own_namespace() -> Option<Box<str>> {
    let name = fs::read_to_string(OWN_NAMESPACE).ok()?;
    Some(name.trim()).filter(|name| !name.is_empty()).map(Box::from)
}
