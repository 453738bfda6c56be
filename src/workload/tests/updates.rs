use rstest::rstest;
use serde_json::{Value, json};

use super::{changed, container, object, pod};
use crate::workload::{ExtractError, MAX_IMAGES, MAX_PULL_SECRETS, WorkloadKind};

fn two() -> Value {
    json!({"containers": [container("a", "x:1"), container("b", "y:1")]})
}

#[test]
fn an_update_that_leaves_all_images_asks_for_no_judgement() {
    let before = pod(two());
    let mut now = before.clone();
    now["metadata"]["labels"] = json!({"new": "label"});
    assert_eq!(changed(WorkloadKind::Pod, &now, &before), Ok(vec![]));
}

#[rstest]
#[case::one_image(json!({"containers": [container("a", "x:2"), container("b", "y:1")]}), &["/spec/containers/0/image"])]
#[case::the_same_image_by_another_name(json!({"containers": [container("a", "docker.io/x:1"), container("b", "y:1")]}), &["/spec/containers/0/image"])]
#[case::renamed(json!({"containers": [container("c", "x:1"), container("b", "y:1")]}), &["/spec/containers/0/image"])]
#[case::swapped(json!({"containers": [container("a", "y:1"), container("b", "x:1")]}), &["/spec/containers/0/image", "/spec/containers/1/image"])]
#[case::reordered(json!({"containers": [container("b", "y:1"), container("a", "x:1")]}), &[])]
#[case::moved_to_another_list(json!({"containers": [container("b", "y:1")], "initContainers": [container("a", "x:1")]}), &["/spec/initContainers/0/image"])]
#[case::added(json!({"containers": [container("a", "x:1"), container("b", "y:1"), container("c", "x:1")]}), &["/spec/containers/2/image"])]
#[case::an_ephemeral_container(json!({"containers": [container("a", "x:1"), container("b", "y:1")], "ephemeralContainers": [container("debug", "busybox")]}), &["/spec/ephemeralContainers/0/image"])]
#[case::a_volume_of_a_containers_name(json!({"containers": [container("a", "x:1"), container("b", "y:1")], "volumes": [{"name": "a", "image": {"reference": "x:1"}}]}), &["/spec/volumes/0/image/reference"])]
#[case::removed(json!({"containers": [container("b", "y:1")]}), &[])]
#[case::named_twice_now(json!({"containers": [container("a", "x:1"), container("a", "x:1"), container("b", "y:1")]}), &["/spec/containers/0/image", "/spec/containers/1/image"])]
fn what_was_not_there_just_so_before_must_be_judged(#[case] now: Value, #[case] wanted: &[&str]) {
    let found = changed(WorkloadKind::Pod, &pod(now), &pod(two())).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn a_name_that_stood_twice_before_vouches_for_nothing() {
    let twice = json!({"containers": [container("a", "x:1"), container("a", "evil:1")]});
    let now = json!({"containers": [container("a", "evil:1")]});
    let found = changed(WorkloadKind::Pod, &pod(now), &pod(twice)).unwrap();
    assert_eq!(found, ["/spec/containers/0/image"]);
}

#[test]
fn a_deletion_under_way_excuses_nothing() {
    let mut before = pod(two());
    before["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    before["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let mut now = before.clone();
    now["spec"]["containers"][1]["image"] = json!("evil:1");
    assert_eq!(changed(WorkloadKind::Pod, &now, &before).unwrap(), ["/spec/containers/1/image"]);
}

#[rstest]
#[case::null(Value::Null)]
#[case::empty(json!({}))]
#[case::another_kind(object(WorkloadKind::Deployment, two()))]
#[case::without_containers(pod(json!({})))]
#[case::wrong_type(pod(json!({"containers": [{"name": "a", "image": 1}]})))]
fn an_unreadable_stored_object_vouches_for_nothing(#[case] before: Value) {
    let found = changed(WorkloadKind::Pod, &pod(two()), &before).unwrap();
    assert_eq!(found, ["/spec/containers/0/image", "/spec/containers/1/image"]);
}

#[test]
fn a_template_is_compared_like_a_pod() {
    let before = object(WorkloadKind::CronJob, two());
    let mut now = before.clone();
    let pointer = "/spec/jobTemplate/spec/template/spec/containers/0/image";
    *now.pointer_mut(pointer).unwrap() = json!("x:2");
    assert_eq!(changed(WorkloadKind::CronJob, &now, &before).unwrap(), [pointer]);
}

#[test]
fn a_place_that_was_stored_without_an_image_may_stay_so_but_none_may_become_so() {
    let blank = json!({"containers": [container("a", "x:1")], "volumes": [{"name": "v", "image": {"reference": ""}}]});
    let mut stored = pod(blank.clone());
    let mut now = stored.clone();
    now["metadata"]["finalizers"] = json!([]);
    assert_eq!(changed(WorkloadKind::Pod, &now, &stored), Ok(vec![]), "it must stay deletable");
    stored["spec"]["volumes"][0]["image"]["reference"] = json!("v:1");
    let refused = Err(ExtractError::NoImage { pointer: "/spec/volumes/0/image/reference".to_owned() });
    assert_eq!(changed(WorkloadKind::Pod, &now, &stored), refused);
    now["spec"]["volumes"][0]["image"]["reference"] = json!("v:2");
    let judged = Ok(vec!["/spec/volumes/0/image/reference".to_owned()]);
    assert_eq!(changed(WorkloadKind::Pod, &now, &pod(blank)), judged);
}

#[test]
fn caps_count_what_must_be_judged() {
    let list: Vec<_> = (0..=MAX_IMAGES).map(|n| container(&format!("c{n}"), "nginx")).collect();
    let secrets: Vec<_> = (0..=MAX_PULL_SECRETS).map(|n| json!({"name": format!("s{n}")})).collect();
    let stored = pod(json!({"containers": list, "imagePullSecrets": secrets}));
    assert_eq!(changed(WorkloadKind::Pod, &stored, &stored), Ok(vec![]), "it must stay deletable");
    let mut now = stored.clone();
    now["spec"]["containers"][0]["image"] = json!("nginx:2");
    let found = changed(WorkloadKind::Pod, &now, &stored);
    assert!(matches!(found, Err(ExtractError::TooManyPullSecrets { .. })), "{found:?}");
}
