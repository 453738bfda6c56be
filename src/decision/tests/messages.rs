use insta::assert_snapshot;
use rstest::rstest;

use super::*;

const REFUSAL: Refusal<'static> =
    Refusal { kind: "Pod", namespace: "team-a", name: "web-7f9c", decision_id: "01J2Q5-4711" };

fn house_rules() -> Arc<Policy> {
    policy(json!({
        "registries": {"allow": ["registry.example.com/team/app", "registry.example.com/team/tool"]},
        "references": {"denyTags": ["latest"]},
    }))
}

fn of_one(image: ImageDecision) -> Decision {
    Decision { images: vec![image] }
}

#[test]
fn a_denial_names_image_digest_policy_check_found_wanted_and_remedy() {
    let image = Scene::default().decide(&[house_rules()], "docker.io/library/nginx:latest");
    assert_snapshot!(denial(&of_one(image), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image docker.io/library/nginx:latest (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Registries: RegistryNotAllowed: found docker.io/library/nginx; wanted one of registry.example.com/team/app, registry.example.com/team/tool; use an image from an allowed place, or ask for this one to be allowed
      policy ClusterImageAdmissionPolicy/house-rules, check References: TagDenied: found tag latest; wanted no tag latest; write the tag of a release, or a digest without a tag
    "#);
}

#[test]
fn a_denial_names_the_digest_once() {
    let pinned = format!("docker.io/library/nginx:1.27@{}", digest('b'));
    let image = Scene::default().decide(&[house_rules()], &pinned);
    assert_snapshot!(denial(&of_one(image), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image docker.io/library/nginx:1.27@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Registries: RegistryNotAllowed: found docker.io/library/nginx; wanted one of registry.example.com/team/app, registry.example.com/team/tool; use an image from an allowed place, or ask for this one to be allowed
    "#);

    let long = format!("registry.example.com/{}:1@{}", "deep/".repeat(30) + "app", digest('b'));
    let image = Scene::default().decide(&[house_rules()], &long);
    let text = denial(&of_one(image), REFUSAL);
    assert_eq!(text.matches(digest('b').as_str()).count(), 1, "{text}");
}

#[test]
fn a_denial_without_a_digest_says_why_there_is_none() {
    let told = |error: RegistryError| {
        let scene = Scene { resolution: Resolution::Failed(error), ..Scene::default() };
        let image = scene.decide(&[house_rules()], "registry.example.com/team/app:1");
        denial(&of_one(image), REFUSAL).split_once('\n').unwrap().1.to_owned()
    };
    let all: Vec<String> = failures().into_iter().map(told).collect();
    assert_snapshot!(all.join("\n"), @r#"
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: ImageUnavailable: found no such image, or none that these credentials may see; wanted the image's digest; check the name and the tag, and that an imagePullSecret of the Pod may pull it
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: ImageUnavailable: found no such image, or none that these credentials may see; wanted the image's digest; check the name and the tag, and that an imagePullSecret of the Pod may pull it
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryAnswerUnusable: found an answer that cannot be believed; wanted the image's digest; tell whoever runs the registry; the decision log has the details
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryAnswerUnusable: found an answer that cannot be believed; wanted the image's digest; tell whoever runs the registry; the decision log has the details
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RequestForbidden: found a registry that may not be asked; wanted the image's digest; use a public registry, or ask for this one to be listed in Tidewaiter's settings
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryThrottled: found a registry that throttles requests; wanted the image's digest; try again in a moment; if it stays, tell whoever runs the registry
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryUnreachable: found a registry that cannot be reached; wanted the image's digest; try again in a moment; if it stays, tell whoever runs the registry
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryTimedOut: found a registry that did not answer in time; wanted the image's digest; try again in a moment; if it stays, tell whoever runs the registry
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryOverloaded: found too many requests waiting for this registry; wanted the image's digest; try again in a moment; if it stays, tell whoever runs the registry
    - image registry.example.com/team/app:1 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: CredentialsUnavailable: found pull secrets that could not be read; wanted the image's digest; try again in a moment; if it stays, tell your cluster's operator
    "#);
}

#[test]
fn a_denial_of_a_digest_says_what_to_do() {
    let denied = policy(json!({"references": {"denyDigests": [digest('a')]}}));
    let by_tag = Scene::default().decide(std::slice::from_ref(&denied), "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(by_tag), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check References: DigestDenied: found sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; wanted a digest that is not on the policy's list; use another build of the image
    "#);

    let other = format!("registry.example.com/team/app@sha512:{}", "0".repeat(128));
    let by_sha512 = Scene::default().decide(&[denied], &other);
    assert_snapshot!(denial(&of_one(by_sha512), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app@sha512:00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check References: DigestIncomparable: found a sha512 digest, which cannot be compared with the policy's list; wanted a sha256 digest; write the image with its sha256 digest
    "#);

    let written = policy(json!({"references": {"requireDigest": true}}));
    let by_author = Scene::default().decide(&[written], "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(by_author), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check References: DigestRequired: found a reference without a digest; wanted a reference with @sha256:…; write the image as name:tag@digest
    "#);

    let scene =
        Scene { settings: Settings { demand: DigestDemand::Written, ..settings() }, ..Scene::default() };
    let unpinned = scene.decide(&[house_rules()], "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(unpinned), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Digest: DigestNotPinned: found a reference without a digest; wanted the digest in the reference; try again: the digest is put in before this check; if this stays, another webhook takes it out
    "#);
}

#[test]
fn a_denial_by_a_policy_that_cannot_be_read_tells_its_owner_where() {
    let broken =
        read(&document("house-rules", json!({"registries": {"allow": ["a.example/x"], "only": []}})));
    let image = Scene::default().decide(&[broken], "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(image), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Policy: PolicyUnreadable: found spec.registries.only: unknown field `only`, expected `allow` or `deny`; wanted a policy that this version can read; tell the policy's owner to mend it
    "#);
}

#[test]
fn a_denial_for_want_of_the_namespaces_labels_says_so() {
    let selecting = policy(json!({
        "match": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}, "references": {"denyTags": ["latest"]},
    }));
    let scene = Scene { namespace_labels: None, ..Scene::default() };
    let image = scene.decide(&[selecting], "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(image), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Match: NamespaceUnknown: found namespace team-a whose labels could not be read; wanted the labels that the policy selects namespaces by; try again in a moment; if it stays, tell your cluster's operator
    "#);
}

#[test]
fn a_denial_for_want_of_a_policy_says_so() {
    let mut scene = Scene::default();
    scene.settings.unmatched = Unmatched::Deny;
    let image = scene.decide(&[], "registry.example.com/team/app:1");
    assert_snapshot!(denial(&of_one(image), REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      check Match: NoPolicyMatches: found no policy that is about this image; wanted a ClusterImageAdmissionPolicy that is; ask whoever writes the policies to cover it
    "#);
}

#[test]
fn a_denial_of_too_many_images_says_so() {
    let decision =
        refuse_too_many(300, "/spec/containers/256/image", "registry.example.com/team/app:1", settings());
    assert_snapshot!(denial(&decision, REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image registry.example.com/team/app:1 at /spec/containers/256/image
      check Object: TooManyImages: found 300 images; wanted at most 256; split the object
    "#);
}

#[test]
fn the_same_image_in_many_places_is_told_once() {
    let image = |at: usize| {
        let pointer = format!("/spec/containers/{at}/image");
        Scene::default().decide_at(&[house_rules()], "docker.io/library/nginx:1.27", &pointer)
    };
    let decision = Decision { images: (0..8).map(image).collect() };
    assert_snapshot!(denial(&decision, REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image docker.io/library/nginx:1.27 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image and 7 more places
      policy ClusterImageAdmissionPolicy/house-rules, check Registries: RegistryNotAllowed: found docker.io/library/nginx; wanted one of registry.example.com/team/app, registry.example.com/team/tool; use an image from an allowed place, or ask for this one to be allowed
    "#);
}

#[test]
fn what_does_not_fit_is_counted() {
    let image = |at: usize| {
        let pointer = format!("/spec/containers/{at}/image");
        Scene::default().decide_at(&[house_rules()], &format!("docker.io/library/nginx:1.{at}"), &pointer)
    };
    let decision = Decision { images: (0..50).map(image).collect() };
    assert_snapshot!(denial(&decision, REFUSAL), @r#"
    Pod team-a/web-7f9c refused by image policy (decision 01J2Q5-4711):
    - image docker.io/library/nginx:1.0 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/0/image
      policy ClusterImageAdmissionPolicy/house-rules, check Registries: RegistryNotAllowed: found docker.io/library/nginx; wanted one of registry.example.com/team/app, registry.example.com/team/tool; use an image from an allowed place, or ask for this one to be allowed
    - image docker.io/library/nginx:1.1 (sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) at /spec/containers/1/image
      policy ClusterImageAdmissionPolicy/house-rules, check Registries: RegistryNotAllowed: found docker.io/library/nginx; wanted one of registry.example.com/team/app, registry.example.com/team/tool; use an image from an allowed place, or ask for this one to be allowed
    … and 48 more; the decision log has them all
    "#);

    // As many as are told and as many as are counted are all there are.
    for count in 1..60 {
        let decision = Decision { images: (0..count).map(image).collect() };
        let text = denial(&decision, REFUSAL);
        let told = text.matches("\n  policy ").count();
        let counted = text
            .split_once("… and ")
            .map_or(0, |(_, rest)| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(told + counted, count, "{text}");
        assert!(text.len() <= 1024, "{} bytes", text.len());
    }
}

/// The worst that a requester can write, in every place that a denial repeats.
#[rstest]
#[case::wide("漢")]
#[case::combining("e\u{301}")]
#[case::bidi("\u{202e}")]
#[case::zero_width("\u{200b}\u{feff}")]
#[case::line_feed("\n")]
#[case::escape("\u{1b}[2J")]
#[case::line_separator("\u{2028}\u{2029}\u{85}")]
#[case::filler("\u{3164}\u{115f}\u{2800}")]
#[case::tags("\u{e0041}")]
#[case::nul("\0")]
#[case::quotes("\"'\\")]
#[case::long("abcdefghij")]
fn hostile_text_neither_breaks_a_denial_nor_pushes_anything_out(#[case] text: &str) {
    let hostile = text.repeat(500);
    let name = Refusal { kind: "Pod", namespace: &hostile, name: &hostile, decision_id: "01J2Q5-4711" };
    let mut refusing =
        document("p", json!({"registries": {"allow": ["a.example/x"], "deny": ["b.example/x"]}}));
    refusing["metadata"]["name"] = json!(hostile);
    for policy in [house_rules(), read(&refusing)] {
        let images = (0..50).map(|at| {
            let pointer = format!("/spec/{hostile}/{at}/image");
            Scene::default().decide_at(
                std::slice::from_ref(&policy),
                &format!("a.example/{hostile}{at}"),
                &pointer,
            )
        });
        let decision = Decision { images: images.collect() };
        let text = denial(&decision, name);
        assert!(text.len() <= 1024, "{} bytes", text.len());
        for part in [
            "(decision 01J2Q5-4711):",
            "\n- image ",
            "found ",
            "; wanted ",
            " more; the decision log has them all",
        ] {
            assert!(text.contains(part), "no {part:?} in: {text}");
        }
        let told = text.matches("\n- image ").count() + text.matches("\n  policy ").count();
        assert_eq!(text.lines().count(), 1 + told + 1, "{text}");
        for character in text.chars() {
            let harmless = character == '\n'
                || character == '…'
                || character == '漢'
                || character.is_ascii_graphic()
                || character == ' '
                || character == '\u{301}';
            assert!(harmless, "{character:?} in: {text}");
        }
        for warning in warnings(&decision) {
            assert!(warning.chars().count() <= 256);
        }
    }
}

#[rstest]
#[case("plain", 10, "plain")]
#[case("0123456789", 10, "0123456789")]
#[case("0123456789a", 10, "0123456…")]
#[case("ééééé", 10, "ééééé")]
#[case("éééééé", 10, "ééé…")]
#[case("a\nb", 10, "a\\nb")]
#[case("\u{202e}abc", 20, "\\u{202e}abc")]
#[case("\u{202e}\u{202e}\u{202e}", 20, "\\u{202e}\\u{202e}…")]
#[case("\u{3164}", 20, "\\u{3164}")]
#[case("say \"it's\" C:\\", 20, "say \"it's\" C:\\")]
#[case("", 3, "")]
#[case("abcd", 3, "…")]
fn what_is_shown_is_bounded_in_bytes_after_escaping(
    #[case] text: &str,
    #[case] most: usize,
    #[case] shown: &str,
) {
    assert_eq!(printable(text, most), shown);
}

fn warning_rules(date: Option<&str>) -> Arc<Policy> {
    policy(json!({"action": "Warn", "enforceAfter": date, "references": {"denyTags": ["latest"]}}))
}

#[test]
fn a_warning_says_what_will_be_refused_and_from_when() {
    let image = |date| Scene::default().decide(&[warning_rules(date)], "registry.example.com/app:latest");
    assert_snapshot!(warnings(&of_one(image(None))).join("\n"), @"image registry.example.com/app:latest: policy ClusterImageAdmissionPolicy/house-rules, check References: TagDenied: found tag latest; wanted no tag latest; write the tag of a release, or a digest without a tag");
    assert_snapshot!(warnings(&of_one(image(Some("2027-01-01T00:00:00Z")))).join("\n"), @"refused from 2027-01-01T00:00:00Z on: image registry.example.com/app:latest: policy ClusterImageAdmissionPolicy/house-rules, check References: TagDenied: found tag latest; wanted no tag latest; write the tag of a release, or a digest without a tag");

    let unmatched = Scene::default().decide(&[], "registry.example.com/app:latest");
    assert_snapshot!(warnings(&of_one(unmatched)).join("\n"), @"image registry.example.com/app:latest: check Match: NoPolicyMatches: found no policy that is about this image; wanted at least one; ask whoever writes the policies to cover it");

    let excusing =
        policy(json!({"onError": {"action": "Warn"}, "registries": {"allow": ["registry.example.com/app"]}}));
    let scene = Scene { resolution: Resolution::Failed(RegistryError::TimedOut), ..Scene::default() };
    let excused = scene.decide(&[excusing], "registry.example.com/app:1");
    assert!(excused.allowed());
    assert_snapshot!(warnings(&of_one(excused)).join("\n"), @"image registry.example.com/app:1: policy ClusterImageAdmissionPolicy/house-rules, check Digest: RegistryTimedOut: found a registry that did not answer in time; wanted the image's digest; try again in a moment; if it stays, tell whoever runs the registry");
}

#[test]
fn neither_audit_nor_deny_is_a_warning() {
    for action in ["Audit", "Deny"] {
        let policy = policy(json!({"action": action, "references": {"denyTags": ["latest"]}}));
        let image = Scene::default().decide(&[policy], "registry.example.com/app:latest");
        assert_eq!(warnings(&of_one(image)), [""; 0]);
    }
}

#[test]
fn warnings_keep_the_limits_of_the_api_server_and_count_the_rest() {
    for (count, name) in [(1, 300), (17, 300), (50, 300), (256, 20), (30, 1)] {
        let image = |at: usize| {
            let image = format!("registry.example.com/{}{at}:latest", "漢".repeat(name));
            Scene::default().decide(&[warning_rules(Some("2027-01-01T00:00:00Z"))], &image)
        };
        let decision = Decision { images: (0..count).map(image).collect() };
        let warnings = warnings(&decision);
        assert!(warnings.iter().all(|warning| warning.chars().count() <= 256), "{warnings:?}");
        let total: usize = warnings.iter().map(|warning| warning.chars().count()).sum();
        assert!(total <= 4096, "{total} characters");
        let last = warnings.last().unwrap();
        let counted =
            last.strip_prefix("… and ").map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap());
        let told = warnings.len() - usize::from(counted > 0);
        assert_eq!(told + counted, count, "{last}");
        assert!(warnings[0].contains("ReferenceInvalid"), "the reason is not pushed out: {}", warnings[0]);
    }
}

#[test]
fn the_same_warning_is_given_once() {
    let image = |at: usize| {
        let pointer = format!("/spec/containers/{at}/image");
        Scene::default().decide_at(&[warning_rules(None)], "registry.example.com/app:latest", &pointer)
    };
    let decision = Decision { images: (0..8).map(image).collect() };
    assert_eq!(warnings(&decision).len(), 1);
}

#[rstest]
#[case("ci:hunter2@registry.example.com/app:1", "****@registry.example.com/app:1")]
#[case("https://ci:hunter2@registry.example.com/app", "****@registry.example.com/app")]
#[case("ci:hunter2/hunter2@registry.example.com/app@sha256:0", "****@registry.example.com/app@sha256:0")]
fn a_password_in_a_reference_is_not_repeated(#[case] image: &str, #[case] shown: &str) {
    for policies in [vec![], vec![warning_rules(None)], vec![house_rules()]] {
        let decided = of_one(Scene::default().decide(&policies, image));
        assert_eq!(decided.images[0].image, shown);
        let told = format!("{decided:?} {:?} {}", warnings(&decided), denial(&decided, REFUSAL));
        assert!(told.contains(shown) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn names_of_checks_and_reasons_are_distinct() {
    let checks: std::collections::BTreeSet<_> = Check::ALL.iter().map(|check| check.as_str()).collect();
    let reasons: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!((checks.len(), reasons.len()), (Check::ALL.len(), Reason::ALL.len()));
}
