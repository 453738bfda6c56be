//! Reading references and matching patterns: what every review does for every image, before any cache.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidewaiter::image::{ImagePattern, ImageReference};

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("reference/parse");
    let hex = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";
    let long = format!(
        "registry.eu-west-1.example.com:5000/platform/team-a/services/checkout:2026.11.24-rc.1@sha256:{hex}"
    );
    let longest =
        format!("{}.io:65535/{}:{}@sha512:{hex}{hex}", "h".repeat(250), "p".repeat(255), "t".repeat(128));
    for (name, text) in [("short", "nginx"), ("long", &*long), ("longest", &*longest)] {
        assert!(text.parse::<ImageReference>().is_ok());
        group.bench_function(name, |b| b.iter(|| black_box(text).parse::<ImageReference>()));
    }
}

fn matches(c: &mut Criterion) {
    let mut group = c.benchmark_group("pattern/match");
    let image: ImageReference = "registry.example.com/platform/team-a/services/checkout:1".parse().unwrap();
    // All but the last almost match, so that none is dismissed at its first character
    let mut patterns: Vec<ImagePattern> = (0..255)
        .map(|at| match at % 3 {
            0 => format!("registry.example.com/platform/team-a/**/service-{at}"),
            1 => format!("*.example.com/platform/*-{at}/**"),
            _ => format!("registry.example.com/platform/team-a/services/checkout-{at}"),
        })
        .map(|text| text.parse().unwrap())
        .collect();
    patterns.push("registry.example.com/**".parse().unwrap());
    for (name, patterns) in [("1", &patterns[255..]), ("256", &patterns[..])] {
        assert!(patterns.iter().position(|pattern| pattern.matches(&image)) == Some(patterns.len() - 1));
        let any_matches = || patterns.iter().any(|pattern| pattern.matches(black_box(&image)));
        group.bench_function(name, |b| b.iter(any_matches));
    }
    let stubborn: ImagePattern = format!("h.io/{}b", "**/a*/".repeat(7)).parse().unwrap();
    let image: ImageReference = format!("h.io/{}a", "a/".repeat(127)).parse().unwrap();
    assert!(!stubborn.matches(&image));
    group.bench_function("hostile", |b| b.iter(|| stubborn.matches(black_box(&image))));
}

criterion_group!(benches, parse, matches);
criterion_main!(benches);
