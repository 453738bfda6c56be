use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::{self, Write as _},
};

use super::{Check, CheckResult, Decision, Finding, ImageDecision, Reason};
use crate::policy::{Action, PolicyId};

/// The most bytes that a denial takes up.
const DENIAL_LIMIT: usize = 1024;
/// The most characters of one warning (Kubernetes API, `AdmissionResponse.warnings`).
const WARNING_LIMIT: usize = 256;
/// The most characters of all warnings of one answer (the API server cuts what is over).
const WARNINGS_LIMIT: usize = 4096;

/// What a denial is about, beside its images.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The object's kind.
    pub kind: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name, or its `generateName` with a star behind.
    pub name: &'a str,
    /// By which auditors find the decision in the log.
    pub decision_id: &'a str,
}

/// The text that the author of a refused object reads: every failed check that refuses it, with what
/// was found, what was wanted and what to do. At most 1 KiB, of printable characters and line feeds;
/// what does not fit is counted.
pub fn denial(decision: &Decision, refusal: Refusal<'_>) -> String {
    let failures = failures(decision, Action::Deny);
    let tail = |left: usize| format!("\n… and {left} more; the decision log has them all");
    let mut text = format!(
        "{} {}/{} refused by image policy (decision {}):",
        printable(refusal.kind, 32),
        printable(refusal.namespace, 63),
        printable(refusal.name, 63),
        printable(refusal.decision_id, 40)
    );
    let mut told: Option<&str> = None;
    for (at, failure) in failures.iter().enumerate() {
        let left = failures.len() - at;
        let reserve = if left == 1 { 0 } else { tail(left - 1).len() };
        let room = (DENIAL_LIMIT - reserve).saturating_sub(text.len());
        let mut entry = match told.replace(&failure.image.image) {
            Some(image) if image == failure.image.image => String::new(),
            _ => image_line(failure),
        };
        entry.push_str(&check_line(failure));
        if entry.len() <= room {
            text.push_str(&entry);
        } else if at == 0 {
            text.push_str(cut(&entry, room - '…'.len_utf8()));
            text.push('…');
        } else {
            text.push_str(&tail(left));
            break;
        }
    }
    text
}

/// The warnings that the author of an admitted object reads, each of at most 256 characters and
/// together of at most 4,096. What does not fit is counted in the last one.
pub fn warnings(decision: &Decision) -> Vec<String> {
    let failures = failures(decision, Action::Warn);
    let mut kept = Vec::new();
    let mut used = 0;
    for (at, failure) in failures.iter().enumerate() {
        let left = failures.len() - at;
        let more = |left: usize| format!("… and {left} more warnings; the decision log has them all");
        let reserve = if left == 1 { 0 } else { more(left - 1).chars().count() };
        let warning = warning(failure);
        let length = warning.chars().count();
        if used + length + reserve > WARNINGS_LIMIT {
            kept.push(more(left));
            break;
        }
        used += length;
        kept.push(warning);
    }
    kept
}

/// The part of `text` that may be shown to a person, in at most `most` bytes (and no fewer than three),
/// with everything escaped that could break a line, hide, or reorder what is read. An `…` stands for
/// what is left out.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    let mut fits = 0;
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            // Letters and symbols to Unicode, but nothing to the eye.
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.extend(character.escape_debug()),
        }
        if shown.len() > most {
            shown.truncate(fits);
            shown.push('…');
            return shown;
        }
        if shown.len() + '…'.len_utf8() <= most {
            fits = shown.len();
        }
    }
    shown
}

/// One failed check of one image, wherever in the object the image stands.
struct Failure<'a> {
    image: &'a ImageDecision,
    result: &'a CheckResult,
    finding: &'a Finding,
    places: usize,
}

/// The failed checks that lead to `action`, each image's once, in the order in which they come.
fn failures(decision: &Decision, action: Action) -> Vec<Failure<'_>> {
    type Key<'a> = (&'a str, Option<&'a PolicyId>, Check, Reason, &'a str);
    let mut seen: HashMap<Key<'_>, usize> = HashMap::new();
    let mut failures: Vec<Failure<'_>> = Vec::new();
    for image in &decision.images {
        for result in image.results.iter().filter(|result| result.demands() == Some(action)) {
            let Some(finding) = result.verdict.finding() else { continue };
            let rule = &finding.wanted;
            match seen.entry((&image.image, result.policy.as_ref(), result.check, finding.reason, rule)) {
                Entry::Occupied(at) => failures[*at.get()].places += 1,
                Entry::Vacant(place) => {
                    place.insert(failures.len());
                    failures.push(Failure { image, result, finding, places: 1 });
                }
            }
        }
    }
    failures
}

/// The line of a denial that says which image, and where. Its bounds and those of [`check_line`] leave
/// room for both within [`DENIAL_LIMIT`]: one hostile name must not push policy, reason or remedy out.
fn image_line(failure: &Failure<'_>) -> String {
    let Failure { image, places, .. } = failure;
    let mut text = format!("\n- image {}", printable(&image.image, 190));
    if let Some(digest) = image.digest.as_ref().filter(|digest| !text.contains(digest.as_str())) {
        text = format!("\n- image {} ({digest})", printable(&image.image, 110));
    }
    // OK because writing to a String cannot fail
    write!(text, " at {}", printable(&image.pointer, 64)).unwrap();
    if *places > 1 {
        // OK because writing to a String cannot fail
        write!(text, " and {} more places", places - 1).unwrap();
    }
    text
}

/// The line of a denial that says which policy wants what of the image above.
fn check_line(failure: &Failure<'_>) -> String {
    format!("\n  {}: {}", Source(failure.result, 80), prose(failure.finding, 120, 100))
}

fn warning(failure: &Failure<'_>) -> String {
    let Failure { image, result, finding, .. } = failure;
    let mut text = String::new();
    if let Some(date) = result.enforced_from {
        // OK because writing to a String cannot fail
        write!(text, "refused from {date} on: ").unwrap();
    }
    // OK because writing to a String cannot fail
    write!(text, "image {}: {}: {}", printable(&image.image, 80), Source(result, 60), prose(finding, 80, 60))
        .unwrap();
    match text.char_indices().nth(WARNING_LIMIT) {
        Some(_) => text.chars().take(WARNING_LIMIT - 1).chain(['…']).collect(),
        None => text,
    }
}

/// Which policy, in at most so many bytes, and which check speak.
struct Source<'a>(&'a CheckResult, usize);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(result, most) = self;
        if let Some(policy) = &result.policy {
            write!(f, "policy {}, ", printable(&policy.to_string(), *most))?;
        }
        write!(f, "check {}", result.check.as_str())
    }
}

/// What a finding says in one sentence, with at most so many bytes of what was found and wanted.
fn prose(finding: &Finding, found: usize, wanted: usize) -> String {
    let Finding { reason, remedy, .. } = finding;
    format!(
        "{}: found {}; wanted {}; {remedy}",
        reason.as_str(),
        printable(&finding.found, found),
        printable(&finding.wanted, wanted)
    )
}

/// The longest beginning of `text` that has at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
