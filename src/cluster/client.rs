use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// How long a connection to the API server may take to come up.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long one write to the API server may take.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// There is no API server that we could talk to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig that was named is not there, cannot be read, or has no usable current context.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file that was named.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// Nothing was named, and nothing was found either.
    #[error(
        "no cluster to talk to: run as a Pod with a ServiceAccount, name a kubeconfig, or set KUBECONFIG"
    )]
    NoConfiguration(#[source] Box<InferConfigError>),
    /// The configuration was found but no client can be made of it.
    #[error("the cluster's certificates or credentials cannot be used")]
    Unusable(#[source] Box<kube::Error>),
}

/// A client for the API server that `kubeconfig` names. Without one it is found as `kubectl` finds it:
/// `$KUBECONFIG`, then `~/.kube/config`, and then the ServiceAccount of the Pod that this process runs in.
///
/// Asks nobody: an API server that is away shows in the first request, not here. Call it on the
/// runtime on which the client is to live. TLS is rustls with the process's own provider
/// (aws-lc-rs, which is installed if there is none yet). The client itself puts no limit on the
/// time of an answer, since a watch has none; everything in this room does.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read = async {
                let file = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
            };
            read.await.map_err(|source| ClientError::Kubeconfig { path: path.to_owned(), source })?
        }
        None => Config::infer().await.map_err(|error| ClientError::NoConfiguration(Box::new(error)))?,
    };
    config.connect_timeout = Some(CONNECT_TIME);
    config.write_timeout = Some(WRITE_TIME);
    let agent = HeaderValue::from_static(concat!("tidewaiter/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Client::try_from(config).map_err(|error| ClientError::Unusable(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use super::{ClientError, client};

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        let error = client(Some(&path)).await.err().unwrap();
        assert_eq!(error.to_string(), format!("cannot use the kubeconfig {}", path.display()));
        assert!(error.source().is_some());
    }

    #[tokio::test]
    async fn a_kubeconfig_without_a_context_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "apiVersion: v1\nkind: Config\n").unwrap();
        assert!(matches!(client(Some(&path)).await, Err(ClientError::Kubeconfig { .. })));
    }

    #[tokio::test]
    async fn a_client_is_made_without_asking_anyone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = "{apiVersion: v1, kind: Config, current-context: c, \
                    contexts: [{name: c, context: {cluster: c, user: u}}], \
                    clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], \
                    users: [{name: u, user: {token: t}}]}";
        fs::write(&path, text).unwrap();
        assert!(client(Some(&path)).await.is_ok());
    }
}
