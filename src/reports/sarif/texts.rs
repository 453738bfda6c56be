//! What stands in the texts of results and rules. Names of packages are the image's own, and may hold anything, line
//! breaks too: a text is taken apart only if it has the scanner's form from end to end.

use super::{Dialect, Entry, Rule};
use crate::{
    evidence::{Severity, Vulnerability},
    reports::text,
};

/// The vulnerability of which a result speaks; none if it does not name one.
pub(super) fn vulnerability(dialect: Dialect, entry: &Entry, rule: Option<&Rule>) -> Option<Vulnerability> {
    let id = text::id(&entry.rule_id)?;
    // what nobody can read: no severity, and a fix that nobody names
    let unread = Vulnerability { id, fixed: Some(String::new()), ..Vulnerability::default() };
    Some(match dialect {
        Dialect::Trivy => trivy(entry, rule, unread),
        Dialect::Grype => grype(entry, rule, unread),
        Dialect::Snyk => snyk(entry, rule, unread),
    })
}

/// The message of the result is of its own package; the text of the rule is of whichever package came last.
fn trivy(entry: &Entry, rule: Option<&Rule>, unread: Vulnerability) -> Vulnerability {
    let form = ["Package: ", "Installed Version: ", "Vulnerability ", "Severity: ", "Fixed Version: "];
    match lines(&entry.message.text, form) {
        Some([package, installed, id, severity, fixed]) if id == entry.rule_id => Vulnerability {
            severity: text::severity(severity),
            score: rule.and_then(Rule::score),
            package: text::package(package),
            installed: text::package(installed),
            fixed: text::fixed(fixed),
            ..unread
        },
        _ => unread,
    }
}

/// What stands behind each of `form` at the start of one of the first lines. None unless the text begins so, and
/// no later line does.
fn lines<'a, const N: usize>(text: &'a str, form: [&str; N]) -> Option<[&'a str; N]> {
    let mut lines = text.split('\n');
    let mut found = [""; N];
    for (found, start) in found.iter_mut().zip(form) {
        *found = lines.next()?.strip_prefix(start)?;
    }
    (!lines.any(|line| form.iter().any(|start| line.starts_with(start)))).then_some(found)
}

/// The rule is of one vulnerability in one package, in whichever version came first: its fix counts for that
/// version only.
fn grype(entry: &Entry, rule: Option<&Rule>, unread: Vulnerability) -> Vulnerability {
    let form = ["Vulnerability ", "Severity: ", "Package: ", "Version: ", "Fix Version: ", "Type: "];
    let help = rule.and_then(|rule| lines(&rule.help.text, form));
    let message =
        grype_message(&entry.message.text).or_else(|| grype_message_before_0_70(&entry.message.text));
    let aliases = text::aliases(&unread.id, text::cves(&entry.rule_id).take(1));
    let Some(message) = message else { return Vulnerability { aliases, ..unread } };
    let Some(id) = entry.rule_id.strip_suffix(message.package).and_then(|id| id.strip_suffix('-')) else {
        return Vulnerability { aliases, ..unread };
    };
    let Some(id) = text::id(id) else { return Vulnerability { aliases, ..unread } };
    let word = message.severity.or(help.map(|[_, severity, ..]| severity)).unwrap_or_default();
    // It writes 0.0 where it knows neither a score nor a severity, and 1.0 for Low without a score.
    let score = rule.and_then(Rule::score).filter(|score| *score > 0);
    Vulnerability {
        severity: grype_severity(word, score),
        score,
        package: text::package(message.package),
        package_type: text::kind(message.kind),
        installed: text::package(message.version),
        fixed: match help {
            Some([_, _, package, version, fixed, _])
                if package == message.package && version == message.version =>
            {
                text::fixed(fixed)
            }
            _ => unread.fixed,
        },
        id,
        ..Vulnerability::default()
    }
}

/// Grype writes `low` for Low, Negligible and Unknown: the word stands for the severity of the highest score that it
/// knows then, and for none where it knows no score.
fn grype_severity(word: &str, score: Option<u8>) -> Option<Severity> {
    match text::severity(word)? {
        Severity::Low => score.map(|score| text::severity_of_score(score).max(Severity::Low)),
        other => Some(other),
    }
}

/// What the message of a result of Grype says.
struct GrypeMessage<'a> {
    severity: Option<&'a str>,
    kind: &'a str,
    package: &'a str,
    version: &'a str,
}

/// `A low vulnerability in rpm package: acme, version 1.1 was found in image name at: path`
fn grype_message(text: &str) -> Option<GrypeMessage<'_>> {
    let (severity, rest) = text.strip_prefix("A ")?.split_once(" vulnerability in ")?;
    let (kind, rest) = rest.split_once(" package: ")?;
    let (rest, _) = rest.rsplit_once(" was found in image ")?;
    let (package, version) = rest.rsplit_once(", version ")?;
    let one_word = |text: &str| !text.contains(char::is_whitespace);
    (one_word(severity) && one_word(kind)).then_some(GrypeMessage {
        severity: Some(severity),
        kind,
        package,
        version,
    })
}

/// `The path /p reports acme at version 1.1  which is a vulnerable (deb) package installed in the container`
fn grype_message_before_0_70(text: &str) -> Option<GrypeMessage<'_>> {
    let rest = text.strip_prefix("The path ")?.strip_suffix(") package installed in the container")?;
    let (rest, kind) = rest.rsplit_once(" which is a vulnerable (")?;
    let (rest, version) = rest.rsplit_once(" at version ")?;
    let (_, package) = rest.rsplit_once(" reports ")?;
    Some(GrypeMessage { severity: None, kind, package, version: version.trim() })
}

/// The severity stands in the rule's title, the CVE in its description, and the package in a logical location. Where
/// nobody names a fix, none is known: Snyk lists one in newer versions only.
fn snyk(entry: &Entry, rule: Option<&Rule>, unread: Vulnerability) -> Vulnerability {
    let title = rule.and_then(|rule| rule.short_description.text.split_once(" severity - "));
    let place = entry.locations.iter().flat_map(|location| location.logical_locations.iter());
    let named = place.filter_map(|place| place.fully_qualified_name.as_deref()?.rsplit_once('@')).next();
    let (Some((severity, _)), Some((package, installed)), Some(rule)) = (title, named, rule) else {
        return unread;
    };
    let cves = text::cves(rule.full_description.text.split(')').next().unwrap_or_default());
    let fixes: Vec<_> = entry.fixes.iter().map(|fix| fix.description.text.trim()).collect();
    let fixed = fixes.first().map(|text| text.strip_prefix("Upgrade to ").unwrap_or_default());
    Vulnerability {
        aliases: text::aliases(&unread.id, cves),
        severity: text::severity(severity),
        score: rule.score(),
        package: text::package(package),
        installed: text::package(installed),
        fixed: fixed.map(|text| text::plain(text.rsplit_once('@').map_or(text, |(_, version)| version))),
        ..unread
    }
}
