//! The server of the tests itself.

use std::{net::TcpStream, time::Duration};

use crate::support::{apiserver::ApiServer, process::wait_for};

#[tokio::test]
async fn a_server_of_ones_own_is_apart_from_the_shared_one_and_gone_when_dropped() {
    let Some(shared) = ApiServer::shared().await else { return };
    let Some(own) = ApiServer::start().await else { return };
    own.apply_crds().await;
    let namespace = own.namespace("own").await;
    assert!(!shared.kubectl(&["get", "namespace", &namespace]).await.success);
    assert!(own.kubectl(&["get", "namespace", &namespace]).await.success, "{}", own.log());

    let address = own.url().strip_prefix("https://").unwrap().to_owned();
    let kubeconfig = own.kubeconfig().to_owned();
    assert!(kubeconfig.exists());
    tokio::task::spawn_blocking(move || drop(own)).await.unwrap();
    assert!(!kubeconfig.exists());
    let refused = || TcpStream::connect(&address).is_err().then_some(());
    assert!(wait_for(Duration::from_secs(10), refused).is_some());
}
