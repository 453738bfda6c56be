//! Documents read to the letter.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::api::v1alpha1::crds;

/// Where and why serde refused a document.
pub(super) struct StrictError {
    pub(super) path: String,
    pub(super) value: String,
    pub(super) problem: String,
}

/// Reads a spec: an unknown field, and a list where fields belong, are errors.
pub(super) fn parse_strictly<T: serde::de::DeserializeOwned>(
    kind: &str,
    spec: &Value,
) -> Result<T, StrictError> {
    if let Some(path) = SPECS.get(kind).and_then(|schema| misplaced_list(schema, spec)) {
        // serde would take a list for the fields in their order, which no reader of it would.
        return Err(StrictError {
            path: format!("spec{path}"),
            value: "[…]".to_owned(),
            problem: "a list where fields belong".to_owned(),
        });
    }
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = error.path();
        let value = path.iter().try_fold(spec, |value, segment| match segment {
            Segment::Map { key } => value.get(key),
            Segment::Seq { index } => value.get(index),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let value = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
        };
        let path = match path.to_string().as_str() {
            "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        let is_time = path == "spec.enforceAfter" || path.ends_with("].until");
        let problem = match is_time {
            true => "a time is written like \"2027-01-01T00:00:00Z\" (RFC 3339)".to_owned(),
            false => error.into_inner().to_string(),
        };
        StrictError { path, value, problem }
    })
}

/// What the specs of our kinds look like.
static SPECS: LazyLock<BTreeMap<String, JSONSchemaProps>> = LazyLock::new(|| {
    let specs = crds().into_iter().filter_map(|definition| {
        let schema = definition.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
        Some((definition.spec.names.kind, schema.properties?.remove("spec")?))
    });
    specs.collect()
});

/// Where a list stands in place of fields, as `.match.namespaceSelector`.
fn misplaced_list(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    match (value, schema.type_.as_deref()) {
        (Value::Array(_), Some("object")) => Some(String::new()),
        (Value::Array(items), _) => {
            let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items else { return None };
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| Some(format!("[{at}]{}", misplaced_list(schema, item)?)))
        }
        (Value::Object(fields), _) => fields.iter().find_map(|(name, value)| {
            let schema = schema.properties.as_ref()?.get(name)?;
            Some(format!(".{name}{}", misplaced_list(schema, value)?))
        }),
        _ => None,
    }
}
