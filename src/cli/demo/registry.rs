//! A registry in this process.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::header, web};
use serde_json::{Value, json};

use super::publisher::BUNDLE;
use crate::image::Digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A registry that is read-only, public and on loopback. Stops when it is told to.
pub struct Registry {
    address: SocketAddr,
    handle: ServerHandle,
}

/// Manifests by `repository:tag` and `repository@digest`, referrers by `repository@digest` of what they refer
/// to, blobs by digest.
#[derive(Default)]
pub struct Content {
    manifests: HashMap<String, (Digest, Vec<u8>)>,
    referrers: HashMap<String, Vec<Value>>,
    blobs: HashMap<String, Vec<u8>>,
}

impl Registry {
    /// Starts it with `content`. Must be called inside a tokio runtime.
    pub fn start(content: Content) -> std::io::Result<Self> {
        let content = web::Data::new(content);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let app = move || {
            App::new()
                .app_data(content.clone())
                .route("/v2/", web::get().to(HttpResponse::Ok))
                .route("/v2/{repository:.+}/manifests/{reference}", web::get().to(manifest))
                .route("/v2/{repository:.+}/manifests/{reference}", web::head().to(manifest))
                .route("/v2/{repository:.+}/referrers/{reference}", web::get().to(referrers))
                .route("/v2/{repository:.+}/blobs/{digest}", web::get().to(blob))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, handle })
    }

    /// Where it listens, as the host part of a reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Stops it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

impl Content {
    /// Puts in a small image, `repository:tag`, that has no other's digest.
    pub fn image(&mut self, image: &str) -> Digest {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"name": image}},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let mut config = self.blob(config.to_string().into_bytes());
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        self.manifest(image, manifest.to_string().into_bytes())
    }

    /// Puts in a manifest as it is under `repository:tag`.
    pub fn manifest(&mut self, image: &str, manifest: Vec<u8>) -> Digest {
        let digest = Digest::sha256(&manifest);
        self.manifests.insert(format!("{}@{digest}", repository(image)), (digest.clone(), manifest.clone()));
        self.manifests.insert(image.to_owned(), (digest.clone(), manifest));
        digest
    }

    /// Puts a bundle beside the image `repository:tag`, as cosign 3 stores it.
    pub fn attach(&mut self, image: &str, bundle: Vec<u8>) {
        let Some((subject, manifest)) = self.manifests.get(image) else { return };
        let about = json!({"mediaType": MANIFEST, "digest": subject, "size": manifest.len()});
        let subject = subject.clone();
        let mut config = self.blob(b"{}".to_vec());
        config["mediaType"] = EMPTY.into();
        let mut layer = self.blob(bundle);
        layer["mediaType"] = BUNDLE.into();
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": config, "layers": [layer], "subject": about,
        });
        let referrer = referrer.to_string().into_bytes();
        let digest = Digest::sha256(&referrer);
        let described =
            json!({"mediaType": MANIFEST, "digest": digest, "size": referrer.len(), "artifactType": EMPTY});
        let repository = repository(image);
        self.manifests.insert(format!("{repository}@{digest}"), (digest, referrer));
        self.referrers.entry(format!("{repository}@{subject}")).or_default().push(described);
    }

    fn blob(&mut self, bytes: Vec<u8>) -> Value {
        let digest = Digest::sha256(&bytes);
        let described = json!({"digest": digest, "size": bytes.len()});
        self.blobs.insert(digest.to_string(), bytes);
        described
    }
}

fn repository(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(repository, _)| repository)
}

async fn manifest(request: HttpRequest, content: web::Data<Content>) -> HttpResponse {
    let (repository, reference) =
        (request.match_info().query("repository"), request.match_info().query("reference"));
    let separator = if reference.contains(':') { '@' } else { ':' };
    match content.manifests.get(&format!("{repository}{separator}{reference}")) {
        Some((digest, manifest)) => HttpResponse::Ok()
            .content_type(MANIFEST)
            .insert_header(("Docker-Content-Digest", digest.as_str()))
            .body(manifest.clone()),
        None => HttpResponse::NotFound()
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
    }
}

async fn referrers(request: HttpRequest, content: web::Data<Content>) -> HttpResponse {
    let (repository, reference) =
        (request.match_info().query("repository"), request.match_info().query("reference"));
    let none = Vec::new();
    let found = content.referrers.get(&format!("{repository}@{reference}")).unwrap_or(&none);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": found});
    HttpResponse::Ok().content_type(INDEX).body(index.to_string())
}

async fn blob(request: HttpRequest, content: web::Data<Content>) -> HttpResponse {
    match content.blobs.get(request.match_info().query("digest")) {
        Some(bytes) => HttpResponse::Ok().body(bytes.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}
