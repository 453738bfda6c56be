use std::time::Instant;

use http::{Method, StatusCode};
use serde::Deserialize;

use super::{
    Registries,
    authorization::Visit,
    errand::Errand,
    manifest::{MANIFEST_LIMIT, digest_of_body, malformed, media_type, unexpected},
    registries::Wanted,
    transport::Class,
};
use crate::{
    evidence::RegistryError,
    image::{Digest, Repository},
    review::credentials::Credential,
};

/// The most platforms that are named; an index that lists more is cut off there.
const PLATFORMS: usize = 64;

/// What an image's manifest or index says of it, for people. No decision hangs on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageManifest {
    /// The media type.
    pub media_type: String,
    /// The platforms of an index in its order; none for the manifest of one platform.
    pub platforms: Vec<Platform>,
}

/// One platform of an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Platform {
    /// `os/architecture`, with `/variant` where there is one.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
    platform: Option<WrittenPlatform>,
}

#[derive(Deserialize)]
struct WrittenPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// To read an image's manifest.
struct ManifestOf<'a>(&'a Digest);

impl Errand for ManifestOf<'_> {
    type Answer = ImageManifest;

    async fn ask(&self, registries: &Registries, visit: Visit<'_>) -> Result<ImageManifest, RegistryError> {
        let url = visit.endpoint.url(&format!("{}/manifests/{}", visit.repository, self.0));
        let accept = Some(registries.accept.clone());
        let (class, method) = (Class::Manifest, Method::GET);
        let reply =
            registries.fetch(visit, Wanted { class, method, url, accept, limit: MANIFEST_LIMIT }).await?;
        if reply.status != StatusCode::OK {
            return Err(unexpected(reply.status));
        }
        digest_of_body(&reply.headers, &reply.body)?;
        if !self.0.matches(&reply.body) {
            return Err(malformed("the manifest has another digest than was asked for"));
        }
        let document: Document = serde_json::from_slice(&reply.body)
            .map_err(|_| malformed("the manifest is no JSON of its kind"))?;
        let media_type = media_type(&reply.headers).unwrap_or_default().to_owned();
        let named = document.manifests.into_iter().filter_map(|entry| {
            let WrittenPlatform { os, architecture, variant } = entry.platform?;
            let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
            Some(Platform { name: format!("{os}/{architecture}{variant}"), digest: entry.digest })
        });
        Ok(ImageManifest { media_type, platforms: named.take(PLATFORMS).collect() })
    }

    fn suffices(_: &ImageManifest) -> bool {
        true
    }
}

impl Registries {
    /// What the manifest or index `image` of a repository says, before `deadline`.
    pub async fn manifest(
        &self,
        place: &Repository,
        image: &Digest,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<ImageManifest, RegistryError> {
        self.run(&ManifestOf(image), place, credentials, deadline).await
    }
}
