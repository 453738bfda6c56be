//! Files of TUF repositories, by the rules that hold for registries.

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use http::{Method, StatusCode};
use url::Url;

use super::{
    RegistrySettings, SettingsError,
    transport::{Class, Request, Transport, authority},
};
use crate::{
    evidence::RegistryError,
    review::ports::{Mirror, RegistryObserver},
};

/// Fetches files of repositories of The Update Framework.
///
/// The settings of the registry with the same `host[:port]` hold: certificates, addresses, plain http. Sends
/// no credentials. Has connections of its own, so that no repository that is slow keeps a registry waiting.
pub struct Mirrors {
    transport: Transport,
}

impl Mirrors {
    /// Reads the certificates that `settings` name.
    pub fn new(
        settings: RegistrySettings,
        observer: Arc<dyn RegistryObserver>,
    ) -> Result<Self, SettingsError> {
        Ok(Self { transport: Transport::new(settings, observer)? })
    }

    async fn get(&self, url: &Url, limit: u64, deadline: Instant) -> Result<Option<Vec<u8>>, RegistryError> {
        let host = authority(url);
        let plain = self.transport.entry(&host).is_some_and(|entry| entry.plain_http);
        if url.scheme() != "https" && !(url.scheme() == "http" && plain) {
            return Err(RegistryError::Forbidden(format!(
                "it is reached without TLS; list {host} in registries with plainHttp if that is meant"
            )));
        }
        let endpoint = self.transport.endpoint(&host)?;
        let (class, method, url) = (Class::Tuf, Method::GET, url.clone());
        let request = Request { class, method, url, accept: None, authorization: None, limit };
        let reply = self.transport.ask(&endpoint, request, deadline).await?;
        match reply.status {
            status if status.is_success() => Ok(Some(reply.body)),
            // Object stores answer 403 for what is not there, unless one may list it.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            status => Err(RegistryError::Malformed(format!("it answered {}", status.as_u16()))),
        }
    }
}

impl Mirror for Mirrors {
    fn fetch<'a>(
        &'a self,
        url: &'a Url,
        limit: u64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, RegistryError>> {
        Box::pin(self.get(url, limit, deadline))
    }
}
