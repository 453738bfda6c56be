use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PartialObjectMeta};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    failure::Failure,
    flights::Flights,
    standing::{Contact, Standing, WatchState},
    watch::{Change, Pace, Subject, follow},
};
use crate::review::ports::{Labels, LookupError, Namespaces};

/// The labels of the cluster's namespaces.
///
/// Only metadata is followed. What the watch says is believed while the watch is alive: without any
/// sign of life for 60 s (a quiet one gives one about every 30 s) nothing is known any more, and each
/// review asks the API server itself. If that fails too, the answer is that nobody knows, and a
/// namespace that nobody knows counts as selected by every policy.
///
/// Labels are those of the API server, `kubernetes.io/metadata.name` among them, which it sets itself.
pub struct ClusterNamespaces {
    client: Client,
    seen: Arc<Seen>,
    standing: Arc<Standing>,
    flights: Flights<Box<str>, Arc<Labels>>,
}

/// What the watch has said.
struct Seen {
    labels: RwLock<HashMap<Box<str>, Arc<Labels>>>,
    contact: Arc<Contact>,
    pace: Pace,
}

impl ClusterNamespaces {
    /// Begins to follow the namespaces on `runtime`, which must be the one that `client` was made on.
    ///
    /// The task never ends by itself. If it does end, by a panic, every namespace is asked for from
    /// then on, and the state is [`WatchState::Failing`].
    pub fn start(client: Client, runtime: &Handle) -> (Arc<Self>, JoinHandle<Infallible>) {
        Self::start_at(Pace::default(), client, runtime)
    }

    pub(super) fn start_at(
        pace: Pace,
        client: Client,
        runtime: &Handle,
    ) -> (Arc<Self>, JoinHandle<Infallible>) {
        let namespaces = Arc::new(Self {
            client: client.clone(),
            seen: Arc::new(Seen { labels: RwLock::default(), contact: Contact::new(), pace }),
            standing: Standing::new(1),
            flights: Flights::new(runtime.clone()),
        });
        let task = runtime.spawn(run(namespaces.seen.clone(), namespaces.standing.clone(), client));
        (namespaces, task)
    }

    /// Whether namespaces are known without asking.
    pub fn state(&self) -> watch::Receiver<WatchState> {
        self.standing.subscribe()
    }
}

impl Namespaces for ClusterNamespaces {
    fn known(&self, namespace: &str) -> Option<Arc<Labels>> {
        self.seen.known(namespace)
    }

    /// Asks the API server, once for all who want to know at the same time. The answer is not
    /// remembered: only the watch learns of later changes.
    fn fetch<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<Arc<Labels>, LookupError>> {
        Box::pin(async move {
            if !is_namespace_name(namespace) {
                return Err(LookupError(format!("{namespace:?} cannot be the name of a namespace")));
            }
            let (client, name) = (self.client.clone(), namespace.to_owned());
            self.flights.join(namespace.into(), || ask(client, name)).await
        })
    }
}

impl Seen {
    fn known(&self, namespace: &str) -> Option<Arc<Labels>> {
        if !self.contact.within(self.pace.patience) {
            return None;
        }
        self.labels.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    fn change(&self, change: Change<PartialObjectMeta<Namespace>>) {
        match change {
            Change::Listed(namespaces) => {
                let listed = namespaces.into_iter().map(labels_of).collect();
                *self.labels.write().unwrap_or_else(PoisonError::into_inner) = listed;
            }
            Change::Applied(namespace) => {
                let (name, labels) = labels_of(namespace);
                self.labels.write().unwrap_or_else(PoisonError::into_inner).insert(name, labels);
            }
            Change::Deleted(namespace) => {
                let (name, _) = labels_of(namespace);
                self.labels.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
        }
    }
}

async fn run(seen: Arc<Seen>, standing: Arc<Standing>, client: Client) -> Infallible {
    let _ending = standing.watch_end(0, "namespaces");
    let subject = Subject {
        resource: "namespaces",
        install: "is this a Kubernetes API server?",
        fields: None,
        standing: standing.clone(),
        part: 0,
        contact: seen.contact.clone(),
        pace: seen.pace,
    };
    follow(Api::all(client), subject, |change| seen.change(change)).await
}

async fn ask(client: Client, name: String) -> Result<Arc<Labels>, LookupError> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    match api.get(&name).await.map_err(Failure::from) {
        Ok(namespace) => Ok(labels_of(namespace).1),
        Err(failure) if failure.code() == Some(404) => {
            Err(LookupError(format!("there is no namespace {name}")))
        }
        Err(failure) => Err(LookupError(match failure.remedy() {
            Some(remedy) => format!("cannot get namespace {name}: {failure}: {remedy}"),
            None => format!("cannot get namespace {name}: {failure}"),
        })),
    }
}

fn labels_of(namespace: PartialObjectMeta<Namespace>) -> (Box<str>, Arc<Labels>) {
    let metadata = namespace.metadata;
    (metadata.name.unwrap_or_default().into(), Arc::new(metadata.labels.unwrap_or_default()))
}

/// Whether `text` can name a namespace: a DNS label (RFC 1123). It becomes part of a path at the API
/// server, where anything else could lead to a place that nobody meant.
pub(super) fn is_namespace_name(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_object_name(text)
}

/// Whether `text` can name a Secret or a ServiceAccount: a DNS subdomain (RFC 1123).
pub(super) fn is_object_name(text: &str) -> bool {
    let ends_well = |label: &str| !label.starts_with('-') && !label.ends_with('-');
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        && text.split('.').all(|label| !label.is_empty() && ends_well(label))
}

#[cfg(test)]
mod tests;
