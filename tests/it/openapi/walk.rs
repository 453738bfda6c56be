use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Fields that speak of images and hold none that anybody would run. `Type.field`, with the type's
/// last name. Whatever is not in this list and looks like an image counts as one.
const NO_IMAGES: &[&str] = &[
    // What a container does with its image, and when it is fetched.
    "Container.args",
    "Container.command",
    "Container.imagePullPolicy",
    "Container.workingDir",
    "EphemeralContainer.args",
    "EphemeralContainer.command",
    "EphemeralContainer.imagePullPolicy",
    "EphemeralContainer.workingDir",
    "ImageVolumeSource.pullPolicy",
    "PodSecurityContext.supplementalGroupsPolicy",
    "VolumeMount.bindMountOptions",
    "WindowsSecurityContextOptions.runAsUserName",
    // What the kubelet reports to be running.
    "ContainerStatus.image",
    "ContainerStatus.imageID",
    "ImageVolumeStatus.imageRef",
    "PodStatus.phase",
    "PodStatus.startTime",
    // Disk images of Ceph.
    "RBDPersistentVolumeSource.image",
    "RBDVolumeSource.image",
    // Names of webhooks: the example in their description is called imagepolicy.
    "MutatingWebhook.name",
    "ValidatingWebhook.name",
];

/// A kind that the API serves, and the schema of its objects.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Root {
    pub group: String,
    pub kind: String,
    pub schema: String,
}

/// A field that may hold the name of an image.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ImageField {
    /// Where in an object, as a JSON pointer with `*` for an index or a map's key.
    pub path: String,
    /// What it is, `Container.image`.
    pub field: String,
}

/// All kinds of an OpenAPI document, of version 2 or 3.
pub fn roots(document: &Value) -> BTreeSet<Root> {
    let mut roots = BTreeSet::new();
    for (schema, definition) in schemas(document).into_iter().flatten() {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
            roots.insert(Root { group: text("group"), kind: text("kind"), schema: schema.clone() });
        }
    }
    roots
}

/// All fields of objects of type `schema` that may hold the name of an image.
///
/// Generous: a field counts if text or anything at all fits in it, and its name, its description or
/// the name of its type speaks of images, unless it is in [`NO_IMAGES`].
pub fn image_fields(document: &Value, schema: &str) -> Vec<ImageField> {
    let mut walk = Walk { document, open: Vec::new(), fields: Vec::new() };
    walk.named(schema, "", &Mention::default());
    walk.fields
}

/// What has been said about images on the way to a value.
#[derive(Clone, Debug, Default)]
struct Mention {
    /// The field that the value is in, `Container.image`.
    field: String,
    /// Whether the field's name, description or type speaks of images.
    of_images: bool,
}

struct Walk<'a> {
    document: &'a Value,
    /// The named types that we are inside of: a type within itself has no end.
    open: Vec<String>,
    fields: Vec<ImageField>,
}

impl Walk<'_> {
    fn named(&mut self, name: &str, path: &str, mention: &Mention) {
        let Some(schema) = schemas(self.document).and_then(|schemas| schemas.get(name)) else {
            panic!("{path}: the document refers to {name} and does not have it");
        };
        if self.open.iter().any(|open| open == name) {
            return;
        }
        self.open.push(name.to_owned());
        self.value(schema, path, mention);
        self.open.pop();
    }

    fn value(&mut self, schema: &Value, path: &str, mention: &Mention) {
        if let Some(reference) = schema["$ref"].as_str() {
            // OK because neither version of the format names a schema otherwise
            let name = reference.rsplit('/').next().unwrap().to_owned();
            return self.named(&name, path, mention);
        }
        let alternatives =
            ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
        let mut inner = false;
        for alternative in alternatives {
            inner = true;
            self.value(alternative, path, mention);
        }
        if let Some(properties) = schema["properties"].as_object() {
            inner = true;
            self.properties(properties, path);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                inner = true;
                self.value(&schema[key], &format!("{path}/*"), mention);
            }
        }
        let fits = match schema["type"].as_str() {
            Some("string") => true,
            Some("object") | None => !inner,
            Some(_) => false,
        };
        let known = NO_IMAGES.contains(&&*mention.field);
        let found = ImageField { path: path.to_owned(), field: mention.field.clone() };
        if fits && mention.of_images && !known && !self.fields.contains(&found) {
            self.fields.push(found);
        }
    }

    fn properties(&mut self, properties: &Map<String, Value>, path: &str) {
        let holder = self.open.last().map_or("", |name| name.rsplit('.').next().unwrap_or(name)).to_owned();
        for (name, schema) in properties {
            let description = schema["description"].as_str().unwrap_or_default();
            let mention = Mention {
                field: format!("{holder}.{name}"),
                of_images: [name, description, &holder].iter().any(|text| speaks_of_images(text)),
            };
            self.value(schema, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), &mention);
        }
    }
}

fn speaks_of_images(text: &str) -> bool {
    text.to_lowercase().contains("image")
}

/// The named types: `definitions` in version 2, `components.schemas` in version 3.
fn schemas(document: &Value) -> Option<&Map<String, Value>> {
    document["definitions"].as_object().or_else(|| document["components"]["schemas"].as_object())
}
