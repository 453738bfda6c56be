use std::{collections::BTreeSet, fmt::Display};

use jiff::Timestamp;

use super::{Finding, Reason, Verdict, printable, scans::judge_scans};
use crate::{
    evidence::{Evidence, RegistryError, Resolution},
    image::{Digest, ImageReference},
    policy::Requirement,
};

/// How far the digest must have come for an image to be admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DigestDemand {
    /// It must be known: we are about to pin it, or nobody will.
    Known,
    /// It must stand in the reference: this is the last look at the object before it is stored.
    Written,
}

/// Whether `requirement` holds for `image`, given what is known about it at the time `now`, and nothing of what stands
/// beside it.
///
/// A requirement that wants to know the digest is [`Verdict::Indeterminate`] while the digest is not
/// known, whatever the cause: the [`judge_digest`] verdict beside it says why.
pub fn judge(
    requirement: &Requirement,
    image: &ImageReference,
    evidence: &Evidence,
    now: Timestamp,
) -> Verdict {
    match requirement {
        Requirement::Registries { allow, deny } => {
            if let Some(pattern) = deny.iter().find(|pattern| pattern.matches(image)) {
                return Verdict::Violated(Finding {
                    reason: Reason::RegistryDenied,
                    found: image.name().to_string(),
                    wanted: format!("nothing from {pattern}"),
                    remedy: "use an image from another place",
                });
            }
            match allow {
                Some(allow) if !allow.iter().any(|pattern| pattern.matches(image)) => {
                    Verdict::Violated(Finding {
                        reason: Reason::RegistryNotAllowed,
                        found: image.name().to_string(),
                        wanted: format!("one of {}", some_of(allow)),
                        remedy: "use an image from an allowed place, or ask for this one to be allowed",
                    })
                }
                _ => Verdict::Satisfied,
            }
        }
        Requirement::WrittenDigest => match image.digest() {
            Some(_) => Verdict::Satisfied,
            None => Verdict::Violated(Finding {
                reason: Reason::DigestRequired,
                found: "a reference without a digest".to_owned(),
                wanted: "a reference with @sha256:…".to_owned(),
                remedy: "write the image as name:tag@digest",
            }),
        },
        Requirement::DenyTags(tags) => {
            match image
                .tag()
                .and_then(|tag| tags.iter().find(|pattern| pattern.matches(tag)).map(|p| (tag, p)))
            {
                Some((tag, pattern)) => Verdict::Violated(Finding {
                    reason: Reason::TagDenied,
                    found: format!("tag {tag}"),
                    wanted: format!("no tag {pattern}"),
                    remedy: "write the tag of a release, or a digest without a tag",
                }),
                None => Verdict::Satisfied,
            }
        }
        Requirement::DenyDigests(denied) => match evidence.resolution.digest() {
            Some(digest) => judge_denied_digests(denied, digest),
            None => Verdict::Indeterminate(unknown_digest()),
        },
        Requirement::Signatures(_) | Requirement::Attestation(_) => match evidence.resolution.digest() {
            Some(_) => Verdict::Indeterminate(Finding {
                reason: Reason::SignaturesNotAsked,
                found: "an image whose signatures nobody has looked for".to_owned(),
                wanted: "a look at them".to_owned(),
                remedy: "mend what else refuses the image",
            }),
            None => Verdict::Indeterminate(unknown_digest()),
        },
        Requirement::Vulnerabilities(rule) => judge_scans(rule, evidence, None, now),
        Requirement::Readable(error) => Verdict::Violated(Finding {
            reason: Reason::PolicyUnreadable,
            found: error.to_string(),
            wanted: "a policy that this version can read".to_owned(),
            remedy: "tell the policy's owner to mend it",
        }),
    }
}

/// Whether the image's digest has come as far as `demand` wants: what every policy requires.
pub fn judge_digest(evidence: &Evidence, demand: DigestDemand) -> Verdict {
    match (&evidence.resolution, demand) {
        (Resolution::Pinned(_), _) | (Resolution::Resolved(_), DigestDemand::Known) => Verdict::Satisfied,
        (Resolution::Resolved(_), DigestDemand::Written) => Verdict::Violated(Finding {
            reason: Reason::DigestNotPinned,
            found: "a reference without a digest".to_owned(),
            wanted: "the digest in the reference".to_owned(),
            remedy: "try again: the digest is put in before this check; if this stays, another webhook takes it out",
        }),
        (Resolution::Failed(error), _) => unlooked(error, "the image's digest".to_owned()),
        (Resolution::NotAsked, _) => Verdict::Indeterminate(unknown_digest()),
    }
}

/// Whether `digest` is none of those `denied`.
///
/// One content has a digest under each algorithm, and whoever writes an image chooses which to write.
/// So a digest that is not the usual SHA-256 is no way around a list of SHA-256 digests.
fn judge_denied_digests(denied: &BTreeSet<Digest>, digest: &Digest) -> Verdict {
    if denied.contains(digest) {
        return Verdict::Violated(Finding {
            reason: Reason::DigestDenied,
            found: digest.to_string(),
            wanted: "a digest that is not on the policy's list".to_owned(),
            remedy: "use another build of the image",
        });
    }
    if digest.algorithm() != "sha256" && denied.iter().any(|one| one.algorithm() != digest.algorithm()) {
        return Verdict::Violated(Finding {
            reason: Reason::DigestIncomparable,
            found: format!(
                "a {} digest, which cannot be compared with the policy's list",
                digest.algorithm()
            ),
            wanted: "a sha256 digest".to_owned(),
            remedy: "write the image with its sha256 digest",
        });
    }
    Verdict::Satisfied
}

pub(super) fn unknown_digest() -> Finding {
    Finding {
        reason: Reason::DigestUnknown,
        found: "an image whose digest is not known".to_owned(),
        wanted: "a digest".to_owned(),
        remedy: "mend what keeps the digest from being known",
    }
}

/// What becomes of a question that the registry did not answer, or answered with no.
pub(super) fn unlooked(error: &RegistryError, wanted: String) -> Verdict {
    const RETRY: &str = "try again in a moment; if it stays, tell whoever runs the registry";
    let (reason, remedy) = match error {
        RegistryError::NotFound | RegistryError::Denied => (
            Reason::ImageUnavailable,
            "check the name and the tag, and that an imagePullSecret of the Pod may pull it",
        ),
        RegistryError::TooMany { .. } => (
            Reason::TooManyReferrers,
            "have old signatures and attestations of this image removed from its repository",
        ),
        RegistryError::Malformed(_) | RegistryError::TooLarge { .. } => (
            Reason::RegistryAnswerUnusable,
            "tell whoever runs the registry; the decision log has the details",
        ),
        RegistryError::Forbidden(_) => (
            Reason::RequestForbidden,
            "use a public registry, or ask for this one to be listed in Tidewaiter's settings",
        ),
        RegistryError::Throttled { .. } => (Reason::RegistryThrottled, RETRY),
        RegistryError::Unreachable(_) => (Reason::RegistryUnreachable, RETRY),
        RegistryError::TimedOut => (Reason::RegistryTimedOut, RETRY),
        RegistryError::Overloaded => (Reason::RegistryOverloaded, RETRY),
        RegistryError::CredentialsUnavailable(_) => (
            Reason::CredentialsUnavailable,
            "try again in a moment; if it stays, tell your cluster's operator",
        ),
    };
    // What the registry said in detail is for the log. A tenant must not learn from a denial whether
    // a private repository exists, nor what answers at an internal address.
    let found = match error {
        RegistryError::NotFound | RegistryError::Denied => {
            "no such image, or none that these credentials may see"
        }
        RegistryError::TooMany { .. } => "more beside the image than is looked at",
        RegistryError::Malformed(_) | RegistryError::TooLarge { .. } => "an answer that cannot be believed",
        RegistryError::Forbidden(_) => "a registry that may not be asked",
        RegistryError::Throttled { .. } => "a registry that throttles requests",
        RegistryError::Unreachable(_) => "a registry that cannot be reached",
        RegistryError::TimedOut => "a registry that did not answer in time",
        RegistryError::Overloaded => "too many requests waiting for this registry",
        RegistryError::CredentialsUnavailable(_) => "pull secrets that could not be read",
    };
    let finding = Finding { reason, found: found.to_owned(), wanted, remedy };
    match error {
        RegistryError::NotFound => Verdict::Absent(finding),
        error if error.is_answer() => Verdict::Violated(finding),
        _ => Verdict::Indeterminate(finding),
    }
}

/// The first few of a list, and how many more there are.
fn some_of<T: Display>(items: &[T]) -> String {
    let mut text = String::new();
    for (at, item) in items.iter().take(3).enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&printable(&item.to_string(), 100));
    }
    if items.len() > 3 {
        text.push_str(&format!(" and {} more", items.len() - 3));
    }
    text
}
