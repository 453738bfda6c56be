//! ImageTrustRoots.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::{DNS_SUBDOMAIN, Problems, StrictError, parse_strictly, signatures};
use crate::{
    api::{
        GROUP,
        v1alpha1::{ConfigMapKeyRef, ImageTrustRootSpec, SigstoreInstance, TufMirror, VERSION},
    },
    policy::{SigstoreRoot, TrustRootReading, TrustRootSource, TufRepository, selector::is_dns_subdomain},
};

/// The longest `trusted_root.json` that a document may hold, in bytes; the resource's schema says the same.
const INLINE_LIMIT: usize = 524_288;
/// The longest `root.json` that a document may hold, in bytes; the resource's schema says the same.
const TUF_ROOT_LIMIT: usize = 131_072;
/// The longest address of a mirror, in bytes; the resource's schema says the same.
const MIRROR_LIMIT: usize = 512;
/// How often a mirror is asked, in seconds: at most, at least, and if nobody says; as in the resource's schema.
const REFRESH: (i32, i32, i32) = (60, 604_800, 86_400);
/// Under which key a ConfigMap holds a trust root if the document does not say.
const DEFAULT_CONFIG_MAP_KEY: &str = "trusted_root.json";

/// Reads one document of an ImageTrustRoot, as it stands in a file or in the cluster.
///
/// Returns `None` where the document is none of this version. Never fails otherwise: one that cannot be read
/// is a root that cannot be used, so that nobody takes it for one that does not exist. What its content is
/// worth is not looked at here.
///
/// Reads `metadata.name` and `.generation` leniently, the rest strictly, as [`read`](crate::policy::read)
/// does.
pub fn read_trust_root(document: &Value) -> Option<TrustRootReading> {
    if document["apiVersion"].as_str() != Some(&format!("{GROUP}/{VERSION}"))
        || document["kind"].as_str() != Some("ImageTrustRoot")
    {
        return None;
    }
    let metadata = &document["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let mut problems = Problems::default();
    check_envelope(document, name, &mut problems);
    let source = match parse_strictly::<ImageTrustRootSpec>("ImageTrustRoot", &document["spec"]) {
        _ if document["spec"].is_null() => {
            problems.add("spec", "", "the trust root has no spec");
            None
        }
        Ok(spec) => source(&spec, &mut problems),
        Err(StrictError { path, value, problem }) => {
            problems.add(&path, &value, problem);
            None
        }
    };
    Some(TrustRootReading {
        name: name.into(),
        generation: metadata["generation"].as_i64().unwrap_or_default(),
        source: match source.filter(|_| problems.is_empty()) {
            Some(source) => Ok(source),
            None => Err(problems.into_error()),
        },
    })
}

fn check_envelope(document: &Value, name: &str, problems: &mut Problems) {
    for key in document.as_object().into_iter().flat_map(|object| object.keys()) {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            problems.add(key, "", "unknown field");
        }
    }
    if name.is_empty() {
        problems.add("metadata.name", "", "the trust root has no name");
    } else if !is_dns_subdomain(name) {
        problems.add("metadata.name", name, DNS_SUBDOMAIN);
    }
    let namespace = &document["metadata"]["namespace"];
    if !namespace.is_null() && namespace.as_str() != Some("") {
        let value = namespace.as_str().unwrap_or_default();
        problems.add(
            "metadata.namespace",
            value,
            "an ImageTrustRoot has no namespace: every policy may name it",
        );
    }
}

fn source(spec: &ImageTrustRootSpec, problems: &mut Problems) -> Option<TrustRootSource> {
    let ImageTrustRootSpec { sigstore, inline, config_map_ref, file, tuf } = spec;
    match (sigstore, inline, config_map_ref, file, tuf) {
        (Some(instance), None, None, None, None) => Some(TrustRootSource::Sigstore(match instance {
            SigstoreInstance::PublicGood => SigstoreRoot::PublicGood,
            SigstoreInstance::GitHub => SigstoreRoot::GitHub,
        })),
        (None, Some(json), None, None, None) => {
            content("spec.inline", json, INLINE_LIMIT, problems).map(TrustRootSource::Inline)
        }
        (None, None, Some(ConfigMapKeyRef { namespace, name, key }), None, None) => {
            let key = key.as_deref().unwrap_or(DEFAULT_CONFIG_MAP_KEY);
            signatures::object_key(namespace, name, key, "spec.configMapRef", problems)
                .map(TrustRootSource::ConfigMap)
        }
        (None, None, None, Some(name), None) => {
            signatures::file_name(name, "spec.file", problems).map(TrustRootSource::File)
        }
        (None, None, None, None, Some(repository)) => tuf_repository(repository, problems),
        _ => {
            problems.add("spec", "", "set exactly one of sigstore, inline, configMapRef, file and tuf");
            None
        }
    }
}

/// A JSON document that stands in another one. It is not repeated in messages.
fn content(path: &str, json: &str, most: usize, problems: &mut Problems) -> Option<Box<str>> {
    if json.is_empty() || json.len() > most {
        problems.add(path, &format!("{} bytes", json.len()), format!("wanted 1 to {most} bytes"));
        return None;
    }
    Some(json.into())
}

fn tuf_repository(document: &TufMirror, problems: &mut Problems) -> Option<TrustRootSource> {
    let mirror = mirror(&document.mirror, problems);
    let root = content("spec.tuf.root", &document.root, TUF_ROOT_LIMIT, problems);
    let (shortest, longest, usual) = REFRESH;
    let seconds = document.refresh_seconds.unwrap_or(usual);
    if !(shortest..=longest).contains(&seconds) {
        problems.add(
            "spec.tuf.refreshSeconds",
            &seconds.to_string(),
            format!("wanted {shortest} to {longest} seconds"),
        );
    }
    let refresh = Duration::from_secs(seconds.unsigned_abs().into());
    Some(TrustRootSource::Tuf(TufRepository { mirror: mirror?, root: root?, refresh }))
}

/// The address of a mirror, with a slash behind. Whether it may be asked is for the settings to say.
fn mirror(text: &str, problems: &mut Problems) -> Option<Url> {
    let path = "spec.tuf.mirror";
    let mut wrong = |problem: &str| {
        // A user name and a password would be repeated with the text.
        let shown = if text.contains('@') { "" } else { text };
        problems.add(path, shown, problem);
        None
    };
    let Ok(mut url) = Url::parse(text) else {
        return wrong("wanted an address like https://tuf.example.com");
    };
    if text.len() > MIRROR_LIMIT {
        return wrong("an address of up to 512 bytes");
    }
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return wrong("wanted https:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("a TUF repository is read without a user name: leave it out");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("an address without \"?\" and \"#\": the names of files are put behind it");
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Some(url)
}
