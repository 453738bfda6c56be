//! What a trust root vouches for. The only place that knows `sigstore-verify`'s verifier.

use std::{collections::HashMap, fmt, sync::Arc};

use jiff::Timestamp;
use sigstore_verify::{
    Error, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
    trust_root::{SigstoreInstance, TrustedRoot},
    types::{Artifact, DerPublicKey, Sha256Hash, TimeRange},
};
use x509_cert::{Certificate, der::Decode as _, time::Time};

use super::bundle::{Content, Parsed};
use crate::{
    decision::printable,
    evidence::{AuthorityError, Rejection, Signer},
    image::Digest,
    policy::{KeyRef, PublicKey, RootRef},
};

/// The longest trust root that is read, in bytes. Sigstore's public one has 7 KiB.
const ROOT_LIMIT: usize = 1 << 20;
/// The window of an authority for which a root names none.
const EVER: TimeRange = TimeRange { start: Timestamp::MIN, end: None };

/// Where keys and trust roots come from.
pub trait Trust: Send + Sync + 'static {
    /// Those in force now: cheap, never waits, replaced as a whole when one of them changes.
    fn current(&self) -> Arc<Trusted>;
}

/// The keys and trust roots in force at one time.
#[derive(Debug)]
pub struct Trusted {
    version: u64,
    keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
    roots: HashMap<RootRef, Result<Arc<TrustRoot>, AuthorityError>>,
}

impl Trusted {
    /// `version` must be greater than that of all that were in force before, so that nothing that was
    /// found out by them is used any longer.
    pub fn new(
        version: u64,
        keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
        roots: HashMap<RootRef, Result<Arc<TrustRoot>, AuthorityError>>,
    ) -> Self {
        Self { version, keys, roots }
    }

    /// Which state of keys and roots this is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key that a policy means. A reference that is not known yet is [`AuthorityError::Unread`].
    pub fn key<'a>(&'a self, key: &'a KeyRef) -> Result<&'a PublicKey, AuthorityError> {
        if let KeyRef::Inline(key) = key {
            return Ok(key);
        }
        let unread = || AuthorityError::Unread(key.to_string());
        self.keys.get(key).ok_or_else(unread)?.as_ref().map_err(Clone::clone)
    }

    /// The trust root that a policy means. One that is not known yet is [`AuthorityError::Unread`].
    pub fn root(&self, root: &RootRef) -> Result<&TrustRoot, AuthorityError> {
        let unread = || AuthorityError::Unread(root.to_string());
        self.roots.get(root).ok_or_else(unread)?.as_deref().map_err(Clone::clone)
    }
}

/// Certificate authorities, transparency logs and timestamp authorities that are trusted, each for its time.
pub struct TrustRoot {
    verifier: Verifier,
    /// Whether certificates must have been shown to a certificate transparency log. GitHub's own instance has
    /// none; where a root names one, no certificate does without.
    certificates_logged: bool,
    digest: Digest,
}

/// Why a text is no trust root.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is no trusted_root.json that can be used: {0}")]
pub struct TrustRootError(String);

impl TrustRoot {
    /// The trust root of Sigstore's public-good instance, as it was when this program was built.
    pub fn public_good() -> Self {
        // OK because a test reads it
        Self::from_json(SigstoreInstance::PublicGood.embedded_trusted_root_json()).unwrap()
    }

    /// The trust root of GitHub's own instance, as it was when this program was built.
    pub fn github() -> Self {
        // OK because a test reads it
        Self::from_json(SigstoreInstance::GitHub.embedded_trusted_root_json()).unwrap()
    }

    /// Reads a `trusted_root.json` (Sigstore's `TrustedRoot` message in JSON).
    pub fn from_json(json: &str) -> Result<Self, TrustRootError> {
        let wrong = |error: &dyn fmt::Display| TrustRootError(printable(&error.to_string(), 200));
        if json.len() > ROOT_LIMIT {
            return Err(wrong(&format!("it is longer than {ROOT_LIMIT} bytes")));
        }
        let root = TrustedRoot::from_json(json).map_err(|error| wrong(&error))?;
        // Says what is wrong with the root as it stands, before anything of it is left out.
        Verifier::new(&root).map_err(|error| wrong(&error))?;
        let root = narrowed(root).map_err(|error| wrong(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| wrong(&error))?;
        let certificates_logged = !root.ctlogs.is_empty();
        Ok(Self { verifier, certificates_logged, digest: Digest::sha256(json.as_bytes()) })
    }

    /// The SHA-256 digest of the `trusted_root.json` that it was read from.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Checks the log entry and the timestamps of what `key` signed. Says when that was.
    pub(super) fn check_key(
        &self,
        parsed: &Parsed<'_>,
        image: &Digest,
        key: &PublicKey,
    ) -> Result<Vec<Timestamp>, Rejection> {
        let bundle = parsed.bundle(Some(key.fingerprint()))?;
        let policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.spki().to_vec()));
        let result = self
            .verifier
            .verify(artifact(parsed, image)?, &bundle, &policy)
            .map_err(|error| refused(&error))?;
        match result.tlog_verified() {
            true => times(&result),
            false => Err(Rejection::NotLogged),
        }
    }

    /// Checks certificate, signature, timestamps and, if `logged`, the log entry. Says who signed and when.
    pub(super) fn check_certificate(
        &self,
        parsed: &Parsed<'_>,
        image: &Digest,
        logged: bool,
    ) -> Result<(Signer, Vec<Timestamp>), Rejection> {
        let bundle = parsed.bundle(None)?;
        let policy = VerificationPolicy::any_identity();
        let policy = if logged { policy } else { policy.skip_tlog_unsafe() };
        let policy = if self.certificates_logged { policy } else { policy.skip_sct() };
        let result = self
            .verifier
            .verify(artifact(parsed, image)?, &bundle, &policy)
            .map_err(|error| refused(&error))?;
        let shown = result.sct_verified() || !self.certificates_logged;
        if !result.certificate_verified() || !shown || (logged && !result.tlog_verified()) {
            return Err(Rejection::Untrusted("not everything was checked".to_owned()));
        }
        let (Some(subject), Some(issuer)) = (result.identity(), result.issuer()) else {
            return Err(Rejection::NoIdentity);
        };
        let signer = Signer::Identity { subject: subject.as_str().to_owned(), issuer: issuer.to_owned() };
        Ok((signer, times(&result)?))
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustRoot")
    }
}

/// The same root, in which no authority vouches outside the time of its own certificates.
///
/// The verifier takes every certificate that the root lists for an anchor, and an anchor has a name and a key
/// but no dates: an intermediate that has expired would go on issuing, as in CVE-2026-24122. So the dates
/// become part of the window in which the root trusts the authority: of each certificate its own, and those of
/// the ones above it. What is left without a window vouches for nothing.
fn narrowed(mut root: TrustedRoot) -> Result<TrustedRoot, x509_cert::der::Error> {
    let mut anchors = Vec::new();
    for authority in &root.certificate_authorities {
        let mut window = Some(authority.valid_for.unwrap_or(EVER));
        for certificate in authority.cert_chain.certificates.iter().rev() {
            window = overlap(window, certificate.raw_bytes.as_bytes())?;
            let Some(valid_for) = window else { break };
            let mut anchor = authority.clone();
            anchor.cert_chain.certificates = vec![certificate.clone()];
            anchor.valid_for = Some(valid_for);
            anchors.push(anchor);
        }
    }
    root.certificate_authorities = anchors;
    let mut timestamps = Vec::new();
    for mut authority in root.timestamp_authorities {
        let chain = &authority.cert_chain.certificates;
        let window =
            chain.iter().try_fold(Some(authority.valid_for.unwrap_or(EVER)), |window, certificate| {
                overlap(window, certificate.raw_bytes.as_bytes())
            })?;
        if let Some(window) = window {
            authority.valid_for = Some(window);
            timestamps.push(authority);
        }
    }
    root.timestamp_authorities = timestamps;
    Ok(root)
}

/// What of the window lies within the certificate's dates; none if nothing does.
fn overlap(
    window: Option<TimeRange>,
    certificate: &[u8],
) -> Result<Option<TimeRange>, x509_cert::der::Error> {
    let Some(window) = window else { return Ok(None) };
    let dates = Certificate::from_der(certificate)?.tbs_certificate.validity;
    // The end of the year 9999, which stands for no end (RFC 5280 §4.1.2.5), is later than a Timestamp can say.
    let moment = |time: Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
        seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
    };
    let start = window.start.max(moment(dates.not_before));
    let end = window.end.unwrap_or(Timestamp::MAX).min(moment(dates.not_after));
    Ok((start <= end).then_some(TimeRange::new(start, Some(end))))
}

/// What was signed, as the verifier wants it.
fn artifact<'a>(parsed: &'a Parsed<'_>, image: &Digest) -> Result<Artifact<'a>, Rejection> {
    match &parsed.content {
        Content::Payload { payload, .. } => Ok(Artifact::from(*payload)),
        Content::Envelope(_) | Content::Digest { .. } => {
            let hash = Some(image).filter(|image| image.algorithm() == "sha256");
            let hash = hash.and_then(|image| Sha256Hash::from_hex(image.hex()).ok());
            hash.map(Artifact::from).ok_or_else(|| {
                Rejection::Unsupported("certificates and logs with SHA-512 digests".to_owned())
            })
        }
    }
}

/// When it was signed. The verifier refuses logs that are ahead of the clock; so are timestamp authorities here.
fn times(result: &VerificationResult) -> Result<Vec<Timestamp>, Rejection> {
    let (times, now) = (result.verified_timestamps(), Timestamp::now());
    match times.iter().find(|time| **time > now) {
        Some(time) => Err(Rejection::Untrusted(format!("its timestamp {time} is in the future"))),
        None => Ok(times.to_vec()),
    }
}

fn refused(error: &Error) -> Rejection {
    match error {
        Error::SignatureInvalid(_) => Rejection::OtherKey,
        Error::UnsupportedArtifact(_) | Error::UnsupportedBundle(_) => {
            Rejection::Unsupported(printable(&error.to_string(), 200))
        }
        _ => Rejection::Untrusted(printable(&error.to_string(), 200)),
    }
}
