//! A real registry: the distribution project's, on loopback, with what the tests push to it.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use http::{Method, StatusCode, header};
use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::{Value, json};
use tidewaiter::{image::Digest, registry::RegistryEntry, review::credentials::Keyring};
use url::Url;

use super::{
    certs::Authority,
    layout::{self, Layout},
    process::{self, Guarded, wait_for},
    tokens::{ISSUER, SERVICE, TokenServer},
    tools,
};

/// The registry's accounts: user names and passwords.
pub const ACCOUNTS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];
/// The same for `htpasswd`: bcrypt at its least cost, which is the only hash that the registry reads.
const HTPASSWD: &str = "\
    alice:$2a$04$YYGNQea1mQvF6yjDmoIzjOQ2zVWfFoVWamgsj3OyepP/utWzfYl9a\n\
    bob:$2a$04$eVkNbUUAK/Gb.WG.kACPxu2tEeSO5tp5foz64/2swLy4tIYLsrsTa\n";
/// How long the registry has to listen. A machine that is busy compiling takes its time.
const READY: Duration = Duration::from_secs(60);
/// How long the registry has to write a line about a request that it has answered.
const LOGGED: Duration = Duration::from_secs(10);
/// How long a request of the tests themselves may take.
const REQUEST: Duration = Duration::from_secs(30);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A running registry. Dropping it stops it.
pub struct Registry {
    host: String,
    access: Access,
    tokens: Option<TokenServer>,
    client: Client,
    origin: Url,
    server: Guarded,
}

/// How a registry is to be.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Who may use it.
    pub access: Access,
    /// Who issues its certificate; without TLS if nobody does.
    pub tls: Option<&'a Authority>,
}

/// Who may use a registry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// The [`ACCOUNTS`], who show their password with every request.
    Basic,
    /// The [`ACCOUNTS`], who show their password to a token server, and its token with every request.
    Token,
}

impl Registry {
    /// Starts a registry. `None` if the program is missing, and then the test has been
    /// [skipped](tools::skip).
    ///
    /// # Panics
    ///
    /// If the registry does not start, with its log.
    pub async fn start(options: Options<'_>) -> Option<Self> {
        let [program] = tools::find_all(["registry"])?;
        match Self::start_with(&program, options).await {
            Ok(registry) => Some(registry),
            Err(error) => panic!("the registry did not start: {error:#}"),
        }
    }

    async fn start_with(program: &Path, Options { access, tls }: Options<'_>) -> anyhow::Result<Self> {
        let directory = process::directory("registry")?;
        let place = |name: &str| directory.join(name);
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": place("storage")}},
            // The system chooses the port, and the log says which.
            "http": {"addr": "127.0.0.1:0"},
        });
        if let Some(authority) = tls {
            let issued = authority.server(&["127.0.0.1", "localhost"]);
            fs::write(place("tls.crt"), &issued.certificate)?;
            fs::write(place("tls.key"), &issued.key)?;
            config["http"]["tls"] = json!({"certificate": place("tls.crt"), "key": place("tls.key")});
        }
        let tokens = match access {
            Access::Token => Some(TokenServer::start(&ACCOUNTS).await),
            Access::Open | Access::Basic => None,
        };
        if let Some(tokens) = &tokens {
            fs::write(place("jwks.json"), tokens.jwks().to_string())?;
            let (realm, jwks) = (tokens.realm(), place("jwks.json"));
            let token = json!({"realm": realm, "service": SERVICE, "issuer": ISSUER, "jwks": jwks});
            config["auth"] = json!({"token": token});
        }
        if access == Access::Basic {
            fs::write(place("htpasswd"), HTPASSWD)?;
            config["auth"] = json!({"htpasswd": {"realm": "tests", "path": place("htpasswd")}});
        }
        // Its configuration is YAML, of which JSON is a part.
        fs::write(place("config.yml"), config.to_string())?;
        let mut command = Command::new(program);
        command.arg("serve").arg(place("config.yml")).env("OTEL_TRACES_EXPORTER", "none");

        let server = Guarded::start(&command, directory)?;
        let (server, host) = tokio::task::spawn_blocking(move || listening(server)).await??;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self {
            origin: Url::parse(&format!("{scheme}://{host}/"))?,
            client: client(tls)?,
            host,
            access,
            tokens,
            server,
        })
    }

    /// Its `host:port`, as a reference names it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the settings must say for it to be asked at all, being on loopback. Its authority's
    /// certificate is not in there.
    pub fn entry(&self) -> RegistryEntry {
        let plain = self.origin.scheme() == "http";
        let entry = json!({"host": self.host, "plainHttp": plain, "allowPrivateAddresses": true});
        serde_json::from_value(entry).unwrap()
    }

    /// The keyring of somebody who has the account `user` for `repository`; for all if that is empty.
    pub fn keyring(&self, user: &str, password: &str, repository: &str) -> Keyring {
        let key = format!("{}/{repository}", self.host);
        let config = json!({"auths": {key.trim_end_matches('/'): {"username": user, "password": password}}});
        Keyring::from_docker_config(config.to_string().as_bytes()).unwrap()
    }

    /// Its token server, if it has one.
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// Pushes an image of a few bytes, unlike any other, and answers with its manifest's digest.
    pub async fn push(&self, repository: &str, tag: &str) -> Digest {
        self.try_push(repository, tag).await.unwrap()
    }

    /// Pushes an index of one image, and answers with the index's digest.
    pub async fn push_index(&self, repository: &str, tag: &str) -> Digest {
        self.try_push_index(repository, tag).await.unwrap()
    }

    /// Pushes everything that a layout holds, under the tags that it has there.
    pub async fn push_layout(&self, repository: &str, layout: &Layout<'_>) {
        for (tag, descriptor) in layout.tagged() {
            self.try_push_all(repository, tag, descriptor, layout).await.unwrap();
        }
    }

    async fn try_push_all(
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
            Box::pin(self.try_push_all(repository, digest.as_str(), &child, layout)).await?;
        }
        for blob in listed("layers").iter().chain(manifest.get("config")) {
            self.put_blob(repository, LAYER, layout.blob(&layout::digest(blob))).await?;
        }
        let media_type = descriptor["mediaType"].as_str().context("a manifest of no type")?;
        let manifest = String::from_utf8(layout.blob(&digest))?;
        self.put_manifest(repository, reference, media_type, manifest).await
    }

    async fn try_push(&self, repository: &str, tag: &str) -> anyhow::Result<Digest> {
        let manifest = self.manifest(repository).await?.to_string();
        self.put_manifest(repository, tag, MANIFEST, manifest).await
    }

    async fn try_push_index(&self, repository: &str, tag: &str) -> anyhow::Result<Digest> {
        let manifest = self.manifest(repository).await?.to_string();
        let size = manifest.len();
        let digest = Digest::sha256(manifest.as_bytes());
        self.put_manifest(repository, digest.as_str(), MANIFEST, manifest).await?;
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let manifest =
            json!({"mediaType": MANIFEST, "digest": digest.as_str(), "size": size, "platform": platform});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        self.put_manifest(repository, tag, INDEX, index.to_string()).await
    }

    /// A new image's manifest, whose blobs are there already.
    async fn manifest(&self, repository: &str) -> anyhow::Result<Value> {
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

    /// Pushes a blob, and answers with its descriptor (OCI image-spec 1.1).
    async fn put_blob(&self, repository: &str, media_type: &str, content: Vec<u8>) -> anyhow::Result<Value> {
        let (digest, size) = (Digest::sha256(&content), content.len());
        let begin = self.origin.join(&format!("v2/{repository}/blobs/uploads/"))?;
        let begun = self.request(Method::POST, begin.clone(), repository).send().await?;
        ensure!(begun.status() == StatusCode::ACCEPTED, "{begin}: {}", begun.status());
        let location = begun.headers().get(header::LOCATION).context("an upload without a place")?;
        let mut upload = begin.join(location.to_str()?)?;
        upload.query_pairs_mut().append_pair("digest", digest.as_str());
        let put = self.request(Method::PUT, upload, repository).body(content).send().await?;
        ensure!(put.status() == StatusCode::CREATED, "{digest}: {}", put.status());
        Ok(json!({"mediaType": media_type, "digest": digest.as_str(), "size": size}))
    }

    async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: String,
    ) -> anyhow::Result<Digest> {
        let digest = Digest::sha256(manifest.as_bytes());
        let url = self.origin.join(&format!("v2/{repository}/manifests/{reference}"))?;
        let request = self.request(Method::PUT, url, repository);
        let put = request.header(header::CONTENT_TYPE, media_type).body(manifest).send().await?;
        ensure!(put.status() == StatusCode::CREATED, "{repository}:{reference}: {}", put.status());
        Ok(digest)
    }

    fn request(&self, method: Method, url: Url, repository: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match (&self.access, &self.tokens) {
            (Access::Basic, _) => request.basic_auth(ACCOUNTS[0].0, Some(ACCOUNTS[0].1)),
            (_, Some(tokens)) => request.bearer_auth(tokens.token(repository, &["pull", "push"])),
            (_, None) => request,
        }
    }

    /// What Tidewaiter asked it so far, a line each: `HEAD /v2/acme/app/manifests/1 200`. Waits until
    /// there are `count` lines, as a line may come later than the answer.
    pub async fn asked(&self, count: usize) -> Vec<String> {
        let path = self.server.directory().join("log");
        let lines = move || {
            let log = fs::read_to_string(&path).unwrap();
            log.lines().filter(|line| line.contains("\"tidewaiter/")).filter_map(asked).collect::<Vec<_>>()
        };
        let enough = move || {
            wait_for(LOGGED, || Some(lines()).filter(|lines| lines.len() >= count)).unwrap_or_else(lines)
        };
        tokio::task::spawn_blocking(enough).await.unwrap()
    }

    /// The end of its log, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

/// Waits until the registry says where it listens.
fn listening(mut server: Guarded) -> anyhow::Result<(Guarded, String)> {
    let said = wait_for(READY, || {
        let log = server.log();
        let (_, behind) = log.split_once("listening on ")?;
        let host: String = behind.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        // The rest of the line tells that the port is whole.
        (behind.len() > host.len()).then_some(Ok(host)).or_else(|| server.ended().map(Err))
    });
    match said {
        Some(Ok(host)) => Ok((server, host)),
        Some(Err(status)) => bail!("it ended with {status}: {}", server.log()),
        None => bail!("it does not listen: {}", server.log()),
    }
}

fn client(tls: Option<&Authority>) -> anyhow::Result<Client> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut client = Client::builder().no_proxy().timeout(REQUEST);
    if let Some(authority) = tls {
        client = client.tls_certs_only([Certificate::from_pem(authority.certificate().as_bytes())?]);
    }
    Ok(client.build()?)
}

/// The request and the status of a line in Apache's combined log format.
fn asked(line: &str) -> Option<String> {
    let mut parts = line.split('"');
    let request = parts.nth(1)?.strip_suffix(" HTTP/1.1")?;
    let status = parts.next()?.split_whitespace().next()?;
    Some(format!("{request} {status}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    async fn get(registry: &Registry, url: &str, password: Option<&str>) -> reqwest::Response {
        let request = registry.client.get(registry.origin.join(url).unwrap()).header("accept", MANIFEST);
        match password {
            Some(password) => request.basic_auth("alice", Some(password)),
            None => request,
        }
        .send()
        .await
        .unwrap()
    }

    #[rstest]
    #[case::plain(false)]
    #[case::tls(true)]
    #[tokio::test]
    async fn a_registry_serves_what_was_pushed_to_it(#[case] tls: bool) {
        let authority = Authority::new("the authority of a registry");
        let options = Options { tls: tls.then_some(&authority), ..Default::default() };
        let Some(registry) = Registry::start(options).await else { return };
        let (image, index) =
            (registry.push("acme/app", "1").await, registry.push_index("acme/app", "all").await);
        assert_ne!(image, registry.push("acme/app", "2").await);

        let got = get(&registry, "v2/acme/app/manifests/1", None).await;
        assert_eq!(got.headers()["docker-content-digest"], image.as_str());
        assert!(image.matches(&got.bytes().await.unwrap()), "{}", registry.log());
        let got = get(&registry, &format!("v2/acme/app/manifests/{index}"), None).await;
        assert_eq!((got.status(), &got.headers()["content-type"]), (StatusCode::OK, &INDEX.parse().unwrap()));
    }

    #[tokio::test]
    async fn a_registry_with_accounts_wants_a_password() {
        let Some(registry) = Registry::start(Options { access: Access::Basic, tls: None }).await else {
            return;
        };
        registry.push("acme/app", "1").await;
        for (password, status) in [(None, 401), (Some("hunter2"), 401), (Some("wonderland"), 200)] {
            assert_eq!(get(&registry, "v2/acme/app/manifests/1", password).await.status(), status);
        }
    }

    #[tokio::test]
    async fn a_registry_with_a_token_server_wants_a_token_for_the_repository() {
        let Some(registry) = Registry::start(Options { access: Access::Token, tls: None }).await else {
            return;
        };
        registry.push("acme/app", "1").await;
        let path = "v2/acme/app/manifests/1";
        let refused = get(&registry, path, None).await;
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let tokens = registry.tokens().unwrap();
        assert!(
            challenge.contains(&format!("realm=\"{}\",service=\"{SERVICE}\"", tokens.realm())),
            "{challenge}"
        );

        let ask = async |repository: &str, password: Option<&str>| {
            let mut url = Url::parse(&tokens.realm()).unwrap();
            let scope = format!("repository:{repository}:pull");
            url.query_pairs_mut().append_pair("service", SERVICE).append_pair("scope", &scope);
            let answer = get(&registry, url.as_str(), password).await;
            let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
            let url = registry.origin.join(path).unwrap();
            let token = answer["token"].as_str().unwrap_or("none");
            let request = registry.client.get(url).header("accept", MANIFEST).bearer_auth(token);
            request.send().await.unwrap().status()
        };
        assert_eq!(ask("acme/app", Some("wonderland")).await, 200, "{}", registry.log());
        assert_eq!(ask("acme/other", Some("wonderland")).await, 401);
        assert_eq!(ask("acme/app", Some("hunter2")).await, 401);
        assert_eq!(ask("acme/app", None).await, 401);
        assert_eq!(tokens.received().len(), 4);
    }
}
