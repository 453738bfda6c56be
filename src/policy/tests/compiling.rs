use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::image::{Digest, ImagePattern};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn patterns(policy: &Policy) -> (Vec<&str>, Vec<&str>) {
    (
        policy.images.iter().map(ImagePattern::as_str).collect(),
        policy.exclude_images.iter().map(ImagePattern::as_str).collect(),
    )
}

#[test]
fn every_field_of_a_clusters_policy_arrives() {
    let policy = compile(&cluster(json!({
        "action": "Warn",
        "enforceAfter": "2027-01-01T00:00:00Z",
        "match": {
            "images": ["registry.example.com/app", "registry.example.com/tool"],
            "excludeImages": ["registry.example.com/sandbox"],
            "namespaceSelector": {"matchLabels": {"env": "prod"}},
            "objectSelector": {"matchExpressions": [{"key": "legacy", "operator": "DoesNotExist"}]},
        },
        "registries": {"allow": ["registry.example.com/app"], "deny": ["registry.example.com/old"]},
        "references": {"requireDigest": true, "denyTags": ["latest", "*-dev"], "denyDigests": [DIGEST]},
        "onError": {"action": "Warn"},
    })));
    assert_eq!(policy.id().to_string(), "ClusterImageAdmissionPolicy/house-rules");
    assert_eq!(policy.generation(), 7);
    assert_eq!(policy.action, Action::Warn);
    assert_eq!(policy.enforce_after, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(
        patterns(&policy),
        (vec!["registry.example.com/app", "registry.example.com/tool"], vec!["registry.example.com/sandbox"])
    );
    assert!(!policy.namespace_selector.is_empty());
    assert!(!policy.object_selector.is_empty());
    assert_eq!(policy.on_error(), OnError::Warn);
    let [
        Requirement::Registries { allow: Some(allow), deny },
        Requirement::WrittenDigest,
        Requirement::DenyTags(tags),
        Requirement::DenyDigests(digests),
    ] = policy.requirements()
    else {
        panic!("{:?}", policy.requirements());
    };
    assert_eq!(allow.iter().map(ImagePattern::as_str).collect::<Vec<_>>(), ["registry.example.com/app"]);
    assert_eq!(deny.iter().map(ImagePattern::as_str).collect::<Vec<_>>(), ["registry.example.com/old"]);
    assert_eq!(tags.iter().map(TagPattern::as_str).collect::<Vec<_>>(), ["latest", "*-dev"]);
    assert_eq!(digests.iter().map(Digest::as_str).collect::<Vec<_>>(), [DIGEST]);
}

#[test]
fn every_field_of_a_teams_policy_arrives() {
    let policy = compile(&namespaced(json!({
        "action": "Audit",
        "enforceAfter": "2027-01-01T01:00:00+01:00",
        "match": {
            "images": ["registry.example.com/app"],
            "excludeImages": ["registry.example.com/sandbox"],
            "objectSelector": {"matchLabels": {"tier": "web"}},
        },
        "references": {"denyTags": ["latest"]},
        "onError": {},
    })));
    assert_eq!(policy.id().to_string(), "ImageAdmissionPolicy/team-a/extra");
    assert_eq!(policy.generation(), 2);
    assert_eq!(policy.action, Action::Audit);
    assert_eq!(policy.enforce_after, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(patterns(&policy), (vec!["registry.example.com/app"], vec!["registry.example.com/sandbox"]));
    assert!(policy.namespace_selector.is_empty());
    assert!(!policy.object_selector.is_empty());
    assert_eq!(policy.on_error(), OnError::Deny);
    assert!(matches!(policy.requirements(), [Requirement::DenyTags(_)]));
}

#[rstest]
#[case::cluster(cluster(json!({"references": {"requireDigest": true}})))]
#[case::namespaced(namespaced(json!({"references": {"requireDigest": true}})))]
#[case::nulls(cluster(json!({
    "match": null, "enforceAfter": null, "registries": null, "onError": null,
    "references": {"requireDigest": true, "denyTags": null, "denyDigests": null},
})))]
fn what_is_left_out_takes_its_strict_default(#[case] document: Value) {
    let policy = compile(&document);
    assert_eq!(policy.action, Action::Deny);
    assert_eq!(policy.enforce_after, None);
    assert_eq!(patterns(&policy), (vec!["**"], vec![]));
    assert!(policy.namespace_selector.is_empty());
    assert!(policy.object_selector.is_empty());
    assert_eq!(policy.on_error(), OnError::Deny);
    assert!(matches!(policy.requirements(), [Requirement::WrittenDigest]));
}

#[test]
fn allow_and_deny_stand_alone() {
    let only = |key: &str| compile(&cluster(json!({"registries": {key: ["registry.example.com/app"]}})));
    assert!(
        matches!(only("allow").requirements(), [Requirement::Registries { allow: Some(_), deny }] if deny.is_empty())
    );
    assert!(
        matches!(only("deny").requirements(), [Requirement::Registries { allow: None, deny }] if deny.len() == 1)
    );
}

#[rstest]
#[case::action("/spec/action", json!("Refuse"))]
#[case::action_case("/spec/action", json!("deny"))]
#[case::action_null("/spec/action", json!(null))]
#[case::enforce_after("/spec/enforceAfter", json!("next year"))]
#[case::enforce_after_date("/spec/enforceAfter", json!("2027-01-01"))]
#[case::images("/spec/match/images", json!("**"))]
#[case::images_empty("/spec/match/images", json!([]))]
#[case::images_item("/spec/match/images", json!([""]))]
#[case::exclude_images("/spec/match/excludeImages", json!([1]))]
#[case::exclude_images_empty("/spec/match/excludeImages", json!([]))]
#[case::namespace_selector("/spec/match/namespaceSelector", json!("prod"))]
#[case::object_selector("/spec/match/objectSelector", json!({"matchLabel": {}}))]
#[case::allow_empty("/spec/registries/allow", json!([]))]
#[case::allow_item("/spec/registries/allow", json!(["registry.example.com/app", ""]))]
#[case::deny_empty("/spec/registries/deny", json!([]))]
#[case::require_digest("/spec/references/requireDigest", json!("yes"))]
#[case::deny_tags_empty("/spec/references/denyTags", json!([]))]
#[case::deny_tags_item("/spec/references/denyTags", json!(["a b"]))]
#[case::deny_digests_empty("/spec/references/denyDigests", json!([]))]
#[case::deny_digests_item("/spec/references/denyDigests", json!(["sha256:AA"]))]
#[case::on_error("/spec/onError/action", json!("LastGood"))]
#[case::fields_as_a_list("/spec", json!(["Deny", null, null, null, {"requireDigest": true}, null]))]
#[case::match_as_a_list("/spec/match", json!([["registry.example.com/app"]]))]
#[case::namespace_selector_as_a_list("/spec/match/namespaceSelector", json!([{"env": "prod"}]))]
#[case::registries_as_a_list("/spec/registries", json!([["registry.example.com/app"], null]))]
#[case::unknown("/spec/verdicts", json!({"atLeast": 1}))]
#[case::unknown_in_match("/spec/match/podSelector", json!({}))]
#[case::unknown_beside_spec("/rules", json!([]))]
fn a_wrong_value_is_named_by_its_path(#[case] pointer: &str, #[case] value: Value) {
    let document = cluster(json!({
        "registries": {"deny": ["registry.example.com/old"]},
        "references": {"requireDigest": true},
    }));
    compile(&document);
    let (_, troubles) = fail(&with(document, pointer, value));
    let path = pointer[1..].replace('/', ".");
    // serde names an unknown field itself, and everything else by its path.
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", &path));
    let named = troubles.starts_with(&path)
        || (troubles.starts_with(parent) && troubles.contains(&format!("unknown field `{field}`")));
    assert!(named, "{path} is not named in: {troubles}");
}

#[test]
fn an_error_names_place_value_and_remedy() {
    assert_snapshot!(troubles(&cluster(json!({"action": "Refuse", "references": {"requireDigest": true}}))), @r#"spec.action: "Refuse": unknown variant `Refuse`, expected one of `Deny`, `Warn`, `Audit`"#);
    assert_snapshot!(troubles(&cluster(json!({"references": {"requireDigest": "yes"}}))), @r#"spec.references.requireDigest: "yes": invalid type: string "yes", expected a boolean"#);
    assert_snapshot!(troubles(&cluster(json!({"registries": {"allow": ["a.example/x"], "signatures": {}}}))), @"spec.registries.signatures: unknown field `signatures`, expected `allow` or `deny`");
    assert_snapshot!(troubles(&cluster(json!({"references": {"denyTags": ["a b"]}}))), @r#"spec.references.denyTags[0]: "a b": a tag has up to 128 letters, digits, "_", "." and "-"; "*" stands for any run of them"#);
    assert_snapshot!(troubles(&cluster(json!({"references": {"denyDigests": ["sha256:AA", "md5:0"]}}))), @r#"
    spec.references.denyDigests[0]: "sha256:AA": a sha256 digest has 64 lowercase hex digits
    spec.references.denyDigests[1]: "md5:0": a digest begins with "sha256:" or "sha512:"
    "#);
    assert_snapshot!(troubles(&cluster(json!({"registries": {"allow": []}}))), @r#"spec.registries.allow: "[]": an empty list says nothing: leave the field out"#);
    assert_snapshot!(troubles(&cluster(json!({"registries": {}}))), @"spec.registries: set allow, deny or both");
    assert_snapshot!(troubles(&cluster(json!({"references": {}}))), @"spec.references: set requireDigest: true, denyTags or denyDigests");
    assert_snapshot!(troubles(&cluster(json!({"references": {"requireDigest": false}}))), @"spec.references: set requireDigest: true, denyTags or denyDigests");
    assert_snapshot!(troubles(&cluster(json!({}))), @"spec: the policy requires nothing: set registries, references, signatures, attestations or vulnerabilities");
    assert_snapshot!(troubles(&cluster(json!(null))), @"spec: the policy has no spec");
    assert_snapshot!(troubles(&cluster(json!([1]))), @r#"spec: "[…]": a list where fields belong"#);
    assert_snapshot!(
        troubles(&cluster(json!({"enforceAfter": "2027-01-01T00:00:00Z", "references": {"requireDigest": true}}))),
        @r#"spec.enforceAfter: "2027-01-01T00:00:00Z": it turns Warn or Audit into Deny: with action Deny it says nothing"#
    );
    assert_snapshot!(
        troubles(&cluster(json!({"enforceAfter": "soon", "action": "Warn", "references": {"requireDigest": true}}))),
        @r#"spec.enforceAfter: "soon": a time is written like "2027-01-01T00:00:00Z" (RFC 3339)"#
    );
    assert_snapshot!(
        troubles(&namespaced(json!({
            "match": {"namespaceSelector": {}}, "references": {"requireDigest": true}
        }))),
        @"spec.match.namespaceSelector: unknown field `namespaceSelector`, expected one of `images`, `excludeImages`, `objectSelector`"
    );
}

#[test]
fn an_error_in_the_metadata_names_its_place() {
    let policy = cluster(json!({"references": {"requireDigest": true}}));
    let team = namespaced(json!({"references": {"requireDigest": true}}));
    assert_snapshot!(troubles(&with(policy.clone(), "/metadata/name", json!(null))), @"metadata.name: the policy has no name");
    assert_snapshot!(troubles(&with(policy.clone(), "/metadata/name", json!("House rules\n"))), @r#"metadata.name: "House rules\n": a name has up to 253 lowercase letters, digits, "-" and ".", with a letter or digit at both ends"#);
    assert_snapshot!(troubles(&with(policy.clone(), "/metadata", json!(3))), @"metadata.name: the policy has no name");
    assert_snapshot!(troubles(&with(policy.clone(), "/metadata/namespace", json!("team-a"))), @r#"metadata.namespace: "team-a": a ClusterImageAdmissionPolicy has no namespace: leave it out, or use an ImageAdmissionPolicy"#);
    assert_snapshot!(troubles(&with(policy.clone(), "/metadata/namespace", json!(5))), @"metadata.namespace: a ClusterImageAdmissionPolicy has no namespace: leave it out, or use an ImageAdmissionPolicy");
    assert_snapshot!(troubles(&with(team.clone(), "/metadata/namespace", json!(""))), @"metadata.namespace: an ImageAdmissionPolicy belongs to a namespace: name it");
    assert_snapshot!(troubles(&with(team.clone(), "/metadata/namespace", json!("team.a"))), @r#"metadata.namespace: "team.a": a namespace has up to 63 lowercase letters, digits and "-", with a letter or digit at both ends"#);
    assert_snapshot!(troubles(&with(policy.clone(), "/rules", json!([]))), @"rules: unknown field");
    compile(&with(policy.clone(), "/metadata/namespace", json!("")));
    compile(&with(policy, "/status", json!({"conditions": []})));
}

#[test]
fn an_error_in_a_selector_names_its_place() {
    let selecting = |selector: Value| {
        troubles(&cluster(json!({
            "match": {"namespaceSelector": selector}, "references": {"requireDigest": true}
        })))
    };
    assert_snapshot!(
        selecting(json!({"matchExpressions": [
            {"key": "a", "operator": "Exists"},
            {"key": "-b", "operator": "In", "values": ["ok", "not ok"]},
            {"key": "c", "operator": "NotIn"},
            {"key": "d", "operator": "Exists", "values": ["x", "y"]},
        ]})),
        @r#"
    spec.match.namespaceSelector.matchExpressions[1].key: "-b": a label key is an optional DNS prefix with "/" and a name of up to 63 letters, digits, "-", "_" and "."
    spec.match.namespaceSelector.matchExpressions[1].values[1]: "not ok": a label value has up to 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends
    spec.match.namespaceSelector.matchExpressions[2].values: "[]": In and NotIn want at least one value
    spec.match.namespaceSelector.matchExpressions[3].values: "x, y": Exists and DoesNotExist take no values
    "#
    );
    assert_snapshot!(selecting(json!({"matchLabels": {"Example.com/env": "prod", "env": "prod!"}})), @r#"
    spec.match.namespaceSelector.matchLabels: "Example.com/env": a label key is an optional DNS prefix with "/" and a name of up to 63 letters, digits, "-", "_" and "."
    spec.match.namespaceSelector.matchLabels["env"]: "prod!": a label value has up to 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends
    "#);
    assert_snapshot!(selecting(json!({"matchExpressions": [{"key": "a", "operator": "Equals"}]})), @r#"spec.match.namespaceSelector.matchExpressions[0].operator: "Equals": unknown variant `Equals`, expected one of `In`, `NotIn`, `Exists`, `DoesNotExist`"#);
}

#[test]
fn an_author_hears_of_everything_at_once() {
    assert_snapshot!(
        troubles(&with(
            cluster(json!({
                "enforceAfter": "2027-01-01T00:00:00Z",
                "match": {"images": ["registry.example.com/app", ""], "excludeImages": []},
                "registries": {"allow": [""], "deny": [""]},
                "references": {"denyTags": ["latest", ":"], "denyDigests": ["sha256:0"]},
            })),
            "/metadata/name",
            json!("")
        )),
        @r#"
    metadata.name: the policy has no name
    spec.enforceAfter: "2027-01-01T00:00:00Z": it turns Warn or Audit into Deny: with action Deny it says nothing
    spec.registries.allow[0]: the image pattern is empty: "**" is every image
    spec.registries.deny[0]: the image pattern is empty: "**" is every image
    spec.references.denyTags[1]: ":": a tag has up to 128 letters, digits, "_", "." and "-"; "*" stands for any run of them
    spec.references.denyDigests[0]: "sha256:0": a sha256 digest has 64 lowercase hex digits
    spec.match.images[1]: the image pattern is empty: "**" is every image
    spec.match.excludeImages: "[]": an empty list says nothing: leave the field out
    "#
    );
}

#[test]
fn an_error_stays_small_whatever_the_document_holds() {
    let many: Vec<String> = (0..200).map(|at| format!("no tag {at}")).collect();
    let (policy, _) = fail(&cluster(json!({"references": {"denyTags": many}})));
    let error = policy.compile_error().unwrap();
    assert_eq!(error.fields.len(), 17);
    assert_eq!(error.fields[16].problem, "184 more things are wrong with the document");

    let huge = "x".repeat(1 << 20);
    for spec in [
        json!({"action": huge}),
        json!({huge.clone(): 1}),
        json!({"references": {"requireDigest": huge}}),
        json!({"references": {"denyTags": [huge]}}),
        json!({"registries": {"allow": [huge]}}),
        json!({"match": {"namespaceSelector": {"matchLabels": {huge.clone(): huge}}}, "references": {"requireDigest": true}}),
    ] {
        let text = troubles(&cluster(spec));
        assert!(text.len() < 1024, "{} bytes: {}…", text.len(), &text[..200]);
    }
}

#[rstest]
#[case("/spec/match/images", 256, "registry.example.com/app")]
#[case("/spec/match/excludeImages", 256, "registry.example.com/app")]
#[case("/spec/registries/allow", 256, "registry.example.com/app")]
#[case("/spec/registries/deny", 256, "registry.example.com/app")]
#[case("/spec/references/denyTags", 256, "latest")]
#[case("/spec/references/denyDigests", 1024, DIGEST)]
fn a_list_is_as_long_as_the_schema_allows(#[case] pointer: &str, #[case] most: usize, #[case] item: &str) {
    let document = |length| {
        let base = cluster(json!({
            "registries": {"deny": ["registry.example.com/old"]}, "references": {"requireDigest": true}
        }));
        with(base, pointer, json!(vec![item; length]))
    };
    compile(&document(most));
    let path = pointer[1..].replace('/', ".");
    assert_eq!(
        troubles(&document(most + 1)),
        format!("{path}: \"{} entries\": at most {most} are allowed", most + 1)
    );
}

#[test]
fn a_selector_is_as_large_as_the_schema_allows() {
    let labels = |count: usize| {
        let labels: serde_json::Map<String, Value> =
            (0..count).map(|at| (format!("l{at}"), json!("x"))).collect();
        json!({"matchLabels": labels})
    };
    let expressions =
        |count: usize| json!({"matchExpressions": vec![json!({"key": "a", "operator": "Exists"}); count]});
    let values = |count: usize| json!({"matchExpressions": [{"key": "a", "operator": "In", "values": vec!["x"; count]}]});
    let selecting = |selector: Value| {
        cluster(json!({"match": {"namespaceSelector": selector}, "references": {"requireDigest": true}}))
    };
    compile(&selecting(labels(32)));
    compile(&selecting(expressions(32)));
    compile(&selecting(values(64)));
    assert_snapshot!(troubles(&selecting(labels(33))), @r#"spec.match.namespaceSelector.matchLabels: "33 entries": at most 32 are allowed"#);
    assert_snapshot!(troubles(&selecting(expressions(33))), @r#"spec.match.namespaceSelector.matchExpressions: "33 entries": at most 32 are allowed"#);
    assert_snapshot!(troubles(&selecting(values(65))), @r#"spec.match.namespaceSelector.matchExpressions[0].values: "65 entries": at most 64 are allowed"#);
}

#[rstest]
#[case::other_group(json!({"apiVersion": "example.com/v1alpha1", "kind": "ClusterImageAdmissionPolicy"}))]
#[case::other_version(json!({"apiVersion": "tidewaiter.dev/v1", "kind": "ClusterImageAdmissionPolicy"}))]
#[case::no_version(json!({"kind": "ClusterImageAdmissionPolicy"}))]
#[case::other_kind(json!({"apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot"}))]
#[case::kind_in_other_case(json!({"apiVersion": "tidewaiter.dev/v1alpha1", "kind": "imageAdmissionPolicy"}))]
#[case::no_kind(json!({"apiVersion": "tidewaiter.dev/v1alpha1"}))]
#[case::a_list(json!([]))]
#[case::nothing(json!(null))]
fn a_document_of_another_kind_is_none_of_ours(#[case] document: Value) {
    assert!(read(&document).is_none());
}

#[test]
fn an_object_selector_works_and_is_warned_of() {
    let selecting = |selector: Value| {
        let document =
            cluster(json!({"match": {"objectSelector": selector}, "references": {"requireDigest": true}}));
        read(&document).unwrap().warnings
    };
    assert_snapshot!(selecting(json!({"matchLabels": {"tier": "web"}})).join("\n"), @"spec.match.objectSelector: whoever creates an object writes its labels, and so decides whether this policy applies to it");
    assert_eq!(selecting(json!({})), [""; 0]);
}
