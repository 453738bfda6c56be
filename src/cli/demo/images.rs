//! What the demo's registry holds, and who signed it.

use serde_json::{Value, json};

use super::{publisher::Publisher, registry::Content};

/// An image that a real cosign 3 signed for a workflow's identity, with a private Sigstore whose trust root
/// stands in `policies/signed-by-workflow.yaml`.
const WORKFLOW_MANIFEST: &[u8] = include_bytes!("workflow/manifest.json");
const WORKFLOW_BUNDLE: &[u8] = include_bytes!("workflow/bundle.sigstore.json");

const SLSA: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";
const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// The images, of which those are signed by `ours` and `auditors` whose tags say so, and one by a stranger.
pub fn content(ours: &Publisher, auditors: &Publisher) -> anyhow::Result<Content> {
    let stranger = Publisher::new()?;
    let mut content = Content::default();
    let unsigned = [
        "shop/web:1.4",
        "shop/web:1.5-dev",
        "shop/web:latest",
        "shop/signed:2.0-unsigned",
        "shop/workflow:0.9",
        "shop/scanned:1.0",
        "shop/scanned:1.0-ignored",
        "shop/scanned:1.0-new",
        "shop/scanned:1.0-stale",
        "shop/scanned:1.0-unreadable",
        "shop/scanned:1.0-unscanned",
        "shop/scanned:1.0-vex",
        "shop/scanned:1.0-vulnerable",
    ];
    for image in unsigned {
        content.image(image);
    }
    let mut signed = |image: &str, by: &[&Publisher]| -> anyhow::Result<()> {
        let digest = content.image(image);
        for publisher in by {
            content.attach(image, publisher.sign(&digest)?);
        }
        Ok(())
    };
    signed("shop/signed:2.0", &[ours])?;
    signed("shop/signed:2.0-audited", &[ours, auditors])?;
    signed("shop/signed:2.0-stranger", &[&stranger])?;
    signed("shop/workflow:1.0-key", &[ours])?;

    let attested = [
        (
            "shop/built:3.0",
            SLSA,
            provenance("https://ci.example.com/release", "https://git.example.com/acme/shop"),
        ),
        (
            "shop/built:3.0-laptop",
            SLSA,
            provenance("https://laptop.example.com", "https://git.example.com/acme/shop"),
        ),
        ("shop/built:3.0", SPDX, bill_of_materials("MIT")),
        ("shop/signed:2.0-attested", SPDX, bill_of_materials("MIT")),
        (
            "shop/built:3.0-agpl",
            SLSA,
            provenance("https://ci.example.com/release", "https://git.example.com/acme/shop"),
        ),
        ("shop/built:3.0-agpl", SPDX, bill_of_materials("AGPL-3.0-only")),
        ("shop/tested:4.0", VULN, json!({"metadata": {"scanFinishedOn": "2026-06-01T10:00:00Z"}})),
        ("shop/tested:4.0", TEST_RESULT, json!({"result": "PASSED", "configuration": []})),
        ("shop/tested:4.0-red", VULN, json!({"metadata": {"scanFinishedOn": "2026-06-01T10:00:00Z"}})),
        ("shop/tested:4.0-red", TEST_RESULT, json!({"result": "FAILED", "configuration": []})),
    ];
    for (image, predicate_type, predicate) in attested {
        let digest = content.image(image);
        content.attach(image, ours.attest(&digest, predicate_type, &predicate)?);
    }

    for image in ["shop/workflow:1.0", "shop/signed:2.0-workflow"] {
        content.manifest(image, WORKFLOW_MANIFEST.to_vec());
        content.attach(image, WORKFLOW_BUNDLE.to_vec());
    }
    Ok(content)
}

fn provenance(builder: &str, source: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://ci.example.com/build/v1",
            "externalParameters": {"source": source},
            "resolvedDependencies": [{"uri": format!("git+{source}@refs/tags/v3.0")}],
        },
        "runDetails": {"builder": {"id": builder}},
    })
}

fn bill_of_materials(license: &str) -> Value {
    json!({
        "spdxVersion": "SPDX-2.3",
        "packages": [
            {"name": "shop", "licenseConcluded": "Apache-2.0"},
            {"name": "cart", "licenseConcluded": license},
            {"name": "tax"},
        ],
    })
}
