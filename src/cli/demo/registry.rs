//! A registry in this process, with images that are made on the spot.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::header, web};
use serde_json::json;

use crate::image::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that is read-only, public and on loopback. Stops when it is told to.
pub struct Registry {
    address: SocketAddr,
    handle: ServerHandle,
}

/// Manifests by `repository:tag` and `repository@digest`, blobs by digest.
#[derive(Default)]
struct Content {
    manifests: HashMap<String, (Digest, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
}

impl Registry {
    /// Starts it with one small image per `repository:tag`.
    ///
    /// Must be called inside a tokio runtime.
    pub fn start(images: &[&str]) -> std::io::Result<Self> {
        let mut content = Content::default();
        for image in images {
            content.add(image);
        }
        let content = web::Data::new(content);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let app = move || {
            App::new()
                .app_data(content.clone())
                .route("/v2/", web::get().to(HttpResponse::Ok))
                .route("/v2/{repository:.+}/manifests/{reference}", web::get().to(manifest))
                .route("/v2/{repository:.+}/manifests/{reference}", web::head().to(manifest))
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
    fn add(&mut self, image: &str) {
        let blob = |content: &mut Self, bytes: Vec<u8>| {
            let digest = Digest::sha256(&bytes);
            let described = json!({"digest": digest.as_str(), "size": bytes.len()});
            content.blobs.insert(digest.to_string(), bytes);
            described
        };
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": image}}, "rootfs": {"type": "layers", "diff_ids": []}});
        let mut config = blob(self, config.to_string().into_bytes());
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::sha256(&manifest);
        let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
        self.manifests.insert(format!("{repository}@{digest}"), (digest.clone(), manifest.clone()));
        self.manifests.insert(image.to_owned(), (digest, manifest));
    }
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

async fn blob(request: HttpRequest, content: web::Data<Content>) -> HttpResponse {
    match content.blobs.get(request.match_info().query("digest")) {
        Some(bytes) => HttpResponse::Ok().body(bytes.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}
