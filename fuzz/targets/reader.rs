//! One reader, that of the format in `FUZZ_FORMAT`, on any bytes: it neither panics nor breaks what it promises.
//!
//! Its seeds go to the directory in `FUZZ_SEEDS` before it begins. Without a format it prints all that there are.

#![no_main]

mod seeds;

use std::{path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tidewaiter::{
    image::Digest,
    reports::{Format, LIMITS, Report, read},
};

static FORMAT: LazyLock<Format> = LazyLock::new(|| {
    let word = std::env::var("FUZZ_FORMAT").expect("FUZZ_FORMAT names the format");
    word.parse().expect("FUZZ_FORMAT is a format of reports")
});

/// The digest of something that no report can know of.
static STRANGER: LazyLock<Digest> = LazyLock::new(|| Digest::sha256(b"a digest that stands in no report"));

/// Runs before libFuzzer looks at its arguments, and so before it reads the seeds.
fn prepare() {
    let Ok(directory) = std::env::var("FUZZ_SEEDS") else { return };
    if std::env::var_os("FUZZ_FORMAT").is_none() {
        Format::ALL.iter().for_each(|format| println!("{format}"));
        std::process::exit(0);
    }
    seeds::write(*FORMAT, Path::new(&directory)).expect("the seeds can be written");
}

fuzz_target!(init: prepare(), |bytes: &[u8]| {
    let Ok(reports) = read(*FORMAT, bytes) else { return };
    assert!(!reports.is_empty(), "no report, and no error");
    assert!(reports.iter().map(|report| report.rows).sum::<usize>() <= LIMITS.rows);
    for report in reports {
        check(&report);
    }
    // the shape shows the format, or two of them, but never another
    if let (Ok(auto), true) = (read(Format::Auto, bytes), *FORMAT != Format::Auto) {
        assert_eq!(Ok(auto), read(*FORMAT, bytes));
    }
});

fn check(report: &Report) {
    assert!(!report.scanner.is_empty());
    assert!(report.vulnerabilities.len() <= report.rows);
    for one in &report.vulnerabilities {
        assert!(!one.id.is_empty() && one.id.len() <= 64, "{:?}", one.id);
        assert!(one.aliases.len() <= LIMITS.aliases);
        assert!(one.package.len() <= 256 && one.installed.len() <= 256 && one.package_type.len() <= 64);
        let texts = [&one.id, &one.package, &one.package_type, &one.installed];
        let texts = texts.into_iter().chain(&one.fixed).chain(&one.aliases);
        assert!(!texts.into_iter().any(|text| text.chars().any(char::is_control)), "{one:?}");
        assert!(one.score.is_none_or(|score| score <= 100));
    }
    let mut again = report.clone();
    again.settle();
    assert_eq!(again, *report, "settling twice is settling once");
    if !report.subject.digests.is_empty() {
        assert!(report.bind(Some(&STRANGER), None).is_err(), "bound to a stranger");
    }
    let named = report.bind(None, None);
    assert!(named.is_err() || report.subject.digests.len() == 1);
}
