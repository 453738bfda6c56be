//! Vulnerabilities: what is denied, what is left out of account, and whose word counts.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    Problems,
    signatures::{check_name, places},
};
use crate::{
    api::v1alpha1::{
        EndOfLife, IgnoredVulnerability, MissingVerdict as MissingVerdictName, SeverityName, SourcesAnswer,
        VerdictSources, VulnerabilityRule, VulnerabilityRules,
    },
    evidence::Severity,
    policy::{
        CountedSources, DenyRule, Exception, Exceptions, MissingVerdict, PackagePatterns,
        VulnerabilityRequirement,
        vulnerability::{ATTESTATION_SOURCE, VulnerabilityIds},
    },
};

/// The most rules of `deny`, and the most names in one; the resource's schema says the same.
const RULES_LIMIT: usize = 16;
const IDS_LIMIT: usize = 256;
/// The most packages of one rule, as the resource's schema says it, and of all together: a team writes policies of
/// its own, and each pattern is held against each vulnerability.
const PACKAGES_LIMIT: usize = 256;
/// The most entries of `ignore`, and the most packages of one; the resource's schema says the same.
const IGNORE_LIMIT: usize = 256;
const IGNORED_PACKAGES_LIMIT: usize = 64;
/// The most characters of the reason of an entry; the resource's schema says the same.
const REASON_LIMIT: usize = 512;
/// The most sources, and the most authorities whose attestations count; the resource's schema says the same.
const SOURCES_LIMIT: usize = 16;
/// The most bytes of a vulnerability's name, and of a package's.
const ID_LIMIT: usize = 64;
const PACKAGE_LIMIT: usize = 256;
/// How old a verdict may be where the policy does not say, and what it may say, in seconds.
const DEFAULT_AGE: i64 = 168 * 3600;
const AGES: std::ops::RangeInclusive<i64> = 60..=365 * 86_400;

const EMPTY: &str = "an empty list says nothing: leave the field out";

/// What `vulnerabilities` comes to. `named` are the authorities of `signatures`, by name.
pub(super) fn compile(
    rules: &VulnerabilityRules,
    named: &BTreeMap<Box<str>, usize>,
    problems: &mut Problems,
) -> VulnerabilityRequirement {
    let path = "spec.vulnerabilities";
    let VulnerabilityRules { deny, ignore, honor_vex, unknown_severity, max_verdict_age, sources, .. } =
        rules;
    let deny_end_of_life = rules.end_of_life == EndOfLife::Deny;
    if deny.is_none() && max_verdict_age.is_none() && sources.is_none() && !deny_end_of_life {
        problems.add(path, "", "set deny, maxVerdictAge, sources or endOfLife: Deny");
    }
    for (set, field) in [
        (ignore.is_some(), "ignore"),
        (*honor_vex, "honorVEX"),
        (unknown_severity.is_some(), "unknownSeverity"),
    ] {
        if set && deny.is_none() {
            let problem = "it speaks of what deny lists, and there is none: set deny, or leave it out";
            problems.add(&format!("{path}.{field}"), "", problem);
        }
    }
    if let (Some(name), Some(rules)) = (unknown_severity, deny)
        && rules.iter().all(|rule| rule.severity.is_none())
    {
        let problem = "no rule of deny names a severity, so it says nothing: leave it out";
        problems.add(&format!("{path}.unknownSeverity"), severity(*name).as_str(), problem);
    }
    VulnerabilityRequirement {
        deny: deny_rules(deny.as_deref(), &format!("{path}.deny"), problems),
        ignore: exceptions(ignore.as_deref(), &format!("{path}.ignore"), problems),
        honor_vex: *honor_vex,
        unknown_severity: unknown_severity.map_or(Severity::Critical, severity),
        max_verdict_age: max_verdict_age
            .as_ref()
            .and_then(|text| age(text, &format!("{path}.maxVerdictAge"), problems))
            .unwrap_or(SignedDuration::from_secs(DEFAULT_AGE)),
        deny_end_of_life,
        missing: match rules.missing_verdict {
            MissingVerdictName::Deny => MissingVerdict::Deny,
            MissingVerdictName::Warn => MissingVerdict::Warn,
            MissingVerdictName::Allow => MissingVerdict::Allow,
        },
        sources: counted_sources(sources.as_ref(), &format!("{path}.sources"), named, problems),
    }
}

fn severity(name: SeverityName) -> Severity {
    match name {
        SeverityName::Critical => Severity::Critical,
        SeverityName::High => Severity::High,
        SeverityName::Medium => Severity::Medium,
        SeverityName::Low => Severity::Low,
        SeverityName::Negligible => Severity::Negligible,
    }
}

fn deny_rules(rules: Option<&[VulnerabilityRule]>, path: &str, problems: &mut Problems) -> Vec<DenyRule> {
    let Some(rules) = rules else { return Vec::new() };
    if rules.is_empty() {
        problems.add(path, "[]", EMPTY);
    }
    problems.bound(path, rules.len(), RULES_LIMIT);
    let rules = &rules[..rules.len().min(RULES_LIMIT)];
    let packages = rules.iter().filter_map(|rule| rule.packages.as_ref()).map(Vec::len);
    // Where one rule alone has too many, that is said of it below.
    if packages.clone().all(|packages| packages <= PACKAGES_LIMIT) {
        problems.bound(&format!("{path}[].packages"), packages.sum(), PACKAGES_LIMIT);
    }
    let compile = |(at, rule)| deny_rule(rule, &format!("{path}[{at}]"), problems);
    let compiled = rules.iter().enumerate().map(compile).collect();
    for (at, rule) in rules.iter().enumerate() {
        if let Some(other) = rules[..at].iter().position(|other| other == rule) {
            problems.add(&format!("{path}[{at}]"), "", format!("the same as {path}[{other}]: leave it out"));
        }
    }
    compiled
}

fn deny_rule(rule: &VulnerabilityRule, path: &str, problems: &mut Problems) -> DenyRule {
    if rule.severity.is_none() && rule.ids.is_none() && rule.packages.is_none() {
        problems.add(path, "", "set severity, ids or packages");
    }
    if rule.fixable == Some(false) {
        let problem = "it says nothing: leave it out, or write true for those with a fix only";
        problems.add(&format!("{path}.fixable"), "false", problem);
    }
    if let Some(days) = rule.older_than_days.filter(|days| !(1..=3650).contains(days)) {
        problems.add(&format!("{path}.olderThanDays"), &days.to_string(), "wanted 1 to 3650 days");
    }
    let ids = rule.ids.as_deref().map(|ids| {
        let path = format!("{path}.ids");
        if ids.is_empty() {
            problems.add(&path, "[]", EMPTY);
        }
        problems.bound(&path, ids.len(), IDS_LIMIT);
        let ids = ids.iter().take(IDS_LIMIT).enumerate();
        VulnerabilityIds::new(
            ids.filter_map(|(at, id)| vulnerability_id(id, &format!("{path}[{at}]"), problems)).collect(),
        )
    });
    DenyRule {
        severity: rule.severity.map(severity),
        fixable: rule.fixable == Some(true),
        older_than_days: rule.older_than_days,
        ids,
        packages: packages(rule.packages.as_deref(), PACKAGES_LIMIT, &format!("{path}.packages"), problems),
    }
}

/// A name as scanners write them. They are compared as a whole: a pattern would never match.
fn vulnerability_id(id: &str, path: &str, problems: &mut Problems) -> Option<Box<str>> {
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    if id.is_empty() || id.len() > ID_LIMIT || !plain {
        problems.add(
            path,
            id,
            format!(
                "a vulnerability's name has 1 to {ID_LIMIT} letters, digits and signs without blanks, and is no pattern: write CVE-2021-44228"
            ),
        );
        return None;
    }
    Some(id.into())
}

fn packages(
    texts: Option<&[String]>,
    most: usize,
    path: &str,
    problems: &mut Problems,
) -> Option<PackagePatterns> {
    let texts = texts?;
    if texts.is_empty() {
        problems.add(path, "[]", EMPTY);
    }
    problems.bound(path, texts.len(), most);
    let mut patterns = Vec::new();
    for (at, text) in texts.iter().take(most).enumerate() {
        let plain = text.trim() == text && !text.contains(char::is_control);
        if text.is_empty() || text.len() > PACKAGE_LIMIT || !plain {
            let problem = format!(
                "a package's name has 1 to {PACKAGE_LIMIT} bytes, without blanks at its ends; \"*\" stands for any run of characters"
            );
            problems.add(&format!("{path}[{at}]"), text, problem);
        } else {
            patterns.push(text.as_str().into());
        }
    }
    Some(PackagePatterns::new(patterns))
}

fn exceptions(entries: Option<&[IgnoredVulnerability]>, path: &str, problems: &mut Problems) -> Exceptions {
    let Some(entries) = entries else { return Exceptions::default() };
    if entries.is_empty() {
        problems.add(path, "[]", EMPTY);
    }
    problems.bound(path, entries.len(), IGNORE_LIMIT);
    let compile = |(at, entry): (usize, &IgnoredVulnerability)| {
        let path = format!("{path}[{at}]");
        if entry.reason.trim().is_empty() || entry.reason.chars().count() > REASON_LIMIT {
            let problem = format!("say why, in 1 to {REASON_LIMIT} characters");
            problems.add(&format!("{path}.reason"), &entry.reason, problem);
        }
        let packages = packages(
            entry.packages.as_deref(),
            IGNORED_PACKAGES_LIMIT,
            &format!("{path}.packages"),
            problems,
        );
        Some(Exception {
            id: vulnerability_id(&entry.id, &format!("{path}.id"), problems)?,
            packages,
            until: entry.until.0,
            reason: entry.reason.as_str().into(),
        })
    };
    Exceptions::new(entries.iter().take(IGNORE_LIMIT).enumerate().filter_map(compile).collect())
}

/// A number of minutes, hours or days.
fn age(text: &str, path: &str, problems: &mut Problems) -> Option<SignedDuration> {
    let parse = || {
        let unit = match text.as_bytes().last()? {
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        let number = &text[..text.len() - 1];
        let digits =
            !number.is_empty() && !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
        // A number that is too large for us is too large for the bounds as well.
        digits.then(|| {
            number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).unwrap_or(i64::MAX)
        })
    };
    let problem = match parse() {
        Some(seconds) if AGES.contains(&seconds) => return Some(SignedDuration::from_secs(seconds)),
        Some(_) => "wanted 1m to 365d",
        None => "a time is written as a whole number with m, h or d, as 90m, 72h or 7d",
    };
    problems.add(path, text, problem);
    None
}

fn counted_sources(
    sources: Option<&VerdictSources>,
    path: &str,
    named: &BTreeMap<Box<str>, usize>,
    problems: &mut Problems,
) -> CountedSources {
    let Some(VerdictSources { answer, names, attestations }) = sources else {
        return CountedSources { all: false, names: None, attestations: Vec::new() };
    };
    let all = *answer == SourcesAnswer::All;
    if names.is_none() && attestations.is_none() && !all {
        problems.add(path, "", "set names, attestations or answer: All");
    }
    for (list, field) in [(names, "names"), (attestations, "attestations")] {
        if let Some(list) = list {
            if list.is_empty() {
                problems.add(&format!("{path}.{field}"), "[]", EMPTY);
            }
            problems.bound(&format!("{path}.{field}"), list.len(), SOURCES_LIMIT);
        }
    }
    for (at, name) in names.iter().flatten().take(SOURCES_LIMIT).enumerate() {
        let path = format!("{path}.names[{at}]");
        check_name(name, &path, problems);
        if name == ATTESTATION_SOURCE && attestations.is_none() {
            let problem = "name those whose attestations count in sources.attestations: nobody else's do";
            problems.add(&path, name, problem);
        }
    }
    CountedSources {
        all,
        names: names.as_ref().map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        attestations: places(attestations.iter().flatten(), &format!("{path}.attestations"), named, problems),
    }
}
