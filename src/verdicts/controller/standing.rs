use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::source::{Source, SourceKind};
use crate::{
    api::v1alpha1::VulnerabilitySourceStatus,
    cluster::{SourceObject, WatchState},
    decision::printable,
};

/// The longest text of a status, in bytes.
const MESSAGE: usize = 600;
/// After how many scans in a row that failed a source no longer counts as ready.
const FAILING: u32 = 5;

/// Hears how sources fare, for metrics.
pub trait SourceObserver: Send + Sync + 'static {
    /// These are all the sources that there are.
    fn sources(&self, names: &[Box<str>]);

    /// A verdict has come of `source` at a time, in seconds since 1970.
    fn succeeded(&self, source: &str, at: i64);

    /// Nothing has come of something in `source`; why, in one word.
    fn failed(&self, source: &str, reason: &'static str);

    /// How many images wait, and how old the verdicts are, in seconds.
    fn measured(&self, source: &str, queue: usize, ages: &[f64]);
}

/// How each source fares.
pub struct Standings {
    observer: Arc<dyn SourceObserver>,
    of: Mutex<BTreeMap<Box<str>, Record>>,
}

#[derive(Clone, Default)]
struct Record {
    last_success: Option<Timestamp>,
    last_error: Option<String>,
    /// What keeps all of it from working.
    trouble: Option<(&'static str, String)>,
    failures: u32,
    watch: Option<WatchState>,
}

/// Numbers that a status bears.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// How many images wait.
    pub queued: usize,
    /// How many verdicts there are.
    pub verdicts: usize,
}

impl Standings {
    /// Nothing is known yet.
    pub fn new(observer: Arc<dyn SourceObserver>) -> Self {
        Self { observer, of: Mutex::default() }
    }

    /// Those who hear of it.
    pub fn observer(&self) -> &dyn SourceObserver {
        &*self.observer
    }

    /// Forgets all but `names`.
    pub fn retain(&self, names: &[Box<str>]) {
        self.with(|of| of.retain(|name, _| names.contains(name)));
        self.observer.sources(names);
    }

    /// A verdict has come of `source`.
    pub fn succeeded(&self, source: &str, now: Timestamp) {
        self.observer.succeeded(source, now.as_second());
        self.change(source, |record| {
            *record = Record { last_success: Some(now), watch: record.watch.clone(), ..Record::default() };
        });
    }

    /// Nothing has come of one report or image.
    pub fn failed(&self, source: &str, reason: &'static str, text: &str) {
        tracing::info!(source.name = source, source.reason = reason, "no verdict: {text}");
        self.observer.failed(source, reason);
        self.change(source, |record| {
            record.last_error = Some(format!("{reason}: {text}"));
            record.failures = record.failures.saturating_add(1);
        });
    }

    /// Nothing can come of `source` as it is.
    pub fn in_trouble(&self, source: &str, reason: &'static str, text: &str) {
        tracing::warn!(source.name = source, source.reason = reason, "a source is in trouble: {text}");
        self.observer.failed(source, reason);
        self.change(source, |record| {
            record.last_error = Some(format!("{reason}: {text}"));
            record.trouble = Some((reason, text.to_owned()));
        });
    }

    /// How the watch of what `source` is made of stands; none where it has none.
    pub fn watched(&self, source: &str, state: Option<WatchState>) {
        self.change(source, |record| record.watch = state);
    }

    fn change(&self, source: &str, change: impl FnOnce(&mut Record)) {
        self.with(|of| change(of.entry(source.into()).or_default()));
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Box<str>, Record>) -> T) -> T {
        work(&mut self.of.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The status to write for `object`; none if the stored one says the same.
    pub fn status(
        &self,
        object: &SourceObject,
        source: &Result<Arc<Source>, String>,
        numbers: Numbers,
        now: Timestamp,
    ) -> Option<VulnerabilitySourceStatus> {
        let record = self.with(|of| of.get(&object.name).cloned().unwrap_or_default());
        let stored = &object.status;
        let (ready, reason, message) = condition(source, &record);
        let before = stored.conditions.iter().find(|condition| condition.type_ == "SourceReady");
        let since = before.filter(|condition| condition.status == ready);
        let number = |number: usize| i32::try_from(number).ok();
        let status = VulnerabilitySourceStatus {
            observed_generation: Some(object.generation),
            kind: source.as_ref().ok().map(|source| source.kind.as_str().to_owned()),
            // What came before this process began stands in the stored status.
            last_success: record.last_success.map(whole_seconds).or_else(|| stored.last_success.clone()),
            last_error: match record.last_success {
                None => record.last_error.or_else(|| stored.last_error.clone()),
                Some(_) => record.last_error,
            }
            .map(|text| printable(&text, MESSAGE)),
            queued: number(numbers.queued),
            verdicts: number(numbers.verdicts),
            conditions: vec![Condition {
                last_transition_time: since
                    .map_or_else(|| whole_seconds(now), |since| since.last_transition_time.clone()),
                message: printable(&message, MESSAGE),
                observed_generation: Some(object.generation),
                reason: reason.to_owned(),
                status: ready.to_owned(),
                type_: "SourceReady".to_owned(),
            }],
        };
        (status != *stored).then_some(status)
    }
}

fn condition(source: &Result<Arc<Source>, String>, record: &Record) -> (&'static str, &'static str, String) {
    let source = match source {
        Ok(source) => source,
        Err(problem) => return ("False", "InvalidSpec", problem.clone()),
    };
    if source.suspended {
        return ("False", "Suspended", "it is suspended: nothing new comes of it".to_owned());
    }
    if matches!(source.kind, SourceKind::Imported) {
        return ("True", "Imported", "its verdicts are written by somebody else".to_owned());
    }
    if let Some((reason, text)) = &record.trouble {
        return ("False", reason, text.clone());
    }
    match (&record.watch, &source.kind) {
        (Some(WatchState::Failing(why)), _) => return ("False", "WatchFailing", why.clone()),
        (Some(WatchState::Ready), _) => {
            return ("True", "Following", "its reports are followed".to_owned());
        }
        (Some(WatchState::Listing), _) | (None, SourceKind::TrivyOperator(_)) => {
            return ("Unknown", "Starting", "its reports are being listed".to_owned());
        }
        (None, _) => {}
    }
    match (record.failures, &record.last_error, record.last_success) {
        (FAILING.., Some(error), _) => {
            ("False", "ScansFailing", format!("the last {} scans failed; the last: {error}", record.failures))
        }
        (_, _, Some(_)) => ("True", "Answering", "it answers".to_owned()),
        (_, _, None) => {
            ("Unknown", "NotAsked", "it has not answered since the controller started".to_owned())
        }
    }
}

fn whole_seconds(time: Timestamp) -> Time {
    Time(time.round(Unit::Second).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl SourceObserver for Deaf {
        fn sources(&self, _: &[Box<str>]) {}

        fn succeeded(&self, _: &str, _: i64) {}

        fn failed(&self, _: &str, _: &'static str) {}

        fn measured(&self, _: &str, _: usize, _: &[f64]) {}
    }

    fn now() -> Timestamp {
        "2026-11-24T10:00:00.4Z".parse().unwrap()
    }

    fn object(yaml: &str) -> (SourceObject, Result<Arc<Source>, String>) {
        let spec = serde_saphyr::from_str(yaml).unwrap();
        let source = Source::new("s", "u", 1, &spec).map(Arc::new);
        let object = SourceObject {
            name: "s".into(),
            uid: "u".to_owned(),
            generation: 1,
            spec: Ok(spec),
            status: VulnerabilitySourceStatus::default(),
        };
        (object, source)
    }

    fn ready(standings: &Standings, yaml: &str) -> (String, String) {
        let (object, source) = object(yaml);
        let mut status = standings.status(&object, &source, Numbers::default(), now()).unwrap();
        let condition = status.conditions.remove(0);
        (condition.status, condition.reason)
    }

    const JOBS: &str = "{scanJob: {trivy: {server: 'http://t'}}}";
    const OPERATOR: &str = "{trivyOperator: {allNamespaces: true}}";

    fn pair(ready: &str, reason: &str) -> (String, String) {
        (ready.to_owned(), reason.to_owned())
    }

    #[test]
    fn a_source_that_scans_is_ready_once_it_has_answered_and_until_scans_fail_in_a_row() {
        let standings = Standings::new(Arc::new(Deaf));
        assert_eq!(ready(&standings, JOBS), pair("Unknown", "NotAsked"));
        standings.succeeded("s", now());
        (1..FAILING).for_each(|_| standings.failed("s", "ScanFailed", "no"));
        assert_eq!(ready(&standings, JOBS), pair("True", "Answering"));
        standings.failed("s", "ScanFailed", "no");
        assert_eq!(ready(&standings, JOBS), pair("False", "ScansFailing"));
        standings.succeeded("s", now());
        assert_eq!(ready(&standings, JOBS), pair("True", "Answering"));
        standings.in_trouble("s", "Forbidden", "no");
        assert_eq!(ready(&standings, JOBS), pair("False", "Forbidden"));
    }

    #[test]
    fn a_source_that_is_followed_is_as_ready_as_its_watch() {
        let standings = Standings::new(Arc::new(Deaf));
        assert_eq!(ready(&standings, OPERATOR), pair("Unknown", "Starting"));
        standings.watched("s", Some(WatchState::Failing("no operator".to_owned())));
        assert_eq!(ready(&standings, OPERATOR), pair("False", "WatchFailing"));
        standings.watched("s", Some(WatchState::Ready));
        standings.failed("s", "NoDigest", "a report that names no digest is no fault of the source");
        assert_eq!(ready(&standings, OPERATOR), pair("True", "Following"));
        let suspended = "{trivyOperator: {allNamespaces: true}, suspend: true}";
        assert_eq!(ready(&standings, suspended), pair("False", "Suspended"));
    }

    #[test]
    fn a_status_is_written_only_where_it_says_something_new() {
        let standings = Standings::new(Arc::new(Deaf));
        standings.succeeded("s", now());
        let (mut object, source) = object(JOBS);
        let numbers = Numbers { queued: 2, verdicts: 7 };
        let status = standings.status(&object, &source, numbers, now()).unwrap();
        insta::assert_yaml_snapshot!(status, @r#"
        observedGeneration: 1
        kind: ScanJob
        lastSuccess: "2026-11-24T10:00:00Z"
        queued: 2
        verdicts: 7
        conditions:
          - lastTransitionTime: "2026-11-24T10:00:00Z"
            message: it answers
            observedGeneration: 1
            reason: Answering
            status: "True"
            type: SourceReady
        "#);
        object.status = status;
        assert_eq!(standings.status(&object, &source, numbers, now()), None);
        assert!(standings.status(&object, &source, Numbers { queued: 3, verdicts: 7 }, now()).is_some());
        // Another process begins: what was known stays said.
        let fresh = Standings::new(Arc::new(Deaf));
        let status = fresh.status(&object, &source, numbers, now()).unwrap();
        assert_eq!(status.last_success, object.status.last_success);
    }
}
