use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who must have signed an image.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.atLeast) || self.atLeast <= size(self.authorities)").message("atLeast asks for more authorities than there are").field_path(".atLeast"),
    validation = Rule::new("!has(self.mustInclude) || self.mustInclude.all(name, self.authorities.exists(authority, authority.name == name))").message("mustInclude names an authority that is not in the list").field_path(".mustInclude")
)]
pub struct SignatureRules {
    /// How many different authorities must have signed, 1 to 16. One key or identity that is listed twice,
    /// or that has signed twice, counts once. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub at_least: Option<u8>,
    /// Names of authorities that must be among those who have signed. Absent: any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub must_include: Option<Vec<String>>,
    /// Whose signatures count, 1 to 16 authorities.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub authorities: Vec<Authority>,
}

/// Somebody whose signatures count: the holder of a key, or whoever proves an identity.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.key) != has(self.keyless)").message("set exactly one of key and keyless"))]
pub struct Authority {
    /// By which messages and other fields call the authority: lowercase letters, digits and `-`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The holder of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRules>,
    /// Whoever proves one of these identities to a certificate authority for a moment, as with Sigstore's
    /// Fulcio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyless: Option<KeylessRules>,
    /// Annotations that the signature itself must carry, with exactly these values. Absent: none. Does not
    /// speak of attestations, which have no annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16), inner(length(max = 256)))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Where the signatures are. Absent: beside the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SignatureSource>,
    /// Which repository the signature itself must speak of. Absent: any, as the digest says what was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_identity: Option<SignedIdentity>,
}

/// A public key, and what of a transparency log its signatures need.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.inline), has(self.secretRef), has(self.file)].filter(set, set).size() == 1").message("set exactly one of inline, secretRef and file"),
    validation = Rule::new("!has(self.transparencyLog) || self.transparencyLog == 'Ignored' || has(self.trustRootRef)").message("name the trust root that knows the log in trustRootRef").field_path(".transparencyLog")
)]
pub struct KeyRules {
    /// The key itself in PEM: ECDSA on P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 4096 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub inline: Option<String>,
    /// A Secret that holds the key in PEM. A new key there counts from the next review on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The name of a PEM file in the directory that the setting `trustDirectory` names. Not for a team's
    /// policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), pattern(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub file: Option<String>,
    /// The trust root whose transparency logs and timestamps count. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_root_ref: Option<TrustRootRef>,
    /// What a transparency log must say. Absent: `Required` with `trustRootRef`, `Ignored` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparency_log: Option<TransparencyLogRule>,
}

/// Identities that a certificate authority has vouched for, and by which trust root that is checked.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeylessRules {
    /// The certificate authorities, logs and timestamp authorities that count. Absent: those of Sigstore's
    /// public-good instance, as this version of Tidewaiter knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_root_ref: Option<TrustRootRef>,
    /// Of whom any will do, 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub identities: Vec<Identity>,
    /// What a transparency log must say. Absent: `Required`. With `Ignored` or without an entry a trusted
    /// timestamp must say when it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparency_log: Option<TransparencyLogRule>,
}

/// Who signed, by what the certificate says. The whole text must match; a `*` in a pattern stands for any
/// run of characters.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.issuer) != has(self.issuerPattern)").message("set exactly one of issuer and issuerPattern"),
    validation = Rule::new("has(self.subject) != has(self.subjectPattern)").message("set exactly one of subject and subjectPattern")
)]
pub struct Identity {
    /// Who vouched for the subject: the OpenID Connect issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// The same with `*` for any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer_pattern: Option<String>,
    /// The certificate's subject alternative name: an email address, or a URI as that of a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub subject: Option<String>,
    /// The same with `*` for any run of characters, `/` included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub subject_pattern: Option<String>,
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's namespace, which must be among the setting `trustNamespaces`. A team's policy leaves it
    /// out: its own namespace is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Under which key of its `data`. Absent: `cosign.pub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// An ImageTrustRoot.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRootRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What a transparency log must say of a signature.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TransparencyLogRule {
    /// A log of the trust root holds the signature.
    Required,
    /// If there is a log entry, it holds. Weak: whoever forges a signature leaves the entry out.
    IfPresent,
    /// Nobody looks. Weak: a signature that nobody can see was made can be made by whoever steals the key.
    Ignored,
}

/// Where signatures are, if not beside the image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureSource {
    /// The repository, `host[:port]/path` without tag or digest.
    #[schemars(length(min = 1, max = 512))]
    pub repository: String,
}

/// Which repository a signature must speak of, in the `docker-reference` that cosign 2 signs. The bundles of
/// cosign 3 name no repository, so none of them passes this check.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.matchPolicy == 'RemapIdentity') == has(self.remapIdentity)").message("remapIdentity belongs to matchPolicy RemapIdentity"))]
pub struct SignedIdentity {
    /// How the signature's repository is compared.
    pub match_policy: SignedIdentityMatch,
    /// For `RemapIdentity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remap_identity: Option<RemapIdentity>,
}

/// How the repository that a signature speaks of is compared with the image's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SignedIdentityMatch {
    /// It is the image's repository, whatever the tag.
    #[default]
    MatchRepository,
    /// It is the image's repository under another name: that of the place it was mirrored from.
    RemapIdentity,
}

/// What a mirror calls a place, and what its signatures call it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemapIdentity {
    /// How the image's repository begins: a host, or a host and whole path segments.
    #[schemars(length(min = 1, max = 512))]
    pub prefix: String,
    /// What stands there in the signature.
    #[schemars(length(min = 1, max = 512))]
    pub signed_prefix: String,
}

/// An attestation that must be there: a signed statement about the image.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.authorities) || has(self.inlineAuthorities)").message("set authorities, inlineAuthorities or both"))]
pub struct AttestationRule {
    /// By which messages call it: lowercase letters, digits and `-`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The statement's `predicateType`, exactly.
    #[schemars(length(min = 1, max = 512))]
    pub predicate_type: String,
    /// Names from `signatures.authorities`, of which any may have signed it. Their `annotations` and
    /// `signedIdentity` say nothing about attestations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub authorities: Option<Vec<String>>,
    /// Further authorities, of which any may have signed it, and whose signature of the image itself is
    /// not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub inline_authorities: Option<Vec<Authority>>,
    /// What must be true of one and the same statement, all of it. Absent: that it is there is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub conditions: Option<Vec<ConditionRule>>,
}

/// Something that must be true of a statement.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionRule {
    /// A CEL expression that is true or false, over `predicate`, `statement`, `image` and `now`. An error is
    /// as good as false.
    #[schemars(length(min = 1, max = 2048))]
    pub expression: String,
    /// What the author of a refused object reads. Absent: the expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub message: Option<String>,
}
