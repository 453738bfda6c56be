//! Amazon ECR's `DescribeImageScanFindings`, of its basic and of its enhanced scans, and the exports of Amazon
//! Inspector and of Security Hub, which are told apart by their fields.
//!
//! Only a scan that is `COMPLETE` or `ACTIVE`, with all its pages in one document, is an answer. Where ECR counts
//! other findings than it lists, the report is malformed.
//!
//! Source: Amazon ECR API reference, "DescribeImageScanFindings".

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use super::{inspector, security_hub};
use crate::{
    evidence::Vulnerability,
    image::Digest,
    reports::{
        ReadError, Report, Subject,
        bounds::{Keys, parse},
        findings::{Findings, incomplete, said},
        loose::Word,
        text,
    },
};

/// The fields of ECR and Inspector are written `likeThis`, those of Security Hub `LikeThis`.
const KEYS: Keys = Keys {
    counted: &[
        "findings",
        "Findings",
        "enhancedFindings",
        "vulnerablePackages",
        "VulnerablePackages",
        "resources",
        "Resources",
        "vulnerabilities",
        "Vulnerabilities",
        "attributes",
    ],
    spelt: &[
        "nextToken",
        "NextToken",
        "fixAvailable",
        "FixAvailable",
        "fixedInVersion",
        "FixedInVersion",
        "imageHash",
        "ImageDigest",
        "imageDigest",
    ],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    image_scan_findings: Option<ScanFindings>,
    image_scan_status: Option<Status>,
    image_id: Option<ImageId>,
    repository_name: Option<String>,
    next_token: Option<String>,
    /// Of Inspector.
    findings: Option<Vec<inspector::Finding>>,
    /// Of Security Hub.
    #[serde(rename = "Findings")]
    hub_findings: Option<Vec<security_hub::Finding>>,
    #[serde(rename = "NextToken")]
    hub_next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanFindings {
    findings: Option<Vec<Basic>>,
    enhanced_findings: Option<Vec<inspector::Finding>>,
    finding_severity_counts: Option<HashMap<String, usize>>,
    #[serde(default)]
    image_scan_completed_at: Word,
    #[serde(default)]
    vulnerability_source_updated_at: Word,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_digest: Option<String>,
}

#[derive(Deserialize)]
struct Basic {
    name: String,
    severity: Option<String>,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: String,
}

/// Reads one document.
pub(in crate::reports) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let more = document.next_token.as_ref().or(document.hub_next_token.as_ref());
    if more.is_some_and(|token| !token.is_empty()) {
        let remedy = "ask for all pages, as the aws command does without --max-items";
        return Err(incomplete("nextToken", "there are further pages", remedy));
    }
    match (document.image_scan_status, document.image_scan_findings, document.findings, document.hub_findings)
    {
        (None, None, Some(findings), None) => inspector::reports(findings),
        (None, None, None, Some(findings)) => security_hub::reports(findings),
        (status, findings, None, None) if status.is_some() || findings.is_some() => {
            scan(status, findings, document.image_id, document.repository_name)
        }
        _ => Err(ReadError::Foreign {
            found: "another document than findings of ECR, Inspector or Security Hub".to_owned(),
            wanted: "report of AWS on an image",
            remedy: "use aws ecr describe-image-scan-findings",
        }),
    }
}

/// The report of one scan by ECR.
fn scan(
    status: Option<Status>,
    findings: Option<ScanFindings>,
    image: Option<ImageId>,
    repository: Option<String>,
) -> Result<Vec<Report>, ReadError> {
    let again = "ask again when the status is COMPLETE or ACTIVE";
    match status.as_ref().map(|status| status.status.as_str()) {
        Some("COMPLETE" | "ACTIVE") => {}
        other => {
            let problem = format!("the scan is {:?}", text::plain(other.unwrap_or("of no status")));
            return Err(incomplete("imageScanStatus.status", problem, again));
        }
    }
    let Some(scan) = findings else {
        return Err(incomplete("imageScanFindings", "it is missing", again));
    };
    if scan.findings.is_none() && scan.enhanced_findings.is_none() {
        return Err(incomplete("imageScanFindings.findings", "it is missing", again));
    }
    let basic = scan.findings.unwrap_or_default();
    let enhanced = scan.enhanced_findings.unwrap_or_default();
    let words = basic.iter().map(|one| one.severity.as_deref().unwrap_or_default());
    check(
        scan.finding_severity_counts.as_ref(),
        words.chain(enhanced.iter().map(inspector::Finding::severity)),
    )?;

    let mut digests = BTreeSet::new();
    let mut names = |text: &str, place: &str| {
        let digest: Digest = text
            .parse()
            .map_err(|error| ReadError::malformed(place, format!("{:?}: {error}", text::plain(text))))?;
        digests.insert(digest);
        match digests.len() {
            1 => Ok(()),
            _ => Err(ReadError::malformed(place, "the findings are about several images")),
        }
    };
    if let Some(digest) = image.and_then(|image| image.image_digest) {
        names(&digest, "imageId.imageDigest")?;
    }
    let mut found = Findings::default();
    for (at, one) in basic.into_iter().enumerate() {
        found.add(|| format!("imageScanFindings.findings[{at}].name"), one.vulnerability())?;
    }
    for (at, one) in enhanced.iter().enumerate() {
        let place = || format!("imageScanFindings.enhancedFindings[{at}]");
        for digest in one.images() {
            names(digest, &format!("{}.resources.imageHash", place()))?;
        }
        for vulnerability in one.vulnerabilities(&place())? {
            found.add(place, vulnerability)?;
        }
    }
    let subject = Subject {
        digests: digests.into_iter().collect(),
        name: repository.as_deref().and_then(said),
        ..Subject::default()
    };
    Ok(vec![Report {
        scanned_at: scan.image_scan_completed_at.timestamp(),
        database_at: scan.vulnerability_source_updated_at.timestamp(),
        ..found.into_report("ecr", subject)
    }])
}

/// Whether as many findings are counted as are listed.
fn check<'a>(
    counts: Option<&HashMap<String, usize>>,
    words: impl Iterator<Item = &'a str>,
) -> Result<(), ReadError> {
    let mut listed: HashMap<&str, usize> = HashMap::new();
    words.for_each(|word| *listed.entry(word).or_default() += 1);
    for (word, counted) in counts.into_iter().flatten() {
        let listed = listed.get(word.as_str()).copied().unwrap_or_default();
        if listed != *counted {
            return Err(ReadError::malformed(
                format!("imageScanFindings.findingSeverityCounts.{}", text::plain(word)),
                format!("{counted} are counted and {listed} listed: ask for all pages"),
            ));
        }
    }
    Ok(())
}

impl Basic {
    /// A basic scan does not say whether there is a fix.
    fn vulnerability(self) -> Vulnerability {
        let attribute = |key: &str| {
            let found = self.attributes.iter().find(|attribute| attribute.key == key);
            found.map(|attribute| attribute.value.clone()).unwrap_or_default()
        };
        let score = attribute("CVSS3_SCORE").trim().parse().ok().and_then(text::score);
        Vulnerability {
            severity: self.severity.as_deref().and_then(text::severity),
            score,
            package: attribute("package_name"),
            installed: attribute("package_version"),
            id: self.name,
            ..Vulnerability::default()
        }
    }
}
