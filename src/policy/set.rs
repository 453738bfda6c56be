use std::{collections::HashMap, sync::Arc};

use super::{NamespaceLabels, Policy, PolicyKind, Subject};
use crate::image::ImageReference;

/// All policies in force, replaced as a whole when one of them changes.
///
/// Arranged so that a review looks at the policies that could be about its image, however many others
/// there are. Two policies of one kind and name are both kept, and both must pass.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    everywhere: Shelf,
    namespaced: HashMap<Box<str>, Shelf>,
}

impl PolicySet {
    /// Brings policies into an order that does not depend on the one they come in.
    pub fn new(policies: impl IntoIterator<Item = Arc<Policy>>) -> Self {
        let mut everywhere = Vec::new();
        let mut namespaced: HashMap<Box<str>, Vec<Arc<Policy>>> = HashMap::new();
        for policy in policies {
            match policy.id.kind {
                // Empty where a document cannot be read and does not say which namespace it is for.
                PolicyKind::Namespaced if !policy.id.namespace.is_empty() => {
                    namespaced.entry(policy.id.namespace.clone()).or_default().push(policy);
                }
                PolicyKind::Cluster | PolicyKind::Namespaced => everywhere.push(policy),
            }
        }
        Self {
            everywhere: Shelf::new(everywhere),
            namespaced: namespaced.into_iter().map(|(name, policies)| (name, Shelf::new(policies))).collect(),
        }
    }

    /// The policies that cover `subject` and are about `image`, by kind and then by name. `None` is an
    /// image whose reference cannot be read: every policy that covers the subject is about it.
    pub fn matching(&self, subject: &Subject<'_>, image: Option<&ImageReference>) -> Vec<&Arc<Policy>> {
        let mut matching = Vec::new();
        self.everywhere.add_matching(subject, image, &mut matching);
        if let Some(shelf) = self.namespaced.get(subject.namespace) {
            shelf.add_matching(subject, image, &mut matching);
        }
        matching
    }

    /// Every policy, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.everywhere.policies.iter().chain(self.namespaced.values().flat_map(|shelf| &shelf.policies))
    }

    /// Whether the answer for any namespace depends on that namespace's labels.
    pub fn needs_namespace_labels(&self) -> bool {
        self.everywhere.needs_namespace_labels
    }
}

/// Policies in order, each to be found where it must be looked for: under a label that it needs the
/// namespace to have, else under each host that its images can have, else among those always tried.
///
/// Where a policy stands only spares looking at it in vain. Whether it matches is asked all the same.
#[derive(Clone, Debug, Default)]
struct Shelf {
    policies: Vec<Arc<Policy>>,
    always: Vec<usize>,
    by_label: HashMap<Box<str>, HashMap<Box<str>, Vec<usize>>>,
    by_host: HashMap<Box<str>, Vec<usize>>,
    needs_namespace_labels: bool,
}

impl Shelf {
    fn new(mut policies: Vec<Arc<Policy>>) -> Self {
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let mut shelf = Self::default();
        for (at, policy) in policies.iter().enumerate() {
            shelf.needs_namespace_labels |= policy.needs_namespace_labels();
            if let Some((key, value)) = policy.namespace_selector.needed_label() {
                let values = shelf.by_label.entry(key.into()).or_default();
                values.entry(value.into()).or_default().push(at);
            } else if let Some(hosts) = policy.hosts() {
                for host in hosts {
                    shelf.by_host.entry(host.into()).or_default().push(at);
                }
            } else {
                shelf.always.push(at);
            }
        }
        shelf.policies = policies;
        shelf
    }

    fn add_matching<'a>(
        &'a self,
        subject: &Subject<'_>,
        image: Option<&ImageReference>,
        matching: &mut Vec<&'a Arc<Policy>>,
    ) {
        let mut candidates = self.always.clone();
        match subject.namespace_labels {
            NamespaceLabels::Known(labels) => {
                for (key, values) in &self.by_label {
                    candidates.extend(
                        labels.get(&**key).and_then(|value| values.get(value.as_str())).into_iter().flatten(),
                    );
                }
            }
            NamespaceLabels::Unknown => {
                candidates.extend(self.by_label.values().flat_map(HashMap::values).flatten());
            }
        }
        match image {
            Some(image) => candidates.extend(self.by_host.get(image.host()).into_iter().flatten()),
            None => candidates.extend(self.by_host.values().flatten()),
        }
        candidates.sort_unstable();
        candidates.dedup();
        let candidates = candidates.into_iter().map(|at| &self.policies[at]);
        matching.extend(candidates.filter(|policy| policy.covers(subject) && policy.concerns(image)));
    }
}
