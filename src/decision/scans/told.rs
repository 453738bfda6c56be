//! What is told of scans. Everything that a verdict says goes through [`printable`].

use jiff::{SignedDuration, Timestamp};

use super::{
    Case, Hidden, Stale, Trouble,
    clock::{Known, day},
};
use crate::{
    decision::{Finding, Reason, Verdict, printable},
    evidence::{ScanSubject, Severity, VulnerabilityRef},
    policy::DenyRule,
};

/// How many vulnerabilities are told.
const TOLD: usize = 3;
/// The most bytes of what was found.
const FOUND_LIMIT: usize = 600;
/// The most bytes of what is wanted.
const WANTED_LIMIT: usize = 300;
/// The most bytes of one name or version.
const NAME_LIMIT: usize = 64;
/// How many sources are named.
const SOURCES: usize = 3;

/// A vulnerability that is denied.
pub(super) struct Denial<'a> {
    pub(super) vulnerability: VulnerabilityRef<'a>,
    /// What the policy takes it for.
    pub(super) severity: Severity,
    /// The first rule that denies it.
    pub(super) rule: &'a DenyRule,
    /// Who has found it.
    pub(super) source: &'a str,
    /// Until when it was left out of account.
    pub(super) expired: Option<Timestamp>,
}

impl Case<'_> {
    /// The verdict on one subject's trouble.
    pub(super) fn told(&self, subject: &ScanSubject, trouble: Trouble<'_>) -> Verdict {
        match trouble {
            Trouble::Denied(denials) => self.denied(subject, denials),
            Trouble::Ended { source, distribution } => Verdict::Violated(finding(
                Reason::DistributionEndOfLife,
                format!(
                    "{}{}, which no longer gets advisories, by {}",
                    printable(distribution, 128),
                    on(subject),
                    name(source)
                ),
                "a distribution that gets advisories".to_owned(),
                "use an image that is built on a supported version of the distribution",
            )),
            Trouble::Truncated(hidden) => truncated(subject, &hidden),
            Trouble::Unreadable { source, problem } => Verdict::Violated(finding(
                Reason::ScanVerdictUnreadable,
                format!(
                    "a verdict by {}{} that cannot be read: {}",
                    name(source),
                    on(subject),
                    printable(&problem, 300)
                ),
                "a verdict that this version can read".to_owned(),
                "have the image scanned again; if it stays, tell whoever runs the scanner",
            )),
            Trouble::Unattested(verdict) | Trouble::Unseen(verdict) => verdict.clone(),
            Trouble::Stale(stale) => self.stale(subject, stale),
            Trouble::Missing(sources) => self.missing(subject, &sources),
        }
    }

    fn denied(&self, subject: &ScanSubject, mut denials: Vec<Denial<'_>>) -> Verdict {
        let same = |denial: &Denial<'_>| {
            let one = denial.vulnerability;
            (one.id.to_owned(), one.package.to_owned(), one.installed.to_owned())
        };
        denials.sort_by_cached_key(|denial| {
            let one = denial.vulnerability;
            let worst_first = (denial.severity, one.is_fixable(), one.score);
            (std::cmp::Reverse(worst_first), same(denial))
        });
        // Two sources may have found it.
        denials.dedup_by_key(|denial| same(denial));
        let told: Vec<String> = denials.iter().take(TOLD).map(|denial| self.vulnerability(denial)).collect();
        let mut found = told.first().cloned().unwrap_or_default();
        if denials.len() > 1 {
            found.push_str(&format!(" and {} more", denials.len() - 1));
        }
        found.push_str(&on(subject));
        let mut sources: Vec<&str> = denials.iter().map(|denial| denial.source).collect();
        sources.sort_unstable();
        sources.dedup();
        found.push_str(&format!(", by {}", some_of(&sources)));
        if told.len() > 1 {
            found.push_str(&format!("; next: {}", told[1..].join("; ")));
        }
        let first = &denials[0];
        Verdict::Violated(finding(
            Reason::VulnerabilityDenied,
            found,
            first.rule.to_string(),
            match first.vulnerability.is_fixable() {
                true => "use an image with the fixed version",
                false => "use an image without the package, or ask for an exception",
            },
        ))
    }

    /// One vulnerability, what matters most first: what is cut off is behind.
    fn vulnerability(&self, denial: &Denial<'_>) -> String {
        let Denial { vulnerability: one, rule, expired, .. } = denial;
        let severity = match one.severity {
            Some(severity) => severity.to_string(),
            None => format!("severity unknown, taken for {}", denial.severity),
        };
        let clock = rule.older_than_days.map(|_| match self.clock.known(*one) {
            Known::Published(date) => format!(", published {date}, {}", self.clock.ago(date)),
            Known::Seen(date) => format!(", first seen here {date}, {}", self.clock.ago(date)),
            Known::Undated => ", no date known".to_owned(),
        });
        let expired = expired.map(|until| {
            let until = match until.as_second().rem_euclid(86_400) {
                0 => day(until).to_string(),
                _ => until.to_string(),
            };
            format!("; the exception until {until} has expired")
        });
        let clock = clock.unwrap_or_default();
        let (inside, behind) = match &expired {
            Some(expired) => (expired, &clock),
            None => (&clock, &String::new()),
        };
        let installed = match one.installed {
            "" => String::new(),
            version => format!(" {}", printable(version, NAME_LIMIT)),
        };
        let fixed = match one.fixed {
            None => String::new(),
            Some("") => " (a fix exists)".to_owned(),
            Some(version) => format!(" → {}", printable(version, NAME_LIMIT)),
        };
        let package = match one.package {
            "" => String::new(),
            package => format!(" in {}", printable(package, NAME_LIMIT)),
        };
        format!("{} ({severity}{inside}){package}{installed}{fixed}{behind}", printable(one.id, NAME_LIMIT))
    }

    fn stale(&self, subject: &ScanSubject, stale: Stale<'_>) -> Verdict {
        let what = if stale.database { "a scan with a database of" } else { "a scan of" };
        let found = format!(
            "{what} {}, {}, by {}{}",
            day(stale.at),
            self.clock.since(stale.at),
            name(stale.source),
            on(subject)
        );
        let most = duration(self.rule.max_verdict_age);
        let wanted = match stale.database {
            true => format!("one with a database of the last {most}"),
            false => format!("one of the last {most}"),
        };
        Verdict::Violated(finding(
            Reason::ScanVerdictStale,
            found,
            wanted,
            match subject.requested {
                true => "a scan has been requested: try again in a few minutes",
                false => "have the image scanned again",
            },
        ))
    }

    fn missing(&self, subject: &ScanSubject, sources: &[&str]) -> Verdict {
        let (found, wanted) = match (self.rule.sources.all, sources) {
            (true, []) => (
                "no VulnerabilitySource in the cluster".to_owned(),
                "a verdict by each of the cluster's VulnerabilitySources".to_owned(),
            ),
            (true, sources) => {
                let by = some_of(sources);
                (format!("no scan verdict by {by}{}", on(subject)), format!("a verdict by {by}"))
            }
            (false, []) => (format!("no scan verdict{}", on(subject)), "a scan verdict".to_owned()),
            (false, sources) => (
                format!("no scan verdict{}", on(subject)),
                format!("a verdict by {}", some_of(sources).replace(" and ", " or ")),
            ),
        };
        Verdict::Absent(finding(
            Reason::ScanVerdictMissing,
            found,
            wanted,
            match subject.requested {
                true => "a scan has been requested: try again in a few minutes",
                false => "have the image scanned by a source that counts",
            },
        ))
    }
}

fn truncated(subject: &ScanSubject, hidden: &Hidden<'_>) -> Verdict {
    let Hidden { source, rule, severity, hidden, listed, found } = hidden;
    let severity = severity.map_or("unknown severity", Severity::as_str);
    let fix = if rule.fixable { " with a fix" } else { "" };
    Verdict::Violated(finding(
        Reason::ScanVerdictTruncated,
        format!(
            "a verdict by {}{} that lists {listed} of {found} and leaves out {hidden} of {severity}{fix}",
            name(source),
            on(subject)
        ),
        rule.to_string(),
        "use an image with fewer vulnerabilities, or have the whole report attested",
    ))
}

fn finding(reason: Reason, found: String, wanted: String, remedy: &'static str) -> Finding {
    let (found, wanted) = (printable(&found, FOUND_LIMIT), printable(&wanted, WANTED_LIMIT));
    Finding { reason, found, wanted, remedy }
}

/// On which platform; nothing where it is the image as a whole, whose digest stands above.
fn on(subject: &ScanSubject) -> String {
    let Some(platform) = &subject.platform else { return String::new() };
    let digest = subject.digest.as_str();
    let end = digest.find(':').map_or(digest.len(), |colon| (colon + 13).min(digest.len()));
    format!(" on {} ({}…)", printable(platform.as_str(), 98), &digest[..end])
}

fn name(source: &str) -> String {
    printable(source, NAME_LIMIT)
}

/// The first few of a list, and how many more there are.
fn some_of(sources: &[&str]) -> String {
    let (told, more) = sources.split_at(sources.len().min(SOURCES));
    let told: Vec<String> = told.iter().map(|source| name(source)).collect();
    match (told.as_slice(), more.len()) {
        ([all @ .., last], 0) if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        (told, 0) => told.join(", "),
        (told, more) => format!("{} and {more} more", told.join(", ")),
    }
}

fn duration(duration: SignedDuration) -> String {
    match (duration.as_hours(), duration.as_mins()) {
        (hours, minutes) if hours * 60 != minutes => format!("{minutes} minutes"),
        (hours, _) if hours % 24 == 0 => format!("{} days", hours / 24),
        (hours, _) => format!("{hours} hours"),
    }
}
