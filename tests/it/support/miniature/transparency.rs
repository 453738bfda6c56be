//! The transparency log: Rekor v1.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{ALWAYS, Key, Period, SIGNED, What, hex, sha256};

/// A log of signatures or of certificates.
#[derive(Clone)]
pub struct Log {
    /// Signs what it promises and its checkpoints. The key's id is the log's.
    pub key: Key,
    /// From when to when the trust root says that the key is the log's.
    pub trusted: Period,
}

impl Log {
    /// A new log.
    pub fn new() -> Self {
        Self { key: Key::new(), trusted: ALWAYS }
    }
}

/// How a signature is logged.
#[derive(Clone)]
pub struct Entry {
    /// In which log; none if in the instance's.
    pub log: Option<Log>,
    /// Changes what the log is shown. What it is shown otherwise is what is published.
    pub shown: fn(&mut Shown),
    /// When the entry says that it was logged.
    pub integrated: Option<i64>,
    /// The signed entry timestamp (SET), which makes the time one that the log vouches for.
    pub promise: Option<Promise>,
    /// The proof that the log holds it. There is no room for it in a layer's annotations.
    pub proof: Option<Proof>,
}

/// What a log is shown of a signature.
pub struct Shown {
    /// As what it is logged: a hashedrekord or a dsse.
    pub what: What,
    /// The bytes that are signed; of an envelope its payload.
    pub artifact: Vec<u8>,
    /// The signature of it.
    pub signature: Vec<u8>,
    /// The certificate or the key, in PEM.
    pub verifier: String,
}

/// A signed entry timestamp.
#[derive(Clone, Default)]
pub struct Promise {
    /// Whose key signs it; none if the log's.
    pub by: Option<Key>,
    /// Which time is signed; none if that of the entry.
    pub time: Option<i64>,
}

/// A proof of inclusion, with a checkpoint.
#[derive(Clone, Default)]
pub struct Proof {
    /// Whose key signs the checkpoint; none if the log's.
    pub by: Option<Key>,
    /// For which of the [eight](SIZE) entries of the log it is; none if for the one that holds the signature.
    pub index: Option<usize>,
    /// Whether the checkpoint is one of the log before it held the signature.
    pub of_before: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            log: None,
            shown: |_| {},
            integrated: Some(SIGNED),
            promise: Some(Promise::default()),
            proof: Some(Proof::default()),
        }
    }
}

/// How many entries the log has, and which of them is the one that matters.
const SIZE: usize = 8;
const INDEX: usize = 5;
const ORIGIN: &str = "log.example.com";

/// A signature in a log: what bundles and annotations have to say of it.
pub(super) struct Logged {
    kind: &'static str,
    body: Vec<u8>,
    log_id: [u8; 32],
    integrated: Option<i64>,
    promise: Option<Vec<u8>>,
    proof: Option<Value>,
}

impl Entry {
    pub(super) fn log(&self, instance: &Log, mut shown: Shown) -> Logged {
        (self.shown)(&mut shown);
        let log = self.log.as_ref().unwrap_or(instance);
        let body = shown.body();
        let promise = self.promise.as_ref().map(|promise| {
            let time = promise.time.or(self.integrated).unwrap_or(0);
            // The keys in their order and no space between: canonical JSON (RFC 8785).
            let signed = json!({
                "body": STANDARD.encode(&body),
                "integratedTime": time,
                "logID": hex(&log.key.id()),
                "logIndex": INDEX,
            });
            promise.by.as_ref().unwrap_or(&log.key).sign(signed.to_string().as_bytes())
        });
        let proof = self.proof.as_ref().map(|proof| proof.of(&body, log));
        Logged {
            kind: shown.what.kind(),
            body,
            log_id: log.key.id(),
            integrated: self.integrated,
            promise,
            proof,
        }
    }
}

impl What {
    fn kind(self) -> &'static str {
        match self {
            Self::Message => "hashedrekord",
            Self::Envelope => "dsse",
        }
    }
}

impl Shown {
    /// The canonical body of the entry.
    fn body(&self) -> Vec<u8> {
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex(&sha256(bytes))});
        let (signature, verifier) = (STANDARD.encode(&self.signature), STANDARD.encode(&self.verifier));
        let spec = match self.what {
            What::Message => json!({
                "data": {"hash": hash(&self.artifact)},
                "signature": {"content": signature, "publicKey": {"content": verifier}},
            }),
            What::Envelope => json!({
                "envelopeHash": hash(b"the envelope, in whatever JSON it was sent"),
                "payloadHash": hash(&self.artifact),
                "signatures": [{"signature": signature, "verifier": verifier}],
            }),
        };
        json!({"apiVersion": "0.0.1", "kind": self.what.kind(), "spec": spec}).to_string().into_bytes()
    }
}

impl Logged {
    /// As bundles have it.
    pub(super) fn in_bundle(&self) -> Value {
        let mut entry = json!({
            "logIndex": INDEX.to_string(),
            "logId": {"keyId": STANDARD.encode(self.log_id)},
            "kindVersion": {"kind": self.kind, "version": "0.0.1"},
            "canonicalizedBody": STANDARD.encode(&self.body),
        });
        if let Some(time) = self.integrated {
            entry["integratedTime"] = time.to_string().into();
        }
        if let Some(promise) = &self.promise {
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": STANDARD.encode(promise)});
        }
        if let Some(proof) = &self.proof {
            entry["inclusionProof"] = proof.clone();
        }
        entry
    }

    /// As the annotation of a layer has it.
    pub(super) fn in_annotation(&self) -> Value {
        json!({
            "SignedEntryTimestamp": STANDARD.encode(self.promise.as_deref().unwrap_or_default()),
            "Payload": {
                "body": STANDARD.encode(&self.body),
                "integratedTime": self.integrated,
                "logIndex": INDEX,
                "logID": hex(&self.log_id),
            },
        })
    }
}

impl Proof {
    fn of(&self, body: &[u8], log: &Log) -> Value {
        let leaf = |index: usize| match index {
            INDEX if !self.of_before => [&[0], body].concat(),
            index => [&[0], format!("entry {index}").as_bytes()].concat(),
        };
        let leaves: Vec<_> = (0..SIZE).map(|index| sha256(&leaf(index))).collect();
        let index = self.index.unwrap_or(INDEX);
        let root = STANDARD.encode(root_of(&leaves));
        let hashes: Vec<_> = path(index, &leaves).iter().map(|hash| STANDARD.encode(hash)).collect();
        let note = format!("{ORIGIN}\n{SIZE}\n{root}\n");
        let key = self.by.as_ref().unwrap_or(&log.key);
        let signature = [&key.id()[..4], &key.sign(note.as_bytes())].concat();
        json!({
            "logIndex": index.to_string(),
            "treeSize": SIZE.to_string(),
            "rootHash": root,
            "hashes": hashes,
            "checkpoint": {"envelope": format!("{note}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature))},
        })
    }
}

/// The hash of a Merkle tree (RFC 6962 §2.1), which has at least one leaf.
fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = halves(leaves);
    sha256(&[&[1][..], &root_of(left), &root_of(right)].concat())
}

/// The audit path of one leaf (RFC 6962 §2.1.1), from the leaf up.
fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = halves(leaves);
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (path(index, left), right),
        Some(index) => (path(index, right), left),
    };
    path.push(root_of(sibling));
    path
}

/// Split at the largest power of two that leaves something on the right.
fn halves(leaves: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    leaves.split_at(leaves.len().div_ceil(2).next_power_of_two())
}
