//! What was published beside images, in a real registry and in those that a script plays.

mod hostile;
mod real;
mod scripted;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Attached, Candidate, Material, RegistryError},
    image::{Digest, Repository},
    registry::Registries,
    review::{credentials::Keyring, ports::Attachments as _},
};

use super::{PATIENCE, name};
use crate::support::hostile::{Received, Reply};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

const SIGNATURES: Attached = Attached { signatures: true, attestations: false };
const ATTESTATIONS: Attached = Attached { signatures: false, attestations: true };
const BOTH: Attached = Attached { signatures: true, attestations: true };

/// The repository that scripts play.
const REPOSITORY: &str = "shop/web";

type Found = Result<Vec<Candidate>, RegistryError>;

/// What stands beside `image` in [`REPOSITORY`] of the registry at `host`.
async fn beside(
    registries: &Registries,
    host: &str,
    image: &Digest,
    wanted: Attached,
    keyring: &Keyring,
) -> Found {
    look(registries, &format!("{host}/{REPOSITORY}"), image, wanted, keyring, PATIENCE).await
}

async fn look(
    registries: &Registries,
    place: &str,
    image: &Digest,
    wanted: Attached,
    keyring: &Keyring,
    patience: Duration,
) -> Found {
    let place: Repository = place.parse().unwrap();
    let credentials = keyring.find(place.host(), place.path());
    registries.beside(&place, image, wanted, &credentials, Instant::now() + patience).await
}

/// What was found, a word each: what it is, or why it cannot be read.
fn told(found: &Found) -> String {
    match found {
        Err(error) => format!("error {}", name(error)),
        Ok(candidates) => candidates.iter().map(word).collect::<Vec<_>>().join(" "),
    }
}

fn word(candidate: &Candidate) -> String {
    match &candidate.material {
        Material::Bundle(_) => "bundle".to_owned(),
        Material::SimpleSigning { .. } => "layer".to_owned(),
        Material::Envelope { .. } => "envelope".to_owned(),
        Material::Unreadable(error) => name(error),
    }
}

/// What a registry holds of [`REPOSITORY`], where a script plays it.
#[derive(Clone, Default)]
struct Shelf {
    /// By tag or digest: media type and content.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// What the list of each digest's referrers says; none without the API.
    referrers: Option<BTreeMap<String, Vec<Value>>>,
}

impl Shelf {
    /// A registry that keeps no lists, with one image under the tag `1`.
    fn new() -> (Self, Digest) {
        let mut shelf = Self::default();
        let image = shelf.put_manifest(MANIFEST, &json!({"schemaVersion": 2, "config": {}, "layers": []}));
        shelf.tag("1", &image);
        let image = digest(&image);
        (shelf, image)
    }

    /// One that keeps lists.
    fn with_lists() -> (Self, Digest) {
        let (shelf, image) = Self::new();
        (Self { referrers: Some(BTreeMap::new()), ..shelf }, image)
    }

    fn put_blob(&mut self, media_type: &str, content: impl Into<Vec<u8>>) -> Value {
        let content = content.into();
        let descriptor = descriptor(media_type, &content);
        self.blobs.insert(digest(&descriptor).to_string(), content);
        descriptor
    }

    fn put_manifest(&mut self, media_type: &str, manifest: &Value) -> Value {
        self.put_raw_manifest(media_type, manifest.to_string())
    }

    fn put_raw_manifest(&mut self, media_type: &str, content: impl Into<Vec<u8>>) -> Value {
        let content = content.into();
        let descriptor = descriptor(media_type, &content);
        self.manifests.insert(digest(&descriptor).to_string(), (media_type.to_owned(), content));
        descriptor
    }

    fn tag(&mut self, tag: &str, descriptor: &Value) {
        let manifest = self.manifests[digest(descriptor).as_str()].clone();
        self.manifests.insert(tag.to_owned(), manifest);
    }

    /// Something about `subject` with these layers, as a descriptor that no list holds yet. Its type there is
    /// what cosign 3 makes of it.
    fn put_referrer(&mut self, subject: &Digest, layers: &[Value]) -> Value {
        let config = self.put_blob(EMPTY, "{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": layers[0]["mediaType"],
            "config": config, "layers": layers,
            "subject": {"mediaType": MANIFEST, "digest": subject.as_str(), "size": 42},
        });
        let mut descriptor = self.put_manifest(MANIFEST, &manifest);
        descriptor["artifactType"] = EMPTY.into();
        descriptor
    }

    /// A bundle about `subject`, as a descriptor that no list holds yet.
    fn put_bundle(&mut self, subject: &Digest, content: &str) -> Value {
        let layer = self.put_blob(BUNDLE, content);
        self.put_referrer(subject, &[layer])
    }

    /// Puts referrers into the registry's own list.
    fn list(&mut self, subject: &Digest, referrers: &[Value]) {
        let lists = self.referrers.as_mut().unwrap();
        lists.entry(subject.to_string()).or_default().extend_from_slice(referrers);
    }

    /// Puts referrers under the tag that stands in for the list.
    fn list_under_tag(&mut self, subject: &Digest, referrers: &[Value]) {
        let index = self.put_manifest(INDEX, &index(referrers));
        self.tag(&subject.as_str().replace(':', "-"), &index);
    }

    /// Puts layers under cosign's tag: `sig` or `att`.
    fn put_tagged(&mut self, subject: &Digest, kind: &str, layers: &[Value]) {
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": layers});
        let manifest = self.put_manifest(MANIFEST, &manifest);
        self.tag(&format!("{}.{kind}", subject.as_str().replace(':', "-")), &manifest);
    }

    /// A layer of the tag `.sig`.
    fn put_signature(&mut self, payload: &str, signature: &str) -> Value {
        let mut layer = self.put_blob(SIMPLE_SIGNING, payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        layer
    }

    fn answer(&self, request: &Received) -> Reply {
        let found = request.path().strip_prefix(&format!("/v2/{REPOSITORY}/"));
        let Some((folder, name)) = found.and_then(|found| found.split_once('/')) else {
            return Reply::status(404);
        };
        match folder {
            "manifests" => {
                let Some((media_type, content)) = self.manifests.get(name) else { return Reply::status(404) };
                Reply::status(200)
                    .header("content-type", media_type)
                    .header("docker-content-digest", Digest::sha256(content).as_str())
                    .body(content.clone())
            }
            "blobs" => {
                let Some(content) = self.blobs.get(name) else { return Reply::status(404) };
                Reply::status(200).header("content-type", "application/octet-stream").body(content.clone())
            }
            "referrers" => {
                let Some(lists) = &self.referrers else { return Reply::status(404) };
                list(lists.get(name).map_or(&[][..], Vec::as_slice))
            }
            _ => Reply::status(404),
        }
    }
}

/// A page of a list of referrers.
fn list(referrers: &[Value]) -> Reply {
    Reply::status(200).header("content-type", INDEX).body(index(referrers).to_string())
}

fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content).as_str(), "size": content.len()})
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

/// What came, a line each, without the repository.
fn lines(received: &[Received]) -> Vec<String> {
    let prefix = format!("/v2/{REPOSITORY}/");
    received
        .iter()
        .map(|request| {
            let target = request.target.strip_prefix(&prefix).unwrap_or(&request.target);
            format!("{} {target}", request.method)
        })
        .collect()
}
