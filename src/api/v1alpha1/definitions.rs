use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use super::{
    ClusterImageAdmissionPolicy, ImageAdmissionPolicy, ImageScanVerdict, ImageTrustRoot, VulnerabilitySource,
};
use crate::api::GROUP;

/// One resource's definition as a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Definition {
    /// The file's name, `GROUP_PLURAL.yaml` as controller-gen has it.
    pub file_name: String,
    /// The definition as a YAML document.
    pub yaml: String,
}

/// Every definition that the API server needs, in the order in which they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        ClusterImageAdmissionPolicy::crd(),
        ImageAdmissionPolicy::crd(),
        ImageTrustRoot::crd(),
        ImageScanVerdict::crd(),
        VulnerabilitySource::crd(),
    ];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            forbid_null(schema);
        }
    }
    crds
}

/// [`crds`] as the files of `crds/`.
pub fn definitions() -> Vec<Definition> {
    let file = |crd: CustomResourceDefinition| Definition {
        file_name: format!("{GROUP}_{}.yaml", crd.spec.names.plural),
        // OK because a definition is made of texts, numbers, lists and maps with texts for keys
        yaml: serde_saphyr::to_string(&crd).unwrap(),
    };
    crds().into_iter().map(file).collect()
}

/// Takes out the `nullable` that the derive gives to every optional field. Without it the API server
/// treats an explicit null as an absent field (Kubernetes, "CustomResourceDefinitions", "Defaulting and
/// Nullable"), as we do, so that `registries: null` does not pass for a policy that requires something.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        forbid_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => forbid_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}
