use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{API_VERSION, KIND};
use crate::workload::{ReadError, RequestedType, Strict, Text, cut, problem, quote, read};

/// The longest uid that is taken, in bytes. The API server sends a UUID of 36.
pub const MAX_UID: usize = 128;

/// The longest user name that is kept, in bytes; what is beyond is cut. It is for the log alone.
pub const MAX_USERNAME: usize = 256;

/// One request for admission. `O` is what its objects are read as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdmissionRequest<'a, O> {
    /// What the answer must repeat. Neither empty nor longer than [`MAX_UID`].
    pub uid: Cow<'a, str>,
    /// The kind of the objects. After a conversion (`matchPolicy: Equivalent`) it is the kind
    /// converted to, which the webhook's rules name, and not the one that the user sent.
    pub kind: GroupVersionKind<'a>,
    /// The resource, converted like the kind.
    pub resource: GroupVersionResource<'a>,
    /// The subresource, `ephemeralcontainers`; empty for the object itself.
    pub sub_resource: Cow<'a, str>,
    /// The object's name; empty where the API server has yet to make it.
    pub name: Cow<'a, str>,
    /// The namespace; empty for what has none.
    pub namespace: Cow<'a, str>,
    /// What is being done.
    pub operation: Operation,
    /// Whether nothing will be stored. Answers must then have no side effects.
    pub dry_run: bool,
    /// Who asks, at most [`MAX_USERNAME`] bytes of it.
    pub username: Cow<'a, str>,
    /// The object as it is to be; none in a DELETE. An object that cannot be read is an error of its
    /// own, so that the review can be answered by its uid.
    pub object: Result<Option<O>, ReadError>,
    /// The object as it is stored; none in a CREATE.
    pub old_object: Result<Option<O>, ReadError>,
}

/// A kind with its group and version, empty where the request names none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupVersionKind<'a> {
    /// The group; empty for the core group.
    pub group: Cow<'a, str>,
    /// The version.
    pub version: Cow<'a, str>,
    /// The kind.
    pub kind: Cow<'a, str>,
}

/// A resource with its group and version, empty where the request names none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupVersionResource<'a> {
    /// The group; empty for the core group.
    pub group: Cow<'a, str>,
    /// The version.
    pub version: Cow<'a, str>,
    /// The resource.
    pub resource: Cow<'a, str>,
}

/// What a request does to its object.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, a subresource of it included.
    Update,
    /// It is removed.
    Delete,
    /// Somebody connects to it, as `kubectl exec` does.
    Connect,
}

/// Why a body is no AdmissionReview that we can answer in full.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnvelopeError {
    /// The body is not JSON, or a field of the AdmissionReview has the wrong type.
    #[error("the body is no AdmissionReview: line {line}, column {column}: {problem}")]
    BadJson {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1; 0 at a line's very start.
        column: usize,
        /// What is wrong there, at most 200 bytes.
        problem: String,
    },
    /// There is no `request` in it.
    #[error("the AdmissionReview has no request; send one as {API_VERSION} has it")]
    MissingRequest,
    /// The request cannot be answered, for an answer repeats its uid.
    #[error("request.uid is missing, empty or longer than {MAX_UID} bytes")]
    Uid,
    /// Something is being done that is none of the four operations.
    #[error("request.operation is \"{found}\"; send CREATE, UPDATE, DELETE or CONNECT")]
    UnknownOperation {
        /// The request's uid.
        uid: String,
        /// What it says, at most 64 bytes.
        found: String,
    },
    /// It is an AdmissionReview of another version, or something else altogether.
    #[error(
        "the body is \"{found}\" and this webhook speaks \"{API_VERSION} {KIND}\"; set \
         admissionReviewVersions to [\"v1\"]"
    )]
    WrongVersion {
        /// Its `apiVersion` and `kind`, at most 200 bytes.
        found: String,
    },
}

/// Reads the body of an admission request.
///
/// One pass reads the envelope and both objects. Only where that fails is the body read again, to say
/// what is wrong: with the body, which is an error, or with an object, which then is an error in its
/// place ([`AdmissionRequest::object`]). Unknown fields are skipped. Nothing but white space may follow.
pub fn parse<'a, O: Deserialize<'a>>(body: &'a [u8]) -> Result<AdmissionRequest<'a, O>, EnvelopeError> {
    if let Ok(Strict(review)) = serde_json::from_slice::<Strict<Review<'a, O>>>(body) {
        return review.request(Ok);
    }
    // 1. A review of another version may look different: what version is it?
    let Strict(header) = serde_json::from_slice::<Strict<Header<'a>>>(body).map_err(bad_json)?;
    header.check()?;
    // 2. Is it the envelope or what is in it?
    let Strict(review) = serde_json::from_slice::<Strict<Review<'a, &RawValue>>>(body).map_err(bad_json)?;
    review.request(|object| read(object.get()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct Review<'a, O> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    request: Option<Strict<Request<'a, O>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct Request<'a, O> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Strict<Kind<'a>>>,
    #[serde(borrow)]
    resource: Option<Strict<Resource<'a>>>,
    #[serde(borrow)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Option<Text<'a>>,
    #[serde(borrow)]
    user_info: Option<Strict<UserInfo<'a>>>,
    object: Option<O>,
    old_object: Option<O>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
    #[serde(borrow)]
    resource: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct UserInfo<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
}

impl Header<'_> {
    fn check(&self) -> Result<(), EnvelopeError> {
        let text =
            |text: &'_ Option<Text<'_>>| text.as_ref().map_or(String::new(), |text| text.0.to_string());
        let (version, kind) = (text(&self.api_version), text(&self.kind));
        if version == API_VERSION && kind == KIND {
            return Ok(());
        }
        Err(EnvelopeError::WrongVersion { found: quote(format!("{version} {kind}").trim(), 200) })
    }
}

impl<'a, O> Review<'a, O> {
    /// The request, with its objects read by `read`, if all that an answer needs is there.
    fn request<P>(
        self,
        read: impl Fn(O) -> Result<P, ReadError>,
    ) -> Result<AdmissionRequest<'a, P>, EnvelopeError> {
        Header { api_version: self.api_version, kind: self.kind }.check()?;
        let Strict(request) = self.request.ok_or(EnvelopeError::MissingRequest)?;
        let uid = Text::or_empty(request.uid);
        if uid.is_empty() || uid.len() > MAX_UID {
            return Err(EnvelopeError::Uid);
        }
        let operation = match &*Text::or_empty(request.operation) {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            "CONNECT" => Operation::Connect,
            found => {
                return Err(EnvelopeError::UnknownOperation { uid: uid.into(), found: quote(found, 64) });
            }
        };
        let username = request.user_info.map(|Strict(user)| Text::or_empty(user.username));
        Ok(AdmissionRequest {
            uid,
            kind: request.kind.map(|Strict(kind)| kind.into()).unwrap_or_default(),
            resource: request.resource.map(|Strict(resource)| resource.into()).unwrap_or_default(),
            sub_resource: Text::or_empty(request.sub_resource),
            name: Text::or_empty(request.name),
            namespace: Text::or_empty(request.namespace),
            operation,
            dry_run: request.dry_run.unwrap_or_default(),
            username: cut(username.unwrap_or_default(), MAX_USERNAME),
            object: request.object.map(&read).transpose(),
            old_object: request.old_object.map(&read).transpose(),
        })
    }
}

impl<'a> From<Kind<'a>> for GroupVersionKind<'a> {
    fn from(kind: Kind<'a>) -> Self {
        Self {
            group: Text::or_empty(kind.group),
            version: Text::or_empty(kind.version),
            kind: Text::or_empty(kind.kind),
        }
    }
}

impl<'a> From<Resource<'a>> for GroupVersionResource<'a> {
    fn from(resource: Resource<'a>) -> Self {
        Self {
            group: Text::or_empty(resource.group),
            version: Text::or_empty(resource.version),
            resource: Text::or_empty(resource.resource),
        }
    }
}

impl<O> AdmissionRequest<'_, O> {
    /// The type that the request is about, as [`WorkloadKind::of`](crate::workload::WorkloadKind::of)
    /// takes it.
    ///
    /// Kind and resource of different groups are no type that anybody knows: the group is then a
    /// text that no group is.
    pub fn requested_type(&self) -> RequestedType<'_> {
        RequestedType {
            group: if self.kind.group == self.resource.group { &self.kind.group } else { "*" },
            kind: &self.kind.kind,
            resource: &self.resource.resource,
            subresource: &self.sub_resource,
        }
    }
}

impl Operation {
    /// The operation as the API server writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl EnvelopeError {
    /// The uid of the request, where it could be told: then the review can be answered with a denial.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Self::UnknownOperation { uid, .. } => Some(uid),
            Self::BadJson { .. } | Self::MissingRequest | Self::Uid | Self::WrongVersion { .. } => None,
        }
    }
}

fn bad_json(error: serde_json::Error) -> EnvelopeError {
    EnvelopeError::BadJson { line: error.line(), column: error.column(), problem: problem(&error) }
}
