//! What the webhook tells of its work.

use std::time::Duration;

use super::envelope::Operation;
use crate::{decision::Decision, review::Stage};

/// Hears what the webhook has done, for metrics and the decision log. Must not wait for anybody.
pub trait Reporter: Send + Sync + 'static {
    /// An AdmissionReview was answered.
    fn reviewed(&self, report: &Report<'_>);

    /// A request was refused before it became a review.
    fn rejected(&self, rejection: Rejection);

    /// A review broke off by a fault of ours. It was answered with a denial.
    fn panicked(&self);
}

/// One answered AdmissionReview.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// By which the denial and the log line find one another.
    pub decision_id: &'a str,
    /// The request's uid.
    pub uid: &'a str,
    /// Which webhook was asked.
    pub stage: Stage,
    /// What was being done.
    pub operation: Operation,
    /// The object's kind, as in the request.
    pub kind: &'a str,
    /// The request's namespace.
    pub namespace: &'a str,
    /// The object's name, or its `generateName` with a star behind.
    pub name: &'a str,
    /// Who asked.
    pub user: &'a str,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Whether somebody outside had to be asked.
    pub waited: bool,
    /// From the request's last byte to the answer.
    pub duration: Duration,
    /// The decision; without images where there was nothing to judge.
    pub decision: &'a Decision,
    /// How many warnings were sent.
    pub warnings: usize,
    /// Why the request was refused before its images were judged; none where they were.
    pub unjudged: Option<&'a str>,
}

impl Report<'_> {
    /// Whether the request was admitted.
    pub fn allowed(&self) -> bool {
        self.unjudged.is_none() && self.decision.allowed()
    }
}

/// Why a request never became a review.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rejection {
    /// The body broke off: 400.
    Incomplete,
    /// The body is no AdmissionReview that we can answer: 400.
    Malformed,
    /// The content type is not JSON: 415.
    MediaType,
    /// The method is not POST: 405.
    Method,
    /// There is nothing at this path: 404.
    NotFound,
    /// The body did not arrive in time: 408.
    Slow,
    /// The body is larger than 8 MiB: 413.
    TooLarge,
}

impl Rejection {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Malformed => "malformed",
            Self::MediaType => "media_type",
            Self::Method => "method",
            Self::NotFound => "not_found",
            Self::Slow => "slow",
            Self::TooLarge => "too_large",
        }
    }
}
