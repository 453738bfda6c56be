use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, Client, CustomResourceExt as _, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    failure::{ClusterError, Failure},
    watch::{Pace, in_time},
};
use crate::api::v1alpha1::{ImageScanVerdict, ImageScanVerdictSpec, ImageScanVerdictStatus};

/// Begins the name by which the API server knows who wrote a verdict; the source's name follows.
const MANAGER: &str = "tidewaiter-";
/// The annotation that repeats `spec.scannedAt`, so that whoever only wants to know how old a verdict is need not
/// read what it found.
pub(super) const SCANNED_AT: &str = "tidewaiter.dev/scanned-at";
/// How often a write is tried anew where somebody else was faster.
const TRIES: u32 = 5;
/// The pause before it is, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes ImageScanVerdicts, each as the field manager `tidewaiter-SOURCE`.
///
/// An older scan never replaces a newer one, whoever wrote that: what is stored is read first, and the write
/// holds only if that is still what is stored. (The definition says the same once more, for everybody.) What
/// is stored already is not written again, so that whoever crashes may begin anew.
#[derive(Clone)]
pub struct VerdictWriter {
    client: Client,
    pace: Pace,
}

/// What became of a verdict that was to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// There was none.
    Created,
    /// It has taken an older one's place.
    Updated,
    /// It is what is stored already.
    Unchanged,
    /// What is stored is newer, and stays.
    Older,
}

impl VerdictWriter {
    /// Writes by `client`. Asks nobody yet.
    pub fn new(client: Client) -> Self {
        Self { client, pace: Pace::default() }
    }

    /// Stores what `make` makes of what is stored under `name` now; none if there is nothing, or nothing that
    /// can be read. `make` is asked again where somebody else was faster; each time it must answer with an
    /// object of that name and source.
    pub async fn write(
        &self,
        name: &str,
        make: impl Fn(Option<&ImageScanVerdictSpec>) -> ImageScanVerdict,
    ) -> Result<Written, ClusterError> {
        let mut tried = 1;
        loop {
            match self.try_write(name, &make).await {
                // 409: it has changed since. 422: perhaps a newer one has been made since there was none.
                Err(failure) if matches!(failure.code(), Some(409 | 422)) && tried < TRIES => tried += 1,
                ended => {
                    return ended.map_err(|failure| ClusterError::new("cannot write a verdict", &failure));
                }
            }
            sleep(PAUSE.mul_f64(rand::random())).await;
        }
    }

    async fn try_write(
        &self,
        name: &str,
        make: &impl Fn(Option<&ImageScanVerdictSpec>) -> ImageScanVerdict,
    ) -> Result<Written, Failure> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &ImageScanVerdict::api_resource());
        let stored = in_time(self.pace.answer, api.get_opt(name)).await?;
        let previous = stored.as_ref().and_then(spec);
        let new = make(previous.as_ref());
        let manager = format!("{MANAGER}{}", new.spec.source);
        let at = new.spec.scanned_at.0;
        if let Some(stored) = &stored {
            if scanned_at(stored).is_some_and(|stored| stored > at) {
                return Ok(Written::Older);
            }
            if previous.as_ref() == Some(&new.spec) && annotation(stored) == Some(at) {
                self.write_status(&api, &manager, stored).await?;
                return Ok(Written::Unchanged);
            }
        }
        let mut metadata = json!({"name": name, "annotations": {SCANNED_AT: at.to_string()}});
        if let Some(version) = stored.as_ref().and_then(|stored| stored.metadata.resource_version.as_ref()) {
            metadata["resourceVersion"] = json!(version);
        }
        let document = json!({
            "apiVersion": ImageScanVerdict::api_version(&()),
            "kind": ImageScanVerdict::kind(&()),
            "metadata": metadata,
            "spec": new.spec,
        });
        let params = PatchParams::apply(&manager).force();
        let mut now = in_time(self.pace.answer, api.patch(name, &params, &Patch::Apply(&document))).await?;
        if spec(&now).as_ref() != Some(&new.spec) {
            // Fields that another manager has written stay where ours leave them out, and what we say would be
            // mixed with what somebody else has said.
            now.data["spec"] = document["spec"].clone();
            let params = PostParams { field_manager: Some(manager.clone()), ..PostParams::default() };
            now = in_time(self.pace.answer, api.replace(name, &params, &now)).await?;
        }
        self.write_status(&api, &manager, &now).await?;
        Ok(if stored.is_some() { Written::Updated } else { Written::Created })
    }

    /// Says that the verdict can be read, unless that is said already.
    async fn write_status(
        &self,
        api: &Api<DynamicObject>,
        manager: &str,
        stored: &DynamicObject,
    ) -> Result<(), Failure> {
        let generation = stored.metadata.generation;
        let status: ImageScanVerdictStatus =
            serde_json::from_value(stored.data["status"].clone()).unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let is_said =
            ready.is_some_and(|ready| ready.status == "True") && status.observed_generation == generation;
        if is_said {
            return Ok(());
        }
        let since =
            ready.filter(|ready| ready.status == "True").map(|ready| ready.last_transition_time.clone());
        let condition = Condition {
            last_transition_time: since.unwrap_or_else(|| super::trust::whole_seconds(Timestamp::now())),
            message: "it can be read".to_owned(),
            observed_generation: generation,
            reason: "Readable".to_owned(),
            status: "True".to_owned(),
            type_: "Ready".to_owned(),
        };
        let name = stored.metadata.name.as_deref().unwrap_or_default();
        let document = json!({
            "apiVersion": ImageScanVerdict::api_version(&()),
            "kind": ImageScanVerdict::kind(&()),
            "metadata": {"name": name},
            "status": ImageScanVerdictStatus { observed_generation: generation, conditions: vec![condition] },
        });
        let params = PatchParams::apply(manager).force();
        in_time(self.pace.answer, api.patch_status(name, &params, &Patch::Apply(&document))).await?;
        Ok(())
    }

    /// Deletes the verdict `name` if it is still the one with this `uid` and `version`.
    pub async fn delete(&self, name: &str, uid: &str, version: &str) -> Result<(), ClusterError> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &ImageScanVerdict::api_resource());
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match in_time(self.pace.answer, api.delete(name, &params)).await {
            // Gone already, or not the same any more.
            Err(failure) if matches!(failure.code(), Some(404 | 409)) => Ok(()),
            ended => {
                ended.map(drop).map_err(|failure| ClusterError::new("cannot delete a verdict", &failure))
            }
        }
    }
}

fn spec(object: &DynamicObject) -> Option<ImageScanVerdictSpec> {
    serde_json::from_value(object.data["spec"].clone()).ok()
}

/// When the stored scan took place, also where nothing else of it can be read.
fn scanned_at(object: &DynamicObject) -> Option<Timestamp> {
    let Time(time) = serde_json::from_value::<Time>(object.data["spec"]["scannedAt"].clone()).ok()?;
    Some(time)
}

fn annotation(object: &DynamicObject) -> Option<Timestamp> {
    object.metadata.annotations.as_ref()?.get(SCANNED_AT)?.parse().ok()
}

/// Whether the one who writes for `source` is among those who have written an object.
pub(super) fn is_ours(metadata: &kube::api::ObjectMeta, source: &str) -> bool {
    let ours = format!("{MANAGER}{source}");
    let managers = metadata.managed_fields.iter().flatten();
    managers.into_iter().any(|entry| entry.manager.as_deref() == Some(&*ours) && entry.subresource.is_none())
}
