//! What keys and trust roots come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use url::Url;

use crate::{
    evidence::RegistryError,
    policy::{ObjectName, TrustRootReading},
};

/// The Secrets and ConfigMaps that are needed, each with the keys of its data that are. Nobody reads more.
pub type WantedObjects = BTreeMap<ObjectName, BTreeSet<Box<str>>>;

/// Takes in what keys and trust roots are made of, and says what is needed. Its methods never wait.
pub trait TrustMaterial: Send + Sync + 'static {
    /// These are all the ImageTrustRoots that there are.
    fn roots(&self, roots: Vec<TrustRootReading>);

    /// What an object that is wanted holds.
    fn object(&self, name: &ObjectName, content: ObjectContent);

    /// The objects to follow. Changes with policies and roots; bounded in number.
    fn wanted(&self) -> watch::Receiver<Arc<WantedObjects>>;

    /// What has become of each ImageTrustRoot, in the order of their names.
    fn states(&self) -> watch::Receiver<Arc<Vec<TrustRootState>>>;
}

/// What a Secret or a ConfigMap holds. Prints without any of it.
#[derive(Clone, Eq, PartialEq)]
pub enum ObjectContent {
    /// There is no such object.
    Absent,
    /// What its data has under each key that was asked for; none under a key that it does not have.
    Data(BTreeMap<Box<str>, Option<Box<[u8]>>>),
    /// It may not be read, and this is why.
    Unreadable(String),
}

impl fmt::Debug for ObjectContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Data(data) => write!(f, "Data({:?} ****)", data.keys()),
            Self::Unreadable(why) => f.debug_tuple("Unreadable").field(why).finish(),
        }
    }
}

/// What has become of an ImageTrustRoot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustRootState {
    /// Its name.
    pub name: Box<str>,
    /// The generation of the document that this speaks of.
    pub generation: i64,
    /// The kind of its source: [`TrustRootSource::kind`](crate::policy::TrustRootSource::kind). None where the
    /// document cannot be read.
    pub source: Option<&'static str>,
    /// When its TUF repository last vouched for it.
    pub refreshed: Option<Timestamp>,
    /// The digest of its content, if there is one that can be used.
    pub digest: Option<String>,
    /// Why it cannot be used, or cannot be refreshed.
    pub trouble: Option<String>,
}

/// Fetches the files of a repository of The Update Framework.
pub trait Mirror: Send + Sync + 'static {
    /// The file at `url`; none if the repository says that there is none. Reads no more than `limit` bytes,
    /// follows no redirect, and sends no credentials. Answers before `deadline` if the caller drops it then.
    fn fetch<'a>(
        &'a self,
        url: &'a Url,
        limit: u64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, RegistryError>>;
}

/// Whether the content of a trust root would work, asked before it is stored.
pub trait TrustRootCheck: Send + Sync + 'static {
    /// Looks at a `trusted_root.json`. The error says what is wrong with it.
    fn trusted_root(&self, json: &str) -> Result<(), String>;

    /// Looks at the `root.json` of a repository of The Update Framework.
    fn tuf_root(&self, json: &str) -> Result<(), String>;
}
