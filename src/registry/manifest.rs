//! Manifests and indexes (OCI image-spec 1.1), as far as they are read here.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

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

/// What a manifest or an index points to (OCI image-spec 1.1, "Content Descriptors"). Its `urls` are not
/// read: whoever wrote them would choose where requests go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What stands in a manifest. An index has no layers, and what it lists is not of interest here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Manifest {
    /// What it is about, where it is about something.
    pub(super) subject: Option<Digest>,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    config: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "written")]
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

/// Reads a manifest whose digest has been checked.
pub(super) fn manifest(body: &[u8]) -> Result<Manifest, RegistryError> {
    let Document { layers, subject, .. } = document(body)?;
    Ok(Manifest { subject: subject.map(|subject| subject.digest), layers })
}

/// Reads what an index lists.
pub(super) fn index(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Descriptor>, RegistryError> {
    if media_type(headers) != Some(INDEX) {
        return Err(malformed("its answer is no index"));
    }
    document(body)?.manifests.ok_or_else(|| malformed("its answer is no index"))
}

fn document(body: &[u8]) -> Result<Document, RegistryError> {
    let document: Document =
        serde_json::from_slice(body).map_err(|_| malformed("the manifest is no JSON of its kind"))?;
    // A document that is both has no one meaning: CVE-2021-41190.
    if document.manifests.is_some() && (document.config.is_some() || !document.layers.is_empty()) {
        return Err(malformed("the manifest is also an index"));
    }
    Ok(document)
}

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

pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    text.split(';').next().map(str::trim)
}

pub(super) fn unexpected(status: StatusCode) -> RegistryError {
    RegistryError::Malformed(format!("it answered {}", status.as_u16()))
}

pub(super) fn malformed(what: &str) -> RegistryError {
    RegistryError::Malformed(what.to_owned())
}

/// What some write as `null` where they mean nothing.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The same where it matters whether anything is written.
fn written<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    null_is_empty(from).map(Some)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn read(document: &str) -> Option<Manifest> {
        manifest(document.replace("DIGEST", A).as_bytes()).ok()
    }

    #[rstest]
    #[case(r#"{}"#, 0, false)]
    #[case(r#"{"layers": null, "subject": null}"#, 0, false)]
    #[case(r#"{"config": {"anything": [1]}, "layers": [], "other": {}}"#, 0, false)]
    #[case(r#"{"subject": {"mediaType": "m", "digest": "DIGEST", "size": 1}}"#, 0, true)]
    #[case(
        r#"{"layers": [{"mediaType": "m", "digest": "DIGEST", "size": 1, "annotations": null, "urls": ["u"]}]}"#,
        1,
        false
    )]
    #[case(r#"{"manifests": [{"mediaType": "m", "digest": "DIGEST", "size": 1}]}"#, 0, false)]
    fn of_a_manifest_its_layers_and_its_subject_are_read(
        #[case] document: &str,
        #[case] layers: usize,
        #[case] has_subject: bool,
    ) {
        let manifest = read(document).unwrap();
        assert_eq!((manifest.layers.len(), manifest.subject.is_some()), (layers, has_subject));
    }

    #[rstest]
    #[case("")]
    #[case("null")]
    #[case("[]")]
    #[case(r#"{"layers": {}}"#)]
    #[case(r#"{"layers": [null]}"#)]
    #[case(r#"{"layers": [{"digest": "DIGEST", "size": 1}]}"#)]
    #[case(r#"{"layers": [{"mediaType": "m", "size": 1}]}"#)]
    #[case(r#"{"layers": [{"mediaType": "m", "digest": "DIGEST"}]}"#)]
    #[case(r#"{"layers": [{"mediaType": "m", "digest": "DIGEST", "size": -1}]}"#)]
    #[case(r#"{"layers": [{"mediaType": "m", "digest": "DIGEST", "size": 1.5}]}"#)]
    #[case(r#"{"layers": [{"mediaType": "m", "digest": "sha256:../../a", "size": 1}]}"#)]
    #[case(r#"{"layers": [], "layers": []}"#)]
    #[case(r#"{"subject": {}}"#)]
    #[case(r#"{"subject": {"digest": "DIGEST"}, "subject": {"digest": "DIGEST"}}"#)]
    #[case(r#"{"manifests": [], "config": {}}"#)]
    #[case(r#"{"manifests": [], "layers": [{"mediaType": "m", "digest": "DIGEST", "size": 1}]}"#)]
    fn what_has_no_one_meaning_is_no_manifest(#[case] document: &str) {
        assert_eq!(read(document), None);
    }

    #[rstest]
    #[case(INDEX, r#"{"manifests": []}"#, Some(0))]
    #[case(INDEX, r#"{"manifests": null}"#, Some(0))]
    #[case(
        "application/vnd.oci.image.index.v1+json; charset=utf-8",
        r#"{"manifests": [{"mediaType": "m", "digest": "DIGEST", "size": 1}]}"#,
        Some(1)
    )]
    #[case(INDEX, "{}", None)]
    #[case(INDEX, r#"{"layers": []}"#, None)]
    #[case(MEDIA_TYPES[1], r#"{"manifests": []}"#, None)]
    #[case("text/html", r#"{"manifests": []}"#, None)]
    fn a_list_is_what_an_index_lists(#[case] kind: &str, #[case] body: &str, #[case] entries: Option<usize>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(kind).unwrap());
        let list = index(&headers, body.replace("DIGEST", A).as_bytes());
        assert_eq!(list.ok().map(|list| list.len()), entries);
    }
}
