use std::collections::HashMap;

use jiff::{Timestamp, Unit, civil::Date, tz::TimeZone};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::{
    ALIAS_LIMIT, DISTRIBUTION_CHARS, ID_CHARS, PACKAGE_LIMIT, PLATFORM_LIMIT, TEXT_CHARS, TYPE_CHARS,
    object_name,
};
use crate::{
    api::v1alpha1::{
        ImageScanVerdict, ImageScanVerdictSpec, ScannedPackage, ScannedPlatform, Scanner, ScannerDatabase,
        SeverityCounts, SeverityName, VexStatusName, VulnerabilityCount, VulnerabilityFinding,
    },
    evidence::{Count, Counts, Severity, VexStatus, Vulnerability},
    image::Digest,
    reports::Report,
};

/// The largest object that is written, in bytes of JSON. etcd takes requests of 1.5 MiB, and what the API server
/// adds needs room too.
pub const OBJECT_BYTES: usize = 900 << 10;

/// What a report does not say of itself, or is not believed for.
#[derive(Clone, Copy, Debug)]
pub struct Scanned<'a> {
    /// What was scanned.
    pub digest: &'a Digest,
    /// Of which platforms of an index the report speaks. Empty: of all that the digest stands for. Of more than 32
    /// the first 32 are named, so that the verdict speaks of no more than that.
    pub platforms: &'a [ScannedPlatform],
    /// Who says it: lowercase letters, digits and `-`, 63 at most.
    pub source: &'a str,
    /// When it was scanned. Parts of a second are left out.
    pub scanned_at: Timestamp,
    /// What the same source said of the same digest before, for the days on which vulnerabilities were first seen.
    pub previous: Option<&'a ImageScanVerdictSpec>,
}

/// The object for a report.
///
/// Vulnerabilities are written by package, the worst first, until the object would become larger than
/// [`OBJECT_BYTES`]; all are counted. One whose names the definition does not take is counted and not listed either:
/// a policy might ask for just the name that would be missing. Scores are left out where a severity is stated: policies judge by that.
/// A vulnerability that nobody says the day of publication of bears the day on which it was first seen: that of
/// this scan, or the one that the previous object has.
///
/// `report` must be [settled](Report::settle).
pub fn to_object(report: &Report, scanned: Scanned<'_>) -> ImageScanVerdict {
    let Scanned { digest, platforms, source, scanned_at, previous } = scanned;
    let platforms = &platforms[..platforms.len().min(PLATFORM_LIMIT)];
    let spec = ImageScanVerdictSpec {
        digest: digest.to_string(),
        platforms: (!platforms.is_empty()).then(|| platforms.to_vec()),
        source: source.to_owned(),
        scanner: Scanner {
            name: match cut(&report.scanner, 128) {
                name if name.is_empty() => "unknown".to_owned(),
                name => name,
            },
            version: stated(report.scanner_version.as_deref()),
        },
        database: database(report),
        scanned_at: whole_seconds(scanned_at),
        end_of_life: report.ended_distribution().map(|name| cut(name, DISTRIBUTION_CHARS)),
        counts: counts(&report.counts()),
        truncated: true,
        packages: Vec::new(),
    };
    let mut object = ImageScanVerdict::new(&object_name(digest, source), spec);
    let left = OBJECT_BYTES.saturating_sub(json_bytes(&object) + r#"e,"packages":[]"#.len());
    let first_seen = FirstSeen::new(previous, scanned_at);
    let (packages, whole) = packages(&report.vulnerabilities, &first_seen, left);
    object.spec.packages = packages;
    object.spec.truncated = !whole;
    object
}

/// As many of `vulnerabilities` as `left` bytes hold, by package, and whether that is all of them.
fn packages(
    vulnerabilities: &[Vulnerability],
    first_seen: &FirstSeen<'_>,
    mut left: usize,
) -> (Vec<ScannedPackage>, bool) {
    let mut packages: Vec<ScannedPackage> = Vec::new();
    let mut places: HashMap<(&str, &str, &str), usize> = HashMap::new();
    let mut whole = true;
    for one in vulnerabilities {
        if !has_room_for_names(one) {
            whole = false;
            continue;
        }
        let finding = finding(one, first_seen);
        let key = (one.package.as_str(), one.package_type.as_str(), one.installed.as_str());
        let place = places.get(&key).copied();
        let new = place.is_none().then(|| ScannedPackage {
            name: cut(key.0, TEXT_CHARS),
            package_type: cut(key.1, TYPE_CHARS),
            version: cut(key.2, TEXT_CHARS),
            findings: Vec::new(),
        });
        // A comma behind each.
        let bytes = json_bytes(&finding) + 1 + new.as_ref().map_or(0, |new| json_bytes(new) + 1);
        // What follows is less bad, and must not take the place of this one.
        if bytes > left || (new.is_some() && packages.len() == PACKAGE_LIMIT) {
            return (packages, false);
        }
        left -= bytes;
        let place = place.unwrap_or_else(|| {
            packages.extend(new);
            places.insert(key, packages.len() - 1);
            packages.len() - 1
        });
        packages[place].findings.push(finding);
    }
    (packages, whole)
}

/// Whether a finding holds every name of a vulnerability.
fn has_room_for_names(one: &Vulnerability) -> bool {
    let fits = |name: &String| (1..=ID_CHARS).contains(&name.chars().count());
    fits(&one.id) && one.aliases.len() <= ALIAS_LIMIT && one.aliases.iter().all(fits)
}

fn finding(one: &Vulnerability, first_seen: &FirstSeen<'_>) -> VulnerabilityFinding {
    VulnerabilityFinding {
        id: one.id.clone(),
        aliases: one.aliases.clone(),
        severity: one.severity.map(severity_name),
        score: one.score.filter(|_| one.severity.is_none()).map(score),
        fixed: one.fixed.as_deref().map(|fixed| cut(fixed, TEXT_CHARS)),
        published: one.published.map(|day| day.to_string()),
        seen: one.published.is_none().then(|| first_seen.of(one).to_string()),
        vex: one.vex.map(vex_name),
    }
}

/// The days on which vulnerabilities were first seen in an image.
struct FirstSeen<'a> {
    /// By id and package.
    before: HashMap<(&'a str, &'a str), Date>,
    today: Date,
}

impl<'a> FirstSeen<'a> {
    fn new(previous: Option<&'a ImageScanVerdictSpec>, scanned_at: Timestamp) -> Self {
        let mut before: HashMap<_, Date> = HashMap::new();
        let packages = previous.map_or(&[][..], |spec| &spec.packages);
        let scanned = previous.map_or(scanned_at, |spec| spec.scanned_at.0);
        for package in packages {
            for finding in &package.findings {
                // Where the day of publication was known then, it was seen on the day of that scan at the latest.
                let seen = finding.seen.as_deref().and_then(|seen| seen.parse().ok());
                let seen = seen.unwrap_or_else(|| day(scanned));
                let known = before.entry((finding.id.as_str(), package.name.as_str())).or_insert(seen);
                *known = seen.min(*known);
            }
        }
        Self { before, today: day(scanned_at) }
    }

    fn of(&self, one: &Vulnerability) -> Date {
        let before = self.before.get(&(one.id.as_str(), one.package.as_str())).copied();
        [before, one.first_seen].into_iter().flatten().fold(self.today, Date::min)
    }
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

fn database(report: &Report) -> Option<ScannerDatabase> {
    let version = stated(report.database_version.as_deref());
    let updated_at = report.database_at.map(whole_seconds);
    (version.is_some() || updated_at.is_some()).then_some(ScannerDatabase { version, updated_at })
}

fn counts(counts: &Counts) -> SeverityCounts {
    let of = |severity| {
        let Count { found, fixable } = counts.of(severity);
        VulnerabilityCount { found, fixable }
    };
    SeverityCounts {
        critical: of(Some(Severity::Critical)),
        high: of(Some(Severity::High)),
        medium: of(Some(Severity::Medium)),
        low: of(Some(Severity::Low)),
        negligible: of(Some(Severity::Negligible)),
        unknown: of(None),
    }
}

/// Rounded down: no scan becomes newer than it is.
fn whole_seconds(time: Timestamp) -> Time {
    let down = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    Time(time.round(down).unwrap_or(time))
}

fn stated(text: Option<&str>) -> Option<String> {
    text.map(|text| cut(text, 128)).filter(|text| !text.is_empty())
}

/// At most `chars` characters.
fn cut(text: &str, chars: usize) -> String {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end]).to_owned()
}

/// A CVSS base score, of tenths.
fn score(tenths: u8) -> String {
    match (tenths / 10, tenths % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

fn severity_name(severity: Severity) -> SeverityName {
    match severity {
        Severity::Critical => SeverityName::Critical,
        Severity::High => SeverityName::High,
        Severity::Medium => SeverityName::Medium,
        Severity::Low => SeverityName::Low,
        Severity::Negligible => SeverityName::Negligible,
    }
}

fn vex_name(status: VexStatus) -> VexStatusName {
    match status {
        VexStatus::Affected => VexStatusName::Affected,
        VexStatus::Fixed => VexStatusName::Fixed,
        VexStatus::NotAffected => VexStatusName::NotAffected,
        VexStatus::UnderInvestigation => VexStatusName::UnderInvestigation,
    }
}

fn json_bytes(value: &impl Serialize) -> usize {
    // OK because texts, numbers and lists of them have a JSON form
    serde_json::to_vec(value).unwrap().len()
}
