//! What scanners have said of the images of these tests.

use super::*;
use crate::evidence::{Counts, Scan, ScanEvidence, ScanSubject, ScanVerdict, Severity, Vulnerability};

/// A day before [`NOW`].
pub(super) const YESTERDAY: &str = "2026-05-31T12:00:00Z";

/// A vulnerability without a fix in `package` 1.0.
pub(super) fn found(id: &str, severity: Option<Severity>, package: &str) -> Vulnerability {
    Vulnerability {
        id: id.to_owned(),
        severity,
        package: package.to_owned(),
        installed: "1.0".to_owned(),
        ..Vulnerability::default()
    }
}

/// A scan of yesterday that lists everything.
pub(super) fn scan(vulnerabilities: Vec<Vulnerability>) -> Scan {
    let mut counts = Counts::default();
    vulnerabilities.iter().for_each(|one| counts.add(one));
    Scan {
        scanned_at: YESTERDAY.parse().unwrap(),
        database_at: None,
        end_of_life: None,
        counts,
        vulnerabilities: vulnerabilities.into(),
    }
}

pub(super) fn scanned_at(at: &str, vulnerabilities: Vec<Vulnerability>) -> Scan {
    Scan { scanned_at: at.parse().unwrap(), ..scan(vulnerabilities) }
}

pub(super) fn verdict(source: &str, content: Result<Scan, String>) -> Arc<ScanVerdict> {
    Arc::new(ScanVerdict { source: source.into(), digest: digest('a'), platforms: Vec::new(), content })
}

pub(super) fn subject(platform: Option<&str>, verdicts: Vec<Arc<ScanVerdict>>) -> ScanSubject {
    ScanSubject {
        digest: digest(if platform.is_some() { 'e' } else { 'a' }),
        platform: platform.map(|platform| platform.parse().unwrap()),
        verdicts,
        requested: false,
    }
}

/// In a cluster with the sources `trivy` and `grype`.
pub(super) fn seen(subjects: Vec<ScanSubject>) -> ScanEvidence {
    ScanEvidence::Seen { subjects, sources: [Box::from("trivy"), Box::from("grype")].into() }
}

/// One image that `trivy` has scanned yesterday.
pub(super) fn scanned(vulnerabilities: Vec<Vulnerability>) -> ScanEvidence {
    seen(vec![subject(None, vec![verdict("trivy", Ok(scan(vulnerabilities)))])])
}

impl Scene {
    pub(super) fn with(scans: ScanEvidence) -> Self {
        Self { scans, ..Self::default() }
    }

    /// The verdict on `vulnerabilities` of a policy that demands nothing else.
    pub(super) fn vulnerable(&self, rules: Value) -> Verdict {
        let decision = self.decide(&[policy(json!({ "vulnerabilities": rules }))], "a.example/x:1");
        let result = decision.results.iter().find(|result| result.check == Check::Vulnerabilities);
        result.expect("the check").verdict.clone()
    }

    pub(super) fn reason(&self, rules: Value) -> Option<Reason> {
        self.vulnerable(rules).finding().map(|finding| finding.reason)
    }
}
