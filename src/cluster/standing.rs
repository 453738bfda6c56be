use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Whether what we follow is known, for readiness.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WatchState {
    /// Not everything has been listed yet, and nothing has gone wrong so far.
    Listing,
    /// Everything has been listed, and the watch is alive or has only just broken off.
    Ready,
    /// It cannot be listed, or the watch has been away for too long to vouch for what it once said.
    /// The text says why and what would help.
    Failing(String),
}

/// The state of several watches taken together: as bad as that of the worst.
pub(super) struct Standing {
    parts: Mutex<Vec<WatchState>>,
    combined: watch::Sender<WatchState>,
}

impl Standing {
    /// `parts` watches of which none has listed anything.
    pub(super) fn new(parts: usize) -> Arc<Self> {
        let combined = watch::Sender::new(WatchState::Listing);
        Arc::new(Self { parts: Mutex::new(vec![WatchState::Listing; parts]), combined })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<WatchState> {
        self.combined.subscribe()
    }

    /// Reports how the watch number `part` is doing. Returns whether that is new.
    pub(super) fn set(&self, part: usize, state: WatchState) -> bool {
        // OK because nothing that holds this lock can panic
        let mut parts = self.parts.lock().unwrap();
        if parts[part] == state {
            return false;
        }
        parts[part] = state;
        let combined = combine(&parts);
        self.combined.send_if_modified(|current| {
            let modified = *current != combined;
            *current = combined;
            modified
        });
        true
    }
}

impl Standing {
    /// While the value lives, the watch of `what` is at work. When it is dropped, which only a panic or
    /// the end of the runtime does, the watch has ended for good and is reported as failing.
    pub(super) fn watch_end(self: &Arc<Self>, part: usize, what: &'static str) -> Ending {
        Ending { standing: self.clone(), part, what }
    }
}

/// Reports the end of a watch.
pub(super) struct Ending {
    standing: Arc<Standing>,
    part: usize,
    what: &'static str,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let reason = format!("the watch of {} has ended: the process must be restarted", self.what);
        self.standing.set(self.part, WatchState::Failing(reason));
    }
}

fn combine(parts: &[WatchState]) -> WatchState {
    let mut reasons = Vec::new();
    for part in parts {
        if let WatchState::Failing(reason) = part
            && !reasons.contains(&reason.as_str())
        {
            reasons.push(reason);
        }
    }
    if !reasons.is_empty() {
        WatchState::Failing(reasons.join("; "))
    } else if parts.contains(&WatchState::Listing) {
        WatchState::Listing
    } else {
        WatchState::Ready
    }
}

/// When the API server last vouched for what a watch knows.
pub(super) struct Contact {
    epoch: Instant,
    /// Milliseconds from `epoch`, plus one; 0 is never.
    last: AtomicU64,
    listener: Option<Box<dyn Listener>>,
}

/// Hears of every sign of life of a watch.
pub(super) trait Listener: Send + Sync + 'static {
    /// The API server has vouched for what the watch knows.
    fn vouched(&self);

    /// It has not for too long, or never: why.
    fn lost(&self, why: &str);

    /// It does not know what is watched: why that matters.
    fn unknown(&self, why: &str);
}

impl Contact {
    /// Never, so far.
    pub(super) fn new() -> Arc<Self> {
        Self::heard_by(None)
    }

    /// Never, so far; `listener` hears of what follows.
    pub(super) fn heard_by(listener: Option<Box<dyn Listener>>) -> Arc<Self> {
        Arc::new(Self { epoch: Instant::now(), last: AtomicU64::new(0), listener })
    }

    pub(super) fn made(&self) {
        self.last.store(self.now() + 1, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            listener.vouched();
        }
    }

    pub(super) fn lost(&self, why: &str) {
        if let Some(listener) = &self.listener {
            listener.lost(why);
        }
    }

    pub(super) fn unknown(&self, why: &str) {
        if let Some(listener) = &self.listener {
            listener.unknown(why);
        }
    }

    /// Whether there was contact within `limit`. Costs one look at the clock.
    pub(super) fn within(&self, limit: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && u128::from(self.now().saturating_sub(last - 1)) <= limit.as_millis()
    }

    fn now(&self) -> u64 {
        // OK because it takes 500 million years to overflow
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Duration};

    use super::{Contact, Standing, WatchState};

    fn failing(reason: &str) -> WatchState {
        WatchState::Failing(reason.to_owned())
    }

    #[test]
    fn the_whole_is_ready_only_when_every_part_is() {
        let standing = Standing::new(2);
        let state = standing.subscribe();
        assert_eq!(*state.borrow(), WatchState::Listing);
        standing.set(0, WatchState::Ready);
        assert_eq!(*state.borrow(), WatchState::Listing);
        standing.set(1, WatchState::Ready);
        assert_eq!(*state.borrow(), WatchState::Ready);
    }

    #[test]
    fn every_reason_is_told_once() {
        let standing = Standing::new(3);
        let state = standing.subscribe();
        standing.set(0, failing("no rights"));
        standing.set(1, failing("no definition"));
        standing.set(2, failing("no rights"));
        assert_eq!(*state.borrow(), failing("no rights; no definition"));
        standing.set(1, WatchState::Ready);
        assert_eq!(*state.borrow(), failing("no rights"));
    }

    #[test]
    fn saying_the_same_again_is_no_news() {
        let standing = Standing::new(1);
        let mut state = standing.subscribe();
        assert!(standing.set(0, WatchState::Ready));
        state.mark_unchanged();
        assert!(!standing.set(0, WatchState::Ready));
        assert!(!state.has_changed().unwrap());
    }

    #[test]
    fn contact_wears_off() {
        let contact = Contact::new();
        assert!(!contact.within(Duration::from_secs(3600)), "there has been none");
        contact.made();
        assert!(contact.within(Duration::from_secs(3600)));
        sleep(Duration::from_millis(5));
        assert!(!contact.within(Duration::from_millis(2)));
    }
}
