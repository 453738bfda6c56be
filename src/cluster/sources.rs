use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client, CustomResourceExt as _, Resource,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};

use super::{
    failure::ClusterError,
    standing::{Contact, Standing, WatchState},
    watch::{Change, Pace, Subject, follow, in_time},
};
use crate::api::v1alpha1::{VulnerabilitySource, VulnerabilitySourceSpec, VulnerabilitySourceStatus};

/// How long changes are gathered before they are passed on together.
const GATHER: Duration = Duration::from_millis(50);
const INSTALL: &str = "install the definitions with `tidewaiter crds | kubectl apply -f -`";
const RESOURCE: &str = "vulnerabilitysources.tidewaiter.dev";
/// The name by which the API server knows who wrote a status.
const MANAGER: &str = "tidewaiter-controller";

/// A VulnerabilitySource as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceObject {
    /// Its name.
    pub name: Box<str>,
    /// Its identity, for what is made on its behalf.
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
    /// What it says; why this version cannot read it otherwise.
    pub spec: Result<VulnerabilitySourceSpec, String>,
    /// What its status says.
    pub status: VulnerabilitySourceStatus,
}

/// The cluster's VulnerabilitySources.
#[derive(Clone)]
pub struct WatchedSources {
    client: Client,
    current: watch::Receiver<Arc<Vec<SourceObject>>>,
    state: watch::Receiver<WatchState>,
}

impl WatchedSources {
    /// Begins to follow on `runtime`, which must be the one that `client` was made on. The task never ends by
    /// itself; if it does, by a panic, the process had better end too.
    pub fn start(client: Client, runtime: &Handle) -> (Self, JoinHandle<Infallible>) {
        let standing = Standing::new(1);
        let (publish, current) = watch::channel(Arc::default());
        let sources = Self { client: client.clone(), current, state: standing.subscribe() };
        let task = runtime.spawn(run(client, standing, publish));
        (sources, task)
    }

    /// Whether what is known is what the API server stores.
    pub fn state(&self) -> watch::Receiver<WatchState> {
        self.state.clone()
    }

    /// All that there are, in the order of their names. Changes with them, their statuses included.
    pub fn current(&self) -> watch::Receiver<Arc<Vec<SourceObject>>> {
        self.current.clone()
    }

    /// Writes a source's status, and takes nothing away that others have written there.
    pub async fn write_status(
        &self,
        name: &str,
        status: &VulnerabilitySourceStatus,
    ) -> Result<(), ClusterError> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &VulnerabilitySource::api_resource());
        let document = json!({
            "apiVersion": VulnerabilitySource::api_version(&()),
            "kind": VulnerabilitySource::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&document);
        let written = in_time(Pace::default().answer, api.patch_status(name, &params, &patch)).await;
        written.map(drop).map_err(|failure| ClusterError::new("cannot write a source's status", &failure))
    }
}

async fn run(
    client: Client,
    standing: Arc<Standing>,
    publish: watch::Sender<Arc<Vec<SourceObject>>>,
) -> Infallible {
    let _ending = standing.watch_end(0, "sources");
    let subject = Subject {
        resource: RESOURCE,
        install: INSTALL,
        fields: None,
        standing,
        part: 0,
        contact: Contact::new(),
        pace: Pace::default(),
    };
    let api = Api::<DynamicObject>::all_with(client, &VulnerabilitySource::api_resource());
    let (known, changed) = (Mutex::new(BTreeMap::<Box<str>, SourceObject>::new()), Notify::new());
    let following = follow(api, subject, |change| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |object| {
            let source = read(object);
            (source.name.clone(), source)
        };
        match change {
            Change::Listed(objects) => *known = objects.into_iter().map(named).collect(),
            Change::Applied(object) => known.extend([named(object)]),
            Change::Deleted(object) => {
                known.remove(object.metadata.name.unwrap_or_default().as_str());
            }
        }
        changed.notify_one();
    });
    let publishing = async {
        loop {
            changed.notified().await;
            sleep(GATHER).await;
            let all = known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            publish.send_replace(Arc::new(all));
        }
    };
    tokio::select! {
        never = following => never,
        never = publishing => never,
    }
}

fn read(object: DynamicObject) -> SourceObject {
    let spec = serde_path_to_error::deserialize(&object.data["spec"])
        .map_err(|error| format!("spec.{}: {}", error.path(), error.inner()));
    SourceObject {
        name: object.metadata.name.unwrap_or_default().into(),
        uid: object.metadata.uid.unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec,
        status: serde_json::from_value(object.data["status"].clone()).unwrap_or_default(),
    }
}
