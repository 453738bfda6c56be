//! The definitions that users apply are the ones that the code reads.

use std::{collections::BTreeMap, fs, path::Path};

use tidewaiter::api::v1alpha1::definitions;

#[test]
fn the_files_in_crds_are_what_the_code_defines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let on_disk: BTreeMap<String, String> = fs::read_dir(&folder)
        .expect("crds/ is a folder of the repository")
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let defined: BTreeMap<String, String> =
        definitions().into_iter().map(|definition| (definition.file_name, definition.yaml)).collect();

    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&on_disk), names(&defined), "crds/ holds other files: run `make crds`");
    for (name, yaml) in &defined {
        assert!(on_disk[name] == *yaml, "crds/{name} is not what the code defines: run `make crds`");
    }
}

#[test]
fn no_field_takes_null_and_every_list_has_an_end() {
    for definition in definitions() {
        assert!(!definition.yaml.contains("nullable"), "{}", definition.file_name);
        let lists = definition.yaml.matches("type: array").count();
        let ends = definition.yaml.matches("maxItems:").count();
        assert_eq!(lists, ends, "{}", definition.file_name);
    }
}
