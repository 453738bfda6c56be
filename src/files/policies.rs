use std::{collections::HashMap, path::PathBuf, sync::Arc};

use serde_json::Value;

use super::{Document, FileError, Place, documents::read};
use crate::policy::{self, Policy, PolicyId};

/// Why policies cannot be taken from files.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A document is none of our resources. In a directory of policies that is more likely a slip in
    /// `apiVersion` or `kind` than intended, and would leave images unjudged.
    #[error(
        "{place}: apiVersion {api_version}, kind {kind} is no policy; wanted apiVersion tidewaiter.dev/v1alpha1 and kind ClusterImageAdmissionPolicy or ImageAdmissionPolicy"
    )]
    NotAPolicy {
        /// Where it stands.
        place: Place,
        /// Its `apiVersion`, quoted, or `absent`.
        api_version: String,
        /// Its `kind`, quoted, or `absent`.
        kind: String,
    },
    /// Two documents have one name.
    #[error("{place}: {id} is already defined in {first}; remove or rename one of them")]
    Twice {
        /// The name.
        id: PolicyId,
        /// Where the first stands.
        first: Box<Place>,
        /// Where the second stands.
        place: Place,
    },
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

/// The policies of `paths`, each a file or a directory.
///
/// A document that is one of our resources but does not compile is no error here: it comes out as a
/// policy that fails for all it could match, and [`Policy::compile_error`] says why.
pub fn read_policies(paths: &[PathBuf]) -> Result<Vec<FiledPolicy>, PolicyFileError> {
    let mut places: HashMap<PolicyId, Place> = HashMap::new();
    let mut policies = Vec::new();
    let mut documents = Vec::new();
    for path in paths {
        documents.extend(read(path)?);
    }
    for Document { place, value } in documents {
        let Some(reading) = policy::read(&value) else {
            let quoted = |field: &Value| match field {
                Value::Null => "absent".to_owned(),
                other => other.to_string().chars().take(100).collect(),
            };
            return Err(PolicyFileError::NotAPolicy {
                api_version: quoted(&value["apiVersion"]),
                kind: quoted(&value["kind"]),
                place,
            });
        };
        let id = reading.policy.id().clone();
        if let Some(first) = places.insert(id.clone(), place.clone()) {
            return Err(PolicyFileError::Twice { id, first: first.into(), place });
        }
        policies.push(FiledPolicy { place, policy: Arc::new(reading.policy), warnings: reading.warnings });
    }
    Ok(policies)
}
