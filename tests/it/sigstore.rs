//! What cosign signs without a key, with real servers that say who it was and when; and what of it verifies.
//!
//! The programs of the servers are built by `make test-sigstore`.

use rstest::rstest;
use serde_json::json;
use tidewaiter::{
    evidence::{Candidate, Claim, Rejection, Signer, Verified},
    image::Digest,
    policy::TransparencyLog::{self, Ignored, Required},
    signature::{TrustRoot, verify_with_certificate, verify_with_key},
};

use crate::support::{
    client::RegistryClient,
    cosign::{
        Cosign,
        Version::{self, Three, Two},
    },
    referrers::ReferrersRegistry,
    sigstore::{Identity, Logged, Services, Sigstore},
};

const REPOSITORY: &str = "acme/keyless";
const SUBJECT: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";
const TESTED: &str = "https://example.com/attestations/tested/v1";

/// A private Sigstore, and a registry with an image that nobody has signed yet.
struct Scene {
    sigstore: &'static Sigstore,
    client: &'static RegistryClient,
    cosign: Cosign,
    image: Digest,
    name: String,
}

impl Scene {
    /// `None` if a program is missing, and then the test has been skipped.
    async fn new() -> Option<Self> {
        let sigstore = Sigstore::shared().await?;
        let client = ReferrersRegistry::shared().await?.client();
        let image = client.push(REPOSITORY, "latest").await;
        let name = format!("{}/{REPOSITORY}@{image}", client.host());
        Some(Self { sigstore, client, cosign: Cosign::find()?, image, name })
    }

    /// The workflow that releases the app.
    async fn release(&self) -> Identity<'static> {
        self.sigstore.workflow("acme/app", "release.yml", "refs/tags/v1").await
    }

    /// The one thing that lies beside the image.
    async fn candidate(&self) -> Candidate {
        let found = self.client.candidates(REPOSITORY, &self.image).await.unwrap();
        let [candidate] = <[Candidate; 1]>::try_from(found).unwrap();
        candidate
    }

    fn verify(&self, candidate: &Candidate, log: TransparencyLog) -> Result<Verified, Rejection> {
        verify_with_certificate(candidate, &self.image, log, &self.sigstore.root())
    }
}

/// The signer as evidence names it.
fn named(identity: &Identity<'_>) -> Signer {
    Signer::Identity { subject: identity.subject.clone(), issuer: identity.issuer.clone() }
}

#[tokio::test]
async fn what_a_workflow_signs_names_the_workflow() {
    let Some(scene) = Scene::new().await else { return };
    let release = scene.release().await;
    assert_eq!(release.subject, SUBJECT);
    scene.cosign.sign(Three, &release, &scene.name, &["-a", "env=prod"]).await;

    let candidate = scene.candidate().await;
    let verified = scene.verify(&candidate, Required).unwrap();
    assert_eq!(verified.signer, named(&release));
    assert!(verified.logged && !verified.times.is_empty(), "{verified:?}");
    let Claim::Image { annotations, .. } = &verified.claim else { panic!("{verified:?}") };
    assert_eq!(annotations.get("env").map(String::as_str), Some("prod"));

    let other = Digest::sha256(b"another image");
    let elsewhere = verify_with_certificate(&candidate, &other, Required, &scene.sigstore.root());
    assert!(matches!(elsewhere, Err(Rejection::OtherImage { .. })), "{elsewhere:?}");
    let key = scene.cosign.key_pair().await;
    let keyed = verify_with_key(&candidate, &scene.image, &key.key, Ignored, Some(&scene.sigstore.root()));
    assert_eq!(keyed, Err(Rejection::Certificate));

    // cosign says the same.
    let stranger = scene.sigstore.workflow("acme/app", "release.yml", "refs/heads/dev").await;
    for (identity, expected) in [(&release, true), (&stranger, false)] {
        let said = scene.cosign.verify(Three, identity, &scene.name, &["-a", "env=prod"]).await;
        assert_eq!(said.success, expected, "{said:?}");
    }
}

#[tokio::test]
async fn what_a_person_signs_names_the_person() {
    let Some(scene) = Scene::new().await else { return };
    let person = scene.sigstore.person("release@example.com").await;
    scene.cosign.sign(Three, &person, &scene.name, &[]).await;
    let verified = scene.verify(&scene.candidate().await, Required).unwrap();
    assert_eq!(verified.signer, named(&person));
    assert_eq!(person.subject, "release@example.com");
}

/// What a trust root knows, and what it must not be mistaken in.
const KNOWN: [&str; 4] = [
    "/certificateAuthorities/0/certChain/certificates/0/rawBytes",
    "/ctlogs/0/publicKey/rawBytes",
    "/tlogs/0/publicKey/rawBytes",
    "/timestampAuthorities/0/certChain/certificates/2/rawBytes",
];

#[tokio::test]
async fn a_root_that_knows_another_authority_in_one_place_refuses() {
    let Some(scene) = Scene::new().await else { return };
    scene.cosign.sign(Three, &scene.release().await, &scene.name, &[]).await;
    let candidate = scene.candidate().await;
    assert!(scene.verify(&candidate, Required).is_ok());
    // Another Sigstore has the same kinds of keys and certificates.
    let Some(other) = Sigstore::start().await else { return };
    for place in KNOWN {
        let mut root = scene.sigstore.trusted_root();
        let known = root.pointer_mut(place).unwrap();
        let another = other.trusted_root().pointer(place).unwrap().clone();
        assert_ne!(*known, another, "{place}");
        *known = another;
        let root = TrustRoot::from_json(&root.to_string()).unwrap();
        let refused = verify_with_certificate(&candidate, &scene.image, Required, &root);
        assert!(matches!(refused, Err(Rejection::Untrusted(_))), "{place}: {refused:?}");
    }
}

#[tokio::test]
async fn another_sigstore_vouches_for_nothing_here() {
    let Some(scene) = Scene::new().await else { return };
    scene.cosign.sign(Three, &scene.release().await, &scene.name, &[]).await;
    let candidate = scene.candidate().await;
    let mut without_log = scene.sigstore.trusted_root();
    without_log.as_object_mut().unwrap().remove("tlogs");
    for root in [TrustRoot::public_good(), TrustRoot::from_json(&without_log.to_string()).unwrap()] {
        let refused = verify_with_certificate(&candidate, &scene.image, Required, &root);
        assert!(matches!(refused, Err(Rejection::Untrusted(_))), "{refused:?}");
    }
}

/// Version 3 leaves the log out where its configuration does; version 2 knows only an older kind of log.
#[rstest]
#[tokio::test]
async fn a_signature_with_a_timestamp_alone_counts_where_no_log_is_required(
    #[values(Two, Three)] version: Version,
) {
    let Some(scene) = Scene::new().await else { return };
    let release = scene.release().await.without_log();
    scene.cosign.sign(version, &release, &scene.name, &["-a", "env=prod"]).await;
    let candidate = scene.candidate().await;
    assert_eq!(scene.verify(&candidate, Required), Err(Rejection::NotLogged));
    let verified = scene.verify(&candidate, Ignored).unwrap();
    assert_eq!(verified.signer, named(&release));
    assert!(!verified.logged && verified.times.len() == 1, "{verified:?}");
    let Claim::Image { annotations, .. } = &verified.claim else { panic!("{verified:?}") };
    assert_eq!(annotations.get("env").map(String::as_str), Some("prod"));

    // Without its timestamp nobody says when the certificate was used.
    let mut without = scene.sigstore.trusted_root();
    without.as_object_mut().unwrap().remove("timestampAuthorities");
    let without = TrustRoot::from_json(&without.to_string()).unwrap();
    let refused = verify_with_certificate(&candidate, &scene.image, Ignored, &without);
    assert!(matches!(refused, Err(Rejection::Untrusted(_))), "{refused:?}");

    let said = scene.cosign.verify(Three, &release, &scene.name, &[]).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn what_a_workflow_attests_says_what_it_says() {
    let Some(scene) = Scene::new().await else { return };
    let (release, predicate) = (scene.release().await, json!({"passed": true}));
    scene.cosign.attest(Three, &release, &scene.name, TESTED, &predicate).await;
    let verified = scene.verify(&scene.candidate().await, Required).unwrap();
    assert_eq!(verified.signer, named(&release));
    let Claim::Attestation { predicate_type, statement } = &verified.claim else { panic!("{verified:?}") };
    assert_eq!((predicate_type.as_str(), &statement["predicate"]), (TESTED, &predicate));
    let said = scene.cosign.verify_attestation(Three, &release, &scene.name, TESTED).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn a_keys_signature_may_be_logged() {
    let Some(scene) = Scene::new().await else { return };
    let key = scene.cosign.key_pair().await;
    let logged = Logged { key: &key, sigstore: scene.sigstore, services: Services::All };
    scene.cosign.sign(Three, &logged, &scene.name, &[]).await;
    let (candidate, root) = (scene.candidate().await, scene.sigstore.root());
    let ask = |root: Option<&TrustRoot>, log| verify_with_key(&candidate, &scene.image, &key.key, log, root);
    let verified = ask(Some(&root), Required).unwrap();
    assert_eq!(verified.signer, Signer::Key(key.key.fingerprint()));
    assert!(verified.logged && !verified.times.is_empty(), "{verified:?}");
    for root in [None, Some(&TrustRoot::public_good())] {
        let refused = ask(root, Required);
        assert!(matches!(refused, Err(Rejection::Untrusted(_))), "{refused:?}");
    }
    assert!(!ask(None, Ignored).unwrap().logged);
    let said = scene.cosign.verify(Three, &logged, &scene.name, &[]).await;
    assert!(said.success, "{said:?}");
}

#[tokio::test]
async fn nobody_signs_as_somebody_else() {
    let Some(scene) = Scene::new().await else { return };
    let (ours, theirs) = (scene.release().await, scene.sigstore.person("stranger@example.com").await);
    scene.cosign.sign(Three, &theirs, &scene.name, &[]).await;
    let verified = scene.verify(&scene.candidate().await, Required).unwrap();
    assert_ne!(verified.signer, named(&ours));
    let said = scene.cosign.verify(Three, &ours, &scene.name, &[]).await;
    assert!(!said.success, "{said:?}");
}
