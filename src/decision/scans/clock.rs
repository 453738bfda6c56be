use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::evidence::VulnerabilityRef;

/// The time at which scans are judged.
pub(super) struct Clock {
    pub(super) now: Timestamp,
    /// The day that it is, in UTC.
    today: Date,
    /// Whether the day has begun already.
    past_midnight: bool,
}

/// Since when a vulnerability has been known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    /// Since it was published.
    Published(Date),
    /// Since it was first seen in the image, as nobody says when it was published.
    Seen(Date),
    /// Nobody says.
    Undated,
}

impl Clock {
    pub(super) fn new(now: Timestamp) -> Self {
        let here = now.to_zoned(TimeZone::UTC);
        let past_midnight = here.time() > jiff::civil::Time::midnight();
        Self { now, today: here.date(), past_midnight }
    }

    /// Since when it has been known. A day that has not come yet is no date.
    pub(super) fn known<'a>(&self, one: impl Into<VulnerabilityRef<'a>>) -> Known {
        let one = one.into();
        let past = |date: &Date| *date <= self.today;
        match (one.published.filter(past), one.first_seen.filter(past)) {
            (Some(date), _) => Known::Published(date),
            (None, Some(date)) => Known::Seen(date),
            (None, None) => Known::Undated,
        }
    }

    /// Whether it has been known for more than so many full days, from the beginning of the day (UTC) on. What has no date
    /// has no grace.
    pub(super) fn is_older<'a>(&self, one: impl Into<VulnerabilityRef<'a>>, days: u16) -> bool {
        let (Known::Published(date) | Known::Seen(date)) = self.known(one) else { return true };
        let (since, days) = (self.days_since(date), i32::from(days));
        since > days || (since == days && self.past_midnight)
    }

    /// How many days ago a day was, as in `31 days ago`.
    pub(super) fn ago(&self, date: Date) -> String {
        match self.days_since(date) {
            ..=0 => "today".to_owned(),
            1 => "1 day ago".to_owned(),
            days @ 2..=60 => format!("{days} days ago"),
            days @ 61..=729 => format!("{} months ago", days / 30),
            days => format!("{} years ago", days / 365),
        }
    }

    /// How long ago a moment was, in hours where it was not days.
    pub(super) fn since(&self, at: Timestamp) -> String {
        match self.now.duration_since(at).as_hours() {
            ..=0 => "within the hour".to_owned(),
            1 => "1 hour ago".to_owned(),
            hours @ 2..=48 => format!("{hours} hours ago"),
            _ => self.ago(day(at)),
        }
    }

    fn days_since(&self, date: Date) -> i32 {
        // OK because two dates are less than 2^31 days apart, and a span of days alone has nothing but days
        self.today.since(date).map_or(i32::MAX, |span| span.get_days())
    }
}

/// The day of a moment, in UTC.
pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::evidence::Vulnerability;

    fn published(on: &str) -> Vulnerability {
        Vulnerability { published: Some(on.parse().unwrap()), ..Vulnerability::default() }
    }

    fn clock(now: &str) -> Clock {
        Clock::new(now.parse().unwrap())
    }

    #[rstest]
    #[case("2026-05-25", "2026-05-31T23:59:59Z", 7, false)]
    #[case("2026-05-25", "2026-06-01T00:00:00Z", 7, false)]
    #[case("2026-05-25", "2026-06-01T00:00:00.000000001Z", 7, true)]
    #[case("2026-05-25", "2026-06-02T00:00:00Z", 7, true)]
    #[case("2026-05-25", "2026-06-01T01:00:00+02:00", 7, false)]
    #[case("2026-05-25", "2026-06-01T03:00:00+02:00", 7, true)]
    #[case("2024-02-28", "2024-03-01T00:00:00Z", 1, true)]
    #[case("2024-02-29", "2024-03-01T00:00:00Z", 1, false)]
    #[case("1990-01-01", "2026-06-01T00:00:00Z", 3650, true)]
    fn grace_ends_after_so_many_full_days(
        #[case] on: &str,
        #[case] now: &str,
        #[case] days: u16,
        #[case] older: bool,
    ) {
        assert_eq!(clock(now).is_older(&published(on), days), older);
    }

    #[test]
    fn the_day_of_publication_stands_above_the_one_on_which_it_was_seen_and_neither_may_lie_ahead() {
        let clock = clock("2026-06-01T12:00:00Z");
        let known = |published: Option<&str>, seen: Option<&str>| {
            let date = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            clock.known(&Vulnerability {
                published: date(published),
                first_seen: date(seen),
                ..Vulnerability::default()
            })
        };
        let date = |text: &str| text.parse().unwrap();
        assert_eq!(known(Some("2020-01-01"), Some("2026-01-01")), Known::Published(date("2020-01-01")));
        assert_eq!(known(Some("2026-06-01"), Some("2020-01-01")), Known::Published(date("2026-06-01")));
        assert_eq!(known(Some("2026-06-02"), Some("2020-01-01")), Known::Seen(date("2020-01-01")));
        assert_eq!(known(None, Some("2026-06-01")), Known::Seen(date("2026-06-01")));
        assert_eq!(known(Some("2026-06-02"), Some("2026-06-02")), Known::Undated);
        assert_eq!(known(None, None), Known::Undated);
        assert!(clock.is_older(&Vulnerability::default(), 3650));
    }

    #[rstest]
    #[case("2026-06-01", "today")]
    #[case("2026-05-31", "1 day ago")]
    #[case("2026-04-02", "60 days ago")]
    #[case("2026-04-01", "2 months ago")]
    #[case("2021-12-10", "4 years ago")]
    fn a_day_is_told_as_people_would(#[case] day: &str, #[case] told: &str) {
        assert_eq!(clock("2026-06-01T12:00:00Z").ago(day.parse().unwrap()), told);
    }
}
