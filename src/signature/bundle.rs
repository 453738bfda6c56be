use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sigstore_verify::{
    crypto::parse_certificate_info,
    types::{Bundle, DerCertificate, DsseEnvelope, SignatureContent, bundle::VerificationMaterialContent},
};

use super::{claim, classic};
use crate::{
    decision::printable,
    evidence::{Claim, KeyFingerprint, Material, Rejection, Signer},
    image::Digest,
};

/// The longest bundle that is read, in bytes. The largest that carry signatures have 20 KiB; those with
/// an attestation may be as long as the attestation.
const BUNDLE_LIMIT: usize = 32 << 20;
/// The most log entries and the most timestamps of one bundle. Publishers' tools write one of each.
const ENTRY_LIMIT: usize = 8;

/// A candidate, read and not yet believed.
pub(super) struct Parsed<'a> {
    pub(super) content: Content<'a>,
    carrier: Carrier<'a>,
}

/// What was signed, and the signature.
pub(super) enum Content<'a> {
    /// A DSSE envelope, which holds its signature.
    Envelope(Cow<'a, DsseEnvelope>),
    /// Bytes, and a signature of them.
    Payload { payload: &'a [u8], signature: Vec<u8> },
    /// A signature of the image's manifest itself.
    Digest { signature: Vec<u8> },
}

/// What else the candidate carries.
enum Carrier<'a> {
    Bundle(Box<Bundle>),
    Annotations(&'a BTreeMap<String, String>),
}

impl<'a> Parsed<'a> {
    pub(super) fn read(material: &'a Material) -> Result<Self, Rejection> {
        match material {
            Material::Bundle(json) => Self::read_bundle(json),
            Material::SimpleSigning { payload, annotations } => {
                let signature = annotations
                    .get(classic::SIGNATURE)
                    .ok_or_else(|| Rejection::Malformed("its layer has no signature".to_owned()))?;
                let signature = STANDARD
                    .decode(signature.trim())
                    .map_err(|_| Rejection::Malformed("its signature is no base64".to_owned()))?;
                let content = Content::Payload { payload, signature };
                Ok(Self { content, carrier: Carrier::Annotations(annotations) })
            }
            Material::Envelope { envelope, annotations } => {
                let envelope = serde_json::from_slice(envelope).map_err(|error| malformed(&error))?;
                let content = Content::Envelope(Cow::Owned(envelope));
                Ok(Self { content, carrier: Carrier::Annotations(annotations) })
            }
            Material::Unreadable(error) => Err(Rejection::Unreadable(error.clone())),
        }
    }

    fn read_bundle(json: &str) -> Result<Self, Rejection> {
        if json.len() > BUNDLE_LIMIT {
            return Err(Rejection::Malformed(format!("it is longer than {BUNDLE_LIMIT} bytes")));
        }
        let bundle = Bundle::from_json(json).map_err(|error| malformed(&error))?;
        let entries = bundle.verification_material.tlog_entries.len();
        let timestamps = bundle.verification_material.timestamp_verification_data.rfc3161_timestamps.len();
        if entries.max(timestamps) > ENTRY_LIMIT {
            return Err(Rejection::Malformed(format!(
                "it holds more than {ENTRY_LIMIT} log entries or timestamps"
            )));
        }
        let content = match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => Content::Envelope(Cow::Owned(envelope.clone())),
            SignatureContent::MessageSignature(message) => {
                Content::Digest { signature: message.signature.as_bytes().to_vec() }
            }
            _ => return Err(Rejection::Unsupported("a bundle of an unknown kind".to_owned())),
        };
        Ok(Self { content, carrier: Carrier::Bundle(Box::new(bundle)) })
    }

    /// Whether a certificate says whose the signature is.
    pub(super) fn has_certificate(&self) -> bool {
        match &self.carrier {
            Carrier::Bundle(bundle) => {
                !matches!(bundle.verification_material.content, VerificationMaterialContent::PublicKey(_))
            }
            Carrier::Annotations(annotations) => annotations.contains_key(classic::CERTIFICATE),
        }
    }

    /// Whether it comes with a log entry, good or bad.
    pub(super) fn is_logged(&self) -> bool {
        match &self.carrier {
            Carrier::Bundle(bundle) => !bundle.verification_material.tlog_entries.is_empty(),
            Carrier::Annotations(annotations) => annotations.contains_key(classic::LOG_ENTRY),
        }
    }

    /// Whose certificate it carries, before anybody has checked it.
    pub(super) fn unverified_signer(&self) -> Result<Signer, Rejection> {
        let certificate = match &self.carrier {
            Carrier::Bundle(bundle) => {
                bundle.signing_certificate().cloned().ok_or(Rejection::NoCertificate)?
            }
            Carrier::Annotations(annotations) => {
                let pem = annotations.get(classic::CERTIFICATE).ok_or(Rejection::NoCertificate)?;
                DerCertificate::new(classic::certificate(pem)?.to_vec())
            }
        };
        let read = parse_certificate_info(&certificate).map_err(|error| malformed(&error))?;
        match (read.identity, read.issuer) {
            (Some(subject), Some(issuer)) => {
                Ok(Signer::Identity { subject: subject.as_str().to_owned(), issuer })
            }
            _ => Err(Rejection::NoIdentity),
        }
    }

    /// The key that it says it was made with. A hint of another form than cosign's says nothing.
    pub(super) fn hint(&self) -> Option<KeyFingerprint> {
        let Carrier::Bundle(bundle) = &self.carrier else { return None };
        let VerificationMaterialContent::PublicKey(key) = &bundle.verification_material.content else {
            return None;
        };
        let bytes = STANDARD.decode(&key.hint).ok()?;
        Some(KeyFingerprint::new(bytes.try_into().ok()?))
    }

    /// What it says about `image`.
    pub(super) fn claim(&self, image: &Digest) -> Result<Claim, Rejection> {
        match &self.content {
            Content::Envelope(envelope) => {
                claim::of_statement(&envelope.payload_type, envelope.payload.as_bytes(), image)
            }
            Content::Payload { payload, .. } => claim::of_simple_signing(payload, image),
            Content::Digest { .. } => Ok(Claim::Image { annotations: BTreeMap::new(), identity: None }),
        }
    }

    /// All of it as a bundle. `key` is who signed it, where no certificate says so.
    pub(super) fn bundle(&self, key: Option<KeyFingerprint>) -> Result<Cow<'_, Bundle>, Rejection> {
        match &self.carrier {
            Carrier::Bundle(bundle) => Ok(Cow::Borrowed(bundle)),
            Carrier::Annotations(annotations) => {
                let json = classic::bundle(&self.content, annotations, key)?;
                Bundle::from_json(&json.to_string()).map(Cow::Owned).map_err(|error| malformed(&error))
            }
        }
    }
}

/// What a parser made of a stranger's text, short and on one line.
pub(super) fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::Malformed(printable(&error.to_string(), 160))
}
