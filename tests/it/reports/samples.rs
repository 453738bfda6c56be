//! One small report of our own in each format, each of the image [`DIGEST`]: one critical finding with a fix and one
//! of low severity without.

use tidewaiter::reports::Format;

/// What every report is about, as far as its format can say so.
pub const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Every format that has a sample.
pub const SAMPLES: &[(Format, &str)] = &[
    (Format::Trivy, TRIVY),
    (Format::TrivyOperator, TRIVY_OPERATOR),
    (Format::Grype, GRYPE),
    (Format::Sarif, SARIF),
];

const TRIVY: &str = r#"{
  "SchemaVersion": 2,
  "CreatedAt": "2026-10-01T12:00:00.5Z",
  "ArtifactName": "registry.example.com/acme/app:1.0",
  "ArtifactType": "container_image",
  "Metadata": {
    "OS": {"Family": "debian", "Name": "12.5"},
    "ImageID": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
    "RepoDigests": ["registry.example.com/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"],
    "ImageConfig": {"architecture": "amd64", "os": "linux"}
  },
  "Results": [
    {
      "Target": "app (debian 12.5)", "Class": "os-pkgs", "Type": "debian",
      "Vulnerabilities": [
        {"VulnerabilityID": "CVE-2026-0001", "PkgName": "libacme", "InstalledVersion": "1.0", "FixedVersion": "1.1", "Severity": "CRITICAL", "PublishedDate": "2026-09-01T00:00:00Z"},
        {"VulnerabilityID": "CVE-2026-0002", "PkgName": "libacme", "InstalledVersion": "1.0", "Severity": "LOW"}
      ]
    }
  ]
}"#;

const TRIVY_OPERATOR: &str = r#"{
  "apiVersion": "aquasecurity.github.io/v1alpha1",
  "kind": "VulnerabilityReport",
  "metadata": {"name": "replicaset-app-app", "namespace": "team"},
  "report": {
    "updateTimestamp": "2026-10-01T12:00:00Z",
    "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.65.0"},
    "registry": {"server": "registry.example.com"},
    "artifact": {"repository": "acme/app", "tag": "1.0", "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"},
    "summary": {"criticalCount": 1, "highCount": 0, "mediumCount": 0, "lowCount": 1, "unknownCount": 0},
    "vulnerabilities": [
      {"vulnerabilityID": "CVE-2026-0001", "resource": "libacme", "installedVersion": "1.0", "fixedVersion": "1.1", "severity": "CRITICAL", "publishedDate": "2026-09-01T00:00:00Z", "title": ""},
      {"vulnerabilityID": "CVE-2026-0002", "resource": "libacme", "installedVersion": "1.0", "fixedVersion": "", "severity": "LOW", "publishedDate": "", "title": ""}
    ]
  }
}"#;

const GRYPE: &str = r#"{
  "matches": [
    {
      "vulnerability": {"id": "GHSA-0000-0000-0001", "severity": "Critical", "fix": {"versions": ["1.1"], "state": "fixed"}, "cvss": []},
      "relatedVulnerabilities": [{"id": "CVE-2026-0001"}],
      "artifact": {"name": "libacme", "version": "1.0", "type": "deb", "purl": "pkg:deb/debian/libacme@1.0"}
    },
    {
      "vulnerability": {"id": "CVE-2026-0002", "severity": "Low", "fix": {"versions": [], "state": "not-fixed"}},
      "artifact": {"name": "libacme", "version": "1.0", "type": "deb", "purl": "pkg:deb/debian/libacme@1.0"}
    }
  ],
  "source": {
    "type": "image",
    "target": {
      "userInput": "registry.example.com/acme/app:1.0",
      "imageID": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
      "repoDigests": ["registry.example.com/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"],
      "architecture": "amd64", "os": "linux"
    }
  },
  "distro": {"name": "debian", "version": "12", "idLike": []},
  "descriptor": {"name": "grype", "version": "0.121.0", "timestamp": "2026-10-01T12:00:00Z", "db": {"status": {"built": "2026-10-01T00:00:00Z", "schemaVersion": "v6.0.2", "valid": true}}}
}"#;

const SARIF: &str = r#"{
  "version": "2.1.0",
  "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
  "runs": [
    {
      "tool": {"driver": {"name": "Trivy", "version": "0.65.0", "rules": [
        {"id": "CVE-2026-0001", "name": "OsPackageVulnerability"},
        {"id": "CVE-2026-0002", "name": "OsPackageVulnerability"}
      ]}},
      "results": [
        {"ruleId": "CVE-2026-0001", "ruleIndex": 0, "level": "error", "message": {"text": "Package: libacme\nInstalled Version: 1.0\nVulnerability CVE-2026-0001\nSeverity: CRITICAL\nFixed Version: 1.1\nLink: none"}},
        {"ruleId": "CVE-2026-0002", "ruleIndex": 1, "level": "note", "message": {"text": "Package: libacme\nInstalled Version: 1.0\nVulnerability CVE-2026-0002\nSeverity: LOW\nFixed Version: \nLink: none"}}
      ],
      "properties": {"imageName": "registry.example.com/acme/app:1.0", "repoDigests": ["registry.example.com/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111"]}
    }
  ]
}"#;
