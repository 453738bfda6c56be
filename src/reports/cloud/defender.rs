//! Sub-assessments of Microsoft Defender for Cloud about images in registries, of today's
//! (`AzureContainerRegistryVulnerability`) and of the old kind (`ContainerRegistryVulnerability`).
//!
//! An image in which nothing was found has no entry at all, and cannot be told from one that was not scanned.
//! What is `NotApplicable`, because a rule of Defender exempts it, is a finding: to leave it out is for our policy.
//!
//! Source: Microsoft Defender for Cloud REST API, "Sub Assessments"; Azure/azure-rest-api-specs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::ByImage;
use crate::{
    evidence::Vulnerability,
    image::Digest,
    reports::{
        ReadError, Report,
        bounds::{Keys, parse},
        findings::{fix, incomplete},
        loose::{Few, Word},
        text,
    },
};

const KEYS: Keys = Keys {
    counted: &["value"],
    spelt: &["nextLink", "fixedVersion", "patchable", "additionalData", "assessedResourceType"],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    value: Option<Vec<Assessment>>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Assessment {
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    id: Option<String>,
    status: Option<Status>,
    time_generated: Option<String>,
    additional_data: Option<Details>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<String>,
    severity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    assessed_resource_type: Option<String>,
    artifact_details: Option<Artifact>,
    software_details: Option<Software>,
    vulnerability_details: Option<Known>,
    /// Of the old kind, as are the next.
    image_digest: Option<String>,
    patchable: Option<bool>,
    #[serde(default)]
    cve: Few<Cve>,
    #[serde(default)]
    cvss: Few<Cvss>,
    published_time: Option<String>,
}

#[derive(Deserialize)]
struct Artifact {
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Software {
    package_name: Option<String>,
    version: Option<String>,
    fixed_version: Option<String>,
    fix_status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    cve_id: Option<String>,
    severity: Option<String>,
    published_date: Option<String>,
    #[serde(default)]
    cvss: Few<Cvss>,
}

#[derive(Deserialize)]
struct Cve {
    title: Option<String>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(default)]
    base: Word,
}

/// Reads one answer. There is a report for each image in it.
pub(in crate::reports) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let answer: Answer = parse(bytes, &KEYS)?;
    if answer.next_link.is_some_and(|link| !link.is_empty()) {
        return Err(incomplete("nextLink", "there are further pages", "ask for all pages"));
    }
    let Some(assessments) = answer.value else {
        return Err(foreign("a document without sub-assessments"));
    };
    let (mut images, mut others) = (ByImage::default(), 0);
    let mut times: BTreeMap<Digest, Timestamp> = BTreeMap::new();
    for (at, one) in assessments.into_iter().enumerate() {
        let place = |field: &str| format!("value[{at}].properties.{field}");
        let Some(properties) = one.properties else {
            return Err(ReadError::malformed(format!("value[{at}]"), "it has no properties"));
        };
        let Some(details) = properties.additional_data else {
            return Err(ReadError::malformed(place("additionalData"), "it is missing"));
        };
        let kind = place("additionalData.assessedResourceType");
        if !details.is_about_image().ok_or_else(|| ReadError::malformed(kind, "it is missing"))? {
            others += 1;
            continue;
        }
        let status = properties.status.unwrap_or(Status { code: None, severity: None });
        if status.code.as_deref() == Some("Healthy") {
            continue;
        }
        let artifact = details.artifact_details.as_ref().and_then(|artifact| artifact.digest.as_deref());
        let digest = artifact.or(details.image_digest.as_deref()).unwrap_or_default().to_owned();
        let image = images.image(&digest, || place("additionalData: its digest"))?;
        let found = details.vulnerability(properties.id.unwrap_or_default(), status.severity.as_deref());
        images.add(&image, || place("id"), found)?;
        if let Some(time) = properties.time_generated.as_deref().and_then(text::timestamp) {
            let oldest = times.entry(image).or_insert(time);
            *oldest = time.min(*oldest);
        }
    }
    let mut reports = images.into_reports("defender");
    if reports.is_empty() {
        return Err(match others {
            0 => incomplete(
                "value",
                "nothing was found in any image, so that none is named",
                "use a scanner that says which image it has found clean",
            ),
            _ => foreign("a list of sub-assessments about other things than images in registries"),
        });
    }
    for report in &mut reports {
        // OK because each report of `ByImage` names one digest
        report.scanned_at = times.get(&report.subject.digests[0]).copied();
    }
    Ok(reports)
}

impl Details {
    /// Whether it is about an image; none where that is not said.
    fn is_about_image(&self) -> Option<bool> {
        let kinds = ["AzureContainerRegistryVulnerability", "ContainerRegistryVulnerability"];
        let named = self.artifact_details.is_some() || self.image_digest.is_some();
        match self.assessed_resource_type.as_deref() {
            None => named.then_some(true),
            Some(kind) => Some(named || kinds.contains(&kind)),
        }
    }

    fn vulnerability(self, id: String, severity: Option<&str>) -> Vulnerability {
        let known = self.vulnerability_details;
        let software = self.software_details;
        let words = [severity, known.as_ref().and_then(|known| known.severity.as_deref())];
        let scores = self.cvss.iter().chain(known.iter().flat_map(|known| known.cvss.iter()));
        let score = scores.filter_map(|cvss| cvss.base.number()).filter_map(text::score).max();
        let mut names: Vec<String> = self.cve.iter().filter_map(|cve| cve.title.clone()).collect();
        names.extend(known.as_ref().and_then(|known| known.cve_id.clone()));
        let dates = [self.published_time, known.as_ref().and_then(|known| known.published_date.clone())];
        let named = software.as_ref().and_then(|software| software.fixed_version.as_deref()).and_then(fix);
        let fixable = self.patchable.unwrap_or(false)
            || software
                .as_ref()
                .is_some_and(|software| software.fix_status.as_deref() == Some("FixAvailable"));
        let (package, installed) = software.map(|it| (it.package_name, it.version)).unwrap_or_default();
        Vulnerability {
            id,
            aliases: names,
            severity: words.into_iter().flatten().filter_map(text::severity).max(),
            score,
            package: package.unwrap_or_default(),
            installed: installed.unwrap_or_default(),
            fixed: named.or_else(|| fixable.then(String::new)),
            published: dates.iter().flatten().find_map(|date| text::date(date)),
            ..Vulnerability::default()
        }
    }
}

fn foreign(found: &str) -> ReadError {
    ReadError::Foreign {
        found: found.to_owned(),
        wanted: "answer of Defender about images",
        remedy: "list the sub-assessments of the assessment about vulnerabilities in registry images",
    }
}
