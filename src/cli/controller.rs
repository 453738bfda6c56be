use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use futures::future::select_all;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use super::{
    ports::SystemClock,
    serve::{Format, either, end, follow},
    settings::{Settings, own_namespace},
};
use crate::{
    cluster,
    review::ports::{RegistryExchange, RegistryObserver},
    telemetry::{Metrics, start_logging},
    verdicts::{Controller, Parts, SourceObserver},
    webhook::{
        health::{self, Readiness},
        server::Server,
    },
};

/// Keep scan verdicts coming.
///
/// Follows the cluster's VulnerabilitySources and makes ImageScanVerdicts of what comes of them: of the Trivy
/// operator's reports, and of scans that it orders for images that run, or on which the webhook waits.
/// Makes verdicts anew before they are too old, and deletes its own that nobody needs any more.
///
/// Answers probes and Prometheus on --health-listen (/livez, /readyz and /metrics). Run one for a
/// cluster, beside the webhook and not in it; while it is away, verdicts only grow older. On SIGTERM it ends
/// at once: what it had begun is cleared away and begun again at the next start.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where probes and Prometheus reach it, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    health_listen: SocketAddr,
    /// The settings file, as `serve` reads it: registries, and credentials for them. Only for sources that hand images to a
    /// scanner which fetches them itself.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The cluster to work for; as kubectl finds it if absent, or the one that this Pod runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Its own namespace, where scan Jobs run and Secrets are unless a source says otherwise; that of this Pod if absent.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    log_format: Format,
    /// What is logged: error, warn, info, debug, or a filter such as info,tidewaiter=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

const EXAMPLES: &str = "\
Examples:
  tidewaiter controller
  tidewaiter controller --kubeconfig ~/.kube/config --namespace tidewaiter --log-format text";

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging(args.log_format.into(), &args.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level {:?}: {error}", args.log_level))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(control(args));
    runtime.shutdown_background();
    ended
}

async fn control(args: Args) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let namespace = args.namespace.map(Box::from).or_else(own_namespace);
    let namespace =
        namespace.context("this is no Pod: say with --namespace where scan Jobs run and Secrets are")?;
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let settings = Settings::read(args.config.as_deref())?;
    let metrics = Metrics::new(settings.registry_hosts());
    let told = Arc::new(Told(metrics.clone()));
    let readiness = Arc::new(Readiness::default());
    let mut health =
        Server::start(args.health_listen, None, 1, health::configure(readiness.clone(), metrics.clone()))?;
    let Controller { states, tasks } = Controller::start(Parts {
        client,
        namespace,
        layers: Arc::new(settings.registries(told.clone())?),
        observer: told,
        clock: Arc::new(SystemClock),
        runtime: Handle::current(),
    });
    let mut tasks: Vec<_> = tasks.into_iter().map(end).collect();
    tasks.extend(states.into_iter().map(|(name, state)| follow(name, state, readiness.clone())));
    tracing::info!(health = %health.address(), "at work");
    tokio::select! {
        () = either(&mut terminated, &mut interrupted) => {}
        ended = health.ended() => {
            ended?;
            anyhow::bail!("a listener ended");
        }
        _ = select_all(tasks) => anyhow::bail!("a task that must run for ever has ended; see the log"),
    }
    tracing::info!("signal received: ended");
    Ok(ExitCode::SUCCESS)
}

/// Brings what sources do into metrics.
struct Told(Arc<Metrics>);

impl RegistryObserver for Told {
    fn registry_request(&self, exchange: &RegistryExchange<'_>) {
        let RegistryExchange { host, class, outcome, duration } = *exchange;
        self.0.registry_request(host, class, outcome, duration);
    }
}

impl SourceObserver for Told {
    fn sources(&self, names: &[Box<str>]) {
        self.0.set_sources(names.iter().map(|name| &**name));
    }

    fn succeeded(&self, source: &str, at: i64) {
        self.0.source_succeeded(source, at);
    }

    fn failed(&self, source: &str, reason: &'static str) {
        self.0.source_failed(source, reason);
    }

    fn measured(&self, source: &str, queue: usize, ages: &[f64]) {
        self.0.source_measured(source, queue, ages);
    }
}
