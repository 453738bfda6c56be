use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use kube::{
    Api, Client, CustomResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    standing::{Contact, Listener, Standing, WatchState},
    watch::{Change, Listing, Pace, Page, Subject, follow_listing, objects},
};
use crate::{
    api::{
        GROUP,
        v1alpha1::{ImageScanVerdict, VERSION},
    },
    review::ports::{KeptVerdict, VerdictKeeper, Watched},
};

/// How many verdicts come in one page. One is up to 900 KiB large, and 20 KB as a rule.
const PAGE: u32 = 100;
/// How many sources come in one page.
const SOURCES_PAGE: u32 = 500;
/// After how long all verdicts are listed anew, though nothing has gone wrong: they are many, and large.
const RELIST: Duration = Duration::from_secs(3600);
const INSTALL: &str = "install the definitions with `tidewaiter crds | kubectl apply -f -`";

/// The cluster's ImageScanVerdicts and VulnerabilitySources, brought to whoever keeps them.
///
/// Verdicts are read while they come, page by page, so that of a list no more is in memory than one page and what is
/// kept of the others. What was said counts for 60 s after the last sign of life, and then nobody knows.
pub struct WatchedVerdicts {
    standing: Arc<Standing>,
}

impl WatchedVerdicts {
    /// Begins to follow on `runtime`, which must be the one that `client` was made on, and brings what it finds to
    /// `keeper`.
    ///
    /// The task never ends by itself. If it does end, by a panic, nothing is known any more within 60 s: the state is
    /// [`WatchState::Failing`] from then on, and the process had better end too.
    pub fn start(
        client: Client,
        keeper: Arc<dyn VerdictKeeper>,
        runtime: &Handle,
    ) -> (Self, JoinHandle<Infallible>) {
        Self::start_at(Pace { relist: RELIST, ..Pace::default() }, client, keeper, runtime)
    }

    pub(super) fn start_at(
        pace: Pace,
        client: Client,
        keeper: Arc<dyn VerdictKeeper>,
        runtime: &Handle,
    ) -> (Self, JoinHandle<Infallible>) {
        let standing = Standing::new(2);
        let task = runtime.spawn(run(client, keeper, standing.clone(), pace));
        (Self { standing }, task)
    }

    /// Whether verdicts and sources are what the API server stores. Ready also where it knows no such resources: only
    /// policies that ask for verdicts need them, and fail then.
    pub fn state(&self) -> watch::Receiver<WatchState> {
        self.standing.subscribe()
    }
}

async fn run(
    client: Client,
    keeper: Arc<dyn VerdictKeeper>,
    standing: Arc<Standing>,
    pace: Pace,
) -> Infallible {
    let _ending = standing.watch_end(0, "scan verdicts");
    let subject = |resource, part, what| Subject {
        resource,
        install: INSTALL,
        fields: None,
        standing: standing.clone(),
        part,
        contact: Contact::heard_by(Some(Box::new(Voucher {
            keeper: keeper.clone(),
            what,
            patience: pace.patience,
        }))),
        pace,
    };
    let verdicts = follow_listing(
        Api::<DynamicObject>::all_with(client.clone(), &ImageScanVerdict::api_resource()),
        subject("imagescanverdicts.tidewaiter.dev", 0, Watched::Verdicts),
        Listing { page: PAGE, read: |answer: &str| page(answer, &*keeper), optional: true },
        |change| match change {
            Change::Listed(all) => keeper.verdicts_listed(all),
            Change::Applied(object) => keeper.verdict_applied(read(object, &*keeper)),
            Change::Deleted(object) => {
                keeper.verdict_deleted(&object.metadata.name.unwrap_or_default());
            }
        },
    );
    let kind = GroupVersionKind::gvk(GROUP, VERSION, "VulnerabilitySource");
    let resource = ApiResource::from_gvk_with_plural(&kind, "vulnerabilitysources");
    let mut known = BTreeMap::<Box<str>, Value>::new();
    let sources = follow_listing(
        Api::<DynamicObject>::all_with(client, &resource),
        subject("vulnerabilitysources.tidewaiter.dev", 1, Watched::Sources),
        Listing { page: SOURCES_PAGE, read: objects::<DynamicObject>, optional: true },
        |change| {
            match change {
                Change::Listed(all) => known = all.into_iter().map(source).collect(),
                Change::Applied(object) => known.extend([source(object)]),
                Change::Deleted(object) => {
                    known.remove(object.metadata.name.unwrap_or_default().as_str());
                }
            }
            keeper.sources_listed(known.iter().map(|(name, spec)| (name.clone(), spec.clone())).collect());
        },
    );
    tokio::select! {
        never = verdicts => never,
        never = sources => never,
    }
}

/// Tells the keeper how current its knowledge is.
struct Voucher {
    keeper: Arc<dyn VerdictKeeper>,
    what: Watched,
    patience: Duration,
}

impl Listener for Voucher {
    fn vouched(&self) {
        self.keeper.vouched(self.what, self.patience);
    }

    fn lost(&self, why: &str) {
        self.keeper.failing(self.what, why.to_owned());
    }

    fn unknown(&self, why: &str) {
        match self.what {
            Watched::Verdicts => self.lost(why),
            // A cluster with definitions from before there were sources has none, which is all that need be known.
            Watched::Sources => {
                self.keeper.sources_listed(Vec::new());
                self.vouched();
            }
        }
    }
}

/// An API server's answer, as far as it is read here.
#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(borrow)]
    items: Option<Vec<Item<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item<'a> {
    metadata: ItemMetadata,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMetadata {
    name: String,
    uid: Option<String>,
    resource_version: Option<String>,
}

fn page(answer: &str, keeper: &dyn VerdictKeeper) -> serde_json::Result<Page<KeptVerdict>> {
    let List { metadata: ListMetadata { resource_version, next }, items } = serde_json::from_str(answer)?;
    let items = items.unwrap_or_default().into_iter().map(|Item { metadata, spec }| {
        let version = version(metadata.uid.as_deref(), metadata.resource_version.as_deref());
        keeper.read(&metadata.name, &version, spec.map(RawValue::get))
    });
    Ok(Page { items: items.collect(), next, version: resource_version })
}

fn read(object: DynamicObject, keeper: &dyn VerdictKeeper) -> KeptVerdict {
    let DynamicObject { metadata, mut data, .. } = object;
    let version = version(metadata.uid.as_deref(), metadata.resource_version.as_deref());
    let spec = match data["spec"].take() {
        Value::Null => None,
        spec => Some(spec.to_string()),
    };
    keeper.read(&metadata.name.unwrap_or_default(), &version, spec.as_deref())
}

/// What tells this version from all others, also from those of an object of the same name that is no more. Empty where
/// that cannot be told.
fn version(uid: Option<&str>, resource_version: Option<&str>) -> String {
    match (uid, resource_version) {
        (Some(uid), Some(version)) => format!("{uid}/{version}"),
        _ => String::new(),
    }
}

fn source(object: DynamicObject) -> (Box<str>, Value) {
    let DynamicObject { metadata, mut data, .. } = object;
    (metadata.name.unwrap_or_default().into(), data["spec"].take())
}

#[cfg(test)]
mod tests;
