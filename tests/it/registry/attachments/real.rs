//! The distribution project's registry, which keeps no lists of referrers, and go-containerregistry's, which does.

use std::fs;

use rstest::rstest;
use tidewaiter::{registry::RegistryEntry, review::credentials::Keyring};

use super::{
    super::{asking, resolve, settings},
    *,
};
use crate::support::{
    client::RegistryClient,
    layout::Layout,
    referrers::ReferrersRegistry,
    registry::{Access, Options, Registry},
    tools::shared,
};

async fn start(access: Access) -> Option<Registry> {
    Registry::start(Options { access, tls: None }).await
}

fn sorted(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| format!("{candidate:?}"));
    candidates
}

/// Pushes everything that real tools stored, and looks for it again.
async fn find_all(client: &RegistryClient, entry: RegistryEntry) {
    let Some(fixtures) = shared("fixtures") else { return };
    let ours = asking(settings([entry]), Keyring::default());
    let mut seen = BTreeMap::new();
    for folder in fs::read_dir(fixtures.join("oci")).unwrap() {
        let folder = folder.unwrap().path();
        let layout = Layout::open(&folder);
        let name = folder.file_name().unwrap().to_str().unwrap().to_lowercase();
        let repository = format!("acme/{name}");
        client.push_layout(&repository, &layout).await;
        for image in layout.images() {
            let place = format!("{}/{repository}", client.host());
            let found = look(&ours, &place, &image, BOTH, &Keyring::default(), PATIENCE).await;
            *seen.entry(name.clone()).or_insert(0) += found.as_ref().map_or(0, Vec::len);
            assert_eq!(found.map(sorted), Ok(sorted(layout.candidates(&image))), "{name} {image}");
        }
    }
    insta::allow_duplicates! {
        insta::assert_debug_snapshot!(seen, @r#"
        {
            "key-attestations-bundle-and-classic": 6,
            "key-bundle-notlog": 1,
            "key-bundle-notlog-annotated": 1,
            "key-bundle-rekor1": 1,
            "key-bundle-rekor2-tsa": 1,
            "key-bundle-tsa-only": 1,
            "key-classic-notlog": 2,
            "key-classic-rekor1": 1,
            "key-types": 14,
            "keyless-bundle-rekor1": 1,
            "keyless-bundle-rekor2-tsa": 1,
            "keyless-bundle-tsa-only": 1,
            "keyless-classic-sig-att-rekor1-tsa": 2,
            "negative-forged-classic-keyless": 1,
            "notation-jws-cose": 0,
            "notation-jws-cose-tsa": 0,
        }
        "#);
    }
}

#[tokio::test]
async fn whatever_real_tools_stored_beside_an_image_is_found() {
    let Some(registry) = start(Access::Open).await else { return };
    find_all(registry.client(), registry.entry()).await;
}

#[tokio::test]
async fn whatever_real_tools_stored_is_found_once_where_there_is_a_list_as_well_as_the_tag() {
    let Some(registry) = ReferrersRegistry::start().await else { return };
    find_all(registry.client(), registry.entry()).await;
}

#[tokio::test]
async fn a_list_of_referrers_is_enough() {
    let (Some(fixtures), Some(registry)) = (shared("fixtures"), ReferrersRegistry::start().await) else {
        return;
    };
    let folder = fixtures.join("oci/keyless-bundle-rekor2-tsa");
    let (layout, client) = (Layout::open(&folder), registry.client());
    let image = layout.tag("v1").unwrap();
    let tag = image.as_str().replace(':', "-");
    let referrer = digest(&layout.manifest(&layout.tag(&tag).unwrap())["manifests"][0]);
    let manifest = layout.manifest(&referrer);
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        client.put_blob(REPOSITORY, EMPTY, layout.blob(&digest(blob))).await.unwrap();
    }
    // Nothing but this: neither the image nor the tag.
    let content = String::from_utf8(layout.blob(&referrer)).unwrap();
    client.put_manifest(REPOSITORY, referrer.as_str(), MANIFEST, content).await.unwrap();

    let ours = asking(settings([registry.entry()]), Keyring::default());
    let found = beside(&ours, client.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(found, Ok(layout.candidates(&image)), "{}", registry.log());
    let mut asked = registry.asked(5).await;
    asked[..3].sort();
    let layer = digest(&manifest["layers"][0]);
    let wanted = [
        format!("manifests/{tag} 404"),
        format!("manifests/{tag}.sig 404"),
        format!("referrers/{image} 200"),
        format!("manifests/{referrer} 200"),
        format!("blobs/{layer} 200"),
    ];
    assert_eq!(asked, wanted.map(|line| format!("GET /v2/{REPOSITORY}/{line}")));
}

#[rstest]
#[case::signatures(SIGNATURES, "layer")]
#[case::attestations(ATTESTATIONS, "envelope")]
#[case::both(BOTH, "layer envelope")]
#[tokio::test]
async fn only_what_is_wanted_is_asked_for(#[case] wanted: Attached, #[case] words: &str) {
    let (Some(fixtures), Some(registry)) = (shared("fixtures"), start(Access::Open).await) else { return };
    let folder = fixtures.join("oci/keyless-classic-sig-att-rekor1-tsa");
    let layout = Layout::open(&folder);
    registry.push_layout(REPOSITORY, &layout).await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let image = layout.tag("v1").unwrap();
    let found = beside(&ours, registry.host(), &image, wanted, &Keyring::default()).await;
    assert_eq!(told(&found), words);
    let kinds = if wanted == BOTH { 2 } else { 1 };
    assert_eq!(registry.asked(2 + 2 * kinds).await.len(), 2 + 2 * kinds, "{:?}", registry.asked(0).await);
}

/// Nobody asks twice without need, with a token or without.
#[rstest]
#[case::open(Access::Open, 1, 0)]
#[case::basic(Access::Basic, 2, 0)]
#[case::token(Access::Token, 2, 1)]
#[tokio::test]
async fn a_signed_image_costs_six_requests_and_what_the_login_costs(
    #[case] access: Access,
    #[case] resolving: usize,
    #[case] tokens: usize,
) {
    let (Some(fixtures), Some(registry)) = (shared("fixtures"), start(access).await) else { return };
    let folder = fixtures.join("oci/keyless-bundle-rekor2-tsa");
    let layout = Layout::open(&folder);
    registry.push_layout(REPOSITORY, &layout).await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let alice = registry.keyring("alice", "wonderland", "");
    let image = resolve(&ours, &format!("{}/{REPOSITORY}:v1", registry.host()), &alice).await.unwrap();
    assert_eq!(registry.asked(resolving).await.len(), resolving);
    let found = beside(&ours, registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(told(&found), "bundle", "{}", registry.log());
    // Two lists and a tag, a manifest, a bundle.
    assert_eq!(registry.asked(resolving + 5).await.len(), resolving + 5, "{:?}", registry.asked(0).await);
    assert_eq!(registry.tokens().map_or(0, |server| server.received().len()), tokens);
}

#[rstest]
#[case::basic(Access::Basic)]
#[case::token(Access::Token)]
#[tokio::test]
async fn signatures_in_another_repository_are_read_with_what_belongs_there(#[case] access: Access) {
    let (Some(fixtures), Some(registry)) = (shared("fixtures"), start(access).await) else { return };
    let folder = fixtures.join("oci/key-classic-notlog");
    let layout = Layout::open(&folder);
    registry.push_layout("trust/signatures", &layout).await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let image = layout.tag("v1").unwrap();
    let place = format!("{}/trust/signatures", registry.host());
    for (repository, words) in [("trust", "layer layer"), ("shop", "error Denied")] {
        let keyring = registry.keyring("alice", "wonderland", repository);
        let found = look(&ours, &place, &image, SIGNATURES, &keyring, PATIENCE).await;
        assert_eq!(told(&found), words, "{}", registry.log());
    }
}

#[rstest]
#[case::open(Access::Open)]
#[case::basic(Access::Basic)]
#[case::token(Access::Token)]
#[tokio::test]
async fn nothing_is_found_only_by_who_may_look(#[case] access: Access) {
    let Some(registry) = start(access).await else { return };
    let image = registry.push(REPOSITORY, "1").await;
    let ours = asking(settings([registry.entry()]), Keyring::default());
    let ask = async |password: &str, image: &Digest| {
        let keyring = registry.keyring("alice", password, "");
        told(&beside(&ours, registry.host(), image, BOTH, &keyring).await)
    };
    assert_eq!(ask("wonderland", &image).await, "", "{}", registry.log());
    assert_eq!(ask("wonderland", &Digest::sha256(b"nothing")).await, "");
    if access != Access::Open {
        assert_eq!(ask("hunter2", &image).await, "error Denied");
        let nobody = beside(&ours, registry.host(), &image, BOTH, &Keyring::default()).await;
        assert_eq!(told(&nobody), "error Denied");
    }
}
