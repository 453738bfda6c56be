use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::{Certificate, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workload::WorkloadKind;

/// How long one review may take, as the API server would say it.
const TIMEOUT_SECONDS: u64 = 10;

/// The API server's side of the conversation with the webhook.
pub struct Caller {
    client: Client,
    base: String,
}

/// What became of one object.
#[derive(Debug, Default)]
pub struct Answer {
    pub allowed: bool,
    /// The denial; empty where there is none.
    pub message: String,
    pub warnings: Vec<String>,
    /// The images as they were written into the object.
    pub pins: Vec<String>,
    pub failures: Vec<Failure>,
    /// From the first request's first byte to the last answer.
    pub took: Duration,
}

/// A failed check, as the audit annotation names it.
#[derive(Debug, Eq, PartialEq)]
pub struct Failure {
    pub policy: String,
    pub check: String,
    pub reason: String,
    pub image: String,
}

#[derive(Deserialize)]
struct Review {
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    allowed: bool,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    patch: String,
    #[serde(default)]
    audit_annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Replacement {
    path: String,
    value: String,
}

impl Caller {
    /// Calls the webhook at `base`, whose certificate must be `certificate`, in PEM.
    pub fn new(base: String, certificate: &str) -> anyhow::Result<Self> {
        let certificate = Certificate::from_pem(certificate.as_bytes())?;
        let client = Client::builder().tls_certs_only([certificate]).no_proxy().build()?;
        Ok(Self { client, base })
    }

    /// Lets the webhook mutate the object, if it is a Pod, and then validate what came of it.
    pub async fn admit(&self, kind: WorkloadKind, namespace: &str, object: &Value) -> anyhow::Result<Answer> {
        let start = Instant::now();
        let mut object = object.clone();
        let mut answer = Answer { allowed: true, ..Answer::default() };
        let paths: &[&str] = if kind.is_pod() { &["/mutate", "/validate"] } else { &["/validate"] };
        for path in paths {
            let response = self.ask(path, kind, namespace, &object).await?;
            for Replacement { path, value } in patch(&response.patch)? {
                let place = object.pointer_mut(&path).with_context(|| format!("the patch names {path}"))?;
                answer.pins.push(value.clone());
                *place = value.into();
            }
            answer.warnings = response.warnings;
            answer.failures =
                failures(response.audit_annotations.get("failed-checks").map_or("", String::as_str));
            answer.message = response.status.message;
            answer.allowed = response.allowed;
            if !answer.allowed {
                break;
            }
        }
        answer.took = start.elapsed();
        Ok(answer)
    }

    async fn ask(
        &self,
        path: &str,
        kind: WorkloadKind,
        namespace: &str,
        object: &Value,
    ) -> anyhow::Result<Response> {
        let url = format!("{}{path}?timeout={TIMEOUT_SECONDS}s", self.base);
        let request = self.client.post(&url).header("content-type", "application/json");
        let body = review(kind, namespace, object).to_string();
        let answer = request.body(body).send().await.with_context(|| format!("cannot ask {url}"))?;
        let (status, body) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "{url} answered {status}: {body}");
        let Review { response } =
            serde_json::from_str(&body).with_context(|| format!("{url} answered {body}"))?;
        Ok(response)
    }
}

/// The AdmissionReview that an API server sends when `object` is created.
pub fn review(kind: WorkloadKind, namespace: &str, object: &Value) -> Value {
    let type_of = json!({"group": kind.group(), "version": "v1", "kind": kind.name()});
    let resource = json!({"group": kind.group(), "version": "v1", "resource": kind.resource()});
    let uid = format!("{:032x}", rand::random::<u128>());
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": type_of,
            "resource": resource,
            "requestKind": type_of,
            "requestResource": resource,
            "name": object["metadata"]["name"],
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "demo"},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

fn patch(base64: &str) -> anyhow::Result<Vec<Replacement>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    match base64 {
        "" => Ok(Vec::new()),
        _ => Ok(serde_json::from_slice(&STANDARD.decode(base64)?)?),
    }
}

/// Reads the annotation `failed-checks`: `action policy check reason image` with semicolons between.
fn failures(annotation: &str) -> Vec<Failure> {
    let read = |entry: &str| {
        let mut words = entry.split(' ').skip(1).map(str::to_owned);
        Some(Failure {
            policy: words.next()?,
            check: words.next()?,
            reason: words.next()?,
            image: words.next()?,
        })
    };
    annotation.split("; ").filter_map(read).collect()
}
