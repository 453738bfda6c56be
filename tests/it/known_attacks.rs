//! The page of known attacks names tests, and all of them exist.

use std::{collections::BTreeSet, fs, path::Path};

const PAGE: &str = include_str!("../../docs/security/known-attacks.md");

/// What begins with the name of one of our crates is the name of a test.
const CRATES: [(&str, &str); 2] = [("it::", "tests/it"), ("tidewaiter::", "src")];

#[test]
fn every_test_that_the_page_of_known_attacks_names_exists() {
    let missing: Vec<_> = names(PAGE).into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "the page names tests that are not there:\n{}", missing.join("\n"));
}

#[test]
fn every_line_of_the_page_of_known_attacks_names_a_test() {
    let lines = PAGE.lines().filter(|line| line.starts_with("| "));
    let lines: Vec<_> =
        lines.filter(|line| !line.starts_with("| ---") && !line.ends_with("| Tests |")).collect();
    assert!(lines.len() > 30, "{}", lines.len());
    let bare: Vec<_> = lines.into_iter().filter(|line| names(line).is_empty()).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let name = "it::known_attacks::a_test_that_is_not_there_is_noticed";
    assert!(exists(name));
    for other in [
        "it::known_attacks::a_test_that_is_not_there",
        "it::known_attacks::tests::a_test_that_is_not_there_is_noticed",
        "it::damaged::a_test_that_is_not_there_is_noticed",
        "it::nowhere::a_test_that_is_not_there_is_noticed",
        // There is one of that name, and it is no test.
        "it::known_attacks::exists",
        "tidewaiter::decision::printable",
    ] {
        assert!(!exists(other), "{other}");
    }
    // Beside the code, in a module of its own, and in one within the file.
    assert!(exists("tidewaiter::review::tests::only_answers_are_remembered"));
    assert!(exists("tidewaiter::policy::authority::tests::a_star_in_a_text_is_a_star"));
}

/// The names of tests in a text, each in backticks.
fn names(text: &str) -> BTreeSet<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter(|span| CRATES.iter().any(|(name, _)| span.starts_with(name)) && !span.ends_with(['…', ':']))
        .collect()
}

/// Whether there is a test of this name in this module.
fn exists(name: &str) -> bool {
    let Some((path, folder)) =
        CRATES.iter().find_map(|(krate, folder)| Some((name.strip_prefix(krate)?, folder)))
    else {
        return false;
    };
    let (module, function) = path.rsplit_once("::").unwrap_or(("", path));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let file = |module: &str| {
        let path = module.replace("::", "/");
        [format!("{path}.rs"), format!("{path}/mod.rs")]
            .iter()
            .find_map(|file| fs::read_to_string(root.join(file)).ok())
    };
    let source = match (file(module), module.strip_suffix("::tests")) {
        (Some(source), _) => Some(source),
        // A module within the file.
        (None, Some(outer)) => {
            file(outer).and_then(|source| Some(source.split_once("mod tests {")?.1.to_owned()))
        }
        (None, None) => None,
    };
    source.is_some_and(|source| is_test(&source, function))
}

/// Whether the function stands in the source, and is a test.
fn is_test(source: &str, function: &str) -> bool {
    let Some(place) = source.find(&format!("fn {function}(")) else { return false };
    let above = &source[..place];
    // Its attributes reach back to the last empty line.
    let own = &above[above.rfind("\n\n").unwrap_or(0)..];
    ["#[test]", "#[rstest]", "#[tokio::test", "#[actix_web::test"]
        .iter()
        .any(|attribute| own.contains(attribute))
}
