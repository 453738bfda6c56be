//! The controller: keeps each source at work, scans what is due, and says how sources fare.

mod believed;
mod clair;
mod harbor;
mod http;
mod operator;
mod quay;
mod scan_job;
mod scanner;
mod schedule;
mod source;
mod standing;

use std::{
    collections::HashMap,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use kube::Client;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use scanner::{Scanner, Surroundings};
use schedule::{Ended, IMAGES, Scan, Schedule};
use source::{Source, SourceKind};
use standing::{Numbers, Standings};

pub use standing::SourceObserver;

use crate::{
    cluster::{
        Feed, SourceObject, VerdictWriter, WatchState, WatchedSources, follow_pods, follow_verdicts,
        follow_wanted,
    },
    review::ports::{Clock, Layers},
};

/// How often it is looked whether something is due that nothing has announced.
const LOOK: Duration = Duration::from_secs(5);
/// How often statuses are written and numbers told.
const TELL: Duration = Duration::from_secs(15);
/// How often verdicts are given up that nobody needs.
const CLEAR: Duration = Duration::from_secs(3600);

/// What a controller is made of.
pub struct Parts {
    /// A client for the API server, made on `runtime`.
    pub client: Client,
    /// The controller's own namespace: where Jobs run and Secrets are unless a source says otherwise, and where the
    /// webhook says what it waits for.
    pub namespace: Box<str>,
    /// Hears how sources fare.
    pub observer: Arc<dyn SourceObserver>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Says where images' layers are, for scanners that fetch them themselves.
    pub layers: Arc<dyn Layers>,
    /// Where everything runs.
    pub runtime: Handle,
}

/// A controller at work. Only one may be for a cluster: two would scan everything twice.
pub struct Controller {
    /// How the watches stand, by what they watch.
    pub states: Vec<(&'static str, watch::Receiver<WatchState>)>,
    /// Its tasks. None ends by itself; if one does, by a panic, the process had better end too.
    pub tasks: Vec<JoinHandle<Infallible>>,
}

struct Work {
    sources: WatchedSources,
    schedule: Arc<Mutex<Schedule>>,
    changed: Arc<Notify>,
    means: operator::Means,
    namespace: Box<str>,
    layers: Arc<dyn Layers>,
    known: Vec<(SourceObject, Result<Arc<Source>, String>)>,
    feeds: HashMap<Box<str>, (Arc<Source>, AbortHandle)>,
    feeding: JoinSet<Infallible>,
    scanners: HashMap<Box<str>, Arc<Scanner>>,
    scanning: JoinSet<(Scan, Ended)>,
    left_out: u64,
}

impl Controller {
    /// Begins to work.
    pub fn start(parts: Parts) -> Self {
        let Parts { client, namespace, observer, clock, layers, runtime } = parts;
        let schedule = Arc::<Mutex<Schedule>>::default();
        let changed = Arc::new(Notify::new());
        let (sources, sources_task) = WatchedSources::start(client.clone(), &runtime);
        let hearing = (schedule.clone(), changed.clone(), clock.clone());
        let (pods, pods_task) = follow_pods(client.clone(), &runtime, move |change| {
            lock(&hearing.0).pods(change, hearing.2.now());
            hearing.1.notify_one();
        });
        let hearing = (schedule.clone(), changed.clone(), clock.clone());
        let (wanted, wanted_task) = follow_wanted(client.clone(), &namespace, &runtime, move |change| {
            let images = match change {
                Feed::All(images) => images,
                Feed::One(image) => vec![image],
                // An Event that goes is forgotten by the API server, and not taken back.
                Feed::Gone(_) => Vec::new(),
            };
            for image in images {
                if !lock(&hearing.0).wanted(&image, hearing.2.now()) {
                    tracing::info!(%image, "a verdict is wanted on what has no digest, or on one image too many");
                }
            }
            hearing.1.notify_one();
        });
        let hearing = (schedule.clone(), changed.clone());
        let (verdicts, verdicts_task) = follow_verdicts(client.clone(), &runtime, move |change| {
            lock(&hearing.0).verdicts(change);
            hearing.1.notify_one();
        });
        let states = vec![
            ("sources", sources.state()),
            ("verdicts", verdicts),
            ("pods", pods),
            ("wanted verdicts", wanted),
        ];
        let work = Work {
            sources,
            schedule,
            changed,
            means: operator::Means {
                writer: VerdictWriter::new(client.clone()),
                client,
                standings: Arc::new(Standings::new(observer)),
                clock,
                runtime: runtime.clone(),
            },
            namespace,
            layers,
            known: Vec::new(),
            feeds: HashMap::new(),
            feeding: JoinSet::new(),
            scanners: HashMap::new(),
            scanning: JoinSet::new(),
            left_out: 0,
        };
        let task = runtime.spawn(work.run());
        Self { states, tasks: vec![sources_task, pods_task, wanted_task, verdicts_task, task] }
    }
}

impl Work {
    async fn run(mut self) -> Infallible {
        let mut current = self.sources.current();
        let mut look = pace(LOOK);
        let mut tell = pace(TELL);
        let mut clear = pace(CLEAR);
        loop {
            tokio::select! {
                changed = current.changed() => {
                    if changed.is_err() {
                        // The watch has ended, and readiness says so.
                        std::future::pending::<()>().await;
                    }
                    let objects = current.borrow_and_update().clone();
                    if self.take(&objects) {
                        self.tell().await;
                    }
                }
                () = self.changed.notified() => {}
                Some(ended) = self.scanning.join_next() => self.ended(ended),
                _ = look.tick() => self.revive(),
                _ = tell.tick() => self.tell().await,
                _ = clear.tick() => self.clear().await,
            }
            self.scan();
        }
    }

    /// These are the sources. Returns whether any is new or says something new.
    fn take(&mut self, objects: &[SourceObject]) -> bool {
        let mut before: HashMap<Box<str>, _> = std::mem::take(&mut self.known)
            .into_iter()
            .map(|(object, source)| (object.name.clone(), (object, source)))
            .collect();
        let mut is_news = false;
        for object in objects {
            let same = before
                .remove(&object.name)
                .filter(|(known, _)| known.uid == object.uid && known.generation == object.generation);
            let source = match same {
                Some((_, source)) => source,
                None => {
                    is_news = true;
                    read(object)
                }
            };
            self.known.push((object.clone(), source));
        }
        if !is_news && before.is_empty() {
            return false;
        }
        let names: Vec<_> = self.known.iter().map(|(object, _)| object.name.clone()).collect();
        self.means.standings.retain(&names);
        let sources: Vec<_> =
            self.known.iter().filter_map(|(_, source)| source.as_ref().ok().cloned()).collect();
        lock(&self.schedule).sources(&sources);
        self.scanners.retain(|name, scanner| {
            sources.iter().any(|source| source.name == *name && Arc::ptr_eq(source, scanner.source()))
        });
        self.feeds.retain(|name, (fed, task)| {
            let stays = sources.iter().any(|source| {
                source.name == *name && Arc::ptr_eq(source, fed) && !source.suspended && !task.is_finished()
            });
            if !stays {
                task.abort();
            }
            stays
        });
        for source in sources {
            if let SourceKind::TrivyOperator(operator) = &source.kind
                && !source.suspended
                && !self.feeds.contains_key(&source.name)
            {
                let feed = operator::feed(source.clone(), operator.clone(), self.means.clone());
                let task = self.feeding.spawn_on(feed, &self.means.runtime);
                self.feeds.insert(source.name.clone(), (source, task));
            }
        }
        true
    }

    /// Begins again what a panic has ended.
    fn revive(&mut self) {
        while self.feeding.try_join_next().is_some() {}
        for (source, task) in self.feeds.values_mut() {
            if let SourceKind::TrivyOperator(operator) = &source.kind
                && task.is_finished()
            {
                tracing::error!(
                    source.name = &*source.name,
                    "the reading of reports broke off, and begins again"
                );
                let feed = operator::feed(source.clone(), operator.clone(), self.means.clone());
                *task = self.feeding.spawn_on(feed, &self.means.runtime);
            }
        }
    }

    fn scan(&mut self) {
        let due = lock(&self.schedule).next(self.means.clock.now());
        for scan in due {
            let scanner = self.scanners.entry(scan.source.name.clone()).or_insert_with(|| {
                let surroundings = Surroundings {
                    client: self.means.client.clone(),
                    namespace: self.namespace.clone(),
                    clock: self.means.clock.clone(),
                    layers: self.layers.clone(),
                };
                Arc::new(Scanner::new(scan.source.clone(), surroundings))
            });
            let (scanner, means) = (scanner.clone(), self.means.clone());
            self.scanning.spawn_on(make(scanner, means, scan), &self.means.runtime);
        }
    }

    fn ended(&self, ended: Result<(Scan, Ended), tokio::task::JoinError>) {
        // OK because `make` lets no panic out, and nobody aborts it
        let (scan, ended) = ended.unwrap();
        let now = self.means.clock.now();
        lock(&self.schedule).ended(&scan.source.name, &scan.digest, ended, now);
    }

    async fn tell(&mut self) {
        let now = self.means.clock.now();
        let left_out = lock(&self.schedule).left_out();
        if left_out > self.left_out {
            tracing::warn!(images = IMAGES, "more images run than are scanned; the rest has no verdicts");
            self.left_out = left_out;
        }
        for (object, source) in &self.known {
            let (numbers, ages) = {
                let schedule = lock(&self.schedule);
                let numbers = Numbers {
                    queued: schedule.queue(&object.name),
                    verdicts: schedule.verdict_count(&object.name),
                };
                let ages: Vec<f64> = schedule.ages(&object.name, now).map(|age| age.as_secs_f64()).collect();
                (numbers, ages)
            };
            let standings = &self.means.standings;
            standings.observer().measured(&object.name, numbers.queued, &ages);
            if let Some(status) = standings.status(object, source, numbers, now)
                && let Err(error) = self.sources.write_status(&object.name, &status).await
                && error.code() != Some(404)
            {
                tracing::warn!(source.name = &*object.name, %error, "it is tried again soon");
            }
        }
    }

    async fn clear(&self) {
        let outdated = lock(&self.schedule).outdated(self.means.clock.now());
        for verdict in outdated {
            match self.means.writer.delete(&verdict.name, &verdict.uid, &verdict.version).await {
                Ok(()) => tracing::info!(
                    verdict.name = &*verdict.name,
                    "an old verdict that nobody needs is deleted"
                ),
                Err(error) => tracing::warn!(%error, "it is tried again in an hour"),
            }
        }
    }
}

/// Scans, and writes the verdict. A panic is a failure of this scan, and of no other.
async fn make(scanner: Arc<Scanner>, means: operator::Means, scan: Scan) -> (Scan, Ended) {
    let making = AssertUnwindSafe(Box::pin(try_make(&scanner, &means, &scan))).catch_unwind();
    let ended = making.await.unwrap_or_else(|_| {
        let text = format!(
            "{}: tidewaiter failed over it, which is a mistake in tidewaiter: please report it",
            scan.image
        );
        means.standings.failed(&scan.source.name, "Panicked", &text);
        Ended::Failed
    });
    (scan, ended)
}

async fn try_make(scanner: &Scanner, means: &operator::Means, scan: &Scan) -> Ended {
    let name = &*scan.source.name;
    match scanner.scan(scan).await {
        Ok(believed) => match means.writer.write(&believed.name(), |before| believed.verdict(before)).await {
            Ok(written) => {
                tracing::info!(source.name = name, image.digest = %scan.digest, ?written, "an image was scanned");
                means.standings.succeeded(name, means.clock.now());
                Ended::Done
            }
            Err(error) => {
                means.standings.in_trouble(name, operator::reason(&error), &error.to_string());
                Ended::Trouble
            }
        },
        Err(error) => {
            let text = format!("{}: {error}", scan.image);
            match error.ended() {
                Ended::Trouble => means.standings.in_trouble(name, error.as_str(), &text),
                Ended::NotYet(_) => tracing::debug!(source.name = name, "{text}"),
                Ended::Done | Ended::Failed => means.standings.failed(name, error.as_str(), &text),
            }
            error.ended()
        }
    }
}

fn read(object: &SourceObject) -> Result<Arc<Source>, String> {
    let read = object.spec.clone();
    let source = read.and_then(|spec| Source::new(&object.name, &object.uid, object.generation, &spec));
    if let Err(problem) = &source {
        tracing::warn!(source.name = &*object.name, "a source cannot be used: {problem}");
    }
    source.map(Arc::new)
}

fn pace(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
}
