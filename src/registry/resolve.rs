use std::time::Instant;

use futures::{FutureExt as _, future::BoxFuture};
use http::{Method, StatusCode};

use super::{
    Registries,
    authorization::Visit,
    errand::Errand,
    manifest::{MANIFEST_LIMIT, digest_of_body, digest_of_head, unexpected},
    registries::Wanted,
    transport::{Class, Reply},
};
use crate::{
    evidence::RegistryError,
    image::{Digest, ImageReference, Repository},
    review::{credentials::Credential, ports::Resolver},
};

/// To learn which digest a tag stands for.
struct DigestOf<'a> {
    tag: &'a str,
}

impl Errand for DigestOf<'_> {
    type Answer = Digest;

    /// HEAD, which costs no pull at registries that count them; GET where that says nothing usable.
    async fn ask(&self, registries: &Registries, visit: Visit<'_>) -> Result<Digest, RegistryError> {
        let head = registries.manifest_of(visit, self.tag, Method::HEAD).await?;
        match head.status {
            StatusCode::OK => {
                if let Some(digest) = digest_of_head(&head.headers)? {
                    return Ok(digest);
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {}
            status => return Err(unexpected(status)),
        }
        let get = registries.manifest_of(visit, self.tag, Method::GET).await?;
        match get.status {
            StatusCode::OK => digest_of_body(&get.headers, &get.body),
            status => Err(unexpected(status)),
        }
    }

    fn suffices(_: &Digest) -> bool {
        true
    }
}

impl Registries {
    async fn manifest_of(&self, visit: Visit<'_>, tag: &str, method: Method) -> Result<Reply, RegistryError> {
        let class = if method == Method::HEAD { Class::Resolve } else { Class::Manifest };
        let path = format!("{}/manifests/{tag}", visit.repository);
        let accept = Some(self.accept.clone());
        let url = visit.endpoint.url(&path);
        self.fetch(visit, Wanted { class, method, url, accept, limit: MANIFEST_LIMIT }).await
    }
}

impl Resolver for Registries {
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        async move {
            let tag = image.tag().ok_or(RegistryError::NotFound)?;
            self.run(&DigestOf { tag }, &Repository::from(image), credentials, deadline).await
        }
        .boxed()
    }
}
