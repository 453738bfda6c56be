use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Document, FileError, Place, documents::read};
use crate::{
    api::{GROUP, v1alpha1::VERSION},
    policy::{self, ObjectKind, ObjectName, Policy, TrustRootReading},
    review::ports::ObjectContent,
};

/// Why policies cannot be taken from files.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A document is neither one of our resources nor something that holds keys for them. In a directory of
    /// policies that is more likely a slip in `apiVersion` or `kind` than intended, and would leave images
    /// unjudged.
    #[error(
        "{place}: apiVersion {api_version}, kind {kind} is no policy; wanted apiVersion tidewaiter.dev/v1alpha1 and kind ClusterImageAdmissionPolicy, ImageAdmissionPolicy, ImageTrustRoot, ImageScanVerdict or VulnerabilitySource, or apiVersion v1 and kind Secret or ConfigMap"
    )]
    NotAPolicy {
        /// Where it stands.
        place: Place,
        /// Its `apiVersion`, quoted, or `absent`.
        api_version: String,
        /// Its `kind`, quoted, or `absent`.
        kind: String,
    },
    /// A document is none of those that tell what scanners have said.
    #[error(
        "{place}: kind {kind} tells nothing of scans; wanted apiVersion tidewaiter.dev/v1alpha1 and kind ImageScanVerdict or VulnerabilitySource"
    )]
    NotOfScans {
        /// Where it stands.
        place: Place,
        /// Its `kind`, quoted, or `absent`.
        kind: String,
    },
    /// A Secret, a ConfigMap, an ImageScanVerdict or a VulnerabilitySource is not what the API server would store. Its content is not repeated.
    #[error("{place}: {problem}")]
    Object {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
    /// Two documents have one name.
    #[error("{place}: {name} is already defined in {first}; remove or rename one of them")]
    Twice {
        /// The name, with its kind.
        name: String,
        /// Where the first stands.
        first: Box<Place>,
        /// Where the second stands.
        place: Place,
    },
}

/// What files hold: policies, and what their keys and trust roots come from.
#[derive(Clone, Debug, Default)]
pub struct Filed {
    /// The policies.
    pub policies: Vec<FiledPolicy>,
    /// The ImageTrustRoots.
    pub roots: Vec<FiledRoot>,
    /// The Secrets and ConfigMaps.
    pub objects: BTreeMap<ObjectName, ObjectContent>,
    /// The ImageScanVerdicts.
    pub verdicts: Vec<FiledSpec>,
    /// The VulnerabilitySources.
    pub sources: Vec<FiledSpec>,
}

/// The content of a document that whoever uses it reads, and where it comes from.
#[derive(Clone, Debug)]
pub struct FiledSpec {
    /// Where the document stands.
    pub place: Place,
    /// Its name.
    pub name: Box<str>,
    /// Its `spec`; null where it has none.
    pub spec: Value,
}

/// A policy and where it comes from.
#[derive(Clone, Debug)]
pub struct FiledPolicy {
    /// Where the document stands.
    pub place: Place,
    /// The policy. One that does not compile counts as failing for all it could match.
    pub policy: Arc<Policy>,
    /// What works but probably is not meant.
    pub warnings: Vec<String>,
}

/// An ImageTrustRoot and where it comes from.
#[derive(Clone, Debug)]
pub struct FiledRoot {
    /// Where the document stands.
    pub place: Place,
    /// The trust root. One that cannot be read cannot be used.
    pub root: TrustRootReading,
}

/// The policies of `paths`, each a file or a directory, with the ImageTrustRoots, Secrets and ConfigMaps
/// beside them.
///
/// A document that is one of our resources but does not compile is no error here: it comes out as a
/// policy that fails for all it could match, and [`Policy::compile_error`] says why; or as a trust root that
/// cannot be used.
pub fn read_policies(paths: &[PathBuf]) -> Result<Filed, PolicyFileError> {
    read_policies_and_scans(paths, &[])
}

/// The same, with what the documents of `scans` tell of scans: ImageScanVerdicts and VulnerabilitySources, and nothing
/// else.
pub fn read_policies_and_scans(paths: &[PathBuf], scans: &[PathBuf]) -> Result<Filed, PolicyFileError> {
    let mut places: HashMap<String, Place> = HashMap::new();
    let mut filed = Filed::default();
    let mut documents = Vec::new();
    for (path, of_scans) in
        paths.iter().map(|path| (path, false)).chain(scans.iter().map(|path| (path, true)))
    {
        documents.extend(read(path)?.into_iter().map(|document| (document, of_scans)));
    }
    for (Document { place, value }, of_scans) in documents {
        let name = match filed.add_of_scans(&place, &value)? {
            Some(name) => name,
            None if of_scans => {
                let kind = quoted(&value["kind"]);
                return Err(PolicyFileError::NotOfScans { place, kind });
            }
            None => filed.add(&place, &value)?,
        };
        if let Some(first) = places.insert(name.clone(), place.clone()) {
            return Err(PolicyFileError::Twice { name, first: first.into(), place });
        }
    }
    Ok(filed)
}

fn quoted(field: &Value) -> String {
    match field {
        Value::Null => "absent".to_owned(),
        other => other.to_string().chars().take(100).collect(),
    }
}

impl Filed {
    /// Takes in an ImageScanVerdict or a VulnerabilitySource. Returns its name, with its kind; none if it is neither.
    fn add_of_scans(&mut self, place: &Place, value: &Value) -> Result<Option<String>, PolicyFileError> {
        let kind = value["kind"].as_str().unwrap_or_default();
        let list = match kind {
            _ if value["apiVersion"] != format!("{GROUP}/{VERSION}") => return Ok(None),
            "ImageScanVerdict" => &mut self.verdicts,
            "VulnerabilitySource" => &mut self.sources,
            _ => return Ok(None),
        };
        let failed =
            |problem: &str| PolicyFileError::Object { place: place.clone(), problem: problem.to_owned() };
        let fields = value.as_object().into_iter().flat_map(|object| object.keys());
        let known = ["apiVersion", "kind", "metadata", "spec", "status"];
        if let Some(field) = fields.into_iter().find(|field| !known.contains(&field.as_str())) {
            return Err(failed(&format!("{field}: unknown field")));
        }
        let name = value["metadata"]["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| failed(&format!("metadata.name: name the {kind}")))?;
        list.push(FiledSpec { place: place.clone(), name: name.into(), spec: value["spec"].clone() });
        Ok(Some(format!("{kind}/{name}")))
    }

    /// Takes in any other document. Returns its name, with its kind.
    fn add(&mut self, place: &Place, value: &Value) -> Result<String, PolicyFileError> {
        if let Some(reading) = policy::read(value) {
            let name = reading.policy.id().to_string();
            let (place, policy) = (place.clone(), Arc::new(reading.policy));
            self.policies.push(FiledPolicy { place, policy, warnings: reading.warnings });
            return Ok(name);
        }
        if let Some(root) = policy::read_trust_root(value) {
            let name = format!("ImageTrustRoot/{}", root.name);
            self.roots.push(FiledRoot { place: place.clone(), root });
            return Ok(name);
        }
        let kind = match (value["apiVersion"].as_str(), value["kind"].as_str()) {
            (Some("v1"), Some("ConfigMap")) => ObjectKind::ConfigMap,
            (Some("v1"), Some("Secret")) => ObjectKind::Secret,
            _ => {
                return Err(PolicyFileError::NotAPolicy {
                    api_version: quoted(&value["apiVersion"]),
                    kind: quoted(&value["kind"]),
                    place: place.clone(),
                });
            }
        };
        let object = object(kind, value);
        let (name, content) =
            object.map_err(|problem| PolicyFileError::Object { place: place.clone(), problem })?;
        let told = name.to_string();
        self.objects.insert(name, content);
        Ok(told)
    }
}

/// Reads a Secret or a ConfigMap as the API server does. Says what is wrong without repeating its content.
fn object(kind: ObjectKind, value: &Value) -> Result<(ObjectName, ObjectContent), String> {
    let fields: &[&str] = match kind {
        ObjectKind::ConfigMap => &["data", "binaryData"],
        // What stands in `stringData` wins over `data`.
        ObjectKind::Secret => &["data", "stringData"],
    };
    let known = |key: &str| {
        ["apiVersion", "kind", "metadata", "type", "immutable"].contains(&key) || fields.contains(&key)
    };
    let keys = value.as_object().into_iter().flat_map(|object| object.keys());
    if let Some(key) = keys.into_iter().find(|key| !known(key)) {
        return Err(format!("{key}: unknown field"));
    }
    let text = |field: &str, what: &str| match value["metadata"][field].as_str() {
        Some(text) if !text.is_empty() => Ok(Box::<str>::from(text)),
        _ => Err(format!("metadata.{field}: name the {}'s {what}", kind.as_str())),
    };
    let name = ObjectName { kind, namespace: text("namespace", "namespace")?, name: text("name", "name")? };
    let mut data = BTreeMap::new();
    for field in fields {
        let entries = match &value[field] {
            Value::Null => continue,
            Value::Object(entries) => entries,
            _ => return Err(format!("{field}: wanted keys and values")),
        };
        for (key, value) in entries {
            let text = value.as_str().ok_or_else(|| format!("{field}.{key}: wanted text"))?;
            let encoded = matches!((kind, *field), (ObjectKind::Secret, "data") | (_, "binaryData"));
            let content = match encoded {
                true => BASE64_STANDARD
                    .decode(text.split_ascii_whitespace().collect::<String>())
                    .map_err(|_| format!("{field}.{key}: wanted base64"))?,
                false => text.as_bytes().to_vec(),
            };
            data.insert(key.as_str().into(), Some(content.into()));
        }
    }
    Ok((name, ObjectContent::Data(data)))
}
