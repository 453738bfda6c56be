//! What somebody publishes.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Candidate, Material},
    image::Digest,
};

use super::{Entry, Key, Leaf, Shown, Sigstore, Token, sha256, transparency::Logged};

/// The manifest of the image that everything here is about.
const MANIFEST: &[u8] = b"the manifest of an image";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The image that everything here is about.
pub fn image() -> Digest {
    Digest::sha256(MANIFEST)
}

/// In which form it is published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// A Sigstore bundle v0.1.
    V01,
    /// A Sigstore bundle v0.2.
    V02,
    /// A Sigstore bundle v0.3.
    V03,
    /// A layer with annotations, as cosign 1 and 2 make it.
    Classic,
}

/// What is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// Bytes: in a bundle the image's manifest, in a layer a simple signing payload.
    Message,
    /// A DSSE envelope with an in-toto statement.
    Envelope,
}

impl What {
    /// That which it is not.
    pub fn other(self) -> Self {
        match self {
            Self::Message => Self::Envelope,
            Self::Envelope => Self::Message,
        }
    }
}

/// How a publication says whose key signed it.
#[derive(Clone, Debug)]
pub enum Identified {
    /// By a certificate.
    Certificate,
    /// By nothing but a hint, which a layer has no room for.
    Key {
        /// The hint.
        hint: String,
    },
    /// By a bare key where the certificate belongs.
    KeyAsCertificate,
}

/// What somebody signs, how, and with whose help.
#[derive(Clone)]
pub struct Signing {
    /// In which form it is published.
    pub form: Form,
    /// What is signed.
    pub what: What,
    /// Whose key signs.
    pub key: Key,
    /// How it says whose key that is.
    pub identified: Identified,
    /// The certificate, whether it is published or only logged.
    pub leaf: Leaf,
    /// How it is logged: not at all, or once, or several times.
    pub entries: Vec<Entry>,
    /// By whom it is timestamped: by nobody, or by one, or by several.
    pub tokens: Vec<Token>,
    /// The image's manifest, which a bundle with a message is a signature of.
    pub manifest: Vec<u8>,
    /// The simple signing payload.
    pub payload: Value,
    /// The in-toto statement.
    pub statement: Value,
    /// The type of the envelope's payload.
    pub payload_type: String,
    /// What is published as signed, if it is something else than what was signed.
    pub swapped: Option<Vec<u8>>,
    /// How many times the envelope is signed, each time with another key but the first.
    pub signatures: usize,
}

impl Signing {
    /// An undamaged one by certificate, which is logged.
    pub fn keyless(form: Form, what: What) -> Self {
        Self {
            form,
            what,
            key: Key::new(),
            identified: Identified::Certificate,
            leaf: Leaf::default(),
            entries: vec![Entry::default()],
            tokens: vec![],
            manifest: MANIFEST.to_vec(),
            payload: json!({
                "critical": {
                    "identity": {"docker-reference": "registry.example.com/app"},
                    "image": {"docker-manifest-digest": image().as_str()},
                    "type": "cosign container image signature",
                },
                "optional": null,
            }),
            statement: json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"digest": {"sha256": image().hex()}}],
                "predicateType": "https://sigstore.dev/cosign/sign/v1",
                "predicate": {},
            }),
            payload_type: IN_TOTO.to_owned(),
            swapped: None,
            signatures: 1,
        }
    }

    /// An undamaged one by a key, which is logged.
    pub fn by_key(form: Form, what: What) -> Self {
        let mut signing = Self::keyless(form, what);
        signing.identified = Identified::Key { hint: STANDARD.encode(signing.key.id()) };
        signing
    }

    /// The one log entry.
    pub fn entry(&mut self) -> &mut Entry {
        let [entry] = &mut self.entries[..] else { panic!("there is not just one entry") };
        entry
    }

    /// The one timestamp.
    pub fn token(&mut self) -> &mut Token {
        let [token] = &mut self.tokens[..] else { panic!("there is not just one timestamp") };
        token
    }

    /// The same without a log, timestamped instead.
    pub fn timestamped(mut self) -> Self {
        self.entries.clear();
        self.tokens = vec![Token::default()];
        self
    }

    /// The bytes that a publication holds; of an envelope its payload.
    fn artifact(&self) -> Vec<u8> {
        match (self.what, self.form) {
            (What::Envelope, _) => self.statement.to_string().into_bytes(),
            (What::Message, Form::Classic) => self.payload.to_string().into_bytes(),
            (What::Message, _) => self.manifest.clone(),
        }
    }

    /// The bytes that the key signs.
    fn signed(&self, artifact: &[u8]) -> Vec<u8> {
        match self.what {
            What::Message => artifact.to_vec(),
            What::Envelope => {
                let head =
                    format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, artifact.len());
                [head.as_bytes(), artifact].concat()
            }
        }
    }
}

impl Sigstore {
    /// What comes of it: something that a registry could hold beside the [image](image()).
    pub fn sign(&self, signing: &Signing) -> Candidate {
        let artifact = signing.artifact();
        let signed = signing.signed(&artifact);
        let signature = signing.key.sign(&signed);
        let holder = signing.leaf.key.as_ref().unwrap_or(&signing.key);
        let certificate = self.authority.issue(&signing.leaf, holder, &self.certificate_log);
        let entries = signing.entries.iter().map(|entry| {
            let by_key = matches!(signing.identified, Identified::Key { .. });
            let shown = Shown {
                what: signing.what,
                artifact: artifact.clone(),
                signature: signature.clone(),
                verifier: if by_key { signing.key.pem() } else { pem("CERTIFICATE", &certificate) },
            };
            entry.log(&self.log, shown)
        });
        let answers = signing.tokens.iter().map(|token| token.answer(&self.timestamps[0], &signature));
        let mut signatures = vec![signature.clone()];
        signatures.resize_with(signing.signatures, || Key::new().sign(&signed));
        let made = Made {
            entries: entries.collect(),
            answers: answers.map(|answer| STANDARD.encode(answer)).collect(),
            published: signing.swapped.clone().unwrap_or(artifact),
            signature: STANDARD.encode(&signature),
            signatures,
            certificate,
            intermediate: signing.leaf.by.as_ref().unwrap_or(&self.authority).intermediate_certificate(),
        };
        let material = match signing.form {
            Form::Classic => made.layer(signing),
            Form::V01 | Form::V02 | Form::V03 => made.bundle(signing),
        };
        Candidate { place: Digest::sha256(b"where it was found"), material }
    }
}

/// All that is made for a publication, before it has a form.
struct Made {
    published: Vec<u8>,
    /// In base64.
    signature: String,
    /// All that the envelope shall have, of which that is the first.
    signatures: Vec<Vec<u8>>,
    certificate: Vec<u8>,
    intermediate: Vec<u8>,
    entries: Vec<Logged>,
    /// In base64.
    answers: Vec<String>,
}

impl Made {
    /// cosign's `SIGNATURE_SPEC.md`.
    fn layer(&self, signing: &Signing) -> Material {
        let mut annotations = BTreeMap::new();
        let mut annotate = |name: &str, value: String| {
            annotations.insert(format!("dev.sigstore.cosign/{name}"), value);
        };
        match signing.identified {
            Identified::Certificate => annotate("certificate", pem("CERTIFICATE", &self.certificate)),
            Identified::KeyAsCertificate => annotate("certificate", signing.key.pem()),
            Identified::Key { .. } => {}
        }
        if let Some(entry) = self.entries.first() {
            annotate("bundle", entry.in_annotation().to_string());
        }
        if let Some(answer) = self.answers.first() {
            annotate("rfc3161timestamp", json!({"SignedRFC3161Timestamp": answer}).to_string());
        }
        let mut sign = |signature: &str| {
            annotations.insert("dev.cosignproject.cosign/signature".to_owned(), signature.to_owned());
        };
        match signing.what {
            What::Message => {
                sign(&self.signature);
                Material::SimpleSigning { payload: self.published.clone().into(), annotations }
            }
            What::Envelope => {
                // The envelope has its own.
                sign("");
                let envelope = self.envelope(signing).to_string().into_bytes();
                Material::Envelope { envelope: envelope.into(), annotations }
            }
        }
    }

    fn bundle(&self, signing: &Signing) -> Material {
        let mut material = self.identified(signing);
        if !self.entries.is_empty() {
            material["tlogEntries"] = self.entries.iter().map(Logged::in_bundle).collect();
        }
        if !self.answers.is_empty() {
            let answers: Vec<_> =
                self.answers.iter().map(|answer| json!({"signedTimestamp": answer})).collect();
            material["timestampVerificationData"] = json!({"rfc3161Timestamps": answers});
        }
        let media_type = match signing.form {
            Form::V01 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
            Form::V02 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
            Form::V03 | Form::Classic => "application/vnd.dev.sigstore.bundle.v0.3+json",
        };
        let mut bundle = json!({"mediaType": media_type, "verificationMaterial": material});
        match signing.what {
            What::Message => {
                let digest = STANDARD.encode(sha256(&self.published));
                bundle["messageSignature"] = json!({
                    "messageDigest": {"algorithm": "SHA2_256", "digest": digest},
                    "signature": self.signature,
                });
            }
            What::Envelope => bundle["dsseEnvelope"] = self.envelope(signing),
        }
        Material::Bundle(bundle.to_string().into())
    }

    /// What says whose key signed. A chain up to v0.2, and one certificate since.
    fn identified(&self, signing: &Signing) -> Value {
        let raw = |der: &[u8]| json!({"rawBytes": STANDARD.encode(der)});
        let own = match &signing.identified {
            Identified::Key { hint } => return json!({"publicKey": {"hint": hint}}),
            Identified::KeyAsCertificate => raw(&signing.key.spki()),
            Identified::Certificate => raw(&self.certificate),
        };
        if signing.form == Form::V03 {
            return json!({"certificate": own});
        }
        let mut chain = vec![own];
        if signing.leaf.carries_intermediate {
            chain.push(raw(&self.intermediate));
        }
        json!({"x509CertificateChain": {"certificates": chain}})
    }

    /// DSSE v1.
    fn envelope(&self, signing: &Signing) -> Value {
        let signatures: Vec<_> =
            self.signatures.iter().map(|sig| json!({"sig": STANDARD.encode(sig)})).collect();
        json!({
            "payload": STANDARD.encode(&self.published),
            "payloadType": signing.payload_type,
            "signatures": signatures,
        })
    }
}

/// A PEM block.
fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
