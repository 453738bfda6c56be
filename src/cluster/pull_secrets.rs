use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, Resource as _,
    api::{GetParams, Request},
};
use moka::{Expiry, sync::Cache};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    failure::Failure,
    flights::Flights,
    namespaces::{is_namespace_name, is_object_name},
};
use crate::review::{
    credentials::Keyring,
    ports::{LookupError, PullSecrets},
};

/// How many pull secrets of one object are read.
const MOST_SECRETS: usize = 32;
/// How many of them are asked for at once.
const AT_ONCE: usize = 8;
/// How long a Secret may be, as JSON. (The API server takes 1 MiB of data, which base64 makes longer.)
const LONGEST_ANSWER: u64 = 2 << 20;
/// How long the docker config inside may be.
const LONGEST_CONFIG: usize = 256 << 10;
/// How long what was read is believed.
const TTL: Duration = Duration::from_secs(30);
/// How long it is believed if something was not there: whoever creates a missing Secret waits for it.
const TTL_INCOMPLETE: Duration = Duration::from_secs(5);
/// How many bytes are remembered, by a generous estimate of what a keyring takes.
const CACHE_BYTES: u64 = 16 << 20;
/// How to do without.
const SWITCH_OFF: &str = "or set imagePullSecrets: Ignore";

/// The credentials in the Secrets that objects name, asked from the API server.
///
/// Only in the object's own namespace, and never another one's: whoever may create a Pod there may use
/// its Secrets anyway. Types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg` count,
/// others are passed over as if they were not there.
///
/// The ServiceAccount's own secrets are used only where the object names none. That is what runs: the
/// `ServiceAccount` admission plugin copies them into a Pod that names none, before any webhook is
/// called, and the kubelet uses what the Pod then names and nothing else.
///
/// What was read is remembered for 30 s, for 5 s if something was missing, and an error not at all.
/// Contents are never logged, nor part of an error.
pub struct ClusterPullSecrets {
    client: Client,
    known: Cache<Wanted, Found>,
    flights: Flights<Wanted, Arc<Keyring>>,
}

/// No credentials for anyone: the setting `imagePullSecrets: Ignore`, for clusters in which nothing
/// shall read Secrets. Images that need a pull secret then need one of the other sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPullSecrets;

/// Whose credentials are wanted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Wanted {
    namespace: Box<str>,
    holder: Holder,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Holder {
    Secrets(Box<[Box<str>]>),
    ServiceAccount(Box<str>),
}

#[derive(Clone)]
struct Found {
    keyring: Arc<Keyring>,
    /// Whether everything that was named was there.
    complete: bool,
    /// The length of the docker configs.
    bytes: usize,
}

impl ClusterPullSecrets {
    /// Asks through `client` on `runtime`, which must be the one that `client` was made on.
    pub fn new(client: Client, runtime: Handle) -> Self {
        let known = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|wanted: &Wanted, found: &Found| {
                u32::try_from(wanted.bytes() + 4 * found.bytes + 512).unwrap_or(u32::MAX)
            })
            .expire_after(Lifetime)
            .build();
        Self { client, known, flights: Flights::new(runtime) }
    }
}

impl PullSecrets for ClusterPullSecrets {
    fn known(&self, namespace: &str, service_account: &str, secrets: &[&str]) -> Option<Arc<Keyring>> {
        if secrets.len() > MOST_SECRETS {
            return None;
        }
        Some(self.known.get(&Wanted::new(namespace, service_account, secrets))?.keyring)
    }

    fn keyring<'a>(
        &'a self,
        namespace: &'a str,
        service_account: &'a str,
        secrets: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>> {
        Box::pin(async move {
            if !is_namespace_name(namespace) {
                return Err(LookupError(format!("{namespace:?} cannot be the name of a namespace")));
            }
            check_count(secrets.len())?;
            let wanted = Wanted::new(namespace, service_account, secrets);
            if let Some(found) = self.known.get(&wanted) {
                return Ok(found.keyring);
            }
            let (client, known) = (self.client.clone(), self.known.clone());
            let asking = wanted.clone();
            self.flights
                .join(wanted, || async move {
                    let found = find(&client, &asking).await?;
                    let keyring = found.keyring.clone();
                    known.insert(asking, found);
                    Ok(keyring)
                })
                .await
        })
    }
}

impl PullSecrets for NoPullSecrets {
    fn known(&self, _: &str, _: &str, _: &[&str]) -> Option<Arc<Keyring>> {
        Some(Arc::default())
    }

    fn keyring<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>> {
        Box::pin(async { Ok(Arc::default()) })
    }
}

impl Wanted {
    fn new(namespace: &str, service_account: &str, secrets: &[&str]) -> Self {
        let holder = match (secrets, service_account) {
            ([], "") => Holder::ServiceAccount("default".into()),
            ([], name) => Holder::ServiceAccount(name.into()),
            (names, _) => Holder::Secrets(names.iter().map(|name| Box::from(*name)).collect()),
        };
        Self { namespace: namespace.into(), holder }
    }

    fn bytes(&self) -> usize {
        self.namespace.len()
            + match &self.holder {
                Holder::Secrets(names) => names.iter().map(|name| name.len() + 16).sum(),
                Holder::ServiceAccount(name) => name.len(),
            }
    }
}

async fn find(client: &Client, wanted: &Wanted) -> Result<Found, LookupError> {
    let namespace = &*wanted.namespace;
    let names = match &wanted.holder {
        Holder::Secrets(names) => Some(names.to_vec()),
        Holder::ServiceAccount(name) => secrets_of(client, namespace, name).await?,
    };
    let complete = names.is_some();
    let names = names.unwrap_or_default();
    check_count(names.len())?;
    let readings: Vec<_> = names.iter().map(|name| read(client, namespace, name)).collect();
    let secrets: Vec<_> = stream::iter(readings).buffered(AT_ONCE).try_collect().await?;
    let complete = complete && secrets.iter().all(|secret| !matches!(secret, Reading::Missing));
    let (mut keyrings, mut bytes) = (Vec::new(), 0);
    for secret in secrets {
        if let Reading::Keyring { keyring, length } = secret {
            keyrings.push(keyring);
            bytes += length;
        }
    }
    Ok(Found { keyring: Arc::new(Keyring::merge(keyrings)), complete, bytes })
}

/// The pull secrets that a ServiceAccount names; `None` if there is no such account.
async fn secrets_of(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Vec<Box<str>>>, LookupError> {
    if !is_object_name(name) {
        return Ok(None);
    }
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    match api.get(name).await.map_err(Failure::from) {
        Ok(account) => {
            let secrets = account.image_pull_secrets.unwrap_or_default();
            Ok(Some(secrets.into_iter().map(|secret| secret.name.into()).collect()))
        }
        Err(failure) if failure.code() == Some(404) => Ok(None),
        Err(failure) => Err(refused(&format!("ServiceAccount {namespace}/{name}"), &failure)),
    }
}

/// What became of one Secret.
enum Reading {
    Missing,
    /// It is of another type.
    PassedOver,
    Keyring {
        keyring: Keyring,
        length: usize,
    },
}

/// As much of a Secret as concerns us. Has no `Debug`, since its data must not be printed.
#[derive(Deserialize)]
struct SecretDocument {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, ByteString>,
}

async fn read(client: &Client, namespace: &str, name: &str) -> Result<Reading, LookupError> {
    let place = format!("Secret {namespace}/{name}");
    if !is_object_name(name) {
        tracing::debug!(secret.name = ?name, "a pull secret cannot have this name");
        return Ok(Reading::Missing);
    }
    let document = match get(client, namespace, name).await {
        Ok(document) => document,
        Err(failure) if failure.code() == Some(404) => {
            tracing::debug!("{place} does not exist and is passed over");
            return Ok(Reading::Missing);
        }
        Err(failure) => return Err(refused(&place, &failure)),
    };
    keyring_of(&place, document)
}

/// Gets a Secret. Neither the typed client nor its errors are used for the content: they log and quote
/// what they cannot parse.
async fn get(client: &Client, namespace: &str, name: &str) -> Result<SecretDocument, Failure> {
    let request = Request::new(Secret::url_path(&(), Some(namespace))).get(name, &GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest)?;
    let mut body = Vec::new();
    let answer = client.request_stream(request).await?;
    let mut answer = Box::pin(answer.take(LONGEST_ANSWER + 1));
    answer.read_to_end(&mut body).await.map_err(kube::Error::ReadEvents)?;
    if body.len() as u64 > LONGEST_ANSWER {
        return Err(Failure::TooLong(LONGEST_ANSWER));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Failure::Malformed(format!("line {}, column {}", error.line(), error.column())))
}

/// The one place that knows how a docker config is read.
fn keyring_of(place: &str, document: SecretDocument) -> Result<Reading, LookupError> {
    let (key, parse): (_, fn(&[u8]) -> _) = match document.kind.as_str() {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", Keyring::from_docker_config),
        "kubernetes.io/dockercfg" => (".dockercfg", Keyring::from_dockercfg),
        kind => {
            tracing::debug!(secret.kind = kind, "{place} is no pull secret and is passed over");
            return Ok(Reading::PassedOver);
        }
    };
    let Some(ByteString(config)) = document.data.get(key) else {
        return Err(LookupError(format!("{place} has no key {key}")));
    };
    let length = config.len();
    if length > LONGEST_CONFIG {
        return Err(LookupError(format!("{place}: {key} is longer than {LONGEST_CONFIG} bytes")));
    }
    match parse(config) {
        Ok(keyring) => Ok(Reading::Keyring { keyring, length }),
        Err(_) => Err(LookupError(format!(
            "{place}: {key} is not a docker config: make it anew with `kubectl create secret docker-registry`"
        ))),
    }
}

fn check_count(count: usize) -> Result<(), LookupError> {
    match count {
        0..=MOST_SECRETS => Ok(()),
        _ => Err(LookupError(format!("{count} pull secrets are named, and at most {MOST_SECRETS} are read"))),
    }
}

fn refused(place: &str, failure: &Failure) -> LookupError {
    LookupError(match failure.remedy() {
        Some(remedy) => format!("cannot get {place}: {failure}: {remedy}, {SWITCH_OFF}"),
        None => format!("cannot get {place}: {failure}"),
    })
}

struct Lifetime;

impl Expiry<Wanted, Found> for Lifetime {
    fn expire_after_create(&self, _: &Wanted, found: &Found, _: Instant) -> Option<Duration> {
        Some(if found.complete { TTL } else { TTL_INCOMPLETE })
    }
}

#[cfg(test)]
mod tests;
