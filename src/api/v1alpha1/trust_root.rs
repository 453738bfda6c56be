use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a trust root comes from.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tidewaiter.dev",
    version = "v1alpha1",
    kind = "ImageTrustRoot",
    doc = "Certificate authorities, transparency logs and timestamp authorities that policies can name.",
    plural = "imagetrustroots",
    shortname = "itr",
    category = "tidewaiter",
    derive = "PartialEq",
    status = "ImageTrustRootStatus",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Source", type_ = "string", json_path = ".status.source"),
    printcolumn(name = "Refreshed", type_ = "date", json_path = ".status.refreshed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.sigstore), has(self.inline), has(self.configMapRef), has(self.file), has(self.tuf)].filter(set, set).size() == 1").message("set exactly one of sigstore, inline, configMapRef, file and tuf"))]
pub struct ImageTrustRootSpec {
    /// A root that is part of this version of Tidewaiter. Nobody is asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigstore: Option<SigstoreInstance>,
    /// The content of a `trusted_root.json`, as `cosign trusted-root create` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 524288))]
    pub inline: Option<String>,
    /// A ConfigMap that holds a `trusted_root.json`. What is new there counts within a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
    /// The name of a `trusted_root.json` in the directory that the setting `trustDirectory` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), pattern(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub file: Option<String>,
    /// A repository of The Update Framework that holds a `trusted_root.json`. It is asked in the background
    /// and never while a review waits; what was once good stays in use while it cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuf: Option<TufMirror>,
}

/// Instances of Sigstore whose root is part of the program.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SigstoreInstance {
    /// Sigstore's public-good instance.
    PublicGood,
    /// GitHub's own instance, which signs the attestations of private repositories.
    GitHub,
}

/// One key of a ConfigMap.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's namespace, which must be among the setting `trustNamespaces`.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Under which key of its `data`. Absent: `trusted_root.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// A repository of The Update Framework (TUF 1.0).
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TufMirror {
    /// Its address: `https://`, or `http://` on a host that the settings list with `plainHttp`. It holds
    /// `timestamp.json`, and below it `targets/`.
    #[schemars(length(min = 1, max = 512), pattern(r"^https?://.+"))]
    pub mirror: String,
    /// The content of a `root.json` of it to begin with, got by a way that you trust: whoever signs by its
    /// keys says what Tidewaiter trusts. It may be older than the repository's newest.
    #[schemars(length(min = 1, max = 131072))]
    pub root: String,
    /// How often it is asked, in seconds: 60 to 604800. Absent: 86400, a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604_800))]
    pub refresh_seconds: Option<i32>,
}

/// What became of a trust root.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageTrustRootStatus {
    /// The generation of the spec that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it comes from: `PublicGood`, `GitHub`, `Inline`, `ConfigMap`, `File` or `TUF`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When its TUF repository last vouched for it. Absent for other sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<Time>,
    /// The SHA-256 digest of the `trusted_root.json` in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// `Ready`: whether it can be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}
