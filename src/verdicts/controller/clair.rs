//! A Clair v4 that is asked for its report on a manifest, and is given those that it has not indexed.
//!
//! Clair never says when it has looked: it compares the packages that it knows with what it knows of
//! vulnerabilities at the moment that it is asked, so that moment is the time of the scan.
//!
//! Source: quay/clair `httptransport/api/v1/openapi.json`, `httptransport/matcher_v1.go`, `indexer_v1.go`; config
//! reference, "auth.psk".

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::http::{AskError, Server, address, ask, below, refusal};
use crate::{
    api::v1alpha1::ClairSource,
    decision::printable,
    image::Digest,
    review::ports::{ImageLayers, Pass},
};

/// As whom requests are signed where nobody says.
const ISSUER: &str = "tidewaiter";
/// How long a signature holds.
const VALIDITY: SignedDuration = SignedDuration::from_mins(5);
/// When to ask again where Clair has not read its first vulnerabilities yet …
const FIRST_UPDATE: SignedDuration = SignedDuration::from_mins(1);
/// … and where it is at an image. Doubled each time.
const AT_WORK: SignedDuration = SignedDuration::from_secs(30);
/// How long Clair may take to index an image. It answers when it is done, and stops if nobody waits.
const INDEXING: Duration = Duration::from_secs(600);
/// The longest text about an image that it could not index, in bytes.
const DETAIL: usize = 300;
/// What to look at if Clair lets nobody in.
const REMEDY: &str = "spec.clair.pskSecretRef and spec.clair.issuer against its auth.psk";

/// A Clair to ask.
pub(super) struct Clair {
    server: Server,
    indexer: Option<Url>,
    issuer: String,
}

/// What Clair says of a manifest that it was given; of far more that it says.
#[derive(Deserialize)]
struct Indexed {
    #[serde(default)]
    state: String,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    err: String,
}

impl Clair {
    /// Asks nobody yet.
    pub(super) fn new(settings: &ClairSource) -> Result<Self, AskError> {
        let server = Server::new("spec.clair.url", &settings.url, settings.ca_bundle.as_deref())?;
        let indexer = settings.indexer_url.as_deref().map(|url| address("spec.clair.indexerUrl", url));
        let issuer = settings.issuer.clone().unwrap_or_else(|| ISSUER.to_owned());
        Ok(Self { server, indexer: indexer.transpose()?, issuer })
    }

    /// The report on the manifest `digest`, as JSON; none if it has not been indexed. The request is signed with
    /// `key`, which is in base64; not at all without.
    pub(super) async fn report(
        &self,
        digest: &Digest,
        key: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let url = self.server.url(["matcher", "api", "v1", "vulnerability_report", digest.as_str()]);
        let answer = ask(self.signed(self.server.get(url), key, now)?).await?;
        match answer.status {
            // Its definition says 201, and it answers 200.
            StatusCode::OK | StatusCode::CREATED => Ok(Some(answer.body)),
            StatusCode::ACCEPTED => {
                let why = "it has not read its first vulnerabilities yet";
                Err(AskError::NotYet { why, again: FIRST_UPDATE })
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refusal(status, REMEDY)),
        }
    }

    /// Has it index an image, and waits for that. It fetches the layers itself, with what the registry wants for it.
    pub(super) async fn index(
        &self,
        image: &ImageLayers,
        key: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<(), AskError> {
        let steps = ["indexer", "api", "v1", "index_report"];
        let url =
            self.indexer.as_ref().map_or_else(|| self.server.url(steps), |indexer| below(indexer, steps));
        let shown = match &image.pass {
            None => None,
            Some(Pass::Token(text)) => Some(&**text),
            Some(Pass::Password(text)) if url.scheme() == "https" => Some(&**text),
            Some(Pass::Password(_)) => {
                return Err(AskError::Failed(
                    "its registry gives no tokens, and a password is not given to a Clair without TLS: set https:// in \
                     spec.clair.url or spec.clair.indexerUrl"
                        .to_owned(),
                ));
            }
        };
        let request = self.server.post(url, manifest(image, shown).to_string(), INDEXING);
        let answer = ask(self.signed(request, key, now)?).await?;
        let said = |text: &str| {
            // It has no business to repeat what it was shown, and it might.
            let text = shown.map_or_else(|| text.to_owned(), |shown| text.replace(shown, "****"));
            printable(&text, DETAIL)
        };
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => indexed(&answer.body, said),
            // What it is at already, and what it has indexed so already.
            StatusCode::ACCEPTED | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Err(at_work()),
            status @ (StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR) => {
                let why = said(&String::from_utf8_lossy(&answer.body));
                Err(AskError::Failed(format!(
                    "it cannot index the image: it answered {}: {why}",
                    status.as_u16()
                )))
            }
            status => Err(refusal(status, REMEDY)),
        }
    }

    fn signed(
        &self,
        request: RequestBuilder,
        key: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<RequestBuilder, AskError> {
        Ok(match key {
            Some(key) => request.bearer_auth(self.token(key, now)?),
            None => request,
        })
    }

    /// A JSON Web Token (RFC 7519) that holds for five minutes, by HMAC with SHA-256.
    fn token(&self, key: &[u8], now: Timestamp) -> Result<String, AskError> {
        let key = STANDARD.decode(key.trim_ascii()).ok().filter(|key| !key.is_empty());
        let Some(key) = key else {
            return Err(AskError::Settings("the key of spec.clair.pskSecretRef is no base64".to_owned()));
        };
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let claims = json!({"iss": self.issuer, "iat": now.as_second(), "nbf": now.as_second(),
            "exp": (now + VALIDITY).as_second()});
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }
}

/// A manifest as Clair has it.
fn manifest(image: &ImageLayers, shown: Option<&str>) -> Value {
    let layer = |(digest, url): &(Digest, String)| {
        let headers = shown.map_or_else(|| json!({}), |shown| json!({"Authorization": [shown]}));
        json!({"hash": digest.as_str(), "uri": url, "headers": headers})
    };
    let layers: Vec<_> = image.layers.iter().map(layer).collect();
    json!({"hash": image.manifest.as_str(), "layers": layers})
}

/// Whether an index report says that it is done.
fn indexed(body: &[u8], said: impl Fn(&str) -> String) -> Result<(), AskError> {
    let unreadable = |_| AskError::Unreachable("its index report is no JSON of its kind".to_owned());
    let Indexed { state, success, err } = serde_json::from_slice(body).map_err(unreadable)?;
    match (state.as_str(), success) {
        ("IndexFinished", true) => Ok(()),
        ("CheckManifest" | "FetchLayers" | "ScanLayers" | "Coalesce" | "IndexManifest", _) => Err(at_work()),
        (state, _) => {
            let state = printable(state, 64);
            Err(AskError::Failed(format!("it cannot index the image: {state}: {}", said(&err))))
        }
    }
}

/// That it is at an image, and is asked again.
pub(super) fn at_work() -> AskError {
    AskError::NotYet { why: "it is indexing the image", again: AT_WORK }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::http::tests::{answer, serve},
        *,
    };

    fn clair(url: &str) -> Clair {
        Clair::new(&ClairSource { url: url.to_owned(), ..ClairSource::default() }).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn image(pass: Option<Pass>) -> ImageLayers {
        let layer = Digest::sha256(b"layer");
        let url = format!("https://registry.example.com/v2/acme/app/blobs/{layer}");
        ImageLayers {
            manifest: Digest::sha256(b"manifest"),
            platform: None,
            layers: vec![(layer, url)],
            pass,
        }
    }

    #[rstest]
    #[case("202 Accepted", "NotYet")]
    #[case("401 Unauthorized", "Forbidden")]
    #[case("403 Forbidden", "Forbidden")]
    #[case("500 Internal Server Error", "Unreachable")]
    #[case("302 Found\r\nlocation: http://127.0.0.1:1/", "Unreachable")]
    #[case("204 No Content", "Unreachable")]
    #[tokio::test]
    async fn what_is_no_report_is_told_apart(#[case] status: &str, #[case] reason: &str) {
        let (url, _task) = serve(&[&answer(status, "")]).await;
        let error = clair(&url).report(&Digest::sha256(b""), None, now()).await.unwrap_err();
        assert_eq!(error.as_str(), reason, "{error}");
    }

    #[tokio::test]
    async fn a_report_is_asked_for_by_digest_and_signed() {
        let (url, task) = serve(&[&answer("200 OK", "{}")]).await;
        let digest = Digest::sha256(b"");
        let key = STANDARD.encode("a key that both know");
        let clair = clair(&format!("{url}/clair/"));
        let report = clair.report(&digest, Some(format!("{key}\n").as_bytes()), now()).await.unwrap();
        assert_eq!(report.unwrap(), b"{}");
        let head = task.await.unwrap().remove(0);
        assert!(
            head.starts_with(&format!("GET /clair/matcher/api/v1/vulnerability_report/{digest} ")),
            "{head}"
        );
        let line = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let parts: Vec<_> = line.split('.').collect();
        let part = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
        let claims: Value = serde_json::from_slice(&part(1)).unwrap();
        assert_eq!(claims["iss"], "tidewaiter");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key that both know");
        hmac::verify(&key, format!("{}.{}", parts[0], parts[1]).as_bytes(), &part(2)).unwrap();
    }

    #[tokio::test]
    async fn a_key_that_is_no_base64_is_told_without_it() {
        let clair = clair("http://127.0.0.1:1");
        let error = clair.report(&Digest::sha256(b""), Some(b"hunter2!"), now()).await.unwrap_err();
        assert_eq!(error.as_str(), "InvalidSettings");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[rstest]
    #[case("201 Created", r#"{"state": "IndexFinished", "success": true, "packages": {}}"#, None)]
    #[case("200 OK", r#"{"state": "IndexFinished", "success": true}"#, None)]
    #[case("201 Created", r#"{"state": "ScanLayers", "success": false}"#, Some("NotYet"))]
    #[case("201 Created", r#"{"state": "IndexFinished"}"#, Some("ScanFailed"))]
    #[case("201 Created", r#"{"state": "IndexError", "err": "no such layer"}"#, Some("ScanFailed"))]
    #[case("201 Created", r#"{"state": "Rejoiced", "success": true}"#, Some("ScanFailed"))]
    #[case("201 Created", "{}", Some("ScanFailed"))]
    #[case("201 Created", "", Some("Unreachable"))]
    #[case("202 Accepted", "", Some("NotYet"))]
    #[case("412 Precondition Failed", "", Some("NotYet"))]
    #[case("400 Bad Request", r#"{"code": "bad-request", "message": "no tar"}"#, Some("ScanFailed"))]
    #[case("500 Internal Server Error", "{}", Some("ScanFailed"))]
    #[case("503 Service Unavailable", "", Some("Unreachable"))]
    #[case("401 Unauthorized", "", Some("Forbidden"))]
    #[case("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/", "", Some("Unreachable"))]
    #[tokio::test]
    async fn only_what_is_indexed_to_the_end_is_asked_about(
        #[case] status: &str,
        #[case] body: &str,
        #[case] reason: Option<&str>,
    ) {
        let (url, _task) = serve(&[&answer(status, body)]).await;
        let answer = clair(&url).index(&image(None), None, now()).await;
        assert_eq!(answer.as_ref().err().map(AskError::as_str), reason, "{answer:?}");
    }

    #[tokio::test]
    async fn layers_go_to_the_indexer_with_what_the_registry_wants_for_them_and_no_error_repeats_it() {
        let body = r#"{"state": "IndexError", "err": "GET failed with Bearer hunter2"}"#;
        let (indexer, task) = serve(&[&answer("201 Created", body)]).await;
        let settings = ClairSource {
            url: "http://127.0.0.1:1".to_owned(),
            indexer_url: Some(indexer),
            ..ClairSource::default()
        };
        let image = image(Some(Pass::Token("Bearer hunter2".into())));
        assert!(!format!("{image:?}").contains("hunter2"));
        let clair = Clair::new(&settings).unwrap();
        let key = STANDARD.encode("key");
        let error = clair.index(&image, Some(key.as_bytes()), now()).await.unwrap_err().to_string();
        assert_eq!(error, "it cannot index the image: IndexError: GET failed with ****");
        let request = task.await.unwrap().remove(0);
        assert!(request.starts_with("POST /indexer/api/v1/index_report "), "{request}");
        assert!(request.contains("authorization: Bearer ey"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let (layer, url) = &image.layers[0];
        let layers = json!([{"hash": layer, "uri": url, "headers": {"Authorization": ["Bearer hunter2"]}}]);
        let expected = json!({"hash": image.manifest, "layers": layers});
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_password_is_not_given_away_without_tls() {
        let image = image(Some(Pass::Password("Basic aHVudGVyMg==".into())));
        let error = clair("http://127.0.0.1:1").index(&image, None, now()).await.unwrap_err();
        assert!(error.to_string().contains("a password is not given to a Clair without TLS"), "{error}");
        let error = clair("https://127.0.0.1:1").index(&image, None, now()).await.unwrap_err();
        assert_eq!(error.as_str(), "Unreachable");
    }
}
