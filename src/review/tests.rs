use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt as _, join_all, pending, ready};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    DigestPinning, ImageSlot, Ports, Question, ReviewSettings, Reviewer, Stage, Workloads,
    credentials::{Credential, Keyring},
    ports::{
        CacheAnswer, CacheObserver, Clock, Labels, LookupError, Namespaces, Policies, PullSecrets, Resolver,
    },
};
use crate::{
    decision::Decision,
    evidence::RegistryError,
    image::{Digest, ImageReference},
    policy::{self, PolicySet},
};

const IMAGE: &str = "registry.example.com/shop/web:1";

/// Everything outside the process, and how often the registry was asked.
struct World {
    policies: Arc<PolicySet>,
    answer: Option<Result<Digest, RegistryError>>,
    namespace: Option<Labels>,
    asked: AtomicUsize,
}

impl Default for World {
    fn default() -> Self {
        let rules = json!({"registries": {"allow": ["registry.example.com/**"]}});
        Self {
            policies: policies(&rules),
            answer: Some(Ok(Digest::sha256(b"web"))),
            namespace: Some(Labels::new()),
            asked: AtomicUsize::new(0),
        }
    }
}

fn policies(spec: &Value) -> Arc<PolicySet> {
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules"}, "spec": spec,
    });
    let policy = policy::read(&document).unwrap().policy;
    assert_eq!(policy.compile_error(), None);
    Arc::new(PolicySet::new([Arc::new(policy)]))
}

impl Resolver for World {
    fn resolve<'a>(
        &'a self,
        _: &'a ImageReference,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.answer.clone() {
            Some(answer) => async {
                // Long enough that others come meanwhile.
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer
            }
            .boxed(),
            None => pending().boxed(),
        }
    }
}

impl Policies for World {
    fn current(&self) -> Arc<PolicySet> {
        self.policies.clone()
    }
}

impl Namespaces for World {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        self.namespace.clone().map(Arc::new)
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Err(LookupError("nobody knows".to_owned()))).boxed()
    }
}

/// Each object's secret is called after its password.
impl PullSecrets for World {
    fn known(&self, _: &str, _: &str, secrets: &[&str]) -> Option<Arc<Keyring>> {
        let auths: BTreeMap<_, _> = secrets
            .iter()
            .map(|secret| ("registry.example.com", json!({"username": "u", "password": secret})))
            .collect();
        let config = json!({ "auths": auths }).to_string();
        Some(Arc::new(Keyring::from_docker_config(config.as_bytes()).unwrap()))
    }

    fn keyring<'a>(
        &'a self,
        namespace: &'a str,
        account: &'a str,
        secrets: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>> {
        ready(Ok(PullSecrets::known(self, namespace, account, secrets).unwrap())).boxed()
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl CacheObserver for World {
    fn tag_cache(&self, _: CacheAnswer) {}
}

fn reviewer(world: &Arc<World>, settings: ReviewSettings) -> Reviewer {
    let ports = Ports {
        policies: world.clone(),
        namespaces: world.clone(),
        pull_secrets: world.clone(),
        resolver: world.clone(),
        clock: world.clone(),
        observer: world.clone(),
    };
    Reviewer::new(ports, settings, Handle::current())
}

fn question<'a>(images: &'a [ImageSlot<'a>], secrets: &'a [&'a str], labels: &'a Labels) -> Question<'a> {
    Question {
        stage: Stage::Mutate,
        is_pod: true,
        namespace: "shop",
        labels,
        service_account: "default",
        pull_secrets: secrets,
        images,
    }
}

async fn ask(reviewer: &Reviewer, image: &str, secrets: &[&str]) -> Decision {
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image }];
    reviewer
        .review(&question(&images, secrets, &Labels::new()), Instant::now() + Duration::from_secs(10))
        .await
}

fn asked(world: &World) -> usize {
    world.asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn many_reviews_of_one_tag_ask_once_and_later_ones_not_at_all() {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings::default());
    let decisions = join_all((0..50).map(|_| ask(&reviewer, IMAGE, &[]))).await;
    assert!(decisions.iter().all(Decision::allowed));
    assert!(ask(&reviewer, IMAGE, &[]).await.allowed());
    assert_eq!(asked(&world), 1);
}

#[tokio::test]
async fn what_one_password_learned_is_told_to_nobody_with_another() {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings::default());
    for secrets in [&["a"][..], &["b"], &[], &["a"]] {
        ask(&reviewer, IMAGE, secrets).await;
    }
    assert_eq!(asked(&world), 3);
}

#[tokio::test]
async fn a_tag_cache_of_no_length_remembers_nothing() {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings { tag_cache: Duration::ZERO, ..Default::default() });
    ask(&reviewer, IMAGE, &[]).await;
    ask(&reviewer, IMAGE, &[]).await;
    assert_eq!(asked(&world), 2);
}

#[rstest]
#[case::an_answer(RegistryError::NotFound, 1)]
#[case::no_answer(RegistryError::TimedOut, 2)]
#[tokio::test]
async fn only_answers_are_remembered(#[case] error: RegistryError, #[case] times: usize) {
    let world = Arc::new(World { answer: Some(Err(error)), ..World::default() });
    let reviewer = reviewer(&world, ReviewSettings::default());
    assert!(!ask(&reviewer, IMAGE, &[]).await.allowed());
    assert!(!ask(&reviewer, IMAGE, &[]).await.allowed());
    assert_eq!(asked(&world), times);
}

#[tokio::test]
async fn a_no_that_needs_no_network_costs_none() {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings::default());
    assert!(!ask(&reviewer, "docker.io/library/nginx:1", &[]).await.allowed());
    assert_eq!(asked(&world), 0);
}

#[tokio::test]
async fn a_registry_that_never_answers_is_a_no_at_the_deadline() {
    let world = Arc::new(World { answer: None, ..World::default() });
    let reviewer = reviewer(&world, ReviewSettings::default());
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image: IMAGE }];
    let labels = Labels::new();
    let asking = question(&images, &[], &labels);
    let review = reviewer.review(&asking, Instant::now() + Duration::from_millis(100));
    let decision = tokio::time::timeout(Duration::from_secs(30), review).await.unwrap();
    assert!(!decision.allowed());
}

#[tokio::test]
async fn a_namespace_that_nobody_knows_is_selected_by_every_policy_and_refused() {
    let spec = json!({
        "match": {"namespaceSelector": {"matchLabels": {"stage": "production"}}},
        "registries": {"allow": ["registry.example.com/**"]},
    });
    let known = Arc::new(World { policies: policies(&spec), ..World::default() });
    assert!(ask(&reviewer(&known, ReviewSettings::default()), IMAGE, &[]).await.allowed());
    let unknown = Arc::new(World { policies: policies(&spec), namespace: None, ..World::default() });
    assert!(!ask(&reviewer(&unknown, ReviewSettings::default()), IMAGE, &[]).await.allowed());
}

#[rstest]
#[case::a_tag_of_a_pod(IMAGE, Stage::Mutate, true, DigestPinning::Pods, 1)]
#[case::a_digest_is_there(
    "registry.example.com/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    Stage::Mutate,
    true,
    DigestPinning::Pods,
    0
)]
#[case::switched_off(IMAGE, Stage::Mutate, true, DigestPinning::Off, 0)]
#[case::too_late(IMAGE, Stage::Validate, true, DigestPinning::Pods, 0)]
#[case::a_template(IMAGE, Stage::Validate, false, DigestPinning::Pods, 0)]
#[tokio::test]
async fn digests_are_written_into_pods_alone(
    #[case] image: &str,
    #[case] stage: Stage,
    #[case] is_pod: bool,
    #[case] digest_pinning: DigestPinning,
    #[case] pins: usize,
) {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings { digest_pinning, ..Default::default() });
    let (images, labels) = ([ImageSlot { pointer: "/spec/containers/0/image", image }], Labels::new());
    let question = Question { stage, is_pod, ..question(&images, &[], &labels) };
    let decision = reviewer.review(&question, Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(reviewer.pins(&question, &decision).len(), pins);
}

#[rstest]
#[case(Workloads::Deny, false)]
#[case(Workloads::Warn, true)]
#[case(Workloads::Off, true)]
#[tokio::test]
async fn the_setting_says_what_becomes_of_workloads(#[case] workloads: Workloads, #[case] allowed: bool) {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings { workloads, ..Default::default() });
    let images = [ImageSlot { pointer: "/image", image: "docker.io/library/nginx:1" }];
    let labels = Labels::new();
    let question = Question { stage: Stage::Validate, is_pod: false, ..question(&images, &[], &labels) };
    let decision = reviewer.review(&question, Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(decision.allowed(), allowed);
    assert_eq!(decision.images.is_empty(), workloads == Workloads::Off);
}

#[tokio::test]
async fn what_is_known_is_answered_without_waiting_and_alike() {
    let world = Arc::new(World::default());
    let reviewer = reviewer(&world, ReviewSettings::default());
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image: IMAGE }];
    let labels = Labels::new();
    let question = question(&images, &[], &labels);
    assert_eq!(reviewer.review_now(&question), None, "somebody must be asked");
    let decision = reviewer.review(&question, Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(reviewer.review_now(&question), Some(decision));
}
