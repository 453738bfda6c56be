//! Scan verdicts as a cluster has them: generated, and the same every time.

use serde_json::{Value, json};
use tidewaiter::image::Digest;

/// The digest of image number `number`.
pub fn digest(number: usize) -> Digest {
    Digest::sha256(&number.to_be_bytes())
}

/// The `spec` of the ImageScanVerdict on image number `number`, with so many findings: four for each package, two of three
/// with a fix, each id in about a hundred images.
pub fn spec(number: usize, findings: usize) -> String {
    // Any sequence that is spread well and the same every time (Knuth, "The Art of Computer Programming", 3.3.4).
    let mut state = number as u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let severities = ["Critical", "High", "Medium", "Low", "Negligible"];
    let mut counts = json!({});
    let mut packages: Vec<Value> = Vec::new();
    for at in 0..findings {
        if at % 4 == 0 {
            packages.push(json!({
                "name": format!("lib{}-{}", ["ssl", "xml2", "curl", "python3.11", "glib2.0"][at / 4 % 5], next(400)),
                "type": "deb",
                "version": format!("{}.{}.{}-{}+deb12u{}", next(9), next(30), next(30), next(9), next(9)),
                "findings": [],
            }));
        }
        let severity = severities[usize::try_from(next(5)).unwrap()];
        let mut finding = json!({
            "id": format!("CVE-20{}-{}", 15 + next(10), 1000 + next(20_000)),
            "severity": severity,
            "published": format!("20{}-{:02}-{:02}", 15 + next(10), 1 + next(12), 1 + next(28)),
        });
        let fixable = next(3) > 0;
        if fixable {
            finding["fixed"] =
                format!("{}.{}.{}-{}+deb12u{}", next(9), next(30), next(30), next(9), next(9)).into();
        }
        let count = &mut counts[severity.to_lowercase()];
        let add = |value: &Value, more: bool| json!(value.as_u64().unwrap_or(0) + u64::from(more));
        *count = json!({"found": add(&count["found"], true), "fixable": add(&count["fixable"], fixable)});
        packages.last_mut().unwrap()["findings"].as_array_mut().unwrap().push(finding);
    }
    let spec = json!({
        "digest": digest(number).as_str(), "source": "trivy", "scanner": {"name": "trivy", "version": "0.65.0"},
        "database": {"updatedAt": "2026-01-01T00:00:00Z"}, "scannedAt": "2026-01-01T06:00:00Z",
        "counts": counts, "truncated": false, "packages": packages,
    });
    spec.to_string()
}
