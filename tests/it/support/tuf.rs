//! A tiny repository of The Update Framework, signed with keys of the test's own.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;

pub const TARGET: &str = "trusted_root.json";
pub const FAR: &str = "2999-01-01T00:00:00Z";
pub const PAST: &str = "2001-01-01T00:00:00Z";

/// The files of a repository, by their path below its address.
pub type Files = BTreeMap<String, Vec<u8>>;

type Sign = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// Who signs, and what it says.
pub struct Repository {
    /// Those who sign all roles.
    pub keys: Vec<Key>,
    /// How many of them must.
    pub threshold: usize,
    /// The version of everything but roots.
    pub version: u64,
    /// When the timestamp expires.
    pub expires: &'static str,
    /// Whether files carry versions and hashes in their names.
    consistent: bool,
    /// The target's hash, if it is to be another one than that of its content.
    pub hash: Option<&'static str>,
    /// The target's name.
    pub target: &'static str,
    roots: Vec<Vec<u8>>,
}

/// A key and the name that it goes by.
pub struct Key {
    pub id: String,
    public: Value,
    sign: Arc<Sign>,
}

impl Key {
    pub fn ecdsa(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let public = json!({
            "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem(der.as_ref())},
        });
        let sign = move |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        Self { id: id.to_owned(), public, sign: Arc::new(sign) }
    }

    /// The same key under another name.
    pub fn under(&self, id: &str) -> Self {
        Self { id: id.to_owned(), public: self.public.clone(), sign: self.sign.clone() }
    }

    pub fn ed25519(id: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = json!({
            "keytype": "ed25519", "scheme": "ed25519",
            "keyval": {"public": hex(pair.public_key().as_ref())},
        });
        Self {
            id: id.to_owned(),
            public,
            sign: Arc::new(move |message| pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Repository {
    /// Two keys of different kinds, both of which must sign.
    pub fn new(consistent: bool) -> Self {
        let mut repository = Self {
            keys: vec![Key::ecdsa("one"), Key::ed25519("two")],
            threshold: 2,
            version: 1,
            expires: FAR,
            consistent,
            hash: None,
            target: TARGET,
            roots: Vec::new(),
        };
        repository.add_root(&[]);
        repository
    }

    /// The same in another version.
    #[must_use]
    pub fn at(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// The first root, which trust begins with.
    pub fn first_root(&self) -> String {
        String::from_utf8(self.roots[0].clone()).unwrap()
    }

    /// Makes the root anew as things are now, instead of adding one.
    pub fn found_anew(&mut self) {
        self.roots.clear();
        self.add_root(&[]);
    }

    /// Adds a root with other keys, signed by `by` as well.
    pub fn rotate(&mut self, keys: Vec<Key>) {
        let before = std::mem::replace(&mut self.keys, keys);
        self.add_root(&before);
    }

    /// Adds a root as things are now, signed by its own keys and by those of `before`.
    pub fn add_root(&mut self, before: &[Key]) {
        let keys: serde_json::Map<_, _> =
            self.keys.iter().map(|key| (key.id.clone(), key.public.clone())).collect();
        let ids: Vec<&String> = self.keys.iter().map(|key| &key.id).collect();
        let role = json!({"keyids": ids, "threshold": self.threshold});
        let signed = json!({
            "_type": "root", "spec_version": "1.0.31", "version": self.roots.len() + 1, "expires": FAR,
            "consistent_snapshot": self.consistent, "keys": keys,
            "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
        });
        let root = envelope(&signed, self.keys.iter().chain(before));
        self.roots.push(root);
    }

    /// All files, with `content` as its trust root.
    pub fn publish(&self, content: &str) -> Files {
        let mut files = Files::new();
        for (at, root) in self.roots.iter().enumerate() {
            files.insert(format!("{}.root.json", at + 1), root.clone());
        }
        let hash = self.hash.map_or_else(|| hex(digest(&SHA256, content.as_bytes()).as_ref()), str::to_owned);
        let head = |kind: &str, expires: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": self.version, "expires": expires});
        let mut targets = head("targets", FAR);
        targets["targets"] = json!({self.target: {"length": content.len(), "hashes": {"sha256": hash}}});
        let targets = envelope(&targets, &self.keys);
        let mut snapshot = head("snapshot", FAR);
        snapshot["meta"] = json!({"targets.json": self.pin(&targets)});
        let snapshot = envelope(&snapshot, &self.keys);
        let mut timestamp = head("timestamp", self.expires);
        timestamp["meta"] = json!({"snapshot.json": self.pin(&snapshot)});
        files.insert("timestamp.json".to_owned(), envelope(&timestamp, &self.keys));
        let versioned = |name: &str| match self.consistent {
            true => format!("{}.{name}", self.version),
            false => name.to_owned(),
        };
        files.insert(versioned("snapshot.json"), snapshot);
        files.insert(versioned("targets.json"), targets);
        let target = match self.consistent {
            true => format!("targets/{hash}.{}", self.target),
            false => format!("targets/{}", self.target),
        };
        files.insert(target, content.as_bytes().to_vec());
        files
    }

    fn pin(&self, file: &[u8]) -> Value {
        let hash = hex(digest(&SHA256, file).as_ref());
        json!({"version": self.version, "length": file.len(), "hashes": {"sha256": hash}})
    }
}

fn envelope<'a>(signed: &Value, keys: impl IntoIterator<Item = &'a Key>) -> Vec<u8> {
    let message = to_canonical_bytes(signed).unwrap();
    let signatures: Vec<Value> =
        keys.into_iter().map(|key| json!({"keyid": key.id, "sig": hex(&(key.sign)(&message))})).collect();
    json!({"signed": signed, "signatures": signatures}).to_string().into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A public key in PEM.
pub fn pem(der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// The public half of a new key, in PEM.
pub fn new_key() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    pem(AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref())
}
