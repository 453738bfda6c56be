//! What is to be scanned, by whom, and when. Computes; time is an argument.
//!
//! An image is of interest while it runs, and for a day after it last ran or a verdict on it was wanted. Each
//! source that scans owes a verdict on each image of interest that it is about: at once where there is none,
//! and again when three quarters of the time for which one holds have gone (a little earlier, by the image, so
//! that what was scanned together is not scanned together again). What somebody waits for comes first, then
//! what has no verdict, then what has waited longest.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::source::Source;
use crate::{
    cluster::{Feed, PodImages, StoredVerdict},
    image::{Digest, ImageReference},
};

/// How many images are of interest at most. One more takes the place of one that does not run; if all run, it
/// has none.
pub const IMAGES: usize = 50_000;
/// How many names one image is known under.
const NAMES: usize = 4;
/// How long an image stays of interest that does not run.
const LINGER: SignedDuration = SignedDuration::from_hours(24);
/// How long a verdict is kept on an image that is of no interest.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many verdicts are given up at once.
const GIVEN_UP: usize = 100;
/// The pause before a scan that has failed is tried again soon …
const SOON: SignedDuration = SignedDuration::from_secs(30);
/// … and after that, doubled each time …
const LATER: SignedDuration = SignedDuration::from_mins(5);
/// … up to this.
const LATEST: SignedDuration = SignedDuration::from_hours(6);
/// The pause after a source itself has failed, doubled each time …
const REST: SignedDuration = SignedDuration::from_secs(5);
/// … up to this.
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(10);
/// The longest pause after a source has had nothing to say yet, doubled each time.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// What is known of images, verdicts and sources.
#[derive(Default)]
pub struct Schedule {
    images: HashMap<Digest, Image>,
    pods: HashMap<Box<str>, Vec<Digest>>,
    pods_listed: bool,
    verdicts: BTreeMap<Box<str>, HashMap<Digest, StoredVerdict>>,
    verdicts_listed: bool,
    lanes: BTreeMap<Box<str>, Lane>,
    left_out: u64,
}

/// An image of interest.
struct Image {
    /// Its names, each with its digest.
    names: Vec<ImageReference>,
    /// In how many Pods it runs.
    running: usize,
    /// When it last ran, or was wanted.
    seen: Timestamp,
    /// Since when somebody waits for a verdict on it.
    wanted: Option<Timestamp>,
}

/// A source that scans.
struct Lane {
    source: Arc<Source>,
    under_way: HashSet<Digest>,
    waits: HashMap<Digest, Wait>,
    troubles: u32,
    rests_until: Option<Timestamp>,
    queue: usize,
}

/// Before when an image is not scanned again.
#[derive(Clone, Copy)]
struct Wait {
    failures: u32,
    /// How often in a row the source had nothing to say yet.
    not_yet: u32,
    until: Timestamp,
}

/// A scan to make now.
#[derive(Clone, Debug)]
pub struct Scan {
    /// By whom.
    pub source: Arc<Source>,
    /// Of what: a name with the digest.
    pub image: ImageReference,
    /// The digest.
    pub digest: Digest,
}

/// How a scan has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// There is a verdict.
    Done,
    /// The image could not be scanned; others perhaps can.
    Failed,
    /// The source has nothing to say yet: ask again after this, and twice that if it has nothing to say then.
    NotYet(SignedDuration),
    /// The source is in trouble itself: nothing can be scanned.
    Trouble,
}

impl Schedule {
    /// These are all the sources; those that do not scan are not asked.
    pub fn sources(&mut self, sources: &[Arc<Source>]) {
        let mut before = std::mem::take(&mut self.lanes);
        for source in sources.iter().filter(|source| source.scans()) {
            let lane = match before.remove(&source.name) {
                Some(lane) if lane.source.uid == source.uid => {
                    let is_new = lane.source.generation != source.generation;
                    let waits = if is_new { HashMap::new() } else { lane.waits };
                    let (troubles, rests_until) =
                        if is_new { (0, None) } else { (lane.troubles, lane.rests_until) };
                    Lane { source: source.clone(), waits, troubles, rests_until, ..lane }
                }
                _ => Lane {
                    source: source.clone(),
                    under_way: HashSet::new(),
                    waits: HashMap::new(),
                    troubles: 0,
                    rests_until: None,
                    queue: 0,
                },
            };
            self.lanes.insert(source.name.clone(), lane);
        }
    }

    /// What runs has changed.
    pub fn pods(&mut self, change: Feed<PodImages>, now: Timestamp) {
        match change {
            Feed::All(pods) => {
                let listed: HashSet<&str> = pods.iter().map(|pod| &*pod.name).collect();
                let gone = self.pods.keys().filter(|name| !listed.contains(&***name)).cloned();
                for name in gone.collect::<Vec<_>>() {
                    self.pod(PodImages { name, images: Vec::new() }, now);
                }
                pods.into_iter().for_each(|pod| self.pod(pod, now));
                self.pods_listed = true;
            }
            Feed::One(pod) => self.pod(pod, now),
            Feed::Gone(pod) => self.pod(PodImages { images: Vec::new(), ..pod }, now),
        }
    }

    fn pod(&mut self, pod: PodImages, now: Timestamp) {
        let mut digests = Vec::new();
        for image in &pod.images {
            let Ok(image) = image.parse::<ImageReference>() else { continue };
            let Some(digest) = image.digest().cloned() else { continue };
            if !digests.contains(&digest)
                && let Some(known) = self.see(image, &digest, now)
            {
                known.running += 1;
                digests.push(digest);
            }
        }
        let before = match digests.is_empty() {
            true => self.pods.remove(&pod.name),
            false => self.pods.insert(pod.name, digests),
        };
        for digest in before.into_iter().flatten() {
            if let Some(image) = self.images.get_mut(&digest) {
                image.running = image.running.saturating_sub(1);
                image.seen = now;
            }
        }
    }

    /// Somebody waits for a verdict on `image`, a name with a digest. Returns whether that can be heard.
    pub fn wanted(&mut self, image: &str, now: Timestamp) -> bool {
        let Ok(image) = image.parse::<ImageReference>() else { return false };
        let Some(digest) = image.digest().cloned() else { return false };
        let Some(known) = self.see(image, &digest, now) else { return false };
        known.wanted.get_or_insert(now);
        true
    }

    fn see(&mut self, image: ImageReference, digest: &Digest, now: Timestamp) -> Option<&mut Image> {
        if !self.images.contains_key(digest) && self.images.len() >= IMAGES {
            let idle = self.images.iter().filter(|(_, image)| image.running == 0);
            let Some(oldest) = idle.min_by_key(|(_, image)| image.seen).map(|(digest, _)| digest.clone())
            else {
                self.left_out += 1;
                return None;
            };
            self.images.remove(&oldest);
        }
        let new = || Image { names: Vec::new(), running: 0, seen: now, wanted: None };
        let known = self.images.entry(digest.clone()).or_insert_with(new);
        known.seen = now;
        if known.names.len() < NAMES && !known.names.iter().any(|name| name.name() == image.name()) {
            known.names.push(image);
        }
        Some(known)
    }

    /// Verdicts have changed.
    pub fn verdicts(&mut self, change: Feed<StoredVerdict>) {
        match change {
            Feed::All(verdicts) => {
                self.verdicts.clear();
                verdicts.into_iter().for_each(|verdict| self.store(verdict));
                self.verdicts_listed = true;
            }
            Feed::One(verdict) => self.store(verdict),
            Feed::Gone(verdict) => {
                if let Some(of_source) = self.verdicts.get_mut(&verdict.source) {
                    of_source.remove(&verdict.digest);
                }
                if let Some(lane) = self.lanes.get_mut(&verdict.source) {
                    lane.waits.remove(&verdict.digest);
                }
            }
        }
    }

    fn store(&mut self, verdict: StoredVerdict) {
        let of_source = self.verdicts.entry(verdict.source.clone()).or_default();
        of_source.insert(verdict.digest.clone(), verdict);
    }

    /// The scans to begin now. Each counts as under way until it has [ended](Self::ended).
    pub fn next(&mut self, now: Timestamp) -> Vec<Scan> {
        self.images.retain(|_, image| image.running > 0 || now.duration_since(image.seen) < LINGER);
        // Before it is known what there is, everything would seem to be missing.
        if !self.verdicts_listed {
            return Vec::new();
        }
        let mut scans = Vec::new();
        let nothing = HashMap::new();
        for lane in self.lanes.values_mut() {
            let verdicts = self.verdicts.get(&lane.source.name).unwrap_or(&nothing);
            lane.waits.retain(|digest, _| self.images.contains_key(digest));
            let mut due: Vec<_> = self
                .images
                .iter()
                .filter(|(digest, _)| !lane.under_way.contains(*digest))
                .filter(|(digest, _)| lane.waits.get(*digest).is_none_or(|wait| wait.until <= now))
                .filter_map(|(digest, image)| {
                    let name = image.names.iter().find(|name| lane.source.is_about(name))?;
                    let urgency = urgency(&lane.source, digest, image, verdicts.get(digest), now)?;
                    Some((urgency, digest, name))
                })
                .collect();
            lane.queue = due.len();
            if lane.rests_until.is_some_and(|until| until > now) {
                continue;
            }
            // One at a time, until the source has shown that it works again.
            let most = if lane.troubles > 0 { 1 } else { lane.source.parallelism() };
            let free = most.saturating_sub(lane.under_way.len()).min(due.len());
            due.sort_unstable_by_key(|(urgency, digest, _)| (*urgency, *digest));
            for (_, digest, name) in due.into_iter().take(free) {
                lane.under_way.insert(digest.clone());
                lane.queue -= 1;
                let (source, image) = (lane.source.clone(), name.clone());
                scans.push(Scan { source, image, digest: digest.clone() });
            }
        }
        scans
    }

    /// A scan has ended.
    pub fn ended(&mut self, source: &str, digest: &Digest, ended: Ended, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(source) else { return };
        lane.under_way.remove(digest);
        let (failures, not_yet) = lane.waits.get(digest).map_or((0, 0), |wait| (wait.failures, wait.not_yet));
        if ended != Ended::Trouble {
            (lane.troubles, lane.rests_until) = (0, None);
        }
        let wait = match ended {
            Ended::Done => {
                if let Some(image) = self.images.get_mut(digest) {
                    image.wanted = None;
                }
                Some(Wait { failures: 0, not_yet: 0, until: now + lane.source.apart() })
            }
            Ended::Failed => {
                let pause = after_failure(failures, lane.source.retries());
                let until = now + pause + pause / 8 * spread(digest);
                Some(Wait { failures: failures + 1, not_yet: 0, until })
            }
            Ended::NotYet(pause) => {
                let until = now + doubled(pause, not_yet, LONGEST_WAIT);
                Some(Wait { failures, not_yet: not_yet + 1, until })
            }
            Ended::Trouble => {
                lane.rests_until = Some(now + doubled(REST, lane.troubles, LONGEST_REST));
                lane.troubles += 1;
                None
            }
        };
        if let Some(wait) = wait {
            lane.waits.insert(digest.clone(), wait);
        }
    }

    /// How many images wait to be scanned by `source`, as of the last [`next`](Self::next).
    pub fn queue(&self, source: &str) -> usize {
        self.lanes.get(source).map_or(0, |lane| lane.queue)
    }

    /// How old the verdicts of `source` are.
    pub fn ages(&self, source: &str, now: Timestamp) -> impl Iterator<Item = SignedDuration> {
        let verdicts = self.verdicts.get(source).into_iter().flat_map(HashMap::values);
        verdicts.filter_map(move |verdict| Some(now.duration_since(verdict.scanned_at?)))
    }

    /// How many verdicts of `source` there are.
    pub fn verdict_count(&self, source: &str) -> usize {
        self.verdicts.get(source).map_or(0, HashMap::len)
    }

    /// How many images were left out because too many run.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Verdicts that nobody needs any more: ours, 30 days old, on an image that neither runs nor has been wanted
    /// for a day. Some of them, if there are many. None before it is known what runs.
    pub fn outdated(&self, now: Timestamp) -> Vec<StoredVerdict> {
        if !self.pods_listed {
            return Vec::new();
        }
        let all = self.verdicts.values().flat_map(HashMap::values);
        let outdated = all.filter(|verdict| {
            verdict.is_ours
                && !self.images.contains_key(&verdict.digest)
                && verdict.scanned_at.is_some_and(|at| now.duration_since(at) > RETENTION)
        });
        outdated.take(GIVEN_UP).cloned().collect()
    }
}

/// How urgent a scan is, least first; none if it is not due.
fn urgency(
    source: &Source,
    digest: &Digest,
    image: &Image,
    verdict: Option<&StoredVerdict>,
    now: Timestamp,
) -> Option<(u8, Timestamp)> {
    match (verdict.and_then(|verdict| verdict.scanned_at), image.wanted) {
        (None, Some(since)) => Some((0, since)),
        (None, None) => Some((1, image.seen)),
        (Some(scanned), wanted) => {
            // A date in the future would put the next scan off by as much.
            let due = scanned.min(now) + source.max_age / 4 * 3 - source.max_age / 64 * spread(digest);
            let rank = if wanted.is_some() { 0 } else { 2 };
            (due <= now).then_some((rank, due))
        }
    }
}

/// 0 to 7, by the digest.
fn spread(digest: &Digest) -> i32 {
    digest.hex().bytes().last().map_or(0, |digit| i32::from(digit % 8))
}

fn after_failure(failures: u32, retries: u32) -> SignedDuration {
    match failures < retries {
        true => SOON,
        false => doubled(LATER, failures - retries, LATEST),
    }
}

fn doubled(first: SignedDuration, times: u32, most: SignedDuration) -> SignedDuration {
    2i32.checked_pow(times.min(30))
        .and_then(|factor| first.checked_mul(factor))
        .map_or(most, |pause| pause.min(most))
}

#[cfg(test)]
mod tests;
