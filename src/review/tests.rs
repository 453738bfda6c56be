use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
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
        Attachments, CacheAnswer, CacheName, CacheObserver, Clock, Examiner, ImagePlatform, Labels,
        LookupError, Namespaces, Platforms, Policies, PullSecrets, Resolver, Verdicts,
    },
};
use crate::{
    decision::{Check, Decision, Reason, Verdict},
    evidence::{
        Attached, AuthorityEvidence, Candidate, Claim, KeyFingerprint, Material, RegistryError, ScanError,
        ScanVerdict, Signer, Verified,
    },
    image::{Digest, ImageReference, Repository},
    policy::{self, Authority, PolicySet},
};

mod scans;

const IMAGE: &str = "registry.example.com/shop/web:1";
/// The state of keys and roots in which whoever examines panics.
const PANICS: u64 = 13;

/// Everything outside the process, and how often the registry was asked.
struct World {
    policies: Arc<PolicySet>,
    answer: Option<Result<Digest, RegistryError>>,
    namespace: Option<Labels>,
    asked: AtomicUsize,
    /// What the registry says stands beside every image; none waits for ever.
    beside: Mutex<Option<Result<Vec<Candidate>, RegistryError>>>,
    looked: AtomicUsize,
    examined: AtomicUsize,
    trust: AtomicU64,
    /// What scanners have said.
    scanned: Mutex<Vec<Arc<ScanVerdict>>>,
}

impl Default for World {
    fn default() -> Self {
        let rules = json!({"registries": {"allow": ["registry.example.com/**"]}});
        Self {
            policies: policies(&rules),
            answer: Some(Ok(Digest::sha256(b"web"))),
            namespace: Some(Labels::new()),
            asked: AtomicUsize::new(0),
            beside: Mutex::new(Some(Ok(Vec::new()))),
            looked: AtomicUsize::new(0),
            examined: AtomicUsize::new(0),
            trust: AtomicU64::new(1),
            scanned: Mutex::default(),
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

impl Attachments for World {
    fn beside<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Digest,
        _: Attached,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        let answer = self.beside.lock().unwrap().clone();
        match answer {
            Some(answer) => async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer
            }
            .boxed(),
            None => pending().boxed(),
        }
    }
}

/// Whatever stands beside an image is signed by everybody.
impl Examiner for World {
    fn trust_version(&self) -> u64 {
        self.trust.load(Ordering::SeqCst)
    }

    fn examine(
        &self,
        authorities: &[Authority],
        found: &[Result<Arc<[Candidate]>, RegistryError>],
        _: &Digest,
    ) -> Vec<AuthorityEvidence> {
        self.examined.fetch_add(1, Ordering::SeqCst);
        assert!(self.trust_version() != PANICS, "as the test wants it");
        let verified = Verified {
            signer: Signer::Key(KeyFingerprint::new([7; 32])),
            claim: Claim::Image { annotations: BTreeMap::new(), identity: None },
            logged: false,
            times: Vec::new(),
        };
        let seen = |found: &Result<Arc<[Candidate]>, RegistryError>| match found {
            Ok(candidates) => AuthorityEvidence::Seen {
                verified: vec![verified.clone(); candidates.len()],
                rejected: Vec::new(),
            },
            Err(error) => AuthorityEvidence::Unseen(error.clone()),
        };
        authorities.iter().zip(found).map(|(_, found)| seen(found)).collect()
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
    fn cache(&self, _: CacheName, _: CacheAnswer) {}
}

/// Nobody has scanned anything that is not in `scanned`.
impl Verdicts for World {
    fn of(&self, digest: &Digest) -> Result<Vec<Arc<ScanVerdict>>, ScanError> {
        let scanned = self.scanned.lock().unwrap();
        Ok(scanned.iter().filter(|verdict| verdict.digest == *digest).cloned().collect())
    }

    fn sources(&self) -> Arc<[Box<str>]> {
        Arc::default()
    }

    fn request(&self, _: &ImageReference, _: &Digest) -> bool {
        true
    }
}

/// Every image is for one platform.
impl Platforms for World {
    fn platforms<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Digest,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        ready(Ok(None)).boxed()
    }
}

fn reviewer(world: &Arc<World>, settings: ReviewSettings) -> Reviewer {
    let ports = Ports {
        policies: world.clone(),
        namespaces: world.clone(),
        pull_secrets: world.clone(),
        resolver: world.clone(),
        attachments: world.clone(),
        examiner: world.clone(),
        verdicts: world.clone(),
        platforms: world.clone(),
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

fn signed_policy() -> Value {
    let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELy5qaMnPuIMkT5OaT0h6bJ1IlCEW\n\
        3GfSthkqypF+7fEi8sMzdUMdd39/KaLMIQPKQdJQovx+sXrwz9Ev/sIkzA==\n-----END PUBLIC KEY-----";
    json!({"signatures": {"authorities": [{"name": "release", "key": {"inline": key}}]}})
}

/// A world whose images must be signed, and what stands beside them.
fn signing(beside: Option<Result<Vec<Candidate>, RegistryError>>) -> World {
    World { policies: policies(&signed_policy()), beside: Mutex::new(beside), ..World::default() }
}

fn a_signature() -> Candidate {
    Candidate { place: Digest::sha256(b"signature"), material: Material::Bundle("{}".into()) }
}

fn counts(world: &World) -> [usize; 3] {
    [&world.asked, &world.looked, &world.examined].map(|count| count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn many_reviews_of_one_signed_image_look_and_examine_once() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    let decisions = join_all((0..1000).map(|_| ask(&reviewer, IMAGE, &[]))).await;
    assert!(decisions.iter().all(Decision::allowed));
    assert_eq!(counts(&world), [1, 1, 1]);
    let images = ["/spec/containers/0/image"; 8].map(|pointer| ImageSlot { pointer, image: IMAGE });
    let labels = Labels::new();
    assert!(reviewer.review_now(&question(&images, &[], &labels)).unwrap().allowed());
    assert_eq!(counts(&world), [1, 1, 1]);
}

#[tokio::test]
async fn eight_containers_of_one_cold_image_are_one_look() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    let images = ["/spec/containers/0/image"; 8].map(|pointer| ImageSlot { pointer, image: IMAGE });
    let labels = Labels::new();
    let question = question(&images, &[], &labels);
    assert!(reviewer.review(&question, Instant::now() + Duration::from_secs(10)).await.allowed());
    assert_eq!(counts(&world), [1, 1, 1]);
}

#[tokio::test]
async fn new_keys_or_roots_are_used_at_the_next_review() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    assert!(ask(&reviewer, IMAGE, &[]).await.allowed());
    world.trust.store(2, Ordering::SeqCst);
    assert!(ask(&reviewer, IMAGE, &[]).await.allowed());
    // Examined anew, though nothing new had to be fetched for that.
    assert_eq!(counts(&world), [1, 1, 2]);
}

#[tokio::test]
async fn what_one_password_saw_beside_an_image_is_told_to_nobody_with_another() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    for secrets in [&["a"][..], &["b"], &[], &["a"]] {
        assert!(ask(&reviewer, IMAGE, secrets).await.allowed());
    }
    assert_eq!(counts(&world), [3, 3, 3]);
}

#[tokio::test]
async fn a_digest_that_is_written_is_looked_beside_all_the_same() {
    let world = Arc::new(signing(Some(Ok(Vec::new()))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    let pinned = format!("{IMAGE}@{}", Digest::sha256(b"web"));
    assert!(!ask(&reviewer, &pinned, &[]).await.allowed());
    assert_eq!(counts(&world), [0, 1, 1]);
}

#[tokio::test]
async fn nobody_looks_beside_an_image_that_is_refused_already() {
    let mut spec = signed_policy();
    spec["registries"] = json!({"deny": ["registry.example.com/**"]});
    let world = Arc::new(World { policies: policies(&spec), ..signing(Some(Ok(vec![a_signature()]))) });
    let reviewer = reviewer(&world, ReviewSettings::default());
    let pinned = format!("{IMAGE}@{}", Digest::sha256(b"web"));
    for image in [IMAGE, &pinned] {
        let decision = ask(&reviewer, image, &[]).await;
        let reasons: Vec<_> = decision.images[0]
            .results
            .iter()
            .filter_map(|result| Some(result.verdict.finding()?.reason.as_str()))
            .collect();
        assert_eq!(reasons, ["RegistryDenied"], "{image}");
    }
    assert_eq!(counts(&world), [0, 0, 0]);
}

#[rstest]
#[case::nothing_there(Ok(Vec::new()), 1)]
#[case::not_for_us(Err(RegistryError::Denied), 1)]
#[case::nobody_could_say(Err(RegistryError::TimedOut), 2)]
#[tokio::test]
async fn only_what_was_seen_is_remembered(
    #[case] beside: Result<Vec<Candidate>, RegistryError>,
    #[case] looks: usize,
) {
    let world = Arc::new(signing(Some(beside)));
    let reviewer = reviewer(&world, ReviewSettings::default());
    assert!(!ask(&reviewer, IMAGE, &[]).await.allowed());
    assert!(!ask(&reviewer, IMAGE, &[]).await.allowed());
    assert_eq!(world.looked.load(Ordering::SeqCst), looks);
}

#[tokio::test]
async fn a_registry_that_never_shows_its_signatures_is_a_no_at_the_deadline_that_may_pass() {
    let world = Arc::new(signing(None));
    let reviewer = reviewer(&world, ReviewSettings::default());
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image: IMAGE }];
    let labels = Labels::new();
    let asking = question(&images, &[], &labels);
    let review = reviewer.review(&asking, Instant::now() + Duration::from_millis(200));
    let decision = tokio::time::timeout(Duration::from_secs(20), review).await.unwrap();
    let told = decision.images[0].results.iter().find(|result| result.check == Check::Signatures).unwrap();
    assert!(
        matches!(&told.verdict, Verdict::Indeterminate(finding) if finding.reason == Reason::RegistryTimedOut)
    );
}

/// The look goes on when nobody waits any more, so that a retry is admitted.
#[tokio::test]
async fn a_look_that_came_too_late_answers_the_retry() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image: IMAGE }];
    let labels = Labels::new();
    let question = question(&images, &[], &labels);
    // The digest takes 20 ms, and what stands beside it 20 ms more.
    assert!(!reviewer.review(&question, Instant::now() + Duration::from_millis(30)).await.allowed());
    let end = Instant::now() + Duration::from_secs(20);
    while reviewer.review_now(&question).is_none() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
        // A review that has no time of its own still sets off what is missing.
        reviewer.review(&question, Instant::now()).await;
    }
    assert!(reviewer.review_now(&question).unwrap().allowed());
    assert_eq!(counts(&world), [1, 1, 1]);
}

#[tokio::test]
async fn an_examination_that_panics_is_a_no_and_the_next_one_works() {
    let world = Arc::new(signing(Some(Ok(vec![a_signature()]))));
    let reviewer = reviewer(&world, ReviewSettings::default());
    world.trust.store(PANICS, Ordering::SeqCst);
    assert!(!ask(&reviewer, IMAGE, &[]).await.allowed());
    world.trust.store(1, Ordering::SeqCst);
    assert!(ask(&reviewer, IMAGE, &[]).await.allowed());
}
