//! The distribution project's registry, with and without accounts and TLS, and go-containerregistry's.

use std::{fs, path::Path};

use futures::future::join_all;
use rstest::rstest;
use tidewaiter::{evidence::RegistryError, registry::RegistryEntry, review::credentials::Keyring};

use super::{asking, keyring, name, plain, resolve, settings};
use crate::support::{
    certs::Authority,
    process,
    referrers::ReferrersRegistry,
    registry::{Access, Options, Registry},
};

async fn start(access: Access) -> Option<Registry> {
    Registry::start(Options { access, tls: None }).await
}

fn alice(registry: &Registry) -> Keyring {
    registry.keyring("alice", "wonderland", "")
}

#[rstest]
#[case::open(Access::Open, &["200"])]
#[case::basic(Access::Basic, &["401", "200"])]
#[case::token(Access::Token, &["401", "200"])]
#[tokio::test]
async fn a_tag_becomes_its_digest_by_head_alone(#[case] access: Access, #[case] statuses: &[&str]) {
    let Some(registry) = start(access).await else { return };
    let (image, index) = (registry.push("acme/app", "1").await, registry.push_index("acme/app", "all").await);
    let (ours, host) = (asking(settings([registry.entry()]), Keyring::default()), registry.host());

    for (tag, digest) in [("1", image), ("all", index)] {
        let answer = resolve(&ours, &format!("{host}/acme/app:{tag}"), &alice(&registry)).await;
        assert_eq!(answer, Ok(digest), "{}", registry.log());
    }
    // What it wants to be shown is known from then on.
    let wanted = [("1", statuses), ("all", &["200"])].map(|(tag, statuses)| {
        statuses.iter().map(move |status| format!("HEAD /v2/acme/app/manifests/{tag} {status}"))
    });
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    assert_eq!(registry.asked(wanted.len()).await, wanted);
}

#[tokio::test]
async fn a_registry_with_the_referrers_api_is_asked_for_digests_as_others_are() {
    let Some(registry) = ReferrersRegistry::start().await else { return };
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let image = |tag: &str| format!("{}/acme/app:{tag}", registry.client().host());
    let digest = registry.client().push("acme/app", "1").await;
    assert_eq!(resolve(&ours, &image("1"), &Keyring::default()).await, Ok(digest), "{}", registry.log());
    let missing = resolve(&ours, &image("2"), &Keyring::default()).await;
    assert_eq!(missing, Err(RegistryError::NotFound));
    let wanted = ["HEAD /v2/acme/app/manifests/1 200", "HEAD /v2/acme/app/manifests/2 404"];
    assert_eq!(registry.asked(wanted.len()).await, wanted);
}

#[tokio::test]
async fn a_tag_that_moves_is_seen_to_move() {
    let Some(registry) = start(Access::Open).await else { return };
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let image = format!("{}/acme/app:1", registry.host());
    for _ in 0..2 {
        let digest = registry.push("acme/app", "1").await;
        assert_eq!(resolve(&ours, &image, &Keyring::default()).await, Ok(digest));
    }
}

#[rstest]
#[case::open(Access::Open)]
#[case::basic(Access::Basic)]
#[case::token(Access::Token)]
#[tokio::test]
async fn what_is_missing_is_not_found(#[case] access: Access) {
    let Some(registry) = start(access).await else { return };
    registry.push("acme/app", "1").await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    for image in ["acme/app:2", "acme/nothing:1"] {
        let image = format!("{}/{image}", registry.host());
        assert_eq!(resolve(&ours, &image, &alice(&registry)).await, Err(RegistryError::NotFound), "{image}");
    }
}

#[rstest]
#[case::basic_and_a_wrong_password(Access::Basic, Some("hunter2"))]
#[case::basic_and_no_password(Access::Basic, None)]
#[case::token_and_a_wrong_password(Access::Token, Some("hunter2"))]
#[case::token_and_no_password(Access::Token, None)]
#[tokio::test]
async fn whoever_has_no_right_password_is_denied(#[case] access: Access, #[case] password: Option<&str>) {
    let Some(registry) = start(access).await else { return };
    registry.push("acme/app", "1").await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let keyring = password.map(|password| registry.keyring("alice", password, "")).unwrap_or_default();
    // The same for what is there and for what is not: a denial tells nobody what there is.
    for tag in ["1", "2"] {
        let image = format!("{}/acme/app:{tag}", registry.host());
        assert_eq!(resolve(&ours, &image, &keyring).await, Err(RegistryError::Denied), "{}", registry.log());
    }
    // Each try is a count against the account at registries that lock it.
    assert!(registry.asked(4).await.len() <= 8, "{:?}", registry.asked(4).await);
}

#[tokio::test]
async fn one_token_serves_everybody_with_the_same_password_and_repository() {
    let Some(registry) = start(Access::Token).await else { return };
    let tags: Vec<String> = (0..8).map(|tag| tag.to_string()).collect();
    let (ours, alice) = (asking(settings([registry.entry()]), Keyring::default()), alice(&registry));
    let mut images = Vec::new();
    for tag in &tags {
        images.push((format!("{}/acme/app:{tag}", registry.host()), registry.push("acme/app", tag).await));
    }
    for _ in 0..2 {
        let answers = join_all(images.iter().map(|(image, _)| resolve(&ours, image, &alice))).await;
        let wanted: Vec<_> = images.iter().map(|(_, digest)| Ok(digest.clone())).collect();
        assert_eq!(answers, wanted);
    }
    let tokens = registry.tokens().unwrap().received();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(tokens[0].query("scope").as_deref(), Some("repository:acme/app:pull"));

    // Neither for another repository nor for another password.
    registry.push("acme/other", "1").await;
    assert!(resolve(&ours, &format!("{}/acme/other:1", registry.host()), &alice).await.is_ok());
    let bob = registry.keyring("bob", "builder", "");
    assert!(resolve(&ours, &images[0].0, &bob).await.is_ok());
    assert_eq!(resolve(&ours, &images[0].0, &Keyring::default()).await, Err(RegistryError::Denied));
    assert_eq!(registry.tokens().unwrap().received().len(), 4);
}

#[rstest]
#[case::basic(Access::Basic)]
#[case::token(Access::Token)]
#[tokio::test]
async fn the_pull_secret_of_one_repository_is_not_shown_for_another(#[case] access: Access) {
    let Some(registry) = start(access).await else { return };
    for repository in ["team/app", "team-b/app", "teammate"] {
        registry.push(repository, "1").await;
    }
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let team = registry.keyring("alice", "wonderland", "team");
    for repository in ["team-b/app", "teammate"] {
        let image = format!("{}/{repository}:1", registry.host());
        assert_eq!(resolve(&ours, &image, &team).await, Err(RegistryError::Denied));
    }
    if let Some(tokens) = registry.tokens() {
        assert!(tokens.received().iter().all(|request| request.header("authorization").is_none()));
    }
    assert!(resolve(&ours, &format!("{}/team/app:1", registry.host()), &team).await.is_ok());
}

#[tokio::test]
async fn the_operators_password_serves_where_the_objects_own_does_not() {
    let Some(registry) = start(Access::Token).await else { return };
    let digest = registry.push("acme/app", "1").await;
    let image = format!("{}/acme/app:1", registry.host());
    let ours = asking(settings([registry.entry()]), alice(&registry));
    for own in [Keyring::default(), registry.keyring("alice", "hunter2", "")] {
        assert_eq!(resolve(&ours, &image, &own).await, Ok(digest.clone()));
    }
    let elsewhere =
        asking(settings([registry.entry()]), keyring("registry.example.com", "alice", "wonderland"));
    assert_eq!(resolve(&elsewhere, &image, &Keyring::default()).await, Err(RegistryError::Denied));
}

fn trusting(registry: &Registry, authority: &Authority, directory: &Path) -> RegistryEntry {
    let ca = directory.join("ca.crt");
    fs::write(&ca, authority.certificate()).unwrap();
    RegistryEntry { ca: Some(ca), ..registry.entry() }
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_where_the_settings_say_so() {
    let authority = Authority::new("the authority of a registry");
    let Some(registry) = Registry::start(Options { access: Access::Basic, tls: Some(&authority) }).await
    else {
        return;
    };
    let digest = registry.push("acme/app", "1").await;
    let (image, alice) = (format!("{}/acme/app:1", registry.host()), alice(&registry));
    let directory = tempfile::tempdir().unwrap();

    let ours = asking(settings([trusting(&registry, &authority, directory.path())]), Keyring::default());
    assert_eq!(resolve(&ours, &image, &alice).await, Ok(digest), "{}", registry.log());
    assert_eq!(registry.asked(2).await.len(), 2);

    let stranger = trusting(&registry, &Authority::new("another"), directory.path());
    for entry in [registry.entry(), stranger] {
        let ours = asking(settings([entry]), Keyring::default());
        let error = resolve(&ours, &image, &alice).await.unwrap_err();
        assert_eq!(name(&error), "Unreachable");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(registry.asked(2).await.len(), 2, "nothing was asked of a registry that nobody vouches for");
}

#[tokio::test]
async fn a_registry_without_tls_is_asked_only_where_the_settings_say_so() {
    let Some(registry) = start(Access::Open).await else { return };
    let digest = registry.push("acme/app", "1").await;
    let image = format!("{}/acme/app:1", registry.host());
    let listed = RegistryEntry { plain_http: false, ..registry.entry() };
    let ask = async |entries: Vec<RegistryEntry>| {
        let answer =
            resolve(&asking(settings(entries), Keyring::default()), &image, &Keyring::default()).await;
        answer.map_err(|error| name(&error))
    };
    assert_eq!(ask(vec![listed]).await, Err("Unreachable".to_owned()));
    assert_eq!(ask(vec![]).await, Err("Forbidden".to_owned()), "it is on loopback, too");
    assert_eq!(ask(vec![registry.entry()]).await, Ok(digest));
    assert_eq!(registry.asked(1).await.len(), 1);
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_where_the_mirror_cannot_say() {
    let (Some(mirror), Some(registry)) = (start(Access::Open).await, start(Access::Basic).await) else {
        return;
    };
    let mirrored = mirror.push("acme/app", "1").await;
    let newer = registry.push("acme/app", "1").await;
    let only_there = registry.push("acme/app", "2").await;
    assert_ne!(mirrored, newer);

    let dead = format!("127.0.0.1:{}", process::free_port().unwrap());
    let mirrors = vec![dead.clone(), mirror.host().to_owned()];
    let entry = RegistryEntry { mirrors, ..registry.entry() };
    let ours = asking(settings([entry, mirror.entry(), plain(&dead)]), Keyring::default());
    let image = |tag: &str| format!("{}/acme/app:{tag}", registry.host());
    assert_eq!(resolve(&ours, &image("1"), &alice(&registry)).await, Ok(mirrored));
    assert_eq!(resolve(&ours, &image("2"), &alice(&registry)).await, Ok(only_there));
    assert_eq!(mirror.asked(2).await.len(), 2);
    assert_eq!(registry.asked(2).await.len(), 2);
}
