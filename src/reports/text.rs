//! What all formats' texts have in common: words for severities, dates, and what a text may hold.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::evidence::Severity;

/// The longest text that is kept of a name or version, in bytes. Longer ones are cut at a character's end.
const TEXT_LIMIT: usize = 256;
/// The earliest year that is believed: older dates are what programs write that have none.
const EARLIEST: i16 = 1990;

/// The severity that a scanner's word stands for; none for a word that says that nobody knows, and for any that is
/// not listed.
///
/// | ours | Trivy | Grype | Clair, Quay, Harbor | Snyk | ECR, Inspector | Grafeas |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | Critical | CRITICAL | Critical | Critical, Defcon1 | critical | CRITICAL | CRITICAL |
/// | High | HIGH | High | High | high | HIGH | HIGH |
/// | Medium | MEDIUM | Medium | Medium | medium | MEDIUM | MEDIUM |
/// | Low | LOW | Low | Low | low | LOW | LOW |
/// | Negligible | | Negligible | Negligible | | INFORMATIONAL | MINIMAL |
///
/// CycloneDX has `info` besides; case does not count.
pub(super) fn severity(word: &str) -> Option<Severity> {
    match word.to_ascii_lowercase().as_str() {
        "critical" | "defcon1" => Some(Severity::Critical),
        "high" => Some(Severity::High),
        "medium" => Some(Severity::Medium),
        "low" => Some(Severity::Low),
        "negligible" | "informational" | "minimal" | "info" => Some(Severity::Negligible),
        _ => None,
    }
}

/// A CVSS base score in tenths; none for what is no number from 0 to 10.
pub(super) fn score(score: f64) -> Option<u8> {
    let tenths = (0..=100).find(|tenths| (f64::from(*tenths) / 10.0 - score).abs() < 0.05);
    tenths.filter(|_| (0.0..=10.0).contains(&score))
}

/// The severity of a CVSS v3 base score (CVSS v3.1 specification, section 5).
pub(super) fn severity_of_score(tenths: u8) -> Severity {
    match tenths {
        90.. => Severity::Critical,
        70..=89 => Severity::High,
        40..=69 => Severity::Medium,
        1..=39 => Severity::Low,
        0 => Severity::Negligible,
    }
}

/// A moment as RFC 3339 has it; none for what is none, and for dates before 1990.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let time = text.trim().parse::<Timestamp>().ok()?;
    (time.to_zoned(TimeZone::UTC).year() >= EARLIEST).then_some(time)
}

/// The day of a moment as RFC 3339 has it, or a day by itself; none for what is neither.
pub(super) fn date(text: &str) -> Option<Date> {
    if let Some(time) = timestamp(text) {
        return Some(time.to_zoned(TimeZone::UTC).date());
    }
    let day = text.trim().get(..10)?.parse::<Date>().ok()?;
    (day.year() >= EARLIEST).then_some(day)
}

/// A text without what could make it look like another: no control characters and none that change the direction
/// of writing, no blanks around it, at most 256 bytes.
pub(super) fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut plain: String = text.trim().chars().filter(|c| !hidden(*c)).collect();
    if plain.len() > TEXT_LIMIT {
        let end = (0..=TEXT_LIMIT).rev().find(|at| plain.is_char_boundary(*at)).unwrap_or(0);
        plain.truncate(end);
    }
    plain
}
