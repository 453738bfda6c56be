use std::time::Duration;

/// The longest time that the API server gives a webhook (`timeoutSeconds` is 1 to 30).
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A `timeout` in a request's query that is no time to answer in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the query's timeout is no positive duration; write one as 10s, 500ms or 1m30s")]
pub struct TimeoutError;

/// How long the caller waits for an answer: `timeout` in the query string of the request, a duration
/// as Go writes it (`10s`, `1.5s`, `1m0s`, `500ms`).
///
/// None where there is none. More than [`LONGEST_TIMEOUT`] counts as that: answering sooner than one
/// must does no harm. Zero, a negative one and what is no duration are an error, not a default: the
/// caller means something that we do not know. Of several the first counts, as in Go.
///
/// Source: kubernetes `client-go/rest/request.go` (`Request.Timeout`), Go `time.ParseDuration`.
pub fn parse_timeout(query: &str) -> Result<Option<Duration>, TimeoutError> {
    let Some((_, text)) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "timeout")
    else {
        return Ok(None);
    };
    let duration = parse_duration(&text).ok_or(TimeoutError)?;
    if duration.is_zero() { Err(TimeoutError) } else { Ok(Some(duration.min(LONGEST_TIMEOUT))) }
}

/// `[+][digits][.digits]unit…`, without the minus sign that Go knows too. Saturates.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = behind.strip_prefix('.').map_or(("", behind), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = nanoseconds(unit)?;
        // Digits alone that do not fit are too many: as good as the longest there is.
        let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
        total = total.saturating_add(whole.saturating_mul(unit));
        let mut worth = unit;
        for digit in fraction.bytes() {
            worth /= 10;
            total = total.saturating_add(u64::from(digit - b'0') * worth);
        }
        rest = behind;
    }
    Some(Duration::from_nanos(total))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}
