//! The Trivy operator's VulnerabilityReports, made verdicts.
//!
//! Only the names of reports are followed; each report is read by itself, so that little memory is needed
//! however many there are. A report that goes takes no verdict with it: what was found does not become untrue,
//! and grows old by itself.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use kube::Client;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle, time::sleep};

use super::{believed::Believed, source::Source, standing::Standings};
use crate::{
    api::v1alpha1::TrivyOperatorSource,
    cluster::{ClusterError, Feed, ReportName, VerdictWriter, WatchState, follow_reports, read_report},
    image::ImageReference,
    reports::{self, Format, Report},
    review::ports::Clock,
};

/// How many reports are read at once.
const AT_ONCE: usize = 4;
/// The pause after a report that could not be read or a verdict that could not be written.
const PAUSE: Duration = Duration::from_secs(10);

/// What a feed works with.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) client: Client,
    pub(super) writer: VerdictWriter,
    pub(super) standings: Arc<Standings>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
}

/// The reports that are to be read.
#[derive(Default)]
struct Waiting {
    names: Mutex<Names>,
    changed: Notify,
}

#[derive(Default)]
struct Names {
    waiting: BTreeSet<ReportName>,
    /// In which version each was last heard of.
    heard: HashMap<(Box<str>, Box<str>), Box<str>>,
}

/// Makes verdicts of `source`'s reports until it is dropped.
pub(super) async fn feed(source: Arc<Source>, operator: TrivyOperatorSource, means: Means) -> Infallible {
    let waiting = Arc::new(Waiting::default());
    let places: Vec<Option<String>> = match operator.namespaces {
        Some(namespaces) => namespaces.into_iter().map(Some).collect(),
        None => vec![None],
    };
    let mut states = Vec::new();
    let mut watches = Watches(Vec::new());
    for place in &places {
        let hearing = waiting.clone();
        let within = place.clone();
        let hear = move |change| hearing.hear(within.as_deref(), change);
        let (state, task) = follow_reports(means.client.clone(), place.as_deref(), &means.runtime, hear);
        states.push(state);
        watches.0.push(task);
    }
    let telling = async {
        loop {
            let worst = worst(states.iter().map(|state| state.borrow().clone()));
            means.standings.watched(&source.name, Some(worst));
            let mut changes: FuturesUnordered<_> =
                states.iter_mut().map(|state| async { state.changed().await.is_ok() }).collect();
            if changes.next().await != Some(true) {
                sleep(PAUSE).await;
            }
        }
    };
    let reading = async {
        loop {
            let names = waiting.take();
            if names.is_empty() {
                waiting.changed.notified().await;
                continue;
            }
            let failed: Vec<bool> = join_all(names.iter().map(async |name| {
                let made = make(&source, name, &means).await;
                if let Err(error) = &made {
                    means.standings.in_trouble(&source.name, reason(error), &error.to_string());
                    waiting.again(name.clone());
                }
                made.is_err()
            }))
            .await;
            if failed.contains(&true) {
                sleep(PAUSE).await;
            }
        }
    };
    tokio::select! {
        never = telling => never,
        never = reading => never,
    }
}

/// Ends the watches when nobody makes verdicts of them any more.
struct Watches(Vec<JoinHandle<Infallible>>);

impl Drop for Watches {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Waiting {
    /// Something has changed in the namespace `within`; anywhere if none.
    fn hear(&self, within: Option<&str>, change: Feed<ReportName>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Feed::All(all) => {
                let listed: BTreeSet<_> =
                    all.iter().map(|name| (name.namespace.clone(), name.name.clone())).collect();
                let is_elsewhere = |namespace: &str| within.is_some_and(|within| within != namespace);
                names.heard.retain(|key, _| is_elsewhere(&key.0) || listed.contains(key));
                all.into_iter().for_each(|name| names.hear(name));
            }
            Feed::One(name) => names.hear(name),
            Feed::Gone(name) => {
                names.heard.remove(&(name.namespace.clone(), name.name.clone()));
            }
        }
        drop(names);
        self.changed.notify_one();
    }

    fn take(&self) -> Vec<ReportName> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        while taken.len() < AT_ONCE
            && let Some(name) = names.waiting.pop_first()
        {
            taken.push(name);
        }
        taken
    }

    fn again(&self, name: ReportName) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).waiting.insert(name);
    }
}

impl Names {
    fn hear(&mut self, name: ReportName) {
        let key = (name.namespace.clone(), name.name.clone());
        if self.heard.insert(key, name.version.clone()).as_ref() != Some(&name.version) {
            self.waiting.insert(name);
        }
    }
}

/// Makes verdicts of one report. An error means that it is to be tried again; a report that makes none is told
/// and done with.
async fn make(source: &Arc<Source>, name: &ReportName, means: &Means) -> Result<(), ClusterError> {
    let Some(text) = read_report(&means.client, name).await? else { return Ok(()) };
    let told = |reason, text: String| {
        let place = format!("VulnerabilityReport {}/{}", name.namespace, name.name);
        means.standings.failed(&source.name, reason, &format!("{place}: {text}"));
    };
    let reports = match reports::read(Format::TrivyOperator, text.as_bytes()) {
        Ok(reports) => reports,
        Err(error) => {
            told("Unreadable", error.to_string());
            return Ok(());
        }
    };
    for report in reports {
        if !is_about(source, &report) {
            continue;
        }
        let believed = match Believed::found(source, report, means.clock.now()) {
            Ok(believed) => believed,
            Err(disbelief) => {
                told(disbelief.as_str(), disbelief.to_string());
                continue;
            }
        };
        let written = match means.writer.write(&believed.name(), |before| believed.verdict(before)).await {
            // It would be refused again.
            Err(error) if matches!(error.code(), Some(400 | 413 | 422)) => {
                told(reason(&error), error.to_string());
                continue;
            }
            written => written?,
        };
        tracing::debug!(source.name = &*source.name, image.digest = %believed.digest(), ?written, "a report was read");
        means.standings.succeeded(&source.name, means.clock.now());
    }
    Ok(())
}

/// Whether the source's patterns let the report in. One that does not say what its image is called passes only
/// where there are none.
fn is_about(source: &Source, report: &Report) -> bool {
    let name = report.subject.name.as_deref().and_then(|name| name.parse::<ImageReference>().ok());
    source.is_about_all() || name.is_some_and(|name| source.is_about(&name))
}

pub(super) fn reason(error: &ClusterError) -> &'static str {
    match error.code() {
        Some(401 | 403) => "Forbidden",
        Some(404) => "NotFound",
        Some(409) => "Conflict",
        Some(400 | 413 | 422) => "Refused",
        _ => "Unavailable",
    }
}

fn worst(states: impl Iterator<Item = WatchState>) -> WatchState {
    let mut worst = WatchState::Ready;
    for state in states {
        match (&worst, state) {
            (WatchState::Failing(_), _) | (_, WatchState::Ready) => {}
            (_, state) => worst = state,
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, version: &str) -> ReportName {
        ReportName { namespace: "a".into(), name: name.into(), version: version.into() }
    }

    #[test]
    fn a_report_is_read_once_in_each_version() {
        let waiting = Waiting::default();
        waiting.hear(None, Feed::All(vec![report("one", "1"), report("two", "1")]));
        assert_eq!(waiting.take(), [report("one", "1"), report("two", "1")]);
        waiting.hear(None, Feed::All(vec![report("one", "1"), report("two", "2")]));
        assert_eq!(waiting.take(), [report("two", "2")]);
        waiting.hear(None, Feed::Gone(report("one", "3")));
        assert_eq!(waiting.take(), []);
        waiting.hear(None, Feed::One(report("one", "1")));
        assert_eq!(waiting.take(), [report("one", "1")], "it is a new one");
        waiting.hear(Some("b"), Feed::All(Vec::new()));
        waiting.hear(Some("a"), Feed::One(report("one", "1")));
        assert_eq!(waiting.take(), [], "a list of another namespace says nothing of it");
    }

    #[test]
    fn a_few_are_read_at_once() {
        let waiting = Waiting::default();
        waiting.hear(None, Feed::All((0..9).map(|number| report(&number.to_string(), "1")).collect()));
        assert_eq!([waiting.take().len(), waiting.take().len(), waiting.take().len()], [4, 4, 1]);
    }

    #[test]
    fn the_worst_of_several_watches_counts() {
        let failing = WatchState::Failing("no".to_owned());
        assert_eq!(worst([WatchState::Ready, WatchState::Listing].into_iter()), WatchState::Listing);
        assert_eq!(worst([WatchState::Listing, failing.clone(), WatchState::Ready].into_iter()), failing);
        assert_eq!(worst([WatchState::Ready].into_iter()), WatchState::Ready);
    }
}
