use insta::assert_snapshot;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::evidence::{Severity, Vulnerability};

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELy5qaMnPuIMkT5OaT0h6bJ1IlCEW
3GfSthkqypF+7fEi8sMzdUMdd39/KaLMIQPKQdJQovx+sXrwz9Ev/sIkzA==
-----END PUBLIC KEY-----";

fn rules(rules: Value) -> Value {
    cluster(json!({ "vulnerabilities": rules }))
}

fn requirement(document: &Value) -> VulnerabilityRequirement {
    let policy = compile(document);
    let found = policy.requirements().iter().find_map(|requirement| match requirement {
        Requirement::Vulnerabilities(rule) => Some(rule.clone()),
        _ => None,
    });
    found.expect("the requirement")
}

#[test]
fn every_field_arrives() {
    let spec = json!({
        "signatures": {"authorities": [{"name": "other", "key": {"inline": KEY}}, {"name": "ci", "key": {"inline": KEY}}]},
        "vulnerabilities": {
            "deny": [
                {"severity": "High", "fixable": true, "olderThanDays": 7},
                {"ids": ["cve-2021-44228"], "packages": ["log4j*", "log4j-core"]},
            ],
            "ignore": [{"id": "CVE-2026-0001", "packages": ["zlib"], "until": "2026-12-31T00:00:00Z", "reason": "TICKET-12"}],
            "honorVEX": true,
            "unknownSeverity": "Low",
            "maxVerdictAge": "36h",
            "endOfLife": "Deny",
            "missingVerdict": "Warn",
            "sources": {"answer": "All", "names": ["trivy", "attestation"], "attestations": ["ci"]},
        },
    });
    for document in [cluster(spec.clone()), namespaced(spec)] {
        let VulnerabilityRequirement {
            deny,
            ignore,
            honor_vex,
            unknown_severity,
            max_verdict_age,
            deny_end_of_life,
            missing,
            sources,
        } = requirement(&document);
        let told: Vec<String> = deny.iter().map(DenyRule::to_string).collect();
        assert_eq!(
            told,
            [
                "no vulnerability of High or above with a fix known for over 7 days",
                "no vulnerability called cve-2021-44228 in log4j*, log4j-core",
            ]
        );
        let one = Vulnerability {
            id: "GHSA-aaaa-bbbb-cccc".to_owned(),
            aliases: vec!["cve-2026-0001".to_owned()],
            package: "zlib".to_owned(),
            ..Vulnerability::default()
        };
        let at = |time: &str| ignore.of(&one, time.parse().unwrap());
        assert_eq!(at("2026-12-30T23:59:59.999Z"), Excepted::Now);
        let until = "2026-12-31T00:00:00Z";
        assert_eq!(at(until), Excepted::Until(until.parse().unwrap()));
        let elsewhere = Vulnerability { package: "zlib1g".to_owned(), ..one.clone() };
        assert_eq!(ignore.of(&elsewhere, "2026-01-01T00:00:00Z".parse().unwrap()), Excepted::Never);
        assert_eq!((honor_vex, unknown_severity, missing), (true, Severity::Low, MissingVerdict::Warn));
        assert_eq!(max_verdict_age, SignedDuration::from_hours(36));
        assert!(deny_end_of_life);
        assert!(sources.all && sources.count("trivy") && !sources.count("grype"));
        // What lies in the cluster under that name is not what somebody has signed.
        assert!(!sources.count("attestation"));
        assert_eq!(sources.attestations, [1]);
        assert!(compile(&document).attached().unwrap().attestations);
    }
}

#[rstest]
#[case(json!({"deny": [{"severity": "Critical"}]}))]
#[case(json!({"sources": {"names": ["trivy"]}}))]
#[case(json!({"maxVerdictAge": "168h"}))]
#[case(json!({"maxVerdictAge": "168h", "endOfLife": "Allow"}))]
#[case(json!({
    "maxVerdictAge": "7d", "deny": null, "ignore": null, "unknownSeverity": null, "sources": null,
}))]
fn what_is_left_out_takes_its_strict_default(#[case] spec: Value) {
    let rule = requirement(&rules(spec));
    assert_eq!(rule.max_verdict_age, SignedDuration::from_hours(168));
    assert_eq!((rule.missing, rule.honor_vex, rule.deny_end_of_life), (MissingVerdict::Deny, false, false));
    assert_eq!(rule.unknown_severity, Severity::Critical);
    assert!(!rule.sources.all && rule.sources.attestations.is_empty() && rule.sources.count("trivy"));
}

#[rstest]
#[case("1m", 60)]
#[case("90m", 5400)]
#[case("1h", 3600)]
#[case("365d", 31_536_000)]
#[case("8760h", 31_536_000)]
fn an_age_is_a_number_and_a_unit(#[case] text: &str, #[case] seconds: i64) {
    let rule = requirement(&rules(json!({ "maxVerdictAge": text })));
    assert_eq!(rule.max_verdict_age, SignedDuration::from_secs(seconds));
}

#[rstest]
#[case("", "a time is written as")]
#[case("h", "a time is written as")]
#[case("0h", "a time is written as")]
#[case("07d", "a time is written as")]
#[case("-1h", "a time is written as")]
#[case("+1h", "a time is written as")]
#[case("1.5h", "a time is written as")]
#[case("1h30m", "a time is written as")]
#[case("60s", "a time is written as")]
#[case("1 d", "a time is written as")]
#[case("7D", "a time is written as")]
#[case("1w", "a time is written as")]
#[case("٣d", "a time is written as")]
#[case("366d", "wanted 1m to 365d")]
#[case("525601m", "wanted 1m to 365d")]
#[case("106751991167301d", "wanted 1m to 365d")]
#[case("9223372036854775807d", "wanted 1m to 365d")]
#[case("99999999999999999999999999d", "wanted 1m to 365d")]
fn any_other_age_is_refused(#[case] text: &str, #[case] problem: &str) {
    let troubles = troubles(&rules(json!({ "maxVerdictAge": text })));
    assert!(troubles.starts_with("spec.vulnerabilities.maxVerdictAge: "), "{troubles}");
    assert!(troubles.contains(problem), "{troubles}");
}

#[rstest]
#[case::nothing(json!({}))]
#[case::only_what_is_allowed(json!({"endOfLife": "Allow"}))]
#[case::end_of_life(json!({"endOfLife": "deny"}))]
#[case::only_what_is_missing(json!({"missingVerdict": "Allow"}))]
#[case::a_list(json!([]))]
#[case::unknown(json!({"deny": [{"severity": "High"}], "allow": []}))]
#[case::honor_vex_misspelt(json!({"deny": [{"severity": "High"}], "honorVex": true}))]
#[case::deny_rule_as_a_list(json!({"deny": [["High"]]}))]
#[case::severity(json!({"deny": [{"severity": "HIGH"}]}))]
#[case::severity_unknown(json!({"deny": [{"severity": "Unknown"}]}))]
#[case::days_negative(json!({"deny": [{"severity": "High", "olderThanDays": -1}]}))]
#[case::days_too_many(json!({"deny": [{"severity": "High", "olderThanDays": 70_000}]}))]
#[case::missing(json!({"deny": [{"severity": "High"}], "missingVerdict": "Ignore"}))]
#[case::answer(json!({"sources": {"answer": "Most", "names": ["trivy"]}}))]
#[case::until_missing(json!({"deny": [{"severity": "High"}], "ignore": [{"id": "CVE-1", "reason": "x"}]}))]
#[case::reason_missing(json!({"deny": [{"severity": "High"}], "ignore": [{"id": "CVE-1", "until": "2026-01-01T00:00:00Z"}]}))]
#[case::nobody_signs(json!({"sources": {"attestations": ["ci"]}}))]
fn what_makes_no_sense_is_refused(#[case] spec: Value) {
    let (_, troubles) = fail(&rules(spec));
    assert!(troubles.starts_with("spec.vulnerabilities"), "{troubles}");
}

#[test]
fn an_error_names_place_value_and_remedy() {
    let told = |spec: Value| troubles(&rules(spec));
    let high = || json!([{"severity": "High"}]);
    let ignoring = |entry: Value| told(json!({"deny": high(), "ignore": [entry]}));
    assert_snapshot!(told(json!({})), @"spec.vulnerabilities: set deny, maxVerdictAge, sources or endOfLife: Deny");
    assert_snapshot!(told(json!({"deny": []})), @r#"spec.vulnerabilities.deny: "[]": an empty list says nothing: leave the field out"#);
    assert_snapshot!(told(json!({"deny": [{"olderThanDays": 0, "fixable": false}, {"ids": [], "packages": []}]})), @r#"
    spec.vulnerabilities.deny[0]: set severity, ids or packages
    spec.vulnerabilities.deny[0].fixable: "false": it says nothing: leave it out, or write true for those with a fix only
    spec.vulnerabilities.deny[0].olderThanDays: "0": wanted 1 to 3650 days
    spec.vulnerabilities.deny[1].ids: "[]": an empty list says nothing: leave the field out
    spec.vulnerabilities.deny[1].packages: "[]": an empty list says nothing: leave the field out
    "#);
    assert_snapshot!(told(json!({"deny": [{"severity": "High"}, {"ids": ["CVE-1"]}, {"severity": "High"}]})), @"spec.vulnerabilities.deny[2]: the same as spec.vulnerabilities.deny[0]: leave it out");
    assert_snapshot!(told(json!({"deny": [{"ids": ["CVE-2021-*", "CVE 1", ""], "packages": ["", " zlib", "z\nlib"]}]})), @r#"
    spec.vulnerabilities.deny[0].ids[0]: "CVE-2021-*": a vulnerability's name has 1 to 64 letters, digits and signs without blanks, and is no pattern: write CVE-2021-44228
    spec.vulnerabilities.deny[0].ids[1]: "CVE 1": a vulnerability's name has 1 to 64 letters, digits and signs without blanks, and is no pattern: write CVE-2021-44228
    spec.vulnerabilities.deny[0].ids[2]: a vulnerability's name has 1 to 64 letters, digits and signs without blanks, and is no pattern: write CVE-2021-44228
    spec.vulnerabilities.deny[0].packages[0]: a package's name has 1 to 256 bytes, without blanks at its ends; "*" stands for any run of characters
    spec.vulnerabilities.deny[0].packages[1]: " zlib": a package's name has 1 to 256 bytes, without blanks at its ends; "*" stands for any run of characters
    spec.vulnerabilities.deny[0].packages[2]: "z\nlib": a package's name has 1 to 256 bytes, without blanks at its ends; "*" stands for any run of characters
    "#);
    assert_snapshot!(told(json!({"deny": [{"packages": vec!["a"; 200]}, {"packages": vec!["b"; 57]}]})), @r#"spec.vulnerabilities.deny[].packages: "257 entries": at most 256 are allowed"#);
    let many: Vec<Value> = (0..17).map(|at| json!({"ids": [format!("CVE-{at}")]})).collect();
    assert_snapshot!(told(json!({ "deny": many })), @r#"spec.vulnerabilities.deny: "17 entries": at most 16 are allowed"#);
    assert_snapshot!(told(json!({"maxVerdictAge": "1d", "ignore": [], "honorVEX": true, "unknownSeverity": "Low"})), @r#"
    spec.vulnerabilities.ignore: it speaks of what deny lists, and there is none: set deny, or leave it out
    spec.vulnerabilities.honorVEX: it speaks of what deny lists, and there is none: set deny, or leave it out
    spec.vulnerabilities.unknownSeverity: it speaks of what deny lists, and there is none: set deny, or leave it out
    spec.vulnerabilities.ignore: "[]": an empty list says nothing: leave the field out
    "#);
    assert_snapshot!(told(json!({"deny": [{"ids": ["CVE-1"]}], "unknownSeverity": "Low"})), @r#"spec.vulnerabilities.unknownSeverity: "Low": no rule of deny names a severity, so it says nothing: leave it out"#);
    assert_snapshot!(ignoring(json!({"id": "CVE-*", "until": "2026-12-31T00:00:00Z", "reason": " ", "packages": []})), @r#"
    spec.vulnerabilities.ignore[0].reason: " ": say why, in 1 to 512 characters
    spec.vulnerabilities.ignore[0].packages: "[]": an empty list says nothing: leave the field out
    spec.vulnerabilities.ignore[0].id: "CVE-*": a vulnerability's name has 1 to 64 letters, digits and signs without blanks, and is no pattern: write CVE-2021-44228
    "#);
    assert_snapshot!(ignoring(json!({"id": "CVE-1", "until": "2026-12-31", "reason": "TICKET-12"})), @r#"spec.vulnerabilities.ignore[0].until: "2026-12-31": a time is written like "2027-01-01T00:00:00Z" (RFC 3339)"#);
    assert_snapshot!(told(json!({"sources": {}})), @"spec.vulnerabilities.sources: set names, attestations or answer: All");
    assert_snapshot!(told(json!({"sources": {"names": [], "attestations": []}})), @r#"
    spec.vulnerabilities.sources.names: "[]": an empty list says nothing: leave the field out
    spec.vulnerabilities.sources.attestations: "[]": an empty list says nothing: leave the field out
    "#);
    assert_snapshot!(told(json!({"sources": {"names": ["Trivy", "attestation"]}})), @r#"
    spec.vulnerabilities.sources.names[0]: "Trivy": a name has up to 63 lowercase letters, digits and "-", with a letter or digit at both ends
    spec.vulnerabilities.sources.names[1]: "attestation": name those whose attestations count in sources.attestations: nobody else's do
    "#);
    assert_snapshot!(told(json!({"sources": {"attestations": ["ci"]}})), @r#"spec.vulnerabilities.sources.attestations[0]: "ci": no authority of signatures.authorities has that name"#);
    assert_snapshot!(told(json!({"deny": high(), "maxVerdictAge": "2w"})), @r#"spec.vulnerabilities.maxVerdictAge: "2w": a time is written as a whole number with m, h or d, as 90m, 72h or 7d"#);
    assert_snapshot!(told(json!({"deny": [{"severity": "Important"}]})), @r#"spec.vulnerabilities.deny[0].severity: "Important": unknown variant `Important`, expected one of `Critical`, `High`, `Medium`, `Low`, `Negligible`"#);
}

#[test]
fn what_the_page_shows_compiles() {
    let page = include_str!("../../../docs/vulnerabilities.md");
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        compile(&serde_saphyr::from_str(example).unwrap());
    }
}

#[test]
fn names_are_compared_as_a_whole_and_in_any_case() {
    let rule =
        requirement(&rules(json!({"deny": [{"ids": ["cve-2021-44228", "GHSA-JFH8-C2JP-5V3Q", "b", "A"]}]})));
    let named = |id: &str, alias: &str| {
        let one =
            Vulnerability { id: id.to_owned(), aliases: vec![alias.to_owned()], ..Vulnerability::default() };
        rule.deny[0].names(&one, Severity::Negligible)
    };
    for id in ["CVE-2021-44228", "ghsa-jfh8-c2jp-5v3q", "a", "B"] {
        assert!(named(id, "x") && named("x", id), "{id}");
    }
    for id in ["CVE-2021-4422", "CVE-2021-442280", "", "C"] {
        assert!(!named(id, "x"), "{id}");
    }
}
