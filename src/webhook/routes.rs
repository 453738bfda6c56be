//! Which request gets which answer over HTTP.

use std::{sync::Arc, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::{StatusCode, header},
    mime, web,
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::{
    Admission,
    envelope::{AdmissionResponse, EnvelopeError, TimeoutError, parse_timeout},
    policies,
    report::{Rejection, Reporter},
};
use crate::review::{Stage, ports::TrustRootCheck};

/// The largest body that is read. The API server's own limit for an object is 3 MiB, and a review may
/// hold two.
const BODY_LIMIT: usize = 8 << 20;
/// The largest first guess at how much room a body needs, whatever its header says.
const FIRST_ROOM: usize = 64 << 10;

/// Puts the webhook's paths into an application: `/mutate`, `/validate` and `/validate-policy`, which looks
/// at trust roots with `check`.
pub fn configure(
    admission: Arc<Admission>,
    reporter: Arc<dyn Reporter>,
    check: Arc<dyn TrustRootCheck>,
) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |app| {
        let at = |path: &str, task: Task| post(path, task, &admission, &reporter);
        app.service(at("/mutate", Task::Review(Stage::Mutate)))
            .service(at("/validate", Task::Review(Stage::Validate)))
            .service(at("/validate-policy", Task::Policy(check.clone())));
        let reporter = reporter.clone();
        app.default_service(web::to(move || {
            let reporter = reporter.clone();
            async move { Trouble::NotFound.answer(&*reporter) }
        }));
    }
}

#[derive(Clone)]
enum Task {
    Review(Stage),
    Policy(Arc<dyn TrustRootCheck>),
}

fn post(path: &str, task: Task, admission: &Arc<Admission>, reporter: &Arc<dyn Reporter>) -> Resource {
    let (admission, ours) = (admission.clone(), reporter.clone());
    let handle = move |request: HttpRequest, payload: web::Payload| {
        let (task, admission, reporter) = (task.clone(), admission.clone(), ours.clone());
        async move {
            match handle(&task, &admission, &request, payload).await {
                Ok(body) => HttpResponse::Ok().content_type(mime::APPLICATION_JSON).body(body),
                Err(trouble) => trouble.answer(&*reporter),
            }
        }
    };
    let reporter = reporter.clone();
    web::resource(path).route(web::post().to(handle)).default_service(web::to(move || {
        let reporter = reporter.clone();
        async move { Trouble::Method.answer(&*reporter) }
    }))
}

async fn handle(
    task: &Task,
    admission: &Arc<Admission>,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Vec<u8>, Trouble> {
    let arrived = Instant::now();
    let content_type = request.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    if !content_type.is_some_and(is_json) {
        return Err(Trouble::MediaType);
    }
    let deadline = Admission::deadline(arrived, parse_timeout(request.query_string())?);
    let read = tokio::time::timeout_at(deadline.into(), read(request, payload));
    let body = read.await.map_err(|_| Trouble::Slow)??;
    Ok(match task {
        Task::Review(stage) => admission.answer(*stage, body, Instant::now(), deadline).await?,
        Task::Policy(check) => policies::answer(&body, &**check)?,
    })
}

async fn read(request: &HttpRequest, mut payload: web::Payload) -> Result<Bytes, Trouble> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(Trouble::TooLarge);
    }
    let room = usize::try_from(length.unwrap_or(0)).unwrap_or(FIRST_ROOM).min(FIRST_ROOM);
    let mut body = BytesMut::with_capacity(room);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Trouble::Incomplete)?;
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// `application/json`, with or without parameters (RFC 9110 §8.3.1).
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Why a request is no review that is judged.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the body broke off")]
    Incomplete,
    #[error("the content type must be application/json")]
    MediaType,
    #[error("only POST is answered here")]
    Method,
    #[error(
        "nothing is here; the webhooks are /mutate, /validate and /validate-policy, and health and metrics have a listener of their own"
    )]
    NotFound,
    #[error("the body did not arrive in time")]
    Slow,
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    #[error("the body is larger than {BODY_LIMIT} bytes")]
    TooLarge,
}

impl Trouble {
    fn answer(&self, reporter: &dyn Reporter) -> HttpResponse {
        let (status, rejection) = match self {
            Self::Envelope(_) | Self::Timeout(_) => (StatusCode::BAD_REQUEST, Rejection::Malformed),
            Self::Incomplete => (StatusCode::BAD_REQUEST, Rejection::Incomplete),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Rejection::MediaType),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, Rejection::Method),
            Self::NotFound => (StatusCode::NOT_FOUND, Rejection::NotFound),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, Rejection::Slow),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Rejection::TooLarge),
        };
        reporter.rejected(rejection);
        if let Self::Envelope(error) = self
            && let Some(uid) = error.uid()
        {
            // Somebody waits for the answer to this review: a denial whatever its webhook's failurePolicy is.
            let denial = AdmissionResponse::denied(uid, error.to_string()).to_json();
            return HttpResponse::Ok().content_type(mime::APPLICATION_JSON).body(denial);
        }
        let mut answer = HttpResponse::build(status);
        if matches!(self, Self::Method) {
            answer.insert_header((header::ALLOW, "POST"));
        }
        answer.content_type(mime::TEXT_PLAIN_UTF_8).body(format!("{self}\n"))
    }
}
