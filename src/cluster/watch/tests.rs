use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{sync::watch::Receiver, task::JoinHandle};

use super::{Change, Pace, Subject, follow};
use crate::cluster::{
    standing::{Contact, Standing, WatchState},
    testing::{FakeApi, QUICK, Reply, Then, event, list, refusal, until},
};

/// Something that follows ConfigMaps and writes down what it hears.
struct Listener {
    heard: Arc<Mutex<Vec<String>>>,
    state: Receiver<WatchState>,
    contact: Arc<Contact>,
    task: JoinHandle<()>,
}

impl Listener {
    fn start(api: &FakeApi, pace: Pace) -> Self {
        let (standing, contact) = (Standing::new(1), Contact::new());
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let subject = Subject {
            resource: "configmaps",
            install: "install them",
            fields: None,
            standing: standing.clone(),
            part: 0,
            contact: contact.clone(),
            pace,
        };
        let (told, client) = (heard.clone(), api.client());
        let task = tokio::spawn(async move {
            let changed = move |change: Change<ConfigMap>| {
                let names = |maps: &[ConfigMap]| maps.iter().map(ConfigMap::name_any).collect::<Vec<_>>();
                let text = match change {
                    Change::Listed(maps) => format!("listed {}", names(&maps).join(",")),
                    Change::Applied(map) => format!("applied {}", map.name_any()),
                    Change::Deleted(map) => format!("deleted {}", map.name_any()),
                };
                told.lock().unwrap().push(text);
            };
            match follow(Api::all(client), subject, changed).await {}
        });
        Self { heard, state: standing.subscribe(), contact, task }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn state(&self) -> WatchState {
        self.state.borrow().clone()
    }

    async fn hears(&self, expected: &[&str]) {
        until(&format!("heard {expected:?}"), || self.heard().len() >= expected.len()).await;
        assert_eq!(self.heard(), expected);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn map(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": version}})
}

fn is_watch(path: &str) -> bool {
    path.contains("watch=true")
}

fn watches_from(path: &str, version: &str) -> bool {
    is_watch(path) && path.ends_with(&format!("resourceVersion={version}"))
}

#[tokio::test]
async fn pages_make_one_list_and_events_follow_in_order() {
    let api = FakeApi::start(|path, _| {
        if watches_from(path, "7") {
            let events = vec![
                event("ADDED", map("c", "8")),
                event("MODIFIED", map("a", "9")),
                event("DELETED", map("b", "10")),
            ];
            Reply::Watch(events, Then::Silence)
        } else if path.contains("continue=more") {
            list("7", &[map("b", "2")])
        } else {
            let page =
                json!({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [map("a", "1")]});
            Reply::Json(200, page)
        }
    })
    .await;
    let listener = Listener::start(&api, Pace { window: Duration::from_secs(60), ..QUICK });
    listener.hears(&["listed a,b", "applied c", "applied a", "deleted b"]).await;
    assert_eq!(listener.state(), WatchState::Ready);
}

#[rstest]
#[case::ended(Then::End)]
#[case::broken(Then::Break)]
#[tokio::test]
async fn a_watch_goes_on_from_the_last_thing_heard(#[case] then: Then) {
    let then = Mutex::new(Some(then));
    let api = FakeApi::start(move |path, _| {
        if watches_from(path, "1") {
            let bookmark =
                json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "5"}});
            let events = vec![event("ADDED", map("b", "2")), event("BOOKMARK", bookmark)];
            Reply::Watch(events, then.lock().unwrap().take().unwrap())
        } else if watches_from(path, "5") {
            Reply::Watch(vec![event("ADDED", map("c", "6"))], Then::Silence)
        } else {
            list("1", &[map("a", "1")])
        }
    })
    .await;
    let listener = Listener::start(&api, QUICK);
    listener.hears(&["listed a", "applied b", "applied c"]).await;
    assert_eq!(listener.state(), WatchState::Ready, "a watch that breaks off is no failure");
}

#[rstest]
#[case::at_once(|| refusal(410, "too old"))]
#[case::later(|| Reply::Watch(vec![event("ERROR", json!({"code": 410, "status": "Failure"}))], Then::Silence))]
#[case::resource_gone(|| refusal(404, "no such resource"))]
#[case::unreadable_event(|| Reply::Watch(
    vec![event("MODIFIED", json!({"metadata": {"name": 1}})), event("ADDED", map("b", "3"))], Then::Silence
))]
#[case::event_without_version(|| Reply::Watch(vec![event("ADDED", json!({"metadata": {"name": "x"}}))], Then::Silence))]
#[tokio::test]
async fn what_may_have_been_missed_is_listed_anew(#[case] answer: fn() -> Reply) {
    let api = FakeApi::start(move |path, before| match (is_watch(path), before) {
        (true, 0) if watches_from(path, "1") => answer(),
        (true, _) => Reply::Watch(Vec::new(), Then::Silence),
        (false, 0) => list("1", &[map("a", "1"), map("b", "1")]),
        (false, _) => list("9", &[map("b", "2")]),
    })
    .await;
    let listener = Listener::start(&api, QUICK);
    listener.hears(&["listed a,b", "listed b"]).await;
    assert_eq!(listener.state(), WatchState::Ready);
}

#[rstest]
#[case::missing(404, "not found", &["install them"])]
#[case::forbidden(403, "bob cannot list", &["bob cannot list", "docs/running-in-a-cluster.md"])]
#[case::unauthorized(401, "who?", &["token"])]
#[case::broken(500, "boom", &["500", "boom"])]
#[tokio::test]
async fn what_cannot_be_listed_is_told_at_once_until_it_can(
    #[case] code: u16,
    #[case] message: &'static str,
    #[case] told: &[&str],
) {
    let gate = Arc::new(Mutex::new(false));
    let open = gate.clone();
    let api = FakeApi::start(move |path, _| match (*open.lock().unwrap(), is_watch(path)) {
        (false, _) => refusal(code, message),
        (true, false) => list("1", &[]),
        (true, true) => Reply::Watch(Vec::new(), Then::Silence),
    })
    .await;
    let listener = Listener::start(&api, QUICK);
    until("it fails", || matches!(listener.state(), WatchState::Failing(_))).await;
    let WatchState::Failing(reason) = listener.state() else { panic!() };
    assert!(reason.starts_with("cannot list and watch configmaps: "), "{reason}");
    for part in told {
        assert!(reason.contains(part), "{part:?} is not in {reason:?}");
    }
    assert!(listener.heard().is_empty());
    *gate.lock().unwrap() = true;
    until("it works", || listener.state() == WatchState::Ready).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_failure() {
    let api = FakeApi::start(|_, _| Reply::Nothing).await;
    let pace = Pace { answer: Duration::from_millis(20), ..QUICK };
    let listener = Listener::start(&api, pace);
    until("it fails", || matches!(listener.state(), WatchState::Failing(_))).await;
    assert!(matches!(listener.state(), WatchState::Failing(reason) if reason.contains("no answer within")));
}

#[tokio::test]
async fn an_outage_counts_only_when_it_lasts_and_then_everything_is_listed_anew() {
    let away = Arc::new(Mutex::new(false));
    let gone = away.clone();
    let api = FakeApi::start(move |path, before| match (*gone.lock().unwrap(), is_watch(path), before) {
        (true, ..) => refusal(500, "away"),
        (false, true, _) => Reply::Watch(Vec::new(), Then::End),
        (false, false, 0) => list("1", &[map("a", "1")]),
        (false, false, _) => list("5", &[map("b", "4")]),
    })
    .await;
    let pace = Pace { patience: Duration::from_millis(300), ..QUICK };
    let listener = Listener::start(&api, pace);
    listener.hears(&["listed a"]).await;
    until("the watch is alive", || api.asked().iter().filter(|path| is_watch(path)).count() > 2).await;
    assert_eq!(listener.state(), WatchState::Ready);
    *away.lock().unwrap() = true;
    assert!(listener.contact.within(pace.patience));
    until("it fails", || matches!(listener.state(), WatchState::Failing(_))).await;
    assert!(!listener.contact.within(pace.patience), "it is not told before patience has run out");
    assert_eq!(listener.heard(), ["listed a"], "what was known stays");
    *away.lock().unwrap() = false;
    until("it works", || listener.state() == WatchState::Ready).await;
    assert_eq!(listener.heard(), ["listed a", "listed b"]);
}

#[tokio::test]
async fn a_watch_that_is_accepted_and_then_silent_vouches_for_nothing() {
    let api = FakeApi::start(|path, before| match (is_watch(path), before) {
        (true, _) => Reply::Watch(Vec::new(), Then::Silence),
        (false, 0) => list("1", &[map("a", "1")]),
        (false, _) => refusal(500, "away"),
    })
    .await;
    let pace = Pace { patience: Duration::from_millis(100), answer: Duration::from_millis(50), ..QUICK };
    let listener = Listener::start(&api, pace);
    until("it fails", || matches!(listener.state(), WatchState::Failing(_))).await;
    assert_eq!(listener.heard(), ["listed a"]);
}

#[tokio::test]
async fn a_watch_that_is_alive_and_blind_is_found_out_by_a_list() {
    let api = FakeApi::start(|path, before| match (is_watch(path), before) {
        (true, _) => Reply::Watch(Vec::new(), Then::End),
        (false, 0) => list("900", &[map("a", "900")]),
        (false, _) => list("5", &[map("b", "4")]),
    })
    .await;
    let listener = Listener::start(&api, Pace { relist: Duration::from_millis(50), ..QUICK });
    until("it is listed anew", || listener.heard().len() >= 2).await;
    assert_eq!(listener.heard()[..2], ["listed a", "listed b"]);
}

#[tokio::test]
async fn a_server_that_ends_every_watch_at_once_is_not_stormed() {
    let api = FakeApi::start(|path, _| match is_watch(path) {
        true => Reply::Watch(Vec::new(), Then::End),
        false => list("1", &[]),
    })
    .await;
    let pause = Duration::from_millis(200);
    let pace = Pace { shortest_pause: pause, longest_pause: pause, ..QUICK };
    let listener = Listener::start(&api, pace);
    listener.hears(&["listed "]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // at least half of the pause lies between two requests
    assert!(api.asked().len() <= 13, "{} requests", api.asked().len());
}
