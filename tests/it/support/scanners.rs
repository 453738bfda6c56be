//! Trivy and Grype, as people run them; but offline, with databases that know what the tests tell them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{
    process::{self, Guarded, Said},
    tools,
};

/// How long a scanner may take. A machine that is busy compiling takes its time.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where nobody listens: what is not on loopback is asked for there, and at once refused.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Something that the databases know.
#[derive(Clone, Copy, Debug)]
pub struct Advisory {
    pub id: &'static str,
    /// In lowercase; empty where nobody says.
    pub severity: &'static str,
    pub published: &'static str,
    /// The source package in Debian, the package in npm.
    pub package: &'static str,
    /// Every earlier version is affected; every version at all if empty.
    pub fixed: &'static str,
    /// `debian 13` or `npm`.
    pub ecosystem: &'static str,
}

/// Both scanners and their databases. Dropping it removes the databases.
pub struct Scanners {
    pub trivy: PathBuf,
    grype: PathBuf,
    directory: TempDir,
    /// When the databases say that they were made.
    pub updated_at: Timestamp,
}

impl Scanners {
    /// With the advisories of [`KNOWN`], for all tests. `None` if a program is missing, and then the test has
    /// been skipped.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Scanners> = OnceCell::const_new();
        let programs = tools::find_group("scanners", ["trivy", "grype", "scanner-databases"])?;
        Some(SHARED.get_or_init(async || Self::start(programs).await).await)
    }

    async fn start([trivy, grype, databases]: [PathBuf; 3]) -> Self {
        let directory = tempfile::Builder::new().prefix("tidewaiter-scanners-").tempdir().unwrap();
        // Grype refuses a database that is older than five days.
        let updated_at = Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap();
        let advisories = KNOWN.map(|advisory| {
            json!({
                "id": advisory.id, "severity": advisory.severity, "published": advisory.published,
                "package": advisory.package, "fixed": advisory.fixed, "ecosystem": advisory.ecosystem,
            })
        });
        let input = json!({"updatedAt": updated_at, "advisories": advisories}).to_string();
        let mut command = Command::new(databases);
        command.arg(directory.path());
        let said = process::run(command, &input, PATIENCE).await.unwrap();
        assert!(said.success, "{said:?}");
        Self { trivy, grype, directory, updated_at }
    }

    /// Where Trivy keeps its database.
    pub fn trivy_cache(&self) -> PathBuf {
        self.directory.path().join("trivy")
    }

    /// What Trivy writes about `image`, with `args` before it: `--format sarif`.
    pub async fn trivy(&self, image: &str, args: &[&str]) -> Vec<u8> {
        // Every run holds its cache of images alone, so each has one of its own.
        let cache = self.fresh_trivy_cache();
        let mut command = self.command(&self.trivy);
        command.args(["image", "--quiet", "--skip-db-update", "--offline-scan", "--scanners", "vuln"]);
        command.arg("--insecure").arg("--cache-dir").arg(cache.path()).args(args).arg(image);
        written(command).await
    }

    /// A folder of its own with a copy of Trivy's database.
    fn fresh_trivy_cache(&self) -> TempDir {
        let fresh = tempfile::tempdir_in(self.directory.path()).unwrap();
        let (from, to) = (self.trivy_cache().join("db"), fresh.path().join("db"));
        std::fs::create_dir(&to).unwrap();
        for name in ["trivy.db", "metadata.json"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        fresh
    }

    /// What Grype writes about `image`, with `args` before it: `-o json`.
    pub async fn grype(&self, image: &str, args: &[&str]) -> Vec<u8> {
        let mut command = self.command(&self.grype);
        command
            .args(["--quiet", "--from", "registry"])
            .args(args)
            .arg(image)
            .env("GRYPE_DB_CACHE_DIR", self.directory.path().join("grype"))
            .env("GRYPE_DB_AUTO_UPDATE", "false")
            .env("GRYPE_CHECK_FOR_APP_UPDATE", "false")
            .env("GRYPE_REGISTRY_INSECURE_USE_HTTP", "true");
        written(command).await
    }

    /// A Trivy server that knows what the others know.
    pub async fn trivy_server(&self) -> TrivyServer {
        let (cache, address) =
            (self.fresh_trivy_cache(), format!("127.0.0.1:{}", process::free_port().unwrap()));
        let mut command = self.command(&self.trivy);
        command.args(["server", "--skip-db-update", "--listen", &address, "--cache-dir"]).arg(cache.path());
        let server = Guarded::start(&command, process::directory("trivy").unwrap()).unwrap();
        let server = TrivyServer { url: format!("http://{address}"), server, _cache: cache };
        server.until_ready().await;
        server
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("TMPDIR", self.directory.path())
            .env("TRIVY_DISABLE_TELEMETRY", "true")
            .env("TRIVY_SKIP_VERSION_CHECK", "true")
            .env("HTTP_PROXY", NOWHERE)
            .env("HTTPS_PROXY", NOWHERE);
        command
    }
}

/// A running Trivy server. Dropping it stops it.
pub struct TrivyServer {
    /// What clients are told: `http://127.0.0.1:PORT`.
    pub url: String,
    server: Guarded,
    _cache: TempDir,
}

impl TrivyServer {
    async fn until_ready(&self) {
        let end = std::time::Instant::now() + PATIENCE;
        while !self.ask("healthz").await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(std::time::Instant::now() < end, "it does not serve: {}", self.server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it says of itself and its database.
    pub async fn version(&self) -> Value {
        serde_json::from_slice(&self.ask("version").await.unwrap().bytes().await.unwrap()).unwrap()
    }

    async fn ask(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.get(format!("{}/{path}", self.url)).send().await
    }
}

async fn written(command: Command) -> Vec<u8> {
    let what = format!("{command:?}");
    let Said { success, stdout, stderr } = process::run(command, "", PATIENCE).await.unwrap();
    assert!(success, "{what}: {stdout}{stderr}");
    stdout.into_bytes()
}

const fn debian(id: &'static str, severity: &'static str, fixed: &'static str) -> Advisory {
    let published = "2026-01-02T00:00:00Z";
    Advisory { id, severity, published, package: "acme-tls", fixed, ecosystem: "debian 13" }
}

/// What both scanners know of version 1.2.3-1 of `acme-tls` in Debian, and of `acme-left` in npm.
pub const KNOWN: [Advisory; 6] = [
    debian("CVE-2099-1001", "critical", "1.2.3-2"),
    debian("CVE-2099-1002", "low", ""),
    // Mended before.
    debian("CVE-2099-1003", "high", "1.2.0-1"),
    debian("CVE-2099-1004", "", ""),
    debian("CVE-2099-1005", "medium", "1.2.4-1"),
    Advisory {
        id: "CVE-2099-2001",
        severity: "high",
        published: "2026-02-03T00:00:00Z",
        package: "acme-left",
        fixed: "2.0.1",
        ecosystem: "npm",
    },
];
