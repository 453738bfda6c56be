//! Laws of scans, for all that scanners can say.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::evidence::{
    Counts, Scan, ScanError, ScanEvidence, ScanSubject, ScanVerdict, Severity, VexStatus, Vulnerability,
};

const IDS: [&str; 4] = ["CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003", "GHSA-aaaa-bbbb-cccc"];
const PACKAGES: [&str; 3] = ["openssl", "openssh", "zlib"];
const DATES: [&str; 4] = ["2021-12-10", "2026-05-01", "2026-05-25", "2026-06-01"];
const SOURCES: [&str; 4] = ["trivy", "grype", "importer", "attestation"];

fn any_severity() -> impl Strategy<Value = Option<Severity>> {
    option::weighted(0.8, select(&Severity::ALL))
}

fn any_vulnerability() -> impl Strategy<Value = Vulnerability> {
    let date = || option::of(select(&DATES)).prop_map(|date| date.map(|date| date.parse().unwrap()));
    let vex =
        option::weighted(0.3, select(vec![VexStatus::Fixed, VexStatus::NotAffected, VexStatus::Affected]));
    let name = (select(&IDS), option::weighted(0.2, select(&IDS)), select(&PACKAGES));
    (name, any_severity(), any::<bool>(), date(), date(), vex).prop_map(
        |((id, alias, package), severity, fixed, published, first_seen, vex)| Vulnerability {
            aliases: alias.map(str::to_owned).into_iter().collect(),
            fixed: fixed.then(|| "2.0".to_owned()),
            published,
            first_seen,
            vex,
            ..found(id, severity, package)
        },
    )
}

/// What can be read, all of which is listed but what is cut off.
fn any_scan() -> impl Strategy<Value = Scan> {
    let times = ["2026-06-01T12:04:00Z", YESTERDAY, "2026-05-20T00:00:00Z", "2020-01-01T00:00:00Z"];
    let database = option::of(select(&["2026-06-01T06:00:00Z", "2026-05-10T00:00:00Z"]));
    let hidden = option::weighted(0.2, any_vulnerability());
    let nowhere = prop::bool::weighted(0.2);
    (vec(any_vulnerability(), 0..4), select(times.to_vec()), database, hidden, nowhere).prop_map(
        |(mut vulnerabilities, at, database, hidden, nowhere)| {
            // A scanner that does not say in which packages.
            if nowhere {
                vulnerabilities.iter_mut().for_each(|one| one.package = String::new());
            }
            let mut scan = scanned_at(at, vulnerabilities);
            scan.database_at = database.map(|at| at.parse().unwrap());
            hidden.iter().filter(|_| !nowhere).for_each(|hidden| scan.counts.add(hidden));
            scan
        },
    )
}

fn any_verdict() -> impl Strategy<Value = Arc<ScanVerdict>> {
    let content = prop_oneof![8 => any_scan().prop_map(Ok), 1 => Just(Err("it is damaged".to_owned()))];
    (select(&SOURCES), content).prop_map(|(source, content)| verdict(source, content))
}

fn any_subjects() -> impl Strategy<Value = Vec<ScanSubject>> {
    let one = |platform: &'static str| {
        vec(any_verdict(), 0..3).prop_map(move |verdicts| subject(Some(platform), verdicts))
    };
    let requested = any::<bool>();
    let whole = (vec(any_verdict(), 0..4), requested)
        .prop_map(|(verdicts, requested)| vec![ScanSubject { requested, ..subject(None, verdicts) }]);
    let platforms = (one("linux/amd64"), one("linux/arm64")).prop_map(|(one, other)| vec![one, other]);
    prop_oneof![3 => whole, 1 => platforms]
}

/// All that can be known of an image's scans.
pub(in crate::decision::tests) fn any_scans() -> impl Strategy<Value = ScanEvidence> {
    let platforms = select(failures()).prop_map(ScanError::Platforms);
    let unlisted = Just(ScanError::Unlisted("the API server is away".to_owned()));
    prop_oneof![
        6 => any_subjects().prop_map(seen),
        1 => Just(ScanEvidence::NotAsked),
        1 => prop_oneof![platforms, unlisted].prop_map(ScanEvidence::Unseen),
    ]
}

fn any_rule() -> impl Strategy<Value = Value> {
    let maybe = |of: BoxedStrategy<Value>| option::of(of).prop_map(|value| value.unwrap_or(Value::Null));
    let severity = select(&["Critical", "High", "Low"]).prop_map(|name| json!(name)).boxed();
    let ids = vec(select(&IDS), 1..3).prop_map(|ids| json!(ids)).boxed();
    let packages = select(&["open*", "zlib", "*"]).prop_map(|one| json!([one])).boxed();
    let days = select(&[1, 7, 30]).prop_map(|days| json!(days)).boxed();
    (severity.clone(), maybe(severity), maybe(ids), maybe(packages), maybe(days), any::<bool>()).prop_map(
        |(least, severity, ids, packages, days, fixable)| {
            let nothing = severity.is_null() && ids.is_null() && packages.is_null();
            json!({
                "severity": if nothing { least } else { severity },
                "ids": ids, "packages": packages, "olderThanDays": days,
                "fixable": if fixable { json!(true) } else { Value::Null },
            })
        },
    )
}

/// Rules that deny something, without exceptions.
pub(in crate::decision::tests) fn any_rules() -> impl Strategy<Value = Value> {
    let sources = option::of(prop_oneof![
        Just(json!({"answer": "All"})),
        (select(&["Any", "All"]), proptest::sample::subsequence(&SOURCES[..3], 1..=3))
            .prop_map(|(answer, names)| json!({"answer": answer, "names": names})),
    ]);
    let age = option::of(select(&["1h", "36h", "30d"]));
    (vec(any_rule(), 1..3), age, select(&["Deny", "Warn", "Allow"]), sources).prop_map(
        |(mut deny, age, missing, sources)| {
            deny.dedup();
            json!({"deny": deny, "maxVerdictAge": age, "missingVerdict": missing, "sources": sources})
        },
    )
}

/// How bad a verdict is. What is missing may be softened, so it is the least bad.
fn badness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Satisfied => 0,
        Verdict::Absent(_) => 1,
        Verdict::Indeterminate(_) => 2,
        Verdict::Violated(_) => 3,
    }
}

fn judged(rules: &Value, subjects: &[ScanSubject]) -> Verdict {
    Scene::with(seen(subjects.to_vec())).vulnerable(rules.clone())
}

/// The same subjects, with `change` made to everything that can be read.
fn changed(subjects: &[ScanSubject], change: impl Fn(&mut Scan)) -> Vec<ScanSubject> {
    let mut subjects = subjects.to_vec();
    for verdict in subjects.iter_mut().flat_map(|subject| &mut subject.verdicts) {
        if let Ok(scan) = &mut Arc::make_mut(verdict).content {
            change(scan);
        }
    }
    subjects
}

/// Takes what `goes` says out of a scan, as if it had never been found.
fn without(scan: &mut Scan, goes: impl Fn(&Vulnerability) -> bool) {
    let mut all = scan.vulnerabilities.to_vec();
    for one in all.extract_if(.., |one| goes(one)) {
        recount(&mut scan.counts, &one, false);
    }
    scan.vulnerabilities = all.into();
}

fn recount(counts: &mut Counts, one: &Vulnerability, more: bool) {
    let at = one.severity.and_then(|severity| Severity::ALL.iter().position(|other| *other == severity));
    let count = at.map_or(&mut counts.unknown, |at| &mut counts.known[at]);
    let step = |number: &mut u32| if more { *number += 1 } else { *number -= 1 };
    step(&mut count.found);
    if one.is_fixable() {
        step(&mut count.fixable);
    }
}

/// Changes each thing that was found, and counts it anew.
fn with_each(scan: &mut Scan, change: impl Fn(&mut Vulnerability)) {
    let mut all = scan.vulnerabilities.to_vec();
    for one in &mut all {
        recount(&mut scan.counts, one, false);
        change(one);
        recount(&mut scan.counts, one, true);
    }
    scan.vulnerabilities = all.into();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn more_findings_never_admit_more(
        rules in any_rules(), subjects in any_subjects(), more in any_vulnerability(), hide in any::<bool>(),
    ) {
        let with_more = changed(&subjects, |scan| {
            scan.counts.add(&more);
            if !hide {
                let mut all = scan.vulnerabilities.to_vec();
                all.push(more.clone());
                scan.vulnerabilities = all.into();
            }
        });
        let (before, after) = (judged(&rules, &subjects), judged(&rules, &with_more));
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
    }

    #[test]
    fn a_higher_severity_never_admits_more(
        rules in any_rules(), subjects in any_subjects(), least in select(&Severity::ALL),
    ) {
        let higher = changed(&subjects, |scan| {
            with_each(scan, |one| one.severity = one.severity.map(|severity| severity.max(least)));
        });
        let (before, after) = (judged(&rules, &subjects), judged(&rules, &higher));
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
    }

    #[test]
    fn an_unknown_severity_is_any_severity_unless_the_policy_says_which(
        rules in any_rules(), subjects in any_subjects(), taken_for in select(&Severity::ALL),
    ) {
        let unknown = changed(&subjects, |scan| with_each(scan, |one| one.severity = None));
        let (known, unknown_) = (judged(&rules, &subjects), judged(&rules, &unknown));
        prop_assert!(badness(&known) <= badness(&unknown_), "{known:?} {unknown_:?}");

        let by_severity = rules["deny"].as_array().unwrap().iter().any(|rule| !rule["severity"].is_null());
        if by_severity {
            let mut saying = rules.clone();
            saying["unknownSeverity"] = json!(taken_for.as_str());
            let stated = changed(&unknown, |scan| {
                with_each(scan, |one| one.severity = Some(taken_for));
                let hidden = std::mem::take(&mut scan.counts.unknown);
                let at = Severity::ALL.iter().position(|one| *one == taken_for).unwrap();
                scan.counts.known[at].found += hidden.found;
                scan.counts.known[at].fixable += hidden.fixable;
            });
            let (saying, stated) = (judged(&saying, &unknown), judged(&rules, &stated));
            prop_assert_eq!(badness(&saying), badness(&stated));
        }
    }

    #[test]
    fn an_exception_subtracts_exactly_what_it_names_until_it_expires(
        mut rules in any_rules(), subjects in any_subjects(), id in select(&IDS),
        packages in option::of(select(&PACKAGES)),
    ) {
        let gone = changed(&subjects, |scan| without(scan, |one| {
            one.is_called(id) && packages.is_none_or(|package| one.package == package)
        }));
        let (all, gone) = (judged(&rules, &subjects), judged(&rules, &gone));
        let packages = packages.map(|package| vec![package]);
        let entry = |until| json!([{"id": id.to_lowercase(), "packages": packages, "until": until, "reason": "TICKET-12"}]);

        rules["ignore"] = entry("2026-06-01T12:00:01Z");
        prop_assert_eq!(badness(&judged(&rules, &subjects)), badness(&gone));
        rules["ignore"] = entry(NOW);
        let expired = judged(&rules, &subjects);
        prop_assert_eq!(expired.as_str(), all.as_str());
        prop_assert_eq!(expired.finding().map(|finding| finding.reason), all.finding().map(|finding| finding.reason));
    }

    #[test]
    fn vex_subtracts_exactly_what_it_names(mut rules in any_rules(), subjects in any_subjects()) {
        let gone = changed(&subjects, |scan| without(scan, |one| {
            matches!(one.vex, Some(VexStatus::Fixed | VexStatus::NotAffected))
        }));
        let gone = judged(&rules, &gone);
        rules["honorVEX"] = json!(true);
        prop_assert_eq!(badness(&judged(&rules, &subjects)), badness(&gone));
    }

    #[test]
    fn an_older_scan_or_database_never_admits_more(
        rules in any_rules(), subjects in any_subjects(), hours in 1..2000_i64, database in any::<bool>(),
    ) {
        let past = |at: &mut Timestamp| *at -= jiff::SignedDuration::from_hours(hours);
        let older = changed(&subjects, |scan| match (&mut scan.database_at, database) {
            (Some(at), true) => past(at),
            _ => past(&mut scan.scanned_at),
        });
        let (before, after) = (judged(&rules, &subjects), judged(&rules, &older));
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
    }

    #[test]
    fn time_that_passes_never_admits_more(
        rules in any_rules(), subjects in any_subjects(), id in select(&IDS), hours in 0..2000_i64,
    ) {
        let mut rules = rules;
        rules["ignore"] = json!([{"id": id, "until": "2026-06-15T00:00:00Z", "reason": "TICKET-12"}]);
        let policy = policy(json!({ "vulnerabilities": rules }));
        let evidence = Evidence { resolution: Resolution::Resolved(digest('a')), scans: seen(subjects) };
        let at = |now| judge(&policy.requirements()[0], &"a.example/x:1".parse().unwrap(), &evidence, now);
        let (before, after) = (at(now()), at(now() + jiff::SignedDuration::from_hours(hours)));
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
    }

    #[test]
    fn what_cannot_be_read_or_is_cut_off_never_admits_more(
        rules in any_rules(), subjects in any_subjects(), cut in 1..4_usize,
    ) {
        let shortened = changed(&subjects, |scan| {
            let mut all = scan.vulnerabilities.to_vec();
            all.truncate(cut);
            scan.vulnerabilities = all.into();
        });
        let (whole, short) = (judged(&rules, &subjects), judged(&rules, &shortened));
        prop_assert!(badness(&whole) <= badness(&short), "{whole:?} {short:?}");

        let mut damaged = subjects.clone();
        for verdict in damaged.iter_mut().flat_map(|subject| &mut subject.verdicts) {
            Arc::make_mut(verdict).content = Err("it is damaged".to_owned());
        }
        let damaged = judged(&rules, &damaged);
        prop_assert!(badness(&whole) <= badness(&damaged), "{whole:?} {damaged:?}");
    }

    #[test]
    fn one_more_verdict_never_admits_more_but_where_it_is_the_answer(
        rules in any_rules(), subjects in any_subjects(), more in any_verdict(),
    ) {
        let before = judged(&rules, &subjects);
        let mut with_more = subjects.clone();
        with_more.iter_mut().for_each(|subject| subject.verdicts.push(more.clone()));
        let after = judged(&rules, &with_more);
        let unanswered = before.finding().is_some_and(|finding| {
            matches!(finding.reason, Reason::ScanVerdictMissing | Reason::ScanVerdictStale)
        });
        prop_assert!(unanswered || badness(&before) <= badness(&after), "{before:?} {after:?}");
        let answered = after.finding().is_none_or(|finding| {
            matches!(finding.reason, Reason::ScanVerdictMissing | Reason::ScanVerdictStale)
        });
        prop_assert!(badness(&before) <= badness(&after) || answered, "{before:?} {after:?}");
    }

    #[test]
    fn one_more_source_of_which_all_must_answer_never_admits_more(
        mut rules in any_rules(), subjects in any_subjects(),
        names in proptest::sample::subsequence(&SOURCES[..3], 1..=2), more in select(&SOURCES[..3]),
    ) {
        rules["sources"] = json!({"answer": "All", "names": names});
        let before = judged(&rules, &subjects);
        rules["sources"]["names"].as_array_mut().unwrap().push(json!(more));
        let after = judged(&rules, &subjects);
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");

        // The same of the cluster's own sources, but that all of none is nobody.
        rules["sources"] = json!({"answer": "All"});
        let cluster = |sources: &[&str]| {
            let sources = sources.iter().map(|name| Box::from(*name)).collect();
            Scene::with(ScanEvidence::Seen { subjects: subjects.clone(), sources }).vulnerable(rules.clone())
        };
        let (before, after) = (cluster(&names), cluster(&[&names[..], &[more]].concat()));
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
        prop_assert_ne!(badness(&cluster(&[])), 0);
    }

    #[test]
    fn all_sources_admit_no_more_than_any(mut rules in any_rules(), subjects in any_subjects()) {
        rules["sources"] = json!({"answer": "Any", "names": ["trivy", "grype"]});
        let any = judged(&rules, &subjects);
        rules["sources"]["answer"] = json!("All");
        let all = judged(&rules, &subjects);
        prop_assert!(all != Verdict::Satisfied || any == Verdict::Satisfied, "{any:?} {all:?}");
    }

    #[test]
    fn one_more_platform_never_admits_more(
        rules in any_rules(), subjects in any_subjects(), more in any_subjects(),
    ) {
        let before = judged(&rules, &subjects);
        let after = judged(&rules, &[subjects, more].concat());
        prop_assert!(badness(&before) <= badness(&after), "{before:?} {after:?}");
    }
}
