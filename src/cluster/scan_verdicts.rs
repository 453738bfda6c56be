use std::time::Duration;

use kube::{
    Api, Client, CustomResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use super::{failure::Failure, watch::in_time};
use crate::{api::v1alpha1::ImageScanVerdict, image::Digest};

/// The most verdicts on one digest that are read: as many sources as a policy can name, twice over.
const LIMIT: u32 = 32;
/// How long the answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Why the cluster does not say what scanners have said of a digest.
#[derive(Debug, thiserror::Error)]
pub enum ScanVerdictsError {
    /// It does not know the resource.
    #[error(
        "the cluster has no ImageScanVerdicts: install the definitions with `tidewaiter crds | kubectl apply -f -`"
    )]
    Undefined,
    /// We may not ask.
    #[error("{0}: it takes the right to list imagescanverdicts in the group tidewaiter.dev")]
    Forbidden(String),
    /// It cannot find verdicts by digest.
    #[error(
        "{0}: renew the definitions with `tidewaiter crds | kubectl apply -f -`, on Kubernetes 1.31 or later"
    )]
    NotSelectable(String),
    /// There are more than are read.
    #[error("{0} has more than {LIMIT} scan verdicts: delete those that nobody needs")]
    TooMany(Digest),
    /// It gave no answer, or one that we cannot use.
    #[error("the cluster's scan verdicts cannot be read: {0}")]
    Unanswered(String),
}

/// The ImageScanVerdicts on exactly this digest, by name, with their `spec`; null where there is none. Asks once, for at
/// most 32 of them.
pub async fn scan_verdicts(
    client: Client,
    digest: &Digest,
) -> Result<Vec<(Box<str>, Value)>, ScanVerdictsError> {
    let resource: ApiResource = ImageScanVerdict::api_resource();
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let params = ListParams::default().fields(&format!("spec.digest={digest}")).limit(LIMIT);
    let list = in_time(ANSWER_TIME, api.list(&params)).await.map_err(explain)?;
    if list.metadata.continue_.is_some_and(|token| !token.is_empty()) {
        return Err(ScanVerdictsError::TooMany(digest.clone()));
    }
    let read = |mut object: DynamicObject| {
        let spec = object.data["spec"].take();
        (object.metadata.name.unwrap_or_default().into(), spec)
    };
    Ok(list.items.into_iter().map(read).collect())
}

fn explain(failure: Failure) -> ScanVerdictsError {
    match failure.code() {
        Some(400) => ScanVerdictsError::NotSelectable(failure.to_string()),
        Some(403) => ScanVerdictsError::Forbidden(failure.to_string()),
        Some(404) => ScanVerdictsError::Undefined,
        _ => ScanVerdictsError::Unanswered(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn told(code: u16) -> String {
        let status = Status { code, message: "no".to_owned(), ..Status::default() }.boxed();
        explain(Failure::Client(kube::Error::Api(status))).to_string()
    }

    #[test]
    fn an_error_says_what_to_do() {
        assert!(told(404).contains("tidewaiter crds | kubectl apply"));
        assert!(told(403).contains("answered 403: no: it takes the right to list imagescanverdicts"));
        assert!(told(400).contains("renew the definitions"));
        assert!(told(500).contains("cannot be read: the API server answered 500"));
    }
}
