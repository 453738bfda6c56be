use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use super::{API_VERSION, KIND};
use crate::workload::Patch;

/// The answer to one request.
///
/// A denial never carries a patch: the type has no room for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdmissionResponse<'a> {
    uid: &'a str,
    outcome: Outcome,
    warnings: Vec<String>,
    audit_annotations: Vec<(&'a str, String)>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    Admitted { patch: Patch },
    Denied { message: String },
}

impl<'a> AdmissionResponse<'a> {
    /// Admits the request `uid` and changes the object by `patch`. Where the patch is empty the answer
    /// carries none; a validating webhook's must be.
    pub fn admitted(uid: &'a str, patch: Patch) -> Self {
        Self::new(uid, Outcome::Admitted { patch })
    }

    /// Refuses the request `uid`. The API server puts the webhook's name before `message` and shows
    /// both to the user, with status 403 and reason `Forbidden`.
    pub fn denied(uid: &'a str, message: impl Into<String>) -> Self {
        Self::new(uid, Outcome::Denied { message: message.into() })
    }

    fn new(uid: &'a str, outcome: Outcome) -> Self {
        Self { uid, outcome, warnings: Vec::new(), audit_annotations: Vec::new() }
    }

    /// Shows `warnings` to the user. The API server cuts one that is longer than 256 characters, and
    /// drops what is beyond 4,096 in total: keeping to that is the caller's part.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    /// Adds to the API server's audit log. It puts the webhook's name and a slash before each key,
    /// which must be the name part of a qualified name: 63 letters, digits, `-`, `_` and `.` at most.
    /// A key is written once; of two the later one counts.
    #[must_use]
    pub fn with_audit_annotations(mut self, annotations: Vec<(&'a str, String)>) -> Self {
        self.audit_annotations = annotations;
        self
    }

    /// Whether the request is admitted.
    pub fn allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Admitted { .. })
    }

    /// The AdmissionReview around the answer, as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let (status, patch) = match &self.outcome {
            Outcome::Admitted { patch } => (None, Some(patch).filter(|patch| !patch.is_empty())),
            Outcome::Denied { message } => {
                (Some(Status { code: 403, reason: "Forbidden", message: message.as_str() }), None)
            }
        };
        let review = Review {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: self.uid,
                allowed: self.allowed(),
                status,
                patch_type: patch.map(|_| "JSONPatch"),
                patch: patch.map(|patch| Base64(patch.to_json())),
                audit_annotations: Annotations(&self.audit_annotations),
                warnings: &self.warnings,
            },
        };
        // OK because strings, numbers and maps of strings serialise, and writing to memory does not fail
        serde_json::to_vec(&review).unwrap()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Base64>,
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    audit_annotations: Annotations<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

/// Bytes as Go's `encoding/json` writes them.
struct Base64(Vec<u8>);

struct Annotations<'a>(&'a [(&'a str, String)]);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl Annotations<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Annotations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
