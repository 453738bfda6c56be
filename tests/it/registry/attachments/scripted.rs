//! What is asked for, in which order, and what is made of the answers.

use std::sync::{Arc, Mutex};

use rstest::rstest;
use tidewaiter::{registry::RegistryEntry, review::ports::Resolver as _};

use super::{
    super::{asking, keyring, plain, settings},
    *,
};
use crate::support::hostile::{Act, Hostile};

/// How long each answer takes where it matters what waits for what.
const PAUSE: Duration = Duration::from_secs(1);

async fn serve(shelf: Shelf) -> Hostile {
    Hostile::start(move |request| Act::Answer(shelf.answer(request))).await
}

/// What a registry with this on its shelf is found to hold.
async fn find(shelf: Shelf, image: &Digest, wanted: Attached) -> (Found, Hostile) {
    let registry = serve(shelf).await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), image, wanted, &Keyring::default()).await;
    (found, registry)
}

/// What came, in waves: what is in one was waited for by what is in the next.
fn waves(received: &[Received]) -> Vec<Vec<String>> {
    let mut waves: Vec<Vec<String>> = Vec::new();
    let mut last = None;
    for (request, line) in received.iter().zip(lines(received)) {
        if last.is_none_or(|last| request.came.duration_since(last) > PAUSE / 2) {
            waves.push(Vec::new());
        }
        last = Some(request.came);
        waves.last_mut().unwrap().push(line);
    }
    waves.iter_mut().for_each(|wave| wave.sort());
    waves
}

/// Resolves the tag `1`, and looks what stands beside it. Answers with what that took.
async fn cold(shelf: Shelf, wanted: Attached) -> (Found, Vec<Vec<String>>) {
    let registry = Hostile::start(move |request| Act::Later(PAUSE, shelf.answer(request))).await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let image = format!("{}/{REPOSITORY}:1", registry.host()).parse().unwrap();
    let image = ours.resolve(&image, &[], Instant::now() + PATIENCE).await.unwrap();
    let found = beside(&ours, &registry.host(), &image, wanted, &Keyring::default()).await;
    (found, waves(&registry.received()))
}

#[rstest]
#[case::listed(true)]
#[case::tagged(false)]
#[tokio::test]
async fn a_cold_signed_image_takes_four_waits_and_six_requests(#[case] listed: bool) {
    let (mut shelf, image) = if listed { Shelf::with_lists() } else { Shelf::new() };
    let bundle = shelf.put_bundle(&image, "{}");
    match listed {
        true => shelf.list(&image, std::slice::from_ref(&bundle)),
        false => shelf.list_under_tag(&image, std::slice::from_ref(&bundle)),
    }
    let tag = image.as_str().replace(':', "-");
    let (found, waves) = cold(shelf, SIGNATURES).await;
    assert_eq!(told(&found), "bundle");
    assert_eq!(found.unwrap()[0].place, digest(&bundle));
    let wanted = [
        vec!["HEAD manifests/1".to_owned()],
        vec![
            format!("GET manifests/{tag}"),
            format!("GET manifests/{tag}.sig"),
            format!("GET referrers/{image}"),
        ],
        vec![format!("GET manifests/{}", digest(&bundle))],
        vec![format!("GET blobs/{}", Digest::sha256(b"{}"))],
    ];
    assert_eq!(waves, wanted);
}

#[tokio::test]
async fn a_cold_image_with_a_classic_signature_takes_three_waits_and_five_requests() {
    let (mut shelf, image) = Shelf::new();
    let layers = [shelf.put_signature("payload", "one"), shelf.put_signature("payload", "two")];
    shelf.put_tagged(&image, "sig", &layers);
    let (found, waves) = cold(shelf, SIGNATURES).await;
    assert_eq!(told(&found), "layer layer");
    assert_eq!(waves.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 1], "{waves:?}");
    assert_eq!(waves[2], [format!("GET blobs/{}", Digest::sha256(b"payload"))]);
}

#[tokio::test]
async fn a_cold_image_with_everything_takes_four_waits() {
    let (mut shelf, image) = Shelf::with_lists();
    let referrers: Vec<_> = (0..4).map(|number| shelf.put_bundle(&image, &format!("{number}"))).collect();
    shelf.list(&image, &referrers[..3]);
    shelf.list_under_tag(&image, &referrers[1..]);
    let layer = shelf.put_signature("payload", "one");
    shelf.put_tagged(&image, "sig", &[layer]);
    let layer = shelf.put_blob(ENVELOPE, "envelope");
    shelf.put_tagged(&image, "att", &[layer]);
    let (found, waves) = cold(shelf, BOTH).await;
    assert_eq!(told(&found), "bundle bundle bundle bundle layer envelope");
    assert_eq!(waves.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4, 4, 6], "{waves:?}");
}

#[tokio::test]
async fn what_is_found_is_what_was_stored() {
    let (mut shelf, image) = Shelf::with_lists();
    let bundle = shelf.put_bundle(&image, "a bundle");
    shelf.list(&image, std::slice::from_ref(&bundle));
    let layers = [shelf.put_signature("payload", "one"), shelf.put_signature("payload", "two")];
    shelf.put_tagged(&image, "sig", &layers);
    let mut envelope = shelf.put_blob(ENVELOPE, "envelope");
    envelope["annotations"] = json!({"predicateType": "https://slsa.dev/provenance/v1"});
    shelf.put_tagged(&image, "att", std::slice::from_ref(&envelope));
    let annotated = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let signed = |signature| Candidate {
        place: Digest::sha256(b"payload"),
        material: Material::SimpleSigning {
            payload: b"payload".as_slice().into(),
            annotations: annotated("dev.cosignproject.cosign/signature", signature),
        },
    };
    let wanted = vec![
        Candidate { place: digest(&bundle), material: Material::Bundle("a bundle".into()) },
        signed("one"),
        signed("two"),
        Candidate {
            place: digest(&envelope),
            material: Material::Envelope {
                envelope: b"envelope".as_slice().into(),
                annotations: annotated("predicateType", "https://slsa.dev/provenance/v1"),
            },
        },
    ];
    assert_eq!(find(shelf, &image, BOTH).await.0, Ok(wanted));
}

/// Whatever the list says of their type: what counts is in the layers.
#[rstest]
#[case(BUNDLE, "bundle", 2)]
#[case("application/vnd.dev.sigstore.bundle+json;version=0.1", "bundle", 2)]
#[case("application/vnd.dev.sigstore.bundle+json;version=0.2", "bundle", 2)]
#[case("application/vnd.dev.sigstore.bundle+json;version=0.3", "bundle", 2)]
#[case("application/vnd.dev.sigstore.bundle.v9+json", "bundle", 2)]
#[case("application/spdx+json", "", 1)]
#[case("application/jose+json", "", 1)]
#[case("application/cose", "", 1)]
#[case("application/octet-stream", "", 1)]
#[tokio::test]
async fn a_bundle_is_told_by_its_layer(
    #[case] media_type: &str,
    #[case] words: &str,
    #[case] requests: usize,
    #[values(EMPTY, BUNDLE, "application/spdx+json")] listed_as: &str,
) {
    let (mut shelf, image) = Shelf::with_lists();
    let layer = shelf.put_blob(media_type, "content");
    let mut referrer = shelf.put_referrer(&image, &[layer]);
    referrer["artifactType"] = listed_as.into();
    shelf.list(&image, &[referrer]);
    let (found, registry) = find(shelf, &image, SIGNATURES).await;
    assert_eq!(told(&found), words);
    assert_eq!(registry.received().len(), 3 + requests);
}

#[tokio::test]
async fn what_is_about_another_image_is_nobodys_signature_here() {
    let (mut shelf, image) = Shelf::with_lists();
    let other = Digest::sha256(b"another image");
    let about_other = shelf.put_bundle(&other, "bundle");
    let layer = shelf.put_blob(BUNDLE, "bundle");
    let about_nothing = shelf.put_manifest(MANIFEST, &json!({"schemaVersion": 2, "layers": [layer]}));
    shelf.list(&image, &[about_other, about_nothing]);
    let (found, registry) = find(shelf, &image, SIGNATURES).await;
    assert_eq!(found, Ok(Vec::new()));
    assert!(lines(&registry.received()).iter().all(|line| !line.contains("blobs/")));
}

#[tokio::test]
async fn an_index_among_the_referrers_is_not_descended_into() {
    let (mut shelf, image) = Shelf::with_lists();
    let bundle = shelf.put_bundle(&image, "bundle");
    let mut nested = index(&[bundle]);
    nested["subject"] = json!({"mediaType": MANIFEST, "digest": image.as_str(), "size": 42});
    let nested = shelf.put_manifest(INDEX, &nested);
    let mut disguised = nested.clone();
    disguised["mediaType"] = MANIFEST.into();
    for (listed, requests) in [(nested, 3), (disguised, 4)] {
        let mut shelf = shelf.clone();
        shelf.list(&image, &[listed]);
        let (found, registry) = find(shelf, &image, SIGNATURES).await;
        assert_eq!(found, Ok(Vec::new()));
        assert_eq!(registry.received().len(), requests);
    }
}

#[tokio::test]
async fn the_tag_of_an_image_with_sha512_is_cut_to_what_a_tag_may_be() {
    let (mut shelf, _) = Shelf::new();
    let image: Digest = format!("sha512:{}{}", "a".repeat(64), "b".repeat(64)).parse().unwrap();
    let (bundle, other) =
        (shelf.put_bundle(&image, "bundle"), shelf.put_bundle(&Digest::sha256(b""), "other"));
    let list = shelf.put_manifest(INDEX, &index(&[bundle, other]));
    shelf.tag(&format!("sha512-{}", "a".repeat(64)), &list);
    let (found, registry) = find(shelf, &image, BOTH).await;
    assert_eq!(told(&found), "bundle");
    // Cosign's own tags would be too long, so nobody can have pushed them.
    assert_eq!(registry.received().len(), 2 + 2 + 1, "{:?}", lines(&registry.received()));
}

/// GitLab's registry answers so, and so an index's own images are no referrers.
#[tokio::test]
async fn a_tag_that_is_taken_for_the_digest_holds_no_list() {
    let (mut shelf, manifest) = Shelf::new();
    let children: Vec<_> = (0..3).map(|_| descriptor(MANIFEST, b"a child")).collect();
    let whole = digest(&shelf.put_manifest(INDEX, &index(&children)));
    for image in [manifest, whole] {
        let mut shelf = shelf.clone();
        let (media_type, content) = shelf.manifests[image.as_str()].clone();
        shelf.manifests.insert(image.as_str().replace(':', "-"), (media_type, content));
        let (found, registry) = find(shelf, &image, SIGNATURES).await;
        assert_eq!(found, Ok(Vec::new()));
        assert_eq!(registry.received().len(), 3);
    }
}

/// What registries without the list answer, beside 404. The tag that stands in for it counts.
#[rstest]
#[tokio::test]
async fn a_registry_that_knows_no_lists_has_none(#[values(400, 404, 405, 406, 501)] status: u16) {
    let (mut shelf, image) = Shelf::new();
    let bundle = shelf.put_bundle(&image, "bundle");
    shelf.list_under_tag(&image, &[bundle]);
    let registry = Hostile::start(move |request| match request.path().contains("/referrers/") {
        true => Act::Answer(Reply::status(status)),
        false => Act::Answer(shelf.answer(request)),
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "bundle");
}

/// Lists of referrers in pages, each with a `Link` header that `link` makes of the page's number.
async fn paged(
    pages: Vec<Vec<Value>>,
    shelf: Shelf,
    link: impl Fn(&Received, usize) -> Option<String> + Send + Sync + 'static,
) -> Hostile {
    Hostile::start(move |request| {
        if !request.path().contains("/referrers/") {
            return Act::Answer(shelf.answer(request));
        }
        let page: usize = request.query("page").map_or(0, |page| page.parse().unwrap());
        let reply = list(pages.get(page).map_or(&[][..], Vec::as_slice));
        Act::Answer(match link(request, page + 1) {
            Some(link) => reply.header("link", &link),
            None => reply,
        })
    })
    .await
}

#[rstest]
#[case::relative("</v2/shop/web/referrers/DIGEST?page=PAGE&n=1>; rel=\"next\"")]
#[case::absolute("<ORIGIN/v2/shop/web/referrers/DIGEST?page=PAGE>;rel=next")]
#[case::escaped("</v2/shop/web/referrers/ESCAPED?page=PAGE>; title=\"a, b\"; REL=\"last Next\"")]
#[case::second("</v2/>; rel=\"up\", <?page=PAGE>; rel=\"next\"")]
#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end(#[case] link: &'static str) {
    let (mut shelf, image) = Shelf::with_lists();
    let pages: Vec<_> =
        (0..5).map(|number| vec![shelf.put_bundle(&image, &format!("bundle {number}"))]).collect();
    let digest = image.to_string();
    let registry = paged(pages, shelf, move |request, next| {
        let link = link.replace("ORIGIN", &request.origin).replace("DIGEST", &digest);
        let link = link.replace("ESCAPED", &digest.replace(':', "%3A")).replace("PAGE", &next.to_string());
        (next < 5).then_some(link)
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "bundle bundle bundle bundle bundle");
    let lists = registry.received().iter().filter(|request| request.path().contains("/referrers/")).count();
    assert_eq!(lists, 5);
}

#[tokio::test]
async fn a_list_without_an_end_is_read_for_five_pages() {
    let (shelf, image) = Shelf::with_lists();
    let registry = paged(Vec::new(), shelf, |_, next| Some(format!("<?page={next}>; rel=\"next\""))).await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "error TooMany(pages of referrers)");
    let lists = registry.received().iter().filter(|request| request.path().contains("/referrers/")).count();
    assert_eq!(lists, 5);
}

#[rstest]
#[case::another_host("<ELSEWHERE/v2/shop/web/referrers/DIGEST?page=1>; rel=\"next\"", "Forbidden")]
#[case::another_host_without_scheme("<//localhost/v2/shop/web/referrers/DIGEST>; rel=\"next\"", "Forbidden")]
#[case::another_repository("</v2/shop/secrets/referrers/DIGEST?page=1>; rel=\"next\"", "Forbidden")]
#[case::another_image("</v2/shop/web/referrers/sha256:0?page=1>; rel=\"next\"", "Forbidden")]
#[case::another_api("</v2/shop/web/manifests/DIGEST>; rel=\"next\"", "Forbidden")]
#[case::up("<../../../../../admin?page=1>; rel=\"next\"", "Forbidden")]
#[case::another_scheme("<file:///etc/passwd>; rel=\"next\"", "Forbidden")]
#[case::no_url("<http://[>; rel=\"next\"", "Malformed")]
#[tokio::test]
async fn a_list_goes_on_where_it_began_or_not_at_all(#[case] link: &'static str, #[case] error: &str) {
    let (shelf, image) = Shelf::with_lists();
    let elsewhere = serve(shelf.clone()).await;
    let (origin, digest) = (elsewhere.named_origin(), image.to_string());
    let registry = paged(Vec::new(), shelf, move |_, _| {
        Some(link.replace("ELSEWHERE", &origin).replace("DIGEST", &digest))
    })
    .await;
    let settings = settings([plain(&registry.host()), plain(&elsewhere.named_host())]);
    let ours = asking(settings, Keyring::default());
    let alice = keyring(&registry.host(), "alice", "hunter2");
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(told(&found), format!("error {error}"));
    assert_eq!(elsewhere.connections(), 0);
    let lists = registry.received().iter().filter(|request| request.path().contains("/referrers/")).count();
    assert_eq!(lists, 1);
}

/// A user name in the URL would become an `Authorization` of the registry's own choice.
#[tokio::test]
async fn a_password_in_a_link_is_not_taken() {
    let (shelf, image) = Shelf::with_lists();
    let registry = paged(Vec::new(), shelf, |request, next| {
        let origin = request.origin.replace("://", "://mallory:secret@");
        (next == 1).then(|| format!("<{origin}{}?page=1>; rel=\"next\"", request.path()))
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(found, Ok(Vec::new()));
    let received = registry.received();
    assert_eq!(received.iter().filter(|request| request.path().contains("/referrers/")).count(), 2);
    assert!(received.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_page_that_is_not_there_is_no_end() {
    let (shelf, image) = Shelf::with_lists();
    let registry = Hostile::start(move |request| match request.query("page") {
        Some(_) => Act::Answer(Reply::status(404)),
        None if request.path().contains("/referrers/") => {
            Act::Answer(list(&[]).header("link", "<?page=1>; rel=\"next\""))
        }
        None => Act::Answer(shelf.answer(request)),
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "error Malformed");
}

/// Shows the shelf to whoever has the password in `shown`, and to all others what `refusal` makes.
async fn private(shelf: Shelf, shown: &'static str, refusal: fn() -> Reply) -> Hostile {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let wanted = format!("Basic {}", BASE64_STANDARD.encode(shown));
    Hostile::start(move |request| match request.header("authorization") {
        None => Act::Answer(Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")),
        Some(found) if found == wanted => Act::Answer(shelf.answer(request)),
        Some(_) => Act::Answer(refusal()),
    })
    .await
}

/// Registries that hide what somebody may not see say that it is not there.
#[rstest]
#[case::unauthorized(|| Reply::status(401).header("www-authenticate", "Basic realm=\"r\""))]
#[case::denied(|| Reply::status(403))]
#[case::hidden(|| Reply::status(404))]
#[tokio::test]
async fn each_credential_gets_its_try(#[case] refusal: fn() -> Reply) {
    let (mut shelf, image) = Shelf::new();
    let bundle = shelf.put_bundle(&image, "bundle");
    shelf.list_under_tag(&image, &[bundle]);
    let registry = private(shelf, "bob:builder", refusal).await;
    let bob = keyring(&registry.host(), "bob", "builder");
    let ours = asking(settings([plain(&registry.host())]), bob);
    let alice = keyring(&registry.host(), "alice", "wonderland");
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(told(&found), "bundle");
}

#[tokio::test]
async fn an_empty_list_ends_the_search_for_credentials() {
    let (shelf, image) = Shelf::with_lists();
    let registry = private(shelf, "alice:wonderland", || Reply::status(403)).await;
    let bob = keyring(&registry.host(), "bob", "builder");
    let ours = asking(settings([plain(&registry.host())]), bob);
    let alice = keyring(&registry.host(), "alice", "wonderland");
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(found, Ok(Vec::new()));
    // Three times without, and three times with the password.
    assert_eq!(registry.received().len(), 6);
}

/// All that is asked for at once shares one token, also when the one that was good so far is taken no longer.
#[tokio::test]
async fn a_token_that_is_taken_no_longer_is_renewed_once() {
    let (shelf, image) = signed("bundle");
    let tokens = Arc::new(Mutex::new(0));
    let registry = Hostile::start(move |request| {
        let mut given = tokens.lock().unwrap();
        if request.path() == "/token" {
            *given += 1;
            return Act::Answer(Reply::status(200).body(json!({"token": given.to_string()}).to_string()));
        }
        // The first token is good for the tag alone.
        let wanted = if request.path().ends_with("/manifests/1") { "Bearer 1" } else { "Bearer 2" };
        if request.header("authorization") == Some(wanted) {
            return Act::Answer(shelf.answer(request));
        }
        let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", request.origin);
        Act::Answer(Reply::status(401).header("www-authenticate", &challenge))
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let tag = format!("{}/{REPOSITORY}:1", registry.host()).parse().unwrap();
    assert_eq!(ours.resolve(&tag, &[], Instant::now() + PATIENCE).await.as_ref(), Ok(&image));
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "bundle");
    let asked = registry.received().iter().filter(|request| request.path() == "/token").count();
    assert_eq!(asked, 2);
}

/// The registry at `registry`, and a mirror of it.
fn mirrored(registry: &Hostile, mirror: &Hostile) -> Registries {
    let entry = RegistryEntry { mirrors: vec![mirror.host()], ..plain(&registry.host()) };
    asking(settings([entry, plain(&mirror.host())]), Keyring::default())
}

fn signed(content: &str) -> (Shelf, Digest) {
    let (mut shelf, image) = Shelf::with_lists();
    let bundle = shelf.put_bundle(&image, content);
    shelf.list(&image, &[bundle]);
    (shelf, image)
}

#[tokio::test]
async fn a_mirror_that_holds_signatures_is_enough() {
    let (shelf, image) = signed("bundle");
    let (registry, mirror) = (serve(shelf.clone()).await, serve(shelf).await);
    let alice = keyring(&registry.host(), "alice", "wonderland");
    let found = beside(&mirrored(&registry, &mirror), &registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(told(&found), "bundle");
    assert_eq!(registry.connections(), 0);
    assert!(mirror.received().iter().all(|request| request.header("authorization").is_none()));
}

#[derive(Clone, Copy, Debug)]
enum Mirror {
    Denies,
    Fails,
    HasAnEmptyList,
    HasNothing,
    LacksTheBlob,
}

/// Nothing in a mirror is nothing about the registry.
#[rstest]
#[tokio::test]
async fn a_mirror_hides_nothing(
    #[values(
        Mirror::Denies,
        Mirror::Fails,
        Mirror::HasAnEmptyList,
        Mirror::HasNothing,
        Mirror::LacksTheBlob
    )]
    mirror: Mirror,
) {
    let (shelf, image) = signed("bundle");
    let behind = match mirror {
        Mirror::HasAnEmptyList => Shelf::with_lists().0,
        Mirror::LacksTheBlob => Shelf { blobs: BTreeMap::new(), ..shelf.clone() },
        Mirror::Denies | Mirror::Fails | Mirror::HasNothing => Shelf::default(),
    };
    let mirror = Hostile::start(move |request| match mirror {
        Mirror::Denies => Act::Answer(Reply::status(403)),
        Mirror::Fails => Act::Answer(Reply::status(500)),
        _ => Act::Answer(behind.answer(request)),
    })
    .await;
    let registry = serve(shelf).await;
    let none = Keyring::default();
    let found = beside(&mirrored(&registry, &mirror), &registry.host(), &image, SIGNATURES, &none).await;
    assert_eq!(told(&found), "bundle");
    assert!(!mirror.received().is_empty());
}

/// Else `onError` would excuse every unsigned image of a cluster that reaches mirrors alone.
#[tokio::test]
async fn where_the_registry_itself_cannot_be_asked_what_a_mirror_lacks_is_not_there() {
    let (shelf, image) = Shelf::with_lists();
    let (registry, mirror) = (Hostile::start(|_| Act::HangUp).await, serve(shelf).await);
    let none = Keyring::default();
    let found = beside(&mirrored(&registry, &mirror), &registry.host(), &image, SIGNATURES, &none).await;
    assert_eq!(told(&found), "");
    // A mirror that could not say has not said that there is nothing.
    let mirror = Hostile::start(|_| Act::HangUp).await;
    let found = beside(&mirrored(&registry, &mirror), &registry.host(), &image, SIGNATURES, &none).await;
    assert_eq!(told(&found), "error Unreachable");
}

#[tokio::test]
async fn whoever_no_longer_wants_to_know_ends_the_look_up() {
    let (mut shelf, image) = signed("bundle");
    let layers: Vec<_> =
        (0..8).map(|number| shelf.put_signature(&format!("payload {number}"), "signature")).collect();
    shelf.put_tagged(&image, "sig", &layers);
    let registry = Hostile::start(move |request| Act::Later(PAUSE, shelf.answer(request))).await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let place = format!("{}/{REPOSITORY}", registry.host());
    let none = Keyring::default();
    let asked = look(&ours, &place, &image, SIGNATURES, &none, PATIENCE);
    assert!(tokio::time::timeout(PAUSE / 2, asked).await.is_err());
    tokio::time::sleep(2 * PAUSE).await;
    assert_eq!(registry.received().len(), 3);

    // And a deadline that has passed asks nobody.
    let late = look(&ours, &place, &image, SIGNATURES, &none, Duration::ZERO).await;
    assert_eq!(told(&late), "error TimedOut");
    assert_eq!(registry.received().len(), 3);
}

#[tokio::test]
async fn few_are_asked_for_at_once() {
    let (mut shelf, image) = Shelf::with_lists();
    let referrers: Vec<_> = (0..64).map(|number| shelf.put_bundle(&image, &format!("{number}"))).collect();
    shelf.list(&image, &referrers);
    let under_way = Arc::new(Mutex::new(Vec::new()));
    let seen = under_way.clone();
    let pause = Duration::from_millis(50);
    let registry = Hostile::start(move |request| {
        seen.lock().unwrap().push(Instant::now());
        Act::Later(pause, shelf.answer(request))
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(found.unwrap().len(), 64);
    // As many as came within one pause before each were under way with it.
    let came = under_way.lock().unwrap().clone();
    let most =
        came.iter().map(|last| came.iter().filter(|at| **at <= *last && *last - **at < pause).count()).max();
    assert_eq!(most, Some(8));
    assert_eq!(came.len(), 3 + 64 + 64);
}
