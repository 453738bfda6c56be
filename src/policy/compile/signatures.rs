//! Authorities, signatures and attestations.

use std::collections::BTreeMap;

use super::Problems;
use crate::{
    api::v1alpha1::{
        AttestationRule, Authority as AuthorityDocument, ConditionRule, Identity, KeyRules, KeylessRules,
        SecretKeyRef, SignatureRules, SignatureSource, SignedIdentity as SignedIdentityDocument,
        SignedIdentityMatch, TransparencyLogRule, TrustRootRef,
    },
    image::Repository,
    policy::{
        AttestationRequirement, Authority, Condition, ConditionError, IdentityPattern, KeyRef, ObjectKey,
        PolicyId, PolicyKind, Proof, PublicKey, Requirement, RootRef, SignatureRequirement, SignedIdentity,
        TransparencyLog,
        authority::TextPattern,
        selector::{is_dns_label, is_dns_subdomain},
    },
};

/// The most authorities of `signatures`, and of an attestation beside them; the resource's schema says the same.
const AUTHORITIES_LIMIT: usize = 16;
const INLINE_AUTHORITIES_LIMIT: usize = 4;
/// The most identities of one authority; the resource's schema says the same.
const IDENTITIES_LIMIT: usize = 32;
/// The most attestations of one policy, and conditions of one attestation; the resource's schema says the same.
const ATTESTATIONS_LIMIT: usize = 16;
const CONDITIONS_LIMIT: usize = 16;
/// The most annotations that an authority demands; the resource's schema says the same.
const ANNOTATIONS_LIMIT: usize = 16;
/// Under which key a Secret holds a public key if the policy does not say; as cosign writes it.
const DEFAULT_SECRET_KEY: &str = "cosign.pub";

/// What a policy's `signatures` and `attestations` come to.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) authorities: Vec<Authority>,
    /// The places of the authorities of `signatures`, by name.
    pub(super) named: BTreeMap<Box<str>, usize>,
    pub(super) requirements: Vec<Requirement>,
}

pub(super) fn compile(
    id: &PolicyId,
    signatures: Option<&SignatureRules>,
    attestations: Option<&[AttestationRule]>,
    problems: &mut Problems,
) -> Attached {
    let mut attached = Attached::default();
    if let Some(rules) = signatures {
        let path = "spec.signatures.authorities";
        if rules.authorities.is_empty() {
            problems.add(path, "[]", "name at least one authority: nobody's signature is not a signature");
        }
        problems.bound(path, rules.authorities.len(), AUTHORITIES_LIMIT);
        for (at, document) in rules.authorities.iter().take(AUTHORITIES_LIMIT).enumerate() {
            let path = format!("{path}[{at}]");
            let Some(authority) = authority(id, document, &path, problems) else { continue };
            if attached.named.insert(authority.name.clone(), attached.authorities.len()).is_some() {
                problems.add(
                    &format!("{path}.name"),
                    &authority.name,
                    "there is another authority of that name",
                );
            }
            attached.authorities.push(authority);
        }
        let requirement = signature_requirement(rules, &attached.named, problems);
        attached.requirements.extend(requirement.map(Requirement::Signatures));
    }
    if let Some(rules) = attestations {
        let path = "spec.attestations";
        if rules.is_empty() {
            problems.add(path, "[]", "an empty list says nothing: leave the field out");
        }
        problems.bound(path, rules.len(), ATTESTATIONS_LIMIT);
        for (at, rule) in rules.iter().take(ATTESTATIONS_LIMIT).enumerate() {
            let path = format!("{path}[{at}]");
            if rules[..at].iter().any(|other| other.name == rule.name) {
                problems.add(
                    &format!("{path}.name"),
                    &rule.name,
                    "there is another attestation of that name",
                );
            }
            let requirement =
                attestation(id, rule, &path, &attached.named, &mut attached.authorities, problems);
            attached.requirements.push(Requirement::Attestation(requirement));
        }
    }
    attached
}

fn signature_requirement(
    rules: &SignatureRules,
    named: &BTreeMap<Box<str>, usize>,
    problems: &mut Problems,
) -> Option<SignatureRequirement> {
    let at_least = usize::from(rules.at_least.unwrap_or(1));
    if at_least == 0 {
        problems.add("spec.signatures.atLeast", "0", "at least one authority must have signed");
    }
    if at_least > rules.authorities.len() && !rules.authorities.is_empty() {
        problems.add(
            "spec.signatures.atLeast",
            &at_least.to_string(),
            "it asks for more authorities than there are",
        );
    }
    let path = "spec.signatures.mustInclude";
    if rules.must_include.as_ref().is_some_and(Vec::is_empty) {
        problems.add(path, "[]", "an empty list says nothing: leave the field out");
    }
    let must_include = places(rules.must_include.iter().flatten(), path, named, problems);
    let authorities: Vec<usize> = named.values().copied().collect();
    (!authorities.is_empty()).then_some(SignatureRequirement { at_least, must_include, authorities })
}

pub(super) fn places<'a>(
    names: impl Iterator<Item = &'a String>,
    path: &str,
    named: &BTreeMap<Box<str>, usize>,
    problems: &mut Problems,
) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, name) in names.take(AUTHORITIES_LIMIT).enumerate() {
        match named.get(name.as_str()) {
            Some(place) if !found.contains(place) => found.push(*place),
            Some(_) => {}
            None => problems.add(
                &format!("{path}[{at}]"),
                name,
                "no authority of signatures.authorities has that name",
            ),
        }
    }
    found
}

fn attestation(
    id: &PolicyId,
    rule: &AttestationRule,
    path: &str,
    named: &BTreeMap<Box<str>, usize>,
    authorities: &mut Vec<Authority>,
    problems: &mut Problems,
) -> AttestationRequirement {
    check_name(&rule.name, &format!("{path}.name"), problems);
    if rule.predicate_type.is_empty() || rule.predicate_type.len() > 512 {
        problems.add(
            &format!("{path}.predicateType"),
            &rule.predicate_type,
            "a predicate type has 1 to 512 characters, like https://slsa.dev/provenance/v1",
        );
    }
    for (empty, field) in [
        (rule.authorities.as_ref().is_some_and(Vec::is_empty), "authorities"),
        (rule.inline_authorities.as_ref().is_some_and(Vec::is_empty), "inlineAuthorities"),
    ] {
        if empty {
            problems.add(&format!("{path}.{field}"), "[]", "an empty list says nothing: leave the field out");
        }
    }
    let mut counted =
        places(rule.authorities.iter().flatten(), &format!("{path}.authorities"), named, problems);
    let inline = rule.inline_authorities.as_deref().unwrap_or_default();
    problems.bound(&format!("{path}.inlineAuthorities"), inline.len(), INLINE_AUTHORITIES_LIMIT);
    for (at, document) in inline.iter().take(INLINE_AUTHORITIES_LIMIT).enumerate() {
        let path = format!("{path}.inlineAuthorities[{at}]");
        for (set, field) in [
            (document.annotations.is_some(), "annotations"),
            (document.signed_identity.is_some(), "signedIdentity"),
        ] {
            if set {
                problems.add(
                    &format!("{path}.{field}"),
                    "",
                    "it says nothing about attestations: leave it out",
                );
            }
        }
        if let Some(authority) = authority(id, document, &path, problems) {
            counted.push(authorities.len());
            authorities.push(authority);
        }
    }
    if counted.is_empty() && problems.is_empty() {
        problems.add(path, "", "set authorities, inlineAuthorities or both: nobody's word is no attestation");
    }
    let conditions = rule.conditions.as_deref().unwrap_or_default();
    if rule.conditions.as_ref().is_some_and(Vec::is_empty) {
        problems.add(&format!("{path}.conditions"), "[]", "an empty list says nothing: leave the field out");
    }
    problems.bound(&format!("{path}.conditions"), conditions.len(), CONDITIONS_LIMIT);
    let conditions = conditions.iter().take(CONDITIONS_LIMIT).enumerate();
    AttestationRequirement {
        name: rule.name.as_str().into(),
        predicate_type: rule.predicate_type.as_str().into(),
        authorities: counted,
        conditions: conditions
            .filter_map(|(at, rule)| condition(rule, &format!("{path}.conditions[{at}]"), problems))
            .collect(),
    }
}

fn condition(rule: &ConditionRule, path: &str, problems: &mut Problems) -> Option<Condition> {
    let message = rule.message.as_deref();
    Condition::compile(&rule.expression, message)
        .map_err(|error| match (&error, message) {
            (ConditionError::MessageTooLong { .. }, Some(message)) => {
                problems.add(&format!("{path}.message"), message, error);
            }
            _ => problems.add(&format!("{path}.expression"), &rule.expression, error),
        })
        .ok()
}

fn authority(
    id: &PolicyId,
    document: &AuthorityDocument,
    path: &str,
    problems: &mut Problems,
) -> Option<Authority> {
    check_name(&document.name, &format!("{path}.name"), problems);
    let proof = match (&document.key, &document.keyless) {
        (Some(rules), None) => key(id, rules, &format!("{path}.key"), problems),
        (None, Some(rules)) => keyless(rules, &format!("{path}.keyless"), problems),
        _ => {
            problems.add(path, "", "set exactly one of key and keyless");
            None
        }
    };
    let annotations = document.annotations.clone().unwrap_or_default();
    if document.annotations.as_ref().is_some_and(BTreeMap::is_empty) {
        problems.add(&format!("{path}.annotations"), "{}", "an empty map says nothing: leave the field out");
    }
    problems.bound(&format!("{path}.annotations"), annotations.len(), ANNOTATIONS_LIMIT);
    let source = document.source.as_ref().and_then(|SignatureSource { repository }| {
        problems.parse::<Repository>(&format!("{path}.source.repository"), repository)
    });
    let signed_identity = document
        .signed_identity
        .as_ref()
        .and_then(|document| signed_identity(document, &format!("{path}.signedIdentity"), problems));
    Some(Authority {
        name: document.name.as_str().into(),
        proof: proof?,
        annotations,
        source,
        signed_identity,
    })
}

fn key(id: &PolicyId, rules: &KeyRules, path: &str, problems: &mut Problems) -> Option<Proof> {
    let key = match (&rules.inline, &rules.secret_ref, &rules.file) {
        (Some(pem), None, None) => PublicKey::from_pem(pem)
            // The text is not repeated: it may be a private key.
            .map_err(|error| problems.add(&format!("{path}.inline"), "", error))
            .ok()
            .map(KeyRef::Inline),
        (None, Some(secret), None) => {
            let of = match id.kind {
                PolicyKind::Cluster => KeyRef::Secret,
                PolicyKind::Namespaced => KeyRef::TeamSecret,
            };
            secret_key(id, secret, &format!("{path}.secretRef"), problems).map(of)
        }
        (None, None, Some(name)) => file(id, name, &format!("{path}.file"), problems).map(KeyRef::File),
        _ => {
            problems.add(path, "", "set exactly one of inline, secretRef and file");
            None
        }
    };
    let root = match &rules.trust_root_ref {
        Some(document) => Some(root(document, &format!("{path}.trustRootRef"), problems)?),
        None => None,
    };
    let log = match rules.transparency_log {
        None if root.is_some() => TransparencyLog::Required,
        None => TransparencyLog::Ignored,
        Some(rule) => log(rule),
    };
    if log != TransparencyLog::Ignored && root.is_none() {
        problems.add(
            &format!("{path}.transparencyLog"),
            "",
            "name the trust root that knows the log in trustRootRef",
        );
    }
    Some(Proof::Key { key: key?, log, root })
}

fn secret_key(
    id: &PolicyId,
    secret: &SecretKeyRef,
    path: &str,
    problems: &mut Problems,
) -> Option<ObjectKey> {
    let namespace = match (id.kind, secret.namespace.as_deref()) {
        (PolicyKind::Cluster, Some(namespace)) => namespace,
        (PolicyKind::Cluster, None) => {
            problems.add(&format!("{path}.namespace"), "", "name the Secret's namespace");
            return None;
        }
        (PolicyKind::Namespaced, None) => &id.namespace,
        // The field would promise what is never done.
        (PolicyKind::Namespaced, Some(namespace)) => {
            problems.add(
                &format!("{path}.namespace"),
                namespace,
                "a team's policy reads Secrets of its own namespace: leave the field out",
            );
            return None;
        }
    };
    let key = secret.key.as_deref().unwrap_or(DEFAULT_SECRET_KEY);
    object_key(namespace, &secret.name, key, path, problems)
}

/// One key of an object's data, by names that Kubernetes can give.
pub(super) fn object_key(
    namespace: &str,
    name: &str,
    key: &str,
    path: &str,
    problems: &mut Problems,
) -> Option<ObjectKey> {
    let is_key = |key: &str| {
        (1..=253).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    for (good, field, value, problem) in [
        (is_dns_label(namespace), "namespace", namespace, super::DNS_LABEL),
        (is_dns_subdomain(name), "name", name, super::DNS_SUBDOMAIN),
        (is_key(key), "key", key, "a key of data has up to 253 letters, digits, \"-\", \"_\" and \".\""),
    ] {
        if !good {
            problems.add(&format!("{path}.{field}"), value, problem);
            return None;
        }
    }
    Some(ObjectKey { namespace: namespace.into(), name: name.into(), key: key.into() })
}

/// The name of a file in the operator's directory. No name leads out of it.
fn file(id: &PolicyId, name: &str, path: &str, problems: &mut Problems) -> Option<Box<str>> {
    if id.kind == PolicyKind::Namespaced {
        problems.add(
            path,
            name,
            "a team's policy reads nothing outside its namespace: use inline or secretRef",
        );
        return None;
    }
    file_name(name, path, problems)
}

/// A file's name without a path. One that begins with a dot is none: `..` would lead elsewhere.
pub(super) fn file_name(name: &str, path: &str, problems: &mut Problems) -> Option<Box<str>> {
    let plain = (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !plain {
        problems.add(
            path,
            name,
            "a file's name has letters, digits, \"-\", \"_\" and \".\", no path, and no \".\" in front",
        );
        return None;
    }
    Some(name.into())
}

fn keyless(rules: &KeylessRules, path: &str, problems: &mut Problems) -> Option<Proof> {
    if rules.identities.is_empty() {
        problems.add(
            &format!("{path}.identities"),
            "[]",
            "name at least one identity: anybody can get a certificate",
        );
    }
    problems.bound(&format!("{path}.identities"), rules.identities.len(), IDENTITIES_LIMIT);
    let identities = rules.identities.iter().take(IDENTITIES_LIMIT).enumerate();
    let identities = identities
        .filter_map(|(at, document)| identity(document, &format!("{path}.identities[{at}]"), problems))
        .collect();
    let root = match &rules.trust_root_ref {
        Some(document) => root(document, &format!("{path}.trustRootRef"), problems)?,
        None => RootRef::PublicGood,
    };
    Some(Proof::Identity {
        identities,
        log: rules.transparency_log.map_or(TransparencyLog::Required, log),
        root,
    })
}

fn identity(document: &Identity, path: &str, problems: &mut Problems) -> Option<IdentityPattern> {
    let mut pattern = |text: &Option<String>, glob: &Option<String>, name: &str, most: usize| {
        let (field, value, pattern) = match (text, glob) {
            (Some(text), None) => (name.to_owned(), text, TextPattern::text(text)),
            (None, Some(glob)) => (format!("{name}Pattern"), glob, TextPattern::glob(glob)),
            _ => {
                problems.add(path, "", format!("set exactly one of {name} and {name}Pattern"));
                return None;
            }
        };
        let field = format!("{path}.{field}");
        if value.is_empty() || value.len() > most {
            problems.add(&field, value, format!("wanted 1 to {most} characters"));
            return None;
        }
        // A pattern of stars is anybody, and anybody can get a certificate.
        if glob.is_some() && value.bytes().all(|byte| byte == b'*') {
            problems.add(&field, value, "this is everybody: say more");
            return None;
        }
        Some(pattern)
    };
    let issuer = pattern(&document.issuer, &document.issuer_pattern, "issuer", 512);
    let subject = pattern(&document.subject, &document.subject_pattern, "subject", 1024);
    Some(IdentityPattern::new(issuer?, subject?))
}

fn root(document: &TrustRootRef, path: &str, problems: &mut Problems) -> Option<RootRef> {
    if !is_dns_subdomain(&document.name) {
        problems.add(&format!("{path}.name"), &document.name, super::DNS_SUBDOMAIN);
        return None;
    }
    Some(RootRef::Named(document.name.as_str().into()))
}

fn log(rule: TransparencyLogRule) -> TransparencyLog {
    match rule {
        TransparencyLogRule::Required => TransparencyLog::Required,
        TransparencyLogRule::IfPresent => TransparencyLog::IfPresent,
        TransparencyLogRule::Ignored => TransparencyLog::Ignored,
    }
}

fn signed_identity(
    document: &SignedIdentityDocument,
    path: &str,
    problems: &mut Problems,
) -> Option<SignedIdentity> {
    match (document.match_policy, &document.remap_identity) {
        (SignedIdentityMatch::MatchRepository, None) => Some(SignedIdentity::Repository),
        (SignedIdentityMatch::RemapIdentity, Some(remap)) => {
            let mut prefix = |field: &str, text: &str| {
                let path = format!("{path}.remapIdentity.{field}");
                // A prefix may be a host alone, which is no repository.
                let whole = problems.parse::<Repository>(&path, &format!("{text}/x"))?.to_string();
                let canonical = whole.strip_suffix("/x").filter(|canonical| *canonical == text);
                if canonical.is_none() {
                    problems.add(
                        &path,
                        text,
                        "wanted host[:port] or host[:port]/path in lower case, without a slash behind",
                    );
                }
                canonical.map(Box::<str>::from)
            };
            let (prefix, signed_prefix) =
                (prefix("prefix", &remap.prefix), prefix("signedPrefix", &remap.signed_prefix));
            Some(SignedIdentity::Remapped { prefix: prefix?, signed_prefix: signed_prefix? })
        }
        _ => {
            problems.add(path, "", "remapIdentity belongs to matchPolicy RemapIdentity, and to no other");
            None
        }
    }
}

pub(super) fn check_name(name: &str, path: &str, problems: &mut Problems) {
    if !is_dns_label(name) {
        problems.add(
            path,
            name,
            "a name has up to 63 lowercase letters, digits and \"-\", with a letter or digit at both ends",
        );
    }
}
