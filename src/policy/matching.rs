use std::collections::{BTreeMap, BTreeSet};

use super::{LabelSource, Policy, PolicyKind};
use crate::image::{ImagePattern, ImageReference};

/// What is known of the labels of the namespace that an object is in.
#[derive(Clone, Copy, Debug)]
pub enum NamespaceLabels<'a> {
    /// These are the labels.
    Known(&'a BTreeMap<String, String>),
    /// Nobody could say. A policy that selects namespaces counts as matching: not knowing is no way out.
    Unknown,
}

/// What policies are matched against, apart from the image: the object's surroundings.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The namespace of the request.
    pub namespace: &'a str,
    /// That namespace's labels.
    pub namespace_labels: NamespaceLabels<'a>,
    /// The object's own labels.
    pub object_labels: &'a dyn LabelSource,
}

impl Policy {
    /// Whether the policy is about objects like this one, whatever their images.
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        let in_scope = match self.id.kind {
            PolicyKind::Cluster => true,
            // Empty only where the document cannot be read: it could be meant for any namespace.
            PolicyKind::Namespaced => {
                self.id.namespace.is_empty() || *self.id.namespace == *subject.namespace
            }
        };
        let namespace_selected = match subject.namespace_labels {
            _ if self.namespace_selector.is_empty() => true,
            NamespaceLabels::Known(labels) => self.namespace_selector.selects(labels),
            NamespaceLabels::Unknown => true,
        };
        in_scope && namespace_selected && self.object_selector.selects(subject.object_labels)
    }

    /// Whether the policy is about this image. `None` is an image whose reference cannot be read:
    /// it could be any, so every policy is about it.
    pub fn concerns(&self, image: Option<&ImageReference>) -> bool {
        let Some(image) = image else { return true };
        self.images.iter().any(|pattern| pattern.matches(image))
            && !self.exclude_images.iter().any(|pattern| pattern.matches(image))
    }

    /// The hosts of all the images that the policy can be about; none where any host will do.
    pub(super) fn hosts(&self) -> Option<BTreeSet<&str>> {
        self.images.iter().map(ImagePattern::host).collect()
    }

    /// Whether it is only for want of the namespace's labels that the policy covers `subject`.
    pub fn hinges_on_unknown(&self, subject: &Subject<'_>) -> bool {
        self.needs_namespace_labels() && matches!(subject.namespace_labels, NamespaceLabels::Unknown)
    }

    /// Whether the answer depends on a namespace's labels.
    pub fn needs_namespace_labels(&self) -> bool {
        !self.namespace_selector.is_empty()
    }
}
