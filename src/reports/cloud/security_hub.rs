//! Findings in the AWS Security Finding Format, as Security Hub exports them.
//!
//! Archived findings are findings: see [`super::inspector`].
//!
//! Source: AWS Security Hub user guide, "AWS Security Finding Format (ASFF)".

use serde::Deserialize;

use super::{
    ByImage,
    inspector::{fixed, version},
};
use crate::{
    evidence::Vulnerability,
    reports::{
        ReadError, Report,
        findings::{incomplete, named},
        loose::{Few, Word},
        text,
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Finding {
    severity: Option<Severity>,
    #[serde(default)]
    types: Few<String>,
    resources: Vec<Resource>,
    vulnerabilities: Option<Vec<Row>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Severity {
    label: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resource {
    #[serde(rename = "Type")]
    kind: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    aws_ecr_container_image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    image_digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: String,
    vulnerable_packages: Option<Vec<Package>>,
    #[serde(default)]
    related_vulnerabilities: Few<String>,
    #[serde(default)]
    cvss: Few<Cvss>,
    vendor: Option<Vendor>,
    fix_available: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    name: Option<String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    epoch: Word,
    release: Option<String>,
    fixed_in_version: Option<String>,
    package_manager: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cvss {
    #[serde(default)]
    version: Word,
    #[serde(default)]
    base_score: Word,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vendor {
    #[serde(default)]
    vendor_created_at: String,
}

/// The reports of an export: one for each image.
pub(super) fn reports(findings: Vec<Finding>) -> Result<Vec<Report>, ReadError> {
    if findings.is_empty() {
        let remedy = "export the findings of DescribeImageScanFindings, which says that a scan took place";
        return Err(incomplete("Findings", "the list is empty, and names no image", remedy));
    }
    let mut images = ByImage::default();
    for (at, finding) in findings.into_iter().enumerate() {
        let is_vulnerability = finding.types.iter().any(|kind| kind.contains("/Vulnerabilities/"));
        let severity = finding.severity.as_ref().and_then(|severity| severity.label.as_deref());
        let rows = finding.vulnerabilities.unwrap_or_default();
        let of_images = finding.resources.iter().filter_map(|resource| {
            let details = resource.details.as_ref();
            let image = details.and_then(|details| details.aws_ecr_container_image.as_ref());
            let is_image =
                image.is_some() || resource.kind.as_deref().is_none_or(|kind| kind == "AwsEcrContainerImage");
            // an image without a digest is refused where the digest is read
            is_image.then(|| image.and_then(|image| image.image_digest.as_deref()).unwrap_or_default())
        });
        for digest in of_images {
            let image = images.image(digest, || format!("Findings[{at}].Resources.ImageDigest"))?;
            if rows.is_empty() && is_vulnerability {
                let place = format!("Findings[{at}].Vulnerabilities");
                return Err(ReadError::malformed(
                    place,
                    "the finding does not say which vulnerability it is",
                ));
            }
            for (nth, found) in rows.iter().flat_map(|row| row.vulnerabilities(severity)).enumerate() {
                images.add(&image, || format!("Findings[{at}].Vulnerabilities[{nth}]"), found)?;
            }
        }
    }
    match images.into_reports("security-hub") {
        reports if reports.is_empty() => Err(ReadError::Foreign {
            found: "an export of Security Hub about other things than container images".to_owned(),
            wanted: "report on an image",
            remedy: "export findings of the resource type AwsEcrContainerImage",
        }),
        reports => Ok(reports),
    }
}

impl Row {
    fn vulnerabilities(&self, severity: Option<&str>) -> Vec<Vulnerability> {
        let new = |cvss: &&Cvss| cvss.version.number().is_some_and(|version| version >= 3.0);
        let scores = self.cvss.iter().filter(new).filter_map(|cvss| cvss.base_score.number());
        let score = scores.filter_map(text::score).max();
        let names = named(&self.id, self.related_vulnerabilities.iter().map(String::as_str));
        let one = |package: Option<&Package>| Vulnerability {
            severity: severity.and_then(text::severity),
            score,
            package: package.and_then(|package| package.name.clone()).unwrap_or_default(),
            package_type: package.and_then(|package| package.package_manager.clone()).unwrap_or_default(),
            installed: package.map(Package::installed).unwrap_or_default(),
            fixed: fixed(
                self.fix_available.as_deref().unwrap_or_default(),
                package.and_then(|package| package.fixed_in_version.as_deref()),
            ),
            published: self.vendor.as_ref().and_then(|vendor| text::date(&vendor.vendor_created_at)),
            ..names.clone()
        };
        match self.vulnerable_packages.as_deref().unwrap_or_default() {
            [] => vec![one(None)],
            packages => packages.iter().map(|package| one(Some(package))).collect(),
        }
    }
}

impl Package {
    fn installed(&self) -> String {
        version(self.epoch.number().unwrap_or_default(), &self.version, self.release.as_deref())
    }
}
