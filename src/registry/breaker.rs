use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many attempts to connect must fail in a row until a registry is left alone.
pub(super) const FAILURES: u32 = 5;
/// How long it is left alone until one request tries again.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// Leaves a registry alone that nobody can connect to, so that it costs the reviews that need it no
/// time-out each.
///
/// Counts connections only: lookup, TCP and TLS, which depend on nothing that a requester writes. A
/// registry that fails over certain images, because somebody chose them so, fails over those alone.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the next request may try, once there are enough failures.
    retry: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go out. Of those that ask while the registry is left alone, one per
    /// [`PAUSE`] may.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.retry {
            Some(retry) if now < retry => false,
            Some(_) => {
                state.retry = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    /// A connection was made.
    pub(super) fn connected(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// A connection could not be made.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.retry = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.admits(now));
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_break_it_and_others_do_not() {
        let now = Instant::now();
        assert!(!broken(now).admits(now));

        let mended = Breaker::default();
        for _ in 0..3 * FAILURES {
            mended.failed(now);
            mended.connected();
        }
        assert!(mended.admits(now));
    }

    #[test]
    fn one_request_tries_after_the_pause_and_decides_for_all() {
        let now = Instant::now();
        let breaker = broken(now);
        assert!(!breaker.admits(now + PAUSE / 2));
        let later = now + PAUSE;
        assert!(breaker.admits(later));
        assert!(!breaker.admits(later), "one is enough");
        breaker.failed(later);
        assert!(!breaker.admits(later + PAUSE / 2));
        assert!(breaker.admits(later + PAUSE));
        breaker.connected();
        assert!(breaker.admits(later + PAUSE) && breaker.admits(later + PAUSE));
    }

    #[test]
    fn a_try_that_nobody_waited_for_keeps_no_other_from_trying() {
        let now = Instant::now();
        let breaker = broken(now);
        assert!(breaker.admits(now + PAUSE));
        assert!(breaker.admits(now + 2 * PAUSE));
    }
}
