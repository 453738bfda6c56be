//! A Quay that is asked what its security scanner says of a manifest. It cannot be told to scan.
//!
//! Quay compares what the manifest holds with what its scanner knows when it is asked, so that moment is the time of
//! the scan. It does not scan indexes.
//!
//! Source: quay/quay `endpoints/api/secscan.py`, `data/secscan_model/datatypes.py`.

use http::StatusCode;
use jiff::SignedDuration;
use serde::Deserialize;

use super::http::{AskError, Server, ask, refusal, secret};
use crate::{
    api::v1alpha1::QuaySource,
    decision::printable,
    image::{Digest, Repository},
};

/// When to ask again where the image is queued. Doubled each time.
const QUEUED: SignedDuration = SignedDuration::from_mins(1);
/// What to look at if Quay lets nobody in.
const REMEDY: &str = "spec.quay.tokenSecretRef, and that the token's application may view the repository";

/// A Quay to ask.
pub(super) struct Quay {
    server: Server,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    status: String,
}

impl Quay {
    /// Asks nobody yet.
    pub(super) fn new(settings: &QuaySource) -> Result<Self, AskError> {
        let server = Server::new("spec.quay.url", &settings.url, settings.ca_bundle.as_deref())?;
        Ok(Self { server })
    }

    /// The report on the manifest `digest` in `place`, as JSON; none if its scanner does not support that, as with every
    /// index. Whoever asks shows `token`; nothing without.
    pub(super) async fn report(
        &self,
        place: &Repository,
        digest: &Digest,
        token: Option<&str>,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let steps = ["api", "v1", "repository"].into_iter().chain(place.path().split('/'));
        let mut url = self.server.url(steps.chain(["manifest", digest.as_str(), "security"]));
        url.set_query(Some("vulnerabilities=true"));
        let mut request = self.server.get(url);
        if let Some(token) = token {
            let unusable =
                || AskError::Settings("the token of spec.quay.tokenSecretRef is no OAuth token".to_owned());
            let shown = secret(&format!("Bearer {token}")).ok_or_else(unusable)?;
            request = request.header(http::header::AUTHORIZATION, shown);
        }
        let answer = ask(request).await?;
        match answer.status {
            StatusCode::OK => scanned(answer.body),
            StatusCode::NOT_FOUND => Err(AskError::NoReport(
                "Quay does not have this digest, or does not show it to the token's application".to_owned(),
            )),
            status => Err(refusal(status, REMEDY)),
        }
    }
}

/// The answer, if it is one.
fn scanned(body: Vec<u8>) -> Result<Option<Vec<u8>>, AskError> {
    let unreadable = |_| AskError::Unreachable("its answer is no JSON of its kind".to_owned());
    let Said { status } = serde_json::from_slice(&body).map_err(unreadable)?;
    match &*status {
        "scanned" => Ok(Some(body)),
        "queued" => Err(AskError::NotYet { why: "Quay has the image in its queue", again: QUEUED }),
        "unsupported" => Ok(None),
        other => Err(AskError::Failed(format!("Quay's scan of the image is {:?}", printable(other, 64)))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::http::tests::{answer, serve},
        *,
    };

    #[rstest]
    #[case("200 OK", r#"{"status": "scanned", "data": {}}"#, None)]
    #[case("200 OK", r#"{"status": "queued", "data": null}"#, Some("NotYet"))]
    #[case("200 OK", r#"{"status": "failed", "data": null}"#, Some("ScanFailed"))]
    #[case("200 OK", r#"{"status": "manifest_layer_too_large"}"#, Some("ScanFailed"))]
    #[case("200 OK", "{}", Some("ScanFailed"))]
    #[case("200 OK", "<html>", Some("Unreachable"))]
    #[case("404 Not Found", "", Some("NoReport"))]
    #[case("403 Forbidden", "", Some("Forbidden"))]
    #[case("302 Found\r\nlocation: http://127.0.0.1:1/", "", Some("Unreachable"))]
    #[tokio::test]
    async fn only_what_is_scanned_is_an_answer(
        #[case] status: &str,
        #[case] body: &str,
        #[case] reason: Option<&str>,
    ) {
        let (url, task) = serve(&[&answer(status, body)]).await;
        let quay = Quay::new(&QuaySource { url, ..QuaySource::default() }).unwrap();
        let place = "quay.example.com/team/web".parse().unwrap();
        let found = quay.report(&place, &Digest::sha256(b""), Some("hunter2")).await;
        assert_eq!(found.as_ref().err().map(AskError::as_str), reason, "{found:?}");
        let request = task.await.unwrap().remove(0);
        let digest = Digest::sha256(b"");
        let line =
            format!("GET /api/v1/repository/team/web/manifest/{digest}/security?vulnerabilities=true ");
        assert!(
            request.starts_with(&line) && request.contains("authorization: Bearer hunter2\r\n"),
            "{request}"
        );
    }

    #[test]
    fn what_its_scanner_does_not_support_is_told_from_what_it_failed_at() {
        assert_eq!(scanned(br#"{"status": "unsupported", "data": null}"#.to_vec()).unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_one_is_told_without_it() {
        let quay =
            Quay::new(&QuaySource { url: "http://127.0.0.1:1".to_owned(), ..QuaySource::default() }).unwrap();
        let place = "quay.example.com/team/web".parse().unwrap();
        let error = quay.report(&place, &Digest::sha256(b""), Some("hunter2\n!")).await.unwrap_err();
        assert_eq!(error.as_str(), "InvalidSettings");
        assert!(!error.to_string().contains("hunter2"));
    }
}
