//! The client that sigstore-conformance runs: `verify-bundle` by way of the code that admits Pods.
//!
//! ```text
//! sigstore_conformance verify-bundle [--staging] --bundle FILE
//!     (--certificate-identity ID --certificate-oidc-issuer URL | --key PEM)
//!     [--trusted-root FILE] FILE_OR_DIGEST
//! ```
//!
//! Exits with 0 if the bundle holds and with 1 if it does not. What stands for an image's manifest is the
//! file or digest that the suite names. A policy is written from the arguments, compiled and examined, so that
//! nothing is judged here that the webhook would judge differently.
//!
//! Source: sigstore-conformance, `docs/cli_protocol.md`. Signing is not part of it.

use std::{collections::HashMap, fs, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use sigstore_verify::trust_root::SigstoreInstance;
use tidewaiter::{
    evidence::{AuthorityEvidence, Candidate, Material},
    image::Digest,
    policy::{self, RootRef},
    review::ports::Examiner as _,
    signature::{Examination, Trust, TrustRoot, Trusted},
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whether a bundle holds for a file or a digest.
    VerifyBundle(VerifyBundle),
}

#[derive(clap::Args)]
struct VerifyBundle {
    #[arg(long)]
    staging: bool,
    #[arg(long)]
    bundle: PathBuf,
    #[arg(long, requires = "certificate_oidc_issuer", conflicts_with = "key")]
    certificate_identity: Option<String>,
    #[arg(long)]
    certificate_oidc_issuer: Option<String>,
    #[arg(long)]
    key: Option<PathBuf>,
    #[arg(long)]
    trusted_root: Option<PathBuf>,
    file_or_digest: String,
}

/// The one trust root, under the one name.
struct Given(Arc<Trusted>);

impl Trust for Given {
    fn current(&self) -> Arc<Trusted> {
        self.0.clone()
    }
}

fn main() -> ExitCode {
    let Arguments { command: Command::VerifyBundle(arguments) } = Arguments::parse();
    match verify(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(1)
        }
    }
}

fn verify(arguments: &VerifyBundle) -> anyhow::Result<()> {
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let root = match (&arguments.trusted_root, arguments.staging) {
        (Some(path), _) => TrustRoot::from_json(&read(path)?)?,
        (None, true) => TrustRoot::from_json(SigstoreInstance::Staging.embedded_trusted_root_json())?,
        (None, false) => TrustRoot::public_good(),
    };
    let root_ref = json!({"name": "given"});
    let authority =
        match (&arguments.key, &arguments.certificate_identity, &arguments.certificate_oidc_issuer) {
            (Some(key), ..) => {
                json!({"name": "given", "key": {"inline": read(key)?, "trustRootRef": root_ref}})
            }
            (None, Some(subject), Some(issuer)) => {
                let identities = [json!({"issuer": issuer, "subject": subject})];
                json!({"name": "given", "keyless": {"identities": identities, "trustRootRef": root_ref}})
            }
            _ => bail!("name --certificate-identity and --certificate-oidc-issuer, or --key"),
        };
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": "conformance"}, "spec": {"signatures": {"authorities": [authority]}},
    });
    let policy = policy::read(&document).context("the policy is none")?.policy;
    if let Some(error) = policy.compile_error() {
        bail!("{error}");
    }
    let image = match arguments.file_or_digest.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => {
            let path = &arguments.file_or_digest;
            Digest::sha256(&fs::read(path).with_context(|| format!("cannot read {path}"))?)
        }
    };
    let bundle = read(&arguments.bundle)?;
    let candidate =
        Candidate { place: Digest::sha256(bundle.as_bytes()), material: Material::Bundle(bundle.into()) };
    let roots = HashMap::from([(RootRef::Named("given".into()), Ok(Arc::new(root)))]);
    let examination = Examination::new(Arc::new(Given(Arc::new(Trusted::new(1, HashMap::new(), roots)))));
    let found = [Ok(Arc::from([candidate]))];
    match examination.examine(policy.authorities(), &found, &image).pop() {
        Some(AuthorityEvidence::Seen { verified, .. }) if !verified.is_empty() => Ok(()),
        Some(AuthorityEvidence::Seen { rejected, .. }) => match rejected.into_iter().next() {
            Some(rejection) => Err(rejection.into()),
            None => bail!("nothing was examined"),
        },
        Some(AuthorityEvidence::Unusable(error)) => Err(error.into()),
        Some(AuthorityEvidence::Unseen(error)) => Err(error.into()),
        None => bail!("nobody was asked"),
    }
}
