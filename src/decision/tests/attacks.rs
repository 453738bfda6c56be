use rstest::rstest;

use super::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What a requester can write, against a policy that names one image and says no to the rest.
#[rstest]
#[case::longer_host("a.example.evil.example/x:1")]
#[case::longer_name("a.examplevil/x:1")]
#[case::host_in_the_path("evil.example/a.example/x:1")]
#[case::host_before_the_host("a.example/a.example/x:1")]
#[case::another_port("a.example:8443/x:1")]
#[case::user_before_the_host("a.example@evil.example/x:1")]
#[case::a_trailing_dot("a.example./x:1")]
#[case::no_host("a.example")]
#[case::longer_path("a.example/x/y:1")]
#[case::longer_word("a.example/xy:1")]
#[case::another_case("a.example/X:1")]
#[case::dots("a.example/y/../x:1")]
#[case::double_slash("a.example//x:1")]
#[case::full_width_dot("a\u{ff0e}example/x:1")]
#[case::homoglyph("\u{430}.example/x:1")]
#[case::line_feed("a.example/x\n:1")]
#[case::bidi("a.example/\u{202e}x:1")]
#[case::zero_width("a.example/x\u{200b}:1")]
#[case::nul("a.example/x\0:1")]
#[case::leading_space(" a.example/x:1")]
#[case::nothing("")]
fn a_look_alike_is_not_the_image(#[case] image: &str) {
    let allow = policy(json!({"registries": {"allow": ["a.example/x"]}}));
    assert!(Scene::default().decide(std::slice::from_ref(&allow), "a.example/x:1").allowed());
    assert!(!Scene::default().decide(&[allow], image).allowed());
}

#[rstest]
#[case::beside_a_digest(&format!("a.example/x:latest@{A}"))]
#[case::alone("a.example/x:latest")]
#[case::implied("a.example/x")]
fn a_denied_tag_is_denied_wherever_it_is_written(#[case] image: &str) {
    let deny = policy(json!({"references": {"denyTags": ["latest"]}}));
    assert!(Scene::default().decide(std::slice::from_ref(&deny), &format!("a.example/x@{A}")).allowed());
    assert!(!Scene::default().decide(&[deny], image).allowed());
}

#[rstest]
#[case::by_tag("a.example/x:1")]
#[case::by_digest(&format!("a.example/x@{A}"))]
#[case::by_both(&format!("a.example/x:2@{A}"))]
#[case::under_another_name(&format!("b.example/y@{A}"))]
#[case::under_another_algorithm(&format!("a.example/x@sha512:{}", "0".repeat(128)))]
fn a_denied_digest_is_denied_under_every_name(#[case] image: &str) {
    let deny = policy(json!({"references": {"denyDigests": [A]}}));
    let other = Scene { resolution: Resolution::Resolved(digest('b')), ..Scene::default() };
    assert!(other.decide(std::slice::from_ref(&deny), "a.example/x:1").allowed());
    assert!(!Scene::default().decide(&[deny], image).allowed());
}

#[test]
fn a_sha512_list_can_be_compared_with_a_sha512_digest() {
    let of = |digit: &str| format!("sha512:{}", digit.repeat(128));
    let deny = policy(json!({"references": {"denyDigests": [of("0")]}}));
    let decide = |digit: &str| {
        Scene::default().decide(std::slice::from_ref(&deny), &format!("a.example/x@{}", of(digit))).allowed()
    };
    assert!(decide("1"));
    assert!(!decide("0"));
}

#[test]
fn the_labels_of_an_object_are_not_the_labels_of_its_namespace() {
    let rules = json!({
        "match": {"namespaceSelector": {"matchExpressions": [{"key": "exempt", "operator": "DoesNotExist"}]}},
        "references": {"requireDigest": true},
    });
    let mut scene =
        Scene { object_labels: labels(&[("exempt", "yes"), ("env", "test")]), ..Scene::default() };
    assert!(!scene.decide(&[policy(rules.clone())], "a.example/x:1").allowed());
    scene.namespace_labels = Some(labels(&[("exempt", "yes")]));
    assert!(scene.decide(&[policy(rules)], "a.example/x:1").allowed());
}

#[test]
fn an_image_text_of_megabytes_is_refused_with_a_short_answer() {
    let allow = policy(json!({"registries": {"allow": ["a.example/x"]}}));
    for image in [
        "x".repeat(8 << 20),
        format!("a.example/x:{}", "1".repeat(1 << 20)).replace("a.example/x:", "a.example/x"),
        format!("a.example/x\n{}", "\u{202e}".repeat(1 << 20)),
    ] {
        let decision =
            Decision { images: vec![Scene::default().decide(std::slice::from_ref(&allow), &image)] };
        assert!(!decision.allowed());
        let refusal = Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" };
        assert!(denial(&decision, refusal).len() <= 1024);
    }
}

#[test]
fn a_namespace_that_nobody_knows_is_no_way_out_of_any_policy() {
    let scene = Scene { namespace_labels: None, ..Scene::default() };
    for selector in [
        json!({"matchLabels": {"env": "never"}}),
        json!({"matchExpressions": [{"key": "env", "operator": "In", "values": ["never"]}]}),
        json!({"matchExpressions": [{"key": "env", "operator": "Exists"}]}),
        json!({"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}),
    ] {
        let selecting = policy(json!({
            "match": {"namespaceSelector": selector},
            "onError": {"action": "Warn"},
            "registries": {"allow": ["a.example/x"]},
        }));
        assert!(!scene.decide(&[selecting], "a.example/x:1").allowed());
    }
}

#[test]
fn what_a_denial_says_does_not_tell_missing_from_forbidden() {
    let allow = policy(json!({"registries": {"allow": ["a.example/x"]}}));
    let told = |error: RegistryError| {
        let scene = Scene { resolution: Resolution::Failed(error), ..Scene::default() };
        let decision = Decision { images: vec![scene.decide(std::slice::from_ref(&allow), "a.example/x:1")] };
        denial(&decision, Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" })
    };
    assert_eq!(told(RegistryError::NotFound), told(RegistryError::Denied));
    for error in failures() {
        let text = told(error);
        for secret in ["10.0.0.1", "two digests", "connection refused", "no answer"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Where what no policy is about is refused, a team that may write policies for its namespace must not get
/// around that by one that demands nothing to speak of.
#[test]
fn a_teams_own_policy_does_not_lift_what_is_settled_for_images_without_one() {
    let lenient = read(&json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageAdmissionPolicy",
        "metadata": {"name": "anything-goes", "namespace": "team-a"},
        "spec": {"action": "Audit", "registries": {"allow": ["**"]}},
    }));
    assert_eq!(lenient.compile_error(), None);
    let mut scene = Scene::default();
    scene.settings.unmatched = Unmatched::Deny;
    for policies in [&[][..], std::slice::from_ref(&lenient)] {
        assert!(!scene.decide(policies, "evil.example/x:1").allowed(), "{policies:?}");
    }
    let clusters = policy(json!({"registries": {"allow": ["evil.example/x"]}}));
    assert!(scene.decide(&[lenient, clusters], "evil.example/x:1").allowed());
}
