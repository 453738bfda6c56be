use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    beside::*,
    scans::laws::{any_rules, any_scans},
    *,
};
use crate::evidence::ScanError;

const IMAGES: [&str; 10] = [
    "a.example/x:1",
    "a.example/x",
    "a.example/y:2-dev",
    "b.example/x:1",
    "x",
    "c.example/z:latest",
    "a.example/x:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "b.example/x@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "a.example/y@sha512:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
    "",
];
const PATTERNS: [&str; 6] =
    ["a.example/x", "a.example/y", "b.example/x", "docker.io/library/x", "c.example/z", "**"];

fn any_list(of: &'static [&'static str]) -> impl Strategy<Value = Value> {
    vec(select(of), 1..3).prop_map(|list| json!(list))
}

fn maybe(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    option::weighted(0.4, of).prop_map(|value| value.unwrap_or(Value::Null))
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let text = |of| select(of).prop_map(|text: &str| text.to_owned());
    proptest::collection::btree_map(text(&["env", "tier"]), text(&["prod", "test"]), 0..3)
}

fn any_selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_labels().prop_map(|labels| json!({"matchLabels": labels})),
        (select(&["env", "tier"]), select(&["Exists", "DoesNotExist"]))
            .prop_map(|(key, operator)| json!({"matchExpressions": [{"key": key, "operator": operator}]})),
        (select(&["env", "tier"]), select(&["In", "NotIn"])).prop_map(
            |(key, operator)| json!({"matchExpressions": [{"key": key, "operator": operator, "values": ["prod"]}]})
        ),
    ]
}

/// The spec of a policy that can be read.
fn any_spec() -> impl Strategy<Value = Value> {
    let what = (
        maybe(any_list(&PATTERNS)),
        maybe(any_list(&PATTERNS)),
        maybe(any_selector()),
        maybe(any_selector()),
    );
    let digests = vec(select(vec![digest('a'), digest('b')]), 1..3).prop_map(|list| json!(list));
    let rules = (
        maybe(any_list(&PATTERNS)),
        maybe(any_list(&PATTERNS)),
        any::<bool>(),
        maybe(any_list(&["latest", "*-dev", "1", "*"])),
        maybe(digests),
        option::weighted(0.3, any_signatures()),
        option::weighted(0.2, any_attestation()),
        option::weighted(0.3, any_vulnerabilities()),
    );
    let then = (
        select(&["Deny", "Deny", "Warn", "Audit"]),
        option::weighted(0.3, select(&["2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])),
        select(&["Deny", "Warn"]),
    );
    (what, rules, then).prop_map(
        |((images, exclude, namespaces, objects), rules, (action, date, on_error))| {
            let (allow, deny, require_digest, tags, digests, signatures, attestations, vulnerabilities) =
                rules;
            let mut spec = json!({
                "action": action,
                "match": {
                    "images": images, "excludeImages": exclude,
                    "namespaceSelector": namespaces, "objectSelector": objects,
                },
                "onError": {"action": on_error},
            });
            if action != "Deny" {
                spec["enforceAfter"] = json!(date);
            }
            if !allow.is_null() || !deny.is_null() {
                spec["registries"] = json!({"allow": allow, "deny": deny});
            }
            if require_digest || !tags.is_null() || !digests.is_null() {
                spec["references"] =
                    json!({"requireDigest": require_digest, "denyTags": tags, "denyDigests": digests});
            }
            if let Some(signatures) = signatures {
                spec["signatures"] = signatures;
            }
            if let Some(attestations) = attestations {
                spec["attestations"] = attestations;
            }
            if let Some(mut vulnerabilities) = vulnerabilities {
                if spec["signatures"].is_null() {
                    vulnerabilities["sources"].as_object_mut().map(|sources| sources.remove("attestations"));
                }
                spec["vulnerabilities"] = vulnerabilities;
            }
            if ["registries", "references", "signatures", "attestations", "vulnerabilities"]
                .iter()
                .all(|rules| spec[rules].is_null())
            {
                spec["references"] = json!({"denyTags": ["latest"]});
            }
            spec
        },
    )
}

/// A policy, cluster's or team's, now and then one that cannot be read.
fn any_document() -> impl Strategy<Value = Value> {
    (any_spec(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(mut spec, team, broken)| {
        if broken {
            spec["signatures"] = json!({});
        }
        if !team {
            return document("", spec);
        }
        spec["match"].as_object_mut().unwrap().remove("namespaceSelector");
        json!({
            "apiVersion": "tidewaiter.dev/v1alpha1",
            "kind": "ImageAdmissionPolicy",
            "metadata": {"namespace": "team-a"},
            "spec": spec,
        })
    })
}

fn any_policies(most: usize) -> impl Strategy<Value = Vec<Arc<Policy>>> {
    vec(any_document(), 0..most).prop_map(|documents| {
        let named = |(at, mut document): (usize, Value)| {
            document["metadata"]["name"] = json!(format!("p{at:02}"));
            read(&document)
        };
        documents.into_iter().enumerate().map(named).collect()
    })
}

fn any_resolution() -> impl Strategy<Value = Resolution> {
    prop_oneof![
        2 => select(vec![digest('a'), digest('b'), digest('c')]).prop_map(Resolution::Resolved),
        2 => select(failures()).prop_map(Resolution::Failed),
        1 => Just(Resolution::NotAsked),
    ]
}

fn any_beside() -> impl Strategy<Value = Result<Vec<Verified>, RegistryError>> {
    let signer = prop_oneof![Just(by_key(KEY)), Just(by_key(OTHER_KEY)), Just(by_identity()),];
    let one = (signer, option::of(any::<bool>()), any::<bool>()).prop_map(|(signer, provenance_, logged)| {
        let verified = match provenance_ {
            Some(good) => provenance(signer, json!({"good": good})),
            None => signature(signer),
        };
        Verified { logged, ..verified }
    });
    prop_oneof![
        4 => vec(one, 0..4).prop_map(Ok),
        1 => select(failures()).prop_map(Err),
    ]
}

/// An authority: of a key or an identity, with or without what makes it choosy.
fn any_authority(name: &'static str) -> impl Strategy<Value = Value> {
    let proof = select(vec![
        json!({"key": {"inline": KEY}}),
        json!({"key": {"inline": OTHER_KEY}}),
        json!({"key": {"inline": KEY, "trustRootRef": {"name": ROOT}}}),
        json!({"key": {"secretRef": {"namespace": SECRET[0], "name": SECRET[1], "key": SECRET[2]}}}),
        json!({"keyless": {"identities": [{"issuer": ISSUER, "subjectPattern": "https://github.com/acme/*"}], "transparencyLog": "Ignored"}}),
        json!({"keyless": {"identities": [{"issuer": ISSUER, "subject": SUBJECT}]}}),
    ]);
    (proof, prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
        move |(mut authority, annotated, elsewhere)| {
            authority["name"] = json!(name);
            if annotated {
                authority["annotations"] = json!({"env": "prod"});
            }
            if elsewhere {
                authority["source"] = json!({"repository": "b.example/x"});
            }
            authority
        },
    )
}

fn any_signatures() -> impl Strategy<Value = Value> {
    (any_authority("one"), any_authority("two"), 1..3, any::<bool>()).prop_map(
        |(one, two, at_least, must)| {
            let mut rules = json!({"atLeast": at_least, "authorities": [one, two]});
            if must {
                rules["mustInclude"] = json!(["two"]);
            }
            rules
        },
    )
}

/// Rules for vulnerabilities, some of which listen to the authorities of signatures.
fn any_vulnerabilities() -> impl Strategy<Value = Value> {
    (any_rules(), any::<bool>()).prop_map(|(mut rules, attested)| {
        if attested && rules["sources"].is_object() {
            rules["sources"]["attestations"] = json!(["one"]);
        }
        rules
    })
}

/// An attestation by an authority of its own.
fn any_attestation() -> impl Strategy<Value = Value> {
    (any_authority("three"), any::<bool>()).prop_map(|(mut by, condition)| {
        by.as_object_mut().unwrap().remove("annotations");
        let mut rule = json!({"name": "provenance", "predicateType": SLSA, "inlineAuthorities": [by]});
        if condition {
            rule["conditions"] = json!([{"expression": "predicate.good"}]);
        }
        json!([rule])
    })
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let settings = (
        select(&[Unmatched::Allow, Unmatched::Warn, Unmatched::Deny]),
        select(&[DigestDemand::Known, DigestDemand::Written]),
        select(&[Action::Deny, Action::Deny, Action::Warn]),
    )
        .prop_map(|(unmatched, demand, ceiling)| Settings { unmatched, demand, ceiling });
    let known = (any_resolution(), any_beside(), any_scans());
    (option::weighted(0.8, any_labels()), any_labels(), known, settings).prop_map(
        |(namespace_labels, object_labels, (resolution, beside, scans), settings)| Scene {
            namespace_labels,
            object_labels,
            resolution,
            beside,
            scans,
            settings,
        },
    )
}

fn any_image() -> impl Strategy<Value = &'static str> {
    select(&IMAGES)
}

/// The resolutions that there can be, so that a law holds for all of them.
fn resolutions() -> Vec<Resolution> {
    let digests = ['a', 'b', 'c'].map(|of| Resolution::Resolved(digest(of)));
    let failures = failures().into_iter().map(Resolution::Failed);
    digests.into_iter().chain(failures).chain([Resolution::NotAsked]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// "No policy is about it" is a default, not a rule: the cluster's first policy takes its place.
    #[test]
    fn one_more_policy_never_admits_more(
        policies in any_policies(6), more in any_policies(3), scene in any_scene(), image in any_image(),
    ) {
        let before = scene.decide(&policies, image);
        let mut all = policies.clone();
        all.extend(more);
        let after = scene.decide(&all, image);
        let by_default = before.results.iter().any(|result| {
            result.verdict.finding().is_some_and(|finding| finding.reason == Reason::NoPolicyMatches)
        });
        if before.matched() && !by_default {
            prop_assert!(before.allowed() || !after.allowed(), "{after:#?}");
            for result in &before.results {
                let withheld = result.verdict.finding().is_some_and(|finding| {
                    matches!(
                        finding.reason,
                        Reason::DigestUnknown | Reason::ScanNotAsked | Reason::SignaturesNotAsked
                    )
                });
                prop_assert!(withheld || after.results.contains(result), "{result:#?}");
            }
        }
    }

    /// Teams add to what the cluster demands and lift none of it, what is settled for images without a policy
    /// included.
    #[test]
    fn one_more_policy_of_a_team_never_admits_more(
        policies in any_policies(4), more in any_policies(6), scene in any_scene(), image in any_image(),
    ) {
        let before = scene.decide(&policies, image);
        let mut all = policies.clone();
        all.extend(more.into_iter().filter(|policy| policy.id().kind == policy::PolicyKind::Namespaced));
        let after = scene.decide(&all, image);
        prop_assert!(before.allowed() || !after.allowed(), "{before:#?} {after:#?}");
    }

    #[test]
    fn the_order_of_policies_does_not_matter(
        policies in any_policies(6).prop_flat_map(|policies| (Just(policies.clone()), Just(policies).prop_shuffle())),
        scene in any_scene(),
        image in any_image(),
    ) {
        prop_assert_eq!(scene.decide(&policies.0, image), scene.decide(&policies.1, image));
    }

    #[test]
    fn only_a_policy_that_denies_now_denies(
        policies in any_policies(6), mut scene in any_scene(), image in any_image(),
    ) {
        scene.settings.unmatched = Unmatched::Warn;
        let gentle: Vec<_> =
            policies.into_iter().filter(|policy| policy.action(now()) != Action::Deny).collect();
        prop_assert!(scene.decide(&gentle, image).allowed());
        scene.settings.ceiling = Action::Warn;
        prop_assert!(scene.decide(&gentle, image).allowed());
    }

    #[test]
    fn under_a_ceiling_nothing_is_denied(policies in any_policies(6), mut scene in any_scene(), image in any_image()) {
        scene.settings.ceiling = Action::Warn;
        prop_assert!(scene.decide(&policies, image).allowed());
    }

    /// Every failure, answer or not, denies where a policy that denies does not excuse it.
    #[test]
    fn lost_evidence_never_admits(policies in any_policies(6), mut scene in any_scene(), image in any_image()) {
        let with_evidence = scene.decide(&policies, image);
        for error in failures() {
            scene.resolution = Resolution::Failed(error);
            let without = scene.decide(&policies, image);
            let unpinned = without.reference.as_ref().is_some_and(|reference| reference.digest().is_none());
            let strict = scene.settings.ceiling == Action::Deny
                && without.results.iter().any(|result| result.policy.as_ref().is_some_and(|id| policies.iter().any(|policy| {
                    policy.id() == id && policy.action(now()) == Action::Deny && policy.on_error() == policy::OnError::Deny
                })));
            if unpinned && strict {
                prop_assert!(!without.allowed(), "{without:#?}");
            }
            if !unpinned {
                prop_assert_eq!(with_evidence.allowed(), without.allowed());
            }
        }
    }

    #[test]
    fn what_is_refused_unseen_is_refused_whatever_is_seen(
        policies in any_policies(6), mut scene in any_scene(), image in any_image(),
    ) {
        let Ok(reference) = image.parse::<ImageReference>() else { return Ok(()) };
        prop_assume!(reference.digest().is_none());
        let refused = {
            let subject = scene.subject();
            let set = PolicySet::new(policies.iter().cloned());
            let matching = set.matching(&subject, Some(&reference));
            refuses_unseen(&reference, &matching, &subject, scene.settings, now())
        };
        for resolution in resolutions() {
            scene.resolution = resolution;
            let decision = scene.decide(&policies, image);
            if refused {
                prop_assert!(!decision.allowed(), "{decision:#?}");
            } else if matches!(scene.resolution, Resolution::NotAsked) {
                // Nothing but the missing digest may stand in the way.
                let other = decision.results.iter().any(|result| {
                    result.demands() == Some(Action::Deny) && result.check != Check::Digest
                        && result.verdict.finding().is_some_and(|finding| finding.reason != Reason::DigestUnknown)
                        && result.policy.is_some()
                });
                prop_assert!(!other, "{decision:#?}");
            }
        }
    }

    /// Neither does losing sight of its scans, but where a policy excuses a registry that does not say which platforms
    /// there are.
    #[test]
    fn lost_scans_never_admit(policies in any_policies(6), mut scene in any_scene(), image in any_image()) {
        let seen = scene.decide(&policies, image);
        let excusing = policies.iter().any(|policy| policy.on_error() == policy::OnError::Warn);
        let platforms = failures().into_iter().filter(|error| !excusing || error.is_answer());
        let lost = platforms.map(ScanError::Platforms).chain([ScanError::Unlisted("away".to_owned())]);
        for scans in lost.map(ScanEvidence::Unseen).chain([ScanEvidence::NotAsked]) {
            scene.scans = scans;
            let lost = scene.decide(&policies, image);
            prop_assert!(seen.allowed() || !lost.allowed(), "{seen:#?} {lost:#?}");
        }
    }

    /// Losing sight of what stands beside the image never admits more than seeing nothing there, but where a
    /// policy excuses registries that cannot be asked.
    #[test]
    fn lost_signatures_never_admit(policies in any_policies(6), mut scene in any_scene(), image in any_image()) {
        scene.beside = Ok(Vec::new());
        let unsigned = scene.decide(&policies, image);
        let excusing = policies.iter().any(|policy| policy.on_error() == policy::OnError::Warn);
        for error in failures() {
            let answer = error.is_answer();
            scene.beside = Err(error);
            let unseen = scene.decide(&policies, image);
            prop_assert!(unsigned.allowed() || !unseen.allowed() || (excusing && !answer), "{unseen:#?}");
        }
    }

    /// One more signature never refuses, and one less never admits.
    #[test]
    fn more_signatures_never_admit_less(policies in any_policies(4), mut scene in any_scene(), image in any_image()) {
        let Ok(all) = scene.beside.clone() else { return Ok(()) };
        let with_all = scene.decide(&policies, image);
        for left in 0..all.len() {
            scene.beside = Ok(all[..left].to_vec());
            prop_assert!(with_all.allowed() || !scene.decide(&policies, image).allowed());
        }
    }

    /// Damage a policy in any one place: it admits nothing that it would not have admitted whole.
    #[test]
    fn an_unreadable_policy_never_admits_more_than_a_readable_one(
        spec in any_spec(), scene in any_scene(), image in any_image(),
        place in select(&[
            "", "/unknown", "/action", "/enforceAfter", "/match", "/match/unknown", "/match/images",
            "/match/excludeImages", "/match/namespaceSelector", "/match/objectSelector", "/registries",
            "/references", "/onError", "/signatures", "/signatures/authorities", "/attestations",
        ]),
        damage in select(vec![json!({"unknown": 1}), json!([]), json!("?"), json!(7), json!([7]), json!([""])]),
    ) {
        let whole = read(&document("p", spec.clone()));
        prop_assert_eq!(whole.compile_error(), None);
        let mut damaged = document("p", spec);
        let mut at = &mut damaged["spec"];
        for key in place.split('/').skip(1) {
            at = &mut at[key];
        }
        *at = damage;
        let damaged = read(&damaged);
        prop_assert!(damaged.compile_error().is_some());
        let (whole, damaged) = (scene.decide(&[whole], image), scene.decide(&[damaged], image));
        if whole.matched() {
            prop_assert!(damaged.matched());
            prop_assert!(whole.allowed() || !damaged.allowed(), "{whole:#?} {damaged:#?}");
        }
    }

    #[test]
    fn nothing_is_admitted_under_deny_without_the_digest_that_was_judged(
        policies in any_policies(6), scene in any_scene(), image in any_image(),
    ) {
        let decision = scene.decide(&policies, image);
        let strict = scene.settings.ceiling == Action::Deny
            && decision.results.iter().any(|result| result.policy.is_some()
                && result.check == Check::Digest
                && result.action == Action::Deny);
        if decision.allowed() && strict {
            prop_assert!(decision.digest.is_some());
            if scene.settings.demand == DigestDemand::Written {
                let written = decision.reference.as_ref().and_then(|reference| reference.digest());
                prop_assert_eq!(written, decision.digest.as_ref());
            }
        }
    }

    #[test]
    fn answers_keep_their_limits(
        policies in any_policies(6), scene in any_scene(),
        images in vec(prop_oneof![any_image().prop_map(str::to_owned), "\\PC{0,300}", any::<String>()], 0..50),
        name in any::<String>(),
    ) {
        let decision = Decision { images: images.iter().map(|image| scene.decide(&policies, image)).collect() };
        let refusal = Refusal { kind: "Pod", namespace: &name, name: &name, decision_id: "d-1" };
        let text = denial(&decision, refusal);
        prop_assert!(text.len() <= 1024, "{} bytes", text.len());
        prop_assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
        let warnings = warnings(&decision);
        prop_assert!(warnings.iter().all(|warning| warning.chars().count() <= 256));
        prop_assert!(warnings.iter().map(|warning| warning.chars().count()).sum::<usize>() <= 4096);
        prop_assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)));
    }
}
