use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use super::{
    WorkloadKind,
    json::{ReadError, Strict, Text, read},
};

/// What of an object's JSON bears on its images; everything else is skipped unread.
///
/// It is the same for all kinds: the fields of a Pod spec, a template and a job template never
/// share a name with something else in the kinds that we know. So an object can be read in one
/// pass with the AdmissionReview around it, before its kind is known.
///
/// A key that stands twice is an error where it is one that we read: another parser might take the
/// other one. What is read may nest up to serde_json's limit of 128 levels; what is skipped may nest as
/// it likes, for it is skipped without recursion.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document<'a>(Root<'a>);

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Root<'a> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    metadata: Option<Strict<Metadata<'a>>>,
    #[serde(borrow)]
    spec: Option<Strict<Spec<'a>>>,
    #[serde(borrow)]
    template: Option<Strict<Template<'a>>>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) labels: Option<Labels<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    #[serde(borrow)]
    pub(super) containers: Option<Vec<Strict<Container<'a>>>>,
    #[serde(borrow)]
    pub(super) init_containers: Option<Vec<Strict<Container<'a>>>>,
    #[serde(borrow)]
    pub(super) ephemeral_containers: Option<Vec<Strict<Container<'a>>>>,
    #[serde(borrow)]
    pub(super) volumes: Option<Vec<Strict<Volume<'a>>>>,
    #[serde(borrow)]
    pub(super) service_account_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) service_account: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) image_pull_secrets: Option<Vec<Strict<LocalObjectReference<'a>>>>,
    #[serde(borrow)]
    template: Option<Box<Strict<Template<'a>>>>,
    #[serde(borrow)]
    job_template: Option<Box<Strict<Template<'a>>>>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
struct Template<'a> {
    #[serde(borrow)]
    spec: Option<Strict<Spec<'a>>>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Container<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) image: Option<Text<'a>>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Volume<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) image: Option<Strict<ImageVolumeSource<'a>>>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct ImageVolumeSource<'a> {
    #[serde(borrow)]
    pub(super) reference: Option<Text<'a>>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct LocalObjectReference<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
}

/// An object's own labels (`metadata.labels`), whoever wrote them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Labels<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> Document<'a> {
    /// Reads one object.
    pub fn from_json(json: &'a str) -> Result<Self, ReadError> {
        read(json)
    }

    /// What the object says its `apiVersion` is; empty where it says nothing.
    pub fn api_version(&self) -> &str {
        self.0.api_version.as_ref().map_or("", |text| &text.0)
    }

    /// What the object says its `kind` is; empty where it says nothing.
    pub fn kind(&self) -> &str {
        self.0.kind.as_ref().map_or("", |text| &text.0)
    }

    /// The metadata, and the Pod spec where objects of `kind` have it.
    pub(super) fn take(self, kind: WorkloadKind) -> (Metadata<'a>, Option<Spec<'a>>) {
        let below = |template: Option<Strict<Template<'a>>>| template?.0.spec;
        let Root { metadata, spec, template, .. } = self.0;
        let spec = match kind {
            WorkloadKind::Pod => spec,
            WorkloadKind::PodTemplate => below(template),
            WorkloadKind::CronJob => spec
                .and_then(|cron_job| below(cron_job.0.job_template.map(|template| *template)))
                .and_then(|job| below(job.0.template.map(|template| *template))),
            WorkloadKind::DaemonSet
            | WorkloadKind::Deployment
            | WorkloadKind::Job
            | WorkloadKind::ReplicaSet
            | WorkloadKind::ReplicationController
            | WorkloadKind::StatefulSet => {
                spec.and_then(|owner| below(owner.0.template.map(|template| *template)))
            }
        };
        (metadata.map(|metadata| metadata.0).unwrap_or_default(), spec.map(|spec| spec.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Document<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Strict::deserialize(deserializer).map(|Strict(root)| Self(root))
    }
}

impl Labels<'_> {
    /// The value of the label `key`, if there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (*known.0).cmp(key)).ok()?;
        Some(&self.0[at].1.0)
    }

    /// All labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&*key.0, &*value.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;

        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
                let mut labels: Vec<(Text<'de>, Text<'de>)> = Vec::new();
                // As in Go, `null` is the empty string.
                while let Some((key, value)) = map.next_entry::<_, Option<Text<'de>>>()? {
                    labels.push((key, value.unwrap_or_default()));
                }
                labels.sort_unstable();
                match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    Some(_) => Err(de::Error::custom("a label stands here twice")),
                    None => Ok(Labels(labels)),
                }
            }
        }

        deserializer.deserialize_map(LabelsVisitor)
    }
}
