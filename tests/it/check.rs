//! `tidewaiter check` as policy authors and pipelines use it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{process, tuf::new_key};

const WEB: &str = "registry.example.com/shop/web:1.4@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn policies(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

fn check(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = process::tidewaiter();
    command.arg("check").arg("--policies").arg(policies("house-rules.yaml")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever refuses the arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

#[rstest]
#[case::admitted(&[WEB], 0)]
#[case::denied(&[WEB, "nginx:1.27"], 1)]
#[case::no_reference(&["Nginx:1"], 1)]
#[case::nothing_to_ask(&[], 2)]
#[case::bad_flag(&["--polices", "x", WEB], 2)]
#[case::bad_label(&["--namespace-labels", "stage", WEB], 2)]
fn the_exit_code_says_whether_all_would_be_admitted(#[case] arguments: &[&str], #[case] code: i32) {
    let output = check(arguments, b"");
    assert_eq!(output.status.code(), Some(code), "{}", error(&output));
}

#[test]
fn json_has_a_stable_shape() {
    let output = check(&["-o", "json", WEB, "nginx:1.27", "Nginx:1"], b"");
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let decisions = answer["decisions"].as_array().unwrap();
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(&decisions[0]), "allowed images kind name namespace patch source warnings");
    assert_eq!(keys(&decisions[1]), "allowed images kind message name namespace patch source warnings");
    assert_eq!(keys(&decisions[1]["images"][0]), "digest image pointer reference results");
    assert_eq!(keys(&decisions[1]["images"][0]["results"][0]), "action check message policy reason verdict");
    assert_eq!(decisions[1]["images"][0]["reference"], "docker.io/library/nginx:1.27");
    assert_eq!(decisions[1]["images"][0]["results"][0]["reason"], "RegistryNotAllowed");
    assert_eq!(keys(&decisions[2]["images"][0]), "digest image pointer results");
    assert_eq!(decisions[2]["images"][0]["results"][0]["reason"], "ReferenceInvalid");
    assert_eq!(decisions[0]["images"][0]["digest"], WEB.split_once('@').unwrap().1);
}

#[test]
fn a_folder_of_manifests_is_judged_object_by_object() {
    let folder = tempfile::tempdir().unwrap();
    let template = json!({"spec": {"containers": [{"name": "web", "image": "quay.io/acme/web:1"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": template}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod(WEB), pod("nginx")]});
    let write = |name: &str, content: String| fs::write(folder.path().join(name), content).unwrap();
    write("a.yaml", format!("# nothing but words\n---\n{}\n---\n{deployment}\n", pod(WEB)));
    write("b.json", list.to_string());
    write("c.yml", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}).to_string());
    write("README.md", "no manifest".to_owned());
    let output = check(&["-o", "json", "-f", folder.path().to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen: Vec<_> = answer["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["kind"].as_str().unwrap(), one["allowed"].as_bool().unwrap()))
        .collect();
    assert_eq!(seen, [("Pod", true), ("Deployment", false), ("Pod", true), ("Pod", false)]);
    assert_eq!(answer["decisions"][1]["namespace"], "shop");
    assert!(error(&output).contains("passed over 1 objects"), "{}", error(&output));
}

/// One file that cannot be read must not keep quiet about what is wrong in all the others.
#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("a.yaml", b"\x7fELF\xff");
    write("b.yaml", format!("{}\n---\nkind: [\n---\n{}\n", pod(WEB), pod("nginx:1")).as_bytes());
    write("c.yaml", b"");
    let output = check(&["-o", "json", "-f", folder.path().to_str().unwrap()], b"");
    let error = error(&output);
    assert_eq!(output.status.code(), Some(2), "{error}");
    for place in ["a.yaml: document 1 (line 1)", "b.yaml: document 2 (line ", "c.yaml: document 1 (line 1)"] {
        assert_eq!(error.matches(place).count(), 1, "{place} in {error}");
    }
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: Vec<_> =
        answer["decisions"].as_array().unwrap().iter().map(|one| one["allowed"].clone()).collect();
    assert_eq!(allowed, [json!(true), json!(false)]);
}

#[test]
fn an_object_inside_a_list_inside_a_list_is_judged() {
    let list = |items: &Value| json!({"apiVersion": "v1", "kind": "List", "items": [pod(WEB), items]});
    let lists = list(&list(&pod("nginx:1"))).to_string();
    let output = check(&["-o", "json", "-f", "-"], lists.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["decisions"][2]["source"], "-: document 1 (line 1), items[1].items[1]");
    assert_eq!(answer["decisions"][2]["allowed"], false);
}

#[test]
fn what_cannot_be_judged_is_denied_by_name_and_reason() {
    let mut object = pod(WEB);
    object["spec"]["containers"] = json!([]);
    object["metadata"]["namespace"] = json!("");
    let output = check(&["-o", "json", "-n", "shop", "-f", "-"], object.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let decision = &answer["decisions"][0];
    assert_eq!((&decision["namespace"], &decision["name"]), (&json!("shop"), &json!("web")));
    assert!(decision["message"].as_str().unwrap().starts_with("NoContainers: "), "{decision}");
}

#[test]
fn standard_input_is_read_and_named() {
    let output = check(&["-o", "json", "-f", "-"], pod(WEB).to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
}

fn bomb() -> Vec<u8> {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (before, now) in "abcdefghi".chars().zip("bcdefghij".chars()) {
        text += &format!("{now}: &{now} [{}]\n", vec![format!("*{before}"); 9].join(", "));
    }
    text.into_bytes()
}

#[rstest]
#[case::binary(b"\x7fELF\x00\x01\x02\xff\xfe".to_vec(), "UTF-8")]
#[case::ten_megabytes(vec![b'a'; 10 << 20], "larger than 8388608 bytes")]
#[case::alias_bomb(bomb(), "larger than is read once its aliases are followed")]
#[case::deep(format!("a: {}{}", "[".repeat(5000), "]".repeat(5000)).into_bytes(), "recursion limit exceeded")]
#[case::empty(Vec::new(), "the file is empty")]
#[case::old_version(json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "web"}}).to_string().into_bytes(), "apps/v1")]
#[case::second_document(format!("{}\n---\nkind: Pod\n", pod(WEB)).into_bytes(), "document 2 (line 2)")]
#[case::no_manifest(b"just text".to_vec(), "document 1 (line 1)")]
fn bad_input_is_named_by_file_and_place(#[case] content: Vec<u8>, #[case] says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    fs::write(&path, content).unwrap();
    let output = check(&["-f", path.to_str().unwrap()], b"");
    let error = error(&output);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("bad.yaml: document ") && error.contains(" (line "), "{error}");
    assert!(error.contains(says) && error.len() < 2000, "{error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn a_missing_file_is_named_with_one_reason_told_once() {
    for args in [["-f", "nowhere.yaml"], ["--policies", "nowhere.yaml"], ["--config", "nowhere.yaml"]] {
        let output = check(&[&args[..], &[WEB]].concat(), b"");
        let error = error(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("nowhere.yaml"), "{error}");
        assert_eq!(error.matches("No such file or directory").count(), 1, "{error}");
    }
}

#[test]
fn whoever_names_nothing_to_judge_is_told_both_ways() {
    let output = check(&[], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("--filename <FILE>|IMAGE"), "{}", error(&output));
}

#[rstest]
#[case::pattern("registries: {allow: ['a b']}", "spec.registries.allow[0]")]
#[case::unknown_field("registries: {allow: ['**']}\n  signatures: {}", "signatures")]
#[case::nothing("action: Deny", "spec")]
fn a_policy_that_does_not_compile_ends_the_check(#[case] spec: &str, #[case] field: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let head = "apiVersion: tidewaiter.dev/v1alpha1\nkind: ClusterImageAdmissionPolicy\nmetadata: {name: p}\nspec:\n  ";
    fs::write(&path, format!("{head}{spec}\n")).unwrap();
    let output = check(&["--policies", path.to_str().unwrap(), WEB], b"");
    let error = error(&output);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("policy.yaml") && error.contains(field), "{error}");
}

#[rstest]
#[case::unknown_field("registrys: []", "registrys")]
#[case::host("registries: [{host: 'https://registry.example.com'}]", "registries[0].host")]
#[case::ca("registries: [{host: registry.example.com, ca: /nowhere.pem}]", "registries[0].ca")]
#[case::docker_config("dockerConfig: /nowhere.json", "dockerConfig")]
#[case::range("clusterRanges: [10.0.0.0/64]", "clusterRanges[0]")]
#[case::cache("tagCacheSeconds: 86400", "tagCacheSeconds")]
#[case::kind("digestPinning: Sometimes", "digestPinning")]
#[case::namespace("trustNamespaces: [security, Team_A]", "trustNamespaces[1]: \"Team_A\"")]
fn a_setting_that_cannot_work_is_named(#[case] settings: &str, #[case] field: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.yaml");
    fs::write(&path, settings).unwrap();
    let output = check(&["--config", path.to_str().unwrap(), WEB], b"");
    let error = error(&output);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(field), "{error}");
}

/// A policy about no image that is checked here, which needs a key and a trust root.
const TRUSTING: &str = "
apiVersion: tidewaiter.dev/v1alpha1
kind: ClusterImageAdmissionPolicy
metadata: {name: signed}
spec:
  match: {images: [registry.example.com/elsewhere/**]}
  signatures:
    authorities:
      - name: release
        key: {secretRef: {namespace: security, name: keys}, trustRootRef: {name: house}}
";
const ROOT: &str = "
apiVersion: tidewaiter.dev/v1alpha1
kind: ImageTrustRoot
metadata: {name: house}
spec: {sigstore: GitHub}
";

/// What `check` says of keys and trust roots, with these documents beside the policy and these settings.
fn trust(documents: &str, settings: &str) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (policy, config) = (folder.path().join("policy.yaml"), folder.path().join("settings.yaml"));
    fs::write(&policy, format!("{TRUSTING}---{documents}")).unwrap();
    fs::write(&config, settings).unwrap();
    let arguments = ["--policies", policy.to_str().unwrap(), "--config", config.to_str().unwrap(), WEB];
    let output = check(&arguments, b"");
    let said = error(&output).replace(folder.path().to_str().unwrap(), "");
    let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
    lines.sort();
    (output.status.code(), lines)
}

#[test]
fn keys_and_trust_roots_are_read_from_the_files_of_policies() {
    let pem = new_key().replace('\n', "\n    ");
    let secret = format!(
        "\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: security}}\nstringData:\n  cosign.pub: |\n    {pem}\n"
    );
    let all = format!("{ROOT}---{secret}");
    assert_eq!(trust(&all, "workloads: Deny"), (Some(0), vec![]));
    assert_eq!(trust(&all, "trustNamespaces: [security]"), (Some(0), vec![]));
    assert_eq!(
        trust(&all, "trustNamespaces: [tidewaiter]").1,
        [
            "warning: Secret security/keys key cosign.pub lies where Tidewaiter may not read: the setting trustNamespaces lists where it may: whatever needs it fails"
        ]
    );
    assert_eq!(
        trust(&secret, "workloads: Deny").1,
        ["warning: ImageTrustRoot/house does not exist: whatever needs it fails"]
    );
    assert_eq!(
        trust(ROOT, "workloads: Deny").1,
        ["warning: Secret security/keys key cosign.pub does not exist: whatever needs it fails"]
    );
}

#[test]
fn a_trust_root_that_would_not_work_is_an_error_with_its_place() {
    let (code, lines) = trust(&ROOT.replace("sigstore: GitHub", "inline: '{}'"), "workloads: Deny");
    assert_eq!(code, Some(2));
    let wanted = "error: /policy.yaml: document 2 (line 11): ImageTrustRoot/house: spec.inline: this is no trusted_root.json";
    assert!(lines[0].starts_with(wanted), "{lines:?}");
}

#[test]
fn namespaces_lend_their_labels() {
    let manifests = format!(
        "{}\n---\n{}\n",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"stage": "production"}}}),
        pod(
            "registry.example.com/shop/web:1.4@sha256:bad0000000000000000000000000000000000000000000000000000000000000"
        )
    );
    let file = policies("digests-in-production.yaml");
    let with = ["--policies", file.to_str().unwrap(), "-f", "-"];
    let output = check(&with, manifests.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{}", error(&output));
    let without = manifests.replace("production", "test");
    assert_eq!(check(&with, without.as_bytes()).status.code(), Some(0));
    let unreadable = check(&with, manifests.replace("\"production\"", "7").as_bytes());
    assert_eq!(unreadable.status.code(), Some(2), "labels that are none are no labels that do not match");
    assert!(error(&unreadable).contains("document 1 (line 1): metadata.labels"), "{}", error(&unreadable));
}

#[rstest]
fn every_command_teaches(
    #[values("", "serve", "check", "crds", "demo", "completions", "verdict import")] command: &str,
) {
    let mut program = process::tidewaiter();
    let output = program.args(command.split_whitespace().chain(["--help"])).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.len() > 200, "{command}");
}

#[test]
fn crds_prints_what_is_checked_in() {
    let output = process::tidewaiter().arg("crds").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for definition in tidewaiter::api::v1alpha1::definitions() {
        assert!(printed.contains(&definition.yaml), "{}", definition.file_name);
    }
}
