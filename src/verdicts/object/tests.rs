use jiff::civil::Date;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::v1alpha1::{ImageScanVerdict, ScannedPlatform},
    evidence::{ScanVerdict, Severity, VexStatus, Vulnerability, VulnerabilityRef},
    reports::{Report, Subject},
};

const SCANNED: &str = "2026-03-01T10:00:00Z";

fn digest() -> Digest {
    Digest::sha256(b"an image")
}

fn report(vulnerabilities: Vec<Vulnerability>) -> Report {
    let mut report = Report {
        subject: Subject::default(),
        scanner: "trivy".to_owned(),
        scanner_version: Some("0.65.0".to_owned()),
        database_version: None,
        database_at: Some("2026-03-01T06:00:00.75Z".parse().unwrap()),
        scanned_at: None,
        end_of_life: None,
        rows: vulnerabilities.len(),
        vulnerabilities,
    };
    report.settle();
    report
}

fn written(report: &Report, previous: Option<&ImageScanVerdict>) -> ImageScanVerdict {
    let scanned = Scanned {
        digest: &digest(),
        platforms: &[],
        source: "trivy",
        scanned_at: SCANNED.parse().unwrap(),
        previous: previous.map(|object| &object.spec),
    };
    to_object(report, scanned)
}

fn read(object: &ImageScanVerdict) -> ScanVerdict {
    let name = object.metadata.name.as_deref().unwrap();
    let (text, value) =
        (serde_json::to_string(&object.spec).unwrap(), serde_json::to_value(&object.spec).unwrap());
    let read = from_json(name, Some(&text)).unwrap();
    assert_eq!(from_value(name, value).unwrap(), read, "one way of reading says the same as the other");
    read
}

fn log4shell() -> Vulnerability {
    Vulnerability {
        id: "CVE-2021-44228".to_owned(),
        aliases: vec!["GHSA-jfh8-c2jp-5v3q".to_owned()],
        severity: Some(Severity::Critical),
        score: None,
        package: "org.apache.logging.log4j:log4j-core".to_owned(),
        package_type: "jar".to_owned(),
        installed: "2.14.1".to_owned(),
        fixed: Some("2.15.0".to_owned()),
        published: Some("2021-12-10".parse().unwrap()),
        first_seen: None,
        vex: Some(VexStatus::NotAffected),
    }
}

fn nameless(id: &str) -> Vulnerability {
    Vulnerability { id: id.to_owned(), package: "openssl".to_owned(), ..Default::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields are that it is for")]
fn day(text: &str) -> Option<Date> {
    Some(text.parse().unwrap())
}

#[test]
fn what_is_written_says_what_the_report_says() {
    let object = written(&report(vec![log4shell(), nameless("CVE-2024-1")]), None);
    assert_eq!(object.metadata.name.as_deref(), Some(&*object_name(&digest(), "trivy")));
    let verdict = read(&object);
    assert_eq!((&*verdict.source, &verdict.digest), ("trivy", &digest()));
    let scan = verdict.content.unwrap();
    assert_eq!(scan.scanned_at.to_string(), SCANNED);
    assert_eq!(scan.database_at.unwrap().to_string(), "2026-03-01T06:00:00Z", "no newer than it was");
    assert_eq!(scan.counts.of(Some(Severity::Critical)).found, 1);
    assert_eq!(scan.counts.of(Some(Severity::Critical)).fixable, 1);
    assert_eq!(scan.counts.of(None).found, 1);
    let unstated = Vulnerability { first_seen: day("2026-03-01"), ..nameless("CVE-2024-1") };
    assert_eq!(scan.vulnerabilities.to_vec(), [unstated, log4shell()], "what is excused comes last");
}

#[test]
fn a_score_is_written_where_no_severity_is_stated() {
    let stated = Vulnerability { score: Some(98), ..log4shell() };
    let unstated = Vulnerability { score: Some(70), published: day("2024-01-01"), ..nameless("CVE-2024-1") };
    let scan = read(&written(&report(vec![stated, unstated.clone()]), None)).content.unwrap();
    assert_eq!(scan.vulnerabilities.to_vec(), [unstated, log4shell()]);
}

#[test]
fn the_day_on_which_something_was_first_seen_is_kept_as_long_as_nobody_says_when_it_was_published() {
    let first = written(&report(vec![nameless("CVE-2024-1"), log4shell()]), None);
    let scan_later = |vulnerabilities, previous: &ImageScanVerdict| {
        let scanned_at = "2026-04-01T10:00:00Z".parse().unwrap();
        let scanned = Scanned {
            digest: &digest(),
            platforms: &[],
            source: "trivy",
            scanned_at,
            previous: Some(&previous.spec),
        };
        read(&to_object(&report(vulnerabilities), scanned)).content.unwrap().vulnerabilities.to_vec()
    };
    let unpublished = Vulnerability { published: None, vex: None, ..log4shell() };
    let later = scan_later(vec![nameless("CVE-2024-1"), nameless("CVE-2024-2"), unpublished], &first);
    let seen: Vec<_> = later.iter().map(|one| (one.id.as_str(), one.first_seen)).collect();
    let expected = [
        ("CVE-2021-44228", day("2026-03-01")),
        ("CVE-2024-1", day("2026-03-01")),
        ("CVE-2024-2", day("2026-04-01")),
    ];
    assert_eq!(seen, expected);
    let published = Vulnerability { published: day("2024-01-01"), ..nameless("CVE-2024-1") };
    assert_eq!(scan_later(vec![published], &first)[0].first_seen, None);
}

#[test]
fn a_report_that_is_too_large_keeps_the_worst_and_says_so() {
    let many = (0..40_000u32).map(|number| Vulnerability {
        id: format!("CVE-2024-{number:05}"),
        severity: Some(if number < 3 { Severity::Critical } else { Severity::Low }),
        package: format!("package-{}", number % 400),
        installed: "1.0".to_owned(),
        published: day("2024-01-01"),
        ..Vulnerability::default()
    });
    let object = written(&report(many.collect()), None);
    let bytes = serde_json::to_vec(&object).unwrap().len();
    assert!((OBJECT_BYTES - 1000..=OBJECT_BYTES).contains(&bytes), "{bytes}");
    assert!(object.spec.truncated);
    let scan = read(&object).content.unwrap();
    assert_eq!(scan.counts.of(Some(Severity::Low)).found, 39_997);
    let critical = |one: &VulnerabilityRef<'_>| one.severity == Some(Severity::Critical);
    assert_eq!(scan.vulnerabilities.iter().filter(|one| critical(one)).count(), 3);
    assert!(scan.vulnerabilities.len() < 40_000);
}

#[test]
fn more_packages_than_the_definition_takes_are_cut_short() {
    let many = (0..10_001u32)
        .map(|number| Vulnerability { package: number.to_string(), ..nameless("CVE-2024-1") })
        .collect();
    let object = written(&report(many), None);
    assert_eq!((object.spec.packages.len(), object.spec.truncated), (10_000, true));
    assert!(read(&object).content.is_ok());
}

#[test]
fn texts_that_the_definition_does_not_take_are_cut() {
    let long = "é".repeat(300);
    let one = Vulnerability {
        id: "CVE-2024-1".to_owned(),
        aliases: vec!["GHSA-1".to_owned()],
        package: long.clone(),
        package_type: long.clone(),
        installed: long.clone(),
        fixed: Some(long.clone()),
        ..Vulnerability::default()
    };
    // Readers cut texts already.
    let mut report = Report { vulnerabilities: vec![one], ..report(Vec::new()) };
    (report.scanner, report.scanner_version) = (String::new(), Some(long.clone()));
    report.end_of_life = Some(long);
    let object = written(&report, None);
    assert_eq!((object.spec.scanner.name.as_str(), object.spec.truncated), ("unknown", false));
    let scan = read(&object).content.unwrap();
    assert_eq!(scan.vulnerabilities.to_vec()[0].aliases, ["GHSA-1"]);
    assert_eq!(scan.vulnerabilities.to_vec()[0].package.chars().count(), 256);
    assert_eq!(scan.end_of_life.unwrap().chars().count(), 128);
}

/// A policy may ask for just the name that there is no room for.
#[rstest]
#[case::other_names(Vulnerability { aliases: names(33), ..nameless("CVE-2024-1") })]
#[case::a_long_other_name(Vulnerability { aliases: vec!["x".repeat(65)], ..nameless("CVE-2024-1") })]
#[case::a_long_name(nameless(&"x".repeat(65)))]
fn a_vulnerability_whose_names_have_no_room_is_counted_and_said_to_be_missing(#[case] one: Vulnerability) {
    let report = Report { vulnerabilities: vec![one, log4shell()], ..report(Vec::new()) };
    let object = written(&report, None);
    assert!(object.spec.truncated);
    let scan = read(&object).content.unwrap();
    assert_eq!((scan.counts.unknown.found, scan.counts.known[0].found), (1, 1));
    assert_eq!(scan.vulnerabilities.to_vec(), [log4shell()], "what has room is listed");
}

#[test]
fn as_many_other_names_as_there_is_room_for_are_kept() {
    let one = Vulnerability { aliases: names(32), ..nameless("CVE-2024-1") };
    let object = written(&report(vec![one]), None);
    assert!(!object.spec.truncated);
    assert_eq!(read(&object).content.unwrap().vulnerabilities.to_vec()[0].aliases, names(32));
}

#[test]
fn the_end_of_a_distribution_is_kept_whether_or_not_it_has_a_name() {
    for (said, kept) in
        [(None, None), (Some("alpine 3.10.9"), Some("alpine 3.10.9")), (Some(""), Some("unknown"))]
    {
        let report = Report { end_of_life: said.map(str::to_owned), ..report(Vec::new()) };
        assert_eq!(read(&written(&report, None)).content.unwrap().end_of_life.as_deref(), kept);
    }
}

fn names(many: usize) -> Vec<String> {
    (0..many).map(|number| format!("CVE-2023-{number:04}")).collect()
}

#[test]
fn an_object_of_an_index_names_its_platforms() {
    let platform = |platform: &str| ScannedPlatform { platform: platform.to_owned(), digest: None };
    let platforms: Vec<_> = (0..40).map(|number| platform(&format!("linux/a{number}"))).collect();
    let scanned = Scanned {
        digest: &digest(),
        platforms: &platforms,
        source: "trivy",
        scanned_at: SCANNED.parse().unwrap(),
        previous: None,
    };
    let verdict = read(&to_object(&report(Vec::new()), scanned));
    assert_eq!(verdict.platforms.len(), 32);
    assert_eq!(verdict.platforms[1].as_str(), "linux/a1");
}

fn spec() -> Value {
    serde_json::to_value(written(&report(vec![log4shell(), nameless("CVE-2024-1")]), None).spec).unwrap()
}

#[rstest]
#[case("/digest", json!("sha256:0"), "another digest")]
#[case("/digest", json!(Digest::sha256(b"another").as_str()), "another digest")]
#[case("/source", json!("grype"), "another digest or source")]
#[case("/platforms", json!([]), "spec.platforms: wanted 1 to 32")]
#[case("/platforms", json!([{"platform": "linux"}]), "spec.platforms[0].platform")]
#[case("/platforms", json!([{"platform": "linux/amd64", "digest": "sha256:0"}]), "spec.platforms[0].digest")]
#[case("/scannedAt", json!("yesterday"), "spec.scannedAt")]
#[case("/scannedAt", json!("1970-01-01T00:00:00Z"), "spec.scannedAt")]
#[case("/scannedAt", Value::Null, "spec.scannedAt")]
#[case("/database/updatedAt", json!("0001-01-01T00:00:00Z"), "spec.database.updatedAt")]
#[case("/counts/critical/found", json!(0), "spec.counts.critical")]
#[case("/counts/critical/found", json!(-1), "spec.counts.critical.found")]
#[case("/counts/critical/fixable", json!(2), "spec.counts.critical")]
#[case("/counts/critical/fixable", json!(0), "1 of Critical with 0 fixable")]
#[case("/counts/unknown/found", json!(0), "0 of unknown severity")]
#[case("/counts/low/found", json!(10_000_001), "spec.counts.low")]
#[case("/counts/high/found", json!(1), "spec.truncated: false")]
#[case("/truncated", json!(true), "spec.truncated: true")]
#[case("/packages", json!([{"name": "a", "findings": []}]), "spec.packages[0].findings")]
#[case("/packages/0/findings/0/id", json!(""), "spec.packages[0].findings[0].id")]
#[case("/packages/0/findings/0/severity", json!("CRITICAL"), "spec.packages[0].findings[0].severity")]
#[case("/packages/0/findings/0/severity", json!("Low"), "spec.counts")]
#[case("/packages/0/findings/0/vex", json!("Harmless"), "spec.packages[0].findings[0].vex")]
#[case("/packages/0/findings/0/score", json!("10.1"), "spec.packages[0].findings[0].score")]
#[case("/packages/0/findings/0/score", json!("+1"), "spec.packages[0].findings[0].score")]
#[case("/packages/0/findings/0/published", json!("0001-01-01"), "spec.packages[0].findings[0].published")]
#[case("/packages/0/findings/0/seen", json!("2026-02-30"), "spec.packages[0].findings[0].seen")]
#[case("/packages/0/findings/0/seen", json!("2026-02-01T00:00:00Z"), "spec.packages[0].findings[0].seen")]
#[case("/packages/0/findings/0/aliases", json!(names(33)), "aliases")]
#[case("/endOfLife", json!(""), "spec.endOfLife: 0 characters")]
#[case("/endOfLife", json!("a".repeat(129)), "spec.endOfLife: 129 characters")]
#[case("/packages/0/findings/0/newer", json!(1), "newer")]
#[case("/packages/0/name", json!("a".repeat(257)), "spec.packages[0].name: 257 characters")]
#[case("/newer", json!(1), "newer")]
fn what_contradicts_itself_is_a_verdict_that_nobody_can_read(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    let mut spec = spec();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
    let name = object_name(&digest(), "trivy");
    for verdict in [from_json(&name, Some(&spec.to_string())), from_value(&name, spec)] {
        let verdict = verdict.unwrap();
        assert_eq!((&verdict.digest, &*verdict.source), (&digest(), "trivy"), "it is the name's");
        let why = verdict.content.unwrap_err();
        assert!(why.contains(message), "{why}");
    }
}

#[test]
fn an_object_without_content_is_a_verdict_that_nobody_can_read() {
    let name = object_name(&digest(), "trivy");
    for verdict in [
        from_json(&name, None),
        from_json(&name, Some("null")),
        from_json(&name, Some("{")),
        from_value(&name, Value::Null),
    ] {
        assert!(verdict.unwrap().content.is_err());
    }
}

#[test]
fn nobody_writes_for_those_who_sign_attestations() {
    let mut spec = spec();
    spec["source"] = json!("attestation");
    let verdict = from_value(&object_name(&digest(), "attestation"), spec).unwrap();
    assert!(verdict.content.unwrap_err().contains("spec.source"));
}

#[test]
fn a_name_that_says_nothing_leaves_the_word_to_the_content() {
    for name in ["house", "sha256-0.trivy", "", &digest().to_string()] {
        let verdict = from_value(name, spec()).unwrap();
        assert_eq!(verdict.digest, digest());
        assert!(verdict.content.unwrap_err().contains("the name says another"));
        assert_eq!(from_value(name, json!({})), Err(Unbound(name.to_owned())));
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_between_a_report_and_what_is_read(
        rows in prop::collection::vec(any_vulnerability(), 0..40),
    ) {
        let report = report(rows);
        let scan = read(&written(&report, None)).content.unwrap();
        let expected = report.vulnerabilities.iter().map(|one| Vulnerability {
            score: one.score.filter(|_| one.severity.is_none()),
            first_seen: one.published.is_none().then(|| "2026-03-01".parse().unwrap()),
            ..one.clone()
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort_by(crate::reports::worst_first);
        prop_assert_eq!(scan.vulnerabilities.to_vec(), expected);
        prop_assert_eq!(scan.counts, report.counts());
    }
}

fn any_vulnerability() -> impl Strategy<Value = Vulnerability> {
    let severity = prop::option::of(prop::sample::select(Severity::ALL.to_vec()));
    let vex = prop::option::of(prop::sample::select(vec![
        VexStatus::Affected,
        VexStatus::Fixed,
        VexStatus::NotAffected,
        VexStatus::UnderInvestigation,
    ]));
    let published = prop::option::of(prop::sample::select(vec!["2021-12-10", "2026-02-28"]));
    let fixed = prop::option::of("[a-z0-9.\"é]{0,6}");
    ("CVE-20[0-9]{2}-[0-9]{4}", severity, vex, "[a-c]{1,2}", fixed, published, prop::option::of(0..=100u8))
        .prop_map(|(id, severity, vex, package, fixed, published, score)| Vulnerability {
            id,
            severity,
            vex,
            package,
            fixed,
            score,
            installed: "1".to_owned(),
            published: published.map(|day| day.parse().unwrap()),
            ..Vulnerability::default()
        })
}
