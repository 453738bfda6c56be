use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::object;
use crate::{
    image::Digest,
    workload::{Document, Patch, Pin, Workload, WorkloadKind},
};

/// What a generated object's images should be found as: pointer and text.
type Found = BTreeSet<(String, String)>;

fn kind() -> impl Strategy<Value = WorkloadKind> {
    select(&WorkloadKind::ALL[..])
}

fn image() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}(:[a-z0-9.]{1,5})?",
        "[a-z.]{1,9}/[a-z/]{1,9}@sha256:[0-9a-f]{64}",
        "\\PC{1,12}",
        any::<char>().prop_map(String::from)
    ]
}

/// Some JSON, with our own field names in all the wrong places.
fn anything() -> impl Strategy<Value = Value> {
    const NAMES: &[&str] = &[
        "apiVersion",
        "kind",
        "metadata",
        "labels",
        "name",
        "spec",
        "template",
        "jobTemplate",
        "containers",
        "initContainers",
        "ephemeralContainers",
        "volumes",
        "image",
        "reference",
        "imagePullSecrets",
        "serviceAccountName",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        image().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof![4 => select(NAMES).prop_map(str::to_owned), 1 => "\\PC{0,6}"];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key, inner), 0..6).prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Fields beside the image that say nothing about images.
fn surroundings() -> impl Strategy<Value = Map<String, Value>> {
    let field = prop_oneof![
        Just(("env".to_owned(), json!([{"name": "IMAGE", "value": "not:an-image"}]))),
        Just(("resources".to_owned(), json!({"limits": {"cpu": "1"}}))),
        Just(("restartPolicy".to_owned(), json!("Always"))),
        Just(("command".to_owned(), json!(["sh", "-c", "{\"image\": \"x\"}"]))),
    ];
    vec(field, 0..4).prop_map(|fields| fields.into_iter().collect())
}

/// A Pod spec, and its images below the spec's own pointer.
fn pod_spec() -> impl Strategy<Value = (Value, Found)> {
    let item = || (image(), surroundings());
    (vec(item(), 1..5), vec(item(), 0..4), vec(item(), 0..3), vec(proptest::option::of(item()), 0..4))
        .prop_map(|(containers, init, ephemeral, volumes)| {
            let mut spec = json!({"nodeName": "n"});
            let mut found = Found::new();
            for (place, list) in
                [("containers", containers), ("initContainers", init), ("ephemeralContainers", ephemeral)]
            {
                let items = list.into_iter().enumerate().map(|(at, (image, mut fields))| {
                    found.insert((format!("/{place}/{at}/image"), image.clone()));
                    fields.insert("name".to_owned(), json!(format!("{place}-{at}")));
                    fields.insert("image".to_owned(), json!(image));
                    Value::from(fields)
                });
                spec[place] = items.collect::<Vec<_>>().into();
            }
            let items = volumes.into_iter().enumerate().map(|(at, volume)| match volume {
                None => json!({"name": format!("v{at}"), "emptyDir": {}}),
                Some((image, _)) => {
                    found.insert((format!("/volumes/{at}/image/reference"), image.clone()));
                    json!({"name": format!("v{at}"), "image": {"reference": image, "pullPolicy": "Always"}})
                }
            });
            spec["volumes"] = items.collect::<Vec<_>>().into();
            (spec, found)
        })
}

/// RFC 6902, as far as `replace` goes, written without a look at how patches are made.
fn apply(patch: &Value, object: &mut Value) {
    for operation in patch.as_array().unwrap() {
        assert_eq!(operation["op"], "replace");
        let target = object.pointer_mut(operation["path"].as_str().unwrap());
        *target.expect("replace wants a value that is there") = operation["value"].clone();
    }
}

proptest! {
    #[test]
    fn no_json_makes_the_extractor_panic(kind in kind(), now in anything(), before in anything()) {
        let (now, before) = (now.to_string(), before.to_string());
        if let Ok(document) = Document::from_json(&now) {
            let _ = Workload::extract(kind, document, Document::from_json(&before).ok());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,64}|[\\[\\]{}\",:a-z0-9\\\\]{0,64}") {
        let _ = Document::from_json(&text);
    }

    #[test]
    fn whatever_the_spec_what_is_found_stands_at_its_pointer(kind in kind(), spec in anything()) {
        let object = object(kind, spec);
        let json = object.to_string();
        if let Ok(document) = Document::from_json(&json)
            && let Ok(workload) = Workload::extract(kind, document, None)
        {
            for slot in workload.images() {
                let stands = object.pointer(slot.pointer()).and_then(Value::as_str);
                prop_assert_eq!(stands, Some(slot.image()));
            }
        }
    }

    #[test]
    fn exactly_the_images_that_were_written_are_found(kind in kind(), (spec, wanted) in pod_spec()) {
        let object = object(kind, spec);
        let json = object.to_string();
        let workload = Workload::extract(kind, Document::from_json(&json).unwrap(), None).unwrap();
        let found: Found = workload
            .images()
            .iter()
            .map(|slot| (slot.pointer().strip_prefix(kind.pod_spec()).unwrap().to_owned(), slot.image().to_owned()))
            .collect();
        prop_assert_eq!(found.len(), workload.images().len(), "no place twice");
        prop_assert_eq!(&found, &wanted);
        for slot in workload.images() {
            prop_assert_eq!(object.pointer(slot.pointer()).and_then(Value::as_str), Some(slot.image()));
        }
    }

    #[test]
    fn a_patch_writes_its_digests_and_changes_nothing_else(
        kind in kind(),
        (spec, _) in pod_spec(),
        chosen in vec(any::<bool>(), 16),
    ) {
        let before = object(kind, spec);
        let json = before.to_string();
        let workload = Workload::extract(kind, Document::from_json(&json).unwrap(), None).unwrap();
        let digest = Digest::sha256(b"manifest");
        let pinned: Vec<_> =
            workload.images().iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(slot, _)| slot).collect();
        let pins = pinned.iter().map(|slot| Pin { pointer: slot.pointer(), image: slot.image(), digest: &digest });
        let patch: Value = serde_json::from_slice(&Patch::pinning(pins).to_json()).unwrap();

        let mut wanted = before.clone();
        for slot in &pinned {
            if !slot.image().contains('@') {
                *wanted.pointer_mut(slot.pointer()).unwrap() = json!(format!("{}@{digest}", slot.image()));
            }
        }
        let mut after = before;
        apply(&patch, &mut after);
        prop_assert_eq!(after, wanted);
    }

    #[test]
    fn an_image_that_nobody_judged_is_never_excused_by_an_update(
        kind in kind(),
        (before, stored) in pod_spec(),
        (now, _) in pod_spec(),
    ) {
        let (now, before) = (object(kind, now).to_string(), object(kind, before).to_string());
        let stored: BTreeSet<String> = stored.into_iter().map(|(_, image)| image).collect();
        let before = Document::from_json(&before).unwrap();
        let workload = Workload::extract(kind, Document::from_json(&now).unwrap(), Some(before)).unwrap();
        for slot in workload.images() {
            prop_assert!(slot.changed() || stored.contains(slot.image()));
        }
    }

    #[test]
    fn an_object_that_is_stored_as_it_stands_asks_for_no_judgement(kind in kind(), (spec, _) in pod_spec()) {
        let json = object(kind, spec).to_string();
        let document = Document::from_json(&json).unwrap();
        let workload = Workload::extract(kind, document.clone(), Some(document)).unwrap();
        prop_assert_eq!(workload.changed_images().count(), 0);
    }
}
