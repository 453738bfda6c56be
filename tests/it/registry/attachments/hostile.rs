//! What a registry does that means harm or is broken: each fault at each place, and what comes of it.

use rstest::rstest;

use super::{
    super::{
        asking,
        hostile::{BOUND, DEADLINE, Fault, fail, quick, token},
        keyring, plain, settings,
    },
    *,
};
use crate::support::hostile::{Act, ENDLESS, Hostile};

const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Where the fault is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In the list of referrers.
    List,
    /// In the list under the tag.
    Tag,
    /// In the manifest of a referrer.
    Manifest,
    /// In a bundle.
    Blob,
    /// In the manifest of cosign's tag.
    Sig,
}

/// An image with a bundle in each of the two lists and a layer under cosign's tag, and what the path of the
/// fault ends with.
fn shelf(at: At) -> (Shelf, Digest, String) {
    let (mut shelf, image) = Shelf::with_lists();
    // Longer than what drips within a request's time.
    let (listed, tagged) = ("listed ".repeat(10), "tagged ".repeat(10));
    let blob = Digest::sha256(listed.as_bytes());
    let (listed, tagged) = (shelf.put_bundle(&image, &listed), shelf.put_bundle(&image, &tagged));
    let tag = image.as_str().replace(':', "-");
    let end = match at {
        At::List => format!("/referrers/{image}"),
        At::Tag => format!("/manifests/{tag}"),
        At::Manifest => format!("/manifests/{}", digest(&listed)),
        At::Blob => format!("/blobs/{blob}"),
        At::Sig => format!("/manifests/{tag}.sig"),
    };
    shelf.list(&image, &[listed]);
    shelf.list_under_tag(&image, &[tagged]);
    let layer = shelf.put_signature("payload", "signature");
    shelf.put_tagged(&image, "sig", &[layer]);
    (shelf, image, end)
}

/// The same with something else, as long, in the place of the fault.
fn swapped(mut shelf: Shelf, end: &str) -> Shelf {
    let name = end.rsplit('/').next().unwrap();
    let contents = shelf.manifests.get_mut(name).map(|(_, content)| content).or(shelf.blobs.get_mut(name));
    if let Some(content) = contents {
        content.reverse();
    }
    shelf
}

/// A registry that wants a token, and has one fault.
async fn registry(at: At, fault: Fault, elsewhere: String) -> (Hostile, Digest) {
    let (shelf, image, end) = shelf(at);
    let swapped = swapped(shelf.clone(), &end);
    let registry = Hostile::start(move |request| {
        if request.path() == "/token" {
            return Act::Answer(token());
        }
        if request.header("authorization").is_none_or(|found| !found.starts_with("Bearer ")) {
            let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", request.origin);
            return Act::Answer(Reply::status(401).header("www-authenticate", &challenge));
        }
        let good = shelf.answer(request);
        match (fault, at) {
            _ if !request.path().ends_with(&end) => Act::Answer(good),
            (Fault::WrongDigest, At::Manifest | At::Blob) => Act::Answer(swapped.answer(request)),
            (Fault::WrongDigest, At::List | At::Tag | At::Sig) => {
                Act::Answer(list(&[]).header("docker-content-digest", OTHER))
            }
            _ => fail(fault, good, request, &elsewhere),
        }
    })
    .await;
    (registry, image)
}

#[rstest]
#[case(Fault::Silent, ["error TimedOut"; 5])]
#[case(Fault::Drips, ["error TimedOut"; 5])]
#[case(Fault::Resets, ["error Unreachable"; 5])]
#[case(Fault::HangsUp, ["error Unreachable"; 5])]
#[case(Fault::CutOff, ["error Unreachable"; 5])]
#[case(Fault::EndlessHeaders, ["error Unreachable"; 5])]
#[case(Fault::Says(401), ["error Denied", "error Denied", "Denied bundle layer", "Denied bundle layer", "error Denied"])]
#[case(Fault::Says(403), ["error Denied", "error Denied", "Denied bundle layer", "Denied bundle layer", "error Denied"])]
#[case(Fault::Says(404), ["bundle layer", "bundle layer", "NotFound bundle layer", "NotFound bundle layer", "bundle bundle"])]
#[case(Fault::Says(418), ["error Malformed", "error Malformed", "Malformed bundle layer", "Malformed bundle layer", "error Malformed"])]
#[case(Fault::Says(500), ["error Unreachable"; 5])]
#[case(Fault::Says(503), ["error Unreachable"; 5])]
#[case(Fault::SaysLater(429, "1"), ["error TimedOut|error Throttled(Some(1s))"; 5])]
#[case(Fault::SaysLater(429, "3600"), ["error Throttled(Some(3600s))"; 5])]
#[case(Fault::Endless, ["error TooLarge(list of referrers)", "error TooLarge(list of referrers)", "Malformed bundle layer", "Malformed bundle layer", "error TooLarge(manifest)"])]
#[case(Fault::Compressed, ["error Malformed", "error Malformed", "Malformed bundle layer", "Malformed bundle layer", "error Malformed"])]
#[case(Fault::WrongDigest, ["error Malformed", "error Malformed", "Malformed bundle layer", "Malformed bundle layer", "error Malformed"])]
#[case(Fault::Loops, ["error Malformed", "error Malformed", "Malformed bundle layer", "Malformed bundle layer", "error Malformed"])]
#[case(Fault::PointsElsewhere, ["error Forbidden", "error Forbidden", "Forbidden bundle layer", "Forbidden bundle layer", "error Forbidden"])]
#[tokio::test]
async fn a_fault_is_named_in_time_and_is_never_nothing(
    #[values(At::List, At::Tag, At::Manifest, At::Blob, At::Sig)] at: At,
    #[case] fault: Fault,
    #[case] wanted: [&str; 5],
) {
    let elsewhere = Hostile::start(|_| Act::Answer(list(&[]))).await;
    let (registry, image) = registry(at, fault, format!("http://{}", elsewhere.host())).await;
    let ours = asking(quick(&registry.host()), Keyring::default());
    let alice = keyring(&registry.host(), "alice", "hunter2");
    let start = Instant::now();
    let place = format!("{}/{REPOSITORY}", registry.host());
    let found = told(&look(&ours, &place, &image, SIGNATURES, &alice, DEADLINE).await);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert!(wanted[at as usize].split('|').any(|wanted| wanted == found), "{found}");
    assert!(registry.sent() < ENDLESS, "{} bytes were read", registry.sent());
    assert_eq!(elsewhere.received().len(), 0, "a loopback address that nobody listed is not asked");
}

/// The content of large registries lies elsewhere, and comes from there without anybody's password.
#[tokio::test]
async fn a_bundle_may_come_from_elsewhere_and_the_password_does_not_go_there() {
    let (shelf, image, end) = shelf(At::Blob);
    let elsewhere = {
        let shelf = shelf.clone();
        Hostile::start(move |request| Act::Answer(shelf.answer(request))).await
    };
    let origin = elsewhere.named_origin();
    let registry = Hostile::start(move |request| match request.header("authorization") {
        None => Act::Answer(Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")),
        Some(_) if request.path().ends_with(&end) => {
            Act::Answer(Reply::status(307).header("location", &format!("{origin}{}", request.target)))
        }
        Some(_) => Act::Answer(shelf.answer(request)),
    })
    .await;
    let settings = settings([plain(&registry.host()), plain(&elsewhere.named_host())]);
    let ours = asking(settings, Keyring::default());
    let alice = keyring(&registry.host(), "alice", "hunter2");
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &alice).await;
    assert_eq!(told(&found), "bundle bundle layer");
    assert_eq!(elsewhere.received().len(), 1);
    assert!(elsewhere.received().iter().all(|request| request.header("authorization").is_none()));
}

/// What a registry with this on its shelf is found to hold, in words, and how many bytes that took.
async fn find(shelf: Shelf, image: &Digest, wanted: Attached) -> (String, Hostile) {
    let registry = Hostile::start(move |request| Act::Answer(shelf.answer(request))).await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), image, wanted, &Keyring::default()).await;
    (told(&found), registry)
}

fn strangers(count: usize) -> Vec<Value> {
    (0..count).map(|number| descriptor(MANIFEST, number.to_string().as_bytes())).collect()
}

#[rstest]
#[case::a_hundred_thousand(100_000, "error TooLarge(list of referrers)")]
#[case::ten_thousand(10_000, "error TooMany(referrers)")]
#[case::one_too_many(65, "error TooMany(referrers)")]
#[tokio::test]
async fn more_referrers_than_are_looked_at_are_too_many(
    #[case] count: usize,
    #[case] wanted: &str,
    #[values(true, false)] listed: bool,
) {
    let (mut shelf, image) = Shelf::with_lists();
    match listed {
        true => shelf.list(&image, &strangers(count)),
        false => shelf.list_under_tag(&image, &strangers(count)),
    }
    let (found, registry) = find(shelf, &image, SIGNATURES).await;
    assert_eq!(found, wanted);
    assert!(registry.received().len() <= 3, "{:?}", lines(&registry.received()));
}

#[tokio::test]
async fn both_lists_together_hold_no_more_than_are_looked_at() {
    let (mut shelf, image) = Shelf::with_lists();
    let strangers = strangers(65);
    shelf.list(&image, &strangers[..40]);
    shelf.list_under_tag(&image, &strangers[40..]);
    assert_eq!(find(shelf, &image, SIGNATURES).await.0, "error TooMany(referrers)");

    let (mut shelf, image) = Shelf::with_lists();
    let referrers: Vec<_> = (0..64).map(|number| shelf.put_bundle(&image, &format!("{number}"))).collect();
    shelf.list(&image, &referrers);
    shelf.list_under_tag(&image, &referrers);
    assert_eq!(find(shelf, &image, SIGNATURES).await.0, ["bundle"; 64].join(" "));
}

#[rstest]
#[case::as_many_as_are_looked_at(64, 0, 0, None)]
#[case::one_too_many(65, 0, 0, Some("error TooMany(signatures)"))]
#[case::ten_thousand(10_000, 0, 0, Some("error TooMany(signatures)"))]
#[case::signatures_and_attestations(32, 33, 0, Some("error TooMany(signatures)"))]
#[case::with_bundles(32, 16, 16, None)]
#[case::with_a_bundle_too_many(32, 16, 17, Some("error TooMany(signatures)"))]
#[case::bundles_of_one_referrer(0, 0, 65, Some("error TooMany(signatures)"))]
#[tokio::test]
async fn more_signatures_than_are_looked_at_are_too_many(
    #[case] layers: usize,
    #[case] envelopes: usize,
    #[case] bundles: usize,
    #[case] wanted: Option<&str>,
) {
    let (mut shelf, image) = Shelf::with_lists();
    let layer = shelf.put_signature("payload", "signature");
    shelf.put_tagged(&image, "sig", &vec![layer; layers]);
    let envelope = shelf.put_blob(ENVELOPE, "envelope");
    shelf.put_tagged(&image, "att", &vec![envelope; envelopes]);
    if bundles > 0 {
        let bundle = shelf.put_blob(BUNDLE, "bundle");
        let referrer = shelf.put_referrer(&image, &vec![bundle; bundles]);
        shelf.list(&image, &[referrer]);
    }
    let (found, registry) = find(shelf, &image, BOTH).await;
    let all =
        [vec!["bundle"; bundles], vec!["layer"; layers], vec!["envelope"; envelopes]].concat().join(" ");
    assert_eq!(found, wanted.unwrap_or(&all));
    let blobs = lines(&registry.received()).iter().filter(|line| line.contains("blobs/")).count();
    // What they share is fetched once; and nothing where there is too much.
    let contents = [layers, envelopes, bundles].iter().filter(|count| **count > 0).count();
    assert_eq!(blobs, if wanted.is_some() { 0 } else { contents });
}

/// What the descriptor says of the size of what it stands for.
#[derive(Clone, Copy, Debug)]
enum Size {
    Bytes(u64),
    Less(u64),
    More(u64),
}

#[rstest]
#[case::ten_gigabytes(Size::Bytes(10 << 30), false, ["TooLarge(manifest)", "TooLarge(blob)", "TooLarge(blob)"])]
#[case::all_that_there_is(Size::Bytes(u64::MAX), false, ["TooLarge(manifest)", "TooLarge(blob)", "TooLarge(blob)"])]
#[case::nothing(Size::Bytes(0), true, ["Malformed", "Malformed", "Malformed"])]
#[case::one_less(Size::Less(1), true, ["Malformed", "Malformed", "Malformed"])]
#[case::one_more(Size::More(1), true, ["Malformed", "Malformed", "Malformed"])]
#[case::much_more(Size::More(900_000), true, ["Malformed", "Malformed", "Malformed"])]
#[tokio::test]
async fn a_size_that_is_a_lie_or_too_much_is_no_signature(
    #[case] size: Size,
    #[case] asked: bool,
    #[case] wanted: [&str; 3],
) {
    let lie = |descriptor: &mut Value| {
        let honest = descriptor["size"].as_u64().unwrap();
        descriptor["size"] = match size {
            Size::Bytes(size) => size,
            Size::Less(less) => honest - less,
            Size::More(more) => honest + more,
        }
        .into();
    };
    for (at, wanted) in wanted.into_iter().enumerate() {
        let (mut shelf, image) = Shelf::with_lists();
        let place = if at == 2 {
            let mut layer = shelf.put_signature("payload", "signature");
            lie(&mut layer);
            shelf.put_tagged(&image, "sig", std::slice::from_ref(&layer));
            digest(&layer)
        } else {
            let mut layer = shelf.put_blob(BUNDLE, "bundle");
            if at == 1 {
                lie(&mut layer);
            }
            let mut referrer = shelf.put_referrer(&image, std::slice::from_ref(&layer));
            if at == 0 {
                lie(&mut referrer);
            }
            shelf.list(&image, std::slice::from_ref(&referrer));
            digest(if at == 0 { &referrer } else { &layer })
        };
        let registry = Hostile::start(move |request| Act::Answer(shelf.answer(request))).await;
        let ours = asking(settings([plain(&registry.host())]), Keyring::default());
        let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
        assert_eq!(told(&found), wanted, "{at}");
        assert_eq!(found.unwrap()[0].place, place, "{at}");
        let came = lines(&registry.received())
            .iter()
            .any(|line| line.ends_with(place.as_str()) && !line.contains("referrers/"));
        assert_eq!(came, asked, "{at}");
    }
}

/// One that is too large harms no other, and an attestation may be larger than a signature.
#[rstest]
#[case::for_signatures(SIGNATURES, "TooLarge(blob) bundle")]
#[case::for_attestations(ATTESTATIONS, "bundle bundle")]
#[case::for_both(BOTH, "bundle bundle")]
#[tokio::test]
async fn what_is_too_large_for_a_signature_may_be_an_attestation(
    #[case] wanted: Attached,
    #[case] words: &str,
) {
    let (mut shelf, image) = Shelf::with_lists();
    let large = shelf.put_bundle(&image, &"a".repeat((1 << 20) + 1));
    let right = shelf.put_bundle(&image, &"b".repeat(1 << 20));
    shelf.list(&image, &[large, right]);
    assert_eq!(find(shelf, &image, wanted).await.0, words);
}

#[tokio::test]
async fn no_more_than_the_budget_is_read_for_one_image() {
    let (mut shelf, image) = Shelf::with_lists();
    let size = 22 << 20;
    let layers: Vec<_> = (0..3)
        .map(
            |number| json!({"mediaType": BUNDLE, "digest": Digest::sha256(&[number]).as_str(), "size": size}),
        )
        .collect();
    let fits = shelf.put_referrer(&image, &layers[..2]);
    let over = shelf.put_referrer(&image, &layers);
    for (referrer, wanted, requests) in
        [(fits, "NotFound NotFound", 3 + 1 + 2), (over, "error TooLarge(content beside the image)", 3 + 1)]
    {
        let mut shelf = shelf.clone();
        shelf.list(&image, &[referrer]);
        let (found, registry) = find(shelf, &image, ATTESTATIONS).await;
        assert_eq!(found, wanted);
        assert_eq!(registry.received().len(), requests);
    }
}

/// Many that share one content keep it each.
#[tokio::test]
async fn what_is_shared_counts_for_each_who_shares_it() {
    let (mut shelf, image) = Shelf::new();
    let layer = shelf.put_blob(ENVELOPE, "e".repeat(2 << 20));
    shelf.put_tagged(&image, "att", &vec![layer; 33]);
    let (found, registry) = find(shelf, &image, ATTESTATIONS).await;
    assert_eq!(found, "error TooLarge(content beside the image)");
    assert_eq!(registry.received().len(), 3);
}

#[rstest]
#[case::no_json("no JSON", ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::nothing("", ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::a_list("[]", ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::both(r#"{"schemaVersion":2,"config":{},"layers":[{"mediaType":"a","digest":"DIGEST","size":1}],"manifests":[]}"#, ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::no_digest(r#"{"schemaVersion":2,"layers":[{"mediaType":"a","digest":"../../etc","size":1}]}"#, ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::negative(r#"{"schemaVersion":2,"layers":[{"mediaType":"a","digest":"DIGEST","size":-1}]}"#, ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[case::a_manifest(r#"{"schemaVersion":2,"config":{},"layers":[]}"#, ["error Malformed", "error Malformed", "", ""])]
#[case::an_empty_index(r#"{"schemaVersion":2,"manifests":[]}"#, ["", "", "", "error Malformed"])]
#[case::an_index_of_null(r#"{"schemaVersion":2,"manifests":null}"#, ["", "", "", "error Malformed"])]
#[case::neither(r#"{"schemaVersion":2}"#, ["error Malformed", "error Malformed", "", "error Malformed"])]
#[case::an_entry_without_size(r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"DIGEST"}]}"#, ["error Malformed", "error Malformed", "Malformed", "error Malformed"])]
#[tokio::test]
async fn what_is_no_manifest_is_no_signature_and_no_list(#[case] content: &str, #[case] wanted: [&str; 4]) {
    let content = content.replace("DIGEST", OTHER);
    for (at, wanted) in wanted.into_iter().enumerate() {
        let (mut shelf, image) = Shelf::with_lists();
        let tag = image.as_str().replace(':', "-");
        let media_type = if at == 1 { INDEX } else { MANIFEST };
        let broken = shelf.put_raw_manifest(media_type, content.clone());
        match at {
            0 => {}
            1 => shelf.tag(&tag, &broken),
            2 => shelf.list(&image, &[broken]),
            _ => shelf.tag(&format!("{tag}.sig"), &broken),
        }
        let content = content.clone();
        let registry =
            Hostile::start(move |request| match request.path().contains("/referrers/") && at == 0 {
                true => Act::Answer(Reply::status(200).header("content-type", INDEX).body(content.clone())),
                false => Act::Answer(shelf.answer(request)),
            })
            .await;
        let ours = asking(settings([plain(&registry.host())]), Keyring::default());
        let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
        assert_eq!(told(&found), wanted, "{at}");
    }
}

/// A page for people is no list, whatever its status.
#[rstest]
#[case::html("text/html", "<html></html>")]
#[case::index_of_another_type("application/json", r#"{"schemaVersion":2,"manifests":[]}"#)]
#[case::docker(
    "application/vnd.docker.distribution.manifest.list.v2+json",
    r#"{"schemaVersion":2,"manifests":[]}"#
)]
#[tokio::test]
async fn a_list_is_an_index_by_its_header_too(#[case] media_type: &'static str, #[case] body: &'static str) {
    let (shelf, image) = Shelf::with_lists();
    let registry = Hostile::start(move |request| match request.path().contains("/referrers/") {
        true => Act::Answer(Reply::status(200).header("content-type", media_type).body(body)),
        false => Act::Answer(shelf.answer(request)),
    })
    .await;
    let ours = asking(settings([plain(&registry.host())]), Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "error Malformed");
}

#[tokio::test]
async fn a_bundle_that_is_no_text_is_no_bundle() {
    let (mut shelf, image) = Shelf::with_lists();
    let layer = shelf.put_blob(BUNDLE, [0xff, 0xfe]);
    let referrer = shelf.put_referrer(&image, &[layer]);
    shelf.list(&image, &[referrer]);
    assert_eq!(find(shelf, &image, SIGNATURES).await.0, "Malformed");
}

/// Addresses in descriptors are a stranger's choice.
#[tokio::test]
async fn urls_of_a_descriptor_are_not_followed() {
    let elsewhere = Hostile::start(|_| Act::Answer(Reply::status(200).body("bundle"))).await;
    let (mut shelf, image) = Shelf::with_lists();
    let mut layer = descriptor(BUNDLE, b"bundle");
    layer["urls"] = json!([format!("{}/bundle", elsewhere.named_origin())]);
    let referrer = shelf.put_referrer(&image, &[layer]);
    shelf.list(&image, &[referrer]);
    let registry = Hostile::start(move |request| Act::Answer(shelf.answer(request))).await;
    let settings = settings([plain(&registry.host()), plain(&elsewhere.named_host())]);
    let ours = asking(settings, Keyring::default());
    let found = beside(&ours, &registry.host(), &image, SIGNATURES, &Keyring::default()).await;
    assert_eq!(told(&found), "NotFound");
    assert_eq!(elsewhere.connections(), 0);
}
