//! cosign itself, versions 3 and 2, as publishers run it; but offline, and with a home of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tidewaiter::policy::PublicKey;

use super::{
    process::{self, Said},
    tools,
};

/// How long cosign may take. A machine that is busy compiling takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where nobody listens: what is not on loopback is asked for there, and at once refused.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A signing configuration without any service: as it is signed where no network is.
const NO_SERVICES: &str = r#"{
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {}, "tsaConfig": {}
}"#;

/// Which cosign, and so in which form it stores what it signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// Version 2: layers under the tags `sha256-….sig` and `sha256-….att`.
    Two,
    /// Version 3: bundles that refer to the image.
    Three,
}

/// Both programs and a home directory. Dropping it removes the directory, and every key in it.
pub struct Cosign {
    two: PathBuf,
    three: PathBuf,
    home: TempDir,
    number: AtomicU32,
}

/// Who signs with cosign, or for whom it checks.
pub trait Signer {
    /// What tells cosign to sign as this signer.
    fn signing(&self, version: Version) -> Vec<String>;
    /// What tells cosign that only this signer counts.
    fn verifying(&self, version: Version) -> Vec<String>;
}

/// A key pair that cosign made or imported.
pub struct KeyPair {
    /// The encrypted private key, which only cosign reads.
    pub private: PathBuf,
    /// The public key, in PEM.
    pub public: PathBuf,
    /// The public key as policies read it.
    pub key: PublicKey,
    no_services: PathBuf,
}

impl Cosign {
    /// Both versions. `None` if one is missing, and then the test has been [skipped](tools::skip).
    pub fn find() -> Option<Self> {
        let [two, three] = tools::find_all(["cosign2", "cosign"])?;
        let home = tempfile::Builder::new().prefix("tidewaiter-cosign-").tempdir().unwrap();
        Some(Self { two, three, home, number: AtomicU32::new(0) })
    }

    /// A new key pair of cosign's own choice: ECDSA on P-256.
    pub async fn key_pair(&self) -> KeyPair {
        let prefix = self.prefix();
        self.must(Version::Three, &["generate-key-pair", "--output-key-prefix", &prefix]).await;
        self.made(&prefix)
    }

    /// A key pair that cosign imports: `private` is PKCS #8 in PEM.
    pub async fn import(&self, private: &str) -> KeyPair {
        let prefix = self.prefix();
        let path = self.write(&format!("{prefix}.pem"), private);
        self.must(
            Version::Three,
            &["import-key-pair", "--key", &text(&path), "--output-key-prefix", &prefix],
        )
        .await;
        self.made(&prefix)
    }

    /// Signs `image`, which names its digest. `args` are added: `-a`, `env=prod`.
    pub async fn sign(&self, version: Version, signer: &impl Signer, image: &str, args: &[&str]) {
        let signing = signer.signing(version);
        let mut all = vec!["sign", "--yes"];
        all.extend(signing.iter().map(String::as_str));
        all.extend(args);
        all.push(image);
        self.must(version, &all).await;
    }

    /// Attests `predicate`, of a type that cosign knows by name or of any other by its URI, about `image`.
    pub async fn attest(
        &self,
        version: Version,
        signer: &impl Signer,
        image: &str,
        predicate_type: &str,
        predicate: &Value,
    ) {
        let path = self.write(&format!("{}.json", self.prefix()), &predicate.to_string());
        let (path, signing) = (text(&path), signer.signing(version));
        let mut all = vec!["attest", "--yes", "--type", predicate_type, "--predicate", &path];
        all.extend(signing.iter().map(String::as_str));
        all.push(image);
        self.must(version, &all).await;
    }

    /// Whether cosign itself accepts `image` as signed by `signer`.
    pub async fn verify(&self, version: Version, signer: &impl Signer, image: &str, args: &[&str]) -> Said {
        self.check("verify", version, signer, image, args).await
    }

    /// Whether cosign itself finds an attestation of this type about `image` by `signer`.
    pub async fn verify_attestation(
        &self,
        version: Version,
        signer: &impl Signer,
        image: &str,
        predicate_type: &str,
    ) -> Said {
        self.check("verify-attestation", version, signer, image, &["--type", predicate_type]).await
    }

    async fn check(
        &self,
        what: &str,
        version: Version,
        signer: &impl Signer,
        image: &str,
        args: &[&str],
    ) -> Said {
        let verifying = signer.verifying(version);
        let mut all = vec![what];
        all.extend(verifying.iter().map(String::as_str));
        all.extend(args);
        all.push(image);
        self.run(version, &all).await
    }

    /// Runs cosign.
    pub async fn run(&self, version: Version, args: &[&str]) -> Said {
        let program = match version {
            Version::Two => &self.two,
            Version::Three => &self.three,
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            // Keys are encrypted with it, and an unset one is asked for.
            .env("COSIGN_PASSWORD", "")
            .env("HTTP_PROXY", NOWHERE)
            .env("HTTPS_PROXY", NOWHERE);
        process::run(command, "", PATIENCE).await.unwrap()
    }

    /// Runs cosign.
    ///
    /// # Panics
    ///
    /// If it fails, with what it said.
    pub async fn must(&self, version: Version, args: &[&str]) -> Said {
        let said = self.run(version, args).await;
        assert!(said.success, "cosign {version:?} {args:?}: {said:?}");
        said
    }

    /// Writes a file to cosign's home.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The beginning of names that nothing else in cosign's home has.
    fn prefix(&self) -> String {
        format!("file-{}", self.number.fetch_add(1, Ordering::Relaxed))
    }

    fn made(&self, prefix: &str) -> KeyPair {
        let at = |end: &str| self.home.path().join(format!("{prefix}{end}"));
        let (private, public) = (at(".key"), at(".pub"));
        KeyPair {
            key: PublicKey::from_pem(&fs::read_to_string(&public).unwrap()).unwrap(),
            no_services: self.write("no-services.json", NO_SERVICES),
            private,
            public,
        }
    }
}

impl Signer for KeyPair {
    fn signing(&self, version: Version) -> Vec<String> {
        let mut args = vec!["--key".to_owned(), text(&self.private)];
        match version {
            Version::Two => args.push("--tlog-upload=false".to_owned()),
            Version::Three => {
                // Without a trusted root: with one it checks what it has signed, and fails for Ed25519.
                args.extend(["--signing-config".to_owned(), text(&self.no_services)]);
            }
        }
        args
    }

    fn verifying(&self, _: Version) -> Vec<String> {
        vec!["--key".to_owned(), text(&self.public), "--insecure-ignore-tlog=true".to_owned()]
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
