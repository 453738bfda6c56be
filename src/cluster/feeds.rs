//! What scans depend on, followed: which images run, which verdicts are wanted, which there are, and which
//! reports another system has written.
//!
//! Little is kept of each object, however large it is: a Pod's images, an Event's note, and of verdicts and
//! reports the metadata only.

use std::{convert::Infallible, fmt::Debug};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    events::v1::Event,
};
use kube::{
    Api, Client, CustomResourceExt as _, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, PartialObjectMeta},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    failure::{ClusterError, Failure},
    scan_events::{REASON, REPORTER},
    standing::{Contact, Standing, WatchState},
    verdict_writer::{SCANNED_AT, is_ours},
    watch::{Change, Pace, Subject, follow, in_time},
};
use crate::{api::v1alpha1::ImageScanVerdict, image::Digest};

/// The longest image that is taken from a Pod or an Event, in bytes.
const IMAGE_BYTES: usize = 1024;
/// The most images of one Pod.
const POD_IMAGES: usize = 256;
const IS_IT_ONE: &str = "is this a Kubernetes API server?";
const OPERATOR: &str = "is the Trivy operator installed?";
const INSTALL: &str = "install the definitions with `tidewaiter crds | kubectl apply -f -`";

/// What happened to the objects of one kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Feed<T> {
    /// These are all there are.
    All(Vec<T>),
    /// This one is new, or has changed.
    One(T),
    /// This one is no more.
    Gone(T),
}

/// A Pod and what runs in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodImages {
    /// `namespace/name`.
    pub name: Box<str>,
    /// The images of its containers as the kubelet has pulled them, as `repository@sha256:…`; those that nothing was
    /// pulled for are left out. Empty for a Pod that has ended.
    pub images: Vec<Box<str>>,
}

/// A verdict, without what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredVerdict {
    /// Its name.
    pub name: Box<str>,
    /// What was scanned, as its name says.
    pub digest: Digest,
    /// Who says it, as its name says.
    pub source: Box<str>,
    /// When the image was scanned. None: somebody has written it who does not say so in an annotation.
    pub scanned_at: Option<Timestamp>,
    /// Whether [`VerdictWriter`](super::VerdictWriter) has written it.
    pub is_ours: bool,
    /// Its identity and version, for deleting it.
    pub uid: String,
    /// The version.
    pub version: String,
}

/// A VulnerabilityReport of the Trivy operator, without what it says.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReportName {
    /// Where it is.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its version, which changes with whatever is written.
    pub version: Box<str>,
}

/// A feed at work: how it stands, and the task, which never ends by itself.
pub type Following = (watch::Receiver<WatchState>, JoinHandle<Infallible>);

/// Tells `hear` what runs, on all nodes.
pub fn follow_pods(
    client: Client,
    runtime: &Handle,
    hear: impl FnMut(Feed<PodImages>) + Send + 'static,
) -> Following {
    start(Api::<SlimPod>::all(client), ("pods", IS_IT_ONE, None), runtime, |pod| Some(pod.images()), hear)
}

/// Tells `hear` of the images on which a verdict is wanted: of the notes of Events in `namespace`, as
/// [`ScanEvents`](super::ScanEvents) writes them. Whoever may write Events there can have images scanned.
pub fn follow_wanted(
    client: Client,
    namespace: &str,
    runtime: &Handle,
    hear: impl FnMut(Feed<Box<str>>) + Send + 'static,
) -> Following {
    let api = Api::<Event>::namespaced(client, namespace);
    let what = ("events.events.k8s.io", IS_IT_ONE, Some(format!("reason={REASON}")));
    let image = |event: Event| {
        let wanted = event.reason.as_deref() == Some(REASON)
            && event.reporting_controller.as_deref() == Some(REPORTER);
        event.note.filter(|note| wanted && note.len() <= IMAGE_BYTES).map(Box::from)
    };
    start(api, what, runtime, image, hear)
}

/// Tells `hear` of the verdicts that there are.
pub fn follow_verdicts(
    client: Client,
    runtime: &Handle,
    hear: impl FnMut(Feed<StoredVerdict>) + Send + 'static,
) -> Following {
    let resource = ImageScanVerdict::api_resource();
    let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client, &resource);
    let what = ("imagescanverdicts.tidewaiter.dev", INSTALL, None);
    start(api, what, runtime, |object| stored_verdict(object.metadata), hear)
}

/// Tells `hear` of the Trivy operator's VulnerabilityReports in `namespace`; in all namespaces if none.
pub fn follow_reports(
    client: Client,
    namespace: Option<&str>,
    runtime: &Handle,
    hear: impl FnMut(Feed<ReportName>) + Send + 'static,
) -> Following {
    let resource = report_resource();
    let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let what = ("vulnerabilityreports.aquasecurity.github.io", OPERATOR, None);
    let name = |object: PartialObjectMeta<DynamicObject>| {
        let ObjectMeta { name, namespace, resource_version, .. } = object.metadata;
        let version = resource_version?.into();
        Some(ReportName { namespace: namespace?.into(), name: name?.into(), version })
    };
    start(api, what, runtime, name, hear)
}

/// The whole of a VulnerabilityReport, as JSON text; none if there is none of that name any more.
pub async fn read_report(client: &Client, report: &ReportName) -> Result<Option<String>, ClusterError> {
    let resource = report_resource();
    let path = format!(
        "/apis/{}/namespaces/{}/{}/{}",
        resource.api_version, report.namespace, resource.plural, report.name
    );
    let failed = |failure| ClusterError::new("cannot read a VulnerabilityReport", &failure);
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(|error| failed(Failure::Malformed(error.to_string())))?;
    match in_time(Pace::default().answer, client.request_text(request)).await {
        Err(failure) if failure.code() == Some(404) => Ok(None),
        answer => answer.map(Some).map_err(failed),
    }
}

/// What the Secret `name` holds under `key`; none if there is no such Secret or key.
pub async fn read_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<Vec<u8>>, ClusterError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let found = in_time(Pace::default().answer, api.get_opt(name)).await;
    let secret = found.map_err(|failure| ClusterError::new("cannot read a source's Secret", &failure))?;
    Ok(secret.and_then(|secret| Some(secret.data?.remove(key)?.0)))
}

fn report_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("aquasecurity.github.io", "v1alpha1", "VulnerabilityReport");
    ApiResource::from_gvk_with_plural(&kind, "vulnerabilityreports")
}

fn start<K, T>(
    api: Api<K>,
    (resource, install, fields): (&'static str, &'static str, Option<String>),
    runtime: &Handle,
    slim: fn(K) -> Option<T>,
    mut hear: impl FnMut(Feed<T>) + Send + 'static,
) -> Following
where
    K: Clone + Debug + DeserializeOwned + Resource + Send + 'static,
    T: 'static,
{
    let standing = Standing::new(1);
    let state = standing.subscribe();
    let pace = Pace::default();
    let subject = Subject {
        resource,
        install,
        fields,
        standing: standing.clone(),
        part: 0,
        contact: Contact::new(),
        pace,
    };
    let task = runtime.spawn(async move {
        let _ending = standing.watch_end(0, resource);
        follow(api, subject, move |change| {
            let change = match change {
                Change::Listed(objects) => Some(Feed::All(objects.into_iter().filter_map(slim).collect())),
                Change::Applied(object) => slim(object).map(Feed::One),
                Change::Deleted(object) => slim(object).map(Feed::Gone),
            };
            if let Some(change) = change {
                hear(change);
            }
        })
        .await
    });
    (state, task)
}

fn stored_verdict(metadata: ObjectMeta) -> Option<StoredVerdict> {
    let name = metadata.name.as_deref()?;
    let (digest, source) = name.split_once('.')?;
    let digest = digest.replacen('-', ":", 1).parse().ok()?;
    let annotations = metadata.annotations.as_ref();
    Some(StoredVerdict {
        name: name.into(),
        digest,
        source: source.into(),
        scanned_at: annotations.and_then(|all| all.get(SCANNED_AT)?.parse().ok()),
        is_ours: is_ours(&metadata, source),
        uid: metadata.uid.clone()?,
        version: metadata.resource_version.clone()?,
    })
}

/// What is read of a Pod.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "Pod")]
struct SlimPod {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimStatus {
    phase: Option<String>,
    container_statuses: Vec<SlimContainer>,
    ephemeral_container_statuses: Vec<SlimContainer>,
    init_container_statuses: Vec<SlimContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimContainer {
    #[serde(rename = "imageID")]
    image_id: String,
}

impl SlimPod {
    fn images(self) -> PodImages {
        let ObjectMeta { name, namespace, .. } = self.metadata;
        let name = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()).into();
        let has_ended = matches!(self.status.phase.as_deref(), Some("Failed" | "Succeeded"));
        let SlimStatus { container_statuses, ephemeral_container_statuses, init_container_statuses, .. } =
            self.status;
        let all = [container_statuses, ephemeral_container_statuses, init_container_statuses];
        let images = all.iter().flatten().filter(|_| !has_ended).filter_map(|one| pulled(&one.image_id));
        PodImages { name, images: images.take(POD_IMAGES).map(Box::from).collect() }
    }
}

/// The `repository@digest` of an `imageID`, which container runtimes write in several ways; none where it is the
/// digest of a configuration, which no registry knows.
fn pulled(image_id: &str) -> Option<&str> {
    let image = image_id.split_once("://").map_or(image_id, |(_, image)| image);
    (image.len() <= IMAGE_BYTES && image.contains("@sha")).then_some(image)
}

fn slim_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        resource_version: Option<String>,
    }
    let Slim { name, namespace, resource_version } = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("docker-pullable://registry.example.com/a@sha256:00", Some("registry.example.com/a@sha256:00"))]
    #[case("registry.example.com/a@sha256:00", Some("registry.example.com/a@sha256:00"))]
    #[case("docker://sha256:00", None)]
    #[case("sha256:00", None)]
    #[case("", None)]
    fn only_what_a_registry_knows_is_taken_from_an_image_id(#[case] id: &str, #[case] image: Option<&str>) {
        assert_eq!(pulled(id), image);
    }

    fn pod(phase: &str) -> PodImages {
        let pod: SlimPod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1", "managedFields": [{"manager": "x"}]},
            "spec": {"containers": []},
            "status": {
                "phase": phase,
                "containerStatuses": [{"name": "web", "imageID": "a@sha256:1", "image": "a:1"}, {"name": "new"}],
                "initContainerStatuses": [{"imageID": "b@sha256:2"}],
                "ephemeralContainerStatuses": [{"imageID": "c@sha256:3"}],
            },
        }))
        .unwrap();
        pod.images()
    }

    #[test]
    fn what_a_pod_runs_are_the_images_of_all_its_containers() {
        let expected = ["a@sha256:1", "c@sha256:3", "b@sha256:2"].map(Box::from);
        assert_eq!(pod("Running"), PodImages { name: "shop/web".into(), images: expected.into() });
        assert_eq!(pod("Succeeded").images, []);
    }

    fn metadata(name: &str, manager: &str) -> ObjectMeta {
        serde_json::from_value(json!({
            "name": name, "uid": "u", "resourceVersion": "7",
            "annotations": {"tidewaiter.dev/scanned-at": "2026-11-24T10:00:00Z"},
            "managedFields": [{"manager": manager, "operation": "Apply"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_verdict_is_known_by_its_name() {
        let name = format!("sha256-{}.trivy", "0".repeat(64));
        let verdict = stored_verdict(metadata(&name, "tidewaiter-trivy")).unwrap();
        assert_eq!((&*verdict.source, verdict.is_ours), ("trivy", true));
        assert_eq!(verdict.digest.as_str(), format!("sha256:{}", "0".repeat(64)));
        assert_eq!(verdict.scanned_at, Some("2026-11-24T10:00:00Z".parse().unwrap()));
        assert!(!stored_verdict(metadata(&name, "kubectl")).unwrap().is_ours);
        assert!(!stored_verdict(metadata(&name, "tidewaiter-trivy-2")).unwrap().is_ours);
        assert_eq!(stored_verdict(metadata("sha256-00.trivy", "x")), None);
    }
}
