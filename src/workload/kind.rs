use std::fmt;

use super::json::quote;

/// A kind of object whose images we know how to find.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WorkloadKind {
    /// `batch` CronJob.
    CronJob,
    /// `apps` DaemonSet.
    DaemonSet,
    /// `apps` Deployment.
    Deployment,
    /// `batch` Job.
    Job,
    /// The one kind that runs; all others make Pods.
    Pod,
    /// The `PodTemplate` object of the core group, not the template inside other kinds.
    PodTemplate,
    /// `apps` ReplicaSet.
    ReplicaSet,
    /// The core group's ReplicationController.
    ReplicationController,
    /// `apps` StatefulSet.
    StatefulSet,
}

/// What a request says it is about, as in `request.kind`, `request.resource` and
/// `request.subResource` of an AdmissionReview.
///
/// Versions play no part: the images stand in the same places in every version of these groups
/// that ever carried these kinds, and `matchPolicy: Equivalent` converts anyway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestedType<'a> {
    /// The group of the kind and of the resource; empty for the core group.
    pub group: &'a str,
    /// The kind, `Pod`.
    pub kind: &'a str,
    /// The resource, `pods`.
    pub resource: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
}

/// An object of a type whose images we do not know how to find. It is refused: nobody looked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "tidewaiter does not know where a {kind} ({resource}) holds its images; take {resource} out of the \
     webhook's rules"
)]
pub struct UnsupportedType {
    /// The kind with its group, `Scale.autoscaling`, at most 200 bytes.
    pub kind: String,
    /// The resource with its subresource, `deployments/scale`, at most 200 bytes.
    pub resource: String,
}

impl WorkloadKind {
    /// All kinds, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::Job,
        Self::Pod,
        Self::PodTemplate,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::StatefulSet,
    ];

    /// The kind that a request is about.
    ///
    /// Group, kind and resource must agree with one another. Of subresources only those are known
    /// that carry the object itself: `status` of every kind, and `ephemeralcontainers` and
    /// `resize` of Pods. They are judged as what they are, updates of that object. A `Scale`, a
    /// `Binding` or an `Eviction` is not.
    pub fn of(requested: &RequestedType<'_>) -> Result<Self, UnsupportedType> {
        let RequestedType { group, kind, resource, subresource } = *requested;
        Self::ALL
            .into_iter()
            .find(|known| (known.group(), known.name(), known.resource()) == (group, kind, resource))
            .filter(|known| match subresource {
                "" | "status" => true,
                "ephemeralcontainers" | "resize" => *known == Self::Pod,
                _ => false,
            })
            .ok_or_else(|| UnsupportedType {
                kind: quote(&qualified(kind, '.', group), 200),
                resource: quote(&qualified(resource, '/', subresource), 200),
            })
    }

    /// The kind of a manifest that says `apiVersion` and `kind`; none where its images would not be found.
    pub fn of_manifest(api_version: &str, kind: &str) -> Option<Self> {
        let group = group_of(api_version);
        Self::ALL.into_iter().find(|known| (known.group(), known.name()) == (group, kind))
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Pod | Self::PodTemplate | Self::ReplicationController => "",
            Self::DaemonSet | Self::Deployment | Self::ReplicaSet | Self::StatefulSet => "apps",
            Self::CronJob | Self::Job => "batch",
        }
    }

    /// The kind as manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CronJob => "CronJob",
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::PodTemplate => "PodTemplate",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The resource as webhook rules write it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::CronJob => "cronjobs",
            Self::DaemonSet => "daemonsets",
            Self::Deployment => "deployments",
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::PodTemplate => "podtemplates",
            Self::ReplicaSet => "replicasets",
            Self::ReplicationController => "replicationcontrollers",
            Self::StatefulSet => "statefulsets",
        }
    }

    /// Whether objects of this kind run, as opposed to making Pods that do.
    pub fn is_pod(self) -> bool {
        self == Self::Pod
    }

    /// The JSON pointer of the Pod spec in objects of this kind.
    pub fn pod_spec(self) -> &'static str {
        match self {
            Self::Pod => "/spec",
            Self::PodTemplate => "/template/spec",
            Self::CronJob => "/spec/jobTemplate/spec/template/spec",
            Self::DaemonSet
            | Self::Deployment
            | Self::Job
            | Self::ReplicaSet
            | Self::ReplicationController
            | Self::StatefulSet => "/spec/template/spec",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl UnsupportedType {
    /// The stable name of this trouble, for metrics and the log.
    pub fn reason(&self) -> &'static str {
        "UnsupportedType"
    }
}

/// `group/version` has a group, `v1` has the empty one.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn qualified(name: &str, separator: char, qualifier: &str) -> String {
    match qualifier {
        "" => name.to_owned(),
        _ => format!("{name}{separator}{qualifier}"),
    }
}
