//! OCI image layouts: what a registry held of one repository, in a folder.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tidewaiter::{
    evidence::{Candidate, Material},
    image::Digest,
};

/// What the layer of a bundle is.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An OCI image layout (OCI image-spec 1.1, "Image Layout").
pub struct Layout<'a> {
    folder: &'a Path,
    index: Value,
}

impl<'a> Layout<'a> {
    /// Reads its index.
    pub fn open(folder: &'a Path) -> Self {
        Self { folder, index: json(&folder.join("index.json")) }
    }

    /// What the tag stands for.
    pub fn tag(&self, tag: &str) -> Option<Digest> {
        self.tagged().into_iter().find(|(found, _)| *found == tag).map(|(_, descriptor)| digest(descriptor))
    }

    /// Every tag, and the descriptor of what it stands for.
    pub fn tagged(&self) -> Vec<(&str, &Value)> {
        let manifests = self.index["manifests"].as_array().unwrap().iter();
        manifests
            .map(|one| (one["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap(), one))
            .collect()
    }

    /// The images, without what stands beside them.
    pub fn images(&self) -> Vec<Digest> {
        let tagged = self.tagged().into_iter();
        tagged.filter(|(tag, _)| !tag.starts_with("sha256-")).map(|(_, one)| digest(one)).collect()
    }

    /// The content with this digest.
    pub fn blob(&self, digest: &Digest) -> Vec<u8> {
        fs::read(self.folder.join("blobs/sha256").join(digest.hex())).unwrap()
    }

    /// The same, where it is a manifest or an index.
    pub fn manifest(&self, digest: &Digest) -> Value {
        serde_json::from_slice(&self.blob(digest)).unwrap()
    }

    /// Everything beside the image: bundles first, then the layers of `.sig` and `.att`.
    pub fn candidates(&self, image: &Digest) -> Vec<Candidate> {
        let tag = image.as_str().replace(':', "-");
        let mut found = Vec::new();
        if let Some(index) = self.tag(&tag) {
            for referrer in self.manifest(&index)["manifests"].as_array().unwrap() {
                let place = digest(referrer);
                let layer = &self.manifest(&place)["layers"][0];
                if layer["mediaType"] == BUNDLE {
                    let bundle = String::from_utf8(self.blob(&digest(layer))).unwrap();
                    found.push(Candidate { place, material: Material::Bundle(bundle.into()) });
                }
            }
        }
        for kind in ["sig", "att"] {
            let Some(manifest) = self.tag(&format!("{tag}.{kind}")) else { continue };
            for layer in self.manifest(&manifest)["layers"].as_array().unwrap() {
                let place = digest(layer);
                let content = self.blob(&place).into();
                let annotations: BTreeMap<_, _> =
                    serde_json::from_value(layer["annotations"].clone()).unwrap();
                let material = match kind {
                    "sig" => Material::SimpleSigning { payload: content, annotations },
                    _ => Material::Envelope { envelope: content, annotations },
                };
                found.push(Candidate { place, material });
            }
        }
        found
    }
}

/// The digest in a descriptor.
pub fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
