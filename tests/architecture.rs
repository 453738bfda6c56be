//! Reads the code against the map in `src/lib.rs`: which room names which, and what computing rooms know.
//!
//! The code is read as text, by a small lexer that knows comments, literals and paths; macros are not
//! expanded. Tests are code too, but not part of the program: a file called `tests.rs`, what lies under
//! a directory `tests`, and a module behind `#[cfg(test)]` may name every room.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

#[path = "architecture/code.rs"]
mod code;
#[path = "architecture/the_checker.rs"]
mod the_checker;

/// What each room may name. `room::module` allows that module only, `*` every room.
///
/// The same as the map says, for the rooms that there are: the map cannot be widened in passing.
const EXPECTED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("image", &[]),
    ("workload", &["image"]),
    ("evidence", &["image"]),
    ("policy", &["api", "image", "evidence"]),
    ("reports", &["image", "evidence"]),
    ("decision", &["image", "evidence", "reports", "policy"]),
    ("review", &["api", "image", "workload", "evidence", "reports", "policy", "decision"]),
    ("signature", &["api", "image", "workload", "evidence", "policy", "decision", "review::ports"]),
    ("trust", &["api", "image", "evidence", "policy", "decision", "signature", "review::ports"]),
    ("registry", ADAPTER),
    ("cluster", ADAPTER),
    ("files", ADAPTER),
    (
        "verdicts",
        &[
            "api",
            "image",
            "workload",
            "evidence",
            "reports",
            "policy",
            "decision",
            "cluster",
            "review::ports",
            "review::credentials",
        ],
    ),
    ("telemetry", &[]),
    ("webhook", &["api", "workload", "decision", "review", "telemetry"]),
    ("cli", &["*"]),
];

/// What a room may name that fetches facts for the review: the traits that it implements, and values.
const ADAPTER: &[&str] =
    &["api", "image", "workload", "evidence", "policy", "decision", "review::ports", "review::credentials"];

/// The rooms that only compute.
const COMPUTING: &[&str] = &["api", "image", "workload", "evidence", "reports", "policy", "decision"];

/// What a computing room must not name: clock, network, files, environment, tasks, chance and log.
const IMPURE: &[&str] = &[
    "actix_web",
    "eprintln",
    "futures",
    "kube::Api",
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "moka",
    "print",
    "println",
    "eprint",
    "rand",
    "reqwest",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
];

/// Addresses are values: an image's host may be one.
const PURE: &[&str] =
    &["std::net::AddrParseError", "std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr"];

#[test]
fn the_map_lists_exactly_the_rooms_that_exist() {
    let map = map();
    let listed: BTreeSet<String> = map.rooms.iter().map(|(room, _)| room.clone()).collect();
    let mut exist = BTreeSet::new();
    for entry in std::fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            exist.insert(name);
        } else {
            assert!(
                ["lib.rs", "main.rs"].contains(&name.as_str()),
                "src/{name}: a room is a directory with a mod.rs"
            );
        }
    }
    assert_eq!(
        listed, exist,
        "the rooms on the map in src/lib.rs (left) and the directories of src/ (right)"
    );
}

#[test]
fn the_map_says_what_was_agreed() {
    let expected: BTreeMap<&str, &[&str]> = EXPECTED.iter().copied().collect();
    let map = map();
    let exists = |name: &str| name == "*" || map.rooms.iter().any(|(room, _)| room == head(name));
    for (room, arrows) in &map.rooms {
        let agreed = expected.get(room.as_str()).unwrap_or_else(|| {
            panic!(
                "nobody has agreed what the room {room} may name: add it to EXPECTED in tests/architecture.rs"
            )
        });
        let agreed: BTreeSet<&str> = agreed.iter().copied().filter(|name| exists(name)).collect();
        let arrows: BTreeSet<&str> = arrows.iter().map(String::as_str).collect();
        assert_eq!(
            arrows,
            agreed,
            "the line in src/lib.rs should be: //! {room}: {}",
            agreed.iter().copied().collect::<Vec<_>>().join(" ")
        );
    }
}

#[test]
fn every_arrow_on_the_map_points_upwards() {
    assert_eq!(map().downward_arrows(), Vec::<String>::new());
}

#[test]
fn no_room_names_one_that_it_may_not() {
    let map = map();
    let mut trespasses = Vec::new();
    for file in rust_files(&source()) {
        let inside = file.strip_prefix(source()).unwrap().to_str().unwrap().replace('\\', "/");
        let text = std::fs::read_to_string(&file).unwrap();
        trespasses.extend(check(&map, &inside, &text));
    }
    let lines: Vec<String> = trespasses.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Who may decide what about a signature: raw keys in one file, certificates, logs and timestamps in another.
#[test]
fn each_engine_decides_only_what_is_its_to_decide() {
    for (engine, allowed) in [
        ("sigstore_verify::", &["signature/bundle.rs", "signature/trust.rs"][..]),
        ("VerificationPolicy::", &["signature/trust.rs"]),
        ("UnparsedPublicKey::", &["signature/raw.rs"]),
        ("ed25519_dalek::", &["signature/raw.rs", "signature/tests.rs"]),
        ("sigstore_tuf::", &["trust/shelf.rs", "trust/tuf.rs"]),
    ] {
        let mut found = Vec::new();
        for file in rust_files(&source()) {
            if std::fs::read_to_string(&file).unwrap().contains(engine) {
                found.push(file.strip_prefix(source()).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
        assert_eq!(found, allowed, "{engine}");
    }
}

/// A place in the code that the map does not allow.
#[derive(Debug)]
struct Trespass {
    file: String,
    line: usize,
    room: String,
    what: String,
}

impl fmt::Display for Trespass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: the room {} {}", self.file, self.line, self.room, self.what)
    }
}

/// The map: each room with what it may name, in the order of the lines.
struct Map {
    rooms: Vec<(String, Vec<String>)>,
}

impl Map {
    /// Reads the block fenced by ```` ```text ```` in the documentation of `lib.rs`.
    fn read(lib: &str) -> Self {
        let rooms = lib
            .lines()
            .skip_while(|line| line.trim() != "//! ```text")
            .skip(1)
            .take_while(|line| line.trim() != "//! ```")
            .map(|line| {
                let (room, arrows) = line.trim_start_matches("//!").split_once(':').unwrap_or_else(|| {
                    panic!("not a line of the map, which reads `room: other rooms`: {line}")
                });
                (room.trim().to_owned(), arrows.split_whitespace().map(str::to_owned).collect())
            })
            .collect();
        Self { rooms }
    }

    fn arrows(&self, room: &str) -> Option<&[String]> {
        self.rooms.iter().find(|(name, _)| name == room).map(|(_, arrows)| arrows.as_slice())
    }

    /// Arrows to a room that stands below or beside: the first step of a circle.
    fn downward_arrows(&self) -> Vec<String> {
        let mut above = BTreeSet::new();
        let mut found = Vec::new();
        for (room, arrows) in &self.rooms {
            let down = arrows.iter().filter(|arrow| *arrow != "*" && !above.contains(head(arrow)));
            found.extend(down.map(|arrow| format!("{room}: {arrow}")));
            above.insert(room.as_str());
        }
        found
    }

    /// Why `room` may not name `path`, which begins below the crate's root.
    fn objection(&self, room: &str, path: &[String]) -> Option<String> {
        let named = path.first()?;
        if named == room {
            return None;
        }
        if self.arrows(named).is_none() {
            return Some(format!("names crate::{named}, which is no room on the map"));
        }
        let allowed = self.arrows(room).unwrap_or_default().iter().any(|arrow| {
            arrow == "*"
                || arrow == named
                || path.get(1).is_some_and(|module| *arrow == format!("{named}::{module}"))
        });
        (!allowed).then(|| format!("may not name crate::{}", path.join("::")))
    }
}

/// The room part of an arrow.
fn head(arrow: &str) -> &str {
    arrow.split("::").next().unwrap_or(arrow)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn map() -> Map {
    let map = Map::read(&std::fs::read_to_string(source().join("lib.rs")).unwrap());
    assert!(!map.rooms.is_empty(), "src/lib.rs holds no map");
    map
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything in one file that the map does not allow. `file` is the path below `src/`.
fn check(map: &Map, file: &str, text: &str) -> Vec<Trespass> {
    let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let is_test = parts.contains(&"tests");
    let [room, ..] = parts[..] else { return Vec::new() };
    if is_test || file == "lib.rs" || file == "main.rs" {
        return Vec::new();
    }

    let computes = COMPUTING.contains(&room);
    let mut found = Vec::new();
    let mut object = |line, what| {
        found.push(Trespass { file: file.to_owned(), line, room: room.to_owned(), what });
    };
    for path in code::paths(text) {
        let segments = &path.segments;
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        if segments[0] == "crate" {
            if let Some(objection) = match segments.get(1).map(String::as_str) {
                None | Some("*" | "self") => Some("takes in the crate's root: name the room".to_owned()),
                Some(_) => map.objection(room, &segments[1..]),
            } {
                object(path.line, objection);
            }
        } else if supers >= parts.len() + path.depth {
            object(path.line, "leaves through super: write crate:: and the room".to_owned());
        } else if computes {
            let whole = segments.join("::");
            let is_below = |place: &&str| whole == *place || whole.starts_with(&format!("{place}::"));
            let reads_clock = segments.len() > 1 && segments.last().is_some_and(|last| last == "now");
            if whole == "async" || reads_clock || (IMPURE.iter().any(is_below) && !PURE.iter().any(is_below))
            {
                object(path.line, format!("only computes and may not name {whole}"));
            }
        }
    }
    found
}
