//! Somebody who signs images and attests things about them, as cosign 3 does with a key and no log.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::image::Digest;

/// The media type of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The predicate type of a signature of an image.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The holder of a key that is made on the spot and gone with the process.
pub struct Publisher {
    key: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl Publisher {
    pub fn new() -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let spki = key.public_key().as_der()?.as_ref().to_vec();
        Ok(Self { key, spki })
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.spki);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    /// A signature of `image`, as a bundle.
    pub fn sign(&self, image: &Digest) -> anyhow::Result<Vec<u8>> {
        self.attest(image, SIGNATURE, &json!({}))
    }

    /// A statement about `image`, as a bundle.
    pub fn attest(&self, image: &Digest, predicate_type: &str, predicate: &Value) -> anyhow::Result<Vec<u8>> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {image.algorithm(): image.hex()}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        });
        let payload = statement.to_string();
        // DSSE v1, "Signature Definition".
        let signed = format!("DSSEv1 {} {PAYLOAD_TYPE} {} {payload}", PAYLOAD_TYPE.len(), payload.len());
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        let hint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.spki);
        let bundle = json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(hint)}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": STANDARD.encode(signature)}],
            },
        });
        Ok(bundle.to_string().into_bytes())
    }
}
