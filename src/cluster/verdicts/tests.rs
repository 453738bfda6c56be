use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::cluster::testing::{FakeApi, QUICK, Reply, Then, event, list, refusal, until};

/// Keeps what it is told, in words.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, what: String) {
        let mut notes = self.0.lock().unwrap();
        if notes.last() != Some(&what) {
            notes.push(what);
        }
    }

    fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().iter().any(|note| note.contains(what))
    }
}

impl VerdictKeeper for Notes {
    fn read(&self, name: &str, version: &str, spec: Option<&str>) -> KeptVerdict {
        self.note(format!("read {name} {version} {}", spec.unwrap_or("nothing")));
        KeptVerdict { name: name.into(), version: version.into(), verdict: None }
    }

    fn verdicts_listed(&self, all: Vec<KeptVerdict>) {
        let names: Vec<_> = all.iter().map(|one| &*one.name).collect();
        self.note(format!("listed {}", names.join(",")));
    }

    fn verdict_applied(&self, verdict: KeptVerdict) {
        self.note(format!("applied {}", verdict.name));
    }

    fn verdict_deleted(&self, name: &str) {
        self.note(format!("deleted {name}"));
    }

    fn sources_listed(&self, all: Vec<(Box<str>, Value)>) {
        let sources: Vec<_> = all.iter().map(|(name, spec)| format!("{name}={spec}")).collect();
        self.note(format!("sources {}", sources.join(",")));
    }

    fn vouched(&self, what: Watched, time: Duration) {
        self.note(format!("{what:?} vouched for {} s", time.as_secs()));
    }

    fn failing(&self, what: Watched, why: String) {
        self.note(format!("{what:?} failing: {why}"));
    }
}

fn start(api: &FakeApi) -> (Arc<Notes>, watch::Receiver<WatchState>) {
    let notes = Arc::new(Notes::default());
    let (watched, _) = WatchedVerdicts::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    (notes, watched.state())
}

fn object(name: &str, version: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "uid": "u", "resourceVersion": version}, "spec": spec})
}

#[tokio::test]
async fn verdicts_are_read_page_by_page_and_then_followed() {
    let api = FakeApi::start(|path, before| match path {
        path if path.contains("/vulnerabilitysources?") && !path.contains("watch=true") => {
            list("5", &[object("trivy", "1", json!({"imported": {}}))])
        }
        path if path.contains("/vulnerabilitysources?") && before == 0 => {
            Reply::Watch(vec![event("DELETED", object("trivy", "2", json!({})))], Then::Silence)
        }
        path if path.contains("/imagescanverdicts?") && path.contains("continue=more") => {
            list("5", &[object("b", "2", Value::Null)])
        }
        path if path.contains("/imagescanverdicts?") && !path.contains("watch=true") => {
            assert!(path.contains("limit=100"), "{path}");
            let metadata = json!({"resourceVersion": "5", "continue": "more"});
            Reply::Json(
                200,
                json!({"metadata": metadata, "items": [object("a", "1", json!({"newer": [1, "é\n"]}))]}),
            )
        }
        path if path.contains("/imagescanverdicts?") && before == 0 => {
            let events = vec![
                event("MODIFIED", object("b", "6", json!({"x": 1}))),
                event("DELETED", object("a", "7", json!({}))),
            ];
            Reply::Watch(events, Then::Silence)
        }
        _ => Reply::Nothing,
    })
    .await;
    let (notes, state) = start(&api);
    for note in [
        r#"read a u/1 {"newer":[1,"é\n"]}"#,
        "read b u/2 nothing",
        "listed a,b",
        r#"read b u/6 {"x":1}"#,
        "applied b",
        "deleted a",
        r#"sources trivy={"imported":{}}"#,
        "sources ",
        "Verdicts vouched for 120 s",
        "Sources vouched for 120 s",
    ] {
        until(note, || notes.has(note)).await;
    }
    until("it is ready", || *state.borrow() == WatchState::Ready).await;
}

#[tokio::test]
async fn a_cluster_that_knows_no_verdicts_keeps_nobody_from_being_ready() {
    let api = FakeApi::start(|_, _| refusal(404, "the server could not find the requested resource")).await;
    let (notes, state) = start(&api);
    until("it is ready", || *state.borrow() == WatchState::Ready).await;
    for what in ["Verdicts failing: cannot list", "sources ", "Sources vouched"] {
        until(what, || notes.has(what)).await;
    }
    assert!(notes.has("install the definitions"));
    assert!(!notes.has("Verdicts vouched"), "policies that want verdicts fail");
}

#[tokio::test]
async fn without_the_right_to_list_verdicts_nobody_is_ready() {
    let api = FakeApi::start(|_, _| refusal(403, "forbidden")).await;
    let (notes, state) = start(&api);
    until("it fails", || matches!(*state.borrow(), WatchState::Failing(_))).await;
    until("it says why", || notes.has("Verdicts failing: cannot list")).await;
    assert!(notes.has("docs/running-in-a-cluster.md") && !notes.has("vouched"));
}
