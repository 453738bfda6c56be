use serde_json::Value;

use crate::image::{ImagePattern, ImageReference};

/// What a VulnerabilitySource means to a review: its name, and what it is asked about when somebody waits.
///
/// A Harbor or a Quay cannot be told to scan, but is asked what its scanner has found, which is all that is missing
/// where it scans what is pushed.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Box<str>,
    /// Which images it is asked about on demand; none if it is not.
    on_demand: Option<OnDemand>,
    /// The one registry whose images it is asked about; none if it is asked about those of every one.
    registry: Option<Box<str>>,
}

#[derive(Clone, Debug)]
enum OnDemand {
    Every,
    Matching(Vec<ImagePattern>),
}

impl Source {
    /// Reads the `spec` of the VulnerabilitySource `name`. One that this version does not understand is a source
    /// all the same, and is not taken to scan anything.
    pub(super) fn read(name: Box<str>, spec: &Value) -> Self {
        let registries = ["harbor", "quay"].map(|kind| &spec[kind]["registry"]);
        let registry = registries.into_iter().find_map(Value::as_str).map(Box::from);
        Self { name, on_demand: on_demand(spec), registry }
    }

    /// Whether a verdict on `image` can come of asking it.
    pub(super) fn scans(&self, image: &ImageReference) -> bool {
        if self.registry.as_ref().is_some_and(|registry| **registry != *image.host()) {
            return false;
        }
        match &self.on_demand {
            None => false,
            Some(OnDemand::Every) => true,
            Some(OnDemand::Matching(patterns)) => patterns.iter().any(|pattern| pattern.matches(image)),
        }
    }
}

fn on_demand(spec: &Value) -> Option<OnDemand> {
    let asked = ["scanJob", "clair"].iter().any(|kind| spec[kind].is_object())
        || ["harbor", "quay"].iter().any(|kind| spec[kind]["registry"].is_string());
    if !asked || spec["suspend"] == true {
        return None;
    }
    let images = match &spec["match"] {
        Value::Null => return Some(OnDemand::Every),
        matching => matching["images"].as_array()?,
    };
    let patterns = images.iter().map(|pattern| pattern.as_str()?.parse().ok());
    patterns.collect::<Option<_>>().map(OnDemand::Matching)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"scanJob": {"trivy": {}}}), true)]
    #[case(json!({"clair": {}}), true)]
    #[case(json!({"clair": {}, "suspend": false, "match": {"images": ["registry.example.com/**"]}}), true)]
    #[case(json!({"clair": {}, "match": {"images": ["other.example.com/**"]}}), false)]
    #[case(json!({"clair": {}, "match": {"images": ["registry.example.com/**", "["]}}), false)]
    #[case(json!({"clair": {}, "match": {}}), false)]
    #[case(json!({"clair": {}, "suspend": true}), false)]
    #[case(json!({"harbor": {"registry": "registry.example.com"}}), true)]
    #[case(json!({"quay": {"registry": "registry.example.com"}, "match": {"images": ["other.example.com/**"]}}), false)]
    #[case(json!({"quay": {"registry": "registry.example.com:5000"}}), false)]
    #[case(json!({"harbor": {}}), false)]
    #[case(json!({"imported": {}}), false)]
    #[case(json!({"trivyOperator": {"allNamespaces": true}}), false)]
    #[case(Value::Null, false)]
    fn a_source_scans_on_demand_if_a_scanner_is_asked_about_such_images(
        #[case] spec: Value,
        #[case] scans: bool,
    ) {
        let source = Source::read("house".into(), &spec);
        assert_eq!(source.scans(&"registry.example.com/a:1".parse().unwrap()), scans);
    }
}
