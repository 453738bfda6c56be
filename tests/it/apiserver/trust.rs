//! Keys and trust roots of a real API server, followed with the rights that users are told to give.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use rstest::rstest;
use serde_json::{Value, json};
use sigstore_verify::trust_root::SigstoreInstance;
use tidewaiter::{
    cluster::{self, PoliciesObserver, PublishedPolicies, WatchState, WatchedPolicies, WatchedTrust},
    evidence::AuthorityError,
    policy::{KeyRef, ObjectKey, PolicySet, PublicKey, RootRef},
    registry::{Mirrors, RegistrySettings},
    review::ports::{RegistryExchange, RegistryObserver},
    signature::Trust as _,
    trust::{Published, RefreshOutcome, TrustNamespaces, TrustObserver, TrustSettings, TrustStore},
};
use tokio::{runtime::Handle, sync::OnceCell};

use super::definitions::{offer, refused, spec};
use crate::support::{apiserver::ApiServer, cluster::kubeconfig, process, tuf::new_key};

const KIND: (&str, &str) = ("ImageTrustRoot", "imagetrustroots");
/// How long a change may take on however busy a machine. It takes a fraction of a second on an idle one.
const PATIENCE: Duration = Duration::from_secs(60);

#[rstest]
#[case("sigstore: PublicGood")]
#[case("sigstore: GitHub")]
#[case("inline: '{}'")]
#[case("configMapRef: {namespace: tidewaiter, name: roots}")]
#[case("configMapRef: {namespace: tidewaiter, name: roots, key: house.json}")]
#[case("file: house.json")]
#[case("tuf: {mirror: 'https://tuf.example.com', root: '{}'}")]
#[case("tuf: {mirror: 'http://tuf.example.com', root: '{}', refreshSeconds: 60}")]
#[tokio::test]
async fn a_trust_root_with_one_source_is_stored(#[case] yaml: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    offer(server, KIND, Some(&spec(yaml))).await.unwrap();
}

#[rstest]
#[case("{}", "spec: Invalid value: set exactly one of sigstore, inline, configMapRef, file and tuf")]
#[case("{sigstore: GitHub, file: a}", "spec: Invalid value: set exactly one of")]
#[case("sigstore: Staging", "spec.sigstore: Unsupported value: \"Staging\"")]
#[case("inlined: x", "unknown field \"spec.inlined\"")]
#[case("inline: ''", "spec.inline: Invalid value")]
#[case("file: ../a", "spec.file: Invalid value")]
#[case("file: ..data", "spec.file: Invalid value")]
#[case("configMapRef: {name: roots}", "spec.configMapRef.namespace: Required value")]
#[case("tuf: {mirror: 'https://tuf.example.com'}", "spec.tuf.root: Required value")]
#[case("tuf: {mirror: 'ftp://tuf.example.com', root: x}", "spec.tuf.mirror: Invalid value")]
#[case(
    "tuf: {mirror: 'https://tuf.example.com', root: x, refreshSeconds: 59}",
    "spec.tuf.refreshSeconds: Invalid value"
)]
#[tokio::test]
async fn a_trust_root_that_could_not_work_is_refused_at_its_field(#[case] yaml: &str, #[case] message: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    refused(server, KIND, Some(&spec(yaml)), message).await;
}

/// Tidewaiter's own parts, with the rights of the example and nothing more.
struct Scene {
    server: &'static ApiServer,
    store: Arc<TrustStore>,
    state: tokio::sync::watch::Receiver<WatchState>,
    tasks: Vec<tokio::task::AbortHandle>,
}

struct Followed(Arc<TrustStore>);

impl PoliciesObserver for Followed {
    fn published(&self, set: &PolicySet, _: &PublishedPolicies) {
        self.0.policies(set);
    }
}

struct Unobserved;

impl TrustObserver for Unobserved {
    fn published(&self, _: &Published) {}

    fn refreshed(&self, _: &str, _: RefreshOutcome) {}
}

impl RegistryObserver for Unobserved {
    fn registry_request(&self, _: &RegistryExchange<'_>) {}
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

impl Scene {
    async fn start() -> Option<Self> {
        // Granted once: two who grant the same at once are in each other's way.
        static RIGHTS: OnceCell<String> = OnceCell::const_new();
        let server = ApiServer::shared().await?;
        server.apply_crds().await;
        let rights = RIGHTS.get_or_init(|| kubeconfig(server)).await;
        let directory = process::directory("trust").unwrap();
        let file = directory.join("kubeconfig");
        fs::write(&file, rights).unwrap();
        let client = cluster::client(Some(&file)).await.unwrap();
        let namespaces = TrustNamespaces::Listed(BTreeSet::from(["tidewaiter".into()]));
        let settings = TrustSettings { namespaces, ..TrustSettings::default() };
        let mirrors = Mirrors::new(RegistrySettings::default(), Arc::new(Unobserved)).unwrap();
        let store = TrustStore::new(settings, Arc::new(mirrors), Arc::new(Unobserved));
        let observer = Arc::new(Followed(store.clone()));
        let (_, policies) = WatchedPolicies::start(client.clone(), observer, &Handle::current());
        let (watched, trust) = WatchedTrust::start(client, store.clone(), &Handle::current());
        let tasks = vec![policies.abort_handle(), trust.abort_handle()];
        let scene = Self { server, store, state: watched.state(), tasks };
        scene.until("it is ready", || *scene.state.borrow() == WatchState::Ready).await;
        Some(scene)
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "waited in vain until {what}: {:?}", self.store.troubles());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn apply(&self, document: &Value) {
        let said = self.server.kubectl_with(&["apply", "-f", "-"], &document.to_string()).await;
        assert!(said.success, "{said:?}");
    }

    async fn delete(&self, arguments: &[&str]) {
        let said = self.server.kubectl(&[&["delete", "--wait=false"], arguments].concat()).await;
        assert!(said.success, "{said:?}");
    }

    fn key(&self, key: &KeyRef) -> Result<String, AuthorityError> {
        self.store.current().key(key).map(|key| key.fingerprint().to_string())
    }

    fn root(&self, name: &str) -> Result<String, AuthorityError> {
        let root = RootRef::Named(name.into());
        self.store.current().root(&root).map(|root| root.digest().to_string())
    }
}

fn cluster_policy(name: &str, authority: &Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy", "metadata": {"name": name},
        "spec": {"action": "Audit", "signatures": {"authorities": [authority]}},
    })
}

fn by_secret(namespace: &str, name: &str) -> Value {
    json!({"name": "release", "key": {"secretRef": {"namespace": namespace, "name": name}}})
}

fn team_policy(namespace: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageAdmissionPolicy",
        "metadata": {"name": secret, "namespace": namespace},
        "spec": {"action": "Audit", "signatures": {"authorities": [
            {"name": "team", "key": {"secretRef": {"name": secret}}},
        ]}},
    })
}

fn secret(namespace: &str, name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
        "stringData": {"cosign.pub": pem, "cosign.key": "nobody's business"},
    })
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.into(), name: name.into(), key: "cosign.pub".into() }
}

fn fingerprint(pem: &str) -> String {
    PublicKey::from_pem(pem).unwrap().fingerprint().to_string()
}

#[tokio::test]
async fn a_key_that_is_rotated_and_one_that_is_gone_act_without_a_restart() {
    let Some(scene) = Scene::start().await else { return };
    let (first, second) = (new_key(), new_key());
    let of_cluster = KeyRef::Secret(key("tidewaiter", "rotated"));
    scene.apply(&cluster_policy("trust-rotated", &by_secret("tidewaiter", "rotated"))).await;
    scene.until("it is missing", || matches!(scene.key(&of_cluster), Err(AuthorityError::Missing(_)))).await;
    for pem in [&first, &second] {
        let version = scene.store.current().version();
        scene.apply(&secret("tidewaiter", "rotated", pem)).await;
        let applied = Instant::now();
        scene.until("the key is in force", || scene.key(&of_cluster) == Ok(fingerprint(pem))).await;
        eprintln!("a new key was in force {:?} after kubectl had ended", applied.elapsed());
        assert!(scene.store.current().version() > version);
    }
    scene.delete(&["secret", "--namespace=tidewaiter", "rotated"]).await;
    scene
        .until("it is missing again", || matches!(scene.key(&of_cluster), Err(AuthorityError::Missing(_))))
        .await;
    assert!(!format!("{:?}", scene.store.current()).contains("nobody's business"));
    scene.delete(&["ciap", "trust-rotated"]).await;
}

#[tokio::test]
async fn a_namespace_that_is_not_listed_is_forbidden_and_not_read() {
    let Some(scene) = Scene::start().await else { return };
    let namespace = scene.server.namespace("forbidden").await;
    scene.apply(&secret(&namespace, "keys", &new_key())).await;
    scene.apply(&cluster_policy("trust-forbidden", &by_secret(&namespace, "keys"))).await;
    let of_cluster = KeyRef::Secret(key(&namespace, "keys"));
    scene
        .until("it is forbidden", || matches!(scene.key(&of_cluster), Err(AuthorityError::Forbidden(_))))
        .await;
    scene.delete(&["ciap", "trust-forbidden"]).await;
}

#[tokio::test]
async fn a_teams_secret_wants_a_right_to_that_secret_and_no_more() {
    let Some(scene) = Scene::start().await else { return };
    let namespace = scene.server.namespace("team").await;
    let pem = new_key();
    scene.apply(&secret(&namespace, "release-key", &pem)).await;
    scene.apply(&team_policy(&namespace, "release-key")).await;
    let of_team = KeyRef::TeamSecret(key(&namespace, "release-key"));
    let refused = || match scene.key(&of_team) {
        Err(AuthorityError::Unusable { problem, .. }) => problem,
        other => format!("{other:?}"),
    };
    scene.until("it may not be read", || refused().contains("403")).await;
    assert!(refused().contains("docs/running-in-a-cluster.md"), "{}", refused());
    assert_eq!(*scene.state.borrow(), WatchState::Ready, "which makes nobody else wait");

    let meta = json!({"name": "tidewaiter-keys", "namespace": namespace});
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["release-key"], "verbs": ["list", "watch"]});
    scene
        .apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": [rule],
        }))
        .await;
    scene
        .apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tidewaiter-keys"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidewaiter", "namespace": "tidewaiter"}],
        }))
        .await;
    scene.until("the key is in force", || scene.key(&of_team) == Ok(fingerprint(&pem))).await;
    let next = new_key();
    scene.apply(&secret(&namespace, "release-key", &next)).await;
    scene.until("the next key is in force", || scene.key(&of_team) == Ok(fingerprint(&next))).await;
}

#[tokio::test]
async fn a_trust_root_of_a_config_map_follows_it_and_its_status_says_so() {
    let Some(scene) = Scene::start().await else { return };
    let config_map = |content: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots", "namespace": "tidewaiter"},
            "data": {"trusted_root.json": content},
        })
    };
    let root = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot", "metadata": {"name": "house"},
        "spec": {"configMapRef": {"namespace": "tidewaiter", "name": "roots"}},
    });
    scene.apply(&root).await;
    scene.until("it is missing", || matches!(scene.root("house"), Err(AuthorityError::Missing(_)))).await;
    let stored = async || -> Value {
        let said = scene.server.kubectl(&["get", "itr", "house", "-o", "json"]).await;
        serde_json::from_str(&said.stdout).unwrap()
    };
    let status = async |what: &str, says: &dyn Fn(&Value) -> bool| -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = stored().await;
            if says(&found["status"]) {
                return found;
            }
            assert!(Instant::now() < end, "waited in vain until {what}: {found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ready = |status: &Value| status["conditions"][0]["status"].as_str().unwrap_or_default().to_owned();
    status("it says that it is missing", &|status| {
        ready(status) == "False"
            && status["conditions"][0]["message"].as_str().unwrap().contains("does not exist")
    })
    .await;

    for instance in [SigstoreInstance::PublicGood, SigstoreInstance::GitHub] {
        let json = instance.embedded_trusted_root_json();
        let digest = tidewaiter::image::Digest::sha256(json.as_bytes()).to_string();
        scene.apply(&config_map(json)).await;
        scene.until("the root is in force", || scene.root("house").as_ref() == Ok(&digest)).await;
        let found = status("it says that it is ready", &|status| status["digest"] == digest.as_str()).await;
        assert_eq!(
            (ready(&found["status"]), &found["status"]["source"]),
            ("True".to_owned(), &json!("ConfigMap"))
        );
        assert_eq!(found["status"]["observedGeneration"], 1);
    }
    let version = stored().await["metadata"]["resourceVersion"].clone();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stored().await["metadata"]["resourceVersion"], version, "nothing is written without news");

    scene.apply(&config_map("{}")).await;
    scene
        .until("it cannot be used", || matches!(scene.root("house"), Err(AuthorityError::Unusable { .. })))
        .await;
    status("it says that it cannot be used", &|status| ready(status) == "False").await;
    scene.delete(&["itr", "house"]).await;
    scene.until("it is gone", || scene.store.troubles().is_empty() && scene.root("house").is_err()).await;
}
