use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::{AsBigEndian as _, AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Digest as _, Sha512};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    evidence::{Candidate, Claim, Material, Rejection, Signer, Verified},
    image::Digest,
    policy::{KeyError, PublicKey, TransparencyLog},
};

const IN_TOTO: &str = "application/vnd.in-toto+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const SLSA: &str = "https://slsa.dev/provenance/v1";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Somebody who signs.
struct Publisher {
    key: PublicKey,
    sign: Sign,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    P256,
    P384,
    P521,
    Ed25519,
    Ed25519Prehashed,
    Rsa,
}

impl Publisher {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Kind::P384 => Self::ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Kind::P521 => Self::ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
            Kind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                Self::with(der.as_ref(), move |message| {
                    let mut signature = vec![0; pair.public_modulus_len()];
                    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                    signature
                })
            }
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                Self::with(der.as_ref(), move |message| pair.sign(message).as_ref().to_vec())
            }
            Kind::Ed25519Prehashed => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                let seed = pair.seed().unwrap().as_be_bytes().unwrap();
                let seed: &[u8; 32] = seed.as_ref().try_into().unwrap();
                let signing = ed25519_dalek::SigningKey::from_bytes(seed);
                Self::with(der.as_ref(), move |message| {
                    let hash = Sha512::new_with_prefix(message);
                    signing.sign_prehashed(hash, None).unwrap().to_vec()
                })
            }
        }
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self::with(der.as_ref(), move |message| {
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        })
    }

    fn with(spki: &[u8], sign: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        Self { key: PublicKey::from_pem(&pem("PUBLIC KEY", spki)).unwrap(), sign: Box::new(sign) }
    }

    /// A bundle as cosign 3 makes one with a key and no services.
    fn bundle(&self, payload_type: &str, statement: &Value) -> Candidate {
        self.hinted(&STANDARD.encode(self.key.fingerprint().as_bytes()), payload_type, statement)
    }

    fn hinted(&self, hint: &str, payload_type: &str, statement: &Value) -> Candidate {
        let payload = statement.to_string();
        let signature = (self.sign)(&pae(payload_type, payload.as_bytes()));
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": payload_type,
                "signatures": [{"sig": STANDARD.encode(signature)}],
            },
        });
        candidate(Material::Bundle(bundle.to_string().into()))
    }

    /// A layer as cosign 2 makes one with a key and no log.
    fn layer(&self, payload: &Value) -> Candidate {
        let payload = payload.to_string().into_bytes();
        let signature = STANDARD.encode((self.sign)(&payload));
        let annotations = BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), signature)]);
        candidate(Material::SimpleSigning { payload: payload.into(), annotations })
    }

    fn verifies(&self, candidate: &Candidate) -> Result<Verified, Rejection> {
        verify_with_key(candidate, &image(), &self.key, TransparencyLog::Ignored, None)
    }
}

fn candidate(material: Material) -> Candidate {
    Candidate { place: Digest::sha256(b"where it was"), material }
}

fn image() -> Digest {
    Digest::sha256(b"an image")
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

fn statement(predicate_type: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image().hex()}, "annotations": {"team": "infra"}}],
        "predicateType": predicate_type,
        "predicate": {"builder": "a"},
    })
}

fn simple_signing() -> Value {
    json!({
        "critical": {
            "identity": {"docker-reference": "registry.example.com/team/app"},
            "image": {"docker-manifest-digest": image().as_str()},
            "type": "cosign container image signature",
        },
        "optional": {"team": "infra"},
    })
}

#[rstest]
#[case(Kind::P256)]
#[case(Kind::P384)]
#[case(Kind::P521)]
#[case(Kind::Ed25519)]
#[case(Kind::Ed25519Prehashed)]
#[case(Kind::Rsa)]
fn a_key_that_signed_verifies_in_every_format(#[case] kind: Kind) {
    let publisher = Publisher::new(kind);
    let expected = |repository: Option<&str>| Verified {
        signer: Signer::Key(publisher.key.fingerprint()),
        claim: Claim::Image {
            annotations: BTreeMap::from([("team".to_owned(), "infra".to_owned())]),
            identity: repository.map(str::to_owned),
        },
        logged: false,
        times: vec![],
    };
    assert_eq!(publisher.verifies(&publisher.bundle(IN_TOTO, &statement(SIGN))), Ok(expected(None)));
    let named = expected(Some("registry.example.com/team/app"));
    assert_eq!(publisher.verifies(&publisher.layer(&simple_signing())), Ok(named));

    let other = Publisher::new(kind);
    for candidate in [other.bundle(IN_TOTO, &statement(SIGN)), other.layer(&simple_signing())] {
        assert_eq!(publisher.verifies(&candidate), Err(Rejection::OtherKey));
    }
    // A hint is a hint: it does not make a stranger's signature one of ours.
    let ours = STANDARD.encode(publisher.key.fingerprint().as_bytes());
    assert_eq!(publisher.verifies(&other.hinted(&ours, IN_TOTO, &statement(SIGN))), Err(Rejection::OtherKey));
}

#[rstest]
#[case("")]
#[case("release-2026")]
fn a_hint_of_another_form_keeps_nobody_out(#[case] hint: &str) {
    let publisher = Publisher::new(Kind::P256);
    assert!(publisher.verifies(&publisher.hinted(hint, IN_TOTO, &statement(SIGN))).is_ok());
}

#[test]
fn an_attestation_is_no_signature_of_the_image() {
    let publisher = Publisher::new(Kind::P256);
    let verified = publisher.verifies(&publisher.bundle(IN_TOTO, &statement(SLSA))).unwrap();
    let expected = Claim::Attestation { predicate_type: SLSA.to_owned(), statement: statement(SLSA) };
    assert_eq!(verified.claim, expected);
}

/// A change to the statement of a genuine signer, who signs that too.
#[rstest]
#[case::another_image("/subject/0/digest/sha256", json!("0".repeat(64)), "it is about sha256:0000")]
#[case::another_algorithm("/subject/0/digest", json!({"sha512": "0".repeat(128)}), "it is about sha512:0000")]
#[case::upper_case("/subject/0/digest/sha256", json!(image().hex().to_uppercase()), "it is about sha256:")]
#[case::no_subject("/subject", json!([]), "it is about nothing")]
#[case::subject_without_digest("/subject", json!([{"name": "app", "digest": {}}]), "it is about nothing")]
#[case::subject_is_no_list("/subject", json!("app"), "it cannot be read")]
#[case::too_many_subjects("/subject", Value::Array(vec![json!({"digest": {}}); 1025]), "it cannot be read: it has more than 1024 subjects")]
#[case::unknown_statement("/_type", json!("https://in-toto.io/Statement/v9"), "its payload is of type https://in-toto.io/Statement/v9")]
#[case::no_predicate_type("/predicateType", json!(""), "its payload is of type ")]
#[case::predicate_type_is_no_text("/predicateType", json!(1), "it cannot be read")]
fn what_a_statement_does_not_say_it_does_not_say(
    #[case] place: &str,
    #[case] value: Value,
    #[case] reason: &str,
) {
    let publisher = Publisher::new(Kind::P256);
    let mut statement = statement(SIGN);
    *statement.pointer_mut(place).unwrap() = value;
    let error = publisher.verifies(&publisher.bundle(IN_TOTO, &statement)).unwrap_err().to_string();
    assert!(error.starts_with(reason), "{error}");
}

#[rstest]
#[case::another_type("application/json", "its payload is of type application/json")]
#[case::no_type("", "its payload is of type ")]
fn a_payload_of_another_type_says_nothing(#[case] payload_type: &str, #[case] reason: &str) {
    let publisher = Publisher::new(Kind::P256);
    let error = publisher.verifies(&publisher.bundle(payload_type, &statement(SIGN))).unwrap_err();
    assert_eq!(error.to_string(), reason);
}

#[rstest]
#[case::another_image("/critical/image/docker-manifest-digest", json!(Digest::sha256(b"another").as_str()), "it is about sha256:")]
#[case::another_type("/critical/type", json!("atomic container signature"), "its payload is of type atomic container signature")]
#[case::no_type("/critical/type", Value::Null, "it cannot be read")]
#[case::nothing_critical("/critical", json!({}), "it cannot be read")]
fn what_a_simple_signing_payload_does_not_say_it_does_not_say(
    #[case] place: &str,
    #[case] value: Value,
    #[case] reason: &str,
) {
    let publisher = Publisher::new(Kind::P256);
    let mut payload = simple_signing();
    *payload.pointer_mut(place).unwrap() = value;
    let error = publisher.verifies(&publisher.layer(&payload)).unwrap_err().to_string();
    assert!(error.starts_with(reason), "{error}");
}

#[test]
fn a_subject_among_others_lends_its_own_annotations() {
    let publisher = Publisher::new(Kind::P256);
    let mut statement = statement(SIGN);
    let other = json!({"digest": {"sha256": "0".repeat(64)}, "annotations": {"team": "evil"}});
    statement["subject"].as_array_mut().unwrap().insert(0, other);
    let verified = publisher.verifies(&publisher.bundle(IN_TOTO, &statement)).unwrap();
    let annotations = BTreeMap::from([("team".to_owned(), "infra".to_owned())]);
    assert_eq!(verified.claim, Claim::Image { annotations, identity: None });
}

/// Every byte of what a bundle carries matters: its payload, its type and its signature.
#[test]
fn one_damaged_byte_is_one_too_many() {
    let publisher = Publisher::new(Kind::P256);
    let Material::Bundle(good) = publisher.bundle(IN_TOTO, &statement(SIGN)).material else { unreachable!() };
    let good: Value = serde_json::from_str(&good).unwrap();
    for place in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
        let bytes = STANDARD.decode(good.pointer(place).unwrap().as_str().unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = STANDARD.encode(bytes).into();
            let verified = publisher.verifies(&candidate(Material::Bundle(bad.to_string().into())));
            assert!(verified.is_err(), "{place}, byte {at}");
        }
    }

    let Material::SimpleSigning { payload, annotations } = publisher.layer(&simple_signing()).material else {
        unreachable!()
    };
    for at in 0..payload.len() {
        let mut payload = payload.clone();
        payload[at] ^= 1;
        let layer = Material::SimpleSigning { payload, annotations: annotations.clone() };
        assert!(publisher.verifies(&candidate(layer)).is_err(), "byte {at}");
    }
}

#[rstest]
#[case::no_json("{".to_owned())]
#[case::no_object("[]".to_owned())]
#[case::nothing("{}".to_owned())]
#[case::no_signature(json!({
    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "verificationMaterial": {"publicKey": {"hint": ""}},
    "dsseEnvelope": {"payload": "e30=", "payloadType": IN_TOTO, "signatures": []},
}).to_string())]
#[case::unknown_version(json!({
    "mediaType": "application/vnd.dev.sigstore.bundle.v9+json",
    "verificationMaterial": {"publicKey": {"hint": ""}},
    "dsseEnvelope": {"payload": "e30=", "payloadType": IN_TOTO, "signatures": [{"sig": "AA=="}]},
}).to_string())]
#[case::deep(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)))]
fn what_is_no_bundle_is_refused_in_few_words(#[case] json: String) {
    let publisher = Publisher::new(Kind::P256);
    let error = publisher.verifies(&candidate(Material::Bundle(json.into()))).unwrap_err();
    assert!(matches!(&error, Rejection::Malformed(_)), "{error}");
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn a_log_that_is_required_is_not_left_out() {
    let publisher = Publisher::new(Kind::P256);
    let candidate = publisher.bundle(IN_TOTO, &statement(SIGN));
    let root = root();
    for (log, expected) in [
        (TransparencyLog::Required, Err(Rejection::NotLogged)),
        (TransparencyLog::IfPresent, Ok(false)),
        (TransparencyLog::Ignored, Ok(false)),
    ] {
        let verified = verify_with_key(&candidate, &image(), &publisher.key, log, Some(&root));
        assert_eq!(verified.map(|verified| verified.logged), expected, "{log:?}");
    }
}

#[test]
fn a_key_is_no_certificate() {
    let publisher = Publisher::new(Kind::P256);
    let mut candidates =
        vec![publisher.bundle(IN_TOTO, &statement(SIGN)), publisher.layer(&simple_signing())];
    for candidate in &candidates {
        let verified = verify_with_certificate(candidate, &image(), TransparencyLog::Ignored, &root());
        assert_eq!(verified, Err(Rejection::NoCertificate));
    }
    // A bare key in the certificate's place, which some have taken for a key that needs no identity.
    let Material::SimpleSigning { annotations, .. } = &mut candidates[1].material else { unreachable!() };
    let certificate = pem("PUBLIC KEY", publisher.key.spki());
    annotations.insert("dev.sigstore.cosign/certificate".to_owned(), certificate);
    let verified = verify_with_certificate(&candidates[1], &image(), TransparencyLog::Ignored, &root());
    assert!(matches!(&verified, Err(Rejection::Malformed(_))), "{verified:?}");
    assert_eq!(publisher.verifies(&candidates[1]), Err(Rejection::Certificate));
}

/// A trust root in which nobody is trusted.
fn root() -> TrustRoot {
    let empty = json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [], "certificateAuthorities": [], "ctlogs": [], "timestampAuthorities": [],
    });
    TrustRoot::from_json(&empty.to_string()).unwrap()
}

#[test]
fn the_public_good_root_can_be_used() {
    TrustRoot::public_good();
}

#[test]
fn a_trust_root_that_cannot_be_used_says_so() {
    for json in ["", "{}", "[]", "not json"] {
        let error = TrustRoot::from_json(json).unwrap_err().to_string();
        assert!(error.starts_with("this is no trusted_root.json that can be used: "), "{error}");
    }
}

#[test]
fn a_key_is_read_or_its_fault_is_named() {
    let publisher = Publisher::new(Kind::P256);
    let good = pem("PUBLIC KEY", publisher.key.spki());
    let read = |text: &str| PublicKey::from_pem(text);
    assert_eq!(read(&good), Ok(publisher.key));
    assert_eq!(read(&format!("\n{}", good.replace('\n', "\r\n"))).map(|_| ()), Ok(()));
    assert_eq!(read(""), Err(KeyError::Missing));
    assert_eq!(read("hunter2"), Err(KeyError::Missing));
    assert_eq!(read(&format!("{good}{good}")), Err(KeyError::Several));
    assert_eq!(read(&good.replace("PUBLIC", "PRIVATE")), Err(KeyError::Private));
    assert_eq!(read(&good.replace("PUBLIC KEY", "ENCRYPTED SIGSTORE PRIVATE KEY")), Err(KeyError::Private));
    assert_eq!(read(&good.replace("PUBLIC KEY", "CERTIFICATE")), Err(KeyError::Certificate));
    assert_eq!(read(&pem("PUBLIC KEY", b"\x30\x00")), Err(KeyError::Malformed));
    assert_eq!(read(&pem("PUBLIC KEY", &[0x30; 3000])), Err(KeyError::Malformed));
    for (bytes, expected) in [
        (128, Err(KeyError::Size { bits: 1024 })),
        (256, Ok(())),
        (512, Ok(())),
        (513, Err(KeyError::Size { bits: 4104 })),
    ] {
        let spki = rsa_key(bytes);
        assert_eq!(read(&pem("PUBLIC KEY", &spki)).map(|_| ()), expected);
    }
}

/// The SubjectPublicKeyInfo of an RSA key whose modulus has so many bytes and no factors that anybody knows.
fn rsa_key(bytes: usize) -> Vec<u8> {
    let tagged = |tag: u8, content: &[&[u8]]| {
        let content = content.concat();
        let length = content.len().to_be_bytes();
        // OK because nothing here is empty
        let length = &length[length.iter().position(|byte| *byte != 0).unwrap()..];
        let long = [0x80 | u8::try_from(length.len()).unwrap()];
        let form = if content.len() < 0x80 { &[][..] } else { &long[..] };
        [&[tag][..], form, length, &content[..]].concat()
    };
    let modulus = [&[0], &vec![0xff; bytes][..]].concat();
    let key = tagged(0x30, &[&tagged(0x02, &[&modulus]), &[0x02, 0x03, 1, 0, 1]]);
    let rsa = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    tagged(0x30, &[&rsa, &tagged(0x03, &[&[0], &key])])
}
