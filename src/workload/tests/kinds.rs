use rstest::rstest;

use crate::workload::{
    ExtractError, MAX_IMAGES, MAX_PULL_SECRETS, ReadError, RequestedType, UnsupportedType, WorkloadKind,
    image_paths,
};

fn kind(group: &str, kind: &str, resource: &str, subresource: &str) -> Result<WorkloadKind, UnsupportedType> {
    WorkloadKind::of(&RequestedType { group, kind, resource, subresource })
}

#[rstest]
#[case("", "Pod", "pods", "", WorkloadKind::Pod)]
#[case("", "Pod", "pods", "ephemeralcontainers", WorkloadKind::Pod)]
#[case("", "Pod", "pods", "resize", WorkloadKind::Pod)]
#[case("", "Pod", "pods", "status", WorkloadKind::Pod)]
#[case("", "PodTemplate", "podtemplates", "", WorkloadKind::PodTemplate)]
#[case("", "ReplicationController", "replicationcontrollers", "", WorkloadKind::ReplicationController)]
#[case("apps", "DaemonSet", "daemonsets", "", WorkloadKind::DaemonSet)]
#[case("apps", "Deployment", "deployments", "", WorkloadKind::Deployment)]
#[case("apps", "Deployment", "deployments", "status", WorkloadKind::Deployment)]
#[case("apps", "ReplicaSet", "replicasets", "", WorkloadKind::ReplicaSet)]
#[case("apps", "StatefulSet", "statefulsets", "", WorkloadKind::StatefulSet)]
#[case("batch", "CronJob", "cronjobs", "", WorkloadKind::CronJob)]
#[case("batch", "Job", "jobs", "", WorkloadKind::Job)]
fn a_known_type_is_a_kind(
    #[case] group: &str,
    #[case] name: &str,
    #[case] resource: &str,
    #[case] subresource: &str,
    #[case] wanted: WorkloadKind,
) {
    assert_eq!(kind(group, name, resource, subresource), Ok(wanted));
}

#[rstest]
#[case::nothing("", "", "", "")]
#[case::other_kind("", "Service", "services", "")]
#[case::same_kind_of_another_group("acme.example.com", "Deployment", "deployments", "")]
#[case::a_group_that_is_gone("extensions", "Deployment", "deployments", "")]
#[case::kind_and_resource_disagree("", "Pod", "podtemplates", "")]
#[case::case_matters("", "pod", "pods", "")]
#[case::scale("autoscaling", "Scale", "deployments", "scale")]
#[case::a_deployment_under_scale("apps", "Deployment", "deployments", "scale")]
#[case::binding("", "Binding", "pods", "binding")]
#[case::eviction("policy", "Eviction", "pods", "eviction")]
#[case::exec("", "PodExecOptions", "pods", "exec")]
#[case::ephemeral_containers_of_a_template("", "PodTemplate", "podtemplates", "ephemeralcontainers")]
#[case::a_subresource_of_tomorrow("", "Pod", "pods", "tomorrow")]
fn any_other_type_is_refused(
    #[case] group: &str,
    #[case] name: &str,
    #[case] resource: &str,
    #[case] subresource: &str,
) {
    assert!(kind(group, name, resource, subresource).is_err());
}

#[test]
fn the_refusal_names_the_type_and_the_remedy() {
    let error = kind("autoscaling", "Scale", "deployments", "scale").unwrap_err();
    insta::assert_snapshot!(error, @"tidewaiter does not know where a Scale.autoscaling (deployments/scale) holds its images; take deployments/scale out of the webhook's rules");
}

#[test]
fn the_refusal_is_bounded_and_printable() {
    let error = kind("", &"\u{202e}".repeat(100_000), "pods\n", "").unwrap_err();
    assert!(error.kind.len() <= 200 && error.kind.is_ascii());
    assert_eq!(error.resource, "pods\\n");
}

#[rstest]
#[case("v1", "Pod", Some(WorkloadKind::Pod))]
#[case("apps/v1", "Deployment", Some(WorkloadKind::Deployment))]
#[case("apps/v1beta2", "Deployment", Some(WorkloadKind::Deployment))]
#[case("batch/v1", "CronJob", Some(WorkloadKind::CronJob))]
#[case("v1", "Deployment", None)]
#[case("apps/v1", "Pod", None)]
#[case("", "", None)]
#[case("v1", "ConfigMap", None)]
fn a_manifest_names_its_kind(
    #[case] api_version: &str,
    #[case] kind: &str,
    #[case] wanted: Option<WorkloadKind>,
) {
    assert_eq!(WorkloadKind::of_manifest(api_version, kind), wanted);
}

#[test]
fn the_table_of_paths_names_every_place_of_every_kind() {
    let all: Vec<String> = WorkloadKind::ALL.into_iter().flat_map(image_paths).collect();
    assert_eq!(all.len(), 9 * 4);
    let of = |kind| image_paths(kind).collect::<Vec<_>>().join(" ");
    insta::assert_snapshot!(of(WorkloadKind::Pod), @"/spec/initContainers/*/image /spec/containers/*/image /spec/ephemeralContainers/*/image /spec/volumes/*/image/reference");
    insta::assert_snapshot!(of(WorkloadKind::CronJob), @"/spec/jobTemplate/spec/template/spec/initContainers/*/image /spec/jobTemplate/spec/template/spec/containers/*/image /spec/jobTemplate/spec/template/spec/ephemeralContainers/*/image /spec/jobTemplate/spec/template/spec/volumes/*/image/reference");
    insta::assert_snapshot!(of(WorkloadKind::PodTemplate), @"/template/spec/initContainers/*/image /template/spec/containers/*/image /template/spec/ephemeralContainers/*/image /template/spec/volumes/*/image/reference");
}

#[test]
fn the_documentation_names_every_kind_place_and_reason() {
    let page = include_str!("../../../docs/images-in-objects.md");
    let has = |text: &str| assert!(page.contains(text), "docs/images-in-objects.md says nothing of {text}");
    for kind in WorkloadKind::ALL {
        has(kind.name());
        has(&format!("`{}`", kind.pod_spec()));
    }
    for path in image_paths(WorkloadKind::Pod) {
        has(&format!("`{}`", path.strip_prefix("/spec/").unwrap()));
    }
    let (pointer, found) = (String::new(), 0);
    for error in [
        ExtractError::MissingObject,
        ExtractError::MissingPodSpec { kind: WorkloadKind::Pod, pointer: "" },
        ExtractError::NoContainers { pointer: pointer.clone() },
        ExtractError::NoImage { pointer: pointer.clone() },
        ExtractError::OtherKind { wanted: WorkloadKind::Pod, found: String::new() },
        ExtractError::TooManyImages { found },
        ExtractError::TooManyPullSecrets { pointer: pointer.clone(), found },
        ExtractError::Unreadable(ReadError { pointer, problem: String::new() }),
    ] {
        has(&format!("`{}`", error.reason()));
    }
    has(&format!("`{}`", kind("", "Service", "services", "").unwrap_err().reason()));
    has(&format!("more than {MAX_IMAGES} images"));
    has(&format!("more than {MAX_PULL_SECRETS} `imagePullSecrets`"));
}
