use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    RegistrySettings, SettingsError,
    authorization::{Authorization, Tokens, Visit},
    transport::{Class, Reply, Request, Transport},
};
use crate::{
    evidence::ResolveError,
    image::{Digest, ImageReference},
    review::{
        credentials::{Credential, Keyring},
        ports::{RegistryObserver, Resolver},
    },
};

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// How many credentials are tried for one image.
const CREDENTIAL_LIMIT: usize = 8;
/// What a digest may stand for: manifests and indexes (OCI image-spec 1.1; Docker's schema 2). Not
/// Docker's schema 1, whose digest says nothing about what a runtime makes of it.
const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const DIGEST_HEADER: &str = "docker-content-digest";

/// Asks registries which digest a tag stands for.
pub struct Registries {
    transport: Transport,
    tokens: Tokens,
    operator: Keyring,
    accept: HeaderValue,
}

impl Registries {
    /// `operator` holds the operator's own credentials, which serve every namespace.
    pub fn new(
        settings: RegistrySettings,
        operator: Keyring,
        observer: Arc<dyn RegistryObserver>,
    ) -> Result<Self, SettingsError> {
        let transport = Transport::new(settings, observer)?;
        // OK because media types are visible ASCII
        let accept = HeaderValue::try_from(MEDIA_TYPES.join(", ")).unwrap();
        Ok(Self { transport, tokens: Tokens::new(), operator, accept })
    }

    /// Asks the mirrors in their order and then the registry itself. What a mirror cannot say is no
    /// answer; what the registry itself says is.
    async fn find(
        &self,
        image: &ImageReference,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<Digest, ResolveError> {
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
    ) -> Result<Digest, ResolveError> {
        let endpoint = self.transport.endpoint(host)?;
        let own = self.operator.find(host, image.repository());
        let all = credentials.iter().chain(&own).take(CREDENTIAL_LIMIT).map(Some).chain([None]);
        let (transport, endpoint, repository) = (&self.transport, &endpoint, image.repository());
        let tag = image.tag().ok_or(ResolveError::NotFound)?;
        let mut refusal = ResolveError::Denied;
        for credential in all {
            match self.ask(Visit { transport, endpoint, repository, credential, deadline }, tag).await {
                // Who may see it is told "not found" rather than "denied": the better reason.
                Err(ResolveError::NotFound) => refusal = ResolveError::NotFound,
                Err(ResolveError::Denied) => {}
                answer => return answer,
            }
        }
        Err(refusal)
    }

    /// HEAD, which costs no pull at registries that count them; GET where that says nothing usable.
    async fn ask(&self, visit: Visit<'_>, tag: &str) -> Result<Digest, ResolveError> {
        let head = self.manifest(visit, tag, Method::HEAD).await?;
        match head.status {
            StatusCode::OK => {
                if let Some(digest) = digest_of_head(&head.headers)? {
                    return Ok(digest);
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {}
            status => return Err(unexpected(status)),
        }
        let get = self.manifest(visit, tag, Method::GET).await?;
        match get.status {
            StatusCode::OK => digest_of_body(&get.headers, &get.body),
            status => Err(unexpected(status)),
        }
    }

    /// One request for the image's manifest, with the credential once the registry asks for it.
    async fn manifest(&self, visit: Visit<'_>, tag: &str, method: Method) -> Result<Reply, ResolveError> {
        let Visit { transport, endpoint, deadline, .. } = visit;
        let path = format!("{}/manifests/{tag}", visit.repository);
        let request = |authorization: Option<Authorization>| Request {
            class: if method == Method::HEAD { Class::Resolve } else { Class::Manifest },
            method: method.clone(),
            url: endpoint.url(&path),
            accept: Some(self.accept.clone()),
            authorization: authorization.map(|authorization| authorization.header),
            limit: MANIFEST_LIMIT,
        };
        let mut reply = transport.ask(endpoint, request(None), deadline).await?;
        for afresh in [false, true] {
            if reply.status != StatusCode::UNAUTHORIZED || !reply.own {
                break;
            }
            let authorization = self.tokens.authorize(visit, &reply.headers, afresh).await?;
            let remembered = authorization.remembered;
            reply = transport.ask(endpoint, request(Some(authorization)), deadline).await?;
            if !remembered {
                break;
            }
        }
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ResolveError::Denied),
            StatusCode::NOT_FOUND => Err(ResolveError::NotFound),
            _ => Ok(reply),
        }
    }
}

impl Resolver for Registries {
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Digest, ResolveError>> {
        async move {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return Err(ResolveError::TimedOut);
            }
            tokio::time::timeout(left, self.find(image, credentials, deadline))
                .await
                .unwrap_or(Err(ResolveError::TimedOut))
        }
        .boxed()
    }
}

/// The digest that a HEAD names; none where only the body can say.
fn digest_of_head(headers: &HeaderMap) -> Result<Option<Digest>, ResolveError> {
    if media_type(headers).is_none_or(|found| !MEDIA_TYPES.contains(&found)) {
        return Ok(None);
    }
    let Some(digest) = headers.get(DIGEST_HEADER) else { return Ok(None) };
    let digest = digest.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| ResolveError::Malformed("Docker-Content-Digest is no digest".to_owned()))
}

/// The digest of a body that was read, whatever its header says: CVE-2023-47630 is what comes of
/// believing the header.
fn digest_of_body(headers: &HeaderMap, body: &[u8]) -> Result<Digest, ResolveError> {
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

    let malformed = |what: &str| ResolveError::Malformed(what.to_owned());
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

fn unexpected(status: StatusCode) -> ResolveError {
    ResolveError::Malformed(format!("it answered {}", status.as_u16()))
}
