//! A real API server with a real etcd behind it, and no nodes: what is stored stays stored, and no Pod
//! ever runs.
//!
//! Most tests share [one](ApiServer::shared): it is up in about four seconds. A test that changes what
//! others see, as a webhook for every namespace does, starts [its own](ApiServer::start).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions, wait::await_condition},
};
use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    certs::{Authority, Issued},
    process::{self, Guarded, Said},
    tools,
};

/// How long a server has to become ready. A machine that is busy compiling takes its time.
const READY: Duration = Duration::from_secs(90);
/// How long `kubectl` may take.
const KUBECTL: Duration = Duration::from_secs(60);
/// How often a start is tried: another process may take the port that was free.
const TRIES: u32 = 3;
/// What is written into the audit log, and its name.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "resources": [{"group": "", "resources": ["pods"]}]}, {"level": "None"}]
}"#;
const AUDIT_LOG: &str = "audit.log";

/// A running API server. Dropping it stops it.
pub struct ApiServer {
    url: String,
    kubeconfig: PathBuf,
    programs: Programs,
    definitions: OnceCell<()>,
    controllers: OnceCell<Guarded>,
    server: Guarded,
    etcd: Guarded,
    etcd_url: String,
}

#[derive(Clone)]
struct Programs {
    etcd: PathBuf,
    server: PathBuf,
    kubectl: PathBuf,
}

impl ApiServer {
    /// The server that all tests share; started by whoever comes first. `None` if the programs are
    /// missing, and then the test has been [skipped](tools::skip).
    ///
    /// # Panics
    ///
    /// If the server does not start, with its log. It is not tried again for the next test.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Result<ApiServer, String>> = OnceCell::const_new();
        let programs = programs()?;
        let start = async || Self::start_with(programs).await.map_err(|error| format!("{error:#}"));
        match SHARED.get_or_init(start).await {
            Ok(server) => Some(server),
            Err(error) => panic!("the API server did not start: {error}"),
        }
    }

    /// A server for one test alone. `None` if the programs are missing, as with [`shared`](Self::shared).
    pub async fn start() -> Option<Self> {
        match Self::start_with(programs()?).await {
            Ok(server) => Some(server),
            Err(error) => panic!("the API server did not start: {error:#}"),
        }
    }

    async fn start_with(programs: Programs) -> anyhow::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::try_start(&programs).await {
                Err(error) if attempt == TRIES => return Err(error),
                Err(_) => attempt += 1,
                started => return started,
            }
        }
    }

    async fn try_start(programs: &Programs) -> anyhow::Result<Self> {
        let etcd_url = format!("http://127.0.0.1:{}", process::free_port()?);
        let etcd = start_etcd(&programs.etcd, &etcd_url)?;

        let authority = Authority::new("the authority of the tests");
        let directory = process::directory("apiserver")?;
        let write = |name: &str, content: &str| -> io::Result<PathBuf> {
            let path = directory.join(name);
            fs::write(&path, content)?;
            Ok(path)
        };
        let port = process::free_port()?;
        let url = format!("https://127.0.0.1:{port}");
        let serving = authority.server(&["127.0.0.1", "localhost"]);
        let accounts = rcgen::KeyPair::generate()?;
        let kubeconfig = write("kubeconfig", &admin(&authority, &url))?;
        let mut command = Command::new(&programs.server);
        command
            .arg(format!("--etcd-servers={etcd_url}"))
            .args(["--bind-address=127.0.0.1", &format!("--secure-port={port}")])
            .arg(flag("--tls-cert-file", &write("serving.crt", &serving.certificate)?))
            .arg(flag("--tls-private-key-file", &write("serving.key", &serving.key)?))
            .arg(flag("--client-ca-file", &write("ca.crt", authority.certificate())?))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag("--service-account-key-file", &write("accounts.pub", &accounts.public_key_pem())?))
            .arg(flag(
                "--service-account-signing-key-file",
                &write("accounts.key", &accounts.serialize_pem())?,
            ))
            .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"])
            // Nobody makes the ServiceAccounts that this plugin would wait for.
            .args(["--disable-admission-plugins=ServiceAccount", "--allow-privileged=true"])
            .arg(flag("--cert-dir", &directory))
            .arg(flag("--audit-policy-file", &write("audit.yaml", AUDIT)?))
            .arg(flag("--audit-log-path", &directory.join(AUDIT_LOG)));
        let server = Guarded::start(&command, directory)?;

        let mut this = Self {
            url,
            kubeconfig,
            programs: programs.clone(),
            definitions: OnceCell::new(),
            controllers: OnceCell::new(),
            server,
            etcd,
            etcd_url,
        };
        this.until_ready().await?;
        Ok(this)
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let client = self.client().await;
        let end = Instant::now() + READY;
        loop {
            let answer = client.request_text(http::Request::get("/readyz").body(Vec::new())?).await;
            if answer.as_deref().is_ok_and(|text| text == "ok") {
                return Ok(());
            }
            if let Some(status) = self.server.ended() {
                bail!("it ended with {status} and this log:\n{}", self.server.log());
            }
            if Instant::now() >= end {
                bail!("not ready after {READY:?}: {answer:?}\n{}", self.server.log());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process ids of the server and of its etcd.
    pub fn pids(&self) -> [u32; 2] {
        [self.server.pid(), self.etcd.pid()]
    }

    /// Where its etcd listens: `http://127.0.0.1:PORT`.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// Its audit log so far: one JSON event per line, for requests about Pods.
    pub fn audit_log(&self) -> String {
        fs::read_to_string(self.server.directory().join(AUDIT_LOG)).unwrap_or_default()
    }

    /// A kubeconfig file for its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The `kubectl` that fits it.
    pub fn kubectl_program(&self) -> &Path {
        &self.programs.kubectl
    }

    /// A client for its administrator. It belongs to the runtime of the test that asks for it.
    pub async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        // It is on loopback, whatever the environment says.
        config.proxy_url = None;
        Client::try_from(config).unwrap()
    }

    /// Makes a namespace that no other test has; its name begins with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(self.client().await).create(&PostParams::default(), &namespace).await.unwrap();
        name
    }

    /// Installs our definitions, once, and returns when the server serves them.
    pub async fn apply_crds(&self) {
        self.definitions
            .get_or_init(async || {
                let api: Api<CustomResourceDefinition> = Api::all(self.client().await);
                for definition in tidewaiter::api::v1alpha1::crds() {
                    let name = definition.name_any();
                    let params = PatchParams::apply("tests").force().validation_strict();
                    api.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
                    let established = await_condition(api.clone(), &name, conditions::is_crd_established());
                    tokio::time::timeout(READY, established)
                        .await
                        .unwrap_or_else(|_| panic!("{name} is not established"))
                        .unwrap();
                    self.until_served(&definition).await;
                }
            })
            .await;
    }

    /// Established is a promise: the paths of the kind follow a moment later.
    async fn until_served(&self, definition: &CustomResourceDefinition) {
        let client = self.client().await;
        let spec = &definition.spec;
        let end = Instant::now() + READY;
        for version in &spec.versions {
            let path = format!("/apis/{}/{}/{}?limit=1", spec.group, version.name, spec.names.plural);
            let ask = || http::Request::get(&path).body(Vec::new()).unwrap();
            while let Err(error) = client.request_text(ask()).await {
                assert!(Instant::now() < end, "{path} is not served: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Starts the controllers that make Pods of Deployments, Jobs and the like, once. `None` if the program
    /// is missing, and then the test has been [skipped](tools::skip).
    pub async fn run_controllers(&self) -> Option<()> {
        let [program] = tools::find_all(["kube-controller-manager"])?;
        self.controllers
            .get_or_init(async || {
                let mut command = Command::new(program);
                command
                    .arg(flag("--kubeconfig", &self.kubeconfig))
                    .args([
                        "--use-service-account-credentials=false",
                        "--leader-elect=false",
                        "--secure-port=0",
                    ])
                    .arg(
                        "--controllers=cronjob-controller,daemonset-controller,deployment-controller,\
                         garbage-collector-controller,job-controller,namespace-controller,\
                         replicaset-controller,replicationcontroller-controller,statefulset-controller",
                    );
                Guarded::start(&command, process::directory("controllers").unwrap()).unwrap()
            })
            .await;
        Some(())
    }

    /// Runs `kubectl` as the administrator.
    pub async fn kubectl(&self, args: &[&str]) -> Said {
        self.kubectl_with(args, "").await
    }

    /// Runs `kubectl` as the administrator, with `input` on its standard input.
    ///
    /// The test's own runtime goes on meanwhile, so that a webhook that it serves can answer.
    pub async fn kubectl_with(&self, args: &[&str], input: &str) -> Said {
        let mut command = Command::new(self.kubectl_program());
        command
            .arg(flag("--kubeconfig", &self.kubeconfig))
            .arg(flag("--cache-dir", &self.server.directory().join("kubectl")))
            .args(args);
        process::run(command, input, KUBECTL).await.unwrap()
    }

    /// The end of its log, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

fn programs() -> Option<Programs> {
    let [etcd, server, kubectl] = tools::find_all(["etcd", "kube-apiserver", "kubectl"])?;
    Some(Programs { etcd, server, kubectl })
}

fn start_etcd(program: &Path, url: &str) -> anyhow::Result<Guarded> {
    let directory = process::directory("etcd")?;
    let peers = format!("http://127.0.0.1:{}", process::free_port()?);
    let mut command = Command::new(program);
    command
        .arg(flag("--data-dir", &directory.join("data")))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers, "--initial-cluster", &format!("default={peers}")])
        // The data need not survive a power cut.
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Guarded::start(&command, directory).context("etcd did not start")
}

/// A kubeconfig for a client of the group that may do everything.
fn admin(authority: &Authority, url: &str) -> String {
    let Issued { certificate, key } = authority.client("admin", "system:masters");
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "clusters": [{
            "name": "tests",
            "cluster": {"server": url, "certificate-authority-data": encode(authority.certificate())},
        }],
        "users": [{
            "name": "admin",
            "user": {"client-certificate-data": encode(&certificate), "client-key-data": encode(&key)},
        }],
    })
    .to_string()
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
