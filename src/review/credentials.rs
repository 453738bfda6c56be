//! Registry credentials and the rule that says where each may go.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::image::{Glob, ImageReference};

/// The largest docker configuration that is read, in bytes: the limit of a Kubernetes Secret.
const CONFIG_LIMIT: usize = 1 << 20;
/// The most entries of one configuration.
const ENTRY_LIMIT: usize = 1024;
/// The names under which configurations speak of Docker Hub.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// One user name and password.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential {
    username: String,
    password: String,
}

/// Credentials, each bound to a registry and perhaps to a path on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keyring {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    scope: Scope,
    credential: Credential,
}

/// Where a credential may go: one host, or hosts by a glob in which `*` stays within one label; its
/// exact port; and the paths at or below one path.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Scope {
    labels: Vec<Glob>,
    literal: bool,
    port: Option<String>,
    path: String,
}

/// Why a docker configuration cannot be read. Says nothing of what is in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyringError {
    /// It is no JSON of the expected form.
    #[error("it is no docker configuration in JSON (line {line}, column {column})")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An `auth` is no base64 of `user:password`.
    #[error("the auth of {registry} is no base64 of user:password")]
    Auth {
        /// The registry, as written.
        registry: String,
    },
    /// It is larger than we read.
    #[error("it is larger than {CONFIG_LIMIT} bytes or holds more than {ENTRY_LIMIT} registries")]
    TooLarge,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl Credential {
    /// The user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password. Goes into an `Authorization` header and nowhere else.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(****)")
    }
}

impl Keyring {
    /// Reads a docker configuration (`.dockerconfigjson`, `~/.docker/config.json`).
    ///
    /// Only `auths` counts. `credHelpers` and `credsStore` name programs, and what a tenant's Secret
    /// names is never run. An entry without user name and password is passed over.
    pub fn from_docker_config(json: &[u8]) -> Result<Self, KeyringError> {
        let DockerConfig { auths } = parse(json)?;
        Self::from_auths(auths)
    }

    /// Reads the older form (`.dockercfg`), which is the inside of `auths`.
    pub fn from_dockercfg(json: &[u8]) -> Result<Self, KeyringError> {
        Self::from_auths(parse(json)?)
    }

    /// All of them, those of the first first.
    pub fn merge(keyrings: impl IntoIterator<Item = Self>) -> Self {
        Self { entries: keyrings.into_iter().flat_map(|keyring| keyring.entries).collect() }
    }

    /// The credentials that may be used for `image`, each once: by keyring, and within one the most
    /// specific path first, as the kubelet has it.
    pub fn lookup(&self, image: &ImageReference) -> Vec<Credential> {
        self.find(image.host(), image.repository())
    }

    /// The credentials for `repository` on the registry `host`, a canonical `host[:port]`.
    pub fn find(&self, host: &str, repository: &str) -> Vec<Credential> {
        let mut found: Vec<Credential> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.scope.covers(host, repository)) {
            if !found.contains(&entry.credential) {
                found.push(entry.credential.clone());
            }
        }
        found
    }

    fn from_auths(auths: BTreeMap<String, Auth>) -> Result<Self, KeyringError> {
        if auths.len() > ENTRY_LIMIT {
            return Err(KeyringError::TooLarge);
        }
        let mut entries = Vec::new();
        for (registry, auth) in auths {
            let credential = match auth.auth.as_str() {
                "" => Credential { username: auth.username, password: auth.password },
                encoded => decode(encoded)
                    .ok_or_else(|| KeyringError::Auth { registry: registry.chars().take(253).collect() })?,
            };
            if !credential.username.is_empty() || !credential.password.is_empty() {
                entries.push(Entry { scope: Scope::parse(&registry), credential });
            }
        }
        // Longest path first, then literal hosts before globs. The sort is stable.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.scope.path.len()), !entry.scope.literal));
        Ok(Self { entries })
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, KeyringError> {
    if json.len() > CONFIG_LIMIT {
        return Err(KeyringError::TooLarge);
    }
    // The parser's own words could repeat a secret.
    serde_json::from_slice(json)
        .map_err(|error| KeyringError::Malformed { line: error.line(), column: error.column() })
}

fn decode(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    // Docker pads short passwords with zero bytes.
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Credential { username: username.to_owned(), password: password.to_owned() })
}

impl Scope {
    /// Reads the key of an entry: `[https://]host[:port][/path]`. The `/v1/` or `/v2/` that docker
    /// writes behind a host is no path.
    fn parse(key: &str) -> Self {
        let key = key.trim();
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (authority, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = path.trim_matches('/');
        let path = match path.split_once('/') {
            Some(("v1" | "v2", below)) => below,
            _ if matches!(path, "v1" | "v2") => "",
            _ => path,
        };
        let (host, port) = split_port(authority);
        Self {
            labels: hub(&host.to_ascii_lowercase()).split('.').map(Glob::new).collect(),
            literal: !host.contains('*'),
            port: port.map(str::to_owned),
            path: path.to_owned(),
        }
    }

    fn covers(&self, authority: &str, repository: &str) -> bool {
        let (host, port) = split_port(authority);
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.port.as_deref() == port
            && self.covers_host(hub(host))
            && (self.path.is_empty() || repository.strip_prefix(&*self.path).is_some_and(below))
    }

    fn covers_host(&self, host: &str) -> bool {
        let mut host = host.split('.');
        self.labels.iter().all(|glob| host.next().is_some_and(|label| glob.matches(label)))
            && host.next().is_none()
    }
}

fn hub(host: &str) -> &str {
    if DOCKER_HUB.contains(&host) { DOCKER_HUB[0] } else { host }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Which credentials an answer was got with. What one class learned is never told to another.
///
/// Two lists are of one class only if they hold the same credentials in the same order. Holds a hash
/// and no secret.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CredentialClass([u8; 32]);

impl CredentialClass {
    /// The class of `credentials`; the empty list's is that of everybody.
    pub fn of(credentials: &[Credential]) -> Self {
        let mut hash = Context::new(&SHA256);
        for text in credentials.iter().flat_map(|one| [&one.username, &one.password]) {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let mut class = [0; 32];
        class.copy_from_slice(hash.finish().as_ref());
        Self(class)
    }

    /// Its hash.
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn keyring(key: &str) -> Keyring {
        let json = serde_json::json!({"auths": {key: {"username": "u", "password": "hunter2"}}});
        Keyring::from_docker_config(json.to_string().as_bytes()).unwrap()
    }

    #[rstest]
    #[case("registry.example.com", "registry.example.com/team/app", true)]
    #[case("https://registry.example.com/v2/", "registry.example.com/team/app", true)]
    #[case("registry.example.com/team", "registry.example.com/team/app", true)]
    #[case("registry.example.com/team", "registry.example.com/team", true)]
    #[case("registry.example.com/team", "registry.example.com/teammate/app", false)]
    #[case("registry.example.com/team/app", "registry.example.com/team", false)]
    #[case("registry.example.com", "registry.example.com:5000/team/app", false)]
    #[case("registry.example.com:5000", "registry.example.com:5000/team/app", true)]
    #[case("registry.example.com:5000", "registry.example.com/team/app", false)]
    #[case("registry.example.com", "registry.example.com.evil.example.net/app", false)]
    #[case("registry.example.com", "evil.example.net/registry.example.com/app", false)]
    #[case("example.com", "registry.example.com/app", false)]
    #[case("*.example.com", "registry.example.com/app", true)]
    #[case("*.example.com", "a.b.example.com/app", false)]
    #[case("*.example.com", "example.com/app", false)]
    #[case("reg*y.example.com", "registry.example.com/app", true)]
    #[case("https://index.docker.io/v1/", "nginx", true)]
    #[case("docker.io", "nginx", true)]
    #[case("docker.io/acme", "docker.io/acme/app", true)]
    #[case("docker.io/acme", "nginx", false)]
    fn a_credential_goes_only_where_it_belongs(#[case] key: &str, #[case] image: &str, #[case] goes: bool) {
        let found = keyring(key).lookup(&image.parse().unwrap());
        assert_eq!(!found.is_empty(), goes);
    }

    #[test]
    fn the_most_specific_path_comes_first_and_nothing_twice() {
        let json = br#"{"auths": {
            "registry.example.com": {"username": "all", "password": "p"},
            "registry.example.com/team/app": {"username": "app", "password": "p"},
            "registry.example.com/team": {"auth": "dGVhbTpw"},
            "https://registry.example.com": {"username": "all", "password": "p"}
        }}"#;
        let found = Keyring::from_docker_config(json)
            .unwrap()
            .lookup(&"registry.example.com/team/app".parse().unwrap());
        assert_eq!(found.iter().map(Credential::username).collect::<Vec<_>>(), ["app", "team", "all"]);
    }

    #[test]
    fn helpers_are_not_run_and_entries_without_a_secret_are_passed_over() {
        let json = br#"{"credsStore": "desktop", "credHelpers": {"registry.example.com": "evil"}, "auths": {"registry.example.com": {}}}"#;
        assert_eq!(Keyring::from_docker_config(json), Ok(Keyring::default()));
    }

    #[rstest]
    #[case(br#"{"auths": "hunter2"}"#.as_slice())]
    #[case(br#"{"auths": {"a.example.com": {"auth": "hunter2!"}}}"#.as_slice())]
    #[case(br#"{"auths": {"a.example.com": {"auth": "aHVudGVyMg=="}}}"#.as_slice())]
    #[case(b"hunter2".as_slice())]
    fn an_error_repeats_no_secret(#[case] json: &[u8]) {
        let error = Keyring::from_docker_config(json).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", keyring("registry.example.com")).contains("hunter2"));
    }

    #[test]
    fn classes_differ_where_credentials_or_their_order_do() {
        let one = |username: &str, password: &str| Credential {
            username: username.into(),
            password: password.into(),
        };
        let lists = [
            vec![],
            vec![one("a", "b")],
            vec![one("ab", "")],
            vec![one("", "ab")],
            vec![one("a", "b"), one("c", "d")],
            vec![one("c", "d"), one("a", "b")],
            vec![one("a", "bc"), one("", "d")],
        ];
        for (at, list) in lists.iter().enumerate() {
            for (other_at, other) in lists.iter().enumerate() {
                assert_eq!(CredentialClass::of(list) == CredentialClass::of(other), at == other_at);
            }
        }
    }
}
