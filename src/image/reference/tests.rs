use proptest::prelude::*;
use rstest::rstest;

use super::*;

const HEX: &str = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";

fn parse(text: &str) -> Result<ImageReference, ReferenceError> {
    text.parse()
}

fn name_error(text: &str) -> NameError {
    match parse(text) {
        Err(ReferenceError::Name(error)) => error,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[rstest]
#[case::short("nginx", "docker.io/library/nginx:latest")]
#[case::official("library/nginx", "docker.io/library/nginx:latest")]
#[case::docker_hub("docker.io/nginx", "docker.io/library/nginx:latest")]
#[case::docker_index("index.docker.io/library/nginx", "docker.io/library/nginx:latest")]
#[case::docker_index_short("index.docker.io/nginx", "docker.io/library/nginx:latest")]
#[case::docker_registry("registry-1.docker.io/library/nginx", "registry-1.docker.io/library/nginx:latest")]
#[case::docker_registry_short("registry-1.docker.io/nginx", "registry-1.docker.io/nginx:latest")]
#[case::docker_hub_with_port("docker.io:443/nginx", "docker.io:443/nginx:latest")]
#[case::docker_hub_as_a_name("docker.io", "docker.io/library/docker.io:latest")]
#[case::namespace("team/app", "docker.io/team/app:latest")]
#[case::localhost("localhost/x", "localhost/x:latest")]
#[case::localhost_as_a_name("localhost", "docker.io/library/localhost:latest")]
#[case::localhost_with_port("localhost:5000/x", "localhost:5000/x:latest")]
#[case::localhost_in_capitals("LocalHost/x", "localhost/x:latest")]
#[case::tag_and_not_port("host:5000", "docker.io/library/host:5000")]
#[case::port_and_tag("host:5000/x:1", "host:5000/x:1")]
#[case::dot_makes_a_host("a.b/c", "a.b/c:latest")]
#[case::no_dot_no_host("a/b", "docker.io/a/b:latest")]
#[case::host_in_capitals("HOST.io/x", "host.io/x:latest")]
#[case::host_in_capitals_with_port("HOST:5000/x", "host:5000/x:latest")]
#[case::capital_tag("x:UPPER", "docker.io/library/x:UPPER")]
#[case::tag_of_all_sorts("x:_1.2-rc.3_B", "docker.io/library/x:_1.2-rc.3_B")]
#[case::ipv6("[::1]/x", "[::1]/x:latest")]
#[case::ipv6_with_port("[::1]:5000/x", "[::1]:5000/x:latest")]
#[case::ipv6_at_length("[2001:DB8:0:0:0:0:0:1]:5000/x:1", "[2001:db8::1]:5000/x:1")]
#[case::ipv4("10.0.0.1:5000/x", "10.0.0.1:5000/x:latest")]
#[case::host_in_the_path("attacker.com/ghcr.io/org/x", "attacker.com/ghcr.io/org/x:latest")]
#[case::longer_host("ghcr.io.evil.com/x", "ghcr.io.evil.com/x:latest")]
#[case::punycode("xn--ghcr-4ve.io/x", "xn--ghcr-4ve.io/x:latest")]
#[case::separators("a.b/c.d/e_f/g__h/i---j", "a.b/c.d/e_f/g__h/i---j:latest")]
#[case::longer_name("docker.io/mycompanyevil", "docker.io/library/mycompanyevil:latest")]
fn a_name_is_brought_into_canonical_form(#[case] text: &str, #[case] canonical: &str) {
    let image = parse(text).unwrap();
    assert_eq!(image.to_string(), canonical);
    assert_eq!(parse(canonical).unwrap(), image);
}

#[test]
fn the_parts_of_a_reference_are_found_again() {
    let text = format!("Registry.example.com:5000/team/app:1.2@sha256:{HEX}");
    let image = parse(&text).unwrap();
    assert_eq!(image.host(), "registry.example.com:5000");
    assert_eq!(image.repository(), "team/app");
    assert_eq!(image.name(), "registry.example.com:5000/team/app");
    assert_eq!(image.tag(), Some("1.2"));
    assert_eq!(image.digest().unwrap().hex(), HEX);
}

#[rstest]
#[case::sha256(&format!("x@sha256:{HEX}"), None)]
#[case::sha512(&format!("x@sha512:{HEX}{HEX}"), None)]
#[case::tag_and_digest(&format!("x:1@sha256:{HEX}"), Some("1"))]
#[case::host_port_and_digest(&format!("h:1/x@sha256:{HEX}"), None)]
fn a_digest_is_kept_and_no_tag_is_made_up_beside_it(#[case] text: &str, #[case] tag: Option<&str>) {
    let image = parse(text).unwrap();
    assert_eq!(image.tag(), tag);
    assert!(image.digest().is_some());
    assert_eq!(parse(&image.to_string()).unwrap(), image);
}

#[rstest]
#[case::empty("", ReferenceError::Empty)]
#[case::identifier(HEX, ReferenceError::Identifier)]
#[case::no_tag("host/x:", ReferenceError::Tag { tag: "".into() })]
#[case::two_tags("x:1:2", ReferenceError::Tag { tag: "1:2".into() })]
#[case::path_behind_the_tag("h.io/x:1/y", ReferenceError::Tag { tag: "1/y".into() })]
#[case::tag_begins_with_a_dot("x:.1", ReferenceError::Tag { tag: ".1".into() })]
#[case::tag_begins_with_a_dash("x:-1", ReferenceError::Tag { tag: "-1".into() })]
#[case::user("user@host.io/x", ReferenceError::UserName)]
#[case::user_and_password("user:secret@host.io/x", ReferenceError::UserName)]
#[case::no_digest("x@", ReferenceError::Digest(DigestError::Algorithm))]
#[case::sha384(&format!("x@sha384:{HEX}"), ReferenceError::Digest(DigestError::Algorithm))]
#[case::capital_algorithm(&format!("x@SHA256:{HEX}"), ReferenceError::Digest(DigestError::Algorithm))]
#[case::digest_of_63(
    &format!("x@sha256:{}", &HEX[1..]),
    ReferenceError::Digest(DigestError::Value { algorithm: "sha256", wanted: 64 })
)]
#[case::capital_hex(
    &format!("x@sha256:{}", HEX.to_uppercase()),
    ReferenceError::Digest(DigestError::Value { algorithm: "sha256", wanted: 64 })
)]
#[case::two_digests(
    &format!("x@sha256:{HEX}@sha256:{HEX}"),
    ReferenceError::Digest(DigestError::Value { algorithm: "sha256", wanted: 64 })
)]
fn what_is_no_reference_is_refused(#[case] text: &str, #[case] expected: ReferenceError) {
    assert_eq!(parse(text), Err(expected));
}

#[rstest]
#[case::leading_space(" nginx", ' ', 0)]
#[case::trailing_space("nginx ", ' ', 5)]
#[case::newline("nginx\n", '\n', 5)]
#[case::nul("nginx\0", '\0', 5)]
#[case::fullwidth_dot("ghcr\u{ff0e}io/x", '\u{ff0e}', 4)]
#[case::ideographic_dot("ghcr\u{3002}io/x", '\u{3002}', 4)]
#[case::cyrillic_letter("gh\u{441}r.io/x", '\u{441}', 2)]
#[case::bidi_override("ghcr.io/\u{202e}x", '\u{202e}', 8)]
#[case::zero_width_space("ghcr.io/\u{200b}x", '\u{200b}', 8)]
#[case::zero_width_joiner("ghcr.io/x\u{200d}", '\u{200d}', 9)]
#[case::soft_hyphen("ghcr.io/x\u{ad}y", '\u{ad}', 9)]
#[case::byte_order_mark("\u{feff}nginx", '\u{feff}', 0)]
#[case::kelvin_sign("\u{212a}.io/x", '\u{212a}', 0)]
#[case::percent("ghcr.io/%78", '%', 8)]
#[case::backslash("ghcr.io\\x", '\\', 7)]
#[case::question("ghcr.io/x?y", '?', 9)]
#[case::hash("ghcr.io/x#y", '#', 9)]
#[case::star("ghcr.io/*", '*', 8)]
#[case::zone("[fe80::1%eth0]/x", '%', 8)]
fn a_character_of_no_name_is_refused_by_place(
    #[case] text: &str,
    #[case] character: char,
    #[case] at: usize,
) {
    assert_eq!(name_error(text), NameError::Character { character, at });
}

#[rstest]
#[case("http://host.io/x")]
#[case("https://host.io/x:1")]
#[case("docker://nginx")]
#[case("oci://registry.example.com/x")]
fn a_scheme_is_refused(#[case] text: &str) {
    assert_eq!(name_error(text), NameError::Scheme);
}

#[rstest]
#[case::trailing_dot("ghcr.io./x", "ghcr.io.")]
#[case::leading_dot(".ghcr.io/x", ".ghcr.io")]
#[case::two_dots("ghcr..io/x", "ghcr..io")]
#[case::parent("../x", "..")]
#[case::underscore("a_b.c/x", "a_b.c")]
#[case::leading_dash("-a.io/x", "-a.io")]
#[case::trailing_dash("a-.io/x", "a-.io")]
#[case::only_a_port(":5000/x", "")]
#[case::behind_the_bracket("[::1]x/y", "[::1]x")]
fn a_host_that_is_none_is_refused(#[case] text: &str, #[case] host: &str) {
    assert_eq!(name_error(text), NameError::Host { host: host.into() });
}

#[rstest]
#[case("host:/x", "")]
#[case("[::1]:/x", "")]
#[case("host:0/x", "0")]
#[case("host:05000/x", "05000")]
#[case("host:65536/x", "65536")]
#[case("host:99999999999999999999/x", "99999999999999999999")]
#[case("host:tag/x", "tag")]
#[case("host:1:2/x", "1:2")]
#[case("::1/x", ":1")]
fn a_port_that_is_none_is_refused(#[case] text: &str, #[case] port: &str) {
    assert_eq!(name_error(text), NameError::Port { port: port.into() });
}

#[rstest]
#[case("[::1/x", "[::1")]
#[case("[:1]/x", "[:1]")]
#[case("[a.b]/x", "[a.b]")]
#[case("[]:5000/x", "[]")]
#[case("[1:2:3:4:5:6:7:8:9]/x", "[1:2:3:4:5:6:7:8:9]")]
#[case::ipv4_with_dots("[::ffff:10.0.0.1]/x", "[::ffff:10.0.0.1]")]
#[case::ipv4_without_dots("[::ffff:a00:1]/x", "[::ffff:a00:1]")]
fn brackets_around_no_ipv6_address_are_refused(#[case] text: &str, #[case] address: &str) {
    assert_eq!(name_error(text), NameError::Ipv6 { address: address.into() });
}

#[rstest]
#[case::one_label("Team/app", "Team")]
#[case::and_a_capital_in_the_path("Repo/X", "Repo")]
#[case::docker_hub("Docker.io/nginx", "Docker.io")]
#[case::docker_index("INDEX.DOCKER.IO/library/nginx", "INDEX.DOCKER.IO")]
fn a_host_that_means_another_registry_in_lowercase_is_refused(#[case] text: &str, #[case] host: &str) {
    assert_eq!(name_error(text), NameError::HostCase { host: host.into() });
}

#[rstest]
#[case("X", "X")]
#[case("repo/X", "X")]
#[case("host.io/team/App:1", "App")]
fn a_capital_letter_in_the_path_is_refused(#[case] text: &str, #[case] segment: &str) {
    assert_eq!(name_error(text), NameError::PathCase { segment: segment.into() });
}

#[rstest]
#[case::parent("host.io/../x", "..")]
#[case::here("host.io/./x", ".")]
#[case::two_slashes("host.io//x", "")]
#[case::no_path("host.io/", "")]
#[case::no_host("/x", "")]
#[case::trailing_slash("host.io/x/", "")]
#[case::leading_dot("host.io/.x", ".x")]
#[case::trailing_dash("host.io/x-", "x-")]
#[case::two_dots("host.io/x..y", "x..y")]
#[case::three_underscores("host.io/x___y", "x___y")]
#[case::mixed_separators("host.io/x.-y", "x.-y")]
#[case::only_a_tag(":1", "")]
#[case::only_a_separator("-", "-")]
#[case::brackets("host.io/[a]", "[a]")]
fn a_path_that_is_none_is_refused(#[case] text: &str, #[case] segment: &str) {
    assert_eq!(name_error(text), NameError::PathSegment { segment: segment.into() });
}

#[rstest]
#[case::tag_128(&format!("x:{}", "t".repeat(128)), true)]
#[case::tag_129(&format!("x:{}", "t".repeat(129)), false)]
#[case::path_255(&format!("h.io/{}", "p".repeat(255)), true)]
#[case::path_256(&format!("h.io/{}", "p".repeat(256)), false)]
#[case::path_255_with_library(&"p".repeat(247), true)]
#[case::path_256_with_library(&"p".repeat(248), false)]
#[case::host_253(&format!("{}.io/x", "h".repeat(250)), true)]
#[case::host_254(&format!("{}.io/x", "h".repeat(251)), false)]
fn the_limits_hold_to_the_byte(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(parse(text).is_ok(), valid);
}

#[test]
fn the_longest_reference_is_as_long_as_its_parts_together() {
    let host = format!("{}.io:65535", "h".repeat(250));
    let longest = format!("{host}/{}:{}@sha512:{HEX}{HEX}", "p".repeat(255), "t".repeat(128));
    assert_eq!(longest.len(), REFERENCE_BYTES);
    assert!(parse(&longest).is_ok());
    assert_eq!(parse(&format!("{longest}0")), Err(ReferenceError::TooLong { length: REFERENCE_BYTES + 1 }));
}

#[test]
fn sixty_four_hex_digits_with_anything_beside_them_are_a_name() {
    for text in [format!("{HEX}:1"), format!("library/{HEX}"), HEX[1..].to_owned(), HEX.replace('7', "z")] {
        assert!(parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn no_error_repeats_more_than_a_line_of_what_was_written() {
    let long = "a".repeat(700);
    for text in [
        format!("{long}.-/x"),
        format!("h:{long}/x"),
        format!("[{long}]/x"),
        format!("{}/x", long.to_uppercase()),
        format!("h.io/{long}-"),
        format!("h.io/{}", long.to_uppercase()),
        format!("x:{long}"),
        format!("x@{long}"),
        "a".repeat(1 << 20),
    ] {
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.len() < 240, "{} bytes: {message}", message.len());
    }
}

#[test]
fn a_password_is_not_repeated() {
    let error = parse("user:hunter2@registry.example.com/x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_hidden_character_is_named_by_its_code_point() {
    insta::assert_snapshot!(
        parse("ghcr.io/\u{202e}x").unwrap_err(),
        @"U+202E at byte 8 cannot stand in an image's name: use ASCII letters, digits and . _ - / : @"
    );
}

/// Texts that are references or nearly so.
fn nearly_a_reference() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just(String::new()),
        "(docker\\.io|index\\.docker\\.io|localhost|Localhost|\\[::1\\]|\\[2001:DB8::A\\])(:[0-9]{1,5})?/",
        "[a-zA-Z0-9.-]{1,12}(:[1-9][0-9]{0,3})?/",
    ];
    let path = "[a-z0-9]{1,6}([._-]{1,2}[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,6}){0,3}";
    let tag = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,8})?";
    let digest = "(@sha256:[0-9a-f]{64})?";
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
}

#[rstest]
#[case("app")]
#[case("app:1@sha256:0")]
#[case("registry.example.com/app@sha256:0")]
#[case("registry.example.com/app@1@2")]
fn what_holds_no_user_name_is_left_as_it_is(#[case] text: &str) {
    assert_eq!(without_user_name(text), text);
}

proptest! {
    #[test]
    fn what_is_printed_parses_back_to_the_same(text in nearly_a_reference()) {
        if let Ok(image) = parse(&text) {
            let printed = image.to_string();
            prop_assert_eq!(&parse(&printed).unwrap(), &image);
            prop_assert_eq!(parse(&printed).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn every_part_of_a_reference_is_canonical(text in nearly_a_reference()) {
        if let Ok(image) = parse(&text) {
            prop_assert_eq!(image.name(), format!("{}/{}", image.host(), image.repository()));
            prop_assert!(!image.name().bytes().any(|b| b.is_ascii_uppercase()));
            prop_assert!(image.tag().is_some() || image.digest().is_some());
            prop_assert!(image.host() != "docker.io" || image.repository().contains('/'));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_text_of_our_own_characters_makes_the_parser_panic(text in "[aA1.:/@_*\\[\\]-]{0,24}") {
        if let Ok(image) = parse(&text) {
            prop_assert_eq!(parse(&image.to_string()).unwrap(), image);
        }
    }
}
