//! What real Trivy and Grype write about an image, and what is read of it.
//!
//! The programs are built by `make test-scanners`.

use std::time::Duration;

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::{
    evidence::{Claim, Platform, Severity, Vulnerability},
    image::Digest,
    policy::TransparencyLog,
    reports::{self, Binding, Format, KnownImage, ReadError, Report},
    signature::verify_with_key,
};

use crate::support::{
    client::RegistryClient,
    cosign::{Cosign, Version},
    image::{Image, push_index},
    layout, process,
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
pub fn vulnerable(version: &str) -> Image {
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

impl Scanned {
    /// What its registry says of it.
    fn known(&self) -> KnownImage {
        KnownImage { digest: self.digest.clone(), platforms: Vec::new(), config: Some(self.config.clone()) }
    }
}

/// How a scanner is asked, and what is to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    Trivy(&'static str),
    Grype(&'static str),
}
use Written::{Grype, Trivy};

impl Written {
    async fn about(self, scanners: &Scanners, image: &str) -> Vec<u8> {
        self.with(scanners, image, &[]).await
    }

    async fn with(self, scanners: &Scanners, image: &str, args: &[&str]) -> Vec<u8> {
        match self {
            Trivy(format) => scanners.trivy(image, &[&["--format", format], args].concat()).await,
            Grype(format) => scanners.grype(image, &[&["--output", format], args].concat()).await,
        }
    }

    /// What scans, and its version if the format says it.
    fn scanner(self) -> (&'static str, Option<&'static str>) {
        match self {
            // Versions that say it are newer.
            Trivy("json") => ("trivy", None),
            Trivy(_) => ("trivy", Some("0.65.0")),
            Grype(_) => ("grype", Some("0.121.2")),
        }
    }

    /// Whether the format says when a vulnerability was published.
    fn says_days(self) -> bool {
        matches!(self, Trivy("json" | "cosign-vuln" | "cyclonedx"))
    }

    /// Whether the format says which fix there is, if any. Where it does not, there may be one that nobody names.
    fn says_fixes(self) -> bool {
        self != Grype("cyclonedx-json")
    }

    /// Whether the format says when the scan was made.
    fn says_time(self) -> bool {
        !matches!(self, Trivy("sarif") | Grype("sarif"))
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
    fn facts(one: &Vulnerability) -> Found<'_> {
        let published = one.published.map(|day| day.to_string());
        (&one.id, one.severity, &one.package, &one.installed, one.fixed.as_deref(), published)
    }
    let mut found: Vec<_> = report.vulnerabilities.iter().map(facts).collect();
    found.sort_by_key(|(id, ..)| *id);
    found
}

/// What the databases know of `vulnerable(version)`, as far as the format says it.
fn planted(version: &str, written: Written) -> Vec<Found<'_>> {
    let day = |day: &str| written.says_days().then(|| day.to_owned());
    let fixed = |fixed: Option<&'static str>| if written.says_fixes() { fixed } else { Some("") };
    let debian = |id, severity, fixed| (id, severity, "libacme-tls1", version, fixed, day("2026-01-02"));
    let mut planted = vec![
        debian("CVE-2099-1001", Some(Severity::Critical), fixed(Some("1.2.3-2"))),
        debian("CVE-2099-1002", Some(Severity::Low), fixed(None)),
        debian("CVE-2099-1004", None, fixed(None)),
        debian("CVE-2099-1005", Some(Severity::Medium), fixed(Some("1.2.4-1"))),
        (
            "CVE-2099-2001",
            Some(Severity::High),
            "acme-left",
            "1.0.0",
            fixed(Some("2.0.1")),
            day("2026-02-03"),
        ),
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
    // Formats round it down to the second.
    let started = Timestamp::now().as_second();
    let report = read(&written.about(scene.scanners, &image.name).await);

    assert_eq!(found(&report), planted("1.2.3-1", written), "{report:#?}");
    assert_eq!(
        (report.scanner.as_str(), report.scanner_version.as_deref()),
        written.scanner(),
        "{report:#?}"
    );
    assert_eq!(
        report.scanned_at.is_some_and(|at| at.as_second() >= started),
        written.says_time(),
        "{report:#?}"
    );
    let database_at = matches!(written, Grype("json")).then_some(scene.scanners.updated_at);
    assert_eq!((report.database_at, &report.end_of_life), (database_at, &None), "{report:#?}");

    let bound = report.bind(Some(&image.digest), Some(&image.known())).unwrap();
    if written == Grype("sarif") {
        assert_eq!((&bound.digest, bound.by), (&image.digest, Binding::Told));
        assert_eq!(report.bind(None, None), Err(ReadError::Unbound));
        return;
    }
    // It names the digest that was scanned, and so needs nobody's word for it.
    assert_eq!((&bound.digest, bound.by), (&image.digest, Binding::Named), "{:?}", report.subject);
    assert_eq!(report.bind(None, None).unwrap().digest, image.digest);
    let refused = report.bind(Some(&Digest::sha256(b"another image")), None);
    assert!(matches!(refused, Err(ReadError::OtherImage { .. })), "{refused:?}");
}

#[rstest]
#[case::trivy_json(Trivy("json"))]
#[case::trivy_attestation(Trivy("cosign-vuln"))]
#[case::grype_json(Grype("json"))]
#[tokio::test]
async fn an_image_of_which_nothing_is_known_is_clean(#[case] written: Written) {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&clean()).await;
    let report = read(&written.about(scene.scanners, &image.name).await);
    assert_eq!((report.rows, &report.vulnerabilities), (0, &Vec::new()));
    assert_eq!(report.bind(None, None).unwrap().digest, image.digest);
}

/// Of a clean image these formats look as if nobody had looked.
#[rstest]
#[case::trivy_cyclonedx(Trivy("cyclonedx"))]
#[case::grype_cyclonedx(Grype("cyclonedx-json"))]
#[tokio::test]
async fn silence_that_may_mean_two_things_is_not_clean(#[case] written: Written) {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&clean()).await;
    let refused = reports::read(Format::Auto, &written.about(scene.scanners, &image.name).await);
    assert!(matches!(refused, Err(ReadError::Incomplete { .. })), "{refused:?}");
}

/// A scanner that does not know the distribution finds nothing and says nothing.
#[rstest]
#[case::trivy_json(Trivy("json"))]
#[case::trivy_attestation(Trivy("cosign-vuln"))]
#[tokio::test]
async fn an_image_that_the_scanner_does_not_know_is_not_clean(#[case] written: Written) {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&Image::default().program("app", b"no binary".to_vec())).await;
    let document = written.about(scene.scanners, &image.name).await;
    let refused = reports::read(Format::Auto, &document);
    assert!(matches!(refused, Err(ReadError::Incomplete { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_release_without_support_is_told_of() {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&debian(ENDED, &[("acme-base", "acme-base", "7-1")])).await;
    let report = read(&scene.scanners.trivy(&image.name, &["--format", "json"]).await);
    assert_eq!(report.end_of_life.as_deref(), Some("debian 10.1"));
}

/// Of an index both scanners write its own digest, and which platform they took.
#[rstest]
#[tokio::test]
async fn a_report_about_an_index_speaks_of_the_platform_that_was_scanned(
    #[values(Trivy("json"), Grype("json"), Trivy("cosign-vuln"))] written: Written,
    #[values("amd64", "arm64")] architecture: &str,
) {
    let Some(scene) = Scene::new().await else { return };
    let parts = [("amd64", "1.2.3-1"), ("arm64", "1.2.3-2")];
    let mut descriptors = Vec::new();
    for (architecture, version) in parts {
        descriptors.push(vulnerable(version).push(scene.client, REPOSITORY, architecture).await);
    }
    let digest = push_index(scene.client, REPOSITORY, &descriptors).await;
    let platform: Platform = format!("linux/{architecture}").parse().unwrap();
    let [amd64, arm64] = [0, 1].map(|at| layout::digest(&descriptors[at]));
    let (version, scanned, other) = match architecture {
        "amd64" => ("1.2.3-1", &amd64, &arm64),
        _ => ("1.2.3-2", &arm64, &amd64),
    };
    let document =
        written.with(scene.scanners, &scene.name(&digest), &["--platform", platform.as_str()]).await;
    let report = read(&document);
    assert_eq!(found(&report), planted(version, written));

    let platforms = parts.map(|(architecture, _)| format!("linux/{architecture}").parse().unwrap());
    let platforms = platforms.into_iter().zip([amd64.clone(), arm64.clone()]).collect();
    let index = KnownImage { digest: digest.clone(), platforms, config: None };
    let bound = report.bind(Some(&digest), Some(&index)).unwrap();
    assert_eq!(bound.digest, digest);
    assert_eq!(bound.platforms, [(platform, Some(scanned.clone()))]);
    // Of the platform's own manifest it speaks too, and of the other one's not.
    let bound = report.bind(Some(scanned), Some(&index)).unwrap();
    assert_eq!(bound.digest, *scanned);
    let refused = report.bind(Some(other), Some(&index));
    assert!(matches!(refused, Err(ReadError::OtherImage { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_a_client_of_a_server_writes_is_read_alike() {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&vulnerable("1.2.3-1")).await;
    let server = scene.scanners.trivy_server().await;
    let document = scene.scanners.trivy(&image.name, &["--format", "json", "--server", &server.url]).await;
    let report = read(&document);
    assert_eq!(found(&report), planted("1.2.3-1", Trivy("json")));
    assert_eq!(report.bind(None, None).unwrap().by, Binding::Named);
    // This version's reports do not say how old the database is. The server does.
    assert_eq!(report.database_at, None);
    let version = server.version().await;
    assert_eq!(version["VulnerabilityDB"]["UpdatedAt"], scene.scanners.updated_at.to_string(), "{version}");
}

#[rstest]
#[tokio::test]
async fn what_is_attested_of_a_scan_says_what_the_scan_says(
    #[values(Version::Two, Version::Three)] version: Version,
) {
    let Some(scene) = Scene::new().await else { return };
    let Some(cosign) = Cosign::find() else { return };
    let key = cosign.key_pair().await;
    let image = scene.push(&vulnerable("1.2.3-1").file("for", format!("{version:?}"))).await;
    let predicate = Trivy("cosign-vuln").about(scene.scanners, &image.name).await;
    let predicate: Value = serde_json::from_slice(&predicate).unwrap();
    cosign.attest(version, &key, &image.name, "vuln", &predicate).await;

    let candidates = scene.client.candidates(REPOSITORY, &image.digest).await.unwrap();
    let [candidate] = &candidates[..] else { panic!("{candidates:?}") };
    let verified =
        verify_with_key(candidate, &image.digest, &key.key, TransparencyLog::Ignored, None).unwrap();
    let Claim::Attestation { predicate_type, statement } = verified.claim else { panic!("another claim") };
    assert_eq!(predicate_type, "https://cosign.sigstore.dev/attestation/vuln/v1");
    let report = read(statement.to_string().as_bytes());
    assert_eq!(found(&report), planted("1.2.3-1", Trivy("cosign-vuln")));
    assert_eq!(report.bind(Some(&image.digest), Some(&image.known())).unwrap().by, Binding::Named);
}

#[rstest]
#[tokio::test]
async fn what_a_scanner_writes_can_be_imported(#[values(Trivy("json"), Grype("json"))] written: Written) {
    let Some(scene) = Scene::new().await else { return };
    let image = scene.push(&vulnerable("1.2.3-1")).await;
    let document = String::from_utf8(written.about(scene.scanners, &image.name).await).unwrap();
    let mut command = process::tidewaiter();
    command.args(["verdict", "import", "--output", "json", "-"]);
    let said = process::run(command, &document, Duration::from_secs(60)).await.unwrap();
    assert!(said.success, "{said:?}");
    let object: Value = serde_json::from_str(&said.stdout).unwrap();
    let spec = &object["spec"];
    let (scanner, _) = written.scanner();
    assert_eq!((&spec["digest"], &spec["source"]), (&json!(image.digest.as_str()), &json!(scanner)));
    let count = |severity: &str| spec["counts"][severity].clone();
    let counts = ["critical", "high", "medium", "low", "unknown"].map(count);
    let [fixable, not] = [1, 0].map(|fixable| json!({"found": 1, "fixable": fixable}));
    assert_eq!(counts, [fixable.clone(), fixable.clone(), fixable, not.clone(), not]);
}
