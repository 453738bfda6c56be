mod signatures;
mod strict;
pub(super) mod trust_roots;
mod vulnerabilities;

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::Value;

use self::strict::{StrictError, parse_strictly};
use super::{
    Action, OnError, Policy, PolicyId, PolicyKind, Requirement, Selector, Version,
    selector::{is_dns_label, is_dns_subdomain},
};
use crate::{
    api::{
        GROUP,
        v1alpha1::{
            AttestationRule, ClusterImageAdmissionPolicySpec, ErrorAction, ImageAdmissionPolicySpec,
            LabelSelector, PolicyAction, ReferenceRules, RegistryRules, SignatureRules, VERSION,
            VulnerabilityRules,
        },
    },
    image::{Digest, ImagePattern},
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

/// How many things that are wrong with a document are told apart; the rest are counted.
const PROBLEMS_LIMIT: usize = 16;
/// The most characters of a value that an error repeats.
const VALUE_LIMIT: usize = 80;
/// The most characters that an error says about a value.
const PROBLEM_LIMIT: usize = 240;
/// The most bytes of one pattern.
const PATTERN_LIMIT: usize = 512;

/// Collects problems, so that an author hears of all of them at once. Bounded, because a policy's error
/// travels with every decision that the policy has a part in.
#[derive(Default)]
pub(super) struct Problems {
    fields: Vec<FieldError>,
    uncounted: usize,
}

impl Problems {
    pub(super) fn add(&mut self, path: &str, value: &str, problem: impl fmt::Display) {
        if self.fields.len() == PROBLEMS_LIMIT {
            self.uncounted += 1;
            return;
        }
        let problem = shortened(&problem.to_string(), PROBLEM_LIMIT);
        self.fields.push(FieldError {
            path: shortened(path, VALUE_LIMIT),
            value: shortened(value, VALUE_LIMIT),
            problem,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn into_error(self) -> CompileError {
        let Self { mut fields, uncounted } = self;
        if uncounted > 0 {
            let problem = format!("{uncounted} more things are wrong with the document");
            fields.push(FieldError { path: String::new(), value: String::new(), problem });
        }
        CompileError { fields }
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        if text.len() > PATTERN_LIMIT {
            self.add(path, text, format!("longer than {PATTERN_LIMIT} bytes: nothing that long can match"));
            return None;
        }
        text.parse().map_err(|error| self.add(path, text, error)).ok()
    }

    /// Compiles a list, which must have between one and `most` entries where it is written at all.
    fn parse_all<T: FromStr<Err: fmt::Display>>(
        &mut self,
        path: &str,
        texts: Option<&[String]>,
        most: usize,
    ) -> Vec<T> {
        let Some(texts) = texts else { return Vec::new() };
        if !self.bound(path, texts.len(), most) {
            return Vec::new();
        }
        if texts.is_empty() {
            self.add(path, "[]", "an empty list says nothing: leave the field out");
        }
        texts.iter().enumerate().filter_map(|(at, text)| self.parse(&format!("{path}[{at}]"), text)).collect()
    }

    /// Whether a list of `length` is not too long.
    pub(super) fn bound(&mut self, path: &str, length: usize, most: usize) -> bool {
        if length > most {
            self.add(path, &format!("{length} entries"), format!("at most {most} are allowed"));
        }
        length <= most
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
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
    let version = Version {
        generation: metadata["generation"].as_i64().unwrap_or_default(),
        content: Digest::sha256(document["spec"].to_string().as_bytes()),
    };

    let mut problems = Problems::default();
    check_envelope(document, &id, &mut problems);
    match Spec::parse(kind, &document["spec"]) {
        _ if document["spec"].is_null() => problems.add("spec", "", "the policy has no spec"),
        Ok(spec) => {
            let (policy, warnings) = spec.compile(id.clone(), version.clone(), &mut problems);
            if problems.is_empty() {
                return Some(Reading { policy, warnings });
            }
        }
        Err(StrictError { path, value, problem }) => problems.add(&path, &value, problem),
    }
    let policy = unreadable(id, version, &document["spec"], problems.into_error());
    Some(Reading { policy, warnings: Vec::new() })
}

fn check_envelope(document: &Value, id: &PolicyId, problems: &mut Problems) {
    for key in document.as_object().into_iter().flat_map(|object| object.keys()) {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            problems.add(key, "", "unknown field");
        }
    }
    if id.name.is_empty() {
        problems.add("metadata.name", "", "the policy has no name");
    } else if !is_dns_subdomain(&id.name) {
        problems.add("metadata.name", &id.name, DNS_SUBDOMAIN);
    }
    let namespace = &document["metadata"]["namespace"];
    match id.kind {
        PolicyKind::Namespaced if id.namespace.is_empty() => {
            problems.add("metadata.namespace", "", "an ImageAdmissionPolicy belongs to a namespace: name it");
        }
        PolicyKind::Namespaced if !is_dns_label(&id.namespace) => {
            problems.add("metadata.namespace", &id.namespace, DNS_LABEL);
        }
        PolicyKind::Cluster if !namespace.is_null() && namespace.as_str() != Some("") => problems.add(
            "metadata.namespace",
            namespace.as_str().unwrap_or_default(),
            "a ClusterImageAdmissionPolicy has no namespace: leave it out, or use an ImageAdmissionPolicy",
        ),
        _ => {}
    }
}

/// Kubernetes' rule for most names.
const DNS_SUBDOMAIN: &str =
    "a name has up to 253 lowercase letters, digits, \"-\" and \".\", with a letter or digit at both ends";
/// Kubernetes' rule for the names of namespaces.
const DNS_LABEL: &str =
    "a namespace has up to 63 lowercase letters, digits and \"-\", with a letter or digit at both ends";

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
    signatures: Option<SignatureRules>,
    attestations: Option<Vec<AttestationRule>>,
    vulnerabilities: Option<VulnerabilityRules>,
    on_error: ErrorAction,
}

impl Spec {
    fn parse(kind: PolicyKind, spec: &Value) -> Result<Self, StrictError> {
        match kind {
            PolicyKind::Cluster => {
                let spec: ClusterImageAdmissionPolicySpec = parse_strictly(kind.as_str(), spec)?;
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
                    signatures: spec.signatures,
                    attestations: spec.attestations,
                    vulnerabilities: spec.vulnerabilities,
                    on_error: spec.on_error.unwrap_or_default().action,
                })
            }
            PolicyKind::Namespaced => {
                let spec: ImageAdmissionPolicySpec = parse_strictly(kind.as_str(), spec)?;
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
                    signatures: spec.signatures,
                    attestations: spec.attestations,
                    vulnerabilities: spec.vulnerabilities,
                    on_error: spec.on_error.unwrap_or_default().action,
                })
            }
        }
    }

    fn compile(self, id: PolicyId, version: Version, problems: &mut Problems) -> (Policy, Vec<String>) {
        let mut warnings = Vec::new();
        let mut requirements = Vec::new();
        if let Some(date) = self.enforce_after.filter(|_| self.action == PolicyAction::Deny) {
            problems.add(
                "spec.enforceAfter",
                &date.to_string(),
                "it turns Warn or Audit into Deny: with action Deny it says nothing",
            );
        }
        if let Some(rules) = &self.registries {
            requirements.push(compile_registries(rules, problems));
        }
        if let Some(rules) = &self.references {
            compile_references(rules, &mut requirements, problems);
        }
        if self.registries.is_none()
            && self.references.is_none()
            && self.signatures.is_none()
            && self.attestations.is_none()
            && self.vulnerabilities.is_none()
        {
            problems.add(
                "spec",
                "",
                "the policy requires nothing: set registries, references, signatures, attestations or vulnerabilities",
            );
        }
        let attached =
            signatures::compile(&id, self.signatures.as_ref(), self.attestations.as_deref(), problems);
        requirements.extend(attached.requirements);
        if let Some(rules) = &self.vulnerabilities {
            let requirement = vulnerabilities::compile(rules, &attached.named, problems);
            requirements.push(Requirement::Vulnerabilities(requirement));
        }
        let images = match &self.images {
            Some(images) => problems.parse_all("spec.match.images", Some(images), 256),
            None => every_image(),
        };
        let exclude_images =
            problems.parse_all("spec.match.excludeImages", self.exclude_images.as_deref(), 256);
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
            version,
            action: compile_action(self.action),
            enforce_after: self.enforce_after,
            images,
            exclude_images,
            namespace_selector: Selector::compile(
                self.namespace_selector.as_ref(),
                "spec.match.namespaceSelector",
                problems,
            ),
            object_selector,
            authorities: attached.authorities,
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
    if rules.allow.is_none() && rules.deny.is_none() {
        problems.add("spec.registries", "", "set allow, deny or both");
    }
    Requirement::Registries {
        allow: rules
            .allow
            .as_deref()
            .map(|allow| problems.parse_all("spec.registries.allow", Some(allow), 256)),
        deny: problems.parse_all("spec.registries.deny", rules.deny.as_deref(), 256),
    }
}

fn compile_references(rules: &ReferenceRules, requirements: &mut Vec<Requirement>, problems: &mut Problems) {
    if !rules.require_digest && rules.deny_tags.is_none() && rules.deny_digests.is_none() {
        problems.add("spec.references", "", "set requireDigest: true, denyTags or denyDigests");
    }
    if rules.require_digest {
        requirements.push(Requirement::WrittenDigest);
    }
    if let Some(tags) = rules.deny_tags.as_deref() {
        requirements.push(Requirement::DenyTags(problems.parse_all(
            "spec.references.denyTags",
            Some(tags),
            256,
        )));
    }
    if let Some(digests) = rules.deny_digests.as_deref() {
        let digests = problems.parse_all("spec.references.denyDigests", Some(digests), 1024);
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

/// A policy that fails for every image wherever it could match, for the time in which nobody knows
/// what the policy of that name demands. `problem` says why; messages repeat it.
pub fn unknown(id: PolicyId, problem: impl Into<String>) -> Policy {
    let field = FieldError { path: String::new(), value: String::new(), problem: problem.into() };
    let version = Version { generation: 0, content: Digest::sha256(b"") };
    unreadable(id, version, &Value::Null, CompileError { fields: vec![field] })
}

/// The policy that stands for a document that cannot be read: it fails, with the document's own
/// action where that is readable, for all that the document could match. Every part of `match` that
/// cannot be read counts as matching everything, an empty list of images and a missing namespace included.
fn unreadable(id: PolicyId, version: Version, spec: &Value, error: CompileError) -> Policy {
    let matches = &spec["match"];
    let action = match spec.get("action").map(|action| action.as_str()) {
        Some(Some("Warn")) => Action::Warn,
        Some(Some("Audit")) => Action::Audit,
        _ => Action::Deny,
    };
    let enforce_after = match spec.get("enforceAfter") {
        None | Some(Value::Null) => None,
        Some(date) => Some(date.as_str().and_then(|date| date.parse().ok()).unwrap_or(Timestamp::MIN)),
    };
    let texts = |value: &Value| serde_json::from_value::<Vec<String>>(value.clone()).unwrap_or_default();
    let patterns = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<_>>();
    let written = texts(&matches["images"]);
    let mut images = patterns(&written);
    if images.is_empty() || images.len() < written.len() {
        images = every_image();
    }
    let selector = |value: &Value| match serde_json::from_value::<LabelSelector>(value.clone()) {
        Ok(document) => {
            let mut problems = Problems::default();
            let selector = Selector::compile(Some(&document), "", &mut problems);
            if problems.is_empty() { selector } else { Selector::default() }
        }
        Err(_) => Selector::default(),
    };
    Policy {
        namespace_selector: match id.kind {
            PolicyKind::Cluster => selector(&matches["namespaceSelector"]),
            PolicyKind::Namespaced => Selector::default(),
        },
        id,
        version,
        action,
        enforce_after,
        images,
        exclude_images: patterns(&texts(&matches["excludeImages"])),
        object_selector: selector(&matches["objectSelector"]),
        authorities: Vec::new(),
        requirements: vec![Requirement::Readable(error)],
        on_error: OnError::Deny,
    }
}
