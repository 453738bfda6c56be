//! A private Sigstore of real servers, on loopback: the certificate authority Fulcio, the transparency log
//! Rekor (version 2), the timestamp authority, and what identifies signers to them.
//!
//! Its programs are those of the group `sigstore` of `tests/tools`.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tidewaiter::signature::TrustRoot;
use tokio::sync::OnceCell;

use super::{
    cosign::{Cosign, KeyPair, Signer, Version, text},
    process::{self, Guarded},
    tools,
};

/// The group of programs that this needs.
const GROUP: &str = "sigstore";
/// How long a server has to answer. A machine that is busy compiling takes its time.
const READY: Duration = Duration::from_secs(60);
/// How often a start is tried: another process may take the ports that were free.
const TRIES: u32 = 3;
/// Since when its keys are trusted: before it was started.
const SINCE: &str = "2020-01-01T00:00:00Z";

/// Running servers. Dropping it stops them.
pub struct Sigstore {
    addresses: Addresses,
    files: Files,
    _servers: [Guarded; 4],
}

/// Where the servers are that somebody asks by name: URLs.
struct Addresses {
    identities: String,
    fulcio: String,
    timestamps: String,
}

/// What cosign must know of the servers.
struct Files {
    trusted_root: PathBuf,
    all_services: PathBuf,
    /// Without the log.
    no_log: PathBuf,
}

/// How much of it a signer uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Services {
    /// The log and the timestamp authority.
    All,
    /// The timestamp authority alone.
    NoLog,
}

/// Somebody who proves an identity with a token, and signs with a key that lives as long as the signature takes.
pub struct Identity<'a> {
    /// What the certificate will say who it is.
    pub subject: String,
    /// What the certificate will say who vouches for that.
    pub issuer: String,
    services: Services,
    /// A file: some versions of cosign take nothing else.
    token: PathBuf,
    sigstore: &'a Sigstore,
}

/// The holder of a key who has a log and a timestamp authority keep what it signs.
pub struct Logged<'a> {
    pub key: &'a KeyPair,
    pub sigstore: &'a Sigstore,
    pub services: Services,
}

impl Sigstore {
    /// The one that tests share; started by whoever comes first. `None` if a program is missing, and then
    /// the test has been skipped.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Sigstore> = OnceCell::const_new();
        let programs = programs()?;
        Some(SHARED.get_or_init(|| Self::start_or_panic(programs)).await)
    }

    /// Starts the servers for one test alone. `None` as with [`shared`](Self::shared).
    ///
    /// # Panics
    ///
    /// If one does not start, with its log.
    pub async fn start() -> Option<Self> {
        Some(Self::start_or_panic(programs()?).await)
    }

    async fn start_or_panic((programs, cosign): ([PathBuf; 4], Cosign)) -> Self {
        match Self::start_with(programs, &cosign).await {
            Ok(sigstore) => sigstore,
            Err(error) => panic!("the private Sigstore did not start: {error:#}"),
        }
    }

    async fn start_with(programs: [PathBuf; 4], cosign: &Cosign) -> anyhow::Result<Self> {
        let [identities, fulcio, rekor, timestamps] = programs;
        let (identities, identities_url) = start(Command::new(identities), "oidc-ct").await?;
        let (timestamps, timestamps_url) = start(Command::new(timestamps), "timestamp-server").await?;
        let directory = identities.directory().to_owned();
        let write = |name: &str, content: &str| -> std::io::Result<PathBuf> {
            let path = directory.join(name);
            fs::write(&path, content)?;
            Ok(path)
        };

        let log_url = format!("{identities_url}/ct");
        let log_key = write("ct.pub", &get(&format!("{log_url}/key")).await?)?;
        let mut issuers = json!({});
        for (issuer, kind) in [("actions", "github-workflow"), ("people", "email")] {
            let url = format!("{identities_url}/{issuer}");
            issuers[&url] = json!({"IssuerURL": url, "ClientID": "sigstore", "Type": kind});
        }
        let mut command = Command::new(fulcio);
        command
            .arg("-issuers")
            .arg(write("issuers.json", &json!({"OIDCIssuers": issuers}).to_string())?)
            .args(["-ct-log", &log_url, "-ct-log-key"])
            .arg(&log_key);
        let (fulcio, fulcio_url) = start(command, "fulcio").await?;
        let bundle: Value = serde_json::from_str(&get(&format!("{fulcio_url}/api/v2/trustBundle")).await?)?;
        let authority =
            bundle["chains"][0]["certificates"][0].as_str().context("Fulcio without a certificate")?;
        let authority = write("fulcio.crt", authority)?;

        let rekor_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let rekor_public = write("rekor.pub", &rekor_key.public_key_pem())?;
        let (rekor, rekor_url) = start_rekor(&rekor, &rekor_key.serialize_pem()).await?;

        let stamp_url = format!("{timestamps_url}/api/v1/timestamp");
        let stamp_chain = write("timestamps.crt", &get(&format!("{stamp_url}/certchain")).await?)?;

        let files = Files {
            trusted_root: directory.join("trusted_root.json"),
            all_services: directory.join("signing_config.json"),
            no_log: directory.join("signing_config_no_log.json"),
        };
        let part = |url: &str, rest: String| format!("url={url},{rest},start-time={SINCE}");
        let chain = |path: &PathBuf| format!("certificate-chain={}", path.display());
        let key = |path: &PathBuf| format!("public-key={}", path.display());
        cosign
            .must(
                Version::Three,
                &[
                    "trusted-root",
                    "create",
                    "--out",
                    &text(&files.trusted_root),
                    "--fulcio",
                    &part(&fulcio_url, chain(&authority)),
                    "--ctfe",
                    &part(&log_url, key(&log_key)),
                    "--rekor",
                    &part(&rekor_url, format!("{},origin=127.0.0.1", key(&rekor_public))),
                    "--tsa",
                    &part(&stamp_url, chain(&stamp_chain)),
                ],
            )
            .await;
        let service = |url: &str, version: u8| json!({"url": url, "majorApiVersion": version, "operator": "tests", "validFor": {"start": SINCE}});
        let mut services = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(&fulcio_url, 1)],
            "oidcUrls": [service(&identities_url, 1)],
            "tsaUrls": [service(&stamp_url, 1)],
            "tsaConfig": {"selector": "ANY"},
            "rekorTlogConfig": {},
        });
        fs::write(&files.no_log, services.to_string())?;
        services["rekorTlogUrls"] = json!([service(&rekor_url, 2)]);
        services["rekorTlogConfig"] = json!({"selector": "ANY"});
        fs::write(&files.all_services, services.to_string())?;

        Ok(Self {
            addresses: Addresses { identities: identities_url, fulcio: fulcio_url, timestamps: stamp_url },
            files,
            _servers: [identities, timestamps, fulcio, rekor],
        })
    }

    /// Its `trusted_root.json`.
    pub fn trusted_root(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(&self.files.trusted_root).unwrap()).unwrap()
    }

    /// The trust root that knows it and nothing else.
    pub fn root(&self) -> TrustRoot {
        TrustRoot::from_json(&self.trusted_root().to_string()).unwrap()
    }

    /// A workflow run of GitHub Actions, by its repository, workflow file and Git reference: `acme/app`,
    /// `release.yml`, `refs/tags/v1`.
    pub async fn workflow(&self, repository: &str, file: &str, reference: &str) -> Identity<'_> {
        let place = format!("{repository}/.github/workflows/{file}@{reference}");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let owner = repository.split('/').next().unwrap();
        // What Fulcio wants of such a token; GitHub's tokens say more.
        let claims = json!({
            "sub": format!("repo:{repository}:ref:{reference}"),
            "repository": repository, "repository_id": "1", "repository_visibility": "public",
            "repository_owner": owner, "repository_owner_id": "2",
            "workflow": "release", "workflow_ref": place, "workflow_sha": commit,
            "job_workflow_ref": place, "job_workflow_sha": commit,
            "ref": reference, "sha": commit, "event_name": "push",
            "run_id": "3", "run_attempt": "1", "runner_environment": "github-hosted",
        });
        self.identity("actions", format!("https://github.com/{place}"), &claims).await
    }

    /// Somebody who is known by an email address.
    pub async fn person(&self, email: &str) -> Identity<'_> {
        let claims = json!({"sub": email, "email": email, "email_verified": true});
        self.identity("people", email.to_owned(), &claims).await
    }

    async fn identity(&self, issuer: &str, subject: String, claims: &Value) -> Identity<'_> {
        let issuer = format!("{}/{issuer}", self.addresses.identities);
        let request = client().post(format!("{issuer}/token")).body(claims.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = self.files.trusted_root.with_file_name(format!("token-{number}"));
        fs::write(&token, answer["token"].as_str().unwrap()).unwrap();
        Identity { subject, issuer, services: Services::All, token, sigstore: self }
    }

    fn services(&self, services: Services) -> [String; 4] {
        let file = match services {
            Services::All => &self.files.all_services,
            Services::NoLog => &self.files.no_log,
        };
        [
            "--signing-config".to_owned(),
            text(file),
            "--trusted-root".to_owned(),
            text(&self.files.trusted_root),
        ]
    }

    fn trusting(&self, services: Services) -> Vec<String> {
        let mut args = vec!["--trusted-root".to_owned(), text(&self.files.trusted_root)];
        if services == Services::NoLog {
            args.extend(["--insecure-ignore-tlog=true", "--use-signed-timestamps=true"].map(str::to_owned));
        }
        args
    }
}

impl Identity<'_> {
    /// The same, but without the log where cosign 3 signs. Version 2 never uses it: it knows only version 1
    /// of Rekor.
    #[must_use]
    pub fn without_log(self) -> Self {
        Self { services: Services::NoLog, ..self }
    }
}

impl Signer for Identity<'_> {
    fn signing(&self, version: Version) -> Vec<String> {
        let mut args = vec!["--identity-token".to_owned(), text(&self.token)];
        match version {
            Version::Three => args.extend(self.sigstore.services(self.services)),
            Version::Two => {
                let Addresses { fulcio, timestamps, .. } = &self.sigstore.addresses;
                args.extend(
                    ["--fulcio-url", fulcio, "--timestamp-server-url", timestamps].map(str::to_owned),
                );
                // It does not know the log of certificates. Whoever verifies the signature does.
                args.extend(["--tlog-upload=false", "--insecure-skip-verify=true"].map(str::to_owned));
            }
        }
        args
    }

    fn verifying(&self, _: Version) -> Vec<String> {
        let mut args = self.sigstore.trusting(self.services);
        args.extend(["--certificate-identity", &self.subject].map(str::to_owned));
        args.extend(["--certificate-oidc-issuer", &self.issuer].map(str::to_owned));
        args
    }
}

impl Signer for Logged<'_> {
    fn signing(&self, version: Version) -> Vec<String> {
        assert_eq!(version, Version::Three, "version 2 of cosign knows only version 1 of Rekor");
        let mut args = vec!["--key".to_owned(), text(&self.key.private)];
        args.extend(self.sigstore.services(self.services));
        args
    }

    fn verifying(&self, _: Version) -> Vec<String> {
        let mut args = self.sigstore.trusting(self.services);
        args.extend(["--key".to_owned(), text(&self.key.public)]);
        args
    }
}

fn programs() -> Option<([PathBuf; 4], Cosign)> {
    let programs = tools::find_group(GROUP, ["oidc-ct", "fulcio", "rekor", "timestamp-server"])?;
    Some((programs, Cosign::find()?))
}

/// Starts a server that says where it listens, and answers with its URL.
async fn start(command: Command, name: &str) -> anyhow::Result<(Guarded, String)> {
    let server = Guarded::start(&command, process::directory(name)?)?;
    let (server, host) = server.listening().await.with_context(|| name.to_owned())?;
    Ok((server, format!("http://{host}")))
}

/// Starts Rekor, which wants to be told its ports.
async fn start_rekor(program: &PathBuf, key: &str) -> anyhow::Result<(Guarded, String)> {
    let mut attempt = 1;
    loop {
        match try_rekor(program, key).await {
            Err(_) if attempt < TRIES => attempt += 1,
            done => return done.context("rekor"),
        }
    }
}

async fn try_rekor(program: &PathBuf, key: &str) -> anyhow::Result<(Guarded, String)> {
    let directory = process::directory("rekor")?;
    let signer = directory.join("signer.key");
    fs::write(&signer, key)?;
    let mut command = Command::new(program);
    command.args(["serve", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--hostname=127.0.0.1"]);
    let port = process::free_port()?;
    for (flag, port) in [
        ("http-port", port),
        ("grpc-port", process::free_port()?),
        ("http-metrics-port", process::free_port()?),
    ] {
        command.arg(format!("--{flag}={port}"));
    }
    command
        // A signature waits for the next checkpoint.
        .arg("--checkpoint-interval=200ms")
        .arg("--storage-dir")
        .arg(directory.join("storage"))
        .arg("--signer-filepath")
        .arg(signer);
    let mut server = Guarded::start(&command, directory)?;
    let url = format!("http://127.0.0.1:{port}");
    let end = tokio::time::Instant::now() + READY;
    while get(&format!("{url}/healthz")).await.is_err() {
        if server.ended().is_some() || tokio::time::Instant::now() >= end {
            bail!("it does not answer: {}", server.log());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((server, url))
}

async fn get(url: &str) -> anyhow::Result<String> {
    let answer = client().get(url).send().await?.error_for_status()?;
    Ok(answer.text().await?)
}

/// Made anew each time: a client's connections end with the runtime of the test that opened them.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(READY).build().unwrap()
}
