//! Signatures and attestations: what cosign makes while the test runs, on the whole path.

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::{pod, stored};
use crate::support::{
    client::{INDEX, MANIFEST, fallback},
    cluster::{Cluster, HOST},
    cosign::{
        Cosign, KeyPair,
        Version::{self, Three, Two},
        text,
    },
};

const SLSA: &str = "https://slsa.dev/provenance/v1";

/// A repository and a namespace of the test's own, and who signs there.
struct Scene {
    cluster: &'static Cluster,
    cosign: Cosign,
    key: KeyPair,
    namespace: String,
    repository: String,
}

impl Scene {
    /// `None` if a program is missing, and then the test has been skipped.
    async fn new(name: &str) -> Option<Self> {
        let cosign = Cosign::find()?;
        let cluster = Cluster::shared().await?;
        let key = cosign.key_pair().await;
        let namespace = cluster.api.namespace(name).await;
        let repository = format!("signed/{namespace}");
        Some(Self { cluster, cosign, key, namespace, repository })
    }

    /// A new image under `tag`, as cosign calls it.
    async fn push(&self, tag: &str) -> (Digest, String) {
        let digest = self.cluster.registry.push(&self.repository, tag).await;
        let name = format!("{}/{}@{digest}", self.cluster.registry.host(), self.repository);
        (digest, name)
    }

    /// The image as users of the cluster call it.
    fn image(&self, tag: &str) -> String {
        format!("{HOST}/{}:{tag}", self.repository)
    }

    fn authority(&self, name: &str, key: &KeyPair) -> Value {
        json!({"name": name, "key": {"inline": std::fs::read_to_string(&key.public).unwrap()}})
    }

    /// A policy for this namespace alone.
    async fn enforce(&self, rules: Value) {
        let namespace = &self.namespace;
        let mut spec = json!({
            "match": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        });
        spec.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
        let policy = json!({
            "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
            "metadata": {"name": format!("signed-{namespace}")}, "spec": spec,
        });
        self.cluster.enforce(&policy).await;
    }

    /// What kubectl hears when a Pod with the image is stored; nothing if it is.
    async fn refusal(&self, tag: &str) -> Option<String> {
        let name = format!("web-{tag}");
        let said = self.cluster.apply(&pod(&self.namespace, &name, &self.image(tag)).to_string()).await;
        (!said.success).then_some(said.stderr)
    }
}

#[rstest]
#[tokio::test]
async fn what_cosign_signed_is_pinned_and_nothing_else_is_admitted(#[values(Two, Three)] version: Version) {
    let Some(scene) = Scene::new("signed").await else { return };
    let stranger = scene.cosign.key_pair().await;
    scene.enforce(json!({"signatures": {"authorities": [scene.authority("release", &scene.key)]}})).await;
    let (digest, name) = scene.push("good").await;
    scene.cosign.sign(version, &scene.key, &name, &[]).await;
    let (_, name) = scene.push("stranger").await;
    scene.cosign.sign(version, &stranger, &name, &[]).await;
    scene.push("unsigned").await;

    assert_eq!(scene.refusal("good").await, None);
    let image = stored(scene.cluster, &scene.namespace, "pod/web-good", ".spec.containers[0].image").await;
    assert_eq!(image, format!("{}@{digest}", scene.image("good")));
    let refused = scene.refusal("unsigned").await.unwrap();
    assert!(
        refused.contains(
            "check Signatures: SignatureMissing: found no signature; wanted a signature by release (key "
        ),
        "{refused}"
    );
    let refused = scene.refusal("stranger").await.unwrap();
    assert!(refused.contains("SignatureKeyMismatch"), "{refused}");
}

/// The key is in a Secret: what is new there counts at the next review, and what is gone does not count.
#[tokio::test]
async fn a_key_that_is_rotated_in_its_secret_acts_at_the_next_review() {
    let Some(scene) = Scene::new("rotated").await else { return };
    let Scene { cluster, cosign, key: first, namespace, .. } = &scene;
    let second = cosign.key_pair().await;
    let store = async |key: &KeyPair| {
        let pem = std::fs::read_to_string(&key.public).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": namespace, "namespace": "tidewaiter"},
            "stringData": {"cosign.pub": pem},
        });
        let said = cluster.apply(&secret.to_string()).await;
        assert!(said.success, "{said:?}");
    };
    let secret = json!({"namespace": "tidewaiter", "name": namespace});
    scene
        .enforce(json!({"signatures": {"authorities": [{"name": "release", "key": {"secretRef": secret}}]}}))
        .await;
    let refused = async |reason: &str| {
        let pod = pod(namespace, "web", &scene.image("1.0")).to_string();
        cluster.dry_run(&pod).await.stderr.contains(reason)
    };
    let (_, name) = scene.push("1.0").await;
    cosign.sign(Three, first, &name, &[]).await;
    let place = format!("Secret tidewaiter/{namespace} key cosign.pub does not exist");
    cluster.until("it says that the Secret is missing", async || refused(&place).await).await;

    store(first).await;
    assert_eq!(scene.refusal("1.0").await, None);
    store(&second).await;
    cluster.until("the old key counts no longer", async || refused("SignatureKeyMismatch").await).await;
    cosign.sign(Three, &second, &name, &[]).await;
    cluster.until("the new key counts", async || !refused("refused by image policy").await).await;

    let said = cluster.api.kubectl(&["-n", "tidewaiter", "delete", "secret", namespace]).await;
    assert!(said.success, "{said:?}");
    cluster.until("it says that the Secret is gone", async || refused("AuthorityUnusable").await).await;
}

/// What was signed yesterday under the same tag says nothing of what stands there today.
#[tokio::test]
async fn a_signature_of_the_image_before_is_none_of_the_image_now() {
    let Some(scene) = Scene::new("moved").await else { return };
    scene.enforce(json!({"signatures": {"authorities": [scene.authority("release", &scene.key)]}})).await;
    let (_, name) = scene.push("1.0").await;
    scene.cosign.sign(Three, &scene.key, &name, &[]).await;
    scene.push("1.0").await;
    let refused = scene.refusal("1.0").await.unwrap();
    assert!(refused.contains("SignatureMissing"), "{refused}");
}

#[tokio::test]
async fn a_deployment_of_a_signed_image_runs_through_and_one_of_another_is_refused_early() {
    let Some(scene) = Scene::new("deployed").await else { return };
    scene.enforce(json!({"signatures": {"authorities": [scene.authority("release", &scene.key)]}})).await;
    let (_, name) = scene.push("good").await;
    scene.cosign.sign(Three, &scene.key, &name, &[]).await;
    scene.push("unsigned").await;
    let deployment = |tag: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": tag, "namespace": scene.namespace},
            "spec": {
                "selector": {"matchLabels": {"app": tag}},
                "template": {
                    "metadata": {"labels": {"app": tag}},
                    "spec": {"containers": [{"name": "web", "image": scene.image(tag)}]},
                },
            },
        })
    };
    let said = scene.cluster.apply(&deployment("good").to_string()).await;
    assert!(said.success, "{said:?}");
    let said = scene.cluster.apply(&deployment("unsigned").to_string()).await;
    assert!(!said.success && said.stderr.contains("SignatureMissing"), "{said:?}");
    // A template keeps what its author wrote; the Pods made from it are pinned.
    let image = ".spec.template.spec.containers[0].image";
    assert_eq!(stored(scene.cluster, &scene.namespace, "deployment/good", image).await, scene.image("good"));
}

#[rstest]
#[tokio::test]
async fn annotations_and_the_repository_count_where_they_are_signed(#[values(Two, Three)] version: Version) {
    let Some(scene) = Scene::new("annotated").await else { return };
    let mut release = scene.authority("release", &scene.key);
    release["annotations"] = json!({"env": "prod"});
    scene.enforce(json!({"signatures": {"authorities": [release]}})).await;
    for (tag, annotation) in [("prod", "env=prod"), ("dev", "env=dev")] {
        let (_, name) = scene.push(tag).await;
        scene.cosign.sign(version, &scene.key, &name, &["-a", annotation]).await;
    }
    assert_eq!(scene.refusal("prod").await, None);
    let refused = scene.refusal("dev").await.unwrap();
    assert!(
        refused.contains(
            "SignatureAnnotationMismatch: found a signature with env=dev, where env=prod is wanted"
        ),
        "{refused}"
    );
}

#[rstest]
#[tokio::test]
async fn what_is_attested_must_meet_the_conditions(#[values(Two, Three)] version: Version) {
    let Some(scene) = Scene::new("attested").await else { return };
    scene
        .enforce(json!({"attestations": [{
            "name": "provenance", "predicateType": SLSA,
            "inlineAuthorities": [scene.authority("builder", &scene.key)],
            "conditions": [{
                "expression": "predicate.runDetails.builder.id == 'https://ci.example.com/release'",
                "message": "built by our release pipeline",
            }],
        }]}))
        .await;
    for (tag, builder) in
        [("good", "https://ci.example.com/release"), ("laptop", "https://laptop.example.com")]
    {
        let (_, name) = scene.push(tag).await;
        let predicate = json!({
            "buildDefinition": {"buildType": "https://ci.example.com/v1", "externalParameters": {}},
            "runDetails": {"builder": {"id": builder}},
        });
        scene.cosign.attest(version, &scene.key, &name, "slsaprovenance1", &predicate).await;
    }
    // A signature is no attestation.
    let (_, name) = scene.push("signed").await;
    scene.cosign.sign(version, &scene.key, &name, &[]).await;

    assert_eq!(scene.refusal("good").await, None);
    let refused = scene.refusal("laptop").await.unwrap();
    assert!(refused.contains("AttestationConditionFailed: found an attestation that does not meet: built by our release pipeline"), "{refused}");
    let refused = scene.refusal("signed").await.unwrap();
    assert!(refused.contains("check Attestations: AttestationMissing"), "{refused}");
}

/// Signing after a refusal is enough: nobody has to wait for long, nor to restart anything.
#[tokio::test]
async fn an_image_that_is_signed_after_its_refusal_is_soon_admitted() {
    let Some(scene) = Scene::new("later").await else { return };
    scene.enforce(json!({"signatures": {"authorities": [scene.authority("release", &scene.key)]}})).await;
    let (_, name) = scene.push("1.0").await;
    assert!(scene.refusal("1.0").await.unwrap().contains("SignatureMissing"));
    scene.cosign.sign(Three, &scene.key, &name, &[]).await;
    scene.cluster.until("the signature is seen", async || scene.refusal("1.0").await.is_none()).await;
}

/// Where signatures are kept in a repository of their own, as with `COSIGN_REPOSITORY`.
#[tokio::test]
async fn signatures_in_a_repository_of_their_own_are_found_there() {
    let Some(scene) = Scene::new("elsewhere").await else { return };
    let mut release = scene.authority("release", &scene.key);
    release["source"] = json!({"repository": format!("{HOST}/{}-signatures", scene.repository)});
    scene.enforce(json!({"signatures": {"authorities": [release]}})).await;
    let (digest, name) = scene.push("1.0").await;
    scene.cosign.sign(Two, &scene.key, &name, &[]).await;
    assert!(scene.refusal("1.0").await.unwrap().contains("SignatureMissing"));
    let (own, elsewhere) = (&scene.repository, format!("{}-signatures", scene.repository));
    let client = scene.cluster.registry.client();
    let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
    let (_, manifest) = client.manifest(own, &tag).await.unwrap().unwrap();
    for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let blob = client.blob(own, &descriptor["digest"].as_str().unwrap().parse().unwrap()).await.unwrap();
        client.put_blob(&elsewhere, "application/octet-stream", blob).await.unwrap();
    }
    let media_type = manifest["mediaType"].as_str().unwrap();
    client.put_manifest(&elsewhere, &tag, media_type, manifest.to_string()).await.unwrap();
    scene.cluster.until("the signature is seen", async || scene.refusal("1.0").await.is_none()).await;
}

/// As cosign 2 stores them with `--registry-referrers-mode=oci-1-1`: classic layers in a referrer.
#[tokio::test]
async fn classic_layers_in_a_referrer_are_found_too() {
    let Some(scene) = Scene::new("referrer").await else { return };
    let mut release = scene.authority("release", &scene.key);
    let elsewhere = format!("{}-referrers", scene.repository);
    release["source"] = json!({"repository": format!("{HOST}/{elsewhere}")});
    scene.enforce(json!({"signatures": {"authorities": [release]}})).await;
    let (digest, name) = scene.push("1.0").await;
    scene.cosign.sign(Two, &scene.key, &name, &[]).await;
    let client = scene.cluster.registry.client();
    let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
    let (_, mut manifest) = client.manifest(&scene.repository, &tag).await.unwrap().unwrap();
    for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let blob = descriptor["digest"].as_str().unwrap().parse().unwrap();
        let blob = client.blob(&scene.repository, &blob).await.unwrap();
        client.put_blob(&elsewhere, "application/octet-stream", blob).await.unwrap();
    }
    manifest["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
    manifest["subject"] = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
    });
    let manifest = manifest.to_string();
    let (place, size) = (Digest::sha256(manifest.as_bytes()), manifest.len());
    client.put_manifest(&elsewhere, place.as_str(), MANIFEST, manifest).await.unwrap();
    let listed = json!({"mediaType": MANIFEST, "digest": place, "size": size});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]}).to_string();
    client.put_manifest(&elsewhere, &fallback(&digest), INDEX, index).await.unwrap();
    assert_eq!(scene.refusal("1.0").await, None);
}

#[tokio::test]
async fn two_must_sign_and_one_twice_is_one() {
    let Some(scene) = Scene::new("two").await else { return };
    let auditors = scene.cosign.key_pair().await;
    let authorities = [scene.authority("release", &scene.key), scene.authority("auditors", &auditors)];
    scene.enforce(json!({"signatures": {"atLeast": 2, "authorities": authorities}})).await;
    let (_, name) = scene.push("one").await;
    scene.cosign.sign(Three, &scene.key, &name, &[]).await;
    scene.cosign.sign(Two, &scene.key, &name, &[]).await;
    let refused = scene.refusal("one").await.unwrap();
    assert!(refused.contains("SignaturesTooFew: found 1 of 2 authorities"), "{refused}");
    let (_, name) = scene.push("both").await;
    scene.cosign.sign(Three, &scene.key, &name, &[]).await;
    scene.cosign.sign(Two, &auditors, &name, &[]).await;
    assert_eq!(scene.refusal("both").await, None);
}

/// The whole thing by hand, as CI does: the same binary, the same policy, no cluster.
#[tokio::test]
async fn inspect_shows_who_signed_and_suggests_a_policy_that_check_admits_by() {
    let Some(scene) = Scene::new("inspected").await else { return };
    let (digest, name) = scene.push("1.0").await;
    scene.cosign.sign(Three, &scene.key, &name, &["-a", "env=prod"]).await;
    scene.cosign.sign(Two, &scene.key, &name, &[]).await;
    let host = scene.cluster.registry.host();
    let image = format!("{host}/{}:1.0", scene.repository);
    let settings = json!({"registries": [{"host": host, "plainHttp": true, "allowPrivateAddresses": true}]});
    let settings = scene.cosign.write("settings.json", &settings.to_string());
    let run = async |args: &[&str]| {
        let mut command = crate::support::process::tidewaiter();
        command.args(args).args(["--config", &text(&settings)]);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let key = text(&scene.key.public);
    let shown = run(&["inspect", "--key", &key, "-o", "json", &image]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["digest"], digest.as_str());
    let beside = shown["beside"].as_array().unwrap();
    assert_eq!(beside.len(), 2, "{shown:#}");
    let fingerprint = scene.key.key.fingerprint().to_string();
    for one in beside {
        assert_eq!(one["holds"][0]["signer"]["keyFingerprint"], fingerprint, "{one:#}");
    }
    let formats: std::collections::BTreeSet<_> =
        beside.iter().filter_map(|one| one["format"].as_str()).collect();
    assert_eq!(formats, ["cosign-signature", "sigstore-bundle"].into());

    let told = run(&["inspect", &image]).await;
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("no key was given to check it by: --key FILE"), "{told}");

    let suggested = run(&["inspect", "--key", &key, "--suggest-policy", &image]).await;
    assert!(suggested.status.success(), "{suggested:?}");
    let policy = text(&scene.cosign.write("policy.yaml", &String::from_utf8(suggested.stdout).unwrap()));
    let judged = run(&["check", "--policies", &policy, &image]).await;
    assert_eq!(judged.status.code(), Some(0), "{judged:?}");
    // A policy for a key that has signed nothing is not suggested.
    let stranger = text(&scene.cosign.key_pair().await.public);
    assert_eq!(
        run(&["inspect", "--key", &stranger, "--suggest-policy", &image]).await.status.code(),
        Some(1)
    );
}
