//! What a warm review costs in this process, HTTP and TLS left out: reading the body, deciding from memory, and
//! writing the answer. Beside one another: registry rules alone, the same with a signature and an attestation demanded
//! of every image, and the same with a scan verdict of 200 findings demanded, which is the only one or one of 10,000.
//! Nothing is fetched or verified in any; the first review of an image has done that.

#[path = "payload/mod.rs"]
mod payload;
#[path = "scanned/mod.rs"]
mod scanned;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidewaiter::{
    cluster::NoPullSecrets,
    evidence::{Attached, Candidate, Material, RegistryError},
    image::{Digest, ImageReference, Repository},
    policy::{self, PolicySet},
    review::{
        Ports, ReviewSettings, Reviewer, Stage,
        credentials::Credential,
        ports::{
            Attachments, CacheAnswer, CacheName, CacheObserver, Clock, Labels, LookupError, Namespaces,
            NobodyLooks, Policies, Resolver, ScanObserver, ScanRequest, VerdictKeeper as _, Watched,
        },
    },
    signature::{Examination, Trust, Trusted},
    verdicts::{VerdictIndex, object_name},
    webhook::{
        Admission,
        report::{Rejection, Report, Reporter},
    },
};
use tokio::runtime::{Handle, Runtime};

const SLSA: &str = "https://slsa.dev/provenance/v1";
/// The day after the one on which the generated verdicts were made, in seconds since 1970.
const NOW: i64 = 1_767_312_000;

/// What is demanded of every image besides.
#[derive(Clone, Copy)]
enum Demanded {
    Nothing,
    Evidence,
    /// A scan verdict, of which so many are at hand.
    Verdict(usize),
}

/// A cluster that never changes, with one image that is signed and attested.
struct Still {
    policies: Arc<PolicySet>,
    labels: Arc<Labels>,
    digest: Digest,
    beside: Vec<Candidate>,
    trusted: Arc<Trusted>,
    verdicts: Arc<VerdictIndex>,
}

impl Policies for Still {
    fn current(&self) -> Arc<PolicySet> {
        self.policies.clone()
    }
}

impl Namespaces for Still {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(self.labels.clone())
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Ok(self.labels.clone())).boxed()
    }
}

impl Resolver for Still {
    fn resolve<'a>(
        &'a self,
        _: &'a ImageReference,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        ready(Ok(self.digest.clone())).boxed()
    }
}

impl Attachments for Still {
    fn beside<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Digest,
        _: Attached,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>> {
        ready(Ok(self.beside.clone())).boxed()
    }
}

impl Trust for Still {
    fn current(&self) -> Arc<Trusted> {
        self.trusted.clone()
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        // OK because it is a moment of this century
        Timestamp::from_second(NOW).unwrap()
    }
}

impl CacheObserver for Still {
    fn cache(&self, _: CacheName, _: CacheAnswer) {}
}

struct Unobserved;

impl ScanObserver for Unobserved {
    fn verdicts(&self, _: usize, _: usize) {}

    fn scan_request(&self, _: ScanRequest) {}
}

impl Reporter for Still {
    fn reviewed(&self, report: &Report<'_>) {
        assert!(report.allowed(), "the benchmark measures admissions");
    }

    fn rejected(&self, rejection: Rejection) {
        panic!("a request was refused: {rejection:?}");
    }

    fn panicked(&self) {
        panic!("a review broke off");
    }
}

/// Somebody who signs as cosign 3 does.
struct Publisher {
    key: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl Publisher {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = key.public_key().as_der().unwrap().as_ref().to_vec();
        Self { key, spki }
    }

    fn pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&self.spki))
    }

    fn bundle(&self, image: &Digest, predicate_type: &str, predicate: &Value) -> Candidate {
        let payload = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": image.hex()}}],
            "predicateType": predicate_type, "predicate": predicate,
        })
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload), "payloadType": kind,
                "signatures": [{"sig": STANDARD.encode(signature)}],
            },
        });
        Candidate { place: Digest::sha256(b"place"), material: Material::Bundle(bundle.to_string().into()) }
    }
}

fn still(demanded: Demanded) -> Arc<Still> {
    let publisher = Publisher::new();
    let digest = scanned::digest(0);
    let mut spec =
        json!({"registries": {"allow": ["registry.example.com/**"]}, "references": {"denyTags": ["latest"]}});
    if let Demanded::Verdict(_) = demanded {
        // What is there, though none of it is denied, is walked to the end.
        spec["vulnerabilities"] = json!({"deny": [{"ids": ["CVE-1999-0001"]}], "maxVerdictAge": "72h"});
    }
    if let Demanded::Evidence = demanded {
        let authority = json!({"name": "release", "key": {"inline": publisher.pem()}});
        spec["signatures"] = json!({ "authorities": [authority] });
        spec["attestations"] = json!([{
            "name": "provenance", "predicateType": SLSA, "authorities": ["release"],
            "conditions": [{"expression": "predicate.runDetails.builder.id == 'https://ci.example.com'"}],
        }]);
    }
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules"}, "spec": spec,
    });
    let policy = policy::read(&document).unwrap().policy;
    assert_eq!(policy.compile_error(), None);
    let verdicts = match demanded {
        Demanded::Verdict(many) => many,
        Demanded::Nothing | Demanded::Evidence => 0,
    };
    let (index, _) = VerdictIndex::followed(Arc::new(Unobserved));
    for what in [Watched::Sources, Watched::Verdicts] {
        index.vouched(what, Duration::from_secs(3600));
    }
    let read = |number| {
        let name = object_name(&scanned::digest(number), "trivy");
        index.read(&name, "1", Some(&scanned::spec(number, 200)))
    };
    index.verdicts_listed((0..verdicts).map(read).collect());
    let predicate = json!({"runDetails": {"builder": {"id": "https://ci.example.com"}}});
    Arc::new(Still {
        policies: Arc::new(PolicySet::new([Arc::new(policy)])),
        labels: Arc::default(),
        beside: vec![
            publisher.bundle(&digest, "https://sigstore.dev/cosign/sign/v1", &json!({})),
            publisher.bundle(&digest, SLSA, &predicate),
        ],
        digest,
        verdicts: index,
        trusted: Arc::new(Trusted::new(1, Default::default(), Default::default())),
    })
}

fn admission(still: &Arc<Still>, runtime: &Handle) -> Arc<Admission> {
    let ports = Ports {
        policies: still.clone(),
        namespaces: still.clone(),
        pull_secrets: Arc::new(NoPullSecrets),
        resolver: still.clone(),
        attachments: still.clone(),
        examiner: Arc::new(Examination::new(still.clone())),
        verdicts: still.verdicts.clone(),
        platforms: Arc::new(NobodyLooks),
        clock: still.clone(),
        observer: still.clone(),
    };
    // Longer than any run, so that every review but the first of an image is warm.
    let settings = ReviewSettings { tag_cache: Duration::from_secs(3600), ..Default::default() };
    let reviewer = Arc::new(Reviewer::new(ports, settings, runtime.clone()));
    Arc::new(Admission::new(reviewer, still.clone(), runtime.clone()))
}

fn warm(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("warm review");
    for containers in payload::CONTAINERS {
        let body = Bytes::from(payload::review(containers));
        let columns = [
            ("registries", Demanded::Nothing),
            ("signatures", Demanded::Evidence),
            ("verdict, one", Demanded::Verdict(1)),
            ("verdict, of 10,000", Demanded::Verdict(10_000)),
        ];
        for (name, demanded) in columns {
            let admission = admission(&still(demanded), runtime.handle());
            let ask = || {
                let now = Instant::now();
                let deadline = now + Duration::from_secs(10);
                runtime.block_on(admission.answer(Stage::Mutate, body.clone(), now, deadline)).unwrap()
            };
            ask();
            group.bench_function(BenchmarkId::new(name, containers), |bencher| bencher.iter(ask));
        }
    }
    group.finish();
}

criterion_group!(benches, warm);
criterion_main!(benches);
