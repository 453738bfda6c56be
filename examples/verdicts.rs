//! What a cluster's scan verdicts take in memory, and how long it takes to read them: `cargo run --release --example
//! verdicts -- 10000 200` generates so many with so many findings each, reads them from JSON page by page as they come
//! from an API server, and prints what they cost. Linux only: it asks /proc.

#[path = "../benches/scanned/mod.rs"]
mod scanned;

use std::{
    env, fs,
    io::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tidewaiter::{
    review::ports::{ScanObserver, ScanRequest, VerdictKeeper as _, Verdicts as _},
    verdicts::{VerdictIndex, object_name},
};

/// How many verdicts come in one page.
const PAGE: usize = 100;

struct Unobserved;

impl ScanObserver for Unobserved {
    fn verdicts(&self, _: usize, _: usize) {}

    fn scan_request(&self, _: ScanRequest) {}
}

fn main() -> anyhow::Result<()> {
    let mut numbers = env::args().skip(1).map(|number| number.parse::<usize>());
    let verdicts = numbers.next().unwrap_or(Ok(10_000)).context("how many verdicts")?;
    let findings = numbers.next().unwrap_or(Ok(200)).context("how many findings each")?;
    let index = VerdictIndex::fixed(Arc::new(Unobserved));
    let before = status("VmRSS")?;
    let (mut kept, mut bytes, mut reading) = (Vec::new(), 0, Duration::ZERO);
    for start in (0..verdicts).step_by(PAGE) {
        let page: Vec<_> = (start..verdicts.min(start + PAGE))
            .map(|number| (object_name(&scanned::digest(number), "trivy"), scanned::spec(number, findings)))
            .collect();
        bytes += page.iter().map(|(_, spec)| spec.len()).sum::<usize>();
        let since = Instant::now();
        kept.extend(page.iter().map(|(name, spec)| index.read(name, "1", Some(spec))));
        reading += since.elapsed();
    }
    let since = Instant::now();
    index.verdicts_listed(kept);
    reading += since.elapsed();
    let after = status("VmRSS")?;
    let found = index.of(&scanned::digest(0)).context("the first verdict")?;
    anyhow::ensure!(found.iter().all(|verdict| verdict.content.is_ok()), "{found:?}");
    let all = (verdicts * findings).max(1);
    writeln!(
        io::stdout(),
        "{verdicts} verdicts with {findings} findings each\n\
         JSON: {} bytes per finding\n\
         kept: {} bytes per finding\n\
         resident: {} MiB, at most {} MiB, {} MiB before\n\
         read and kept within {} ms",
        bytes / all,
        (after.saturating_sub(before) << 10) / all,
        after >> 10,
        status("VmHWM")? >> 10,
        before >> 10,
        reading.as_millis(),
    )?;
    Ok(())
}

/// A field of /proc/self/status in KiB (proc(5)).
fn status(field: &str) -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("this needs /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no such field")?.parse().context("no number")
}
