//! The judgement: from requirements and evidence to verdicts, and from verdicts to a decision.
//!
//! Everything here is a pure function of its arguments, time included, so every decision can be
//! replayed. A failed check is an answer and therefore a [`Verdict`], never an `Err`.

mod attached;
mod decide;
mod explain;
mod judge;
mod scans;
mod verdict;

#[cfg(test)]
mod tests;

pub use attached::{Judgement, judge_attached};
pub use decide::{
    CheckResult, Decision, IMAGES_LIMIT, ImageDecision, ImageQuestion, Settings, Unmatched, decide_image,
    refuse_too_many, refuses_unseen,
};
pub use explain::{Refusal, denial, printable, warnings};
pub use judge::{DigestDemand, judge, judge_digest};
pub use scans::{AttestedScans, attested_verdict};
pub use verdict::{Check, Finding, Reason, Verdict};
