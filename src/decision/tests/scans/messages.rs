//! What people read of scans.

use insta::assert_snapshot;

use super::*;

const REFUSAL: Refusal<'static> =
    Refusal { kind: "Pod", namespace: "team-a", name: "web", decision_id: "d-1" };

/// The line of a denial that tells of the scans.
fn told(subject: ScanSubject, rules: Value) -> String {
    let decision = Scene::with(seen(vec![subject]))
        .decide(&[policy(json!({ "vulnerabilities": rules }))], "a.example/x:1");
    let text = denial(&Decision { images: vec![decision] }, REFUSAL);
    let line = text.lines().last().unwrap().trim();
    line.strip_prefix("policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: ")
        .unwrap()
        .to_owned()
}

/// All that was found, as the decision log has it.
fn found_in_full(subject: ScanSubject, rules: Value) -> String {
    Scene::with(seen(vec![subject])).vulnerable(rules).finding().unwrap().found.clone()
}

fn log4shell() -> Vulnerability {
    Vulnerability {
        published: Some("2021-12-10".parse().unwrap()),
        installed: "2.14.1".to_owned(),
        fixed: Some("2.15.0".to_owned()),
        score: Some(100),
        ..found("CVE-2021-44228", Some(Severity::Critical), "log4j-core")
    }
}

fn other(at: usize, severity: Severity) -> Vulnerability {
    found(&format!("CVE-2026-{at:04}"), Some(severity), "openssl")
}

fn amd64(scan: Scan) -> ScanSubject {
    subject(Some("linux/amd64"), vec![trivy(scan)])
}

fn whole(scan: Scan) -> ScanSubject {
    subject(None, vec![trivy(scan)])
}

#[test]
fn a_denial_names_the_worst_and_counts_the_rest() {
    let many = || {
        let many = (1..9).map(|at| other(at, if at % 2 == 0 { Severity::High } else { Severity::Low }));
        many.chain([log4shell()]).collect::<Vec<_>>()
    };
    assert_snapshot!(told(whole(scan(vec![log4shell()])), high()), @"VulnerabilityDenied: found CVE-2021-44228 (Critical) in log4j-core 2.14.1 → 2.15.0, by trivy; wanted no vulnerability of High or above; use an image with the fixed version");
    assert_snapshot!(told(amd64(scan(many())), high()), @"VulnerabilityDenied: found CVE-2021-44228 (Critical) in log4j-core 2.14.1 → 2.15.0 and 4 more on linux/amd64 (sha256:eeeeeeeeeeee…), by triv…; wanted no vulnerability of High or above; use an image with the fixed version");
    assert_snapshot!(found_in_full(amd64(scan(many())), high()), @"CVE-2021-44228 (Critical) in log4j-core 2.14.1 → 2.15.0 and 4 more on linux/amd64 (sha256:eeeeeeeeeeee…), by trivy; next: CVE-2026-0002 (High) in openssl 1.0; CVE-2026-0004 (High) in openssl 1.0");
    let two = subject(None, vec![trivy(scan(many())), grype(scan(vec![log4shell()]))]);
    assert_snapshot!(found_in_full(two, json!({"deny": [{"ids": ["CVE-2021-44228"]}]})), @"CVE-2021-44228 (Critical) in log4j-core 2.14.1 → 2.15.0, by trivy");
    assert_snapshot!(told(whole(scan(vec![found("CVE-2026-0001", None, "zlib")])), high()), @"VulnerabilityDenied: found CVE-2026-0001 (severity unknown, taken for Critical) in zlib 1.0, by trivy; wanted no vulnerability of High or above; use an image without the package, or ask for an exception");
    let unnamed = Vulnerability { fixed: Some(String::new()), installed: String::new(), ..log4shell() };
    assert_snapshot!(told(whole(scan(vec![unnamed])), json!({"deny": [{"packages": ["log4j*", "b", "c"]}]})), @"VulnerabilityDenied: found CVE-2021-44228 (Critical) in log4j-core (a fix exists), by trivy; wanted no vulnerability in log4j*, b and 1 more; use an image with the fixed version");
}

#[test]
fn a_denial_names_the_distribution_that_is_at_its_end() {
    let rules = || json!({"endOfLife": "Deny"});
    assert_snapshot!(told(amd64(ended(scan(vec![]))), rules()), @"DistributionEndOfLife: found alpine 3.10.9 on linux/amd64 (sha256:eeeeeeeeeeee…), which no longer gets advisories, by trivy; wanted a distribution that gets advisories; use an image that is built on a supported version of the distribution");
    let hostile = Scan { end_of_life: Some("al\u{202e}pine\n".into()), ..scan(vec![]) };
    assert_snapshot!(told(whole(hostile), rules()), @r"DistributionEndOfLife: found al\u{202e}pine\n, which no longer gets advisories, by trivy; wanted a distribution that gets advisories; use an image that is built on a supported version of the distribution");
}

#[test]
fn a_denial_says_by_which_clock() {
    let rules = || json!({"deny": [{"severity": "Critical", "fixable": true, "olderThanDays": 7}]});
    assert_snapshot!(told(whole(scan(vec![log4shell()])), rules()), @"VulnerabilityDenied: found CVE-2021-44228 (Critical, published 2021-12-10, 4 years ago) in log4j-core 2.14.1 → 2.15.0, by trivy; wanted no vulnerability that is Critical with a fix known for over 7 days; use an image with the fixed version");
    let first_seen = Some("2026-05-01".parse().unwrap());
    let by_sight = Vulnerability { published: None, first_seen, ..log4shell() };
    assert_snapshot!(told(whole(scan(vec![by_sight])), rules()), @"VulnerabilityDenied: found CVE-2021-44228 (Critical, first seen here 2026-05-01, 31 days ago) in log4j-core 2.14.1 → 2.15.0, by trivy; wanted no vulnerability that is Critical with a fix known for over 7 days; use an image with the fixed version");
    let undated = Vulnerability { published: None, ..log4shell() };
    assert_snapshot!(told(whole(scan(vec![undated])), rules()), @"VulnerabilityDenied: found CVE-2021-44228 (Critical, no date known) in log4j-core 2.14.1 → 2.15.0, by trivy; wanted no vulnerability that is Critical with a fix known for over 7 days; use an image with the fixed version");
}

#[test]
fn a_denial_says_which_exception_has_expired() {
    let rules = |until: &str| {
        json!({
            "deny": [{"severity": "Critical", "olderThanDays": 7}],
            "ignore": [{"id": "CVE-2021-44228", "until": until, "reason": "TICKET-12"}],
        })
    };
    assert_snapshot!(told(amd64(scan(vec![log4shell()])), rules("2026-01-01T00:00:00Z")), @"VulnerabilityDenied: found CVE-2021-44228 (Critical; the exception until 2026-01-01 has expired) in log4j-core 2.14.1 → 2.15.0, published 2021…; wanted no vulnerability that is Critical known for over 7 days; use an image with the fixed version");
    assert_snapshot!(found_in_full(amd64(scan(vec![log4shell()])), rules("2026-06-01T11:59:00Z")), @"CVE-2021-44228 (Critical; the exception until 2026-06-01T11:59:00Z has expired) in log4j-core 2.14.1 → 2.15.0, published 2021-12-10, 4 years ago on linux/amd64 (sha256:eeeeeeeeeeee…), by trivy");
    // One that would not have helped is none of anybody's business.
    let other = told(whole(scan(vec![other(1, Severity::Critical)])), rules("2026-01-01T00:00:00Z"));
    assert!(!other.contains("expired"), "{other}");
}

#[test]
fn a_denial_of_what_is_cut_off_says_how_much() {
    let mut scan = hiding(&(1..31).map(|at| other(at, Severity::Critical)).collect::<Vec<_>>());
    assert_snapshot!(told(whole(scan.clone()), high()), @"ScanVerdictTruncated: found a verdict by trivy that lists 1 of 31 and leaves out 30 of Critical; wanted no vulnerability of High or above; use an image with fewer vulnerabilities, or have the whole report attested");
    scan.counts.unknown = Count { found: 3, fixable: 2 };
    assert_snapshot!(told(amd64(scan), json!({"deny": [{"severity": "Critical", "fixable": true}]})), @"ScanVerdictTruncated: found a verdict by trivy on linux/amd64 (sha256:eeeeeeeeeeee…) that lists 1 of 34 and leaves out 2 of unknown severity wi…; wanted no vulnerability that is Critical with a fix; use an image with fewer vulnerabilities, or have the whole report attested");
}

#[test]
fn a_denial_of_what_is_old_says_how_old() {
    let old = |at: &str, database: Option<&str>| {
        let mut scan = scanned_at(at, vec![]);
        scan.database_at = database.map(|at| at.parse().unwrap());
        scan
    };
    assert_snapshot!(told(whole(old("2026-05-01T00:00:00Z", None)), high()), @"ScanVerdictStale: found a scan of 2026-05-01, 31 days ago, by trivy; wanted one of the last 7 days; have the image scanned again");
    let short = json!({"maxVerdictAge": "90m"});
    assert_snapshot!(told(amd64(old("2026-06-01T09:00:00Z", None)), short), @"ScanVerdictStale: found a scan of 2026-06-01, 3 hours ago, by trivy on linux/amd64 (sha256:eeeeeeeeeeee…); wanted one of the last 90 minutes; have the image scanned again");
    let database = old(YESTERDAY, Some("2026-01-01T00:00:00Z"));
    let requested = ScanSubject { requested: true, ..whole(database) };
    assert_snapshot!(told(requested, json!({"maxVerdictAge": "36h"})), @"ScanVerdictStale: found a scan with a database of 2026-01-01, 5 months ago, by trivy; wanted one with a database of the last 36 hours; a scan has been requested: try again in a few minutes");
}

#[test]
fn a_denial_of_what_nobody_has_scanned_says_whether_somebody_will() {
    let nothing = |platform| subject(platform, vec![]);
    assert_snapshot!(told(nothing(None), high()), @"ScanVerdictMissing: found no scan verdict; wanted a scan verdict; have the image scanned by a source that counts");
    assert_snapshot!(told(ScanSubject { requested: true, ..nothing(None) }, high()), @"ScanVerdictMissing: found no scan verdict; wanted a scan verdict; a scan has been requested: try again in a few minutes");
    assert_snapshot!(told(nothing(Some("linux/amd64")), by_any(&["trivy", "grype", "ci-import"])), @"ScanVerdictMissing: found no scan verdict on linux/amd64 (sha256:eeeeeeeeeeee…); wanted a verdict by trivy, grype or ci-import; have the image scanned by a source that counts");
    let four = by_all(&["trivy", "grype", "clair", "snyk"]);
    assert_snapshot!(told(nothing(Some("linux/amd64")), four), @"ScanVerdictMissing: found no scan verdict by trivy, grype, clair and 1 more on linux/amd64 (sha256:eeeeeeeeeeee…); wanted a verdict by trivy, grype, clair and 1 more; have the image scanned by a source that counts");
    let one = subject(None, vec![grype(scan(vec![]))]);
    assert_snapshot!(told(one, with(high(), "sources", json!({"answer": "All"}))), @"ScanVerdictMissing: found no scan verdict by trivy; wanted a verdict by trivy; have the image scanned by a source that counts");
}

#[test]
fn a_denial_of_what_nobody_can_read_says_why() {
    assert_snapshot!(told(subject(Some("linux/amd64"), vec![damaged("trivy")]), high()), @"ScanVerdictUnreadable: found a verdict by trivy on linux/amd64 (sha256:eeeeeeeeeeee…) that cannot be read: it is damaged; wanted a verdict that this version can read; have the image scanned again; if it stays, tell whoever runs the scanner");
    assert_snapshot!(told(whole(scanned_at("2026-07-01T00:00:00Z", vec![])), high()), @"ScanVerdictUnreadable: found a verdict by trivy that cannot be read: its scan is dated 2026-07-01T00:00:00Z, which lies ahead; wanted a verdict that this version can read; have the image scanned again; if it stays, tell whoever runs the scanner");
    let mut twisted = scan(vec![critical(), critical()]);
    twisted.counts.known[0].found = 1;
    assert_snapshot!(told(whole(twisted), json!({"maxVerdictAge": "7d"})), @"ScanVerdictUnreadable: found a verdict by trivy that cannot be read: it counts 2 with a fix among 1 of Critical; wanted a verdict that this version can read; have the image scanned again; if it stays, tell whoever runs the scanner");
}

#[test]
fn a_denial_of_what_nobody_could_look_at_says_whose_matter_it_is() {
    let told = |scans| {
        let scene = Scene::with(scans);
        let decision = scene.decide(&[policy(json!({"vulnerabilities": high()}))], "a.example/x:1");
        let text = denial(&Decision { images: vec![decision] }, REFUSAL);
        text.lines().last().unwrap().trim().to_owned()
    };
    assert_snapshot!(told(ScanEvidence::NotAsked), @"policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: ScanNotAsked: found an image whose scan verdicts nobody has looked for; wanted a look at them; mend what else refuses the image");
    assert_snapshot!(told(ScanEvidence::Unseen(ScanError::Unlisted("away".to_owned()))), @"policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: ScanVerdictsUnavailable: found scan verdicts that could not be read from the cluster; wanted a scan verdict; try again in a moment; if it stays, tell your cluster's operator");
    assert_snapshot!(told(ScanEvidence::Unseen(ScanError::Platforms(RegistryError::TimedOut))), @"policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: RegistryTimedOut: found a registry that did not answer in time; wanted the platforms that the image is for; try again in a moment; if it stays, tell whoever runs the registry");
}

#[test]
fn a_warning_fits_what_is_needed() {
    let rules = with(high(), "missingVerdict", json!("Warn"));
    let warned = |subject| {
        let spec = json!({"vulnerabilities": rules, "action": "Warn"});
        let decision = Scene::with(seen(vec![subject])).decide(&[policy(spec)], "a.example/x:1");
        warnings(&Decision { images: vec![decision] }).join("\n")
    };
    assert_snapshot!(warned(subject(None, vec![])), @"image a.example/x:1: policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: ScanVerdictMissing: found no scan verdict; wanted a scan verdict; have the image scanned by a source that counts");
    assert_snapshot!(warned(amd64(scan(vec![log4shell(), other(1, Severity::High)]))), @"image a.example/x:1: policy ClusterImageAdmissionPolicy/house-rules, check Vulnerabilities: VulnerabilityDenied: found CVE-2021-44228 (Critical) in log4j-core 2.14.1 → 2.15.0 and 1 more on linux…; wanted no vulnerability of High or above; use an image wit…");
}
