//! What scan verdicts cost a cluster: a real API server and etcd, filled with generated ImageScanVerdicts.
//!
//! ```console
//! $ TIDEWAITER_TOOLS="$(tests/tools/build)" cargo run --release --example verdicts_at_scale -- 2000 200
//! ```
//!
//! The arguments are how many verdicts, and how many findings each has. Prints a table on standard output. The
//! numbers of `docs/verdicts-at-scale.md` come from here.

use std::{
    fs,
    ops::Range,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tidewaiter::{
    api::v1alpha1::{
        ImageScanVerdict, ImageScanVerdictSpec, ScannedPackage, Scanner, ScannerDatabase, SeverityCounts,
        SeverityName, VulnerabilityCount, VulnerabilityFinding,
    },
    image::Digest,
};

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod support;

use support::apiserver::ApiServer;

/// How many writes are under way at a time.
const AT_ONCE: usize = 16;
/// How many vulnerabilities and packages the world has.
const WORLD: u64 = 5000;
/// How long the API server is left alone so that it forgets: it remembers every change of the last 75 seconds for
/// those who watch, and more of them only until others come (`eventFreshDuration` of its watch cache).
const FORGET: Duration = Duration::from_secs(80);
/// How many changes come after that.
const LATER: u64 = 200;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [verdicts, findings] = arguments[..] else {
        eprintln!("usage: verdicts_at_scale VERDICTS FINDINGS");
        return Ok(ExitCode::from(2));
    };
    let Some(server) = ApiServer::start().await else {
        eprintln!("programs are missing: set TIDEWAITER_TOOLS=\"$(tests/tools/build)\"");
        return Ok(ExitCode::from(2));
    };
    server.apply_crds().await;
    let scale = Scale { client: server.client().await, server, verdicts, findings };
    scale.measure().await?;
    Ok(ExitCode::SUCCESS)
}

struct Scale {
    server: ApiServer,
    client: Client,
    verdicts: u64,
    findings: u64,
}

impl Scale {
    async fn measure(&self) -> anyhow::Result<()> {
        let json = serde_json::to_vec(&verdict(0, self.findings, Timestamp::now()))?;
        let bare = serde_json::to_vec(&verdict(0, 0, Timestamp::now()))?;
        println!("{} verdicts with {} findings each", self.verdicts, self.findings);
        println!("{:>10}  bytes of JSON in one verdict", json.len());
        let each = (json.len() - bare.len()) as u64 / self.findings.max(1);
        println!("{each:>10}  of these in one finding");

        self.compact().await?;
        let (empty, before) = (self.etcd_size("in_use_").await?, self.memory("before").await?);
        self.write("written", 0..self.verdicts, Timestamp::now()).await?;
        self.sizes("after writing").await?;
        self.memory("right after writing").await?;
        self.write("written again, as after another night's scans", 0..self.verdicts, Timestamp::now())
            .await?;
        self.sizes("after writing again").await?;
        self.memory("right after writing again").await?;
        self.compact().await?;
        self.sizes("after compaction and defragmentation").await?;
        let kept = self.etcd_size("in_use_").await? - empty;
        println!("{:>10}  bytes of etcd for one verdict", kept / self.verdicts);

        tokio::time::sleep(FORGET).await;
        self.write("written a little later", 0..LATER.min(self.verdicts), Timestamp::now()).await?;
        let after = self.memory("once changes are forgotten").await?;
        println!(
            "{:>10}  bytes of the API server's memory for one verdict",
            (after - before) / self.verdicts
        );
        self.list().await?;
        self.memory("after listing").await?;
        Ok(())
    }

    async fn write(&self, what: &str, which: Range<u64>, scanned_at: Timestamp) -> anyhow::Result<()> {
        let api: Api<ImageScanVerdict> = Api::all(self.client.clone());
        let params = PatchParams::apply("verdicts-at-scale").force();
        let started = Instant::now();
        stream::iter(which)
            .map(|number| {
                let (api, params, verdict) = (&api, &params, verdict(number, self.findings, scanned_at));
                async move {
                    let name = verdict.metadata.name.clone().context("a verdict has a name")?;
                    api.patch(&name, params, &Patch::Apply(&verdict)).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        println!("{:>10.1}  seconds: {what}", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// How long those wait who start: all at once as the API server has it in memory, and by pages of 500.
    async fn list(&self) -> anyhow::Result<()> {
        let api: Api<ImageScanVerdict> = Api::all(self.client.clone());
        let path = "/apis/tidewaiter.dev/v1alpha1/imagescanverdicts?resourceVersion=0";
        for round in ["first", "second"] {
            let started = Instant::now();
            let text = self.ask(path).await?;
            let (seconds, bytes) = (started.elapsed().as_secs_f64(), text.len());
            println!("{seconds:>10.2}  seconds: one list of {bytes} bytes, unread, {round} time");
        }
        let started = Instant::now();
        let (mut params, mut listed) = (ListParams::default().limit(500), 0);
        loop {
            let page = api.list(&params).await?;
            listed += page.items.len();
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => break,
            }
        }
        println!("{:>10.2}  seconds: a list of {listed} by pages, read", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Prints what the servers hold, and answers with what the API server holds in bytes once it has collected its
    /// garbage. It takes up to twice that from the system.
    async fn memory(&self, when: &str) -> anyhow::Result<u64> {
        self.ask("/debug/pprof/heap?gc=1&debug=1").await?;
        let metrics = self.ask("/metrics").await?;
        let held = value_of(&metrics, "go_memstats_heap_alloc_bytes ")?;
        let [server, etcd] = self.server.pids().map(resident_mib);
        println!(
            "{:>10}  MiB held by the API server, {} MiB resident, {} MiB of etcd resident, {when}",
            held >> 20,
            server?,
            etcd?
        );
        Ok(held)
    }

    /// What the API server says at a path.
    async fn ask(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    async fn sizes(&self, when: &str) -> anyhow::Result<()> {
        let (file, used) = (self.etcd_size("").await?, self.etcd_size("in_use_").await?);
        println!("{:>10}  MiB in etcd's file, {} MiB in use, {when}", file >> 20, used >> 20);
        Ok(())
    }

    /// A size in etcd's metrics: of its file, or of what is used in it.
    async fn etcd_size(&self, which: &str) -> anyhow::Result<u64> {
        let name = match which {
            "" => "etcd_mvcc_db_total_size_in_bytes ".to_owned(),
            which => format!("etcd_mvcc_db_total_size_{which}in_bytes "),
        };
        let url = format!("{}/metrics", self.server.etcd_url());
        // etcd publishes its sizes when it commits, which is every tenth of a second.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let text = http_client()?.get(url).send().await?.text().await?;
        value_of(&text, &name)
    }

    /// Forgets all but the newest version of each object, and gives the room back: the API server does the first
    /// every five minutes, and an operator the second.
    async fn compact(&self) -> anyhow::Result<()> {
        let status = self.ask_etcd("maintenance/status", json!({})).await?;
        let revision = status["header"]["revision"].clone();
        self.ask_etcd("kv/compaction", json!({"revision": revision, "physical": true})).await?;
        self.ask_etcd("maintenance/defragment", json!({})).await?;
        Ok(())
    }

    /// Source: etcd's gRPC gateway, <https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/>.
    async fn ask_etcd(&self, what: &str, body: Value) -> anyhow::Result<Value> {
        let url = format!("{}/v3/{what}", self.server.etcd_url());
        let answer = http_client()?.post(url).body(body.to_string()).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

/// A number of bytes in metrics, by what stands before it.
fn value_of(metrics: &str, name: &str) -> anyhow::Result<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).context("no such metric")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    Ok(value.trim().parse::<f64>()? as u64)
}

fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no such line")?;
    Ok(resident.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

fn http_client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// The verdict on the image of a number, unlike every other, with findings as real images have them: in runs of
/// one to eight of a package, half of them with a fix.
fn verdict(number: u64, findings: u64, scanned_at: Timestamp) -> ImageScanVerdict {
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut counts = SeverityCounts::default();
    let mut packages: Vec<ScannedPackage> = Vec::new();
    let (mut left, mut run) = (findings, 0);
    while left > 0 {
        if run == 0 {
            run = 1 + dice.below(8);
            let which = dice.below(WORLD);
            packages.push(ScannedPackage {
                name: format!("lib{}{which}", ["acme", "example-runtime", "x"][dice.index(3)]),
                package_type: "deb".to_owned(),
                version: format!("{}.{}.{}-{}+deb13u1", which % 9, dice.below(30), dice.below(9), which % 5),
                findings: Vec::new(),
            });
        }
        let finding = finding(&mut dice);
        let count: &mut VulnerabilityCount = match finding.severity {
            Some(SeverityName::Critical) => &mut counts.critical,
            Some(SeverityName::High) => &mut counts.high,
            Some(SeverityName::Medium) => &mut counts.medium,
            Some(SeverityName::Low) => &mut counts.low,
            Some(SeverityName::Negligible) => &mut counts.negligible,
            None => &mut counts.unknown,
        };
        count.found += 1;
        count.fixable += u32::from(finding.fixed.is_some());
        if let Some(package) = packages.last_mut() {
            package.findings.push(finding);
        }
        (left, run) = (left - 1, run - 1);
    }
    let digest = Digest::sha256(&number.to_be_bytes());
    let spec = ImageScanVerdictSpec {
        digest: digest.to_string(),
        platforms: None,
        source: "trivy".to_owned(),
        scanner: Scanner { name: "trivy".to_owned(), version: Some("0.65.0".to_owned()) },
        database: Some(ScannerDatabase { version: Some("2".to_owned()), updated_at: Some(Time(scanned_at)) }),
        scanned_at: Time(scanned_at),
        counts,
        truncated: false,
        end_of_life: None,
        packages,
    };
    ImageScanVerdict::new(&format!("{}.trivy", digest.as_str().replace(':', "-")), spec)
}

fn finding(dice: &mut Dice) -> VulnerabilityFinding {
    let severity = match dice.below(100) {
        0..3 => Some(SeverityName::Critical),
        3..20 => Some(SeverityName::High),
        20..60 => Some(SeverityName::Medium),
        60..80 => Some(SeverityName::Low),
        80..95 => Some(SeverityName::Negligible),
        _ => None,
    };
    let number = dice.below(WORLD);
    let published =
        (Timestamp::UNIX_EPOCH + (24 * (20_000 - number.cast_signed() % 2000)).hours()).to_string();
    VulnerabilityFinding {
        id: format!("CVE-20{}-{}", 18 + number % 9, 10_000 + number),
        severity,
        // As our own feeders write it: where no severity is stated.
        score: severity.is_none().then(|| format!("{}.{}", 1 + dice.below(9), dice.below(10))),
        fixed: (dice.below(2) == 0)
            .then(|| format!("{}.{}.{}-2", dice.below(9), dice.below(30), dice.below(9))),
        published: Some(published[..10].to_owned()),
        ..VulnerabilityFinding::default()
    }
}

/// Numbers that look like chance and are the same on every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn index(&mut self, limit: u64) -> usize {
        usize::try_from(self.below(limit)).unwrap_or(0)
    }
}
