use proptest::prelude::*;

use crate::{
    evidence::{Severity, VexStatus, Vulnerability},
    reports::Report,
};

prop_compose! {
    /// Few names and packages, so that many entries are of the same vulnerability.
    fn vulnerability()(
        id in 0..3, package in 0..2, version in 0..2,
        severity in proptest::option::of(proptest::sample::select(&Severity::ALL[..])),
        score in proptest::option::of(0_u8..=100),
        fixed in proptest::option::of(proptest::sample::select(&["", "1.1", "1.2"][..])),
        day in proptest::option::of(1_i8..28),
        vex in proptest::option::of(proptest::sample::select(&[VexStatus::Fixed, VexStatus::NotAffected, VexStatus::Affected][..])),
        alias in proptest::option::of(0..3),
    ) -> Vulnerability {
        Vulnerability {
            id: format!("GHSA-{id}"),
            aliases: alias.map(|alias| format!("CVE-2026-000{alias}")).into_iter().collect(),
            severity,
            score,
            package: format!("p{package}"),
            installed: format!("{version}.0"),
            fixed: fixed.map(str::to_owned),
            published: day.map(|day| jiff::civil::date(2026, 1, day)),
            vex,
            ..Vulnerability::default()
        }
    }
}

fn settle(vulnerabilities: Vec<Vulnerability>) -> Vec<Vulnerability> {
    let mut report = Report { vulnerabilities, ..Report::default() };
    report.settle();
    report.vulnerabilities
}

/// Whether a policy that denies by any of these facts and hits `one` hits `other` too, whatever it makes of an
/// unknown severity.
fn is_at_least(other: &Vulnerability, one: &Vulnerability) -> bool {
    let same = (&one.id, &one.package, &one.installed) == (&other.id, &other.package, &other.installed);
    let severity = match (one.severity, other.severity) {
        (Some(one), Some(other)) => other >= one,
        (one, other) => one.is_none() && other.is_none(),
    };
    let known_as_long = one.published.is_none_or(|day| other.published.is_some_and(|other| other <= day));
    let counts = |one: &Vulnerability| !one.vex.is_some_and(VexStatus::subtracts);
    same && severity
        && (other.is_fixable() || !one.is_fixable())
        && (counts(other) || !counts(one))
        && known_as_long
        && one.aliases.iter().all(|alias| other.is_called(alias))
}

proptest! {
    #[test]
    fn each_entry_is_there_still_or_in_one_that_is_as_bad(all in proptest::collection::vec(vulnerability(), 0..12)) {
        let settled = settle(all.clone());
        for one in &all {
            prop_assert!(settled.iter().any(|other| is_at_least(other, one)), "{one:?} in {settled:?}");
        }
        prop_assert!(settled.len() <= all.len());
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(all in proptest::collection::vec(vulnerability(), 0..12).prop_shuffle(), by in 0_usize..12) {
        let mut turned = all.clone();
        turned.rotate_left(by.min(all.len()));
        turned.reverse();
        prop_assert_eq!(settle(all), settle(turned));
    }

    #[test]
    fn what_is_settled_stays_as_it_is(all in proptest::collection::vec(vulnerability(), 0..12)) {
        let once = settle(all);
        prop_assert_eq!(settle(once.clone()), once);
    }

    #[test]
    fn the_worst_come_first(all in proptest::collection::vec(vulnerability(), 0..12)) {
        let settled = settle(all);
        let weights: Vec<_> = settled.iter().map(|one| one.severity.unwrap_or(Severity::Critical)).collect();
        prop_assert!(weights.is_sorted_by(|one, next| one >= next), "{weights:?}");
    }
}

#[test]
fn two_severities_for_one_vulnerability_count_once_by_the_higher() {
    let of =
        |severity| Vulnerability { id: "CVE-2026-0001".to_owned(), severity, ..Vulnerability::default() };
    let settled = settle(vec![of(Some(Severity::Low)), of(Some(Severity::High)), of(None), of(None)]);
    let severities: Vec<_> = settled.iter().map(|one| one.severity).collect();
    assert_eq!(severities, [None, Some(Severity::High)]);
}
