use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::Value;

use super::{Action, OnError, Policy, PolicyId, PolicyKind, Requirement, Selector};
use crate::{
    api::{
        GROUP,
        v1alpha1::{
            ClusterImageAdmissionPolicySpec, ErrorAction, ImageAdmissionPolicySpec, LabelSelector,
            PolicyAction, ReferenceRules, RegistryRules, VERSION,
        },
    },
    image::ImagePattern,
};

/// What a document turned out to be.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The policy. Where the document cannot be read it is one that fails for all it could match.
    pub policy: Policy,
    /// What works but probably is not meant: for the author, never for the decision.
    pub warnings: Vec<String>,
}

/// All that is wrong with one document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct CompileError {
    /// At least one.
    pub fields: Vec<FieldError>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// Where: `spec.registries.allow[1]`; empty where the parser could not say.
    pub path: String,
    /// What stands there, shortened; empty where the parser could not say.
    pub value: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if !self.value.is_empty() {
            write!(f, "{:?}: ", self.value)?;
        }
        f.write_str(&self.problem)
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            field.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects problems, so that an author hears of all of them at once.
#[derive(Default)]
pub(super) struct Problems(Vec<FieldError>);

impl Problems {
    pub(super) fn add(&mut self, path: &str, value: &str, problem: impl fmt::Display) {
        let value = value.chars().take(80).collect();
        self.0.push(FieldError { path: path.to_owned(), value, problem: problem.to_string() });
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.add(path, text, error)).ok()
    }

    fn parse_all<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, texts: Option<&[String]>) -> Vec<T> {
        let texts = texts.unwrap_or_default();
        texts.iter().enumerate().filter_map(|(at, text)| self.parse(&format!("{path}[{at}]"), text)).collect()
    }

    fn bound<T>(&mut self, path: &str, list: Option<&[T]>, most: usize) {
        let length = list.map(<[T]>::len);
        if length == Some(0) {
            self.add(path, "[]", "an empty list says nothing: leave the field out");
        }
        if length.is_some_and(|length| length > most) {
            self.add(path, "", format!("at most {most} entries"));
        }
    }
}

/// Reads and compiles one policy document, as it stands in a file or in the cluster.
///
/// Returns `None` where the document is no policy of this version at all (another group, version or
/// kind). Never fails otherwise: a document that cannot be compiled becomes a policy that fails, so
/// that a caller cannot drop it by mistake; [`Policy::compile_error`] says what is wrong.
///
/// Reads `metadata.name`, `.namespace` and `.generation` leniently, the rest strictly: an unknown
/// field is an error, since it may be a rule that a newer version knows.
pub fn read(document: &Value) -> Option<Reading> {
    if document["apiVersion"].as_str() != Some(&format!("{GROUP}/{VERSION}")) {
        return None;
    }
    let kind = match document["kind"].as_str() {
        Some("ClusterImageAdmissionPolicy") => PolicyKind::Cluster,
        Some("ImageAdmissionPolicy") => PolicyKind::Namespaced,
        _ => return None,
    };
    let metadata = &document["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().into();
    let id = PolicyId {
        kind,
        namespace: match kind {
            PolicyKind::Cluster => Box::default(),
            PolicyKind::Namespaced => text(&metadata["namespace"]),
        },
        name: text(&metadata["name"]),
    };
    let generation = metadata["generation"].as_i64().unwrap_or_default();

    let mut problems = Problems::default();
    check_envelope(document, &id, &mut problems);
    match Spec::parse(kind, &document["spec"]) {
        Ok(spec) => {
            let (policy, warnings) = spec.compile(id.clone(), generation, &mut problems);
            if problems.0.is_empty() {
                return Some(Reading { policy, warnings });
            }
        }
        Err(error) => problems.0.push(error),
    }
    let error = CompileError { fields: problems.0 };
    Some(Reading { policy: unreadable(id, generation, &document["spec"], error), warnings: Vec::new() })
}

fn check_envelope(document: &Value, id: &PolicyId, problems: &mut Problems) {
    for key in document.as_object().into_iter().flat_map(|object| object.keys()) {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            problems.add(key, "", "unknown field");
        }
    }
    if id.name.is_empty() {
        problems.add("metadata.name", "", "the policy has no name");
    }
    if id.kind == PolicyKind::Namespaced && id.namespace.is_empty() {
        problems.add("metadata.namespace", "", "an ImageAdmissionPolicy belongs to a namespace: name it");
    }
    if id.kind == PolicyKind::Cluster
        && document["metadata"]["namespace"].as_str().is_some_and(|ns| !ns.is_empty())
    {
        problems.add(
            "metadata.namespace",
            document["metadata"]["namespace"].as_str().unwrap_or_default(),
            "a ClusterImageAdmissionPolicy has no namespace: leave it out, or use an ImageAdmissionPolicy",
        );
    }
    if document.get("spec").is_none() {
        problems.add("spec", "", "the policy has no spec");
    }
}

/// The two kinds' specs with what differs between them levelled.
struct Spec {
    action: PolicyAction,
    enforce_after: Option<Timestamp>,
    images: Option<Vec<String>>,
    exclude_images: Option<Vec<String>>,
    namespace_selector: Option<LabelSelector>,
    object_selector: Option<LabelSelector>,
    registries: Option<RegistryRules>,
    references: Option<ReferenceRules>,
    on_error: ErrorAction,
}

impl Spec {
    fn parse(kind: PolicyKind, spec: &Value) -> Result<Self, FieldError> {
        match kind {
            PolicyKind::Cluster => {
                let spec: ClusterImageAdmissionPolicySpec = parse_strictly(spec)?;
                let matches = spec.matches.unwrap_or_default();
                Ok(Self {
                    action: spec.action,
                    enforce_after: spec.enforce_after.map(|time| time.0),
                    images: matches.images,
                    exclude_images: matches.exclude_images,
                    namespace_selector: matches.namespace_selector,
                    object_selector: matches.object_selector,
                    registries: spec.registries,
                    references: spec.references,
                    on_error: spec.on_error.unwrap_or_default().action,
                })
            }
            PolicyKind::Namespaced => {
                let spec: ImageAdmissionPolicySpec = parse_strictly(spec)?;
                let matches = spec.matches.unwrap_or_default();
                Ok(Self {
                    action: spec.action,
                    enforce_after: spec.enforce_after.map(|time| time.0),
                    images: matches.images,
                    exclude_images: matches.exclude_images,
                    namespace_selector: None,
                    object_selector: matches.object_selector,
                    registries: spec.registries,
                    references: spec.references,
                    on_error: spec.on_error.unwrap_or_default().action,
                })
            }
        }
    }

    fn compile(self, id: PolicyId, generation: i64, problems: &mut Problems) -> (Policy, Vec<String>) {
        let mut warnings = Vec::new();
        let mut requirements = Vec::new();
        if self.enforce_after.is_some() && self.action == PolicyAction::Deny {
            problems.add(
                "spec.enforceAfter",
                "",
                "it turns Warn or Audit into Deny: with action Deny it says nothing",
            );
        }
        if let Some(rules) = &self.registries {
            requirements.push(compile_registries(rules, problems));
        }
        if let Some(rules) = &self.references {
            compile_references(rules, &mut requirements, problems);
        }
        if self.registries.is_none() && self.references.is_none() {
            problems.add("spec", "", "the policy requires nothing: set registries or references");
        }
        problems.bound("spec.match.images", self.images.as_deref(), 256);
        problems.bound("spec.match.excludeImages", self.exclude_images.as_deref(), 256);
        let images = match &self.images {
            Some(images) => problems.parse_all("spec.match.images", Some(images)),
            None => every_image(),
        };
        let object_selector =
            Selector::compile(self.object_selector.as_ref(), "spec.match.objectSelector", problems);
        if !object_selector.is_empty() {
            warnings.push(
                "spec.match.objectSelector: whoever creates an object writes its labels, and so decides whether \
                 this policy applies to it"
                    .to_owned(),
            );
        }
        let policy = Policy {
            id,
            generation,
            action: compile_action(self.action),
            enforce_after: self.enforce_after,
            images,
            exclude_images: problems.parse_all("spec.match.excludeImages", self.exclude_images.as_deref()),
            namespace_selector: Selector::compile(
                self.namespace_selector.as_ref(),
                "spec.match.namespaceSelector",
                problems,
            ),
            object_selector,
            requirements,
            on_error: match self.on_error {
                ErrorAction::Deny => OnError::Deny,
                ErrorAction::Warn => OnError::Warn,
            },
        };
        (policy, warnings)
    }
}

fn compile_registries(rules: &RegistryRules, problems: &mut Problems) -> Requirement {
    problems.bound("spec.registries.allow", rules.allow.as_deref(), 256);
    problems.bound("spec.registries.deny", rules.deny.as_deref(), 256);
    if rules.allow.is_none() && rules.deny.is_none() {
        problems.add("spec.registries", "", "set allow, deny or both");
    }
    Requirement::Registries {
        allow: rules.allow.as_deref().map(|allow| problems.parse_all("spec.registries.allow", Some(allow))),
        deny: problems.parse_all("spec.registries.deny", rules.deny.as_deref()),
    }
}

fn compile_references(rules: &ReferenceRules, requirements: &mut Vec<Requirement>, problems: &mut Problems) {
    problems.bound("spec.references.denyTags", rules.deny_tags.as_deref(), 256);
    problems.bound("spec.references.denyDigests", rules.deny_digests.as_deref(), 1024);
    if !rules.require_digest && rules.deny_tags.is_none() && rules.deny_digests.is_none() {
        problems.add("spec.references", "", "set requireDigest: true, denyTags or denyDigests");
    }
    if rules.require_digest {
        requirements.push(Requirement::WrittenDigest);
    }
    if let Some(tags) = rules.deny_tags.as_deref() {
        requirements.push(Requirement::DenyTags(problems.parse_all("spec.references.denyTags", Some(tags))));
    }
    if let Some(digests) = rules.deny_digests.as_deref() {
        let digests = problems.parse_all("spec.references.denyDigests", Some(digests));
        requirements.push(Requirement::DenyDigests(BTreeSet::from_iter(digests)));
    }
}

fn compile_action(action: PolicyAction) -> Action {
    match action {
        PolicyAction::Deny => Action::Deny,
        PolicyAction::Warn => Action::Warn,
        PolicyAction::Audit => Action::Audit,
    }
}

fn every_image() -> Vec<ImagePattern> {
    // OK because the pattern is a constant that a test compiles
    vec!["**".parse().unwrap()]
}

fn parse_strictly<T: serde::de::DeserializeOwned>(spec: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        FieldError { path, value: String::new(), problem: error.into_inner().to_string() }
    })
}

/// The policy that stands for a document that cannot be read: it fails, with the document's own
/// action where that is readable, for all that the document could match. Every part of `match` that
/// cannot be read counts as matching everything.
fn unreadable(id: PolicyId, generation: i64, spec: &Value, error: CompileError) -> Policy {
    let matches = &spec["match"];
    let mut ignored = Problems::default();
    let action = match spec.get("action").map(|action| action.as_str()) {
        Some(Some("Warn")) => Action::Warn,
        Some(Some("Audit")) => Action::Audit,
        _ => Action::Deny,
    };
    let enforce_after = match spec.get("enforceAfter") {
        None | Some(Value::Null) => None,
        Some(date) => Some(date.as_str().and_then(|date| date.parse().ok()).unwrap_or(Timestamp::MIN)),
    };
    let images = match serde_json::from_value::<Vec<String>>(matches["images"].clone()) {
        Ok(texts) => {
            let patterns: Vec<ImagePattern> = ignored.parse_all("", Some(&texts));
            if patterns.len() == texts.len() { patterns } else { every_image() }
        }
        Err(_) => every_image(),
    };
    let selector = |value: &Value| match serde_json::from_value::<LabelSelector>(value.clone()) {
        Ok(document) => {
            let mut problems = Problems::default();
            let selector = Selector::compile(Some(&document), "", &mut problems);
            if problems.0.is_empty() { selector } else { Selector::default() }
        }
        Err(_) => Selector::default(),
    };
    Policy {
        namespace_selector: match id.kind {
            PolicyKind::Cluster => selector(&matches["namespaceSelector"]),
            PolicyKind::Namespaced => Selector::default(),
        },
        id,
        generation,
        action,
        enforce_after,
        images,
        exclude_images: serde_json::from_value::<Vec<String>>(matches["excludeImages"].clone())
            .map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect())
            .unwrap_or_default(),
        object_selector: selector(&matches["objectSelector"]),
        requirements: vec![Requirement::Readable(error)],
        on_error: OnError::Deny,
    }
}
