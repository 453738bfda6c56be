//! Following all objects of one kind.
//!
//! kube's own `runtime::watcher` would do the following itself, but three things that an admission
//! decision hangs on cannot be told from its stream of events: that a watch which failed works again
//! (until some object changes), that a quiet watch is still alive (for 295 s), and that an event which
//! could not be parsed has been passed over. Its first request has no limit in time either. So this
//! loop is our own: list in pages, watch from there, and note every sign of life.

use std::{convert::Infallible, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, ObjectList, WatchEvent, WatchParams},
    core::Request,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    failure::Failure,
    standing::{Contact, Standing, WatchState},
};

/// How many objects come in one page of a list.
const PAGE: u32 = 500;

/// The time that everything takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long the API server may take to begin an answer, and to give one page of a list.
    pub(super) answer: Duration,
    /// How long one watch lasts, in whole seconds. The API server ends it then, which is a sign of
    /// life; one that has not ended a while later is taken for dead.
    pub(super) window: Duration,
    /// After how long without any sign of life what was once said no longer counts as current.
    pub(super) patience: Duration,
    /// After how long everything is listed anew, even if nothing has gone wrong: a watch that is alive
    /// can still be blind, as one is whose version lies in the future after etcd has been restored.
    pub(super) relist: Duration,
    /// The pause before a request that follows a failure: from this one on each is twice as long …
    pub(super) shortest_pause: Duration,
    /// … up to this one. Each is shortened by chance, so that replicas do not come all at once.
    pub(super) longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            window: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            relist: Duration::from_secs(600),
            shortest_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// What happened to the objects of one kind, which may be read in another form from a list than from a watch.
pub(super) enum Change<K, L = K> {
    /// These are all there are.
    Listed(Vec<L>),
    /// This one is new, or has changed.
    Applied(K),
    /// This one is no more.
    Deleted(K),
}

/// One kind of objects that is followed.
pub(super) struct Subject {
    /// The resource's full name, for people: `namespaces`, `imageadmissionpolicies.tidewaiter.dev`.
    pub(super) resource: &'static str,
    /// What to do if the API server does not know the resource.
    pub(super) install: &'static str,
    /// Which of its objects are followed, as a field selector; all if none.
    pub(super) fields: Option<String>,
    /// Where to report how it goes, and as which part.
    pub(super) standing: Arc<Standing>,
    pub(super) part: usize,
    /// Where to note every sign of life.
    pub(super) contact: Arc<Contact>,
    pub(super) pace: Pace,
}

/// How the objects of one kind are listed.
pub(super) struct Listing<R> {
    /// How many objects come in one page.
    pub(super) page: u32,
    /// Reads a page, of the API server's answer.
    pub(super) read: R,
    /// Whether it is in order that the API server does not know the resource. There is nothing to be followed then until
    /// it does, and nobody need wait for that.
    pub(super) optional: bool,
}

/// One page of a list.
pub(super) struct Page<L> {
    pub(super) items: Vec<L>,
    /// What to ask for the next page with; none if this is the last.
    pub(super) next: Option<String>,
    /// The version of the list.
    pub(super) version: Option<String>,
}

/// Reads a page as it comes.
pub(super) fn objects<K: Clone + DeserializeOwned>(answer: &str) -> serde_json::Result<Page<K>> {
    let ObjectList { items, metadata, .. } = serde_json::from_str::<ObjectList<K>>(answer)?;
    Ok(Page { items, next: metadata.continue_, version: metadata.resource_version })
}

/// Tells `changed` of everything that happens to the objects of `api`, in order and for good.
///
/// The first change is a [`Change::Listed`]; another one comes whenever the thread was lost. Until it
/// is complete nothing is said, so that what was known stays in force.
pub(super) async fn follow<K>(
    api: Api<K>,
    subject: Subject,
    changed: impl FnMut(Change<K>) + Send,
) -> Infallible
where
    K: Clone + Debug + DeserializeOwned + Resource,
{
    let listing = Listing { page: PAGE, read: objects::<K>, optional: false };
    follow_listing(api, subject, listing, changed).await
}

/// The same where objects are listed in a way of their own.
pub(super) async fn follow_listing<K, L>(
    api: Api<K>,
    subject: Subject,
    listing: Listing<impl FnMut(&str) -> serde_json::Result<Page<L>> + Send>,
    changed: impl FnMut(Change<K, L>) + Send,
) -> Infallible
where
    K: Clone + Debug + DeserializeOwned + Resource,
{
    let mut follower = Follower { api, subject, listing, changed, listed: None };
    let mut version = None;
    let mut pause = Pause::new(follower.subject.pace);
    loop {
        let began = Instant::now();
        version = match follower.turn(version).await {
            Ok(version) => Some(version),
            Err(Broken { failure, resume }) => {
                follower.failed(&failure);
                resume
            }
        };
        if !follower.is_current() {
            version = None;
        }
        pause.after(began.elapsed()).await;
    }
}

struct Follower<K, R, F> {
    api: Api<K>,
    subject: Subject,
    listing: Listing<R>,
    changed: F,
    listed: Option<Instant>,
}

/// The thread was lost.
struct Broken {
    failure: Failure,
    /// The version from which it can be taken up again; `None` if everything must be listed anew.
    resume: Option<String>,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, resume: None }
    }
}

impl<K, L, R, F> Follower<K, R, F>
where
    K: Clone + Debug + DeserializeOwned + Resource,
    R: FnMut(&str) -> serde_json::Result<Page<L>> + Send,
    F: FnMut(Change<K, L>) + Send,
{
    /// Watches from `version`, or from a list if there is none, until the API server ends the watch.
    /// Returns the version to go on from.
    async fn turn(&mut self, version: Option<String>) -> Result<String, Broken> {
        let mut version = match version {
            Some(version) => version,
            None => self.list().await?,
        };
        match self.watch(&mut version).await {
            Ok(()) => Ok(version),
            Err(failure) => {
                let resume = can_resume(&failure).then_some(version);
                Err(Broken { failure, resume })
            }
        }
    }

    /// Lists everything. Reads from a quorum, so that a list never lies behind what was known before.
    async fn list(&mut self) -> Result<String, Failure> {
        let mut objects = Vec::new();
        let fields = self.subject.fields.clone();
        let mut page =
            ListParams { field_selector: fields, ..ListParams::default() }.limit(self.listing.page);
        let (client, path) = (self.api.clone().into_client(), self.api.resource_url());
        loop {
            let request = Request::new(path).list(&page).map_err(kube::Error::BuildRequest)?;
            let answer = in_time(self.subject.pace.answer, client.request_text(request)).await?;
            let Page { items, next, version } =
                (self.listing.read)(&answer).map_err(kube::Error::SerdeError)?;
            objects.extend(items);
            page.continue_token = next.filter(|token| !token.is_empty());
            if page.continue_token.is_some() {
                continue;
            }
            let version = version.filter(|version| !version.is_empty());
            let version = version.ok_or_else(|| Failure::Malformed("a list has no version".to_owned()))?;
            (self.changed)(Change::Listed(objects));
            self.listed = Some(Instant::now());
            self.works();
            return Ok(version);
        }
    }

    async fn watch(&mut self, version: &mut String) -> Result<(), Failure> {
        let Pace { answer, window, .. } = self.subject.pace;
        let seconds = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        let fields = self.subject.fields.clone();
        let params = WatchParams { field_selector: fields, timeout: Some(seconds), ..WatchParams::default() };
        let dead = Instant::now() + window + answer;
        let mut events = pin!(in_time(answer, self.api.watch(&params, version)).await?);
        loop {
            let event = match timeout_at(dead, events.next()).await {
                Ok(event) => event.transpose()?,
                Err(_) => return Err(Failure::Silent(window + answer)),
            };
            match event {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    let reached = version_of(&object)?;
                    (self.changed)(Change::Applied(object));
                    *version = reached;
                }
                Some(WatchEvent::Deleted(object)) => {
                    let reached = version_of(&object)?;
                    (self.changed)(Change::Deleted(object));
                    *version = reached;
                }
                Some(WatchEvent::Bookmark(bookmark)) => *version = bookmark.metadata.resource_version,
                Some(WatchEvent::Error(status)) => return Err(Failure::Status(status)),
                None => {
                    self.works();
                    return Ok(());
                }
            }
            self.works();
        }
    }

    /// Whether the thread may be taken up where it was: there was a list not too long ago, and a sign of
    /// life since.
    fn is_current(&self) -> bool {
        let Pace { patience, relist, .. } = self.subject.pace;
        self.subject.contact.within(patience) && self.listed.is_some_and(|listed| listed.elapsed() < relist)
    }

    /// The API server has vouched for what is known: by a list, an event, a bookmark, or by ending a
    /// watch in good order. That it has accepted a watch says nothing yet.
    fn works(&self) {
        let Subject { resource, standing, part, contact, .. } = &self.subject;
        contact.made();
        if standing.set(*part, WatchState::Ready) {
            tracing::info!(watch.resource = resource, "following the API server");
        }
    }

    /// A failure is told at once while nothing has been listed, and later only when it lasts.
    fn failed(&self, failure: &Failure) {
        let Subject { resource, install, standing, part, contact, pace, .. } = &self.subject;
        if failure.code() == Some(410) {
            tracing::debug!(watch.resource = resource, "the API server has forgotten where we were");
            return;
        }
        if self.listed.is_some() && contact.within(pace.patience) {
            tracing::debug!(watch.resource = resource, error = %failure, "a watch broke off");
            return;
        }
        let remedy = match failure.code() {
            Some(404) => format!(": {install}"),
            _ => failure.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default(),
        };
        let reason = format!("cannot list and watch {resource}: {failure}{remedy}");
        if self.listing.optional && failure.code() == Some(404) {
            contact.unknown(&reason);
            if standing.set(*part, WatchState::Ready) {
                tracing::info!(watch.resource = resource, "the API server does not know the resource");
            }
            return;
        }
        contact.lost(&reason);
        if standing.set(*part, WatchState::Failing(reason.clone())) {
            tracing::warn!(watch.resource = resource, "{reason}");
        }
    }
}

/// Whether nothing was missed, so that the watch can go on where it was: after a broken connection, or
/// where the API server is in trouble itself. Not if it has forgotten that version (410) or the whole
/// resource (404), nor if an event could not be read; kube reports that as a status without a code.
fn can_resume(failure: &Failure) -> bool {
    match (failure, failure.code()) {
        (Failure::Malformed(_) | Failure::Client(kube::Error::SerdeError(_)), _) => false,
        (_, Some(code)) => code == 429 || code >= 500,
        (_, None) => true,
    }
}

fn version_of(object: &impl Resource) -> Result<String, Failure> {
    let version = object.resource_version().filter(|version| !version.is_empty());
    version.ok_or_else(|| Failure::Malformed("an object has no version".to_owned()))
}

/// What the API server answers within `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    asking: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match timeout(limit, asking).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

/// The pause between two turns: longer each time, and short again after a turn that lasted.
struct Pause {
    pace: Pace,
    next: Duration,
}

impl Pause {
    fn new(pace: Pace) -> Self {
        Self { pace, next: pace.shortest_pause }
    }

    async fn after(&mut self, turn: Duration) {
        if turn >= self.pace.longest_pause {
            self.next = self.pace.shortest_pause;
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.pace.longest_pause);
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

#[cfg(test)]
mod tests;
