use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use moka::sync::Cache;
use reqwest::{Certificate, Client, redirect::Policy};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::{Host, Url};

use super::{
    RegistryEntry, RegistrySettings, SettingsError,
    address::{AddressRule, ForbiddenAddress},
    breaker::{Breaker, PAUSE as LEFT_ALONE},
    settings::DEFAULT_CONCURRENCY,
};
use crate::{
    decision::printable,
    evidence::RegistryError,
    review::ports::{RegistryExchange, RegistryObserver},
};

/// How often a request is repeated where the trouble may be passing.
const RETRIES: u32 = 2;
/// The longest wait before a repetition. A registry that asks for more is told to nobody's face: the
/// answer is [`RegistryError::Throttled`].
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The wait before the first repetition; doubled for the second, and up to as much again by chance.
const PAUSE: Duration = Duration::from_millis(50);
/// How often one request may be sent elsewhere.
const REDIRECTS: usize = 3;
/// How long a request may queue for its registry.
const QUEUE_TIME: Duration = Duration::from_secs(2);
/// How many registries have a gate at once. One that nobody has asked for a while gets a new one.
const GATES: u64 = 4096;
/// The longest body of an unwelcome answer that is read so that the connection can be used again, in
/// bytes, and how long that may take.
const REMAINDER: u64 = 8 << 10;
const REMAINDER_TIME: Duration = Duration::from_millis(250);
/// The longest text about a failed request, in bytes.
const DETAIL: usize = 300;
/// Docker Hub's registry is not where its name points to.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Sends requests to registries and their token servers, and bounds whatever comes back.
pub(super) struct Transport {
    settings: RegistrySettings,
    strict: Arc<Lane>,
    lanes: HashMap<String, Arc<Lane>>,
    gates: Cache<String, Arc<Gate>>,
    observer: Arc<dyn RegistryObserver>,
}

/// How some registries are reached.
struct Lane {
    client: Client,
    rule: AddressRule,
    plain_http: bool,
}

/// A registry that can be asked: the one that a reference names, or a mirror of it.
pub(super) struct Endpoint {
    host: String,
    origin: Url,
    lane: Arc<Lane>,
    gate: Arc<Gate>,
    auth_hosts: Vec<String>,
}

/// What all requests to one registry pass.
struct Gate {
    slots: Semaphore,
    breaker: Breaker,
}

/// What a request is for: its label in metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// The content of a signature or an attestation.
    Blob,
    /// The body of a manifest.
    Manifest,
    /// The list of what refers to an image.
    Referrers,
    /// Which digest a tag stands for.
    Resolve,
    /// A token.
    Token,
    /// A file of a TUF repository.
    Tuf,
}

/// One request.
pub(super) struct Request {
    pub(super) class: Class,
    pub(super) method: Method,
    pub(super) url: Url,
    /// The media types that are wanted; none says nothing.
    pub(super) accept: Option<HeaderValue>,
    /// Goes to `url`'s origin and nowhere else.
    pub(super) authorization: Option<HeaderValue>,
    /// The longest body that is read, in bytes.
    pub(super) limit: u64,
}

/// An answer that is neither a redirect nor a passing trouble.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Empty unless the status says success.
    pub(super) body: Vec<u8>,
    /// Whether it came from the origin that was asked, and not from one that it pointed to.
    pub(super) own: bool,
}

impl Transport {
    /// Reads the certificates that `settings` name.
    pub(super) fn new(
        settings: RegistrySettings,
        observer: Arc<dyn RegistryObserver>,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        // The HTTP client takes the process's provider; another that is there already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let strict = Arc::new(Lane::new(&settings, None, 0)?);
        let mut lanes = HashMap::new();
        for (at, entry) in settings.registries.iter().enumerate() {
            let lane = match entry.ca.is_some() || entry.allow_private_addresses || entry.plain_http {
                true => Arc::new(Lane::new(&settings, Some(entry), at)?),
                false => strict.clone(),
            };
            lanes.insert(entry.host.clone(), lane);
        }
        let gates = Cache::builder().max_capacity(GATES).time_to_idle(Duration::from_secs(300)).build();
        Ok(Self { settings, strict, lanes, gates, observer })
    }

    /// What the settings say of the registry `host`.
    pub(super) fn entry(&self, host: &str) -> Option<&RegistryEntry> {
        self.settings.entry(host)
    }

    /// The registry with the canonical name `host`.
    pub(super) fn endpoint(&self, host: &str) -> Result<Endpoint, RegistryError> {
        let entry = self.entry(host);
        let lane = self.lane(host);
        let scheme = if lane.plain_http { "http" } else { "https" };
        let place = if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host };
        let origin = Url::parse(&format!("{scheme}://{place}/"))
            .map_err(|error| RegistryError::Forbidden(format!("the host is no place to ask: {error}")))?;
        let size = entry.map_or(DEFAULT_CONCURRENCY, |entry| entry.max_concurrent_requests);
        Ok(Endpoint {
            host: host.to_owned(),
            origin,
            lane,
            gate: self.gates.get_with_by_ref(host, || {
                Arc::new(Gate { slots: Semaphore::new(size), breaker: Breaker::default() })
            }),
            auth_hosts: entry.map_or_else(Vec::new, |entry| entry.auth_hosts.clone()),
        })
    }

    /// The answer to `request`, redirects followed and passing troubles waited out, all before `deadline`
    /// if the caller drops the future then.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, RegistryError> {
        let mut attempt = 0;
        loop {
            // A token server is another place, and nobody's but its registry's.
            if request.class != Class::Token && !endpoint.gate.breaker.admits(Instant::now()) {
                let seconds = LEFT_ALONE.as_secs();
                let told = format!("nobody could connect to it lately; it is tried again every {seconds} s");
                return Err(RegistryError::Unreachable(told));
            }
            let (error, asked) = match self.follow(endpoint, &request).await {
                Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                    let retry_after = retry_after(&reply.headers);
                    (RegistryError::Throttled { retry_after }, retry_after)
                }
                Ok(reply)
                    if reply.status.is_server_error() && reply.status != StatusCode::NOT_IMPLEMENTED =>
                {
                    let error = RegistryError::Unreachable(format!("it answered {}", reply.status.as_u16()));
                    (error, retry_after(&reply.headers))
                }
                Ok(reply) => return Ok(reply),
                Err(error @ RegistryError::Unreachable(_)) => (error, None),
                Err(error) => return Err(error),
            };
            let backoff = PAUSE * 2u32.pow(attempt);
            let pause = asked.unwrap_or_else(|| backoff + backoff.mul_f64(rand::random::<f64>()));
            if attempt == RETRIES || pause > LONGEST_PAUSE || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn follow(&self, endpoint: &Endpoint, request: &Request) -> Result<Reply, RegistryError> {
        let first = request.url.origin();
        let mut url = request.url.clone();
        let mut lane = endpoint.lane.clone();
        for _ in 0..=REDIRECTS {
            let own = url.origin() == first;
            let reply = self.exchange(endpoint, &lane, request, &url, own).await?;
            if !reply.status.is_redirection() {
                return Ok(reply);
            }
            match request.class {
                Class::Token => {
                    return Err(RegistryError::Forbidden("its token server sends us elsewhere".to_owned()));
                }
                Class::Tuf => return Err(RegistryError::Forbidden("it sends us elsewhere".to_owned())),
                Class::Blob | Class::Manifest | Class::Referrers | Class::Resolve => {}
            }
            let location = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let Some(next) = next else {
                return Err(RegistryError::Malformed("a redirect leads nowhere".to_owned()));
            };
            if next.origin() != url.origin() {
                lane = self.lane(&authority(&next));
            }
            if next.scheme() != "https"
                && !(next.scheme() == "http" && url.scheme() == "http" && lane.plain_http)
            {
                return Err(RegistryError::Forbidden("it sends us to a place without TLS".to_owned()));
            }
            url = next;
        }
        Err(RegistryError::Malformed(format!("it sent us elsewhere more than {REDIRECTS} times")))
    }

    /// One HTTP exchange. `own` says whether `url` is where the credentials belong.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        lane: &Lane,
        request: &Request,
        url: &Url,
        own: bool,
    ) -> Result<Reply, RegistryError> {
        lane.check(url)?;
        let _permit = endpoint.gate.enter().await?;
        let start = Instant::now();
        let mut builder = lane.client.request(request.method.clone(), url.clone());
        builder = builder.header(header::ACCEPT_ENCODING, "identity");
        if let Some(accept) = &request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some(authorization) = request.authorization.as_ref().filter(|_| own) {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        let breaker = Some(&endpoint.gate.breaker).filter(|_| own && request.class != Class::Token);
        let sent =
            tokio::time::timeout(self.settings.timeouts.total(), receive(builder, request, own, breaker));
        let mut told =
            Told { transport: self, host: &endpoint.host, class: request.class, start, outcome: "timed_out" };
        let result = sent.await.unwrap_or(Err(RegistryError::TimedOut));
        told.outcome = match &result {
            Ok(reply) => status_outcome(reply.status),
            Err(error) => error_outcome(error),
        };
        result
    }

    fn lane(&self, host: &str) -> Arc<Lane> {
        self.lanes.get(host).unwrap_or(&self.strict).clone()
    }
}

/// Tells the observer of an exchange when it ends, also where the one who asked has gone.
struct Told<'a> {
    transport: &'a Transport,
    host: &'a str,
    class: Class,
    start: Instant,
    outcome: &'static str,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.transport.observer.registry_request(&RegistryExchange {
            host: self.host,
            class: self.class.as_str(),
            outcome: self.outcome,
            duration: self.start.elapsed(),
        });
    }
}

impl Lane {
    fn new(
        settings: &RegistrySettings,
        entry: Option<&RegistryEntry>,
        at: usize,
    ) -> Result<Self, SettingsError> {
        let open = entry.is_some_and(|entry| entry.allow_private_addresses);
        let rule = AddressRule::new(&settings.cluster_ranges, open);
        let mut client = Client::builder()
            .connect_timeout(settings.timeouts.connect())
            .dns_resolver(Arc::new(rule.clone()))
            .http1_only()
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(8)
            .read_timeout(settings.timeouts.read())
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("tidewaiter/", env!("CARGO_PKG_VERSION")));
        if open {
            client = client.no_proxy();
        }
        if let Some(path) = entry.and_then(|entry| entry.ca.as_deref()) {
            let wrong = |problem| SettingsError { path: format!("registries[{at}].ca"), problem };
            client = client.tls_certs_merge(certificates(path).map_err(wrong)?);
        }
        let client = client.build().map_err(|error| SettingsError {
            path: "registries".to_owned(),
            problem: format!("the HTTP client cannot be made: {}", chain(&error)),
        })?;
        Ok(Self { client, rule, plain_http: entry.is_some_and(|entry| entry.plain_http) })
    }

    /// Names are checked when they are looked up; an address that is written out is checked here.
    fn check(&self, url: &Url) -> Result<(), RegistryError> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(RegistryError::Forbidden("a URL without a host".to_owned())),
        };
        self.rule.check(address).map_err(|error| RegistryError::Forbidden(error.to_string()))
    }
}

impl Endpoint {
    /// The registry's canonical name: `host[:port]`.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The URL of something below `/v2/`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.origin.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// Where the token server may be: on the registry's own site, or where the settings say.
    ///
    /// A realm is a stranger's text, and the request to it carries credentials: CVE-2020-15157.
    pub(super) fn realm(&self, realm: &str) -> Result<Url, RegistryError> {
        let forbidden = |why: &str| RegistryError::Forbidden(format!("its token server {why}"));
        let url =
            Url::parse(realm).map_err(|_| RegistryError::Malformed("its realm is no URL".to_owned()))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.lane.plain_http) {
            return Err(forbidden("is reached without TLS"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(forbidden("comes with a user name in its URL"));
        }
        let listed = self.auth_hosts.contains(&authority(&url));
        let hub = self.host == DOCKER_HUB.0 && authority(&url) == "auth.docker.io";
        match listed || hub || same_site(&self.origin, &url) {
            true => Ok(url),
            false => Err(forbidden("is on another site; list it in authHosts if that is meant")),
        }
    }
}

impl Gate {
    async fn enter(&self) -> Result<SemaphorePermit<'_>, RegistryError> {
        match tokio::time::timeout(QUEUE_TIME, self.slots.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(RegistryError::Overloaded),
        }
    }
}

impl Class {
    fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
            Self::Referrers => "referrers",
            Self::Resolve => "resolve",
            Self::Token => "token",
            Self::Tuf => "tuf",
        }
    }

    /// What its answers are, in words.
    pub(super) fn body(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest | Self::Resolve => "manifest",
            Self::Referrers => "list of referrers",
            Self::Token => "token",
            Self::Tuf => "file",
        }
    }
}

async fn receive(
    builder: reqwest::RequestBuilder,
    request: &Request,
    own: bool,
    breaker: Option<&Breaker>,
) -> Result<Reply, RegistryError> {
    let mut response = match builder.send().await {
        Ok(response) => response,
        Err(error) => {
            let failed = failure(&error);
            if let Some(breaker) = breaker.filter(|_| error.is_connect() && !failed.is_answer()) {
                breaker.failed(Instant::now());
            }
            return Err(failed);
        }
    };
    if let Some(breaker) = breaker {
        breaker.connected();
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    if status.is_success() && request.method != Method::HEAD {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(RegistryError::Malformed(
                "its answer is compressed, which nobody asked for".to_owned(),
            ));
        }
        let too_large = RegistryError::TooLarge { what: request.class.body(), limit: request.limit };
        if response.content_length().is_some_and(|length| length > request.limit) {
            return Err(too_large);
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if (body.len() + chunk.len()) as u64 > request.limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
    } else if response.content_length().is_some_and(|length| length <= REMAINDER) {
        // Only for the connection's sake: what comes of it does not matter.
        let _ = tokio::time::timeout(REMAINDER_TIME, response.bytes()).await;
    }
    Ok(Reply { status, headers, body, own })
}

fn failure(error: &reqwest::Error) -> RegistryError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = cause {
        if let Some(forbidden) = one.downcast_ref::<ForbiddenAddress>() {
            return RegistryError::Forbidden(forbidden.to_string());
        }
        cause = one.source();
    }
    if error.is_timeout() {
        return RegistryError::TimedOut;
    }
    RegistryError::Unreachable(chain(error))
}

/// The causes of an error without its own line, which repeats the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        causes.push(one.to_string());
        cause = one.source();
    }
    printable(&causes.join(": "), DETAIL)
}

fn status_outcome(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "denied",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::TOO_MANY_REQUESTS => "throttled",
        status if status.is_success() || status.is_redirection() => "ok",
        status if status.is_server_error() => "unreachable",
        _ => "malformed",
    }
}

fn error_outcome(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Denied | RegistryError::CredentialsUnavailable(_) => "denied",
        RegistryError::Forbidden(_) => "forbidden",
        RegistryError::Malformed(_) | RegistryError::TooMany { .. } => "malformed",
        RegistryError::NotFound => "not_found",
        RegistryError::Overloaded | RegistryError::Throttled { .. } => "throttled",
        RegistryError::TimedOut => "timed_out",
        RegistryError::TooLarge { .. } => "too_large",
        RegistryError::Unreachable(_) => "unreachable",
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not read, as registries' clocks are not ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

/// `host[:port]`, as a canonical reference has it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether one is the other's host or a parent of it. A parent has two labels at least, so that nobody's
/// site is all of `com`. Neighbours below one parent may be strangers to one another.
fn same_site(registry: &Url, realm: &Url) -> bool {
    let (Some(registry), Some(realm)) = (registry.host(), realm.host()) else { return false };
    if registry == realm {
        return true;
    }
    let (Host::Domain(registry), Host::Domain(realm)) = (registry, realm) else { return false };
    let below = |child: &str, parent: &str| {
        parent.contains('.') && child.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    below(registry, realm) || below(realm, registry)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let name = path.display();
    let pem = fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| format!("{name}: {}", chain(&error)))?;
    match found.is_empty() {
        true => Err(format!("{name} holds no certificate in PEM")),
        false => Ok(found),
    }
}
