use std::{error::Error, time::Duration};

use kube::core::Status;

/// Why the API server did not tell us what we asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It answered with an error, or not at all.
    #[error("{}", explain(.0))]
    Client(#[from] kube::Error),
    /// It broke a watch off with an error.
    #[error("{}", explain_status(.0))]
    Status(Box<Status>),
    /// It said nothing for too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It answered with more than we read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    /// Its answer is not what the API promises.
    #[error("the answer makes no sense: {0}")]
    Malformed(String),
}

impl Failure {
    /// The HTTP status of the API server's answer, if it gave one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Client(kube::Error::Api(status)) | Self::Status(status) => Some(status.code),
            _ => None,
        }
    }

    /// What to do about it where we know: about rights and identity.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        match self.code()? {
            401 => {
                Some("the API server does not know us: check the ServiceAccount's token or the kubeconfig")
            }
            403 => Some("grant the ClusterRole of docs/running-in-a-cluster.md"),
            _ => None,
        }
    }
}

/// Something could not be done at the API server. Says what, why, and what would help where we know.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct ClusterError {
    text: String,
    code: Option<u16>,
}

impl ClusterError {
    /// `doing` says what could not be done: `cannot write a verdict`.
    pub(super) fn new(doing: &str, failure: &Failure) -> Self {
        let remedy = match failure.code() {
            Some(403) => ": grant the rights of examples/kubernetes/controller-rbac.yaml",
            Some(401) => ": check the ServiceAccount's token or the kubeconfig",
            _ => "",
        };
        Self { text: format!("{doing}: {failure}{remedy}"), code: failure.code() }
    }

    /// The HTTP status of the API server's answer, if it gave one.
    pub fn code(&self) -> Option<u16> {
        self.code
    }
}

fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => explain_status(status),
        other => chain(other),
    }
}

fn explain_status(status: &Status) -> String {
    match status.message.as_str() {
        "" => format!("the API server answered {}", status.code),
        message => format!("the API server answered {}: {message}", status.code),
    }
}

/// An error with its causes, without saying twice what an outer one quotes already.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::Failure;

    fn answer(code: u16, message: &str) -> Failure {
        Failure::Client(kube::Error::Api(
            Status { code, message: message.to_owned(), ..Status::default() }.boxed(),
        ))
    }

    #[test]
    fn the_servers_own_words_are_passed_on() {
        assert_eq!(answer(403, "no").to_string(), "the API server answered 403: no");
        assert_eq!(answer(500, "").to_string(), "the API server answered 500");
    }

    #[test]
    fn missing_rights_name_their_remedy() {
        assert!(answer(403, "no").remedy().unwrap().contains("docs/running-in-a-cluster.md"));
        assert!(answer(401, "no").remedy().unwrap().contains("token"));
        assert_eq!(answer(500, "no").remedy(), None);
    }

    #[test]
    fn a_cause_is_named_once() {
        let inner = std::io::Error::other("connection refused");
        let failure = Failure::Client(kube::Error::Service(Box::new(inner)));
        assert_eq!(failure.to_string(), "ServiceError: connection refused");
    }
}
