//! Registries as Tidewaiter asks them: a real one, and one that does what a real one will not.

mod attachments;
mod counted;
mod hostile;
mod real;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tidewaiter::{
    decision::Decision,
    evidence::RegistryError,
    image::{Digest, ImageReference},
    policy::{self, PolicySet},
    registry::{Registries, RegistryEntry, RegistrySettings, Timeouts},
    review::{
        ImageSlot, Ports, Question, ReviewSettings, Reviewer, Stage,
        credentials::{Credential, Keyring},
        ports::{
            CacheAnswer, CacheName, CacheObserver, Clock, Labels, LookupError, Namespaces, NoVerdicts,
            NobodyLooks, Policies, PullSecrets, RegistryExchange, RegistryObserver, Resolver,
        },
    },
};
use tokio::runtime::Handle;

/// The deadline where a test does not mean to reach it.
const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Result<Digest, RegistryError>;

/// Settings with these registries in them.
fn settings(registries: impl IntoIterator<Item = RegistryEntry>) -> RegistrySettings {
    let timeouts = Timeouts { connect_seconds: 30, read_seconds: 30, total_seconds: 60 };
    RegistrySettings { registries: registries.into_iter().collect(), timeouts, ..Default::default() }
}

/// A registry on loopback, without TLS, at the `host:port`.
fn plain(host: &str) -> RegistryEntry {
    serde_json::from_value(json!({"host": host, "plainHttp": true, "allowPrivateAddresses": true})).unwrap()
}

/// Asks for digests as a review does.
fn asking(settings: RegistrySettings, operator: Keyring) -> Registries {
    Registries::new(settings, operator, Arc::new(Unobserved)).unwrap()
}

/// What the registries say of `image`, shown the credentials of `keyring` that belong there.
async fn resolve(registries: &Registries, image: &str, keyring: &Keyring) -> Answer {
    let image: ImageReference = image.parse().unwrap();
    registries.resolve(&image, &keyring.lookup(&image), Instant::now() + PATIENCE).await
}

/// A keyring with one password, for what `key` covers.
fn keyring(key: &str, user: &str, password: &str) -> Keyring {
    let config = json!({"auths": {key: {"username": user, "password": password}}});
    Keyring::from_docker_config(config.to_string().as_bytes()).unwrap()
}

/// The name of an error, with what tests want to know of it and nothing more.
fn name(error: &RegistryError) -> String {
    match error {
        RegistryError::CredentialsUnavailable(_) => "CredentialsUnavailable".to_owned(),
        RegistryError::Denied => "Denied".to_owned(),
        RegistryError::Forbidden(_) => "Forbidden".to_owned(),
        RegistryError::Malformed(_) => "Malformed".to_owned(),
        RegistryError::NotFound => "NotFound".to_owned(),
        RegistryError::Overloaded => "Overloaded".to_owned(),
        RegistryError::Throttled { retry_after } => format!("Throttled({retry_after:?})"),
        RegistryError::TimedOut => "TimedOut".to_owned(),
        RegistryError::TooLarge { what, .. } => format!("TooLarge({what})"),
        RegistryError::TooMany { what, .. } => format!("TooMany({what})"),
        RegistryError::Unreachable(_) => "Unreachable".to_owned(),
    }
}

/// Reviews a new Pod with one image under a policy that denies every registry but the image's own.
///
/// Answers with the decision, and with what the registries said on the way to it.
async fn review(
    registries: Registries,
    image: &str,
    keyring: Keyring,
    deadline: Duration,
) -> (Decision, Vec<Answer>) {
    let host = image.parse::<ImageReference>().unwrap().host().to_owned();
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules"},
        "spec": {"action": "Deny", "registries": {"allow": [format!("{host}/**")]}},
    });
    let policy = policy::read(&document).unwrap().policy;
    assert_eq!(policy.compile_error(), None);
    let witness = Arc::new(Witness { registries, answers: Mutex::default() });
    let surroundings = Arc::new(Surroundings {
        policies: Arc::new(PolicySet::new([Arc::new(policy)])),
        keyring: keyring.into(),
    });
    let ports = Ports {
        policies: surroundings.clone(),
        namespaces: surroundings.clone(),
        pull_secrets: surroundings.clone(),
        resolver: witness.clone(),
        attachments: Arc::new(NobodyLooks),
        examiner: Arc::new(NobodyLooks),
        verdicts: Arc::new(NoVerdicts),
        platforms: Arc::new(NobodyLooks),
        clock: surroundings,
        observer: Arc::new(Unobserved),
    };
    let reviewer = Reviewer::new(ports, ReviewSettings::default(), Handle::current());
    let question = Question {
        stage: Stage::Mutate,
        is_pod: true,
        namespace: "default",
        labels: &BTreeMap::<String, String>::new(),
        service_account: "default",
        pull_secrets: &[],
        images: &[ImageSlot { pointer: "/spec/containers/0/image", image }],
    };
    let decision = reviewer.review(&question, Instant::now() + deadline).await;
    let answers = witness.answers.lock().unwrap().clone();
    (decision, answers)
}

/// Asks registries, and remembers what they said.
struct Witness {
    registries: Registries,
    answers: Mutex<Vec<Answer>>,
}

impl Resolver for Witness {
    fn resolve<'a>(
        &'a self,
        image: &'a ImageReference,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let answer = self.registries.resolve(image, credentials, deadline).await;
            self.answers.lock().unwrap().push(answer.clone());
            answer
        })
    }
}

/// What a review needs beside registries.
struct Surroundings {
    policies: Arc<PolicySet>,
    keyring: Arc<Keyring>,
}

impl Policies for Surroundings {
    fn current(&self) -> Arc<PolicySet> {
        self.policies.clone()
    }
}

impl Namespaces for Surroundings {
    fn known(&self, _: &str) -> Option<Arc<Labels>> {
        Some(Arc::default())
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        Box::pin(async { Ok(Arc::default()) })
    }
}

impl PullSecrets for Surroundings {
    fn known(&self, _: &str, _: &str, _: &[&str]) -> Option<Arc<Keyring>> {
        Some(self.keyring.clone())
    }

    fn keyring<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Arc<Keyring>, LookupError>> {
        Box::pin(async { Ok(self.keyring.clone()) })
    }
}

impl Clock for Surroundings {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Nobody looks at the metrics here.
struct Unobserved;

impl CacheObserver for Unobserved {
    fn cache(&self, _: CacheName, _: CacheAnswer) {}
}

impl RegistryObserver for Unobserved {
    fn registry_request(&self, _: &RegistryExchange<'_>) {}
}
