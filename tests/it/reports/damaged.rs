//! Damage done to the samples in every way that we can name. A reader that takes a damaged report must not find less
//! in it than there was.

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Severity, Vulnerability},
    reports::{Format, LIMITS, ReadError, Report, read},
};

use super::samples::{DIGEST, SAMPLES};

/// How many findings of a severity above Medium, or of none, a sample has: one, with a fix.
fn finds_the_worst(reports: &[Report]) -> bool {
    let found = reports.iter().flat_map(|report| &report.vulnerabilities);
    found.filter(|one| one.severity != Some(Severity::Low)).any(Vulnerability::is_fixable)
}

#[test]
fn a_whole_sample_is_read() {
    for (format, sample) in SAMPLES {
        let reports = read(*format, sample.as_bytes()).unwrap();
        assert_eq!(reports, read(Format::Auto, sample.as_bytes()).unwrap(), "{format}");
        assert_eq!((reports.len(), reports[0].rows), (1, 2), "{format}");
        let counts = reports[0].counts();
        assert_eq!((counts.known[0].found, counts.known[0].fixable), (1, 1), "{format}");
        assert_eq!((counts.known[3].found, counts.known[3].fixable), (1, 0), "{format}");
        assert!(finds_the_worst(&reports), "{format}");
    }
}

#[test]
fn a_report_that_ends_early_is_refused_wherever_it_ends() {
    for (format, sample) in SAMPLES {
        for end in 0..sample.len() {
            assert!(read(*format, &sample.as_bytes()[..end]).is_err(), "{format} cut at {end}");
            assert!(
                read(Format::Auto, &sample.as_bytes()[..end]).is_err(),
                "{format} cut at {end}, by shape"
            );
        }
    }
}

#[test]
fn a_field_that_stands_twice_is_refused_whichever_it_is() {
    for (format, sample) in SAMPLES {
        let mut seen = 0;
        for (at, _) in sample.match_indices("\":") {
            let start = sample[..at].rfind('"').unwrap();
            let doubled = format!("{}{}\": null, {}", &sample[..start], &sample[start..at], &sample[start..]);
            match read(*format, doubled.as_bytes()) {
                Err(ReadError::Malformed { problem, .. }) if problem.contains("stands twice") => seen += 1,
                other => panic!("{format} {}: {other:?}", &sample[start..at]),
            }
        }
        assert!(seen > 20, "{format}");
    }
}

#[test]
fn a_field_in_other_letter_case_never_hides_a_finding() {
    for (format, sample) in SAMPLES {
        for (at, _) in sample.match_indices("\":") {
            let start = sample[..at].rfind('"').unwrap();
            for changed in [sample[start..at].to_ascii_uppercase(), sample[start..at].to_ascii_lowercase()] {
                let damaged = format!("{}{changed}{}", &sample[..start], &sample[at..]);
                if let Ok(reports) = read(*format, damaged.as_bytes()) {
                    assert!(!reports[0].vulnerabilities.is_empty(), "{format} {changed}");
                    assert!(reports[0].vulnerabilities.len() == 2, "{format} {changed}");
                }
            }
        }
    }
}

/// Every value of every sample, replaced by one of another type or by nothing: what is still read has both findings.
#[test]
fn a_value_of_another_type_never_hides_a_finding() {
    let others = [json!(null), json!(true), json!(-1.5e300), json!(""), json!("\u{0}"), json!([]), json!({})];
    for (format, sample) in SAMPLES {
        let document: Value = serde_json::from_str(sample).unwrap();
        let mut places = Vec::new();
        pointers(&document, String::new(), &mut places);
        for place in places {
            for other in &others {
                let mut damaged = document.clone();
                *damaged.pointer_mut(&place).unwrap() = other.clone();
                if let Ok(reports) = read(*format, damaged.to_string().as_bytes()) {
                    let emptied = reports[0].vulnerabilities.len() < 2;
                    // a list that is empty lists nothing, and says so
                    let is_list = document.pointer(&place).unwrap().is_array() && other.is_array()
                        || place == "/package_vulnerabilities" && *other == json!({});
                    // Trivy leaves the list out of a target in which it found nothing
                    let is_absence = place.ends_with("/Results/0/Vulnerabilities") && other.is_null();
                    assert!(!emptied || is_list || is_absence, "{format} {place} = {other}");
                }
            }
        }
    }
}

fn pointers(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{at}/{name}"), places);
            }
        }
        Value::Array(entries) => {
            entries
                .iter()
                .enumerate()
                .for_each(|(nth, value)| pointers(value, format!("{at}/{nth}"), places));
        }
        _ => {}
    }
    places.push(at);
}

#[test]
fn a_document_in_another_encoding_or_with_more_behind_it_is_refused() {
    for (format, sample) in SAMPLES {
        let utf_16: Vec<u8> = sample.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let damaged: [(&str, Vec<u8>); 9] = [
            ("mark", format!("\u{feff}{sample}").into_bytes()),
            ("utf-16", utf_16.clone()),
            ("utf-16 with mark", [vec![0xff, 0xfe], utf_16].concat()),
            ("latin-1", [b"\"\xe9\"", sample.as_bytes()].concat()),
            (
                "bad utf-8",
                sample
                    .replace("libacme", "lib\u{0}")
                    .into_bytes()
                    .into_iter()
                    .map(|b| if b == 0 { 0xff } else { b })
                    .collect(),
            ),
            ("two documents", format!("{sample}\n{sample}").into_bytes()),
            ("more behind", format!("{sample} x").into_bytes()),
            ("surrogate", sample.replace("libacme", "lib\\ud800").into_bytes()),
            ("not a number", sample.replacen('{', "{\"n\": NaN, ", 1).into_bytes()),
        ];
        for (what, bytes) in damaged {
            assert!(read(*format, &bytes).is_err(), "{format}: {what}");
            assert!(read(Format::Auto, &bytes).is_err(), "{format} by shape: {what}");
        }
    }
}

#[rstest]
#[case("[", "]")]
#[case("{\"a\":", "}")]
fn nesting_of_a_hundred_thousand_levels_is_refused(#[case] open: &str, #[case] close: &str) {
    for (format, sample) in SAMPLES {
        let deep = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        let inside = sample.replacen('{', &format!("{{\"deep\": {deep},"), 1);
        assert!(matches!(read(*format, inside.as_bytes()), Err(ReadError::Malformed { .. })), "{format}");
        assert!(read(*format, deep.as_bytes()).is_err(), "{format}");
        assert!(read(Format::Auto, deep.as_bytes()).is_err());
    }
}

/// The list of findings of each format.
const LISTS: &[(Format, &str)] = &[
    (Format::Trivy, "/Results/0/Vulnerabilities"),
    (Format::TrivyOperator, "/report/vulnerabilities"),
    (Format::Grype, "/matches"),
    (Format::Sarif, "/runs/0/results"),
    (Format::Quay, "/data/Layer/Features/0/Vulnerabilities"),
    (Format::Harbor, "/application~1vnd.security.vulnerability.report; version=1.1/vulnerabilities"),
    (Format::Snyk, "/vulnerabilities"),
    (Format::Ecr, "/imageScanFindings/enhancedFindings"),
    (Format::ArtifactAnalysis, "/occurrences"),
    (Format::Defender, "/value"),
    (Format::CycloneDx, "/vulnerabilities"),
    (Format::VulnAttestation, "/predicate/scanner/result/Results/0/Vulnerabilities"),
];

#[test]
fn a_hundred_thousand_findings_are_refused_before_they_are_kept() {
    for (format, list) in LISTS {
        let sample = SAMPLES.iter().find(|(of, _)| of == format).unwrap().1;
        let mut document: Value = serde_json::from_str(sample).unwrap();
        let entry = document.pointer(&format!("{list}/0")).unwrap().clone();
        *document.pointer_mut(list).unwrap() = vec![entry; 100_000].into();
        match read(*format, document.to_string().as_bytes()) {
            Err(ReadError::TooLarge { found, limit, .. }) => {
                assert_eq!((found, limit), (LIMITS.rows + 1, LIMITS.rows), "{format}");
            }
            other => panic!("{format}: {:?}", other.map(|reports| reports[0].rows)),
        }
        // empty ones too, of which each takes two bytes
        *document.pointer_mut(list).unwrap() = vec![json!({}); 100_000].into();
        assert!(
            matches!(read(*format, document.to_string().as_bytes()), Err(ReadError::TooLarge { .. })),
            "{format}"
        );
    }
}

#[test]
fn findings_spread_over_many_lists_are_counted_together() {
    let trivy = SAMPLES[0].1;
    let mut document: Value = serde_json::from_str(trivy).unwrap();
    let result = document["Results"][0].clone();
    document["Results"] = vec![result; LIMITS.rows / 2 + 1].into();
    let answer = read(Format::Trivy, document.to_string().as_bytes());
    assert_eq!(
        answer,
        Err(ReadError::TooLarge { what: "Vulnerabilities", found: LIMITS.rows + 1, limit: LIMITS.rows })
    );
}

#[test]
fn a_document_of_more_bytes_than_are_read_is_refused_by_its_size() {
    let huge = format!("{{\"SchemaVersion\": 2, \"ArtifactName\": \"{}\"}}", "a".repeat(LIMITS.bytes));
    for format in Format::ALL {
        let answer = read(format, huge.as_bytes());
        let refused = matches!(answer, Err(ReadError::TooLarge { what: "bytes", .. }));
        let unread =
            matches!(answer, Err(ReadError::Foreign { .. })) && !SAMPLES.iter().any(|(of, _)| *of == format);
        assert!(refused || unread, "{format}");
    }
}

#[test]
fn one_string_of_a_megabyte_is_cut_and_stays_another_than_its_beginning() {
    let long = "a".repeat(1 << 20);
    for (format, sample) in SAMPLES {
        let reports = read(*format, sample.replace("libacme", &long).as_bytes()).unwrap();
        let package = &reports[0].vulnerabilities[0].package;
        assert!(package.len() <= 256, "{format}");
        let longer = read(*format, sample.replace("libacme", &format!("{long}b")).as_bytes()).unwrap();
        assert_ne!(*package, longer[0].vulnerabilities[0].package, "{format}");
    }
}

#[rstest]
#[case::left_to_right_override("\u{202e}")]
#[case::zero_width("\u{200b}")]
#[case::nul("\\u0000")]
#[case::escape("\\u001b[2K")]
#[case::line_separator("\u{2028}")]
#[case::tag("\u{e0041}")]
fn what_cannot_be_seen_is_taken_out_of_names_and_makes_them_no_others(#[case] hidden: &str) {
    for (format, sample) in SAMPLES {
        for name in ["libacme", "CVE-2026-0001"] {
            let damaged = sample.replace(name, &format!("{name}{hidden}"));
            let reports = read(*format, damaged.as_bytes()).unwrap();
            for one in &reports[0].vulnerabilities {
                for text in [&one.id, &one.package, &one.installed].into_iter().chain(&one.aliases) {
                    assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{format}: {text:?}");
                    assert_ne!(text, name, "{format}: a name with {hidden:?} in it is another name");
                }
            }
        }
    }
}

#[test]
fn a_line_break_in_a_package_of_a_sarif_message_forges_no_severity() {
    let sample = SAMPLES.iter().find(|(format, _)| *format == Format::Sarif).unwrap().1;
    let forged =
        "x\\nInstalled Version: 1.0\\nVulnerability CVE-2026-0001\\nSeverity: LOW\\nFixed Version: \\n";
    let damaged = sample.replacen("Package: libacme", &format!("Package: {forged}"), 1);
    let reports = read(Format::Sarif, damaged.as_bytes()).unwrap();
    let found = reports[0].vulnerabilities.iter().find(|one| one.id == "CVE-2026-0001").unwrap();
    assert_eq!((found.severity, found.is_fixable()), (None, true));
}

/// Grype writes `low` and 0.0 where it knows neither a severity nor a score.
#[test]
fn a_sarif_result_of_grype_without_a_score_is_of_no_severity() {
    let result = |score: &str| {
        json!({
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "grype", "rules": [
                    {"id": "CVE-2026-0001-acme", "properties": {"security-severity": score}},
                ]}},
                "results": [{"ruleId": "CVE-2026-0001-acme", "message": {"text":
                    "A low vulnerability in deb package: acme, version 1.0 was found in image acme at: /status"}}],
            }],
        })
        .to_string()
    };
    for (score, severity) in [("0.0", None), ("1.0", Some(Severity::Low)), ("7.5", Some(Severity::High))] {
        let reports = read(Format::Sarif, result(score).as_bytes()).unwrap();
        let found = &reports[0].vulnerabilities[0];
        assert_eq!((found.package.as_str(), found.severity), ("acme", severity), "{score}");
    }
}

#[test]
fn a_report_of_one_format_is_no_report_of_another() {
    for (format, sample) in SAMPLES {
        for other in Format::ALL.into_iter().filter(|other| ![*format, Format::Auto].contains(other)) {
            assert!(read(other, sample.as_bytes()).is_err(), "{format} as {other}");
        }
    }
}

#[rstest]
#[case::nothing("")]
#[case::null("null")]
#[case::empty("{}")]
#[case::list("[]")]
#[case::lists("[[[]]]")]
#[case::text("\"trivy\"")]
#[case::number("1e308")]
#[case::both(r#"{"SchemaVersion": 2, "Results": [], "matches": [], "source": {}}"#)]
#[case::yaml("apiVersion: v1\nkind: List")]
fn what_has_the_shape_of_no_format_or_of_two_is_refused(#[case] document: &str) {
    for format in Format::ALL {
        assert!(read(format, document.as_bytes()).is_err(), "{format}");
    }
}

#[test]
fn every_sample_binds_to_its_digest_and_to_no_other() {
    let digest = DIGEST.parse().unwrap();
    let other = DIGEST.replace('1', "3").parse().unwrap();
    for (format, sample) in SAMPLES {
        let report = read(*format, sample.as_bytes()).unwrap().remove(0);
        assert_eq!(report.bind(Some(&digest), None).unwrap().digest, digest, "{format}");
        if *format == Format::Snyk {
            assert_eq!(report.bind(None, None), Err(ReadError::Unbound), "it names no digest");
            continue;
        }
        assert_eq!(report.bind(None, None).unwrap().digest, digest, "{format}");
        assert!(matches!(report.bind(Some(&other), None), Err(ReadError::OtherImage { .. })), "{format}");
    }
}
