//! What becomes of an image by what scanners have said of it.

use rstest::rstest;

use super::{scanned::*, *};
use crate::evidence::{
    Count, Counts, Scan, ScanError, ScanSubject, ScanVerdict, Severity, VexStatus, Vulnerability,
};

mod attacks;
mod attested;
pub(super) mod laws;
mod messages;

const OLD: &str = "2026-05-01T00:00:00Z";

fn critical() -> Vulnerability {
    Vulnerability {
        fixed: Some("1.1".to_owned()),
        ..found("CVE-2021-44228", Some(Severity::Critical), "log4j")
    }
}

fn low() -> Vulnerability {
    found("CVE-2026-0001", Some(Severity::Low), "zlib")
}

/// A scan whose list was cut short by these.
fn hiding(hidden: &[Vulnerability]) -> Scan {
    let mut scan = scan(vec![low()]);
    hidden.iter().for_each(|one| scan.counts.add(one));
    scan
}

fn of(verdicts: Vec<Arc<ScanVerdict>>) -> Scene {
    Scene::with(seen(vec![subject(None, verdicts)]))
}

fn trivy(scan: Scan) -> Arc<ScanVerdict> {
    verdict("trivy", Ok(scan))
}

fn grype(scan: Scan) -> Arc<ScanVerdict> {
    verdict("grype", Ok(scan))
}

fn damaged(source: &str) -> Arc<ScanVerdict> {
    verdict(source, Err("it is damaged".to_owned()))
}

/// A scan of an image whose distribution no longer gets advisories.
fn ended(scan: Scan) -> Scan {
    Scan { end_of_life: Some("alpine 3.10.9".into()), ..scan }
}

fn high_or_ended() -> Value {
    with(high(), "endOfLife", json!("Deny"))
}

fn high() -> Value {
    json!({"deny": [{"severity": "High"}]})
}

fn with(mut rules: Value, field: &str, value: Value) -> Value {
    rules[field] = value;
    rules
}

fn by_all(names: &[&str]) -> Value {
    with(high(), "sources", json!({"answer": "All", "names": names}))
}

fn by_any(names: &[&str]) -> Value {
    with(high(), "sources", json!({ "names": names }))
}

/// Five different answers, each under its own name, and what comes first where several hold.
#[rstest]
#[case::clean(high(), vec![trivy(scan(vec![low()]))], "Satisfied", None)]
#[case::clean_of_everything(high(), vec![trivy(scan(vec![]))], "Satisfied", None)]
#[case::nothing_is_denied(json!({"maxVerdictAge": "7d"}), vec![trivy(scan(vec![critical()]))], "Satisfied", None)]
#[case::violating(high(), vec![trivy(scan(vec![low(), critical()]))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::truncated(high(), vec![trivy(hiding(&[critical()]))], "Violated", Some(Reason::ScanVerdictTruncated))]
#[case::stale(high(), vec![trivy(scanned_at(OLD, vec![]))], "Violated", Some(Reason::ScanVerdictStale))]
#[case::missing(high(), vec![], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::unreadable(high(), vec![damaged("trivy")], "Violated", Some(Reason::ScanVerdictUnreadable))]
// What is listed counts, however old it is and whoever else says otherwise.
#[case::violating_long_ago(high(), vec![trivy(scanned_at(OLD, vec![critical()]))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::violating_by_one_of_two(high(), vec![trivy(scan(vec![])), grype(scan(vec![critical()]))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::violating_by_the_stale_one(high(), vec![trivy(scan(vec![])), grype(scanned_at(OLD, vec![critical()]))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::violating_beside_damage(high(), vec![damaged("grype"), trivy(scan(vec![critical()]))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::truncated_beside_damage(high(), vec![damaged("grype"), trivy(hiding(&[critical()]))], "Violated", Some(Reason::ScanVerdictTruncated))]
#[case::damage_beside_a_clean_one(high(), vec![trivy(scan(vec![])), damaged("grype")], "Violated", Some(Reason::ScanVerdictUnreadable))]
#[case::damage_beside_a_stale_one(high(), vec![trivy(scanned_at(OLD, vec![])), damaged("grype")], "Violated", Some(Reason::ScanVerdictUnreadable))]
#[case::at_its_end(high_or_ended(), vec![trivy(ended(scan(vec![])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::not_at_its_end(high_or_ended(), vec![trivy(scan(vec![]))], "Satisfied", None)]
#[case::nobody_minds_its_end(high(), vec![trivy(ended(scan(vec![])))], "Satisfied", None)]
#[case::nothing_else_is_asked(json!({"endOfLife": "Deny"}), vec![trivy(ended(scan(vec![])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::nobody_says_whether_it_is_at_its_end(json!({"endOfLife": "Deny"}), vec![], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::at_its_end_long_ago(high_or_ended(), vec![trivy(ended(scanned_at(OLD, vec![])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::at_its_end_by_one_of_two(high_or_ended(), vec![trivy(scan(vec![])), grype(ended(scan(vec![])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::at_its_end_and_violating(high_or_ended(), vec![trivy(ended(scan(vec![critical()])))], "Violated", Some(Reason::VulnerabilityDenied))]
#[case::at_its_end_and_truncated(high_or_ended(), vec![trivy(ended(hiding(&[critical()])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::at_its_end_beside_damage(high_or_ended(), vec![damaged("grype"), trivy(ended(scan(vec![])))], "Violated", Some(Reason::DistributionEndOfLife))]
#[case::at_its_end_by_nobody_who_counts(with(by_any(&["trivy"]), "endOfLife", json!("Deny")), vec![trivy(scan(vec![])), grype(ended(scan(vec![])))], "Satisfied", None)]
// One fresh verdict is enough, unless all must be.
#[case::one_is_fresh(high(), vec![trivy(scanned_at(OLD, vec![])), grype(scan(vec![]))], "Satisfied", None)]
#[case::an_importer_is_anybody(high(), vec![verdict("ci-import", Ok(scan(vec![])))], "Satisfied", None)]
#[case::one_of_all_is_stale(by_all(&["trivy", "grype"]), vec![trivy(scanned_at(OLD, vec![])), grype(scan(vec![]))], "Violated", Some(Reason::ScanVerdictStale))]
#[case::one_of_all_is_missing(by_all(&["trivy", "grype"]), vec![grype(scan(vec![]))], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::stale_comes_before_missing(by_all(&["trivy", "grype"]), vec![grype(scanned_at(OLD, vec![]))], "Violated", Some(Reason::ScanVerdictStale))]
#[case::all_are_fresh(by_all(&["trivy", "grype"]), vec![trivy(scan(vec![])), grype(scan(vec![low()]))], "Satisfied", None)]
#[case::the_clusters_are_fresh(with(high(), "sources", json!({"answer": "All"})), vec![trivy(scan(vec![])), grype(scan(vec![]))], "Satisfied", None)]
#[case::one_of_the_clusters_is_missing(with(high(), "sources", json!({"answer": "All"})), vec![trivy(scan(vec![]))], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::an_importer_is_none_of_the_clusters(with(high(), "sources", json!({"answer": "All"})), vec![trivy(scan(vec![])), verdict("ci-import", Ok(scan(vec![])))], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::an_importers_findings_count_all_the_same(with(high(), "sources", json!({"answer": "All"})), vec![trivy(scan(vec![])), grype(scan(vec![])), verdict("ci-import", Ok(scan(vec![critical()])))], "Violated", Some(Reason::VulnerabilityDenied))]
// Who is not named does not count, for or against.
#[case::somebody_else_is_clean(by_any(&["trivy"]), vec![grype(scan(vec![]))], "Absent", Some(Reason::ScanVerdictMissing))]
#[case::somebody_else_is_violating(by_any(&["trivy"]), vec![trivy(scan(vec![])), grype(scan(vec![critical()]))], "Satisfied", None)]
#[case::somebody_else_is_damaged(by_any(&["trivy"]), vec![trivy(scan(vec![])), damaged("grype")], "Satisfied", None)]
fn five_answers(
    #[case] rules: Value,
    #[case] verdicts: Vec<Arc<ScanVerdict>>,
    #[case] verdict: &str,
    #[case] reason: Option<Reason>,
) {
    let found = of(verdicts).vulnerable(rules);
    assert_eq!((found.as_str(), found.finding().map(|finding| finding.reason)), (verdict, reason));
}

#[test]
fn all_of_no_sources_is_nobody() {
    let subjects = vec![subject(None, vec![trivy(scan(vec![]))])];
    let scene = Scene::with(ScanEvidence::Seen { subjects, sources: Arc::default() });
    let rules = |missing: &str| json!({"deny": [{"severity": "High"}], "sources": {"answer": "All"}, "missingVerdict": missing});
    assert_eq!(scene.reason(rules("Deny")), Some(Reason::ScanVerdictMissing));
    assert_eq!(scene.reason(high()), None);
}

/// Nothing that had to be scanned is no evidence at all.
#[test]
fn an_image_without_subjects_is_not_clean() {
    let scene = Scene::with(seen(vec![]));
    let allowing = with(high(), "missingVerdict", json!("Allow"));
    assert!(!scene.decide(&[policy(json!({"vulnerabilities": allowing}))], "a.example/x:1").allowed());
}

#[rstest]
#[case::scan("2026-06-01T12:05:00Z", None, None)]
#[case::scan("2026-06-01T12:05:00.000000001Z", None, Some(Reason::ScanVerdictUnreadable))]
#[case::scan("9999-01-01T00:00:00Z", None, Some(Reason::ScanVerdictUnreadable))]
#[case::database(YESTERDAY, Some("2026-06-01T12:05:00Z"), None)]
#[case::database(YESTERDAY, Some("2026-06-01T12:05:01Z"), Some(Reason::ScanVerdictUnreadable))]
#[case::scan("2026-05-25T12:00:00Z", None, None)]
#[case::scan("2026-05-25T11:59:59.999999999Z", None, Some(Reason::ScanVerdictStale))]
#[case::database(YESTERDAY, Some("2026-05-25T12:00:00Z"), None)]
#[case::database(YESTERDAY, Some("2026-05-25T11:59:59Z"), Some(Reason::ScanVerdictStale))]
#[case::scan("1990-01-01T00:00:00Z", Some(YESTERDAY), Some(Reason::ScanVerdictStale))]
fn a_verdict_is_good_for_a_week_and_never_before_its_time(
    #[case] at: &str,
    #[case] database: Option<&str>,
    #[case] reason: Option<Reason>,
) {
    let mut scan = scanned_at(at, vec![]);
    scan.database_at = database.map(|at| at.parse().unwrap());
    assert_eq!(of(vec![trivy(scan)]).reason(high()), reason);
}

/// The rule and what the list leaves out, and whether it could hide what is denied.
#[rstest]
#[case(json!({"severity": "High"}), critical(), true)]
#[case(json!({"severity": "Critical"}), critical(), true)]
#[case(json!({"severity": "High"}), low(), false)]
#[case(json!({"severity": "Low", "fixable": true}), low(), false)]
#[case(json!({"severity": "Critical", "fixable": true}), critical(), true)]
#[case(json!({"severity": "Critical"}), found("x", None, "y"), true)]
#[case(json!({"severity": "Critical", "fixable": true}), found("x", None, "y"), false)]
#[case(json!({"severity": "Critical", "olderThanDays": 3650}), critical(), true)]
#[case(json!({"severity": "Critical", "olderThanDays": 1}), low(), false)]
#[case(json!({"ids": ["CVE-1"]}), low(), true)]
#[case(json!({"ids": ["CVE-1"], "fixable": true}), low(), false)]
#[case(json!({"ids": ["CVE-1"], "severity": "High"}), low(), false)]
#[case(json!({"packages": ["nothing"]}), low(), true)]
#[case(json!({"packages": ["nothing"], "severity": "Medium"}), critical(), true)]
fn what_is_cut_off_hurts_the_rules_that_it_could_break(
    #[case] rule: Value,
    #[case] hidden: Vulnerability,
    #[case] hurts: bool,
) {
    // What is listed breaks none of them.
    let scene = |hidden: &[Vulnerability]| {
        let mut scan = hiding(hidden);
        with_package(&mut scan, "listed");
        of(vec![trivy(scan)])
    };
    assert_eq!(scene(&[]).reason(json!({"deny": [rule]})), None);
    let reason = scene(&[hidden]).reason(json!({"deny": [rule]}));
    assert_eq!(reason, hurts.then_some(Reason::ScanVerdictTruncated));
}

fn with_package(scan: &mut Scan, package: &str) {
    let mut all = scan.vulnerabilities.to_vec();
    all.iter_mut().for_each(|one| one.package = package.to_owned());
    scan.vulnerabilities = all.into();
}

#[test]
fn exceptions_and_vex_speak_of_nothing_that_is_not_listed() {
    let vexed = Vulnerability { vex: Some(VexStatus::NotAffected), ..critical() };
    let rules = json!({
        "deny": [{"severity": "High"}], "honorVEX": true,
        "ignore": [{"id": "CVE-2021-44228", "until": "2027-01-01T00:00:00Z", "reason": "TICKET-12"}],
    });
    assert_eq!(of(vec![trivy(scan(vec![vexed.clone()]))]).reason(rules.clone()), None);
    assert_eq!(of(vec![trivy(hiding(&[vexed]))]).reason(rules), Some(Reason::ScanVerdictTruncated));
}

/// Counts that cannot be true: nothing that they say is believed.
#[rstest]
#[case::none_at_all(Count { found: 0, fixable: 0 })]
#[case::fewer_with_a_fix(Count { found: 2, fixable: 0 })]
#[case::more_with_a_fix_than_there_are(Count { found: 2, fixable: 3 })]
#[case::fewer_than_are_listed(Count { found: 1, fixable: 1 })]
#[case::more_without_a_fix_than_there_are(Count { found: 3, fixable: 3 })]
fn counts_that_contradict_the_list_are_unreadable(#[case] count: Count) {
    // One with a fix, and one without.
    let two = || vec![critical(), found("CVE-2", Some(Severity::Critical), "log4j")];
    let consistent = scan(two());
    assert_eq!(consistent.counts.of(Some(Severity::Critical)), Count { found: 2, fixable: 1 });
    let mut known = consistent.counts.known;
    known[0] = count;
    let scene = of(vec![trivy(Scan { counts: Counts { known, ..Counts::default() }, ..consistent })]);
    // Under a policy that the list alone would pass.
    let rules = || json!({"deny": [{"ids": ["CVE-1"], "severity": "Critical", "olderThanDays": 1}]});
    assert_eq!(scene.reason(rules()), Some(Reason::ScanVerdictUnreadable));
    assert_eq!(scene.reason(json!({"maxVerdictAge": "7d"})), Some(Reason::ScanVerdictUnreadable));
}

/// Every platform must hold, and what nothing can soften is told first.
#[rstest]
#[case::both_clean(vec![trivy(scan(vec![]))], vec![trivy(scan(vec![low()]))], None)]
#[case::one_violating(vec![trivy(scan(vec![]))], vec![trivy(scan(vec![critical()]))], Some(Reason::VulnerabilityDenied))]
#[case::one_missing(vec![trivy(scan(vec![]))], vec![], Some(Reason::ScanVerdictMissing))]
#[case::one_missing_one_violating(vec![], vec![trivy(scan(vec![critical()]))], Some(Reason::VulnerabilityDenied))]
#[case::one_missing_one_stale(vec![], vec![trivy(scanned_at(OLD, vec![]))], Some(Reason::ScanVerdictStale))]
#[case::one_damaged_one_stale(vec![damaged("trivy")], vec![trivy(scanned_at(OLD, vec![]))], Some(Reason::ScanVerdictUnreadable))]
fn every_platform_must_hold(
    #[case] one: Vec<Arc<ScanVerdict>>,
    #[case] other: Vec<Arc<ScanVerdict>>,
    #[case] reason: Option<Reason>,
) {
    let platforms = [subject(Some("linux/amd64"), one), subject(Some("linux/arm64"), other)];
    let [one, other] = platforms.clone();
    for missing in ["Deny", "Warn", "Allow"] {
        let rules = with(high(), "missingVerdict", json!(missing));
        for subjects in [platforms.to_vec(), vec![other.clone(), one.clone()]] {
            assert_eq!(Scene::with(seen(subjects)).reason(rules.clone()), reason, "{missing}");
        }
    }
}

#[rstest]
#[case("Deny", "Deny", Action::Deny)]
#[case("Warn", "Deny", Action::Warn)]
#[case("Allow", "Deny", Action::Audit)]
#[case("Deny", "Warn", Action::Warn)]
#[case("Warn", "Warn", Action::Warn)]
#[case("Allow", "Warn", Action::Audit)]
#[case("Warn", "Audit", Action::Audit)]
fn a_missing_verdict_leads_to_what_the_policy_says_of_it_and_nothing_else_does(
    #[case] missing: &str,
    #[case] action: &str,
    #[case] wanted: Action,
) {
    let rules = with(high(), "missingVerdict", json!(missing));
    let spec = |date: Value| json!({"vulnerabilities": rules, "action": action, "enforceAfter": date});
    let result = |scene: &Scene, spec: Value| {
        let decision = scene.decide(&[policy(spec)], "a.example/x:1");
        decision.results.into_iter().find(|result| result.check == Check::Vulnerabilities).unwrap()
    };
    let unscanned = result(&of(vec![]), spec(json!(null)));
    assert_eq!(unscanned.demands(), Some(wanted));
    if action != "Deny" {
        let soon = result(&of(vec![]), spec(json!("2027-01-01T00:00:00Z")));
        assert_eq!(soon.enforced_from.is_some(), missing == "Deny", "it says a date that is one of denial");
        let since = result(&of(vec![]), spec(json!("2026-01-01T00:00:00Z")));
        let most = match missing {
            "Deny" => Action::Deny,
            "Warn" => Action::Warn,
            _ => Action::Audit,
        };
        assert_eq!(since.demands(), Some(most));
    }
    let denied = match action {
        "Deny" => Action::Deny,
        "Warn" => Action::Warn,
        _ => Action::Audit,
    };
    for verdict in [
        trivy(scan(vec![critical()])),
        trivy(hiding(&[critical()])),
        trivy(scanned_at(OLD, vec![])),
        damaged("trivy"),
    ] {
        assert_eq!(result(&of(vec![verdict]), spec(json!(null))).demands(), Some(denied));
    }
}

/// `onError` speaks of registries: neither of what the cluster does not say, nor of what nobody asked.
#[rstest]
#[case(ScanEvidence::NotAsked, Reason::ScanNotAsked, false)]
#[case(ScanEvidence::Unseen(ScanError::Unlisted("away".to_owned())), Reason::ScanVerdictsUnavailable, false)]
#[case(ScanEvidence::Unseen(ScanError::Platforms(RegistryError::TimedOut)), Reason::RegistryTimedOut, true)]
#[case(ScanEvidence::Unseen(ScanError::Platforms(RegistryError::Denied)), Reason::ImageUnavailable, false)]
fn scans_that_nobody_could_see_are_excused_only_where_a_registry_is_the_cause(
    #[case] scans: ScanEvidence,
    #[case] reason: Reason,
    #[case] excused: bool,
) {
    let scene = Scene::with(scans);
    for missing in ["Deny", "Allow"] {
        let rules = with(high(), "missingVerdict", json!(missing));
        assert_eq!(scene.reason(rules.clone()), Some(reason));
        for on_error in ["Deny", "Warn"] {
            let spec = json!({"vulnerabilities": rules, "onError": {"action": on_error}});
            let decision = scene.decide(&[policy(spec)], "a.example/x:1");
            assert_eq!(decision.allowed(), excused && on_error == "Warn", "{missing} {on_error}");
        }
    }
}

#[test]
fn why_nobody_could_see_the_scans_is_for_the_log() {
    let scene = Scene::with(ScanEvidence::Unseen(ScanError::Unlisted("10.0.0.1 is away".to_owned())));
    let decision = scene.decide(&[policy(json!({"vulnerabilities": high()}))], "a.example/x:1");
    assert!(decision.detail.as_ref().unwrap().contains("10.0.0.1"));
    let told = denial(
        &Decision { images: vec![decision] },
        Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" },
    );
    assert!(told.contains("ScanVerdictsUnavailable") && !told.contains("10.0.0.1"), "{told}");
}

#[test]
fn nobody_is_told_that_nobody_looked_where_another_check_refuses_already() {
    let policies = [policy(json!({"vulnerabilities": high(), "registries": {"allow": ["b.example/x"]}}))];
    let decision = Scene::default().decide(&policies, "a.example/x:1");
    assert!(!decision.allowed());
    assert!(decision.results.iter().all(|result| result.check != Check::Vulnerabilities));
    // Without a digest there is nothing to look for.
    let scene = Scene { resolution: Resolution::NotAsked, ..Scene::default() };
    assert_eq!(scene.reason(high()), Some(Reason::DigestUnknown));
}
