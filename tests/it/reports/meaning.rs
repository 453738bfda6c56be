//! What is made of what a scanner writes: what counts as looked at, as struck out, as the same image.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Severity, VexStatus},
    image::Digest,
    reports::{Format, ReadError, Report, read},
};

use super::samples::{DIGEST, SAMPLES};

/// The sample of a format, changed at one place.
fn changed(format: Format, pointer: &str, value: Value) -> Value {
    let sample = SAMPLES.iter().find(|(of, _)| *of == format).unwrap().1;
    let mut document: Value = serde_json::from_str(sample).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[name] = value;
    document
}

fn read_one(format: Format, document: &Value) -> Result<Report, ReadError> {
    read(format, document.to_string().as_bytes()).map(|mut reports| reports.remove(0))
}

fn is_incomplete(answer: &Result<Report, ReadError>) -> bool {
    matches!(answer, Err(ReadError::Incomplete { .. }))
}

#[rstest]
#[case::absent(Value::Null)]
#[case::nothing(json!([]))]
#[case::secrets(json!([{"Class": "secret", "Secrets": [{}]}]))]
#[case::licences(json!([{"Class": "license"}, {"Class": "license-file"}]))]
#[case::misconfigurations(json!([{"Class": "config", "Type": "dockerfile"}]))]
#[case::languages_but_not_the_distribution(json!([{"Class": "lang-pkgs", "Type": "npm"}]))]
fn trivy_has_not_looked_at_packages(#[case] results: Value) {
    assert!(is_incomplete(&read_one(Format::Trivy, &changed(Format::Trivy, "/Results", results))));
}

#[test]
fn trivy_finds_nothing_in_packages_that_it_has_looked_at() {
    let clean = json!([{"Class": "os-pkgs", "Type": "debian"}, {"Class": "secret"}]);
    let report = read_one(Format::Trivy, &changed(Format::Trivy, "/Results", clean)).unwrap();
    assert_eq!((report.rows, report.vulnerabilities.len()), (0, 0));
    let mut scratch = changed(Format::Trivy, "/Results", json!([{"Class": "lang-pkgs", "Type": "gobinary"}]));
    scratch["Metadata"].as_object_mut().unwrap().remove("OS");
    assert_eq!(read_one(Format::Trivy, &scratch).unwrap().rows, 0);
}

#[rstest]
#[case("not_affected", Some(VexStatus::NotAffected))]
#[case("fixed", Some(VexStatus::Fixed))]
#[case("affected", Some(VexStatus::Affected))]
#[case("under_investigation", Some(VexStatus::UnderInvestigation))]
#[case("ignored", None)]
#[case("NOT_AFFECTED", None)]
#[case("", None)]
fn what_trivy_has_struck_out_is_found_all_the_same(#[case] status: &str, #[case] vex: Option<VexStatus>) {
    let row = json!({"VulnerabilityID": "CVE-2026-0003", "PkgName": "libacme", "Severity": "HIGH"});
    let modified = json!([
        {"Type": "vulnerability", "Status": status, "Finding": row},
        {"Type": "secret", "Status": status, "Finding": {"RuleID": "x"}},
    ]);
    let document = changed(Format::Trivy, "/Results/0/ExperimentalModifiedFindings", modified);
    let report = read_one(Format::Trivy, &document).unwrap();
    let found = report.vulnerabilities.iter().find(|one| one.id == "CVE-2026-0003").unwrap();
    assert_eq!((report.rows, found.severity, found.vex), (3, Some(Severity::High), vex));
}

#[test]
fn trivy_says_when_it_scanned_with_which_database_and_of_what() {
    let server = json!({"Version": "0.70.0", "Server": {"VulnerabilityDB": {"Version": 2, "UpdatedAt": "2026-10-01T06:00:00Z"}}});
    let mut document = changed(Format::Trivy, "/Trivy", server);
    document["Metadata"]["OS"]["EOSL"] = json!(true);
    let report = read_one(Format::Trivy, &document).unwrap();
    assert_eq!(report.scanner_version.as_deref(), Some("0.70.0"));
    assert_eq!(report.database_at.unwrap().to_string(), "2026-10-01T06:00:00Z");
    assert_eq!(report.scanned_at.unwrap().to_string(), "2026-10-01T12:00:00.5Z");
    assert_eq!(report.end_of_life.as_deref(), Some("debian 12.5"));
    assert_eq!(report.subject.platform.unwrap().as_str(), "linux/amd64");
    let by_number = changed(Format::Trivy, "/CreatedAt", json!(1_790_000_000));
    assert_eq!(read_one(Format::Trivy, &by_number).unwrap().scanned_at.unwrap().as_second(), 1_790_000_000);
    let by_nobody = changed(Format::Trivy, "/CreatedAt", json!("0001-01-01T00:00:00Z"));
    assert_eq!(read_one(Format::Trivy, &by_nobody).unwrap().scanned_at, None);
}

#[rstest]
#[case(json!([""]))]
#[case(json!(["REDACTED"]))]
#[case(json!(["acme@sha256:test"]))]
#[case(json!(["acme@sha256:da39a3ee5e6b4b0d3255bfef95601890afd80709"]))]
#[case(json!(null))]
fn what_is_no_digest_names_none(#[case] names: Value) {
    let report = read_one(Format::Trivy, &changed(Format::Trivy, "/Metadata/RepoDigests", names)).unwrap();
    assert_eq!(report.subject.digests, []);
    assert_eq!(report.bind(None, None), Err(ReadError::Unbound));
}

#[rstest]
#[case("filesystem")]
#[case("repository")]
#[case("vm")]
#[case("cyclonedx")]
fn trivy_has_scanned_something_else(#[case] kind: &str) {
    let answer = read_one(Format::Trivy, &changed(Format::Trivy, "/ArtifactType", json!(kind)));
    assert!(matches!(answer, Err(ReadError::Foreign { .. })), "{answer:?}");
}

#[test]
fn a_summary_that_disagrees_with_the_list_makes_a_report_unreadable() {
    for name in ["criticalCount", "highCount", "mediumCount", "lowCount", "unknownCount"] {
        let document = changed(Format::TrivyOperator, &format!("/report/summary/{name}"), json!(7));
        let answer = read_one(Format::TrivyOperator, &document);
        let place = format!("report.summary.{name}");
        assert!(matches!(&answer, Err(ReadError::Malformed { place: at, .. }) if *at == place), "{answer:?}");
    }
}

#[test]
fn a_list_of_the_operators_reports_is_as_many_reports_and_holds_no_others() {
    let one = changed(Format::TrivyOperator, "/metadata/name", json!("one"));
    let list =
        |kind: &str, items: Value| json!({"apiVersion": "v1", "kind": kind, "items": items}).to_string();
    let many = list("List", json!([one, one]));
    assert_eq!(read(Format::Auto, many.as_bytes()).unwrap().len(), 2);
    let mut bare = one.clone();
    bare.as_object_mut().unwrap().retain(|name, _| name == "report");
    let foreign =
        |list: String| matches!(read(Format::TrivyOperator, list.as_bytes()), Err(ReadError::Foreign { .. }));
    assert_eq!(
        read(Format::TrivyOperator, list("VulnerabilityReportList", json!([bare])).as_bytes()).unwrap().len(),
        1
    );
    assert!(foreign(list("List", json!([bare]))));
    assert!(foreign(list("List", json!([]))));
    for kind in ["ClusterVulnerabilityReport", "ConfigAuditReport", "SbomReport"] {
        let other = changed(Format::TrivyOperator, "/kind", json!(kind));
        assert!(foreign(other.to_string()) && foreign(list("List", json!([one, other]))), "{kind}");
    }
}

#[rstest]
#[case("only-fixed", json!(true))]
#[case("only-notfixed", json!(true))]
#[case("ignore-wontfix", json!("wont-fix"))]
fn grype_says_that_it_has_left_matches_out(#[case] name: &str, #[case] value: Value) {
    let document =
        changed(Format::Grype, "/descriptor/configuration", json!({"ignore-wontfix": "", name: value}));
    assert!(is_incomplete(&read_one(Format::Grype, &document)));
    let all = json!({"only-fixed": false, "only-notfixed": false, "ignore-wontfix": ""});
    assert!(read_one(Format::Grype, &changed(Format::Grype, "/descriptor/configuration", all)).is_ok());
}

#[rstest]
#[case::by_vex(json!([{"vulnerability": "", "vex-status": ""}, {"vex-status": "not_affected"}]), Some(VexStatus::NotAffected))]
#[case::by_a_rule(json!([{"vulnerability": "CVE-2026-0003", "reason": "accepted"}]), None)]
fn what_grype_has_struck_out_is_found_all_the_same(#[case] rules: Value, #[case] vex: Option<VexStatus>) {
    let ignored = json!([{
        "vulnerability": {"id": "CVE-2026-0003", "severity": "High"},
        "artifact": {"name": "libacme", "version": "1.0"},
        "appliedIgnoreRules": rules,
    }]);
    let report = read_one(Format::Grype, &changed(Format::Grype, "/ignoredMatches", ignored)).unwrap();
    let found = report.vulnerabilities.iter().find(|one| one.id == "CVE-2026-0003").unwrap();
    assert_eq!((report.rows, found.vex), (3, vex));
}

#[rstest]
#[case::header_packages(json!({"name": "linux-libc-dev", "upstream-name": "linux", "type": "deb"}), "exact-indirect-match", 2)]
#[case::of_another_source(json!({"name": "libacme-dev", "upstream-name": "libacme", "type": "deb"}), "exact-indirect-match", 3)]
#[case::the_kernel_itself(json!({"name": "linux", "upstream-name": "linux", "type": "deb"}), "exact-direct-match", 3)]
fn kernel_headers_have_none_of_the_kernels_vulnerabilities(
    #[case] package: Value,
    #[case] match_type: &str,
    #[case] rows: usize,
) {
    let ignored = json!([{
        "vulnerability": {"id": "CVE-2026-0003", "severity": "High"},
        "artifact": {"name": "linux-libc-dev", "version": "6.1"},
        "appliedIgnoreRules": [{"package": package, "match-type": match_type}],
    }]);
    let report = read_one(Format::Grype, &changed(Format::Grype, "/ignoredMatches", ignored)).unwrap();
    assert_eq!(report.rows, rows);
}

#[test]
fn grype_knows_a_vulnerability_by_its_other_names_and_the_end_of_a_distribution() {
    let alerts = json!([{"alerts": [{"type": "distro-eol"}]}]);
    let report = read_one(Format::Grype, &changed(Format::Grype, "/alertsByPackage", alerts)).unwrap();
    assert!(
        report.vulnerabilities[0].is_called("CVE-2026-0001")
            && report.vulnerabilities[0].is_called("GHSA-0000-0000-0001")
    );
    assert_eq!(report.end_of_life.as_deref(), Some("debian 12"));
    assert_eq!(report.database_at.unwrap().to_string(), "2026-10-01T00:00:00Z");
}

/// `source.target` with a manifest and a configuration that belong together; `layer` is its only layer.
fn pulled(layer: &str) -> Value {
    let config = json!({"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": {"diff_ids": ["sha256:d"]}}).to_string();
    let image_id = Digest::sha256(config.as_bytes());
    let manifest = json!({"config": {"digest": image_id}, "layers": [{"digest": layer}]}).to_string();
    json!({
        "imageID": image_id, "config": STANDARD.encode(config),
        "manifestDigest": Digest::sha256(manifest.as_bytes()), "manifest": STANDARD.encode(manifest),
        "repoDigests": [format!("acme@{DIGEST}")], "architecture": "amd64", "os": "linux",
    })
}

#[test]
fn grype_names_the_manifest_that_it_has_pulled_and_not_one_of_its_own() {
    let of =
        |layer| read_one(Format::Grype, &changed(Format::Grype, "/source/target", pulled(layer))).unwrap();
    let (from_registry, from_daemon) = (of("sha256:compressed"), of("sha256:d"));
    assert_eq!((from_registry.subject.digests.len(), from_daemon.subject.digests.len()), (2, 1));
    assert_eq!(from_registry.subject.platform.as_ref().unwrap().as_str(), "linux/arm64/v8");
    let manifest = &from_registry.subject.digests[1];
    assert!(from_registry.bind(Some(manifest), None).is_ok());
    assert!(matches!(from_daemon.bind(Some(manifest), None), Err(ReadError::OtherImage { .. })));
}

#[rstest]
#[case::configuration("/config", json!(STANDARD.encode("{}")))]
#[case::manifest("/manifest", json!(STANDARD.encode("{}")))]
#[case::no_base64("/config", json!("#"))]
#[case::image_id("/imageID", json!("sha256:07a3eb7aaaaaaaaa69f29ff9a2945c9bb0a6592654421b8357c"))]
#[case::manifest_digest("/manifestDigest", json!(DIGEST))]
fn a_report_of_grype_that_was_edited_is_read_and_binds_to_nothing(#[case] place: &str, #[case] value: Value) {
    let mut target = pulled("sha256:compressed");
    *target.pointer_mut(place).unwrap() = value;
    let report = read_one(Format::Grype, &changed(Format::Grype, "/source/target", target)).unwrap();
    assert!(report.subject.contradiction.is_some());
    assert!(report.bind(Some(&DIGEST.parse().unwrap()), None).is_err());
}

/// A report of `tool`, with one result and its rule.
fn sarif(tool: &str, result: &Value, rule: &Value) -> Value {
    let driver = json!({"name": tool, "rules": [rule]});
    json!({"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": [result]}]})
}

#[rstest]
#[case::a_word("medium", "10.0", Some(Severity::Medium))]
#[case::low_may_be_unknown("low", "9.8", Some(Severity::Critical))]
#[case::low("low", "2.0", Some(Severity::Low))]
#[case::low_without_a_severity("low", "0.0", None)]
#[case::low_without_a_score("low", "", None)]
#[case::a_score_that_is_none("low", "NaN", None)]
#[case::a_word_of_its_own("dire", "1.0", None)]
fn the_severity_in_sarif_of_grype(
    #[case] word: &str,
    #[case] score: &str,
    #[case] expected: Option<Severity>,
) {
    let message =
        format!("A {word} vulnerability in deb package: acme, version 1.0 was found in image app at: /x");
    let help = format!(
        "Vulnerability CVE-2026-0001\nSeverity: {word}\nPackage: acme\nVersion: 1.0\nFix Version: 1.1\nType: deb\nLocation: /x"
    );
    let result = json!({"ruleId": "CVE-2026-0001-acme", "message": {"text": message}});
    let rule = json!({"id": "CVE-2026-0001-acme", "help": {"text": help}, "properties": {"security-severity": score}});
    let report = read_one(Format::Sarif, &sarif("grype", &result, &rule)).unwrap();
    let [found] = &report.vulnerabilities[..] else { panic!("{report:?}") };
    assert_eq!((&*found.id, &*found.package, &*found.installed), ("CVE-2026-0001", "acme", "1.0"));
    assert_eq!((found.severity, found.fixed.as_deref()), (expected, Some("1.1")));
}

#[test]
fn the_fix_in_a_rule_of_grype_is_of_its_own_version_only() {
    let message = "A high vulnerability in deb package: acme, version 2.0 was found in image app at: /x";
    let help =
        "Vulnerability CVE-2026-0001\nSeverity: high\nPackage: acme\nVersion: 1.0\nFix Version: \nType: deb";
    let result = json!({"ruleId": "CVE-2026-0001-acme", "message": {"text": message}});
    let rule = json!({"id": "CVE-2026-0001-acme", "help": {"text": help}});
    let report = read_one(Format::Sarif, &sarif("grype", &result, &rule)).unwrap();
    assert_eq!(report.vulnerabilities[0].fixed.as_deref(), Some(""), "nobody says, so there may be one");
}

#[test]
fn sarif_of_snyk_names_cve_package_and_severity() {
    let result = json!({
        "ruleId": "SNYK-LINUX-ACME-1", "message": {"text": "x"},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": "@acme/lib@1.0"}]}],
        "fixes": [{"description": {"text": "Upgrade to @acme/lib@1.1"}}],
        "suppressions": [{"kind": "external"}],
    });
    let rule = json!({
        "id": "SNYK-LINUX-ACME-1",
        "shortDescription": {"text": "High severity - Denial of Service in acme"},
        "fullDescription": {"text": "(CVE-2026-0001) acme/lib@1.0"},
        "properties": {"security-severity": "null"},
    });
    let report = read_one(Format::Sarif, &sarif("Snyk Container", &result, &rule)).unwrap();
    let [found] = &report.vulnerabilities[..] else { panic!("{report:?}") };
    assert_eq!(
        (&*found.package, &*found.installed, found.fixed.as_deref()),
        ("@acme/lib", "1.0", Some("1.1"))
    );
    assert_eq!((found.severity, found.score), (Some(Severity::High), None));
    assert!(found.is_called("CVE-2026-0001"));
}

#[test]
fn sarif_of_secrets_alone_says_nothing_of_packages() {
    let mut document = changed(Format::Sarif, "/runs/0/results/0/message", json!({"text": "a secret"}));
    for rule in [0, 1] {
        document["runs"][0]["tool"]["driver"]["rules"][rule]["name"] = json!("Secret");
    }
    assert!(is_incomplete(&read_one(Format::Sarif, &document)));
}

#[rstest]
#[case::another_tool("/runs/0/tool/driver/name", json!("CodeQL"))]
#[case::another_product("/runs/0/tool/driver/name", json!("Snyk Open Source"))]
#[case::a_directory("/runs/0/properties", json!({}))]
#[case::another_version("/version", json!("2.0.0"))]
fn sarif_about_something_else_is_refused(#[case] place: &str, #[case] value: Value) {
    let answer = read_one(Format::Sarif, &changed(Format::Sarif, place, value));
    assert!(matches!(answer, Err(ReadError::Foreign { .. })), "{answer:?}");
}

#[rstest]
#[case::no_runs("/runs", json!([]))]
#[case::no_list("/runs/0/results", json!(null))]
#[case::a_run_that_failed("/runs/0/invocations", json!([{"executionSuccessful": false}]))]
fn sarif_of_no_run_is_no_answer(#[case] place: &str, #[case] value: Value) {
    assert!(is_incomplete(&read_one(Format::Sarif, &changed(Format::Sarif, place, value))));
}
