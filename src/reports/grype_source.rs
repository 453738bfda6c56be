use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{ReadError, Subject, loose::Few, text};
use crate::image::Digest;

/// `source.target` of an image.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    user_input: Option<String>,
    #[serde(rename = "imageID", default)]
    image_id: String,
    #[serde(default)]
    manifest_digest: String,
    /// In base64, as the next.
    manifest: Option<String>,
    config: Option<String>,
    #[serde(default)]
    repo_digests: Few<String>,
    architecture: Option<String>,
    os: Option<String>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

#[derive(Deserialize)]
struct Config {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// Which image the report is about.
///
/// 1. `repoDigests` are names of the registry, perhaps of an index.
/// 2. `manifestDigest` is the registry's too if Grype has pulled the image. From a daemon or a file, Grype makes a
///    manifest of its own, whose layers are those of the configuration, uncompressed; its digest names
///    nothing then. Where the manifest is not there to be looked at, its digest is not believed to name one.
/// 3. The manifest and the configuration must hash to the digests beside them, and belong together.
pub(super) fn subject(target: &RawValue) -> Result<Subject, ReadError> {
    let target: Target = serde_json::from_str(target.get())
        .map_err(|error| ReadError::malformed("source.target", error.to_string()))?;
    let manifest = embedded::<Manifest>(target.manifest.as_deref(), &target.manifest_digest);
    let config = embedded::<Config>(target.config.as_deref(), &target.image_id);
    let contradiction = match (&manifest, &config) {
        (Err(problem), _) => Some(format!("source.target.manifest {problem} manifestDigest")),
        (_, Err(problem)) => Some(format!("source.target.config {problem} imageID")),
        (Ok(Some(manifest)), _)
            if manifest.config.as_ref().is_some_and(|config| config.digest != target.image_id) =>
        {
            Some("source.target.manifest names another configuration than imageID".to_owned())
        }
        _ => None,
    };
    let (manifest, config) = (manifest.ok().flatten(), config.ok().flatten());
    let mut digests: Vec<Digest> = target.repo_digests.iter().filter_map(|name| text::digest(name)).collect();
    if let (Some(manifest), Some(config)) = (&manifest, &config) {
        let layers = manifest.layers.iter().map(|layer| &layer.digest);
        let own = config.rootfs.as_ref().is_some_and(|rootfs| layers.eq(&rootfs.diff_ids));
        let digest = text::digest(&target.manifest_digest);
        digests.extend(digest.filter(|digest| !own && !digests.contains(digest)));
    }
    let platform = match &config {
        Some(config) => (config.os.as_deref(), config.architecture.as_deref(), config.variant.as_deref()),
        None => (target.os.as_deref(), target.architecture.as_deref(), None),
    };
    Ok(Subject {
        digests,
        config: text::digest(&target.image_id),
        platform: match platform {
            (Some(os), Some(architecture), variant) => text::platform(os, architecture, variant),
            _ => None,
        },
        name: target.user_input.map(|name| text::plain(&name)).filter(|name| !name.is_empty()),
        contradiction,
        attested: Vec::new(),
    })
}

/// What stands there in base64, if it is what `digest` names; how it fails to be otherwise.
fn embedded<T: DeserializeOwned>(base64: Option<&str>, digest: &str) -> Result<Option<T>, &'static str> {
    let Some(base64) = base64.filter(|base64| !base64.is_empty()) else { return Ok(None) };
    let content = STANDARD.decode(base64).map_err(|_| "is not base64, and cannot be")?;
    match text::digest(digest) {
        Some(digest) if digest.matches(&content) => {}
        _ => return Err("does not hash to"),
    }
    serde_json::from_slice(&content).map(Some).map_err(|_| "is no document, though it hashes to")
}
