use std::collections::BTreeMap;

use super::compile::Problems;
use crate::api::v1alpha1::{LabelSelector, SelectorOperator};

/// The most labels, and the most expressions, of one selector; the resource's schema says the same.
const REQUIREMENTS_LIMIT: usize = 32;
/// The most values of one expression; the resource's schema says the same.
const VALUES_LIMIT: usize = 64;

/// Somebody's labels, however they are kept.
pub trait LabelSource: Sync {
    /// The value of the label `key`, if there is one.
    fn label(&self, key: &str) -> Option<&str>;
}

impl LabelSource for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// A label selector whose requirements are known to make sense. The empty one selects everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    requirements: Vec<LabelRequirement>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum LabelRequirement {
    In { key: String, values: Vec<String> },
    NotIn { key: String, values: Vec<String> },
    Exists { key: String },
    DoesNotExist { key: String },
}

impl Selector {
    /// Whether it selects everything, whatever the labels are.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether all requirements hold, with the meaning of Kubernetes' own selectors: `NotIn` and
    /// `DoesNotExist` hold where the label is absent.
    pub fn selects(&self, labels: &dyn LabelSource) -> bool {
        let has = |key: &str, values: &[String]| {
            labels.label(key).is_some_and(|value| values.iter().any(|v| v == value))
        };
        self.requirements.iter().all(|requirement| match requirement {
            LabelRequirement::In { key, values } => has(key, values),
            LabelRequirement::NotIn { key, values } => !has(key, values),
            LabelRequirement::Exists { key } => labels.label(key).is_some(),
            LabelRequirement::DoesNotExist { key } => labels.label(key).is_none(),
        })
    }

    /// A label that whatever is selected carries with exactly this value; none where no such label is needed.
    pub(super) fn needed_label(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|requirement| match requirement {
            LabelRequirement::In { key, values } => match values.as_slice() {
                [value] => Some((key.as_str(), value.as_str())),
                _ => None,
            },
            _ => None,
        })
    }

    /// Compiles a document's selector, and reports below `path` what makes no sense.
    pub(super) fn compile(document: Option<&LabelSelector>, path: &str, problems: &mut Problems) -> Self {
        let Some(document) = document else { return Self::default() };
        let mut requirements = Vec::new();
        let labels = document.match_labels.iter().flatten();
        problems.bound(&format!("{path}.matchLabels"), labels.clone().count(), REQUIREMENTS_LIMIT);
        for (key, value) in labels.take(REQUIREMENTS_LIMIT) {
            let path = format!("{path}.matchLabels");
            check_key(key, &path, problems);
            check_value(value, &format!("{path}[{key:?}]"), problems);
            requirements.push(LabelRequirement::In { key: key.clone(), values: vec![value.clone()] });
        }
        let expressions = document.match_expressions.iter().flatten();
        problems.bound(&format!("{path}.matchExpressions"), expressions.clone().count(), REQUIREMENTS_LIMIT);
        for (at, expression) in expressions.take(REQUIREMENTS_LIMIT).enumerate() {
            let path = format!("{path}.matchExpressions[{at}]");
            let key = expression.key.clone();
            check_key(&key, &format!("{path}.key"), problems);
            let values = expression.values.clone().unwrap_or_default();
            problems.bound(&format!("{path}.values"), values.len(), VALUES_LIMIT);
            for (at, value) in values.iter().enumerate().take(VALUES_LIMIT) {
                check_value(value, &format!("{path}.values[{at}]"), problems);
            }
            let set = matches!(expression.operator, SelectorOperator::In | SelectorOperator::NotIn);
            if set && values.is_empty() {
                problems.add(&format!("{path}.values"), "[]", "In and NotIn want at least one value");
            }
            if !set && !values.is_empty() {
                problems.add(
                    &format!("{path}.values"),
                    &values.join(", "),
                    "Exists and DoesNotExist take no values",
                );
            }
            requirements.push(match expression.operator {
                SelectorOperator::In => LabelRequirement::In { key, values },
                SelectorOperator::NotIn => LabelRequirement::NotIn { key, values },
                SelectorOperator::Exists => LabelRequirement::Exists { key },
                SelectorOperator::DoesNotExist => LabelRequirement::DoesNotExist { key },
            });
        }
        Self { requirements }
    }
}

/// Kubernetes' rule for label keys: an optional DNS prefix and `/`, then a name of up to 63 characters.
fn check_key(key: &str, path: &str, problems: &mut Problems) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(is_dns_subdomain);
    if !prefix_ok || !is_qualified(name) {
        problems.add(path, key, "a label key is an optional DNS prefix with \"/\" and a name of up to 63 letters, digits, \"-\", \"_\" and \".\"");
    }
}

fn check_value(value: &str, path: &str, problems: &mut Problems) {
    if !value.is_empty() && !is_qualified(value) {
        problems.add(path, value, "a label value has up to 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends");
    }
}

/// Whether `text` is a DNS subdomain as Kubernetes wants it (RFC 1123, lowercase).
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.split('.').all(is_dns_label)
}

/// Whether `text` is one label of a DNS name as Kubernetes wants it (RFC 1123, lowercase).
pub(super) fn is_dns_label(text: &str) -> bool {
    is_qualified(text) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}
