use serde_json::Value;

use crate::image::{ImagePattern, ImageReference};

/// What a VulnerabilitySource means to a review: its name, and whether it scans when it is asked.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Box<str>,
    /// Which images it scans on demand; none if it does not.
    on_demand: Option<OnDemand>,
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
        Self { name, on_demand: on_demand(spec) }
    }

    /// Whether it scans `image` when it is asked.
    pub(super) fn scans(&self, image: &ImageReference) -> bool {
        match &self.on_demand {
            None => false,
            Some(OnDemand::Every) => true,
            Some(OnDemand::Matching(patterns)) => patterns.iter().any(|pattern| pattern.matches(image)),
        }
    }
}

fn on_demand(spec: &Value) -> Option<OnDemand> {
    let asked = spec["scanJob"].is_object() || spec["clair"].is_object();
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
    #[case(json!({"imported": {}}), false)]
    #[case(json!({"trivyOperator": {"allNamespaces": true}}), false)]
    #[case(Value::Null, false)]
    fn a_source_scans_on_demand_if_it_asks_a_scanner_about_such_images(
        #[case] spec: Value,
        #[case] scans: bool,
    ) {
        let source = Source::read("house".into(), &spec);
        assert_eq!(source.scans(&"registry.example.com/a:1".parse().unwrap()), scans);
    }
}
