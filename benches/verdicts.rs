//! What scan verdicts cost: one look-up among 10,000, beside the reading of one verdict. What they take in memory says
//! the example `verdicts`.

#[path = "scanned/mod.rs"]
mod scanned;

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use tidewaiter::{
    review::ports::{ScanObserver, ScanRequest, VerdictKeeper as _, Verdicts as _, Watched},
    verdicts::{VerdictIndex, object_name},
};

const VERDICTS: usize = 10_000;

struct Unobserved;

impl ScanObserver for Unobserved {
    fn verdicts(&self, _: usize, _: usize) {}

    fn scan_request(&self, _: ScanRequest) {}
}

fn verdicts(criterion: &mut Criterion) {
    let (index, _wanted) = VerdictIndex::followed(Arc::new(Unobserved));
    for what in [Watched::Sources, Watched::Verdicts] {
        index.vouched(what, Duration::from_secs(3600));
    }
    let name = |number| object_name(&scanned::digest(number), "trivy");
    // Few findings: a look-up does not see them.
    let all = (0..VERDICTS).map(|number| index.read(&name(number), "1", Some(&scanned::spec(number, 4))));
    index.verdicts_listed(all.collect());

    let known: Vec<_> = (0..VERDICTS).map(scanned::digest).collect();
    let unknown: Vec<_> = (VERDICTS..2 * VERDICTS).map(scanned::digest).collect();
    let mut group = criterion.benchmark_group("look-up");
    for (what, digests) in [("scanned", known), ("not scanned", unknown)] {
        let mut turn = digests.iter().cycle();
        group.bench_function(what, |bencher| {
            // OK because it goes round
            bencher.iter(|| black_box(index.of(turn.next().unwrap())));
        });
    }
    group.finish();

    let (name, spec) = (name(0), scanned::spec(0, 200));
    criterion.bench_function("read 200 findings", |bencher| {
        bencher.iter(|| black_box(index.read(&name, "", Some(&spec))));
    });
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
