//! What real Trivy and Grype write about an image, and what is read of it.
//!
//! The programs are built by `make test-scanners`.

use rstest::rstest;
use serde_json::Value;
use tidewaiter::{
    evidence::{Claim, Severity, Vulnerability},
    image::Digest,
    policy::TransparencyLog,
    reports::{self, Binding, Format, KnownImage, ReadError, Report},
    signature::verify_with_key,
};

use crate::support::{
    client::RegistryClient,
    cosign::{Cosign, Version},
    image::{Image, push_index},
    layout,
    registry::Registry,
    scanners::Scanners,
};

const REPOSITORY: &str = "acme/scanned";
/// A release of Debian whose end of life no scanner expects before the year 3000, and one that has ended.
const SUPPORTED: &str = "13";
const ENDED: &str = "10";

/// An image with the files by which scanners know a release of Debian and what is installed in it.
fn debian(release: &str, packages: &[(&str, &str, &str)]) -> Image {
    let status: String = packages
        .iter()
        .map(|(name, source, version)| {
            format!(
                "Package: {name}\nStatus: install ok installed\nMaintainer: Acme <acme@example.com>\n\
                 Architecture: all\nSource: {source}\nVersion: {version}\nDescription: of the tests\n\n"
            )
        })
        .collect();
    Image::default()
        .file("etc/os-release", format!("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"{release}\"\n"))
        .file("etc/debian_version", format!("{release}.1\n"))
        .file("var/lib/dpkg/status", status)
}

/// The same with a package of Debian and one of npm that the databases know something of.
fn vulnerable(version: &str) -> Image {
    debian(SUPPORTED, &[("acme-base", "acme-base", "7-1"), ("libacme-tls1", "acme-tls", version)]).file(
        "app/node_modules/acme-left/package.json",
        r#"{"name": "acme-left", "version": "1.0.0", "license": "MIT"}"#,
    )
}

fn clean() -> Image {
    debian(SUPPORTED, &[("acme-base", "acme-base", "7-1")])
}

/// The scanners, and a registry to scan in.
struct Scene {
    scanners: &'static Scanners,
    client: &'static RegistryClient,
}

impl Scene {
    /// `None` if a program is missing, and then the test has been skipped.
    async fn new() -> Option<Self> {
        Some(Self { scanners: Scanners::shared().await?, client: Registry::shared().await?.client() })
    }

    async fn push(&self, image: &Image) -> Scanned {
        let digest = layout::digest(&image.push(self.client, REPOSITORY, "amd64").await);
        let (_, manifest) = self.client.manifest(REPOSITORY, digest.as_str()).await.unwrap().unwrap();
        Scanned { name: self.name(&digest), digest, config: layout::digest(&manifest["config"]) }
    }

    fn name(&self, digest: &Digest) -> String {
        format!("{}/{REPOSITORY}@{digest}", self.client.host())
    }
}

/// An image that is scanned.
struct Scanned {
    name: String,
    digest: Digest,
    config: Digest,
}

/// How a scanner is asked, and what is to be read.
#[derive(Clone, Copy, Debug)]
enum Written {
    Trivy(&'static str),
    Grype(&'static str),
}
use Written::{Grype, Trivy};

impl Written {
    async fn about(self, scanners: &Scanners, image: &str) -> Vec<u8> {
        match self {
            Trivy(format) => scanners.trivy(image, &["--format", format]).await,
            Grype(format) => scanners.grype(image, &["--output", format]).await,
        }
    }

    fn scanner(self) -> (&'static str, &'static str) {
        match self {
            Trivy(_) => ("trivy", "0.65.0"),
            Grype(_) => ("grype", "0.121.2"),
        }
    }
}

/// The one report in a document whose format is told by its shape.
fn read(document: &[u8]) -> Report {
    let reports = reports::read(Format::Auto, document)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(document)));
    let [report] = <[Report; 1]>::try_from(reports).unwrap();
    report
}

/// What is asserted of a vulnerability: id, severity, package, installed, fix, and the day of publication.
type Found<'a> = (&'a str, Option<Severity>, &'a str, &'a str, Option<&'a str>, Option<String>);

fn found(report: &Report) -> Vec<Found<'_>> {
    let one = |one: &'_ Vulnerability| one.published.map(|day| day.to_string());
    let each = report.vulnerabilities.iter();
    let mut found: Vec<_> = each
        .map(|v| {
            (v.id.as_str(), v.severity, v.package.as_str(), v.installed.as_str(), v.fixed.as_deref(), one(v))
        })
        .collect();
    found.sort_by_key(|(id, ..)| *id);
    found
}

/// What the databases know of `vulnerable(version)`, as far as the format says it.
fn planted(version: &str, written: Written) -> Vec<Found<'_>> {
    let published =
        |day: &str| matches!(written, Trivy("json" | "cosign-vuln" | "cyclonedx")).then(|| day.to_owned());
    let debian =
        |id, severity, fixed| (id, severity, "libacme-tls1", version, fixed, published("2026-01-02"));
    let mut planted = vec![
        debian("CVE-2099-1001", Some(Severity::Critical), Some("1.2.3-2")),
        debian("CVE-2099-1002", Some(Severity::Low), None),
        debian("CVE-2099-1004", None, None),
        debian("CVE-2099-1005", Some(Severity::Medium), Some("1.2.4-1")),
        ("CVE-2099-2001", Some(Severity::High), "acme-left", "1.0.0", Some("2.0.1"), published("2026-02-03")),
    ];
    if version == "1.2.3-2" {
        planted.remove(0);
    }
    planted
}

#[rstest]
#[case::trivy_json(Trivy("json"))]
#[case::trivy_sarif(Trivy("sarif"))]
#[case::trivy_cyclonedx(Trivy("cyclonedx"))]
#[case::trivy_attestation(Trivy("cosign-vuln"))]
#[case::grype_json(Grype("json"))]
#[case::grype_sarif(Grype("sarif"))]
#[case::grype_cyclonedx(Grype("cyclonedx-json"))]
#[tokio::test]
async fn what_a_scanner_writes_is_read_whole_and_bound_to_the_image(#[case] written: Written) {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&vulnerable("1.2.3-1")).await;
    let document = written.about(scene.scanners, &image.name).await;
    let report = read(&document);

    assert_eq!(found(&report), planted("1.2.3-1", written), "{report:#?}");
    let scanner = (report.scanner.as_str(), report.scanner_version.as_deref().unwrap_or_default());
    assert_eq!(scanner, written.scanner(), "{report:#?}");
    println!("{written:?} {:?} {:?} {:?}", report.subject, report.scanned_at, report.database_at);

    // It names the digest that was scanned, and so needs nobody's word for it.
    let bound = report.bind(None, None).unwrap();
    assert_eq!((&bound.digest, bound.by), (&image.digest, Binding::Named), "{:?}", report.subject);
    let known = KnownImage {
        digest: image.digest.clone(),
        platforms: Vec::new(),
        config: Some(image.config.clone()),
    };
    assert_eq!(report.bind(Some(&image.digest), Some(&known)).unwrap().by, Binding::Named);
    let other = Digest::sha256(b"another image");
    let refused = report.bind(Some(&other), None);
    assert!(matches!(refused, Err(ReadError::OtherImage { .. })), "{refused:?}");
}
