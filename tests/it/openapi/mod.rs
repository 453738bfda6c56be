//! Every image that the API can carry is one that the extractor looks at: the schema that an API
//! server serves is walked and compared with the extractor's own table.

mod walk;

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::workload::{WorkloadKind, image_paths};

use walk::{ImageField, image_fields, roots};

use crate::support::apiserver::ApiServer;

/// Kinds that carry images which run nowhere: lists of what we know, and what a node reports.
fn is_known_not_to_run(group: &str, kind: &str) -> bool {
    (group, kind) == ("", "Node") || kind.ends_with("List") || group == "tidewaiter.dev"
}

/// What the schema of an API server (`/openapi/v2`, or one group's `/openapi/v3/…`) and the
/// extractor's table do not agree on, in words. Empty is what it should be.
///
/// `kinds` are those that the document must have: all of them in a v2 document.
pub fn disagreements(document: &Value, kinds: &[WorkloadKind]) -> Vec<String> {
    let mut found: BTreeMap<WorkloadKind, BTreeSet<String>> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for root in roots(document) {
        let fields = image_fields(document, &root.schema);
        match WorkloadKind::ALL
            .into_iter()
            .find(|kind| (kind.group(), kind.name()) == (&root.group, &root.kind))
        {
            Some(kind) => {
                found.entry(kind).or_default().extend(fields.into_iter().map(|field| field.path));
            }
            None if is_known_not_to_run(&root.group, &root.kind) => {}
            None => disagreements.extend(fields.into_iter().map(|field| {
                let ImageField { path, field } = field;
                format!(
                    "{} of group \"{}\" has an image at {path} ({field}) and is no workload",
                    root.kind, root.group
                )
            })),
        }
    }
    for kind in kinds {
        let known: BTreeSet<String> = image_paths(*kind).collect();
        let Some(schema) = found.get(kind) else {
            disagreements.push(format!("the document has no {kind}"));
            continue;
        };
        let unseen = schema
            .difference(&known)
            .map(|path| format!("{kind} has an image at {path} that nobody extracts"));
        let gone = known.difference(schema).map(|path| format!("{kind} has no {path}, which is extracted"));
        disagreements.extend(unseen.chain(gone));
    }
    disagreements
}

#[tokio::test]
async fn every_image_that_a_real_api_server_knows_of_is_extracted() {
    let Some(server) = ApiServer::shared().await else { return };
    let ask =
        http::Request::get("/openapi/v2").header("accept", "application/json").body(Vec::new()).unwrap();
    let document: Value = server.client().await.request(ask).await.unwrap();
    assert_eq!(disagreements(&document, &WorkloadKind::ALL), Vec::<String>::new());
}

/// How references look in the two versions of the format.
#[derive(Clone, Copy, Debug)]
enum Version {
    V2,
    V3,
}

/// A document as small as it can be: Pod, Deployment, Node, and the types that they are made of.
fn document(version: Version) -> Value {
    let to = |name: &str| match version {
        Version::V2 => {
            json!({"$ref": format!("#/definitions/io.example.{name}"), "description": "Some thing."})
        }
        Version::V3 => {
            json!({"allOf": [{"$ref": format!("#/components/schemas/io.example.{name}")}], "default": {}})
        }
    };
    let list = |name: &str| json!({"type": "array", "items": to(name)});
    let text = |description: &str| json!({"type": "string", "description": description});
    let kind = |group: &str, kind: &str| json!([{"group": group, "version": "v1", "kind": kind}]);
    let schemas = json!({
        "io.example.Pod": {"type": "object", "x-kubernetes-group-version-kind": kind("", "Pod"), "properties": {
            "kind": text("The kind."), "metadata": to("ObjectMeta"), "spec": to("PodSpec"), "status": to("PodStatus")}},
        "io.example.PodList": {"type": "object", "x-kubernetes-group-version-kind": kind("", "PodList"),
            "properties": {"items": list("Pod")}},
        "io.example.Node": {"type": "object", "x-kubernetes-group-version-kind": kind("", "Node"),
            "properties": {"images": {"type": "array", "items": {"type": "string"}}}},
        "io.example.Deployment": {"type": "object", "x-kubernetes-group-version-kind": kind("apps", "Deployment"),
            "properties": {"spec": to("DeploymentSpec")}},
        "io.example.DeploymentSpec": {"type": "object", "properties": {"replicas": {"type": "integer"}, "template": to("PodTemplateSpec")}},
        "io.example.PodTemplateSpec": {"type": "object", "properties": {"metadata": to("ObjectMeta"), "spec": to("PodSpec")}},
        "io.example.ObjectMeta": {"type": "object", "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "owner": to("ObjectMeta"), "created": to("Time")}},
        "io.example.Time": {"type": "string", "format": "date-time"},
        "io.example.PodSpec": {"type": "object", "properties": {
            "containers": list("Container"), "initContainers": list("Container"),
            "ephemeralContainers": list("EphemeralContainer"), "volumes": list("Volume"), "nodeName": text("The node.")}},
        "io.example.PodStatus": {"type": "object", "properties": {"containerStatuses": list("ContainerStatus")}},
        "io.example.ContainerStatus": {"type": "object", "properties": {"image": text("What runs."), "imageID": text("What runs.")}},
        "io.example.Container": {"type": "object", "properties": {
            "name": text("The name."), "image": text("The image."), "imagePullPolicy": text("When."),
            "args": {"type": "array", "items": {"type": "string"}, "description": "In place of the image's CMD."}}},
        "io.example.EphemeralContainer": {"type": "object", "properties": {"name": text("The name."), "image": text("The image.")}},
        "io.example.Volume": {"type": "object", "properties": {"name": text("The name."), "image": to("ImageVolumeSource"), "rbd": to("RBDVolumeSource")}},
        "io.example.ImageVolumeSource": {"type": "object", "properties": {"reference": text("What to mount."), "pullPolicy": text("When.")}},
        "io.example.RBDVolumeSource": {"type": "object", "properties": {"image": text("A rados image.")}},
    });
    match version {
        Version::V2 => json!({"swagger": "2.0", "definitions": schemas}),
        Version::V3 => json!({"openapi": "3.0.0", "components": {"schemas": schemas}}),
    }
}

/// The same document with one more schema or a changed one.
fn with(version: Version, schema: &str, property: &str, value: Value) -> Value {
    let mut document = document(version);
    let schemas = match version {
        Version::V2 => &mut document["definitions"],
        Version::V3 => &mut document["components"]["schemas"],
    };
    schemas[format!("io.example.{schema}")]["properties"][property] = value;
    document
}

const KINDS: &[WorkloadKind] = &[WorkloadKind::Deployment, WorkloadKind::Pod];

#[rstest]
fn a_schema_of_known_images_agrees_with_the_extractor(#[values(Version::V2, Version::V3)] version: Version) {
    assert_eq!(disagreements(&document(version), KINDS), Vec::<String>::new());
}

#[rstest]
#[case::by_name("Container", "debugImage", json!({"type": "string"}), "/spec/containers/*/debugImage")]
#[case::by_description("PodSpec", "bundle", json!({"type": "string", "description": "An Image to run."}), "/spec/bundle")]
#[case::a_list("PodSpec", "images", json!({"type": "array", "items": {"type": "string"}}), "/spec/images/*")]
#[case::a_map("PodSpec", "imagesByRole", json!({"type": "object", "additionalProperties": {"type": "string"}}), "/spec/imagesByRole/*")]
#[case::a_list_of_objects("PodSpec", "modules", json!({"type": "array", "items": {"type": "object", "properties": {"image": {"type": "string"}}}}), "/spec/modules/*/image")]
#[case::in_a_type_for_images("ImageVolumeSource", "fallback", json!({"type": "string"}), "/spec/volumes/*/image/fallback")]
#[case::text_or_number("PodSpec", "imageOrPort", json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), "/spec/imageOrPort")]
#[case::anything_at_all("PodSpec", "imageSource", json!({"type": "object"}), "/spec/imageSource")]
#[case::of_no_stated_type("PodSpec", "imageSource", json!({}), "/spec/imageSource")]
#[case::in_the_status("PodStatus", "nextImage", json!({"type": "string"}), "/status/nextImage")]
fn an_image_that_nobody_extracts_is_noticed(
    #[case] schema: &str,
    #[case] property: &str,
    #[case] value: Value,
    #[case] path: &str,
    #[values(Version::V2, Version::V3)] version: Version,
) {
    let found = disagreements(&with(version, schema, property, value), KINDS);
    assert!(found.contains(&format!("Pod has an image at {path} that nobody extracts")), "{found:#?}");
}

#[rstest]
#[case(json!({"type": "integer", "description": "How many images."}))]
#[case(json!({"type": "boolean", "description": "Whether the image is checked."}))]
#[case(json!({"type": "string", "description": "A name."}))]
fn what_cannot_hold_an_image_or_says_nothing_of_one_is_no_image(#[case] value: Value) {
    assert_eq!(disagreements(&with(Version::V3, "PodSpec", "other", value), KINDS), Vec::<String>::new());
}

#[test]
fn a_place_that_the_api_does_not_have_is_noticed() {
    let document = with(Version::V2, "PodSpec", "ephemeralContainers", json!({"type": "integer"}));
    let found = disagreements(&document, &[WorkloadKind::Pod]);
    assert_eq!(found, ["Pod has no /spec/ephemeralContainers/*/image, which is extracted"]);
}

#[test]
fn a_kind_that_the_document_does_not_have_is_noticed() {
    let found = disagreements(&document(Version::V2), &[WorkloadKind::CronJob]);
    assert_eq!(found, ["the document has no CronJob"]);
    assert_eq!(disagreements(&json!({}), &WorkloadKind::ALL).len(), WorkloadKind::ALL.len());
}

#[test]
fn a_new_kind_with_images_is_noticed() {
    let mut document = document(Version::V2);
    let mut robot = document["definitions"]["io.example.Deployment"].clone();
    robot["x-kubernetes-group-version-kind"] =
        json!([{"group": "robots.example.com", "version": "v1", "kind": "Robot"}]);
    document["definitions"]["io.example.Robot"] = robot;
    let found = disagreements(&document, KINDS);
    let wanted = "Robot of group \"robots.example.com\" has an image at /spec/template/spec/containers/*/image (Container.image) and is no workload";
    assert!(found.contains(&wanted.to_owned()), "{found:#?}");
}

#[test]
fn a_type_that_holds_itself_ends_the_walk() {
    let document = document(Version::V3);
    let fields = image_fields(&document, "io.example.Pod");
    assert_eq!(fields.len(), 4, "{fields:#?}");
}
