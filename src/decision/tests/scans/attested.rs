//! What attestations say, judged beside what the cluster knows.

use rstest::rstest;

use super::{super::super::scans::judge_scans, *};
use crate::{
    decision::tests::beside::*,
    evidence::{Claim, Verified},
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

fn listening(name: &str) -> Arc<Policy> {
    let authorities = json!([
        {"name": "ci", "key": {"inline": KEY}},
        {"name": "lost", "key": {"inline": KEY, "trustRootRef": {"name": "theirs"}}},
    ]);
    policy(json!({
        "signatures": {"authorities": authorities},
        "vulnerabilities": {"deny": [{"severity": "High"}], "sources": {"attestations": [name]}},
    }))
}

/// Nobody knows what an authority says that cannot be checked, whoever else has looked.
#[test]
fn an_authority_that_cannot_be_checked_is_not_silent() {
    let scene = of(vec![trivy(scan(vec![]))]);
    let reason = |name: &str, scene: &Scene| {
        let decision = scene.decide(&[listening(name)], "a.example/x:1");
        let result = decision.results.iter().find(|result| result.check == Check::Vulnerabilities).unwrap();
        result.verdict.finding().map(|finding| finding.reason)
    };
    assert_eq!(reason("ci", &scene), None);
    assert_eq!(reason("lost", &scene), Some(Reason::AuthorityUnusable));
    for error in failures() {
        let lost = Scene { beside: Err(error.clone()), ..scene.clone() };
        assert!(reason("ci", &lost).is_some(), "{error}");
        let decision = lost.decide(&[listening("ci")], "a.example/x:1");
        let result = decision.results.iter().find(|result| result.check == Check::Vulnerabilities).unwrap();
        assert_eq!(matches!(result.verdict, Verdict::Indeterminate(_)), !error.is_answer(), "{error}");
    }
    // Somebody else's statement is nobody's word.
    let other = Scene { beside: Ok(vec![damaged_report(by_key(OTHER_KEY))]), ..scene.clone() };
    assert_eq!(reason("ci", &other), None);
    let own = Scene { beside: Ok(vec![damaged_report(by_key(KEY))]), ..scene };
    assert_eq!(reason("ci", &own), Some(Reason::ScanVerdictUnreadable));
}

/// A judgement that waits for an attestation is not remembered for long, and one that could not look not at all.
#[test]
fn a_judgement_without_an_attestation_does_not_hold() {
    let policy = listening("ci");
    let image: ImageReference = "a.example/x:1".parse().unwrap();
    let signed = Scene { beside: Ok(vec![signature(by_key(KEY))]), ..Scene::default() };
    let judgement = signed.judged(&policy, &image, &digest('a'));
    assert_eq!(judgement.verdict(0), Some(&Verdict::Satisfied));
    assert!(!judgement.holds() && judgement.is_conclusive());
    let lost = Scene { beside: Err(RegistryError::TimedOut), ..Scene::default() };
    let judgement = lost.judged(&policy, &image, &digest('a'));
    assert!(!judgement.holds() && !judgement.is_conclusive());
}

/// Trivy's report of a scan at a time, of an image, that has found these.
fn trivys(at: &str, image: char, found: Value) -> Value {
    json!({
        "SchemaVersion": 2, "CreatedAt": at, "ArtifactName": "a.example/x:1", "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "alpine", "Name": "3.22.0"},
            "RepoDigests": [format!("a.example/x@{}", digest(image))],
        },
        "Results": [{
            "Target": "a.example/x:1 (alpine 3.22.0)", "Class": "os-pkgs", "Type": "alpine", "Vulnerabilities": found,
        }],
    })
}

fn log4shell() -> Value {
    json!([{
        "VulnerabilityID": "CVE-2021-44228", "PkgName": "log4j-core", "InstalledVersion": "2.14.1",
        "FixedVersion": "2.15.0", "Severity": "CRITICAL", "PublishedDate": "2021-12-10T10:15:00Z",
    }])
}

/// A statement about the image of these tests, signed by [`KEY`].
fn attests(predicate_type: &str, result: Value) -> Verified {
    let hex = digest('a').as_str().trim_start_matches("sha256:").to_owned();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a.example/x", "digest": {"sha256": hex}}],
        "predicateType": predicate_type,
        "predicate": {
            "scanner": {"uri": "pkg:github/aquasecurity/trivy", "result": result},
            "metadata": {"scanFinishedOn": YESTERDAY},
        },
    });
    let claim = Claim::Attestation { predicate_type: predicate_type.to_owned(), statement };
    Verified { signer: by_key(KEY), claim, logged: false, times: Vec::new() }
}

const IN_TOTO: &str = "https://in-toto.io/attestation/vulns/v0.2";

/// Statements as they are, from what was signed to the answer. No cluster knows anything of the image.
#[rstest]
#[case::clean(vec![attests(COSIGN_VULN, trivys(YESTERDAY, 'a', json!([])))], None)]
#[case::violating(vec![attests(COSIGN_VULN, trivys(YESTERDAY, 'a', log4shell()))], Some(Reason::VulnerabilityDenied))]
#[case::stale(vec![attests(COSIGN_VULN, trivys(OLD, 'a', json!([])))], Some(Reason::ScanVerdictStale))]
#[case::ahead(vec![attests(COSIGN_VULN, trivys("2027-01-01T00:00:00Z", 'a', json!([])))], Some(Reason::ScanVerdictUnreadable))]
#[case::another_image(vec![attests(COSIGN_VULN, trivys(YESTERDAY, 'b', json!([])))], Some(Reason::ScanVerdictUnreadable))]
#[case::no_result(vec![attests(COSIGN_VULN, json!(null))], Some(Reason::ScanVerdictUnreadable))]
#[case::another_document(vec![attests(COSIGN_VULN, json!({"tests": "passed"}))], Some(Reason::ScanVerdictUnreadable))]
#[case::a_newer_one_stands(
    vec![
        attests(COSIGN_VULN, trivys(OLD, 'a', log4shell())),
        attests(COSIGN_VULN, trivys(YESTERDAY, 'a', json!([]))),
    ],
    None
)]
#[case::an_older_one_does_not(
    vec![
        attests(COSIGN_VULN, trivys(YESTERDAY, 'a', log4shell())),
        attests(COSIGN_VULN, trivys("2026-05-30T12:00:00Z", 'a', json!([]))),
    ],
    Some(Reason::VulnerabilityDenied)
)]
#[case::a_clean_one_does_not_outweigh_damage(
    vec![attests(COSIGN_VULN, json!(null)), attests(COSIGN_VULN, trivys(YESTERDAY, 'a', json!([])))],
    Some(Reason::ScanVerdictUnreadable)
)]
#[case::nothing_listed(vec![attests(IN_TOTO, json!([]))], None)]
#[case::listed(vec![attests(IN_TOTO, json!([{"id": "CVE-2021-44228"}]))], Some(Reason::VulnerabilityDenied))]
#[case::another_type(vec![attests(SLSA, trivys(YESTERDAY, 'a', json!([])))], Some(Reason::ScanVerdictMissing))]
#[case::nothing(vec![], Some(Reason::ScanVerdictMissing))]
fn what_was_signed_is_read_and_judged(#[case] statements: Vec<Verified>, #[case] reason: Option<Reason>) {
    for turn in 0..statements.len().max(1) {
        let mut statements = statements.clone();
        if !statements.is_empty() {
            statements.rotate_left(turn);
        }
        let scene = Scene { beside: Ok(statements), ..of(vec![]) };
        let decision = scene.decide(&[listening("ci")], "a.example/x:1");
        let result = decision.results.iter().find(|result| result.check == Check::Vulnerabilities).unwrap();
        let finding = result.verdict.finding();
        assert_eq!(finding.map(|finding| finding.reason), reason, "{finding:?}");
    }
}
