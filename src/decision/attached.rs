//! What signatures and attestations are worth to a policy.

use jiff::Timestamp;

use super::{AttestedScans, Finding, Reason, Verdict, judge::unlooked, printable, scans::judge_attested};
use crate::{
    evidence::{AuthorityError, AuthorityEvidence, Claim, RegistryError, Rejection, Signer, Verified},
    image::{Digest, ImageReference},
    policy::{
        AttestationRequirement, Authority, ConditionFailure, Facts, ImageFacts, KeyRef, Policy, Proof,
        Requirement, SignatureRequirement, Steps,
    },
};

/// How much of one authority's story is told, in bytes.
const STORY_LIMIT: usize = 240;
/// How many authorities' stories are told.
const STORIES: usize = 4;

/// What a policy makes of all that was published beside one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    verdicts: Vec<Verdict>,
    scans: AttestedScans,
    detail: Option<String>,
}

impl Judgement {
    /// The verdict on the policy's requirement at `place`; none where there is no such requirement.
    pub fn verdict(&self, place: usize) -> Option<&Verdict> {
        self.verdicts.get(place)
    }

    /// What attestations say of the image's scans. Empty where the policy does not want to hear it.
    pub fn scans(&self) -> &AttestedScans {
        &self.scans
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        1024 + self.scans.size()
    }

    /// Whether every requirement holds; that on scans by what is attested, and by nothing else. Where it does not, to
    /// look again may help.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Satisfied))
    }

    /// Whether we could look at everything: what nobody has seen is not to be remembered.
    pub fn is_conclusive(&self) -> bool {
        !self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Indeterminate(_)))
    }

    /// What kept us from looking, in words for the log and never for the requester.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

/// Judges what each of the policy's authorities has said, in `evidence` at the same places.
///
/// Requirements that do not look beside the image hold as far as this is concerned. What is attested of scans is kept
/// for [`decide_image`](super::decide_image), which judges it beside what the cluster knows and at its own time.
pub fn judge_attached(
    policy: &Policy,
    image: &ImageReference,
    digest: &Digest,
    evidence: &[AuthorityEvidence],
    now: Timestamp,
) -> Judgement {
    let case =
        Case { authorities: policy.authorities(), evidence, image, digest, now, steps: Steps::default() };
    let mut scans = AttestedScans::default();
    let verdicts = policy.requirements().iter().map(|requirement| match requirement {
        Requirement::Signatures(requirement) => case.signatures(requirement),
        Requirement::Attestation(requirement) => case.attestation(requirement),
        Requirement::Vulnerabilities(rule) if !rule.sources.attestations.is_empty() => {
            scans = AttestedScans::gather(&rule.sources.attestations, evidence, digest);
            judge_attested(rule, digest, &scans, now)
        }
        _ => Verdict::Satisfied,
    });
    let verdicts = verdicts.collect();
    let detail = evidence.iter().find_map(|evidence| match evidence {
        AuthorityEvidence::Unseen(error) => Some(error.to_string()),
        AuthorityEvidence::Unusable(error) => Some(error.to_string()),
        AuthorityEvidence::Seen { .. } => None,
    });
    Judgement { verdicts, scans, detail }
}

/// Everything that is known when one image's signatures are judged.
struct Case<'a> {
    authorities: &'a [Authority],
    evidence: &'a [AuthorityEvidence],
    image: &'a ImageReference,
    digest: &'a Digest,
    now: Timestamp,
    /// What conditions may still take.
    steps: Steps,
}

/// How an authority stands to one requirement.
enum Standing<'a> {
    /// It has signed, as each of these.
    Signed(Vec<&'a Signer>),
    /// There is nothing at all.
    Nothing,
    /// What is there does not count. Of several reasons, the one that is nearest to counting.
    Refused(Reason, String),
    /// There is nothing to check by.
    Unusable(&'a AuthorityError),
    /// Nobody could look.
    Unseen(&'a RegistryError),
}

impl<'a> Case<'a> {
    fn signatures(&self, requirement: &SignatureRequirement) -> Verdict {
        let standings: Vec<(usize, Standing<'_>)> =
            requirement.authorities.iter().map(|at| (*at, self.signed(*at))).collect();
        let signers = |hope: bool| -> Vec<Option<&[&Signer]>> {
            standings
                .iter()
                .filter_map(|(_, standing)| match standing {
                    Standing::Signed(signers) => Some(Some(signers.as_slice())),
                    Standing::Unseen(error) if hope && !error.is_answer() => Some(None),
                    _ => None,
                })
                .collect()
        };
        let met = |hope: bool| {
            let must = |at: &usize| {
                standings.iter().any(|(place, standing)| {
                    place == at
                        && match standing {
                            Standing::Signed(_) => true,
                            Standing::Unseen(error) => hope && !error.is_answer(),
                            _ => false,
                        }
                })
            };
            distinct(&signers(hope)) >= requirement.at_least && requirement.must_include.iter().all(must)
        };
        if met(false) {
            return Verdict::Satisfied;
        }
        let wanted = self.wanted(requirement);
        // Only where the answer hangs on what nobody could see is it unknown.
        if let Some(error) = standings.iter().find_map(|(_, standing)| match standing {
            Standing::Unseen(error) if !error.is_answer() && met(true) => Some(*error),
            _ => None,
        }) {
            return unlooked(error, wanted);
        }
        let missing_must =
            |at: &usize| requirement.must_include.contains(at) || requirement.must_include.is_empty();
        let failing: Vec<&(usize, Standing<'_>)> = standings
            .iter()
            .filter(|(at, standing)| !matches!(standing, Standing::Signed(_)) && missing_must(at))
            .collect();
        let failing = if failing.is_empty() { standings.iter().collect() } else { failing };
        let too_few = (1..requirement.at_least).contains(&distinct(&signers(false)));
        let too_few = too_few.then_some((distinct(&signers(false)), requirement.at_least));
        self.failure(&failing, standings.len(), wanted, too_few, remedy)
    }

    fn attestation(&self, requirement: &AttestationRequirement) -> Verdict {
        let standings: Vec<(usize, Standing<'_>)> =
            requirement.authorities.iter().map(|at| (*at, self.attested(*at, requirement))).collect();
        if standings.iter().any(|(_, standing)| matches!(standing, Standing::Signed(_))) {
            return Verdict::Satisfied;
        }
        let names: Vec<String> =
            requirement.authorities.iter().map(|at| described(&self.authorities[*at])).collect();
        let wanted = format!(
            "attestation {} of type {} by {}",
            requirement.name,
            printable(&requirement.predicate_type, 60),
            names.join(" or ")
        );
        if let Some(error) = standings.iter().find_map(|(_, standing)| match standing {
            Standing::Unseen(error) if !error.is_answer() => Some(*error),
            _ => None,
        }) {
            return unlooked(error, wanted);
        }
        let all = standings.iter().collect::<Vec<_>>();
        match self.failure(&all, standings.len(), wanted, None, remedy_attested) {
            Verdict::Absent(finding) => Verdict::Absent(Finding {
                reason: Reason::AttestationMissing,
                found: "no attestation of that type".to_owned(),
                remedy: remedy_attested(Reason::AttestationMissing),
                ..finding
            }),
            verdict => verdict,
        }
    }

    /// Whether the authority at a place has signed the image.
    fn signed(&self, at: usize) -> Standing<'a> {
        let authority = &self.authorities[at];
        self.stands(at, |verified| match &verified.claim {
            Claim::Attestation { predicate_type, .. } => Some((
                Reason::SignatureWrongType,
                format!(
                    "an attestation of type {}, which is no signature of the image",
                    printable(predicate_type, 100)
                ),
            )),
            Claim::Image { annotations, identity } => {
                let wrong =
                    authority.annotations.iter().find(|(key, value)| annotations.get(*key) != Some(value));
                if let Some((key, value)) = wrong {
                    let found = match annotations.get(key) {
                        Some(found) => format!("{}={}", printable(key, 60), printable(found, 60)),
                        None => format!("no annotation {}", printable(key, 60)),
                    };
                    let wanted = format!("{}={}", printable(key, 60), printable(value, 60));
                    return Some((
                        Reason::SignatureAnnotationMismatch,
                        format!("a signature with {found}, where {wanted} is wanted"),
                    ));
                }
                let rule = authority.signed_identity.as_ref()?;
                if identity.as_deref().is_some_and(|identity| rule.matches(self.image, identity)) {
                    return None;
                }
                let found = identity
                    .as_deref()
                    .map_or_else(|| "no repository".to_owned(), |identity| printable(identity, 100));
                let wanted = printable(&rule.wanted(self.image), 100);
                Some((
                    Reason::SignatureRepositoryMismatch,
                    format!("a signature that speaks of {found}, where {wanted} is wanted"),
                ))
            }
        })
    }

    /// Whether the authority at a place has attested what is wanted.
    fn attested(&self, at: usize, requirement: &AttestationRequirement) -> Standing<'a> {
        let standing = self.stands(at, |verified| match &verified.claim {
            Claim::Attestation { predicate_type, statement }
                if **predicate_type == *requirement.predicate_type =>
            {
                let image = ImageFacts { reference: self.image, digest: self.digest };
                let facts = Facts { statement, image, now: self.now };
                requirement.conditions.iter().find_map(|condition| {
                    let failure = condition.check_within(&facts, &self.steps).err()?;
                    let what = condition.message().unwrap_or_else(|| condition.expression());
                    let what = printable(what, 160);
                    Some((
                        Reason::AttestationConditionFailed,
                        match failure {
                            ConditionFailure::False => format!("an attestation that does not meet: {what}"),
                            failure => {
                                format!("an attestation on which a condition fails: {failure}: {what}")
                            }
                        },
                    ))
                })
            }
            _ => Some((Reason::AttestationMissing, String::new())),
        });
        match standing {
            // Other attestations and signatures are none of this requirement's business.
            Standing::Refused(Reason::AttestationMissing, _) => Standing::Nothing,
            standing => standing,
        }
    }

    /// How the authority at a place stands, where `objection` says what is wrong with something it signed.
    fn stands(
        &self,
        at: usize,
        objection: impl Fn(&'a Verified) -> Option<(Reason, String)>,
    ) -> Standing<'a> {
        let (verified, rejected) = match self.evidence.get(at) {
            Some(AuthorityEvidence::Seen { verified, rejected }) => (verified, rejected),
            Some(AuthorityEvidence::Unusable(error)) => return Standing::Unusable(error),
            Some(AuthorityEvidence::Unseen(error)) => return Standing::Unseen(error),
            None => return Standing::Nothing,
        };
        let (mut signers, mut refusals) = (Vec::new(), Vec::new());
        for one in verified {
            match objection(one) {
                None => signers.push(&one.signer),
                Some(refusal) => refusals.push(refusal),
            }
        }
        if !signers.is_empty() {
            return Standing::Signed(signers);
        }
        refusals.extend(rejected.iter().map(|rejection| (reason(rejection), story(rejection))));
        match refusals.into_iter().max_by_key(|(reason, _)| nearness(*reason)) {
            None => Standing::Nothing,
            Some((reason, found)) => Standing::Refused(reason, printable(&found, STORY_LIMIT)),
        }
    }

    /// The verdict where every story told is one of failure, but for those of whom there are too few.
    fn failure(
        &self,
        standings: &[&(usize, Standing<'_>)],
        authorities: usize,
        wanted: String,
        too_few: Option<(usize, usize)>,
        remedy: fn(Reason) -> &'static str,
    ) -> Verdict {
        let nothing = standings.iter().all(|(_, standing)| matches!(standing, Standing::Nothing));
        if nothing && too_few.is_none() {
            // Others may have signed: then it is told whose signature is missing.
            let found = match standings.len() < authorities {
                true => {
                    let names: Vec<&str> =
                        standings.iter().map(|(at, _)| &*self.authorities[*at].name).collect();
                    format!("no signature by {}", names.join(", "))
                }
                false => "no signature".to_owned(),
            };
            let reason = Reason::SignatureMissing;
            return Verdict::Absent(Finding { reason, found, wanted, remedy: remedy(reason) });
        }
        let told = standings.iter().map(|(at, standing)| {
            let Told { reason, story, remedy: own } = told(standing);
            let name = &self.authorities[*at].name;
            let story = if authorities == 1 { story } else { format!("{name}: {story}") };
            Told { reason, story, remedy: own.or(Some(remedy(reason))) }
        });
        let told: Vec<Told> = told.collect();
        let nearest = told.iter().max_by_key(|told| nearness(told.reason));
        let mut reason = nearest.map_or(Reason::SignatureMissing, |nearest| nearest.reason);
        let mut advice = nearest.and_then(|nearest| nearest.remedy).unwrap_or_else(|| remedy(reason));
        let mut found =
            told.iter().take(STORIES).map(|told| told.story.as_str()).collect::<Vec<_>>().join("; ");
        if told.len() > STORIES {
            found.push_str(&format!("; and {} more", told.len() - STORIES));
        }
        if let Some((signed, at_least)) = too_few {
            reason = Reason::SignaturesTooFew;
            advice = remedy(reason);
            let all =
                standings.iter().filter(|(_, standing)| matches!(standing, Standing::Signed(_))).count();
            let once = if all > signed { "; one key or identity counts once" } else { "" };
            found = format!("{signed} of {at_least} authorities{once}; {found}");
        }
        Verdict::Violated(Finding { reason, found, wanted, remedy: advice })
    }

    fn wanted(&self, requirement: &SignatureRequirement) -> String {
        let names = |places: &[usize]| {
            let names: Vec<String> =
                places.iter().take(STORIES).map(|at| described(&self.authorities[*at])).collect();
            let more = places.len().saturating_sub(STORIES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", names.join(", "))
        };
        let mut wanted = match (requirement.authorities.as_slice(), requirement.at_least) {
            ([one], _) => format!("a signature by {}", described(&self.authorities[*one])),
            (all, 1) => format!("a signature by one of {}", names(all)),
            (all, many) => format!("signatures by {many} different ones of {}", names(all)),
        };
        if !requirement.must_include.is_empty() && requirement.authorities.len() > 1 {
            let must: Vec<&str> =
                requirement.must_include.iter().map(|at| &*self.authorities[*at].name).collect();
            wanted.push_str(&format!(", with {}", must.join(" and ")));
        }
        wanted
    }
}

/// The most authorities that can each be given a signer of its own. None is one whose signers are not
/// known, and who is hoped to have one that nobody else has.
///
/// One key that two authorities list is one signer, and one signature that two identities cover counts
/// once: GHSA-9vcr-p3rj-q5q6 is what comes of counting signatures.
fn distinct(signers: &[Option<&[&Signer]>]) -> usize {
    fn give<'a>(
        authority: usize,
        signers: &[Option<&[&'a Signer]>],
        given: &mut Vec<(&'a Signer, usize)>,
        tried: &mut Vec<&'a Signer>,
    ) -> bool {
        for signer in signers[authority].into_iter().flatten() {
            if tried.contains(signer) {
                continue;
            }
            tried.push(signer);
            let holder = given.iter().position(|(one, _)| one == signer);
            let Some(at) = holder else {
                given.push((signer, authority));
                return true;
            };
            let (_, other) = given[at];
            if give(other, signers, given, tried) {
                // Giving the other one another signer may have moved this entry's neighbours.
                if let Some(entry) = given.iter_mut().find(|(one, holder)| one == signer && *holder == other)
                {
                    entry.1 = authority;
                }
                return true;
            }
        }
        false
    }
    let mut given = Vec::new();
    let known = (0..signers.len()).filter(|at| signers[*at].is_some());
    let known = known.filter(|at| give(*at, signers, &mut given, &mut Vec::new())).count();
    known + signers.iter().filter(|signers| signers.is_none()).count()
}

/// What is told of one authority, and what to do about it where that does not follow from the reason.
struct Told {
    reason: Reason,
    story: String,
    remedy: Option<&'static str>,
}

fn told(standing: &Standing<'_>) -> Told {
    let (reason, story) = match standing {
        Standing::Signed(_) => (Reason::SignaturesTooFew, "signed".to_owned()),
        Standing::Nothing => (Reason::SignatureMissing, "no signature".to_owned()),
        Standing::Refused(reason, found) => (*reason, found.clone()),
        Standing::Unusable(error) => (Reason::AuthorityUnusable, error.to_string()),
        Standing::Unseen(error) => {
            let verdict = unlooked(error, String::new());
            let Some(Finding { reason, found, remedy, .. }) = verdict.finding() else {
                // OK because what could not be seen is never satisfied
                unreachable!("an error without a finding")
            };
            return Told { reason: *reason, story: found.clone(), remedy: Some(remedy) };
        }
    };
    Told { reason, story, remedy: None }
}

fn described(authority: &Authority) -> String {
    let by = match &authority.proof {
        Proof::Key { key: KeyRef::Inline(key), .. } => {
            let fingerprint = key.fingerprint().to_string();
            format!("key {}…", &fingerprint[..12])
        }
        Proof::Key { key, .. } => printable(&key.to_string(), 100),
        Proof::Identity { identities, .. } => match identities.as_slice() {
            [] => "nobody".to_owned(),
            [one] => printable(one.subject(), 120),
            [one, more @ ..] => format!("{} and {} more", printable(one.subject(), 120), more.len()),
        },
    };
    format!("{} ({by})", authority.name)
}

/// What was found, as a denial tells it.
fn story(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Certificate => "a signature with a certificate, where a key is wanted".to_owned(),
        Rejection::Malformed(problem) => format!("a signature that cannot be read: {problem}"),
        Rejection::NoCertificate => "a signature by a key, where a certificate is wanted".to_owned(),
        Rejection::NoIdentity => "a certificate that names no identity and issuer".to_owned(),
        Rejection::NotLogged => "a signature that no transparency log holds".to_owned(),
        Rejection::OtherIdentity { subject, issuer } => format!("a signature by {subject} (issuer {issuer})"),
        Rejection::OtherImage { found } => format!("a signature of another image, {found}"),
        Rejection::OtherKey => "a signature by another key, or of what was changed since".to_owned(),
        Rejection::PayloadType { found } => {
            format!("a payload of type {found}, which says nothing of images")
        }
        Rejection::Unreadable(error) => format!("a signature that cannot be had: {error}"),
        Rejection::Unsupported(what) => format!("a signature that is not supported: {what}"),
        Rejection::Untrusted(problem) => {
            format!("a signature that the trust root does not accept: {problem}")
        }
    }
}

fn reason(rejection: &Rejection) -> Reason {
    match rejection {
        Rejection::Certificate | Rejection::NoCertificate => Reason::SignatureKindMismatch,
        Rejection::Malformed(_) | Rejection::Unreadable(_) => Reason::SignatureUnreadable,
        Rejection::NoIdentity | Rejection::OtherIdentity { .. } => Reason::SignatureIdentityMismatch,
        Rejection::NotLogged => Reason::SignatureNotLogged,
        Rejection::OtherImage { .. } => Reason::SignatureOfAnotherImage,
        Rejection::OtherKey => Reason::SignatureKeyMismatch,
        Rejection::PayloadType { .. } => Reason::SignatureWrongType,
        Rejection::Unsupported(_) => Reason::SignatureUnsupported,
        Rejection::Untrusted(_) => Reason::SignatureUntrusted,
    }
}

/// How near something came to counting: of several things that do not count, the nearest is told.
fn nearness(reason: Reason) -> u8 {
    match reason {
        Reason::SignatureMissing | Reason::AttestationMissing => 0,
        Reason::SignatureUnreadable => 1,
        Reason::SignatureKindMismatch => 2,
        Reason::SignatureWrongType => 3,
        Reason::SignatureOfAnotherImage => 4,
        Reason::SignatureUnsupported => 5,
        Reason::SignatureKeyMismatch => 6,
        Reason::SignatureIdentityMismatch => 7,
        Reason::SignatureUntrusted => 8,
        Reason::SignatureNotLogged => 9,
        Reason::SignatureRepositoryMismatch => 10,
        Reason::SignatureAnnotationMismatch | Reason::AttestationConditionFailed => 11,
        Reason::AuthorityUnusable => 12,
        _ => 13,
    }
}

fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::AttestationConditionFailed => "mend what the attestation reports, and attest the new build",
        Reason::AuthorityUnusable => "tell the policy's owner to mend its key or trust root",
        Reason::SignatureAnnotationMismatch => "use an image that is signed with the wanted annotations",
        Reason::SignatureIdentityMismatch => "use an image that the wanted identity has built and signed",
        Reason::SignatureKeyMismatch => "sign the image with the key that the policy names",
        Reason::SignatureKindMismatch => "sign the image in the way that the policy names",
        Reason::SignatureNotLogged => "sign again with a transparency log",
        Reason::SignatureOfAnotherImage => "sign this image's own digest",
        Reason::SignatureRepositoryMismatch => "sign the image under the repository that it is pulled from",
        Reason::SignatureUntrusted => "sign with the instance that the policy's trust root describes",
        Reason::SignaturesTooFew => "have the others sign it too",
        _ => "sign the image's digest, as with cosign sign",
    }
}

/// The same where an attestation is wanted.
fn remedy_attested(reason: Reason) -> &'static str {
    match reason {
        Reason::AttestationConditionFailed | Reason::AuthorityUnusable => remedy(reason),
        Reason::SignatureIdentityMismatch => "use an image that the wanted identity has built and attested",
        Reason::SignatureKeyMismatch => "attest it with the key that the policy names",
        Reason::SignatureKindMismatch => "attest it in the way that the policy names",
        Reason::SignatureNotLogged => "attest it again with a transparency log",
        Reason::SignatureOfAnotherImage => "attest it for this image's own digest",
        Reason::SignatureUntrusted => "attest it with the instance that the policy's trust root describes",
        _ => "attest it for the image's digest, as with cosign attest",
    }
}
