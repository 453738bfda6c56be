//! The warm review of the real webhook beside the floor server: both over TLS, both with one worker, in
//! turns within one run, so that both see the same machine. Prints their ratio for 1, 5 and 20 containers.

#[path = "../floor/mod.rs"]
mod floor;
#[path = "../payload/mod.rs"]
mod payload;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, join_all, ready};
use jiff::Timestamp;
use reqwest::{Certificate as Trusted, Client};
use tidewaiter::{
    cluster::NoPullSecrets,
    evidence::RegistryError,
    files,
    image::{Digest, ImageReference},
    policy::PolicySet,
    review::{
        Ports, ReviewSettings, Reviewer,
        credentials::Credential,
        ports::{
            CacheAnswer, CacheName, CacheObserver, Clock, Labels, LookupError, Namespaces, NoVerdicts,
            NobodyLooks, Policies, Resolver,
        },
    },
    trust::RootCheck,
    webhook::{
        Admission,
        report::{Rejection, Report, Reporter},
        routes,
        server::Server,
        tls::Certificate,
    },
};
use tokio::runtime::Handle;

/// Connections that ask at once, as one API server has under load.
const CONNECTIONS: usize = 8;
/// How many turns each server has per size.
const TURNS: usize = 4;

/// A cluster that never changes: what a warm webhook sees.
struct Still {
    policies: Arc<PolicySet>,
    labels: Arc<Labels>,
    digest: Digest,
    reviews: AtomicU64,
}

impl Policies for Still {
    fn current(&self) -> Arc<PolicySet> {
        self.policies.clone()
    }
}

impl Namespaces for Still {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(self.labels.clone())
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Ok(self.labels.clone())).boxed()
    }
}

impl Resolver for Still {
    fn resolve<'a>(
        &'a self,
        _: &'a ImageReference,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        ready(Ok(self.digest.clone())).boxed()
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl CacheObserver for Still {
    fn cache(&self, _: CacheName, _: CacheAnswer) {}
}

impl Reporter for Still {
    fn reviewed(&self, report: &Report<'_>) {
        assert!(report.allowed(), "the benchmark measures admissions");
        self.reviews.fetch_add(1, Ordering::Relaxed);
    }

    fn rejected(&self, rejection: Rejection) {
        panic!("a request was refused: {rejection:?}");
    }

    fn panicked(&self) {
        panic!("a review broke off");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The client takes the process's own; a second one is never asked for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let turn = Duration::from_millis(if quick { 50 } else { 1500 });
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let certificate = Certificate::open(certificate, key)?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

    let floor = Server::start(anywhere, Some(certificate.server_config()), 1, floor::configure)?;
    let still = still()?;
    let admission = Arc::new(Admission::new(Arc::new(reviewer(&still)), still.clone(), Handle::current()));
    let configure = routes::configure(admission, still.clone(), Arc::new(RootCheck));
    let webhook = Server::start(anywhere, Some(certificate.server_config()), 1, configure)?;

    let trusted = Trusted::from_pem(made.cert.pem().as_bytes())?;
    println!(
        "containers  KiB   floor: req/s   p50 µs   p99 µs   webhook: req/s   p50 µs   p99 µs   webhook/floor"
    );
    for containers in payload::CONTAINERS {
        let body = payload::review(containers);
        let ask = async |server: &Server, time| load(server.address(), &trusted, &body, time).await;
        // Fills the caches and opens the connections' code paths.
        ask(&floor, turn / 5).await?;
        ask(&webhook, turn / 5).await?;
        let (mut of_floor, mut of_webhook) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            of_floor.extend(ask(&floor, turn).await?);
            of_webhook.extend(ask(&webhook, turn).await?);
        }
        let time = turn * u32::try_from(TURNS)?;
        let (floor, webhook) = (Figures::of(of_floor, time), Figures::of(of_webhook, time));
        println!(
            "{containers:>10}  {:>3}  {:>14.0} {:>8} {:>8}  {:>15.0} {:>8} {:>8}  {:>13.2}",
            body.len() / 1024,
            floor.rate,
            floor.p50,
            floor.p99,
            webhook.rate,
            webhook.p50,
            webhook.p99,
            webhook.rate / floor.rate,
        );
    }
    println!("\ncontainers   floor: new connection, p50 µs   webhook: new connection, p50 µs");
    let connections = if quick { 10 } else { 200 };
    for containers in payload::CONTAINERS {
        let body = payload::review(containers);
        let ask = async |server: &Server| {
            let latencies = connect(server.address(), &trusted, &body, connections).await?;
            anyhow::Ok(Figures::of(latencies, turn).p50)
        };
        println!("{containers:>10}   {:>29}   {:>31}", ask(&floor).await?, ask(&webhook).await?);
    }
    anyhow::ensure!(still.reviews.load(Ordering::Relaxed) > 0, "the webhook was never asked");
    floor.drain().await;
    webhook.drain().await;
    Ok(())
}

/// What one server did.
struct Figures {
    rate: f64,
    p50: u128,
    p99: u128,
}

impl Figures {
    fn of(mut latencies: Vec<Duration>, time: Duration) -> Self {
        latencies.sort();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
        let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
        Self { rate: f64::from(count) / time.as_secs_f64(), p50: at(50), p99: at(99) }
    }
}

/// Asks with all connections for `time`, each as fast as it is answered.
async fn load(
    address: SocketAddr,
    trusted: &Trusted,
    body: &[u8],
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let body = Bytes::copy_from_slice(body);
    let connection = async || -> anyhow::Result<Vec<Duration>> {
        let client = client(trusted)?;
        let mut latencies = Vec::new();
        while Instant::now() < end {
            latencies.push(ask(&client, address, body.clone()).await?);
        }
        Ok(latencies)
    };
    let all = join_all((0..CONNECTIONS).map(|_| connection())).await;
    Ok(all.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat())
}

/// Asks once on each of `count` new connections, one after the other: how an API server that has been
/// idle is answered, the TLS handshake included.
async fn connect(
    address: SocketAddr,
    trusted: &Trusted,
    body: &[u8],
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let body = Bytes::copy_from_slice(body);
    let mut latencies = Vec::new();
    for _ in 0..count {
        latencies.push(ask(&client(trusted)?, address, body.clone()).await?);
    }
    Ok(latencies)
}

fn client(trusted: &Trusted) -> anyhow::Result<Client> {
    Ok(Client::builder().tls_certs_only([trusted.clone()]).no_proxy().http1_only().build()?)
}

async fn ask(client: &Client, address: SocketAddr, body: Bytes) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let request = client.post(format!("https://{address}/mutate?timeout=10s"));
    let request = request.header("content-type", "application/json").body(body);
    let answer = request.send().await?.error_for_status()?.bytes().await?;
    let latency = start.elapsed();
    anyhow::ensure!(answer.windows(14).any(|found| found == br#""allowed":true"#), "not admitted");
    Ok(latency)
}

fn still() -> anyhow::Result<Arc<Still>> {
    let filed =
        files::read_policies(&[concat!(env!("CARGO_MANIFEST_DIR"), "/policies/house-rules.yaml").into()])?;
    Ok(Arc::new(Still {
        policies: Arc::new(PolicySet::new(filed.policies.into_iter().map(|filed| filed.policy))),
        labels: Arc::default(),
        digest: Digest::sha256(b"an image"),
        reviews: AtomicU64::new(0),
    }))
}

fn reviewer(still: &Arc<Still>) -> Reviewer {
    let ports = Ports {
        policies: still.clone(),
        namespaces: still.clone(),
        pull_secrets: Arc::new(NoPullSecrets),
        resolver: still.clone(),
        attachments: Arc::new(NobodyLooks),
        examiner: Arc::new(NobodyLooks),
        verdicts: Arc::new(NoVerdicts),
        platforms: Arc::new(NobodyLooks),
        clock: still.clone(),
        observer: still.clone(),
    };
    // Longer than any run, so that every review but the first of an image is warm.
    let settings = ReviewSettings { tag_cache: Duration::from_secs(3600), ..Default::default() };
    Reviewer::new(ports, settings, Handle::current())
}
