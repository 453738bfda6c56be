use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn document(spec: Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ImageTrustRoot",
        "metadata": {"name": "house", "generation": 3},
        "spec": spec,
    })
}

fn source(spec: Value) -> TrustRootSource {
    read_trust_root(&document(spec)).expect("an ImageTrustRoot").source.unwrap()
}

fn problems(document: &Value) -> String {
    let error = read_trust_root(document).expect("an ImageTrustRoot").source.unwrap_err();
    error.fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_source_arrives() {
    assert_eq!(
        source(json!({"sigstore": "PublicGood"})),
        TrustRootSource::Sigstore(SigstoreRoot::PublicGood)
    );
    assert_eq!(source(json!({"sigstore": "GitHub"})), TrustRootSource::Sigstore(SigstoreRoot::GitHub));
    assert_eq!(source(json!({"inline": "{}"})), TrustRootSource::Inline("{}".into()));
    assert_eq!(source(json!({"file": "house.json"})), TrustRootSource::File("house.json".into()));
    let object = |key: &str| {
        TrustRootSource::ConfigMap(ObjectKey {
            namespace: "trust".into(),
            name: "roots".into(),
            key: key.into(),
        })
    };
    assert_eq!(
        source(json!({"configMapRef": {"namespace": "trust", "name": "roots"}})),
        object("trusted_root.json")
    );
    assert_eq!(
        source(json!({"configMapRef": {"namespace": "trust", "name": "roots", "key": "house"}})),
        object("house")
    );
    let tuf = |mirror: &str, seconds| {
        TrustRootSource::Tuf(TufRepository {
            mirror: mirror.parse().unwrap(),
            root: "{}".into(),
            refresh: Duration::from_secs(seconds),
        })
    };
    assert_eq!(
        source(json!({"tuf": {"mirror": "https://tuf.example.com/sub", "root": "{}"}})),
        tuf("https://tuf.example.com/sub/", 86_400)
    );
    assert_eq!(
        source(json!({"tuf": {"mirror": "http://tuf.example.com:8080", "root": "{}", "refreshSeconds": 60}})),
        tuf("http://tuf.example.com:8080/", 60)
    );
}

#[test]
fn name_and_generation_arrive() {
    let reading = read_trust_root(&document(json!({"sigstore": "GitHub"}))).unwrap();
    assert_eq!((&*reading.name, reading.generation), ("house", 3));
}

#[rstest]
#[case::policy("tidewaiter.dev/v1alpha1", "ClusterImageAdmissionPolicy")]
#[case::version("tidewaiter.dev/v1", "ImageTrustRoot")]
#[case::group("example.com/v1alpha1", "ImageTrustRoot")]
fn another_kind_is_no_trust_root(#[case] version: &str, #[case] kind: &str) {
    let document = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": {}});
    assert_eq!(read_trust_root(&document), None);
}

#[rstest]
#[case::nothing(json!({}), "spec: set exactly one of sigstore, inline, configMapRef, file and tuf")]
#[case::no_spec(Value::Null, "spec: the trust root has no spec")]
#[case::two(json!({"sigstore": "GitHub", "file": "a"}), "spec: set exactly one of")]
#[case::unknown_field(json!({"sigstor": "GitHub"}), "spec.sigstor: \"GitHub\": unknown field")]
#[case::inner_unknown_field(json!({"tuf": {"mirror": "https://a.example", "root": "{}", "every": 3}}), "spec.tuf.every: \"3\": unknown field")]
#[case::list(json!(["GitHub"]), "spec: \"[…]\": a list where fields belong")]
#[case::inner_list(json!({"configMapRef": ["trust", "roots"]}), "spec.configMapRef: \"[…]\": a list where fields belong")]
#[case::instance(json!({"sigstore": "Staging"}), "spec.sigstore: \"Staging\": unknown variant")]
#[case::empty_inline(json!({"inline": ""}), "spec.inline: \"0 bytes\": wanted 1 to 524288 bytes")]
#[case::long_inline(json!({"inline": "x".repeat(524_289)}), "spec.inline: \"524289 bytes\": wanted")]
#[case::path(json!({"file": "../root.json"}), "spec.file: \"../root.json\": a file's name has")]
#[case::hidden_file(json!({"file": "..data"}), "spec.file: \"..data\": a file's name has")]
#[case::namespace(json!({"configMapRef": {"namespace": "a/b", "name": "c"}}), "spec.configMapRef.namespace: \"a/b\": a namespace has")]
#[case::name(json!({"configMapRef": {"namespace": "a", "name": "C"}}), "spec.configMapRef.name: \"C\": a name has")]
#[case::key(json!({"configMapRef": {"namespace": "a", "name": "c", "key": "a/b"}}), "spec.configMapRef.key: \"a/b\": a key of data has")]
#[case::no_root(json!({"tuf": {"mirror": "https://a.example"}}), "spec.tuf: missing field `root`")]
#[case::scheme(json!({"tuf": {"mirror": "file:///etc/passwd", "root": "{}"}}), "spec.tuf.mirror: \"file:///etc/passwd\": wanted https:// and a host")]
#[case::no_address(json!({"tuf": {"mirror": "tuf.example.com", "root": "{}"}}), "spec.tuf.mirror: \"tuf.example.com\": wanted an address")]
#[case::password(json!({"tuf": {"mirror": "https://me:hunter2@a.example", "root": "{}"}}), "spec.tuf.mirror: a TUF repository is read without a user name")]
#[case::query(json!({"tuf": {"mirror": "https://a.example/?x=1", "root": "{}"}}), "spec.tuf.mirror: \"https://a.example/?x=1\": an address without")]
#[case::often(json!({"tuf": {"mirror": "https://a.example", "root": "{}", "refreshSeconds": 59}}), "spec.tuf.refreshSeconds: \"59\": wanted 60 to 604800 seconds")]
fn a_trust_root_that_cannot_be_read_names_its_field(#[case] spec: Value, #[case] wanted: &str) {
    let told = problems(&document(spec));
    assert!(told.starts_with(wanted), "{told}");
    assert!(!told.contains("hunter2"));
}

#[rstest]
#[case::name("/metadata/name", json!("A"), "metadata.name: \"A\": a name has")]
#[case::no_name("/metadata/name", json!(""), "metadata.name: the trust root has no name")]
#[case::namespace("/metadata/namespace", json!("a"), "metadata.namespace: \"a\": an ImageTrustRoot has no namespace")]
#[case::beside_the_spec("/data", json!({}), "data: unknown field")]
fn what_stands_around_the_spec_is_checked_too(
    #[case] path: &str,
    #[case] value: Value,
    #[case] wanted: &str,
) {
    let told = problems(&with(document(json!({"sigstore": "GitHub"})), path, value));
    assert!(told.starts_with(wanted), "{told}");
}

#[test]
fn a_clusters_and_a_teams_secret_of_one_name_are_told_apart() {
    let policy = |document: &dyn Fn(Value) -> Value, secret: Value| {
        let authority = json!({"name": "release", "key": {"secretRef": secret}});
        compile(&document(json!({"signatures": {"authorities": [authority]}}))).authorities()[0].proof.clone()
    };
    let key = ObjectKey { namespace: "team-a".into(), name: "keys".into(), key: "cosign.pub".into() };
    let of_cluster = policy(&cluster, json!({"namespace": "team-a", "name": "keys"}));
    assert!(matches!(of_cluster, Proof::Key { key: KeyRef::Secret(named), .. } if named == key));
    let of_team = policy(&namespaced, json!({"name": "keys"}));
    assert!(matches!(of_team, Proof::Key { key: KeyRef::TeamSecret(named), .. } if named == key));
}
