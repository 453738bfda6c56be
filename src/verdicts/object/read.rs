use std::str::FromStr;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use super::{
    ALIAS_LIMIT, COUNT_LIMIT, DISTRIBUTION_CHARS, ID_CHARS, PACKAGE_LIMIT, PLATFORM_LIMIT, TEXT_CHARS,
    TYPE_CHARS, object_name,
};
use crate::{
    api::v1alpha1::{
        ImageScanVerdictSpec, ScannedPackage, ScannedPlatform, SeverityCounts, SeverityName, VexStatusName,
        VulnerabilityCount, VulnerabilityFinding,
    },
    evidence::{Count, Counts, Platform, Scan, ScanVerdict, Severity, VexStatus, Vulnerability},
    image::Digest,
    policy::ATTESTATION_SOURCE,
    reports::{LIMITS, worst_first},
};

/// The earliest year that is believed: older dates are what programs write that have none.
const EARLIEST: i16 = 1990;

/// Neither an object's name nor its content tells which digest it is about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no name of an ImageScanVerdict: wanted the digest with - for :, a . and the source, as sha256-0123….trivy"
)]
pub struct Unbound(pub String);

/// Reads the `spec` of the ImageScanVerdict `name`, as JSON text; none where the object has none.
///
/// What cannot be read is a verdict too, on the digest that the name says: it must not be taken for a digest
/// that nobody has scanned.
pub fn from_json(name: &str, spec: Option<&str>) -> Result<ScanVerdict, Unbound> {
    let parsed = match spec {
        None => Err("spec is missing".to_owned()),
        // The place of a mistake is looked for only once there is one.
        Some(json) => serde_json::from_str(json).map_err(|error| {
            let mut document = serde_json::Deserializer::from_str(json);
            match serde_path_to_error::deserialize::<_, ImageScanVerdictSpec>(&mut document) {
                Err(error) => format!("spec.{}: {}", error.path(), error.inner()),
                Ok(_) => format!("spec: {error}"),
            }
        }),
    };
    bind(name, parsed)
}

/// The same of a spec that has been read as JSON already.
pub fn from_value(name: &str, spec: Value) -> Result<ScanVerdict, Unbound> {
    let parsed = match spec {
        Value::Null => Err("spec is missing".to_owned()),
        spec => serde_path_to_error::deserialize(spec)
            .map_err(|error| format!("spec.{}: {}", error.path(), error.inner())),
    };
    bind(name, parsed)
}

fn bind(name: &str, parsed: Result<ImageScanVerdictSpec, String>) -> Result<ScanVerdict, Unbound> {
    let named = of_name(name);
    let (digest, source) = match (&named, &parsed) {
        (Some((digest, source)), _) => (digest.clone(), (*source).into()),
        (None, Ok(spec)) => match spec.digest.parse::<Digest>() {
            Ok(digest) => (digest, spec.source.as_str().into()),
            Err(_) => return Err(Unbound(name.to_owned())),
        },
        (None, Err(_)) => return Err(Unbound(name.to_owned())),
    };
    let checked = parsed.and_then(|spec| match object_name(&digest, &spec.source) == name {
        true if spec.digest == digest.as_str() => check(spec),
        _ => Err(format!(
            "the name says another digest or source than spec.digest, {}, and spec.source, {}",
            spec.digest, spec.source
        )),
    });
    let (platforms, content) = match checked {
        Ok((platforms, scan)) => (platforms, Ok(scan)),
        Err(why) => (Vec::new(), Err(why)),
    };
    Ok(ScanVerdict { source, digest, platforms, content })
}

/// The digest and the source that the name of an object says.
fn of_name(name: &str) -> Option<(Digest, &str)> {
    let (digest, source) = name.split_once('.')?;
    let digest = digest.replacen('-', ":", 1).parse().ok()?;
    (!source.is_empty()).then_some((digest, source))
}

fn check(spec: ImageScanVerdictSpec) -> Result<(Vec<Platform>, Scan), String> {
    let source = spec.source.as_bytes();
    let fits = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let ends = source.first().zip(source.last()).is_some_and(|(one, other)| *one != b'-' && *other != b'-');
    if !ends || source.len() > 63 || !source.iter().all(fits) {
        return Err("spec.source: wanted 1 to 63 lowercase letters, digits and -".to_owned());
    }
    if spec.source == ATTESTATION_SOURCE {
        return Err(format!(
            "spec.source: {ATTESTATION_SOURCE} is the source of what is signed beside images"
        ));
    }
    let platforms = platforms(spec.platforms.as_deref())?;
    let scanned_at = believable(spec.scanned_at.0, "spec.scannedAt")?;
    let database_at = spec.database.and_then(|database| database.updated_at);
    let database_at = database_at.map(|time| believable(time.0, "spec.database.updatedAt")).transpose()?;
    if let Some(distribution) = &spec.end_of_life {
        bounded(distribution, 1, DISTRIBUTION_CHARS)
            .map_err(|problem| format!("spec.endOfLife: {problem}"))?;
    }
    let counts = counts(&spec.counts)?;
    let vulnerabilities = vulnerabilities(spec.packages)?;
    let whole = compare(&counts, &vulnerabilities)?;
    if whole == spec.truncated {
        return Err(match whole {
            true => "spec.truncated: true, though spec.packages lists all that spec.counts counts",
            false => "spec.truncated: false, though spec.packages lists fewer than spec.counts counts",
        }
        .to_owned());
    }
    Ok((
        platforms,
        Scan {
            scanned_at,
            database_at,
            end_of_life: spec.end_of_life.map(String::into),
            counts,
            vulnerabilities: vulnerabilities.into(),
        },
    ))
}

fn platforms(listed: Option<&[ScannedPlatform]>) -> Result<Vec<Platform>, String> {
    let Some(listed) = listed else { return Ok(Vec::new()) };
    if !(1..=PLATFORM_LIMIT).contains(&listed.len()) {
        return Err(format!(
            "spec.platforms: wanted 1 to {PLATFORM_LIMIT}, or none at all: there are {}",
            listed.len()
        ));
    }
    let read = |(at, one): (usize, &ScannedPlatform)| {
        if let Some(digest) = &one.digest {
            Digest::from_str(digest).map_err(|error| format!("spec.platforms[{at}].digest: {error}"))?;
        }
        one.platform.parse().map_err(|error| format!("spec.platforms[{at}].platform: {error}"))
    };
    listed.iter().enumerate().map(read).collect()
}

fn believable(time: Timestamp, place: &str) -> Result<Timestamp, String> {
    match time.to_zoned(TimeZone::UTC).year() >= EARLIEST {
        true => Ok(time),
        false => Err(format!("{place}: {time} is no date of a scan: wanted {EARLIEST} or later")),
    }
}

fn counts(written: &SeverityCounts) -> Result<Counts, String> {
    let SeverityCounts { critical, high, medium, low, negligible, unknown } = written;
    let read = |name: &str, count: &VulnerabilityCount| match *count {
        VulnerabilityCount { found, fixable } if fixable <= found && found <= COUNT_LIMIT => {
            Ok(Count { found, fixable })
        }
        VulnerabilityCount { found, fixable } => Err(format!(
            "spec.counts.{name}: {fixable} fixable of {found}: wanted no more than there are, and {COUNT_LIMIT} at most"
        )),
    };
    Ok(Counts {
        known: [
            read("critical", critical)?,
            read("high", high)?,
            read("medium", medium)?,
            read("low", low)?,
            read("negligible", negligible)?,
        ],
        unknown: read("unknown", unknown)?,
    })
}

fn vulnerabilities(packages: Vec<ScannedPackage>) -> Result<Vec<Vulnerability>, String> {
    let rows = packages.iter().map(|package| package.findings.len()).sum();
    if packages.len() > PACKAGE_LIMIT || rows > LIMITS.rows {
        return Err(format!(
            "spec.packages: {} packages with {rows} findings; at most {PACKAGE_LIMIT} and {} are read",
            packages.len(),
            LIMITS.rows
        ));
    }
    let mut all = Vec::with_capacity(rows);
    for (at, package) in packages.into_iter().enumerate() {
        let ScannedPackage { name, package_type, version, findings } = package;
        let place = format_args!("spec.packages[{at}]");
        bounded(&name, 0, TEXT_CHARS).map_err(|problem| format!("{place}.name: {problem}"))?;
        bounded(&package_type, 0, TYPE_CHARS).map_err(|problem| format!("{place}.type: {problem}"))?;
        bounded(&version, 0, TEXT_CHARS).map_err(|problem| format!("{place}.version: {problem}"))?;
        if findings.is_empty() {
            return Err(format!("{place}.findings: empty: leave the package out"));
        }
        for (row, finding) in findings.into_iter().enumerate() {
            let one = vulnerability(finding, (&name, &package_type, &version));
            all.push(one.map_err(|problem| format!("{place}.findings[{row}].{problem}"))?);
        }
    }
    all.sort_by(worst_first);
    Ok(all)
}

fn vulnerability(
    finding: VulnerabilityFinding,
    (package, package_type, installed): (&str, &str, &str),
) -> Result<Vulnerability, String> {
    let VulnerabilityFinding { id, aliases, severity, score, fixed, published, seen, vex } = finding;
    bounded(&id, 1, ID_CHARS).map_err(|problem| format!("id: {problem}"))?;
    if aliases.len() > ALIAS_LIMIT {
        return Err(format!("aliases: there are {}: wanted {ALIAS_LIMIT} at most", aliases.len()));
    }
    for alias in &aliases {
        bounded(alias, 1, ID_CHARS).map_err(|problem| format!("aliases: {problem}"))?;
    }
    bounded(fixed.as_deref().unwrap_or_default(), 0, TEXT_CHARS)
        .map_err(|problem| format!("fixed: {problem}"))?;
    Ok(Vulnerability {
        id,
        aliases,
        severity: severity.map(severity_of),
        score: score.as_deref().map(tenths).transpose()?,
        package: package.to_owned(),
        package_type: package_type.to_owned(),
        installed: installed.to_owned(),
        fixed,
        published: published.as_deref().map(|text| day(text, "published")).transpose()?,
        first_seen: seen.as_deref().map(|text| day(text, "seen")).transpose()?,
        vex: vex.map(vex_of),
    })
}

/// How many vulnerabilities are listed, held against how many were found: whether all are there.
fn compare(counts: &Counts, vulnerabilities: &[Vulnerability]) -> Result<bool, String> {
    let mut listed = Counts::default();
    vulnerabilities.iter().for_each(|one| listed.add(one));
    let severities = Severity::ALL.into_iter().map(Some).chain([None]);
    for severity in severities {
        let (counted, listed) = (counts.of(severity), listed.of(severity));
        let hidden = counted.found.checked_sub(listed.found);
        // Those that are not listed must have room for those of them that can be mended, and for no fewer.
        let fits = hidden.zip(counted.fixable.checked_sub(listed.fixable));
        if fits.is_none_or(|(hidden, fixable)| fixable > hidden) {
            let name = severity.map_or("unknown severity", Severity::as_str);
            return Err(format!(
                "spec.counts: {} of {name} with {} fixable, though spec.packages lists {} with {}",
                counted.found, counted.fixable, listed.found, listed.fixable
            ));
        }
    }
    Ok(listed == *counts)
}

fn bounded(text: &str, least: usize, most: usize) -> Result<(), String> {
    // No character takes more than four bytes.
    let chars = if text.len() <= most { text.len() } else { text.chars().count() };
    match text.len() >= least && chars <= most {
        true => Ok(()),
        false => Err(format!("{chars} characters: wanted {least} to {most}")),
    }
}

fn tenths(text: &str) -> Result<u8, String> {
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let score = whole.parse::<u8>().ok().zip(tenth.parse::<u8>().ok()).filter(|_| {
        digits(whole) && digits(tenth) && tenth.len() == 1 && (whole.len() == 1 || whole == "10")
    });
    let score = score.map(|(whole, tenth)| whole * 10 + tenth).filter(|score| *score <= 100);
    score.ok_or_else(|| format!("score: {text:?} is none: wanted 0 to 10, as 9.8"))
}

fn day(text: &str, place: &str) -> Result<Date, String> {
    let day = text.parse::<Date>().ok().filter(|day| text.len() == 10 && day.year() >= EARLIEST);
    day.ok_or_else(|| format!("{place}: {text:?} is no day: wanted one as 2021-12-10, {EARLIEST} or later"))
}

fn severity_of(name: SeverityName) -> Severity {
    match name {
        SeverityName::Critical => Severity::Critical,
        SeverityName::High => Severity::High,
        SeverityName::Medium => Severity::Medium,
        SeverityName::Low => Severity::Low,
        SeverityName::Negligible => Severity::Negligible,
    }
}

fn vex_of(name: VexStatusName) -> VexStatus {
    match name {
        VexStatusName::Affected => VexStatus::Affected,
        VexStatusName::Fixed => VexStatus::Fixed,
        VexStatusName::NotAffected => VexStatus::NotAffected,
        VexStatusName::UnderInvestigation => VexStatus::UnderInvestigation,
    }
}
