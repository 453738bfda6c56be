//! Conditions: what a policy costs when it is loaded, and what each attestation costs it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidewaiter::{
    image::{Digest, ImageReference},
    policy::{Condition, ConditionFailure, Facts, ImageFacts},
};

const BUILDER: &str = "predicate.runDetails.builder.id == 'https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3'";
const SLSA: &str = "predicate.runDetails.builder.id.startsWith('https://github.com/acme/')
    && predicate.buildDefinition.externalParameters.workflow.repository == 'https://github.com/acme/app'
    && predicate.buildDefinition.externalParameters.workflow.ref.matches('^refs/tags/v[0-9]+')
    && predicate.buildDefinition.resolvedDependencies.all(d, d.uri.startsWith('git+https://github.com/acme/'))";
const LICENCE: &str = "!predicate.packages.exists(p, p.?licenseConcluded.orValue('').contains('AGPL'))";
const FRESH: &str = "timestamp(predicate.metadata.scanFinishedOn) > now - duration('72h')";
/// Almost all the steps that an evaluation may take.
const DEAREST: &str = "predicate.list.all(x, predicate.list.all(y, x + y >= 0 && string(x) != 'a'))";

/// Provenance of 3 KB.
fn slsa() -> Value {
    let dependency = |at: usize| {
        json!({"uri": format!("git+https://github.com/acme/library-{at}@refs/tags/v1.2.3"),
               "digest": {"gitCommit": format!("{at:040x}")}})
    };
    json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "predicate": {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"ref": "refs/tags/v1.2.3", "repository": "https://github.com/acme/app"}},
            "resolvedDependencies": (0..20).map(dependency).collect::<Vec<_>>(),
        },
        "runDetails": {"builder": {"id": "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3"}},
    }})
}

fn sbom(packages: usize) -> Value {
    let package =
        |at: usize| json!({"name": format!("package-{at}"), "licenseConcluded": "MIT OR Apache-2.0"});
    json!({"predicate": {"packages": (0..packages).map(package).collect::<Vec<_>>()}})
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("condition/compile");
    for (name, expression) in [("builder", BUILDER), ("slsa", SLSA), ("licence", LICENCE)] {
        group.bench_function(name, |b| b.iter(|| Condition::compile(black_box(expression), None)));
    }
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("condition/check");
    let reference: ImageReference = "registry.example.com/team/app:1.2.3".parse().unwrap();
    let digest = Digest::sha256(b"an image");
    let scan = json!({"predicate": {"metadata": {"scanFinishedOn": "2026-11-24T00:00:00Z"}}});
    let list: Vec<usize> = (0..190).collect();
    for (name, expression, statement) in [
        ("builder", BUILDER, slsa()),
        ("slsa", SLSA, slsa()),
        ("fresh", FRESH, scan),
        ("licence of 1000", LICENCE, sbom(1000)),
        ("licence of 10000", LICENCE, sbom(10_000)),
        ("dearest", DEAREST, json!({"predicate": {"list": list}})),
    ] {
        let condition = Condition::compile(expression, None).unwrap();
        let image = ImageFacts { reference: &reference, digest: &digest };
        let facts = Facts { statement: &statement, image, now: "2026-11-24T12:00:00Z".parse().unwrap() };
        assert_eq!(condition.check(&facts), Ok(()), "{name}");
        group.bench_function(name, |b| b.iter(|| condition.check(black_box(&facts))));
    }
    // What is over the bound is known before it begins
    let statement = json!({"predicate": {"list": vec![1; 100_000]}});
    let image = ImageFacts { reference: &reference, digest: &digest };
    let facts = Facts { statement: &statement, image, now: "2026-11-24T12:00:00Z".parse().unwrap() };
    let condition = Condition::compile(DEAREST, None).unwrap();
    assert_eq!(condition.check(&facts), Err(ConditionFailure::OverBudget));
    group.bench_function("over the bound", |b| b.iter(|| condition.check(black_box(&facts))));
}

criterion_group!(benches, compile, check);
criterion_main!(benches);
