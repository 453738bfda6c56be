use super::{ImageSlot, Question, Stage};
use crate::{
    policy::LabelSource,
    workload::{Labels, Workload},
};

/// What a review asks about one object, borrowed from it.
pub struct ReviewedObject<'a> {
    workload: &'a Workload<'a>,
    images: Vec<ImageSlot<'a>>,
    pull_secrets: Vec<&'a str>,
    no_labels: Labels<'a>,
}

impl<'a> ReviewedObject<'a> {
    /// The images of `workload` that must be judged: all of a new object, those that changed of an
    /// old one.
    pub fn new(workload: &'a Workload<'a>) -> Self {
        let slot = |slot: &'a crate::workload::ImageSlot<'a>| ImageSlot {
            pointer: slot.pointer(),
            image: slot.image(),
        };
        Self {
            workload,
            images: workload.changed_images().map(slot).collect(),
            pull_secrets: workload.pull_secrets().collect(),
            no_labels: Labels::default(),
        }
    }

    /// The question at one point of the object's admission. `namespace` is the request's.
    pub fn question<'s>(&'s self, stage: Stage, namespace: &'s str) -> Question<'s> {
        Question {
            stage,
            is_pod: self.workload.kind().is_pod(),
            namespace,
            labels: self.workload.labels().unwrap_or(&self.no_labels),
            service_account: self.workload.service_account(),
            pull_secrets: &self.pull_secrets,
            images: &self.images,
        }
    }
}

impl LabelSource for Labels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}
