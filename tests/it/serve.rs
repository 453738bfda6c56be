//! `tidewaiter serve` as an operator runs it: its listeners, its certificate and its end.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    certs::{Authority, Issued},
    hostile::{Act, Hostile},
    process::{self, Guarded},
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Serving {
    program: Guarded,
    authority: Authority,
    reviews: SocketAddr,
    health: SocketAddr,
}

impl Serving {
    /// With the gallery's house rules in force, and `delay` seconds between SIGTERM and the end.
    fn start(delay: &str) -> Self {
        Self::start_with(
            delay,
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/house-rules.yaml"),
            None,
        )
    }

    fn start_with(delay: &str, policies: &Path, settings: Option<&Path>) -> Self {
        let authority = Authority::new("the authority of the webhook");
        let directory = process::directory("serve").unwrap();
        write(&directory, &authority.server(&["127.0.0.1"]));
        let mut command = process::tidewaiter();
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--health-listen",
            "127.0.0.1:0",
            "--without-cluster",
        ]);
        command.args(["--shutdown-delay", delay, "--policies"]).arg(policies);
        if let Some(settings) = settings {
            command.arg("--config").arg(settings);
        }
        command
            .arg("--tls-cert")
            .arg(directory.join("tls.crt"))
            .arg("--tls-key")
            .arg(directory.join("tls.key"));
        let program = Guarded::start(&command, directory).unwrap();
        let (reviews, health) = process::wait_for(PATIENCE, || {
            let log = program.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let serving = lines.find(|line| line["message"] == "serving")?;
            let address = |field: &str| serving[field].as_str()?.parse().ok();
            Some((address("reviews")?, address("health")?))
        })
        .unwrap_or_else(|| panic!("it does not serve: {}", program.log()));
        Self { program, authority, reviews, health }
    }

    /// A connection whose client would rather speak HTTP/2.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap()).unwrap();
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.reviews).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn certificate(&self) -> Vec<u8> {
        self.connect().await.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    async fn health(&self, path: &str) -> (u16, String) {
        crypto();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.health)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn until(&self, what: &str, mut question: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !question().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, waited).await;
        assert!(ended.is_ok(), "waited in vain until {what}: {}", self.program.log());
    }
}

fn write(directory: &Path, issued: &Issued) {
    fs::write(directory.join("tls.crt"), &issued.certificate).unwrap();
    fs::write(directory.join("tls.key"), &issued.key).unwrap();
}

fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap().to_vec()
}

fn review(image: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "default", "name": "web",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "alice"},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "web", "image": image}]}},
        },
    })
}

/// reqwest takes its cryptography from the process, whichever test comes first.
fn crypto() {
    // An error says that another test was faster.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn client(serving: &Serving) -> reqwest::Client {
    crypto();
    let trusted = reqwest::Certificate::from_pem(serving.authority.certificate().as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([trusted]).no_proxy().build().unwrap()
}

#[tokio::test]
async fn http_2_is_not_offered() {
    let serving = Serving::start("0");
    assert_eq!(serving.connect().await.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[tokio::test]
async fn a_new_certificate_acts_and_half_of_one_does_not() {
    let serving = Serving::start("0");
    let directory = serving.program.directory();
    let second = serving.authority.server(&["127.0.0.1"]);
    write(directory, &second);
    serving.until("the new certificate is shown", async || serving.certificate().await == der(&second)).await;

    let third = serving.authority.server(&["127.0.0.1"]);
    fs::write(directory.join("tls.crt"), &third.certificate).unwrap();
    serving
        .until("the mismatch is told", async || {
            serving.health("/metrics").await.1.contains("certificate_reloads_total{outcome=\"failed\"} 1")
        })
        .await;
    assert_eq!(serving.certificate().await, der(&second), "the last good pair stays");
    fs::write(directory.join("tls.key"), &third.key).unwrap();
    serving.until("the whole pair is shown", async || serving.certificate().await == der(&third)).await;
}

#[tokio::test]
async fn the_end_of_the_certificate_is_told_and_that_of_its_chain() {
    let serving = Serving::start("0");
    let directory = serving.program.directory();
    let ends = async |date: &str| {
        let end = date.parse::<jiff::Timestamp>().unwrap().as_second();
        let line = format!("\ntidewaiter_certificate_expiry_timestamp_seconds {end}\n");
        serving
            .until(&format!("{date} is told"), async || serving.health("/metrics").await.1.contains(&line))
            .await;
    };
    // What rcgen issues without being told an end.
    ends("4096-01-01T00:00:00Z").await;

    let own = serving.authority.server_until(2041);
    write(directory, &own);
    ends("2041-12-31T00:00:00Z").await;
    let intermediate = serving.authority.server_until(2039);
    fs::write(directory.join("tls.crt"), format!("{}{}", own.certificate, intermediate.certificate)).unwrap();
    ends("2039-12-31T00:00:00Z").await;
    assert!(!serving.program.log().contains("expired"), "{}", serving.program.log());

    // Nobody can say when this chain ends, and the end of another is not told instead.
    let unreadable = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    fs::write(directory.join("tls.crt"), format!("{}{unreadable}", own.certificate)).unwrap();
    let told = async || serving.health("/metrics").await.1.contains("\ntidewaiter_certificate_expiry");
    serving.until("no end is told", async || !told().await).await;

    write(directory, &serving.authority.server_until(2021));
    ends("2021-12-31T00:00:00Z").await;
    serving.until("the log says so", async || serving.program.log().contains("the chain has expired")).await;
}

/// As the kubelet updates a volume: the files are links through `..data`, which is swapped as a whole.
#[tokio::test]
async fn a_swapped_directory_acts_like_new_files() {
    let serving = Serving::start("0");
    let directory = serving.program.directory();
    let swap = |version: &str, issued: &Issued| {
        fs::create_dir(directory.join(version)).unwrap();
        write(&directory.join(version), issued);
        symlink(version, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    };
    let second = serving.authority.server(&["127.0.0.1"]);
    swap("..2", &second);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), directory.join("link")).unwrap();
        fs::rename(directory.join("link"), directory.join(name)).unwrap();
    }
    serving
        .until("the linked certificate is shown", async || serving.certificate().await == der(&second))
        .await;
    let third = serving.authority.server(&["127.0.0.1"]);
    swap("..3", &third);
    serving
        .until("the swapped certificate is shown", async || serving.certificate().await == der(&third))
        .await;
}

#[tokio::test]
async fn the_end_is_announced_and_reviews_are_answered_until_then() {
    let mut serving = Serving::start("3");
    let _ = client(&serving);
    assert_eq!(serving.health("/livez").await.0, 200);
    assert_eq!(serving.health("/readyz").await.0, 200);
    serving.program.signal("TERM");
    serving
        .until("it is not ready", async || {
            serving.health("/readyz").await == (503, "[-] listening: shutting down\nnot ready\n".to_owned())
        })
        .await;
    let url = format!("https://{}/validate?timeout=5s", serving.reviews);
    let review = review("nginx:1.27");
    let request =
        client(&serving).post(&url).header("content-type", "application/json").body(review.to_string());
    let answer: Value =
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    assert_eq!(
        serving.program.wait(PATIENCE).and_then(|status| status.code()),
        Some(0),
        "{}",
        serving.program.log()
    );
}

#[tokio::test]
async fn a_review_under_way_is_answered_before_the_end() {
    let registry = Hostile::start(|_| Act::Silence).await;
    let folder = tempfile::tempdir().unwrap();
    let (policy, settings) = (folder.path().join("policy.yaml"), folder.path().join("settings.yaml"));
    let rules = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "anywhere"}, "spec": {"registries": {"allow": ["**"]}},
    });
    let listed =
        json!({"registries": [{"host": registry.host(), "plainHttp": true, "allowPrivateAddresses": true}]});
    fs::write(&policy, rules.to_string()).unwrap();
    fs::write(&settings, listed.to_string()).unwrap();
    let mut serving = Serving::start_with("0", &policy, Some(&settings));
    let request = client(&serving)
        .post(format!("https://{}/validate?timeout=4s", serving.reviews))
        .header("content-type", "application/json")
        .body(review(&format!("{}/shop/web:1", registry.host())).to_string());
    let asking = tokio::spawn(request.send());
    serving.until("the registry is asked", async || !registry.received().is_empty()).await;
    serving.program.signal("TERM");
    let answer = asking.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.contains("RegistryTimedOut"), "{message}");
    assert_eq!(
        serving.program.wait(PATIENCE).and_then(|status| status.code()),
        Some(0),
        "{}",
        serving.program.log()
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let serving = Serving::start("0");
    let mut connection = serving.connect().await;
    let head = "POST /validate?timeout=1s HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    serving
        .until("it is counted", async || {
            serving.health("/metrics").await.1.contains("rejected_requests_total{reason=\"slow\"} 1")
        })
        .await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut serving = Serving::start("3600");
    let _ = client(&serving);
    serving.program.signal("TERM");
    serving.until("it is not ready", async || serving.health("/readyz").await.0 == 503).await;
    serving.program.signal("TERM");
    assert_eq!(
        serving.program.wait(PATIENCE).and_then(|status| status.code()),
        Some(2),
        "{}",
        serving.program.log()
    );
}

#[tokio::test]
async fn what_is_no_review_gets_its_status_over_tls_too() {
    let serving = Serving::start("0");
    let client = client(&serving);
    let url = format!("https://{}/validate", serving.reviews);
    let status = async |content_type: &str, body: Vec<u8>| {
        let answer = client.post(&url).header("content-type", content_type).body(body).send().await;
        answer.unwrap().status().as_u16()
    };
    assert_eq!(status("application/json", b"{".to_vec()).await, 400);
    assert_eq!(status("text/plain", b"{}".to_vec()).await, 415);
    assert_eq!(status("application/json", vec![b' '; (8 << 20) + 1]).await, 413);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
}
