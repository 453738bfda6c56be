use jiff::civil::date;
use proptest::prelude::*;
use rstest::rstest;

use crate::reports::{Format, FormatError, text};

proptest! {
    #[test]
    fn two_names_stay_two_whatever_is_in_them(one in ".{0,80}", other in ".{0,80}") {
        let same = one.trim_ascii() == other.trim_ascii();
        prop_assert_eq!(text::id(&one) == text::id(&other), same);
        prop_assert_eq!(text::package(&one) == text::package(&other), same);
    }

    #[test]
    fn a_name_is_short_and_can_be_seen(name in ".{0,400}") {
        let id = text::id(&name).unwrap_or_default();
        let package = text::package(&name);
        prop_assert!(id.len() <= 64 && package.len() <= 256);
        for text in [&id, &package, &text::plain(&name)] {
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        // what was kept is kept again as it is
        prop_assert_eq!(text::id(&id).unwrap_or_default(), id);
        prop_assert_eq!(text::package(&package), package);
    }
}

#[test]
fn a_long_title_is_cut_and_keeps_a_hash_of_the_whole() {
    let title =
        |last: char| format!("RHSA-2022:6457: python3 security update (Moderate) {}{last}", "x".repeat(80));
    let (one, other) = (text::id(&title('a')).unwrap(), text::id(&title('b')).unwrap());
    assert_ne!(one, other);
    assert!(one.starts_with("RHSA-2022:6457: python3 security update (Modera~"), "{one}");
    assert_eq!(one.len(), 64);
}

#[test]
fn a_name_of_nothing_is_none() {
    assert_eq!(text::id(" \t\n"), None);
}

#[test]
fn other_names_are_in_order_each_once_and_not_too_many() {
    let given = ["ELSA-1", "GHSA-x", "CVE-2026-0002", "cve-2026-0001", "CVE-2026-0003", "CVE-2026-0002", ""];
    assert_eq!(text::aliases("CVE-2026-0001", given), ["CVE-2026-0002", "CVE-2026-0003", "GHSA-x", "ELSA-1"]);
    let many: Vec<_> = (0..1000).map(|nth| format!("CVE-2026-{nth:04}")).collect();
    assert_eq!(text::aliases("RHSA-1", many.iter().map(String::as_str)).len(), 128);
}

#[rstest]
#[case("2026-09-01T10:00:00Z", Some(date(2026, 9, 1)))]
#[case("2026-09-01T23:00:00-05:50", Some(date(2026, 9, 2)))]
#[case("2026-09-01", Some(date(2026, 9, 1)))]
#[case("2026-09-01 10:00:00 +0000 UTC", Some(date(2026, 9, 1)))]
#[case("0001-01-01T00:00:00Z", None)]
#[case("0000-12-31T18:09:24-05:50", None)]
#[case("1969-12-31", None)]
#[case("99999-01-01", None)]
#[case("2026-02-30", None)]
#[case("", None)]
fn a_day_is_read_or_there_is_none(#[case] given: &str, #[case] expected: Option<jiff::civil::Date>) {
    assert_eq!(text::date(given), expected);
}

#[rstest]
#[case(1_629_894_030.0, Some("2021-08-25T12:20:30Z"))]
#[case(0.0, None)]
#[case(-1e300, None)]
#[case(1e300, None)]
#[case(f64::NAN, None)]
#[case(f64::INFINITY, None)]
fn seconds_are_a_moment_or_none(#[case] given: f64, #[case] expected: Option<&str>) {
    assert_eq!(text::unix(given).map(|time| time.to_string()).as_deref(), expected);
}

#[rstest]
#[case(9.8, Some(98))]
#[case(0.0, Some(0))]
#[case(10.0, Some(100))]
#[case(10.1, None)]
#[case(-0.1, None)]
#[case(11.0, None)]
#[case(f64::NAN, None)]
fn a_score_is_in_tenths_or_there_is_none(#[case] given: f64, #[case] expected: Option<u8>) {
    assert_eq!(text::score(given), expected);
}

#[test]
fn names_of_cve_are_found_in_a_text() {
    let text = "(CVE-2016-3189) pkg CVE-2021-1 and CVE-2026-12345, xCVE-20a6-1234 CVE-2026-0001CVE-";
    let found: Vec<_> = text::cves(text).collect();
    assert_eq!(found, ["CVE-2016-3189", "CVE-2026-12345", "CVE-2026-0001"]);
}

#[rstest]
#[case("pkg:deb/debian/bash@5.0?arch=amd64", Some("deb"))]
#[case("pkg:NPM/%40acme/app@1", Some("npm"))]
#[case("pkg:deb", None)]
#[case("deb/debian/bash", None)]
#[case("", None)]
fn a_package_url_says_what_kind_it_is(#[case] purl: &str, #[case] expected: Option<&str>) {
    assert_eq!(text::purl_type(purl).as_deref(), expected);
}

#[test]
fn every_format_is_called_by_its_word_and_by_no_other() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
        assert!(format.as_str().to_ascii_uppercase().parse::<Format>().is_err());
    }
    let error: FormatError = "cyclone".parse::<Format>().unwrap_err();
    assert!(error.to_string().starts_with("\"cyclone\" is no format of reports: use one of auto, trivy, "));
}
