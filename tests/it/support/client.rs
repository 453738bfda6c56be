//! A client of a registry, for the tests themselves: it pushes small images, and reads what lies beside them.
//!
//! Source: OCI distribution spec 1.1, OCI image-spec 1.1; where cosign keeps what it signs: its
//! `SIGNATURE_SPEC.md` and `BUNDLE_SPEC.md`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode, header};
use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Candidate, Material},
    image::Digest,
};
use url::Url;

use super::{
    certs::Authority,
    layout::{self, Layout},
    tokens::TokenServer,
};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// A client of one registry.
pub struct RegistryClient {
    host: String,
    origin: Url,
    login: Login,
    client: Client,
}

/// What the client shows.
pub enum Login {
    /// Nothing.
    Nobody,
    /// A user name and a password.
    Password(&'static str, &'static str),
    /// A token that this server gives out without asking.
    Token(Arc<TokenServer>),
}

impl RegistryClient {
    /// A client of the registry at `host`, over TLS if `tls` vouches for it.
    pub fn new(host: String, login: Login, tls: Option<&Authority>) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // No connection is kept: it would end with the runtime of the test that opened it.
        let mut client = Client::builder().no_proxy().timeout(REQUEST).pool_max_idle_per_host(0);
        if let Some(authority) = tls {
            client = client.tls_certs_only([Certificate::from_pem(authority.certificate().as_bytes())?]);
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = Url::parse(&format!("{scheme}://{host}/"))?;
        Ok(Self { host, origin, login, client: client.build()? })
    }

    /// The registry's `host:port`, as a reference names it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is asked without TLS.
    pub fn is_plain(&self) -> bool {
        self.origin.scheme() == "http"
    }

    /// Pushes an image of a few bytes, unlike any other, and answers with its manifest's digest.
    pub async fn push(&self, repository: &str, tag: &str) -> Digest {
        let push = async || {
            let manifest = self.image(repository).await?.to_string();
            self.put_manifest(repository, tag, MANIFEST, manifest).await
        };
        push().await.unwrap()
    }

    /// Pushes an index of one image, and answers with the index's digest.
    pub async fn push_index(&self, repository: &str, tag: &str) -> Digest {
        let push = async || {
            let manifest = self.image(repository).await?.to_string();
            let size = manifest.len();
            let digest = Digest::sha256(manifest.as_bytes());
            self.put_manifest(repository, digest.as_str(), MANIFEST, manifest).await?;
            let platform = json!({"os": "linux", "architecture": "amd64"});
            let manifest =
                json!({"mediaType": MANIFEST, "digest": digest.as_str(), "size": size, "platform": platform});
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
            self.put_manifest(repository, tag, INDEX, index.to_string()).await
        };
        push().await.unwrap()
    }

    /// Pushes everything that a layout holds, under the tags that it has there.
    pub async fn push_layout(&self, repository: &str, layout: &Layout<'_>) {
        for (tag, descriptor) in layout.tagged() {
            self.push_all(repository, tag, descriptor, layout).await.unwrap();
        }
    }

    async fn push_all(
        &self,
        repository: &str,
        reference: &str,
        descriptor: &Value,
        layout: &Layout<'_>,
    ) -> anyhow::Result<Digest> {
        let digest = layout::digest(descriptor);
        let manifest = layout.manifest(&digest);
        let listed = |list: &str| manifest[list].as_array().cloned().unwrap_or_default();
        for child in listed("manifests") {
            let digest = layout::digest(&child);
            Box::pin(self.push_all(repository, digest.as_str(), &child, layout)).await?;
        }
        for blob in listed("layers").iter().chain(manifest.get("config")) {
            self.put_blob(repository, LAYER, layout.blob(&layout::digest(blob))).await?;
        }
        let media_type = descriptor["mediaType"].as_str().context("a manifest of no type")?;
        let manifest = String::from_utf8(layout.blob(&digest))?;
        self.put_manifest(repository, reference, media_type, manifest).await
    }

    /// A new image's manifest, whose blobs are there already.
    async fn image(&self, repository: &str) -> anyhow::Result<Value> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Two empty blocks: a tar archive of nothing.
        let layer = self.put_blob(repository, LAYER, vec![0; 1024]).await?;
        let config = json!({
            "os": "linux", "architecture": "amd64",
            "config": {"Labels": {"number": number.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = self.put_blob(repository, CONFIG, config.to_string().into_bytes()).await?;
        Ok(json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}))
    }

    /// Pushes a blob, and answers with its descriptor.
    pub async fn put_blob(
        &self,
        repository: &str,
        media_type: &str,
        content: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let (digest, size) = (Digest::sha256(&content), content.len());
        let begin = self.url(repository, "blobs", "uploads/")?;
        let begun = self.request(Method::POST, begin.clone(), repository).send().await?;
        ensure!(begun.status() == StatusCode::ACCEPTED, "{begin}: {}", begun.status());
        let location = begun.headers().get(header::LOCATION).context("an upload without a place")?;
        let mut upload = begin.join(location.to_str()?)?;
        upload.query_pairs_mut().append_pair("digest", digest.as_str());
        let put = self.request(Method::PUT, upload, repository).body(content).send().await?;
        ensure!(put.status() == StatusCode::CREATED, "{digest}: {}", put.status());
        Ok(json!({"mediaType": media_type, "digest": digest.as_str(), "size": size}))
    }

    /// Pushes a manifest under a tag or its digest, and answers with its digest.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: String,
    ) -> anyhow::Result<Digest> {
        let digest = Digest::sha256(manifest.as_bytes());
        let url = self.url(repository, "manifests", reference)?;
        let request = self.request(Method::PUT, url, repository);
        let put = request.header(header::CONTENT_TYPE, media_type).body(manifest).send().await?;
        ensure!(put.status() == StatusCode::CREATED, "{repository}:{reference}: {}", put.status());
        Ok(digest)
    }

    /// Pushes `manifest` as a referrer of `image`: with a `subject`, and where the registry has no referrers
    /// API, in the index that takes its place. Answers with its digest.
    pub async fn put_referrer(
        &self,
        repository: &str,
        image: &Digest,
        mut manifest: Value,
    ) -> anyhow::Result<Digest> {
        let (_, subject) = self.manifest(repository, image.as_str()).await?.context("no such image")?;
        let size = subject.to_string().len();
        manifest["subject"] =
            json!({"mediaType": subject["mediaType"], "digest": image.as_str(), "size": size});
        let manifest = manifest.to_string();
        let (digest, size) = (Digest::sha256(manifest.as_bytes()), manifest.len());
        self.put_manifest(repository, digest.as_str(), MANIFEST, manifest).await?;
        if self.referrers(repository, image).await?.is_none() {
            let tag = fallback(image);
            let found = self.manifest(repository, &tag).await?;
            let (_, mut index) = found.unwrap_or_else(|| {
                let empty = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
                (digest.clone(), empty)
            });
            let listed = index["manifests"].as_array_mut().context("an index without manifests")?;
            listed.push(json!({"mediaType": MANIFEST, "digest": digest.as_str(), "size": size}));
            self.put_manifest(repository, &tag, INDEX, index.to_string()).await?;
        }
        Ok(digest)
    }

    /// The manifest or index under a tag or digest, with its digest. `None` if there is none.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> anyhow::Result<Option<(Digest, Value)>> {
        let body = self.get(repository, "manifests", reference).await?;
        Ok(match body {
            Some(body) => Some((Digest::sha256(&body), serde_json::from_slice(&body)?)),
            None => None,
        })
    }

    /// A blob's content.
    pub async fn blob(&self, repository: &str, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        self.get(repository, "blobs", digest.as_str()).await?.with_context(|| format!("no blob {digest}"))
    }

    /// The descriptors that the referrers API lists for `image`. `None` if the registry has no such API.
    pub async fn referrers(&self, repository: &str, image: &Digest) -> anyhow::Result<Option<Vec<Value>>> {
        let Some(body) = self.get(repository, "referrers", image.as_str()).await? else { return Ok(None) };
        let mut index: Value = serde_json::from_slice(&body)?;
        Ok(Some(serde_json::from_value(index["manifests"].take())?))
    }

    /// All that lies beside an image and may be a signature or an attestation, wherever a publisher's tool
    /// puts it: the referrers API, the index under the tag `sha256-…`, and the tags `.sig` and `.att`.
    pub async fn candidates(&self, repository: &str, image: &Digest) -> anyhow::Result<Vec<Candidate>> {
        let tag = fallback(image);
        let mut listed = self.referrers(repository, image).await?.unwrap_or_default();
        if let Some((_, mut index)) = self.manifest(repository, &tag).await? {
            listed.extend(serde_json::from_value::<Vec<Value>>(index["manifests"].take())?);
        }
        let mut referrers = listed.iter().map(digest).collect::<anyhow::Result<Vec<_>>>()?;
        referrers.sort();
        referrers.dedup();

        let mut found = Vec::new();
        for place in referrers {
            let (_, manifest) =
                self.manifest(repository, place.as_str()).await?.context("a referrer without a manifest")?;
            ensure!(digest(&manifest["subject"])? == *image, "{place} is about another image");
            let bundle = self.blob(repository, &digest(&manifest["layers"][0])?).await?;
            found.push(Candidate { place, material: Material::Bundle(String::from_utf8(bundle)?.into()) });
        }
        for kind in ["sig", "att"] {
            let Some((_, mut manifest)) = self.manifest(repository, &format!("{tag}.{kind}")).await? else {
                continue;
            };
            for mut layer in serde_json::from_value::<Vec<Value>>(manifest["layers"].take())? {
                let place = digest(&layer)?;
                let content = self.blob(repository, &place).await?.into();
                let annotations: BTreeMap<_, _> = serde_json::from_value(layer["annotations"].take())?;
                let material = match kind {
                    "sig" => Material::SimpleSigning { payload: content, annotations },
                    _ => Material::Envelope { envelope: content, annotations },
                };
                found.push(Candidate { place, material });
            }
        }
        Ok(found)
    }

    /// Whatever is at a path, if it is there.
    async fn get(&self, repository: &str, kind: &str, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let url = self.url(repository, kind, name)?;
        let request = self.request(Method::GET, url.clone(), repository);
        let answer = request.header(header::ACCEPT, format!("{MANIFEST}, {INDEX}, */*")).send().await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.bytes().await?.into())),
            StatusCode::NOT_FOUND => Ok(None),
            status => anyhow::bail!("{url}: {status}"),
        }
    }

    /// What is at `path`, to be asked for without any login.
    pub fn ask(&self, path: &str) -> RequestBuilder {
        self.client.get(self.origin.join(path).unwrap()).header(header::ACCEPT, MANIFEST)
    }

    fn url(&self, repository: &str, kind: &str, name: &str) -> anyhow::Result<Url> {
        Ok(self.origin.join(&format!("v2/{repository}/{kind}/{name}"))?)
    }

    fn request(&self, method: Method, url: Url, repository: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.login {
            Login::Nobody => request,
            Login::Password(user, password) => request.basic_auth(user, Some(password)),
            Login::Token(tokens) => request.bearer_auth(tokens.token(repository, &["pull", "push"])),
        }
    }
}

/// The tag of the index that takes the referrers API's place. With `.sig` or `.att` behind it, the tag of
/// what version 2 of cosign stores.
pub fn fallback(image: &Digest) -> String {
    image.as_str().replace(':', "-")
}

fn digest(descriptor: &Value) -> anyhow::Result<Digest> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    Ok(digest.parse()?)
}
