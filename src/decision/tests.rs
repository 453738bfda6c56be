use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    evidence::{Evidence, RegistryError, Resolution, ScanEvidence, Verified},
    image::{Digest, ImageReference},
    policy::{self, Action, NamespaceLabels, Policy, PolicySet, Subject},
};

mod attacks;
mod beside;
mod fields;
mod laws;
mod messages;
mod scanned;
mod scans;
mod signatures;
mod table;

type Labels = BTreeMap<String, String>;

/// The time at which everything here is decided.
const NOW: &str = "2026-06-01T12:00:00Z";

fn digest(of: char) -> Digest {
    format!("sha256:{}", of.to_string().repeat(64)).parse().unwrap()
}

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn document(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// The policy of a document, whether or not it can be read.
fn read(document: &Value) -> Arc<Policy> {
    Arc::new(policy::read(document).expect("one of our kinds").policy)
}

/// A policy that can be read.
fn policy(spec: Value) -> Arc<Policy> {
    let policy = read(&document("house-rules", spec));
    assert_eq!(policy.compile_error(), None);
    policy
}

fn settings() -> Settings {
    Settings { unmatched: Unmatched::Warn, demand: DigestDemand::Known, ceiling: Action::Deny }
}

/// What surrounds an image; by default a Pod without labels in a namespace with `env: prod`.
#[derive(Clone, Debug)]
struct Scene {
    namespace_labels: Option<Labels>,
    object_labels: Labels,
    resolution: Resolution,
    /// What is signed beside the image, in its own repository.
    beside: Result<Vec<Verified>, RegistryError>,
    /// What is known of its scans.
    scans: ScanEvidence,
    settings: Settings,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            namespace_labels: Some(labels(&[("env", "prod")])),
            object_labels: Labels::new(),
            resolution: Resolution::Resolved(digest('a')),
            beside: Ok(Vec::new()),
            scans: ScanEvidence::NotAsked,
            settings: settings(),
        }
    }
}

impl Scene {
    fn subject(&self) -> Subject<'_> {
        Subject {
            namespace: "team-a",
            namespace_labels: self
                .namespace_labels
                .as_ref()
                .map_or(NamespaceLabels::Unknown, NamespaceLabels::Known),
            object_labels: &self.object_labels,
        }
    }

    /// What `policies` decide about `image`. A digest that is written stands above the scene's.
    fn decide(&self, policies: &[Arc<Policy>], image: &str) -> ImageDecision {
        self.decide_at(policies, image, "/spec/containers/0/image")
    }

    fn decide_at(&self, policies: &[Arc<Policy>], image: &str, pointer: &str) -> ImageDecision {
        let reference = image.parse::<ImageReference>();
        let written = reference.as_ref().ok().and_then(|reference| reference.digest().cloned());
        let resolution = written.map_or(self.resolution.clone(), Resolution::Pinned);
        let evidence = Evidence { resolution, scans: self.scans.clone() };
        let set = PolicySet::new(policies.iter().cloned());
        let subject = self.subject();
        let matching = set.matching(&subject, reference.as_ref().ok());
        let question = ImageQuestion { pointer, image, reference: &reference, evidence: &evidence };
        let judgements: Vec<Option<Arc<Judgement>>> = matching
            .iter()
            .map(|policy| {
                let (digest, image) = (evidence.resolution.digest()?, reference.as_ref().ok()?);
                policy.attached()?;
                Some(Arc::new(self.judged(policy, image, digest)))
            })
            .collect();
        decide_image(question, &matching, &judgements, &subject, self.settings, now())
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Every way in which the registry, or our way to it, can fail us.
fn failures() -> Vec<RegistryError> {
    vec![
        RegistryError::NotFound,
        RegistryError::Denied,
        RegistryError::Malformed("two digests".to_owned()),
        RegistryError::TooLarge { what: "manifest", limit: 4 << 20 },
        RegistryError::Forbidden("10.0.0.1 is private".to_owned()),
        RegistryError::Throttled { retry_after: None },
        RegistryError::Unreachable("connection refused".to_owned()),
        RegistryError::TimedOut,
        RegistryError::Overloaded,
        RegistryError::CredentialsUnavailable("no answer".to_owned()),
    ]
}
