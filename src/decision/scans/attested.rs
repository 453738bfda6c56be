use std::sync::Arc;

use serde_json::Value;

use crate::{
    decision::{Finding, Reason, Verdict, judge::unlooked},
    evidence::{AuthorityEvidence, Claim, Platform, Scan, ScanVerdict},
    image::Digest,
    policy::ATTESTATION_SOURCE,
    reports::{ReadError, Report},
};

/// The types of statement that hold a scan's result.
const PREDICATE_TYPES: [&str; 3] = [
    "https://cosign.sigstore.dev/attestation/vuln/v1",
    "https://in-toto.io/attestation/vulns/v0.1",
    "https://in-toto.io/attestation/vulns/v0.2",
];

/// No reader is there yet: what nobody can read fails.
fn read_statement(_: &Value) -> Result<Report, ReadError> {
    Err(ReadError::Malformed {
        place: "the statement".to_owned(),
        problem: "this version cannot read vulnerability attestations".to_owned(),
    })
}

/// What those have said of an image's scans whose vulnerability attestations count. How old it is, and which exceptions
/// hold, is judged anew at every review.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttestedScans {
    /// The newest of each authority and platform, and the first of each authority that cannot be read. Empty: there is
    /// none.
    pub verdicts: Vec<Arc<ScanVerdict>>,
    /// Why an authority cannot be heard, where that is an answer: a key that cannot be used, a registry's no.
    pub failed: Option<Verdict>,
    /// Why an authority could not be heard, where nobody could look.
    pub unseen: Option<Verdict>,
}

impl AttestedScans {
    /// What the authorities at `places` have said of `image` in `evidence`, which is theirs at the same places.
    pub(in crate::decision) fn gather(
        places: &[usize],
        evidence: &[AuthorityEvidence],
        image: &Digest,
    ) -> Self {
        let wanted = || "the vulnerability attestations beside the image".to_owned();
        let mut scans = Self::default();
        for evidence in places.iter().filter_map(|at| evidence.get(*at)) {
            let verdict = match evidence {
                AuthorityEvidence::Seen { verified, .. } => {
                    let statements = verified.iter().filter_map(|one| match &one.claim {
                        Claim::Attestation { predicate_type, statement }
                            if PREDICATE_TYPES.contains(&predicate_type.as_str()) =>
                        {
                            Some(statement)
                        }
                        _ => None,
                    });
                    scans.verdicts.extend(newest(statements.map(|statement| read(statement, image))));
                    continue;
                }
                AuthorityEvidence::Unusable(error) => Verdict::Violated(Finding {
                    reason: Reason::AuthorityUnusable,
                    found: error.to_string(),
                    wanted: wanted(),
                    remedy: "tell the policy's owner to mend its key or trust root",
                }),
                AuthorityEvidence::Unseen(error) => unlooked(error, wanted()),
            };
            match verdict {
                Verdict::Indeterminate(_) => scans.unseen = scans.unseen.or(Some(verdict)),
                _ => scans.failed = scans.failed.or(Some(verdict)),
            }
        }
        scans
    }

    /// About how many bytes it takes.
    pub(in crate::decision) fn size(&self) -> usize {
        let scans = self.verdicts.iter().filter_map(|verdict| verdict.content.as_ref().ok());
        let found = scans.flat_map(|scan| &scan.vulnerabilities).map(|one| {
            let aliases = one.aliases.iter().map(|alias| alias.len() + 24).sum::<usize>();
            let texts = [&one.id, &one.package, &one.package_type, &one.installed];
            let texts = texts.map(String::len).iter().sum::<usize>();
            size_of_val(one) + aliases + texts + one.fixed.as_ref().map_or(0, String::len)
        });
        found.sum::<usize>() + 256 * self.verdicts.len()
    }
}

/// Of one authority's verdicts those that a later one does not replace. What cannot be read has no date, and stays:
/// nobody knows what it says.
fn newest(verdicts: impl Iterator<Item = ScanVerdict>) -> Vec<Arc<ScanVerdict>> {
    let scanned = |verdict: &ScanVerdict| verdict.content.as_ref().ok().map(|scan| scan.scanned_at);
    let mut kept: Vec<Arc<ScanVerdict>> = Vec::new();
    for verdict in verdicts {
        let replaced = match scanned(&verdict) {
            None => kept.iter().any(|other| other.content.is_err()),
            at => kept.iter().any(|other| other.platforms == verdict.platforms && scanned(other) > at),
        };
        if replaced {
            continue;
        }
        if let at @ Some(_) = scanned(&verdict) {
            kept.retain(|other| {
                other.content.is_err() || other.platforms != verdict.platforms || scanned(other) >= at
            });
        }
        kept.push(Arc::new(verdict));
    }
    kept
}

/// What a verified statement about `image` says of its scan.
fn read(statement: &Value, image: &Digest) -> ScanVerdict {
    let (platforms, content) = match scan(statement, image) {
        Ok((platforms, scan)) => (platforms, Ok(scan)),
        Err(problem) => (Vec::new(), Err(problem)),
    };
    ScanVerdict { source: ATTESTATION_SOURCE.into(), digest: image.clone(), platforms, content }
}

/// The statement's subject is the image, which has been verified. The scanner's result within it may name another, and is
/// then no word about this one.
fn scan(statement: &Value, image: &Digest) -> Result<(Vec<Platform>, Scan), String> {
    let report = read_statement(statement).map_err(|error| error.to_string())?;
    let bound = report.bind(Some(image), None).map_err(|error| error.to_string())?;
    let scanned_at = report.scanned_at.ok_or("it does not say when the image was scanned")?;
    let platforms = bound.platforms.into_iter().map(|(platform, _)| platform).collect();
    let (counts, database_at) = (report.counts(), report.database_at);
    Ok((platforms, Scan { scanned_at, database_at, counts, vulnerabilities: report.vulnerabilities }))
}
