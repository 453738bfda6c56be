//! The whole path: a real API server that asks a real Tidewaiter, which asks a real registry.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tidewaiter::{files, image::Digest};
use tokio::{runtime::Runtime, sync::OnceCell};

use super::{
    apiserver::ApiServer,
    certs::Authority,
    process::{self, Guarded, Said},
    registry::{Access, Options, Registry},
};

/// The registry's name in manifests and policies. Tidewaiter knows where it is: on loopback.
pub const HOST: &str = "registry.example.com";
/// How long a part may take to come up, or a change to come into force.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tells the API server to ask Tidewaiter; in the repository as users apply it.
const WEBHOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/webhooks.yaml");

/// What it may do there, and as whom; in the repository as users apply it.
const RIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/rbac.yaml");

/// An API server with our definitions and webhooks, our program, and a registry. Dropping it stops all.
pub struct Cluster {
    pub api: ApiServer,
    pub registry: Arc<Registry>,
    /// A registry that shows nothing without a token, with the image `shop/private:1`.
    pub private: Registry,
    pub authority: Authority,
    /// What `shop/web:1.4` stands for.
    pub digest: Digest,
    webhook: Guarded,
    health: String,
}

impl Cluster {
    /// The one that all tests share; started by whoever comes first. `None` if a program is missing, and
    /// then the test has been [skipped](super::tools::skip).
    ///
    /// Its policies are everybody's: a test makes them for a namespace of its own.
    pub async fn shared() -> Option<&'static Self> {
        // Its clients outlive every test's runtime.
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
        static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
        let start =
            || async { tokio::task::spawn_blocking(|| RUNTIME.block_on(Self::start())).await.unwrap() };
        SHARED.get_or_init(start).await.as_ref()
    }

    /// Starts everything. `None` if a program is missing, and then the test has been skipped.
    ///
    /// # Panics
    ///
    /// If a part does not start, with its log.
    pub async fn start() -> Option<Self> {
        Self::start_with(json!({})).await
    }

    /// The same, with further fields in Tidewaiter's settings.
    pub async fn start_with(settings: Value) -> Option<Self> {
        let registry = Arc::new(Registry::start(Options::default()).await?);
        let private = Registry::start(Options { access: Access::Token, tls: None }).await?;
        private.push("shop/private", "1").await;
        let api = ApiServer::start().await?;
        api.apply_crds().await;
        let authority = Authority::new("the authority of the webhook");
        let kubeconfig = kubeconfig(&api).await;
        let webhook = serve(&kubeconfig, [&registry, &private], &authority, settings);
        let started = process::wait_for(PATIENCE, || addresses(&webhook.log()));
        let Some((reviews, health)) = started else { panic!("it does not serve: {}", webhook.log()) };
        let digest = registry.push("shop/web", "1.4").await;
        registry.push("shop/web", "latest").await;
        let this = Self { api, registry, private, authority, webhook, health, digest };
        this.until_ready().await;
        this.register(&reviews).await;
        Some(this)
    }

    /// Tells the API server to ask the program at `address`.
    async fn register(&self, address: &str) {
        let ca = BASE64_STANDARD.encode(self.authority.certificate());
        for document in files::read(Path::new(WEBHOOKS)).unwrap() {
            let mut configuration = document.value;
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
                webhook["clientConfig"] = json!({"caBundle": ca, "url": format!("https://{address}{path}")});
            }
            let said = self.api.kubectl_with(&["apply", "-f", "-"], &configuration.to_string()).await;
            assert!(said.success, "{said:?}");
        }
        // The API server itself follows its configurations: a moment later they are in force.
        let namespace = self.api.namespace("until-registered").await;
        let probe = json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageAdmissionPolicy",
            "metadata": {"name": "probe", "namespace": namespace},
            "spec": {"match": {"images": ["not a pattern!"]}, "references": {"requireDigest": true}},
        });
        self.until("the webhooks are registered", async || !self.dry_run(&probe.to_string()).await.success)
            .await;
    }

    /// Asks `question` until it says yes.
    pub async fn until(&self, what: &str, mut question: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !question().await {
            assert!(Instant::now() < end, "waited in vain until {what}: {}", self.webhook.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_ready(&self) {
        self.until("it is ready", async || {
            let answer = reqwest::get(format!("http://{}/readyz", self.health)).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Stores `document`.
    pub async fn apply(&self, document: &str) -> Said {
        self.api.kubectl_with(&["apply", "--validate=strict", "-f", "-"], document).await
    }

    /// Lets the API server go through all of an object's admission without storing it.
    pub async fn dry_run(&self, document: &str) -> Said {
        self.api.kubectl_with(&["create", "--dry-run=server", "-f", "-"], document).await
    }

    /// Stores a policy and waits until it is in force, as Tidewaiter's log tells it.
    pub async fn enforce(&self, policy: &Value) {
        let said = self.apply(&policy.to_string()).await;
        assert!(said.success, "{said:?}");
        let (kind, metadata) = (&policy["kind"], &policy["metadata"]);
        let parts = [kind, &metadata["namespace"], &metadata["name"]];
        let name = parts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/");
        self.until("the policy is in force", async || {
            let log = self.log();
            let seen = log.find(&format!("\"policy.name\":\"{name}\""));
            seen.is_some_and(|at| log[at..].contains("\"policies are in force\""))
        })
        .await;
    }

    /// What Tidewaiter has written: its own log and the decisions.
    pub fn log(&self) -> String {
        fs::read_to_string(self.webhook.directory().join("log")).unwrap()
    }
}

/// A kubeconfig with the rights that users are told to give it, and no more.
pub async fn kubeconfig(api: &ApiServer) -> String {
    let said = api.kubectl(&["apply", "-f", RIGHTS]).await;
    assert!(said.success, "{said:?}");
    let token = api.kubectl(&["-n", "tidewaiter", "create", "token", "tidewaiter"]).await;
    assert!(token.success, "{token:?}");
    let admin = fs::read_to_string(api.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({"token": token.stdout.trim()});
    config.to_string()
}

fn serve(
    kubeconfig: &str,
    [registry, private]: [&Registry; 2],
    authority: &Authority,
    settings: Value,
) -> Guarded {
    let directory = process::directory("tidewaiter").unwrap();
    let serving = authority.server(&["127.0.0.1"]);
    let mut all = json!({"trustNamespaces": ["tidewaiter"], "registries": [
        {"host": HOST, "mirrors": [registry.host()]},
        {"host": registry.host(), "plainHttp": true, "allowPrivateAddresses": true},
        {"host": private.host(), "plainHttp": true, "allowPrivateAddresses": true},
    ]});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let write = |name: &str, content: &str| {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let mut command: Command = process::tidewaiter();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--shutdown-delay", "0"])
        .arg("--tls-cert")
        .arg(write("tls.crt", &serving.certificate))
        .arg("--tls-key")
        .arg(write("tls.key", &serving.key))
        .arg("--config")
        .arg(write("settings.json", &all.to_string()))
        .arg("--kubeconfig")
        .arg(write("kubeconfig", kubeconfig))
        .args(["--namespace", "tidewaiter"]);
    Guarded::start(&command, directory).unwrap()
}

/// Where it listens, for reviews and for probes, once it says so.
fn addresses(log: &str) -> Option<(String, String)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |line: &Value, field: &str| line[field].as_str().map(str::to_owned);
    let mut serving = lines.filter(|line| line["message"] == "serving");
    serving.find_map(|line| Some((text(&line, "reviews")?, text(&line, "health")?)))
}
