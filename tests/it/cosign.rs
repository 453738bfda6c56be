//! What cosign signs while the test runs, and what of it verifies: keys of every kind, versions 2 and 3, in
//! registries with and without the referrers API. Whatever cosign refuses must be refused here as well.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Candidate, Claim, Material, Rejection, Signer, Verified},
    image::Digest,
    policy::{KeyAlgorithm, PublicKey, TransparencyLog},
    signature::verify_with_key,
};

use crate::support::{
    client::{MANIFEST, RegistryClient, fallback},
    cosign::{
        Cosign,
        Version::{self, Three, Two},
    },
    referrers::ReferrersRegistry,
    registry::Registry,
};

const SLSA: &str = "https://slsa.dev/provenance/v1";
const TESTED: &str = "https://example.com/attestations/tested/v1";
/// The annotation that holds the signature of a classic layer.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Which registry: the two store referrers in different places.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The distribution project's, which has no referrers API.
    Distribution,
    /// go-containerregistry's, which has one.
    Referrers,
}
use Kind::{Distribution, Referrers};

/// A registry with an image that nobody has signed yet.
struct Scene {
    client: &'static RegistryClient,
    cosign: Cosign,
    image: Digest,
}

const REPOSITORY: &str = "acme/signed";

impl Scene {
    /// `None` if a program is missing, and then the test has been skipped.
    async fn new(kind: Kind) -> Option<Self> {
        let cosign = Cosign::find()?;
        let client = match kind {
            Distribution => Registry::shared().await?.client(),
            Referrers => ReferrersRegistry::shared().await?.client(),
        };
        let image = another(client).await;
        Some(Self { client, cosign, image })
    }

    /// The reference that cosign is given.
    fn name(&self, image: &Digest) -> String {
        format!("{}/{REPOSITORY}@{image}", self.client.host())
    }

    /// All that lies beside `image`.
    async fn candidates(&self, image: &Digest) -> Vec<Candidate> {
        self.client.candidates(REPOSITORY, image).await.unwrap()
    }

    /// The one thing that lies beside the image.
    async fn candidate(&self) -> Candidate {
        let found = self.candidates(&self.image).await;
        let [candidate] = <[Candidate; 1]>::try_from(found).unwrap();
        candidate
    }
}

async fn another(client: &RegistryClient) -> Digest {
    // Tags are everybody's, digests are not.
    client.push(REPOSITORY, "latest").await
}

fn verify(candidate: &Candidate, image: &Digest, key: &PublicKey) -> Result<Verified, Rejection> {
    verify_with_key(candidate, image, key, TransparencyLog::Ignored, None)
}

#[rstest]
#[tokio::test]
async fn what_cosign_signs_verifies_with_its_key_and_no_other(
    #[values(Two, Three)] version: Version,
    #[values(Distribution, Referrers)] kind: Kind,
) {
    let Some(scene) = Scene::new(kind).await else { return };
    let (key, other) = (scene.cosign.key_pair().await, scene.cosign.key_pair().await);
    let name = scene.name(&scene.image);
    scene.cosign.sign(version, &key, &name, &["-a", "env=prod"]).await;

    let candidate = scene.candidate().await;
    let form = matches!(candidate.material, Material::Bundle(_));
    assert_eq!(form, version == Three, "{candidate:?}");
    let verified = verify(&candidate, &scene.image, &key.key).unwrap();
    assert_eq!(verified.signer, Signer::Key(key.key.fingerprint()));
    let Claim::Image { annotations, .. } = verified.claim else { panic!("{:?}", verified.claim) };
    assert_eq!(annotations.get("env").map(String::as_str), Some("prod"), "{annotations:?}");
    assert!(!verified.logged && verified.times.is_empty());

    assert_eq!(verify(&candidate, &scene.image, &other.key), Err(Rejection::OtherKey));
    let required = verify_with_key(&candidate, &scene.image, &key.key, TransparencyLog::Required, None);
    assert_eq!(required, Err(Rejection::NotLogged));

    // cosign says the same.
    for (signer, annotation, expected) in
        [(&key, "env=prod", true), (&key, "env=test", false), (&other, "env=prod", false)]
    {
        let said = scene.cosign.verify(Three, signer, &name, &["-a", annotation]).await;
        assert_eq!(said.success, expected, "{annotation}: {said:?}");
    }
}

#[rstest]
#[tokio::test]
async fn one_flipped_bit_is_one_too_many(#[values(Two, Three)] version: Version) {
    let Some(scene) = Scene::new(Referrers).await else { return };
    let key = scene.cosign.key_pair().await;
    let name = scene.name(&scene.image);
    scene.cosign.sign(version, &key, &name, &["-a", "env=prod"]).await;
    scene.cosign.attest(version, &key, &name, TESTED, &json!({"passed": true})).await;

    let candidates = scene.candidates(&scene.image).await;
    assert_eq!(candidates.len(), 2);
    for candidate in candidates {
        assert!(verify(&candidate, &scene.image, &key.key).is_ok());
        let [payload, signature] = Part::ALL.map(|part| bytes(&candidate, part).len());
        assert!(payload > 100 && signature > 64, "{payload} {signature}");
        for (part, length) in Part::ALL.into_iter().zip([payload, signature]) {
            for at in 0..length {
                let flipped = flipped(&candidate, part, at);
                let verified = verify(&flipped, &scene.image, &key.key);
                assert!(verified.is_err(), "{part:?} {at}: {verified:?}");
            }
        }
    }
}

/// The parts of a signature.
#[derive(Clone, Copy, Debug)]
enum Part {
    Payload,
    Signature,
}

impl Part {
    const ALL: [Self; 2] = [Self::Payload, Self::Signature];

    /// Where it is in a DSSE envelope.
    fn pointer(self) -> &'static str {
        match self {
            Self::Payload => "/payload",
            Self::Signature => "/signatures/0/sig",
        }
    }
}

/// The bytes of a part as they are, whatever they are stored as.
fn bytes(candidate: &Candidate, part: Part) -> Vec<u8> {
    let decode = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    match (&candidate.material, part) {
        (Material::SimpleSigning { payload, .. }, Part::Payload) => payload.to_vec(),
        (Material::SimpleSigning { annotations, .. }, Part::Signature) => decode(&annotations[SIGNATURE]),
        (Material::Bundle(json), part) => {
            let bundle: Value = serde_json::from_str(json).unwrap();
            decode(bundle["dsseEnvelope"].pointer(part.pointer()).unwrap().as_str().unwrap())
        }
        (Material::Envelope { envelope, .. }, part) => {
            let envelope: Value = serde_json::from_slice(envelope).unwrap();
            decode(envelope.pointer(part.pointer()).unwrap().as_str().unwrap())
        }
        (Material::Unreadable(why), _) => panic!("{why}"),
    }
}

/// The candidate with one bit of byte `at` of a part flipped: another bit for each byte.
fn flipped(candidate: &Candidate, part: Part, at: usize) -> Candidate {
    let mut changed = bytes(candidate, part);
    changed[at] ^= 1 << (at % 8);
    let encoded = BASE64_STANDARD.encode(&changed);
    let mut candidate = candidate.clone();
    match (&mut candidate.material, part) {
        (Material::SimpleSigning { payload, .. }, Part::Payload) => *payload = changed.into(),
        (Material::SimpleSigning { annotations, .. }, Part::Signature) => {
            annotations.insert(SIGNATURE.to_owned(), encoded);
        }
        (Material::Bundle(json), part) => {
            let mut bundle: Value = serde_json::from_str(json).unwrap();
            *bundle["dsseEnvelope"].pointer_mut(part.pointer()).unwrap() = encoded.into();
            *json = bundle.to_string().into();
        }
        (Material::Envelope { envelope, .. }, part) => {
            let mut changed: Value = serde_json::from_slice(envelope).unwrap();
            *changed.pointer_mut(part.pointer()).unwrap() = encoded.into();
            *envelope = changed.to_string().into_bytes().into();
        }
        (Material::Unreadable(why), _) => panic!("{why}"),
    }
    candidate
}

#[rstest]
#[tokio::test]
async fn what_cosign_refuses_is_refused(
    #[values(Two, Three)] version: Version,
    #[values(Distribution, Referrers)] kind: Kind,
) {
    let Some(scene) = Scene::new(kind).await else { return };
    let key = scene.cosign.key_pair().await;
    scene.cosign.sign(version, &key, &scene.name(&scene.image), &[]).await;
    let genuine = scene.candidate().await;

    // A stranger with the right to push lays it beside another image, and a damaged one beside a third.
    let (copied, damaged) = (another(scene.client).await, another(scene.client).await);
    store(&scene, &copied, &genuine).await;
    let at = bytes(&genuine, Part::Payload).iter().position(|byte| *byte == b'{').unwrap();
    store(&scene, &damaged, &flipped(&genuine, Part::Payload, at + 30)).await;

    for (image, right) in [(&scene.image, true), (&copied, false), (&damaged, false)] {
        let said = scene.cosign.verify(Three, &key, &scene.name(image), &[]).await;
        assert_eq!(said.success, right, "{said:?}");
        let found = scene.candidates(image).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let verified = verify(&found[0], image, &key.key);
        assert_eq!(verified.is_ok(), right, "{verified:?}");
    }
    let refused = verify(&scene.candidates(&copied).await[0], &copied, &key.key);
    let found = scene.image.to_string();
    assert_eq!(refused, Err(Rejection::OtherImage { found }));
}

/// Stores a signature beside `image` as cosign stores it.
async fn store(scene: &Scene, image: &Digest, candidate: &Candidate) {
    let client = scene.client;
    let tag = format!("{}.sig", fallback(&scene.image));
    let (place, content) = match &candidate.material {
        Material::Bundle(json) => (candidate.place.as_str(), json.as_bytes().to_vec()),
        Material::SimpleSigning { payload, .. } => (tag.as_str(), payload.to_vec()),
        other => unreachable!("nothing was attested: {other:?}"),
    };
    let (_, mut manifest) = client.manifest(REPOSITORY, place).await.unwrap().unwrap();
    let layer = &mut manifest["layers"][0];
    let media_type = layer["mediaType"].as_str().unwrap().to_owned();
    let blob = client.put_blob(REPOSITORY, &media_type, content).await.unwrap();
    for field in ["digest", "size"] {
        layer[field] = blob[field].clone();
    }
    match &candidate.material {
        Material::Bundle(_) => client.put_referrer(REPOSITORY, image, manifest).await,
        _ => {
            let tag = format!("{}.sig", fallback(image));
            client.put_manifest(REPOSITORY, &tag, MANIFEST, manifest.to_string()).await
        }
    }
    .unwrap();
}

#[rstest]
#[tokio::test]
async fn what_cosign_attests_says_what_it_says(
    #[values(Two, Three)] version: Version,
    #[values(Distribution, Referrers)] kind: Kind,
) {
    let Some(scene) = Scene::new(kind).await else { return };
    let (key, other) = (scene.cosign.key_pair().await, scene.cosign.key_pair().await);
    let name = scene.name(&scene.image);
    let builder = "https://example.com/builders/1";
    let provenance = json!({
        "buildDefinition": {"buildType": "https://example.com/builds/1"},
        "runDetails": {"builder": {"id": builder}},
    });
    let tested = json!({"passed": true, "tests": ["unit", "e2e"]});
    scene.cosign.attest(version, &key, &name, "slsaprovenance1", &provenance).await;
    scene.cosign.attest(version, &key, &name, TESTED, &tested).await;

    let candidates = scene.candidates(&scene.image).await;
    assert_eq!(candidates.len(), 2, "{candidates:?}");
    let mut said = Vec::new();
    for candidate in &candidates {
        assert_eq!(verify(candidate, &scene.image, &other.key), Err(Rejection::OtherKey));
        let verified = verify(candidate, &scene.image, &key.key).unwrap();
        let Claim::Attestation { predicate_type, mut statement } = verified.claim else {
            panic!("{:?}", verified.claim)
        };
        said.push((predicate_type, statement["predicate"].take()));
    }
    said.sort_by(|one, two| one.0.cmp(&two.0));
    assert_eq!(said[0], (TESTED.to_owned(), tested));
    assert_eq!(said[1].0, SLSA);
    assert_eq!(said[1].1["runDetails"]["builder"]["id"], builder);

    for (signer, predicate_type, expected) in [
        (&key, "slsaprovenance1", true),
        (&key, TESTED, true),
        (&key, "openvex", false),
        (&other, TESTED, false),
    ] {
        let said = scene.cosign.verify_attestation(Three, signer, &name, predicate_type).await;
        assert_eq!(said.success, expected, "{predicate_type}: {said:?}");
    }
}

#[rstest]
#[tokio::test]
async fn every_kind_of_key_that_cosign_imports_verifies(
    #[values(
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::EcdsaP521,
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::Rsa
    )]
    algorithm: KeyAlgorithm,
) {
    let Some(scene) = Scene::new(Referrers).await else { return };
    let keys = match algorithm {
        KeyAlgorithm::EcdsaP256 => vec![rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)],
        KeyAlgorithm::EcdsaP384 => vec![rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)],
        KeyAlgorithm::EcdsaP521 => vec![rcgen::KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)],
        KeyAlgorithm::Ed25519 => vec![rcgen::KeyPair::generate_for(&PKCS_ED25519)],
        KeyAlgorithm::Rsa => [RsaKeySize::_2048, RsaKeySize::_3072, RsaKeySize::_4096]
            .map(|size| rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size))
            .into(),
    };
    let other = scene.cosign.key_pair().await;
    for key in keys {
        let pem = key.unwrap().serialize_pem();
        let key = scene.cosign.import(&pem).await;
        assert_eq!(key.key.algorithm(), algorithm);
        for version in [Two, Three] {
            let image = another(scene.client).await;
            scene.cosign.sign(version, &key, &scene.name(&image), &[]).await;
            let found = scene.candidates(&image).await;
            assert_eq!(found.len(), 1, "{found:?}");
            let verified = verify(&found[0], &image, &key.key).unwrap();
            assert_eq!(verified.signer, Signer::Key(key.key.fingerprint()));
            assert_eq!(verify(&found[0], &image, &other.key), Err(Rejection::OtherKey), "{version:?}");
            let elsewhere = verify(&found[0], &scene.image, &key.key);
            assert!(matches!(elsewhere, Err(Rejection::OtherImage { .. })), "{version:?}: {elsewhere:?}");
        }
    }
}
