use rstest::rstest;
use serde_json::{Value, json};

use super::{container, images, object, pod};
use crate::workload::{ExtractError, MAX_IMAGES, MAX_PULL_SECRETS, WorkloadKind, image_paths};

#[rstest]
fn every_path_of_the_table_is_found(
    #[values(
        WorkloadKind::CronJob,
        WorkloadKind::DaemonSet,
        WorkloadKind::Deployment,
        WorkloadKind::Job,
        WorkloadKind::Pod,
        WorkloadKind::PodTemplate,
        WorkloadKind::ReplicaSet,
        WorkloadKind::ReplicationController,
        WorkloadKind::StatefulSet
    )]
    kind: WorkloadKind,
) {
    for path in image_paths(kind) {
        let mut object = object(kind, json!({"containers": [{"name": "only", "image": "example.com/only"}]}));
        let pointer = path.replace('*', "0");
        let mut at = &mut object;
        for key in pointer.split('/').skip(1) {
            at = match at {
                Value::Null if key == "0" => {
                    *at = json!([null]);
                    &mut at[0]
                }
                Value::Array(list) => &mut list[0],
                _ => &mut at[key],
            };
        }
        *at = json!("example.com/hidden:1");
        let found = images(kind, &object).unwrap();
        assert!(
            found.contains(&(pointer.clone(), "example.com/hidden:1".to_owned())),
            "{pointer}: {found:?}"
        );
    }
}

#[test]
fn images_come_list_by_list_and_each_list_in_its_order() {
    let pod = pod(json!({
        "volumes": [{"name": "config", "configMap": {"name": "c"}}, {"name": "model", "image": {"reference": "v:1"}}],
        "ephemeralContainers": [container("debug", "e:1")],
        "containers": [container("a", "c:1"), container("b", "c:2")],
        "initContainers": [container("sidecar", "i:1"), container("setup", "i:2")],
    }));
    let found = images(WorkloadKind::Pod, &pod).unwrap();
    let found: Vec<_> = found.iter().map(|(pointer, image)| (&**pointer, &**image)).collect();
    assert_eq!(
        found,
        [
            ("/spec/initContainers/0/image", "i:1"),
            ("/spec/initContainers/1/image", "i:2"),
            ("/spec/containers/0/image", "c:1"),
            ("/spec/containers/1/image", "c:2"),
            ("/spec/ephemeralContainers/0/image", "e:1"),
            ("/spec/volumes/1/image/reference", "v:1"),
        ]
    );
}

#[rstest]
#[case::escapes("ngin\\u0078", "nginx")]
#[case::spaces_stay(" nginx ", " nginx ")]
#[case::nonsense_stays("://", "://")]
fn the_image_is_what_the_api_server_reads(#[case] written: &str, #[case] read: &str) {
    let json = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "spec": {{"containers": [{{"image": "{written}"}}]}}}}"#
    );
    let found = images(WorkloadKind::Pod, &serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(found[0].1, read);
}

#[rstest]
#[case::no_image(json!([{"name": "a"}]))]
#[case::null_image(json!([{"name": "a", "image": null}]))]
#[case::empty_image(json!([{"name": "a", "image": ""}]))]
#[case::empty_container(json!([{}]))]
fn a_pod_whose_container_names_no_image_is_refused(
    #[case] list: Value,
    #[values("containers", "initContainers", "ephemeralContainers")] place: &str,
) {
    let mut pod = pod(json!({"containers": [container("fine", "nginx")]}));
    pod["spec"][place] = list;
    let wanted = ExtractError::NoImage { pointer: format!("/spec/{place}/0/image") };
    assert_eq!(images(WorkloadKind::Pod, &pod), Err(wanted));
}

#[rstest]
#[case(json!({}))]
#[case(json!({"reference": ""}))]
#[case(json!({"reference": null, "pullPolicy": "Always"}))]
fn a_pod_whose_image_volume_names_no_image_is_refused(#[case] source: Value) {
    let pod = pod(json!({"containers": [container("a", "b")], "volumes": [{"name": "v", "image": source}]}));
    let wanted = ExtractError::NoImage { pointer: "/spec/volumes/0/image/reference".to_owned() };
    assert_eq!(images(WorkloadKind::Pod, &pod), Err(wanted));
}

#[test]
fn a_template_may_leave_an_image_to_be_filled_in_later() {
    let template = object(
        WorkloadKind::Deployment,
        json!({"containers": [{"name": "later"}, container("now", "nginx")],
               "volumes": [{"name": "later", "image": {}}]}),
    );
    let found = images(WorkloadKind::Deployment, &template).unwrap();
    assert_eq!(found, [("/spec/template/spec/containers/1/image".to_owned(), "nginx".to_owned())]);
}

#[rstest]
#[case::absent(json!({}))]
#[case::null(json!({"containers": null}))]
#[case::empty(json!({"containers": []}))]
#[case::others_do_not_count(json!({"containers": [], "initContainers": [{"name": "a", "image": "b"}]}))]
fn an_object_without_containers_is_refused_whatever_its_kind(#[case] spec: Value) {
    for kind in WorkloadKind::ALL {
        let wanted = ExtractError::NoContainers { pointer: format!("{}/containers", kind.pod_spec()) };
        assert_eq!(images(kind, &object(kind, spec.clone())), Err(wanted));
    }
}

#[test]
fn an_object_without_a_pod_spec_is_refused_whatever_its_kind() {
    for kind in WorkloadKind::ALL {
        let wanted = Err(ExtractError::MissingPodSpec { kind, pointer: kind.pod_spec() });
        assert_eq!(images(kind, &object(kind, Value::Null)), wanted);
        let mut bare = object(kind, Value::Null);
        bare.as_object_mut().unwrap().retain(|key, _| key != "spec" && key != "template");
        assert_eq!(images(kind, &bare), wanted);
    }
}

#[test]
fn an_object_of_one_kind_is_not_taken_for_another() {
    let spec = json!({"containers": [container("a", "b")]});
    for kind in WorkloadKind::ALL {
        for other in WorkloadKind::ALL.into_iter().filter(|other| *other != kind) {
            let error = images(kind, &object(other, spec.clone())).unwrap_err();
            assert!(matches!(error, ExtractError::OtherKind { wanted, .. } if wanted == kind), "{error}");
        }
    }
}

#[rstest]
#[case::no_kind(json!({"apiVersion": "v1"}))]
#[case::no_version_where_a_group_is_wanted(json!({"kind": "Deployment"}))]
#[case::neither(json!({}))]
#[case::other_group(json!({"apiVersion": "acme.example.com/v1", "kind": "Deployment"}))]
#[case::slash_without_version(json!({"apiVersion": "apps", "kind": "Deployment"}))]
#[case::case_differs(json!({"apiVersion": "apps/v1", "kind": "deployment"}))]
fn an_object_that_does_not_say_the_same_kind_as_the_request_is_refused(#[case] mut given: Value) {
    given["spec"] = json!({"template": {"spec": {"containers": [container("a", "b")]}}});
    let error = images(WorkloadKind::Deployment, &given).unwrap_err();
    assert!(matches!(error, ExtractError::OtherKind { .. }), "{error}");
}

#[test]
fn the_images_of_a_pod_are_not_looked_for_in_a_template_inside_it() {
    let pod = pod(json!({"template": {"spec": {"containers": [container("a", "b")]}}}));
    assert!(matches!(images(WorkloadKind::Pod, &pod), Err(ExtractError::NoContainers { .. })));
}

#[rstest]
#[case(MAX_IMAGES, true)]
#[case(MAX_IMAGES + 1, false)]
fn more_images_than_the_cap_are_refused_and_not_cut_off(#[case] count: usize, #[case] fine: bool) {
    let list: Vec<_> = (0..count).map(|n| container(&format!("c{n}"), "nginx")).collect();
    let found = images(WorkloadKind::Pod, &pod(json!({"containers": list})));
    match fine {
        true => assert_eq!(found.unwrap().len(), count),
        false => assert_eq!(found, Err(ExtractError::TooManyImages { found: count })),
    }
}

#[rstest]
#[case(MAX_PULL_SECRETS, true)]
#[case(MAX_PULL_SECRETS + 1, false)]
fn more_pull_secrets_than_the_cap_are_refused(#[case] count: usize, #[case] fine: bool) {
    let secrets: Vec<_> = (0..count).map(|n| json!({"name": format!("s{n}")})).collect();
    let spec = json!({"containers": [container("a", "b")], "imagePullSecrets": secrets});
    let found = images(WorkloadKind::Pod, &pod(spec));
    let pointer = "/spec/imagePullSecrets".to_owned();
    match fine {
        true => assert!(found.is_ok()),
        false => assert_eq!(found, Err(ExtractError::TooManyPullSecrets { pointer, found: count })),
    }
}

#[test]
fn each_refusal_says_where_and_what_to_do() {
    let messages: Vec<String> = [
        ExtractError::MissingObject,
        images(WorkloadKind::Job, &object(WorkloadKind::Job, Value::Null)).unwrap_err(),
        images(WorkloadKind::Job, &object(WorkloadKind::Job, json!({}))).unwrap_err(),
        images(WorkloadKind::Pod, &pod(json!({"containers": [{}]}))).unwrap_err(),
        images(WorkloadKind::Pod, &object(WorkloadKind::Job, json!({}))).unwrap_err(),
        images(WorkloadKind::Pod, &json!({})).unwrap_err(),
        ExtractError::TooManyImages { found: 1000 },
        ExtractError::TooManyPullSecrets { pointer: "/spec/imagePullSecrets".to_owned(), found: 65 },
    ]
    .iter()
    .map(|error| format!("{}: {error}", error.reason()))
    .collect();
    insta::assert_snapshot!(messages.join("\n"), @r"
    ObjectMissing: the request carries no object; there is nothing to judge
    PodSpecMissing: /spec/template/spec is missing; a Job needs it
    NoContainers: /spec/template/spec/containers is missing or empty; write at least one container
    ImageMissing: /spec/containers/0/image is missing or empty; write the image that is to run
    ObjectOfOtherKind: the request is about a Pod but its object is a batch/v1 Job
    ObjectOfOtherKind: the request is about a Pod but its object is one without apiVersion and kind
    TooManyImages: 1000 images are to be judged and 256 at most can be; split the object
    TooManyPullSecrets: /spec/imagePullSecrets names 65 secrets and 64 at most are asked for; name fewer
    ");
}
