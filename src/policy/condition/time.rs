use std::{any::Any, cmp::Ordering};

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        traits::{Adder, Comparer, Subtractor},
        types::{CelInt, CelString, DURATION_TYPE, INT_TYPE, STRING_TYPE, TIMESTAMP_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};

use super::functions::{Args, Outcome, argument, failed, no_overload};

/// The longest text that is read for a time or a duration.
const TEXT_LIMIT: usize = 64;

/// A point in time: CEL's `timestamp`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Instant(pub(super) Timestamp);

/// A length of time: CEL's `duration`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span(SignedDuration);

static TIMESTAMP: Type = TIMESTAMP_TYPE;
static DURATION: Type = DURATION_TYPE;

impl Instant {
    /// Reads a date and time of RFC 3339, with its offset.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let short = text.len() <= TEXT_LIMIT && !text.contains('[');
        match short.then(|| text.parse()) {
            Some(Ok(time)) => Ok(Self(time)),
            _ => Err("a timestamp is a date and time with its offset, as in 2026-11-24T00:00:00Z (RFC 3339)"),
        }
    }
}

impl Span {
    /// Reads what CEL writes for a duration: numbers with the units `h`, `m`, `s`, `ms`, `us` and `ns`, all
    /// of them negative behind a `-`.
    ///
    /// Source: cel-spec, `doc/langdef.md`, "Timestamps and Durations".
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "a duration is numbers with the units h, m, s, ms, us or ns, as in 72h or 1h30m";
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.is_empty() || text.len() > TEXT_LIMIT {
            return Err(WRONG);
        }
        let mut sum = SignedDuration::ZERO;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(WRONG)?;
            let (number, behind) = rest.split_at(end);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let units: [(&str, i64); 6] = [
                ("ns", 1),
                ("us", 1_000),
                ("ms", 1_000_000),
                ("h", 3_600_000_000_000),
                ("m", 60_000_000_000),
                ("s", 1_000_000_000),
            ];
            let (unit, nanos) = *units.iter().find(|(unit, _)| behind.starts_with(unit)).ok_or(WRONG)?;
            rest = &behind[unit.len()..];
            let whole: i64 = whole.parse().map_err(|_| WRONG)?;
            // Digits beyond the nanosecond of an hour's fraction say nothing.
            let digits = &fraction[..fraction.len().min(13)];
            let part: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| WRONG)? };
            // OK because 13 digits at most stand there
            let scale = 10_i128.pow(u32::try_from(digits.len()).unwrap());
            let all = i128::from(whole) * i128::from(nanos) + part * i128::from(nanos) / scale;
            let one = i64::try_from(all).map(SignedDuration::from_nanos).map_err(|_| WRONG)?;
            sum = sum.checked_add(one).ok_or(WRONG)?;
        }
        Ok(Self(if negative { sum.checked_neg().ok_or(WRONG)? } else { sum }))
    }
}

impl Val for Instant {
    fn get_type(&self) -> &Type {
        &TIMESTAMP
    }

    fn cel_type() -> &'static Type {
        &TIMESTAMP
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Instant {}

impl Val for Span {
    fn get_type(&self) -> &Type {
        &DURATION
    }

    fn cel_type() -> &'static Type {
        &DURATION
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Span {}

fn out_of_range() -> ExecutionError {
    failed("the result is beyond the times that there are")
}

fn owned<'b, 'v>(value: Option<impl Val + 'v>) -> Outcome<'b, 'v> {
    value.map(CowVal::owned).ok_or_else(out_of_range)
}

impl Adder for Instant {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Outcome<'b, 'v>
    where
        Self: 'v,
    {
        match other.downcast_ref::<Span>() {
            Some(span) => owned(self.0.checked_add(span.0).ok().map(Instant)),
            None => Err(no_overload("_+_", [self, other])),
        }
    }
}

impl Adder for Span {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Outcome<'b, 'v>
    where
        Self: 'v,
    {
        if let Some(span) = other.downcast_ref::<Span>() {
            owned(self.0.checked_add(span.0).map(Span))
        } else if let Some(time) = other.downcast_ref::<Instant>() {
            owned(time.0.checked_add(self.0).ok().map(Instant))
        } else {
            Err(no_overload("_+_", [self, other]))
        }
    }
}

impl Subtractor for Instant {
    fn sub<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Outcome<'b, 'v>
    where
        Self: 'v,
    {
        if let Some(span) = other.downcast_ref::<Span>() {
            owned(self.0.checked_sub(span.0).ok().map(Instant))
        } else if let Some(time) = other.downcast_ref::<Instant>() {
            Ok(CowVal::owned(Span(self.0.duration_since(time.0))))
        } else {
            Err(no_overload("_-_", [self, other]))
        }
    }
}

impl Subtractor for Span {
    fn sub<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Outcome<'b, 'v>
    where
        Self: 'v,
    {
        match other.downcast_ref::<Span>() {
            Some(span) => owned(self.0.checked_sub(span.0).map(Span)),
            None => Err(no_overload("_-_", [self, other])),
        }
    }
}

impl Comparer for Instant {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        match other.downcast_ref::<Self>() {
            Some(other) => Ok(self.0.cmp(&other.0)),
            None => Err(no_overload("_<_", [self, other])),
        }
    }
}

impl Comparer for Span {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        match other.downcast_ref::<Self>() {
            Some(other) => Ok(self.0.cmp(&other.0)),
            None => Err(no_overload("_<_", [self, other])),
        }
    }
}

/// Adds what CEL offers for times: `timestamp`, `duration`, what converts to and from them, and their parts.
///
/// Parts of a timestamp are those of UTC: time zones would have to be read from the machine.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_type(TIMESTAMP_TYPE)?;
    env.add_type(DURATION_TYPE)?;
    env.add_overload("timestamp", "string_to_timestamp", vec![STRING_TYPE], |args| {
        Instant::parse(argument::<CelString<'_>>(&args, 0, "timestamp")?.inner())
            .map(CowVal::owned)
            .map_err(failed)
    })?;
    env.add_overload("timestamp", "int_to_timestamp", vec![INT_TYPE], |args| {
        let seconds = *argument::<CelInt>(&args, 0, "timestamp")?.inner();
        owned(Timestamp::from_second(seconds).ok().map(Instant))
    })?;
    env.add_overload("timestamp", "timestamp_to_timestamp", vec![TIMESTAMP_TYPE], itself)?;
    env.add_overload("duration", "string_to_duration", vec![STRING_TYPE], |args| {
        Span::parse(argument::<CelString<'_>>(&args, 0, "duration")?.inner())
            .map(CowVal::owned)
            .map_err(failed)
    })?;
    env.add_overload("duration", "duration_to_duration", vec![DURATION_TYPE], itself)?;
    env.add_overload("int", "timestamp_to_int64", vec![TIMESTAMP_TYPE], |args| {
        Ok(int(argument::<Instant>(&args, 0, "int")?.0.as_second()))
    })?;
    env.add_overload("string", "timestamp_to_string", vec![TIMESTAMP_TYPE], |args| {
        Ok(CowVal::owned(CelString::from(argument::<Instant>(&args, 0, "string")?.0.to_string())))
    })?;
    env.add_overload("string", "duration_to_string", vec![DURATION_TYPE], |args| {
        let span = argument::<Span>(&args, 0, "string")?.0;
        let sign = if span.is_negative() { "-" } else { "" };
        let (seconds, nanos) = (span.as_secs().unsigned_abs(), span.subsec_nanos().unsigned_abs());
        let fraction = format!(".{nanos:09}");
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        Ok(CowVal::owned(CelString::from(format!("{sign}{seconds}{fraction}s"))))
    })?;

    for (name, part) in PARTS_OF_TIME {
        env.add_member_overload(name, &format!("timestamp_{name}"), TIMESTAMP_TYPE, vec![], *part)?;
    }
    for (name, part) in PARTS_OF_DURATION {
        env.add_member_overload(name, &format!("duration_{name}"), DURATION_TYPE, vec![], *part)?;
    }
    Ok(())
}

type Part = for<'b, 'v> fn(Args<'b, 'v>) -> Outcome<'b, 'v>;

const PARTS_OF_TIME: &[(&str, Part)] = &[
    ("getFullYear", |args| in_utc(&args, |time| time.year().into())),
    ("getMonth", |args| in_utc(&args, |time| i64::from(time.month()) - 1)),
    ("getDate", |args| in_utc(&args, |time| time.day().into())),
    ("getDayOfMonth", |args| in_utc(&args, |time| i64::from(time.day()) - 1)),
    ("getDayOfYear", |args| in_utc(&args, |time| i64::from(time.day_of_year()) - 1)),
    ("getDayOfWeek", |args| in_utc(&args, |time| Weekday::to_sunday_zero_offset(time.weekday()).into())),
    ("getHours", |args| in_utc(&args, |time| time.hour().into())),
    ("getMinutes", |args| in_utc(&args, |time| time.minute().into())),
    ("getSeconds", |args| in_utc(&args, |time| time.second().into())),
    ("getMilliseconds", |args| in_utc(&args, |time| time.millisecond().into())),
];

const PARTS_OF_DURATION: &[(&str, Part)] = &[
    ("getHours", |args| in_all(&args, |span| span.as_secs() / 3600)),
    ("getMinutes", |args| in_all(&args, |span| span.as_secs() / 60)),
    ("getSeconds", |args| in_all(&args, SignedDuration::as_secs)),
    ("getMilliseconds", |args| in_all(&args, |span| i64::from(span.subsec_millis()))),
];

fn in_utc<'b, 'v>(args: &Args<'_, '_>, part: fn(jiff::civil::DateTime) -> i64) -> Outcome<'b, 'v> {
    let time = argument::<Instant>(args, 0, "a part of a timestamp")?.0;
    Ok(int(part(TimeZone::UTC.to_datetime(time))))
}

fn in_all<'b, 'v>(args: &Args<'_, '_>, part: fn(&SignedDuration) -> i64) -> Outcome<'b, 'v> {
    Ok(int(part(&argument::<Span>(args, 0, "a part of a duration")?.0)))
}

fn int<'b, 'v>(value: i64) -> CowVal<'b, 'v> {
    CowVal::owned(CelInt::from(value))
}

fn itself<'b, 'v>(mut args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    args.pop().ok_or_else(ExecutionError::missing_argument_or_target)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("72h", 259_200_000_000_000)]
    #[case("1h30m", 5_400_000_000_000)]
    #[case("1.5h", 5_400_000_000_000)]
    #[case("-1m0.25s", -60_250_000_000)]
    #[case("1ms", 1_000_000)]
    #[case("1us1ns", 1_001)]
    #[case("0s", 0)]
    fn durations_are_read_as_cel_writes_them(#[case] text: &str, #[case] nanos: i128) {
        assert_eq!(Span::parse(text).unwrap().0.as_nanos(), nanos);
    }

    #[rstest]
    #[case("")]
    #[case("-")]
    #[case("3")]
    #[case("3d")]
    #[case("h")]
    #[case(".h")]
    #[case("1.2.3h")]
    #[case("1h ")]
    #[case("1h-1m")]
    #[case("9999999999h")]
    #[case("99999999999999999999h")]
    #[case("2562047h2562047h2562047h2562047h2562047h2562047h2562047h2562047h2562047h")]
    fn what_is_no_duration_is_refused(#[case] text: &str) {
        assert!(Span::parse(text).is_err());
    }

    #[rstest]
    #[case("")]
    #[case("2026-11-24")]
    #[case("2026-11-24T00:00:00")]
    #[case("2026-13-24T00:00:00Z")]
    #[case("2026-11-24T00:00:00+01:00[Europe/Berlin]")]
    #[case("now")]
    fn what_is_no_point_in_time_is_refused(#[case] text: &str) {
        assert!(Instant::parse(text).is_err());
    }

    #[test]
    fn a_fraction_of_any_length_is_read() {
        let text = "2026-11-24T01:00:00.123456789+01:00";
        assert_eq!(Instant::parse(text).unwrap().0.to_string(), "2026-11-24T00:00:00.123456789Z");
        assert_eq!(Span::parse("0.33333333333333333333h").unwrap().0.as_secs(), 1199);
    }
}
