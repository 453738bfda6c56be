//! A cluster that has nodes, so that Pods run. It is not started here: `tests/with-cluster` says which it is.

use std::{env, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;

use super::{
    client::{Login, RegistryClient},
    process::{self, Said},
    tools,
};

/// How long `kubectl` may take.
const KUBECTL: Duration = Duration::from_secs(120);
/// Where `KUBECONFIG` names a cluster: the registry, without TLS, from which its nodes pull and to which tests push.
const REGISTRY: &str = "TIDEWAITER_CLUSTER_REGISTRY";

/// A cluster, and its registry.
pub struct Nodes {
    pub kubeconfig: PathBuf,
    pub registry: RegistryClient,
    kubectl: PathBuf,
}

impl Nodes {
    /// `None` if there is none, and then the test has been skipped.
    pub fn find() -> Option<Self> {
        let [kubectl] = tools::find_all(["kubectl"])?;
        let (Some(kubeconfig), Some(registry)) = (env::var_os("KUBECONFIG"), env::var(REGISTRY).ok()) else {
            tools::skip_group(
                "cluster",
                &format!("needs a cluster with nodes (KUBECONFIG and {REGISTRY}): run `make test-cluster`"),
            );
            return None;
        };
        let registry = RegistryClient::new(registry, Login::Nobody, None).unwrap();
        Some(Self { kubeconfig: kubeconfig.into(), registry, kubectl })
    }

    /// Runs `kubectl` as the administrator, with `input` on its standard input.
    pub async fn kubectl(&self, args: &[&str], input: &str) -> Said {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        process::run(command, input, KUBECTL).await.unwrap()
    }

    /// The same.
    ///
    /// # Panics
    ///
    /// If it fails, with what it said.
    pub async fn must(&self, args: &[&str], input: &str) -> String {
        let said = self.kubectl(args, input).await;
        assert!(said.success, "kubectl {args:?}: {said:?}");
        said.stdout
    }

    /// What `kubectl get` says, if it is there.
    pub async fn get(&self, args: &[&str]) -> Option<Value> {
        let said = self.kubectl(&[&["get", "-o", "json"], args].concat(), "").await;
        said.success.then(|| serde_json::from_str(&said.stdout).unwrap())
    }

    /// Asks `question` until it has an answer.
    ///
    /// # Panics
    ///
    /// After `patience`, with what is in the namespace `namespace`.
    pub async fn until<T>(
        &self,
        what: &str,
        namespace: &str,
        patience: Duration,
        mut question: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let end = std::time::Instant::now() + patience;
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            if std::time::Instant::now() >= end {
                let there = self.kubectl(&["-n", namespace, "get", "pods,jobs,events"], "").await;
                panic!("waited in vain until {what}: {}{}", there.stdout, there.stderr);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
