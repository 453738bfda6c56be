mod model;

use rstest::rstest;
use serde_json::{Value, json};

use super::read_vex;
use crate::{
    evidence::{Severity, VexStatus, Vulnerability},
    image::Digest,
    reports::{ReadError, Report},
};

const ONES: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWOS: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn digest() -> Digest {
    format!("sha256:{ONES}").parse().unwrap()
}

fn image() -> String {
    format!("pkg:oci/app@sha256%3A{ONES}")
}

fn finding(id: &str, aliases: &[&str], package: &str, installed: &str) -> Vulnerability {
    Vulnerability {
        id: id.to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        severity: Some(Severity::Critical),
        package: package.to_owned(),
        package_type: "deb".to_owned(),
        installed: installed.to_owned(),
        ..Vulnerability::default()
    }
}

/// CVE-2026-0001 in two packages, of one of them in two versions; and another CVE.
fn report() -> Report {
    let vulnerabilities = vec![
        finding("CVE-2026-0001", &[], "liba", "1.0"),
        finding("CVE-2026-0001", &[], "liba", "2.0"),
        finding("CVE-2026-0001", &[], "libb", "1.0"),
        finding("CVE-2026-0002", &[], "liba", "1.0"),
    ];
    Report { scanner: "trivy".to_owned(), rows: 4, vulnerabilities, ..Report::default() }
}

/// An OpenVEX document with these statements, of which each has what is usual unless it says otherwise.
fn openvex(statements: &[Value]) -> Vec<u8> {
    let with_defaults = statements.iter().map(|statement| {
        let mut whole = json!({
            "vulnerability": {"name": "CVE-2026-0001"},
            "products": [{"@id": image()}],
            "status": "not_affected",
            "justification": "component_not_present",
        });
        for (field, value) in statement.as_object().unwrap() {
            whole[field] = value.clone();
        }
        whole
    });
    let statements: Vec<Value> = with_defaults.collect();
    let document = json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex", "author": "acme",
        "timestamp": "2026-10-02T00:00:00Z", "version": 1, "statements": statements,
    });
    serde_json::to_vec(&document).unwrap()
}

/// Which findings of [`report`] have which status, once the document is applied.
fn applied_in(document: &[u8], repository: Option<&str>) -> Vec<(String, VexStatus)> {
    let mut report = report();
    read_vex(document).unwrap().apply(&mut report, &digest(), repository);
    assert_eq!(report.vulnerabilities.len(), 4, "no finding goes away");
    let named = report
        .vulnerabilities
        .into_iter()
        .filter_map(|one| Some((format!("{} {} {}", &one.id[9..], one.package, one.installed), one.vex?)));
    named.collect()
}

fn applied(document: &[u8]) -> Vec<(String, VexStatus)> {
    applied_in(document, Some("registry.example.com/acme/app"))
}

const WHOLE: [&str; 3] = ["0001 liba 1.0", "0001 liba 2.0", "0001 libb 1.0"];

fn all(names: &[&str], status: VexStatus) -> Vec<(String, VexStatus)> {
    names.iter().map(|&name| (name.to_owned(), status)).collect()
}

#[test]
fn a_statement_about_the_image_as_a_whole_is_about_all_packages_with_the_vulnerability() {
    assert_eq!(applied(&openvex(&[json!({})])), all(&WHOLE, VexStatus::NotAffected));
}

#[rstest]
#[case::one_package("pkg:deb/debian/liba", &["0001 liba 1.0", "0001 liba 2.0"])]
#[case::one_version("pkg:deb/debian/liba@2.0?arch=amd64", &["0001 liba 2.0"])]
#[case::other_version("pkg:deb/debian/liba@3.0", &[])]
#[case::other_kind("pkg:npm/liba@1.0", &[])]
#[case::no_purl("liba", &[])]
fn subcomponents_restrict_a_statement_to_packages(#[case] part: &str, #[case] named: &[&str]) {
    let document = openvex(&[json!({"products": [{"@id": image(), "subcomponents": [{"@id": part}]}]})]);
    assert_eq!(applied(&document), all(named, VexStatus::NotAffected));
}

#[test]
fn an_empty_list_of_subcomponents_names_no_package() {
    let document = openvex(&[json!({"products": [{"@id": image(), "subcomponents": []}]})]);
    assert_eq!(applied(&document), []);
}

#[rstest]
#[case::no_digest("pkg:oci/app")]
#[case::tag("pkg:oci/app?tag=1.0")]
#[case::other_digest(&format!("pkg:oci/app@sha256%3A{TWOS}"))]
#[case::short_digest("pkg:oci/app@sha256%3A1111")]
#[case::no_image(&format!("pkg:deb/debian/app@sha256%3A{ONES}"))]
#[case::bare_name("app")]
#[case::reference_by_tag("registry.example.com/acme/app:1.0")]
#[case::other_repository(&format!("registry.example.com/evil/app@sha256:{ONES}"))]
#[case::other_registry(&format!("pkg:oci/app@sha256%3A{ONES}?repository_url=evil.example.com%2Facme"))]
#[case::package("pkg:deb/debian/liba@1.0")]
#[case::nothing("")]
fn a_product_that_is_not_this_image_is_left_alone(#[case] product: &str) {
    assert_eq!(applied(&openvex(&[json!({"products": [{"@id": product}]})])), []);
    assert_eq!(applied(&openvex(&[json!({"products": [product]})])), []);
}

#[rstest]
#[case::anywhere(&format!("pkg:oci/app@sha256%3A{ONES}"))]
#[case::with_name(&format!("pkg:oci/app@sha256%3A{ONES}?repository_url=registry.example.com/acme/app"))]
#[case::without_name(&format!("pkg:oci/app@sha256%3A{ONES}?arch=amd64&repository_url=registry.example.com%2Facme"))]
#[case::reference(&format!("registry.example.com/acme/app@sha256:{ONES}"))]
#[case::digest(&format!("sha256:{ONES}"))]
fn a_product_is_this_image_by_its_digest(#[case] product: &str) {
    assert_eq!(applied(&openvex(&[json!({"products": [product]})])), all(&WHOLE, VexStatus::NotAffected));
}

#[test]
fn a_repository_that_is_named_must_be_known_and_right() {
    let url = "repository_url=index.docker.io/library";
    let document = openvex(&[json!({"products": [format!("pkg:oci/app@sha256%3A{ONES}?{url}")]})]);
    assert_eq!(applied_in(&document, Some("docker.io/library/app")), all(&WHOLE, VexStatus::NotAffected));
    assert_eq!(applied_in(&document, Some("docker.io/acme/app")), []);
    assert_eq!(applied_in(&document, None), []);
}

#[test]
fn identifiers_of_one_product_must_agree() {
    let hashed = |hex: &str| json!({"products": [{"@id": image(), "hashes": {"sha-256": hex}}]});
    assert_eq!(applied(&openvex(&[hashed(ONES)])).len(), 3);
    assert_eq!(applied(&openvex(&[hashed(TWOS)])), []);
    let by_hash = json!({"products": [{"@id": "https://example.com/app", "hashes": {"sha-256": ONES}}]});
    assert_eq!(applied(&openvex(&[by_hash])).len(), 3);
    let other = format!("pkg:oci/app@sha256%3A{TWOS}");
    let by_purl = json!({"products": [{"@id": image(), "identifiers": {"purl": other}}]});
    assert_eq!(applied(&openvex(&[by_purl])), []);
}

#[rstest]
#[case::later_takes_back("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", VexStatus::Affected)]
#[case::earlier_is_overruled("2026-10-02T00:00:00Z", "2026-10-01T00:00:00Z", VexStatus::NotAffected)]
#[case::at_one_time("2026-10-01T00:00:00Z", "2026-10-01T00:00:00Z", VexStatus::Affected)]
#[case::other_zone("2026-10-01T00:30:00Z", "2026-10-01T01:00:00+02:00", VexStatus::NotAffected)]
fn the_latest_statement_counts(#[case] subtracting: &str, #[case] affected: &str, #[case] status: VexStatus) {
    let not = json!({"timestamp": subtracting});
    let yes = json!({"status": "affected", "timestamp": affected});
    for statements in [[not.clone(), yes.clone()], [yes, not]] {
        assert_eq!(applied(&openvex(&statements)), all(&WHOLE, status));
    }
}

#[test]
fn a_statement_without_a_time_is_as_old_as_its_document() {
    let older = json!({"status": "affected", "timestamp": "2026-10-01T00:00:00Z"});
    assert_eq!(applied(&openvex(&[older, json!({})])), all(&WHOLE, VexStatus::NotAffected));
    let newer = json!({"status": "affected", "timestamp": "2026-10-03T00:00:00Z"});
    assert_eq!(applied(&openvex(&[newer, json!({})])), all(&WHOLE, VexStatus::Affected));
}

#[test]
fn documents_do_not_overrule_each_other() {
    let not = read_vex(&openvex(&[json!({"timestamp": "2026-10-03T00:00:00Z"})])).unwrap();
    let yes = read_vex(&openvex(&[json!({"status": "affected"})])).unwrap();
    for documents in [[&not, &yes], [&yes, &not]] {
        let mut report = report();
        documents.map(|document| document.apply(&mut report, &digest(), None));
        let named = report.vulnerabilities.iter().filter_map(|one| one.vex);
        assert_eq!(named.collect::<Vec<_>>(), [VexStatus::Affected; 3]);
    }
}

#[rstest]
#[case::capitals(json!({"status": "NOT_AFFECTED"}))]
#[case::mixed(json!({"status": "Fixed"}))]
#[case::of_cyclonedx(json!({"status": "resolved"}))]
#[case::empty(json!({"status": ""}))]
#[case::unjustified(json!({"justification": null}))]
#[case::blank(json!({"justification": null, "impact_statement": "  "}))]
#[case::made_up(json!({"justification": "because"}))]
#[case::no_name(json!({"vulnerability": {"name": ""}}))]
#[case::bad_time(json!({"timestamp": "yesterday"}))]
#[case::year_0(json!({"timestamp": "0000-01-01T00:00:00Z"}))]
fn a_document_with_a_statement_that_cannot_be_understood_is_refused(#[case] statement: Value) {
    let answer = read_vex(&openvex(&[json!({}), statement]));
    assert!(
        matches!(&answer, Err(ReadError::Malformed { place, .. }) if place.starts_with("statements[1]")),
        "{answer:?}"
    );
}

#[test]
fn an_impact_statement_is_a_reason_too() {
    let statement = json!({"justification": null, "impact_statement": "the code is never called"});
    assert_eq!(applied(&openvex(&[statement])), all(&WHOLE, VexStatus::NotAffected));
}

#[test]
fn a_statement_names_a_finding_by_another_name() {
    let named = |names: Value, id: &str, aliases: &[&str]| {
        let mut report =
            Report { vulnerabilities: vec![finding(id, aliases, "liba", "1.0")], ..Report::default() };
        let document = read_vex(&openvex(&[json!({"vulnerability": names})])).unwrap();
        document.apply(&mut report, &digest(), None);
        report.vulnerabilities[0].vex
    };
    let not = Some(VexStatus::NotAffected);
    let cve = json!({"name": "CVE-2026-0001"});
    assert_eq!(named(cve.clone(), "GHSA-aaaa-bbbb-cccc", &["CVE-2026-0001"]), not);
    assert_eq!(named(json!({"name": "GHSA-AAAA-bbbb-cccc"}), "CVE-2026-0001", &["GHSA-aaaa-bbbb-cccc"]), not);
    assert_eq!(named(json!({"name": "X-1", "aliases": ["CVE-2026-0001"]}), "CVE-2026-0001", &[]), not);
    // an advisory stands for all its CVEs
    assert_eq!(named(cve.clone(), "RHSA-2026:1", &["CVE-2026-0001", "CVE-2026-0002"]), None);
    assert_eq!(
        named(json!({"name": "RHSA-2026:1"}), "RHSA-2026:1", &["CVE-2026-0001", "CVE-2026-0002"]),
        not
    );
    let both = json!({"name": "CVE-2026-0001", "aliases": ["CVE-2026-0002"]});
    assert_eq!(named(both, "RHSA-2026:1", &["CVE-2026-0001", "CVE-2026-0002"]), not);
    assert_eq!(named(cve, "CVE-2026-00010", &[]), None);
}

#[test]
fn an_advisory_is_affected_if_one_of_its_cves_is() {
    let found = finding("RHSA-2026:1", &["CVE-2026-0001", "CVE-2026-0002"], "liba", "1.0");
    let mut report = Report { vulnerabilities: vec![found], ..Report::default() };
    let affected = json!({"vulnerability": {"name": "CVE-2026-0002"}, "status": "affected"});
    let whole = json!({"vulnerability": {"name": "RHSA-2026:1"}});
    read_vex(&openvex(&[whole, affected])).unwrap().apply(&mut report, &digest(), None);
    assert_eq!(report.vulnerabilities[0].vex, Some(VexStatus::Affected));
}

#[test]
fn openvex_of_the_first_version_is_read() {
    let document = json!({
        "@context": "https://openvex.dev/ns", "author": "acme", "statements": [{
            "timestamp": "2026-10-01T00:00:00Z", "products": [image()], "subcomponents": ["pkg:deb/debian/libb@1.0"],
            "vulnerability": "CVE-2026-0001", "status": "fixed"
        }]
    });
    assert_eq!(applied(document.to_string().as_bytes()), all(&["0001 libb 1.0"], VexStatus::Fixed));
}

/// CycloneDX about the image, which says `analysis` of what `reference` points to.
fn cyclonedx(reference: &str, analysis: Value) -> Vec<u8> {
    let document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "serialNumber": "urn:uuid:1-2",
        "metadata": {
            "timestamp": "2026-10-01T00:00:00Z",
            "component": {"bom-ref": "image", "type": "container", "name": "app", "purl": image()}
        },
        "components": [{"bom-ref": "a", "type": "library", "name": "liba", "version": "1.0", "purl": "pkg:deb/debian/liba@1.0"}],
        "vulnerabilities": [{"id": "CVE-2026-0001", "analysis": analysis, "affects": [{"ref": reference}]}]
    });
    serde_json::to_vec(&document).unwrap()
}

#[rstest]
#[case::image("image", &WHOLE)]
#[case::package("a", &["0001 liba 1.0"])]
#[case::link("urn:cdx:1-2/1#a", &["0001 liba 1.0"])]
#[case::link_elsewhere("urn:cdx:3-4/1#a", &[])]
#[case::purl_of_the_image(&image(), &WHOLE)]
#[case::image_in_another_document(&format!("urn:cdx:3-4/1#{}", image()), &WHOLE)]
#[case::purl_of_a_package("pkg:deb/debian/liba@2.0", &["0001 liba 2.0"])]
#[case::nothing("b", &[])]
fn cyclonedx_names_products_by_reference(#[case] reference: &str, #[case] named: &[&str]) {
    let document = cyclonedx(reference, json!({"state": "false_positive"}));
    assert_eq!(applied(&document), all(named, VexStatus::NotAffected));
}

#[rstest]
#[case(json!({"state": "resolved"}), Some(VexStatus::Fixed))]
#[case(json!({"state": "resolved_with_pedigree"}), Some(VexStatus::Fixed))]
#[case(json!({"state": "not_affected", "justification": "code_not_present"}), Some(VexStatus::NotAffected))]
#[case(json!({"state": "not_affected", "detail": "it is never called"}), Some(VexStatus::NotAffected))]
#[case(json!({"state": "exploitable"}), Some(VexStatus::Affected))]
#[case(json!({"state": "in_triage"}), Some(VexStatus::UnderInvestigation))]
#[case(json!({"detail": "no state"}), None)]
#[case(json!(null), None)]
fn the_states_of_cyclonedx(#[case] analysis: Value, #[case] status: Option<VexStatus>) {
    let named = applied(&cyclonedx("a", analysis));
    assert_eq!(named.first().map(|(_, status)| *status), status);
}

#[rstest]
#[case(json!({"state": "not_affected"}))]
#[case(json!({"state": "Not_Affected", "detail": "x"}))]
fn an_analysis_that_cannot_be_understood_is_refused(#[case] analysis: Value) {
    assert!(matches!(read_vex(&cyclonedx("a", analysis)), Err(ReadError::Malformed { .. })));
}

#[test]
fn a_version_that_is_listed_as_affected_is_affected_whatever_the_analysis_says() {
    let mut document: Value = serde_json::from_slice(&cyclonedx("a", json!({"state": "resolved"}))).unwrap();
    document["vulnerabilities"][0]["affects"][0]["versions"] =
        json!([{"version": "1.0", "status": "affected"}]);
    assert_eq!(applied(document.to_string().as_bytes()), all(&["0001 liba 1.0"], VexStatus::Affected));
}

fn csaf(vulnerability: Value) -> Value {
    json!({
        "document": {"category": "csaf_vex", "csaf_version": "2.0", "tracking": {"current_release_date": "2026-10-01T00:00:00Z"}},
        "product_tree": {
            "branches": [{"category": "vendor", "name": "acme", "branches": [
                {"category": "product_version", "name": "app", "product": {"name": "app", "product_id": "IMAGE", "product_identification_helper": {"purl": image()}}},
                {"category": "product_version", "name": "liba", "product": {"name": "liba", "product_id": "A", "product_identification_helper": {"purl": "pkg:deb/debian/liba@1.0"}}},
                {"category": "product_version", "name": "blind", "product": {"name": "blind", "product_id": "BLIND"}}
            ]}],
            "relationships": [
                {"category": "default_component_of", "product_reference": "A", "relates_to_product_reference": "IMAGE", "full_product_name": {"product_id": "A-IN-IMAGE", "name": "a in image"}},
                {"category": "default_component_of", "product_reference": "BLIND", "relates_to_product_reference": "IMAGE", "full_product_name": {"product_id": "BLIND-IN-IMAGE", "name": "blind in image"}}
            ],
            "product_groups": [{"group_id": "G", "product_ids": ["IMAGE"]}]
        },
        "vulnerabilities": [vulnerability]
    })
}

#[rstest]
#[case::image("IMAGE", &WHOLE)]
#[case::package_in_it("A-IN-IMAGE", &["0001 liba 1.0"])]
#[case::package_alone("A", &[])]
#[case::package_that_cannot_be_told("BLIND-IN-IMAGE", &[])]
#[case::unknown("X", &[])]
fn csaf_names_products_by_id(#[case] product: &str, #[case] named: &[&str]) {
    let fixed = csaf(json!({"cve": "CVE-2026-0001", "product_status": {"fixed": [product]}}));
    assert_eq!(applied(fixed.to_string().as_bytes()), all(named, VexStatus::Fixed));
}

#[test]
fn what_csaf_says_not_to_be_affected_needs_a_reason() {
    let not = |more: Value| {
        let mut entry = json!({"cve": "CVE-2026-0001", "product_status": {"known_not_affected": ["IMAGE"]}});
        more.as_object().unwrap().iter().for_each(|(name, value)| entry[name] = value.clone());
        csaf(entry).to_string().into_bytes()
    };
    for reason in [
        json!({"flags": [{"label": "component_not_present", "product_ids": ["IMAGE"]}]}),
        json!({"flags": [{"label": "component_not_present", "group_ids": ["G"]}]}),
        json!({"threats": [{"category": "impact", "details": "never called", "product_ids": ["IMAGE"]}]}),
    ] {
        assert_eq!(applied(&not(reason)), all(&WHOLE, VexStatus::NotAffected));
    }
    for bare in [
        json!({}),
        json!({"flags": [{"label": "because", "product_ids": ["IMAGE"]}]}),
        json!({"flags": [{"label": "component_not_present", "product_ids": ["A"]}]}),
        json!({"threats": [{"category": "exploit_status", "details": "none", "product_ids": ["IMAGE"]}]}),
    ] {
        assert!(matches!(read_vex(&not(bare)), Err(ReadError::Malformed { .. })));
    }
}

#[test]
fn csaf_that_contradicts_itself_takes_nothing_away() {
    let both = json!({"cve": "CVE-2026-0001", "product_status": {"fixed": ["IMAGE"], "known_affected": ["A-IN-IMAGE"]}});
    let named = applied(csaf(both).to_string().as_bytes());
    let affected: Vec<_> = named.iter().filter(|(_, status)| *status == VexStatus::Affected).collect();
    assert_eq!((named.len(), affected.len(), affected[0].0.as_str()), (3, 1, "0001 liba 1.0"));
}

#[test]
fn a_document_that_is_no_vex_is_foreign() {
    let mut advisory = csaf(json!({"cve": "CVE-2026-0001"}));
    advisory["document"]["category"] = "csaf_security_advisory".into();
    let mut future: Value = serde_json::from_slice(&openvex(&[])).unwrap();
    future["@context"] = "https://openvex.dev/ns/v9".into();
    for document in [json!([]), json!({}), json!("x"), json!({"statements": []}), advisory, future] {
        let answer = read_vex(document.to_string().as_bytes());
        assert!(matches!(answer, Err(ReadError::Foreign { .. })), "{document}");
    }
}

#[test]
fn a_document_that_is_too_large_is_refused() {
    let many = vec![json!({}); 10_001];
    assert!(matches!(read_vex(&openvex(&many)), Err(ReadError::TooLarge { what: "statements", .. })));
    let products = json!({"products": vec![image(); 10_001]});
    assert!(matches!(read_vex(&openvex(&[products])), Err(ReadError::TooLarge { what: "products", .. })));
    let deep = format!("{{\"@context\": {}0{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(read_vex(deep.as_bytes()), Err(ReadError::Malformed { .. })));
}

#[test]
fn a_document_that_is_cut_short_or_says_a_thing_twice_is_refused() {
    let documents = [
        openvex(&[json!({})]),
        cyclonedx("a", json!({"state": "resolved"})),
        csaf(json!({"cve": "CVE-2026-0001", "product_status": {"fixed": ["IMAGE"]}}))
            .to_string()
            .into_bytes(),
    ];
    for document in documents {
        for end in 0..document.len() {
            assert!(read_vex(&document[..end]).is_err(), "cut at {end}");
        }
        let text = String::from_utf8(document).unwrap();
        for (at, _) in text.match_indices("\":") {
            let start = text[..at].rfind('"').unwrap();
            let doubled = format!("{}{}\":null,{}", &text[..start], &text[start..at], &text[start..]);
            assert!(matches!(read_vex(doubled.as_bytes()), Err(ReadError::Malformed { .. })), "{doubled}");
        }
    }
}
