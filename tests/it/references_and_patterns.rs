//! Holds `docs/references-and-patterns.md` to its word: every row of its tables is tried.

use tidewaiter::image::{ImagePattern, ImageReference};

const DOCUMENT: &str = include_str!("../../docs/references-and-patterns.md");

/// The rows of the first table below `heading`: of each cell, what stands in backquotes.
fn table(heading: &str) -> Vec<Vec<Vec<&'static str>>> {
    let below = DOCUMENT.split_once(&format!("\n## {heading}\n")).expect(heading).1;
    let rows =
        below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows
        .skip(2)
        .map(|row| {
            row.trim_matches('|')
                .split('|')
                .map(|cell| cell.split('`').skip(1).step_by(2).collect())
                .collect()
        })
        .collect();
    assert!(rows.len() > 3, "the table below {heading:?} has only {} rows", rows.len());
    rows
}

fn reference(text: &str) -> ImageReference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn pattern(text: &str) -> ImagePattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_documented_canonical_form_is_the_one() {
    for row in table("Canonical form") {
        let [written, canonical] = &row[..] else { panic!("{row:?}") };
        assert!(!written.is_empty(), "{row:?}");
        for text in written {
            assert_eq!(reference(text).to_string(), canonical[0]);
        }
    }
}

#[test]
fn every_reference_that_is_documented_as_refused_is_refused() {
    for row in table("What is refused") {
        assert!(!row[0].is_empty(), "{row:?}");
        for text in &row[0] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}

#[test]
fn every_documented_pattern_matches_what_it_is_said_to() {
    for row in table("Patterns") {
        let [patterns, matching, others] = &row[..] else { panic!("{row:?}") };
        assert!(!patterns.is_empty() && !matching.is_empty(), "{row:?}");
        for text in patterns {
            let pattern = pattern(text);
            for image in matching {
                assert!(pattern.matches(&reference(image)), "{text} is said to match {image}");
            }
            for image in others {
                assert!(!pattern.matches(&reference(image)), "{text} is said not to match {image}");
            }
        }
    }
}

#[test]
fn every_refused_pattern_has_documented_ones_that_work() {
    for row in table("Patterns that are refused") {
        let [refused, instead, ..] = &row[..] else { panic!("{row:?}") };
        assert!(!refused.is_empty() && !instead.is_empty(), "{row:?}");
        for text in refused {
            assert!(text.parse::<ImagePattern>().is_err(), "{text}");
        }
        for text in instead {
            pattern(text);
        }
    }
}
