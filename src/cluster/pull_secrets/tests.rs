use std::{sync::Arc, time::Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::future::join_all;
use moka::Expiry as _;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{ClusterPullSecrets, Found, Lifetime, MOST_SECRETS, NoPullSecrets, TTL, TTL_INCOMPLETE, Wanted};
use crate::{
    cluster::testing::{FakeApi, Reply, refusal},
    review::{credentials::Keyring, ports::PullSecrets as _},
};

const HOST: &str = "registry.example.com";

fn secret(kind: &str, key: &str, content: &str) -> Reply {
    Reply::Json(200, json!({"type": kind, "data": {key: BASE64_STANDARD.encode(content)}}))
}

fn docker_config(user: &str) -> Reply {
    let config = json!({"auths": {HOST: {"username": user, "password": "s3cret"}}});
    secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &config.to_string())
}

fn account(secrets: &[&str]) -> Reply {
    let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    Reply::Json(200, json!({"metadata": {"name": "x"}, "imagePullSecrets": secrets}))
}

fn script(path: &str, _: usize) -> Reply {
    match path {
        "/api/v1/namespaces/team-a/secrets/first" => docker_config("first"),
        "/api/v1/namespaces/team-a/secrets/second" => docker_config("second"),
        "/api/v1/namespaces/team-a/secrets/old" => {
            let config = json!({HOST: {"username": "old", "password": "s3cret"}});
            secret("kubernetes.io/dockercfg", ".dockercfg", &config.to_string())
        }
        "/api/v1/namespaces/team-a/secrets/opaque" => {
            secret("Opaque", ".dockerconfigjson", r#"{"auths":{}}"#)
        }
        "/api/v1/namespaces/team-a/secrets/garbled" => {
            secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", "s3cret, not json")
        }
        "/api/v1/namespaces/team-a/secrets/keyless" => {
            secret("kubernetes.io/dockerconfigjson", "other", "{}")
        }
        "/api/v1/namespaces/team-a/secrets/huge" => {
            secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &"s3cret".repeat(1 << 16))
        }
        "/api/v1/namespaces/team-a/secrets/endless" => Reply::Text("s3cret".repeat(1 << 20)),
        "/api/v1/namespaces/team-a/secrets/broken" => Reply::Text(r#"{"type": "s3cret"#.to_owned()),
        "/api/v1/namespaces/team-a/secrets/mistyped" => Reply::Text(r#"{"data": "s3cret"}"#.to_owned()),
        "/api/v1/namespaces/team-a/secrets/forbidden" => refusal(403, "no rights"),
        "/api/v1/namespaces/team-a/serviceaccounts/default" => account(&["second"]),
        "/api/v1/namespaces/team-a/serviceaccounts/build" => account(&["first", "old"]),
        "/api/v1/namespaces/team-a/serviceaccounts/bare" => account(&[]),
        "/api/v1/namespaces/team-a/serviceaccounts/forbidden" => refusal(403, "no rights"),
        _ => refusal(404, "not found"),
    }
}

async fn start() -> (FakeApi, ClusterPullSecrets) {
    let api = FakeApi::start(script).await;
    let secrets = ClusterPullSecrets::new(api.client(), Handle::current());
    (api, secrets)
}

fn users(keyring: &Keyring) -> Vec<String> {
    let image = format!("{HOST}/app:1").parse().unwrap();
    keyring.lookup(&image).iter().map(|credential| credential.username().to_owned()).collect()
}

async fn users_of(secrets: &ClusterPullSecrets, account: &str, names: &[&str]) -> Vec<String> {
    users(&secrets.keyring("team-a", account, names).await.unwrap())
}

async fn error_of(secrets: &ClusterPullSecrets, account: &str, names: &[&str]) -> String {
    let error = secrets.keyring("team-a", account, names).await.unwrap_err().to_string();
    assert!(!error.contains("s3cret"), "{error}");
    error
}

#[tokio::test]
async fn credentials_keep_the_order_in_which_their_secrets_are_named() {
    let (_api, secrets) = start().await;
    assert_eq!(users_of(&secrets, "default", &["old", "second", "first"]).await, ["old", "second", "first"]);
}

#[tokio::test]
async fn the_accounts_own_secrets_count_only_where_none_are_named() {
    let (api, secrets) = start().await;
    assert_eq!(users_of(&secrets, "build", &["second"]).await, ["second"]);
    assert!(api.asked().iter().all(|path| !path.contains("serviceaccounts")));
    assert_eq!(users_of(&secrets, "build", &[]).await, ["first", "old"]);
    assert_eq!(users_of(&secrets, "", &[]).await, ["second"], "the account of those who name none");
    assert!(users_of(&secrets, "bare", &[]).await.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_or_is_no_pull_secret_is_passed_over() {
    let (_api, secrets) = start().await;
    assert_eq!(users_of(&secrets, "default", &["absent", "first", "opaque", "No/Name"]).await, ["first"]);
    assert!(users_of(&secrets, "absent", &[]).await.is_empty());
    assert!(users_of(&secrets, "../x", &[]).await.is_empty());
}

#[tokio::test]
async fn nothing_outside_the_namespace_is_ever_asked_for() {
    let (api, secrets) = start().await;
    let names = ["../../team-b/secrets/first", "..", "", "first?x", "%2e%2e", "First"];
    assert!(users_of(&secrets, "default", &names).await.is_empty());
    assert!(secrets.keyring("team-a/../team-b", "default", &["first"]).await.is_err());
    assert!(secrets.keyring("", "default", &["first"]).await.is_err());
    assert_eq!(api.asked(), Vec::<String>::new());
    assert!(users(&secrets.keyring("team-b", "default", &["first"]).await.unwrap()).is_empty());
    assert_eq!(api.asked(), ["/api/v1/namespaces/team-b/secrets/first"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_that_names_its_place_and_not_its_content() {
    let (_api, secrets) = start().await;
    let error = error_of(&secrets, "default", &["first", "garbled"]).await;
    assert!(error.starts_with("Secret team-a/garbled: .dockerconfigjson is not a docker config"), "{error}");
    let error = error_of(&secrets, "default", &["keyless"]).await;
    assert_eq!(error, "Secret team-a/keyless has no key .dockerconfigjson");
    let error = error_of(&secrets, "default", &["huge"]).await;
    assert_eq!(error, "Secret team-a/huge: .dockerconfigjson is longer than 262144 bytes");
    let error = error_of(&secrets, "default", &["endless"]).await;
    assert_eq!(error, "cannot get Secret team-a/endless: the answer is longer than 2097152 bytes");
    for name in ["broken", "mistyped"] {
        let error = error_of(&secrets, "default", &[name]).await;
        assert!(error.starts_with(&format!("cannot get Secret team-a/{name}: the answer makes no sense")));
    }
}

#[tokio::test]
async fn missing_rights_name_their_remedies() {
    let (_api, secrets) = start().await;
    let of_secret = error_of(&secrets, "default", &["forbidden"]).await;
    let of_account = error_of(&secrets, "forbidden", &[]).await;
    for error in [of_secret, of_account] {
        assert!(error.contains("docs/running-in-a-cluster.md"), "{error}");
        assert!(error.contains("imagePullSecrets: Ignore"), "{error}");
    }
}

#[tokio::test]
async fn more_secrets_than_are_read_are_an_error() {
    let (api, secrets) = start().await;
    let names = vec!["first"; MOST_SECRETS + 1];
    let error = error_of(&secrets, "default", &names).await;
    assert_eq!(error, "33 pull secrets are named, and at most 32 are read");
    assert!(api.asked().is_empty());
    assert!(secrets.known("team-a", "default", &names).is_none());
}

#[tokio::test]
async fn an_answer_is_remembered_and_an_error_is_not() {
    let (api, secrets) = start().await;
    assert!(secrets.known("team-a", "default", &["first"]).is_none());
    users_of(&secrets, "default", &["first"]).await;
    users_of(&secrets, "build", &["first"]).await;
    assert_eq!(users(&secrets.known("team-a", "default", &["first"]).unwrap()), ["first"]);
    assert!(secrets.known("team-b", "default", &["first"]).is_none(), "that is another namespace");
    assert_eq!(api.asked().len(), 1);
    error_of(&secrets, "default", &["garbled"]).await;
    error_of(&secrets, "default", &["garbled"]).await;
    assert_eq!(api.asked().len(), 3);
}

#[tokio::test]
async fn many_reviews_ask_once() {
    let (api, secrets) = start().await;
    let answers = join_all((0..50).map(|_| secrets.keyring("team-a", "default", &["first"]))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn what_was_missing_is_asked_for_again_sooner() {
    let wanted = Wanted::new("team-a", "", &[]);
    let found = |complete| Found { keyring: Arc::default(), complete, bytes: 0 };
    let lifetime = |found| Lifetime.expire_after_create(&wanted, &found, Instant::now());
    assert_eq!(lifetime(found(true)), Some(TTL));
    assert_eq!(lifetime(found(false)), Some(TTL_INCOMPLETE));
}

#[tokio::test]
async fn to_ignore_pull_secrets_is_to_have_none() {
    assert!(users(&NoPullSecrets.known("team-a", "default", &["first"]).unwrap()).is_empty());
    assert!(users(&NoPullSecrets.keyring("team-a", "default", &["first"]).await.unwrap()).is_empty());
}
