use std::time::{Duration, Instant};

use super::{Registries, authorization::Visit};
use crate::{evidence::RegistryError, image::Repository, review::credentials::Credential};

/// How many credentials are tried for one repository.
const CREDENTIAL_LIMIT: usize = 8;

/// Something that a registry, or a mirror of it, is asked about one repository.
pub(super) trait Errand: Sync {
    type Answer: Send;

    /// Asks one registry as one visitor. After [`RegistryError::NotFound`] and [`RegistryError::Denied`]
    /// somebody with another credential may still see it.
    fn ask<'a>(
        &'a self,
        registries: &'a Registries,
        visit: Visit<'a>,
    ) -> impl Future<Output = Result<Self::Answer, RegistryError>> + Send;

    /// Whether nobody else need be asked after a mirror has given this answer.
    fn suffices(answer: &Self::Answer) -> bool;
}

impl Registries {
    /// Asks the mirrors of a repository's registry in their order and then the registry itself, and answers
    /// before `deadline`. What a mirror cannot say is no answer; what the registry itself says is. Where that
    /// cannot be asked, what a mirror does not have is not there.
    pub(super) async fn run<E: Errand>(
        &self,
        errand: &E,
        place: &Repository,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<E::Answer, RegistryError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(RegistryError::TimedOut);
        }
        tokio::time::timeout(left, self.ask_all(errand, place, credentials, deadline))
            .await
            .unwrap_or(Err(RegistryError::TimedOut))
    }

    async fn ask_all<E: Errand>(
        &self,
        errand: &E,
        place: &Repository,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<E::Answer, RegistryError> {
        let mirrors = self.transport.entry(place.host()).map_or(&[][..], |entry| &entry.mirrors);
        let mut mirrored = None;
        for mirror in mirrors {
            // Half of what is left each, so that a mirror that hangs does not take the registry's time.
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / 2;
            let asked = self.ask_as_each(errand, mirror, place.path(), &[], until);
            match tokio::time::timeout_at(until.into(), asked).await {
                Ok(Ok(answer)) if E::suffices(&answer) => return Ok(answer),
                Ok(answer @ (Ok(_) | Err(RegistryError::NotFound))) => mirrored = Some(answer),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let asked = self.ask_as_each(errand, place.host(), place.path(), credentials, deadline);
        let Some(mirrored) = mirrored else { return asked.await };
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / 2;
        match tokio::time::timeout_at(until.into(), asked).await {
            Ok(Err(error)) if !error.is_answer() => mirrored,
            Ok(answer) => answer,
            Err(_) => mirrored,
        }
    }

    /// Asks one registry with each credential that belongs there, and at last without any.
    async fn ask_as_each<E: Errand>(
        &self,
        errand: &E,
        host: &str,
        repository: &str,
        credentials: &[Credential],
        deadline: Instant,
    ) -> Result<E::Answer, RegistryError> {
        let endpoint = self.transport.endpoint(host)?;
        let own = self.operator.find(host, repository);
        let all = credentials.iter().chain(&own).take(CREDENTIAL_LIMIT).map(Some).chain([None]);
        let (transport, endpoint) = (&self.transport, &endpoint);
        let mut refusal = RegistryError::Denied;
        for credential in all {
            let visit = Visit { transport, endpoint, repository, credential, deadline };
            match errand.ask(self, visit).await {
                // Who may see it is told "not found" rather than "denied": the better reason.
                Err(RegistryError::NotFound) => refusal = RegistryError::NotFound,
                Err(RegistryError::Denied) => {}
                answer => return answer,
            }
        }
        Err(refusal)
    }
}
