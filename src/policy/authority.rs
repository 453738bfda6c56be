use std::collections::BTreeMap;

use super::{Condition, PublicKey, TransparencyLog};
use crate::{
    evidence::Signer,
    image::{Glob, ImageReference, Repository},
};

/// Somebody whose signatures and attestations count.
#[derive(Clone, Debug)]
pub struct Authority {
    /// By which messages call it.
    pub name: Box<str>,
    /// What its signatures are checked with.
    pub proof: Proof,
    /// The annotations that its signature of an image must carry; its attestations need none.
    pub annotations: BTreeMap<String, String>,
    /// Where its signatures are, if not beside the image.
    pub source: Option<Repository>,
    /// Which repository its signature of an image must speak of; none if any will do.
    pub signed_identity: Option<SignedIdentity>,
}

/// What an authority's signatures are checked with.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A key.
    Key {
        /// The key.
        key: KeyRef,
        /// What a transparency log must say.
        log: TransparencyLog,
        /// Whose logs and timestamps count; none if nobody's.
        root: Option<RootRef>,
    },
    /// A certificate about one of these identities.
    Identity {
        /// Of which any will do; at least one.
        identities: Vec<IdentityPattern>,
        /// What a transparency log must say.
        log: TransparencyLog,
        /// Whose certificates, logs and timestamps count.
        root: RootRef,
    },
}

/// Where a key is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyRef {
    /// In the policy.
    Inline(PublicKey),
    /// In a Secret that a policy of the cluster names: read where the setting `trustNamespaces` allows it.
    Secret(ObjectKey),
    /// In a Secret of the namespace of the team's policy that names it. Told apart, so that no team opens
    /// to the cluster's policies what they may not read.
    TeamSecret(ObjectKey),
    /// In the file of this name in the operator's directory.
    File(Box<str>),
}

impl std::fmt::Display for KeyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(key) => write!(f, "key {}", key.fingerprint()),
            Self::Secret(secret) | Self::TeamSecret(secret) => write!(f, "Secret {secret}"),
            Self::File(name) => write!(f, "file {name}"),
        }
    }
}

/// One key of the data of a Secret or a ConfigMap.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// The object's namespace.
    pub namespace: Box<str>,
    /// The object's name.
    pub name: Box<str>,
    /// The key within its data.
    pub key: Box<str>,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} key {}", self.namespace, self.name, self.key)
    }
}

/// Which trust root.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RootRef {
    /// That of Sigstore's public-good instance, as this version knows it.
    PublicGood,
    /// The ImageTrustRoot of this name.
    Named(Box<str>),
}

impl std::fmt::Display for RootRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PublicGood => f.write_str("the public-good trust root"),
            Self::Named(name) => write!(f, "ImageTrustRoot/{name}"),
        }
    }
}

/// Who may have signed, by what the certificate says. Anchored: the whole of both texts must match.
/// CVE-2026-22772 is what comes of patterns that are not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityPattern {
    issuer: TextPattern,
    subject: TextPattern,
}

/// A text or a glob. A text is never taken for a glob: an identity may hold a `*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum TextPattern {
    Text(Box<str>),
    Glob(Glob, Box<str>),
}

impl TextPattern {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn glob(pattern: &str) -> Self {
        Self::Glob(Glob::new(pattern), pattern.into())
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *text,
            Self::Glob(glob, _) => glob.matches(text),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Glob(_, text) => text,
        }
    }
}

impl IdentityPattern {
    pub(super) fn new(issuer: TextPattern, subject: TextPattern) -> Self {
        Self { issuer, subject }
    }

    /// Whether it is about this identity.
    pub fn matches(&self, subject: &str, issuer: &str) -> bool {
        self.issuer.matches(issuer) && self.subject.matches(subject)
    }

    /// The subject as the policy has it.
    pub fn subject(&self) -> &str {
        self.subject.as_str()
    }

    /// The issuer as the policy has it.
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }
}

impl Proof {
    /// Whether `signer` is who the authority is. For a key that is asked of the signature instead.
    pub fn names(&self, signer: &Signer) -> bool {
        match (self, signer) {
            (Self::Identity { identities, .. }, Signer::Identity { subject, issuer }) => {
                identities.iter().any(|identity| identity.matches(subject, issuer))
            }
            (Self::Key { .. }, Signer::Key(_)) => true,
            (Self::Key { .. }, Signer::Identity { .. }) | (Self::Identity { .. }, Signer::Key(_)) => false,
        }
    }
}

/// Which repository a signature must speak of.
///
/// Source: `signedIdentity` of containers-policy.json(5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SignedIdentity {
    /// The image's own.
    Repository,
    /// The image's own, where it begins with `prefix` under the name that begins with `signed_prefix`.
    Remapped {
        /// A host, or a host and whole path segments.
        prefix: Box<str>,
        /// What stands there in the signature.
        signed_prefix: Box<str>,
    },
}

impl SignedIdentity {
    /// Whether `signed`, the reference that a signature speaks of, names the repository that is wanted of
    /// one of `image`. A text that is no reference names none.
    pub fn matches(&self, image: &ImageReference, signed: &str) -> bool {
        signed.parse::<ImageReference>().is_ok_and(|signed| signed.name() == self.wanted(image))
    }

    /// The repository that a signature of `image` must speak of.
    pub fn wanted(&self, image: &ImageReference) -> String {
        let name = image.name();
        match self {
            Self::Repository => name.to_owned(),
            Self::Remapped { prefix, signed_prefix } => match name.strip_prefix(&**prefix) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{signed_prefix}{rest}"),
                _ => name.to_owned(),
            },
        }
    }
}

/// Who must have signed an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignatureRequirement {
    /// How many different ones; at least one.
    pub at_least: usize,
    /// Those who must be among them, by their place in [`Policy::authorities`](super::Policy::authorities).
    pub must_include: Vec<usize>,
    /// Whose signatures count, by their place; at least one.
    pub authorities: Vec<usize>,
}

/// A signed statement that must be there.
#[derive(Clone, Debug)]
pub struct AttestationRequirement {
    /// By which messages call it.
    pub name: Box<str>,
    /// Its `predicateType`.
    pub predicate_type: Box<str>,
    /// Of whom any may have signed it, by their place in
    /// [`Policy::authorities`](super::Policy::authorities); at least one.
    pub authorities: Vec<usize>,
    /// What must be true of one and the same statement.
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const RELEASE: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";
    const ISSUER: &str = "https://token.actions.githubusercontent.com";

    #[rstest]
    #[case::tags("https://github.com/acme/app/.github/workflows/release.yml@refs/tags/*", RELEASE, true)]
    #[case::anchored_behind("https://github.com/acme/*", "https://github.com/acme.evil.example/x", false)]
    #[case::anchored_before("github.com/acme/*", RELEASE, false)]
    #[case::anchored_at_the_end("https://github.com/acme", RELEASE, false)]
    #[case::a_dot_is_a_dot(
        "https://github.com/acme/app/.github/*",
        "https://githubxcom/acme/app/.github/w",
        false
    )]
    fn a_pattern_must_match_the_whole_subject(
        #[case] pattern: &str,
        #[case] subject: &str,
        #[case] holds: bool,
    ) {
        let identity = IdentityPattern::new(TextPattern::text(ISSUER), TextPattern::glob(pattern));
        assert_eq!(identity.matches(subject, ISSUER), holds);
        assert!(!identity.matches(subject, "https://issuer.example.com"));
    }

    #[test]
    fn a_star_in_a_text_is_a_star() {
        let identity = IdentityPattern::new(TextPattern::text("*"), TextPattern::text("*"));
        assert!(!identity.matches(RELEASE, ISSUER));
        assert!(identity.matches("*", "*"));
    }

    #[rstest]
    #[case::same("registry.example.com/app:1", "registry.example.com/app", true)]
    #[case::another_tag("registry.example.com/app:1", "registry.example.com/app:2", true)]
    #[case::hub("nginx", "index.docker.io/library/nginx", true)]
    #[case::another("registry.example.com/app:1", "registry.example.com/other", false)]
    #[case::nonsense("registry.example.com/app:1", "https://registry.example.com/app", false)]
    #[case::nothing("registry.example.com/app:1", "", false)]
    fn a_signature_speaks_of_the_images_repository(
        #[case] image: &str,
        #[case] signed: &str,
        #[case] holds: bool,
    ) {
        assert_eq!(SignedIdentity::Repository.matches(&image.parse().unwrap(), signed), holds);
    }

    #[rstest]
    #[case::mirrored("mirror.example.com/acme/app:1", "registry.example.com/app", true)]
    #[case::its_own_name("mirror.example.com/acme/app:1", "mirror.example.com/acme/app", false)]
    #[case::no_whole_segment("mirror.example.com/acmeevil/app:1", "registry.example.comevil/app", false)]
    #[case::elsewhere("other.example.com/app:1", "other.example.com/app", true)]
    fn a_mirrors_signature_speaks_of_where_it_comes_from(
        #[case] image: &str,
        #[case] signed: &str,
        #[case] holds: bool,
    ) {
        let remapped = SignedIdentity::Remapped {
            prefix: "mirror.example.com/acme".into(),
            signed_prefix: "registry.example.com".into(),
        };
        assert_eq!(remapped.matches(&image.parse().unwrap(), signed), holds);
    }
}
