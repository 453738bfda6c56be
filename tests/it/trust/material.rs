//! Documents, Secrets, ConfigMaps and files.

use std::{fs, os::unix::fs::symlink, time::Duration};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rstest::rstest;
use tidewaiter::{policy::PublicKey, review::ports::TrustMaterial as _};

use super::*;
use crate::support::tuf::new_key;

fn fingerprint(pem: &str) -> String {
    PublicKey::from_pem(pem).unwrap().fingerprint().to_string()
}

fn file(name: &str) -> KeyRef {
    KeyRef::File(name.into())
}

#[test]
fn the_public_good_root_is_always_there_and_nobody_is_asked_for_it() {
    let scene = Scene::default();
    assert!(scene.store.current().root(&RootRef::PublicGood).is_ok());
    assert_eq!(scene.version(), 1);
    assert_eq!(scene.mirror.asked(), Vec::<String>::new());
}

#[test]
fn a_secret_is_followed_from_its_first_content_to_its_end() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    let key = KeyRef::Secret(object_key("trust", "keys", "cosign.pub"));
    let place = "Secret trust/keys key cosign.pub".to_owned();
    assert_eq!(scene.key(&key), Err(AuthorityError::Unread(place.clone())));
    let wanted = scene.store.wanted().borrow().clone();
    assert_eq!(*wanted, BTreeMap::from([(secret("trust", "keys"), ["cosign.pub".into()].into())]));

    let (first, second) = (new_key(), new_key());
    for pem in [&first, &second] {
        let before = scene.version();
        scene.store.object(&secret("trust", "keys"), holding("cosign.pub", pem));
        assert_eq!(scene.key(&key), Ok(fingerprint(pem)));
        assert_eq!(scene.version(), before + 1);
    }
    let version = scene.version();
    scene.store.object(&secret("trust", "keys"), holding("cosign.pub", &format!("\n{second}\n")));
    assert_eq!(scene.version(), version, "the key is the same");

    let without = ObjectContent::Data(BTreeMap::from([("cosign.pub".into(), None)]));
    for gone in [without, ObjectContent::Absent] {
        scene.store.object(&secret("trust", "keys"), gone);
        assert_eq!(scene.key(&key), Err(AuthorityError::Missing(place.clone())));
    }
    assert_eq!(scene.version(), version + 1);
    assert_eq!(scene.told.last().keys.failing, 1);
}

#[rstest]
#[case::no_key("hunter2", "there is no PEM block that begins with -----BEGIN PUBLIC KEY-----")]
#[case::two_keys(&format!("{}{}", new_key(), new_key()), "there is more than one key")]
#[case::huge(&"x".repeat(65_537), "it is larger than 65536 bytes")]
fn a_secret_that_holds_no_key_is_told_without_its_content(#[case] content: &str, #[case] problem: &str) {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    scene.store.object(&secret("trust", "keys"), holding("cosign.pub", content));
    let key = KeyRef::Secret(object_key("trust", "keys", "cosign.pub"));
    let error = scene.key(&key).unwrap_err().to_string();
    assert!(error.starts_with("Secret trust/keys key cosign.pub cannot be used: "), "{error}");
    assert!(error.contains(problem) && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_private_key_is_told_without_being_repeated() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let pem = crate::support::tuf::pem(der.as_ref()).replace("PUBLIC KEY", "PRIVATE KEY");
    scene.store.object(&secret("trust", "keys"), holding("cosign.pub", &pem));
    let key = KeyRef::Secret(object_key("trust", "keys", "cosign.pub"));
    let error = scene.key(&key).unwrap_err().to_string();
    assert!(error.contains("this is a private key"), "{error}");
    let line = pem.lines().nth(1).unwrap();
    assert!(!error.contains(line) && !format!("{:?}", scene.store.current()).contains(line));
}

#[test]
fn a_secret_that_may_not_be_read_says_so() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    let why = "the API server answered 403".to_owned();
    scene.store.object(&secret("trust", "keys"), ObjectContent::Unreadable(why.clone()));
    let key = KeyRef::Secret(object_key("trust", "keys", "cosign.pub"));
    let place = "Secret trust/keys key cosign.pub".to_owned();
    assert_eq!(scene.key(&key), Err(AuthorityError::Unusable { place, problem: why }));
}

#[test]
fn the_clusters_policies_read_no_namespace_that_is_not_listed() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("team-a", "keys")]));
    let key = KeyRef::Secret(object_key("team-a", "keys", "cosign.pub"));
    let place = "Secret team-a/keys key cosign.pub".to_owned();
    assert_eq!(scene.key(&key), Err(AuthorityError::Forbidden(place)));
    assert!(scene.store.wanted().borrow().is_empty(), "and nobody reads it");
}

#[test]
fn a_teams_secret_opens_nothing_to_the_clusters_policies() {
    let scene = Scene::default();
    let cluster = of_cluster([by_secret("team-a", "keys")]);
    let all = cluster.iter().cloned().chain([of_team("team-a", "keys")]);
    scene.store.policies(&PolicySet::new(all));
    let pem = new_key();
    scene.store.object(&secret("team-a", "keys"), holding("cosign.pub", &pem));
    let key = object_key("team-a", "keys", "cosign.pub");
    assert_eq!(scene.key(&KeyRef::TeamSecret(key.clone())), Ok(fingerprint(&pem)));
    assert!(matches!(scene.key(&KeyRef::Secret(key)), Err(AuthorityError::Forbidden(_))));
}

#[test]
fn what_nobody_names_any_more_is_forgotten() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    scene.store.object(&secret("trust", "keys"), holding("cosign.pub", &new_key()));
    scene.store.policies(&PolicySet::default());
    assert!(scene.store.wanted().borrow().is_empty());
    scene.store.policies(&of_cluster([by_secret("trust", "keys")]));
    let key = KeyRef::Secret(object_key("trust", "keys", "cosign.pub"));
    assert!(matches!(scene.key(&key), Err(AuthorityError::Unread(_))), "and read again");
}

#[test]
fn teams_take_no_place_from_the_cluster_and_no_more_than_theirs() {
    let scene = Scene::default();
    let teams = (0..40).flat_map(|team| (0..20).map(move |at| (format!("a-{team:02}"), format!("k{at:02}"))));
    let teams: Vec<_> = teams.map(|(namespace, name)| of_team(&namespace, &name)).collect();
    scene.store.policies(&PolicySet::new(teams.iter().cloned()));
    let wanted = scene.store.wanted().borrow().clone();
    assert_eq!(wanted.len(), 256);
    let of_one = |namespace: &str| wanted.keys().filter(|name| &*name.namespace == namespace).count();
    assert_eq!(of_one("a-00"), 16);
    for name in wanted.keys() {
        scene.store.object(name, holding("cosign.pub", &new_key()));
    }
    let over = KeyRef::TeamSecret(object_key("a-00", "k19", "cosign.pub"));
    let error = scene.key(&over).unwrap_err().to_string();
    assert!(error.contains("more than 256 Secrets and ConfigMaps"), "{error}");

    let cluster = of_cluster([by_secret("trust", "keys")]);
    scene.store.policies(&PolicySet::new(teams.into_iter().chain(cluster.iter().cloned())));
    let now = scene.store.wanted().borrow().clone();
    assert_eq!(now.len(), 256);
    assert!(now.contains_key(&secret("trust", "keys")));
    let stayed = now.keys().filter(|name| wanted.contains_key(*name)).count();
    assert_eq!(stayed, 255, "those that were read keep their place");
}

#[test]
fn a_trust_root_comes_from_where_its_document_says() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster(["public", "inline", "map", "absent"].map(by_root)));
    assert!(matches!(scene.root("public"), Err(AuthorityError::Unread(_))), "nobody has listed them");
    scene.store.roots(vec![
        root("public", json!({"sigstore": "PublicGood"})),
        root("inline", json!({"inline": another_root()})),
        root("map", json!({"configMapRef": {"namespace": "trust", "name": "roots"}})),
        root("elsewhere", json!({"configMapRef": {"namespace": "team-a", "name": "roots"}})),
        root("broken", json!({"inline": "{}"})),
        root("unreadable", json!({"inlined": "{}"})),
    ]);
    let public = scene.store.current().root(&RootRef::PublicGood).unwrap().digest().to_string();
    assert_eq!(scene.root("public"), Ok(public.clone()));
    assert!(scene.root("inline").is_ok_and(|digest| digest != public));
    assert_eq!(scene.root("absent"), Err(AuthorityError::Missing("ImageTrustRoot/absent".to_owned())));
    let told = |name: &str| scene.root(name).unwrap_err().to_string();
    assert_eq!(
        told("elsewhere"),
        "ConfigMap team-a/roots key trusted_root.json, which ImageTrustRoot/elsewhere names, lies where \
         Tidewaiter may not read: the setting trustNamespaces lists where it may"
    );
    assert!(told("broken").starts_with("ImageTrustRoot/broken cannot be used: this is no trusted_root.json"));
    assert!(told("unreadable").contains("spec.inlined"), "{}", told("unreadable"));

    let name = ObjectName { kind: ObjectKind::ConfigMap, namespace: "trust".into(), name: "roots".into() };
    assert!(matches!(scene.root("map"), Err(AuthorityError::Unread(_))));
    scene.store.object(&name, holding("trusted_root.json", &one_root()));
    assert_eq!(scene.root("map"), Ok(public));
    let version = scene.version();
    scene.store.object(&name, holding("trusted_root.json", &another_root()));
    assert_eq!((scene.root("map"), scene.version()), (scene.root("inline"), version + 1));
    scene.store.object(&name, ObjectContent::Absent);
    assert_eq!(
        told("map"),
        "ConfigMap trust/roots key trusted_root.json, which ImageTrustRoot/map names, does not exist"
    );

    let states = scene.store.states().borrow().clone();
    let state = |name: &str| states.iter().find(|state| &*state.name == name).unwrap().clone();
    assert_eq!((state("inline").source, state("inline").trouble), (Some("Inline"), None));
    assert_eq!(state("unreadable").source, None);
    assert!(state("map").trouble.unwrap().contains("does not exist"));
    assert_eq!(scene.mirror.asked(), Vec::<String>::new());
}

#[test]
fn the_same_documents_again_are_no_change() {
    let scene = Scene::default();
    let roots = || vec![root("a", json!({"inline": one_root()})), root("b", json!({"sigstore": "GitHub"}))];
    scene.store.roots(roots());
    let version = scene.version();
    scene.store.roots(roots());
    scene.store.policies(&of_cluster([by_root("a")]));
    assert_eq!(scene.version(), version);
    scene.store.roots(roots().into_iter().take(1).collect());
    assert_eq!(scene.version(), version + 1);
}

#[test]
fn what_is_handed_over_as_files_is_all_there_is() {
    let scene = Scene::new(TrustSettings { namespaces: TrustNamespaces::Every, ..settings() });
    let pem = new_key();
    let objects = BTreeMap::from([(secret("team-a", "keys"), holding("cosign.pub", &pem))]);
    let policies = of_cluster([by_secret("team-a", "keys"), by_secret("team-a", "others"), by_root("r")]);
    scene.store.filed(&policies, Vec::new(), objects);
    assert_eq!(scene.key(&KeyRef::Secret(object_key("team-a", "keys", "cosign.pub"))), Ok(fingerprint(&pem)));
    let others = KeyRef::Secret(object_key("team-a", "others", "cosign.pub"));
    assert!(matches!(scene.key(&others), Err(AuthorityError::Missing(_))));
    let mut troubles: Vec<_> = scene.store.troubles().iter().map(ToString::to_string).collect();
    troubles.sort();
    assert_eq!(
        troubles,
        ["ImageTrustRoot/r does not exist", "Secret team-a/others key cosign.pub does not exist"]
    );
}

#[tokio::test]
async fn without_a_directory_no_file_is_read() {
    let scene = Scene::default();
    scene.store.policies(&of_cluster([json!({"name": "release", "key": {"file": "a.pub"}})]));
    scene.store.settle().await;
    let error = scene.key(&file("a.pub")).unwrap_err().to_string();
    assert_eq!(error, "file a.pub cannot be used: the setting trustDirectory names no directory");
}

#[tokio::test]
async fn files_act_within_a_second_and_also_where_their_directory_is_swapped() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(TrustSettings { directory: Some(directory.path().to_owned()), ..settings() });
    let running = tokio::spawn(scene.store.clone().run());
    scene.store.policies(&of_cluster([json!({"name": "release", "key": {"file": "a.pub"}})]));
    scene.store.roots(vec![root("house", json!({"file": "root.json"}))]);
    until("it is missing", || matches!(scene.key(&file("a.pub")), Err(AuthorityError::Missing(_)))).await;

    let (first, second) = (new_key(), new_key());
    let path = |name: &str| directory.path().join(name);
    for (version, key) in [("v1", &first), ("v2", &second)] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("a.pub"), key).unwrap();
        fs::write(path(version).join("root.json"), one_root()).unwrap();
    }
    symlink("v1", path("..data")).unwrap();
    symlink("..data/a.pub", path("a.pub")).unwrap();
    symlink("..data/root.json", path("root.json")).unwrap();
    until("the first key is there", || scene.key(&file("a.pub")) == Ok(fingerprint(&first))).await;
    until("the root is there", || scene.root("house").is_ok()).await;
    let version = scene.version();

    symlink("v2", path("..new")).unwrap();
    fs::rename(path("..new"), path("..data")).unwrap();
    until("the second key is there", || scene.key(&file("a.pub")) == Ok(fingerprint(&second))).await;
    assert_eq!(scene.version(), version + 1);

    fs::remove_file(path("a.pub")).unwrap();
    until("it is gone", || matches!(scene.key(&file("a.pub")), Err(AuthorityError::Missing(_)))).await;
    running.abort();
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "this has not come true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
