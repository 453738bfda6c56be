//! Manifests and indexes (OCI image-spec 1.1), as far as they are read here.

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};

use crate::{evidence::RegistryError, image::Digest};

/// The media type of an index, which is also that of a list of referrers.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What a digest may stand for: indexes and manifests (OCI image-spec 1.1; Docker's schema 2). Not
/// Docker's schema 1, whose digest says nothing about what a runtime makes of it.
pub(super) const MEDIA_TYPES: [&str; 4] = [
    INDEX,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// The largest manifest that is read, in bytes.
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;
const DIGEST_HEADER: &str = "docker-content-digest";

/// The digest that a HEAD names; none where only the body can say.
pub(super) fn digest_of_head(headers: &HeaderMap) -> Result<Option<Digest>, RegistryError> {
    if media_type(headers).is_none_or(|found| !MEDIA_TYPES.contains(&found)) {
        return Ok(None);
    }
    let Some(digest) = headers.get(DIGEST_HEADER) else { return Ok(None) };
    let digest = digest.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| malformed("Docker-Content-Digest is no digest"))
}

/// The digest of an image that was read, whatever its header says: CVE-2023-47630 is what comes of
/// believing the header.
pub(super) fn digest_of_body(headers: &HeaderMap, body: &[u8]) -> Result<Digest, RegistryError> {
    /// What tells a manifest from an index. A document that is both has no one meaning: CVE-2021-41190.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape<'a> {
        schema_version: u8,
        media_type: Option<&'a str>,
        config: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        manifests: Option<IgnoredAny>,
    }

    let Some(kind) = media_type(headers).filter(|found| MEDIA_TYPES.contains(found)) else {
        return Err(malformed("its answer is no image manifest or index"));
    };
    let shape: Shape<'_> =
        serde_json::from_slice(body).map_err(|_| malformed("the manifest is no JSON of its kind"))?;
    if shape.schema_version != 2 || shape.media_type.is_some_and(|said| said != kind) {
        return Err(malformed("the manifest is of another kind than its header says"));
    }
    let is_index = shape.manifests.is_some();
    if is_index == (shape.config.is_some() || shape.layers.is_some())
        || is_index != MEDIA_TYPES[..2].contains(&kind)
    {
        return Err(malformed("the manifest is of another kind than its header says"));
    }
    digest_of_content(headers, body)
}

/// The digest of a body, which is the one that the header names, if it names one.
pub(super) fn digest_of_content(headers: &HeaderMap, body: &[u8]) -> Result<Digest, RegistryError> {
    match headers.get(DIGEST_HEADER) {
        None => Ok(Digest::sha256(body)),
        Some(said) => {
            let said = said.to_str().ok().and_then(|text| text.parse::<Digest>().ok());
            said.filter(|digest| digest.matches(body))
                .ok_or_else(|| malformed("the manifest has another digest than Docker-Content-Digest says"))
        }
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    text.split(';').next().map(str::trim)
}

pub(super) fn unexpected(status: StatusCode) -> RegistryError {
    RegistryError::Malformed(format!("it answered {}", status.as_u16()))
}

pub(super) fn malformed(what: &str) -> RegistryError {
    RegistryError::Malformed(what.to_owned())
}
