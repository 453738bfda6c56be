//! What it costs to read a review and find its images, beside what it costs to look at every byte of it.

mod payload;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tidewaiter::{
    webhook::envelope::parse,
    workload::{Document, Workload, WorkloadKind},
};

fn extract(body: &[u8]) -> usize {
    let request = parse::<Document<'_>>(body).unwrap();
    let kind = WorkloadKind::of(&request.requested_type()).unwrap();
    let object = request.object.unwrap().unwrap();
    Workload::extract(kind, object, None).unwrap().images().len()
}

/// The same in two passes, as it would be if the object waited for its kind to be known.
fn extract_later(body: &[u8]) -> usize {
    let request = parse::<&RawValue>(body).unwrap();
    let kind = WorkloadKind::of(&request.requested_type()).unwrap();
    let object = Document::from_json(request.object.unwrap().unwrap().get()).unwrap();
    Workload::extract(kind, object, None).unwrap().images().len()
}

fn envelope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for containers in payload::CONTAINERS {
        let body = payload::review(containers);
        assert_eq!(extract(&body), containers);
        let id =
            |name: &str| BenchmarkId::new(name, format!("{containers} containers, {} bytes", body.len()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(id("floor: every byte skipped"), &body, |bench, body| {
            bench.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(body)).unwrap());
        });
        group.bench_with_input(id("parse and extract"), &body, |bench, body| {
            bench.iter(|| extract(black_box(body)));
        });
        group.bench_with_input(id("parse, then extract"), &body, |bench, body| {
            bench.iter(|| extract_later(black_box(body)));
        });
    }
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);
