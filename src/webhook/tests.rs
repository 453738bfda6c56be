//! The webhook over HTTP without TLS: actix's own test service, in-memory ports.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix_web::{App, http::StatusCode, test};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    Admission,
    report::{Rejection, Report, Reporter},
    routes,
};
use crate::{
    evidence::RegistryError,
    image::{Digest, ImageReference},
    policy::{self, PolicySet},
    review::{
        Ports, ReviewSettings, Reviewer,
        credentials::{Credential, Keyring},
        ports::*,
    },
};

/// All ports in one. The registry knows every image but those that say what they do instead.
struct World(Arc<PolicySet>);

impl World {
    fn digest() -> Digest {
        Digest::sha256(b"the image")
    }
}

impl Resolver for World {
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        _: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Digest, RegistryError>> {
        match image.tag() {
            Some("missing") => ready(Err(RegistryError::NotFound)).boxed(),
            Some("panics") => panic!("on purpose"),
            Some("slow") => {
                tokio::time::sleep_until(deadline.into()).map(|()| Err(RegistryError::TimedOut)).boxed()
            }
            _ => ready(Ok(Self::digest())).boxed(),
        }
    }
}

impl Policies for World {
    fn current(&self) -> Arc<PolicySet> {
        self.0.clone()
    }
}

impl Namespaces for World {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(Arc::new(BTreeMap::new()))
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        ready(Err(LookupError("nobody knows".to_owned()))).boxed()
    }
}

impl PullSecrets for World {
    fn known(&self, _: &str, _: &str, secrets: &[&str]) -> Option<Arc<Keyring>> {
        assert!(!secrets.contains(&"panics"), "on purpose");
        Some(Arc::default())
    }

    fn keyring<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        secrets: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>> {
        async move {
            tokio::task::yield_now().await;
            assert!(!secrets.contains(&"panics-later"), "on purpose");
            Ok(Arc::default())
        }
        .boxed()
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

/// Remembers what the webhook tells.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
}

impl Told {
    fn tell(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    /// What was told since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Reporter for Told {
    fn reviewed(&self, report: &Report<'_>) {
        let Report { kind, namespace, name, waited, dry_run, .. } = report;
        let unjudged = report.unjudged.is_some();
        let allowed = report.allowed();
        self.tell(format!("{kind} {namespace}/{name} allowed={allowed} waited={waited} dry_run={dry_run} unjudged={unjudged}"));
    }

    fn rejected(&self, rejection: Rejection) {
        self.tell(format!("{rejection:?}"));
    }

    fn panicked(&self) {
        self.tell("panicked".to_owned());
    }
}

struct Sent {
    status: StatusCode,
    body: String,
    told: Vec<String>,
}

impl Sent {
    fn response(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let review: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        review["response"].clone()
    }
}

async fn send(request: test::TestRequest) -> Sent {
    send_all([request], WAITING).await.pop().unwrap()
}

/// How many reviews may wait where a test does not care.
const WAITING: usize = 16;

/// Sends one request after the other to the same webhook, in which so many reviews may wait.
async fn send_all(requests: impl IntoIterator<Item = test::TestRequest>, waiting: usize) -> Vec<Sent> {
    let policy = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules"},
        "spec": {"registries": {"allow": ["registry.example.com/**"]}, "references": {"denyTags": ["latest"]}},
    });
    let policy = Arc::new(policy::read(&policy).unwrap().policy);
    assert_eq!(policy.compile_error(), None);
    let world = Arc::new(World(Arc::new(PolicySet::new([policy]))));
    let ports = Ports {
        policies: world.clone(),
        namespaces: world.clone(),
        pull_secrets: world.clone(),
        resolver: world.clone(),
        attachments: Arc::new(NobodyLooks),
        examiner: Arc::new(NobodyLooks),
        verdicts: Arc::new(NoVerdicts),
        platforms: Arc::new(NobodyLooks),
        clock: world.clone(),
        observer: world,
    };
    let told = Arc::new(Told::default());
    let reviewer = Arc::new(Reviewer::new(ports, ReviewSettings::default(), Handle::current()));
    let admission = Admission::new(reviewer, told.clone(), Handle::current()).with_room_for(waiting);
    let check = Arc::new(crate::trust::RootCheck);
    let configure = routes::configure(Arc::new(admission), told.clone(), check);
    let app = test::init_service(App::new().configure(configure)).await;
    let mut all = Vec::new();
    for request in requests {
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status();
        let body = String::from_utf8(test::read_body(answer).await.to_vec()).unwrap();
        all.push(Sent { status, body, told: told.take() });
    }
    all
}

fn pod(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

fn review(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "dev"},
            "object": object,
        },
    })
}

fn post(path: &str, review: &Value) -> test::TestRequest {
    test::TestRequest::post().uri(path).set_json(review)
}

#[actix_web::test]
async fn a_pod_is_pinned_by_a_patch_that_keeps_what_the_author_wrote() {
    let sent = send(post("/mutate?timeout=5s", &review(&pod("registry.example.com/shop/web:1.4")))).await;
    let response = sent.response();
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("705ab4f5"), &json!(true)));
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&patch).unwrap(),
        json!([{"op": "replace", "path": "/spec/containers/0/image", "value": format!("registry.example.com/shop/web:1.4@{}", World::digest())}])
    );
    assert_eq!(sent.told, ["Pod shop/web-* allowed=true waited=true dry_run=false unjudged=false"]);
}

#[actix_web::test]
async fn a_refusal_that_needs_nobody_outside_does_not_wait() {
    let sent = send(post("/mutate", &review(&pod("registry.example.com/shop/web")))).await;
    let response = sent.response();
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
    let message = response["status"]["message"].as_str().unwrap();
    let id = response["auditAnnotations"]["decision-id"].as_str().unwrap();
    for part in [
        "Pod shop/web-*",
        id,
        "registry.example.com/shop/web",
        "house-rules",
        "References",
        "TagDenied",
        "latest",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(response["auditAnnotations"]["failed-checks"].as_str().unwrap().contains("TagDenied"));
    assert!(response.get("patch").is_none());
    assert_eq!(sent.told, ["Pod shop/web-* allowed=false waited=false dry_run=false unjudged=false"]);
}

#[actix_web::test]
async fn the_validating_pass_wants_the_digest_written() {
    let open = send(post("/validate", &review(&pod("registry.example.com/shop/web:1.4")))).await.response();
    assert_eq!(open["allowed"], false);
    assert!(open["status"]["message"].as_str().unwrap().contains("DigestNotPinned"), "{open}");
    let pinned = format!("registry.example.com/shop/web:1.4@{}", World::digest());
    assert_eq!(send(post("/validate", &review(&pod(&pinned)))).await.response()["allowed"], true);
}

#[actix_web::test]
async fn an_answer_comes_before_the_deadline_of_the_query() {
    let slow = review(&pod("registry.example.com/shop/web:slow"));
    let began = Instant::now();
    let sent = send(post("/mutate?timeout=300ms", &slow)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    let message = sent.response()["status"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("RegistryTimedOut"), "{message}");
}

#[rstest]
#[case::while_nobody_waits("panics", "registry.example.com/a:1", "InternalFault", true)]
#[case::while_it_waits("panics-later", "registry.example.com/a:1", "InternalFault", true)]
#[case::in_a_look_up_that_reviews_share(
    "none",
    "registry.example.com/a:panics",
    "RegistryUnreachable",
    false
)]
#[actix_web::test]
async fn a_panic_denies_its_own_review_and_the_same_webhook_answers_the_next(
    #[case] secret: &str,
    #[case] image: &str,
    #[case] reason: &str,
    #[case] counted: bool,
) {
    let mut object = pod(image);
    object["spec"]["imagePullSecrets"] = json!([{"name": secret}]);
    let next = pod("registry.example.com/a:1");
    // As often as there is room to wait, and once more: a panic takes no room with it.
    let mut requests = vec![object; WAITING + 1];
    requests.push(next);
    let mut all = send_all(requests.iter().map(|object| post("/mutate", &review(object))), WAITING).await;
    let next = all.pop().unwrap();
    for sent in all {
        let response = sent.response();
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("705ab4f5"), &json!(false)));
        assert!(response["status"]["message"].as_str().unwrap().contains(reason), "{response}");
        assert_eq!(sent.told.contains(&"panicked".to_owned()), counted, "{:?}", sent.told);
        assert_eq!(sent.told.iter().filter(|line| line.contains("allowed=false")).count(), 1);
    }
    assert_eq!(next.response()["allowed"], true);
    assert!(next.response()["patch"].is_string());
}

#[actix_web::test]
async fn where_too_many_wait_the_next_that_must_is_denied_at_once_and_no_other() {
    let needs = |object: &Value| post("/mutate", &review(object));
    let open = pod("registry.example.com/shop/web:slow");
    let pinned = pod(&format!("registry.example.com/shop/web@{}", World::digest()));
    let began = Instant::now();
    let sent = send_all([needs(&open), needs(&pinned)], 0).await;
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waited");
    let message = sent[0].response()["status"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Overloaded") && message.contains("try again"), "{message}");
    assert_eq!(sent[1].response()["allowed"], true);
}

#[actix_web::test]
async fn an_operation_that_nobody_knows_is_denied_by_its_uid() {
    let mut review = review(&pod(&format!("registry.example.com/a:1@{}", World::digest())));
    review["request"]["operation"] = json!("REPLACE");
    for path in ["/mutate", "/validate", "/validate-policy"] {
        let sent = send(post(path, &review)).await;
        let response = sent.response();
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("705ab4f5"), &json!(false)));
        assert!(response["status"]["message"].as_str().unwrap().contains("REPLACE"), "{response}");
        assert_eq!(sent.told, ["Malformed"]);
    }
}

#[rstest]
#[case::missing_object("/request/object", Value::Null, "ObjectMissing")]
#[case::no_containers("/request/object/spec/containers", json!([]), "NoContainers")]
#[case::no_image("/request/object/spec/containers/0/image", json!(""), "ImageMissing")]
#[case::not_a_string("/request/object/spec/containers/0/image", json!(["registry.example.com/a:1"]), "ObjectUnreadable")]
#[case::another_kind("/request/object/kind", json!("Secret"), "ObjectOfOtherKind")]
#[case::unknown_kind("/request/kind/kind", json!("Podlet"), "UnsupportedType")]
#[case::unknown_resource("/request/resource/resource", json!("podlets"), "UnsupportedType")]
#[actix_web::test]
async fn what_cannot_be_read_is_denied_by_its_uid(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] reason: &str,
    #[values("/mutate", "/validate")] path: &str,
) {
    let mut review = review(&pod(&format!("registry.example.com/a:1@{}", World::digest())));
    assert_eq!(send(post(path, &review)).await.response()["allowed"], true);
    *review.pointer_mut(pointer).unwrap() = value;
    let sent = send(post(path, &review)).await;
    let response = sent.response();
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("705ab4f5"), &json!(false)));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("): {reason}: ")), "{message}");
    let failed = format!("Deny none Object {reason} -");
    assert_eq!(response["auditAnnotations"]["failed-checks"], failed);
    assert!(sent.told[0].ends_with("unjudged=true"), "{:?}", sent.told);
}

/// What a stranger sends instead of an API server must neither fill a denial nor a line of the log.
#[actix_web::test]
async fn a_name_of_megabytes_is_cut_and_a_refusal_stays_short() {
    let long = "\u{202e}".repeat(1 << 18);
    let mut review = review(&pod("registry.example.com/shop/web"));
    for field in ["name", "namespace"] {
        review["request"][field] = json!(long);
    }
    let judged = send(post("/validate", &review)).await;
    review["request"]["kind"]["kind"] = json!(long);
    review["request"]["resource"]["resource"] = json!(long);
    for sent in [judged, send(post("/validate", &review)).await] {
        assert!(sent.told[0].len() < 1024, "{}", sent.told[0].len());
        let message = sent.response()["status"]["message"].as_str().unwrap().to_owned();
        assert!(message.len() <= 1024 && !message.contains('\u{202e}'), "{}", message.len());
    }
}

#[actix_web::test]
async fn a_rehearsal_is_judged_and_pinned_and_told_apart() {
    let mut review = review(&pod("registry.example.com/shop/web:1.4"));
    review["request"]["dryRun"] = json!(true);
    let sent = send(post("/mutate", &review)).await;
    assert!(sent.response()["patch"].is_string());
    assert!(sent.told[0].contains("dry_run=true"));
}

#[actix_web::test]
async fn a_delete_and_an_update_of_labels_alone_are_not_judged() {
    let object = pod("docker.io/elsewhere:1");
    let mut delete = review(&Value::Null);
    delete["request"]["operation"] = json!("DELETE");
    assert_eq!(send(post("/validate", &delete)).await.response()["allowed"], true);
    let mut update = review(&object);
    update["request"]["operation"] = json!("UPDATE");
    assert_eq!(send(post("/validate", &update)).await.response()["allowed"], false);
    update["request"]["oldObject"] = object.clone();
    update["request"]["object"]["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(send(post("/validate", &update)).await.response()["allowed"], true);
    // What a CREATE says was there before vouches for nothing.
    update["request"]["operation"] = json!("CREATE");
    assert_eq!(send(post("/validate", &update)).await.response()["allowed"], false);
}

#[rstest]
#[case::get(test::TestRequest::get().uri("/mutate"), 405, "Method", "POST")]
#[case::elsewhere(test::TestRequest::post().uri("/"), 404, "NotFound", "/validate")]
#[case::no_type(test::TestRequest::post().uri("/mutate").set_payload("{}"), 415, "MediaType", "application/json")]
#[case::other_type(test::TestRequest::post().uri("/mutate").insert_header(("content-type", "text/json")).set_payload("{}"), 415, "MediaType", "application/json")]
#[case::bad_json(test::TestRequest::post().uri("/mutate").insert_header(("content-type", "application/json")).set_payload("{\n  \"a\": }"), 400, "Malformed", "line 2, column 8")]
#[case::old_version(post("/mutate", &json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"})), 400, "Malformed", "admissionReviewVersions")]
#[case::no_uid(post("/validate", &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {}})), 400, "Malformed", "uid")]
#[case::bad_timeout(post("/mutate?timeout=soon", &review(&pod("a"))), 400, "Malformed", "timeout")]
#[case::too_large(test::TestRequest::post().uri("/mutate").insert_header(("content-type", "application/json")).set_payload(vec![b' '; (8 << 20) + 1]), 413, "TooLarge", "8388608")]
#[actix_web::test]
async fn what_is_no_review_gets_its_status_and_a_reason(
    #[case] request: test::TestRequest,
    #[case] status: u16,
    #[case] rejection: &str,
    #[case] says: &str,
) {
    let sent = send(request).await;
    assert_eq!(sent.status.as_u16(), status, "{}", sent.body);
    assert!(sent.body.contains(says), "{}", sent.body);
    assert_eq!(sent.told, [rejection]);
}

#[rstest]
#[case::good(json!({"registries": {"allow": ["registry.example.com/**"]}}), None)]
#[case::nothing_required(json!({}), Some("registries"))]
#[case::bad_pattern(json!({"registries": {"allow": ["registry.example.com/app:1.4"]}}), Some("spec.registries.allow[0]"))]
#[case::later_field(json!({"references": {"requireDigest": true}, "signatures": {}}), Some("signatures"))]
#[actix_web::test]
async fn a_policy_is_stored_only_if_it_compiles(#[case] spec: Value, #[case] complains_of: Option<&str>) {
    let policy = |spec: &Value| {
        json!({
            "apiVersion": "tidewaiter.dev/v1alpha1",
            "kind": "ClusterImageAdmissionPolicy",
            "metadata": {"name": "p"},
            "spec": spec,
        })
    };
    let mut review = review(&policy(&spec));
    let response = send(post("/validate-policy", &review)).await.response();
    assert_eq!(response["allowed"], complains_of.is_none(), "{response}");
    if let Some(part) = complains_of {
        assert!(response["status"]["message"].as_str().unwrap().contains(part), "{response}");
        // It can still be labelled and deleted if an older release let it in.
        review["request"]["operation"] = json!("UPDATE");
        review["request"]["oldObject"] = policy(&spec);
        assert_eq!(send(post("/validate-policy", &review)).await.response()["allowed"], true);
    }
}

#[rstest]
#[case::good(json!({"sigstore": "GitHub"}), None)]
#[case::two_sources(json!({"sigstore": "GitHub", "file": "a"}), Some("spec: set exactly one of"))]
#[case::no_trusted_root(json!({"inline": "{}"}), Some("spec.inline: this is no trusted_root.json"))]
#[case::no_root(json!({"tuf": {"mirror": "https://tuf.example.com", "root": "{}"}}), Some("spec.tuf.root: this is no root.json"))]
#[actix_web::test]
async fn a_trust_root_is_stored_only_if_it_works(#[case] spec: Value, #[case] complains_of: Option<&str>) {
    let root = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ImageTrustRoot",
        "metadata": {"name": "house"},
        "spec": spec,
    });
    let response = send(post("/validate-policy", &review(&root))).await.response();
    assert_eq!(response["allowed"], complains_of.is_none(), "{response}");
    if let Some(part) = complains_of {
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("the trust root cannot be used: ") && message.contains(part),
            "{message}"
        );
    }
}
