//! VEX takes away exactly what it names: compared with the plainest program that does the same.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{ONES, TWOS, digest, finding};
use crate::{
    evidence::{VexStatus, Vulnerability},
    reports::{Report, read_vex},
};

const CVES: [&str; 3] = ["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"];
const PACKAGES: [&str; 2] = ["liba", "libb"];
const VERSIONS: [&str; 2] = ["1.0", "2.0"];

#[derive(Clone, Debug)]
struct Said {
    cve: &'static str,
    status: VexStatus,
    day: u8,
    ours: bool,
    /// Package, and version if one is named.
    parts: Option<Vec<(&'static str, Option<&'static str>)>>,
}

fn statement() -> impl Strategy<Value = Said> {
    let status = select(vec![
        VexStatus::Affected,
        VexStatus::Fixed,
        VexStatus::NotAffected,
        VexStatus::UnderInvestigation,
    ]);
    let part = (select(&PACKAGES[..]), option::of(select(&VERSIONS[..])));
    (select(&CVES[..]), status, 1..4_u8, prop::bool::weighted(0.8), option::of(vec(part, 0..3)))
        .prop_map(|(cve, status, day, ours, parts)| Said { cve, status, day, ours, parts })
}

fn one_finding() -> impl Strategy<Value = Vulnerability> {
    (vec(select(&CVES[..]), 1..3), any::<bool>(), select(&PACKAGES[..]), select(&VERSIONS[..])).prop_map(
        |(mut cves, advisory, package, version)| {
            cves.dedup();
            match advisory {
                true => finding("RHSA-2026:1", &cves, package, version),
                false => finding(cves[0], &[], package, version),
            }
        },
    )
}

fn written(said: &[Said]) -> Vec<u8> {
    let statements = said.iter().map(|one| {
        let hex = if one.ours { ONES } else { TWOS };
        let mut product = json!({"@id": format!("pkg:oci/app@sha256%3A{hex}")});
        if let Some(parts) = &one.parts {
            let purls = parts.iter().map(|(package, version)| {
                let version = version.map(|version| format!("@{version}")).unwrap_or_default();
                json!({"@id": format!("pkg:deb/debian/{package}{version}")})
            });
            product["subcomponents"] = purls.collect();
        }
        let status = match one.status {
            VexStatus::Affected => "affected",
            VexStatus::Fixed => "fixed",
            VexStatus::NotAffected => "not_affected",
            VexStatus::UnderInvestigation => "under_investigation",
        };
        json!({
            "vulnerability": {"name": one.cve}, "products": [product], "status": status,
            "impact_statement": "it is so", "timestamp": format!("2026-10-0{}T00:00:00Z", one.day),
        })
    });
    let statements: Vec<Value> = statements.collect();
    let document = json!({"@context": "https://openvex.dev/ns/v0.2.0", "statements": statements});
    serde_json::to_vec(&document).unwrap()
}

/// What is said of one CVE in a package: the worst of what was said last.
fn last_word(said: &[Said], cve: &str, found: &Vulnerability) -> Vec<VexStatus> {
    let about: Vec<&Said> = said
        .iter()
        .filter(|one| one.ours && one.cve == cve)
        .filter(|one| match &one.parts {
            None => true,
            Some(parts) => parts.iter().any(|(package, version)| {
                found.package == *package && version.is_none_or(|version| found.installed == version)
            }),
        })
        .collect();
    let day = about.iter().map(|one| one.day).max();
    let last: Vec<VexStatus> =
        about.iter().filter(|one| Some(one.day) == day).map(|one| one.status).collect();
    match last.iter().any(|status| !status.subtracts()) {
        true => last.into_iter().filter(|status| !status.subtracts()).collect(),
        false => last,
    }
}

proptest! {
    #[test]
    fn exactly_what_is_named_is_taken_away(found in vec(one_finding(), 0..6), said in vec(statement(), 0..8)) {
        let mut report = Report { vulnerabilities: found, ..Report::default() };
        report.settle();
        let before = report.clone();
        read_vex(&written(&said)).unwrap().apply(&mut report, &digest(), None);

        let mut bare = report.clone();
        bare.vulnerabilities.iter_mut().for_each(|one| one.vex = None);
        bare.settle();
        prop_assert_eq!(&bare, &before, "nothing but the status changes");

        for one in &report.vulnerabilities {
            let names = one.aliases.iter().chain(std::iter::once(&one.id));
            let cves: Vec<&String> = names.filter(|name| name.starts_with("CVE-")).collect();
            let words: Vec<Vec<VexStatus>> = cves.iter().map(|cve| last_word(&said, cve, one)).collect();
            let subtracts = |words: &Vec<VexStatus>| !words.is_empty() && words.iter().all(|one| one.subtracts());
            let expected = words.iter().all(subtracts);
            prop_assert_eq!(one.vex.is_some_and(VexStatus::subtracts), expected, "{:?}", one);
            if let Some(status) = one.vex {
                let allowed = words.iter().flatten().any(|word| *word == status);
                // fixed for one reason and not affected for another
                prop_assert!(allowed || status == VexStatus::NotAffected, "{:?}", one);
            }
            prop_assert_eq!(one.vex.is_none(), words.iter().any(Vec::is_empty) && words.iter().flatten().all(|one| one.subtracts()));
        }
    }

    #[test]
    fn a_statement_about_another_image_changes_nothing(found in vec(one_finding(), 0..6), said in vec(statement(), 0..8)) {
        let others: Vec<Said> = said.into_iter().map(|one| Said { ours: false, ..one }).collect();
        let mut report = Report { vulnerabilities: found, ..Report::default() };
        report.settle();
        let before = report.clone();
        read_vex(&written(&others)).unwrap().apply(&mut report, &digest(), None);
        prop_assert_eq!(report, before);
    }
}
