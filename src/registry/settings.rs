use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

/// What an operator settles about registries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Registries that are treated unlike others.
    pub registries: Vec<RegistryEntry>,
    /// Address ranges of the cluster (Pods, Services, nodes) that no registry may be reached at.
    pub cluster_ranges: Vec<IpNet>,
    /// How long parts of a request may take.
    pub timeouts: Timeouts,
}

/// One registry that is treated unlike others.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryEntry {
    /// Its canonical `host[:port]`, as in a reference: `docker.io`, `registry.example.com:5000`.
    pub host: String,
    /// Whether it is reached without TLS. Whoever is on the way can then say what a tag stands for.
    #[serde(default)]
    pub plain_http: bool,
    /// A PEM file with certificates of authorities that are trusted for it, beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether it may be at a loopback or link-local address or in a range of the cluster. It is then
    /// reached directly, never through a proxy.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Registries that are asked before it, in this order. Each is believed about every tag of it.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// How many requests it gets at once, 1 to 1024; 32 if absent.
    #[serde(default = "default_concurrency")]
    pub max_concurrent_requests: usize,
    /// Further hosts at which its token server may be.
    #[serde(default)]
    pub auth_hosts: Vec<String>,
}

/// How long parts of a request may take. All are cut short by a review's deadline.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Seconds for a connection, TLS included; 1 to 30.
    pub connect_seconds: u64,
    /// Seconds between two pieces of an answer; 1 to 30.
    pub read_seconds: u64,
    /// Seconds for one request in all; 1 to 60.
    pub total_seconds: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_seconds: 3, read_seconds: 5, total_seconds: 10 }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SettingsError {
    /// Which setting.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

pub(super) const DEFAULT_CONCURRENCY: usize = 32;

fn default_concurrency() -> usize {
    DEFAULT_CONCURRENCY
}

impl RegistrySettings {
    /// Finds what cannot work, without a file being read.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |path: String, problem: &str| Err(SettingsError { path, problem: problem.to_owned() });
        for (at, entry) in self.registries.iter().enumerate() {
            let path = |field: &str| format!("registries[{at}].{field}");
            if !is_host(&entry.host) {
                return wrong(path("host"), "wanted host[:port] in lower case, without scheme or path");
            }
            if self.registries[..at].iter().any(|other| other.host == entry.host) {
                return wrong(path("host"), "is there twice");
            }
            if !(1..=1024).contains(&entry.max_concurrent_requests) {
                return wrong(path("maxConcurrentRequests"), "wanted 1 to 1024");
            }
            for (list, hosts) in [("mirrors", &entry.mirrors), ("authHosts", &entry.auth_hosts)] {
                if let Some(bad) = hosts.iter().position(|host| !is_host(host)) {
                    return wrong(
                        path(&format!("{list}[{bad}]")),
                        "wanted host[:port] in lower case, without scheme or path",
                    );
                }
            }
        }
        let Timeouts { connect_seconds, read_seconds, total_seconds } = self.timeouts;
        for (name, seconds, most) in [
            ("connectSeconds", connect_seconds, 30),
            ("readSeconds", read_seconds, 30),
            ("totalSeconds", total_seconds, 60),
        ] {
            if !(1..=most).contains(&seconds) {
                return wrong(format!("timeouts.{name}"), &format!("wanted 1 to {most}"));
            }
        }
        Ok(())
    }

    pub(super) fn entry(&self, host: &str) -> Option<&RegistryEntry> {
        self.registries.iter().find(|entry| entry.host == host)
    }
}

impl Timeouts {
    pub(super) fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }

    pub(super) fn read(&self) -> Duration {
        Duration::from_secs(self.read_seconds)
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_secs(self.total_seconds)
    }
}

/// Whether the text is what a canonical reference has before its first slash.
fn is_host(text: &str) -> bool {
    let reference = format!("{text}/a/b");
    reference.parse::<crate::image::ImageReference>().is_ok_and(|image| image.host() == text)
}
