use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Check, DigestDemand, Finding, Judgement, Reason, Verdict, judge, judge_digest, printable,
    scans::judge_scans,
};
use crate::{
    evidence::{Evidence, Resolution, ScanEvidence},
    image::{Digest, ImageReference, ReferenceError, without_user_name},
    policy::{Action, MissingVerdict, OnError, Policy, PolicyId, PolicyKind, Requirement, Subject},
};

/// What becomes of an image that no policy is about; with `Deny`, that none of the cluster's is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Unmatched {
    /// It is admitted in silence.
    Allow,
    /// The object is refused.
    Deny,
    /// It is admitted with a warning.
    #[default]
    Warn,
}

/// What the operator has settled for a review.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What becomes of an image that no policy is about.
    pub unmatched: Unmatched,
    /// How far the digest must have come.
    pub demand: DigestDemand,
    /// The most that a failed check may lead to: `Deny`, or `Warn` for workloads whose Pods are judged later.
    pub ceiling: Action,
}

/// One image of an object, and what it is to be judged by.
#[derive(Clone, Copy, Debug)]
pub struct ImageQuestion<'a> {
    /// Where it stands, as a JSON pointer.
    pub pointer: &'a str,
    /// The reference as written.
    pub image: &'a str,
    /// The reference as read.
    pub reference: &'a Result<ImageReference, ReferenceError>,
    /// What is known about it.
    pub evidence: &'a Evidence,
}

impl<'a> ImageQuestion<'a> {
    /// The reference as written, less a password that somebody wrote into it.
    fn shown(&self) -> Cow<'a, str> {
        if self.reference.is_ok() { self.image.into() } else { without_user_name(self.image) }
    }
}

/// What one policy's check made of one image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckResult {
    /// The policy; none where the result is about there being none, or none of the cluster's.
    pub policy: Option<PolicyId>,
    /// The check.
    pub check: Check,
    /// The verdict.
    pub verdict: Verdict,
    /// What the verdict leads to if it is not [`Verdict::Satisfied`].
    pub action: Action,
    /// The date from which this would be a denial, if it is to become one.
    pub enforced_from: Option<Timestamp>,
}

impl CheckResult {
    /// What this result asks for: nothing where the check is satisfied.
    pub fn demands(&self) -> Option<Action> {
        self.verdict.finding().map(|_| self.action)
    }
}

/// Everything that was decided about one image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageDecision {
    /// Where the image stands, as a JSON pointer.
    pub pointer: String,
    /// The reference as written, but `****` for a user name and password in one that cannot be read.
    pub image: String,
    /// The reference as read; none where it cannot be.
    pub reference: Option<ImageReference>,
    /// The digest that was judged; none where it is not known.
    pub digest: Option<Digest>,
    /// One per policy and check, by policy and then in the order of the policy's rules.
    pub results: Vec<CheckResult>,
    /// What kept the digest from being known, or scans or signatures from being seen, in words for the log and never for the requester.
    pub detail: Option<String>,
}

impl ImageDecision {
    /// Whether nothing here refuses the object.
    pub fn allowed(&self) -> bool {
        self.results.iter().all(|result| result.demands() != Some(Action::Deny))
    }

    /// Whether some policy is about the image.
    pub fn matched(&self) -> bool {
        self.results.iter().any(|result| result.policy.is_some())
    }
}

/// Everything that was decided about one object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decision {
    /// One per image that was judged, in the object's order. Empty where nothing had to be judged,
    /// as in an update that changes no image.
    pub images: Vec<ImageDecision>,
}

impl Decision {
    /// Whether the object is admitted: no check of any policy refuses any of its images.
    pub fn allowed(&self) -> bool {
        self.images.iter().all(ImageDecision::allowed)
    }
}

/// The most images of one object that are judged. No Pod that runs has as many; an object that has more
/// is refused, so that what one review costs does not depend on who writes the object.
pub const IMAGES_LIMIT: usize = 256;

/// Judges one image by the policies that are about it.
///
/// `matching` are those that [`PolicySet::matching`](crate::policy::PolicySet::matching) names for
/// `subject` and the image; `judgements` are what each of them makes of what stands beside the image, none
/// where nobody has looked or need not. All failures are reported, not only the first.
pub fn decide_image(
    question: ImageQuestion<'_>,
    matching: &[&Arc<Policy>],
    judgements: &[Option<Arc<Judgement>>],
    subject: &Subject<'_>,
    settings: Settings,
    now: Timestamp,
) -> ImageDecision {
    let mut results = Vec::with_capacity(matching.len() * 2);
    for (at, policy) in matching.iter().enumerate() {
        let judgement = judgements.get(at).and_then(Option::as_deref);
        let mut add = |check, verdict: Verdict| {
            let most = settings.ceiling.min(most(policy, &verdict));
            results.push(CheckResult {
                policy: Some(policy.id().clone()),
                check,
                verdict,
                action: policy.action(now).min(most),
                enforced_from: policy.enforced_from(now).filter(|_| most == Action::Deny),
            });
        };
        if policy.hinges_on_unknown(subject) {
            add(Check::Match, Verdict::Indeterminate(namespace_unknown(subject.namespace)));
        }
        match question.reference {
            Ok(reference) => {
                for (at, requirement) in policy.requirements().iter().enumerate() {
                    let verdict = match (requirement, judgement) {
                        (Requirement::Vulnerabilities(rule), Some(judgement)) => {
                            Some(judge_scans(rule, question.evidence, Some(judgement.scans()), now))
                        }
                        (requirement, Some(judgement)) if requirement.is_attached() => {
                            judgement.verdict(at).cloned()
                        }
                        _ => None,
                    };
                    let verdict =
                        verdict.unwrap_or_else(|| judge(requirement, reference, question.evidence, now));
                    add(Check::of(requirement), verdict);
                }
                add(Check::Digest, judge_digest(question.evidence, settings.demand));
            }
            Err(error) => {
                add(Check::Reference, Verdict::Violated(invalid_reference(&question.shown(), error)));
            }
        }
    }
    if uncovered(matching, settings) {
        results.extend(unmatched(&question, matching, settings));
    }
    withhold_unasked(question.evidence, &mut results);
    ImageDecision {
        pointer: question.pointer.to_owned(),
        image: question.shown().into_owned(),
        reference: question.reference.as_ref().ok().cloned(),
        digest: question.evidence.resolution.digest().cloned(),
        results,
        detail: match (&question.evidence.resolution, &question.evidence.scans) {
            (Resolution::Failed(error), _) => Some(error.to_string()),
            (_, ScanEvidence::Unseen(error)) => Some(error.to_string()),
            _ => judgements.iter().flatten().find_map(|judgement| judgement.detail().map(str::to_owned)),
        },
    }
}

/// The most that a verdict leads to by what its policy says of it in particular.
fn most(policy: &Policy, verdict: &Verdict) -> Action {
    let Some(finding) = verdict.finding() else { return Action::Deny };
    match (finding.reason, verdict) {
        (Reason::ScanVerdictMissing, _) => match policy.missing_verdict() {
            MissingVerdict::Allow => Action::Audit,
            MissingVerdict::Deny => Action::Deny,
            MissingVerdict::Warn => Action::Warn,
        },
        // What `onError` speaks of is the registry. Neither an unknown namespace nor what the cluster does not say
        // of scans is any of its business.
        (Reason::NamespaceUnknown | Reason::ScanNotAsked | Reason::ScanVerdictsUnavailable, _) => {
            Action::Deny
        }
        (_, Verdict::Indeterminate(_)) if policy.on_error() == OnError::Warn => Action::Warn,
        _ => Action::Deny,
    }
}

/// Whether the policies `matching` refuse `image` before anybody has asked for its digest.
pub fn refuses_unseen(
    image: &ImageReference,
    matching: &[&Arc<Policy>],
    subject: &Subject<'_>,
    settings: Settings,
    now: Timestamp,
) -> bool {
    let unseen = Evidence { resolution: Resolution::NotAsked, scans: ScanEvidence::NotAsked };
    if uncovered(matching, settings)
        && settings.unmatched == Unmatched::Deny
        && settings.ceiling == Action::Deny
    {
        return true;
    }
    let denies = |policy: &Policy| policy.action(now).min(settings.ceiling) == Action::Deny;
    matching.iter().filter(|policy| denies(policy)).any(|policy| {
        policy.hinges_on_unknown(subject)
            || policy.requirements().iter().any(|requirement| {
                matches!(judge(requirement, image, &unseen, now), Verdict::Absent(_) | Verdict::Violated(_))
            })
    })
}

/// Refuses an object with more than [`IMAGES_LIMIT`] images, of which `pointer` and `image` are the first
/// that is too many. Nothing else about the object is judged.
pub fn refuse_too_many(images: usize, pointer: &str, image: &str, settings: Settings) -> Decision {
    let verdict = Verdict::Violated(Finding {
        reason: Reason::TooManyImages,
        found: format!("{images} images"),
        wanted: format!("at most {IMAGES_LIMIT}"),
        remedy: "split the object",
    });
    let result = CheckResult {
        policy: None,
        check: Check::Object,
        verdict,
        action: settings.ceiling,
        enforced_from: None,
    };
    Decision {
        images: vec![ImageDecision {
            pointer: pointer.to_owned(),
            image: without_user_name(image).into_owned(),
            reference: None,
            digest: None,
            results: vec![result],
            detail: None,
        }],
    }
}

/// Takes out the results that only say that nobody asked, where nobody asked because another check refuses
/// the image already.
fn withhold_unasked(evidence: &Evidence, results: &mut Vec<CheckResult>) {
    let unasked = |result: &CheckResult| {
        result.verdict.finding().is_some_and(|finding| match finding.reason {
            Reason::DigestUnknown => matches!(evidence.resolution, Resolution::NotAsked),
            Reason::ScanNotAsked | Reason::SignaturesNotAsked => true,
            _ => false,
        })
    };
    if results.iter().any(|result| !unasked(result) && result.demands() == Some(Action::Deny)) {
        results.retain(|result| !unasked(result));
    }
}

/// Whether what the operator has settled for images without a policy is for this one.
///
/// Where that is `Deny` a team's policy does not take it away: teams add to the cluster's rules and lift none
/// of them, and could otherwise admit whatever they like by a policy that only audits.
fn uncovered(matching: &[&Arc<Policy>], settings: Settings) -> bool {
    match settings.unmatched {
        Unmatched::Deny => matching.iter().all(|policy| policy.id().kind == PolicyKind::Namespaced),
        Unmatched::Allow | Unmatched::Warn => matching.is_empty(),
    }
}

/// What becomes of an image that no policy is about. Where it cannot even be read that is said too.
fn unmatched(
    question: &ImageQuestion<'_>,
    matching: &[&Arc<Policy>],
    settings: Settings,
) -> Vec<CheckResult> {
    let action = match settings.unmatched {
        Unmatched::Allow => Action::Audit,
        Unmatched::Deny => Action::Deny.min(settings.ceiling),
        Unmatched::Warn => Action::Warn,
    };
    let result = |check, verdict| CheckResult { policy: None, check, verdict, action, enforced_from: None };
    let mut results = Vec::new();
    if settings.unmatched != Unmatched::Allow {
        let finding = Finding {
            reason: Reason::NoPolicyMatches,
            found: match matching.is_empty() {
                true => "no policy that is about this image".to_owned(),
                false => "only a team's own policies that are about this image".to_owned(),
            },
            wanted: match settings.unmatched {
                Unmatched::Deny => "a ClusterImageAdmissionPolicy that is".to_owned(),
                Unmatched::Allow | Unmatched::Warn => "at least one".to_owned(),
            },
            remedy: "ask whoever writes the policies to cover it",
        };
        results.push(result(Check::Match, Verdict::Absent(finding)));
    }
    if matching.is_empty()
        && let Err(error) = question.reference
    {
        let finding = invalid_reference(&question.shown(), error);
        results.push(result(Check::Reference, Verdict::Violated(finding)));
    }
    results
}

fn namespace_unknown(namespace: &str) -> Finding {
    Finding {
        reason: Reason::NamespaceUnknown,
        found: format!("namespace {} whose labels could not be read", printable(namespace, 63)),
        wanted: "the labels that the policy selects namespaces by".to_owned(),
        remedy: "try again in a moment; if it stays, tell your cluster's operator",
    }
}

fn invalid_reference(image: &str, error: &ReferenceError) -> Finding {
    Finding {
        reason: Reason::ReferenceInvalid,
        found: format!("\"{}\": {error}", printable(image, 100)),
        wanted: "[host[:port]/]path[:tag][@digest]".to_owned(),
        remedy: "mend the image's name",
    }
}

impl Check {
    fn of(requirement: &Requirement) -> Self {
        match requirement {
            Requirement::Registries { .. } => Self::Registries,
            Requirement::WrittenDigest | Requirement::DenyTags(_) | Requirement::DenyDigests(_) => {
                Self::References
            }
            Requirement::Signatures(_) => Self::Signatures,
            Requirement::Attestation(_) => Self::Attestations,
            Requirement::Vulnerabilities(_) => Self::Vulnerabilities,
            Requirement::Readable(_) => Self::Policy,
        }
    }
}
