//! What scanners' verdicts are worth to a policy.
//!
//! 1. Everything that any source lists counts whose verdicts count, however old the scan is.
//! 2. What cannot be read fails, whatever others say: silence is not "nothing found".
//! 3. Then enough sources must have answered lately enough: one, or all.
//!
//! Every platform must hold. Of several troubles the one is told that nothing can soften.

mod attested;
mod clock;
mod told;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

pub use self::attested::{AttestedScans, attested_verdict};
use self::{clock::Clock, told::Denial};
use super::{
    Finding, Reason, Verdict,
    judge::{unknown_digest, unlooked},
};
use crate::{
    evidence::{
        Counts, Evidence, Platform, Scan, ScanError, ScanEvidence, ScanSubject, ScanVerdict, Severity,
        VexStatus,
    },
    image::Digest,
    policy::{ATTESTATION_SOURCE, DenyRule, Excepted, MissingVerdict, VulnerabilityRequirement},
};

/// How far ahead of ours a scanner's clock may be.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Whether somebody has scanned the image lately, and nothing that `rule` denies was found.
///
/// `attested` is what was found in attestations beside the image; none where nobody has looked.
pub(super) fn judge_scans(
    rule: &VulnerabilityRequirement,
    evidence: &Evidence,
    attested: Option<&AttestedScans>,
    now: Timestamp,
) -> Verdict {
    let Some(digest) = evidence.resolution.digest() else {
        return Verdict::Indeterminate(unknown_digest());
    };
    let whole = || Cow::Owned(vec![whole(digest)]);
    let (subjects, sources, mut lost) = match &evidence.scans {
        ScanEvidence::NotAsked => (whole(), &[][..], Some(not_asked())),
        ScanEvidence::Unseen(error) => (whole(), &[][..], Some(unavailable(error))),
        // Nothing that must have been scanned is not a reason to admit it.
        ScanEvidence::Seen { subjects, .. } if subjects.is_empty() => (whole(), &[][..], Some(not_asked())),
        ScanEvidence::Seen { subjects, sources } => (Cow::Borrowed(subjects.as_slice()), &**sources, None),
    };
    if attested.is_none() && !rule.sources.attestations.is_empty() {
        lost = lost.or_else(|| Some(not_asked()));
    }
    let nothing = AttestedScans::default();
    let case = Case { rule, attested: attested.unwrap_or(&nothing), sources, clock: Clock::new(now) };
    let mut worst: Option<(&ScanSubject, Trouble<'_>)> = None;
    for subject in subjects.iter() {
        if let Some(trouble) = case.trouble(subject) {
            let rank = |trouble: &Trouble<'_>| trouble.rank(rule.missing);
            if worst.as_ref().is_none_or(|(_, other)| rank(&trouble) > rank(other)) {
                worst = Some((subject, trouble));
            }
        }
    }
    match (worst, lost) {
        (None, None) => Verdict::Satisfied,
        (Some((subject, trouble)), None) => case.told(subject, trouble),
        // What is known to be wrong is wrong whatever else there is.
        (Some((subject, trouble)), Some(_)) if trouble.is_certain() => case.told(subject, trouble),
        (_, Some(lost)) => lost,
    }
}

/// The same by what is attested beside the image, and by nothing else, whoever else must have answered.
pub(super) fn judge_attested(
    rule: &VulnerabilityRequirement,
    digest: &Digest,
    attested: &AttestedScans,
    now: Timestamp,
) -> Verdict {
    let subject = whole(digest);
    let case = Case { rule, attested, sources: &[], clock: Clock::new(now) };
    match case.faults(&subject).or_else(|| case.unanswered_by_any(&subject)) {
        Some(trouble) => case.told(&subject, trouble),
        None => Verdict::Satisfied,
    }
}

/// The image as a whole, which nobody has scanned.
fn whole(digest: &Digest) -> ScanSubject {
    ScanSubject { digest: digest.clone(), platform: None, verdicts: Vec::new(), requested: false }
}

/// Everything that is known when one image's scans are judged.
struct Case<'a> {
    rule: &'a VulnerabilityRequirement,
    attested: &'a AttestedScans,
    /// The cluster's VulnerabilitySources.
    sources: &'a [Box<str>],
    clock: Clock,
}

/// What is wrong with the scans of one subject.
enum Trouble<'a> {
    /// Something was found that is denied. At least one.
    Denied(Vec<Denial<'a>>),
    /// A source says that the image's distribution no longer gets advisories.
    Ended { source: &'a str, distribution: &'a str },
    /// Something may have been found that is denied, and is not listed.
    Truncated(Hidden<'a>),
    /// What a source says cannot be read.
    Unreadable { source: &'a str, problem: String },
    /// Attestations cannot be checked, or the registry's answer about them is a no.
    Unattested(&'a Verdict),
    /// Everything that must be fresh is there, and this is not.
    Stale(Stale<'a>),
    /// Attestations could not be asked for.
    Unseen(&'a Verdict),
    /// These have not scanned it; none where there is nobody who has.
    Missing(Vec<&'a str>),
}

/// What a verdict does not list.
struct Hidden<'a> {
    source: &'a str,
    rule: &'a DenyRule,
    severity: Option<Severity>,
    hidden: u32,
    listed: usize,
    found: u64,
}

/// A verdict that is too old.
#[derive(Clone, Copy)]
struct Stale<'a> {
    source: &'a str,
    at: Timestamp,
    /// Whether it is the scanner's database that is too old.
    database: bool,
}

impl Trouble<'_> {
    /// Of two troubles the higher one is told. `missing` may soften that nobody has scanned the image, and `onError` that
    /// somebody could not be asked: neither may stand before what is not softened.
    fn rank(&self, missing: MissingVerdict) -> u8 {
        match self {
            Self::Denied(_) => 8,
            Self::Ended { .. } => 7,
            Self::Truncated(_) => 6,
            Self::Unreadable { .. } => 5,
            Self::Unattested(_) => 4,
            Self::Stale(_) => 3,
            Self::Missing(_) if missing == MissingVerdict::Deny => 2,
            Self::Unseen(_) => 1,
            Self::Missing(_) => 0,
        }
    }

    /// Whether nothing that is not known yet could mend it.
    fn is_certain(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::Ended { .. }
            | Self::Truncated(_)
            | Self::Unreadable { .. }
            | Self::Unattested(_) => true,
            Self::Stale(_) | Self::Unseen(_) | Self::Missing(_) => false,
        }
    }
}

impl<'a> Case<'a> {
    /// What is wrong with the scans of one subject, in the order of [`Trouble::rank`]; none if nothing is.
    fn trouble(&self, subject: &'a ScanSubject) -> Option<Trouble<'a>> {
        // 1. Everything that is listed counts, and 2. what cannot be read fails.
        self.faults(subject).or_else(|| match self.rule.sources.all {
            // 3. Enough sources must have answered lately enough.
            true => self.unanswered(subject),
            false => self.unanswered_by_any(subject),
        })
    }

    /// What is wrong with a subject's scans whoever else answers.
    fn faults(&self, subject: &'a ScanSubject) -> Option<Trouble<'a>> {
        let mut denials = Vec::new();
        let (mut ended, mut truncated, mut unreadable) = (None, None, None);
        for verdict in self.counted(subject) {
            ended = ended.or_else(|| self.ended(verdict));
            match self.look(verdict, &mut denials) {
                Ok(None) => {}
                Ok(Some(hidden)) => truncated = truncated.or(Some(hidden)),
                Err(problem) => unreadable = unreadable.or(Some((&*verdict.source, problem))),
            }
        }
        if !denials.is_empty() {
            return Some(Trouble::Denied(denials));
        }
        if ended.is_some() {
            return ended;
        }
        if let Some(hidden) = truncated {
            return Some(Trouble::Truncated(hidden));
        }
        if let Some((source, problem)) = unreadable {
            return Some(Trouble::Unreadable { source, problem });
        }
        self.attested.failed.as_ref().map(Trouble::Unattested)
    }

    /// Every verdict on the subject that counts.
    fn counted(&self, subject: &'a ScanSubject) -> impl Iterator<Item = &'a ScanVerdict> {
        let rule = self.rule;
        let own = subject.verdicts.iter().filter(|verdict| rule.sources.count(&verdict.source));
        let attested = self.attested.verdicts.iter().filter(|verdict| {
            let covers = |platform: &Platform| {
                verdict.platforms.is_empty() || verdict.platforms.iter().any(|one| one.covers(platform))
            };
            subject.platform.as_ref().is_none_or(covers)
        });
        own.chain(attested).map(|verdict| &**verdict)
    }

    /// Adds what a verdict lists that is denied to `denials`, and returns what it may hide; why it cannot be
    /// read otherwise.
    fn look(
        &self,
        verdict: &'a ScanVerdict,
        denials: &mut Vec<Denial<'a>>,
    ) -> Result<Option<Hidden<'a>>, String> {
        let scan = verdict.content.as_ref().map_err(Clone::clone)?;
        for (at, what) in [(Some(scan.scanned_at), "scan"), (scan.database_at, "database")] {
            if let Some(at) = at.filter(|at| at.duration_since(self.clock.now) > SKEW) {
                return Err(format!("its {what} is dated {at}, which lies ahead"));
            }
        }
        let mut listed = Counts::default();
        for one in &scan.vulnerabilities {
            listed.add(one);
            let severity = self.severity(one.severity);
            let Some(rule) = self.rule.deny.iter().find(|rule| {
                rule.names(one, severity)
                    && rule.older_than_days.is_none_or(|days| self.clock.is_older(one, days))
            }) else {
                continue;
            };
            if self.rule.honor_vex && one.vex.is_some_and(VexStatus::subtracts) {
                continue;
            }
            let expired = match self.rule.ignore.of(one, self.clock.now) {
                Excepted::Now => continue,
                Excepted::Until(until) => Some(until),
                Excepted::Never => None,
            };
            denials.push(Denial { vulnerability: one, severity, rule, source: &verdict.source, expired });
        }
        let hidden = hidden(&scan.counts, &listed)?;
        Ok(self.may_hide(verdict, scan, &hidden))
    }

    /// That the distribution no longer gets advisories, where a verdict says so and the policy minds.
    fn ended(&self, verdict: &'a ScanVerdict) -> Option<Trouble<'a>> {
        let scan = verdict.content.as_ref().ok().filter(|_| self.rule.deny_end_of_life)?;
        Some(Trouble::Ended { source: &verdict.source, distribution: scan.end_of_life.as_deref()? })
    }

    /// What a policy takes a vulnerability for.
    fn severity(&self, stated: Option<Severity>) -> Severity {
        stated.unwrap_or(self.rule.unknown_severity)
    }

    /// What is hidden that may be denied. Names, packages and dates of what is hidden are not known, so they are no
    /// way out. Neither is that it has no fix, by a scanner that does not say in which packages it finds things.
    fn may_hide(&self, verdict: &'a ScanVerdict, scan: &Scan, hidden: &Counts) -> Option<Hidden<'a>> {
        let anywhere = scan.vulnerabilities.iter().any(|one| one.package.is_empty());
        self.rule.deny.iter().find_map(|rule| {
            severities().find_map(|severity| {
                let count = hidden.of(severity);
                let hidden = if rule.fixable && !anywhere { count.fixable } else { count.found };
                (hidden > 0 && rule.covers(self.severity(severity))).then(|| Hidden {
                    source: &verdict.source,
                    rule,
                    severity,
                    hidden,
                    listed: scan.vulnerabilities.len(),
                    found: severities().map(|severity| u64::from(scan.counts.of(severity).found)).sum(),
                })
            })
        })
    }

    /// Whether one fresh verdict is missing.
    fn unanswered_by_any(&self, subject: &'a ScanSubject) -> Option<Trouble<'a>> {
        if let Some(unseen) = &self.attested.unseen {
            return Some(Trouble::Unseen(unseen));
        }
        match self.freshest(self.counted(subject)) {
            Some(Ok(())) => None,
            Some(Err(stale)) => Some(Trouble::Stale(stale)),
            None => Some(Trouble::Missing(self.named().unwrap_or_default())),
        }
    }

    /// Whether the fresh verdict of one source is missing.
    fn unanswered(&self, subject: &'a ScanSubject) -> Option<Trouble<'a>> {
        let cluster = || self.sources.iter().map(|name| &**name).collect();
        let mut wanted: Vec<&str> = self.named().unwrap_or_else(cluster);
        // All of nobody would be nobody.
        if wanted.is_empty() {
            return Some(Trouble::Missing(Vec::new()));
        }
        if !self.rule.sources.attestations.is_empty() && !wanted.contains(&ATTESTATION_SOURCE) {
            wanted.push(ATTESTATION_SOURCE);
        }
        let mut troubles = Vec::new();
        let mut missing = Vec::new();
        for source in wanted {
            match self.freshest(self.counted(subject).filter(|verdict| *verdict.source == *source)) {
                Some(Ok(())) => {}
                Some(Err(stale)) => troubles.push(Trouble::Stale(stale)),
                None => missing.push(source),
            }
        }
        if let Some(unseen) = &self.attested.unseen {
            missing.retain(|source| *source != ATTESTATION_SOURCE);
            troubles.push(Trouble::Unseen(unseen));
        }
        if !missing.is_empty() {
            troubles.push(Trouble::Missing(missing));
        }
        troubles.into_iter().max_by_key(|trouble| trouble.rank(self.rule.missing))
    }

    /// The sources that the policy names.
    fn named(&self) -> Option<Vec<&'a str>> {
        Some(self.rule.sources.names.as_ref()?.iter().map(|name| &**name).collect())
    }

    /// Whether one of the verdicts is fresh; the freshest otherwise, and none if there is none. What cannot be read
    /// is not fresh.
    fn freshest(&self, verdicts: impl Iterator<Item = &'a ScanVerdict>) -> Option<Result<(), Stale<'a>>> {
        let most = self.rule.max_verdict_age;
        let mut freshest: Option<Stale<'a>> = None;
        for verdict in verdicts {
            let Ok(scan) = &verdict.content else { continue };
            let is_old = |at: &Timestamp| self.clock.now.duration_since(*at) > most;
            let source = &*verdict.source;
            let stale = match (Some(scan.scanned_at).filter(is_old), scan.database_at.filter(is_old)) {
                (None, None) => return Some(Ok(())),
                (Some(at), _) => Stale { source, at, database: false },
                (None, Some(at)) => Stale { source, at, database: true },
            };
            if freshest.is_none_or(|other| stale.at > other.at) {
                freshest = Some(stale);
            }
        }
        freshest.map(Err)
    }
}

/// Every severity, the worst first, and that none is stated.
fn severities() -> impl Iterator<Item = Option<Severity>> {
    Severity::ALL.into_iter().map(Some).chain([None])
}

/// What was counted and is not listed; why the counts cannot be believed otherwise.
fn hidden(counts: &Counts, listed: &Counts) -> Result<Counts, String> {
    let mut hidden = Counts::default();
    for (at, severity) in severities().enumerate() {
        let (counted, listed) = (counts.of(severity), listed.of(severity));
        let of = severity.map_or("unknown severity", Severity::as_str);
        if counted.fixable > counted.found {
            return Err(format!("it counts {} with a fix among {} of {of}", counted.fixable, counted.found));
        }
        let found = counted.found.checked_sub(listed.found);
        let fixable = counted.fixable.checked_sub(listed.fixable);
        let (Some(found), Some(fixable)) = (found, fixable) else {
            return Err(format!(
                "it lists {} of {of}, {} with a fix, and counts {} and {}",
                listed.found, listed.fixable, counted.found, counted.fixable
            ));
        };
        if fixable > found {
            return Err(format!("it lists more of {of} without a fix than it counts"));
        }
        let count = hidden.known.get_mut(at).unwrap_or(&mut hidden.unknown);
        (count.found, count.fixable) = (found, fixable);
    }
    Ok(hidden)
}

fn not_asked() -> Verdict {
    Verdict::Indeterminate(Finding {
        reason: Reason::ScanNotAsked,
        found: "an image whose scan verdicts nobody has looked for".to_owned(),
        wanted: "a look at them".to_owned(),
        remedy: "mend what else refuses the image",
    })
}

/// Where nobody could look for verdicts.
fn unavailable(error: &ScanError) -> Verdict {
    match error {
        ScanError::Platforms(error) => unlooked(error, "the platforms that the image is for".to_owned()),
        // Why is for the log.
        ScanError::Unlisted(_) => Verdict::Indeterminate(Finding {
            reason: Reason::ScanVerdictsUnavailable,
            found: "scan verdicts that could not be read from the cluster".to_owned(),
            wanted: "a scan verdict".to_owned(),
            remedy: "try again in a moment; if it stays, tell your cluster's operator",
        }),
    }
}
