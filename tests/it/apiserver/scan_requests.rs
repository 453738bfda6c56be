//! Events of a real API server that ask for scans, and verdicts that it lists, with the rights that users are told to give.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tidewaiter::{
    cluster::{self, ScanEvents, WatchState, WatchedVerdicts},
    image::Digest,
    review::ports::{ScanObserver, ScanRequest, VerdictKeeper as _, Verdicts as _},
    verdicts::{VerdictIndex, object_name},
};
use tokio::runtime::Handle;

use crate::support::{apiserver::ApiServer, cluster::kubeconfig, process};

/// How long a change may take on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Told(Mutex<Vec<ScanRequest>>);

impl ScanObserver for Told {
    fn verdicts(&self, _: usize, _: usize) {}

    fn scan_request(&self, became: ScanRequest) {
        self.0.lock().unwrap().push(became);
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn client(server: &ApiServer) -> kube::Client {
    let directory = process::directory("scans").unwrap();
    let file = directory.join("kubeconfig");
    fs::write(&file, kubeconfig(server).await).unwrap();
    cluster::client(Some(&file)).await.unwrap()
}

#[tokio::test]
async fn a_scan_that_is_wanted_is_an_event_that_the_api_server_takes() {
    let Some(server) = ApiServer::start().await else { return };
    let client = client(&server).await;
    let told = Arc::new(Told::default());
    let (index, wanted) = VerdictIndex::followed(told.clone());
    index.sources_listed(vec![("trivy".into(), json!({"scanJob": {"trivy": {}}}))]);
    let place = ("tidewaiter", "tidewaiter-7d9f");
    let _task = ScanEvents::start(client, place, wanted, told.clone(), &Handle::current());
    let digest = Digest::sha256(b"an image");
    assert!(index.request(&"registry.example.com/shop/web:1.4".parse().unwrap(), &digest));

    let events: Api<Event> = Api::namespaced(server.client().await, "tidewaiter");
    let find = async || events.list(&Default::default()).await.unwrap().items.pop();
    until("the event is there", async || find().await.is_some()).await;
    let event = find().await.unwrap();
    assert_eq!(event.note, Some(format!("registry.example.com/shop/web:1.4@{digest}")));
    assert_eq!(event.reason.as_deref(), Some("ScanWanted"));
    assert_eq!(event.reporting_controller.as_deref(), Some("tidewaiter.dev/webhook"));
    assert_eq!(event.reporting_instance.as_deref(), Some("tidewaiter-7d9f"));
    assert!(event.name_any().starts_with("scan-wanted-"));
    assert_eq!(*told.0.lock().unwrap(), [ScanRequest::Accepted]);
}

#[tokio::test]
async fn a_scan_that_cannot_be_asked_for_is_told() {
    let Some(server) = ApiServer::start().await else { return };
    let client = client(&server).await;
    let told = Arc::new(Told::default());
    let (index, wanted) = VerdictIndex::followed(told.clone());
    index.sources_listed(vec![("trivy".into(), json!({"clair": {}}))]);
    let _task = ScanEvents::start(client, ("default", "a"), wanted, told.clone(), &Handle::current());
    assert!(index.request(&"registry.example.com/shop/web:1.4".parse().unwrap(), &Digest::sha256(b"a")));
    let failed = [ScanRequest::Accepted, ScanRequest::Failed];
    until("it is told", async || *told.0.lock().unwrap() == failed).await;
}

/// More than two pages, and among them what cannot be read.
#[tokio::test]
async fn verdicts_are_listed_and_then_followed() {
    let Some(server) = ApiServer::start().await else { return };
    let told = Arc::new(Told::default());
    let (index, _wanted) = VerdictIndex::followed(told);
    let client = client(&server).await;
    let (watched, _task) = WatchedVerdicts::start(client, index.clone(), &Handle::current());
    let state = watched.state();
    let digest = |number: u32| Digest::sha256(&number.to_be_bytes());
    until("it is ready without any definitions", async || *state.borrow() == WatchState::Ready).await;
    let why = index.of(&digest(0)).unwrap_err().to_string();
    assert!(why.contains("install the definitions"), "{why}");

    server.apply_crds().await;
    let verdict = |number: u32, packages: Value| {
        let digest = digest(number);
        json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageScanVerdict",
            "metadata": {"name": object_name(&digest, "trivy")},
            "spec": {
                "digest": digest.as_str(), "source": "trivy", "scanner": {"name": "trivy"},
                "scannedAt": "2026-01-01T00:00:00Z", "counts": {}, "packages": packages,
            },
        })
    };
    let unlisted = json!([{"name": "a", "findings": [{"id": "CVE-1"}]}]);
    let all = (0..250).map(|number| match number {
        7 => verdict(number, unlisted.clone()),
        _ => verdict(number, json!([])),
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all.collect::<Vec<_>>()});
    let said = server.kubectl_with(&["create", "-f", "-"], &list.to_string()).await;
    assert!(said.success, "{said:?}");
    let known = |number| index.of(&digest(number)).is_ok_and(|found| found.len() == 1);
    until("all are known", async || (0..250).all(known)).await;
    assert!(index.of(&digest(7)).unwrap()[0].content.is_err());
    assert!(index.of(&digest(8)).unwrap()[0].content.is_ok());

    // Who comes later is shown them in pages.
    let (later, _wanted) = VerdictIndex::followed(Arc::new(Told::default()));
    let client = cluster::client(Some(server.kubeconfig())).await.unwrap();
    let (_watched, _task) = WatchedVerdicts::start(client, later.clone(), &Handle::current());
    let known = |number| later.of(&digest(number)).is_ok_and(|found| found.len() == 1);
    until("all are listed", async || (0..250).all(known)).await;
    let said = server.kubectl(&["delete", "isv", &object_name(&digest(3), "trivy")]).await;
    assert!(said.success, "{said:?}");
    until("it is gone", async || later.of(&digest(3)).is_ok_and(|found| found.is_empty())).await;
}
