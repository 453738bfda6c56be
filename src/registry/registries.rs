use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::{
    RegistrySettings, SettingsError,
    authorization::{Authorization, Tokens, Visit},
    manifest::MEDIA_TYPES,
    transport::{Class, Reply, Request, Transport},
};
use crate::{
    evidence::RegistryError,
    review::{
        credentials::Keyring,
        ports::{Pass, RegistryObserver},
    },
};

/// How much is read at once of what stands beside images, in KiB, where it is not little. What one image may
/// have fits in three times.
const ROOM_KIB: usize = 192 << 10;

/// Asks registries which digest a tag stands for, and what was published beside an image.
pub struct Registries {
    pub(super) transport: Transport,
    pub(super) operator: Keyring,
    pub(super) accept: HeaderValue,
    /// The room for what is read beside images, in KiB, shared by all who look.
    pub(super) room: Semaphore,
    tokens: Tokens,
}

/// One thing that a registry is asked for.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) class: Class,
    pub(super) method: Method,
    pub(super) url: Url,
    /// The media types that are wanted; none says nothing.
    pub(super) accept: Option<HeaderValue>,
    /// The longest body that is read, in bytes.
    pub(super) limit: u64,
}

impl Registries {
    /// `operator` holds the operator's own credentials, which serve every namespace.
    pub fn new(
        settings: RegistrySettings,
        operator: Keyring,
        observer: Arc<dyn RegistryObserver>,
    ) -> Result<Self, SettingsError> {
        let transport = Transport::new(settings, observer)?;
        // OK because media types are visible ASCII
        let accept = HeaderValue::try_from(MEDIA_TYPES.join(", ")).unwrap();
        Ok(Self { transport, operator, accept, room: Semaphore::new(ROOM_KIB), tokens: Tokens::new() })
    }

    /// What a registry answers, shown the visitor's credential once it asks for one. Where it has asked
    /// before, it is shown at once.
    pub(super) async fn fetch(&self, visit: Visit<'_>, wanted: Wanted) -> Result<Reply, RegistryError> {
        let Visit { transport, endpoint, deadline, .. } = visit;
        let request = |authorization: Option<Authorization>| {
            let Wanted { class, method, url, accept, limit } = wanted.clone();
            let authorization = authorization.map(|authorization| authorization.header);
            Request { class, method, url, accept, authorization, limit }
        };
        let mut shown = self.tokens.expected(visit).await;
        let mut told = false;
        loop {
            let reply = transport.ask(endpoint, request(shown.clone()), deadline).await?;
            if reply.status != StatusCode::UNAUTHORIZED || !reply.own {
                return answered(reply);
            }
            // A registry that wants something else each time gets what it wants once.
            if told && shown.as_ref().is_some_and(|authorization| !authorization.remembered) {
                return Err(RegistryError::Denied);
            }
            let next = self.tokens.authorize(visit, &reply.headers, shown.as_ref()).await?;
            if shown.as_ref().is_some_and(|shown| shown.header == next.header) {
                return Err(RegistryError::Denied);
            }
            (shown, told) = (Some(next), true);
        }
    }

    /// What somebody else can show a registry that has just shown us something of the repository. None if it wants
    /// nothing.
    pub(super) async fn pass(&self, visit: Visit<'_>) -> Result<Option<Pass>, RegistryError> {
        self.tokens.pass(visit).await
    }
}

fn answered(reply: Reply) -> Result<Reply, RegistryError> {
    match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied),
        StatusCode::NOT_FOUND => Err(RegistryError::NotFound),
        _ => Ok(reply),
    }
}
