//! A miniature of Sigstore, of which everything can be broken.
//!
//! [`Sigstore`] is the services that vouch: a certificate authority with its certificate transparency log, a
//! Rekor v1 log, and timestamp authorities. A [`Signing`] is what somebody publishes with their help: a bundle,
//! or a layer with annotations. Both are descriptions. Keys exist from the start; certificates, log entries and
//! timestamps are made when [`Sigstore::sign`] or [`Sigstore::trusted_root`] is asked for them. So a test changes
//! one field, and sees what a verifier makes of it.
//!
//! Nothing here listens, and no client of Sigstore takes part: it makes what no real service would. What real
//! ones make is tested with their own programs.
//!
//! Source: sigstore/protobuf-specs (bundle, trusted root), RFC 6962 (Merkle trees, SCTs), RFC 3161 and RFC 5652
//! (timestamps), Rekor's `hashedrekord` and `dsse` 0.0.1, Fulcio's `certificate-specification.md`.

use std::{ops::RangeInclusive, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use tidewaiter::{policy::PublicKey, signature::TrustRoot};

mod certificates;
mod signing;
mod timestamps;
mod transparency;

pub use certificates::{CertificateAuthority, Leaf, Sct, Subject};
pub use signing::{Form, Identified, Signing, What, image};
pub use timestamps::{TimestampAuthority, Token};
pub use transparency::{Entry, Log, Shown};

/// When everything is signed if nobody says otherwise, in seconds since 1970: 2025-06-01T12:00:00Z. Long past,
/// since nobody believes a log that is ahead of his own clock.
pub const SIGNED: i64 = 1_748_779_200;
/// A time in which all of it happens: the ten years around [`SIGNED`].
pub const ALWAYS: Period = SIGNED - 5 * YEAR..=SIGNED + 5 * YEAR;
/// A time that was over before anything was signed.
pub const BEFORE: Period = SIGNED - 2 * YEAR..=SIGNED - YEAR;
/// A time that began only after everything was signed.
pub const AFTER: Period = SIGNED + 60..=SIGNED + YEAR;
/// Of 365 days, in seconds.
pub const YEAR: i64 = 365 * 24 * 60 * 60;

/// From one second to another, both included.
pub type Period = RangeInclusive<i64>;

/// The services that vouch for signatures.
#[derive(Clone)]
pub struct Sigstore {
    /// Issues certificates.
    pub authority: CertificateAuthority,
    /// Where certificates are logged.
    pub certificate_log: Log,
    /// Whether the trust root names that log. GitHub's own instance has none.
    pub names_certificate_log: bool,
    /// Where signatures are logged: Rekor v1.
    pub log: Log,
    /// Say when something was signed. All are in the trust root; the first one is asked.
    pub timestamps: Vec<TimestampAuthority>,
}

impl Sigstore {
    /// Services that nobody knows but who asks for their [trust root](Self::trusted_root).
    pub fn new() -> Self {
        Self {
            authority: CertificateAuthority::new(),
            certificate_log: Log::new(),
            names_certificate_log: true,
            log: Log::new(),
            timestamps: vec![TimestampAuthority::new()],
        }
    }

    /// The `trusted_root.json` that describes them.
    pub fn trusted_root(&self) -> Value {
        let log = |log: &Log| {
            json!({
                "baseUrl": "https://log.example.com",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(log.key.spki()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": period(&log.trusted),
                },
                "logId": {"keyId": STANDARD.encode(log.key.id())},
            })
        };
        let authority = |chain: Vec<Vec<u8>>, trusted: &Period| {
            let certificates: Vec<_> =
                chain.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
            json!({
                "subject": {"organization": "example.com", "commonName": "authority"},
                "uri": "https://authority.example.com",
                "certChain": {"certificates": certificates},
                "validFor": period(trusted),
            })
        };
        let timestamps: Vec<_> =
            self.timestamps.iter().map(|one| authority(one.chain(), &one.trusted)).collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log)],
            "certificateAuthorities": [authority(self.authority.listed(), &self.authority.trusted)],
            "ctlogs": if self.names_certificate_log { vec![log(&self.certificate_log)] } else { vec![] },
            "timestampAuthorities": timestamps,
        })
    }

    /// What Tidewaiter makes of the [`trusted_root`](Self::trusted_root).
    pub fn trust(&self) -> TrustRoot {
        TrustRoot::from_json(&self.trusted_root().to_string()).unwrap()
    }
}

/// An ECDSA key on P-256, both halves. Its clones are the same key.
#[derive(Clone)]
pub struct Key(Arc<KeyPair>);

impl Key {
    /// A key that nobody else has.
    pub fn new() -> Self {
        Self(Arc::new(KeyPair::generate().unwrap()))
    }

    /// A signature over SHA-256, in ASN.1.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    /// The public half as a SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// The public half in PEM.
    pub fn pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// The public half, for a verifier.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_pem(&self.pem()).unwrap()
    }

    /// The SHA-256 digest of the public half: a log's id, a bundle's hint.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.spki())
    }
}

/// The SHA-256 digest.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// Lowercase hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Protobuf's `TimeRange` in JSON.
fn period(period: &Period) -> Value {
    json!({"start": instant(*period.start()), "end": instant(*period.end())})
}

/// The second as documents and messages write it.
pub fn instant(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}
