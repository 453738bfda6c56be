use std::{
    fs,
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::support::{
    apiserver::ApiServer,
    process::{self, Guarded},
    registry::{ACCOUNTS, Access, Options, Registry},
};

/// How long a change may take on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the controller may do; in the repository as users apply it.
const RIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/controller-rbac.yaml");

/// An API server with our definitions, and the controller with the rights of the example and nothing more.
///
/// Its sources are everybody's: a test gives its own a name and images of its own.
pub struct Scene {
    pub server: ApiServer,
    /// One whose accounts need tokens; the controller has one of them.
    pub registry: Registry,
    controller: Guarded,
    health: String,
}

impl Scene {
    /// The one that all tests share. `None` if a program is missing, and then the test has been skipped.
    pub async fn shared() -> Option<&'static Self> {
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
        static SHARED: OnceCell<Option<Scene>> = OnceCell::const_new();
        let start =
            || async { tokio::task::spawn_blocking(|| RUNTIME.block_on(Self::start())).await.unwrap() };
        SHARED.get_or_init(start).await.as_ref()
    }

    async fn start() -> Option<Self> {
        let server = ApiServer::start().await?;
        let registry = Registry::start(Options { access: Access::Token, tls: None }).await?;
        server.apply_crds().await;
        let said = server.kubectl(&["apply", "-f", RIGHTS]).await;
        assert!(said.success, "{said:?}");
        let token = server.kubectl(&["-n", "tidewaiter", "create", "token", "tidewaiter-controller"]).await;
        assert!(token.success, "{token:?}");
        let admin = fs::read_to_string(server.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&admin).unwrap();
        config["users"][0]["user"] = json!({"token": token.stdout.trim()});
        let directory = process::directory("controller").unwrap();
        let kubeconfig = directory.join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let (user, password) = ACCOUNTS[0];
        let login = json!({"auths": {registry.host(): {"username": user, "password": password}}});
        fs::write(directory.join("docker.json"), login.to_string()).unwrap();
        let entry = json!({"host": registry.host(), "plainHttp": true, "allowPrivateAddresses": true});
        let settings = json!({"registries": [entry], "dockerConfig": directory.join("docker.json")});
        fs::write(directory.join("settings.yaml"), settings.to_string()).unwrap();
        let mut command: Command = process::tidewaiter();
        command
            .arg("controller")
            .arg("--config")
            .arg(directory.join("settings.yaml"))
            .args(["--namespace", "tidewaiter", "--health-listen", "127.0.0.1:0"])
            .args(["--log-level", "info,tidewaiter=debug"])
            .arg("--kubeconfig")
            .arg(&kubeconfig);
        let controller = Guarded::start(&command, directory).unwrap();
        let health = process::wait_for(PATIENCE, || health(&controller.log()));
        let Some(health) = health else { panic!("it does not work: {}", controller.log()) };
        let scene = Self { server, registry, controller, health };
        scene
            .until("it is ready", async || {
                let answer = reqwest::get(format!("http://{}/readyz", scene.health)).await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        Some(scene)
    }

    pub async fn metrics(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.health)).await.unwrap().text().await.unwrap()
    }

    /// Asks `question` until it says yes.
    pub async fn until(&self, what: &str, mut question: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !question().await {
            assert!(Instant::now() < end, "waited in vain until {what}: {}", self.controller.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn apply(&self, document: &Value) {
        let said = self.server.kubectl_with(&["apply", "-f", "-"], &document.to_string()).await;
        assert!(said.success, "{said:?}");
    }

    pub async fn source(&self, name: &str, spec: Value) {
        self.apply(&json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "VulnerabilitySource",
            "metadata": {"name": name}, "spec": spec,
        }))
        .await;
    }

    /// A Secret in the controller's namespace that the controller may read, by name, as the example's comment says.
    pub async fn secret(&self, name: &str, text: Value) {
        let role = "rbac.authorization.k8s.io";
        let metadata = json!({"name": name, "namespace": "tidewaiter"});
        let rule =
            json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]});
        let controller =
            json!({"kind": "ServiceAccount", "name": "tidewaiter-controller", "namespace": "tidewaiter"});
        let reference = json!({"apiGroup": role, "kind": "Role", "name": name});
        let documents = [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": text}),
            json!({"apiVersion": format!("{role}/v1"), "kind": "Role", "metadata": metadata, "rules": [rule]}),
            json!({"apiVersion": format!("{role}/v1"), "kind": "RoleBinding", "metadata": metadata,
                "roleRef": reference, "subjects": [controller]}),
        ];
        for document in documents {
            self.apply(&document).await;
        }
    }

    /// The object, if there is one.
    pub async fn get(&self, arguments: &[&str]) -> Option<Value> {
        let said =
            self.server.kubectl(&[&["get", "--output=json", "--ignore-not-found"], arguments].concat()).await;
        assert!(said.success, "{said:?}");
        (!said.stdout.trim().is_empty()).then(|| serde_json::from_str(&said.stdout).unwrap())
    }

    pub async fn verdict(&self, digest: &str, source: &str) -> Option<Value> {
        self.get(&["isv", &format!("{}.{source}", digest.replace(':', "-"))]).await
    }

    /// The condition of a source and its last error.
    pub async fn standing(&self, source: &str) -> (String, String, String) {
        let object = self.get(&["vs", source]).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = &object["status"];
        let condition = &status["conditions"][0];
        (text(&condition["status"]), text(&condition["reason"]), text(&status["lastError"]))
    }
}

fn health(log: &str) -> Option<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .into_iter()
        .find_map(|line| (line["message"] == "at work").then(|| line["health"].as_str().unwrap().to_owned()))
}
