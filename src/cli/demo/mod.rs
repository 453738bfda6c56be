//! The whole product on one machine: a registry, the webhook, and an API server's requests.

mod conversation;
mod gallery;
mod images;
mod publisher;
mod registry;
mod scene;

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::runtime::Handle;

use self::{
    conversation::{Answer, Caller},
    gallery::{Case, Entry},
    publisher::Publisher,
    registry::Registry,
    scene::{Scene, Setting, Signpost},
};
use super::{
    report::Telemetry,
    serve::{Parts, Webhook},
};
use crate::{
    cluster::NoPullSecrets,
    policy::PolicySet,
    registry::{Registries, RegistrySettings},
    review::{Ports, ReviewSettings, Reviewer, ports::NoVerdicts},
    signature::Examination,
    telemetry::{DecisionLog, LogFormat, Metrics},
    webhook::{health::Readiness, tls::Certificate},
    workload::WorkloadKind,
};

/// The registry's name in the gallery's policies and objects.
const HOST: &str = "registry.example.com";
/// How many hex digits of a digest are shown.
const SHOWN_DIGITS: usize = 12;

/// See the whole product at work on this machine: no cluster, no network.
///
/// Starts a registry with a few images and the webhook with a TLS certificate of its own, both on
/// loopback, sends what a Kubernetes API server would send for the objects of policies/cases, and
/// prints what was decided. Exits with 0 only if every decision is the expected one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave it running until Ctrl-C, with every policy of the gallery in force, and print what to try.
    #[arg(long)]
    keep: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(demo(args.keep));
    runtime.shutdown_background();
    ended
}

async fn demo(keep: bool) -> anyhow::Result<ExitCode> {
    let entries = gallery::entries()?;
    let stage = Stage::set_up(keep)?;
    let rows = stage.play(&entries).await?;
    super::print(table(&rows).as_bytes())?;
    let unexpected = rows.iter().filter(|row| row.difference.is_some()).count();
    super::print(epilogue(&rows, unexpected).as_bytes())?;
    if keep {
        stage.keep(&entries).await?;
    }
    stage.take_down().await;
    Ok(if unexpected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that runs during a demo.
struct Stage {
    scene: Arc<Scene>,
    caller: Caller,
    webhook: Webhook,
    registry: Registry,
    directory: TempDir,
}

/// One case and what became of it.
struct Row {
    file: &'static str,
    case: Case,
    kind: WorkloadKind,
    answer: Answer,
    /// How it differs from what is expected; none if it does not.
    difference: Option<String>,
}

impl Stage {
    /// `log` writes the decision log to standard error, which only somebody who stays to watch wants.
    /// Must be called inside a tokio runtime.
    fn set_up(log: bool) -> anyhow::Result<Self> {
        let (ours, auditors) = (Publisher::new()?, Publisher::new()?);
        let content = images::content(&ours, &auditors)?;
        let registry = Registry::start(content).context("cannot start the registry")?;
        let directory = tempfile::Builder::new().prefix("tidewaiter-demo-").tempdir()?;
        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;

        let sink: Box<dyn io::Write + Send> = if log { Box::new(io::stderr()) } else { Box::new(io::sink()) };
        let log = DecisionLog::start(LogFormat::Text, sink)?;
        let telemetry = Telemetry::new(Metrics::new([registry.host()]), log);
        let scene = Arc::new(Scene::new([("cosign.pub", ours.pem()), ("auditors.pub", auditors.pem())])?);
        let reviewer = reviewer(&registry, scene.clone(), telemetry.clone())?;
        let readiness = Arc::new(Readiness::default());
        readiness.met("demo");
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let webhook = Webhook::start(Parts {
            listen: anywhere,
            health_listen: anywhere,
            workers: 1,
            certificate: Certificate::open(certificate, key)?,
            reviewer: Arc::new(reviewer),
            telemetry,
            readiness,
        })?;
        let caller = Caller::new(format!("https://{}", webhook.address()), &made.cert.pem())?;
        Ok(Self { scene, caller, webhook, registry, directory })
    }

    /// Sends every case with its own policy in force.
    async fn play(&self, entries: &[Entry]) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for Entry { file, policies, roots, cases } in entries {
            self.scene.trust(roots.iter().cloned());
            for case in cases {
                let mut labels = case.namespace_labels.clone();
                labels.insert("kubernetes.io/metadata.name".to_owned(), case.namespace().to_owned());
                self.scene.set(Setting {
                    policies: policies.clone(),
                    labels: Arc::new(labels),
                    now: case.now,
                });
                let kind = case.kind()?;
                let answer = self.caller.admit(kind, case.namespace(), &case.object).await?;
                let difference = case.expect.differs(&answer);
                rows.push(Row { file, case: case.clone(), kind, answer, difference });
            }
        }
        Ok(rows)
    }

    /// Puts all policies in force and waits for Ctrl-C.
    async fn keep(&self, entries: &[Entry]) -> anyhow::Result<()> {
        self.scene.trust(entries.iter().flat_map(|entry| entry.roots.iter().cloned()));
        let policies = entries.iter().flat_map(|entry| entry.policies.iter().cloned());
        self.scene.set(Setting { policies: Arc::new(PolicySet::new(policies)), ..Setting::default() });
        let mut curl = String::new();
        for (name, case) in [("admitted", &entries[0].cases[0]), ("refused", &entries[0].cases[1])] {
            let path = self.directory.path().join(format!("{name}.json"));
            let review = conversation::review(case.kind()?, case.namespace(), &case.object);
            fs::write(&path, serde_json::to_vec_pretty(&review)?)?;
            curl.push_str(&self.curl(&path));
        }
        let health = self.webhook.health_address();
        super::print(
            format!(
                "\nAll of policies/ is in force now. Try, in another terminal:\n\n{curl}  \
                 curl http://{health}/readyz\n  curl http://{health}/metrics\n\nCtrl-C ends it. Decisions:\n"
            )
            .as_bytes(),
        )?;
        tokio::signal::ctrl_c().await?;
        Ok(())
    }

    fn curl(&self, review: &Path) -> String {
        let certificate = self.directory.path().join("tls.crt");
        format!(
            "  curl --cacert {} -H 'Content-Type: application/json' --data @{} 'https://{}/mutate?timeout=10s'\n",
            certificate.display(),
            review.display(),
            self.webhook.address()
        )
    }

    async fn take_down(self) {
        self.webhook.drain().await;
        self.registry.stop().await;
    }
}

fn reviewer(registry: &Registry, scene: Arc<Scene>, telemetry: Arc<Telemetry>) -> anyhow::Result<Reviewer> {
    let entry =
        serde_json::json!({"host": registry.host(), "plainHttp": true, "allowPrivateAddresses": true});
    let settings =
        RegistrySettings { registries: vec![serde_json::from_value(entry)?], ..Default::default() };
    let signpost = Arc::new(Signpost {
        registries: Registries::new(settings, Default::default(), telemetry.clone())?,
        name: HOST,
        place: registry.host(),
    });
    let ports = Ports {
        policies: scene.clone(),
        namespaces: scene.clone(),
        pull_secrets: Arc::new(NoPullSecrets),
        resolver: signpost.clone(),
        attachments: signpost.clone(),
        examiner: Arc::new(Examination::new(scene.clone())),
        verdicts: Arc::new(NoVerdicts),
        platforms: signpost,
        clock: scene,
        observer: telemetry,
    };
    Ok(Reviewer::new(ports, ReviewSettings::default(), Handle::current()))
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let Self { case, answer, kind, .. } = self;
        let object = format!(
            "{kind} {}/{}",
            case.namespace(),
            case.object["metadata"]["name"].as_str().unwrap_or("*")
        );
        let failure = answer.failures.first();
        let image = match (failure, answer.pins.first()) {
            (Some(failure), _) => failure.image.clone(),
            (None, Some(pinned)) => pinned.clone(),
            (None, None) => case.first_image(),
        };
        let image = match image.split_once('@') {
            Some((image, digest)) => {
                format!("{image} → {}…", &digest[..digest.len().min("sha256:".len() + SHOWN_DIGITS)])
            }
            None => image,
        };
        let decision = match (answer.allowed, answer.warnings.is_empty(), answer.pins.is_empty()) {
            (false, ..) => "DENIED",
            (true, false, true) => "admitted with a warning",
            (true, false, false) => "pinned with a warning",
            (true, true, false) => "pinned",
            (true, true, true) => "admitted",
        };
        [
            object,
            image,
            failure.map_or_else(
                || self.file.trim_end_matches(".yaml").to_owned(),
                |failure| failure.policy.clone(),
            ),
            failure.map_or_else(|| "–".to_owned(), |failure| format!("{} {}", failure.check, failure.reason)),
            decision.to_owned(),
            format!("{:.1} ms", answer.took.as_secs_f64() * 1000.0),
        ]
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["object", "image → digest", "policy", "failed check", "decision", "time"].map(str::to_owned);
    let cells: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let mut text = String::new();
    for (at, row) in cells.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let room = width - cell.chars().count();
            text.push_str(cell);
            text.push_str(&" ".repeat(room + 2));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        if at == 0 {
            text.push_str(&"─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
            text.push('\n');
        }
    }
    text
}

fn epilogue(rows: &[Row], unexpected: usize) -> String {
    let mut text = String::new();
    if let Some(denied) = rows.iter().find(|row| !row.answer.allowed) {
        let message = denied.answer.message.replace('\n', "\n  ");
        // OK because writing to a String does not fail
        write!(text, "\nWhat a developer reads ({}):\n\n  {message}\n", denied.case.name).unwrap();
    }
    for row in rows {
        if let Some(difference) = &row.difference {
            // OK for the same reason
            writeln!(text, "\nNOT AS EXPECTED  {}: {}: {difference}", row.file, row.case.name).unwrap();
        }
    }
    // OK for the same reason
    writeln!(text, "\n{} of {} decisions as expected", rows.len() - unexpected, rows.len()).unwrap();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rows(entries: &[Entry]) -> Vec<Row> {
        let stage = Stage::set_up(false).unwrap();
        let rows = stage.play(entries).await.unwrap();
        stage.take_down().await;
        rows
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_policy_of_the_gallery_decides_as_its_cases_say() {
        for row in rows(&gallery::entries().unwrap()).await {
            assert_eq!(row.difference, None, "{}: {}: {:?}", row.file, row.case.name, row.answer);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_decision_that_is_not_the_expected_one_is_noticed() {
        let mut entries = gallery::entries().unwrap();
        entries.truncate(1);
        for case in &mut entries[0].cases {
            case.expect.allowed = !case.expect.allowed;
        }
        let rows = rows(&entries).await;
        assert!(!rows.is_empty() && rows.iter().all(|row| row.difference.is_some()));
    }
}
