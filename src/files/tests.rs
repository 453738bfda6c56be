use std::{fs, path::PathBuf};

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    policy::{ObjectKind, ObjectName},
    review::ports::ObjectContent,
};

const POLICY: &str = "apiVersion: tidewaiter.dev/v1alpha1\nkind: ClusterImageAdmissionPolicy\nmetadata: {name: house-rules}\nspec: {references: {denyTags: [latest]}}\n";

fn places(text: &str) -> Vec<(usize, usize)> {
    let documents = parse("x.yaml", text.as_bytes()).unwrap();
    documents.iter().map(|document| (document.place.document, document.place.line)).collect()
}

#[rstest]
#[case::one("a: 1\n", &[(1, 1)])]
#[case::two("a: 1\n---\nb: 2\n", &[(1, 1), (2, 2)])]
#[case::leading_marker("---\na: 1\n---\nb: 2\n", &[(1, 1), (2, 3)])]
#[case::empty_ones_do_not_count("---\n---\n# nothing\n---\na: 1\n", &[(1, 4)])]
#[case::trailing_marker("a: 1\n---\n", &[(1, 1)])]
#[case::end_marker("a: 1\n...\n---\nb: 2\n", &[(1, 1), (2, 3)])]
#[case::dos_line_ends("a: 1\r\n---\r\nb: 2\r\n", &[(1, 1), (2, 2)])]
#[case::dashes_inside_a_scalar("a: |\n  ---\n  x\n", &[(1, 1)])]
#[case::json("{\"a\": 1}", &[(1, 1)])]
fn documents_know_their_number_and_line(#[case] text: &str, #[case] wanted: &[(usize, usize)]) {
    assert_eq!(places(text), wanted);
}

/// `kubectl apply` follows lists in lists: an object there would be applied and never have been judged.
#[test]
fn a_list_comes_out_as_its_items_however_deep_they_stand() {
    let text = "a: 1\n---\nkind: List\nitems:\n- {kind: Pod}\n- kind: List\n  items: [{kind: Job}, {kind: PodList, items: [{kind: Pod}]}]\n";
    let found: Vec<_> = parse("x", text.as_bytes())
        .unwrap()
        .into_iter()
        .skip(1)
        .map(|document| (document.place.to_string(), document.value["kind"].clone()))
        .collect();
    let at = |item: &str| format!("x: document 2 (line 2), {item}");
    let wanted = [
        (at("items[0]"), json!("Pod")),
        (at("items[1].items[0]"), json!("Job")),
        (at("items[1].items[1].items[0]"), json!("Pod")),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_document_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), b"\xff").unwrap();
    fs::write(folder.path().join("b.yaml"), "n: 1\n---\nn: [\n---\nn: 3\n").unwrap();
    let read: Vec<_> = read_each(folder.path())
        .into_iter()
        .map(|document| document.map(|document| document.value["n"].clone()).map_err(drop))
        .collect();
    assert_eq!(read, [Err(()), Ok(json!(1)), Err(()), Ok(json!(3))]);
}

#[rstest]
#[case::empty(b"", "x.yaml: document 1 (line 1): the file is empty")]
#[case::white_space(b" \n\t\n", "x.yaml: document 1 (line 1): the file is empty")]
#[case::binary(b"a: 1\n\x7fELF\xff\xfe", "x.yaml: document 1 (line 2): not UTF-8")]
#[case::binary_in_second(b"a: 1\n---\nb: \xff", "x.yaml: document 2 (line 3): not UTF-8")]
#[case::syntax(b"a: 1\n---\nb: [1,\n", "x.yaml: document 2 (line ")]
#[case::duplicate_key(b"a: 1\n---\nb: 1\nb: 2\n", "x.yaml: document 2 (line 4): the key b stands here twice")]
#[case::tab(b"a: 1\n---\nb:\n\tc: 1\n", "x.yaml: document 2 (line 4): tabs disallowed")]
fn bad_input_names_file_document_and_line(#[case] content: &[u8], #[case] wanted: &str) {
    let error = parse("x.yaml", content).unwrap_err().to_string();
    assert!(error.starts_with(wanted), "{error}");
    assert!(!error.contains('\n'), "{error}");
    assert_eq!(error.matches("line").count(), 1, "one place is told, and it is the file's: {error}");
}

#[test]
fn an_alias_bomb_is_refused_and_named() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![last; 10].join(", ")));
    }
    let error = parse("bomb.yaml", bomb.as_bytes()).unwrap_err();
    assert!(matches!(&error, FileError::Syntax { document: 1, .. }), "{error}");
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let big = format!("n: 1\n---\n{}", "a: b\n".repeat(2 << 20));
    let error = parse("big.yaml", big.as_bytes()).unwrap_err();
    assert!(matches!(error, FileError::TooLarge { document: 2, line: 1_677_722, .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big.yaml");
    fs::write(&file, big).unwrap();
    assert!(matches!(read(&file), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_file_of_too_many_documents_is_refused() {
    let many = "a: 1\n---\n".repeat(10_001);
    let error = parse("many.yaml", many.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("many.yaml: document 10001 (line 20000): more than 10000"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse("deep.yaml", deep.as_bytes()), Err(FileError::Syntax { .. })));
}

#[test]
fn a_directory_is_read_in_the_order_of_its_names_and_without_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("b/.git")).unwrap();
    for (name, text) in [
        ("c.yml", "n: 3"),
        ("a.yaml", "n: 1"),
        ("b/x.json", "{\"n\": 2}"),
        ("b/.git/y.yaml", "n: 9"),
        ("notes.txt", "n: 8"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let numbers: Vec<_> =
        read(folder.path()).unwrap().iter().map(|document| document.value["n"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(2), json!(3)]);
}

#[test]
fn a_directory_without_documents_is_an_error_and_not_an_empty_answer() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(folder.path()), Err(FileError::NoFiles(_))));
    assert!(matches!(read(&folder.path().join("absent")), Err(FileError::Io { .. })));
}

#[test]
fn a_document_that_is_no_policy_is_refused_among_policies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    fs::write(&file, format!("{POLICY}---\n{}", POLICY.replace("v1alpha1", "v1"))).unwrap();
    let error = read_policies(&[file]).unwrap_err().to_string();
    assert!(error.contains("document 2 (line 5): apiVersion \"tidewaiter.dev/v1\""), "{error}");
}

#[test]
fn one_name_twice_is_refused_also_across_paths() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = ["a.yaml", "b.yaml"].map(|name| folder.path().join(name)).into();
    for file in &files {
        fs::write(file, POLICY).unwrap();
    }
    assert!(matches!(read_policies(&files), Err(PolicyFileError::Twice { .. })));
}

#[test]
fn an_edit_takes_effect_and_a_broken_one_leaves_what_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    fs::write(&file, POLICY).unwrap();
    let (policies, first) = PolicyDirectory::open(vec![folder.path().to_owned()]).unwrap();
    assert_eq!(first.policies.len(), 1);
    assert!(matches!(policies.reload(), Reload::Unchanged));

    fs::write(&file, format!("{POLICY}---\n{}", POLICY.replace("house-rules", "more"))).unwrap();
    assert!(matches!(policies.reload(), Reload::Changed(read) if read.policies.len() == 2));
    assert_eq!(count(&policies), 2);

    fs::write(&file, "spec: [").unwrap();
    assert!(matches!(policies.reload(), Reload::Failed(_)));
    assert_eq!(count(&policies), 2);
    assert!(matches!(policies.reload(), Reload::Unchanged));

    fs::remove_file(&file).unwrap();
    assert!(matches!(policies.reload(), Reload::Failed(_)));
    assert_eq!(count(&policies), 2);

    fs::write(&file, POLICY).unwrap();
    assert!(matches!(policies.reload(), Reload::Changed(read) if read.policies.len() == 1));
}

#[test]
fn a_policy_that_does_not_compile_is_in_force_and_failing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), POLICY.replace("denyTags", "denyTogs")).unwrap();
    let (policies, read) = PolicyDirectory::open(vec![folder.path().to_owned()]).unwrap();
    assert!(read.policies[0].policy.compile_error().is_some());
    assert_eq!(count(&policies), 1);
}

const TRUST: &str = "
apiVersion: tidewaiter.dev/v1alpha1
kind: ImageTrustRoot
metadata: {name: house}
spec: {configMapRef: {namespace: trust, name: roots}}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: trust}
type: Opaque
data: {a: YWJj, b: eHl6}
stringData: {b: wins}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: keys, namespace: trust}
data: {a: text}
binaryData: {c: YWJj}
";

#[test]
fn trust_roots_secrets_and_config_maps_may_stand_beside_policies() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), format!("{POLICY}---{TRUST}")).unwrap();
    let filed = read_policies(&[folder.path().to_owned()]).unwrap();
    assert_eq!((filed.policies.len(), filed.roots.len(), filed.objects.len()), (1, 1, 2));
    assert_eq!(&*filed.roots[0].root.name, "house");
    let object = |kind| {
        let name = ObjectName { kind, namespace: "trust".into(), name: "keys".into() };
        let ObjectContent::Data(data) = &filed.objects[&name] else { panic!("no data") };
        let mut texts = Vec::new();
        for (key, value) in data {
            texts.push(format!("{key}={}", String::from_utf8_lossy(value.as_deref().unwrap())));
        }
        texts.join(" ")
    };
    assert_eq!(object(ObjectKind::Secret), "a=abc b=wins");
    assert_eq!(object(ObjectKind::ConfigMap), "a=text c=abc");
    assert!(!format!("{filed:?}").contains("wins"), "what a Secret holds is not printed");
}

#[rstest]
#[case::no_namespace(
    "metadata: {name: keys, namespace: trust}",
    "metadata: {name: keys}",
    "metadata.namespace: name the Secret's namespace"
)]
#[case::no_base64("a: YWJj", "a: a secret", "data.a: wanted base64")]
#[case::a_number("b: wins", "b: 1", "stringData.b: wanted text")]
#[case::a_list("data: {a: YWJj, b: eHl6}", "data: [hunter2]", "data: wanted keys and values")]
#[case::a_slip("stringData:", "stringDate:", "stringDate: unknown field")]
#[case::another_kind("kind: Secret", "kind: Service", "apiVersion \"v1\", kind \"Service\" is no policy")]
#[case::twice("kind: ConfigMap", "kind: Secret", "Secret trust/keys is already defined in")]
fn a_secret_that_is_none_is_refused_without_being_repeated(
    #[case] from: &str,
    #[case] to: &str,
    #[case] wanted: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    let text = TRUST.replacen(from, to, 1).replace("binaryData: {c: YWJj}\n", "");
    fs::write(&file, text).unwrap();
    let error = read_policies(&[file]).unwrap_err().to_string();
    assert!(error.contains("p.yaml: document") && error.contains(wanted), "{error}");
    assert!(!error.contains("a secret") && !error.contains("hunter2"), "{error}");
}

fn count(policies: &PolicyDirectory) -> usize {
    crate::review::ports::Policies::current(policies).iter().count()
}
