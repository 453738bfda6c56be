use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    digests::{Digests, Key},
    judgements::{Judgements, Matter},
    ports::{
        Attachments, CacheObserver, Clock, Examiner, Labels, LookupError, Namespaces, Platforms, Policies,
        PullSecrets, Resolver, Verdicts,
    },
    scans::Scans,
};
use crate::{
    decision::{
        Decision, DigestDemand, IMAGES_LIMIT, ImageDecision, ImageQuestion, Judgement, Settings, Unmatched,
        decide_image, refuse_too_many, refuses_unseen,
    },
    evidence::{Attached, Evidence, Platform, RegistryError, Resolution, ScanEvidence},
    image::{Digest, ImageReference, ReferenceError},
    policy::{Action, LabelSource, NamespaceLabels, Policy, PolicySet, Subject},
};

/// Whether digests are written into Pods.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum DigestPinning {
    /// The digest that was judged is written into the Pod, and a Pod without it is refused under Deny.
    #[default]
    Pods,
    /// Nothing is written, and nothing ensures that what runs is what was judged.
    Off,
}

/// What becomes of Deployments and other objects whose Pods are judged later.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Workloads {
    /// They are judged like Pods.
    #[default]
    Deny,
    /// They are judged, and a failure is a warning at most.
    Warn,
    /// They are not judged.
    Off,
}

/// What an operator settles for all reviews.
#[derive(Clone, Debug)]
pub struct ReviewSettings {
    /// Whether digests are written into Pods.
    pub digest_pinning: DigestPinning,
    /// What becomes of an image that no policy is about.
    pub unmatched_images: Unmatched,
    /// What becomes of objects whose Pods are judged later.
    pub workloads: Workloads,
    /// How long a tag is believed to stand for the digest that the registry named.
    pub tag_cache: Duration,
    /// How long signatures and attestations are remembered that a policy was satisfied with.
    pub evidence_cache: Duration,
    /// Which platforms of an image must have been scanned; none if all that it has.
    pub platforms: Option<Box<[Platform]>>,
}

impl Default for ReviewSettings {
    fn default() -> Self {
        Self {
            digest_pinning: DigestPinning::default(),
            unmatched_images: Unmatched::default(),
            workloads: Workloads::default(),
            tag_cache: Duration::from_secs(30),
            evidence_cache: Duration::from_secs(3600),
            platforms: None,
        }
    }
}

/// At which point of an object's admission a review happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Before it is complete: digests may still be written.
    Mutate,
    /// The last look: what passes is stored as it is.
    Validate,
}

/// One image of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageSlot<'a> {
    /// Where it stands, as a JSON pointer.
    pub pointer: &'a str,
    /// The reference as written.
    pub image: &'a str,
}

/// One object's images, and what surrounds them.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// At which point of its admission the object is.
    pub stage: Stage,
    /// Whether the object is a Pod, as opposed to one whose Pods are judged later.
    pub is_pod: bool,
    /// The namespace of the request.
    pub namespace: &'a str,
    /// The object's labels.
    pub labels: &'a dyn LabelSource,
    /// The ServiceAccount that the Pod runs as.
    pub service_account: &'a str,
    /// The names of the Pod's `imagePullSecrets`.
    pub pull_secrets: &'a [&'a str],
    /// The images that are to be judged: all of a new object, those that changed of an old one.
    pub images: &'a [ImageSlot<'a>],
}

/// Answers questions about objects. One for the whole process.
pub struct Reviewer {
    policies: Arc<dyn Policies>,
    namespaces: Arc<dyn Namespaces>,
    pull_secrets: Arc<dyn PullSecrets>,
    clock: Arc<dyn Clock>,
    digests: Digests,
    judgements: Judgements,
    scans: Scans,
    settings: ReviewSettings,
}

/// The adapters that a reviewer works with.
pub struct Ports {
    /// The policies in force.
    pub policies: Arc<dyn Policies>,
    /// The namespaces' labels.
    pub namespaces: Arc<dyn Namespaces>,
    /// The credentials that objects bring.
    pub pull_secrets: Arc<dyn PullSecrets>,
    /// The registries, for digests.
    pub resolver: Arc<dyn Resolver>,
    /// The registries, for signatures and attestations.
    pub attachments: Arc<dyn Attachments>,
    /// Who checks signatures and attestations.
    pub examiner: Arc<dyn Examiner>,
    /// What scanners have said.
    pub verdicts: Arc<dyn Verdicts>,
    /// The registries, for the platforms of images.
    pub platforms: Arc<dyn Platforms>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Hears of the cache.
    pub observer: Arc<dyn CacheObserver>,
}

/// A question with its references read and its policies found.
struct Plan<'a> {
    subject: Subject<'a>,
    images: Vec<PlannedImage<'a>>,
    settings: Settings,
    now: Timestamp,
}

/// One image, what is to judge it, and what of it is known without asking.
struct PlannedImage<'a> {
    slot: ImageSlot<'a>,
    reference: Result<ImageReference, ReferenceError>,
    matching: Vec<&'a Arc<Policy>>,
    /// None where somebody must be asked for the digest.
    settled: Option<Resolution>,
    /// Whether a policy refuses the image whatever anybody outside says.
    refused: bool,
}

impl PlannedImage<'_> {
    /// The image whose digest must be asked for, if it must.
    fn open(&self) -> Option<&ImageReference> {
        self.reference.as_ref().ok().filter(|_| self.settled.is_none())
    }

    /// Whether a registry must be asked about the image, which may want to see a pull secret.
    fn needs_credentials(&self, scans: &Scans) -> bool {
        let needs_platforms = || {
            let digest = self.settled.as_ref().and_then(Resolution::digest);
            let (image, digest) = self.scanned().zip(digest)?;
            Some(scans.needs_platforms(image, digest))
        };
        self.open().is_some() || self.attached().is_some() || needs_platforms() == Some(true)
    }

    /// The image of which must be known what scanners have said, if it must.
    fn scanned(&self) -> Option<&ImageReference> {
        let wanted = !self.refused && self.matching.iter().any(|policy| policy.wants_scans());
        self.reference.as_ref().ok().filter(|_| wanted)
    }

    /// What must be seen beside the image once its digest is known: all that any of its policies wants.
    fn attached(&self) -> Option<Attached> {
        if self.refused || self.reference.is_err() {
            return None;
        }
        let wanted = self.matching.iter().filter_map(|policy| policy.attached());
        wanted.reduce(|all, one| Attached {
            signatures: all.signatures || one.signatures,
            attestations: all.attestations || one.attestations,
        })
    }

    /// The image under each policy that looks beside it, at the policy's place.
    fn matters(&self, digest: &Digest) -> impl Iterator<Item = Option<Matter>> {
        let wanted = self.attached();
        self.matching.iter().map(move |policy| {
            let (Some(wanted), Ok(image), Some(_)) = (wanted, &self.reference, policy.attached()) else {
                return None;
            };
            let (policy, image, digest) = (Arc::clone(policy), image.clone(), digest.clone());
            Some(Matter { policy, image, digest, wanted })
        })
    }
}

/// What is known of one image: its evidence, and what each policy makes of what stands beside it.
struct Known {
    evidence: Evidence,
    judgements: Vec<Option<Arc<Judgement>>>,
}

impl Reviewer {
    /// Look-ups run on `runtime` and outlive the review that began them.
    pub fn new(ports: Ports, settings: ReviewSettings, runtime: Handle) -> Self {
        let judgements = Judgements::new(
            (ports.attachments, ports.examiner),
            ports.clock.clone(),
            ports.observer.clone(),
            runtime.clone(),
            settings.evidence_cache,
        );
        let scans = Scans::new(
            (ports.verdicts, ports.platforms),
            settings.platforms.clone(),
            ports.observer.clone(),
            runtime.clone(),
        );
        Self {
            policies: ports.policies,
            namespaces: ports.namespaces,
            pull_secrets: ports.pull_secrets,
            clock: ports.clock,
            digests: Digests::new(ports.resolver, ports.observer, runtime, settings.tag_cache),
            judgements,
            scans,
            settings,
        }
    }

    /// What the operator has settled.
    pub fn settings(&self) -> &ReviewSettings {
        &self.settings
    }

    /// Decides where everything is known already; `None` where somebody outside must be asked.
    pub fn review_now(&self, question: &Question<'_>) -> Option<Decision> {
        if let Some(decision) = self.decided_unseen(question) {
            return Some(decision);
        }
        let policies = self.policies.current();
        let labels = match policies.needs_namespace_labels() {
            true => self.namespaces.known(question.namespace)?,
            false => Arc::default(),
        };
        let plan = self.plan(question, &policies, NamespaceLabels::Known(&labels));
        let needed = plan.images.iter().any(|planned| planned.needs_credentials(&self.scans));
        let keyring = match needed {
            true => {
                let Question { namespace, service_account, pull_secrets, .. } = *question;
                self.pull_secrets.known(namespace, service_account, pull_secrets)?
            }
            false => Arc::default(),
        };
        let mut known = Vec::with_capacity(plan.images.len());
        let (mut tags, mut judged) = (0, 0);
        for planned in &plan.images {
            let resolution = match planned.open() {
                Some(image) => {
                    tags += 1;
                    resolution(self.digests.known(&Key::new(image, &keyring.lookup(image)))?)
                }
                None => planned.settled.clone().unwrap_or(Resolution::NotAsked),
            };
            let mut judgements = Vec::new();
            if let (Some(digest), Some(_), Ok(image)) =
                (resolution.digest(), planned.attached(), &planned.reference)
            {
                judgements.reserve(planned.matching.len());
                for policy in &planned.matching {
                    judgements.push(match policy.attached() {
                        Some(_) => {
                            judged += 1;
                            let key = self.judgements.key(policy, image, digest, &keyring);
                            Some(self.judgements.known(&key)?)
                        }
                        None => None,
                    });
                }
            }
            let scans = match (planned.scanned(), resolution.digest()) {
                (Some(image), Some(digest)) => self.scans.known(image, digest, &keyring)?,
                _ => ScanEvidence::NotAsked,
            };
            known.push(Known { evidence: Evidence { resolution, scans }, judgements });
        }
        self.digests.observe_hits(tags);
        self.judgements.observe_hits(judged);
        Some(plan.decide(&known))
    }

    /// Decides, asking whom it must. Answers at `deadline` at the latest: what is not known by then
    /// counts as not known.
    pub async fn review(&self, question: &Question<'_>, deadline: Instant) -> Decision {
        if let Some(decision) = self.decided_unseen(question) {
            return decision;
        }
        let policies = self.policies.current();
        let labels = match policies.needs_namespace_labels() {
            true => self.namespace_labels(question.namespace, deadline).await,
            false => Some(Arc::default()),
        };
        let labels = labels.as_deref().map_or(NamespaceLabels::Unknown, NamespaceLabels::Known);
        let plan = self.plan(question, &policies, labels);
        let known = self.gather(question, &plan, deadline).await;
        plan.decide(&known)
    }

    /// The digests to be written into the object: by place in [`Question::images`], for each image that
    /// a policy is about and whose digest is known but not written.
    pub fn pins<'a>(&self, question: &Question<'_>, decision: &'a Decision) -> Vec<(usize, &'a Digest)> {
        if question.stage != Stage::Mutate
            || !question.is_pod
            || self.settings.digest_pinning == DigestPinning::Off
        {
            return Vec::new();
        }
        let pin = |image: &'a ImageDecision| {
            let unpinned = image.reference.as_ref().is_some_and(|reference| reference.digest().is_none());
            image.digest.as_ref().filter(|_| unpinned && image.matched())
        };
        decision.images.iter().enumerate().filter_map(|(at, image)| Some((at, pin(image)?))).collect()
    }

    /// The decision about an object that is not looked at: nothing where it need not be, a refusal where
    /// it is too large.
    fn decided_unseen(&self, question: &Question<'_>) -> Option<Decision> {
        let judged = question.is_pod
            || (question.stage == Stage::Validate && self.settings.workloads != Workloads::Off);
        if !judged {
            return Some(Decision::default());
        }
        let excess = question.images.get(IMAGES_LIMIT)?;
        let settings = self.decision_settings(question);
        Some(refuse_too_many(question.images.len(), excess.pointer, excess.image, settings))
    }

    fn decision_settings(&self, question: &Question<'_>) -> Settings {
        let written = question.is_pod
            && question.stage == Stage::Validate
            && self.settings.digest_pinning == DigestPinning::Pods;
        Settings {
            unmatched: self.settings.unmatched_images,
            demand: if written { DigestDemand::Written } else { DigestDemand::Known },
            ceiling: match self.settings.workloads {
                Workloads::Warn if !question.is_pod => Action::Warn,
                _ => Action::Deny,
            },
        }
    }

    fn plan<'a>(
        &self,
        question: &'a Question<'a>,
        policies: &'a PolicySet,
        namespace_labels: NamespaceLabels<'a>,
    ) -> Plan<'a> {
        let subject =
            Subject { namespace: question.namespace, namespace_labels, object_labels: question.labels };
        let settings = self.decision_settings(question);
        let now = self.clock.now();
        let images = question.images.iter().map(|slot| {
            let reference = slot.image.parse::<ImageReference>();
            let matching = policies.matching(&subject, reference.as_ref().ok());
            // A "no" that needs no network costs none.
            let refused = reference
                .as_ref()
                .is_ok_and(|image| refuses_unseen(image, &matching, &subject, settings, now));
            let settled = match &reference {
                Err(_) => Some(Resolution::NotAsked),
                Ok(image) => match image.digest() {
                    Some(digest) => Some(Resolution::Pinned(digest.clone())),
                    None if matching.is_empty() || refused => Some(Resolution::NotAsked),
                    None => None,
                },
            };
            PlannedImage { slot: *slot, reference, matching, settled, refused }
        });
        Plan { subject, images: images.collect(), settings, now }
    }

    async fn namespace_labels(&self, namespace: &str, deadline: Instant) -> Option<Arc<Labels>> {
        if let Some(labels) = self.namespaces.known(namespace) {
            return Some(labels);
        }
        before(deadline, self.namespaces.fetch(namespace)).await.ok()
    }

    async fn gather(&self, question: &Question<'_>, plan: &Plan<'_>, deadline: Instant) -> Vec<Known> {
        let Question { namespace, service_account, pull_secrets, .. } = *question;
        let needed = plan.images.iter().any(|planned| planned.needs_credentials(&self.scans));
        let keyring = match needed {
            true => {
                before(deadline, self.pull_secrets.keyring(namespace, service_account, pull_secrets)).await
            }
            false => Ok(Arc::default()),
        };
        let keyring = &keyring.map_err(|error| RegistryError::CredentialsUnavailable(error.to_string()));
        join_all(plan.images.iter().map(|planned| async move {
            let resolution = match (planned.open(), keyring) {
                (None, _) => planned.settled.clone().unwrap_or(Resolution::NotAsked),
                (Some(_), Err(error)) => Resolution::Failed(error.clone()),
                (Some(image), Ok(keyring)) => {
                    let credentials = keyring.lookup(image);
                    let key = Key::new(image, &credentials);
                    resolution(self.digests.find(key, credentials, namespace, deadline).await)
                }
            };
            let scans = async {
                match (planned.scanned(), resolution.digest()) {
                    (Some(image), Some(digest)) => {
                        self.scans.find(image, digest, keyring, namespace, deadline).await
                    }
                    _ => ScanEvidence::NotAsked,
                }
            };
            let judgements = async {
                let Some(digest) = resolution.digest() else { return Vec::new() };
                {
                    let judging = planned.matters(digest).map(|matter| async move {
                        let matter = matter?;
                        Some(match keyring {
                            Ok(keyring) => self.judgements.find(matter, keyring, namespace, deadline).await,
                            Err(error) => self.judgements.unseen(&matter, error),
                        })
                    });
                    join_all(judging).await
                }
            };
            let (scans, judgements) = join(scans, judgements).await;
            Known { evidence: Evidence { resolution, scans }, judgements }
        }))
        .await
    }
}

impl Plan<'_> {
    fn decide(&self, known: &[Known]) -> Decision {
        let images = self.images.iter().zip(known).map(|(planned, Known { evidence, judgements })| {
            let PlannedImage { slot, reference, matching, .. } = planned;
            let question = ImageQuestion { pointer: slot.pointer, image: slot.image, reference, evidence };
            decide_image(question, matching, judgements, &self.subject, self.settings, self.now)
        });
        Decision { images: images.collect() }
    }
}

fn resolution(answer: Result<Digest, RegistryError>) -> Resolution {
    match answer {
        Ok(digest) => Resolution::Resolved(digest),
        Err(error) => Resolution::Failed(error),
    }
}

/// What `asking` answers, or an error at the deadline.
async fn before<T>(
    deadline: Instant,
    asking: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    tokio::time::timeout_at(deadline.into(), asking)
        .await
        .unwrap_or_else(|_| Err(LookupError("the API server did not answer in time".to_owned())))
}
