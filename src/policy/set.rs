use std::{collections::HashMap, sync::Arc};

use super::{Policy, PolicyKind, Subject};

/// All policies in force, replaced as a whole when one of them changes.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    cluster: Vec<Arc<Policy>>,
    namespaced: HashMap<Box<str>, Vec<Arc<Policy>>>,
}

impl PolicySet {
    /// Brings policies into an order that does not depend on the one they come in.
    pub fn new(policies: impl IntoIterator<Item = Arc<Policy>>) -> Self {
        let mut set = Self::default();
        for policy in policies {
            match policy.id.kind {
                PolicyKind::Cluster => set.cluster.push(policy),
                PolicyKind::Namespaced => {
                    set.namespaced.entry(policy.id.namespace.clone()).or_default().push(policy);
                }
            }
        }
        set.cluster.sort_by(|a, b| a.id.cmp(&b.id));
        for policies in set.namespaced.values_mut() {
            policies.sort_by(|a, b| a.id.cmp(&b.id));
        }
        set
    }

    /// The policies that could match in `namespace`, by kind and then by name.
    pub fn in_namespace<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Policy>> + use<'a> {
        self.cluster.iter().chain(self.namespaced.get(namespace).into_iter().flatten())
    }

    /// The policies that cover `subject`, by kind and then by name.
    pub fn covering<'a>(&'a self, subject: Subject<'a>) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.in_namespace(subject.namespace).filter(move |policy| policy.covers(&subject))
    }

    /// Every policy.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.cluster.iter().chain(self.namespaced.values().flatten())
    }

    /// Whether the answer for `namespace` depends on that namespace's labels.
    pub fn needs_namespace_labels(&self) -> bool {
        self.cluster.iter().any(|policy| policy.needs_namespace_labels())
    }
}
