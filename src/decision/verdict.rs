/// What one requirement makes of one image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The requirement holds.
    Satisfied,
    /// We looked, and what the requirement wants is not there.
    Absent(Finding),
    /// We looked, and what is there breaks the requirement.
    Violated(Finding),
    /// We could not look, so nobody knows. The only verdict that a policy's `onError` speaks of.
    Indeterminate(Finding),
}

impl Verdict {
    /// The name in logs, metrics and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Satisfied => "Satisfied",
            Self::Absent(_) => "Absent",
            Self::Violated(_) => "Violated",
            Self::Indeterminate(_) => "Indeterminate",
        }
    }

    /// What was found instead; none if the requirement holds.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Satisfied => None,
            Self::Absent(finding) | Self::Violated(finding) | Self::Indeterminate(finding) => Some(finding),
        }
    }
}

/// Why a verdict is not [`Verdict::Satisfied`], in words for the author of the object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The stable name of the trouble.
    pub reason: Reason,
    /// What is there.
    pub found: String,
    /// What the requirement wants.
    pub wanted: String,
    /// The next step.
    pub remedy: &'static str,
}

/// Which question a verdict answers: the `check` of messages, logs, metrics and JSON.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Check {
    /// Somebody has attested what `attestations` wants.
    Attestations,
    /// The image has a digest, and the one that was judged is the one that will run.
    Digest,
    /// Some policy is about the image, and is known to be.
    Match,
    /// The object can be judged at all.
    Object,
    /// The policy itself can be read.
    Policy,
    /// The reference can be read.
    Reference,
    /// The reference is written as `references` wants it.
    References,
    /// The image comes from where `registries` wants it.
    Registries,
    /// Those have signed the image whom `signatures` wants.
    Signatures,
    /// The image has no known vulnerabilities that `vulnerabilities` denies.
    Vulnerabilities,
}

impl Check {
    /// Every check, for those who list them.
    pub const ALL: [Self; 10] = [
        Self::Attestations,
        Self::Digest,
        Self::Match,
        Self::Object,
        Self::Policy,
        Self::Reference,
        Self::References,
        Self::Registries,
        Self::Signatures,
        Self::Vulnerabilities,
    ];

    /// The name in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attestations => "Attestations",
            Self::Digest => "Digest",
            Self::Match => "Match",
            Self::Object => "Object",
            Self::Policy => "Policy",
            Self::Reference => "Reference",
            Self::References => "References",
            Self::Registries => "Registries",
            Self::Signatures => "Signatures",
            Self::Vulnerabilities => "Vulnerabilities",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a verdict is not [`Verdict::Satisfied`]: a stable name for people and metrics.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, for those who list them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in logs, metrics and JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// An attestation of the wanted type does not meet the policy's conditions.
    AttestationConditionFailed,
    /// There is no attestation of the wanted type.
    AttestationMissing,
    /// The key or the trust root that an authority is checked by cannot be used.
    AuthorityUnusable,
    /// The Secrets with the registry's credentials could not be read.
    CredentialsUnavailable,
    /// A policy names the image's digest in `denyDigests`.
    DigestDenied,
    /// A policy names digests in `denyDigests` that the image's own cannot be compared with.
    DigestIncomparable,
    /// The digest is known, but the object does not carry it.
    DigestNotPinned,
    /// The policy wants the author to write the digest.
    DigestRequired,
    /// Nobody asked for the digest.
    DigestUnknown,
    /// The image's distribution no longer gets advisories, and the policy wants one that does.
    DistributionEndOfLife,
    /// The registry does not have the image, or does not show it to the credentials at hand.
    ImageUnavailable,
    /// The namespace's labels are not known, and the policy selects by them.
    NamespaceUnknown,
    /// No policy is about the image.
    NoPolicyMatches,
    /// The policy's document cannot be read.
    PolicyUnreadable,
    /// The image reference cannot be read.
    ReferenceInvalid,
    /// The registry's answer breaks its own protocol or its own digest.
    RegistryAnswerUnusable,
    /// A policy names the image in `registries.deny`.
    RegistryDenied,
    /// No pattern in `registries.allow` names the image.
    RegistryNotAllowed,
    /// Too many requests wait for the registry already.
    RegistryOverloaded,
    /// The registry throttles us.
    RegistryThrottled,
    /// The registry did not answer in time.
    RegistryTimedOut,
    /// The registry cannot be reached.
    RegistryUnreachable,
    /// Our own network rules forbid the request.
    RequestForbidden,
    /// Nobody looked for scan verdicts, as another check refuses the image already.
    ScanNotAsked,
    /// Nobody has scanned the image of those who must have.
    ScanVerdictMissing,
    /// The scan, or the scanner's database, is older than the policy allows.
    ScanVerdictStale,
    /// A verdict does not list everything that was found, and may hide what the policy denies.
    ScanVerdictTruncated,
    /// A verdict cannot be read, contradicts itself or is dated ahead.
    ScanVerdictUnreadable,
    /// The cluster's scan verdicts could not be read.
    ScanVerdictsUnavailable,
    /// A signature lacks an annotation that the policy wants signed.
    SignatureAnnotationMismatch,
    /// A signature is somebody else's than the policy wants.
    SignatureIdentityMismatch,
    /// A signature does not fit the key, or was changed since.
    SignatureKeyMismatch,
    /// A signature carries a certificate where a key is wanted, or the other way round.
    SignatureKindMismatch,
    /// There is no signature.
    SignatureMissing,
    /// No transparency log holds the signature, and the policy wants one to.
    SignatureNotLogged,
    /// A signature is about another image.
    SignatureOfAnotherImage,
    /// A signature speaks of another repository than the policy wants.
    SignatureRepositoryMismatch,
    /// A signature is damaged, or cannot be had from the registry.
    SignatureUnreadable,
    /// A signature is in a form that is not supported.
    SignatureUnsupported,
    /// A signature's certificate, log entry or timestamp does not hold under the trust root.
    SignatureUntrusted,
    /// What is signed is no signature of an image.
    SignatureWrongType,
    /// Nobody looked for signatures or attestations, as another check refuses the image already.
    SignaturesNotAsked,
    /// Fewer authorities have signed than the policy wants.
    SignaturesTooFew,
    /// A policy names the tag in `denyTags`.
    TagDenied,
    /// The object has more images than are judged.
    TooManyImages,
    /// More stands beside the image than is looked at.
    TooManyReferrers,
    /// The image has a vulnerability that the policy denies.
    VulnerabilityDenied,
}
