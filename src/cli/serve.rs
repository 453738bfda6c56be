use std::{
    env, io,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::ValueEnum;
use futures::future::{BoxFuture, FutureExt as _, select_all};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{
    ports::{SystemClock, UnknownNamespaces},
    report::Telemetry,
    scans::hold_scans,
    settings::{ImagePullSecrets, Origin, Settings, Surroundings, own_namespace},
};
use crate::{
    cluster::{
        self, ClusterNamespaces, ClusterPullSecrets, NoPullSecrets, PoliciesObserver, PublishedPolicies,
        ScanEvents, WatchState, WatchedPolicies, WatchedTrust, WatchedVerdicts,
    },
    files::{Filed, FiledPolicy, FiledRoot, PolicyDirectory, Reload},
    policy::PolicySet,
    review::{
        Reviewer,
        ports::{Clock as _, Namespaces, Policies, PullSecrets, Verdicts},
    },
    telemetry::{DecisionLog, LogFormat, Metrics, start_logging},
    trust::{RootCheck, TrustStore},
    verdicts::VerdictIndex,
    webhook::{
        Admission,
        health::{self, Readiness},
        routes,
        server::{ListenError, Server},
        tls::Certificate,
    },
};

/// How often the certificate's files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);
/// Probes and Prometheus keep no more than one thread busy.
const HEALTH_WORKERS: usize = 1;
/// The longest name of a process that the API server takes (events.k8s.io/v1, `reportingInstance`).
const INSTANCE_BYTES: usize = 128;

/// Run the webhook.
///
/// Answers the API server's AdmissionReviews on --listen over HTTPS (/mutate, /validate and
/// /validate-policy), and probes and Prometheus on --health-listen (/livez, /readyz and /metrics).
/// Decisions go to standard output, one per line, and the program's own log to standard error.
///
/// On SIGTERM it reports not ready, goes on serving for --shutdown-delay, answers what is under way
/// and exits with 0. A second signal ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where the API server reaches the webhook.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Where probes and Prometheus reach it, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    health_listen: SocketAddr,
    /// The certificate chain in PEM, the webhook's own first. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// Its private key in PEM, unencrypted. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// Policies from a file or directory instead of the cluster, with the ImageTrustRoots, Secrets and
    /// ConfigMaps that they name, and the ImageScanVerdicts and VulnerabilitySources that count. Read again when something changes. May be given several times.
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// The settings file: digest pinning, registries, credentials.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The cluster to follow; as kubectl finds it if absent, or the one that this Pod runs in.
    #[arg(long, value_name = "FILE", conflicts_with = "without_cluster")]
    kubeconfig: Option<PathBuf>,
    /// Ask no cluster: policies come from --policies, namespaces' labels are unknown, so that a policy
    /// that selects by them refuses what it could match, and no Secret is read.
    #[arg(long, requires = "policies")]
    without_cluster: bool,
    /// The namespace in which Events ask for scans, where the controller looks for them; that of the Pod if absent.
    /// Without either no scans are asked for.
    #[arg(long, value_name = "NS", conflicts_with = "without_cluster")]
    namespace: Option<String>,
    /// Seconds to go on serving after SIGTERM, until nobody sends requests any more.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    shutdown_delay: u64,
    /// Threads that answer reviews; one per core if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// How decisions and log lines are written.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
    /// What is logged: error, warn, info, debug, or a filter such as info,tidewaiter=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

const EXAMPLES: &str = "\
Examples:
  tidewaiter serve --tls-cert tls.crt --tls-key tls.key
  tidewaiter serve --tls-cert tls.crt --tls-key tls.key --policies policies/ --without-cluster";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text => Self::Text,
        }
    }
}

/// The webhook's two listeners at work.
pub struct Webhook {
    reviews: Server,
    health: Server,
}

/// What a webhook is made of.
pub struct Parts {
    pub listen: SocketAddr,
    pub health_listen: SocketAddr,
    pub workers: usize,
    pub certificate: Arc<Certificate>,
    pub reviewer: Arc<Reviewer>,
    pub telemetry: Arc<Telemetry>,
    pub readiness: Arc<Readiness>,
}

impl Webhook {
    /// Starts to answer. Must be called inside a tokio runtime, on which reviews that must wait do so.
    pub fn start(parts: Parts) -> Result<Self, ListenError> {
        let Parts { telemetry, readiness, reviewer, .. } = parts;
        let metrics = telemetry.metrics().clone();
        let admission = Arc::new(Admission::new(reviewer, telemetry.clone(), Handle::current()));
        let tls = parts.certificate.server_config();
        let health =
            Server::start(parts.health_listen, None, HEALTH_WORKERS, health::configure(readiness, metrics))?;
        let configure = routes::configure(admission, telemetry, Arc::new(RootCheck));
        let reviews = Server::start(parts.listen, Some(tls), parts.workers, configure)?;
        Ok(Self { reviews, health })
    }

    /// Where reviews are answered.
    pub fn address(&self) -> SocketAddr {
        self.reviews.address()
    }

    /// Where health and metrics are.
    pub fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Answers what is under way and takes nothing new. Probes are answered to the end.
    pub async fn drain(&self) {
        self.reviews.drain().await;
        self.health.drain().await;
    }

    /// Waits until a listener ends that nobody has told to.
    async fn ended(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = self.reviews.ended() => ended,
            ended = self.health.ended() => ended,
        };
        ended.err().map_or_else(|| anyhow::anyhow!("a listener ended"), anyhow::Error::from)
    }
}

/// Policies, scan verdicts, namespaces, pull secrets and trust, and the tasks without which they go stale.
struct Sources {
    policies: Arc<dyn Policies>,
    trust: Arc<TrustStore>,
    verdicts: Arc<dyn Verdicts>,
    namespaces: Arc<dyn Namespaces>,
    pull_secrets: Arc<dyn PullSecrets>,
    tasks: Vec<BoxFuture<'static, ()>>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let format = args.log_format.into();
    start_logging(format, &args.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level {:?}: {error}", args.log_level))?;
    let settings = Settings::read(args.config.as_deref())?;
    let log = DecisionLog::start(format, io::stdout()).context("cannot start the decision log")?;
    let telemetry = Telemetry::new(Metrics::new(settings.registry_hosts()), log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(args, settings, telemetry));
    // Look-ups that nobody waits for any more are not waited for either.
    runtime.shutdown_background();
    ended
}

async fn serve(args: Args, settings: Settings, telemetry: Arc<Telemetry>) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let readiness = Arc::new(Readiness::default());
    let certificate = Certificate::open(args.tls_cert.clone(), args.tls_key.clone())?;
    tell_expiry(&certificate, telemetry.metrics());
    let mut sources = sources(&args, &settings, &telemetry, &readiness).await?;
    sources.tasks.push(watch_certificate(certificate.clone(), telemetry.metrics().clone()));

    let Sources { policies, trust, verdicts, namespaces, pull_secrets, tasks } = sources;
    let clock = Arc::new(SystemClock);
    let surroundings = Surroundings { policies, namespaces, pull_secrets, clock, trust, verdicts };
    let reviewer = settings.reviewer(surroundings, telemetry.clone(), &Handle::current())?;
    let cores = available_parallelism().map_or(1, usize::from);
    let mut webhook = Webhook::start(Parts {
        listen: args.listen,
        health_listen: args.health_listen,
        workers: args.workers.map_or(cores, usize::from),
        certificate,
        reviewer: Arc::new(reviewer),
        telemetry,
        readiness: readiness.clone(),
    })?;
    readiness.met("listening");
    tracing::info!(reviews = %webhook.address(), health = %webhook.health_address(), "serving");

    tokio::select! {
        () = either(&mut terminated, &mut interrupted) => {}
        error = webhook.ended() => return Err(error),
        _ = select_all(tasks) => anyhow::bail!("a task that must run for ever has ended; see the log"),
    }
    readiness.unmet("listening", "shutting down");
    tracing::info!(
        seconds = args.shutdown_delay,
        "signal received: not ready any more, serving on for a while"
    );
    let since = Instant::now();
    let wind_down = async {
        tokio::time::sleep(Duration::from_secs(args.shutdown_delay)).await;
        webhook.drain().await;
    };
    tokio::select! {
        () = wind_down => {
            tracing::info!(seconds = since.elapsed().as_secs(), "drained");
            Ok(ExitCode::SUCCESS)
        }
        () = either(&mut terminated, &mut interrupted) => anyhow::bail!("second signal: ended at once"),
    }
}

pub async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn sources(
    args: &Args,
    settings: &Settings,
    telemetry: &Arc<Telemetry>,
    readiness: &Arc<Readiness>,
) -> anyhow::Result<Sources> {
    let runtime = Handle::current();
    let mut tasks = Vec::new();
    let client = match args.without_cluster {
        true => None,
        false => Some(cluster::client(args.kubeconfig.as_deref()).await?),
    };
    let origin = if args.policies.is_empty() { Origin::Cluster } else { Origin::Files };
    let trust = settings.trust(origin, telemetry.clone())?;
    let (policies, verdicts): (Arc<dyn Policies>, Arc<VerdictIndex>) = match (&client, origin) {
        (_, Origin::Files) => {
            let verdicts = VerdictIndex::fixed(telemetry.clone());
            let hearers = (telemetry.clone(), trust.clone(), verdicts.clone());
            let (policies, task) = filed_policies(args.policies.clone(), hearers)?;
            tasks.push(task);
            (policies, verdicts)
        }
        (Some(client), Origin::Cluster) => {
            let observer = Arc::new(Followers { telemetry: telemetry.clone(), trust: trust.clone() });
            let (policies, task) = WatchedPolicies::start(client.clone(), observer, &runtime);
            tasks.push(end(task));
            tasks.push(follow("policies", policies.state(), readiness.clone()));
            let (watched, task) = WatchedTrust::start(client.clone(), trust.clone(), &runtime);
            tasks.push(end(task));
            tasks.push(follow("trust roots", watched.state(), readiness.clone()));
            let (verdicts, wanted) = VerdictIndex::followed(telemetry.clone());
            let (watched, task) = WatchedVerdicts::start(client.clone(), verdicts.clone(), &runtime);
            tasks.push(end(task));
            tasks.push(follow("scan verdicts", watched.state(), readiness.clone()));
            match args.namespace.as_deref().map(Box::from).or_else(own_namespace) {
                Some(namespace) => {
                    let place = (&*namespace, &*instance());
                    let task = ScanEvents::start(client.clone(), place, wanted, telemetry.clone(), &runtime);
                    tasks.push(end(task));
                }
                None => {
                    tracing::info!("no scans are asked for: say with --namespace where the controller runs");
                }
            }
            (policies, verdicts)
        }
        (None, Origin::Cluster) => anyhow::bail!("--without-cluster needs --policies"),
    };
    tasks.push(end(tokio::spawn(trust.clone().run())));
    let namespaces: Arc<dyn Namespaces> = match &client {
        Some(client) => {
            let (namespaces, task) = ClusterNamespaces::start(client.clone(), &runtime);
            tasks.push(end(task));
            tasks.push(follow("namespaces", namespaces.state(), readiness.clone()));
            namespaces
        }
        None => Arc::new(UnknownNamespaces),
    };
    let pull_secrets: Arc<dyn PullSecrets> = match (client, settings.pull_secrets()) {
        (Some(client), ImagePullSecrets::Use) => Arc::new(ClusterPullSecrets::new(client, runtime)),
        (None, _) | (_, ImagePullSecrets::Ignore) => Arc::new(NoPullSecrets),
    };
    Ok(Sources { policies, trust, verdicts, namespaces, pull_secrets, tasks })
}

/// What tells this process from others of its kind: its Pod's name, which is that of its host.
fn instance() -> String {
    let name = env::var("HOSTNAME").unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    match name.chars().filter(fits).take(INSTANCE_BYTES).collect::<String>() {
        name if name.is_empty() => "tidewaiter".to_owned(),
        name => name,
    }
}

/// Those who hear of policies that come into force.
struct Followers {
    telemetry: Arc<Telemetry>,
    trust: Arc<TrustStore>,
}

impl PoliciesObserver for Followers {
    fn published(&self, set: &PolicySet, published: &PublishedPolicies) {
        self.trust.policies(set);
        self.telemetry.published(set, published);
    }
}

/// The policies of files, and the task that reads them again.
fn filed_policies(
    paths: Vec<PathBuf>,
    (telemetry, trust, verdicts): (Arc<Telemetry>, Arc<TrustStore>, Arc<VerdictIndex>),
) -> anyhow::Result<(Arc<dyn Policies>, BoxFuture<'static, ()>)> {
    let (directory, found) = PolicyDirectory::open(paths)?;
    let directory = Arc::new(directory);
    let policies = directory.clone();
    let take = move |mut found: Filed| {
        telemetry.policies(&policies.current());
        report_files(&found);
        for trouble in hold_scans(&verdicts, &mut found) {
            tracing::error!("{trouble}: a scan verdict cannot be read and fails for whoever wants it");
        }
        let roots = found.roots.into_iter().map(|filed| filed.root).collect();
        trust.filed(&policies.current(), roots, found.objects);
    };
    take(found);
    let hear = move |reload| match reload {
        Reload::Changed(found) => take(found),
        Reload::Failed(error) => {
            tracing::error!(%error, "the policies cannot be read; those read before stay in force");
        }
        Reload::Unchanged => {}
    };
    Ok((directory.clone(), end(tokio::spawn(directory.watch(hear)))))
}

fn report_files(found: &Filed) {
    tracing::info!(policies = found.policies.len(), "policies are in force");
    for FiledRoot { place, root } in &found.roots {
        if let Err(error) = &root.source {
            tracing::error!(%place, trust.root = &*root.name, %error, "a trust root cannot be read and fails whatever needs it");
        }
    }
    for FiledPolicy { place, policy, warnings } in &found.policies {
        let id = policy.id();
        if let Some(error) = policy.compile_error() {
            tracing::error!(%place, policy = %id, %error, "a policy cannot be read and fails for all it could match");
        }
        for warning in warnings {
            tracing::warn!(%place, policy = %id, "{warning}");
        }
    }
}

/// Keeps the readiness condition `name` as `state` has it.
pub fn follow(
    name: &'static str,
    mut state: watch::Receiver<WatchState>,
    readiness: Arc<Readiness>,
) -> BoxFuture<'static, ()> {
    readiness.unmet(name, "not listed yet");
    end(tokio::spawn(async move {
        loop {
            match &*state.borrow_and_update() {
                WatchState::Listing => readiness.unmet(name, "not listed yet"),
                WatchState::Ready => readiness.met(name),
                WatchState::Failing(why) => readiness.unmet(name, why.clone()),
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }))
}

fn tell_expiry(certificate: &Certificate, metrics: &Metrics) {
    let expiry = certificate.expiry();
    metrics.set_certificate_expiry(expiry);
    match expiry {
        None => tracing::warn!("a certificate of the chain cannot be read: nobody knows when it expires"),
        Some(expiry) if expiry <= SystemClock.now().as_second() => tracing::error!(
            certificate.expiry = expiry,
            "a certificate of the chain has expired: an API server that needs it refuses every object; put a new one in its place"
        ),
        Some(_) => {}
    }
}

fn watch_certificate(certificate: Arc<Certificate>, metrics: Arc<Metrics>) -> BoxFuture<'static, ()> {
    end(tokio::spawn(certificate.clone().watch(CERTIFICATE_INTERVAL, move |read| {
        metrics.certificate_reloaded(read.is_ok());
        match read {
            Ok(()) => {
                tracing::info!("the certificate is new");
                tell_expiry(&certificate, &metrics);
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the last good one stays in use");
            }
        }
    })))
}

/// Comes to an end when the task does, however it does.
pub fn end<T: Send + 'static>(task: JoinHandle<T>) -> BoxFuture<'static, ()> {
    task.map(drop).boxed()
}
