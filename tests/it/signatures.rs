//! Signatures that real tools made, and the verification vectors of the sigstore project.
//!
//! The data is not part of the project: see [`shared`]. What the project makes itself is tested beside the
//! code, in `src/signature/tests.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tidewaiter::{
    evidence::{Candidate, Claim, Material, Rejection, Signer, Verified},
    image::Digest,
    policy::{PublicKey, TransparencyLog},
    signature::{TrustRoot, verify_with_certificate, verify_with_key},
};

use crate::support::{layout::Layout, tools::shared};

const SUBJECT: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// Who signed the vectors that do not say who.
const CONFORMANCE_SUBJECT: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const SLSA: &str = "https://slsa.dev/provenance/v1";
const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";

fn key(path: &Path) -> PublicKey {
    PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap()
}

fn root(fixtures: &Path, name: &str) -> TrustRoot {
    TrustRoot::from_json(&fs::read_to_string(fixtures.join("sigstore").join(name)).unwrap()).unwrap()
}

/// What is claimed, in a word: the annotations of a signature, or the type of an attestation.
fn claimed(verified: &Verified) -> String {
    match &verified.claim {
        Claim::Image { annotations, .. } => format!("image {annotations:?}"),
        Claim::Attestation { predicate_type, .. } => predicate_type.clone(),
    }
}

#[test]
fn what_cosign_signs_with_a_key_of_any_kind_verifies() {
    let Some(fixtures) = shared("fixtures") else { return };
    let folder = fixtures.join("oci/key-types");
    let layout = Layout::open(&folder);
    for kind in ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096", "ed25519"] {
        let right = key(&folder.join(format!("keys/{kind}.pub")));
        let wrong = key(&folder.join(format!("keys/{}.pub", if kind == "p256" { "p384" } else { "p256" })));
        for form in ["bundle", "classic"] {
            let image = layout.tag(&format!("{kind}-{form}")).unwrap();
            let candidates = layout.candidates(&image);
            assert_eq!(candidates.len(), 1, "{kind} {form}");
            let ask = |key: &PublicKey, image: &Digest| {
                verify_with_key(&candidates[0], image, key, TransparencyLog::Ignored, None)
            };
            let verified = ask(&right, &image).unwrap();
            assert_eq!(verified.signer, Signer::Key(right.fingerprint()), "{kind} {form}");
            assert!(matches!(verified.claim, Claim::Image { .. }), "{kind} {form}");
            assert_eq!(ask(&wrong, &image), Err(Rejection::OtherKey), "{kind} {form}");
            let other = ask(&right, &Digest::sha256(b"another image"));
            assert!(matches!(other, Err(Rejection::OtherImage { .. })), "{kind} {form}: {other:?}");
        }
    }
}

#[test]
fn what_cosign_stores_for_a_key_says_what_it_says() {
    let Some(fixtures) = shared("fixtures") else { return };
    let key = key(&fixtures.join("keys/cosign.pub"));
    let root = root(&fixtures, "trusted_root.json");
    let plain = "image {}";
    let annotated = r#"image {"team": "infra"}"#;
    // What each holds, and how many of it a log holds, so that it passes where a log is required.
    for (name, image, expected, logged) in [
        ("key-bundle-notlog", None, vec![plain], 0),
        ("key-bundle-notlog-annotated", None, vec![annotated], 0),
        ("key-bundle-rekor1", None, vec![plain], 1),
        ("key-bundle-rekor2-tsa", None, vec![plain], 1),
        ("key-bundle-tsa-only", None, vec![plain], 0),
        (
            "key-classic-notlog",
            Some("e4b121bdc7f13746c8178e5e7d5a08068b9d49080e3cd5dcb0c7560c4b3c83fb"),
            vec![plain, annotated],
            0,
        ),
        (
            "key-classic-rekor1",
            Some("e21c1d0d676291feeedbf64cd316b562d1a88b5cd1cbc1a1f1302f7012e9d989"),
            vec![plain],
            1,
        ),
        ("key-attestations-bundle-and-classic", None, vec![SLSA, VULN, SPDX, CYCLONEDX, SLSA, VULN], 0),
    ] {
        let folder = fixtures.join("oci").join(name);
        let layout = Layout::open(&folder);
        let image = match image {
            None => layout.tag("v1").unwrap(),
            Some(hex) => format!("sha256:{hex}").parse().unwrap(),
        };
        let ask = |log| -> Vec<_> {
            let candidates = layout.candidates(&image);
            candidates.iter().map(|one| verify_with_key(one, &image, &key, log, Some(&root))).collect()
        };
        let mut said: Vec<_> =
            ask(TransparencyLog::Ignored).iter().map(|one| claimed(one.as_ref().unwrap())).collect();
        let mut expected = expected;
        said.sort();
        expected.sort_unstable();
        assert_eq!(said, expected, "{name}");
        let required = ask(TransparencyLog::Required);
        let passed = required.iter().flatten().inspect(|one| assert!(one.logged, "{name}")).count();
        assert_eq!(passed, logged, "{name}: {required:?}");
        let refused = required.iter().filter_map(|one| one.as_ref().err());
        assert!(refused.clone().all(|error| *error == Rejection::NotLogged), "{name}: {required:?}");
        assert!(ask(TransparencyLog::IfPresent).iter().all(Result::is_ok), "{name}");
    }
}

#[test]
fn what_cosign_signs_keyless_names_its_signer() {
    let Some(fixtures) = shared("fixtures") else { return };
    let right = root(&fixtures, "trusted_root.json");
    let wrong = root(&fixtures, "trusted_root.NEGATIVE-wrong-ctlog.json");
    let signer = Signer::Identity { subject: SUBJECT.to_owned(), issuer: ISSUER.to_owned() };
    for (name, expected, logged) in [
        ("keyless-bundle-rekor1", vec!["image {}"], true),
        ("keyless-bundle-rekor2-tsa", vec!["image {}"], true),
        ("keyless-bundle-tsa-only", vec!["image {}"], false),
        ("keyless-classic-sig-att-rekor1-tsa", vec!["image {}", SLSA], true),
    ] {
        let folder = fixtures.join("oci").join(name);
        let layout = Layout::open(&folder);
        let image = layout.tag("v1").unwrap();
        let candidates = layout.candidates(&image);
        let ask = |root: &TrustRoot, log| -> Vec<_> {
            candidates.iter().map(|one| verify_with_certificate(one, &image, log, root)).collect()
        };
        let log = if logged { TransparencyLog::Required } else { TransparencyLog::Ignored };
        let verified: Vec<_> = ask(&right, log).into_iter().map(Result::unwrap).collect();
        assert_eq!(verified.iter().map(claimed).collect::<Vec<_>>(), expected, "{name}");
        for one in &verified {
            assert_eq!((&one.signer, one.logged), (&signer, logged), "{name}");
            assert!(!one.times.is_empty(), "{name}: nobody says when it was signed");
        }
        if !logged {
            assert_eq!(ask(&right, TransparencyLog::Required), [Err(Rejection::NotLogged)], "{name}");
        }
        for refused in ask(&wrong, log) {
            assert!(matches!(refused, Err(Rejection::Untrusted(_))), "{name}: {refused:?}");
        }
        let key = key(&fixtures.join("keys/cosign.pub"));
        for candidate in &candidates {
            let verified = verify_with_key(candidate, &image, &key, TransparencyLog::Ignored, Some(&right));
            assert_eq!(verified, Err(Rejection::Certificate), "{name}");
        }
    }
}

#[test]
fn a_classic_signature_with_a_timestamp_alone_counts_where_no_log_is_required() {
    let Some(fixtures) = shared("fixtures") else { return };
    let root = root(&fixtures, "trusted_root.json");
    let folder = fixtures.join("oci/keyless-classic-sig-att-rekor1-tsa");
    let layout = Layout::open(&folder);
    let image = layout.tag("v1").unwrap();
    let mut candidate = layout.candidates(&image).swap_remove(0);
    let Material::SimpleSigning { annotations, .. } = &mut candidate.material else { panic!() };
    annotations.remove("dev.sigstore.cosign/bundle").unwrap();
    let required = verify_with_certificate(&candidate, &image, TransparencyLog::Required, &root);
    assert_eq!(required, Err(Rejection::NotLogged));
    for log in [TransparencyLog::IfPresent, TransparencyLog::Ignored] {
        let verified = verify_with_certificate(&candidate, &image, log, &root).unwrap();
        assert!(!verified.logged && verified.times.len() == 1, "{verified:?}");
    }
    let Material::SimpleSigning { annotations, .. } = &mut candidate.material else { panic!() };
    annotations.remove("dev.sigstore.cosign/rfc3161timestamp").unwrap();
    let untimed = verify_with_certificate(&candidate, &image, TransparencyLog::Ignored, &root);
    assert!(matches!(untimed, Err(Rejection::Untrusted(_))), "{untimed:?}");
}

#[test]
fn a_certificate_copied_from_another_image_proves_nothing() {
    let Some(fixtures) = shared("fixtures") else { return };
    let root = root(&fixtures, "trusted_root.json");
    let folder = fixtures.join("oci/NEGATIVE-forged-classic-keyless");
    let layout = Layout::open(&folder);
    let image = layout.tag("v1").unwrap();
    let candidates = layout.candidates(&image);
    assert!(!candidates.is_empty());
    for candidate in &candidates {
        for log in [TransparencyLog::Required, TransparencyLog::IfPresent, TransparencyLog::Ignored] {
            let verified = verify_with_certificate(candidate, &image, log, &root);
            assert!(verified.is_err(), "{verified:?}");
        }
    }
}

/// What of a bundle may be changed without harm: the version of a bundle without one, the name that a log
/// gives itself beside its key's, and what the log's signed checkpoint says again.
const HARMLESS: [(&str, &[&str]); 2] = [
    (
        "keyless-bundle-rekor1",
        &[
            "removed /mediaType",
            "damaged /verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope",
        ],
    ),
    (
        "keyless-bundle-rekor2-tsa",
        &[
            "damaged /verificationMaterial/tlogEntries/0/inclusionProof/rootHash",
            "damaged /verificationMaterial/tlogEntries/0/inclusionProof/treeSize",
            "damaged /verificationMaterial/tlogEntries/0/logId/keyId",
        ],
    ),
];

#[test]
fn no_field_of_a_genuine_bundle_can_be_damaged_or_left_out() {
    let Some(fixtures) = shared("fixtures") else { return };
    let root = root(&fixtures, "trusted_root.json");
    for (name, expected) in HARMLESS {
        let folder = fixtures.join("oci").join(name);
        let layout = Layout::open(&folder);
        let image = layout.tag("v1").unwrap();
        let [Candidate { place, material: Material::Bundle(good) }] = &layout.candidates(&image)[..] else {
            panic!("{name}");
        };
        let good: Value = serde_json::from_str(good).unwrap();
        let mut harmless = Vec::new();
        for pointer in leaves(&good) {
            for how in ["damaged", "removed"] {
                let mut bad = good.clone();
                match how {
                    "damaged" => damage(&mut bad, &pointer),
                    _ => remove(&mut bad, &pointer),
                }
                let candidate =
                    Candidate { place: place.clone(), material: Material::Bundle(bad.to_string().into()) };
                let verified = verify_with_certificate(&candidate, &image, TransparencyLog::Required, &root);
                if let Ok(verified) = verified {
                    assert_eq!(claimed(&verified), "image {}", "{name}{pointer}");
                    harmless.push(format!("{how} {pointer}"));
                }
            }
        }
        assert_eq!(harmless, expected, "{name}");
    }
}

/// Every text and number of a document, by its pointer.
fn leaves(value: &Value) -> Vec<String> {
    let below = |key: &str, value: &Value| {
        leaves(value).into_iter().map(|rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(at, value)| below(&at.to_string(), value)).collect()
        }
        _ => vec![String::new()],
    }
}

/// Changes one character in the middle to another that is as good in base64 and in a number.
fn damage(document: &mut Value, pointer: &str) {
    let value = document.pointer_mut(pointer).unwrap();
    let mut text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let at = text.len() / 2;
    let other = if &text[at..=at] == "1" { "2" } else { "1" };
    text.replace_range(at..=at, other);
    *value = text.into();
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!("{pointer}"),
    }
}

/// By way of the client that sigstore-conformance itself would run.
#[test]
fn the_verification_vectors_of_sigstore_are_judged_right() {
    let Some(vectors) = shared("conformance/bundle-verify") else { return };
    let client = example("sigstore_conformance");
    let read = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let (mut judged, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(&vectors).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("bundle.sigstore.json").is_file() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let own = folder.join("artifact");
        let artifact = if own.is_file() { own } else { vectors.join("a.txt") };
        let digest = Digest::sha256(&fs::read(&artifact).unwrap()).to_string();
        // As a file and as a digest, as the suite does.
        for artifact in [artifact.to_str().unwrap(), &digest] {
            let mut command = Command::new(&client);
            command.arg("verify-bundle").arg("--bundle").arg(folder.join("bundle.sigstore.json"));
            if folder.join("key.pub").is_file() {
                command.arg("--key").arg(folder.join("key.pub"));
            } else {
                let identity =
                    read(&folder.join("identity")).unwrap_or_else(|| CONFORMANCE_SUBJECT.to_owned());
                let issuer = read(&folder.join("issuer")).unwrap_or_else(|| ISSUER.to_owned());
                command.args(["--certificate-identity", &identity, "--certificate-oidc-issuer", &issuer]);
            }
            if folder.join("trusted_root.json").is_file() {
                command.arg("--trusted-root").arg(folder.join("trusted_root.json"));
            }
            let ended = command.arg(artifact).output().unwrap();
            judged += 1;
            if ended.status.success() == name.ends_with("_fail") {
                wrong.push(format!("{name}: {}", String::from_utf8_lossy(&ended.stderr)));
            }
        }
    }
    assert!(judged > 80, "{judged}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A program of `examples/`, which cargo builds before it runs these tests.
fn example(name: &str) -> PathBuf {
    let tidewaiter = Path::new(env!("CARGO_BIN_EXE_tidewaiter"));
    let path = tidewaiter.with_file_name("examples").join(name);
    assert!(path.is_file(), "{} is not built: run `cargo build --examples`", path.display());
    path
}

/// GitHub's own instance shows its certificates to no transparency log, and a timestamp says when something was
/// signed. The bundle lies in the sources of the crate that this program is built from.
#[test]
fn what_github_signs_itself_holds_by_its_root_alone_and_names_no_issuer() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let crate_of = |package: &&Value| package["name"] == "sigstore-verify";
    let package = metadata["packages"].as_array().unwrap().iter().find(crate_of).unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let path = manifest.with_file_name("test_data/bundles/github-private-attestation.sigstore.json");
    let bundle = fs::read_to_string(path).unwrap();
    let document: Value = serde_json::from_str(&bundle).unwrap();
    let payload = BASE64_STANDARD.decode(document["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let subject = statement["subject"][1]["digest"]["sha256"].as_str().unwrap();
    let image: Digest = format!("sha256:{subject}").parse().unwrap();
    let candidate =
        Candidate { place: Digest::sha256(bundle.as_bytes()), material: Material::Bundle(bundle.into()) };
    let verify = |root: &TrustRoot, log| verify_with_certificate(&candidate, &image, log, root);
    // All of it holds. Only, it is GitHub itself that speaks here, and nobody vouched for it to a certificate
    // authority: there is no issuer that a policy could name.
    assert_eq!(verify(&TrustRoot::github(), TransparencyLog::Ignored), Err(Rejection::NoIdentity));
    assert_eq!(verify(&TrustRoot::github(), TransparencyLog::Required), Err(Rejection::NotLogged));
    let other = verify(&TrustRoot::public_good(), TransparencyLog::Ignored);
    assert!(matches!(other, Err(Rejection::Untrusted(_))), "{other:?}");
    let another = verify_with_certificate(
        &candidate,
        &Digest::sha256(b"another"),
        TransparencyLog::Ignored,
        &TrustRoot::github(),
    );
    assert!(matches!(another, Err(Rejection::OtherImage { .. })), "{another:?}");
}
