//! The reports of vulnerability scanners, read.
//!
//! In come the bytes that a scanner wrote, and what format they are said to be in. Out comes a [`Report`]:
//! which image it is about, as far as it says so, who scanned it when, and what was found. Each reader is
//! a pure function with bounds on everything; what it cannot read to the end is an error that names the
//! place, and never a report with less in it.
//!
//! A report is not believed for what it says of itself: [`Report::bind`] ties it to the digest that it is to
//! speak for.

mod bounds;
mod text;

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::{
    evidence::{Counts, Platform, Severity, Vulnerability},
    image::Digest,
};
pub use bounds::{LIMITS, Limits, ReadError};

/// What a scanner said of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which image it is about, as far as the report says so.
    pub subject: Subject,
    /// What scanned it: `trivy`, `grype`, `clair`, `snyk`.
    pub scanner: String,
    /// The scanner's version; none where nobody says.
    pub scanner_version: Option<String>,
    /// The version of the scanner's database; none where nobody says.
    pub database_version: Option<String>,
    /// When the scanner's database was made; none where nobody says.
    pub database_at: Option<Timestamp>,
    /// When the image was scanned; none where nobody says.
    pub scanned_at: Option<Timestamp>,
    /// How many entries the report has, as written.
    pub rows: usize,
    /// What was found: one for each name in each version of each package, the worst first. See
    /// [`Report::settle`].
    pub vulnerabilities: Vec<Vulnerability>,
}

/// Which image a report is about, in its own words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// Digests of manifests or indexes that the report names. Empty: it names none, and must be told.
    pub digests: Vec<Digest>,
    /// The digest of the image's configuration, which a manifest names.
    pub config: Option<Digest>,
    /// Which platform was scanned.
    pub platform: Option<Platform>,
    /// The name under which the image was scanned: for people, and no binding.
    pub name: Option<String>,
}

impl Report {
    /// Merges entries for the same name in the same version of the same package, and puts the worst first.
    ///
    /// Of two entries that differ, what counts against the image is kept: the higher severity (none stated counts as
    /// the highest), a fix if either names one, the earlier date of publication, and VEX only if both say it.
    pub fn settle(&mut self) {
        use std::collections::HashMap;
        let mut merged: Vec<Vulnerability> = Vec::with_capacity(self.vulnerabilities.len());
        let mut places: HashMap<(String, String, String, String), usize> = HashMap::new();
        for one in self.vulnerabilities.drain(..) {
            let key = (one.id.clone(), one.package.clone(), one.package_type.clone(), one.installed.clone());
            match places.get(&key) {
                Some(at) => merge(&mut merged[*at], one),
                None => {
                    places.insert(key, merged.len());
                    merged.push(one);
                }
            }
        }
        merged.sort_by(worst_first);
        self.vulnerabilities = merged;
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
    weight(other)
        .cmp(&weight(one))
        .then_with(|| one.id.cmp(&other.id))
        .then_with(|| (&one.package, &one.installed).cmp(&(&other.package, &other.installed)))
}

fn weight(one: &Vulnerability) -> (Severity, bool, bool, u8) {
    let vexed = one.vex.is_some_and(crate::evidence::VexStatus::subtracts);
    (one.severity.unwrap_or(Severity::Critical), !vexed, one.is_fixable(), one.score.unwrap_or_default())
}

fn merge(kept: &mut Vulnerability, other: Vulnerability) {
    kept.severity = match (kept.severity, other.severity) {
        (Some(one), Some(two)) => Some(one.max(two)),
        _ => None,
    };
    kept.score = kept.score.max(other.score);
    kept.fixed = match (kept.fixed.take(), other.fixed) {
        (Some(one), Some(two)) if one.is_empty() => Some(two),
        (Some(one), _) => Some(one),
        (None, two) => two,
    };
    kept.published = match (kept.published, other.published) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
    kept.first_seen = match (kept.first_seen, other.first_seen) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    };
    if kept.vex != other.vex {
        kept.vex = None;
    }
    for alias in other.aliases {
        if !kept.aliases.contains(&alias) {
            kept.aliases.push(alias);
        }
    }
}
