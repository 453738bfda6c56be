use std::time::{Duration, Instant};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Method, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Registries,
    authorization::Visit,
    registries::{MEDIA_TYPES, Wanted},
    transport::{Class, Reply},
};
use crate::{
    evidence::RegistryError,
    image::{Digest, ImageReference},
    review::{credentials::Credential, ports::Resolver},
};

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// How many credentials are tried for one image.
const CREDENTIAL_LIMIT: usize = 8;
const DIGEST_HEADER: &str = "docker-content-digest";

impl Registries {
    /// Asks the mirrors in their order and then the registry itself. What a mirror cannot say is no
    /// answer; what the registry itself says is.
    async fn find(
        &self,
        image: &ImageReference,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<Digest, RegistryError> {
        let mirrors = self.transport.entry(image.host()).map_or(&[][..], |entry| &entry.mirrors);
        for mirror in mirrors {
            // Half of what is left each, so that a mirror that hangs does not take the registry's time.
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / 2;
            let asked = self.ask_as_each(mirror, image, &[], until);
            if let Ok(Ok(digest)) = tokio::time::timeout_at(until.into(), asked).await {
                return Ok(digest);
            }
        }
        self.ask_as_each(image.host(), image, credentials, deadline).await
    }

    /// Asks one registry with each credential that belongs there, and at last without any.
    async fn ask_as_each(
        &self,
        host: &str,
        image: &ImageReference,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<Digest, RegistryError> {
        let endpoint = self.transport.endpoint(host)?;
        let own = self.operator.find(host, image.repository());
        let all = credentials.iter().chain(&own).take(CREDENTIAL_LIMIT).map(Some).chain([None]);
        let (transport, endpoint, repository) = (&self.transport, &endpoint, image.repository());
        let tag = image.tag().ok_or(RegistryError::NotFound)?;
        let mut refusal = RegistryError::Denied;
        for credential in all {
            match self.ask(Visit { transport, endpoint, repository, credential, deadline }, tag).await {
                // Who may see it is told "not found" rather than "denied": the better reason.
                Err(RegistryError::NotFound) => refusal = RegistryError::NotFound,
                Err(RegistryError::Denied) => {}
                answer => return answer,
            }
        }
        Err(refusal)
    }

    /// HEAD, which costs no pull at registries that count them; GET where that says nothing usable.
    async fn ask(&self, visit: Visit<'_>, tag: &str) -> Result<Digest, RegistryError> {
        let head = self.manifest_of(visit, tag, Method::HEAD).await?;
        match head.status {
            StatusCode::OK => {
                if let Some(digest) = digest_of_head(&head.headers)? {
                    return Ok(digest);
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {}
            status => return Err(unexpected(status)),
        }
        let get = self.manifest_of(visit, tag, Method::GET).await?;
        match get.status {
            StatusCode::OK => digest_of_body(&get.headers, &get.body),
            status => Err(unexpected(status)),
        }
    }

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
            let left = deadline.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return Err(RegistryError::TimedOut);
            }
            tokio::time::timeout(left, self.find(image, credentials, deadline))
                .await
                .unwrap_or(Err(RegistryError::TimedOut))
        }
        .boxed()
    }
}

/// The digest that a HEAD names; none where only the body can say.
fn digest_of_head(headers: &HeaderMap) -> Result<Option<Digest>, RegistryError> {
    if media_type(headers).is_none_or(|found| !MEDIA_TYPES.contains(&found)) {
        return Ok(None);
    }
    let Some(digest) = headers.get(DIGEST_HEADER) else { return Ok(None) };
    let digest = digest.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| RegistryError::Malformed("Docker-Content-Digest is no digest".to_owned()))
}

/// The digest of a body that was read, whatever its header says: CVE-2023-47630 is what comes of
/// believing the header.
fn digest_of_body(headers: &HeaderMap, body: &[u8]) -> Result<Digest, RegistryError> {
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

    let malformed = |what: &str| RegistryError::Malformed(what.to_owned());
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

fn unexpected(status: StatusCode) -> RegistryError {
    RegistryError::Malformed(format!("it answered {}", status.as_u16()))
}
