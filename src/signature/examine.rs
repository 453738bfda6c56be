//! What authorities make of what stands beside an image.

use std::{cell::OnceCell, collections::HashMap, rc::Rc, sync::Arc};

use super::{
    TrustRoot,
    bundle::{Content, Parsed},
    raw,
    trust::{Trust, Trusted},
};
use crate::{
    decision::printable,
    evidence::{
        AuthorityError, AuthorityEvidence, Candidate, Claim, RegistryError, Rejection, Signer, Verified,
    },
    image::Digest,
    policy::{Authority, Proof, PublicKey, RootRef, TransparencyLog},
    review::ports::Examiner,
};

/// How much of an identity that a policy does not name is repeated, in bytes.
const IDENTITY_LIMIT: usize = 200;

/// Examines what stands beside images with the keys and trust roots that are in force.
pub struct Examination {
    trust: Arc<dyn Trust>,
}

impl Examination {
    /// Keys and trust roots come from `trust`.
    pub fn new(trust: Arc<dyn Trust>) -> Self {
        Self { trust }
    }
}

impl Examiner for Examination {
    fn trust_version(&self) -> u64 {
        self.trust.current().version()
    }

    fn examine(
        &self,
        authorities: &[Authority],
        found: &[Result<Arc<[Candidate]>, RegistryError>],
        image: &Digest,
    ) -> Vec<AuthorityEvidence> {
        let trusted = self.trust.current();
        let mut desk = Desk { trusted: &trusted, image, read: HashMap::new(), certified: HashMap::new() };
        let examined = authorities.iter().zip(found).map(|(authority, found)| match found {
            Err(error) => AuthorityEvidence::Unseen(error.clone()),
            Ok(candidates) => desk.examine(authority, candidates),
        });
        examined.collect()
    }
}

/// Where one image's candidates lie while they are examined. Each is read once, and its certificate is
/// checked once by each trust root, however many authorities there are.
struct Desk<'a> {
    trusted: &'a Trusted,
    image: &'a Digest,
    read: HashMap<*const Candidate, Rc<Result<Read<'a>, Rejection>>>,
    certified: HashMap<(*const Candidate, &'a RootRef, TransparencyLog), Result<Verified, Rejection>>,
}

impl<'a> Desk<'a> {
    fn examine(&mut self, authority: &'a Authority, candidates: &'a [Candidate]) -> AuthorityEvidence {
        let by = match Means::of(&authority.proof, self.trusted) {
            Ok(by) => by,
            Err(error) => return AuthorityEvidence::Unusable(error),
        };
        let (mut verified, mut rejected) = (Vec::new(), Vec::new());
        for candidate in candidates {
            match self.check(candidate, &authority.proof, &by) {
                Ok(one) => verified.push(one),
                Err(why) => rejected.push(why),
            }
        }
        AuthorityEvidence::Seen { verified, rejected }
    }

    fn check(
        &mut self,
        candidate: &'a Candidate,
        proof: &'a Proof,
        by: &Means<'_>,
    ) -> Result<Verified, Rejection> {
        let image = self.image;
        let read = self.read.entry(candidate).or_insert_with(|| Rc::new(Read::new(candidate, image)));
        let read = read.clone();
        let read = read.as_ref().as_ref().map_err(Clone::clone)?;
        match (proof, by) {
            (Proof::Identity { root, log, .. }, Means::Certificate { trust }) => {
                // Whose it is costs less to read than to check. What was read counts for nothing more.
                named(proof, read.unverified_signer()?)?;
                let key = (std::ptr::from_ref(candidate), root, *log);
                let checked =
                    self.certified.entry(key).or_insert_with(|| check_certificate(read, *log, trust));
                let verified = checked.clone()?;
                named(proof, &verified.signer)?;
                Ok(verified)
            }
            (Proof::Key { log, .. }, Means::Key { key, trust }) => check_key(read, key, *log, *trust),
            (Proof::Identity { .. }, Means::Key { .. }) | (Proof::Key { .. }, Means::Certificate { .. }) => {
                Err(Rejection::Unsupported("an authority of two kinds".to_owned()))
            }
        }
    }
}

/// A candidate that has been read, and what several authorities ask of it.
struct Read<'a> {
    parsed: Parsed<'a>,
    image: &'a Digest,
    claim: OnceCell<Result<Claim, Rejection>>,
    signer: OnceCell<Result<Signer, Rejection>>,
}

impl<'a> Read<'a> {
    fn new(candidate: &'a Candidate, image: &'a Digest) -> Result<Self, Rejection> {
        let parsed = Parsed::read(&candidate.material)?;
        Ok(Self { parsed, image, claim: OnceCell::new(), signer: OnceCell::new() })
    }

    /// What it says about the image.
    fn claim(&self) -> Result<&Claim, Rejection> {
        self.claim.get_or_init(|| self.parsed.claim(self.image)).as_ref().map_err(Clone::clone)
    }

    /// Whose certificate it carries, before anybody has checked it.
    fn unverified_signer(&self) -> Result<&Signer, Rejection> {
        self.signer.get_or_init(|| self.parsed.unverified_signer()).as_ref().map_err(Clone::clone)
    }
}

/// What an authority's signatures are checked with, found.
enum Means<'a> {
    Key { key: &'a PublicKey, trust: Option<&'a TrustRoot> },
    Certificate { trust: &'a TrustRoot },
}

impl<'a> Means<'a> {
    fn of(proof: &'a Proof, trusted: &'a Trusted) -> Result<Self, AuthorityError> {
        Ok(match proof {
            Proof::Key { key, root, .. } => Self::Key {
                key: trusted.key(key)?,
                trust: root.as_ref().map(|root| trusted.root(root)).transpose()?,
            },
            Proof::Identity { root, .. } => Self::Certificate { trust: trusted.root(root)? },
        })
    }
}

/// That `signer` is one whom the authority names.
fn named(proof: &Proof, signer: &Signer) -> Result<(), Rejection> {
    match signer {
        signer if proof.names(signer) => Ok(()),
        Signer::Identity { subject, issuer } => Err(Rejection::OtherIdentity {
            subject: printable(subject, IDENTITY_LIMIT),
            issuer: printable(issuer, IDENTITY_LIMIT),
        }),
        Signer::Key(_) => Err(Rejection::NoCertificate),
    }
}

/// Checks a candidate with a key.
///
/// A log entry counts only under `trust`. [`TransparencyLog::Required`] without a trust root that knows
/// the log is never met.
pub fn verify_with_key(
    candidate: &Candidate,
    image: &Digest,
    key: &PublicKey,
    log: TransparencyLog,
    trust: Option<&TrustRoot>,
) -> Result<Verified, Rejection> {
    check_key(&Read::new(candidate, image)?, key, log, trust)
}

/// Checks a candidate that carries a certificate. Whose certificate it is, the caller must look at: anybody
/// with an email address can sign anything.
pub fn verify_with_certificate(
    candidate: &Candidate,
    image: &Digest,
    log: TransparencyLog,
    trust: &TrustRoot,
) -> Result<Verified, Rejection> {
    check_certificate(&Read::new(candidate, image)?, log, trust)
}

fn check_key(
    read: &Read<'_>,
    key: &PublicKey,
    log: TransparencyLog,
    trust: Option<&TrustRoot>,
) -> Result<Verified, Rejection> {
    let Read { parsed, image, .. } = read;
    if parsed.has_certificate() {
        return Err(Rejection::Certificate);
    }
    if parsed.hint().is_some_and(|hint| hint != key.fingerprint()) {
        return Err(Rejection::OtherKey);
    }
    let claim = read.claim()?;
    let holds = match &parsed.content {
        Content::Envelope(envelope) => raw::holds(key, &envelope.pae(), envelope.signature.sig.as_bytes()),
        Content::Payload { payload, signature } => raw::holds(key, payload, signature),
        Content::Digest { signature } => raw::holds_for_digest(key, image, signature)?,
    };
    if !holds {
        return Err(Rejection::OtherKey);
    }
    let signer = Signer::Key(key.fingerprint());
    if !demanded(log, parsed) {
        return Ok(verified(signer, claim, false, Vec::new()));
    }
    if !parsed.is_logged() {
        return Err(Rejection::NotLogged);
    }
    let trust =
        trust.ok_or_else(|| Rejection::Untrusted("there is none to check its log entry by".to_owned()))?;
    let times = trust.check_key(parsed, image, key).map_err(|rejection| match rejection {
        // It does fit, as was seen above: the log's engine knows fewer kinds of keys and hashes.
        Rejection::OtherKey => Rejection::Unsupported("a log entry for a key of this kind".to_owned()),
        rejection => rejection,
    })?;
    Ok(verified(signer, claim, true, times))
}

fn check_certificate(
    read: &Read<'_>,
    log: TransparencyLog,
    trust: &TrustRoot,
) -> Result<Verified, Rejection> {
    let Read { parsed, image, .. } = read;
    if !parsed.has_certificate() {
        return Err(Rejection::NoCertificate);
    }
    let claim = read.claim()?;
    let logged = demanded(log, parsed);
    if logged && !parsed.is_logged() {
        return Err(Rejection::NotLogged);
    }
    let (signer, times) = trust.check_certificate(parsed, image, logged)?;
    Ok(verified(signer, claim, logged, times))
}

fn demanded(log: TransparencyLog, parsed: &Parsed<'_>) -> bool {
    match log {
        TransparencyLog::Required => true,
        TransparencyLog::IfPresent => parsed.is_logged(),
        TransparencyLog::Ignored => false,
    }
}

fn verified(signer: Signer, claim: &Claim, logged: bool, times: Vec<jiff::Timestamp>) -> Verified {
    Verified { signer, claim: claim.clone(), logged, times }
}
