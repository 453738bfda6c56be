//! A Harbor that is asked for the report of its own scanner on a digest. It cannot be told to scan.
//!
//! Two requests: the artifact says whether it is an index, what is in that, and whether its scan has come to a good
//! end; the report itself says none of this, and a clean one does not even say what it is about.
//!
//! Source: goharbor/harbor `api/v2.0/swagger.yaml`, "artifact" and "additions/vulnerabilities".

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode};
use jiff::SignedDuration;
use reqwest::RequestBuilder;
use serde::Deserialize;

use super::http::{AskError, Server, ask, refusal};
use crate::{
    api::v1alpha1::HarborSource,
    decision::printable,
    image::{Digest, Repository},
};

/// When to ask again where a scan is under way. Doubled each time.
const AT_WORK: SignedDuration = SignedDuration::from_mins(1);
/// What to look at if Harbor lets nobody in.
const REMEDY: &str =
    "spec.harbor.credentialsSecretRef, and that the account may read the project's artifacts";
/// In which forms a report can be read, the newest first.
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/vnd.security.vulnerability.report; version=1.1, application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0",
);

/// A Harbor to ask.
pub(super) struct Harbor {
    server: Server,
}

/// What Harbor has on an artifact.
#[derive(Debug)]
pub(super) struct Kept {
    /// The report, as JSON.
    pub(super) report: Vec<u8>,
    /// The digests of what is in the index; empty if it is none.
    pub(super) children: Vec<Digest>,
}

#[derive(Deserialize)]
struct Artifact {
    digest: Option<Digest>,
    references: Option<Vec<Reference>>,
    scan_overview: Option<BTreeMap<String, Overview>>,
}

#[derive(Deserialize)]
struct Reference {
    child_digest: Digest,
}

#[derive(Deserialize)]
struct Overview {
    #[serde(default)]
    scan_status: String,
    complete_percent: Option<f64>,
}

impl Harbor {
    /// Asks nobody yet.
    pub(super) fn new(settings: &HarborSource) -> Result<Self, AskError> {
        let server = Server::new("spec.harbor.url", &settings.url, settings.ca_bundle.as_deref())?;
        Ok(Self { server })
    }

    /// What it has on `digest` in `place`, of which the first step is the project. `login` is a user name and a
    /// password; nobody's without.
    pub(super) async fn report(
        &self,
        place: &Repository,
        digest: &Digest,
        login: Option<&(String, String)>,
    ) -> Result<Kept, AskError> {
        let Some((project, repository)) = place.path().split_once('/') else {
            let problem = "Harbor has no image outside a project: its name must have a slash behind the host";
            return Err(AskError::NoReport(problem.to_owned()));
        };
        // A name of several steps is one here, which Harbor wants to be escaped twice.
        let repository = repository.replace('/', "%2F");
        let artifact =
            ["api", "v2.0", "projects", project, "repositories", &repository, "artifacts", digest.as_str()];
        let mut url = self.server.url(artifact);
        url.set_query(Some("with_scan_overview=true"));
        let answer = ask(shown(self.server.get(url), login)).await?;
        let children = match answer.status {
            StatusCode::OK => children(&answer.body, digest)?,
            StatusCode::NOT_FOUND => {
                return Err(AskError::NoReport("Harbor does not have this digest".to_owned()));
            }
            status => return Err(refusal(status, REMEDY)),
        };
        let url = self.server.url(artifact.into_iter().chain(["additions", "vulnerabilities"]));
        let answer = ask(shown(self.server.get(url), login)).await?;
        match answer.status {
            StatusCode::OK if answer.body.trim_ascii() != b"{}" => Ok(Kept { report: answer.body, children }),
            StatusCode::OK | StatusCode::NOT_FOUND => Err(unscanned()),
            status => Err(refusal(status, REMEDY)),
        }
    }
}

fn shown(request: RequestBuilder, login: Option<&(String, String)>) -> RequestBuilder {
    let request = request.header("x-accept-vulnerabilities", ACCEPTED);
    match login {
        Some((name, password)) => request.basic_auth(name, Some(password)),
        None => request,
    }
}

/// What is in an artifact whose scan has come to a good end.
fn children(body: &[u8], wanted: &Digest) -> Result<Vec<Digest>, AskError> {
    let unreadable = |what: &str| AskError::Unreachable(format!("its answer on the artifact {what}"));
    let artifact: Artifact =
        serde_json::from_slice(body).map_err(|_| unreadable("is no JSON of its kind"))?;
    if artifact.digest.as_ref() != Some(wanted) {
        return Err(unreadable("is about another digest than was asked for"));
    }
    let children: Vec<_> =
        artifact.references.into_iter().flatten().map(|reference| reference.child_digest).collect();
    let overviews = artifact.scan_overview.unwrap_or_default();
    if overviews.is_empty() {
        return Err(unscanned());
    }
    for overview in overviews.values() {
        match &*overview.scan_status {
            "Success" => {}
            "NotScanned" | "" => return Err(unscanned()),
            "Pending" | "Queued" | "Running" | "Scheduled" => {
                return Err(AskError::NotYet { why: "Harbor is scanning the image", again: AT_WORK });
            }
            status => {
                let status = printable(status, 64);
                return Err(AskError::Failed(format!("Harbor's scan of the image ended as {status:?}")));
            }
        }
        if let Some(percent) = overview.complete_percent
            && percent < 100.0
        {
            let problem = format!("Harbor has scanned {percent} % of what is in the index, and not all");
            return Err(AskError::Failed(problem));
        }
        // Without it nobody can tell whether everything in the index was looked at.
        if overview.complete_percent.is_none() && !children.is_empty() {
            return Err(AskError::Failed(
                "Harbor does not say how much of the index it has scanned".to_owned(),
            ));
        }
    }
    Ok(children)
}

fn unscanned() -> AskError {
    AskError::NoReport(
        "Harbor has no report on the image: let it scan images when they are pushed".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{
        super::http::tests::{answer, serve},
        *,
    };

    fn artifact(overview: &Value, references: &Value) -> String {
        let overview = json!({"application/vnd.security.vulnerability.report; version=1.1": overview});
        json!({"digest": Digest::sha256(b""), "references": references, "scan_overview": overview})
            .to_string()
    }

    #[rstest]
    #[case(json!({"scan_status": "Success", "complete_percent": 100}), json!(null), Ok(0))]
    #[case(json!({"scan_status": "Success"}), json!([]), Ok(0))]
    #[case(json!({"scan_status": "Success", "complete_percent": 100}), json!([{"child_digest": Digest::sha256(b"c")}]), Ok(1))]
    #[case(json!({"scan_status": "Success", "complete_percent": 50}), json!([{"child_digest": Digest::sha256(b"c")}]), Err("ScanFailed"))]
    #[case(json!({"scan_status": "Success"}), json!([{"child_digest": Digest::sha256(b"c")}]), Err("ScanFailed"))]
    #[case(json!({"scan_status": "Success"}), json!([{"child_digest": "c"}]), Err("Unreachable"))]
    #[case(json!({"scan_status": "Running", "complete_percent": 100}), json!(null), Err("NotYet"))]
    #[case(json!({"scan_status": "Pending"}), json!(null), Err("NotYet"))]
    #[case(json!({"scan_status": "Error"}), json!(null), Err("ScanFailed"))]
    #[case(json!({"scan_status": "Rejoiced"}), json!(null), Err("ScanFailed"))]
    #[case(json!({}), json!(null), Err("NoReport"))]
    fn only_a_scan_that_has_ended_well_and_of_all_is_one(
        #[case] overview: Value,
        #[case] references: Value,
        #[case] expected: Result<usize, &str>,
    ) {
        let found = children(artifact(&overview, &references).as_bytes(), &Digest::sha256(b""));
        assert_eq!(found.map(|found| found.len()).map_err(|error| error.as_str()), expected);
    }

    #[test]
    fn what_was_never_scanned_has_no_report_and_another_artifact_none_of_this_one() {
        let body = json!({"digest": Digest::sha256(b"")}).to_string();
        let reason = |wanted| children(body.as_bytes(), &wanted).unwrap_err().as_str();
        assert_eq!(reason(Digest::sha256(b"")), "NoReport");
        assert_eq!(reason(Digest::sha256(b"other")), "Unreachable");
    }

    #[tokio::test]
    async fn both_requests_name_the_digest_and_escape_the_repository_twice() {
        let body = artifact(&json!({"scan_status": "Success"}), &json!(null));
        let (url, task) = serve(&[&answer("200 OK", &body), &answer("200 OK", "{\"a\": 1}")]).await;
        let harbor = Harbor::new(&HarborSource { url, ..HarborSource::default() }).unwrap();
        let login = ("robot$reader".to_owned(), "hunter2".to_owned());
        let place = "harbor.example.com/shop/team/web".parse().unwrap();
        let kept = harbor.report(&place, &Digest::sha256(b""), Some(&login)).await.unwrap();
        assert_eq!(kept.report, b"{\"a\": 1}");
        let base = format!(
            "GET /api/v2.0/projects/shop/repositories/team%252Fweb/artifacts/{}",
            Digest::sha256(b"")
        );
        let requests = task.await.unwrap();
        assert!(requests[0].starts_with(&format!("{base}?with_scan_overview=true ")), "{}", requests[0]);
        assert!(requests[1].starts_with(&format!("{base}/additions/vulnerabilities ")), "{}", requests[1]);
        for request in requests {
            assert!(request.contains("authorization: Basic cm9ib3QkcmVhZGVyOmh1bnRlcjI=\r\n"), "{request}");
            assert!(request.contains("version=1.1, application/vnd.scanner.adapter"), "{request}");
        }
    }

    #[rstest]
    #[case("404 Not Found", "", "NoReport")]
    #[case("200 OK", " {} ", "NoReport")]
    #[case("401 Unauthorized", "", "Forbidden")]
    #[case("302 Found\r\nlocation: http://127.0.0.1:1/", "", "Unreachable")]
    #[case("500 Internal Server Error", "", "Unreachable")]
    #[tokio::test]
    async fn no_report_is_no_clean_one(#[case] status: &str, #[case] body: &str, #[case] reason: &str) {
        let found = artifact(&json!({"scan_status": "Success"}), &json!(null));
        let (url, _task) = serve(&[&answer("200 OK", &found), &answer(status, body)]).await;
        let harbor = Harbor::new(&HarborSource { url, ..HarborSource::default() }).unwrap();
        let place = "harbor.example.com/shop/web".parse().unwrap();
        let error = harbor.report(&place, &Digest::sha256(b""), None).await.unwrap_err();
        assert_eq!(error.as_str(), reason, "{error}");
    }
}
