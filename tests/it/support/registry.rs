//! A real registry: the distribution project's, on loopback, with what the tests push to it.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use serde_json::json;
use tidewaiter::{image::Digest, registry::RegistryEntry, review::credentials::Keyring};
use tokio::sync::OnceCell;

use super::{
    certs::Authority,
    client::{Login, RegistryClient},
    layout::Layout,
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
/// How long the registry has to write a line about a request that it has answered.
const LOGGED: Duration = Duration::from_secs(10);

/// A running registry. Dropping it stops it.
pub struct Registry {
    client: RegistryClient,
    tokens: Option<Arc<TokenServer>>,
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
    /// One without accounts or TLS that tests share, each with repositories of its own; started by whoever
    /// comes first. `None` as with [`start`](Self::start).
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Registry> = OnceCell::const_new();
        let [program] = tools::find_all(["registry"])?;
        Some(SHARED.get_or_init(async || Self::start_or_panic(&program, Options::default()).await).await)
    }

    /// Starts a registry. `None` if the program is missing, and then the test has been
    /// [skipped](tools::skip).
    ///
    /// # Panics
    ///
    /// If the registry does not start, with its log.
    pub async fn start(options: Options<'_>) -> Option<Self> {
        let [program] = tools::find_all(["registry"])?;
        Some(Self::start_or_panic(&program, options).await)
    }

    async fn start_or_panic(program: &Path, options: Options<'_>) -> Self {
        match Self::start_with(program, options).await {
            Ok(registry) => registry,
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
            Access::Token => Some(Arc::new(TokenServer::start(&ACCOUNTS).await)),
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

        let (server, host) = Guarded::start(&command, directory)?.listening().await?;
        let login = match (access, &tokens) {
            (Access::Basic, _) => Login::Password(ACCOUNTS[0].0, ACCOUNTS[0].1),
            (_, Some(tokens)) => Login::Token(Arc::clone(tokens)),
            (_, None) => Login::Nobody,
        };
        Ok(Self { client: RegistryClient::new(host, login, tls)?, tokens, server })
    }

    /// A client that may do everything.
    pub fn client(&self) -> &RegistryClient {
        &self.client
    }

    /// Its `host:port`, as a reference names it.
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// What the settings must say for it to be asked at all, being on loopback. Its authority's
    /// certificate is not in there.
    pub fn entry(&self) -> RegistryEntry {
        entry(&self.client)
    }

    /// The keyring of somebody who has the account `user` for `repository`; for all if that is empty.
    pub fn keyring(&self, user: &str, password: &str, repository: &str) -> Keyring {
        let key = format!("{}/{repository}", self.host());
        let config = json!({"auths": {key.trim_end_matches('/'): {"username": user, "password": password}}});
        Keyring::from_docker_config(config.to_string().as_bytes()).unwrap()
    }

    /// Its token server, if it has one.
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_deref()
    }

    /// Pushes an image of a few bytes, unlike any other, and answers with its manifest's digest.
    pub async fn push(&self, repository: &str, tag: &str) -> Digest {
        self.client.push(repository, tag).await
    }

    /// Pushes an index of one image, and answers with the index's digest.
    pub async fn push_index(&self, repository: &str, tag: &str) -> Digest {
        self.client.push_index(repository, tag).await
    }

    /// Pushes everything that a layout holds, under the tags that it has there.
    pub async fn push_layout(&self, repository: &str, layout: &Layout<'_>) {
        self.client.push_layout(repository, layout).await;
    }

    /// What Tidewaiter asked it so far, a line each: `HEAD /v2/acme/app/manifests/1 200`. Waits until
    /// there are `count` lines, as a line may come later than the answer.
    pub async fn asked(&self, count: usize) -> Vec<String> {
        asked(&self.server, count).await
    }

    /// The end of its log, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

/// What the settings must say for a registry on loopback to be asked at all.
pub fn entry(client: &RegistryClient) -> RegistryEntry {
    let entry = json!({"host": client.host(), "plainHttp": client.is_plain(), "allowPrivateAddresses": true});
    serde_json::from_value(entry).unwrap()
}

/// What Tidewaiter asked the registry `server` so far, as its log tells it. Waits for `count` lines.
pub async fn asked(server: &Guarded, count: usize) -> Vec<String> {
    let path = server.directory().join("log");
    let lines = move || {
        let log = fs::read_to_string(&path).unwrap();
        log.lines().filter(|line| line.contains("\"tidewaiter/")).filter_map(request).collect::<Vec<_>>()
    };
    let enough =
        move || wait_for(LOGGED, || Some(lines()).filter(|lines| lines.len() >= count)).unwrap_or_else(lines);
    tokio::task::spawn_blocking(enough).await.unwrap()
}

/// The request and the status of a line in Apache's combined log format.
fn request(line: &str) -> Option<String> {
    let mut parts = line.split('"');
    let request = parts.nth(1)?.strip_suffix(" HTTP/1.1")?;
    let status = parts.next()?.split_whitespace().next()?;
    Some(format!("{request} {status}"))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use rstest::rstest;
    use serde_json::Value;
    use url::Url;

    use super::{super::client::INDEX, *};

    async fn get(registry: &Registry, url: &str, password: Option<&str>) -> reqwest::Response {
        let request = registry.client.ask(url);
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
            let token = answer["token"].as_str().unwrap_or("none");
            registry.client.ask(path).bearer_auth(token).send().await.unwrap().status()
        };
        assert_eq!(ask("acme/app", Some("wonderland")).await, 200, "{}", registry.log());
        assert_eq!(ask("acme/other", Some("wonderland")).await, 401);
        assert_eq!(ask("acme/app", Some("hunter2")).await, 401);
        assert_eq!(ask("acme/app", None).await, 401);
        assert_eq!(tokens.received().len(), 4);
    }
}
