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
    (Format::Clair, CLAIR),
    (Format::Quay, QUAY),
    (Format::Harbor, HARBOR),
    (Format::Snyk, SNYK),
    (Format::Ecr, ECR),
    (Format::Ecr, INSPECTOR),
    (Format::Ecr, SECURITY_HUB),
    (Format::ArtifactAnalysis, ARTIFACT_ANALYSIS),
    (Format::Defender, DEFENDER),
    (Format::CycloneDx, CYCLONEDX),
    (Format::VulnAttestation, COSIGN),
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

const CLAIR: &str = r#"{
  "manifest_hash": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
  "packages": {
    "1": {"id": "1", "name": "libacme", "version": "1.0", "kind": "binary", "source": {"id": "2", "name": "acme"}},
    "2": {"id": "2", "name": "other", "version": "2.0", "kind": "binary"}
  },
  "distributions": {"1": {"id": "1", "did": "debian", "version_id": "12"}},
  "environments": {"1": [{"package_db": "var/lib/dpkg/status", "introduced_in": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "distribution_id": "1", "repository_ids": null}]},
  "vulnerabilities": {
    "10": {"id": "10", "name": "CVE-2026-0001", "links": "https://example.com/CVE-2026-0001", "issued": "2026-09-01T00:00:00Z", "normalized_severity": "Critical", "fixed_in_version": "1.1"},
    "11": {"id": "11", "name": "CVE-2026-0002", "links": "", "issued": "0001-01-01T00:00:00Z", "normalized_severity": "Low", "fixed_in_version": ""}
  },
  "package_vulnerabilities": {"1": ["10", "11"]},
  "enrichments": {}
}"#;

const QUAY: &str = r#"{
  "status": "scanned",
  "data": {"Layer": {
    "Name": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "ParentName": "", "NamespaceName": "", "IndexedByVersion": 4,
    "Features": [{
      "Name": "libacme", "VersionFormat": "", "NamespaceName": "", "AddedBy": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "Version": "1.0", "BaseScores": [9.8], "CVEIds": ["CVE-2026-0001"],
      "Vulnerabilities": [
        {"Severity": "Critical", "NamespaceName": "debian", "Link": "https://example.com/CVE-2026-0001", "FixedBy": "1.1", "Description": "", "Name": "CVE-2026-0001", "Metadata": {"NVD": {"CVSSv3": {"Vectors": "", "Score": 9.8}}}},
        {"Severity": "Low", "NamespaceName": "debian", "Link": "", "FixedBy": "", "Description": "", "Name": "CVE-2026-0002", "Metadata": {"NVD": {"CVSSv3": {"Vectors": "", "Score": ""}}}}
      ]
    }]
  }}
}"#;

const HARBOR: &str = r#"{
  "application/vnd.security.vulnerability.report; version=1.1": {
    "generated_at": "2026-10-01T12:00:00Z",
    "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "v0.65.0"},
    "severity": "Critical",
    "vulnerabilities": [
      {"id": "CVE-2026-0001", "package": "libacme", "version": "1.0", "fix_version": "1.1", "severity": "Critical", "status": "fixed", "links": [], "artifact_digests": ["sha256:1111111111111111111111111111111111111111111111111111111111111111"], "preferred_cvss": {"score_v3": 9.8, "vector_v3": ""}},
      {"id": "CVE-2026-0002", "package": "libacme", "version": "1.0", "fix_version": "", "severity": "Low", "status": "affected", "links": [], "artifact_digests": ["sha256:1111111111111111111111111111111111111111111111111111111111111111"]}
    ]
  }
}"#;

/// It names no digest: none of Snyk's does.
const SNYK: &str = r#"{
  "vulnerabilities": [
    {"id": "SNYK-DEBIAN12-LIBACME-1", "title": "", "identifiers": {"CVE": ["CVE-2026-0001"], "CWE": []}, "severity": "critical", "cvssScore": 9.8, "packageName": "libacme", "name": "acme/libacme", "version": "1.0", "nearestFixedInVersion": "1.1", "from": ["docker-image|acme/app@1.0", "acme/libacme@1.0"], "publicationTime": "2026-09-01T00:00:00Z"},
    {"id": "SNYK-DEBIAN12-LIBACME-2", "title": "", "identifiers": {"CVE": ["CVE-2026-0002"], "CWE": []}, "severity": "low", "cvssScore": null, "packageName": "libacme", "name": "acme/libacme", "version": "1.0", "fixedIn": [], "from": ["docker-image|acme/app@1.0", "acme/libacme@1.0"]}
  ],
  "ok": false, "dependencyCount": 9, "packageManager": "deb", "docker": {}, "uniqueCount": 2,
  "filtered": {"ignore": [], "patch": []},
  "projectName": "docker-image|acme/app", "platform": "linux/amd64", "path": "registry.example.com/acme/app:1.0"
}"#;

const ECR: &str = r#"{
  "imageScanFindings": {
    "enhancedFindings": [
      {"findingArn": "arn:aws:inspector2:eu-west-1:000000000000:finding/CVE-2026-0001", "type": "PACKAGE_VULNERABILITY", "severity": "CRITICAL", "status": "ACTIVE", "fixAvailable": "YES", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-0001", "relatedVulnerabilities": [], "vulnerablePackages": [{"name": "libacme", "version": "1.0", "epoch": 0, "packageManager": "OS", "fixedInVersion": "1.1"}]}, "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"imageHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "repositoryName": "acme/app"}}}]},
      {"findingArn": "arn:aws:inspector2:eu-west-1:000000000000:finding/CVE-2026-0002", "type": "PACKAGE_VULNERABILITY", "severity": "LOW", "status": "ACTIVE", "fixAvailable": "NO", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-0002", "relatedVulnerabilities": [], "vulnerablePackages": [{"name": "libacme", "version": "1.0", "epoch": 0, "packageManager": "OS", "fixedInVersion": "NotAvailable"}]}, "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"imageHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "repositoryName": "acme/app"}}}]}
    ],
    "imageScanCompletedAt": 1790856000.0, "vulnerabilitySourceUpdatedAt": 1790812800.0,
    "findingSeverityCounts": {"CRITICAL": 1, "LOW": 1}
  },
  "repositoryName": "acme/app",
  "imageId": {"imageDigest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"},
  "imageScanStatus": {"status": "ACTIVE"}
}"#;

const INSPECTOR: &str = r#"{
  "findings": [
      {"findingArn": "arn:aws:inspector2:eu-west-1:000000000000:finding/CVE-2026-0001", "type": "PACKAGE_VULNERABILITY", "severity": "CRITICAL", "status": "ACTIVE", "fixAvailable": "YES", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-0001", "relatedVulnerabilities": [], "vulnerablePackages": [{"name": "libacme", "version": "1.0", "epoch": 0, "packageManager": "OS", "fixedInVersion": "1.1"}]}, "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"imageHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "repositoryName": "acme/app"}}}]},
      {"findingArn": "arn:aws:inspector2:eu-west-1:000000000000:finding/CVE-2026-0002", "type": "PACKAGE_VULNERABILITY", "severity": "LOW", "status": "ACTIVE", "fixAvailable": "NO", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-0002", "relatedVulnerabilities": [], "vulnerablePackages": [{"name": "libacme", "version": "1.0", "epoch": 0, "packageManager": "OS", "fixedInVersion": "NotAvailable"}]}, "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {"imageHash": "sha256:1111111111111111111111111111111111111111111111111111111111111111", "repositoryName": "acme/app"}}}]}
  ]
}"#;

const SECURITY_HUB: &str = r#"{
  "Findings": [
    {"SchemaVersion": "2018-10-08", "Types": ["Software and Configuration Checks/Vulnerabilities/CVE"], "Severity": {"Label": "CRITICAL"}, "RecordState": "ACTIVE", "Resources": [{"Type": "AwsEcrContainerImage", "Details": {"AwsEcrContainerImage": {"RepositoryName": "acme/app", "ImageDigest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}}}], "Vulnerabilities": [{"Id": "CVE-2026-0001", "FixAvailable": "YES", "Cvss": [{"Version": "3.1", "BaseScore": 9.8}], "VulnerablePackages": [{"Name": "libacme", "Version": "1.0", "Epoch": "0", "FixedInVersion": "1.1"}]}]},
    {"SchemaVersion": "2018-10-08", "Types": ["Software and Configuration Checks/Vulnerabilities/CVE"], "Severity": {"Label": "LOW"}, "RecordState": "ACTIVE", "Resources": [{"Type": "AwsEcrContainerImage", "Details": {"AwsEcrContainerImage": {"RepositoryName": "acme/app", "ImageDigest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}}}], "Vulnerabilities": [{"Id": "CVE-2026-0002", "FixAvailable": "NO", "Cvss": [{"Version": "3.1", "BaseScore": 9.8}], "VulnerablePackages": [{"Name": "libacme", "Version": "1.0", "Epoch": "0", "FixedInVersion": "NotAvailable"}]}]}
  ]
}"#;

const ARTIFACT_ANALYSIS: &str = r#"{
  "occurrences": [
    {"name": "projects/acme/occurrences/CVE-2026-0001", "resourceUri": "https://europe-docker.pkg.dev/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111", "kind": "VULNERABILITY", "noteName": "projects/goog-vulnz/notes/CVE-2026-0001", "vulnerability": {"severity": "CRITICAL", "effectiveSeverity": "CRITICAL", "packageIssue": [{"affectedPackage": "libacme", "affectedVersion": {"name": "1.0", "kind": "NORMAL", "fullName": "1.0"}, "fixedVersion": {"name": "1.1", "kind": "NORMAL", "fullName": "1.1"}, "packageType": "OS"}]}},
    {"name": "projects/acme/occurrences/CVE-2026-0002", "resourceUri": "https://europe-docker.pkg.dev/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111", "kind": "VULNERABILITY", "noteName": "projects/goog-vulnz/notes/CVE-2026-0002", "vulnerability": {"severity": "LOW", "effectiveSeverity": "LOW", "packageIssue": [{"affectedPackage": "libacme", "affectedVersion": {"name": "1.0", "kind": "NORMAL", "fullName": "1.0"}, "fixedVersion": {"kind": "MAXIMUM"}, "packageType": "OS"}]}},
    {"name": "projects/acme/occurrences/3", "resourceUri": "https://europe-docker.pkg.dev/acme/app@sha256:1111111111111111111111111111111111111111111111111111111111111111", "kind": "DISCOVERY", "noteName": "projects/goog-analysis/notes/PACKAGE_VULNERABILITY", "discovery": {"analysisStatus": "FINISHED_SUCCESS", "continuousAnalysis": "ACTIVE", "lastScanTime": "2026-10-01T12:00:00Z"}}
  ]
}"#;

const DEFENDER: &str = r#"{
  "value": [
    {"type": "Microsoft.Security/assessments/subAssessments", "id": "/subscriptions/0/CVE-2026-0001", "properties": {"id": "CVE-2026-0001", "status": {"code": "Unhealthy", "severity": "Critical"}, "timeGenerated": "2026-10-01T12:00:00Z", "additionalData": {"assessedResourceType": "AzureContainerRegistryVulnerability", "artifactDetails": {"registryHost": "acme.azurecr.io", "repositoryName": "app", "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}, "softwareDetails": {"packageName": "libacme", "version": "1.0", "fixedVersion": "1.1"}, "vulnerabilityDetails": {"severity": "Critical", "publishedDate": "2026-09-01T00:00:00Z"}}}},
    {"type": "Microsoft.Security/assessments/subAssessments", "id": "/subscriptions/0/CVE-2026-0002", "properties": {"id": "CVE-2026-0002", "status": {"code": "Unhealthy", "severity": "Low"}, "timeGenerated": "2026-10-01T12:00:00Z", "additionalData": {"assessedResourceType": "AzureContainerRegistryVulnerability", "artifactDetails": {"registryHost": "acme.azurecr.io", "repositoryName": "app", "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}, "softwareDetails": {"packageName": "libacme", "version": "1.0", "fixedVersion": ""}, "vulnerabilityDetails": {"severity": "Low", "publishedDate": "2026-09-01T00:00:00Z"}}}}
  ]
}"#;

const CYCLONEDX: &str = r#"{
  "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
  "metadata": {
    "timestamp": "2026-10-01T12:00:00Z",
    "tools": {"components": [{"type": "application", "name": "trivy", "version": "0.65.0"}]},
    "component": {"bom-ref": "image", "type": "container", "name": "registry.example.com/acme/app:1.0", "purl": "pkg:oci/app@sha256%3A1111111111111111111111111111111111111111111111111111111111111111?repository_url=registry.example.com%2Facme%2Fapp"}
  },
  "components": [{"bom-ref": "part", "type": "library", "name": "libacme", "version": "1.0", "purl": "pkg:deb/debian/libacme@1.0"}],
  "vulnerabilities": [
    {"id": "CVE-2026-0001", "source": {"name": "debian"}, "ratings": [{"source": {"name": "debian"}, "severity": "critical"}], "recommendation": "Upgrade libacme to version 1.1", "published": "2026-09-01T00:00:00Z", "affects": [{"ref": "part"}]},
    {"id": "CVE-2026-0002", "source": {"name": "debian"}, "ratings": [{"source": {"name": "debian"}, "severity": "low"}], "affects": [{"ref": "part"}]}
  ]
}"#;

const COSIGN: &str = r#"{
  "_type": "https://in-toto.io/Statement/v0.1",
  "subject": [{"name": "registry.example.com/acme/app", "digest": {"sha256": "1111111111111111111111111111111111111111111111111111111111111111"}}],
  "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
  "predicate": {
    "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
    "scanner": {"uri": "pkg:github/aquasecurity/trivy@v0.65.0", "version": "v0.65.0", "db": {"uri": "", "version": ""}, "result": {
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
}},
    "metadata": {"scanStartedOn": "2026-10-02T12:00:00Z", "scanFinishedOn": "2026-10-02T12:00:00Z"}
  }
}"#;
