//! The policies of `policies/`, with what each is expected to decide.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::conversation::{Answer, Failure};
use crate::{
    files,
    policy::{self, PolicySet, RootRef},
    signature::TrustRoot,
    workload::WorkloadKind,
};

macro_rules! gallery {
    ($($name:literal,)*) => {
        &[$((
            $name,
            include_str!(concat!("../../../policies/", $name)),
            include_str!(concat!("../../../policies/cases/", $name)),
        ),)*]
    };
}

/// Every file: its name, the policy and the cases. A test compares with the directory.
const FILES: &[(&str, &str, &str)] = gallery![
    "house-rules.yaml",
    "signed-by-key.yaml",
    "signed-by-workflow.yaml",
    "two-must-sign.yaml",
    "attested-build.yaml",
    "scanned-and-tested.yaml",
    "no-old-criticals.yaml",
    "digests-in-production.yaml",
    "team-extra.yaml",
    "warn-then-deny.yaml",
];

/// One policy of the gallery.
pub struct Entry {
    /// The file's name.
    pub file: &'static str,
    /// The policies in it.
    pub policies: Arc<PolicySet>,
    /// The trust roots in it.
    pub roots: Vec<(RootRef, Arc<TrustRoot>)>,
    /// The ImageScanVerdicts that lie beside the cases: name and `spec`.
    pub verdicts: Vec<(Box<str>, Value)>,
    /// What it is expected to decide.
    pub cases: Vec<Case>,
}

/// One object and what is expected to become of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// When it happens; now if absent.
    pub now: Option<Timestamp>,
    /// The labels of the object's namespace.
    #[serde(default)]
    pub namespace_labels: BTreeMap<String, String>,
    /// The object.
    pub object: Value,
    /// What is expected.
    pub expect: Expectation,
}

/// What is expected to become of an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expectation {
    /// Whether it is admitted.
    pub allowed: bool,
    /// Whether digests are written behind images.
    #[serde(default)]
    pub pinned: bool,
    /// Whether somebody is warned.
    #[serde(default)]
    pub warned: bool,
    /// A check that fails.
    pub check: Option<String>,
    /// The reason with which it fails.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

/// All policies with their cases.
pub fn entries() -> anyhow::Result<Vec<Entry>> {
    FILES.iter().map(|(file, policy, cases)| entry(file, policy, cases)).collect()
}

fn entry(file: &'static str, policy: &str, cases: &str) -> anyhow::Result<Entry> {
    let (mut policies, mut roots) = (Vec::new(), Vec::new());
    for document in files::parse(file, policy.as_bytes())? {
        if document.value["kind"] == "ImageTrustRoot" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = RootRef::Named(text(&document.value["metadata"]["name"]).into());
            let root = TrustRoot::from_json(&text(&document.value["spec"]["inline"]))
                .with_context(|| document.place.to_string())?;
            roots.push((name, Arc::new(root)));
            continue;
        }
        let reading =
            policy::read(&document.value).with_context(|| format!("{} is no policy", document.place))?;
        if let Some(error) = reading.policy.compile_error() {
            anyhow::bail!("{}: {error}", document.place);
        }
        policies.push(Arc::new(reading.policy));
    }
    let (mut all, mut verdicts) = (Vec::new(), Vec::new());
    for mut document in files::parse(file, cases.as_bytes())? {
        if document.value["kind"] == "ImageScanVerdict" {
            let name = document.value["metadata"]["name"].as_str().unwrap_or_default().into();
            verdicts.push((name, document.value["spec"].take()));
            continue;
        }
        let Cases { cases } =
            serde_json::from_value(document.value).with_context(|| format!("cases/{}", document.place))?;
        all.extend(cases);
    }
    anyhow::ensure!(!all.is_empty(), "policies/cases/{file} holds no case");
    Ok(Entry { file, policies: Arc::new(PolicySet::new(policies)), roots, verdicts, cases: all })
}

impl Case {
    /// The namespace that the object is in.
    pub fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or("default")
    }

    /// The object's kind.
    pub fn kind(&self) -> anyhow::Result<WorkloadKind> {
        let field = |name: &str| self.object[name].as_str().unwrap_or_default();
        let kind = WorkloadKind::of_manifest(field("apiVersion"), field("kind"));
        kind.with_context(|| format!("{}: runs no image", self.name))
    }

    /// The first image of a Pod, as it is written.
    pub fn first_image(&self) -> String {
        self.object["spec"]["containers"][0]["image"].as_str().unwrap_or("–").to_owned()
    }
}

impl Expectation {
    /// What is not as expected; none if all is.
    pub fn differs(&self, answer: &Answer) -> Option<String> {
        let Answer { allowed, pins, warnings, failures, .. } = answer;
        let wanted = |failure: &Failure| {
            self.check.as_ref().is_none_or(|check| *check == failure.check)
                && self.reason.as_ref().is_none_or(|reason| *reason == failure.reason)
        };
        let found: Vec<_> =
            failures.iter().map(|failure| format!("{} {}", failure.check, failure.reason)).collect();
        let pinned = !pins.is_empty();
        let warned = !warnings.is_empty();
        let differences = [
            (*allowed != self.allowed).then(|| format!("allowed is {allowed}")),
            (pinned != self.pinned).then(|| format!("pinned is {pinned}")),
            (warned != self.warned).then(|| format!("warned is {warned}")),
            (self.check.is_none() && !found.is_empty())
                .then(|| format!("failed: {found:?}, and nothing should have")),
            (self.check.is_some() && !failures.iter().any(wanted)).then(|| format!("failed: {found:?}")),
        ];
        let differences: Vec<_> = differences.into_iter().flatten().collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::FILES;

    #[test]
    fn the_gallery_is_what_lies_in_the_directory() {
        let in_directory = |path: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".yaml")).collect()
        };
        let listed: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(in_directory("policies"), listed);
        assert_eq!(in_directory("policies/cases"), listed);
    }
}
