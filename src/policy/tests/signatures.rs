use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELy5qaMnPuIMkT5OaT0h6bJ1IlCEW
3GfSthkqypF+7fEi8sMzdUMdd39/KaLMIQPKQdJQovx+sXrwz9Ev/sIkzA==
-----END PUBLIC KEY-----";

fn identity() -> Value {
    json!({"issuer": "https://issuer.example.com", "subjectPattern": "https://git.example.com/acme/*"})
}

/// A policy with everything that can be said about signatures and attestations.
fn everything() -> Value {
    json!({
        "signatures": {
            "atLeast": 2,
            "mustInclude": ["release"],
            "authorities": [
                {
                    "name": "release",
                    "key": {"inline": KEY},
                    "annotations": {"env": "prod"},
                    "source": {"repository": "registry.example.com/signatures"},
                    "signedIdentity": {
                        "matchPolicy": "RemapIdentity",
                        "remapIdentity": {"prefix": "mirror.example.com", "signedPrefix": "registry.example.com/acme"},
                    },
                },
                {"name": "ci", "keyless": {
                    "identities": [identity()], "trustRootRef": {"name": "private"}, "transparencyLog": "IfPresent",
                }},
            ],
        },
        "attestations": [{
            "name": "provenance",
            "predicateType": "https://slsa.dev/provenance/v1",
            "authorities": ["ci"],
            "inlineAuthorities": [
                {"name": "builder", "key": {"inline": KEY, "trustRootRef": {"name": "private"}}},
            ],
            "conditions": [{"expression": "predicate.good", "message": "must be good"}],
        }],
    })
}

#[test]
fn every_field_about_signatures_arrives() {
    for document in [cluster(everything()), namespaced(everything())] {
        let policy = compile(&document);
        let [release, ci, builder] = policy.authorities() else { panic!("{:?}", policy.authorities()) };
        let key = PublicKey::from_pem(KEY).unwrap();
        assert!(
            matches!(&release.proof, Proof::Key { key: KeyRef::Inline(one), log: TransparencyLog::Ignored, root: None } if *one == key)
        );
        assert_eq!(release.annotations.get("env").map(String::as_str), Some("prod"));
        assert_eq!(
            release.source.as_ref().map(ToString::to_string).as_deref(),
            Some("registry.example.com/signatures")
        );
        let remapped = SignedIdentity::Remapped {
            prefix: "mirror.example.com".into(),
            signed_prefix: "registry.example.com/acme".into(),
        };
        assert_eq!(release.signed_identity, Some(remapped));
        let Proof::Identity { identities, log, root } = &ci.proof else { panic!("{ci:?}") };
        assert_eq!((*log, root), (TransparencyLog::IfPresent, &RootRef::Named("private".into())));
        assert!(identities[0].matches("https://git.example.com/acme/app", "https://issuer.example.com"));
        // A key under a trust root wants the log, unless it says otherwise.
        assert!(matches!(&builder.proof, Proof::Key { log: TransparencyLog::Required, root: Some(_), .. }));
        let [Requirement::Signatures(signatures), Requirement::Attestation(attestation)] =
            policy.requirements()
        else {
            panic!("{:?}", policy.requirements())
        };
        assert_eq!((signatures.at_least, &*signatures.must_include), (2, &[0][..]));
        assert_eq!(
            signatures.authorities.iter().copied().collect::<std::collections::BTreeSet<_>>(),
            [0, 1].into()
        );
        assert_eq!((&*attestation.name, &*attestation.authorities), ("provenance", &[1, 2][..]));
        assert_eq!(attestation.conditions[0].message(), Some("must be good"));
        let attached = policy.attached().unwrap();
        assert!(attached.signatures && attached.attestations);
    }
}

#[test]
fn what_is_left_out_is_strict() {
    let policy = compile(&cluster(json!({"signatures": {"authorities": [
        {"name": "ci", "keyless": {"identities": [identity()]}},
        {"name": "release", "key": {"secretRef": {"namespace": "security", "name": "release"}}},
    ]}})));
    let [ci, release] = policy.authorities() else { panic!("{:?}", policy.authorities()) };
    let Proof::Identity { log, root, .. } = &ci.proof else { panic!("{ci:?}") };
    assert_eq!((*log, root), (TransparencyLog::Required, &RootRef::PublicGood));
    let Proof::Key { key: KeyRef::Secret(secret), .. } = &release.proof else { panic!("{release:?}") };
    assert_eq!(secret.to_string(), "security/release key cosign.pub");
    assert!(matches!(policy.requirements(), [Requirement::Signatures(one)] if one.at_least == 1));
}

#[test]
fn a_teams_secret_is_one_of_its_own_namespace() {
    let policy = compile(&namespaced(json!({"signatures": {"authorities": [
        {"name": "release", "key": {"secretRef": {"name": "release", "key": "pub"}}},
    ]}})));
    let Proof::Key { key: KeyRef::TeamSecret(secret), .. } = &policy.authorities()[0].proof else { panic!() };
    assert_eq!(&*secret.namespace, "team-a");
}

const A: &str = "/spec/signatures/authorities";

#[rstest]
#[case::no_authority(A, json!([]))]
#[case::seventeen(A, json!(vec![json!({"name": "a", "key": {"inline": KEY}}); 17]))]
#[case::a_name_twice("/spec/signatures/authorities/1/name", json!("release"))]
#[case::no_name("/spec/signatures/authorities/0/name", json!(""))]
#[case::a_name_with_spaces("/spec/signatures/authorities/0/name", json!("our release"))]
#[case::key_and_keyless("/spec/signatures/authorities/0/keyless", json!({"identities": [identity()]}))]
#[case::no_key("/spec/signatures/authorities/0/key", json!({}))]
#[case::two_keys("/spec/signatures/authorities/0/key/file", json!("release.pub"))]
#[case::a_key_that_is_none("/spec/signatures/authorities/0/key/inline", json!("release"))]
#[case::an_empty_key("/spec/signatures/authorities/0/key/inline", json!(""))]
#[case::a_log_without_a_root("/spec/signatures/authorities/0/key/transparencyLog", json!("Required"))]
#[case::no_annotations("/spec/signatures/authorities/0/annotations", json!({}))]
#[case::a_source_with_a_tag("/spec/signatures/authorities/0/source/repository", json!("registry.example.com/a:1"))]
#[case::a_prefix_with_a_slash("/spec/signatures/authorities/0/signedIdentity/remapIdentity/prefix", json!("mirror.example.com/"))]
#[case::a_remap_for_nothing("/spec/signatures/authorities/0/signedIdentity/matchPolicy", json!("MatchRepository"))]
#[case::no_identity("/spec/signatures/authorities/1/keyless/identities", json!([]))]
#[case::nobody("/spec/signatures/authorities/1/keyless/identities/0", json!({}))]
#[case::no_issuer("/spec/signatures/authorities/1/keyless/identities/0", json!({"subject": "a"}))]
#[case::two_issuers("/spec/signatures/authorities/1/keyless/identities/0/issuerPattern", json!("https://*"))]
#[case::everybody("/spec/signatures/authorities/1/keyless/identities/0/subjectPattern", json!("**"))]
#[case::an_empty_subject("/spec/signatures/authorities/1/keyless/identities/0/subjectPattern", json!(""))]
#[case::a_root_without_a_name("/spec/signatures/authorities/1/keyless/trustRootRef/name", json!(""))]
#[case::none_at_least("/spec/signatures/atLeast", json!(0))]
#[case::more_than_there_are("/spec/signatures/atLeast", json!(3))]
#[case::nobody_must("/spec/signatures/mustInclude", json!([]))]
#[case::a_stranger_must("/spec/signatures/mustInclude/0", json!("stranger"))]
#[case::no_attestations("/spec/attestations", json!([]))]
#[case::an_attestation_without_a_name("/spec/attestations/0/name", json!(""))]
#[case::an_attestation_of_no_type("/spec/attestations/0/predicateType", json!(""))]
#[case::an_attestation_by_a_stranger("/spec/attestations/0/authorities/0", json!("stranger"))]
#[case::annotations_of_an_attestation("/spec/attestations/0/inlineAuthorities/0/annotations", json!({"a": "b"}))]
#[case::the_repository_of_an_attestation(
    "/spec/attestations/0/inlineAuthorities/0/signedIdentity", json!({"matchPolicy": "MatchRepository"})
)]
#[case::no_names("/spec/attestations/0/authorities", json!([]))]
#[case::nobody_inline("/spec/attestations/0/inlineAuthorities", json!([]))]
#[case::no_conditions("/spec/attestations/0/conditions", json!([]))]
#[case::a_condition_that_is_none("/spec/attestations/0/conditions/0/expression", json!("predicate ="))]
#[case::a_condition_about_nothing("/spec/attestations/0/conditions/0/expression", json!("predikate.good"))]
#[case::an_unknown_rule("/spec/signatures/authorities/0/key/transparencyLog", json!("Sometimes"))]
#[case::fields_as_a_list("/spec/signatures/authorities/0", json!(["release", {"inline": KEY}]))]
#[case::a_key_as_a_list("/spec/signatures/authorities/0/key", json!([KEY]))]
#[case::an_unknown_field("/spec/signatures/authorities/0/key/kms", json!("awskms:///alias/release"))]
fn what_cannot_work_is_named_by_its_path(#[case] pointer: &str, #[case] value: Value) {
    let document = cluster(everything());
    compile(&document);
    let (_, troubles) = fail(&with(document, pointer, value));
    let path = pointer[1..].split('/').fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(at) => format!("{path}[{at}]"),
        Err(_) if path.is_empty() => part.to_owned(),
        Err(_) => format!("{path}.{part}"),
    });
    // A trouble with two fields together is told of what holds them both.
    let parent = path.rsplit_once(['.', '[']).unwrap().0.to_owned();
    assert!(troubles.contains(&parent), "{path} is not named in: {troubles}");
}

#[rstest]
#[case::a_secret_without_a_namespace(cluster(json!({"name": "s"})), "spec.signatures.authorities[0].key.secretRef.namespace: name the Secret's namespace")]
#[case::a_teams_secret_elsewhere(
    namespaced(json!({"namespace": "kube-system", "name": "s"})),
    "spec.signatures.authorities[0].key.secretRef.namespace: \"kube-system\": a team's policy reads Secrets of its own namespace"
)]
#[case::even_its_own(
    namespaced(json!({"namespace": "team-a", "name": "s"})),
    "spec.signatures.authorities[0].key.secretRef.namespace: \"team-a\": a team's policy reads Secrets of its own namespace"
)]
#[case::no_name(cluster(json!({"namespace": "security", "name": ""})), "spec.signatures.authorities[0].key.secretRef.name")]
#[case::a_path_for_a_key(cluster(json!({"namespace": "security", "name": "s", "key": "../x"})), "spec.signatures.authorities[0].key.secretRef.key")]
fn whose_secret_it_is_is_settled(#[case] mut document: Value, #[case] problem: &str) {
    let secret = document["spec"].take();
    document["spec"] =
        json!({"signatures": {"authorities": [{"name": "release", "key": {"secretRef": secret}}]}});
    let (_, troubles) = fail(&document);
    assert!(troubles.contains(problem), "{troubles}");
}

#[rstest]
#[case("../release.pub")]
#[case("/etc/passwd")]
#[case(".hidden")]
#[case("a/b")]
#[case("")]
fn a_files_name_leads_nowhere_else(#[case] name: &str) {
    let spec =
        |name: &str| json!({"signatures": {"authorities": [{"name": "release", "key": {"file": name}}]}});
    fail(&cluster(spec(name)));
    compile(&cluster(spec("release.pub")));
    let (_, troubles) = fail(&namespaced(spec("release.pub")));
    assert!(troubles.contains("a team's policy reads nothing outside its namespace"), "{troubles}");
}

#[test]
fn a_conditions_expression_and_message_are_told_apart() {
    let trouble = |condition: Value| {
        let document = with(cluster(everything()), "/spec/attestations/0/conditions/0", condition);
        fail(&document).1
    };
    let long = trouble(json!({"expression": "true", "message": "m".repeat(257)}));
    assert!(long.contains("spec.attestations[0].conditions[0].message"), "{long}");
    assert!(long.contains("has 257 characters"), "{long}");
    let broken = trouble(json!({"expression": "true &&", "message": "m"}));
    assert!(broken.contains("spec.attestations[0].conditions[0].expression"), "{broken}");
}

#[test]
fn no_trouble_with_a_key_repeats_it() {
    let private = KEY.replace("PUBLIC", "PRIVATE");
    let spec = json!({"signatures": {"authorities": [{"name": "release", "key": {"inline": private}}]}});
    let (_, troubles) = fail(&cluster(spec));
    assert!(troubles.contains("replace that key"), "{troubles}");
    assert!(!troubles.contains("MFkw"), "{troubles}");
}

#[test]
fn two_states_of_one_policy_are_told_apart_by_their_content() {
    let version = |spec: Value| compile(&cluster(spec)).version().clone();
    assert_eq!(version(everything()), version(everything()));
    let mut other = everything();
    other["signatures"]["atLeast"] = json!(1);
    assert_ne!(version(everything()), version(other));
}
