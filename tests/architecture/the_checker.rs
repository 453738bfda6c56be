//! The checker itself, on made-up code.

use super::{Map, check};

const LIB: &str = "
//! # The map
//! ```text
//! image:
//! policy: image
//! review: image policy
//! registry: image review::ports
//! cli: *
//! ```
";

#[track_caller]
fn finds(file: &str, text: &str) -> Vec<String> {
    check(&Map::read(LIB), file, text).iter().map(ToString::to_string).collect()
}

#[test]
fn lets_a_room_name_itself_and_what_the_map_gives_it() {
    let text =
        "use crate::image::Digest;\nuse crate::policy::model;\npub(crate) fn f(_: crate::image::Digest) {}";
    assert_eq!(finds("policy/mod.rs", text), [""; 0]);
}

#[test]
fn names_file_line_and_room() {
    assert_eq!(
        finds("policy/compile.rs", "\nuse crate::review::Reviewer;"),
        ["src/policy/compile.rs:2: the room policy may not name crate::review::Reviewer"]
    );
}

#[test]
fn looks_into_groups_re_exports_expressions_and_macros() {
    for text in [
        "use crate::{image::{Digest, self}, review::{ports::{Registry}}};",
        "pub use crate::review;",
        "use crate::{review as r, image};",
        "fn f() { let _ = crate::review::ports::f(); }",
        "fn f(_: &crate::review::Reviewer) {}",
        "macro_rules! m { () => { $crate::review::ports::f() } }",
        "pub(in crate::review) fn f() {}",
        "mod inner { use super::super::super::review::Reviewer; }",
        "fn f() -> T { T { ..crate::review::T::new() } }",
    ] {
        assert_eq!(finds("policy/compile.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn reports_each_name_of_a_group() {
    assert_eq!(finds("image/digest.rs", "use crate::{\n  policy,\n  review::{a, b},\n};").len(), 3);
}

#[test]
fn reads_past_comments_and_literals() {
    for text in [
        "//! crate::review\n/// [`x`](crate::review)\n// crate::review\n/* /* */ crate::review */",
        r##"const A: &str = "\" crate::review"; const B: &str = r#"" crate::review "#; const C: &[u8] = b"crate::review";"##,
        r"const A: char = '\''; const B: char = '\u{1F600}'; const C: char = '\\'; fn f<'a>(_: &'a str) {}",
    ] {
        assert_eq!(finds("image/digest.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn is_not_led_astray_by_a_quote() {
    for text in [
        r#"const A: char = '"'; use crate::review; const B: char = '"';"#,
        "fn f<'a>() {} use crate::review;",
    ] {
        assert_eq!(finds("image/digest.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn lets_an_adapter_name_only_the_module_that_the_map_gives() {
    assert_eq!(finds("registry/mod.rs", "use crate::review::{ports::Registry, ports};"), [""; 0]);
    assert_eq!(finds("registry/mod.rs", "use crate::review::{Reviewer, ports};").len(), 1);
    assert_eq!(finds("registry/mod.rs", "use crate::review;").len(), 1);
}

#[test]
fn lets_nobody_take_in_the_root() {
    for text in ["use crate::*;", "use crate::{self};", "use crate as root;", "use super::super::review;"] {
        assert_eq!(finds("policy/compile.rs", text).len(), 1, "{text}");
    }
    assert_eq!(finds("policy/compile.rs", "use super::model;"), [""; 0]);
    assert_eq!(finds("policy/mod.rs", "mod inner { use super::model; } use super::review;").len(), 1);
}

#[test]
fn knows_no_room_that_is_not_on_the_map() {
    assert_eq!(
        finds("cli/mod.rs", "use crate::image; use crate::cellar::Barrel;"),
        ["src/cli/mod.rs:1: the room cli names crate::cellar, which is no room on the map"]
    );
}

#[test]
fn lets_tests_name_every_room() {
    for (file, text) in [
        ("image/tests.rs", "use crate::review;"),
        ("image/tests/more.rs", "use std::fs;"),
        ("image/digest.rs", "#[cfg(test)]\nmod tests {\n use crate::review;\n fn f() { {} }\n}"),
        ("image/digest.rs", "#[cfg(test)]\nmod tests;\nfn f() {}"),
    ] {
        assert_eq!(finds(file, text), [""; 0], "{file}: {text}");
    }
    assert_eq!(finds("image/digest.rs", "#[cfg(test)] mod t { fn f() { {} } } use crate::review;").len(), 1);
}

#[test]
fn lets_computing_rooms_know_no_clock_network_file_task_or_log() {
    for text in [
        "use std::time::SystemTime;",
        "use std::{collections::BTreeMap, time::{Duration, Instant}};",
        "use std::fs;",
        "fn f() { std::fs::read(x); }",
        "use std::net::TcpStream;",
        "use std::net;",
        "fn f() { std::env::var(x) }",
        "use tokio::time;",
        "fn f() { tracing::info!(x) }",
        "async fn f() {}",
        "fn f() { Timestamp::now() }",
        "fn f() { println!() }",
        "use kube::{CustomResource, Client};",
        "use rand::random;",
    ] {
        assert_eq!(finds("policy/compile.rs", text).len(), 1, "{text}");
        assert_eq!(finds("review/reviewer.rs", text), [""; 0], "{text}");
    }
    let pure = "use std::{net::{IpAddr, Ipv6Addr}, time::Duration}; use kube::KubeSchema; fn f(now: T) { now.fs(); x.print() }";
    assert_eq!(finds("policy/compile.rs", pure), [""; 0]);
}

#[test]
fn finds_an_arrow_that_points_downwards() {
    let map = Map::read("//! ```text\n//! image: policy\n//! policy: image policy\n//! cli: *\n//! ```\n");
    assert_eq!(map.downward_arrows(), ["image: policy", "policy: policy"]);
}
