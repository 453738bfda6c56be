use rstest::rstest;

use super::{scanned::*, *};
use crate::evidence::{ScanError, ScanEvidence, Severity};

const ALLOWED: &str = "a.example/x:1";
const PINNED: &str = "a.example/x:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PINNED_SHA512: &str = "a.example/x@sha512:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// One requirement and one image, and the one check whose verdict is looked at.
struct Row {
    rules: Value,
    image: &'static str,
    scene: Scene,
    check: Check,
    verdict: &'static str,
    reason: Option<Reason>,
}

impl Row {
    /// Whether what nobody could find out is not the registry's to say.
    fn is_the_clusters(&self) -> bool {
        let reasons = [Reason::NamespaceUnknown, Reason::ScanNotAsked, Reason::ScanVerdictsUnavailable];
        self.reason.is_some_and(|reason| reasons.contains(&reason))
    }
}

fn row(
    rules: Value,
    image: &'static str,
    check: Check,
    verdict: &'static str,
    reason: Option<Reason>,
) -> Row {
    Row { rules, image, scene: Scene::default(), check, verdict, reason }
}

fn failed(error: RegistryError) -> Scene {
    Scene { resolution: Resolution::Failed(error), ..Scene::default() }
}

fn rows() -> Vec<Row> {
    let allow = json!({"registries": {"allow": ["a.example/x", "a.example/y"]}});
    let deny = json!({"registries": {"deny": ["a.example/x"]}});
    let both = json!({"registries": {"allow": ["a.example/x"], "deny": ["a.example/x"]}});
    let written = json!({"references": {"requireDigest": true}});
    let tags = json!({"references": {"denyTags": ["latest", "*-dev"]}});
    let digests = json!({"references": {"denyDigests": [digest('a'), digest('b')]}});
    let other_digests = json!({"references": {"denyDigests": [digest('b')]}});
    let any = json!({"registries": {"deny": ["b.example/x"]}});

    let mut rows = vec![
        row(allow.clone(), ALLOWED, Check::Registries, "Satisfied", None),
        row(allow, "b.example/x:1", Check::Registries, "Violated", Some(Reason::RegistryNotAllowed)),
        row(deny.clone(), ALLOWED, Check::Registries, "Violated", Some(Reason::RegistryDenied)),
        row(deny, "a.example/y:1", Check::Registries, "Satisfied", None),
        row(both, ALLOWED, Check::Registries, "Violated", Some(Reason::RegistryDenied)),
        row(written.clone(), PINNED, Check::References, "Satisfied", None),
        row(written, ALLOWED, Check::References, "Violated", Some(Reason::DigestRequired)),
        row(tags.clone(), ALLOWED, Check::References, "Satisfied", None),
        row(tags.clone(), "a.example/x:latest", Check::References, "Violated", Some(Reason::TagDenied)),
        row(tags.clone(), "a.example/x", Check::References, "Violated", Some(Reason::TagDenied)),
        row(tags.clone(), "a.example/x:1-dev", Check::References, "Violated", Some(Reason::TagDenied)),
        row(tags, PINNED_SHA512, Check::References, "Satisfied", None),
        row(digests.clone(), ALLOWED, Check::References, "Violated", Some(Reason::DigestDenied)),
        row(digests.clone(), PINNED, Check::References, "Violated", Some(Reason::DigestDenied)),
        row(digests.clone(), PINNED_SHA512, Check::References, "Violated", Some(Reason::DigestIncomparable)),
        row(other_digests.clone(), ALLOWED, Check::References, "Satisfied", None),
        row(other_digests, PINNED, Check::References, "Satisfied", None),
        row(any.clone(), ALLOWED, Check::Digest, "Satisfied", None),
        row(any.clone(), PINNED, Check::Digest, "Satisfied", None),
        row(any.clone(), "", Check::Reference, "Violated", Some(Reason::ReferenceInvalid)),
        row(json!({"signatures": {}}), ALLOWED, Check::Policy, "Violated", Some(Reason::PolicyUnreadable)),
        row(json!({"signatures": {}}), ALLOWED, Check::Digest, "Satisfied", None),
        Row {
            scene: Scene { namespace_labels: None, ..Scene::default() },
            ..row(
                json!({
                    "match": {"namespaceSelector": {"matchLabels": {"env": "test"}}},
                    "registries": {"deny": ["b.example/x"]},
                }),
                ALLOWED,
                Check::Match,
                "Indeterminate",
                Some(Reason::NamespaceUnknown),
            )
        },
        Row {
            scene: Scene {
                settings: Settings { demand: DigestDemand::Written, ..settings() },
                ..Scene::default()
            },
            ..row(any.clone(), ALLOWED, Check::Digest, "Violated", Some(Reason::DigestNotPinned))
        },
        Row {
            scene: Scene {
                settings: Settings { demand: DigestDemand::Written, ..settings() },
                ..Scene::default()
            },
            ..row(any.clone(), PINNED, Check::Digest, "Satisfied", None)
        },
    ];
    let bad = found("CVE-2026-0001", Some(Severity::Critical), "zlib");
    let unlisted = ScanError::Unlisted("away".to_owned());
    for (scans, verdict, reason) in [
        (scanned(vec![]), "Satisfied", None),
        (scanned(vec![bad]), "Violated", Some(Reason::VulnerabilityDenied)),
        (seen(vec![subject(None, vec![])]), "Absent", Some(Reason::ScanVerdictMissing)),
        (ScanEvidence::NotAsked, "Indeterminate", Some(Reason::ScanNotAsked)),
        (ScanEvidence::Unseen(unlisted), "Indeterminate", Some(Reason::ScanVerdictsUnavailable)),
        (
            ScanEvidence::Unseen(ScanError::Platforms(RegistryError::TimedOut)),
            "Indeterminate",
            Some(Reason::RegistryTimedOut),
        ),
    ] {
        let rules = json!({"vulnerabilities": {"deny": [{"severity": "High"}]}});
        let row = row(rules, ALLOWED, Check::Vulnerabilities, verdict, reason);
        rows.push(Row { scene: Scene::with(scans), ..row });
    }
    let verdicts = [
        ("Absent", Reason::ImageUnavailable),
        ("Violated", Reason::ImageUnavailable),
        ("Violated", Reason::RegistryAnswerUnusable),
        ("Violated", Reason::RegistryAnswerUnusable),
        ("Violated", Reason::RequestForbidden),
        ("Indeterminate", Reason::RegistryThrottled),
        ("Indeterminate", Reason::RegistryUnreachable),
        ("Indeterminate", Reason::RegistryTimedOut),
        ("Indeterminate", Reason::RegistryOverloaded),
        ("Indeterminate", Reason::CredentialsUnavailable),
    ];
    for (error, (verdict, reason)) in failures().into_iter().zip(verdicts) {
        for demand in [DigestDemand::Known, DigestDemand::Written] {
            let mut scene = failed(error.clone());
            scene.settings.demand = demand;
            rows.push(Row { scene, ..row(any.clone(), ALLOWED, Check::Digest, verdict, Some(reason)) });
        }
        let unknown =
            row(digests.clone(), ALLOWED, Check::References, "Indeterminate", Some(Reason::DigestUnknown));
        rows.push(Row { scene: failed(error), ..unknown });
    }
    rows
}

/// What a check that is not satisfied leads to, spelt out case by case.
fn consequence(action: Action, date: Option<&str>, on_error: &str, ceiling: Action, row: &Row) -> Action {
    let passed = matches!(date, Some("2020-01-01T00:00:00Z" | NOW));
    let excused = on_error == "Warn" && row.verdict == "Indeterminate" && !row.is_the_clusters();
    match (action, passed, ceiling, excused) {
        (Action::Deny, _, Action::Deny, false) | (_, true, Action::Deny, false) => Action::Deny,
        (Action::Deny, ..) | (_, true, ..) => Action::Warn,
        (Action::Warn, ..) => Action::Warn,
        (Action::Audit, ..) => Action::Audit,
    }
}

/// Every requirement, in every state that it can be in, under every setting that bears on what follows.
#[rstest]
fn what_a_check_finds_leads_to_what_its_policy_says(
    #[values("Deny", "Warn", "Audit")] action: &str,
    #[values(None, Some("2020-01-01T00:00:00Z"), Some(NOW), Some("2027-01-01T00:00:00Z"))] date: Option<&str>,
    #[values("Deny", "Warn")] on_error: &str,
    #[values(Action::Deny, Action::Warn)] ceiling: Action,
) {
    if action == "Deny" && date.is_some() {
        return;
    }
    for mut row in rows() {
        row.rules["action"] = json!(action);
        row.rules["onError"] = json!({"action": on_error});
        row.rules["enforceAfter"] = json!(date);
        row.scene.settings.ceiling = ceiling;
        let policy = read(&document("house-rules", row.rules.clone()));
        let unreadable = policy.compile_error().is_some();
        let decision = row.scene.decide(std::slice::from_ref(&policy), row.image);
        let what = format!("{} {} {}", row.rules, row.image, row.check.as_str());

        let result = decision.results.iter().find(|result| result.check == row.check).expect(&what);
        assert_eq!(result.verdict.as_str(), row.verdict, "{what}");
        assert_eq!(result.verdict.finding().map(|finding| finding.reason), row.reason, "{what}");
        assert_eq!(result.policy.as_ref(), Some(policy.id()), "{what}");

        let named = match action {
            "Deny" => Action::Deny,
            "Warn" => Action::Warn,
            _ => Action::Audit,
        };
        let on_error = if unreadable { "Deny" } else { on_error };
        let wanted = consequence(named, date, on_error, ceiling, &row);
        assert_eq!(result.action, wanted, "{what}");
        assert_eq!(result.demands(), row.reason.map(|_| wanted), "{what}");
        let refused = decision.results.iter().any(|result| result.demands() == Some(Action::Deny));
        assert_eq!(decision.allowed(), !refused, "{what}");

        let ahead = date == Some("2027-01-01T00:00:00Z");
        let excused = on_error == "Warn" && row.verdict == "Indeterminate" && !row.is_the_clusters();
        assert_eq!(
            result.enforced_from.is_some(),
            ahead && !excused && ceiling == Action::Deny,
            "a date is named exactly where it is one of denial: {what}"
        );
    }
}

#[test]
fn a_date_bites_from_its_very_second_on() {
    let at = |date: &str| {
        let policy = policy(json!({
            "action": "Audit", "enforceAfter": date, "references": {"requireDigest": true}
        }));
        Scene::default().decide(&[policy], ALLOWED).allowed()
    };
    assert!(!at("2026-06-01T12:00:00Z"));
    assert!(!at("2026-06-01T11:59:59.999Z"));
    assert!(at("2026-06-01T12:00:00.001Z"));
    assert!(!at("2026-06-01T13:59:59+02:00"));
}

#[test]
fn absence_is_not_excused_by_the_outage_setting() {
    let policy = policy(json!({"onError": {"action": "Warn"}, "registries": {"allow": ["a.example/x"]}}));
    for error in failures() {
        let admitted = failed(error.clone()).decide(std::slice::from_ref(&policy), ALLOWED).allowed();
        assert_eq!(admitted, !error.is_answer(), "{error:?}");
    }
}

#[test]
fn all_failures_are_told_at_once() {
    let policies = [
        read(&document(
            "one",
            json!({
                "registries": {"allow": ["b.example/x"]},
                "references": {"requireDigest": true, "denyTags": ["latest"], "denyDigests": [digest('a')]},
            }),
        )),
        read(&document("two", json!({"action": "Audit", "references": {"denyTags": ["*"]}}))),
    ];
    let decision = Scene::default().decide(&policies, "a.example/x");
    let told: Vec<_> = decision
        .results
        .iter()
        .filter_map(|result| {
            let finding = result.verdict.finding()?;
            Some((result.policy.as_ref()?.name.to_string(), finding.reason.as_str(), result.action.as_str()))
        })
        .collect();
    let told: Vec<(&str, &str, &str)> =
        told.iter().map(|(name, reason, action)| (&**name, *reason, *action)).collect();
    assert_eq!(
        told,
        [
            ("one", "RegistryNotAllowed", "Deny"),
            ("one", "DigestRequired", "Deny"),
            ("one", "TagDenied", "Deny"),
            ("one", "DigestDenied", "Deny"),
            ("two", "TagDenied", "Audit"),
        ]
    );
}

#[rstest]
#[case(Unmatched::Allow, Action::Deny, None, true)]
#[case(Unmatched::Warn, Action::Deny, Some(Action::Warn), true)]
#[case(Unmatched::Deny, Action::Deny, Some(Action::Deny), false)]
#[case(Unmatched::Deny, Action::Warn, Some(Action::Warn), true)]
fn an_image_that_no_policy_is_about_is_what_the_setting_says(
    #[case] unmatched: Unmatched,
    #[case] ceiling: Action,
    #[case] demanded: Option<Action>,
    #[case] allowed: bool,
) {
    let mut scene = Scene { resolution: Resolution::NotAsked, ..Scene::default() };
    scene.settings = Settings { unmatched, ceiling, ..settings() };
    let decision = scene.decide(&[], ALLOWED);
    assert_eq!(decision.allowed(), allowed);
    assert!(!decision.matched());
    assert_eq!(decision.results.len(), usize::from(demanded.is_some()));
    for result in &decision.results {
        assert_eq!((result.policy.as_ref(), result.check, result.demands()), (None, Check::Match, demanded));
        assert_eq!(result.verdict.finding().unwrap().reason, Reason::NoPolicyMatches);
    }
    assert_eq!(scene.decide(&[], "").allowed(), allowed, "one that cannot be read fares no better");
}

#[test]
fn an_image_that_cannot_be_read_says_so_even_where_no_policy_is_about_it() {
    for unmatched in [Unmatched::Allow, Unmatched::Warn, Unmatched::Deny] {
        let mut scene = Scene::default();
        scene.settings.unmatched = unmatched;
        let decision = scene.decide(&[], "");
        let result = decision.results.iter().find(|result| result.check == Check::Reference).unwrap();
        assert_eq!(result.verdict.finding().unwrap().reason, Reason::ReferenceInvalid);
        assert_eq!((&decision.reference, decision.matched()), (&None, false));
    }
}

#[test]
fn an_image_that_cannot_be_read_fails_every_policy_that_covers_the_object() {
    let policies = [
        read(&document(
            "about-another",
            json!({"match": {"images": ["b.example/x"]}, "references": {"denyTags": ["1"]}}),
        )),
        read(&document(
            "elsewhere",
            json!({
                "match": {"namespaceSelector": {"matchLabels": {"env": "test"}}}, "references": {"denyTags": ["1"]}
            }),
        )),
        read(&document(
            "excluding",
            json!({"match": {"excludeImages": ["**"]}, "references": {"denyTags": ["1"]}}),
        )),
    ];
    let decision = Scene::default().decide(&policies, "");
    let by: Vec<&str> =
        decision.results.iter().map(|result| &*result.policy.as_ref().unwrap().name).collect();
    assert_eq!(by, ["about-another", "excluding"]);
    assert!(decision.results.iter().all(|result| result.check == Check::Reference));
    assert!(!decision.allowed());
}

#[test]
fn nobody_is_told_that_nobody_asked_where_another_check_refuses_already() {
    let mut scene = Scene { resolution: Resolution::NotAsked, ..Scene::default() };
    let refusing = read(&document("a", json!({"registries": {"allow": ["b.example/x"]}})));
    let wanting = read(&document("b", json!({"references": {"denyDigests": [digest('a')]}})));
    let decision = scene.decide(&[refusing.clone(), wanting.clone()], ALLOWED);
    let reasons = |decision: &ImageDecision| -> Vec<Reason> {
        decision.results.iter().filter_map(|result| Some(result.verdict.finding()?.reason)).collect()
    };
    assert_eq!(reasons(&decision), [Reason::RegistryNotAllowed]);

    // Where nothing else refuses, not having asked does.
    let decision = scene.decide(std::slice::from_ref(&wanting), ALLOWED);
    assert_eq!(reasons(&decision), [Reason::DigestUnknown, Reason::DigestUnknown]);
    assert!(!decision.allowed());

    // A refusal that only warns leaves it standing.
    scene.settings.ceiling = Action::Warn;
    let decision = scene.decide(&[refusing, wanting], ALLOWED);
    assert_eq!(reasons(&decision).len(), 4);
}

#[test]
fn the_detail_of_a_failure_is_kept_for_the_log() {
    let rules = || policy(json!({"registries": {"allow": ["a.example/x"]}}));
    let decision =
        failed(RegistryError::Unreachable("connection refused".to_owned())).decide(&[rules()], ALLOWED);
    assert_eq!(decision.detail.as_deref(), Some("the registry cannot be reached: connection refused"));
    assert_eq!(Scene::default().decide(&[rules()], ALLOWED).detail, None);
}

#[test]
fn an_object_with_too_many_images_is_refused_as_far_as_the_ceiling_goes() {
    let decision = refuse_too_many(257, "/spec/containers/256/image", "a.example/x:1", settings());
    assert!(!decision.allowed());
    let lower = Settings { ceiling: Action::Warn, ..settings() };
    let decision = refuse_too_many(257, "/spec/containers/256/image", "a.example/x:1", lower);
    assert!(decision.allowed());
    assert_eq!(warnings(&decision).len(), 1);
}

#[test]
fn an_object_without_images_to_judge_is_admitted() {
    assert!(Decision::default().allowed());
    assert_eq!(warnings(&Decision::default()), [""; 0]);
}
