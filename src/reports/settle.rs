use std::cmp::Ordering;

use super::{Report, text};
use crate::evidence::{Counts, Severity, VexStatus, Vulnerability};

impl Report {
    /// Merges entries for the same name in the same version of the same package, and puts the worst first.
    ///
    /// Of entries that differ, what counts against the image is kept: the higher severity, a fix if any names one,
    /// the earlier date of publication, and VEX only if all say the same. An entry whose severity nobody states
    /// is not merged with one that has a severity: which of the two is worse is for a policy to say.
    ///
    /// The result does not depend on the order of the entries.
    pub fn settle(&mut self) {
        let found = &mut self.vulnerabilities;
        found.sort_by(by_name);
        found.dedup_by(|next, kept| {
            let same = by_name(next, kept) == Ordering::Equal;
            if same {
                merge(kept, std::mem::take(next));
            }
            same
        });
        for one in found.iter_mut() {
            let aliases = std::mem::take(&mut one.aliases);
            one.aliases = text::aliases(&one.id, aliases.iter().map(String::as_str));
        }
        found.sort_by(worst_first);
    }

    /// The distribution that no longer gets advisories, or `unknown` where the scanner does not name it; none where it
    /// does, or where nobody says.
    pub fn ended_distribution(&self) -> Option<&str> {
        self.end_of_life.as_deref().map(|name| if name.is_empty() { "unknown" } else { name })
    }

    /// How many vulnerabilities were found.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.vulnerabilities.iter().for_each(|one| counts.add(one));
        counts
    }
}

/// Whether one vulnerability comes before another in a list that has the worst first.
pub(crate) fn worst_first(one: &Vulnerability, other: &Vulnerability) -> Ordering {
    weight(other).cmp(&weight(one)).then_with(|| by_name(one, other))
}

/// Equal for entries that are one vulnerability in one place.
fn by_name(one: &Vulnerability, other: &Vulnerability) -> Ordering {
    let key = |one: &Vulnerability| one.severity.is_none();
    one.id
        .cmp(&other.id)
        .then_with(|| one.package.cmp(&other.package))
        .then_with(|| one.package_type.cmp(&other.package_type))
        .then_with(|| one.installed.cmp(&other.installed))
        .then_with(|| key(one).cmp(&key(other)))
}

/// What puts one vulnerability before another.
fn weight(one: &Vulnerability) -> (Severity, bool, bool, u8) {
    let counts = !one.vex.is_some_and(VexStatus::subtracts);
    (one.severity.unwrap_or(Severity::Critical), counts, one.is_fixable(), one.score.unwrap_or_default())
}

fn merge(kept: &mut Vulnerability, other: Vulnerability) {
    kept.severity = kept.severity.max(other.severity);
    kept.score = kept.score.max(other.score);
    kept.fixed = match (kept.fixed.take(), other.fixed) {
        (Some(one), Some(two)) if one.is_empty() => Some(two),
        (Some(one), Some(two)) if two.is_empty() => Some(one),
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
    kept.published = earlier(kept.published, other.published);
    kept.first_seen = earlier(kept.first_seen, other.first_seen);
    if kept.vex != other.vex {
        kept.vex = None;
    }
    kept.aliases.extend(other.aliases);
}

fn earlier<T: Ord>(one: Option<T>, two: Option<T>) -> Option<T> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}
