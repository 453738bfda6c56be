use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    panic::catch_unwind,
    sync::Arc,
};

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::{
    policies::{PolicyTally, PublishedPolicies},
    watch::Change,
};
use crate::{
    api::{GROUP, v1alpha1::VERSION},
    policy::{self, Policy, PolicyId, PolicyKind, PolicySet, Reading},
};

/// Every policy of the cluster as it was last seen, compiled once for each version of its document.
pub(super) struct Index {
    read: fn(&Value) -> Option<Reading>,
    known: BTreeMap<PolicyId, Entry>,
    listed: BTreeSet<PolicyKind>,
    changed: bool,
    vanished: BTreeSet<PolicyId>,
}

struct Entry {
    uid: Option<String>,
    version: Option<String>,
    policy: Arc<Policy>,
}

impl Default for Index {
    fn default() -> Self {
        Self::reading_with(policy::read)
    }
}

impl Index {
    fn reading_with(read: fn(&Value) -> Option<Reading>) -> Self {
        Self {
            read,
            known: BTreeMap::new(),
            listed: BTreeSet::new(),
            changed: false,
            vanished: BTreeSet::new(),
        }
    }

    /// Takes note of a change to the policies of one kind.
    pub(super) fn change(&mut self, kind: PolicyKind, change: Change<DynamicObject>) {
        match change {
            Change::Listed(objects) => self.list(kind, objects),
            Change::Applied(object) => self.apply(kind, object),
            Change::Deleted(object) => self.remove(&id_of(kind, &object)),
        }
    }

    /// What is to be published: `None` where nothing has changed since, or not every kind has been
    /// listed yet. Half of the policies are not a set that anybody may be judged by.
    pub(super) fn publish(&mut self) -> Option<(Arc<PolicySet>, PublishedPolicies)> {
        if !self.changed || self.listed.len() < 2 {
            return None;
        }
        self.changed = false;
        let mut published = PublishedPolicies {
            cluster: PolicyTally::default(),
            namespaced: PolicyTally::default(),
            vanished: Vec::from_iter(mem::take(&mut self.vanished)),
        };
        for (id, entry) in &self.known {
            let tally = match id.kind {
                PolicyKind::Cluster => &mut published.cluster,
                PolicyKind::Namespaced => &mut published.namespaced,
            };
            match entry.policy.compile_error() {
                None => tally.ready += 1,
                Some(_) => tally.failing += 1,
            }
        }
        let set = PolicySet::new(self.known.values().map(|entry| entry.policy.clone()));
        Some((Arc::new(set), published))
    }

    fn list(&mut self, kind: PolicyKind, objects: Vec<DynamicObject>) {
        let listed: BTreeSet<_> = objects.iter().map(|object| id_of(kind, object)).collect();
        let known = self.known.keys().filter(|id| id.kind == kind);
        let gone: Vec<_> = known.filter(|id| !listed.contains(id)).cloned().collect();
        for id in gone {
            self.remove(&id);
        }
        for object in objects {
            self.apply(kind, object);
        }
        self.changed |= self.listed.insert(kind);
    }

    fn apply(&mut self, kind: PolicyKind, object: DynamicObject) {
        let id = id_of(kind, &object);
        let (uid, version) = (object.metadata.uid.clone(), object.metadata.resource_version.clone());
        let known = self.known.get(&id);
        if known.is_some_and(|known| version.is_some() && known.uid == uid && known.version == version) {
            return;
        }
        let policy = self.compile(kind, &id, object);
        // labels and annotations change the version of a document but not its generation
        let is_news =
            known.is_none_or(|known| known.uid != uid || known.policy.generation() != policy.generation());
        if is_news {
            announce(&policy);
        }
        self.vanished.remove(&id);
        self.changed = true;
        self.known.insert(id, Entry { uid, version, policy: Arc::new(policy) });
    }

    fn remove(&mut self, id: &PolicyId) {
        if self.known.remove(id).is_some() {
            tracing::info!(policy.name = %id, "policy removed");
            self.vanished.insert(id.clone());
            self.changed = true;
        }
    }

    /// Reads a document. One whose reading panics is set apart as a policy that fails: it must neither
    /// be lost nor end the watch of all others.
    fn compile(&self, kind: PolicyKind, id: &PolicyId, object: DynamicObject) -> Policy {
        let document = raw_document(kind.as_str(), object);
        let read = self.read;
        match catch_unwind(|| read(&document)) {
            Ok(Some(reading)) => reading.policy,
            Ok(None) | Err(_) => policy::unknown(
                id.clone(),
                "tidewaiter failed over this document, which is a mistake in tidewaiter: please report it, \
                 and write the policy differently meanwhile",
            ),
        }
    }
}

fn announce(policy: &Policy) {
    let (id, generation) = (policy.id(), policy.generation());
    match policy.compile_error() {
        None => tracing::info!(policy.name = %id, policy.generation = generation, "policy in force"),
        Some(error) => tracing::warn!(
            policy.name = %id,
            policy.generation = generation,
            error = %error,
            "policy cannot be read and counts as failing for all it could match"
        ),
    }
}

fn id_of(kind: PolicyKind, object: &DynamicObject) -> PolicyId {
    let namespace = match kind {
        PolicyKind::Cluster => None,
        PolicyKind::Namespaced => object.metadata.namespace.as_deref(),
    };
    let name = object.metadata.name.as_deref();
    PolicyId { kind, namespace: namespace.unwrap_or_default().into(), name: name.unwrap_or_default().into() }
}

/// The document as its author wrote it, as far as it is read. What kind it is follows from where it was
/// watched: items of a list need not say.
pub(super) fn raw_document(kind: &str, object: DynamicObject) -> Value {
    let DynamicObject { metadata, data, types: _ } = object;
    let mut document = match data {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    document.insert("apiVersion".to_owned(), Value::String(format!("{GROUP}/{VERSION}")));
    document.insert("kind".to_owned(), Value::String(kind.to_owned()));
    let metadata = json!({
        "name": metadata.name,
        "namespace": metadata.namespace,
        "generation": metadata.generation,
    });
    document.insert("metadata".to_owned(), metadata);
    Value::Object(document)
}

#[cfg(test)]
mod tests;
