use proptest::prelude::*;
use rstest::rstest;

use crate::{
    evidence::Platform,
    image::Digest,
    reports::{Binding, Bound, KnownImage, ReadError, Report, Subject},
};

/// A digest of its own for each letter of hex.
fn digest(letter: char) -> Digest {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn report(digests: &str, config: Option<char>, scanned: Option<&str>) -> Report {
    let subject = Subject {
        digests: digests.chars().map(digest).collect(),
        config: config.map(digest),
        platform: scanned.map(platform),
        ..Subject::default()
    };
    Report { subject, ..Report::default() }
}

/// The manifest `a`, with the configuration `c`.
fn manifest() -> KnownImage {
    KnownImage { digest: digest('a'), platforms: Vec::new(), config: Some(digest('c')) }
}

/// The index `a`, of `1` for amd64 and `2` for arm64.
fn index() -> KnownImage {
    let platforms = vec![(platform("linux/amd64"), digest('1')), (platform("linux/arm64/v8"), digest('2'))];
    KnownImage { digest: digest('a'), platforms, config: None }
}

/// What it was bound to: the digest's letter, the platforms, and by what.
fn outcome(bound: Result<Bound, ReadError>) -> Result<(char, String, Binding), &'static str> {
    match bound {
        Ok(Bound { digest, platforms, by }) => {
            let platforms: Vec<_> = platforms
                .iter()
                .map(|(platform, digest)| match digest {
                    Some(digest) => format!("{platform}={}", &digest.hex()[..1]),
                    None => platform.to_string(),
                })
                .collect();
            Ok((digest.hex().chars().next().unwrap(), platforms.join(" "), by))
        }
        Err(ReadError::OtherImage { .. }) => Err("other image"),
        Err(ReadError::Unbound) => Err("unbound"),
        Err(ReadError::Ambiguous { .. }) => Err("ambiguous"),
        Err(ReadError::NoPlatform { .. }) => Err("no platform"),
        Err(error) => panic!("{error}"),
    }
}

type Outcome = Result<(char, &'static str, Binding), &'static str>;

#[rstest]
#[case::it_names_one("a", None, None, None, Ok(('a', "", Binding::Named)))]
#[case::it_names_none("", None, None, None, Err("unbound"))]
#[case::a_configuration_is_no_digest("", Some('c'), None, None, Err("unbound"))]
#[case::it_names_two("ab", None, None, None, Err("ambiguous"))]
#[case::it_names_the_one("a", None, None, Some('a'), Ok(('a', "", Binding::Named)))]
#[case::it_names_it_among_others("ba", None, None, Some('a'), Ok(('a', "", Binding::Named)))]
#[case::it_names_another("b", None, None, Some('a'), Err("other image"))]
#[case::it_is_told("", None, None, Some('a'), Ok(('a', "", Binding::Told)))]
#[case::it_says_which_platform("a", None, Some("linux/amd64"), Some('a'), Ok(('a', "linux/amd64", Binding::Named)))]
fn what_is_known_is_the_report_alone(
    #[case] digests: &str,
    #[case] config: Option<char>,
    #[case] scanned: Option<&str>,
    #[case] wanted: Option<char>,
    #[case] expected: Outcome,
) {
    let bound = report(digests, config, scanned).bind(wanted.map(digest).as_ref(), None);
    assert_eq!(outcome(bound), expected.map(|(digest, platforms, by)| (digest, platforms.to_owned(), by)));
}

#[rstest]
#[case::it_names_the_manifest("a", Some('c'), Ok(('a', "", Binding::Named)))]
#[case::it_names_the_configuration("", Some('c'), Ok(('a', "", Binding::Config)))]
#[case::it_has_the_configuration_by_another_name("b", Some('c'), Ok(('a', "", Binding::Config)))]
#[case::it_has_another_configuration("", Some('d'), Err("other image"))]
#[case::it_names_the_manifest_and_another_configuration("a", Some('d'), Err("other image"))]
#[case::containerd_gives_the_manifest_for_a_configuration("", Some('a'), Ok(('a', "", Binding::Named)))]
#[case::it_names_nothing("", None, Ok(('a', "", Binding::Told)))]
#[case::it_names_another("b", None, Err("other image"))]
fn the_image_is_known_to_be_a_manifest(
    #[case] digests: &str,
    #[case] config: Option<char>,
    #[case] expected: Outcome,
) {
    let report = report(digests, config, None);
    let expected = expected.map(|(digest, platforms, by)| (digest, platforms.to_owned(), by));
    assert_eq!(outcome(report.bind(None, Some(&manifest()))), expected);
    assert_eq!(outcome(report.bind(Some(&digest('a')), Some(&manifest()))), expected);
}

#[rstest]
#[case::it_names_the_index("a", None, Some("linux/amd64"), 'a', Ok(('a', "linux/amd64=1", Binding::Named)))]
#[case::arm64_has_one_variant("a", None, Some("linux/arm64"), 'a', Ok(('a', "linux/arm64/v8=2", Binding::Named)))]
#[case::it_does_not_say_which_was_scanned("a", None, None, 'a', Err("no platform"))]
#[case::it_says_one_that_there_is_not("a", None, Some("windows/amd64"), 'a', Err("other image"))]
#[case::it_is_told_and_does_not_say("", None, None, 'a', Err("no platform"))]
#[case::it_is_told_and_says("", None, Some("linux/amd64"), 'a', Ok(('a', "linux/amd64=1", Binding::Told)))]
#[case::it_names_a_platform("1", None, None, 'a', Ok(('1', "", Binding::Platform)))]
#[case::it_names_both("a1", None, None, 'a', Ok(('a', "linux/amd64=1", Binding::Named)))]
#[case::it_names_all_platforms("12", None, None, 'a', Ok(('a', "linux/amd64=1 linux/arm64/v8=2", Binding::Platform)))]
#[case::it_names_neither("b", None, Some("linux/amd64"), 'a', Err("other image"))]
#[case::containerd_gives_the_platform_for_a_configuration("", Some('1'), None, 'a', Ok(('1', "", Binding::Platform)))]
#[case::a_platform_is_wanted_and_named("1", None, None, '1', Ok(('1', "", Binding::Named)))]
#[case::a_platform_is_wanted_and_the_other_named("2", None, None, '1', Err("other image"))]
#[case::a_platform_is_wanted_and_was_scanned("a", None, Some("linux/amd64"), '1', Ok(('1', "", Binding::Platform)))]
#[case::a_platform_is_wanted_and_the_other_was_scanned(
    "a",
    None,
    Some("linux/arm64"),
    '1',
    Err("other image")
)]
#[case::a_platform_is_wanted_and_nobody_says_which_was_scanned("a", None, None, '1', Err("other image"))]
fn the_image_is_known_to_be_an_index(
    #[case] digests: &str,
    #[case] config: Option<char>,
    #[case] scanned: Option<&str>,
    #[case] wanted: char,
    #[case] expected: Outcome,
) {
    let bound = report(digests, config, scanned).bind(Some(&digest(wanted)), Some(&index()));
    assert_eq!(outcome(bound), expected.map(|(digest, platforms, by)| (digest, platforms.to_owned(), by)));
}

#[test]
fn an_index_of_one_platform_says_which_was_scanned() {
    let mut image = index();
    image.platforms.pop();
    let bound = report("a", None, None).bind(None, Some(&image));
    assert_eq!(outcome(bound), Ok(('a', "linux/amd64=1".to_owned(), Binding::Named)));
}

#[test]
fn what_is_known_of_another_image_counts_for_nothing() {
    let bound = report("b", Some('d'), None).bind(Some(&digest('b')), Some(&manifest()));
    assert_eq!(outcome(bound), Ok(('b', String::new(), Binding::Named)));
}

#[test]
fn a_report_that_contradicts_itself_is_about_nothing() {
    let mut report = report("a", None, None);
    report.subject.contradiction = Some("the configuration does not hash to imageID".to_owned());
    for image in [None, Some(manifest())] {
        let bound = report.bind(Some(&digest('a')), image.as_ref());
        assert!(matches!(bound, Err(ReadError::Malformed { .. })), "{bound:?}");
    }
}

proptest! {
    /// A report that names something binds to what it names, to the image that has its configuration, or to a
    /// platform of what it names; and to nothing else, whatever is known.
    #[test]
    fn a_report_binds_to_no_digest_that_it_has_nothing_to_do_with(
        named in proptest::collection::vec(0_usize..6, 1..4),
        config in proptest::option::of(6_usize..9),
        scanned in proptest::option::of(prop_oneof![Just("linux/amd64"), Just("linux/arm64")]),
        wanted in 0_usize..6,
        known in proptest::option::of((0_usize..6, proptest::collection::vec(0_usize..6, 0..3), proptest::option::of(6_usize..9))),
    ) {
        let letters: Vec<char> = "abcdef123".chars().collect();
        let names = ["linux/amd64", "linux/arm64"];
        let named: String = named.into_iter().map(|at| letters[at]).collect();
        let report = report(&named, config.map(|at| letters[at]), scanned);
        let image = known.map(|(at, platforms, config)| KnownImage {
            digest: digest(letters[at]),
            platforms: names.iter().zip(platforms).map(|(name, at)| (platform(name), digest(letters[at]))).collect(),
            config: config.map(|at| digest(letters[at])),
        });
        let wanted = digest(letters[wanted]);
        if let Ok(bound) = report.bind(Some(&wanted), image.as_ref()) {
            let names = |digest: &Digest| report.subject.digests.contains(digest);
            let of_image = image.as_ref().filter(|image| image.digest == wanted);
            let part = |platforms: &[(Platform, Digest)]| platforms.iter().any(|(_, digest)| names(digest));
            let related = names(&wanted)
                || of_image.is_some_and(|image| part(&image.platforms))
                || of_image.is_some_and(|image| image.config.is_some() && image.config == report.subject.config)
                || image.as_ref().is_some_and(|image| names(&image.digest) && image.platforms.iter().any(|(_, digest)| *digest == wanted));
            prop_assert!(related, "{bound:?}");
            let of_platform = |image: &KnownImage| image.platforms.iter().any(|(_, digest)| *digest == bound.digest);
            prop_assert!(bound.digest == wanted || of_image.is_some_and(of_platform));
        }
    }
}
