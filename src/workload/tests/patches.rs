use rstest::rstest;

use crate::{
    image::Digest,
    workload::{Patch, Pin},
};

fn digest() -> Digest {
    format!("sha256:{}", "ab".repeat(32)).parse().unwrap()
}

#[test]
fn a_digest_is_written_behind_what_the_author_wrote() {
    let digest = digest();
    let pin = |pointer, image| Pin { pointer, image, digest: &digest };
    let patch = Patch::pinning([
        pin("/spec/containers/0/image", "nginx"),
        pin("/spec/volumes/3/image/reference", "Registry.example.com:5000/model:V1"),
    ]);
    insta::assert_snapshot!(String::from_utf8(patch.to_json()).unwrap(), @r#"[{"op":"replace","path":"/spec/containers/0/image","value":"nginx@sha256:abababababababababababababababababababababababababababababababab"},{"op":"replace","path":"/spec/volumes/3/image/reference","value":"Registry.example.com:5000/model:V1@sha256:abababababababababababababababababababababababababababababababab"}]"#);
}

#[test]
fn a_patch_of_nothing_is_empty() {
    assert!(Patch::pinning([]).is_empty());
    assert_eq!(Patch::default().to_json(), b"[]");
}

#[rstest]
#[case("nginx@sha256:00")]
#[case("nginx:1@anything")]
fn an_image_with_a_digest_is_left_alone(#[case] image: &str) {
    let digest = digest();
    assert!(Patch::pinning([Pin { pointer: "/spec/containers/0/image", image, digest: &digest }]).is_empty());
}

#[test]
fn what_a_stranger_wrote_cannot_leave_its_string() {
    let digest = digest();
    let image = "a\",\"op\":\"remove\u{1}\n\\";
    let patch = Patch::pinning([Pin { pointer: "/spec/containers/0/image", image, digest: &digest }]);
    let value: serde_json::Value = serde_json::from_slice(&patch.to_json()).unwrap();
    assert_eq!(value[0]["op"], "replace");
    assert_eq!(value[0]["value"], format!("{image}@{digest}"));
}
