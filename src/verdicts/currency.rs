use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

/// Until when something that was once said still counts.
#[derive(Debug)]
pub(super) struct Currency {
    epoch: Instant,
    /// Milliseconds from `epoch`.
    until: AtomicU64,
    why: ArcSwap<String>,
}

impl Currency {
    /// It counts for good.
    pub(super) fn always() -> Self {
        Self { until: AtomicU64::new(u64::MAX), ..Self::never() }
    }

    /// Nobody has said anything yet.
    pub(super) fn never() -> Self {
        let why = Arc::new("they have not been listed yet".to_owned());
        Self { epoch: Instant::now(), until: AtomicU64::new(0), why: ArcSwap::new(why) }
    }

    /// What was said counts for as long as this from `now` on.
    pub(super) fn vouch(&self, now: Instant, time: Duration) {
        let until = self.millis(now).saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.until.store(until, Ordering::Release);
    }

    /// Takes note of the reason for which nobody vouches for it.
    pub(super) fn failing(&self, why: String) {
        self.why.store(Arc::new(why));
    }

    /// Whether it counts; why not otherwise.
    pub(super) fn check(&self, now: Instant) -> Result<(), String> {
        match self.millis(now) < self.until.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(self.why.load().to_string()),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_until_nobody_has_vouched_for_it_for_too_long() {
        let (currency, now) = (Currency::never(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(currency.check(now), Err("they have not been listed yet".to_owned()));
        currency.vouch(now, Duration::from_secs(60));
        assert_eq!((currency.check(now), currency.check(at(59))), (Ok(()), Ok(())));
        currency.failing("no rights".to_owned());
        assert_eq!((currency.check(at(59)), currency.check(at(61))), (Ok(()), Err("no rights".to_owned())));
        currency.vouch(at(61), Duration::from_secs(60));
        assert_eq!(currency.check(at(61)), Ok(()));
        assert_eq!(Currency::always().check(at(1 << 30)), Ok(()));
    }
}
