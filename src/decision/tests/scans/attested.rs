//! What attestations say, judged beside what the cluster knows.

use rstest::rstest;

use super::{super::super::scans::judge_scans, *};
use crate::{
    decision::tests::beside::*,
    policy::{Requirement, VulnerabilityRequirement},
};

fn rule(sources: Value) -> VulnerabilityRequirement {
    let authorities = json!({"authorities": [{"name": "ci", "key": {"inline": KEY}}]});
    let mut rules = high();
    rules["sources"] = sources;
    let policy = policy(json!({"signatures": authorities, "vulnerabilities": rules}));
    match policy.requirements() {
        [_, Requirement::Vulnerabilities(rule)] => rule.clone(),
        other => panic!("{other:?}"),
    }
}

fn judged(sources: Value, attested: Option<&AttestedScans>, subjects: Vec<ScanSubject>) -> Option<Reason> {
    let evidence = Evidence { resolution: Resolution::Resolved(digest('a')), scans: seen(subjects) };
    let verdict = judge_scans(&rule(sources), &evidence, attested, now());
    verdict.finding().map(|finding| finding.reason)
}

fn attesting(scans: Vec<Scan>) -> AttestedScans {
    let verdicts = scans.into_iter().map(|scan| verdict("attestation", Ok(scan))).collect();
    AttestedScans { verdicts, ..AttestedScans::default() }
}

fn unseen() -> AttestedScans {
    let finding = Finding {
        reason: Reason::RegistryTimedOut,
        found: "nothing".to_owned(),
        wanted: "attestations".to_owned(),
        remedy: "try again",
    };
    AttestedScans { unseen: Some(Verdict::Indeterminate(finding)), ..AttestedScans::default() }
}

fn cluster(scans: Vec<Scan>) -> Vec<ScanSubject> {
    vec![subject(None, scans.into_iter().map(trivy).collect())]
}

#[rstest]
#[case::it_is_enough(json!({"attestations": ["ci"]}), attesting(vec![scan(vec![])]), vec![], None)]
#[case::it_is_enough_alone(json!({"names": ["attestation"], "attestations": ["ci"]}), attesting(vec![scan(vec![])]), vec![], None)]
#[case::what_it_lists_counts(json!({"attestations": ["ci"]}), attesting(vec![scan(vec![critical()])]), vec![scan(vec![])], Some(Reason::VulnerabilityDenied))]
#[case::it_grows_old(json!({"attestations": ["ci"]}), attesting(vec![scanned_at(OLD, vec![])]), vec![], Some(Reason::ScanVerdictStale))]
#[case::another_is_fresh(json!({"attestations": ["ci"]}), attesting(vec![scanned_at(OLD, vec![])]), vec![scan(vec![])], None)]
#[case::none_is_there(json!({"attestations": ["ci"]}), attesting(vec![]), vec![], Some(Reason::ScanVerdictMissing))]
#[case::the_cluster_is_enough(json!({"attestations": ["ci"]}), attesting(vec![]), vec![scan(vec![])], None)]
#[case::the_cluster_does_not_count(json!({"names": ["attestation"], "attestations": ["ci"]}), attesting(vec![]), vec![scan(vec![])], Some(Reason::ScanVerdictMissing))]
#[case::it_is_one_of_all(json!({"answer": "All", "names": ["trivy"], "attestations": ["ci"]}), attesting(vec![]), vec![scan(vec![])], Some(Reason::ScanVerdictMissing))]
#[case::all_are_there(json!({"answer": "All", "names": ["trivy"], "attestations": ["ci"]}), attesting(vec![scan(vec![])]), vec![scan(vec![])], None)]
// Nobody could look: only what is known to be wrong is.
#[case::unseen_beside_nothing(json!({"attestations": ["ci"]}), unseen(), vec![], Some(Reason::RegistryTimedOut))]
#[case::unseen_beside_a_clean_one(json!({"attestations": ["ci"]}), unseen(), vec![scan(vec![])], Some(Reason::RegistryTimedOut))]
#[case::unseen_beside_a_stale_one(json!({"attestations": ["ci"]}), unseen(), vec![scanned_at(OLD, vec![])], Some(Reason::RegistryTimedOut))]
#[case::unseen_beside_a_violating_one(json!({"attestations": ["ci"]}), unseen(), vec![scan(vec![critical()])], Some(Reason::VulnerabilityDenied))]
#[case::unseen_and_one_of_all_stale(json!({"answer": "All", "names": ["trivy"], "attestations": ["ci"]}), unseen(), vec![scanned_at(OLD, vec![])], Some(Reason::ScanVerdictStale))]
fn it_is_a_source_like_others(
    #[case] sources: Value,
    #[case] attested: AttestedScans,
    #[case] in_the_cluster: Vec<Scan>,
    #[case] reason: Option<Reason>,
) {
    assert_eq!(judged(sources, Some(&attested), cluster(in_the_cluster)), reason);
}

#[test]
fn nobody_having_looked_is_no_answer() {
    let sources = || json!({"attestations": ["ci"]});
    assert_eq!(judged(sources(), None, cluster(vec![scan(vec![])])), Some(Reason::ScanNotAsked));
    let denied = judged(sources(), None, cluster(vec![scan(vec![critical()])]));
    assert_eq!(denied, Some(Reason::VulnerabilityDenied));
}

/// Whichever of the two could be softened, what is told is what is not.
#[test]
fn neither_a_missing_verdict_nor_a_lost_registry_hides_the_other() {
    let sources = json!({"answer": "All", "names": ["trivy"], "attestations": ["ci"]});
    for (missing, reason) in [
        ("Deny", Reason::ScanVerdictMissing),
        ("Warn", Reason::RegistryTimedOut),
        ("Allow", Reason::RegistryTimedOut),
    ] {
        let rules = json!({"deny": [{"severity": "High"}], "missingVerdict": missing, "sources": sources});
        let signatures = json!({"authorities": [{"name": "ci", "key": {"inline": KEY}}]});
        let spec = json!({"signatures": signatures, "vulnerabilities": rules});
        let scene = Scene { beside: Err(RegistryError::TimedOut), ..of(vec![]) };
        let decision = scene.decide(&[policy(spec)], "a.example/x:1");
        let result = decision.results.iter().find(|result| result.check == Check::Vulnerabilities);
        assert_eq!(result.unwrap().verdict.finding().unwrap().reason, reason, "{missing}");
    }
}

#[test]
fn it_speaks_of_the_platform_that_was_scanned() {
    let of = |platform: &str| {
        let mut verdict = (*verdict("attestation", Ok(scan(vec![])))).clone();
        verdict.platforms = vec![platform.parse().unwrap()];
        AttestedScans { verdicts: vec![Arc::new(verdict)], ..AttestedScans::default() }
    };
    let amd64 = || vec![subject(Some("linux/amd64"), vec![])];
    let sources = || json!({"attestations": ["ci"]});
    assert_eq!(judged(sources(), Some(&of("linux/amd64")), amd64()), None);
    assert_eq!(judged(sources(), Some(&of("linux/arm64")), amd64()), Some(Reason::ScanVerdictMissing));
    let arm64 = || vec![subject(Some("linux/arm64/v8"), vec![])];
    assert_eq!(judged(sources(), Some(&of("linux/arm64")), arm64()), None);
}
