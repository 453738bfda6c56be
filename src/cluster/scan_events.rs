use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle, time::sleep};

use super::{failure::Failure, watch::Pace, watch::in_time};
use crate::review::ports::{ScanObserver, ScanRequest};

/// The reason of the Events, by which whoever scans finds them.
pub(super) const REASON: &str = "ScanWanted";
/// Who writes them, by which whoever scans believes them.
pub(super) const REPORTER: &str = "tidewaiter.dev/webhook";
/// How often one is tried, and how long the pause before the second try is; each is twice as long as the one before.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// Tells whoever scans, by Events in our own namespace, which images reviews want scanned.
pub struct ScanEvents {
    api: Api<Event>,
    namespace: String,
    instance: String,
    observer: Arc<dyn ScanObserver>,
}

impl ScanEvents {
    /// Begins to write what comes out of `wanted`, images as `repository@digest`, on `runtime`, which must be the one
    /// that `client` was made on. `instance` names this process among those of its kind, in 128 bytes at most.
    ///
    /// The task ends when nobody can want anything any more.
    pub fn start(
        client: Client,
        (namespace, instance): (&str, &str),
        wanted: mpsc::Receiver<Box<str>>,
        observer: Arc<dyn ScanObserver>,
        runtime: &Handle,
    ) -> JoinHandle<()> {
        let events = Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            instance: instance.to_owned(),
            observer,
        };
        runtime.spawn(events.write(wanted))
    }

    async fn write(self, mut wanted: mpsc::Receiver<Box<str>>) {
        while let Some(image) = wanted.recv().await {
            let Err(failure) = self.try_hard(&image).await else { continue };
            self.observer.scan_request(ScanRequest::Failed);
            let remedy = failure.remedy().unwrap_or("whoever wants the scan asks again in ten minutes");
            tracing::warn!(image = &*image, error = %failure, "cannot write an event that asks for a scan: {remedy}");
        }
    }

    async fn try_hard(&self, image: &str) -> Result<(), Failure> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.create(image).await {
                Err(failure) if failure.code().is_none_or(|code| code == 429 || code >= 500) => {
                    sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
        self.create(image).await
    }

    async fn create(&self, image: &str) -> Result<(), Failure> {
        let now = Timestamp::now();
        let event = Event {
            action: Some("Scan".to_owned()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                generate_name: Some("scan-wanted-".to_owned()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            note: Some(image.to_owned()),
            reason: Some(REASON.to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Namespace".to_owned()),
                name: Some(self.namespace.clone()),
                // An Event must stand in the namespace of what it is about, also where that is the namespace.
                namespace: Some(self.namespace.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some("Normal".to_owned()),
            ..Event::default()
        };
        in_time(Pace::default().answer, self.api.create(&PostParams::default(), &event)).await?;
        Ok(())
    }
}
