mod documents;
mod images;
mod kinds;
mod patches;
mod properties;
mod updates;

use serde_json::{Value, json};

use super::{Document, ExtractError, ImageSlot, Workload, WorkloadKind};

/// An object of `kind` around a Pod spec.
fn object(kind: WorkloadKind, pod_spec: Value) -> Value {
    let version = match kind.group() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    let mut object = json!({"apiVersion": version, "kind": kind.name(), "metadata": {"name": "web"}});
    let mut at = &mut object;
    for key in kind.pod_spec().split('/').skip(1) {
        at = &mut at[key];
    }
    *at = pod_spec;
    object
}

fn pod(pod_spec: Value) -> Value {
    object(WorkloadKind::Pod, pod_spec)
}

/// One container of that name and image.
fn container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image})
}

/// What a test wants to know of an extraction: pointers and images.
fn images(kind: WorkloadKind, object: &Value) -> Result<Vec<(String, String)>, ExtractError> {
    let json = object.to_string();
    let workload = Workload::extract(kind, Document::from_json(&json)?, None)?;
    assert!(workload.images().iter().all(ImageSlot::changed), "all of a new object is to be judged");
    Ok(workload.images().iter().map(|slot| (slot.pointer().to_owned(), slot.image().to_owned())).collect())
}

/// The pointers of what must be judged when `before` becomes `now`.
fn changed(kind: WorkloadKind, now: &Value, before: &Value) -> Result<Vec<String>, ExtractError> {
    let (now, before) = (now.to_string(), before.to_string());
    let before = Document::from_json(&before).ok();
    let workload = Workload::extract(kind, Document::from_json(&now)?, before)?;
    Ok(workload.changed_images().map(|slot| slot.pointer().to_owned()).collect())
}
