use std::sync::Arc;

use serde_json::Value;

use crate::{
    decision::{Finding, Reason, Verdict, judge::unlooked},
    evidence::{AuthorityEvidence, Claim, Platform, Scan, ScanVerdict},
    image::Digest,
    policy::ATTESTATION_SOURCE,
    reports::{PREDICATE_TYPES, ReadError, Report, read_statement},
};

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
                    scans
                        .verdicts
                        .extend(newest(statements.map(|statement| attested_verdict(statement, image))));
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

/// What a statement about `image` says of its scan. Whether it is signed, and by whom, is not known here.
pub fn attested_verdict(statement: &Value, image: &Digest) -> ScanVerdict {
    let report = read_statement(statement).map_err(|error| error.to_string());
    let (platforms, content) = match report.and_then(|report| scan(report, image)) {
        Ok((platforms, scan)) => (platforms, Ok(scan)),
        Err(problem) => (Vec::new(), Err(problem)),
    };
    ScanVerdict { source: ATTESTATION_SOURCE.into(), digest: image.clone(), platforms, content }
}

/// The scan that a statement reports. Its subject is the image, which has been verified. The scanner's result within it
/// may name another, and is then no word about this one.
fn scan(report: Report, image: &Digest) -> Result<(Vec<Platform>, Scan), String> {
    let bound = report.bind(Some(image), None).map_err(|error| error.to_string())?;
    let scanned_at = report.scanned_at.ok_or_else(|| ReadError::Undated.to_string())?;
    let platforms = bound.platforms.into_iter().map(|(platform, _)| platform).collect();
    Ok((
        platforms,
        Scan {
            scanned_at,
            database_at: report.database_at,
            end_of_life: report.ended_distribution().map(Into::into),
            counts: report.counts(),
            vulnerabilities: report.vulnerabilities,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::Vulnerability, reports::Subject};

    fn digest(of: char) -> Digest {
        format!("sha256:{}", of.to_string().repeat(64)).parse().unwrap()
    }

    fn report() -> Report {
        let one = Vulnerability { id: "CVE-2026-0001".to_owned(), ..Vulnerability::default() };
        Report {
            scanned_at: Some("2026-05-31T12:00:00Z".parse().unwrap()),
            database_at: Some("2026-05-30T12:00:00Z".parse().unwrap()),
            vulnerabilities: vec![one],
            ..Report::default()
        }
    }

    fn about(subject: Subject) -> Result<(Vec<Platform>, Scan), String> {
        scan(Report { subject, ..report() }, &digest('a'))
    }

    #[test]
    fn a_report_that_names_the_image_or_nothing_is_about_it() {
        let image = Subject { digests: vec![digest('b'), digest('a')], ..Subject::default() };
        for subject in [image, Subject::default()] {
            let (platforms, scan) = about(subject).unwrap();
            assert_eq!((platforms, scan.counts.unknown.found), (Vec::new(), 1));
            assert_eq!(scan.vulnerabilities, report().vulnerabilities);
            assert_eq!(
                (Some(scan.scanned_at), scan.database_at),
                (report().scanned_at, report().database_at)
            );
        }
        let arm64: Platform = "linux/arm64".parse().unwrap();
        let subject = Subject { platform: Some(arm64.clone()), ..Subject::default() };
        assert_eq!(about(subject).unwrap().0, [arm64]);
    }

    #[test]
    fn a_report_about_another_image_or_without_a_date_is_no_word_about_this_one() {
        let other = about(Subject { digests: vec![digest('b')], ..Subject::default() });
        assert!(other.unwrap_err().contains("bbbbbbbbbbbb"));
        let twisted = Some("its configuration is another one".to_owned());
        assert!(about(Subject { contradiction: twisted, ..Subject::default() }).is_err());
        let undated = scan(Report { scanned_at: None, ..report() }, &digest('a'));
        assert!(undated.unwrap_err().contains("when the image was scanned"));
    }

    fn verdict(at: Option<&str>, platform: &str) -> ScanVerdict {
        let content = at.ok_or_else(|| "it is damaged".to_owned());
        ScanVerdict {
            source: ATTESTATION_SOURCE.into(),
            digest: digest('a'),
            platforms: vec![platform.parse().unwrap()],
            content: content.map(|at| {
                let report = Report { scanned_at: Some(at.parse().unwrap()), ..report() };
                scan(report, &digest('a')).unwrap().1
            }),
        }
    }

    #[test]
    fn the_newest_of_each_platform_stands_and_so_does_what_cannot_be_read() {
        const OLD: Option<&str> = Some("2026-05-01T00:00:00Z");
        const NEW: Option<&str> = Some("2026-06-01T00:00:00Z");
        let all = [
            verdict(OLD, "linux/amd64"),
            verdict(NEW, "linux/amd64"),
            verdict(None, "linux/amd64"),
            verdict(None, "linux/amd64"),
            verdict(OLD, "linux/arm64"),
        ];
        for turn in 0..all.len() {
            let mut turned = all.clone();
            turned.rotate_left(turn);
            let kept = newest(turned.into_iter());
            assert_eq!(kept.len(), 3);
            for stands in [&all[1], &all[2], &all[4]] {
                assert!(kept.iter().any(|one| **one == *stands), "{stands:?}");
            }
        }
        // Two of the same moment both count: neither is the later one.
        let mut other = all[1].clone();
        other.digest = digest('b');
        assert_eq!(newest([all[1].clone(), other].into_iter()).len(), 2);
        assert!(newest(std::iter::empty()).is_empty());
    }
}
