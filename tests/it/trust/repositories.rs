//! Repositories of The Update Framework, and what their mirrors may try.

use std::{fs, time::Duration};

use rstest::rstest;
use tidewaiter::{
    review::ports::{TrustMaterial as _, TrustRootCheck as _},
    trust::RootCheck,
};

use super::*;
use crate::support::tuf::{Key, PAST, Repository};

/// A scene whose mirror shows a repository's first version, once looked at.
async fn followed(repository: &Repository) -> Scene {
    let scene = Scene::default();
    name(&scene, repository);
    scene.mirror.show(repository.publish(&one_root()));
    scene.store.settle().await;
    scene
}

/// A policy names the repository's trust root.
fn name(scene: &Scene, repository: &Repository) {
    scene.store.policies(&of_cluster([by_root("house")]));
    let tuf = json!({"mirror": MIRROR, "root": repository.first_root()});
    scene.store.roots(vec![root("house", json!({"tuf": tuf}))]);
}

fn digest(content: &str) -> String {
    tidewaiter::image::Digest::sha256(content.as_bytes()).to_string()
}

/// Why the trust root is not refreshed, or cannot be used.
fn trouble(scene: &Scene) -> String {
    scene.store.states().borrow()[0].trouble.clone().unwrap_or_default()
}

/// Shows `files`, which must be refused for `problem` and leave the first root in force.
async fn refuses(scene: &Scene, files: Files, problem: &str) {
    let before = scene.version();
    scene.mirror.show(files);
    scene.store.settle().await;
    assert_eq!(scene.told.outcome(), "refused");
    assert!(trouble(scene).contains(problem), "{}", trouble(scene));
    assert_eq!(scene.root("house"), Ok(digest(&one_root())), "the last good one stays");
    assert_eq!(scene.version(), before);
}

#[rstest]
#[tokio::test]
async fn what_a_repository_vouches_for_comes_into_force(#[values(true, false)] consistent: bool) {
    let mut repository = Repository::new(consistent);
    let scene = followed(&repository).await;
    assert_eq!(scene.root("house"), Ok(digest(&one_root())));
    let version = scene.version();

    scene.store.settle().await;
    assert_eq!(scene.version(), version, "nothing is new");
    repository.version = 2;
    scene.mirror.show(repository.publish(&another_root()));
    scene.store.settle().await;
    assert_eq!((scene.root("house"), scene.version()), (Ok(digest(&another_root())), version + 1));
    assert_eq!(scene.told.outcome(), "ok");
    let states = scene.store.states().borrow().clone();
    assert_eq!((states[0].source, states[0].refreshed), (Some("TUF"), scene.told.refreshed("house")));
}

#[tokio::test]
async fn a_key_without_a_trust_root_touches_no_repository() {
    let scene = Scene::default();
    name(&scene, &Repository::default());
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    scene.store.settle().await;
    assert_eq!(scene.mirror.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached_leaves_what_was_there() {
    let repository = Repository::default();
    let scene = Scene::default();
    name(&scene, &repository);
    assert!(matches!(scene.root("house"), Err(AuthorityError::Unread(_))));
    scene.store.settle().await;
    let error = scene.root("house").unwrap_err().to_string();
    assert_eq!(
        error,
        "ImageTrustRoot/house cannot be used: its TUF repository https://tuf.example.com/house/ has shown \
         nothing yet: it cannot be reached: nobody is there"
    );
    scene.mirror.show(repository.publish(&one_root()));
    scene.store.settle().await;
    let (version, refreshed) = (scene.version(), scene.told.refreshed("house"));
    scene.mirror.vanish();
    scene.store.settle().await;
    assert_eq!(scene.told.outcome(), "unreachable");
    assert_eq!((scene.root("house"), scene.version()), (Ok(digest(&one_root())), version));
    assert_eq!(scene.told.refreshed("house"), refreshed, "its age grows");
    assert!(trouble(&scene).contains("nobody is there"));
}

#[tokio::test]
async fn an_older_version_is_refused() {
    let mut repository = Repository::default().at(3);
    let scene = followed(&repository).await;
    repository.version = 2;
    refuses(&scene, repository.publish(&another_root()), "rollback detected for timestamp").await;
}

#[tokio::test]
async fn an_older_version_is_refused_also_after_half_a_look_at_a_newer_one() {
    let mut repository = Repository::default().at(3);
    let scene = followed(&repository).await;
    repository.version = 4;
    let mut newer = repository.publish(&another_root());
    newer.remove("4.snapshot.json");
    refuses(&scene, newer, "4.snapshot.json not found").await;
    repository.version = 2;
    refuses(&scene, repository.publish(&another_root()), "rollback detected for timestamp").await;
}

#[tokio::test]
async fn an_expired_repository_is_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    (repository.version, repository.expires) = (2, PAST);
    let files = repository.publish(&another_root());
    refuses(&scene, files.clone(), "timestamp metadata expired").await;

    let fresh = Scene::default();
    name(&fresh, &repository);
    fresh.mirror.show(files);
    fresh.store.settle().await;
    assert!(matches!(fresh.root("house"), Err(AuthorityError::Unusable { .. })));
}

#[tokio::test]
async fn too_few_signatures_are_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.version = 2;
    let one = repository.keys.pop().unwrap();
    refuses(&scene, repository.publish(&another_root()), "signature threshold not met").await;
    // Another key under the name of one that may sign.
    repository.keys.push(Key::ecdsa(&one.id));
    refuses(&scene, repository.publish(&another_root()), "signature threshold not met").await;
}

#[tokio::test]
async fn a_threshold_of_nobody_is_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.threshold = 0;
    repository.add_root(&[]);
    repository.version = 2;
    refuses(&scene, repository.publish(&another_root()), "threshold 0").await;

    repository.found_anew();
    let told = RootCheck.tuf_root(&repository.first_root()).unwrap_err();
    assert!(told.starts_with("this is no root.json that can be used: ") && told.contains("threshold 0"));
}

#[tokio::test]
async fn one_key_under_two_names_counts_for_nothing() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    assert_eq!(RootCheck.tuf_root(&repository.first_root()), Ok(()));
    let one = Key::ecdsa("three");
    let same = one.under("four");
    repository.rotate(vec![one, same]);
    repository.version = 2;
    refuses(&scene, repository.publish(&another_root()), "lists one key under two names").await;

    repository.found_anew();
    assert_eq!(
        RootCheck.tuf_root(&repository.first_root()).unwrap_err(),
        "this is no root.json that can be used: its role root lists one key under two names"
    );
}

#[rstest]
#[case::up("../../../etc/secret")]
#[case::encoded("%2e%2e%2fsecret")]
#[case::absolute("/etc/secret")]
#[case::another_host("https://evil.example.com/")]
#[tokio::test]
async fn a_name_that_leads_elsewhere_is_never_asked_for(#[case] hash: &'static str) {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    (repository.version, repository.hash) = (2, Some(hash));
    refuses(&scene, repository.publish(&another_root()), "is no name of a file").await;
    let asked = scene.mirror.asked();
    assert!(asked.iter().all(|url| url.starts_with(MIRROR) && !url.contains("secret")), "{asked:?}");
}

#[tokio::test]
async fn content_of_another_hash_or_length_is_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.version = 2;
    let mut files = repository.publish(&another_root());
    let name = files.keys().find(|name| name.starts_with("targets/")).unwrap().clone();
    let content = files[&name].clone();
    let mut other = content.clone();
    other[10] ^= 1;
    files.insert(name.clone(), other);
    refuses(&scene, files.clone(), "integrity check failed").await;
    files.insert(name, [content.as_slice(), b" "].concat());
    refuses(&scene, files, "a file is larger than").await;
}

#[tokio::test]
async fn a_repository_without_the_trust_root_is_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    (repository.version, repository.target) = (2, "../trusted_root.json");
    refuses(&scene, repository.publish(&another_root()), "is not listed").await;
}

#[tokio::test]
async fn content_that_is_no_trust_root_leaves_the_last_good_one() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.version = 2;
    refuses(&scene, repository.publish("{}"), "this is no trusted_root.json").await;
    repository.version = 3;
    scene.mirror.show(repository.publish(&another_root()));
    scene.store.settle().await;
    assert_eq!(scene.root("house"), Ok(digest(&another_root())));
}

#[tokio::test]
async fn new_keys_are_followed_and_old_ones_count_no_longer() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.rotate(vec![Key::ed25519("three"), Key::ecdsa("four")]);
    repository.version = 2;
    scene.mirror.show(repository.publish(&another_root()));
    scene.store.settle().await;
    assert_eq!(scene.root("house"), Ok(digest(&another_root())));

    // Whoever holds the old keys only makes another second root, which nobody asks for any more.
    let asked = scene.mirror.asked().len();
    repository.version = 3;
    scene.mirror.show(repository.publish(&one_root()));
    scene.store.settle().await;
    assert!(scene.mirror.asked()[asked..].iter().all(|url| !url.ends_with("/2.root.json")));
    assert_eq!(scene.root("house"), Ok(digest(&one_root())));
}

#[tokio::test]
async fn a_root_that_the_one_before_has_not_signed_is_refused() {
    let mut repository = Repository::default();
    let scene = followed(&repository).await;
    repository.keys = vec![Key::ecdsa("one"), Key::ecdsa("two")];
    repository.add_root(&[]);
    repository.version = 2;
    refuses(&scene, repository.publish(&another_root()), "signature threshold not met for role root").await;
}

#[tokio::test]
async fn another_mirror_or_root_begins_anew() {
    let repository = Repository::default();
    let scene = followed(&repository).await;
    let other = Repository::default();
    name(&scene, &other);
    assert!(matches!(scene.root("house"), Err(AuthorityError::Unread(_))), "what the other showed is gone");
    scene.store.settle().await;
    assert!(matches!(scene.root("house"), Err(AuthorityError::Unusable { .. })), "and signed by others");
}

fn cached(directory: &std::path::Path) -> Scene {
    Scene::new(TrustSettings { cache: Some(directory.to_owned()), ..settings() })
}

#[tokio::test]
async fn what_was_vouched_for_survives_a_restart_without_the_mirror() {
    let directory = tempfile::tempdir().unwrap();
    // It will have expired by the time of the restart, and is as good as what a process keeps in memory.
    let mut repository = Repository::default().at(2);
    let first = cached(directory.path());
    name(&first, &repository);
    first.mirror.show(repository.publish(&one_root()));
    first.store.settle().await;
    let refreshed = first.told.refreshed("house").unwrap();

    let second = cached(directory.path());
    name(&second, &repository);
    second.store.settle().await;
    assert_eq!(second.root("house"), Ok(digest(&one_root())));
    assert_eq!(second.told.refreshed("house"), Some(refreshed), "its age is not that of the process");

    let third = cached(directory.path());
    name(&third, &repository);
    repository.version = 1;
    third.mirror.show(repository.publish(&another_root()));
    third.store.settle().await;
    assert_eq!(third.root("house"), Ok(digest(&one_root())), "rollback is refused over a restart too");
    assert!(trouble(&third).contains("rollback"), "{}", trouble(&third));

    let stranger = cached(directory.path());
    name(&stranger, &Repository::default());
    stranger.store.settle().await;
    assert!(matches!(stranger.root("house"), Err(AuthorityError::Unusable { .. })));
}

#[rstest]
#[case::no_json(|_: String| "{".to_owned())]
#[case::other_content(|json: String| {
    let mut kept: Value = serde_json::from_str(&json).unwrap();
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    kept["files"]["targets/trusted_root.json"] = BASE64_STANDARD.encode(another_root()).into();
    kept.to_string()
})]
#[case::before_it_began(|json: String| {
    let mut kept: Value = serde_json::from_str(&json).unwrap();
    kept["files"]["timestamp.json"] = "e30=".into();
    kept.to_string()
})]
#[tokio::test]
async fn what_somebody_did_to_the_cache_is_not_believed(#[case] damage: fn(String) -> String) {
    let directory = tempfile::tempdir().unwrap();
    let repository = Repository::default();
    let first = cached(directory.path());
    name(&first, &repository);
    first.mirror.show(repository.publish(&one_root()));
    first.store.settle().await;
    let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, damage(fs::read_to_string(&file).unwrap())).unwrap();

    let second = cached(directory.path());
    name(&second, &repository);
    second.store.settle().await;
    assert!(matches!(second.root("house"), Err(AuthorityError::Unusable { .. })));
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_nothing_but_the_cache() {
    let repository = Repository::default();
    let scene = cached(std::path::Path::new("/nonexistent/tidewaiter"));
    name(&scene, &repository);
    scene.mirror.show(repository.publish(&one_root()));
    scene.store.settle().await;
    assert_eq!(scene.root("house"), Ok(digest(&one_root())));
}

#[tokio::test]
async fn a_repository_is_asked_in_the_background_as_soon_as_it_is_named() {
    let repository = Repository::default();
    let scene = Scene::default();
    let running = tokio::spawn(scene.store.clone().run());
    scene.mirror.show(repository.publish(&one_root()));
    name(&scene, &repository);
    let end = Instant::now() + Duration::from_secs(10);
    while scene.root("house").is_err() {
        assert!(Instant::now() < end, "{}", trouble(&scene));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.store.roots(Vec::new());
    assert_eq!(scene.root("house"), Err(AuthorityError::Missing("ImageTrustRoot/house".to_owned())));
    assert_eq!(scene.told.last().refreshed, Vec::new());
    running.abort();
}
