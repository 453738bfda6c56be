use std::time::Instant;

use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, StatusCode};

use super::{
    Registries,
    authorization::Visit,
    errand::Errand,
    manifest::{MANIFEST_LIMIT, digest_of_body, malformed, manifest, unexpected},
    platforms::platforms,
    registries::Wanted,
    transport::Class,
};
use crate::{
    evidence::{Platform, RegistryError},
    image::{Digest, Repository},
    review::ports::{ImageLayers, ImagePlatform, Layers},
};

/// The most layers that an image may have. Docker stops at 127.
const LAYERS: usize = 256;
/// What the media types of layers begin with (OCI image-spec 1.1, "Image Layer Filesystem Changeset"; Docker's schema 2).
const LAYER_TYPES: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// To learn where the layers of an image are.
struct LayersOf<'a> {
    image: &'a Digest,
    platform: &'a Platform,
}

impl Errand for LayersOf<'_> {
    type Answer = Option<ImageLayers>;

    async fn ask(&self, registries: &Registries, visit: Visit<'_>) -> Result<Self::Answer, RegistryError> {
        let body = registries.manifest_body(visit, self.image).await?;
        let (digest, platform, body) = match platforms(&body)? {
            None => (self.image.clone(), None, body),
            Some(listed) => {
                let Some((platform, digest)) = chosen(listed, self.platform)? else { return Ok(None) };
                let body = registries.manifest_body(visit, &digest).await?;
                if platforms(&body)?.is_some() {
                    return Err(malformed("the index lists another index"));
                }
                (digest, Some(platform), body)
            }
        };
        let url = |layer: &Digest| visit.endpoint.url(&format!("{}/blobs/{layer}", visit.repository));
        let layers = layers(&body)?.into_iter().map(|layer| {
            let url = url(&layer).to_string();
            (layer, url)
        });
        let layers = layers.collect();
        Ok(Some(ImageLayers { manifest: digest, platform, layers, pass: registries.pass(visit).await? }))
    }

    fn suffices(_: &Self::Answer) -> bool {
        true
    }
}

impl Registries {
    /// The manifest or index `image`, of which the digest has been checked.
    pub(super) async fn manifest_body(
        &self,
        visit: Visit<'_>,
        image: &Digest,
    ) -> Result<Vec<u8>, RegistryError> {
        let url = visit.endpoint.url(&format!("{}/manifests/{image}", visit.repository));
        let accept = Some(self.accept.clone());
        let (class, method) = (Class::Manifest, Method::GET);
        let reply = self.fetch(visit, Wanted { class, method, url, accept, limit: MANIFEST_LIMIT }).await?;
        if reply.status != StatusCode::OK {
            return Err(unexpected(reply.status));
        }
        digest_of_body(&reply.headers, &reply.body)?;
        match image.matches(&reply.body) {
            true => Ok(reply.body),
            false => Err(malformed("the manifest has another digest than was asked for")),
        }
    }
}

/// The one image for `wanted`: the one that is for exactly this, or the only one that is for it too.
fn chosen(
    listed: Vec<ImagePlatform>,
    wanted: &Platform,
) -> Result<Option<(Platform, Digest)>, RegistryError> {
    let of = listed.into_iter().filter_map(|image| Some((image.platform?, image.digest)));
    let (mut exact, mut near): (Vec<_>, Vec<_>) =
        of.filter(|(platform, _)| wanted.covers(platform)).partition(|(platform, _)| platform == wanted);
    let fitting = if exact.is_empty() { &mut near } else { &mut exact };
    match fitting.len() {
        0 | 1 => Ok(fitting.pop()),
        _ => Err(RegistryError::Malformed(format!("the index lists several images for {wanted}"))),
    }
}

/// The layers that a manifest lists, whose digest has been checked. Their `urls` are not read: a layer that is
/// elsewhere only cannot be fetched, and the image is not scanned then, rather than without it.
fn layers(body: &[u8]) -> Result<Vec<Digest>, RegistryError> {
    let listed = manifest(body)?.layers;
    if listed.is_empty() {
        return Err(malformed("the manifest lists no layers"));
    }
    if listed.len() > LAYERS {
        return Err(RegistryError::TooMany { what: "layers", limit: LAYERS });
    }
    // A scanner finds nothing in what is no image, which would look as if there were nothing to find.
    if !listed.iter().all(|layer| LAYER_TYPES.iter().any(|kind| layer.media_type.starts_with(kind))) {
        return Err(malformed("the manifest is that of something else than an image"));
    }
    Ok(listed.into_iter().map(|layer| layer.digest).collect())
}

impl Layers for Registries {
    fn layers<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        platform: &'a Platform,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<ImageLayers>, RegistryError>> {
        async move { self.run(&LayersOf { image, platform }, place, &[], deadline).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn listed(count: usize, kind: &str) -> Value {
        let layer = json!({"mediaType": kind, "size": 1, "digest": Digest::sha256(b"one").as_str(),
            "urls": ["https://elsewhere.example.com/layer"]});
        json!({"schemaVersion": 2, "config": {}, "layers": vec![layer; count]})
    }

    fn read(count: usize, kind: &str) -> Result<usize, RegistryError> {
        layers(listed(count, kind).to_string().as_bytes()).map(|layers| layers.len())
    }

    #[rstest]
    #[case("application/vnd.oci.image.layer.v1.tar+zstd")]
    #[case("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")]
    #[case("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]
    fn every_layer_of_an_image_counts_wherever_it_says_that_it_is(#[case] kind: &str) {
        assert_eq!((read(2, kind), read(256, kind)), (Ok(2), Ok(256)));
        assert_eq!(read(257, kind), Err(RegistryError::TooMany { what: "layers", limit: 256 }));
        assert_eq!(read(0, kind), Err(malformed("the manifest lists no layers")));
    }

    #[rstest]
    #[case("application/vnd.cncf.helm.chart.content.v1.tar+gzip")]
    #[case("application/vnd.in-toto+json")]
    #[case("")]
    fn what_is_no_image_has_nothing_to_scan(#[case] kind: &str) {
        assert_eq!(read(1, kind), Err(malformed("the manifest is that of something else than an image")));
    }

    #[rstest]
    #[case(&["linux/amd64", "linux/arm64"], "linux/arm64", Ok(Some(1)))]
    #[case(&["linux/amd64", "linux/arm64/v8"], "linux/arm64", Ok(Some(1)))]
    #[case(&["linux/arm64/v8", "linux/arm64"], "linux/arm64", Ok(Some(1)))]
    #[case(&["linux/arm/v6", "linux/arm/v7"], "linux/arm64", Ok(None))]
    #[case(&["linux/amd64", "linux/amd64"], "linux/amd64", Err(()))]
    #[case(&[], "linux/amd64", Ok(None))]
    fn of_an_index_the_one_image_for_the_platform_is_taken(
        #[case] platforms: &[&str],
        #[case] wanted: &str,
        #[case] expected: Result<Option<usize>, ()>,
    ) {
        let image = |(at, platform): (usize, &&str)| ImagePlatform {
            platform: Some(platform.parse().unwrap()),
            digest: Digest::sha256(at.to_string().as_bytes()),
        };
        let found = chosen(platforms.iter().enumerate().map(image).collect(), &wanted.parse().unwrap());
        let found = found.map(|found| found.map(|(_, digest)| digest)).map_err(|_| ());
        assert_eq!(found, expected.map(|at| at.map(|at| Digest::sha256(at.to_string().as_bytes()))));
    }
}
