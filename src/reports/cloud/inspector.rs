//! Findings of Amazon Inspector 2, from its own export or within the answer of ECR.
//!
//! Findings that Inspector calls suppressed or closed are findings: an image does not change, so that one is
//! closed when somebody has deleted the image or its scan has expired, and suppressing is for our policy to do.
//!
//! Source: Amazon Inspector API reference, "Finding"; Amazon ECR API reference, "EnhancedImageScanFinding".

use serde::Deserialize;

use crate::{
    evidence::Vulnerability,
    reports::{
        ReadError, Report,
        findings::{incomplete, named},
        loose::{Few, Word},
        text,
    },
};

use super::ByImage;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    #[serde(rename = "type")]
    kind: Option<String>,
    severity: Option<String>,
    fix_available: Option<String>,
    package_vulnerability_details: Option<Details>,
    resources: Vec<Resource>,
    #[serde(default)]
    score: Word,
    #[serde(default)]
    inspector_score: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    vulnerability_id: String,
    #[serde(default)]
    vulnerable_packages: Vec<Package>,
    #[serde(default)]
    related_vulnerabilities: Few<String>,
    #[serde(default)]
    vendor_created_at: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    epoch: Word,
    release: Option<String>,
    fixed_in_version: Option<String>,
    package_manager: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "type")]
    kind: Option<String>,
    details: Option<ResourceDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDetails {
    aws_ecr_container_image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    image_hash: Option<String>,
}

impl Finding {
    /// Its severity, in its own word.
    pub(super) fn severity(&self) -> &str {
        self.severity.as_deref().unwrap_or_default()
    }

    /// The digests of the images that it is about, empty for an image that has none. None at all: it is about
    /// other things.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().filter_map(|resource| {
            let details = resource.details.as_ref();
            let image = details.and_then(|details| details.aws_ecr_container_image.as_ref());
            let is_image = image.is_some()
                || resource.kind.as_deref().is_none_or(|kind| kind == "AWS_ECR_CONTAINER_IMAGE");
            let digest = image.and_then(|image| image.image_hash.as_deref()).unwrap_or_default();
            is_image.then_some(digest)
        })
    }

    /// What it says, at `place`: one vulnerability in each of its packages. Nothing if it is about code or network.
    pub(super) fn vulnerabilities(&self, place: &str) -> Result<Vec<Vulnerability>, ReadError> {
        let Some(details) = &self.package_vulnerability_details else {
            return match self.kind.as_deref() {
                Some("CODE_VULNERABILITY" | "NETWORK_REACHABILITY") => Ok(Vec::new()),
                _ => Err(ReadError::malformed(place, "it has no packageVulnerabilityDetails")),
            };
        };
        let score = self.inspector_score.number().or(self.score.number()).and_then(text::score);
        let names =
            named(&details.vulnerability_id, details.related_vulnerabilities.iter().map(String::as_str));
        let one = |package: Option<&Package>| Vulnerability {
            severity: text::severity(self.severity()),
            score,
            package: package.map(|package| package.name.clone()).unwrap_or_default(),
            package_type: package.and_then(|package| package.package_manager.clone()).unwrap_or_default(),
            installed: package.map(Package::installed).unwrap_or_default(),
            fixed: fixed(
                self.fix_available.as_deref().unwrap_or_default(),
                package.and_then(|package| package.fixed_in_version.as_deref()),
            ),
            published: details
                .vendor_created_at
                .timestamp()
                .map(|time| time.to_zoned(jiff::tz::TimeZone::UTC).date()),
            ..names.clone()
        };
        Ok(match details.vulnerable_packages.is_empty() {
            true => vec![one(None)],
            false => details.vulnerable_packages.iter().map(|package| one(Some(package))).collect(),
        })
    }
}

impl Package {
    fn installed(&self) -> String {
        version(self.epoch.number().unwrap_or_default(), &self.version, self.release.as_deref())
    }
}

/// A version as the package's own tools write it: `epoch:version-release`, without an epoch of 0.
pub(super) fn version(epoch: f64, version: &str, release: Option<&str>) -> String {
    let epoch = if epoch > 0.0 { format!("{epoch}:") } else { String::new() };
    let release = release.filter(|release| !release.is_empty()).map(|release| format!("-{release}"));
    format!("{epoch}{version}{}", release.unwrap_or_default())
}

/// The version that mends a package. Where there is one for the vulnerability as a whole (`YES`), there is one for
/// each of its packages, named or not; where there is one for some only (`PARTIAL`), for those that name one.
pub(super) fn fixed(available: &str, version: Option<&str>) -> Option<String> {
    let named = version.and_then(text::fixed).filter(|version| version != "NotAvailable");
    named.or_else(|| (available == "YES").then(String::new))
}

/// The reports of an export: one for each image. What is about something else is left out.
pub(super) fn reports(findings: Vec<Finding>) -> Result<Vec<Report>, ReadError> {
    if findings.is_empty() {
        return Err(incomplete(
            "findings",
            "the list is empty, and names no image",
            "export the findings of DescribeImageScanFindings, which says that a scan took place",
        ));
    }
    let mut images = ByImage::default();
    for (at, finding) in findings.into_iter().enumerate() {
        let vulnerabilities = finding.vulnerabilities(&format!("findings[{at}]"))?;
        for digest in finding.images() {
            let place = || format!("findings[{at}].resources.imageHash");
            let image = images.image(digest, place)?;
            for vulnerability in &vulnerabilities {
                images.add(&image, || format!("findings[{at}]"), vulnerability.clone())?;
            }
        }
    }
    match images.into_reports("inspector") {
        reports if reports.is_empty() => Err(ReadError::Foreign {
            found: "an export of Inspector about other things than container images".to_owned(),
            wanted: "report on an image",
            remedy: "export findings of the resource type AWS_ECR_CONTAINER_IMAGE",
        }),
        reports => Ok(reports),
    }
}
