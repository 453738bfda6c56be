use std::fmt::{self, Write as _};

use super::{CheckResult, Decision, Finding, ImageDecision};
use crate::policy::Action;

/// The most bytes that a denial takes up.
const DENIAL_LIMIT: usize = 1024;
/// The most characters of one warning (Kubernetes API, `AdmissionResponse.warnings`).
const WARNING_LIMIT: usize = 256;
/// The most characters of all warnings of one answer (the API server drops what is over).
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
/// was found, what was wanted and what to do. At most 1 KiB; what does not fit is counted.
pub fn denial(decision: &Decision, refusal: Refusal<'_>) -> String {
    let refused: Vec<&ImageDecision> = decision.images.iter().filter(|image| !image.allowed()).collect();
    let mut text = format!(
        "{} {}/{} refused by image policy (decision {}):",
        refusal.kind,
        printable(refusal.namespace, 63),
        printable(refusal.name, 253),
        refusal.decision_id
    );
    let tail = |left: usize| format!("\n… and {left} more; the decision log has them all");
    let entries = group(&refused);
    for (at, entry) in entries.iter().enumerate() {
        let room = DENIAL_LIMIT - if at + 1 == entries.len() { 0 } else { tail(entries.len()).len() };
        if text.len() + entry.len() > room && at > 0 {
            text.push_str(&tail(entries.len() - at));
            return text;
        }
        text.push_str(entry);
    }
    truncate(&mut text, DENIAL_LIMIT);
    text
}

/// The warnings that the author of an admitted object reads, each of at most 256 characters and
/// together of at most 4,096. What does not fit is counted in the last one.
pub fn warnings(decision: &Decision) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for image in &decision.images {
        for result in &image.results {
            let (Some(Action::Warn), Some(finding)) = (result.demands(), result.verdict.finding()) else {
                continue;
            };
            let warning = warning(image, result, finding);
            if !all.contains(&warning) {
                all.push(warning);
            }
        }
    }
    let mut kept = Vec::new();
    let mut used = 0;
    let count = all.len();
    for (at, warning) in all.into_iter().enumerate() {
        let length = warning.chars().count();
        let more = format!("… and {} more warnings; the decision log has them all", count - at);
        let reserve = if at + 1 == count { 0 } else { more.chars().count() };
        if used + length + reserve > WARNINGS_LIMIT {
            kept.push(more);
            break;
        }
        used += length;
        kept.push(warning);
    }
    kept
}

/// The part of `text` that may be shown to a person: at most `most` characters, with everything
/// escaped that could break a line, hide or reorder what is read.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for (at, character) in text.chars().enumerate() {
        if at == most {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// One entry per distinct image and failed check, with all the places where it stands.
fn group(refused: &[&ImageDecision]) -> Vec<String> {
    let mut entries: Vec<(&ImageDecision, &CheckResult, Vec<&str>)> = Vec::new();
    for image in refused {
        for result in image.results.iter().filter(|result| result.demands() == Some(Action::Deny)) {
            match entries.iter_mut().find(|(seen, known, _)| seen.image == image.image && *known == result) {
                Some((_, _, places)) => places.push(&image.pointer),
                None => entries.push((image, result, vec![&image.pointer])),
            }
        }
    }
    entries.iter().filter_map(|(image, result, places)| entry(image, result, places)).collect()
}

fn entry(image: &ImageDecision, result: &CheckResult, places: &[&str]) -> Option<String> {
    let finding = result.verdict.finding()?;
    let mut text = format!("\n- image {}", printable(&image.image, 160));
    if let Some(digest) = image.digest.as_ref().filter(|digest| !image.image.contains(digest.as_str())) {
        // OK because writing to a String cannot fail
        write!(text, " ({digest})").unwrap();
    }
    write!(text, " at {}", places[0]).unwrap();
    if places.len() > 1 {
        write!(text, " and {} more places", places.len() - 1).unwrap();
    }
    write!(text, "\n  {}: {}", Source(result), Prose(finding)).unwrap();
    Some(text)
}

fn warning(image: &ImageDecision, result: &CheckResult, finding: &Finding) -> String {
    let mut text = String::new();
    if let Some(date) = result.enforced_from {
        // OK because writing to a String cannot fail
        write!(text, "refused from {date} on: ").unwrap();
    }
    write!(text, "image {}: {}: {}", printable(&image.image, 90), Source(result), Prose(finding)).unwrap();
    if text.chars().count() > WARNING_LIMIT {
        text = text.chars().take(WARNING_LIMIT - 1).collect();
        text.push('…');
    }
    text
}

/// Which policy and which check speak.
struct Source<'a>(&'a CheckResult);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.policy {
            Some(policy) => write!(f, "policy {policy}, check {}", self.0.check.as_str()),
            None => write!(f, "check {}", self.0.check.as_str()),
        }
    }
}

/// What a finding says in one sentence.
struct Prose<'a>(&'a Finding);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { reason, found, wanted, remedy } = self.0;
        write!(
            f,
            "{}: found {}; wanted {}; {remedy}",
            reason.as_str(),
            printable(found, 240),
            printable(wanted, 240)
        )
    }
}

fn truncate(text: &mut String, most: usize) {
    if text.len() > most {
        let mut end = most - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
