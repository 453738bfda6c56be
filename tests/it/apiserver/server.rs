//! The server of the tests itself.

use std::{net::TcpStream, time::Duration};

use crate::support::{
    apiserver::ApiServer,
    process::{kill, wait_for},
};

#[tokio::test]
async fn a_server_of_ones_own_is_apart_from_the_shared_one_and_gone_when_dropped() {
    let Some(shared) = ApiServer::shared().await else { return };
    let Some(own) = ApiServer::start().await else { return };
    own.apply_crds().await;
    let namespace = own.namespace("own").await;
    assert!(!shared.kubectl(&["get", "namespace", &namespace]).await.success);
    assert!(own.kubectl(&["get", "namespace", &namespace]).await.success, "{}", own.log());

    let addresses = [own.url(), own.etcd_url()].map(|url| url.split_once("://").unwrap().1.to_owned());
    let pids = own.pids();
    assert!(
        pids.iter().all(|pid| kill("0", *pid)) && addresses.iter().all(|at| TcpStream::connect(at).is_ok())
    );
    let kubeconfig = own.kubeconfig().to_owned();
    assert!(kubeconfig.exists());
    tokio::task::spawn_blocking(move || drop(own)).await.unwrap();
    assert!(!kubeconfig.exists());
    let gone = || {
        let refused = addresses.iter().all(|address| TcpStream::connect(address).is_err());
        (refused && pids.iter().all(|pid| !kill("0", *pid))).then_some(())
    };
    assert!(wait_for(Duration::from_secs(10), gone).is_some());
}
