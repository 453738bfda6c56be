//! What stands beside the images of these tests, as if somebody had looked for it and checked it.

use super::*;
use crate::{
    evidence::{AuthorityError, AuthorityEvidence, Claim, KeyFingerprint, Rejection, Signer, Verified},
    image::Repository,
    policy::{Authority, KeyRef, Proof, PublicKey, RootRef, TransparencyLog},
};

pub(super) const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELy5qaMnPuIMkT5OaT0h6bJ1IlCEW
3GfSthkqypF+7fEi8sMzdUMdd39/KaLMIQPKQdJQovx+sXrwz9Ev/sIkzA==
-----END PUBLIC KEY-----";
pub(super) const OTHER_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoFkfhrvqUv+aGs06qTvOa0Q9D1hj
GNa6RUPL/ZftZ+4Rx0Tst5oisGXEMvknbDKwoELjE8I9dh46R7zoWa47Jw==
-----END PUBLIC KEY-----";
pub(super) const SUBJECT: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";
pub(super) const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub(super) const SLSA: &str = "https://slsa.dev/provenance/v1";
pub(super) const COSIGN_VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// The one Secret that there is, as its parts, and the one file. Both hold [`KEY`].
pub(super) const SECRET: [&str; 3] = ["team-a", "signing", "release.pub"];
pub(super) const FILE: &str = "release.pub";
/// The ImageTrustRoot under which everything here holds, as it does under the public-good one.
pub(super) const ROOT: &str = "ours";

pub(super) fn fingerprint(pem: &str) -> KeyFingerprint {
    PublicKey::from_pem(pem).unwrap().fingerprint()
}

pub(super) fn by_key(pem: &str) -> Signer {
    Signer::Key(fingerprint(pem))
}

pub(super) fn by_identity() -> Signer {
    Signer::Identity { subject: SUBJECT.to_owned(), issuer: ISSUER.to_owned() }
}

/// A signature of the image, with `env: prod` and the repository `a.example/x` signed. No log holds it.
pub(super) fn signature(signer: Signer) -> Verified {
    let annotations = labels(&[("env", "prod")]);
    let claim = Claim::Image { annotations, identity: Some("a.example/x".to_owned()) };
    Verified { signer, claim, logged: false, times: Vec::new() }
}

/// A provenance of the image.
pub(super) fn provenance(signer: Signer, predicate: Value) -> Verified {
    let statement = json!({"predicateType": SLSA, "predicate": predicate});
    let claim = Claim::Attestation { predicate_type: SLSA.to_owned(), statement };
    Verified { signer, claim, logged: false, times: Vec::new() }
}

/// An attested scan of the image whose result nobody can read.
pub(super) fn damaged_report(signer: Signer) -> Verified {
    let statement = json!({"predicateType": COSIGN_VULN, "predicate": {"scanner": {"result": "?"}}});
    let claim = Claim::Attestation { predicate_type: COSIGN_VULN.to_owned(), statement };
    Verified { signer, claim, logged: false, times: Vec::new() }
}

/// What an authority hears of what is signed: a key of nothing but its own signatures, an identity of nothing
/// but its own certificates, either only under a trust root and with the log entry that it wants.
pub(super) fn heard(authority: &Authority, signed: &[Verified]) -> AuthorityEvidence {
    let log = match &authority.proof {
        Proof::Key { log, .. } | Proof::Identity { log, .. } => *log,
    };
    let root = match &authority.proof {
        Proof::Key { root, .. } => root.as_ref(),
        Proof::Identity { root, .. } => Some(root),
    };
    if let Some(RootRef::Named(name)) = root
        && **name != *ROOT
    {
        return AuthorityEvidence::Unusable(AuthorityError::Missing(format!("ImageTrustRoot/{name}")));
    }
    let own = match &authority.proof {
        Proof::Identity { .. } => None,
        Proof::Key { key: KeyRef::Inline(key), .. } => Some(key.fingerprint()),
        Proof::Key { key: KeyRef::Secret(secret), .. }
            if [&*secret.namespace, &*secret.name, &*secret.key] == SECRET =>
        {
            Some(fingerprint(KEY))
        }
        Proof::Key { key: KeyRef::File(name), .. } if **name == *FILE => Some(fingerprint(KEY)),
        Proof::Key { key, .. } => {
            return AuthorityEvidence::Unusable(AuthorityError::Missing(key.to_string()));
        }
    };
    let (mut verified, mut rejected) = (Vec::new(), Vec::new());
    for one in signed {
        let reject = match (&one.signer, own) {
            (Signer::Key(signer), Some(own)) if *signer == own => None,
            (Signer::Key(_), Some(_)) => Some(Rejection::OtherKey),
            (Signer::Key(_), None) => Some(Rejection::NoCertificate),
            (Signer::Identity { .. }, Some(_)) => Some(Rejection::Certificate),
            (signer @ Signer::Identity { subject, issuer }, None) => {
                let other = Rejection::OtherIdentity { subject: subject.clone(), issuer: issuer.clone() };
                Some(other).filter(|_| !authority.proof.names(signer))
            }
        };
        let unlogged = log == TransparencyLog::Required && !one.logged;
        match reject.or(unlogged.then_some(Rejection::NotLogged)) {
            None => verified.push(one.clone()),
            Some(why) => rejected.push(why),
        }
    }
    AuthorityEvidence::Seen { verified, rejected }
}

impl Scene {
    /// What `policy` makes of what stands beside the image, and beside nothing else.
    pub(super) fn judged(&self, policy: &Policy, image: &ImageReference, digest: &Digest) -> Judgement {
        let own = Repository::from(image);
        let evidence: Vec<AuthorityEvidence> = policy
            .authorities()
            .iter()
            .map(|authority| match &self.beside {
                Err(error) => AuthorityEvidence::Unseen(error.clone()),
                Ok(_) if authority.source.as_ref().is_some_and(|source| *source != own) => {
                    heard(authority, &[])
                }
                Ok(signed) => heard(authority, signed),
            })
            .collect();
        judge_attached(policy, image, digest, &evidence, now())
    }
}
