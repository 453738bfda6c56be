//! The form in which cosign 1 and 2 store signatures, as a bundle.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bundle::{Content, malformed};
use crate::{
    evidence::{KeyFingerprint, Rejection},
    image::Digest,
};

/// The layer annotations (cosign's `SIGNATURE_SPEC.md`).
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
pub(super) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub(super) const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogEntry {
    signed_entry_timestamp: String,
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogBody {
    api_version: String,
    kind: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    signed: String,
}

/// The bundle that says the same as a layer and its annotations.
pub(super) fn bundle(
    content: &Content<'_>,
    annotations: &BTreeMap<String, String>,
    key: Option<KeyFingerprint>,
) -> Result<Value, Rejection> {
    let mut material = match (annotations.get(CERTIFICATE), key) {
        (Some(pem), _) => {
            let certificates = [json!({"rawBytes": STANDARD.encode(certificate(pem)?)})];
            json!({"x509CertificateChain": {"certificates": certificates}})
        }
        (None, Some(key)) => json!({"publicKey": {"hint": STANDARD.encode(key.as_bytes())}}),
        (None, None) => return Err(Rejection::NoCertificate),
    };
    let version = match annotations.get(LOG_ENTRY) {
        // Only this version holds an entry as classic layers do: with the log's promise and without a proof.
        Some(entry) => {
            material["tlogEntries"] = json!([log_entry(entry)?]);
            "0.1"
        }
        // And that version is none without an entry.
        None => "0.2",
    };
    let mut bundle =
        json!({"mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}")});
    match content {
        Content::Payload { payload, signature } => {
            if let Some(timestamp) = annotations.get(TIMESTAMP) {
                let Timestamp { signed } =
                    serde_json::from_str(timestamp).map_err(|error| malformed(&error))?;
                material["timestampVerificationData"] =
                    json!({"rfc3161Timestamps": [{"signedTimestamp": signed}]});
            }
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload);
            bundle["messageSignature"] = json!({
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(hash)},
                "signature": STANDARD.encode(signature),
            });
        }
        // Here the timestamp is one of the whole layer and not of the signature, so that no bundle can hold it.
        Content::Envelope(envelope) => {
            bundle["dsseEnvelope"] = serde_json::to_value(envelope).map_err(|error| malformed(&error))?;
        }
        Content::Digest { .. } => return Err(Rejection::Unsupported("a layer without a payload".to_owned())),
    }
    bundle["verificationMaterial"] = material;
    Ok(bundle)
}

/// The one certificate of an annotation. Anything else in its place, as a bare key, says nothing about who
/// signed.
pub(super) fn certificate(pem: &str) -> Result<CertificateDer<'static>, Rejection> {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    match (certificates.next(), certificates.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        _ => {
            Err(Rejection::Malformed("its certificate annotation holds not just one certificate".to_owned()))
        }
    }
}

fn log_entry(annotation: &str) -> Result<Value, Rejection> {
    let entry: LogEntry = serde_json::from_str(annotation).map_err(|error| malformed(&error))?;
    let LogPayload { body, integrated_time, log_index, log_id } = entry.payload;
    let bytes = STANDARD.decode(&body).map_err(|error| malformed(&error))?;
    let LogBody { api_version, kind } = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
    // A log's id has the form of a SHA-256 digest's value.
    let id: Digest = format!("sha256:{log_id}").parse().map_err(|error| malformed(&error))?;
    Ok(json!({
        "logIndex": log_index.to_string(),
        "logId": {"keyId": STANDARD.encode(id.bytes())},
        "kindVersion": {"kind": kind, "version": api_version},
        "integratedTime": integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": entry.signed_entry_timestamp},
        "canonicalizedBody": body,
    }))
}
