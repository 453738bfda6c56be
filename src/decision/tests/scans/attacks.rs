//! What somebody who may write some verdicts, or images, or objects, might try.

use rstest::rstest;

use super::*;
use crate::decision::tests::beside::*;

/// Whoever may write ImageScanVerdicts must not speak for those who sign attestations.
#[test]
fn an_object_does_not_pass_for_an_attestation() {
    let signatures = json!({"authorities": [{"name": "ci", "key": {"inline": KEY}}]});
    for sources in [
        json!({"names": ["attestation"], "attestations": ["ci"]}),
        json!({"answer": "All", "names": ["attestation"], "attestations": ["ci"]}),
        json!({"attestations": ["ci"]}),
    ] {
        let mut rules = high();
        rules["sources"] = sources;
        let scene = of(vec![verdict("attestation", Ok(scan(vec![])))]);
        let scene = Scene { beside: Ok(vec![signature(by_key(KEY))]), ..scene };
        let spec = json!({"signatures": signatures, "vulnerabilities": rules});
        assert!(!scene.decide(&[policy(spec)], "a.example/x:1").allowed());
    }
    assert_eq!(
        of(vec![verdict("attestation", Ok(scan(vec![])))]).reason(high()),
        Some(Reason::ScanVerdictMissing)
    );
}

#[rstest]
#[case("Trivy")]
#[case("trivy ")]
#[case("trivy-2")]
#[case("triv\u{443}")]
#[case("")]
fn a_look_alike_is_not_the_source(#[case] source: &str) {
    let scene = of(vec![verdict(source, Ok(scan(vec![])))]);
    assert_eq!(scene.reason(by_any(&["trivy"])), Some(Reason::ScanVerdictMissing));
}

/// A vulnerability that is denied by name is denied under each of its names, in any case.
#[test]
fn another_name_is_no_way_out_of_a_denial() {
    let one =
        Vulnerability { aliases: vec!["cve-2021-44228".to_owned()], ..found("GHSA-jfh8", None, "log4j") };
    let rules = json!({"deny": [{"ids": ["CVE-2021-44228"]}]});
    assert_eq!(of(vec![trivy(scan(vec![one]))]).reason(rules), Some(Reason::VulnerabilityDenied));
}

/// An exception that names a package is not stretched to another.
#[rstest]
#[case("CVE-2021-44228", "log4j", true)]
#[case("CVE-2021-44228", "log4j-core", false)]
#[case("CVE-2021-44228", "Log4j", false)]
#[case("CVE-2021-44228", "", false)]
#[case("CVE-2021-442280", "log4j", false)]
#[case("CVE-2021-4422", "log4j", false)]
fn an_exception_subtracts_no_look_alike(#[case] id: &str, #[case] package: &str, #[case] subtracted: bool) {
    let rules = with(
        high(),
        "ignore",
        json!([{"id": "CVE-2021-44228", "packages": ["log4j"], "until": "2027-01-01T00:00:00Z", "reason": "x"}]),
    );
    let scene = of(vec![trivy(scan(vec![found(id, Some(Severity::High), package)]))]);
    assert_eq!(scene.reason(rules).is_none(), subtracted);
}

/// A scanner that does not say in which package it is does not help it past rules about packages and fixes.
#[test]
fn no_package_is_no_way_out() {
    let nowhere = || of(vec![trivy(scan(vec![found("CVE-2021-44228", Some(Severity::Critical), "")]))]);
    for rule in [
        json!({"packages": ["log4j"]}),
        json!({"packages": ["log*"], "fixable": true}),
        json!({"severity": "Critical", "fixable": true}),
    ] {
        assert_eq!(nowhere().reason(json!({"deny": [rule]})), Some(Reason::VulnerabilityDenied));
    }
    // Neither does what it leaves out.
    let mut cut = scan(vec![found("CVE-2021-44228", Some(Severity::Low), "")]);
    cut.counts.add(&found("CVE-2021-44228", Some(Severity::Critical), ""));
    let fixable = json!({"deny": [{"severity": "Critical", "fixable": true}]});
    assert_eq!(of(vec![trivy(cut)]).reason(fixable), Some(Reason::ScanVerdictTruncated));

    let entry = json!({"id": "CVE-2021-44228", "packages": ["log4j"], "until": "2027-01-01T00:00:00Z", "reason": "x"});
    let excepted = json!({"deny": [{"severity": "High"}], "ignore": [entry]});
    assert_eq!(nowhere().reason(excepted), Some(Reason::VulnerabilityDenied));
}

/// A date that lies ahead buys no grace, and neither does none.
#[rstest]
#[case(None, None)]
#[case(Some("2026-06-02"), None)]
#[case(Some("9999-12-31"), Some("9999-12-31"))]
#[case(Some("2026-06-02"), Some("2020-01-01"))]
fn no_date_is_no_grace(#[case] published: Option<&str>, #[case] seen: Option<&str>) {
    let date = |date: Option<&str>| date.map(|date| date.parse().unwrap());
    let one = Vulnerability { published: date(published), first_seen: date(seen), ..critical() };
    let rules = json!({"deny": [{"severity": "High", "olderThanDays": 3650}]});
    let young = json!({"deny": [{"severity": "High", "olderThanDays": 30}]});
    let scene = of(vec![trivy(scan(vec![one]))]);
    let by_seen = seen == Some("2020-01-01");
    assert_eq!(scene.reason(rules).is_none(), by_seen);
    assert_eq!(scene.reason(young), Some(Reason::VulnerabilityDenied));
}

/// VEX that only says that somebody looks into it, or that it is affected, subtracts nothing.
#[rstest]
#[case(VexStatus::Affected, false)]
#[case(VexStatus::UnderInvestigation, false)]
#[case(VexStatus::NotAffected, true)]
#[case(VexStatus::Fixed, true)]
fn vex_subtracts_only_what_is_not_there(#[case] vex: VexStatus, #[case] subtracted: bool) {
    let scene = of(vec![trivy(scan(vec![Vulnerability { vex: Some(vex), ..critical() }]))]);
    assert_eq!(scene.reason(with(high(), "honorVEX", json!(true))).is_none(), subtracted);
    assert_eq!(scene.reason(high()), Some(Reason::VulnerabilityDenied));
}

/// A text of a verdict neither breaks a denial's lines nor pushes the reason out, whatever it holds.
#[test]
fn a_verdict_cannot_write_into_a_denial() {
    let hostile = "\n- image ok\u{202e}\u{200b}\t".repeat(2000);
    let one = Vulnerability {
        id: hostile.clone(),
        package: hostile.clone(),
        installed: hostile.clone(),
        fixed: Some(hostile.clone()),
        ..critical()
    };
    let many = (0..500).map(|at| Vulnerability { id: format!("{at}{hostile}"), ..one.clone() }).collect();
    for verdicts in [
        vec![verdict(&hostile, Ok(scan(many)))],
        vec![verdict(&hostile, Err(hostile.clone()))],
        vec![verdict(&hostile, Ok(hiding(&[critical()])))],
        vec![verdict(&hostile, Ok(scanned_at(OLD, vec![])))],
    ] {
        let decision = of(verdicts).decide(&[policy(json!({"vulnerabilities": high()}))], "a.example/x:1");
        let finding = decision.results[0].verdict.finding().unwrap().clone();
        assert!(finding.found.len() <= 600, "{} bytes", finding.found.len());
        assert!(!finding.found.contains(char::is_control), "{}", finding.found);
        let decision = Decision { images: vec![decision] };
        let refusal = Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" };
        let told = denial(&decision, refusal);
        assert_eq!(told.lines().count(), 3, "{told}");
        assert!(told.len() <= 1024 && told.contains(finding.remedy), "{told}");
    }
}
