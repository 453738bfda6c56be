//! One AdmissionReview from its bytes to the bytes of the answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    envelope::{self, AdmissionRequest, AdmissionResponse, EnvelopeError, Operation},
    report::{Report, Reporter},
};
use crate::{
    decision::{Decision, Refusal, denial, printable, warnings},
    review::{ImageSlot, Question, ReviewedObject, Reviewer, Stage},
    workload::{Document, ExtractError, Patch, Pin, UnsupportedType, Workload, WorkloadKind, cut},
};

/// How many reviews may wait for somebody outside at once. Beyond that the answer is an immediate no:
/// a queue that nobody's deadline survives helps nobody.
const WAITING_LIMIT: usize = 2048;
/// The longest part of a review's time that is kept back for the way home.
const LONGEST_MARGIN: Duration = Duration::from_secs(1);
/// The time of a review whose caller does not say how long it waits: the API server's own default
/// (`timeoutSeconds` in `admissionregistration.k8s.io/v1`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// About how many bytes an audit annotation takes up at most.
const ANNOTATION_LIMIT: usize = 1024;
/// The most bytes of a kind, a namespace or a name that are kept: the longest that Kubernetes takes. A caller
/// that is no API server may send more, and each is in a line of the decision log.
const NAME_LIMIT: usize = 253;

/// Answers AdmissionReviews. One for the whole process, shared by all its threads.
pub struct Admission {
    reviewer: Arc<Reviewer>,
    reporter: Arc<dyn Reporter>,
    runtime: Handle,
    waiting: Arc<Semaphore>,
}

/// Why a request was refused before its images were judged.
#[derive(Debug, thiserror::Error)]
enum Unjudged {
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error("the review broke off by a fault of ours; tell your cluster's operator the decision id")]
    Panicked,
    #[error("too many reviews wait for an answer from elsewhere; try again in a moment")]
    Overloaded,
    #[error(transparent)]
    Type(#[from] UnsupportedType),
}

impl Unjudged {
    /// The stable name of the trouble, for the denial, the audit log and the decision log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Extract(error) => error.reason(),
            Self::Panicked => "InternalFault",
            Self::Overloaded => "Overloaded",
            Self::Type(error) => error.reason(),
        }
    }
}

impl Admission {
    /// Reviews that must wait do so on `runtime`, which must have its timer enabled.
    pub fn new(reviewer: Arc<Reviewer>, reporter: Arc<dyn Reporter>, runtime: Handle) -> Self {
        Self { reviewer, reporter, runtime, waiting: Arc::new(Semaphore::new(WAITING_LIMIT)) }
    }

    /// The same, with room for no more than so many reviews that wait.
    #[cfg(test)]
    pub(super) fn with_room_for(self, reviews: usize) -> Self {
        Self { waiting: Arc::new(Semaphore::new(reviews)), ..self }
    }

    /// When a review that came at `now` must be answered, by what its caller says about its patience.
    ///
    /// A tenth of the time, at most a second, is kept back.
    pub fn deadline(now: Instant, timeout: Option<Duration>) -> Instant {
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        now + timeout - (timeout / 10).min(LONGEST_MARGIN)
    }

    /// The answer to the AdmissionReview in `body`, before `deadline`.
    ///
    /// An error means that the body cannot be answered as a review. Everything else is an answer: a
    /// panic is a denial.
    pub async fn answer(
        self: &Arc<Self>,
        stage: Stage,
        body: Bytes,
        started: Instant,
        deadline: Instant,
    ) -> Result<Vec<u8>, EnvelopeError> {
        // Unwinding leaves nothing half done: a review shares nothing but caches that lock no panic in.
        let now = catch_unwind(AssertUnwindSafe(|| self.answer_now(stage, &body, started)));
        match now {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return self.answer_panic(stage, &body, started),
        }
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            return self.refuse(stage, &body, started, &Unjudged::Overloaded);
        };
        let (this, bytes) = (self.clone(), body.clone());
        let review = async move {
            let answer = this.answer_waiting(stage, &bytes, started, deadline).await;
            drop(permit);
            answer
        };
        match self.runtime.spawn(review).await {
            Ok(answer) => answer,
            Err(_) => self.answer_panic(stage, &body, started),
        }
    }

    /// The answer if it needs nobody outside; none if it does.
    fn answer_now(
        &self,
        stage: Stage,
        body: &[u8],
        started: Instant,
    ) -> Result<Option<Vec<u8>>, EnvelopeError> {
        let (head, workload) = open(body)?;
        let review = Review { stage, started, waited: false, head };
        let workload = match workload {
            Ok(Some(workload)) => workload,
            Ok(None) => return Ok(Some(self.finish_unasked(&review))),
            Err(trouble) => return Ok(Some(self.finish_unjudged(&review, &trouble))),
        };
        let object = ReviewedObject::new(&workload);
        let question = object.question(stage, &review.head.namespace);
        let decision = self.reviewer.review_now(&question);
        Ok(decision.map(|decision| self.finish(&review, &workload, &question, &decision)))
    }

    /// The answer, from whoever must be asked.
    ///
    /// Reads the body once more: what [`answer_now`](Self::answer_now) read borrows from a frame that is
    /// gone, and waiting for a registry costs far more.
    async fn answer_waiting(
        &self,
        stage: Stage,
        body: &[u8],
        started: Instant,
        deadline: Instant,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let (head, workload) = open(body)?;
        let review = Review { stage, started, waited: true, head };
        let workload = match workload {
            Ok(Some(workload)) => workload,
            Ok(None) => return Ok(self.finish_unasked(&review)),
            Err(trouble) => return Ok(self.finish_unjudged(&review, &trouble)),
        };
        let object = ReviewedObject::new(&workload);
        let question = object.question(stage, &review.head.namespace);
        let decision = self.reviewer.review(&question, deadline).await;
        Ok(self.finish(&review, &workload, &question, &decision))
    }

    fn answer_panic(&self, stage: Stage, body: &[u8], started: Instant) -> Result<Vec<u8>, EnvelopeError> {
        self.reporter.panicked();
        self.refuse(stage, body, started, &Unjudged::Panicked)
    }

    /// A denial that needs of the body nothing but whom to answer.
    fn refuse(
        &self,
        stage: Stage,
        body: &[u8],
        started: Instant,
        trouble: &Unjudged,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let head = Head::of(&envelope::parse::<IgnoredAny>(body)?);
        Ok(self.finish_unjudged(&Review { stage, started, waited: false, head }, trouble))
    }

    fn finish(
        &self,
        review: &Review,
        workload: &Workload<'_>,
        question: &Question<'_>,
        decision: &Decision,
    ) -> Vec<u8> {
        let (id, head) = (decision_id(), &review.head);
        let name = match (&*head.name, workload.name(), workload.generate_name()) {
            ("", "", generated) => format!("{}*", cut(generated.into(), NAME_LIMIT - 1)),
            ("", name, _) | (name, ..) => cut(name.into(), NAME_LIMIT).into_owned(),
        };
        let warnings = warnings(decision);
        self.tell(review, &id, &name, decision, warnings.len(), None);
        let response = match decision.allowed() {
            true => {
                let pins = self.reviewer.pins(question, decision);
                AdmissionResponse::admitted(
                    &head.uid,
                    Patch::pinning(pins.into_iter().map(|(at, digest)| {
                        let ImageSlot { pointer, image } = question.images[at];
                        Pin { pointer, image, digest }
                    })),
                )
            }
            false => {
                let (kind, namespace) = (&*head.kind, &*head.namespace);
                let refusal = Refusal { kind, namespace, name: &name, decision_id: &id };
                AdmissionResponse::denied(&head.uid, denial(decision, refusal))
            }
        };
        response.with_warnings(warnings).with_audit_annotations(annotations(id, decision)).to_json()
    }

    /// Admits what there is nothing to ask about: a DELETE runs no image.
    fn finish_unasked(&self, review: &Review) -> Vec<u8> {
        let id = decision_id();
        self.tell(review, &id, &review.head.name, &Decision::default(), 0, None);
        AdmissionResponse::admitted(&review.head.uid, Patch::default()).to_json()
    }

    fn finish_unjudged(&self, review: &Review, trouble: &Unjudged) -> Vec<u8> {
        let (id, head) = (decision_id(), &review.head);
        let reason = trouble.reason();
        let trouble = format!("{reason}: {}", printable(&trouble.to_string(), 600));
        // No longer than any other denial: 1 KiB.
        let message = format!(
            "{} {}/{} refused unjudged (decision {id}): {trouble}",
            printable(&head.kind, 63),
            printable(&head.namespace, 63),
            printable(&head.name, 63),
        );
        self.tell(review, &id, &head.name, &Decision::default(), 0, Some(&trouble));
        let failed = format!("Deny none Object {reason} -");
        AdmissionResponse::denied(&head.uid, message)
            .with_audit_annotations(vec![("decision-id", id), ("failed-checks", failed)])
            .to_json()
    }

    fn tell(
        &self,
        review: &Review,
        decision_id: &str,
        name: &str,
        decision: &Decision,
        warnings: usize,
        unjudged: Option<&str>,
    ) {
        let Review { stage, started, waited, head } = review;
        self.reporter.reviewed(&Report {
            decision_id,
            uid: &head.uid,
            stage: *stage,
            operation: head.operation,
            kind: &head.kind,
            namespace: &head.namespace,
            name,
            user: &head.user,
            dry_run: head.dry_run,
            waited: *waited,
            duration: started.elapsed(),
            decision,
            warnings,
            unjudged,
        });
    }
}

/// One review under way.
struct Review {
    stage: Stage,
    started: Instant,
    waited: bool,
    head: Head,
}

/// What of a request is needed beside its object.
struct Head {
    uid: String,
    operation: Operation,
    kind: String,
    namespace: String,
    name: String,
    user: String,
    dry_run: bool,
}

impl Head {
    fn of<O>(request: &AdmissionRequest<'_, O>) -> Self {
        let named = |text: &str| cut(text.into(), NAME_LIMIT).into_owned();
        Self {
            uid: request.uid.to_string(),
            operation: request.operation,
            kind: named(&request.kind.kind),
            namespace: named(&request.namespace),
            name: named(&request.name),
            user: request.username.to_string(),
            dry_run: request.dry_run,
        }
    }
}

/// The request in `body` and its object; no object where there is nothing to judge.
type Opened<'a> = (Head, Result<Option<Workload<'a>>, Unjudged>);

fn open(body: &[u8]) -> Result<Opened<'_>, EnvelopeError> {
    let request = envelope::parse::<Document<'_>>(body)?;
    Ok((Head::of(&request), workload(request)))
}

fn workload<'a>(request: AdmissionRequest<'a, Document<'a>>) -> Result<Option<Workload<'a>>, Unjudged> {
    if request.operation == Operation::Delete {
        return Ok(None);
    }
    let kind = WorkloadKind::of(&request.requested_type())?;
    let object = request.object.map_err(ExtractError::Unreadable)?.ok_or(ExtractError::MissingObject)?;
    // Only an update has something that was judged before. What cannot be read vouches for nothing.
    let before = match request.operation {
        Operation::Update => request.old_object.ok().flatten(),
        _ => None,
    };
    Ok(Some(Workload::extract(kind, object, before)?))
}

/// By which the decision is found in the log: 80 random bits in Crockford's base 32.
fn decision_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bits = [0_u8; 16];
    rand::fill(&mut bits);
    bits.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// What the API server's audit log keeps: the decision's id and every failed check.
fn annotations(id: String, decision: &Decision) -> Vec<(&'static str, String)> {
    let failures = failures(decision);
    let mut annotations = vec![("decision-id", id)];
    if !failures.is_empty() {
        annotations.push(("failed-checks", failures));
    }
    annotations
}

/// `action policy check reason image` for each failed check, with semicolons between; `-` stands for no image.
fn failures(decision: &Decision) -> String {
    let (mut text, mut left_out) = (String::new(), 0);
    for image in &decision.images {
        for result in &image.results {
            let (Some(action), Some(finding)) = (result.demands(), result.verdict.finding()) else {
                continue;
            };
            let policy = result.policy.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            let (check, reason) = (result.check.as_str(), finding.reason.as_str());
            let image = printable(&image.image, 160);
            let entry = format!("{} {policy} {check} {reason} {image}; ", action.as_str());
            match text.len() + entry.len() > ANNOTATION_LIMIT {
                true => left_out += 1,
                false => text.push_str(&entry),
            }
        }
    }
    match left_out {
        0 => text.trim_end_matches("; ").to_owned(),
        _ => format!("{text}and {left_out} more"),
    }
}
