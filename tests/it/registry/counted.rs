//! How often a real registry is asked for a signed image, by reviews as a cluster brings them.

use std::{collections::HashMap, fs, sync::Arc};

use futures::future::join_all;
use serde_json::json;
use tidewaiter::{
    decision::Decision,
    review::credentials::Keyring,
    signature::{Examination, Trust, Trusted},
};

use super::*;
use crate::support::{
    cosign::{Cosign, Version},
    referrers::ReferrersRegistry,
};

/// What a signed image costs: which digest, the list of referrers, the two tags beside it, the referrer's
/// manifest, and the bundle.
const COLD: usize = 6;

struct NoTrust;

impl Trust for NoTrust {
    fn current(&self) -> Arc<Trusted> {
        Arc::new(Trusted::new(1, HashMap::new(), HashMap::new()))
    }
}

struct Scene {
    registry: ReferrersRegistry,
    reviewer: Reviewer,
    image: String,
}

impl Scene {
    /// An image that cosign has signed, and a policy that wants that. `None` if a program is missing.
    async fn new() -> Option<Self> {
        let cosign = Cosign::find()?;
        let registry = ReferrersRegistry::start().await?;
        let key = cosign.key_pair().await;
        let digest = registry.client().push("acme/app", "1").await;
        let host = registry.client().host();
        cosign.sign(Version::Three, &key, &format!("{host}/acme/app@{digest}"), &[]).await;
        let document = json!({
            "apiVersion": "tidewaiter.dev/v1alpha1",
            "kind": "ClusterImageAdmissionPolicy",
            "metadata": {"name": "signed"},
            "spec": {"signatures": {"authorities": [
                {"name": "release", "key": {"inline": fs::read_to_string(&key.public).unwrap()}},
            ]}},
        });
        let policy = policy::read(&document).unwrap().policy;
        assert_eq!(policy.compile_error(), None);
        let registries = Arc::new(asking(settings([registry.entry()]), Keyring::default()));
        let surroundings = Arc::new(Surroundings {
            policies: Arc::new(PolicySet::new([Arc::new(policy)])),
            keyring: Arc::default(),
        });
        let ports = Ports {
            policies: surroundings.clone(),
            namespaces: surroundings.clone(),
            pull_secrets: surroundings.clone(),
            resolver: registries.clone(),
            attachments: registries.clone(),
            examiner: Arc::new(Examination::new(Arc::new(NoTrust))),
            verdicts: Arc::new(NoVerdicts),
            platforms: registries,
            clock: surroundings,
            observer: Arc::new(Unobserved),
        };
        let reviewer = Reviewer::new(ports, ReviewSettings::default(), Handle::current());
        let image = format!("{host}/acme/app:1");
        Some(Self { registry, reviewer, image })
    }

    /// A review of a Pod with so many containers of the image.
    async fn review(&self, containers: usize) -> Decision {
        let slot = ImageSlot { pointer: "/spec/containers/0/image", image: &self.image };
        let question = Question {
            stage: Stage::Mutate,
            is_pod: true,
            namespace: "default",
            labels: &BTreeMap::<String, String>::new(),
            service_account: "default",
            pull_secrets: &[],
            images: &vec![slot; containers],
        };
        self.reviewer.review(&question, Instant::now() + Duration::from_secs(60)).await
    }

    /// How often the registry was asked by now, by us and not by cosign.
    async fn asked(&self) -> usize {
        // One more than there should be would have come by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.registry.asked(COLD).await.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_image_is_six_requests_and_a_warm_one_none() {
    let Some(scene) = Scene::new().await else { return };
    assert!(scene.review(1).await.allowed());
    assert_eq!(scene.asked().await, COLD, "{:?}", scene.registry.asked(COLD).await);
    assert!(scene.review(1).await.allowed());
    assert_eq!(scene.asked().await, COLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_containers_of_one_image_are_asked_for_as_one() {
    let Some(scene) = Scene::new().await else { return };
    assert!(scene.review(8).await.allowed());
    assert_eq!(scene.asked().await, COLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reviews_of_one_cold_image_are_asked_for_as_one() {
    let Some(scene) = Scene::new().await else { return };
    let decisions = join_all((0..1000).map(|_| scene.review(1))).await;
    assert!(decisions.iter().all(Decision::allowed));
    assert_eq!(scene.asked().await, COLD);
}
