use super::{LIMITS, ReadError, Report, Subject, purl, text};
use crate::evidence::Vulnerability;

/// The most other names of all entries together. Formats that write an advisory once and point to it from each
/// package could otherwise turn a small file into much memory.
const ALIASES: usize = 4 * LIMITS.rows;

/// What a reader has found so far, within bounds and with texts as they are kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Vulnerability>,
    aliases: usize,
}

impl Findings {
    /// Adds an entry that stands at `place`.
    pub(super) fn add(
        &mut self,
        place: impl FnOnce() -> String,
        found: Vulnerability,
    ) -> Result<(), ReadError> {
        let too_many = |what, found, limit| Err(ReadError::TooLarge { what, found, limit });
        if self.list.len() == LIMITS.rows {
            return too_many("entries", LIMITS.rows + 1, LIMITS.rows);
        }
        let Some(id) = text::id(&found.id) else {
            return Err(ReadError::malformed(place(), "the vulnerability has no name"));
        };
        let aliases = text::aliases(&id, found.aliases.iter().map(String::as_str));
        self.aliases += aliases.len();
        if self.aliases > ALIASES {
            return too_many("other names of vulnerabilities", self.aliases, ALIASES);
        }
        self.list.push(Vulnerability {
            id,
            aliases,
            package: text::package(&found.package),
            package_type: purl::kind(&found.package_type),
            installed: text::package(&found.installed),
            fixed: found.fixed.map(|fixed| text::plain(&fixed)),
            ..found
        });
        Ok(())
    }

    /// The entries so far.
    pub(super) fn list(&self) -> &[Vulnerability] {
        &self.list
    }

    /// The report that has these entries, by a scanner whose name is not empty.
    pub(super) fn into_report(self, scanner: &str, subject: Subject) -> Report {
        Report {
            subject,
            scanner: scanner.to_owned(),
            rows: self.list.len(),
            vulnerabilities: self.list,
            ..Report::default()
        }
    }
}

/// Names of one vulnerability, as they are kept. What stands once in a document and for many entries is cut before it
/// is copied.
pub(super) fn named<'a>(id: &str, aliases: impl IntoIterator<Item = &'a str>) -> Vulnerability {
    let id = text::id(id).unwrap_or_default();
    Vulnerability { aliases: text::aliases(&id, aliases), id, ..Vulnerability::default() }
}

/// A text, if it says something.
pub(super) fn said(text: &str) -> Option<String> {
    Some(text::plain(text)).filter(|text| !text.is_empty())
}

/// The names of CVE in a text of several words. A word in which something cannot be seen names nothing.
pub(super) fn cves(text: &str) -> impl Iterator<Item = &str> {
    let seen = |word: &&str| text::package(word) == *word;
    text.split_ascii_whitespace().filter(seen).flat_map(text::cves)
}

/// By which name an advisory's title calls it: `RHSA-2022:6457` for `RHSA-2022:6457: python3 security update`.
pub(super) fn name_in_title(title: &str) -> &str {
    let word = title.split_ascii_whitespace().next().unwrap_or_default();
    match word.trim_end_matches(':') {
        "" => word,
        name => name,
    }
}

/// A version that mends a vulnerability, where `""` and `0` stand for none.
pub(super) fn fix(version: &str) -> Option<String> {
    text::fixed(version).filter(|version| version != "0")
}

/// The report is incomplete, which shows at `place`.
pub(super) fn incomplete(
    place: impl Into<String>,
    problem: impl Into<String>,
    remedy: &'static str,
) -> ReadError {
    ReadError::Incomplete { place: place.into(), problem: problem.into(), remedy }
}
