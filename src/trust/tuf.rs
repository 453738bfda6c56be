//! Asking a repository of The Update Framework for its `trusted_root.json`.
//!
//! `sigstore-tuf` verifies, and nothing else: thresholds (none of 0), expiry, versions that only grow, lengths
//! and hashes. Around it stands what holds whatever a mirror does:
//!
//! * Its own HTTP client is left out. Every file comes through a [`Mirror`], which bounds body, time and
//!   address and follows no redirect; here every name is checked before it becomes part of an address, since
//!   parts of it come from the repository.
//! * A look at a repository counts as a whole or not at all. Half of one leaves nothing behind that a later
//!   look would begin with.
//! * A role that lists one key under two names is refused: the engine counts names.
//!
//! Source: TUF specification 1.0.34 §5; CVE-2025-2885 to -2888, CVE-2026-6966, CVE-2026-6967 (tough),
//! CVE-2026-23992 (go-tuf).

use std::{
    collections::BTreeSet,
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sigstore_tuf::{
    Error, Repository, Root, TrustedMetadataSet, Updater, UpdaterConfig, transport::FetchFuture,
};
use tokio::time::timeout_at;
use url::Url;

use super::shelf::{Draft, Shelf};
use crate::{decision::printable, evidence::RegistryError, policy::TufRepository, review::ports::Mirror};

/// The file of a repository that holds the trust root, as Sigstore's client specification has it.
const TARGET: &str = "trusted_root.json";
/// How long one look at a repository may take in all.
pub(super) const TIME: Duration = Duration::from_secs(60);
/// The longest problem that is told, in bytes.
const PROBLEM: usize = 300;

/// How a look at a repository ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefreshOutcome {
    /// The repository vouches for what is in force.
    Refreshed,
    /// It could not be asked.
    Unreachable,
    /// What it shows is not to be believed: forged, expired, rolled back, too large.
    Refused,
}

impl RefreshOutcome {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refreshed => "ok",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}

/// Why a look at a repository brought nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct TufError {
    pub(super) outcome: RefreshOutcome,
    problem: String,
}

impl TufError {
    pub(super) fn refused(problem: &str) -> Self {
        Self { outcome: RefreshOutcome::Refused, problem: printable(problem, PROBLEM) }
    }
}

impl From<Error> for TufError {
    fn from(error: Error) -> Self {
        let transport = error.source().and_then(|source| source.downcast_ref::<RegistryError>());
        if let Some(transport) = transport {
            let outcome = match transport.is_answer() {
                true => RefreshOutcome::Refused,
                false => RefreshOutcome::Unreachable,
            };
            return Self { outcome, problem: printable(&told(transport), PROBLEM) };
        }
        let mut problem = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            problem.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::refused(&problem)
    }
}

/// What a repository holds, verified.
pub(super) struct Found {
    /// The `trusted_root.json`. What it is worth is not looked at here.
    pub(super) json: Box<str>,
    pub(super) shelf: Shelf,
}

/// Asks the repository. `shelf` is what it showed the last time that all went well; empty the first time.
pub(super) async fn refresh(
    repository: &TufRepository,
    shelf: &Shelf,
    mirror: &Arc<dyn Mirror>,
    now: Timestamp,
) -> Result<Found, TufError> {
    let deadline = Instant::now() + TIME;
    let place = Remote { mirror: mirror.clone(), base: repository.mirror.clone(), deadline };
    match timeout_at(deadline.into(), look(repository, shelf, place, now)).await {
        Ok(found) => found,
        Err(_) => Err(TufError {
            outcome: RefreshOutcome::Unreachable,
            problem: format!("it did not show all within {} s", TIME.as_secs()),
        }),
    }
}

/// Verifies again what was kept, as it was at the time `then`. Asks nobody.
pub(super) async fn recall(
    repository: &TufRepository,
    shelf: &Shelf,
    then: Timestamp,
) -> Result<Found, TufError> {
    look(repository, shelf, Kept(shelf.clone()), then).await
}

async fn look(
    repository: &TufRepository,
    shelf: &Shelf,
    place: impl Repository + 'static,
    now: Timestamp,
) -> Result<Found, TufError> {
    let draft = Draft::of(shelf);
    let updater = Updater::new(place, repository.root.as_bytes())?;
    let mut updater = updater.with_config(limits()).with_store(draft.clone());
    updater.refresh(now).await?;
    check_keys(updater.trusted().root())?;
    let bytes = updater.get_target(TARGET, now).await?;
    let json = String::from_utf8(bytes).map_err(|_| TufError::refused("its trusted_root.json is no text"))?;
    Ok(Found { json: json.into(), shelf: draft.finish() })
}

/// Looks at a `root.json` that trust is to begin with. The error says what is wrong with it.
pub(super) fn check_root(json: &str) -> Result<(), String> {
    let checked = TrustedMetadataSet::from_root(json.as_bytes())
        .map_err(TufError::from)
        .and_then(|set| check_keys(set.root()));
    checked.map_err(|error| format!("this is no root.json that can be used: {error}"))
}

/// That no role lists one key under two names, by which its holder would count twice.
fn check_keys(root: &Root) -> Result<(), TufError> {
    for (role, keys) in &root.roles {
        let mut seen = BTreeSet::new();
        let named: BTreeSet<&String> = keys.keyids.iter().collect();
        for key in named.into_iter().filter_map(|id| root.keys.get(id)) {
            if !seen.insert(key.keyval.public.trim()) {
                return Err(TufError::refused(&format!("its role {role} lists one key under two names")));
            }
        }
    }
    Ok(())
}

/// Ten times and more of what Sigstore's repositories hold.
fn limits() -> UpdaterConfig {
    let mut limits = UpdaterConfig::default();
    limits.root_max_length = 128 << 10;
    limits.timestamp_max_length = 16 << 10;
    limits.snapshot_max_length = 256 << 10;
    limits.targets_max_length = 512 << 10;
    limits.target_max_length = 1 << 20;
    limits.max_root_rotations = 64;
    limits.max_delegations = 8;
    limits
}

/// The files of a repository, over the network.
struct Remote {
    mirror: Arc<dyn Mirror>,
    base: Url,
    deadline: Instant,
}

impl Remote {
    async fn fetch(&self, below: &str, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        if !is_plain(name) {
            return Err(Error::Malformed(format!("{:?} is no name of a file", printable(name, 100))));
        }
        let url = self.base.join(&format!("{below}{name}"));
        let url = url.map_err(|_| Error::Malformed("a name of a file makes no address".to_owned()))?;
        let fetched = self.mirror.fetch(&url, limit, self.deadline).await;
        fetched.map_err(|error| Error::transport_with_source("cannot fetch a file", error))
    }
}

impl Repository for Remote {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.fetch("", name, max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.fetch("targets/", path, max_length))
    }
}

/// Whether a name is one of a file beside others. It leads nowhere else: it has no slash, nothing encoded
/// that could stand for one, and no dot in front.
fn is_plain(name: &str) -> bool {
    (1..=300).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
}

/// The files that are kept of a repository.
struct Kept(Shelf);

impl Repository for Kept {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        let kept = match name.ends_with(".root.json") {
            true => self.0.get(&format!("root_history/{name}")),
            // Kept without the version in front.
            false => {
                self.0.get(name.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('.'))
            }
        };
        let kept = kept.filter(|file| file.len() as u64 <= max_length).cloned();
        Box::pin(async move { Ok(kept) })
    }

    fn fetch_target<'a>(&'a self, _: &'a str, _: u64) -> FetchFuture<'a> {
        // One that is kept is found before anybody asks.
        Box::pin(async { Ok(None) })
    }
}

/// What went wrong with a request, in the words of a repository.
fn told(error: &RegistryError) -> String {
    match error {
        RegistryError::CredentialsUnavailable(why) | RegistryError::Unreachable(why) => {
            format!("it cannot be reached: {why}")
        }
        RegistryError::Denied | RegistryError::NotFound => "it does not show a file".to_owned(),
        RegistryError::Forbidden(why) => format!("the request is not allowed: {why}"),
        RegistryError::Malformed(why) => format!("its answer cannot be believed: {why}"),
        RegistryError::Overloaded => "too many requests are waiting for it".to_owned(),
        RegistryError::Throttled { .. } => "it throttles us".to_owned(),
        RegistryError::TimedOut => "it did not answer in time".to_owned(),
        RegistryError::TooLarge { limit, .. } => format!("a file is larger than {limit} bytes"),
        RegistryError::TooMany { what, limit } => format!("it lists more than {limit} {what}"),
    }
}
