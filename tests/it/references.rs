//! Our reading of image references beside distribution/reference, which containerd and the kubelet use.

use std::{
    fmt::Write as _,
    io::{Seek as _, Write as _},
    net::Ipv6Addr,
    path::Path,
    process::Command,
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree as _,
    string::{RegexGeneratorStrategy, string_regex},
    test_runner::TestRunner,
};
use serde::Deserialize;
use tidewaiter::image::{DigestError, ImageReference, NameError, ReferenceError};

use crate::support::tools;

type Ours = Result<ImageReference, ReferenceError>;

/// How many texts are made up beside [`CORPUS`].
const GENERATED: usize = 20_000;

/// What refcheck says of a text that distribution/reference reads. See `tests/tools/refcheck/main.go`.
#[derive(Clone, Debug, Deserialize)]
struct Theirs {
    domain: String,
    path: String,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    pulls: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused { error: String },
    Read(Theirs),
}

/// One way in which we mean to differ. In all of them we refuse, or write the same registry in one way:
/// nothing that runtimes refuse is ever read by us.
struct Deviation {
    what: &'static str,
    why: &'static str,
    /// Texts that show it. They stand in `docs/references-and-patterns.md` too.
    examples: &'static [&'static str],
    explains: fn(&Theirs, &Ours) -> bool,
}

const DEVIATIONS: &[Deviation] = &[
    Deviation {
        what: "the host is read in lowercase",
        why: "the DNS does not tell capitals from small letters: a rule about one spelling is a rule about all",
        examples: &["HOST.io/x", "Registry:5000/team/app:1", "LocalHost/x"],
        explains: |theirs, ours| {
            let host = theirs.domain.to_ascii_lowercase();
            !theirs.domain.starts_with('[')
                && ours.as_ref().is_ok_and(|ours| ours.host() == host && rest_agrees(theirs, ours))
        },
    },
    Deviation {
        what: "an IPv6 address is written as RFC 5952 says",
        why: "one address, one spelling, as above",
        examples: &["[0:0:0:0:0:0:0:1]:5000/x", "[2001:DB8::1]/x"],
        explains: |theirs, ours| {
            let (address, port) = split_port(&theirs.domain);
            let ours = ours.as_ref().ok().filter(|ours| rest_agrees(theirs, ours));
            ours.is_some_and(|ours| {
                let (our_address, our_port) = split_port(ours.host());
                our_port == port && ipv6(address).is_some() && ipv6(address) == ipv6(our_address)
            })
        },
    },
    Deviation {
        what: "a host is refused that names another registry in lowercase",
        why: "`Team` is a host to runtimes and `team` a part of a path; `DOCKER.IO` is not `docker.io` to them",
        examples: &["Team/app", "DOCKER.IO/nginx", "Index.docker.io/library/nginx"],
        explains: |theirs, ours| {
            theirs.domain.bytes().any(|b| b.is_ascii_uppercase())
                && matches!(name_error(ours), Some(NameError::HostCase { .. }))
        },
    },
    Deviation {
        what: "a port is refused that is none, or begins with 0",
        why: "no runtime can reach port 70000; `:05000` would pass by a rule about `:5000`",
        examples: &["host:70000/x", "host:05000/x", "host:0/x"],
        explains: |theirs, ours| {
            let port = split_port(&theirs.domain).1.unwrap_or_default();
            (port.starts_with('0') || port.parse::<u16>().is_err())
                && matches!(name_error(ours), Some(NameError::Port { .. }))
        },
    },
    Deviation {
        what: "brackets are refused around anything but an IPv6 address, and around an IPv4 address in IPv6 form",
        why: "`[:::]` reaches nothing; `[::ffff:a00:1]` would pass by a rule about `10.0.0.1`",
        examples: &["[:::]/x", "[1]:5000/x", "[::ffff:a00:1]/x"],
        explains: |theirs, ours| {
            let address = split_port(&theirs.domain).0;
            address.starts_with('[')
                && ipv6(address).is_none_or(|address| address.to_ipv4_mapped().is_some())
                && matches!(name_error(ours), Some(NameError::Ipv6 { .. }))
        },
    },
    Deviation {
        what: "an underscore in the host is refused",
        why: "it is read as a reference without a registry, and yet the registry is asked that stands there",
        examples: &["a_b.example.com/x"],
        explains: |theirs, ours| {
            theirs.domain.is_empty() && matches!(name_error(ours), Some(NameError::Host { .. }))
        },
    },
    Deviation {
        what: "a host over 253 bytes is refused",
        why: "the DNS has no room for it (RFC 1035)",
        examples: &[],
        explains: |theirs, ours| {
            split_port(&theirs.domain).0.len() > 253
                && matches!(
                    ours,
                    Err(ReferenceError::Name(NameError::HostLength { .. }) | ReferenceError::TooLong { .. })
                )
        },
    },
    Deviation {
        what: "a sha384 digest is refused",
        why: "the OCI image specification does not register the algorithm",
        examples: &[
            "x@sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
        ],
        explains: |theirs, ours| {
            theirs.digest.as_deref().is_some_and(|digest| digest.starts_with("sha384:"))
                && matches!(ours, Err(ReferenceError::Digest(DigestError::Algorithm)))
        },
    },
];

/// Known tricks and borders. `{HEX}` stands for 64 hex digits.
const CORPUS: &[&str] = &[
    "nginx",
    "library/nginx",
    "docker.io/nginx",
    "index.docker.io/library/nginx",
    "index.docker.io/nginx",
    "registry-1.docker.io/library/nginx",
    "registry-1.docker.io/nginx",
    "docker.io",
    "docker.io/",
    "docker.io:443/nginx",
    "localhost",
    "localhost/x",
    "localhost:5000/x",
    "localhost/library/x",
    "host:5000",
    "host:5000/x",
    "host:5000/x:1",
    "a.b/c",
    "a/b",
    "HOST.io/x",
    "HOST/x",
    "host/X",
    "Repo/X",
    "X",
    "x:UPPER",
    "x:_",
    "x:-1",
    "x:.1",
    "x:1:2",
    "x:",
    ":1",
    "",
    "{HEX}",
    "{HEX}:1",
    "library/{HEX}",
    "x@sha256:{HEX}",
    "x:tag@sha256:{HEX}",
    "x@sha512:{HEX}{HEX}",
    "host:5000/x@sha256:{HEX}",
    "x@sha256:{HEX}0",
    "x@sha256:{HEX}:1",
    "x@sha256:{HEX}@sha256:{HEX}",
    "x@{HEX}",
    "@sha256:{HEX}",
    "sha256:{HEX}",
    "x@SHA256:{HEX}",
    "x@sha256:ABCDEF{HEX}",
    "x@sha512:{HEX}",
    "x@md5:{HEX}",
    "x@sha256+b64:{HEX}",
    "x@blake3:{HEX}",
    "[::1]/x",
    "[::1]:5000/x",
    "[::1]",
    "[::1]:5000",
    "[]/x",
    "[::1/x",
    "::1/x",
    "[::1%eth0]/x",
    "[::ffff:10.0.0.1]/x",
    "user@host/x",
    "user:password@host.io/x",
    "http://host/x",
    "https://host.io/x",
    "host/../x",
    "../x",
    "host.io/./x",
    "host//x",
    "//x",
    "/x",
    "host.io/x/",
    "host/x:",
    "host.io/x:1/y",
    "ghcr.io./x",
    ".ghcr.io/x",
    "ghcr..io/x",
    "ghcr.io.evil.com/x",
    "attacker.com/ghcr.io/org/x",
    "xn--ghcr-4ve.io/x",
    "gh\u{441}r.io/x",
    "ghcr\u{ff0e}io/x",
    "ghcr\u{3002}io/x",
    "ghcr.io/\u{202e}x",
    "ghcr.io/\u{200b}x",
    "nginx\0",
    "nginx\n",
    "nginx\r\n",
    " nginx",
    "nginx ",
    "\tnginx",
    "\u{212a}.io/x",
    "\u{130}.io/x",
    "x:\u{661}",
    "docker.io/mycompanyevil",
    "docker.io/mycompany/x",
    "a_b.c/x",
    "a__b.c/x",
    "a-.b/x",
    "a.b_c/d",
    "a_b:5000/x",
    "a/b_c/d__e/f--g/h.i",
    "a/b___c",
    "a/b..c",
    "a/b.-c",
    "a/b_.c",
    "-a/b",
    "a-/b",
    "a.b.c",
    "a.b:1",
    "a.b:1/c",
    "a:1/b:2/c",
    "host:/x",
    "host:0/x",
    "host:00080/x",
    "host:65535/x",
    "host:65536/x",
    "host:99999999999999999999/x",
    "1.2.3.4/x",
    "1.2.3.4:5/x",
    "[fe80::1]:5/x:1",
    "x/y/z/w/v/u/t/s",
    "latest",
    "library/library/x",
];

fn corpus() -> Vec<String> {
    let hex = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa";
    let mut texts: Vec<String> = CORPUS.iter().map(|text| text.replace("{HEX}", hex)).collect();
    texts.push(format!("x@sha256:{}", &hex[1..]));
    texts.push(format!("x@sha256:{}", hex.to_uppercase()));
    for (part, border) in
        [("x:", 128), ("h.io/", 255), ("", 247), ("docker.io/", 247), ("h.io/x/", 253), ("x:1@sha256:", 64)]
    {
        texts.extend((border - 1..=border + 2).map(|length| format!("{part}{}", "a".repeat(length))));
    }
    texts.extend([253, 254, 400, 2000].map(|length| format!("{}.io/x", "h".repeat(length - 3))));
    texts
}

/// Strings of this form. It is compiled here, once, and not for every string.
fn regex(form: &str) -> RegexGeneratorStrategy<String> {
    string_regex(form).unwrap()
}

/// Texts that are references, and what becomes of them by a slip or two.
fn nearly_references() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        4 => Just(String::new()),
        2 => select(vec!["docker.io/", "index.docker.io/", "localhost/", "Docker.io/", "LOCALHOST/"]).prop_map(str::to_owned),
        3 => regex("[a-z0-9]{1,4}([.-][a-z0-9]{1,4}){1,3}(:[0-9]{1,6})?/"),
        2 => regex("[a-zA-Z0-9._-]{1,8}(:[0-9]{0,5})?/"),
        1 => regex("\\[[0-9a-fA-F:]{1,12}\\](:[1-9][0-9]{0,4})?/"),
        1 => any::<u128>().prop_map(|bits| format!("[{}]/", Ipv6Addr::from_bits(bits))),
    ];
    let path = prop_oneof![
        4 => regex("[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,5}(-[a-z0-9]{1,2})?){0,3}"),
        1 => regex("[a-zA-Z0-9._/-]{1,12}"),
        1 => regex("[a-f0-9]{63,65}"),
        1 => (245..=256_usize).prop_map(|length| "a".repeat(length)),
    ];
    let tag = prop_oneof![
        3 => Just(String::new()),
        3 => regex(":[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}"),
        1 => (126..=130_usize).prop_map(|length| format!(":{}", "t".repeat(length))),
    ];
    let digest = prop_oneof![
        5 => Just(String::new()),
        2 => regex("@sha256:[0-9a-f]{64}"),
        1 => regex("@sha512:[0-9a-f]{128}"),
        1 => regex("@sha384:[0-9a-f]{96}"),
        1 => regex("@[a-zA-Z0-9+._-]{1,8}:[0-9a-fA-F]{60,66}"),
    ];
    let whole =
        (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"));
    let text = prop_oneof![9 => whole, 1 => select(corpus())];
    let odd = select("aZ09.:/@_-[]%?#*+ \n\0\u{e4}\u{202e}\u{ff0e}".chars().collect::<Vec<_>>());
    let slips = prop_oneof![2 => Just(0..=0), 1 => Just(1..=1), 1 => Just(2..=3)]
        .prop_flat_map(move |count| vec((any::<Index>(), 0..3_u8, odd.clone()), count));
    (text, slips).prop_map(|(text, slips)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, kind, character) in slips {
            let at = at.index(characters.len() + 1);
            match kind {
                0 => characters.insert(at, character),
                1 if at < characters.len() => characters[at] = character,
                _ if at < characters.len() => drop(characters.remove(at)),
                _ => {}
            }
        }
        characters.into_iter().collect()
    })
}

#[test]
fn a_reference_means_to_us_what_it_means_to_the_runtimes() {
    let Some([refcheck]) = tools::find_all(["refcheck"]) else { return };
    let mut texts = corpus();
    texts.extend(DEVIATIONS.iter().flat_map(|row| row.examples).map(|&text| text.to_owned()));
    let mut runner = TestRunner::deterministic();
    let strategy = nearly_references();
    texts.extend((0..GENERATED).map(|_| strategy.new_tree(&mut runner).unwrap().current()));

    let answers = ask(&refcheck, &texts);
    let mut differences = String::new();
    for (text, answer) in texts.iter().zip(&answers) {
        if let Some(difference) = difference(text, answer) {
            writeln!(differences, "{text:?}: {difference}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{}", differences.lines().take(20).collect::<Vec<_>>().join("\n"));

    // The made-up texts try both verdicts
    let read = answers.iter().filter(|answer| matches!(answer, Answer::Read(_))).count();
    assert!((texts.len() / 4..texts.len() * 3 / 4).contains(&read), "{read} of {} are read", texts.len());
}

#[test]
fn every_deviation_from_the_runtimes_is_shown_and_documented() {
    let Some([refcheck]) = tools::find_all(["refcheck"]) else { return };
    let documented = include_str!("../../docs/references-and-patterns.md");
    for row in DEVIATIONS {
        assert!(documented.contains(row.what) && documented.contains(row.why), "{}: {}", row.what, row.why);
        assert!(row.examples.iter().all(|text| documented.contains(&format!("`{text}`"))), "{}", row.what);
        let mut examples: Vec<String> = row.examples.iter().map(|&text| text.to_owned()).collect();
        if examples.is_empty() {
            // The one that is too long for a page
            examples.push(format!("{}.io/x", "h".repeat(251)));
        }
        for (text, answer) in examples.iter().zip(ask(&refcheck, &examples)) {
            let Answer::Read(theirs) = answer else { panic!("{text}: refused by the runtimes too") };
            assert!((row.explains)(&theirs, &text.parse()), "{text} does not show that {}", row.what);
        }
    }
}

/// How our reading of `text` differs from theirs in a way that no row of [`DEVIATIONS`] explains.
fn difference(text: &str, answer: &Answer) -> Option<String> {
    let ours: Ours = text.parse();
    match (answer, &ours) {
        (Answer::Refused { .. }, Err(_)) => None,
        (Answer::Refused { error }, Ok(ours)) => Some(format!("{ours} to us, refused by them: {error}")),
        (Answer::Read(theirs), Ok(ours)) if theirs.domain == ours.host() && rest_agrees(theirs, ours) => None,
        (Answer::Read(theirs), _) if DEVIATIONS.iter().any(|row| (row.explains)(theirs, &ours)) => None,
        (Answer::Read(theirs), ours) => Some(format!("{ours:?} to us, {theirs:?} to them")),
    }
}

/// Whether everything but the host is the same, and a runtime pulls by the digest if there is one.
fn rest_agrees(theirs: &Theirs, ours: &ImageReference) -> bool {
    let digest = ours.digest().map(ToString::to_string);
    let pulled = match (&digest, ours.tag()) {
        (Some(digest), _) => format!("/{}@{digest}", ours.repository()),
        (None, tag) => format!("/{}:{}", ours.repository(), tag.unwrap_or_default()),
    };
    theirs.path == ours.repository()
        && theirs.tag.as_deref() == ours.tag()
        && theirs.digest == digest
        && theirs.pulls.strip_prefix(&theirs.domain) == Some(&pulled)
}

fn name_error(ours: &Ours) -> Option<&NameError> {
    match ours {
        Err(ReferenceError::Name(error)) => Some(error),
        _ => None,
    }
}

fn split_port(domain: &str) -> (&str, Option<&str>) {
    match domain.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (domain, None),
    }
}

fn ipv6(bracketed: &str) -> Option<Ipv6Addr> {
    bracketed.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// What distribution/reference makes of each of the texts.
fn ask(refcheck: &Path, texts: &[String]) -> Vec<Answer> {
    let mut questions = tempfile::tempfile().unwrap();
    for text in texts {
        writeln!(questions, "{}", serde_json::to_string(text).unwrap()).unwrap();
    }
    questions.rewind().unwrap();
    let output = Command::new(refcheck).stdin(questions).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Answer> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), texts.len());
    answers
}
