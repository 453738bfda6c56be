use serde_json::{Value, json};

use super::*;

mod compiling;
mod matching;
mod signatures;
mod trust_roots;
mod unreadable;
mod vulnerabilities;

/// A cluster's policy with this `spec`.
fn cluster(spec: Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "house-rules", "generation": 7},
        "spec": spec,
    })
}

/// A policy of the namespace `team-a` with this `spec`.
fn namespaced(spec: Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ImageAdmissionPolicy",
        "metadata": {"name": "extra", "namespace": "team-a", "generation": 2},
        "spec": spec,
    })
}

fn compile(document: &Value) -> Policy {
    let policy = read(document).expect("one of our kinds").policy;
    assert_eq!(policy.compile_error(), None);
    policy
}

/// The policy of a document that does not compile, and what is wrong with it, one trouble a line.
fn fail(document: &Value) -> (Policy, String) {
    let policy = read(document).expect("one of our kinds").policy;
    let error = policy.compile_error().expect("a document that does not compile").clone();
    let lines: Vec<String> = error.fields.iter().map(ToString::to_string).collect();
    (policy, lines.join("\n"))
}

fn troubles(document: &Value) -> String {
    fail(document).1
}

/// `document` with `value` at `path`, which is a JSON pointer to a place that exists or may be made.
fn with(mut document: Value, path: &str, value: Value) -> Value {
    let mut place = &mut document;
    for key in path.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(at) if place.is_array() => &mut place[at],
            _ => &mut place[key],
        };
    }
    *place = value;
    document
}
