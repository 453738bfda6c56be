//! Our definitions on a real API server: what it stores, what it refuses, and where it says the fault is.

use kube::core::Status;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;

/// The two kinds, which share all but the namespace selector.
const KINDS: [(&str, &str); 2] = [
    ("ClusterImageAdmissionPolicy", "clusterimageadmissionpolicies"),
    ("ImageAdmissionPolicy", "namespaces/default/imageadmissionpolicies"),
];

/// What the server would store, strictly: as `kubectl create` sends it, with no change to the server.
pub(super) async fn offer(
    server: &ApiServer,
    (kind, path): (&str, &str),
    spec: Option<&Value>,
) -> Result<Value, Status> {
    let mut document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "offered"},
    });
    if let Some(spec) = spec {
        document["spec"] = spec.clone();
    }
    let uri = format!("/apis/tidewaiter.dev/v1alpha1/{path}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(uri)
        .header("content-type", "application/json")
        .body(document.to_string().into_bytes())
        .unwrap();
    match server.client().await.request(request).await {
        Ok(stored) => Ok(stored),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn spec(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

#[rstest]
#[case::an_allowed_registry("registries: {allow: ['registry.example.com/**']}")]
#[case::a_denied_registry("registries: {deny: ['**']}")]
#[case::a_written_digest("references: {requireDigest: true}")]
#[case::a_denied_tag("references: {denyTags: [latest]}")]
#[case::a_warning_that_becomes_a_denial(
    "{action: Warn, enforceAfter: '2027-01-01T00:00:00Z', references: {denyTags: [latest]}}"
)]
#[case::an_audit_with_everything_else(
    "{action: Audit, onError: {action: Warn}, references: {denyTags: ['*-rc*']}, match: {images: ['**'], \
     excludeImages: ['registry.example.com/sandbox/**'], objectSelector: {matchLabels: {app: web}, \
     matchExpressions: [{key: tier, operator: In, values: [front]}]}}}"
)]
#[case::a_denied_vulnerability("vulnerabilities: {deny: [{severity: Critical}]}")]
#[case::a_verdict_that_must_be_there("vulnerabilities: {maxVerdictAge: 72h}")]
#[case::a_distribution_that_must_be_supported("vulnerabilities: {endOfLife: Deny}")]
#[case::sources_that_must_have_answered("vulnerabilities: {sources: {answer: All}}")]
#[case::attestations_that_count(
    "{signatures: {authorities: [{name: ci, keyless: {identities: [{issuer: i, subject: s}]}}]}, \
     vulnerabilities: {sources: {names: [trivy, attestation], attestations: [ci]}}}"
)]
#[case::all_that_can_be_said_of_vulnerabilities(
    "vulnerabilities: {deny: [{severity: High, fixable: true, olderThanDays: 3650}, {ids: [CVE-2021-44228], \
     packages: ['log4j*']}], ignore: [{id: CVE-2026-0001, packages: [zlib], until: '2026-12-31T00:00:00Z', \
     reason: 'TICKET-12'}], honorVEX: true, unknownSeverity: Low, maxVerdictAge: 365d, missingVerdict: Allow, endOfLife: Deny, \
     sources: {names: [trivy], answer: All}}"
)]
#[tokio::test]
async fn a_policy_that_says_something_is_stored(#[case] yaml: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    for kind in KINDS {
        let offered = spec(yaml);
        let stored = offer(server, kind, Some(&offered)).await.unwrap();
        for (field, value) in offered.as_object().unwrap() {
            // Defaults are filled in.
            let filled = ["references", "signatures", "vulnerabilities"].contains(&field.as_str());
            if !filled {
                assert_eq!(&stored["spec"][field], value, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_cluster_policy_may_select_namespaces() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let offered = spec(
        "{references: {requireDigest: true}, match: {namespaceSelector: {matchExpressions: [{key: env, operator: Exists}]}}}",
    );
    offer(server, KINDS[0], Some(&offered)).await.unwrap();
}

#[rstest]
#[case::a_field_of_a_later_version(
    "{registries: {allow: ['**']}, exceptions: {}}",
    "unknown field \"spec.exceptions\""
)]
#[case::a_misspelt_field(
    "{registries: {allow: ['**'], denny: ['x']}}",
    "unknown field \"spec.registries.denny\""
)]
#[case::nothing_required(
    "{}",
    "spec: Invalid value: the policy requires nothing: set registries, references, signatures, attestations or vulnerabilities"
)]
#[case::nothing_required_but_an_action("{action: Warn}", "spec: Invalid value: the policy requires nothing")]
#[case::empty_registries("registries: {}", "spec.registries: Invalid value: set allow, deny or both")]
#[case::empty_references(
    "references: {}",
    "spec.references: Invalid value: set requireDigest: true, denyTags or denyDigests"
)]
#[case::a_digest_not_required(
    "references: {requireDigest: false}",
    "spec.references: Invalid value: set requireDigest: true"
)]
#[case::an_empty_list(
    "registries: {allow: []}",
    "spec.registries.allow: Invalid value: 0: spec.registries.allow in body should have at least 1 items"
)]
#[case::an_empty_pattern(
    "registries: {allow: ['']}",
    "spec.registries.allow[0]: Invalid value: \"\": spec.registries.allow[0] in body should be at least 1 chars long"
)]
#[case::null_for_a_list(
    "registries: {allow: null}",
    "spec.registries: Invalid value: set allow, deny or both"
)]
#[case::text_for_a_list("registries: {allow: '**'}", "spec.registries.allow: Invalid value: \"string\"")]
#[case::no_images_at_all(
    "{references: {requireDigest: true}, match: {images: []}}",
    "spec.match.images: Invalid value: 0"
)]
#[case::an_unknown_action(
    "{action: Block, registries: {allow: ['**']}}",
    "spec.action: Unsupported value: \"Block\": supported values: \"Deny\", \"Warn\", \"Audit\""
)]
#[case::an_action_in_small_letters(
    "{action: warn, registries: {allow: ['**']}}",
    "spec.action: Unsupported value: \"warn\""
)]
#[case::an_unknown_error_action(
    "{onError: {action: Audit}, registries: {allow: ['**']}}",
    "spec.onError.action: Unsupported value: \"Audit\""
)]
#[case::a_date_on_a_denial(
    "{action: Deny, enforceAfter: '2027-01-01T00:00:00Z', registries: {allow: ['**']}}",
    "spec.enforceAfter: Invalid value: enforceAfter turns Warn or Audit into Deny"
)]
#[case::a_date_on_the_default_action(
    "{enforceAfter: '2027-01-01T00:00:00Z', registries: {allow: ['**']}}",
    "spec.enforceAfter: Invalid value: enforceAfter turns Warn or Audit into Deny"
)]
#[case::a_date_without_a_time(
    "{action: Warn, enforceAfter: '2027-01-01', registries: {allow: ['**']}}",
    "spec.enforceAfter: Invalid value: \"2027-01-01\""
)]
#[case::a_date_that_is_none(
    "{action: Warn, enforceAfter: soon, registries: {allow: ['**']}}",
    "spec.enforceAfter: Invalid value: \"soon\""
)]
#[case::a_short_digest(
    "references: {denyDigests: ['sha256:abc']}",
    "spec.references.denyDigests[0]: Invalid value: \"sha256:abc\""
)]
#[case::an_unknown_operator(
    "{references: {requireDigest: true}, match: {objectSelector: {matchExpressions: [{key: a, operator: Is}]}}}",
    "spec.match.objectSelector.matchExpressions[0].operator: Unsupported value: \"Is\""
)]
#[case::a_requirement_without_a_key(
    "{references: {requireDigest: true}, match: {objectSelector: {matchExpressions: [{operator: Exists}]}}}",
    "spec.match.objectSelector.matchExpressions[0].key: Required value"
)]
#[case::vulnerabilities_that_say_nothing(
    "vulnerabilities: {missingVerdict: Allow}",
    "spec.vulnerabilities: Invalid value: set deny, maxVerdictAge, sources or endOfLife: Deny"
)]
#[case::an_empty_list_of_denials(
    "vulnerabilities: {deny: []}",
    "spec.vulnerabilities.deny: Invalid value: 0"
)]
#[case::a_denial_of_anything(
    "vulnerabilities: {deny: [{fixable: true}]}",
    "spec.vulnerabilities.deny[0]: Invalid value: set severity, ids or packages"
)]
#[case::only_what_has_no_fix(
    "vulnerabilities: {deny: [{severity: High, fixable: false}]}",
    "spec.vulnerabilities.deny[0]: Invalid value: fixable: false says nothing"
)]
#[case::no_days(
    "vulnerabilities: {deny: [{severity: High, olderThanDays: 0}]}",
    "spec.vulnerabilities.deny[0].olderThanDays: Invalid value: 0"
)]
#[case::a_severity_in_capitals(
    "vulnerabilities: {deny: [{severity: CRITICAL}]}",
    "spec.vulnerabilities.deny[0].severity: Unsupported value: \"CRITICAL\""
)]
#[case::exceptions_from_nothing(
    "vulnerabilities: {maxVerdictAge: 1d, ignore: [{id: CVE-1, until: '2026-12-31T00:00:00Z', reason: x}]}",
    "spec.vulnerabilities: Invalid value: ignore, honorVEX and unknownSeverity speak of deny"
)]
#[case::vex_of_nothing(
    "vulnerabilities: {maxVerdictAge: 1d, honorVEX: true}",
    "spec.vulnerabilities: Invalid value: ignore, honorVEX and unknownSeverity speak of deny"
)]
#[case::an_exception_without_an_end(
    "vulnerabilities: {deny: [{severity: High}], ignore: [{id: CVE-1, reason: x}]}",
    "spec.vulnerabilities.ignore[0].until: Required value"
)]
#[case::an_exception_without_a_reason(
    "vulnerabilities: {deny: [{severity: High}], ignore: [{id: CVE-1, until: '2026-12-31T00:00:00Z', reason: ''}]}",
    "spec.vulnerabilities.ignore[0].reason: Invalid value"
)]
#[case::an_age_in_weeks(
    "vulnerabilities: {maxVerdictAge: 2w}",
    "spec.vulnerabilities.maxVerdictAge: Invalid value: \"2w\""
)]
#[case::sources_that_say_nothing(
    "vulnerabilities: {sources: {answer: Any}}",
    "spec.vulnerabilities.sources: Invalid value: set names, attestations or answer: All"
)]
#[case::attestations_by_nobody(
    "vulnerabilities: {sources: {attestations: [ci]}}",
    "spec.vulnerabilities: Invalid value: sources.attestations names an authority that is not in"
)]
#[tokio::test]
async fn a_document_that_could_not_work_is_refused_at_its_field(#[case] yaml: &str, #[case] message: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    for kind in KINDS {
        refused(server, kind, Some(&spec(yaml)), message).await;
    }
}

#[track_caller]
pub(super) fn contains(status: &Status, message: &str) {
    assert!(status.message.contains(message), "expected: {message}\nfound:    {}", status.message);
}

pub(super) async fn refused(server: &ApiServer, kind: (&str, &str), spec: Option<&Value>, message: &str) {
    let status = offer(server, kind, spec).await.expect_err("it was accepted");
    assert!([400, 422].contains(&status.code), "{status:?}");
    contains(&status, message);
}

#[tokio::test]
async fn a_policy_without_a_spec_is_refused() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    for kind in KINDS {
        refused(server, kind, None, "spec: Required value").await;
    }
}

#[tokio::test]
async fn a_team_cannot_select_other_namespaces() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let offered = spec("{references: {requireDigest: true}, match: {namespaceSelector: {}}}");
    refused(server, KINDS[1], Some(&offered), "unknown field \"spec.match.namespaceSelector\"").await;
}

/// What is one longer than the limit is refused, and what is at the limit is stored.
#[rstest]
#[case::patterns("/registries/allow", 256, 512)]
#[case::denied_patterns("/registries/deny", 256, 512)]
#[case::tags("/references/denyTags", 256, 128)]
#[case::digests("/references/denyDigests", 1024, 135)]
#[case::images("/match/images", 256, 512)]
#[case::excluded_images("/match/excludeImages", 256, 512)]
#[case::vulnerabilities("/vulnerabilities/deny/0/ids", 256, 64)]
#[case::packages("/vulnerabilities/deny/0/packages", 256, 256)]
#[case::scanners("/vulnerabilities/sources/names", 16, 63)]
#[tokio::test]
async fn lists_and_their_items_have_a_limit(
    #[case] field: &str,
    #[case] items: usize,
    #[case] length: usize,
) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let of = |items: usize, length: usize| {
        let mut document = json!({"registries": {"deny": ["x"]}, "references": {}, "match": {}});
        document["references"] = json!({"requireDigest": true});
        if field.starts_with("/vulnerabilities") {
            document["vulnerabilities"] =
                json!({"deny": [{"severity": "High"}], "sources": {"answer": "All"}});
        }
        let (parent, name) = field.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = vec!["x".repeat(length); items].into();
        document
    };
    let path = format!("spec{}", field.replace("/0", "[0]").replace('/', "."));
    for kind in KINDS {
        offer(server, kind, Some(&of(items, length))).await.unwrap();
        refused(server, kind, Some(&of(items + 1, length)), &format!("{path}: Too many: {}", items + 1))
            .await;
        refused(server, kind, Some(&of(1, length + 1)), &format!("{path}[0]: Too long")).await;
    }
}

#[tokio::test]
async fn what_is_left_out_is_filled_in_on_the_strict_side() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    for kind in KINDS {
        let offered = spec("{references: {denyTags: [latest]}, onError: {}}");
        let stored = offer(server, kind, Some(&offered)).await.unwrap();
        assert_eq!(
            stored["spec"],
            json!({
                "action": "Deny",
                "onError": {"action": "Deny"},
                "references": {"denyTags": ["latest"], "requireDigest": false},
            })
        );
    }
}

#[tokio::test]
async fn kubectl_knows_short_names_columns_the_category_and_the_field_selector() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let namespace = server.namespace("definitions").await;
    let said = server
        .kubectl_with(
            &["create", "-f", "-"],
            &format!(
                "
apiVersion: tidewaiter.dev/v1alpha1
kind: ImageAdmissionPolicy
metadata: {{name: strict, namespace: {namespace}}}
spec: {{references: {{requireDigest: true}}}}
---
apiVersion: tidewaiter.dev/v1alpha1
kind: ImageAdmissionPolicy
metadata: {{name: lenient, namespace: {namespace}}}
spec: {{action: Warn, enforceAfter: '2027-01-01T00:00:00Z', references: {{requireDigest: true}}}}
"
            ),
        )
        .await;
    assert!(said.success, "{said:?}");

    let rows = async |args: &[&str]| -> Vec<Vec<String>> {
        let said = server.kubectl(args).await;
        assert!(said.success, "{said:?}");
        said.stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let table = rows(&["get", "iap", "--namespace", &namespace, "--sort-by=.metadata.name"]).await;
    assert_eq!(table[0], ["NAME", "ACTION", "ENFORCE-AFTER", "AGE"]);
    assert_eq!(table[1][..3], ["lenient", "Warn", "2027-01-01T00:00:00Z"]);
    assert_eq!(table[2][..2], ["strict", "Deny"]);

    let warning = "--field-selector=spec.action=Warn";
    let selected = rows(&["get", "iap", "--namespace", &namespace, warning, "--output=name"]).await;
    assert_eq!(selected, [["imageadmissionpolicy.tidewaiter.dev/lenient"]]);

    let all = rows(&["get", "tidewaiter", "--namespace", &namespace, "--output=name"]).await;
    assert_eq!(all.iter().filter(|row| row[0].starts_with("imageadmissionpolicy")).count(), 2);

    let explained = server.kubectl(&["explain", "ciap.spec.action"]).await;
    assert!(explained.stdout.contains("Deny refuses the object"), "{explained:?}");
}

#[tokio::test]
async fn kubectl_says_which_field_is_wrong() {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let document = "
apiVersion: tidewaiter.dev/v1alpha1
kind: ClusterImageAdmissionPolicy
metadata: {name: wrong}
spec: {registries: {allow: []}}
";
    let said = server.kubectl_with(&["create", "-f", "-"], document).await;
    assert!(!said.success);
    assert!(said.stderr.contains("spec.registries.allow"), "{said:?}");
}
