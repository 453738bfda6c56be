//! The programs that tests run against, and what happens to a test where one is missing.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
};

/// The program `name`: of `$KUBEBUILDER_ASSETS` if it is there, else of `$TIDEWAITER_TOOLS`, which
/// `make test` sets to what `tests/tools/build` prints.
pub fn find(name: &str) -> Option<PathBuf> {
    ["KUBEBUILDER_ASSETS", "TIDEWAITER_TOOLS"]
        .into_iter()
        .filter_map(env::var_os)
        .map(|directory| Path::new(&directory).join(name))
        .find(|path| path.is_file())
}

/// What `TIDEWAITER_REQUIRE_TOOLS` says where the programs of no group may be missing.
const ALWAYS: &str = "1";

/// The programs `names`, in that order. If one is missing the running test is [skipped](skip).
pub fn find_all<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    found_or(names, |missing| skip(&format!("needs {missing}: run `make test`, or see `make tools`")))
}

/// The same for programs of a group, which `make test` does not build.
///
/// # Panics
///
/// If one is missing and `TIDEWAITER_REQUIRE_TOOLS` names the group, as `make test-GROUP` does.
pub fn find_group<const N: usize>(group: &str, names: [&str; N]) -> Option<[PathBuf; N]> {
    found_or(names, |missing| skip_unless(group, &format!("needs {missing}: run `make test-{group}`")))
}

fn found_or<const N: usize>(names: [&str; N], otherwise: impl FnOnce(String)) -> Option<[PathBuf; N]> {
    let found = names.map(find);
    let missing: Vec<&str> =
        names.iter().zip(&found).filter(|(_, path)| path.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        otherwise(missing.join(", "));
        return None;
    }
    Some(found.map(|path| path.unwrap()))
}

/// Says that the running test is skipped, past the test runner that would swallow it.
///
/// # Panics
///
/// With `TIDEWAITER_REQUIRE_TOOLS=1`, as in CI: there a missing part is a failure.
pub fn skip(why: &str) {
    skip_unless(ALWAYS, why);
}

/// The same for what only `make test-GROUP` provides: a failure where `TIDEWAITER_REQUIRE_TOOLS` names the group.
pub fn skip_group(group: &str, why: &str) {
    skip_unless(group, why);
}

fn skip_unless(required: &str, why: &str) {
    // One word or several: `1 sigstore`.
    let said = env::var("TIDEWAITER_REQUIRE_TOOLS").unwrap_or_default();
    assert!(!said.split_whitespace().any(|word| word == required), "{} {why}", running());
    tell(why);
}

/// The folder `name` of test data that is not part of the project: below `TIDEWAITER_SHARED`, or `../shared`.
/// Where it is missing the running test is skipped, and says so.
pub fn shared(name: &str) -> Option<PathBuf> {
    let shared = env::var_os("TIDEWAITER_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join(name);
    if !folder.is_dir() {
        tell(&format!("needs the folder {name} of data that is not part of the project (TIDEWAITER_SHARED)"));
        return None;
    }
    Some(folder)
}

fn tell(why: &str) {
    // Not eprintln!, which the test runner catches; and in one piece, since other tests write too.
    let line = format!("SKIPPED {}: {why}\n", running());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn running() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
