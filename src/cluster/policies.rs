use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use kube::{Api, Client, CustomResourceExt, api::DynamicObject};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};

use super::{
    index::Index,
    standing::{Contact, Standing, WatchState},
    watch::{Pace, Subject, follow},
};
use crate::{
    api::v1alpha1::{ClusterImageAdmissionPolicy, ImageAdmissionPolicy},
    policy::{self, PolicyId, PolicyKind, PolicySet},
    review::ports::Policies,
};

/// How long changes are gathered before they come into force together, so that a burst of a thousand
/// builds a few sets and not a thousand.
const GATHER: Duration = Duration::from_millis(50);
const INSTALL: &str = "install the definitions with `tidewaiter crds | kubectl apply -f -`";
/// The parts of the state: each kind, and the set that is made of both.
const PARTS: usize = 3;

/// The policies that the cluster stores, both kinds, as they are now.
///
/// The API server's objects are followed as raw documents and read by [`policy::read`], the code that
/// also guards what may be stored. A document that this version cannot read becomes a policy that
/// fails for all it could match. (kube's `DeserializeGuard` serves less well: it keeps an object's name
/// and the parser's complaint, but not the document, so nobody could tell what it would have matched.)
///
/// * Before both kinds have been listed for the first time, one policy is in force that fails for
///   every image: not knowing the rules is not the same as there being none.
/// * A change comes into force within a fraction of a second, and never in part.
/// * While the API server is away, or a list is under way, the last known set stays in force;
///   [`state`](Self::state) tells how long that can be vouched for.
pub struct WatchedPolicies {
    current: ArcSwap<PolicySet>,
    standing: Arc<Standing>,
}

/// Hears of the policies that come into force, for metrics.
pub trait PoliciesObserver: Send + Sync + 'static {
    /// This set has just come into force. Must not wait: the next change waits for it.
    fn published(&self, set: &PolicySet, published: &PublishedPolicies);
}

/// What there is to say of a set of policies that comes into force.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PublishedPolicies {
    /// How many there are of the cluster's own kind.
    pub cluster: PolicyTally,
    /// How many there are of the namespaced kind, over all namespaces.
    pub namespaced: PolicyTally,
    /// The policies of the set before that do not exist any more.
    pub vanished: Vec<PolicyId>,
}

/// How many policies there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PolicyTally {
    /// Those that work.
    pub ready: usize,
    /// Those that cannot be read, and fail for all they could match.
    pub failing: usize,
}

impl WatchedPolicies {
    /// Begins to follow the policies on `runtime`, which must be the one that `client` was made on.
    ///
    /// The task never ends by itself. If it does end, by a panic, changes no longer come into force:
    /// the state is [`WatchState::Failing`] from then on, and the process had better end too.
    pub fn start(
        client: Client,
        observer: Arc<dyn PoliciesObserver>,
        runtime: &Handle,
    ) -> (Arc<Self>, JoinHandle<Infallible>) {
        Self::start_at(Pace::default(), client, observer, runtime)
    }

    pub(super) fn start_at(
        pace: Pace,
        client: Client,
        observer: Arc<dyn PoliciesObserver>,
        runtime: &Handle,
    ) -> (Arc<Self>, JoinHandle<Infallible>) {
        let policies = Arc::new(Self {
            current: ArcSwap::from_pointee(nothing_listed()),
            standing: Standing::new(PARTS),
        });
        let task = runtime.spawn(run(policies.clone(), pace, client, observer));
        (policies, task)
    }

    /// Whether the set in force is what the API server stores. A process that is not ready by this
    /// should get no reviews.
    pub fn state(&self) -> watch::Receiver<WatchState> {
        self.standing.subscribe()
    }
}

impl Policies for WatchedPolicies {
    fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }
}

async fn run(
    policies: Arc<WatchedPolicies>,
    pace: Pace,
    client: Client,
    observer: Arc<dyn PoliciesObserver>,
) -> Infallible {
    let _ending = policies.standing.watch_end(PARTS - 1, "policies");
    let (index, changed) = (&Mutex::new(Index::default()), &Notify::new());
    let kind = |part, kind, api, resource| {
        let subject = Subject {
            resource,
            install: INSTALL,
            fields: None,
            standing: policies.standing.clone(),
            part,
            contact: Contact::new(),
            pace,
        };
        follow(api, subject, move |change| {
            // OK because nothing that holds this lock can panic
            index.lock().unwrap().change(kind, change);
            changed.notify_one();
        })
    };
    let cluster = kind(
        0,
        PolicyKind::Cluster,
        api::<ClusterImageAdmissionPolicy>(&client),
        "clusterimageadmissionpolicies.tidewaiter.dev",
    );
    let namespaced = kind(
        1,
        PolicyKind::Namespaced,
        api::<ImageAdmissionPolicy>(&client),
        "imageadmissionpolicies.tidewaiter.dev",
    );
    let publishing = async {
        loop {
            changed.notified().await;
            sleep(GATHER).await;
            // OK because nothing that holds this lock can panic
            let Some((set, published)) = index.lock().unwrap().publish() else { continue };
            policies.current.store(set.clone());
            policies.standing.set(PARTS - 1, WatchState::Ready);
            observer.published(&set, &published);
        }
    };
    tokio::select! {
        never = cluster => never,
        never = namespaced => never,
        never = publishing => never,
    }
}

fn api<K: CustomResourceExt>(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &K::api_resource())
}

/// What is in force before anything is known.
fn nothing_listed() -> PolicySet {
    let id = PolicyId {
        kind: PolicyKind::Cluster,
        namespace: Box::default(),
        name: "policies-not-read-yet".into(),
    };
    let problem = "tidewaiter has not read the cluster's policies yet: try again in a moment";
    PolicySet::new([Arc::new(policy::unknown(id, problem))])
}

#[cfg(test)]
mod tests;
