use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{image::Digest, review::ports::ScanRequest};

/// For how long one wish for a scan stands for all that follow it: a scan takes about as long.
const UNDER_WAY: Duration = Duration::from_secs(600);
/// How many wishes may be passed on at once …
const BURST: u32 = 100;
/// … and how long it takes until there may be one more.
const REFILL: Duration = Duration::from_secs(1);
/// How many are remembered: all that can have been passed on while one is under way.
const REMEMBERED: usize = 1024;

/// The wishes for scans that go to whoever scans: each digest once in ten minutes, one per second after the first
/// hundred.
#[derive(Debug)]
pub(super) struct Requests {
    passed_on: mpsc::Sender<Box<str>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    under_way: HashMap<Digest, Instant>,
    /// The same in the order of their times.
    order: VecDeque<(Instant, Digest)>,
    left: u32,
    refilled: Instant,
}

impl Requests {
    /// Wishes, and the place at which they come out: images as `repository@digest`.
    pub(super) fn new() -> (Self, mpsc::Receiver<Box<str>>) {
        let (passed_on, wanted) = mpsc::channel(BURST as usize);
        let state = State {
            under_way: HashMap::new(),
            order: VecDeque::new(),
            left: BURST,
            refilled: Instant::now(),
        };
        (Self { passed_on, state: Mutex::new(state) }, wanted)
    }

    /// Passes on that `image` is to be scanned, of which `digest` is the digest. Does not wait.
    pub(super) fn pass_on(
        &self,
        image: impl FnOnce() -> Box<str>,
        digest: &Digest,
        now: Instant,
    ) -> ScanRequest {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        if state.under_way.contains_key(digest) {
            return ScanRequest::UnderWay;
        }
        if state.under_way.len() >= REMEMBERED
            || !state.take(now)
            || self.passed_on.try_send(image()).is_err()
        {
            return ScanRequest::Shed;
        }
        state.under_way.insert(digest.clone(), now);
        state.order.push_back((now, digest.clone()));
        ScanRequest::Accepted
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= UNDER_WAY)
        {
            if let Some((_, digest)) = self.order.pop_front() {
                self.under_way.remove(&digest);
            }
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.refilled);
        let more = u32::try_from(since.as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        self.refilled += REFILL * more;
        self.left = self.left.saturating_add(more).min(BURST);
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> Digest {
        Digest::sha256(&number.to_be_bytes())
    }

    #[test]
    fn a_digest_is_passed_on_once_in_ten_minutes() {
        let (requests, mut wanted) = Requests::new();
        let now = Instant::now();
        let ask = |seconds| {
            requests.pass_on(|| "a@sha256:0".into(), &digest(0), now + Duration::from_secs(seconds))
        };
        assert_eq!(
            [0, 1, 599].map(ask),
            [ScanRequest::Accepted, ScanRequest::UnderWay, ScanRequest::UnderWay]
        );
        assert_eq!(ask(600), ScanRequest::Accepted);
        assert_eq!(wanted.try_recv().as_deref(), Ok("a@sha256:0"));
        assert!(wanted.try_recv().is_ok());
        assert!(wanted.try_recv().is_err());
    }

    #[test]
    fn after_a_hundred_there_is_one_a_second() {
        let (requests, mut wanted) = Requests::new();
        let now = Instant::now();
        let ask = |number, seconds| {
            requests.pass_on(|| "a".into(), &digest(number), now + Duration::from_secs(seconds))
        };
        assert!((0..100).all(|number| ask(number, 0) == ScanRequest::Accepted));
        assert_eq!(ask(100, 0), ScanRequest::Shed);
        while wanted.try_recv().is_ok() {}
        assert_eq!([ask(100, 2), ask(101, 2), ask(102, 2)], {
            [ScanRequest::Accepted, ScanRequest::Accepted, ScanRequest::Shed]
        });
        let accepted = (200..400).filter(|number| ask(*number, 500) == ScanRequest::Accepted).count();
        assert_eq!(accepted, 98, "as many as fit into what is waiting to be passed on");
    }

    #[test]
    fn a_wish_that_nobody_takes_is_not_taken_for_one_that_is_under_way() {
        let (requests, wanted) = Requests::new();
        drop(wanted);
        let now = Instant::now();
        assert_eq!(requests.pass_on(|| "a".into(), &digest(0), now), ScanRequest::Shed);
        assert_eq!(requests.pass_on(|| "a".into(), &digest(0), now), ScanRequest::Shed);
    }
}
