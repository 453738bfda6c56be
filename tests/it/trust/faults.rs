//! Mirrors over the network that mean harm or are broken.

use std::time::Duration;

use rstest::rstest;
use tidewaiter::{
    registry::{Mirrors, RegistryEntry, RegistrySettings, Timeouts},
    review::ports::{RegistryExchange, RegistryObserver, TrustMaterial as _},
};

use super::*;
use crate::support::{
    hostile::{Act, ENDLESS, Hostile, Reply, gzip_bomb},
    tuf::Repository,
};

/// When an answer comes too late, on however busy a machine.
const BOUND: Duration = Duration::from_secs(60);

struct Unobserved;

impl RegistryObserver for Unobserved {
    fn registry_request(&self, exchange: &RegistryExchange<'_>) {
        assert_eq!(exchange.class, "tuf");
    }
}

/// A store that asks mirrors by these settings.
fn store(registries: Vec<RegistryEntry>) -> Arc<TrustStore> {
    let timeouts = Timeouts { connect_seconds: 2, read_seconds: 2, total_seconds: 2 };
    let registries = RegistrySettings { registries, timeouts, ..Default::default() };
    let mirrors = Mirrors::new(registries, Arc::new(Unobserved)).unwrap();
    TrustStore::new(settings(), Arc::new(mirrors), Arc::new(Told::default()))
}

/// What comes of asking `mirror` once.
async fn ask(store: &Arc<TrustStore>, mirror: &str, repository: &Repository) -> Result<String, String> {
    store.policies(&of_cluster([by_root("house")]));
    let tuf = json!({"mirror": mirror, "root": repository.first_root()});
    store.roots(vec![root("house", json!({"tuf": tuf}))]);
    let asked = Instant::now();
    store.settle().await;
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    let found = store.current();
    let root = found.root(&RootRef::Named("house".into()));
    root.map(|root| root.digest().to_string()).map_err(|error| error.to_string())
}

fn listed(host: &str) -> RegistryEntry {
    serde_json::from_value(json!({"host": host, "plainHttp": true, "allowPrivateAddresses": true})).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Compressed,
    CutOff,
    Drips,
    Elsewhere,
    Endless,
    HangsUp,
    NoJson,
    Says(u16),
    Silent,
}

fn fail(fault: Fault, good: Reply, elsewhere: &str) -> Act {
    match fault {
        Fault::Compressed => {
            Act::Answer(Reply::status(200).header("content-encoding", "gzip").body(gzip_bomb()))
        }
        Fault::CutOff => Act::CutOff(good),
        Fault::Drips => Act::Drip(good),
        Fault::Elsewhere => Act::Answer(Reply::status(302).header("location", elsewhere)),
        Fault::Endless => Act::Endless(Reply::status(200).body(vec![b' '; 1 << 16])),
        Fault::HangsUp => Act::HangUp,
        Fault::NoJson => Act::Answer(Reply::status(200).body("<html>")),
        Fault::Says(status) => Act::Answer(Reply::status(status)),
        Fault::Silent => Act::Silence,
    }
}

/// A mirror that shows `files`, but has a fault where a file's name ends so.
async fn mirror(files: Files, fault: Option<(&'static str, Fault)>, elsewhere: String) -> Hostile {
    Hostile::start(move |request| {
        let path = request.path().trim_start_matches("/house/");
        let reply = match files.get(path) {
            Some(file) => Reply::status(200).body(file.clone()),
            None => Reply::status(404),
        };
        match fault {
            Some((end, fault)) if path.ends_with(end) => fail(fault, reply, &elsewhere),
            _ => Act::Answer(reply),
        }
    })
    .await
}

#[tokio::test]
async fn a_mirror_that_means_well_is_believed() {
    let repository = Repository::default();
    let files = repository.publish(&one_root());
    let mirror = mirror(files, None, String::new()).await;
    let store = store(vec![listed(&mirror.host())]);
    let asked = ask(&store, &format!("http://{}/house", mirror.host()), &repository).await;
    assert!(asked.is_ok(), "{asked:?}");
    let paths: Vec<String> = mirror.received().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(paths.len(), 5, "{paths:?}");
    assert!(paths[4].starts_with("/house/targets/"));
    assert!(mirror.received().iter().all(|request| request.header("authorization").is_none()));
}

#[rstest]
#[case(Fault::Says(404), "not found")]
#[case(Fault::Says(403), "not found")]
#[case(Fault::Says(500), "it cannot be reached: it answered 500")]
#[case(Fault::Says(418), "its answer cannot be believed: it answered 418")]
#[case(Fault::Endless, "a file is larger than")]
#[case(Fault::Drips, "it did not answer in time")]
#[case(Fault::Silent, "it did not answer in time")]
#[case(Fault::HangsUp, "it cannot be reached")]
#[case(Fault::CutOff, "it cannot be reached")]
#[case(Fault::Compressed, "is compressed")]
#[case(Fault::Elsewhere, "the request is not allowed: it sends us elsewhere")]
#[case(Fault::NoJson, "")]
#[tokio::test]
async fn a_fault_is_named_in_time_and_nothing_comes_into_force(
    #[case] fault: Fault,
    #[case] problem: &str,
    #[values("timestamp.json", "1.snapshot.json", "1.targets.json", ".trusted_root.json")] file: &'static str,
) {
    let elsewhere = Hostile::start(|_| Act::Answer(Reply::status(200))).await;
    let repository = Repository::default();
    let target = format!("http://{}/", elsewhere.host());
    let mirror = mirror(repository.publish(&one_root()), Some((file, fault)), target).await;
    let store = store(vec![listed(&mirror.host()), listed(&elsewhere.host())]);
    let told = ask(&store, &format!("http://{}/house/", mirror.host()), &repository).await.unwrap_err();
    assert!(told.starts_with("ImageTrustRoot/house cannot be used: its TUF repository"), "{told}");
    assert!(told.contains(problem), "{told}");
    assert!(mirror.sent() < ENDLESS, "{} bytes were read", mirror.sent());
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn roots_without_end_are_not_followed() {
    let mut repository = Repository::default();
    for _ in 0..70 {
        repository.add_root(&[]);
    }
    let files = repository.publish(&one_root());
    let mirror = mirror(files, None, String::new()).await;
    let store = store(vec![listed(&mirror.host())]);
    let told = ask(&store, &format!("http://{}/house", mirror.host()), &repository).await.unwrap_err();
    assert!(told.contains("exceeded 64 root rotations"), "{told}");
    assert_eq!(mirror.received().len(), 64);
}

#[tokio::test]
async fn a_mirror_that_the_settings_do_not_list_is_not_asked() {
    let repository = Repository::default();
    let files = repository.publish(&one_root());
    let mirror = mirror(files, None, String::new()).await;
    for (url, registries, problem) in [
        (format!("http://{}/house", mirror.host()), vec![], "it is reached without TLS"),
        (format!("https://{}/house", mirror.host()), vec![], "is a loopback address"),
        (format!("https://{}/house", mirror.named_host()), vec![], "is a loopback address"),
        ("http://169.254.169.254/latest".to_owned(), vec![], "it is reached without TLS"),
        ("https://169.254.169.254/latest".to_owned(), vec![], "is a link-local address"),
        (
            format!("http://{}/house", mirror.host()),
            vec![private(&mirror.host())],
            "it is reached without TLS",
        ),
    ] {
        let told = ask(&store(registries), &url, &repository).await.unwrap_err();
        assert!(told.contains(problem), "{url}: {told}");
    }
    assert_eq!(mirror.connections(), 0);
}

fn private(host: &str) -> RegistryEntry {
    serde_json::from_value(json!({"host": host, "allowPrivateAddresses": true})).unwrap()
}
