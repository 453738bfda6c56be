//! A Clair v4 that is asked for its report on a digest that it has indexed.
//!
//! Clair never says when it has looked: it compares the packages that it knows with what it knows of
//! vulnerabilities at the moment that it is asked, so that moment is the time of the scan.
//!
//! Source: quay/clair `httptransport/api/v1/openapi.json`, `httptransport/matcher_v1.go`; config reference, "auth.psk".

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures::StreamExt as _;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Certificate, Client, redirect::Policy};
use serde_json::json;
use url::Url;

use crate::{api::v1alpha1::ClairSource, image::Digest, reports::LIMITS};

/// As whom requests are signed where nobody says.
const ISSUER: &str = "tidewaiter";
/// How long a signature holds.
const VALIDITY: SignedDuration = SignedDuration::from_mins(5);
/// How long a connection may take, and a whole answer.
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(60);
/// When to ask again where Clair has not read its first vulnerabilities yet.
const FIRST_UPDATE: SignedDuration = SignedDuration::from_mins(1);

/// A Clair to ask.
pub(super) struct Clair {
    client: Client,
    url: Url,
    issuer: String,
}

/// Why Clair gives no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClairError {
    /// The source's settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// It does not take the signature, or wants one.
    #[error("it answered {0}: check spec.clair.pskSecretRef and spec.clair.issuer against its auth.psk")]
    Forbidden(u16),
    /// It has not indexed this digest.
    #[error(
        "it has not indexed this digest: it must be the digest of an image's manifest, not of an index, that whoever feeds it has given it"
    )]
    NotIndexed,
    /// It has not read its first vulnerabilities yet.
    #[error("it has not read its first vulnerabilities yet")]
    NotYet,
    /// It cannot be reached, or answers with nothing that it should.
    #[error("{0}")]
    Unreachable(String),
    /// Its report is longer than is read.
    #[error("its report is longer than {} bytes", LIMITS.bytes)]
    TooLong,
}

impl ClairError {
    /// When to ask again, if it says that.
    pub(super) fn again(&self) -> Option<SignedDuration> {
        matches!(self, Self::NotYet).then_some(FIRST_UPDATE)
    }

    /// Whether it is about one image only.
    pub(super) fn is_about_the_image(&self) -> bool {
        matches!(self, Self::NotIndexed | Self::TooLong)
    }

    /// The name in metrics and statuses.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Settings(_) => "InvalidSettings",
            Self::Forbidden(_) => "Forbidden",
            Self::NotIndexed => "NotIndexed",
            Self::NotYet => "NotYet",
            Self::Unreachable(_) => "Unreachable",
            Self::TooLong => "TooLong",
        }
    }
}

impl Clair {
    /// Asks nobody yet.
    pub(super) fn new(settings: &ClairSource) -> Result<Self, ClairError> {
        let wrong =
            |field: &str, problem: String| ClairError::Settings(format!("spec.clair.{field}: {problem}"));
        let url = Url::parse(&format!("{}/", settings.url.trim_end_matches('/')))
            .map_err(|error| wrong("url", format!("{:?}: {error}", settings.url)))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("url", "credentials do not belong into an address".to_owned()));
        }
        // The HTTP client takes the process's provider; another that is there already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .connect_timeout(CONNECT)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .timeout(TOTAL)
            .user_agent(concat!("tidewaiter/", env!("CARGO_PKG_VERSION")));
        if let Some(bundle) = &settings.ca_bundle {
            let certificates = Certificate::from_pem_bundle(bundle.as_bytes());
            let certificates = certificates.map_err(|error| wrong("caBundle", error.to_string()))?;
            if certificates.is_empty() {
                return Err(wrong("caBundle", "it holds no certificate in PEM".to_owned()));
            }
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| wrong("caBundle", error.to_string()))?;
        let issuer = settings.issuer.clone().unwrap_or_else(|| ISSUER.to_owned());
        Ok(Self { client, url, issuer })
    }

    /// The report on `digest`, as JSON. The request is signed with `key`, which is in base64; not at all without.
    pub(super) async fn report(
        &self,
        digest: &Digest,
        key: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Vec<u8>, ClairError> {
        let path = format!("matcher/api/v1/vulnerability_report/{digest}");
        let url =
            self.url.join(&path).map_err(|error| ClairError::Settings(format!("spec.clair.url: {error}")))?;
        let mut request = self.client.get(url).header(header::ACCEPT, "application/json");
        if let Some(key) = key {
            request = request.bearer_auth(self.token(key, now)?);
        }
        let unreachable = |error: reqwest::Error| ClairError::Unreachable(told(&error));
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status() {
            // Its definition says 201, and it answers 200.
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::ACCEPTED => return Err(ClairError::NotYet),
            StatusCode::NOT_FOUND => return Err(ClairError::NotIndexed),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(ClairError::Forbidden(status.as_u16()));
            }
            status => return Err(ClairError::Unreachable(format!("it answered {}", status.as_u16()))),
        }
        let mut body = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(unreachable)?;
            if body.len() + chunk.len() > LIMITS.bytes {
                return Err(ClairError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A JSON Web Token (RFC 7519) that holds for five minutes, by HMAC with SHA-256.
    fn token(&self, key: &[u8], now: Timestamp) -> Result<String, ClairError> {
        let key = STANDARD.decode(key.trim_ascii()).ok().filter(|key| !key.is_empty());
        let Some(key) = key else {
            return Err(ClairError::Settings("the key of spec.clair.pskSecretRef is no base64".to_owned()));
        };
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let claims = json!({"iss": self.issuer, "iat": now.as_second(), "nbf": now.as_second(),
            "exp": (now + VALIDITY).as_second()});
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }
}

/// An error with its causes; without the address, which is in the settings.
fn told(error: &reqwest::Error) -> String {
    let mut text = "it cannot be reached".to_owned();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with this status, headers and body. Returns its address, and later the request.
    async fn serve(answer: &str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let answer = answer.to_owned();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        (url, task)
    }

    fn clair(url: &str) -> Result<Clair, ClairError> {
        Clair::new(&ClairSource { url: url.to_owned(), ..ClairSource::default() })
    }

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    #[rstest]
    #[case("202 Accepted", "NotYet")]
    #[case("404 Not Found", "NotIndexed")]
    #[case("401 Unauthorized", "Forbidden")]
    #[case("403 Forbidden", "Forbidden")]
    #[case("500 Internal Server Error", "Unreachable")]
    #[case("302 Found\r\nlocation: http://127.0.0.1:1/", "Unreachable")]
    #[case("204 No Content", "Unreachable")]
    #[tokio::test]
    async fn what_is_no_report_is_told_apart(#[case] status: &str, #[case] reason: &str) {
        let (url, _task) = serve(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
        let error = clair(&url).unwrap().report(&Digest::sha256(b""), None, now()).await.unwrap_err();
        assert_eq!(error.as_str(), reason, "{error}");
    }

    #[tokio::test]
    async fn a_report_is_asked_for_by_digest_and_signed() {
        let (url, task) = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        let digest = Digest::sha256(b"");
        let key = STANDARD.encode("a key that both know");
        let clair = clair(&format!("{url}/clair/")).unwrap();
        assert_eq!(clair.report(&digest, Some(format!("{key}\n").as_bytes()), now()).await.unwrap(), b"{}");
        let head = task.await.unwrap();
        assert!(
            head.starts_with(&format!("GET /clair/matcher/api/v1/vulnerability_report/{digest} ")),
            "{head}"
        );
        let line = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let parts: Vec<_> = line.split('.').collect();
        let part = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&part(1)).unwrap();
        assert_eq!(claims["iss"], "tidewaiter");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key that both know");
        hmac::verify(&key, format!("{}.{}", parts[0], parts[1]).as_bytes(), &part(2)).unwrap();
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 64];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let chunk = vec![b' '; 1 << 20];
            while stream.write_all(&chunk).await.is_ok() {}
        });
        let error = clair(&url).unwrap().report(&Digest::sha256(b""), None, now()).await.unwrap_err();
        assert_eq!(error.as_str(), "TooLong");
    }

    #[rstest]
    #[case("http://[", "InvalidSettings")]
    #[case("http://user:secret@clair", "InvalidSettings")]
    fn settings_that_cannot_work_are_refused(#[case] url: &str, #[case] reason: &str) {
        let error = clair(url).err().unwrap();
        assert_eq!(error.as_str(), reason);
        assert!(!error.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_key_that_is_no_base64_is_told_without_it() {
        let clair = clair("http://127.0.0.1:1").unwrap();
        let error = clair.report(&Digest::sha256(b""), Some(b"hunter2!"), now()).await.unwrap_err();
        assert_eq!(error.as_str(), "InvalidSettings");
        assert!(!error.to_string().contains("hunter2"));
    }
}
