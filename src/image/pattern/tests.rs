use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn compile(text: &str) -> Result<ImagePattern, PatternError> {
    text.parse()
}

fn matches(pattern: &str, image: &str) -> bool {
    compile(pattern).unwrap().matches(&image.parse().unwrap())
}

#[rstest]
// Every image, any registry
#[case("**", "nginx", true)]
#[case("**", "[::1]:5000/a/b/c", true)]
#[case("**/x", "registry.example.com/x", true)]
#[case("**/x", "registry.example.com:5000/x", true)]
#[case("**/x", "registry.example.com/team/x", false)]
#[case("**/nginx", "nginx", false)]
#[case("**/library/nginx", "nginx", true)]
#[case("**/**", "nginx", true)]
// Docker Hub's defaults, the same as in references
#[case("nginx", "nginx", true)]
#[case("nginx", "docker.io/library/nginx:1", true)]
#[case("nginx", "index.docker.io/nginx", true)]
#[case("nginx", "team/nginx", false)]
#[case("nginx", "registry-1.docker.io/library/nginx", false)]
#[case("docker.io/nginx", "nginx", true)]
#[case("index.docker.io/nginx", "nginx", true)]
#[case("library/nginx", "nginx", true)]
#[case("docker.io/*", "nginx", true)]
#[case("docker.io/*", "team/nginx", false)]
#[case("docker.io/**", "team/nginx", true)]
#[case("index.docker.io/**", "nginx", true)]
#[case("team/*", "docker.io/team/app", true)]
#[case("team/*", "team/app/extra", false)]
#[case("team-*/app", "team-a/app", true)]
#[case("team-*/app", "team-a.example.com/app", false)]
#[case("nginx*", "nginx-unprivileged", true)]
#[case("docker.io/mycompany/*", "docker.io/mycompanyevil/x", false)]
#[case("docker.io/mycompany", "docker.io/mycompanyevil", false)]
// One registry, and what only looks like it
#[case("registry.example.com/**", "registry.example.com/x", true)]
#[case("registry.example.com/**", "registry.example.com/a/b/c", true)]
#[case("registry.example.com/**", "REGISTRY.example.com/x", true)]
#[case("Registry.Example.com/**", "registry.example.com/x", true)]
#[case("registry.example.com/**", "registry.example.com.evil.io/x", false)]
#[case("registry.example.com/**", "evil.io/registry.example.com/x", false)]
#[case("registry.example.com/**", "registry.example.com:5000/x", false)]
#[case("registry.example.com/**", "registryxexample.com/x", false)]
#[case("registry.example.com/**", "evilregistry.example.com/x", false)]
#[case("registry.example.com/**", "registry.example.com", false)]
#[case("registry.example.com:5000/**", "registry.example.com:5000/x", true)]
#[case("registry.example.com:5000/**", "registry.example.com/x", false)]
#[case("registry.example.com:5000/**", "registry.example.com:50001/x", false)]
#[case("registry.example.com/*", "registry.example.com/x", true)]
#[case("registry.example.com/*", "registry.example.com/x/y", false)]
#[case("registry.example.com/team/**", "registry.example.com/team/x", true)]
#[case("registry.example.com/team/**", "registry.example.com/team", false)]
#[case("registry.example.com/team/**", "registry.example.com/teams/x", false)]
// Wildcards in the host
#[case("*.example.com/**", "a.example.com/x", true)]
#[case("*.example.com/**", "a.b.example.com/x", false)]
#[case("*.example.com/**", "example.com/x", false)]
#[case("*.example.com/**", "a.example.com.evil.io/x", false)]
#[case("*.example.com/**", "a.example.com:5000/x", false)]
#[case("*.example.com:5000/**", "a.example.com:5000/x", true)]
#[case("*.Example.com/**", "a.example.com/x", true)]
#[case("**.example.com/**", "a.example.com/x", true)]
#[case("**.example.com/**", "c.b.a.example.com/x", true)]
#[case("**.example.com/**", "example.com/x", false)]
#[case("**.example.com/**", "evilexample.com/x", false)]
#[case("**.*.example.com/**", "a.example.com/x", false)]
#[case("**.*.example.com/**", "b.a.example.com/x", true)]
#[case("reg-*.example.com/x", "reg-1.example.com/x", true)]
#[case("reg-*.example.com/x", "reg-1.2.example.com/x", false)]
#[case("10.0.0.*/x", "10.0.0.7/x", true)]
#[case("*:5000/x", "registry:5000/x", true)]
#[case("*:5000/x", "registry.example.com:5000/x", false)]
#[case("*.*/x", "[::1]/x", false)]
#[case("*.io/nginx", "nginx", false)]
#[case("*.io/library/nginx", "nginx", true)]
#[case("[0:0::1]:5000/**", "[::1]:5000/x", true)]
#[case("localhost:5000/**", "localhost:5000/x", true)]
#[case("localhost/**", "localhost:5000/x", false)]
// Wildcards in the path
#[case("h.io/a/**/z", "h.io/a/b/z", true)]
#[case("h.io/a/**/z", "h.io/a/b/c/z", true)]
#[case("h.io/a/**/z", "h.io/a/z", false)]
#[case("h.io/a/**/z", "h.io/a/z/z", true)]
#[case("h.io/**/a/**/b", "h.io/x/a/a/b/y/b", true)]
#[case("h.io/**/a/**/b", "h.io/x/a/b", false)]
#[case("h.io/**/**", "h.io/x", false)]
#[case("h.io/**/**", "h.io/x/y", true)]
#[case("h.io/team-*", "h.io/team-a", true)]
#[case("h.io/team-*", "h.io/team-a/b", false)]
#[case("h.io/*-*", "h.io/a-b-c", true)]
#[case("h.io/a*a", "h.io/a", false)]
#[case("h.io/a*a", "h.io/aa", true)]
#[case("h.io/a*b*c", "h.io/acb", false)]
fn host_and_path_match_apart_and_as_a_whole(
    #[case] pattern: &str,
    #[case] image: &str,
    #[case] expected: bool,
) {
    assert_eq!(matches(pattern, image), expected);
}

#[test]
fn tag_and_digest_play_no_part() {
    let digest = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";
    for image in ["h.io/x", "h.io/x:1", &format!("h.io/x@{digest}"), &format!("h.io/x:1@{digest}")] {
        assert!(matches("h.io/x", image));
    }
}

#[rstest]
#[case("", PatternError::Empty)]
#[case("*", PatternError::LoneStar)]
#[case("*/x", PatternError::FirstStar)]
#[case("*/**", PatternError::FirstStar)]
#[case("registry.example.com", PatternError::LoneHost { name: "registry.example.com".into() })]
#[case("*.example.com", PatternError::LoneHost { name: "*.example.com".into() })]
#[case("localhost", PatternError::LoneHost { name: "localhost".into() })]
#[case("nginx:1.27", PatternError::TagOrDigest)]
#[case("registry:5000", PatternError::TagOrDigest)]
#[case("registry.example.com:5000", PatternError::TagOrDigest)]
#[case("registry.example.com/x:*", PatternError::TagOrDigest)]
#[case("registry.example.com/x@sha256:*", PatternError::TagOrDigest)]
#[case("user@registry.example.com/x", PatternError::TagOrDigest)]
#[case("***", PatternError::DoubleStar { part: "***".into() })]
#[case("registry.**/x", PatternError::DoubleStar { part: "registry.**".into() })]
#[case("a.**.io/x", PatternError::DoubleStar { part: "a.**.io".into() })]
#[case("**:5000/x", PatternError::DoubleStar { part: "**:5000".into() })]
#[case("**x.io/x", PatternError::DoubleStar { part: "**x.io".into() })]
#[case("h.io/team-**", PatternError::DoubleStar { part: "team-**".into() })]
#[case("h.io/***", PatternError::DoubleStar { part: "***".into() })]
#[case("h.io/X", NameError::PathCase { segment: "X".into() }.into())]
#[case("h.io/", NameError::PathSegment { segment: "".into() }.into())]
#[case("h.io//**", NameError::PathSegment { segment: "".into() }.into())]
#[case("h.io/**/", NameError::PathSegment { segment: "".into() }.into())]
#[case("h.io/.*", NameError::PathSegment { segment: ".*".into() }.into())]
#[case("h.io/a..*", NameError::PathSegment { segment: "a..*".into() }.into())]
#[case("h.io/*_", NameError::PathSegment { segment: "*_".into() }.into())]
#[case("h.io/..", NameError::PathSegment { segment: "..".into() }.into())]
#[case("-*.io/x", NameError::Host { host: "-*.io".into() }.into())]
#[case("**./x", NameError::Host { host: "".into() }.into())]
#[case("h.io./x", NameError::Host { host: "h.io.".into() }.into())]
#[case("h.io:*/x", NameError::Port { port: "*".into() }.into())]
#[case("h.io:050/x", NameError::Port { port: "050".into() }.into())]
#[case("[::*]/x", NameError::Host { host: "[::*]".into() }.into())]
#[case("[::*/x", NameError::Ipv6 { address: "[::*".into() }.into())]
#[case("Team/*", NameError::HostCase { host: "Team".into() }.into())]
#[case("Team-*/x", NameError::HostCase { host: "Team-*".into() }.into())]
#[case("DOCKER.io/x", NameError::HostCase { host: "DOCKER.io".into() }.into())]
#[case("https://h.io/**", NameError::Scheme.into())]
#[case("h.io/a?", NameError::Character { character: '?', at: 6 }.into())]
#[case("h.io/[a-z]", NameError::PathSegment { segment: "[a-z]".into() }.into())]
#[case("h.io/{a,b}", NameError::Character { character: '{', at: 5 }.into())]
#[case("!h.io/x", NameError::Character { character: '!', at: 0 }.into())]
#[case(" h.io/x", NameError::Character { character: ' ', at: 0 }.into())]
#[case("gh\u{441}r.io/x", NameError::Character { character: '\u{441}', at: 2 }.into())]
fn what_could_be_misread_or_never_match_is_refused(#[case] text: &str, #[case] expected: PatternError) {
    assert_eq!(compile(text), Err(expected));
}

#[test]
fn the_limits_hold_to_the_byte() {
    let host = format!("{}.io", "h".repeat(250));
    assert!(compile(&format!("{host}/{}", "p".repeat(255))).is_ok());
    assert_eq!(
        compile(&format!("h.io/{}", "p".repeat(256))),
        Err(NameError::PathLength { length: 256 }.into())
    );
    assert_eq!(compile(&format!("*h{host}/x")), Err(NameError::HostLength { length: 254 }.into()));
    assert_eq!(compile(&"p".repeat(513)), Err(PatternError::TooLong { length: 513 }));
    assert!(compile(&format!("h.io/x{}", "*x".repeat(16))).is_ok());
    assert_eq!(compile(&format!("h.io/x{}", "*x".repeat(17))), Err(PatternError::Wildcards { count: 17 }));
}

#[test]
fn a_pattern_prints_as_its_author_wrote_it() {
    for text in ["**", "nginx", "Registry.example.com:5000/team-*/**"] {
        assert_eq!(compile(text).unwrap().to_string(), text);
        assert_eq!(compile(text).unwrap().as_str(), text);
    }
}

#[test]
fn a_refusal_says_what_to_write_instead() {
    insta::assert_snapshot!(
        ["nginx:1.27", "*", "*/x", "registry.example.com", "h.io/team-**"]
            .map(|text| format!("{text}: {}", compile(text).unwrap_err()))
            .join("\n"),
        @r#"
    nginx:1.27: an image pattern has no tag and no digest: use references.denyTags, denyDigests or requireDigest; a host with a port needs a path behind it, "/**" for all
    *: "*" alone is ambiguous: write "**" for every image, "docker.io/library/*" for Docker Hub's own
    */x: "*/" at the start is ambiguous: write "**/" for any registry, "docker.io/*/" for any namespace there
    registry.example.com: "registry.example.com" could be a registry: write "registry.example.com/**" for all in it, "docker.io/library/registry.example.com" for Docker Hub's image
    h.io/team-**: "team-**": "**" stands for whole parts alone: "**/" or "**." at the start, "/**" behind a host; within a part write one "*"
    "#
    );
}

/// With a matcher that tries every split, each of these would outlast the machine.
#[test]
fn a_pattern_that_almost_matches_in_many_ways_is_answered_at_once() {
    let stars = format!("h.io/{}b", "*a".repeat(16));
    let segments = format!("h.io/{}b", "**/a/".repeat(15));
    let dashes = format!("h.io/{}b/x", "**/a*/".repeat(7));
    for _ in 0..100 {
        assert!(!matches(&stars, &format!("h.io/{}", "a".repeat(255))));
        assert!(!matches(&segments, &format!("h.io/{}a", "a/".repeat(127))));
        assert!(!matches(&dashes, &format!("h.io/{}a", "a/".repeat(127))));
    }
}

/// The matcher as one would say it: every way to share out the text is tried.
mod naive {
    pub fn matches(pattern: &str, host: &str, path: &str) -> bool {
        let (host_pattern, path_pattern) = match pattern.split_once('/') {
            None if pattern == "**" => ("**", "**".to_owned()),
            None => ("docker.io", format!("library/{pattern}")),
            Some(("docker.io", name)) if name != "**" && !name.contains('/') => {
                ("docker.io", format!("library/{name}"))
            }
            Some((first, rest)) if first == "**" || first == "localhost" || first.contains(['.', ':']) => {
                (first, rest.to_owned())
            }
            Some(_) => ("docker.io", pattern.to_owned()),
        };
        let path_parts: Vec<_> = path_pattern.split('/').collect();
        let segments: Vec<_> = path.split('/').collect();
        host_matches(host_pattern, host) && parts(&path_parts, &segments)
    }

    fn host_matches(pattern: &str, host: &str) -> bool {
        let cut = |text: &str| -> (Vec<String>, String) {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            (name.split('.').map(str::to_owned).collect(), port.to_owned())
        };
        let ((labels, port), (written, written_port)) = (cut(pattern), cut(host));
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let written: Vec<_> = written.iter().map(String::as_str).collect();
        pattern == "**" || (port == written_port && parts(&labels, &written))
    }

    fn parts(pattern: &[&str], text: &[&str]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ["**", rest @ ..] => (1..=text.len()).any(|taken| parts(rest, &text[taken..])),
            [first, rest @ ..] => match text {
                [part, others @ ..] => characters(first.as_bytes(), part.as_bytes()) && parts(rest, others),
                [] => false,
            },
        }
    }

    fn characters(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| characters(rest, &text[taken..])),
            [first, rest @ ..] => text.first() == Some(first) && characters(rest, &text[1..]),
        }
    }
}

/// Few letters, so that patterns and images meet often.
fn small_pattern() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        3 => Just(String::new()),
        3 => Just("**/".to_owned()),
        2 => Just("docker.io/".to_owned()),
        6 => "(\\*\\*\\.)?([ab*]{1,2}\\.){0,2}[ab*]{1,2}\\.[ab*](:1|:2)?/",
        2 => "[ab*]{1,2}(:1|:2)/",
    ];
    let path = "(\\*\\*|[ab*]{1,3}|[ab*]-[ab*])(/(\\*\\*|[ab*]{1,3})){0,4}";
    (host, path).prop_map(|(host, path)| format!("{host}{path}"))
}

fn small_image() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just(String::new()),
        Just("docker.io/".to_owned()),
        "([ab]{1,2}\\.){1,3}[ab](:1|:2)?/",
        "[ab]{1,2}(:1|:2)/",
    ];
    (host, "[ab]{1,3}(-[ab])?(/[ab]{1,3}){0,4}").prop_map(|(host, path)| format!("{host}{path}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_matcher_agrees_with_the_naive_one(pattern in small_pattern(), image in small_image()) {
        let image: ImageReference = image.parse().unwrap();
        if let Ok(compiled) = compile(&pattern) {
            prop_assert_eq!(
                compiled.matches(&image),
                naive::matches(&pattern, image.host(), image.repository()),
                "{} against {}", pattern, image
            );
        }
    }

    #[test]
    fn a_name_without_wildcards_matches_itself(image in small_image()) {
        let image: ImageReference = image.parse().unwrap();
        prop_assert!(compile(image.name()).unwrap().matches(&image));
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in any::<String>()) {
        let _ = compile(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_text_of_our_own_characters_makes_the_compiler_panic(text in "[aA1.:/@_*\\[\\]-]{0,24}", image in small_image()) {
        if let Ok(pattern) = compile(&text) {
            pattern.matches(&image.parse().unwrap());
        }
    }
}
