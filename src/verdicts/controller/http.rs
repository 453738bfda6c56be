//! How servers are asked that keep reports: never longer, for more, or elsewhere than was meant.

use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use reqwest::{Certificate, Client, RequestBuilder, redirect::Policy};
use url::Url;

use crate::{evidence::RegistryError, reports::LIMITS};

/// How long a connection may take, and a whole answer.
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(60);

/// Why a server gives no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The source's settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// It does not take what it is shown, or wants something.
    #[error("it answered {status}: check {remedy}")]
    Forbidden {
        /// 401 or 403.
        status: u16,
        /// The fields to check.
        remedy: &'static str,
    },
    /// The registry does not say what its layers are.
    #[error("what layers it has cannot be learnt: {0}")]
    Layers(#[from] RegistryError),
    /// It has nothing on this image.
    #[error("{0}")]
    NoReport(String),
    /// It will have something to say, and this says why not now.
    #[error("{why}")]
    NotYet {
        /// What it waits for.
        why: &'static str,
        /// When to ask again.
        again: SignedDuration,
    },
    /// It has tried to scan this image, and has failed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be reached, or answers with nothing that it should.
    #[error("{0}")]
    Unreachable(String),
    /// Its answer is longer than is read.
    #[error("its answer is longer than {} bytes", LIMITS.bytes)]
    TooLong,
}

impl AskError {
    /// When to ask again, if it says that.
    pub(super) fn again(&self) -> Option<SignedDuration> {
        match self {
            Self::NotYet { again, .. } => Some(*again),
            _ => None,
        }
    }

    /// Whether it is about one image only.
    pub(super) fn is_about_the_image(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Layers(_) | Self::NoReport(_) | Self::TooLong)
    }

    /// The name in metrics and statuses.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Settings(_) => "InvalidSettings",
            Self::Forbidden { .. } => "Forbidden",
            Self::Layers(_) => "LayersUnknown",
            Self::NoReport(_) => "NoReport",
            Self::NotYet { .. } => "NotYet",
            Self::Failed(_) => "ScanFailed",
            Self::Unreachable(_) => "Unreachable",
            Self::TooLong => "TooLong",
        }
    }
}

/// A server to ask.
pub(super) struct Server {
    client: Client,
    /// Ends with a slash.
    base: Url,
}

/// What it has answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Up to [`LIMITS`]`.bytes`.
    pub(super) body: Vec<u8>,
}

impl Server {
    /// The server at `url`, which is the field `field`. Asks nobody yet.
    pub(super) fn new(field: &str, url: &str, ca_bundle: Option<&str>) -> Result<Self, AskError> {
        let base = address(field, url)?;
        let kind = field.rsplit_once('.').map_or(field, |(kind, _)| kind);
        let wrong = |problem: String| AskError::Settings(format!("{kind}.caBundle: {problem}"));
        // The HTTP client takes the process's provider; another that is there already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut client = Client::builder()
            .connect_timeout(CONNECT)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("tidewaiter/", env!("CARGO_PKG_VERSION")));
        if let Some(bundle) = ca_bundle {
            let certificates = Certificate::from_pem_bundle(bundle.as_bytes());
            let certificates = certificates.map_err(|error| wrong(error.to_string()))?;
            if certificates.is_empty() {
                return Err(wrong("it holds no certificate in PEM".to_owned()));
            }
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, base })
    }

    /// The URL of what lies at these steps below the address; what a step holds is not taken for a step.
    pub(super) fn url<'a>(&self, steps: impl IntoIterator<Item = &'a str>) -> Url {
        below(&self.base, steps)
    }

    /// To read what is at `url`.
    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url).timeout(TOTAL).header(header::ACCEPT, "application/json")
    }

    /// To bring JSON to `url`, which may take as long as this.
    pub(super) fn post(&self, url: Url, json: String, time: Duration) -> RequestBuilder {
        let request = self.client.post(url).timeout(time).body(json);
        request.header(header::CONTENT_TYPE, "application/json").header(header::ACCEPT, "application/json")
    }
}

/// The address of a server, as the field `field` has it, with a slash at its end.
pub(super) fn address(field: &str, url: &str) -> Result<Url, AskError> {
    let wrong = |problem: String| AskError::Settings(format!("{field}: {problem}"));
    let url = Url::parse(&format!("{}/", url.trim_end_matches('/')))
        .map_err(|error| wrong(format!("{url:?}: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("credentials do not belong into an address".to_owned()));
    }
    if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("{:?}: wanted http:// or https://", url.as_str())));
    }
    Ok(url)
}

/// The URL of what lies at these steps below `base`.
pub(super) fn below<'a>(base: &Url, steps: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // OK because `address` has seen that it can be a base
    url.path_segments_mut().unwrap().pop_if_empty().extend(steps);
    url
}

/// Sends a request, and reads its answer.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, AskError> {
    let unreachable = |error: reqwest::Error| AskError::Unreachable(told(&error));
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreachable)?;
        if body.len() + chunk.len() > LIMITS.bytes {
            return Err(AskError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

/// What a status means that is no report.
pub(super) fn refusal(status: StatusCode, remedy: &'static str) -> AskError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            AskError::Forbidden { status: status.as_u16(), remedy }
        }
        status => AskError::Unreachable(format!("it answered {}", status.as_u16())),
    }
}

/// A header's value that is not printed. None if it cannot be one.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
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
pub(super) mod tests {
    use rstest::rstest;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    /// Answers a request with each of these texts in turn. Returns its address, and later the requests.
    pub(crate) async fn serve(answers: &[&str]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let answers: Vec<_> = answers.iter().map(|answer| format!("HTTP/1.1 {answer}")).collect();
        let task = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(request.clone()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                requests.push(head + std::str::from_utf8(&body).unwrap());
            }
            requests
        });
        (url, task)
    }

    /// An answer for [`serve`].
    pub(crate) fn answer(status: &str, body: &str) -> String {
        format!("{status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[rstest]
    #[case("http://[")]
    #[case("http://user:secret@server")]
    #[case("data:text/plain,secret")]
    fn an_address_that_cannot_work_is_refused_at_its_field(#[case] url: &str) {
        let error = Server::new("spec.clair.url", url, None).err().unwrap();
        assert_eq!(error.as_str(), "InvalidSettings");
        let text = error.to_string();
        assert!(text.starts_with("spec.clair.url: ") && !text.contains("user:secret"), "{text}");
    }

    #[test]
    fn authorities_must_be_some() {
        let error = Server::new("spec.clair.url", "https://clair", Some("none")).err().unwrap();
        assert_eq!(error.to_string(), "spec.clair.caBundle: it holds no certificate in PEM");
    }

    #[test]
    fn a_step_stays_a_step_whatever_it_holds() {
        let server = Server::new("spec.harbor.url", "https://server/below/", None).unwrap();
        assert_eq!(server.url(["a", "b%2Fc", "d/e?f"]).as_str(), "https://server/below/a/b%252Fc/d%2Fe%3Ff");
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere() {
        let elsewhere = answer("302 Found\r\nlocation: http://127.0.0.1:1/", "");
        let (url, _task) = serve(&[&elsewhere]).await;
        let server = Server::new("spec.clair.url", &url, None).unwrap();
        assert_eq!(ask(server.get(server.url(["a"]))).await.unwrap().status, StatusCode::FOUND);
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
        let server = Server::new("spec.clair.url", &url, None).unwrap();
        let error = ask(server.get(server.url(["a"]))).await.err().unwrap();
        assert_eq!(error.as_str(), "TooLong");
    }
}
