use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::{beside::*, scanned::*, *};
use crate::{
    api::v1alpha1::crds,
    evidence::{ScanEvidence, Severity, VexStatus, Vulnerability},
};

/// One field, a policy in which it lets an image pass, and a value at which the same policy refuses it.
struct Bite {
    field: String,
    admits: Value,
    refuses: Value,
}

fn bites() -> Vec<Bite> {
    let failing = |field: &'static str, admits: Value, refuses: Value| {
        let rules = |value: Value| {
            let mut spec = json!({"references": {"denyTags": ["1"]}});
            let mut place = &mut spec;
            let path = field.split("[]").next().unwrap_or(field);
            for key in path.split('.') {
                place = &mut place[key];
            }
            *place = value;
            if field == "enforceAfter" {
                spec["action"] = json!("Warn");
            }
            spec
        };
        Bite { field: field.to_owned(), admits: rules(admits), refuses: rules(refuses) }
    };
    let rule = |field: &'static str, admits: Value, refuses: Value| {
        let (room, key) = field.split_once('.').unwrap();
        Bite {
            field: field.to_owned(),
            admits: json!({room: {key: admits}}),
            refuses: json!({room: {key: refuses}}),
        }
    };
    let expression = |key: &str, operator: &str, values: Value| json!([{"key": key, "operator": operator, "values": values}]);
    let mut bites = vec![
        failing("action", json!("Warn"), json!("Deny")),
        failing("action", json!("Audit"), json!("Deny")),
        failing("enforceAfter", json!("2999-01-01T00:00:00Z"), json!("2000-01-01T00:00:00Z")),
        failing("match.images", json!(["b.example/x"]), json!(["b.example/x", "a.example/x"])),
        failing("match.excludeImages", json!(["a.example/x"]), json!(["b.example/x"])),
        failing("match.namespaceSelector.matchLabels", json!({"env": "test"}), json!({"env": "prod"})),
        failing(
            "match.namespaceSelector.matchExpressions",
            expression("env", "NotIn", json!(["prod"])),
            expression("env", "NotIn", json!(["test"])),
        ),
        failing(
            "match.namespaceSelector.matchExpressions[].key",
            expression("other", "Exists", json!(null)),
            expression("env", "Exists", json!(null)),
        ),
        failing(
            "match.namespaceSelector.matchExpressions[].operator",
            expression("env", "DoesNotExist", json!(null)),
            expression("env", "Exists", json!(null)),
        ),
        failing(
            "match.namespaceSelector.matchExpressions[].values",
            expression("env", "In", json!(["test", "stage"])),
            expression("env", "In", json!(["test", "prod"])),
        ),
        failing("match.objectSelector.matchLabels", json!({"tier": "db"}), json!({"tier": "web"})),
        failing(
            "match.objectSelector.matchExpressions",
            expression("tier", "NotIn", json!(["web"])),
            expression("tier", "NotIn", json!(["db"])),
        ),
        failing(
            "match.objectSelector.matchExpressions[].key",
            expression("other", "Exists", json!(null)),
            expression("tier", "Exists", json!(null)),
        ),
        failing(
            "match.objectSelector.matchExpressions[].operator",
            expression("tier", "DoesNotExist", json!(null)),
            expression("tier", "Exists", json!(null)),
        ),
        failing(
            "match.objectSelector.matchExpressions[].values",
            expression("tier", "In", json!(["db", "cache"])),
            expression("tier", "In", json!(["db", "web"])),
        ),
        rule("registries.allow", json!(["a.example/x"]), json!(["b.example/x"])),
        rule("registries.deny", json!(["b.example/x"]), json!(["a.example/x"])),
        Bite {
            field: "references.requireDigest".to_owned(),
            admits: json!({"references": {"requireDigest": false, "denyTags": ["2"]}}),
            refuses: json!({"references": {"requireDigest": true, "denyTags": ["2"]}}),
        },
        rule("references.denyTags", json!(["2"]), json!(["2", "*"])),
        rule("references.denyDigests", json!([digest('b')]), json!([digest('b'), digest('a')])),
        Bite {
            field: "onError.action".to_owned(),
            admits: json!({"onError": {"action": "Warn"}, "registries": {"allow": ["a.example/x"]}}),
            refuses: json!({"onError": {"action": "Deny"}, "registries": {"allow": ["a.example/x"]}}),
        },
    ];
    bites.extend(signature_bites());
    bites.extend(attestation_bites());
    bites.extend(vulnerability_bites());
    bites
}

/// Two authorities, of which the first admits the image and the second does not.
fn authorities() -> Vec<(&'static str, Value, Value)> {
    let key = |fields: Value| {
        let mut key = json!({"inline": KEY});
        key.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"key": key})
    };
    let secret = |namespace: &str, name: &str, key: &str| json!({"key": {"secretRef": {"namespace": namespace, "name": name, "key": key}}});
    let identity =
        |identity: Value| json!({"keyless": {"transparencyLog": "Ignored", "identities": [identity]}});
    let exact = |issuer: &str, subject: &str| identity(json!({"issuer": issuer, "subject": subject}));
    let root = |name: &str| key(json!({"trustRootRef": {"name": name}, "transparencyLog": "Ignored"}));
    let log = |rule: &str| key(json!({"trustRootRef": {"name": ROOT}, "transparencyLog": rule}));
    let keyless = |fields: Value| {
        let mut keyless = json!({"identities": [{"issuer": ISSUER, "subject": SUBJECT}]});
        keyless.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "keyless": keyless })
    };
    let elsewhere = "https://issuer.example.com";
    let source = |repository: &str| json!({"key": {"inline": KEY}, "source": {"repository": repository}});
    let [namespace, name, data] = SECRET;
    vec![
        ("key.inline", json!({"key": {"inline": KEY}}), json!({"key": {"inline": OTHER_KEY}})),
        ("key.secretRef.namespace", secret(namespace, name, data), secret("team-b", name, data)),
        ("key.secretRef.name", secret(namespace, name, data), secret(namespace, "other", data)),
        ("key.secretRef.key", secret(namespace, name, data), secret(namespace, name, "other.pub")),
        ("key.file", json!({"key": {"file": FILE}}), json!({"key": {"file": "other.pub"}})),
        ("key.trustRootRef.name", root(ROOT), root("theirs")),
        ("key.transparencyLog", log("IfPresent"), log("Required")),
        (
            "keyless.trustRootRef.name",
            keyless(json!({"transparencyLog": "Ignored", "trustRootRef": {"name": ROOT}})),
            keyless(json!({"transparencyLog": "Ignored", "trustRootRef": {"name": "theirs"}})),
        ),
        (
            "keyless.transparencyLog",
            keyless(json!({"transparencyLog": "Ignored"})),
            keyless(json!({"transparencyLog": "Required"})),
        ),
        ("keyless.identities", exact(ISSUER, SUBJECT), exact(elsewhere, "nobody@example.com")),
        ("keyless.identities[].issuer", exact(ISSUER, SUBJECT), exact(elsewhere, SUBJECT)),
        (
            "keyless.identities[].issuerPattern",
            identity(json!({"issuerPattern": "https://token.*", "subject": SUBJECT})),
            identity(json!({"issuerPattern": "token.*", "subject": SUBJECT})),
        ),
        ("keyless.identities[].subject", exact(ISSUER, SUBJECT), exact(ISSUER, "https://github.com/acme")),
        (
            "keyless.identities[].subjectPattern",
            identity(json!({"issuer": ISSUER, "subjectPattern": "https://github.com/acme/*"})),
            identity(json!({"issuer": ISSUER, "subjectPattern": "https://github.com/acme"})),
        ),
        ("source.repository", source("a.example/x"), source("b.example/x")),
    ]
}

fn with_name(mut authority: Value) -> Value {
    authority["name"] = json!("release");
    authority
}

fn signature_bites() -> Vec<Bite> {
    let rules = |authority: Value| json!({"signatures": {"authorities": [with_name(authority)]}});
    let mut bites: Vec<Bite> = authorities()
        .into_iter()
        .map(|(field, admits, refuses)| Bite {
            field: format!("signatures.authorities[].{field}"),
            admits: rules(admits),
            refuses: rules(refuses),
        })
        .collect();
    let one = |field: &str, admits: Value, refuses: Value| {
        let with = |value: Value| {
            let mut authority = json!({"name": "release", "key": {"inline": KEY}});
            authority.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            json!({"signatures": {"authorities": [authority]}})
        };
        Bite {
            field: format!("signatures.authorities[].{field}"),
            admits: with(admits),
            refuses: with(refuses),
        }
    };
    let identity = |prefix: &str, signed: &str| {
        json!({"signedIdentity": {
            "matchPolicy": "RemapIdentity", "remapIdentity": {"prefix": prefix, "signedPrefix": signed},
        }})
    };
    bites.extend([
        one("annotations", json!({"annotations": {"env": "prod"}}), json!({"annotations": {"env": "test"}})),
        one(
            "signedIdentity.matchPolicy",
            json!({"signedIdentity": {"matchPolicy": "MatchRepository"}}),
            identity("a.example", "c.example"),
        ),
        one(
            "signedIdentity.remapIdentity.prefix",
            identity("b.example", "c.example"),
            identity("a.example", "c.example"),
        ),
        one(
            "signedIdentity.remapIdentity.signedPrefix",
            identity("a.example", "a.example"),
            identity("a.example", "c.example"),
        ),
    ]);
    let two = |field: &str, rules: fn(&str, &str) -> Value| Bite {
        field: format!("signatures.{field}"),
        admits: rules("good", "bad"),
        refuses: rules("bad", "good"),
    };
    let named = |good: &str, bad: &str| json!([{"name": good, "key": {"inline": KEY}}, {"name": bad, "key": {"inline": OTHER_KEY}}]);
    let at_least = |many: u8| json!({"signatures": {"atLeast": many, "authorities": named("good", "bad")}});
    let must =
        |name: &str| json!({"signatures": {"mustInclude": [name], "authorities": named("good", "bad")}});
    bites.extend([
        two("authorities[].name", |good, bad| {
            json!({"signatures": {"mustInclude": ["good"], "authorities": [
                {"name": good, "key": {"inline": KEY}}, {"name": bad, "key": {"inline": OTHER_KEY}},
            ]}})
        }),
        Bite { field: "signatures.atLeast".to_owned(), admits: at_least(1), refuses: at_least(2) },
        Bite { field: "signatures.mustInclude".to_owned(), admits: must("good"), refuses: must("bad") },
        Bite {
            field: "signatures.authorities".to_owned(),
            admits: rules(json!({"key": {"inline": KEY}})),
            refuses: rules(json!({"key": {"inline": OTHER_KEY}})),
        },
    ]);
    bites
}

fn attestation_bites() -> Vec<Bite> {
    let by = |authority: Value| {
        let inline = [with_name(authority)];
        json!({"attestations": [{"name": "provenance", "predicateType": SLSA, "inlineAuthorities": inline}]})
    };
    let mut bites: Vec<Bite> = authorities()
        .into_iter()
        .map(|(field, admits, refuses)| Bite {
            field: format!("attestations[].inlineAuthorities[].{field}"),
            admits: by(admits),
            refuses: by(refuses),
        })
        .collect();
    let rule = |field: &str, admits: Value, refuses: Value| {
        let with = |value: Value| {
            let mut rule = json!({
                "name": "provenance", "predicateType": SLSA,
                "inlineAuthorities": [{"name": "release", "key": {"inline": KEY}}],
            });
            rule.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            json!({ "attestations": [rule] })
        };
        Bite { field: format!("attestations{field}"), admits: with(admits), refuses: with(refuses) }
    };
    let condition = |expression: &str| json!({"conditions": [{"expression": expression}]});
    let inline = |pem: &str| json!({"inlineAuthorities": [{"name": "release", "key": {"inline": pem}}]});
    let kind = |kind: &str| json!({ "predicateType": kind });
    let named = |name: &str| {
        json!({
            "signatures": {"authorities": [
                {"name": "good", "key": {"inline": KEY}}, {"name": "bad", "key": {"inline": OTHER_KEY}},
            ]},
            "attestations": [{"name": "provenance", "predicateType": SLSA, "authorities": [name]}],
        })
    };
    bites.extend([
        rule("", kind(SLSA), kind("https://spdx.dev/Document")),
        rule("[].predicateType", kind(SLSA), kind("https://slsa.dev/provenance/v0.2")),
        rule("[].inlineAuthorities", inline(KEY), inline(OTHER_KEY)),
        rule("[].conditions", condition("predicate.good"), condition("!predicate.good")),
        rule("[].conditions[].expression", condition("true"), condition("false")),
        Bite { field: "attestations[].authorities".to_owned(), admits: named("good"), refuses: named("bad") },
    ]);
    bites
}

/// What `trivy` has found, yesterday with a database of the day before, in a distribution that is at its end.
fn vulnerable() -> ScanEvidence {
    let mut scan = scan(vec![
        Vulnerability {
            aliases: vec!["GHSA-aaaa-bbbb-cccc".to_owned()],
            published: Some("2026-05-20".parse().unwrap()),
            fixed: Some("1.1".to_owned()),
            ..found("CVE-2026-0001", Some(Severity::High), "openssl")
        },
        found("CVE-2026-0002", None, "zlib"),
        Vulnerability {
            vex: Some(VexStatus::NotAffected),
            ..found("CVE-2026-0003", Some(Severity::Medium), "busybox")
        },
    ]);
    scan.database_at = Some("2026-05-30T12:00:00Z".parse().unwrap());
    scan.end_of_life = Some("alpine 3.10.9".into());
    seen(vec![subject(None, vec![verdict("trivy", Ok(scan))])])
}

fn vulnerability_bites() -> Vec<Bite> {
    let row = |field: &str, rest: Value, admits: Value, refuses: Value| {
        let with = |value: Value| {
            let mut rules = rest.clone();
            // In the first entry of a list.
            let mut place = &mut rules;
            for key in field.split('.') {
                place = match key.strip_suffix("[]") {
                    Some(list) => &mut place[list][0],
                    None => &mut place[key],
                };
            }
            *place = value;
            json!({ "vulnerabilities": rules })
        };
        Bite { field: format!("vulnerabilities.{field}"), admits: with(admits), refuses: with(refuses) }
    };
    let denied = || json!({"deny": [{"ids": ["CVE-2026-0001"]}]});
    let rule = |rule: Value| json!({ "deny": [rule] });
    let ignored = || {
        let entry = json!({"id": "CVE-2026-0001", "until": "2027-01-01T00:00:00Z", "reason": "TICKET-12"});
        json!({"deny": [{"ids": ["CVE-2026-0001"]}], "ignore": [entry]})
    };
    let other = json!([{"id": "CVE-2026-0002", "until": "2027-01-01T00:00:00Z", "reason": "TICKET-12"}]);
    let authorities = || json!({"authorities": [{"name": "good", "key": {"inline": KEY}}, {"name": "bad", "key": {"inline": OTHER_KEY}}]});
    let attested = |name: &str| json!({"signatures": authorities(), "vulnerabilities": {"sources": {"attestations": [name]}}});
    vec![
        row(
            "deny",
            json!({}),
            json!([{"ids": ["CVE-1"]}]),
            json!([{"ids": ["CVE-1"]}, {"ids": ["CVE-2026-0001"]}]),
        ),
        row("deny[].severity", rule(json!({"packages": ["openssl"]})), json!("Critical"), json!("High")),
        row("deny[].fixable", rule(json!({"packages": ["zlib"]})), json!(true), json!(null)),
        row("deny[].olderThanDays", rule(json!({"packages": ["openssl"]})), json!(13), json!(12)),
        row("deny[].ids", rule(json!({})), json!(["CVE-2026-000"]), json!(["CVE-1", "ghsa-AAAA-bbbb-cccc"])),
        row("deny[].packages", rule(json!({})), json!(["open"]), json!(["open*"])),
        row("ignore", denied(), ignored()["ignore"].clone(), other),
        row("ignore[].id", ignored(), json!("cve-2026-0001"), json!("CVE-2026-0002")),
        row("ignore[].packages", ignored(), json!(["*ssl"]), json!(["zlib"])),
        row("ignore[].until", ignored(), json!("2026-06-01T12:00:01Z"), json!("2026-06-01T12:00:00Z")),
        row("honorVEX", json!({"deny": [{"packages": ["busybox"]}]}), json!(true), json!(false)),
        row(
            "unknownSeverity",
            json!({"deny": [{"severity": "High", "packages": ["zlib"]}]}),
            json!("Medium"),
            json!("High"),
        ),
        row("maxVerdictAge", json!({}), json!("2d"), json!("2879m")),
        row("endOfLife", json!({"maxVerdictAge": "7d"}), json!("Allow"), json!("Deny")),
        row("missingVerdict", json!({"sources": {"names": ["grype"]}}), json!("Warn"), json!("Deny")),
        row("missingVerdict", json!({"sources": {"names": ["grype"]}}), json!("Allow"), json!("Deny")),
        row("sources.answer", json!({"sources": {"names": ["trivy", "grype"]}}), json!("Any"), json!("All")),
        row("sources.names", json!({}), json!(["grype", "trivy"]), json!(["grype"])),
        Bite {
            field: "vulnerabilities.sources.attestations".to_owned(),
            admits: attested("bad"),
            refuses: attested("good"),
        },
    ]
}

/// Fields that only say how a thing is called or told, or that a policy with them is refused for.
const SILENT: [&str; 8] = [
    "attestations[].conditions[].message",
    "attestations[].inlineAuthorities[].annotations",
    "attestations[].inlineAuthorities[].name",
    "attestations[].inlineAuthorities[].signedIdentity.matchPolicy",
    "attestations[].inlineAuthorities[].signedIdentity.remapIdentity.prefix",
    "attestations[].inlineAuthorities[].signedIdentity.remapIdentity.signedPrefix",
    "attestations[].name",
    "vulnerabilities.ignore[].reason",
];

/// A team's policy that can be read.
fn teams(spec: &Value) -> Arc<Policy> {
    let policy = read(&json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ImageAdmissionPolicy",
        "metadata": {"name": "extra", "namespace": "team-a"},
        "spec": spec,
    }));
    assert_eq!(policy.compile_error(), None);
    policy
}

/// A field that is read and then ignored is CVE-2025-29778.
#[test]
fn every_field_bites() {
    for bite in bites() {
        let scene = Scene {
            object_labels: labels(&[("tier", "web")]),
            beside: Ok(vec![
                signature(by_key(KEY)),
                signature(by_identity()),
                provenance(by_key(KEY), json!({"good": true})),
                provenance(by_identity(), json!({"good": true})),
                damaged_report(by_key(KEY)),
            ]),
            scans: vulnerable(),
            resolution: match bite.field.as_str() {
                "onError.action" => Resolution::Failed(RegistryError::TimedOut),
                _ => Resolution::Resolved(digest('a')),
            },
            ..Scene::default()
        };
        // What both kinds have alike.
        let alike = bite.field.starts_with("vulnerabilities");
        for read in [|spec: &Value| policy(spec.clone()), teams].into_iter().take(1 + usize::from(alike)) {
            let decide = |spec: &Value| scene.decide(&[read(spec)], "a.example/x:1").allowed();
            assert!(decide(&bite.admits), "{} should admit: {}", bite.field, bite.admits);
            assert!(!decide(&bite.refuses), "{} should refuse: {}", bite.field, bite.refuses);
        }
    }
}

/// A new field has no place in the API until a row above shows that it bites.
#[test]
fn no_field_is_forgotten() {
    let mut covered: BTreeSet<String> = bites().into_iter().map(|bite| bite.field).collect();
    covered.extend(SILENT.map(str::to_owned));
    let mut fields = BTreeSet::new();
    // The fields of trust roots and verdicts are tested where they are read.
    let is_policy = |kind: &str| kind.ends_with("ImageAdmissionPolicy");
    for crd in crds().into_iter().filter(|crd| is_policy(&crd.spec.names.kind)) {
        for version in crd.spec.versions {
            let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
            leaves(&schema.properties.unwrap()["spec"], "", &mut fields);
        }
    }
    let forgotten: Vec<&String> = fields.difference(&covered).collect();
    assert!(forgotten.is_empty(), "no row for {forgotten:?}");
    assert!(fields.contains("match.namespaceSelector.matchExpressions[].values"), "{fields:?}");
}

/// The fields below `schema` that hold values.
fn leaves(schema: &JSONSchemaProps, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = &schema.properties {
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(property, &path, found);
        }
        return;
    }
    found.insert(path.to_owned());
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items
        && items.properties.is_some()
    {
        leaves(items, &format!("{path}[]"), found);
    }
}
