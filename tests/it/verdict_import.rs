//! `tidewaiter verdict import` as pipelines use it, and what a real API server makes of its output.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewaiter::{image::Digest, reports::Format};

use crate::{
    reports::samples::{DIGEST, SAMPLES},
    support::{apiserver::ApiServer, process},
};

const NOON: &str = "2026-10-01T12:00:00Z";

/// What a run said.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    /// The objects in its JSON.
    fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only one.
    fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{self:?}");
        objects.remove(0)
    }
}

fn import(arguments: &[&str], input: &str) -> Answer {
    let mut command = process::tidewaiter();
    command.args(["verdict", "import"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever refuses the arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A report of Trivy on `digest` that was made at `time`, with one finding that nobody says the day of publication of.
fn report(digest: &str, time: &str) -> Value {
    json!({
        "SchemaVersion": 2, "CreatedAt": time, "ArtifactType": "container_image",
        "ArtifactName": "registry.example.com/acme/app",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "13.1"},
            "RepoDigests": [format!("registry.example.com/acme/app@{digest}")],
        },
        "Results": [{"Class": "os-pkgs", "Type": "debian", "Vulnerabilities": [{
            "VulnerabilityID": "CVE-2026-0001", "PkgName": "libacme", "InstalledVersion": "1.0",
            "FixedVersion": "1.1", "Severity": "CRITICAL",
        }]}],
    })
}

/// A digest that no other test has.
fn digest(of: &str) -> String {
    Digest::sha256(of.as_bytes()).to_string()
}

fn file(directory: &TempDir, name: &str, content: &Value) -> String {
    let path: PathBuf = directory.path().join(name);
    fs::write(&path, content.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_report_in_every_format_becomes_a_verdict_on_its_image() {
    for (format, sample) in SAMPLES {
        for named in [*format, Format::Auto] {
            let arguments =
                ["-o", "json", "--format", named.as_str(), "--digest", DIGEST, "--scanned-at", NOON, "-"];
            let answer = import(&arguments, sample);
            assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{format}");
            let object = answer.object();
            let (spec, source) = (&object["spec"], object["spec"]["source"].as_str().unwrap());
            assert_eq!(object["kind"], "ImageScanVerdict", "{object}");
            assert_eq!(object["metadata"], json!({"name": format!("{}.{source}", DIGEST.replace(':', "-"))}));
            assert_eq!(object.get("status"), None, "{object}");
            assert_eq!((&spec["digest"], &spec["scanner"]["name"]), (&json!(DIGEST), &json!(source)));
            let counts = [&spec["counts"]["critical"], &spec["counts"]["low"]];
            assert_eq!(counts, [&json!({"found": 1, "fixable": 1}), &json!({"found": 1, "fixable": 0})]);
            assert!(spec["scannedAt"].as_str().unwrap().starts_with("2026-10-0"), "{format}: {spec}");
        }
    }
}

#[test]
fn yaml_says_what_json_says() {
    let reports: Vec<_> = [1, 2].map(|number| report(&digest(&format!("yaml {number}")), NOON)).into();
    let directory = TempDir::new().unwrap();
    let paths = [file(&directory, "one.json", &reports[0]), file(&directory, "two.json", &reports[1])];
    let paths = [paths[0].as_str(), paths[1].as_str()];
    let json = import(&[&["-o", "json"], &paths[..]].concat(), "").objects();
    let yaml = import(&paths, "");
    let yaml = tidewaiter::files::parse("-", yaml.stdout.as_bytes()).unwrap();
    assert_eq!(yaml.into_iter().map(|document| document.value).collect::<Vec<_>>(), json);
    assert_eq!(json.len(), 2);
}

#[rstest]
#[case::no_json("no json", &[], 2, "-: cannot be read: the document: expected")]
#[case::no_report("{}", &[], 2, "-: cannot be read: this is")]
#[case::another_format(r#"{"matches": []}"#, &["--format", "trivy"], 2, "-: cannot be read: ")]
#[case::another_image("", &["--digest", &format!("sha256:{}", "a".repeat(64))], 1, "-: refused: the report is about sha256:")]
#[case::another_platform("platform", &["--platform", "linux/arm64"], 1, "-: refused: the report is about the platform linux/amd64")]
#[case::no_digest("digest", &[], 1, "-: refused: the report does not say which digest it is about: say it with --digest")]
#[case::no_time("time", &[], 1, "-: refused: the report does not say when the image was scanned: say it with --scanned-at")]
#[case::future("future", &[], 1, "-: refused: 2999-01-01T00:00:00Z is yet to come")]
#[case::nothing_looked_at("incomplete", &[], 1, "-: refused: Results")]
#[case::no_source_name("", &["--source", "Nightly"], 2, "use lowercase letters")]
#[case::a_source_that_is_taken("", &["--source", "attestation"], 2, "use another name")]
#[case::a_flag_that_is_none("", &["--sauce", "x"], 2, "--sauce")]
#[case::no_vex("", &["--vex", "/nowhere/vex.json"], 2, "error: /nowhere/vex.json: ")]
fn the_exit_code_says_whether_all_was_read(
    #[case] input: &str,
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] message: &str,
) {
    let mut report = report(&digest("codes"), NOON);
    let text = match input {
        "" => report.to_string(),
        "platform" => {
            report["Metadata"]["ImageConfig"] = json!({"os": "linux", "architecture": "amd64"});
            report.to_string()
        }
        "digest" => {
            report["Metadata"].as_object_mut().unwrap().remove("RepoDigests");
            report.to_string()
        }
        "time" => {
            report.as_object_mut().unwrap().remove("CreatedAt");
            report.to_string()
        }
        "future" => {
            report["CreatedAt"] = json!("2999-01-01T00:00:00Z");
            report.to_string()
        }
        "incomplete" => {
            report.as_object_mut().unwrap().remove("Results");
            report.to_string()
        }
        other => other.to_owned(),
    };
    let answer = import(&[arguments, &["-"]].concat(), &text);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{answer:?}");
    assert!(answer.stderr.contains(message), "{answer:?}");
}

#[test]
fn what_is_wrong_with_one_file_does_not_hold_back_the_others() {
    let directory = TempDir::new().unwrap();
    let (first, last) = (digest("first"), digest("last"));
    let mut foreign = report(&digest("foreign"), NOON);
    foreign.as_object_mut().unwrap().remove("CreatedAt");
    let files = [
        file(&directory, "first.json", &report(&first, NOON)),
        file(&directory, "undated.json", &foreign),
        file(&directory, "none.json", &json!({})),
        directory.path().join("missing.json").to_str().unwrap().to_owned(),
        file(&directory, "last.json", &report(&last, NOON)),
    ];
    let arguments: Vec<_> = ["-o", "json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let answer = import(&arguments, "");
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let found: Vec<_> = answer.objects().iter().map(|object| object["spec"]["digest"].clone()).collect();
    assert_eq!(found, [first.as_str(), last.as_str()]);
    let said: Vec<_> = answer.stderr.lines().collect();
    assert_eq!(said.len(), 3, "{said:?}");
    for (line, (file, word)) in
        said.iter().zip(files[1..4].iter().zip(["refused", "cannot be read", "cannot be read"]))
    {
        assert!(line.starts_with(&format!("{file}: {word}: ")), "{line}");
    }
    // Without the two that cannot be read.
    let answer = import(&[arguments[2], arguments[3]], "");
    assert_eq!(answer.code, Some(1), "{answer:?}");
}

/// As of a platform each of one index: the second would overwrite the first.
#[test]
fn two_reports_for_one_object_are_refused() {
    let directory = TempDir::new().unwrap();
    let report = report(&digest("twice"), NOON);
    let (one, other) = (file(&directory, "one.json", &report), file(&directory, "other.json", &report));
    let answer = import(&["-o", "json", &one, &other], "");
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.objects().len(), 1);
    assert!(answer.stderr.starts_with(&format!("{other}: refused: {one} speaks of ")), "{answer:?}");
}

#[test]
fn the_day_on_which_something_was_first_seen_is_kept_or_left_out() {
    let directory = TempDir::new().unwrap();
    let digest = digest("first seen");
    let seen = |arguments: &[&str], time: &str| {
        let answer =
            import(&[&["-o", "json"], arguments, &["-"]].concat(), &report(&digest, time).to_string());
        let object = answer.object();
        (object["spec"]["packages"][0]["findings"][0]["seen"].clone(), object)
    };
    // Nobody knows what was there before: no grace.
    assert_eq!(seen(&[], NOON).0, Value::Null);
    let nothing = file(&directory, "nothing.json", &json!({"apiVersion": "v1", "kind": "List", "items": []}));
    let (first, object) = seen(&["--previous", &nothing], NOON);
    assert_eq!(first, "2026-10-01");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [object]});
    let before = file(&directory, "before.json", &list);
    assert_eq!(seen(&["--previous", &before], "2026-11-01T12:00:00Z").0, "2026-10-01");
    // That was another source.
    assert_eq!(seen(&["--previous", &before, "--source", "other"], "2026-11-01T12:00:00Z").0, "2026-11-01");
}

#[test]
fn vex_counts_for_the_image_that_it_names() {
    let directory = TempDir::new().unwrap();
    let (ours, other) = (digest("vex"), digest("vex for another"));
    let vex = |digest: &str, name: &str| {
        let product = format!(
            "pkg:oci/app@{}?repository_url=registry.example.com/acme/app",
            digest.replace(':', "%3A")
        );
        let document = json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1",
            "author": "Acme", "timestamp": NOON, "version": 1,
            "statements": [{
                "vulnerability": {"name": "CVE-2026-0001"}, "products": [{"@id": product}],
                "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path",
            }],
        });
        file(&directory, name, &document)
    };
    let repository = ["--repository", "registry.example.com/acme/app"];
    for (place, repository, expected) in [
        (vex(&ours, "ours.json"), &repository[..], json!("NotAffected")),
        (vex(&ours, "nowhere.json"), &[], Value::Null),
        (vex(&other, "other.json"), &repository[..], Value::Null),
    ] {
        let arguments = [&["-o", "json", "--vex", &place], repository, &["-"]].concat();
        let object = import(&arguments, &report(&ours, NOON).to_string()).object();
        assert_eq!(
            object["spec"]["packages"][0]["findings"][0].get("vex").cloned().unwrap_or_default(),
            expected,
            "{place}"
        );
        assert_eq!(object["spec"]["counts"]["critical"]["found"], 1);
    }
}

#[tokio::test]
async fn the_api_server_takes_what_is_imported_and_nothing_older() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let digest = digest("applied");
    let name = format!("{}.nightly", digest.replace(':', "-"));
    let imported = |time: &str, output: &str| {
        import(&["--source", "nightly", "-o", output, "-"], &report(&digest, time).to_string()).stdout
    };
    let apply = async |objects: &str| {
        server.kubectl_with(&["apply", "--server-side", "--validate=strict", "-f", "-"], objects).await
    };
    let version = async || {
        let get = [
            "get",
            "isv",
            &name,
            "-o",
            "jsonpath={.metadata.resourceVersion} {.spec.scannedAt} {.spec.counts.critical.fixable}",
        ];
        server.kubectl(&get).await.stdout
    };

    let said = apply(&imported(NOON, "yaml")).await;
    assert!(said.success, "{said:?}");
    let first = version().await;
    assert!(first.ends_with(" 2026-10-01T12:00:00Z 1"), "{first}");
    // The same once more, in the other form, changes nothing.
    let said = apply(&imported(NOON, "json")).await;
    assert!(said.success, "{said:?}");
    assert_eq!(version().await, first);

    let said = apply(&imported("2026-09-30T12:00:00Z", "yaml")).await;
    assert!(!said.success && said.stderr.contains("a scan never replaces a newer one"), "{said:?}");
    assert_eq!(version().await, first);

    let said = apply(&imported("2026-10-02T12:00:00Z", "yaml")).await;
    assert!(said.success, "{said:?}");
    assert!(version().await.ends_with(" 2026-10-02T12:00:00Z 1"));

    // What the cluster says is what --previous reads.
    let listed = server.kubectl(&["get", "imagescanverdicts", &name, "-o", "json"]).await.stdout;
    let directory = TempDir::new().unwrap();
    let before = directory.path().join("before.json");
    fs::write(&before, listed).unwrap();
    let answer = import(
        &["--source", "nightly", "--previous", text(&before), "-o", "json", "-"],
        &report(&digest, "2026-10-09T00:00:00Z").to_string(),
    );
    assert_eq!(answer.object()["spec"]["packages"][0]["findings"][0]["seen"], "2026-10-02");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
