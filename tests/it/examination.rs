//! What the authorities of a policy make of what stands beside an image, by the keys and roots in force.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    decision::judge_attached,
    evidence::{AuthorityError, AuthorityEvidence, Candidate, Material, RegistryError, Rejection, Verified},
    policy::{self, KeyRef, ObjectKey, Policy, PublicKey, RootRef},
    review::ports::Examiner as _,
    signature::{Examination, Trust, TrustRoot, Trusted},
};
use tracing::{Dispatch, Event, Metadata, Subscriber, span};

use crate::support::miniature::{Entry, Form, Key, Leaf, Log, Signing, Sigstore, Subject, What, image};

const SUBJECT: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Keys and roots that do not change.
struct InForce(Arc<Trusted>);

impl Trust for InForce {
    fn current(&self) -> Arc<Trusted> {
        self.0.clone()
    }
}

/// What is known: roots under the names of [`root`], and keys in Secrets.
#[derive(Default)]
struct Known {
    roots: HashMap<RootRef, Result<Arc<TrustRoot>, AuthorityError>>,
    keys: HashMap<KeyRef, Result<PublicKey, AuthorityError>>,
}

impl Known {
    fn root(mut self, name: &str, sigstore: &Sigstore) -> Self {
        self.roots.insert(RootRef::Named(name.into()), Ok(Arc::new(sigstore.trust())));
        self
    }

    fn key(mut self, name: &str, key: Result<PublicKey, AuthorityError>) -> Self {
        let secret = ObjectKey { namespace: "security".into(), name: name.into(), key: "cosign.pub".into() };
        self.keys.insert(KeyRef::Secret(secret), key);
        self
    }

    /// What the policy's authorities make of these candidates, all found at one place.
    fn examine(self, policy: &Policy, candidates: Vec<Candidate>) -> Vec<AuthorityEvidence> {
        let found: Result<Arc<[Candidate]>, RegistryError> = Ok(candidates.into());
        let trust = Arc::new(InForce(Arc::new(Trusted::new(1, self.keys, self.roots))));
        let authorities = policy.authorities();
        Examination::new(trust).examine(authorities, &vec![found; authorities.len()], &image())
    }
}

fn policy(signatures: Value) -> Arc<Policy> {
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules", "generation": 1},
        "spec": {"action": "Deny", "signatures": signatures},
    });
    let policy = policy::read(&document).unwrap().policy;
    assert_eq!(policy.compile_error(), None);
    Arc::new(policy)
}

fn signed_by(authorities: Value) -> Arc<Policy> {
    policy(json!({"authorities": authorities}))
}

fn keyless(name: &str, root: &str, identity: Value) -> Value {
    json!({"name": name, "keyless": {"trustRootRef": {"name": root}, "identities": [identity]}})
}

/// Whoever signs in the miniature if nobody says otherwise.
fn ours() -> Value {
    json!({"issuer": ISSUER, "subject": SUBJECT})
}

fn secret(name: &str) -> Value {
    json!({"name": name, "key": {"secretRef": {"namespace": "security", "name": name}}})
}

/// What the one authority has to say of the one candidate.
fn one(evidence: &[AuthorityEvidence]) -> Result<&Verified, &Rejection> {
    match evidence {
        [AuthorityEvidence::Seen { verified, rejected }] => match (&verified[..], &rejected[..]) {
            ([verified], []) => Ok(verified),
            ([], [rejected]) => Err(rejected),
            _ => panic!("{evidence:?}"),
        },
        _ => panic!("{evidence:?}"),
    }
}

/// CVE-2026-22772: the pattern is about the whole of what the certificate says.
#[rstest]
#[case::ours(SUBJECT, ISSUER, true)]
#[case::host_goes_on("https://github.com.evil.example/acme/app/x", ISSUER, false)]
#[case::host_before("https://evil.example/https://github.com/acme/app/x", ISSUER, false)]
#[case::owner_goes_on("https://github.com/acme.evil/app/x", ISSUER, false)]
#[case::dot_for_any("https://githubxcom/acme/app/x", ISSUER, false)]
#[case::another_case("https://github.com/Acme/app/x", ISSUER, false)]
#[case::another_scheme("http://github.com/acme/app/x", ISSUER, false)]
#[case::issuer_goes_on(SUBJECT, "https://token.actions.githubusercontent.com.evil.example", false)]
#[case::issuer_before(SUBJECT, "https://evil.example/https://token.actions.githubusercontent.com", false)]
#[case::issuer_with_a_slash(SUBJECT, "https://token.actions.githubusercontent.com/", false)]
#[case::another_issuer(SUBJECT, "https://accounts.example.com", false)]
fn an_identity_is_matched_as_a_whole(#[case] subject: &str, #[case] issuer: &str, #[case] holds: bool) {
    let sigstore = Sigstore::new();
    let mut signing = Signing::keyless(Form::V03, What::Envelope);
    let (uri, vouched) = (Subject::Uri(subject.to_owned()), Some(issuer.to_owned()));
    signing.leaf = Leaf { subject: uri, issuer: vouched, ..Leaf::default() };
    for identity in [
        json!({"issuer": ISSUER, "subjectPattern": "https://github.com/acme/*"}),
        json!({"issuerPattern": "https://token.actions.*.com", "subjectPattern": "https://github.com/acme/*"}),
    ] {
        let policy = signed_by(json!([keyless("ci", "ours", identity)]));
        let evidence =
            Known::default().root("ours", &sigstore).examine(&policy, vec![sigstore.sign(&signing)]);
        match one(&evidence) {
            Ok(_) => assert!(holds),
            Err(why) => {
                assert!(!holds, "{why}");
                let (subject, issuer) = (subject.to_owned(), issuer.to_owned());
                assert_eq!(*why, Rejection::OtherIdentity { subject, issuer });
            }
        }
    }
}

/// Anybody can make a certificate that says anything: that it names the right one is worth nothing by itself.
#[test]
fn an_identity_that_nobody_vouches_for_is_nobodys() {
    let (ours_sigstore, forger) = (Sigstore::new(), Sigstore::new());
    let forged = forger.sign(&Signing::keyless(Form::V03, What::Envelope));
    let policy = signed_by(json!([keyless("ci", "ours", ours())]));
    let evidence = Known::default().root("ours", &ours_sigstore).examine(&policy, vec![forged]);
    assert!(matches!(one(&evidence), Err(Rejection::Untrusted(_))), "{evidence:?}");
}

#[test]
fn a_key_is_offered_a_certificate_and_an_identity_a_key() {
    let sigstore = Sigstore::new();
    let key = Key::new();
    for form in [Form::V01, Form::V02, Form::V03, Form::Classic] {
        for what in [What::Message, What::Envelope] {
            let mut by_certificate = Signing::keyless(form, what);
            by_certificate.key = key.clone();
            let by_key =
                Signing { identified: Signing::by_key(form, what).identified, ..by_certificate.clone() };
            let ask = |authority: Value, signing: &Signing| {
                let known = Known::default().root("ours", &sigstore);
                let evidence = known.examine(&signed_by(json!([authority])), vec![sigstore.sign(signing)]);
                one(&evidence).cloned().map_err(Clone::clone)
            };
            let holder = json!({"name": "release", "key": {"inline": key.pem()}});
            assert_eq!(ask(holder, &by_certificate), Err(Rejection::Certificate), "{form:?} {what:?}");
            let workflow = keyless("ci", "ours", ours());
            assert_eq!(ask(workflow, &by_key), Err(Rejection::NoCertificate), "{form:?} {what:?}");
        }
    }
}

/// How something comes to be dated.
#[derive(Clone, Copy, Debug)]
enum Dated {
    /// By a log of the root.
    Logged,
    /// By a log that the root does not know.
    ElsewhereLogged,
    /// By a timestamp authority, and no log holds it.
    Timestamped,
    /// By nobody.
    Undated,
}

const NOT_LOGGED: Result<bool, &str> = Err("no transparency log holds it");
const UNTRUSTED: Result<bool, &str> = Err("the trust root does not accept it: ");

/// What is found out of each, as whether it is logged.
#[rstest]
#[case::required("Required", [Ok(true), UNTRUSTED, NOT_LOGGED, NOT_LOGGED])]
#[case::if_present("IfPresent", [Ok(true), UNTRUSTED, Ok(false), UNTRUSTED])]
#[case::ignored("Ignored", [Ok(false), UNTRUSTED, Ok(false), UNTRUSTED])]
fn a_policy_says_what_a_log_must_say_of_certificates(
    #[case] rule: &str,
    #[case] expected: [Result<bool, &str>; 4],
) {
    let mut authority = keyless("ci", "ours", ours());
    authority["keyless"]["transparencyLog"] = json!(rule);
    logged(&authority, Signing::keyless, expected);
}

/// A key needs no time, so that a log that nobody asks for cannot do harm.
#[rstest]
#[case::required("Required", [Ok(true), UNTRUSTED, NOT_LOGGED, NOT_LOGGED])]
#[case::if_present("IfPresent", [Ok(true), UNTRUSTED, Ok(false), Ok(false)])]
#[case::ignored("Ignored", [Ok(false), Ok(false), Ok(false), Ok(false)])]
fn a_policy_says_what_a_log_must_say_of_keys(#[case] rule: &str, #[case] expected: [Result<bool, &str>; 4]) {
    let key = Key::new();
    let authority = json!({"name": "release", "key": {
        "inline": key.pem(), "trustRootRef": {"name": "ours"}, "transparencyLog": rule,
    }});
    let by_key = |form, what| {
        let hint = STANDARD.encode(key.id());
        let identified = crate::support::miniature::Identified::Key { hint };
        Signing { key: key.clone(), identified, ..Signing::keyless(form, what) }
    };
    logged(&authority, by_key, expected);
}

fn logged(authority: &Value, signing: impl Fn(Form, What) -> Signing, expected: [Result<bool, &str>; 4]) {
    let sigstore = Sigstore::new();
    let policy = signed_by(json!([authority]));
    let ways = [Dated::Logged, Dated::ElsewhereLogged, Dated::Timestamped, Dated::Undated];
    for (dated, expected) in ways.into_iter().zip(expected) {
        for (form, what) in
            [(Form::V03, What::Envelope), (Form::V02, What::Message), (Form::Classic, What::Message)]
        {
            let mut signing = signing(form, what);
            match dated {
                Dated::Logged => {}
                Dated::ElsewhereLogged => {
                    signing.entries = vec![Entry { log: Some(Log::new()), ..Entry::default() }];
                }
                Dated::Timestamped => signing = signing.timestamped(),
                Dated::Undated => signing.entries.clear(),
            }
            let known = Known::default().root("ours", &sigstore);
            let evidence = known.examine(&policy, vec![sigstore.sign(&signing)]);
            match (one(&evidence), expected) {
                (Ok(found), Ok(logged)) => assert_eq!(found.logged, logged, "{dated:?} {form:?}"),
                (Err(found), Err(words)) => {
                    assert!(found.to_string().starts_with(words), "{dated:?} {form:?}: {found}");
                }
                (found, expected) => panic!("{dated:?} {form:?}: {found:?}, wanted {expected:?}"),
            }
        }
    }
}

#[test]
fn each_authority_asks_its_own_root() {
    let (one, other) = (Sigstore::new(), Sigstore::new());
    let policy = signed_by(json!([keyless("one", "one", ours()), keyless("other", "other", ours())]));
    let by_one = one.sign(&Signing::keyless(Form::V03, What::Envelope));
    let by_other = other.sign(&Signing::keyless(Form::Classic, What::Message));
    for (candidates, expected) in [
        (vec![by_one.clone()], [(1, 0), (0, 1)]),
        (vec![by_other.clone()], [(0, 1), (1, 0)]),
        (vec![by_one, by_other], [(1, 1), (1, 1)]),
    ] {
        let evidence = Known::default().root("one", &one).root("other", &other).examine(&policy, candidates);
        for (evidence, expected) in evidence.iter().zip(expected) {
            let AuthorityEvidence::Seen { verified, rejected } = evidence else { panic!("{evidence:?}") };
            assert_eq!((verified.len(), rejected.len()), expected);
            assert!(rejected.iter().all(|why| matches!(why, Rejection::Untrusted(_))), "{rejected:?}");
        }
    }
}

#[rstest]
#[case::missing(AuthorityError::Missing("Secret security/release key cosign.pub".to_owned()))]
#[case::forbidden(AuthorityError::Forbidden("Secret security/release key cosign.pub".to_owned()))]
#[case::no_key(AuthorityError::Unusable { place: "Secret security/release key cosign.pub".to_owned(), problem: "no key".to_owned() })]
fn an_authority_whose_key_is_not_there_is_of_no_use_and_harms_no_other(#[case] error: AuthorityError) {
    let sigstore = Sigstore::new();
    let signing = Signing::by_key(Form::V03, What::Envelope);
    let policy = signed_by(json!([
        secret("release"),
        secret("other"),
        secret("unread"),
        keyless("ci", "unread", ours())
    ]));
    let known = Known::default().key("release", Err(error.clone())).key("other", Ok(signing.key.public()));
    let evidence = known.examine(&policy, vec![sigstore.sign(&signing)]);
    let unread = |what: &str| AuthorityError::Unread(what.to_owned());
    let errors: Vec<_> = evidence
        .iter()
        .map(|evidence| match evidence {
            AuthorityEvidence::Unusable(error) => Some(error.clone()),
            AuthorityEvidence::Seen { verified, .. } => {
                assert_eq!(verified.len(), 1);
                None
            }
            AuthorityEvidence::Unseen(error) => panic!("{error}"),
        })
        .collect();
    let secret = unread("Secret security/unread key cosign.pub");
    assert_eq!(errors, [Some(error), None, Some(secret), Some(unread("ImageTrustRoot/unread"))]);
}

#[test]
fn what_nobody_could_ask_for_is_unseen_by_whom_it_concerns() {
    let sigstore = Sigstore::new();
    let policy = signed_by(json!([keyless("here", "ours", ours()), keyless("there", "ours", ours())]));
    let here: Result<Arc<[Candidate]>, _> =
        Ok(vec![sigstore.sign(&Signing::keyless(Form::V03, What::Envelope))].into());
    let known = Known::default().root("ours", &sigstore);
    let trust = Arc::new(InForce(Arc::new(Trusted::new(1, known.keys, known.roots))));
    let found = [here, Err(RegistryError::NotFound)];
    let evidence = Examination::new(trust).examine(policy.authorities(), &found, &image());
    assert!(matches!(&evidence[0], AuthorityEvidence::Seen { verified, .. } if verified.len() == 1));
    assert!(matches!(&evidence[1], AuthorityEvidence::Unseen(RegistryError::NotFound)));
}

/// GHSA-9vcr-p3rj-q5q6: neither many entries of a log, nor many signatures, nor a second name make one into two.
#[test]
fn one_signer_is_one_however_often_he_is_logged_and_named() {
    let sigstore = Sigstore::new();
    let mut signing = Signing::keyless(Form::V03, What::Envelope);
    signing.entries = vec![Entry::default(); 3];
    let candidates = vec![sigstore.sign(&signing), sigstore.sign(&signing)];
    let judge = |at_least: usize| {
        let authorities = json!([keyless("one", "ours", ours()), keyless("other", "ours", ours())]);
        let policy = policy(json!({"atLeast": at_least, "authorities": authorities}));
        let evidence = Known::default().root("ours", &sigstore).examine(&policy, candidates.clone());
        let name = "registry.example.com/app:1".parse().unwrap();
        judge_attached(&policy, &name, &image(), &evidence, Timestamp::UNIX_EPOCH).holds()
    };
    assert!(judge(1));
    assert!(!judge(2));
}

/// Counts how often the verifier says that it has checked a certificate's chain, which each check begins with.
#[derive(Clone, Default)]
struct Checks(Arc<AtomicUsize>);

impl Subscriber for Checks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sigstore_verify")
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if format!("{value:?}").starts_with("Certificate chain validated") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_certificate_is_checked_once_by_each_root_and_one_of_a_stranger_never() {
    let (one, other) = (Sigstore::new(), Sigstore::new());
    let signing = Signing::keyless(Form::V03, What::Envelope);
    let mut strangers = Signing::keyless(Form::V03, What::Envelope);
    strangers.leaf.subject = Subject::Email("stranger@example.com".to_owned());
    let candidates: Vec<_> =
        (0..64).map(|number| one.sign(if number % 2 == 0 { &signing } else { &strangers })).collect();
    // Sixteen who want the same to be signed, half of them by a root that does not know the signers.
    let authorities: Vec<_> = (0..16)
        .map(|number| keyless(&format!("a{number}"), if number < 8 { "one" } else { "other" }, ours()))
        .collect();
    let policy = signed_by(json!(authorities));
    let checks = Checks::default();
    // While there is one subscriber only, tracing asks that of the thread which comes first to an event, and keeps a
    // no: that of a test without one. From the second on it asks all that there are.
    let dispatches = [Dispatch::new(checks.clone()), Dispatch::new(checks.clone())];
    let known = Known::default().root("one", &one).root("other", &other);
    let evidence = tracing::dispatcher::with_default(&dispatches[0], || known.examine(&policy, candidates));
    drop(dispatches);
    for (number, evidence) in evidence.iter().enumerate() {
        let AuthorityEvidence::Seen { verified, rejected } = evidence else { panic!("{evidence:?}") };
        let expected = if number < 8 { 32 } else { 0 };
        assert_eq!((verified.len(), rejected.len()), (expected, 64 - expected));
    }
    // Only checks that went well say so, which those of the other root do not.
    assert_eq!(checks.0.load(Ordering::Relaxed), 32);
}

/// How long this thread has been on a processor, in nanoseconds; none where the system does not say.
fn worked() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// By the time that it takes, since nothing tells of reading.
#[test]
fn what_sixteen_authorities_look_at_is_read_once() {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": image().hex()}}],
        "predicateType": "https://spdx.dev/Document",
        "predicate": {"packages": vec![json!({"name": "a package", "versionInfo": "1.0"}); 500]},
    });
    let signing = Signing { statement, ..Signing::by_key(Form::Classic, What::Envelope) };
    let candidate = Sigstore::new().sign(&signing);
    let cost = |authorities: usize| {
        let keys = (0..authorities)
            .map(|number| json!({"name": format!("a{number}"), "key": {"inline": Key::new().pem()}}));
        let policy = signed_by(keys.collect());
        let before = worked()?;
        let evidence = Known::default().examine(&policy, vec![candidate.clone(); 64]);
        let cost = worked()? - before;
        for evidence in evidence {
            let AuthorityEvidence::Seen { rejected, .. } = evidence else { panic!("{evidence:?}") };
            assert_eq!(rejected, vec![Rejection::OtherKey; 64]);
        }
        Some(cost)
    };
    let (Some(one), Some(sixteen)) = (cost(1), cost(16)) else { return };
    assert!(sixteen < 2 * one, "one authority costs {one} ns, sixteen cost {sixteen} ns");
    assert!(matches!(candidate.material, Material::Envelope { .. }));
}
