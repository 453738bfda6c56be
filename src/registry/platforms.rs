use std::time::Instant;

use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::{
    Registries,
    authorization::Visit,
    errand::Errand,
    manifest::{MANIFEST_LIMIT, MEDIA_TYPES, digest_of_body, malformed, unexpected},
    registries::Wanted,
    transport::Class,
};
use crate::{
    evidence::RegistryError,
    image::{Digest, Repository},
    review::{
        credentials::Credential,
        ports::{ImagePlatform, Platforms},
    },
};

/// The most platforms that an index may have.
const PLATFORMS: usize = 64;
/// What stands for the platform of what is no image but is listed with images, as BuildKit's attestations are.
const NO_PLATFORM: &str = "unknown";

/// To learn which platforms an image has.
struct PlatformsOf<'a>(&'a Digest);

#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: Digest,
    #[serde(default)]
    media_type: String,
    platform: Option<WrittenPlatform>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenPlatform {
    os: String,
    architecture: String,
    variant: String,
}

impl WrittenPlatform {
    fn is_none(&self) -> bool {
        self.os == NO_PLATFORM && self.architecture == NO_PLATFORM
    }

    fn text(&self) -> String {
        let Self { os, architecture, variant } = self;
        match variant.as_str() {
            "" => format!("{os}/{architecture}"),
            variant => format!("{os}/{architecture}/{variant}"),
        }
    }
}

impl Errand for PlatformsOf<'_> {
    type Answer = Option<Vec<ImagePlatform>>;

    async fn ask(&self, registries: &Registries, visit: Visit<'_>) -> Result<Self::Answer, RegistryError> {
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
        platforms(&reply.body)
    }

    fn suffices(_: &Self::Answer) -> bool {
        true
    }
}

/// Which platforms a manifest or an index has, whose digest has been checked.
fn platforms(body: &[u8]) -> Result<Option<Vec<ImagePlatform>>, RegistryError> {
    let document: Document =
        serde_json::from_slice(body).map_err(|_| malformed("the manifest is no JSON of its kind"))?;
    let Some(entries) = document.manifests else { return Ok(None) };
    let mut found: Vec<ImagePlatform> = Vec::new();
    for Entry { digest, media_type, platform } in entries {
        if platform.as_ref().is_some_and(WrittenPlatform::is_none) {
            continue;
        }
        if MEDIA_TYPES[..2].contains(&media_type.as_str()) {
            return Err(malformed("the index lists another index"));
        }
        let platform = platform.and_then(|platform| platform.text().parse().ok());
        let one = ImagePlatform { platform, digest };
        if found.contains(&one) {
            continue;
        }
        if found.len() == PLATFORMS {
            return Err(RegistryError::TooMany { what: "platforms", limit: PLATFORMS });
        }
        found.push(one);
    }
    Ok(Some(found))
}

impl Platforms for Registries {
    fn platforms<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>> {
        async move { self.run(&PlatformsOf(image), place, credentials, deadline).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn entry(platform: Value) -> Value {
        json!({"mediaType": MEDIA_TYPES[2], "size": 1, "digest": Digest::sha256(b"one").as_str(), "platform": platform})
    }

    fn read(entries: Vec<Value>) -> Result<Option<Vec<ImagePlatform>>, RegistryError> {
        platforms(json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes())
    }

    #[rstest]
    #[case(json!({"os": "linux", "architecture": "amd64"}), Some("linux/amd64"))]
    #[case(json!({"os": "linux", "architecture": "arm", "variant": "v7", "features": []}), Some("linux/arm/v7"))]
    #[case(json!({"os": "Linux", "architecture": "amd64"}), None)]
    #[case(json!({"os": "linux", "architecture": "unknown"}), Some("linux/unknown"))]
    #[case(json!({}), None)]
    #[case(Value::Null, None)]
    fn an_image_of_an_index_counts_though_its_platform_cannot_be_read(
        #[case] written: Value,
        #[case] platform: Option<&str>,
    ) {
        let found = read(vec![entry(written)]).unwrap().unwrap();
        let expected = platform.map(|platform| platform.parse().unwrap());
        assert_eq!(found, [ImagePlatform { platform: expected, digest: Digest::sha256(b"one") }]);
    }

    #[test]
    fn attestations_are_no_platform_and_what_is_listed_twice_counts_once() {
        let linux = entry(json!({"os": "linux", "architecture": "amd64"}));
        let none = entry(json!({"os": "unknown", "architecture": "unknown"}));
        assert_eq!(read(vec![none.clone(), linux.clone(), linux, none]).unwrap().unwrap().len(), 1);
        assert_eq!(read(Vec::new()), Ok(Some(Vec::new())));
    }

    #[test]
    fn the_manifest_of_one_image_has_no_list_of_platforms() {
        assert_eq!(platforms(br#"{"schemaVersion": 2, "config": {}, "layers": []}"#), Ok(None));
    }

    #[test]
    fn more_platforms_than_are_looked_at_are_refused_and_so_is_an_index_in_an_index() {
        let many = |count: u32| {
            let platform = |number| json!({"os": "linux", "architecture": format!("a{number}")});
            read((0..count).map(|number| entry(platform(number))).collect())
        };
        assert_eq!(many(64).unwrap().unwrap().len(), 64);
        assert_eq!(many(65), Err(RegistryError::TooMany { what: "platforms", limit: 64 }));
        for kind in &MEDIA_TYPES[..2] {
            let mut nested = entry(json!({"os": "linux", "architecture": "amd64"}));
            nested["mediaType"] = (*kind).into();
            assert!(matches!(read(vec![nested]), Err(RegistryError::Malformed(_))));
        }
    }
}
