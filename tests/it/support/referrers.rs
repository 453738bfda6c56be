//! A real registry with the referrers API, which the distribution project's does not have: that of
//! go-containerregistry, on loopback, in memory.

use std::{path::PathBuf, process::Command};

use tidewaiter::registry::RegistryEntry;
use tokio::sync::OnceCell;

use super::{
    client::{Login, RegistryClient},
    process::{self, Guarded},
    registry, tools,
};

/// A running registry that everybody may use. Dropping it stops it.
pub struct ReferrersRegistry {
    client: RegistryClient,
    server: Guarded,
}

impl ReferrersRegistry {
    /// The one that tests share, each with repositories of its own; started by whoever comes first. `None`
    /// if the program is missing, and then the test has been [skipped](tools::skip).
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<ReferrersRegistry> = OnceCell::const_new();
        let [program] = tools::find_all(["referrers-registry"])?;
        Some(SHARED.get_or_init(|| Self::start_with(program)).await)
    }

    /// Starts a registry for one test alone. `None` as with [`shared`](Self::shared).
    ///
    /// # Panics
    ///
    /// If it does not start, with its log.
    pub async fn start() -> Option<Self> {
        let [program] = tools::find_all(["referrers-registry"])?;
        Some(Self::start_with(program).await)
    }

    async fn start_with(program: PathBuf) -> Self {
        let directory = process::directory("referrers").unwrap();
        let server = Guarded::start(&Command::new(program), directory).unwrap();
        let (server, host) = server.listening().await.unwrap();
        Self { client: RegistryClient::new(host, Login::Nobody, None).unwrap(), server }
    }

    /// A client that may do everything.
    pub fn client(&self) -> &RegistryClient {
        &self.client
    }

    /// What the settings must say for it to be asked at all, being on loopback.
    pub fn entry(&self) -> RegistryEntry {
        registry::entry(&self.client)
    }

    /// What Tidewaiter asked it so far, a line each: `HEAD /v2/acme/app/manifests/1 200`. Waits until
    /// there are `count` lines, as a line may come later than the answer.
    pub async fn asked(&self, count: usize) -> Vec<String> {
        registry::asked(&self.server, count).await
    }

    /// The end of its log, for the message of a test that fails.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::client::{INDEX, MANIFEST},
        *,
    };

    #[tokio::test]
    async fn a_registry_with_the_referrers_api_lists_what_refers_to_an_image() {
        let Some(registry) = ReferrersRegistry::start().await else { return };
        let client = registry.client();
        let image = client.push("acme/app", "1").await;
        let (_, mut manifest) = client.manifest("acme/app", "1").await.unwrap().unwrap();
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": image.as_str(), "size": 1});
        let referrer = client.put_manifest("acme/app", "2", MANIFEST, manifest.to_string()).await.unwrap();

        let listed = client.referrers("acme/app", &image).await.unwrap().unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["digest"], referrer.as_str());
        assert_eq!(client.referrers("acme/app", &referrer).await.unwrap(), Some(Vec::new()));

        let index = client.push_index("acme/app", "all").await;
        let got = client.ask(&format!("v2/acme/app/manifests/{index}")).send().await.unwrap();
        assert_eq!((got.status().as_u16(), &got.headers()["content-type"]), (200, &INDEX.parse().unwrap()));
    }
}
