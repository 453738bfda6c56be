use std::collections::HashMap;

use serde::Deserialize;

use super::{
    Statement, foreign, names,
    product::{Parts, Product},
    within,
};
use crate::{
    evidence::VexStatus,
    reports::{
        ReadError,
        bounds::{Keys, parse},
        findings::said,
        loose::Few,
        purl::Purl,
        text,
    },
};

const KEYS: Keys = Keys {
    counted: &["vulnerabilities", "affects", "components", "versions"],
    spelt: &["analysis", "state", "justification", "status", "updated", "lastUpdated", "timestamp"],
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: String,
    serial_number: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    vulnerabilities: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    timestamp: Option<String>,
    component: Option<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Component {
    bom_ref: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    references: Few<Reference>,
    analysis: Option<Analysis>,
    updated: Option<String>,
    #[serde(default)]
    affects: Vec<Affected>,
}

#[derive(Deserialize)]
struct Reference {
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    state: Option<String>,
    justification: Option<String>,
    detail: Option<String>,
    last_updated: Option<String>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    status: Option<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Statement>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    if document.bom_format != "CycloneDX" {
        return Err(foreign("a document that is not CycloneDX".to_owned()));
    }
    let mut purls = HashMap::new();
    collect(&document.components, &mut purls);
    let image = document.metadata.component;
    collect(image.as_slice(), &mut purls);
    let image = image.as_ref().and_then(|image| image.purl.as_deref());
    let serial = document.serial_number.as_deref().unwrap_or_default();

    let mut statements = Vec::new();
    for (nth, entry) in document.vulnerabilities.iter().enumerate() {
        let place = |field: &str| format!("vulnerabilities[{nth}].{field}");
        // without an analysis it is a scanner's finding, and says nothing
        let Some(analysis) = &entry.analysis else { continue };
        let Some(state) = &analysis.state else { continue };
        let status = status(state).ok_or_else(|| {
            let problem = format!("{:?} is no state of CycloneDX", text::plain(state));
            ReadError::malformed(place("analysis.state"), problem)
        })?;
        let reasons = [analysis.justification.as_deref(), analysis.detail.as_deref()];
        if state == "not_affected" && !reasons.into_iter().flatten().any(|reason| said(reason).is_some()) {
            let problem = "not_affected needs a justification or a detail";
            return Err(ReadError::malformed(place("analysis.justification"), problem));
        }
        let times = [&analysis.last_updated, &entry.updated, &document.metadata.timestamp];
        let at = match times.into_iter().flatten().next() {
            None => None,
            Some(time) => Some(text::timestamp(time).ok_or_else(|| {
                let problem = format!("{:?} is no time as RFC 3339 has it", text::plain(time));
                ReadError::malformed(place("updated"), problem)
            })?),
        };
        let others = entry.references.iter().filter_map(|reference| reference.id.as_deref());
        let names = names(std::iter::once(entry.id.as_str()).chain(others));
        if names.is_empty() {
            return Err(ReadError::malformed(place("id"), "the vulnerability has no name"));
        }
        for affected in &entry.affects {
            let products = affected.product(image, serial, &purls).into_iter().collect();
            // some say not_affected, and list the version as affected all the same
            let contradicted = affected.versions.iter().any(|one| one.status.as_deref() == Some("affected"));
            let status = if status.subtracts() && contradicted { VexStatus::Affected } else { status };
            statements.push(Statement { names: names.clone(), products, status, at });
            within("statements", statements.len())?;
        }
    }
    Ok(statements)
}

fn status(state: &str) -> Option<VexStatus> {
    match state {
        "resolved" | "resolved_with_pedigree" => Some(VexStatus::Fixed),
        "not_affected" | "false_positive" => Some(VexStatus::NotAffected),
        "exploitable" => Some(VexStatus::Affected),
        "in_triage" => Some(VexStatus::UnderInvestigation),
        _ => None,
    }
}

/// Adds the package URLs of `components`, and of those in them, by their references.
fn collect<'a>(components: &'a [Component], purls: &mut HashMap<&'a str, &'a str>) {
    for component in components {
        if let (Some(reference), Some(purl)) = (&component.bom_ref, &component.purl) {
            purls.insert(reference, purl);
        }
        collect(&component.components, purls);
    }
}

impl Affected {
    /// What it points to: an image, or a package of the image that the whole document is about. None for what cannot be
    /// found out, as what stands in another document.
    fn product(&self, image: Option<&str>, serial: &str, purls: &HashMap<&str, &str>) -> Option<Product> {
        let (reference, is_ours) = match self.reference.strip_prefix("urn:cdx:") {
            Some(link) => {
                let (bom, reference) = link.split_once('#')?;
                let bom = bom.split('/').next().unwrap_or_default();
                (reference, serial.strip_prefix("urn:uuid:") == Some(bom))
            }
            None => (self.reference.as_str(), true),
        };
        let ours = purls.get(reference).copied().filter(|_| is_ours);
        let purl = Purl::parse(ours.unwrap_or(reference))?;
        match purl.kind.as_str() {
            "oci" => Some(Product::new(ours.unwrap_or(reference), Parts::All)),
            _ if is_ours => image.map(|image| Product::new(image, Parts::Some(vec![purl]))),
            _ => None,
        }
    }
}
