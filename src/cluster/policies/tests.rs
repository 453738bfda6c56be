use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{PoliciesObserver, PolicyTally, PublishedPolicies, WatchedPolicies};
use crate::{
    cluster::{
        WatchState,
        testing::{FakeApi, QUICK, Reply, Then, event, list, refusal, until},
    },
    policy::PolicySet,
    review::ports::Policies as _,
};

#[derive(Default)]
struct Notes(Mutex<Vec<PublishedPolicies>>);

impl PoliciesObserver for Notes {
    fn published(&self, _: &PolicySet, published: &PublishedPolicies) {
        self.0.lock().unwrap().push(published.clone());
    }
}

struct Panics;

impl PoliciesObserver for Panics {
    fn published(&self, _: &PolicySet, _: &PublishedPolicies) {
        panic!("on purpose");
    }
}

fn policy(name: &str, version: usize) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": name, "uid": name, "resourceVersion": version.to_string(), "generation": 1},
        "spec": {"references": {"requireDigest": true}},
    })
}

fn is_watch(path: &str) -> bool {
    path.contains("watch=true")
}

#[tokio::test]
async fn before_all_is_listed_every_image_fails() {
    let api = FakeApi::start(|path, _| match path.contains("clusterimageadmissionpolicies") {
        true if is_watch(path) => Reply::Watch(Vec::new(), Then::Silence),
        true => list("1", &[]),
        false => refusal(404, "the server could not find the requested resource"),
    })
    .await;
    let notes = Arc::new(Notes::default());
    let (policies, task) = WatchedPolicies::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    let state = policies.state();
    until("it fails", || matches!(&*state.borrow(), WatchState::Failing(_))).await;
    let WatchState::Failing(reason) = state.borrow().clone() else { panic!() };
    assert!(reason.contains("imageadmissionpolicies.tidewaiter.dev"), "{reason}");
    assert!(reason.contains("tidewaiter crds | kubectl apply -f -"), "{reason}");
    let set = policies.current();
    let only: Vec<_> = set.iter().collect();
    assert_eq!(only.len(), 1);
    assert!(only[0].concerns(Some(&"registry.example.com/app".parse().unwrap())));
    assert!(only[0].compile_error().unwrap().to_string().contains("not read the cluster's policies yet"));
    assert!(notes.0.lock().unwrap().is_empty(), "what stands in for policies is none");
    task.abort();
}

#[tokio::test]
async fn a_burst_of_changes_comes_into_force_in_few_sets() {
    let api = FakeApi::start(|path, before| match (path.contains("/clusterimage"), is_watch(path), before) {
        (true, true, 0) => {
            let events = (2..1002).map(|n| event("ADDED", policy(&format!("p{n}"), n))).collect();
            Reply::Watch(events, Then::Silence)
        }
        (_, true, _) => Reply::Watch(Vec::new(), Then::Silence),
        _ => list("1", &[]),
    })
    .await;
    let notes = Arc::new(Notes::default());
    let (policies, task) = WatchedPolicies::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    until("all are in force", || policies.current().iter().count() == 1000).await;
    until("that is told", || {
        let notes = notes.0.lock().unwrap();
        notes.last().is_some_and(|last| last.cluster == PolicyTally { ready: 1000, failing: 0 })
    })
    .await;
    assert!(notes.0.lock().unwrap().len() < 100);
    assert_eq!(*policies.state().borrow(), WatchState::Ready);
    task.abort();
}

#[tokio::test]
async fn the_end_of_the_watch_does_not_go_unnoticed() {
    let api = FakeApi::start(|path, _| match is_watch(path) {
        true => Reply::Watch(Vec::new(), Then::Silence),
        false => list("1", &[]),
    })
    .await;
    let (policies, task) =
        WatchedPolicies::start_at(QUICK, api.client(), Arc::new(Panics), &Handle::current());
    let Err(error) = task.await;
    assert!(error.is_panic());
    let state = policies.state();
    assert!(matches!(&*state.borrow(), WatchState::Failing(reason) if reason.contains("must be restarted")));
}
