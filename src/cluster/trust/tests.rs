use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::{
    cluster::testing::{FakeApi, QUICK, Reply, Then, event, list, refusal, until},
    review::ports::WantedObjects,
};

/// Notes what it is brought.
struct Notes {
    roots: Mutex<Vec<Vec<TrustRootReading>>>,
    objects: Mutex<Vec<(ObjectName, ObjectContent)>>,
    wanted: watch::Sender<Arc<WantedObjects>>,
    states: watch::Sender<Arc<Vec<TrustRootState>>>,
}

impl Notes {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            roots: Mutex::default(),
            objects: Mutex::default(),
            wanted: watch::Sender::default(),
            states: watch::Sender::default(),
        })
    }

    fn want(&self, name: &ObjectName, keys: &[&str]) {
        let keys = keys.iter().map(|key| Box::from(*key)).collect();
        self.wanted.send_replace(Arc::new(BTreeMap::from([(name.clone(), keys)])));
    }

    fn last(&self) -> Option<ObjectContent> {
        self.objects.lock().unwrap().last().map(|(_, content)| content.clone())
    }
}

impl TrustMaterial for Notes {
    fn roots(&self, roots: Vec<TrustRootReading>) {
        self.roots.lock().unwrap().push(roots);
    }

    fn object(&self, name: &ObjectName, content: ObjectContent) {
        self.objects.lock().unwrap().push((name.clone(), content));
    }

    fn wanted(&self) -> watch::Receiver<Arc<WantedObjects>> {
        self.wanted.subscribe()
    }

    fn states(&self) -> watch::Receiver<Arc<Vec<TrustRootState>>> {
        self.states.subscribe()
    }
}

fn is_watch(path: &str) -> bool {
    path.contains("watch=true")
}

fn keys_secret() -> ObjectName {
    ObjectName { kind: ObjectKind::Secret, namespace: "trust".into(), name: "keys".into() }
}

fn secret(version: &str, public: &str) -> Value {
    json!({
        "metadata": {"name": "keys", "namespace": "trust", "resourceVersion": version},
        "data": {"cosign.pub": public, "cosign.key": "aHVudGVyMg=="},
    })
}

fn data(entries: &[(&str, Option<&str>)]) -> ObjectContent {
    let entry = |(key, value): &(&str, Option<&str>)| {
        (Box::from(*key), value.map(|value| Box::<[u8]>::from(value.as_bytes())))
    };
    ObjectContent::Data(entries.iter().map(entry).collect())
}

/// Answers for the Secret by `script`, and knows no trust roots.
async fn serve(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> FakeApi {
    FakeApi::start(move |path, before| match (path.contains("imagetrustroots"), is_watch(path)) {
        (true, true) => Reply::Watch(Vec::new(), Then::Silence),
        (true, false) => list("1", &[]),
        (false, _) => script(path, before),
    })
    .await
}

#[tokio::test]
async fn a_secret_is_followed_by_name_and_gives_only_what_is_wanted() {
    let api = serve(|path, before| match (is_watch(path), before) {
        (false, _) => list("1", &[secret("1", "Zmlyc3Q=")]),
        (true, 0) => {
            let gone = event("DELETED", secret("3", "c2Vjb25k"));
            Reply::Watch(vec![event("MODIFIED", secret("2", "c2Vjb25k")), gone], Then::Silence)
        }
        (true, _) => Reply::Watch(Vec::new(), Then::Silence),
    })
    .await;
    let notes = Notes::new();
    notes.want(&keys_secret(), &["absent", "cosign.pub"]);
    let (_watched, task) = WatchedTrust::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    until("it is gone", || notes.last() == Some(ObjectContent::Absent)).await;
    let contents: Vec<_> = notes.objects.lock().unwrap().iter().map(|(_, content)| content.clone()).collect();
    let with = |public| data(&[("absent", None), ("cosign.pub", Some(public))]);
    assert_eq!(contents, [with("first"), with("second"), ObjectContent::Absent]);
    let asked = api.asked();
    let mut asked = asked.iter().filter(|path| path.contains("secrets"));
    assert!(asked.all(|path| {
        path.starts_with("/api/v1/namespaces/trust/secrets?")
            && path.contains("fieldSelector=metadata.name%3Dkeys")
    }));
    task.abort();
}

#[tokio::test]
async fn other_keys_are_read_anew_and_what_nobody_wants_is_followed_no_longer() {
    let api = serve(|path, _| match is_watch(path) {
        true => Reply::Watch(Vec::new(), Then::End),
        false => list("1", &[secret("1", "Zmlyc3Q=")]),
    })
    .await;
    let notes = Notes::new();
    notes.want(&keys_secret(), &["cosign.pub"]);
    let (_watched, task) = WatchedTrust::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    until("one key is read", || notes.last() == Some(data(&[("cosign.pub", Some("first"))]))).await;
    notes.want(&keys_secret(), &["other"]);
    until("another key is read", || notes.last() == Some(data(&[("other", None)]))).await;
    notes.wanted.send_replace(Arc::default());
    until("nothing is wanted", || notes.wanted.borrow().is_empty()).await;
    sleep(QUICK.longest_pause * 3).await;
    let asked = api.asked().len();
    sleep(QUICK.longest_pause * 5).await;
    assert_eq!(api.asked().len(), asked, "nobody asks any more");
    task.abort();
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_says_so_and_does_not_make_the_process_unready() {
    let api = serve(|_, _| refusal(403, "secrets \"keys\" is forbidden")).await;
    let notes = Notes::new();
    notes.want(&keys_secret(), &["cosign.pub"]);
    let (watched, task) = WatchedTrust::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    until("it says so", || matches!(notes.last(), Some(ObjectContent::Unreadable(_)))).await;
    let Some(ObjectContent::Unreadable(why)) = notes.last() else { panic!() };
    assert!(why.contains("403") && why.contains("docs/running-in-a-cluster.md"), "{why}");
    until("the roots are listed", || *watched.state().borrow() == WatchState::Ready).await;
    task.abort();
}

#[tokio::test]
async fn what_was_read_stays_known_while_it_cannot_be_read_again() {
    let api = serve(|path, before| match (is_watch(path), before) {
        (true, 0) => Reply::Watch(Vec::new(), Then::Break),
        (false, 0) => list("1", &[secret("1", "Zmlyc3Q=")]),
        _ => refusal(403, "no"),
    })
    .await;
    let notes = Notes::new();
    notes.want(&keys_secret(), &["cosign.pub"]);
    let pace = Pace { patience: Duration::from_millis(50), ..QUICK };
    let (_watched, task) = WatchedTrust::start_at(pace, api.client(), notes.clone(), &Handle::current());
    until("it is refused", || api.asked().iter().filter(|path| path.contains("secrets")).count() > 8).await;
    assert_eq!(notes.last(), Some(data(&[("cosign.pub", Some("first"))])));
    task.abort();
}

#[tokio::test]
async fn trust_roots_are_passed_on_once_and_a_status_is_no_news() {
    let root = |name: &str, version: &str, extra: Value| {
        let mut object = json!({
            "metadata": {"name": name, "resourceVersion": version, "generation": 1},
            "spec": {"sigstore": "GitHub"},
        });
        object.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        object
    };
    let api = FakeApi::start(move |path, before| match (is_watch(path), before) {
        (false, _) => list("1", &[root("a", "1", json!({})), root("b", "1", json!({"spec": {"newer": {}}}))]),
        (true, 0) => {
            let with_status = event("MODIFIED", root("a", "2", json!({"status": {"source": "GitHub"}})));
            Reply::Watch(vec![with_status], Then::End)
        }
        (true, 1) => Reply::Watch(vec![event("DELETED", root("a", "3", json!({})))], Then::Silence),
        _ => Reply::Watch(Vec::new(), Then::Silence),
    })
    .await;
    let notes = Notes::new();
    let (_watched, task) = WatchedTrust::start_at(QUICK, api.client(), notes.clone(), &Handle::current());
    until("one is gone", || notes.roots.lock().unwrap().last().is_some_and(|roots| roots.len() == 1)).await;
    let told = notes.roots.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0][0].source.is_ok() && told[0][1].source.is_err());
    task.abort();
}

fn state() -> TrustRootState {
    TrustRootState {
        name: "house".into(),
        generation: 2,
        source: Some("TUF"),
        refreshed: Some("2026-11-24T10:00:00.25Z".parse().unwrap()),
        digest: Some("sha256:aa".to_owned()),
        trouble: None,
    }
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

#[test]
fn a_status_says_what_became_of_a_trust_root() {
    let written = status(&state(), &ImageTrustRootStatus::default(), now()).unwrap();
    insta::assert_yaml_snapshot!(written, @r#"
    observedGeneration: 2
    source: TUF
    refreshed: "2026-11-24T10:00:00Z"
    digest: "sha256:aa"
    conditions:
      - lastTransitionTime: "2026-11-24T12:00:00Z"
        message: it can be used
        observedGeneration: 2
        reason: Usable
        status: "True"
        type: Ready
    "#);
    let broken = TrustRootState { digest: None, trouble: Some("it does not exist".to_owned()), ..state() };
    let later = "2026-11-24T13:00:00Z".parse().unwrap();
    let condition = status(&broken, &written, later).unwrap().conditions.remove(0);
    assert_eq!(
        (&*condition.status, &*condition.reason, &*condition.message, condition.last_transition_time.0),
        ("False", "Unusable", "it does not exist", later)
    );
    let stale = TrustRootState { trouble: Some("it is away".to_owned()), ..state() };
    let condition = status(&stale, &written, later).unwrap().conditions.remove(0);
    assert_eq!((&*condition.status, &*condition.reason), ("True", "RefreshFailing"));
    assert!(condition.message.ends_with("nothing newer comes: it is away"));
    assert_eq!(condition.last_transition_time.0, now(), "it is still ready, since then");
}

#[rstest]
#[case::the_same(state(), false)]
#[case::refreshed_a_moment_later(TrustRootState { refreshed: Some("2026-11-24T10:00:59Z".parse().unwrap()), ..state() }, false)]
#[case::refreshed_later(TrustRootState { refreshed: Some("2026-11-24T10:01:00Z".parse().unwrap()), ..state() }, true)]
#[case::another_replica_is_ahead(TrustRootState { refreshed: Some("2026-11-24T09:00:00Z".parse().unwrap()), digest: Some("sha256:bb".to_owned()), ..state() }, false)]
#[case::another_generation(TrustRootState { generation: 3, ..state() }, true)]
#[case::another_content(TrustRootState { digest: Some("sha256:bb".to_owned()), ..state() }, true)]
#[case::trouble(TrustRootState { trouble: Some("it is away".to_owned()), ..state() }, true)]
#[case::never_refreshed(TrustRootState { refreshed: None, ..state() }, true)]
fn a_status_is_written_only_if_it_says_something_new(
    #[case] state_now: TrustRootState,
    #[case] written: bool,
) {
    let stored = status(&state(), &ImageTrustRootStatus::default(), now()).unwrap();
    let later = "2026-11-24T13:00:00Z".parse().unwrap();
    assert_eq!(status(&state_now, &stored, later).is_some(), written);
}
