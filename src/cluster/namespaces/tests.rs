use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{ClusterNamespaces, is_namespace_name, is_object_name};
use crate::{
    cluster::{
        WatchState,
        testing::{FakeApi, QUICK, Reply, Then, event, list, refusal, until},
        watch::Pace,
    },
    review::ports::Namespaces as _,
};

fn namespace(name: &str, version: &str, team: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "resourceVersion": version, "labels": {"team": team}},
    })
}

fn is_watch(path: &str) -> bool {
    path.contains("watch=true")
}

/// A server with one namespace, `known`, of which a watch says nothing new.
fn quiet(path: &str, _: usize) -> Reply {
    match path {
        "/api/v1/namespaces/new" => Reply::Json(200, namespace("new", "5", "b")),
        "/api/v1/namespaces/forbidden" => refusal(403, "no"),
        path if path.starts_with("/api/v1/namespaces/") => refusal(404, "not found"),
        path if is_watch(path) => Reply::Watch(Vec::new(), Then::End),
        _ => list("1", &[namespace("known", "1", "a")]),
    }
}

fn team(namespaces: &ClusterNamespaces, name: &str) -> Option<String> {
    Some(namespaces.known(name)?["team"].clone())
}

#[tokio::test]
async fn labels_follow_the_watch() {
    let api = FakeApi::start(|path, before| match (is_watch(path), before) {
        (true, 0) if path.ends_with("resourceVersion=1") => {
            let events = vec![
                event("MODIFIED", namespace("relabelled", "2", "b")),
                event("DELETED", namespace("deleted", "3", "a")),
                event("DELETED", namespace("recreated", "4", "a")),
                event("ADDED", namespace("recreated", "5", "b")),
            ];
            Reply::Watch(events, Then::Silence)
        }
        (true, _) => Reply::Watch(Vec::new(), Then::End),
        (false, _) => {
            list("1", &["relabelled", "deleted", "recreated"].map(|name| namespace(name, "1", "a")))
        }
    })
    .await;
    let (namespaces, task) = ClusterNamespaces::start_at(QUICK, api.client(), &Handle::current());
    assert!(namespaces.known("relabelled").is_none(), "nothing is known before the first list");
    until("all events have come", || team(&namespaces, "recreated").as_deref() == Some("b")).await;
    assert_eq!(team(&namespaces, "relabelled").as_deref(), Some("b"));
    assert_eq!(team(&namespaces, "deleted"), None);
    assert_eq!(*namespaces.state().borrow(), WatchState::Ready);
    task.abort();
}

#[tokio::test]
async fn what_nobody_vouches_for_any_more_is_not_known() {
    let away = Arc::new(Mutex::new(false));
    let gone = away.clone();
    let api = FakeApi::start(move |path, before| match *gone.lock().unwrap() {
        true => refusal(500, "away"),
        false => quiet(path, before),
    })
    .await;
    let pace = Pace { patience: Duration::from_millis(300), ..QUICK };
    let (namespaces, task) = ClusterNamespaces::start_at(pace, api.client(), &Handle::current());
    until("it is known", || namespaces.known("known").is_some()).await;
    *away.lock().unwrap() = true;
    until("it is not known", || namespaces.known("known").is_none()).await;
    let error = namespaces.fetch("known").await.unwrap_err();
    assert!(error.to_string().contains("away"), "{error}");
    *away.lock().unwrap() = false;
    until("it is known again", || namespaces.known("known").is_some()).await;
    task.abort();
}

#[tokio::test]
async fn an_unknown_namespace_is_asked_for_and_no_error_is_an_answer() {
    let api = FakeApi::start(quiet).await;
    let (namespaces, task) = ClusterNamespaces::start_at(QUICK, api.client(), &Handle::current());
    assert_eq!(namespaces.fetch("new").await.unwrap()["team"], "b");
    let absent = namespaces.fetch("absent").await.unwrap_err().to_string();
    assert_eq!(absent, "there is no namespace absent");
    let forbidden = namespaces.fetch("forbidden").await.unwrap_err().to_string();
    assert!(forbidden.contains("docs/running-in-a-cluster.md"), "{forbidden}");
    assert!(namespaces.known("new").is_none(), "only the watch hears of later changes");
    task.abort();
}

#[tokio::test]
async fn many_reviews_ask_once() {
    let api = FakeApi::start(quiet).await;
    let (namespaces, task) = ClusterNamespaces::start_at(QUICK, api.client(), &Handle::current());
    let answers = join_all((0..50).map(|_| namespaces.fetch("new"))).await;
    assert!(answers.iter().all(Result::is_ok));
    let asked = api.asked().into_iter().filter(|path| path == "/api/v1/namespaces/new").count();
    assert_eq!(asked, 1);
    task.abort();
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_never_asked_for() {
    let api = FakeApi::start(quiet).await;
    let (namespaces, task) = ClusterNamespaces::start_at(QUICK, api.client(), &Handle::current());
    for name in ["", "..", "team/secrets/token", "a?watch=true", "a%2fb", "../nodes"] {
        assert!(namespaces.fetch(name).await.is_err(), "{name:?}");
    }
    assert!(api.asked().iter().all(|path| !path.starts_with("/api/v1/namespaces/")), "{:?}", api.asked());
    task.abort();
}

#[rstest]
#[case("a", true, true)]
#[case("team-a", true, true)]
#[case("0", true, true)]
#[case("a.b", false, true)]
#[case("", false, false)]
#[case(".", false, false)]
#[case("a..b", false, false)]
#[case("-a", false, false)]
#[case("a-", false, false)]
#[case("a.-b", false, false)]
#[case("A", false, false)]
#[case("a/b", false, false)]
#[case("a%2fb", false, false)]
#[case("ä", false, false)]
fn names_are_those_of_rfc_1123(#[case] text: &str, #[case] namespace: bool, #[case] object: bool) {
    assert_eq!((is_namespace_name(text), is_object_name(text)), (namespace, object));
}

#[test]
fn names_have_a_longest_length() {
    let name = |length| "a".repeat(length);
    assert!(is_namespace_name(&name(63)) && !is_namespace_name(&name(64)));
    assert!(is_object_name(&name(253)) && !is_object_name(&name(254)));
}
