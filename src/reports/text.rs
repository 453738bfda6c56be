//! What all formats' texts have in common: words for severities, dates, and what a text may hold.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::bounds::LIMITS;
use crate::{
    evidence::{Platform, Severity, VexStatus},
    image::Digest,
};

/// The longest text that is kept of a name or version, in bytes. Longer ones are cut at a character's end.
const TEXT_LIMIT: usize = 256;
/// The longest name of a vulnerability, in bytes.
const ID_LIMIT: usize = 64;
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

/// A moment in seconds since 1970, with or without a fraction; none before 1990, and for what is no moment.
pub(super) fn unix(seconds: f64) -> Option<Timestamp> {
    let since = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    let time = Timestamp::from_duration(since).ok()?;
    (time.to_zoned(TimeZone::UTC).year() >= EARLIEST).then_some(time)
}

/// The name of a vulnerability: at most 64 bytes, by [`name`]; none for a text in which there is none.
pub(super) fn id(text: &str) -> Option<String> {
    let id = name(text, ID_LIMIT);
    (!id.is_empty()).then_some(id)
}

/// Names of a vulnerability beside `id`: each once, those that CVE and GitHub give first, at most 128.
pub(super) fn aliases<'a>(id: &str, texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let rank = |name: &str| match name {
        name if name.starts_with("CVE-") => 0,
        name if name.starts_with("GHSA-") => 1,
        _ => 2,
    };
    let names = texts.into_iter().filter_map(self::id).filter(|alias| !alias.eq_ignore_ascii_case(id));
    let mut names: Vec<String> = names.collect();
    names.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)));
    names.dedup();
    names.truncate(LIMITS.aliases);
    names
}

/// The name, or version, of a package: at most 256 bytes, by [`name`].
pub(super) fn package(text: &str) -> String {
    name(text, TEXT_LIMIT)
}

/// What kind of package it is, in a scanner's own word: at most 64 bytes.
pub(super) fn kind(text: &str) -> String {
    name(text, ID_LIMIT)
}

/// The version, or versions, that mend a vulnerability; none for a blank.
pub(super) fn fixed(text: &str) -> Option<String> {
    let fixed = plain(text);
    (!fixed.is_empty()).then_some(fixed)
}

/// The status that a word of VEX stands for: exactly as OpenVEX and Trivy spell them.
pub(super) fn vex(word: &str) -> Option<VexStatus> {
    match word {
        "affected" => Some(VexStatus::Affected),
        "fixed" => Some(VexStatus::Fixed),
        "not_affected" => Some(VexStatus::NotAffected),
        "under_investigation" => Some(VexStatus::UnderInvestigation),
        _ => None,
    }
}

/// The digest that a text is, or that a reference `repository@digest` ends in; none for `""`, `REDACTED`, and
/// whatever else scanners write for want of one.
pub(super) fn digest(text: &str) -> Option<Digest> {
    text.rsplit_once('@').map_or(text, |(_, digest)| digest).parse().ok()
}

/// The platform of which an image's configuration speaks; none where a part is missing.
pub(super) fn platform(os: &str, architecture: &str, variant: Option<&str>) -> Option<Platform> {
    match variant.filter(|variant| !variant.is_empty()) {
        Some(variant) => format!("{os}/{architecture}/{variant}").parse().ok(),
        None => format!("{os}/{architecture}").parse().ok(),
    }
}

/// The names of CVE in a text, in its order.
pub(super) fn cves(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("CVE-").filter_map(move |(start, prefix)| {
        let rest = &text[start + prefix.len()..];
        let (year, rest) = rest.split_at_checked(4)?;
        let serial = rest.strip_prefix('-')?;
        let digits = serial.bytes().take_while(u8::is_ascii_digit).count();
        let fits = year.bytes().all(|b| b.is_ascii_digit()) && (4..=19).contains(&digits);
        fits.then(|| &text[start..start + prefix.len() + 5 + digits])
    })
}

/// What kind of package a package URL names: `deb` of `pkg:deb/debian/bash@5.0`.
///
/// Source: package-url specification, "Rules for each purl component".
pub(super) fn purl_type(purl: &str) -> Option<String> {
    let (kind, _) = purl.trim().strip_prefix("pkg:")?.trim_start_matches('/').split_once('/')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
    (!kind.is_empty() && kind.len() <= ID_LIMIT && kind.chars().all(fits)).then(|| kind.to_ascii_lowercase())
}

/// A text by which something is found, in at most `limit` bytes: as [`plain`], but two texts that differ stay two.
/// One that is too long, or holds what cannot be seen, ends in `~` and 16 hex digits of the whole text's SHA-256.
fn name(text: &str, limit: usize) -> String {
    // no other blanks: those of Unicode are among what cannot be told apart
    let trimmed = text.trim_ascii();
    let seen = visible(trimmed);
    if seen.len() == trimmed.len() && seen.len() <= limit {
        return seen;
    }
    let hash = Digest::sha256(trimmed.as_bytes());
    format!("{}~{}", cut(seen.trim().to_owned(), limit - 17).trim_end(), &hash.hex()[..16])
}

/// A text for people, without what could make it look like another: no control characters and none that are not
/// seen or change the direction of writing, no blanks around it, at most 256 bytes.
pub(super) fn plain(text: &str) -> String {
    cut(visible(text.trim()), TEXT_LIMIT)
}

fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Whether a character is not seen, or changes how others are: the general categories Cc, Cf, Zl and Zp of
/// Unicode, and fillers and variation selectors.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
