//! What looks like a report and says less than it seems to: each a sample with one thing changed.

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Severity, Vulnerability},
    reports::{Format, ReadError, Report, read, read_statement},
};

use super::samples::{DIGEST, SAMPLES};

const HARBOR: &str = "/application~1vnd.security.vulnerability.report; version=1.1";
const FINDING: &str = "/imageScanFindings/enhancedFindings/0";

/// The first sample of a format that has a field.
fn sample(format: Format, field: &str) -> Value {
    let samples = SAMPLES.iter().filter(|(of, _)| *of == format);
    let documents = samples.map(|(_, sample)| serde_json::from_str::<Value>(sample).unwrap());
    let mut with_field = documents.filter(|document| field.is_empty() || document.pointer(field).is_some());
    with_field.next().unwrap()
}

/// Puts values where the pointers say; null takes the field out.
fn changed(mut document: Value, changes: &Value) -> Vec<u8> {
    for (place, value) in changes.as_object().unwrap() {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/").replace("~0", "~");
        match document.pointer_mut(parent).unwrap() {
            Value::Object(fields) if value.is_null() => {
                fields.remove(&name);
            }
            Value::Object(fields) => {
                fields.insert(name, value.clone());
            }
            list => list[name.parse::<usize>().unwrap()] = value.clone(),
        }
    }
    serde_json::to_vec(&document).unwrap()
}

fn read_changed(format: Format, field: &str, changes: &Value) -> Result<Vec<Report>, ReadError> {
    read(format, &changed(sample(format, field), changes))
}

/// The worst finding of a sample, changed.
fn worst(format: Format, field: &str, changes: &Value) -> Vulnerability {
    let reports = read_changed(format, field, changes).unwrap();
    let mut found = reports.into_iter().flat_map(|report| report.vulnerabilities);
    found.find(|one| one.id != "CVE-2026-0002" && !one.id.ends_with("LIBACME-2")).unwrap()
}

#[rstest]
// only these fields, and these words, say that somebody has looked
#[case::clair_without_packages(Format::Clair, json!({"/packages": {}, "/package_vulnerabilities": {}}))]
#[case::clair_without_distribution(Format::Clair, json!({"/environments/1/0/distribution_id": ""}))]
#[case::quay_queued(Format::Quay, json!({"/status": "queued", "/data": null}))]
#[case::quay_queued_with_data(Format::Quay, json!({"/status": "queued"}))]
#[case::quay_in_capitals(Format::Quay, json!({"/status": "SCANNED"}))]
#[case::quay_unsupported(Format::Quay, json!({"/status": "unsupported"}))]
#[case::quay_without_data(Format::Quay, json!({"/data": {}}))]
#[case::quay_without_features(Format::Quay, json!({"/data/Layer/Features": []}))]
#[case::quay_without_vulnerabilities(Format::Quay, json!({"/data/Layer/Features/0/Vulnerabilities": null}))]
#[case::harbor_without_rows(Format::Harbor, json!({format!("{HARBOR}/vulnerabilities"): []}))]
#[case::harbor_without_the_worst(Format::Harbor, json!({format!("{HARBOR}/vulnerabilities/0/severity"): "High"}))]
#[case::snyk_error(Format::Snyk, json!({"/error": "Authentication failed"}))]
#[case::snyk_without_rows(Format::Snyk, json!({"/vulnerabilities": null}))]
#[case::snyk_threshold(Format::Snyk, json!({"/severityThreshold": "high"}))]
#[case::snyk_counts_more(Format::Snyk, json!({"/uniqueCount": 3}))]
#[case::snyk_untracked(Format::Snyk, json!({"/docker/baseImageRemediation": {"code": "UNTRACKED_OS"}}))]
#[case::ecr_pending(Format::Ecr, json!({"/imageScanStatus/status": "PENDING"}))]
#[case::ecr_failed(Format::Ecr, json!({"/imageScanStatus/status": "FAILED"}))]
#[case::ecr_expired(Format::Ecr, json!({"/imageScanStatus/status": "SCAN_ELIGIBILITY_EXPIRED"}))]
#[case::ecr_without_status(Format::Ecr, json!({"/imageScanStatus": null}))]
#[case::ecr_without_findings(Format::Ecr, json!({"/imageScanFindings": null}))]
#[case::ecr_without_a_list(Format::Ecr, json!({"/imageScanFindings/enhancedFindings": null, "/imageScanFindings/findingSeverityCounts": null}))]
#[case::ecr_page(Format::Ecr, json!({"/nextToken": "abc"}))]
#[case::grafeas_page(Format::ArtifactAnalysis, json!({"/nextPageToken": "abc"}))]
#[case::grafeas_empty(Format::ArtifactAnalysis, json!({"/occurrences": []}))]
#[case::grafeas_scanning(Format::ArtifactAnalysis, json!({"/occurrences/2/discovery/analysisStatus": "SCANNING"}))]
#[case::grafeas_failed(Format::ArtifactAnalysis, json!({"/occurrences/2/discovery/analysisStatus": "FINISHED_FAILED"}))]
#[case::grafeas_unsaid(Format::ArtifactAnalysis, json!({"/occurrences/2/discovery/analysisStatus": null}))]
#[case::grafeas_with_errors(Format::ArtifactAnalysis, json!({"/occurrences/2/discovery/analysisError": [{"code": 3}]}))]
#[case::grafeas_without_discovery(Format::ArtifactAnalysis, json!({"/occurrences/2": {"kind": "BUILD"}}))]
#[case::defender_page(Format::Defender, json!({"/nextLink": "https://example.com/2"}))]
#[case::defender_empty(Format::Defender, json!({"/value": []}))]
#[case::cyclonedx_parts_only(Format::CycloneDx, json!({"/vulnerabilities": null}))]
#[case::cyclonedx_empty_by_trivy(Format::CycloneDx, json!({"/vulnerabilities": []}))]
#[case::cosign_without_result(Format::VulnAttestation, json!({"/predicate/scanner/result": null}))]
#[case::cosign_without_scanner(Format::VulnAttestation, json!({"/predicate/scanner": null}))]
#[case::cosign_with_another_thing(Format::VulnAttestation, json!({"/predicate/scanner/result": {"a": 1}}))]
#[case::cosign_with_an_empty_report(Format::VulnAttestation, json!({"/predicate/scanner/result/Results": []}))]
fn where_nobody_has_looked_there_is_no_verdict(#[case] format: Format, #[case] changes: Value) {
    let answer = read_changed(format, "", &changes);
    assert!(matches!(answer, Err(ReadError::Incomplete { .. })), "{answer:?}");
}

#[rstest]
#[case::harbor(Format::Harbor, json!({}))]
#[case::harbor_null(Format::Harbor, json!({"application/vnd.security.vulnerability.report; version=1.1": null}))]
#[case::inspector(Format::Ecr, json!({"findings": []}))]
#[case::security_hub(Format::Ecr, json!({"Findings": []}))]
#[case::grafeas(Format::ArtifactAnalysis, json!([]))]
#[case::bare_predicate(Format::VulnAttestation, json!({"scanner": {"uri": "x", "result": null}, "metadata": {}}))]
fn an_answer_about_nothing_is_no_verdict(#[case] format: Format, #[case] document: Value) {
    let answer = read(format, document.to_string().as_bytes());
    assert!(matches!(answer, Err(ReadError::Incomplete { .. })), "{answer:?}");
}

#[rstest]
#[case::clair_index_report(Format::Clair, json!({"manifest_hash": DIGEST, "state": "IndexFinished", "success": true, "packages": {}}))]
#[case::klar(Format::Auto, json!({"LayerCount": 1, "Vulnerabilities": {"High": []}}))]
#[case::clair_scanner(Format::Auto, json!({"image": "app", "unapproved": [], "vulnerabilities": []}))]
#[case::harbor_error(Format::Harbor, json!({"errors": [{"code": "NOT_FOUND"}]}))]
#[case::snyk_maven(Format::Snyk, json!({"vulnerabilities": [], "ok": true, "packageManager": "maven", "projectName": "acme"}))]
#[case::snyk_several(Format::Snyk, json!([
    {"vulnerabilities": [], "docker": {}, "projectName": "docker-image|a"},
    {"vulnerabilities": [], "docker": {}, "projectName": "docker-image|b"}
]))]
#[case::snyk_mixed(Format::Snyk, json!([
    {"vulnerabilities": [], "docker": {}, "projectName": "docker-image|a"},
    {"vulnerabilities": [], "projectName": "b"}
]))]
#[case::snyk_nothing(Format::Snyk, json!([]))]
#[case::instances(Format::Ecr, json!({"findings": [{"type": "NETWORK_REACHABILITY", "resources": [{"type": "AWS_EC2_INSTANCE"}]}]}))]
#[case::defender_servers(Format::Defender, json!({"value": [{"properties": {"additionalData": {"assessedResourceType": "ServerVulnerability"}}}]}))]
#[case::cyclonedx_application(Format::CycloneDx, json!({"bomFormat": "CycloneDX", "metadata": {"component": {"type": "application"}}, "vulnerabilities": []}))]
#[case::predicate_of_another_type(Format::VulnAttestation, json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}))]
#[case::envelope(Format::VulnAttestation, json!({"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}))]
fn a_document_about_something_else_is_foreign(#[case] format: Format, #[case] document: Value) {
    let answer = read(format, document.to_string().as_bytes());
    assert!(matches!(answer, Err(ReadError::Foreign { .. })), "{answer:?}");
}

#[test]
fn a_vex_document_is_no_report() {
    let analysis = json!({"/vulnerabilities/0/analysis": {"state": "not_affected"}});
    assert!(matches!(read_changed(Format::CycloneDx, "", &analysis), Err(ReadError::Foreign { .. })));
}

#[rstest]
#[case::clair_without_entry(Format::Clair, json!({"/vulnerabilities/10": null}))]
#[case::clair_without_package(Format::Clair, json!({"/package_vulnerabilities/9": ["10"]}))]
#[case::clair_hash(Format::Clair, json!({"/manifest_hash": "sha256:1111"}))]
#[case::quay_layer(Format::Quay, json!({"/data/Layer/Name": "a7f3.b"}))]
#[case::harbor_digest(Format::Harbor, json!({format!("{HARBOR}/vulnerabilities/0/artifact_digests"): ["latest"]}))]
#[case::harbor_twice(Format::Harbor, json!({"/application~1vnd.scanner.adapter.vuln.report.harbor+json; version=1.0": {}}))]
#[case::ecr_counts_more(Format::Ecr, json!({"/imageScanFindings/findingSeverityCounts/CRITICAL": 2}))]
#[case::ecr_counts_others(Format::Ecr, json!({"/imageScanFindings/findingSeverityCounts/HIGH": 1}))]
#[case::ecr_counts_fewer(Format::Ecr, json!({"/imageScanFindings/findingSeverityCounts/LOW": 0}))]
#[case::ecr_two_images(Format::Ecr, json!({"/imageId/imageDigest": format!("sha256:{}", "2".repeat(64))}))]
#[case::ecr_without_hash(Format::Ecr, json!({format!("{FINDING}/resources/0/details"): null}))]
#[case::grafeas_by_tag(Format::ArtifactAnalysis, json!({"/occurrences/0/resourceUri": "https://gcr.io/acme/app:1.0"}))]
#[case::grafeas_no_name(Format::ArtifactAnalysis, json!({"/occurrences/0/noteName": null}))]
#[case::defender_digest(Format::Defender, json!({"/value/0/properties/additionalData/artifactDetails/digest": "c186fc44"}))]
#[case::short_subject(Format::VulnAttestation, json!({"/subject/0/digest/sha256": "3a2bd2c5cc4c978e8aefd8bd0ef335fb42ee31d1"}))]
#[case::no_subject(Format::VulnAttestation, json!({"/subject": []}))]
#[case::sha1_only(Format::VulnAttestation, json!({"/subject/0/digest": {"sha1": "3a2bd2c5cc4c978e8aefd8bd0ef335fb42ee31d1"}}))]
#[case::no_statement(Format::VulnAttestation, json!({"/_type": null}))]
#[case::no_predicate(Format::VulnAttestation, json!({"/predicate": null}))]
#[case::predicate_in_itself(Format::VulnAttestation, json!({"/predicate/scanner/result": {"scanner": {"result": null}, "metadata": {}, "invocation": {}}}))]
fn what_contradicts_itself_is_malformed(#[case] format: Format, #[case] changes: Value) {
    let answer = read_changed(format, "", &changes);
    assert!(matches!(answer, Err(ReadError::Malformed { .. })), "{answer:?}");
}

/// A version that mends it, an unnamed one (`Some("")`), or none.
#[rstest]
#[case::clair_blank(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "  "}), None)]
#[case::clair_zero(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "0"}), None)]
#[case::clair_query(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "fixed=1.2%2B1&introduced=1.0"}), Some("1.2+1"))]
#[case::clair_query_without_a_fix(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "introduced=1.0"}), None)]
#[case::clair_query_by_last(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "lastAffected=16.1.0"}), None)]
#[case::clair_query_of_zero(Format::Clair, json!({"/vulnerabilities/10/fixed_in_version": "introduced=0&fixed=0"}), None)]
#[case::quay_blank(Format::Quay, json!({"/data/Layer/Features/0/Vulnerabilities/0/FixedBy": ""}), None)]
#[case::harbor_blank(Format::Harbor, json!({format!("{HARBOR}/vulnerabilities/0/fix_version"): " "}), None)]
#[case::snyk_list(Format::Snyk, json!({"/vulnerabilities/0/nearestFixedInVersion": null, "/vulnerabilities/0/fixedIn": ["1.1", "2.0"]}), Some("1.1, 2.0"))]
#[case::snyk_upgrade(Format::Snyk, json!({"/vulnerabilities/0/nearestFixedInVersion": null, "/vulnerabilities/0/isUpgradable": true}), Some(""))]
#[case::snyk_none(Format::Snyk, json!({"/vulnerabilities/0/nearestFixedInVersion": null}), None)]
#[case::ecr_not_available(Format::Ecr, json!({format!("{FINDING}/fixAvailable"): "NO", format!("{FINDING}/packageVulnerabilityDetails/vulnerablePackages/0/fixedInVersion"): "NotAvailable"}), None)]
#[case::ecr_unnamed(Format::Ecr, json!({format!("{FINDING}/packageVulnerabilityDetails/vulnerablePackages/0/fixedInVersion"): "NotAvailable"}), Some(""))]
#[case::ecr_of_another_package(Format::Ecr, json!({format!("{FINDING}/fixAvailable"): "PARTIAL", format!("{FINDING}/packageVulnerabilityDetails/vulnerablePackages/0/fixedInVersion"): null}), None)]
#[case::grafeas_maximum(Format::ArtifactAnalysis, json!({"/occurrences/0/vulnerability/packageIssue/0/fixedVersion": {"kind": "MAXIMUM", "fullName": "9"}}), None)]
#[case::grafeas_parts(Format::ArtifactAnalysis, json!({"/occurrences/0/vulnerability/packageIssue/0/fixedVersion": {"kind": "NORMAL", "epoch": 1, "name": "2", "revision": "3"}}), Some("1:2-3"))]
#[case::defender_status(Format::Defender, json!({"/value/0/properties/additionalData/softwareDetails/fixedVersion": "", "/value/0/properties/additionalData/softwareDetails/fixStatus": "FixAvailable"}), Some(""))]
#[case::cyclonedx_other_package(Format::CycloneDx, json!({"/vulnerabilities/0/recommendation": "Upgrade other to version 2"}), None)]
#[case::cyclonedx_several(Format::CycloneDx, json!({"/vulnerabilities/0/recommendation": "Upgrade other to version 2; Upgrade libacme to version 1.2"}), Some("1.2"))]
#[case::cyclonedx_prose(Format::CycloneDx, json!({"/vulnerabilities/0/recommendation": "Update soon."}), Some(""))]
fn a_fix_is_what_is_named_as_one(
    #[case] format: Format,
    #[case] changes: Value,
    #[case] fixed: Option<&str>,
) {
    assert_eq!(worst(format, "", &changes).fixed.as_deref(), fixed);
}

#[rstest]
#[case::unlisted_word(Format::Clair, json!({"/vulnerabilities/10/normalized_severity": "Catastrophic"}), None)]
#[case::by_cvss(Format::Clair, json!({"/vulnerabilities/10/normalized_severity": "Unknown", "/enrichments": {"cvss": [{"10": [{"baseScore": 5.0}, {"baseScore": 7.5, "baseSeverity": "HIGH"}]}]}}), Some(Severity::High))]
#[case::vendor_before_cvss(Format::Clair, json!({"/vulnerabilities/10/normalized_severity": "Low", "/enrichments": {"cvss": [{"10": [{"baseScore": 9.8}]}]}}), Some(Severity::Low))]
#[case::cvss_of_nothing(Format::Clair, json!({"/vulnerabilities/10/normalized_severity": "Unknown", "/enrichments": {"cvss": [{"10": [{"baseScore": "NaN"}, {"baseScore": 11}, {"baseScore": -1}, {"baseScore": "null"}]}]}}), None)]
#[case::defcon(Format::Quay, json!({"/data/Layer/Features/0/Vulnerabilities/0/Severity": "Defcon1"}), Some(Severity::Critical))]
#[case::old_snyk(Format::Snyk, json!({"/vulnerabilities/0/severity": "high", "/vulnerabilities/0/severityWithCritical": "critical"}), Some(Severity::Critical))]
#[case::snyk_absent(Format::Snyk, json!({"/vulnerabilities/0/severity": null}), None)]
#[case::untriaged(Format::Ecr, json!({format!("{FINDING}/severity"): "UNTRIAGED", "/imageScanFindings/findingSeverityCounts": null}), None)]
#[case::of_the_issue(Format::ArtifactAnalysis, json!({"/occurrences/0/vulnerability/packageIssue/0/effectiveSeverity": "HIGH"}), Some(Severity::High))]
#[case::unspecified(Format::ArtifactAnalysis, json!({"/occurrences/0/vulnerability/packageIssue/0/effectiveSeverity": "SEVERITY_UNSPECIFIED"}), Some(Severity::Critical))]
#[case::minimal(Format::ArtifactAnalysis, json!({"/occurrences/0/vulnerability/effectiveSeverity": "MINIMAL"}), Some(Severity::Negligible))]
#[case::worse_of_two(Format::Defender, json!({"/value/0/properties/status/severity": "Low"}), Some(Severity::Critical))]
#[case::own_source_first(Format::CycloneDx, json!({"/vulnerabilities/0/ratings": [{"source": {"name": "nvd"}, "severity": "critical"}, {"source": {"name": "debian"}, "severity": "medium"}]}), Some(Severity::Medium))]
#[case::worst_of_others(Format::CycloneDx, json!({"/vulnerabilities/0/ratings": [{"source": {"name": "nvd"}, "severity": "high"}, {"severity": "low"}]}), Some(Severity::High))]
#[case::by_score(Format::CycloneDx, json!({"/vulnerabilities/0/ratings": [{"score": 7.0, "method": "CVSSv31"}]}), Some(Severity::High))]
#[case::not_by_epss(Format::CycloneDx, json!({"/vulnerabilities/0/ratings": [{"score": 0.03, "method": "other"}]}), None)]
#[case::no_rating(Format::CycloneDx, json!({"/vulnerabilities/0/ratings": []}), None)]
fn the_severity_is_never_less_than_is_said(
    #[case] format: Format,
    #[case] changes: Value,
    #[case] severity: Option<Severity>,
) {
    assert_eq!(worst(format, "", &changes).severity, severity);
}

#[rstest]
#[case(json!("NaN"), None)]
#[case(json!("null"), None)]
#[case(json!("undefined"), None)]
#[case(json!(11), None)]
#[case(json!(-1), None)]
#[case(json!(1e300), None)]
#[case(json!(""), None)]
#[case(json!(9.8), Some(98))]
#[case(json!("9.8"), Some(98))]
#[case(json!(10), Some(100))]
fn a_score_is_a_number_from_0_to_10(#[case] written: Value, #[case] score: Option<u8>) {
    for (format, place) in [
        (Format::Quay, "/data/Layer/Features/0/Vulnerabilities/0/Metadata/NVD/CVSSv3/Score".to_owned()),
        (Format::Harbor, format!("{HARBOR}/vulnerabilities/0/preferred_cvss/score_v3")),
        (Format::Snyk, "/vulnerabilities/0/cvssScore".to_owned()),
        (Format::Ecr, format!("{FINDING}/score")),
        (Format::ArtifactAnalysis, "/occurrences/0/vulnerability/cvssScore".to_owned()),
    ] {
        assert_eq!(worst(format, "", &json!({place: written})).score, score, "{format}");
    }
}

#[rstest]
#[case("2026-09-01T00:00:00Z", Some("2026-09-01"))]
#[case("2026-09-01T00:00:00.123456789-05:50", Some("2026-09-01"))]
#[case("2099-01-01T00:00:00Z", Some("2099-01-01"))]
#[case("0000-12-31T18:09:24-05:50", None)]
#[case("0001-01-01T00:00:00Z", None)]
#[case("1969-12-31T00:00:00Z", None)]
#[case("yesterday", None)]
#[case("", None)]
fn a_date_is_believed_from_1990_on(#[case] written: &str, #[case] published: Option<&str>) {
    for (format, place) in [
        (Format::Clair, "/vulnerabilities/10/issued".to_owned()),
        (Format::Snyk, "/vulnerabilities/0/publicationTime".to_owned()),
        (Format::Ecr, format!("{FINDING}/packageVulnerabilityDetails/vendorCreatedAt")),
        (
            Format::Defender,
            "/value/0/properties/additionalData/vulnerabilityDetails/publishedDate".to_owned(),
        ),
        (Format::CycloneDx, "/vulnerabilities/0/published".to_owned()),
    ] {
        let found = worst(format, "", &json!({place: written}));
        assert_eq!(found.published.map(|date| date.to_string()).as_deref(), published, "{format}");
    }
}

#[test]
fn an_entry_of_clair_that_says_not_vulnerable_is_no_finding() {
    let reports = read_changed(Format::Clair, "", &json!({"/vulnerabilities/10/Invert": true})).unwrap();
    assert_eq!((reports[0].rows, reports[0].vulnerabilities[0].id.as_str()), (1, "CVE-2026-0002"));
    // and one that no package points to is none
    let reports = read_changed(Format::Clair, "", &json!({"/package_vulnerabilities/1": ["11"]})).unwrap();
    assert_eq!(reports[0].rows, 1);
}

#[test]
fn a_hundred_thousand_references_of_clair_are_refused() {
    let many = json!({"/package_vulnerabilities/1": vec!["10"; 100_000]});
    assert!(matches!(read_changed(Format::Clair, "", &many), Err(ReadError::TooLarge { .. })));
    // and fewer, which would make a small file large
    let links =
        (1000..1128).map(|at| format!("https://example.com/CVE-2026-{at}")).collect::<Vec<_>>().join(" ");
    let few = json!({"/vulnerabilities/10/links": links, "/package_vulnerabilities/1": vec!["10"; 2_000]});
    assert!(matches!(read_changed(Format::Clair, "", &few), Err(ReadError::TooLarge { .. })));
}

#[rstest]
#[case("RHSA-2026:1: acme security update (Moderate)", "RHSA-2026:1", &["CVE-2026-0001"])]
#[case("pyup.io-39606 (CVE-2020-36242)", "pyup.io-39606", &["CVE-2020-36242", "CVE-2026-0001"])]
#[case("CVE-2026-0001 on Ubuntu 26.04 LTS - low.", "CVE-2026-0001", &[])]
fn an_advisory_is_called_by_its_title_and_its_cves(
    #[case] title: &str,
    #[case] id: &str,
    #[case] aliases: &[&str],
) {
    for (format, place) in [
        (Format::Clair, "/vulnerabilities/10/name"),
        (Format::Quay, "/data/Layer/Features/0/Vulnerabilities/0/Name"),
    ] {
        let found = worst(format, "", &json!({place: title}));
        assert_eq!(
            (found.id.as_str(), &found.aliases[..]),
            (id, &aliases.iter().map(|&one| one.to_owned()).collect::<Vec<_>>()[..]),
            "{format}"
        );
    }
}

#[test]
fn the_object_inside_quays_answer_is_an_answer() {
    let inner = sample(Format::Quay, "")["data"].clone();
    let reports = read(Format::Auto, inner.to_string().as_bytes()).unwrap();
    assert_eq!(reports, read_changed(Format::Quay, "", &json!({})).unwrap());
}

#[test]
fn a_clean_report_of_harbor_names_no_digest_unless_the_adapter_says_one() {
    let key = "application/vnd.security.vulnerability.report; version=1.1";
    for (severity, rows) in [("None", json!(null)), ("", json!([])), ("Unknown", json!([]))] {
        let mut document = sample(Format::Harbor, "");
        document[key]["severity"] = severity.into();
        document[key]["vulnerabilities"] = rows;
        let report = read(Format::Auto, document.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!((report.rows, report.bind(None, None)), (0, Err(ReadError::Unbound)));

        let mut bare = document[key].clone();
        bare["artifact"] = json!({"repository": "acme/app", "digest": DIGEST, "mime_type": "x"});
        let report = read(Format::Auto, bare.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!(report.bind(None, None).unwrap().digest.as_str(), DIGEST);
    }
}

#[test]
fn what_a_policy_of_snyk_ignores_is_found_all_the_same() {
    let mut document = sample(Format::Snyk, "");
    let ignored = document["vulnerabilities"].as_array_mut().unwrap().remove(0);
    document["uniqueCount"] = 1.into();
    document["filtered"] = json!({"ignore": [ignored]});
    let reports = read(Format::Snyk, document.to_string().as_bytes()).unwrap();
    assert_eq!((reports[0].rows, reports[0].counts().known[0].found), (2, 1));
}

#[test]
fn applications_and_paths_of_snyk_are_counted_once_each() {
    let mut document = sample(Format::Snyk, "");
    let row = document["vulnerabilities"][0].clone();
    document["vulnerabilities"].as_array_mut().unwrap().push(row.clone());
    let mut licence = row.clone();
    licence["type"] = "license".into();
    document["vulnerabilities"].as_array_mut().unwrap().push(licence);
    document["applications"] = json!([{"vulnerabilities": [row], "packageManager": "npm", "docker": {}}]);
    for whole in [document.clone(), json!([document])] {
        let report = read(Format::Auto, whole.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!((report.rows, report.vulnerabilities.len()), (4, 3));
        assert_eq!(report.subject.platform.as_ref().map(|one| one.as_str()), Some("linux/amd64"));
    }
}

#[test]
fn an_export_speaks_of_each_image_by_itself() {
    let other = format!("sha256:{}", "2".repeat(64));
    let place = "/findings/1/resources/0/details/awsEcrContainerImage/imageHash";
    let reports = read_changed(Format::Ecr, "/findings", &json!({place: other})).unwrap();
    let named = reports.iter().map(|report| (report.subject.digests[0].as_str(), report.rows));
    assert_eq!(named.collect::<Vec<_>>(), [(DIGEST, 1), (other.as_str(), 1)]);
    // what Inspector calls closed or suppressed is there all the same
    let closed = json!({"/findings/0/status": "CLOSED", "/findings/1/status": "SUPPRESSED"});
    assert_eq!(read_changed(Format::Ecr, "/findings", &closed).unwrap()[0].rows, 2);
}

#[test]
fn every_image_of_artifact_analysis_must_have_been_scanned() {
    let place = "/occurrences/1/resourceUri";
    let changes = json!({place: format!("https://gcr.io/acme/other@sha256:{}", "2".repeat(64))});
    assert!(matches!(
        read_changed(Format::ArtifactAnalysis, "", &changes),
        Err(ReadError::Incomplete { .. })
    ));
}

#[test]
fn what_defender_has_found_healthy_is_no_finding_and_what_it_exempts_is() {
    let code = "/value/0/properties/status/code";
    assert_eq!(read_changed(Format::Defender, "", &json!({code: "Healthy"})).unwrap()[0].rows, 1);
    assert_eq!(read_changed(Format::Defender, "", &json!({code: "NotApplicable"})).unwrap()[0].rows, 2);
}

#[test]
fn a_clean_document_of_grype_is_believed() {
    let changes = json!({"/vulnerabilities": [], "/metadata/tools/components/0/name": "grype"});
    assert_eq!(read_changed(Format::CycloneDx, "", &changes).unwrap()[0].rows, 0);
}

#[test]
fn a_statement_and_the_report_in_it_must_both_be_about_the_image() {
    let statement = sample(Format::VulnAttestation, "");
    let ours = DIGEST.parse().unwrap();
    let other = format!("sha256:{}", "3".repeat(64)).parse().unwrap();
    let report = read_statement(&statement).unwrap();
    assert_eq!(report.bind(Some(&ours), None).unwrap().digest, ours);

    // a statement about another image around a report about this one, and the reverse
    let mut around = statement.clone();
    around["subject"][0]["digest"]["sha256"] = "3".repeat(64).into();
    let mut inside = statement.clone();
    let digests = "/predicate/scanner/result/Metadata/RepoDigests";
    *inside.pointer_mut(digests).unwrap() = json!([format!("registry.example.com/acme/app@{other}")]);
    for mixed in [around, inside] {
        let report = read_statement(&mixed).unwrap();
        for wanted in [&ours, &other] {
            assert!(matches!(report.bind(Some(wanted), None), Err(ReadError::OtherImage { .. })));
        }
        assert!(matches!(report.bind(None, None), Err(ReadError::OtherImage { .. })));
    }

    // a report that names none is about what the statement is about
    let mut silent = statement;
    *silent.pointer_mut(digests).unwrap() = json!([]);
    let report = read_statement(&silent).unwrap();
    assert_eq!(report.bind(Some(&ours), None).unwrap().digest, ours);
    assert!(matches!(report.bind(Some(&other), None), Err(ReadError::OtherImage { .. })));
}

#[test]
fn a_predicate_is_read_alone_as_a_text_and_wrapped() {
    let statement = sample(Format::VulnAttestation, "");
    let predicate = statement["predicate"].clone();
    let expected = read_statement(&statement).unwrap().vulnerabilities;
    let mut text = statement.clone();
    text["predicate"] = predicate.to_string().into();
    let mut custom = statement.clone();
    custom["predicateType"] = "https://cosign.sigstore.dev/attestation/v1".into();
    custom["predicate"] = json!({"Data": predicate.to_string(), "Timestamp": "2026-10-02T12:00:00Z"});
    let mut direct = custom.clone();
    direct["predicate"]["Data"] = predicate["scanner"]["result"].to_string().into();
    for document in [predicate, text, custom, direct] {
        let reports = read(Format::Auto, document.to_string().as_bytes()).unwrap();
        assert_eq!(reports[0].vulnerabilities, expected);
    }
    // wrapped twice it is none
    let mut twice = statement;
    let inner = json!({"Data": "{\"Data\": \"{}\"}"});
    twice["predicateType"] = "https://cosign.sigstore.dev/attestation/v1".into();
    twice["predicate"] = inner;
    assert!(read_statement(&twice).is_err());
}

#[test]
fn the_scan_is_as_old_as_the_report_and_not_as_its_wrapping() {
    let report = read_statement(&sample(Format::VulnAttestation, "")).unwrap();
    assert_eq!(report.scanned_at.unwrap().to_string(), "2026-10-01T12:00:00.5Z");
    let changes = json!({"/predicate/scanner/result/CreatedAt": null, "/predicate/scanner/db": {"lastUpdate": "2026-09-30T00:00:00Z"}});
    let report = read_changed(Format::VulnAttestation, "", &changes).unwrap().remove(0);
    assert_eq!(report.scanned_at.unwrap().to_string(), "2026-10-02T12:00:00Z");
    assert_eq!(report.database_at.unwrap().to_string(), "2026-09-30T00:00:00Z");
}

#[rstest]
#[case::word(json!({"id": "X-1", "severity": [{"method": "nvd", "score": "medium"}]}), Some(Severity::Medium))]
#[case::score(json!({"id": "X-1", "severity": [{"method": "CVSSv31", "score": "9.1"}]}), Some(Severity::Critical))]
#[case::worst(json!({"id": "X-1", "severity": [{"method": "nvd", "score": "low"}, {"method": "ghsa", "score": "high"}]}), Some(Severity::High))]
#[case::vector(json!({"id": "X-1", "severity": [{"method": "CVSSv31", "score": "CVSS:3.1/AV:N"}]}), None)]
#[case::epss(json!({"id": "X-1", "severity": [{"method": "epss", "score": "0.3"}]}), None)]
#[case::absent(json!({"id": "X-1"}), None)]
#[case::nested(json!({"vulnerability": {"id": "X-1", "severity": [{"method": "nvd", "score": "high"}]}}), Some(Severity::High))]
fn in_toto_lists_vulnerabilities_itself(#[case] row: Value, #[case] severity: Option<Severity>) {
    for version in ["v0.1", "v0.2"] {
        let changes = json!({
            "/predicateType": format!("https://in-toto.io/attestation/vulns/{version}"),
            "/predicate/scanner/result": [row],
        });
        let report = read_changed(Format::VulnAttestation, "", &changes).unwrap().remove(0);
        assert_eq!(
            (report.vulnerabilities[0].id.as_str(), report.vulnerabilities[0].severity),
            ("X-1", severity)
        );
        assert_eq!(report.scanner, "trivy");
        let clean = json!({"/predicateType": changes["/predicateType"], "/predicate/scanner/result": []});
        assert_eq!(read_changed(Format::VulnAttestation, "", &clean).unwrap()[0].rows, 0);
        let absent = json!({"/predicateType": changes["/predicateType"], "/predicate/scanner/result": null});
        assert!(matches!(
            read_changed(Format::VulnAttestation, "", &absent),
            Err(ReadError::Incomplete { .. })
        ));
    }
}
