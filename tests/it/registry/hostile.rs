//! What a registry does that means harm or is broken: each fault at each place, and what comes of it.

use std::sync::{Arc, Mutex};

use rstest::rstest;
use tidewaiter::{image::Digest, registry::Timeouts};

use super::*;
use crate::support::{
    certs::Authority,
    hostile::{Act, ENDLESS, Hostile, Received, Reply, gzip_bomb},
};

/// How long one request, and a review, may take here.
const TOTAL: u64 = 2;
pub(super) const DEADLINE: Duration = Duration::from_secs(4);
/// When an answer comes too late, on however busy a machine.
pub(super) const BOUND: Duration = Duration::from_secs(30);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Where the fault is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// In the answer to HEAD.
    Resolve,
    /// In the answer to GET, as the registry does not know HEAD.
    Manifest,
    /// In the token server's answer.
    Token,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Compressed,
    CutOff,
    Drips,
    Endless,
    EndlessHeaders,
    HangsUp,
    Loops,
    PointsElsewhere,
    Resets,
    Says(u16),
    SaysLater(u16, &'static str),
    Silent,
    WrongDigest,
}

fn manifest() -> Reply {
    let digest = Digest::sha256(BODY.as_bytes());
    Reply::status(200)
        .header("content-type", MANIFEST)
        .header("docker-content-digest", digest.as_str())
        .body(BODY)
}

pub(super) fn token() -> Reply {
    Reply::status(200).header("content-type", "application/json").body(r#"{"token":"abc"}"#)
}

/// What comes of a fault in the place of an answer that is `good`.
pub(super) fn fail(fault: Fault, good: Reply, request: &Received, elsewhere: &str) -> Act {
    match fault {
        Fault::Compressed => Act::Answer(
            Reply::status(200)
                .header("content-type", MANIFEST)
                .header("content-encoding", "gzip")
                .body(gzip_bomb()),
        ),
        Fault::CutOff => Act::CutOff(good),
        Fault::Drips => Act::Drip(good),
        Fault::Endless => Act::Endless(good.body(vec![b' '; 1 << 16])),
        Fault::EndlessHeaders => Act::EndlessHeaders,
        Fault::HangsUp => Act::HangUp,
        Fault::Loops => Act::Answer(Reply::status(307).header("location", &request.target)),
        Fault::PointsElsewhere => {
            Act::Answer(Reply::status(307).header("location", &format!("{elsewhere}{}", request.target)))
        }
        Fault::Resets => Act::Reset,
        Fault::Says(status) => Act::Answer(Reply::status(status)),
        Fault::SaysLater(status, seconds) => {
            Act::Answer(Reply::status(status).header("retry-after", seconds))
        }
        Fault::Silent => Act::Silence,
        Fault::WrongDigest => Act::Answer(
            Reply::status(200)
                .header("content-type", MANIFEST)
                .header("docker-content-digest", OTHER)
                .body(BODY),
        ),
    }
}

/// A registry that wants a token, and has one fault.
async fn registry(at: At, fault: Fault, elsewhere: String) -> Hostile {
    Hostile::start(move |request| {
        let fault = |good| fail(fault, good, request, &elsewhere);
        match (request.path(), &*request.method) {
            ("/token", _) if at == At::Token => fault(token()),
            ("/token", _) => Act::Answer(token()),
            _ if request.header("authorization").is_none_or(|found| !found.starts_with("Bearer ")) => {
                let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", request.origin);
                Act::Answer(Reply::status(401).header("www-authenticate", &challenge))
            }
            (_, "HEAD") if at == At::Resolve => fault(manifest()),
            (_, "HEAD") if at == At::Manifest => Act::Answer(Reply::status(405)),
            (_, "GET") if at == At::Manifest => fault(manifest()),
            _ => Act::Answer(manifest()),
        }
    })
    .await
}

/// Settings with short timeouts, for the registry at `host`.
pub(super) fn quick(host: &str) -> RegistrySettings {
    RegistrySettings {
        timeouts: Timeouts { connect_seconds: TOTAL, read_seconds: TOTAL, total_seconds: TOTAL },
        ..settings([plain(host)])
    }
}

#[rstest]
#[case(Fault::Silent, ["TimedOut", "TimedOut", "TimedOut"])]
#[case(Fault::Drips, ["TimedOut", "TimedOut", "TimedOut"])]
#[case(Fault::Resets, ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::HangsUp, ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::CutOff, ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::Says(401), ["Denied", "Denied", "Denied"])]
#[case(Fault::Says(403), ["Denied", "Denied", "Denied"])]
#[case(Fault::Says(404), ["NotFound", "NotFound", "Malformed"])]
#[case(Fault::Says(418), ["Malformed", "Malformed", "Malformed"])]
#[case(Fault::Says(500), ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::Says(503), ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::SaysLater(429, "1"), ["TimedOut|Throttled(Some(1s))", "TimedOut|Throttled(Some(1s))", "TimedOut|Throttled(Some(1s))"])]
#[case(Fault::SaysLater(429, "3600"), ["Throttled(Some(3600s))", "Throttled(Some(3600s))", "Throttled(Some(3600s))"])]
#[case(Fault::Endless, ["", "TooLarge(manifest)", "TooLarge(token)"])]
#[case(Fault::EndlessHeaders, ["Unreachable", "Unreachable", "Unreachable"])]
#[case(Fault::Compressed, ["", "Malformed", "Malformed"])]
#[case(Fault::WrongDigest, ["", "Malformed", "Malformed"])]
#[case(Fault::Loops, ["Malformed", "Malformed", "Forbidden"])]
#[case(Fault::PointsElsewhere, ["Forbidden", "Forbidden", "Forbidden"])]
#[tokio::test]
async fn a_fault_is_named_in_time_and_admits_nothing(
    #[values(At::Resolve, At::Manifest, At::Token)] at: At,
    #[case] fault: Fault,
    #[case] wanted: [&str; 3],
) {
    // An answer to HEAD has no body that could be endless or compressed, and its digest is believed: what
    // comes of those is `what_an_answer_to_head_alone_cannot_do`'s part.
    let wanted = wanted[at as usize];
    if wanted.is_empty() {
        return;
    }
    let elsewhere = Hostile::start(|_| Act::Answer(manifest())).await;
    let registry = registry(at, fault, format!("http://{}", elsewhere.host())).await;
    let registries = asking(quick(&registry.host()), Keyring::default());
    let image = format!("{}/shop/web:1", registry.host());
    let start = Instant::now();
    let (decision, answers) =
        review(registries, &image, keyring(&registry.host(), "alice", "hunter2"), DEADLINE).await;
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert!(!decision.allowed(), "{decision:?}");
    // The look-up may outlive the review, and then its answer is not there yet.
    let named = answers.first().map(|answer| name(answer.as_ref().unwrap_err()));
    let named = named.unwrap_or_else(|| "TimedOut".to_owned());
    assert!(wanted.split('|').any(|wanted| wanted == named), "{named}");
    assert!(registry.sent() < ENDLESS, "{} bytes were read", registry.sent());
    assert_eq!(elsewhere.received().len(), 0, "a loopback address that nobody listed is not asked");
}

/// Answers with the realm of another place, and remembers nothing.
async fn realm_elsewhere(realm: String) -> Hostile {
    Hostile::start(move |_| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        Act::Answer(Reply::status(401).header("www-authenticate", &challenge))
    })
    .await
}

#[tokio::test]
async fn no_password_goes_to_a_token_server_on_another_site() {
    let elsewhere = Hostile::start(|_| Act::Answer(token())).await;
    // By name it is another site than by address, and allowed to be asked as far as addresses go.
    let realm = format!("{}/token", elsewhere.named_origin());
    let registry = realm_elsewhere(realm).await;
    let settings = settings([plain(&registry.host()), plain(&elsewhere.named_host())]);
    let registries = asking(settings, Keyring::default());
    let answer =
        resolve(&registries, &format!("{}/a/b:1", registry.host()), &keyring(&registry.host(), "u", "p"))
            .await;
    assert_eq!(name(&answer.unwrap_err()), "Forbidden");
    assert_eq!(elsewhere.connections(), 0);
}

#[rstest]
#[case("http://169.254.169.254/latest/meta-data")]
#[case("http://[::ffff:169.254.169.254]/latest")]
#[case("http://0.0.0.0/token")]
#[tokio::test]
async fn no_realm_leads_to_a_metadata_service(#[case] realm: &str) {
    let registry = realm_elsewhere(realm.to_owned()).await;
    let registries = asking(settings([plain(&registry.host())]), Keyring::default());
    let answer =
        resolve(&registries, &format!("{}/a/b:1", registry.host()), &keyring(&registry.host(), "u", "p"))
            .await;
    assert_eq!(name(&answer.unwrap_err()), "Forbidden");
}

#[tokio::test]
async fn a_redirect_to_a_listed_registry_is_followed_without_the_password() {
    let elsewhere = Hostile::start(|_| Act::Answer(manifest())).await;
    let target = format!("{}/v2/a/b/manifests/1", elsewhere.named_origin());
    let registry = Hostile::start(move |request| match request.header("authorization") {
        None => Act::Answer(Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")),
        Some(_) => Act::Answer(Reply::status(307).header("location", &target)),
    })
    .await;
    let settings = settings([plain(&registry.host()), plain(&elsewhere.named_host())]);
    let registries = asking(settings, Keyring::default());
    let answer =
        resolve(&registries, &format!("{}/a/b:1", registry.host()), &keyring(&registry.host(), "u", "p"))
            .await;
    assert_eq!(answer, Ok(Digest::sha256(BODY.as_bytes())));
    assert!(!elsewhere.received().is_empty());
    assert!(elsewhere.received().iter().all(|request| request.header("authorization").is_none()));
    assert!(registry.received().iter().any(|request| request.header("authorization").is_some()));
}

#[tokio::test]
async fn a_redirect_away_from_tls_is_refused() {
    let plain_place = Hostile::start(|_| Act::Answer(manifest())).await;
    let authority = Authority::new("the authority of the registry");
    let target = format!("http://{}/v2/a/b/manifests/1", plain_place.host());
    let registry =
        Hostile::start_tls(&authority, move |_| Act::Answer(Reply::status(307).header("location", &target)))
            .await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate()).unwrap();
    let entry = RegistryEntry { plain_http: false, ca: Some(ca), ..plain(&registry.host()) };
    let registries = asking(settings([entry, plain(&plain_place.host())]), Keyring::default());
    let answer = resolve(&registries, &format!("{}/a/b:1", registry.host()), &Keyring::default()).await;
    assert_eq!(name(&answer.unwrap_err()), "Forbidden");
    assert_eq!(plain_place.connections(), 0);
}

#[tokio::test]
async fn an_address_that_nobody_listed_is_never_connected_to() {
    let registry = Hostile::start(|_| Act::Answer(manifest())).await;
    let registries = asking(settings([]), Keyring::default());
    for host in [registry.host(), registry.named_host()] {
        let answer = resolve(&registries, &format!("{host}/a/b:1"), &Keyring::default()).await;
        assert_eq!(name(&answer.unwrap_err()), "Forbidden", "{host}");
    }
    assert_eq!(registry.connections(), 0);
}

#[tokio::test]
async fn a_passing_trouble_is_waited_out() {
    let asked = Arc::new(Mutex::new(0));
    let registry = Hostile::start(move |_| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        if *asked <= 2 { Act::Answer(Reply::status(503)) } else { Act::Answer(manifest()) }
    })
    .await;
    let registries = asking(settings([plain(&registry.host())]), Keyring::default());
    let answer = resolve(&registries, &format!("{}/a/b:1", registry.host()), &Keyring::default()).await;
    assert_eq!(answer, Ok(Digest::sha256(BODY.as_bytes())));
    assert_eq!(registry.received().len(), 3);
}

#[tokio::test]
async fn a_registry_that_nobody_can_connect_to_is_left_alone() {
    // Its certificate's authority is in no settings, so that every handshake fails.
    let registry = Hostile::start_tls(&Authority::new("a stranger"), |_| Act::Answer(manifest())).await;
    let entry = RegistryEntry { plain_http: false, ..plain(&registry.host()) };
    let registries = asking(settings([entry]), Keyring::default());
    let mut told = String::new();
    for _ in 0..20 {
        let answer = resolve(&registries, &format!("{}/a/b:1", registry.host()), &Keyring::default()).await;
        told = answer.unwrap_err().to_string();
    }
    assert_eq!(registry.connections(), 5, "{told}");
    assert!(told.contains("nobody could connect to it lately"), "{told}");
}

#[tokio::test]
async fn trouble_over_one_image_leaves_no_registry_alone() {
    let registry = Hostile::start(|request| match request.path().contains("/evil/") {
        true => Act::Reset,
        false => Act::Answer(manifest()),
    })
    .await;
    let registries = asking(settings([plain(&registry.host())]), Keyring::default());
    for _ in 0..8 {
        let evil = format!("{}/evil/b:1", registry.host());
        assert_eq!(name(&resolve(&registries, &evil, &Keyring::default()).await.unwrap_err()), "Unreachable");
    }
    let good = resolve(&registries, &format!("{}/a/b:1", registry.host()), &Keyring::default()).await;
    assert_eq!(good, Ok(Digest::sha256(BODY.as_bytes())));
}

#[rstest]
#[case::no_body_that_never_ends(Fault::Endless, Digest::sha256(BODY.as_bytes()))]
#[case::no_body_to_unpack(Fault::Compressed, Digest::sha256(BODY.as_bytes()))]
#[case::no_digest_but_the_one_that_is_pinned(Fault::WrongDigest, OTHER.parse().unwrap())]
#[tokio::test]
async fn what_an_answer_to_head_alone_cannot_do(#[case] fault: Fault, #[case] digest: Digest) {
    let registry = registry(At::Resolve, fault, String::new()).await;
    let registries = asking(quick(&registry.host()), Keyring::default());
    let image = format!("{}/shop/web:1", registry.host());
    let (decision, _) =
        review(registries, &image, keyring(&registry.host(), "alice", "hunter2"), DEADLINE).await;
    // The digest that is believed is the one that is judged and written into the Pod: whoever pulls by it gets
    // that content or none.
    assert!(decision.allowed(), "{decision:?}");
    assert_eq!(decision.images[0].digest, Some(digest));
}

#[rstest]
#[tokio::test]
async fn a_realm_on_another_site_admits_nothing_and_gets_no_password(
    #[values("HEAD", "GET")] asked: &'static str,
    #[values(true, false)] listed: bool,
) {
    let elsewhere = Hostile::start(|_| Act::Answer(token())).await;
    let realm = format!("{}/token", elsewhere.named_origin());
    let registry = Hostile::start(move |request| match &*request.method {
        method if method == asked => {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
            Act::Answer(Reply::status(401).header("www-authenticate", &challenge))
        }
        _ => Act::Answer(Reply::status(405)),
    })
    .await;
    let mut settings = quick(&registry.host());
    // Listed as a registry of its own, its address is allowed; that makes it nobody's token server.
    settings.registries.extend(listed.then(|| plain(&elsewhere.named_host())));
    let image = format!("{}/shop/web:1", registry.host());
    let keyring = keyring(&registry.host(), "alice", "hunter2");
    let (decision, answers) = review(asking(settings, Keyring::default()), &image, keyring, DEADLINE).await;
    assert!(!decision.allowed(), "{decision:?}");
    assert_eq!(
        answers.first().map(|answer| name(answer.as_ref().unwrap_err())).as_deref(),
        Some("Forbidden")
    );
    assert_eq!(elsewhere.connections(), 0);
    // The registry itself challenged nobody for a password, and got none.
    assert!(registry.received().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn no_more_is_asked_of_a_registry_at_once_than_its_settings_allow() {
    let registry = Hostile::start(|_| Act::Silence).await;
    let entry = RegistryEntry { max_concurrent_requests: 2, ..plain(&registry.host()) };
    // Longer than a request may queue: whoever waits for its turn hears so before the first two give up.
    let timeouts = Timeouts { connect_seconds: 6, read_seconds: 6, total_seconds: 6 };
    let registries = asking(RegistrySettings { timeouts, ..settings([entry]) }, Keyring::default());
    let images = ["a", "b", "c", "d"].map(|name| format!("{}/{name}:1", registry.host()));
    let none = Keyring::default();
    let answers =
        futures::future::join_all(images.iter().map(|image| resolve(&registries, image, &none))).await;
    let mut named: Vec<_> = answers.iter().map(|answer| name(answer.as_ref().unwrap_err())).collect();
    named.sort();
    assert_eq!(named, ["Overloaded", "Overloaded", "TimedOut", "TimedOut"]);
    assert_eq!(registry.received().len(), 2);
}
