use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::*;
use crate::api::v1alpha1::crds;

/// One field, a policy in which it lets an image pass, and a value at which the same policy refuses it.
struct Bite {
    field: &'static str,
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
        Bite { field, admits: rules(admits), refuses: rules(refuses) }
    };
    let rule = |field: &'static str, admits: Value, refuses: Value| {
        let (room, key) = field.split_once('.').unwrap();
        Bite { field, admits: json!({room: {key: admits}}), refuses: json!({room: {key: refuses}}) }
    };
    let expression = |key: &str, operator: &str, values: Value| json!([{"key": key, "operator": operator, "values": values}]);
    vec![
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
            field: "references.requireDigest",
            admits: json!({"references": {"requireDigest": false, "denyTags": ["2"]}}),
            refuses: json!({"references": {"requireDigest": true, "denyTags": ["2"]}}),
        },
        rule("references.denyTags", json!(["2"]), json!(["2", "*"])),
        rule("references.denyDigests", json!([digest('b')]), json!([digest('b'), digest('a')])),
        Bite {
            field: "onError.action",
            admits: json!({"onError": {"action": "Warn"}, "registries": {"allow": ["a.example/x"]}}),
            refuses: json!({"onError": {"action": "Deny"}, "registries": {"allow": ["a.example/x"]}}),
        },
    ]
}

/// A field that is read and then ignored is CVE-2025-29778.
#[test]
fn every_field_bites() {
    for bite in bites() {
        let scene = Scene {
            object_labels: labels(&[("tier", "web")]),
            resolution: match bite.field {
                "onError.action" => Resolution::Failed(RegistryError::TimedOut),
                _ => Resolution::Resolved(digest('a')),
            },
            ..Scene::default()
        };
        let decide = |spec: &Value| scene.decide(&[policy(spec.clone())], "a.example/x:1").allowed();
        assert!(decide(&bite.admits), "{} should admit: {}", bite.field, bite.admits);
        assert!(!decide(&bite.refuses), "{} should refuse: {}", bite.field, bite.refuses);
    }
}

/// A new field has no place in the API until a row above shows that it bites.
#[test]
fn no_field_is_forgotten() {
    let covered: BTreeSet<String> = bites().into_iter().map(|bite| bite.field.to_owned()).collect();
    let mut fields = BTreeSet::new();
    for crd in crds() {
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
