//! Signatures and attestations: who counts, who counts twice, and what is said of who does not.

use insta::assert_snapshot;
use rstest::rstest;

use super::{beside::*, *};
use crate::evidence::{AuthorityError, AuthorityEvidence, Claim, Rejection, Signer};

const IMAGE: &str = "a.example/x:1";

fn key(name: &str, pem: &str) -> Value {
    json!({"name": name, "key": {"inline": pem}})
}

fn keyless(name: &str, subject: &str) -> Value {
    json!({"name": name, "keyless": {
        "transparencyLog": "Ignored", "identities": [{"issuer": ISSUER, "subjectPattern": subject}],
    }})
}

fn signed_by(authorities: Value) -> Value {
    json!({"signatures": {"authorities": authorities}})
}

fn scene(signed: Vec<Verified>) -> Scene {
    Scene { beside: Ok(signed), ..Scene::default() }
}

/// The result of the check that looks beside the image.
fn result(scene: &Scene, spec: Value) -> CheckResult {
    let decision = scene.decide(&[policy(spec)], IMAGE);
    let attached = [Check::Signatures, Check::Attestations];
    let mut results = decision.results.into_iter().filter(|result| attached.contains(&result.check));
    let result = results.next().unwrap();
    assert_eq!(results.next(), None);
    result
}

fn told(scene: &Scene, spec: Value) -> String {
    match result(scene, spec).verdict {
        Verdict::Satisfied => "satisfied".to_owned(),
        verdict => {
            let Finding { reason, found, wanted, remedy } = verdict.finding().unwrap();
            format!("{} {}: {found} | {wanted} | {remedy}", verdict.as_str(), reason.as_str())
        }
    }
}

#[test]
fn a_signature_of_the_wanted_key_or_identity_satisfies() {
    let both = scene(vec![signature(by_key(KEY)), signature(by_identity())]);
    assert_eq!(told(&both, signed_by(json!([key("release", KEY)]))), "satisfied");
    assert_eq!(told(&both, signed_by(json!([keyless("ci", SUBJECT)]))), "satisfied");
    assert_eq!(told(&both, signed_by(json!([keyless("ci", "https://github.com/acme/*")]))), "satisfied");
}

#[test]
fn each_refusal_says_who_signed_and_who_was_wanted() {
    let ours = || signed_by(json!([key("release", KEY)]));
    assert_snapshot!(told(&scene(vec![]), ours()), @"Absent SignatureMissing: no signature | a signature by release (key 70a63c9b754f…) | sign the image's digest, as with cosign sign");
    assert_snapshot!(told(&scene(vec![signature(by_key(OTHER_KEY))]), ours()), @"Violated SignatureKeyMismatch: a signature by another key, or of what was changed since | a signature by release (key 70a63c9b754f…) | sign the image with the key that the policy names");
    assert_snapshot!(told(&scene(vec![signature(by_identity())]), ours()), @"Violated SignatureKindMismatch: a signature with a certificate, where a key is wanted | a signature by release (key 70a63c9b754f…) | sign the image in the way that the policy names");
    let dev =
        Signer::Identity { subject: SUBJECT.replace("tags/v1", "heads/dev"), issuer: ISSUER.to_owned() };
    let tags = SUBJECT.replace("v1", "*");
    assert_snapshot!(told(&scene(vec![signature(dev)]), signed_by(json!([keyless("ci", &tags)]))), @"Violated SignatureIdentityMismatch: a signature by https://github.com/acme/app/.github/workflows/release.yml@refs/heads/dev (issuer https://token.actions.githubusercontent.com) | a signature by ci (https://github.com/acme/app/.github/workflows/release.yml@refs/tags/*) | use an image that the wanted identity has built and signed");
    assert_snapshot!(told(&scene(vec![provenance(by_key(KEY), json!({}))]), ours()), @"Violated SignatureWrongType: an attestation of type https://slsa.dev/provenance/v1, which is no signature of the image | a signature by release (key 70a63c9b754f…) | sign the image's digest, as with cosign sign");
}

#[test]
fn what_an_authority_wants_signed_beside_the_digest_must_be_there() {
    let spec = |annotations: Value| {
        let mut authority = key("release", KEY);
        authority["annotations"] = annotations;
        signed_by(json!([authority]))
    };
    let signed = scene(vec![signature(by_key(KEY))]);
    assert_eq!(told(&signed, spec(json!({"env": "prod"}))), "satisfied");
    assert_snapshot!(told(&signed, spec(json!({"env": "test"}))), @"Violated SignatureAnnotationMismatch: a signature with env=prod, where env=test is wanted | a signature by release (key 70a63c9b754f…) | use an image that is signed with the wanted annotations");
    assert_snapshot!(told(&signed, spec(json!({"env": "prod", "team": "infra"}))), @"Violated SignatureAnnotationMismatch: a signature with no annotation team, where team=infra is wanted | a signature by release (key 70a63c9b754f…) | use an image that is signed with the wanted annotations");
}

#[test]
fn the_repository_that_was_signed_must_be_the_wanted_one() {
    let spec = |identity: Value| {
        let mut authority = key("release", KEY);
        authority["signedIdentity"] = identity;
        signed_by(json!([authority]))
    };
    let own = || spec(json!({"matchPolicy": "MatchRepository"}));
    let signed = scene(vec![signature(by_key(KEY))]);
    assert_eq!(told(&signed, own()), "satisfied");
    let remap = json!({"matchPolicy": "RemapIdentity", "remapIdentity": {"prefix": "a.example", "signedPrefix": "b.example"}});
    assert_snapshot!(told(&signed, spec(remap)), @"Violated SignatureRepositoryMismatch: a signature that speaks of a.example/x, where b.example/x is wanted | a signature by release (key 70a63c9b754f…) | sign the image under the repository that it is pulled from");
    // As in the bundles of cosign 3: nothing says which repository was meant.
    let claim = Claim::Image { annotations: Labels::new(), identity: None };
    let nameless = Verified { claim, ..signature(by_key(KEY)) };
    assert_snapshot!(told(&scene(vec![nameless]), own()), @"Violated SignatureRepositoryMismatch: a signature that speaks of no repository, where a.example/x is wanted | a signature by release (key 70a63c9b754f…) | sign the image under the repository that it is pulled from");
}

#[rstest]
#[case::two_of_two(vec![by_key(KEY), by_key(OTHER_KEY)], true)]
#[case::one_of_two(vec![by_key(KEY)], false)]
#[case::one_twice(vec![by_key(KEY), by_key(KEY), by_key(KEY)], false)]
#[case::nobody(vec![], false)]
fn authorities_are_counted_and_not_signatures(#[case] signers: Vec<Signer>, #[case] holds: bool) {
    let mut spec = signed_by(json!([key("one", KEY), key("two", OTHER_KEY)]));
    spec["signatures"]["atLeast"] = json!(2);
    let signed = scene(signers.into_iter().map(signature).collect());
    assert_eq!(result(&signed, spec).verdict == Verdict::Satisfied, holds);
}

/// GHSA-9vcr-p3rj-q5q6.
#[test]
fn one_key_that_is_listed_twice_counts_once() {
    let mut spec = signed_by(json!([key("one", KEY), key("two", KEY)]));
    spec["signatures"]["atLeast"] = json!(2);
    let signed = scene(vec![signature(by_key(KEY)), signature(by_key(KEY))]);
    assert_snapshot!(told(&signed, spec), @"Violated SignaturesTooFew: 1 of 2 authorities; one key or identity counts once; one: signed; two: signed | signatures by 2 different ones of one (key 70a63c9b754f…), two (key 70a63c9b754f…) | have the others sign it too");
}

#[test]
fn one_identity_that_two_authorities_cover_counts_once() {
    let other =
        Signer::Identity { subject: "https://github.com/acme/other".to_owned(), issuer: ISSUER.to_owned() };
    let mut spec = signed_by(json!([keyless("all", "https://github.com/acme/*"), keyless("app", SUBJECT)]));
    spec["signatures"]["atLeast"] = json!(2);
    let verdict = |signers: Vec<Signer>| {
        result(&scene(signers.into_iter().map(signature).collect()), spec.clone()).verdict
    };
    assert_ne!(verdict(vec![by_identity()]), Verdict::Satisfied);
    // The first in the list could take either; only one way round gives each its own.
    assert_eq!(verdict(vec![by_identity(), other.clone()]), Verdict::Satisfied);
    assert_eq!(verdict(vec![other.clone(), by_identity()]), Verdict::Satisfied);
    assert_ne!(verdict(vec![other]), Verdict::Satisfied);
}

#[test]
fn who_must_be_included_must_be_included() {
    let spec = |must: &str| {
        let mut spec = signed_by(json!([key("one", KEY), key("two", OTHER_KEY)]));
        spec["signatures"]["mustInclude"] = json!([must]);
        spec
    };
    let signed = scene(vec![signature(by_key(KEY))]);
    assert_eq!(told(&signed, spec("one")), "satisfied");
    assert_snapshot!(told(&signed, spec("two")), @"Violated SignatureKeyMismatch: two: a signature by another key, or of what was changed since | a signature by one of one (key 70a63c9b754f…), two (key 7878b2864d13…), with two | sign the image with the key that the policy names");
}

#[test]
fn what_nobody_could_see_is_unknown_only_where_it_could_have_helped() {
    let verdict = |evidence: Vec<AuthorityEvidence>, spec: Value| {
        let policy = policy(spec);
        let image = IMAGE.parse().unwrap();
        judge_attached(&policy, &image, &digest('a'), &evidence, now()).verdict(0).unwrap().clone()
    };
    let seen = |signers: Vec<Signer>| AuthorityEvidence::Seen {
        verified: signers.into_iter().map(signature).collect(),
        rejected: Vec::new(),
    };
    let unseen = || AuthorityEvidence::Unseen(RegistryError::TimedOut);
    let two = |at_least: u8, must: &str| {
        let mut spec = signed_by(json!([key("one", KEY), key("two", OTHER_KEY)]));
        spec["signatures"]["atLeast"] = json!(at_least);
        spec["signatures"]["mustInclude"] = json!([must]);
        spec
    };
    let signed = || seen(vec![by_key(KEY)]);
    assert_eq!(verdict(vec![signed(), unseen()], two(1, "one")), Verdict::Satisfied);
    assert!(matches!(verdict(vec![signed(), unseen()], two(2, "one")), Verdict::Indeterminate(_)));
    assert!(matches!(verdict(vec![signed(), unseen()], two(1, "two")), Verdict::Indeterminate(_)));
    assert!(matches!(verdict(vec![seen(vec![]), unseen()], two(2, "two")), Verdict::Violated(_)));
    assert!(matches!(
        verdict(vec![seen(vec![]), unseen()], two(1, "one")),
        Verdict::Violated(_) | Verdict::Absent(_)
    ));
    let refused = || AuthorityEvidence::Unseen(RegistryError::Denied);
    assert!(matches!(verdict(vec![seen(vec![]), refused()], two(1, "two")), Verdict::Violated(_)));
}

#[rstest]
#[case::missing(AuthorityError::Missing("Secret security/signing key cosign.pub".to_owned()))]
#[case::unread(AuthorityError::Unread("ImageTrustRoot/ours".to_owned()))]
#[case::forbidden(AuthorityError::Forbidden("Secret kube-system/x key y".to_owned()))]
fn an_authority_without_a_key_is_nobody(#[case] error: AuthorityError) {
    let policy =
        policy(json!({"onError": {"action": "Warn"}, "signatures": {"authorities": [key("one", KEY)]}}));
    let evidence = [AuthorityEvidence::Unusable(error.clone())];
    let judgement = judge_attached(&policy, &IMAGE.parse().unwrap(), &digest('a'), &evidence, now());
    let Some(Verdict::Violated(finding)) = judgement.verdict(0) else { panic!("{judgement:?}") };
    assert_eq!((finding.reason, &finding.found), (Reason::AuthorityUnusable, &error.to_string()));
}

/// Each in words of its own: GHSA-w6c6-c85g-mmv6 is what comes of taking one failure for another.
#[rstest]
#[case(Rejection::Malformed("no JSON".to_owned()), Reason::SignatureUnreadable)]
#[case(Rejection::Unreadable(RegistryError::NotFound), Reason::SignatureUnreadable)]
#[case(Rejection::OtherImage { found: "nothing".to_owned() }, Reason::SignatureOfAnotherImage)]
#[case(Rejection::PayloadType { found: "x".to_owned() }, Reason::SignatureWrongType)]
#[case(Rejection::OtherKey, Reason::SignatureKeyMismatch)]
#[case(Rejection::Certificate, Reason::SignatureKindMismatch)]
#[case(Rejection::NoCertificate, Reason::SignatureKindMismatch)]
#[case(Rejection::NoIdentity, Reason::SignatureIdentityMismatch)]
#[case(Rejection::OtherIdentity { subject: "a".to_owned(), issuer: "b".to_owned() }, Reason::SignatureIdentityMismatch)]
#[case(Rejection::NotLogged, Reason::SignatureNotLogged)]
#[case(Rejection::Untrusted("expired".to_owned()), Reason::SignatureUntrusted)]
#[case(Rejection::Unsupported("x".to_owned()), Reason::SignatureUnsupported)]
fn each_rejection_has_its_reason(#[case] rejection: Rejection, #[case] reason: Reason) {
    let policy = policy(signed_by(json!([key("release", KEY)])));
    // The nearest to counting is told, wherever it stands.
    for rejected in [
        vec![rejection.clone()],
        vec![Rejection::Malformed("x".to_owned()), rejection.clone()],
        vec![rejection.clone(), Rejection::Malformed("x".to_owned())],
    ] {
        let evidence = [AuthorityEvidence::Seen { verified: Vec::new(), rejected }];
        let judgement = judge_attached(&policy, &IMAGE.parse().unwrap(), &digest('a'), &evidence, now());
        assert_eq!(judgement.verdict(0).unwrap().finding().unwrap().reason, reason);
    }
}

fn attested(rule: Value) -> Value {
    let mut attestation = json!({
        "name": "provenance", "predicateType": SLSA, "inlineAuthorities": [key("builder", KEY)],
    });
    attestation.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    json!({"attestations": [attestation]})
}

#[test]
fn an_attestation_counts_by_type_signer_and_conditions() {
    let good = scene(vec![signature(by_key(KEY)), provenance(by_key(KEY), json!({"good": true}))]);
    assert_eq!(told(&good, attested(json!({}))), "satisfied");
    assert_eq!(told(&good, attested(json!({"conditions": [{"expression": "predicate.good"}]}))), "satisfied");
    let other_type = json!({"predicateType": "https://spdx.dev/Document"});
    assert_snapshot!(told(&good, attested(other_type)), @"Absent AttestationMissing: no attestation of that type | attestation provenance of type https://spdx.dev/Document by builder (key 70a63c9b754f…) | attest it for the image's digest, as with cosign attest");
    let other_signer = scene(vec![provenance(by_key(OTHER_KEY), json!({"good": true}))]);
    assert_snapshot!(told(&other_signer, attested(json!({}))), @"Violated SignatureKeyMismatch: a signature by another key, or of what was changed since | attestation provenance of type https://slsa.dev/provenance/v1 by builder (key 70a63c9b754f…) | attest it with the key that the policy names");
    let condition = json!({"conditions": [{"expression": "!predicate.good", "message": "must not be good"}]});
    assert_snapshot!(told(&good, attested(condition)), @"Violated AttestationConditionFailed: an attestation that does not meet: must not be good | attestation provenance of type https://slsa.dev/provenance/v1 by builder (key 70a63c9b754f…) | mend what the attestation reports, and attest the new build");
    let error = json!({"conditions": [{"expression": "predicate.nothing.here == 1"}]});
    assert_snapshot!(told(&good, attested(error)), @r#"Violated AttestationConditionFailed: an attestation on which a condition fails: it cannot be evaluated: there is no field "nothing": predicate.nothing.here == 1 | attestation provenance of type https://slsa.dev/provenance/v1 by builder (key 70a63c9b754f…) | mend what the attestation reports, and attest the new build"#);
}

#[test]
fn all_conditions_must_hold_of_one_statement() {
    let conditions = json!({"conditions": [{"expression": "predicate.a"}, {"expression": "predicate.b"}]});
    let halves = scene(vec![
        provenance(by_key(KEY), json!({"a": true, "b": false})),
        provenance(by_key(KEY), json!({"a": false, "b": true})),
    ]);
    assert!(matches!(result(&halves, attested(conditions.clone())).verdict, Verdict::Violated(_)));
    let whole = scene(vec![
        provenance(by_key(KEY), json!({"a": false, "b": true})),
        provenance(by_key(KEY), json!({"a": true, "b": true})),
    ]);
    assert_eq!(told(&whole, attested(conditions)), "satisfied");
}

/// Sixteen times the most that one condition may take leaves nothing for the seventeenth, which would hold.
#[test]
fn conditions_about_many_attestations_end() {
    let loops = "predicate.list.all(a, predicate.list.all(b, predicate.list.all(c, true)))";
    let condition = json!({"conditions": [{"expression": format!("predicate.good || {loops}")}]});
    let dear = |_| provenance(by_key(KEY), json!({"good": false, "list": vec![1; 200]}));
    let good = provenance(by_key(KEY), json!({"good": true, "list": []}));
    let among = |count| scene((0..count).map(dear).chain([good.clone()]).collect());
    assert_eq!(told(&among(15), attested(condition.clone())), "satisfied");
    let told = told(&among(16), attested(condition));
    assert!(told.starts_with("Violated AttestationConditionFailed"), "{told}");
}

#[test]
fn a_denial_tells_it_all_in_a_few_lines() {
    let spec = json!({
        "signatures": {"atLeast": 2, "authorities": [key("release", KEY), keyless("ci", &SUBJECT.replace("v1", "*"))]},
        "attestations": [{"name": "provenance", "predicateType": SLSA, "authorities": ["ci"]}],
    });
    let decision = scene(vec![signature(by_key(KEY))]).decide(&[policy(spec)], IMAGE);
    let refusal = Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" };
    assert_snapshot!(denial(&Decision { images: vec![decision] }, refusal), @"
    Pod team-a/web refused by image policy (decision d-1):
    - image a.example/x:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Signatures: SignaturesTooFew: found 1 of 2 authorities; ci: a signature by a key, where a certificate is wanted; wanted signatures by 2 different ones of ci (https://github.com/acme/app/.github/workflows/release.yml@r…; have the others sign it too
      policy ClusterImageAdmissionPolicy/house-rules, check Attestations: SignatureKindMismatch: found a signature by a key, where a certificate is wanted; wanted attestation provenance of type https://slsa.dev/provenance/v1 by ci (https://github.com/acme/app/…; attest it in the way that the policy names
    ");
}
