//! Quay: the answer of `…/manifest/{digest}/security?vulnerabilities=true`.
//!
//! Only the status `scanned` is an answer. The object inside, without `status` and `data`, is read too.
//!
//! Source: quay/quay, `endpoints/api/secscan.py` and `data/secscan_model/datatypes.py`.

use serde::Deserialize;

use super::{
    ReadError, Report, Subject,
    bounds::{Keys, parse},
    findings::{Findings, cves, fix, incomplete, name_in_title},
    loose::Word,
    text,
};
use crate::{evidence::Vulnerability, image::Digest};

const KEYS: Keys = Keys { counted: &["Features", "Vulnerabilities"], spelt: &["FixedBy"] };

#[derive(Deserialize)]
struct Document {
    status: Option<String>,
    data: Option<Data>,
    #[serde(rename = "Layer")]
    layer: Option<Layer>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "Layer")]
    layer: Option<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layer {
    name: String,
    features: Option<Vec<Feature>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Feature {
    name: String,
    #[serde(default)]
    version: String,
    vulnerabilities: Option<Vec<Row>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    #[serde(default)]
    severity: String,
    fixed_by: Option<String>,
    link: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "NVD")]
    nvd: Option<Nvd>,
}

#[derive(Deserialize)]
struct Nvd {
    #[serde(rename = "CVSSv3")]
    cvss: Option<Cvss>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(default, rename = "Score")]
    score: Word,
}

/// Reads one answer.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let layer = match (document.status.as_deref(), document.data, document.layer) {
        (None, None, Some(layer)) => layer,
        (Some("scanned"), Some(Data { layer: Some(layer) }), None) => layer,
        (Some("scanned"), _, None) => return Err(incomplete("data", "it holds no report", AGAIN)),
        (Some(status), _, None) => {
            return Err(incomplete("status", format!("the scan is {:?}", text::plain(status)), AGAIN));
        }
        _ => {
            return Err(ReadError::Foreign {
                found: "another document than an answer of Quay's security API".to_owned(),
                wanted: "report of Quay",
                remedy: "ask for …/manifest/sha256:…/security?vulnerabilities=true",
            });
        }
    };
    let digest: Digest = layer.name.parse().map_err(|error| {
        ReadError::malformed("Layer.Name", format!("{:?}: {error}", text::plain(&layer.name)))
    })?;
    let features = layer.features.unwrap_or_default();
    if features.is_empty() {
        let remedy = "scan the image with a scanner that knows its distribution";
        return Err(incomplete("Layer.Features", "no package was recognised", remedy));
    }
    let mut findings = Findings::default();
    for (at, feature) in features.into_iter().enumerate() {
        let place = || format!("Layer.Features[{at}].Vulnerabilities");
        let Some(rows) = feature.vulnerabilities else {
            return Err(incomplete(place(), "it is missing", "ask with vulnerabilities=true"));
        };
        let (name, version) = (text::package(&feature.name), text::package(&feature.version));
        for row in rows {
            let cves = cves(&row.name).chain(cves(row.link.as_deref().unwrap_or_default()));
            let cvss = row.metadata.and_then(|metadata| metadata.nvd).and_then(|nvd| nvd.cvss);
            let found = Vulnerability {
                id: name_in_title(&row.name).to_owned(),
                aliases: cves.map(str::to_owned).collect(),
                severity: text::severity(&row.severity),
                score: cvss.and_then(|cvss| cvss.score.number()).and_then(text::score),
                package: name.clone(),
                installed: version.clone(),
                fixed: row.fixed_by.as_deref().and_then(fix),
                ..Vulnerability::default()
            };
            findings.add(place, found)?;
        }
    }
    let subject = Subject { digests: vec![digest], ..Subject::default() };
    Ok(vec![findings.into_report("clair", subject)])
}

const AGAIN: &str = "ask again when the status is scanned";
