//! `tidewaiter inspect`: what can be learned about an image.

mod scans;
mod suggest;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::suggest::{Known, Suggestion, suggest};
use super::{ports::Unobserved, settings::Settings};
use crate::{
    decision::printable,
    evidence::{Attached, Candidate, Claim, Material, RegistryError, Rejection, Signer, Verified},
    image::{Digest, ImageReference, Repository},
    policy::{PublicKey, TransparencyLog},
    registry::{ImageManifest, Registries},
    review::ports::{Attachments as _, Resolver as _},
    signature::{TrustRoot, Unverified, read_unverified, verify_with_certificate, verify_with_key},
};

/// How long all questions to the registry may take.
const TIME: Duration = Duration::from_secs(60);
/// The longest file with a key or a trust root that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Show what can be learned about an image: its digest, its platforms, and every signature and attestation
/// beside it, with who made it and whether it holds; and what scanners have said of it.
///
/// Certificates, log entries and timestamps are checked by the trust roots of Sigstore's public-good
/// instance and of GitHub, as this version knows them, and by those given. A signature of a key is checked by
/// the keys given. The registry's answers decide nothing: this only shows.
///
/// Exits with 0 if the image was found, whether or not anything holds, and with 2 if it could not be asked.
/// With --suggest-policy, exits with 1 if there is nothing that a policy could demand.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The settings file that the webhook runs with, for registries and credentials.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A public key in PEM. May be given several times.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// A trusted_root.json. May be given several times.
    #[arg(long = "trust-root", value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// The repository in which signatures are looked for, if not the image's own.
    #[arg(long, value_name = "REPOSITORY")]
    source: Option<Repository>,
    /// What scanners have said: a file or a directory of ImageScanVerdicts. May be given several times.
    #[arg(long, value_name = "PATH")]
    verdicts: Vec<PathBuf>,
    /// Show the ImageScanVerdicts of the cluster too: of that which kubectl would talk to.
    #[arg(long)]
    cluster: bool,
    /// Show the ImageScanVerdicts of the cluster that this file names.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Print the smallest policy that would admit the image for what is signed, attested and scanned.
    #[arg(long)]
    suggest_policy: bool,
    /// How to answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// The image.
    #[arg(value_name = "IMAGE")]
    image: ImageReference,
}

const EXAMPLES: &str = "\
Examples:
  tidewaiter inspect registry.example.com/team/app:1.4
  tidewaiter inspect --key cosign.pub --suggest-policy registry.example.com/team/app:1.4
  tidewaiter inspect --cluster registry.example.com/team/app:1.4";

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// What signatures are checked by.
struct Means {
    keys: Vec<(String, PublicKey, String)>,
    roots: Vec<Root>,
}

/// A trust root, and as which ImageTrustRoot a policy would name it; none for the one that needs no name.
struct Root {
    name: String,
    root: TrustRoot,
    resource: Option<Value>,
}

/// One thing that stands beside the image.
struct Shown {
    place: Digest,
    unverified: Result<Unverified, Rejection>,
    /// By what it holds, and what was verified.
    holds: Vec<(String, Verified)>,
    /// By what it does not, and why not.
    fails: Vec<(String, Rejection)>,
}

impl Args {
    fn asks_for_scans(&self) -> bool {
        self.cluster || self.kubeconfig.is_some() || !self.verdicts.is_empty()
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(args.config.as_deref())?;
    let means = Means::read(args)?;
    let registries = settings.registries(Arc::new(Unobserved))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (digest, manifest, candidates, stored) = runtime.block_on(async {
        let (digest, manifest, candidates) = look(args, &registries).await?;
        let stored = scans::stored(args, &digest, &manifest).await?;
        anyhow::Ok((digest, manifest, candidates, stored))
    })?;
    let shown: Vec<Shown> = candidates.iter().map(|candidate| means.show(candidate, &digest)).collect();
    let mut scans = scans::attested(&shown, &digest);
    scans.extend(stored);
    let known =
        Known { digest: &digest, manifest: &manifest, shown: &shown, scans: &scans, now: Timestamp::now() };
    if args.suggest_policy {
        let Suggestion { notes, documents } = suggest(args, &means, &known).unwrap_or_default();
        for note in notes {
            super::print(format!("# {note}\n").as_bytes())?;
        }
        if documents.is_empty() {
            super::print(b"# there is nothing that a policy could demand by what is known: give keys, trust roots or verdicts\n")?;
            return Ok(ExitCode::from(1));
        }
        for document in documents {
            super::print(format!("---\n{}", serde_saphyr::to_string(&document)?).as_bytes())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match args.output {
        Output::Text => super::print(text(args, &known).as_bytes())?,
        Output::Json => {
            let mut json = serde_json::to_vec_pretty(&document(args, &known))?;
            json.push(b'\n');
            super::print(&json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The image's digest and manifest, and what stands beside it.
async fn look(
    args: &Args,
    registries: &Registries,
) -> anyhow::Result<(Digest, ImageManifest, Vec<Candidate>)> {
    let deadline = Instant::now() + TIME;
    let image = &args.image;
    let digest = match image.digest() {
        Some(digest) => digest.clone(),
        None => registries
            .resolve(image, &[], deadline)
            .await
            .map_err(|error| asked(&error))
            .with_context(|| format!("cannot find {image}"))?,
    };
    let own = Repository::from(image);
    let place = args.source.as_ref().unwrap_or(&own);
    let wanted = Attached { signatures: true, attestations: true };
    let (manifest, beside) = tokio::join!(
        registries.manifest(&own, &digest, &[], deadline),
        registries.beside(place, &digest, wanted, &[], deadline),
    );
    let manifest =
        manifest.map_err(|error| asked(&error)).with_context(|| format!("cannot read {own}@{digest}"))?;
    let beside = beside
        .map_err(|error| asked(&error))
        .with_context(|| format!("cannot see what is signed in {place}"))?;
    Ok((digest, manifest, beside))
}

/// What the registry said, and what to do about it.
fn asked(error: &RegistryError) -> anyhow::Error {
    match error {
        RegistryError::Denied | RegistryError::NotFound => {
            anyhow::anyhow!("{error}; credentials come from dockerConfig of the file that --config names")
        }
        RegistryError::Forbidden(_) => {
            anyhow::anyhow!("{error}; registries of your own are listed in the file that --config names")
        }
        error => anyhow::anyhow!("{error}"),
    }
}

impl Means {
    fn read(args: &Args) -> anyhow::Result<Self> {
        let mut keys = Vec::new();
        for path in &args.keys {
            let pem = read_file(path)?;
            let key = PublicKey::from_pem(&pem).with_context(|| format!("--key {}", path.display()))?;
            keys.push((path.display().to_string(), key, pem));
        }
        let resource = |name: &str, spec: Value| {
            json!({
                "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "ImageTrustRoot",
                "metadata": {"name": name}, "spec": spec,
            })
        };
        let mut roots = vec![
            Root { name: "Sigstore public-good".to_owned(), root: TrustRoot::public_good(), resource: None },
            Root {
                name: "GitHub".to_owned(),
                root: TrustRoot::github(),
                resource: Some(resource("github", json!({"sigstore": "GitHub"}))),
            },
        ];
        for (at, path) in args.roots.iter().enumerate() {
            let json = read_file(path)?;
            let root =
                TrustRoot::from_json(&json).with_context(|| format!("--trust-root {}", path.display()))?;
            let resource = resource(&format!("given-{}", at + 1), json!({"inline": json}));
            roots.push(Root { name: path.display().to_string(), root, resource: Some(resource) });
        }
        Ok(Self { keys, roots })
    }

    fn show(&self, candidate: &Candidate, image: &Digest) -> Shown {
        let unverified = match &candidate.material {
            Material::Unreadable(error) => Err(Rejection::Unreadable(error.clone())),
            _ => read_unverified(candidate, image),
        };
        let (mut holds, mut fails) = (Vec::new(), Vec::new());
        let mut note = |by: &str, checked: Result<Verified, Rejection>| match checked {
            Ok(verified) => holds.push((by.to_owned(), verified)),
            Err(rejection) => fails.push((by.to_owned(), rejection)),
        };
        if let Ok(Unverified { signer, logged, .. }) = &unverified {
            let log = if *logged { TransparencyLog::Required } else { TransparencyLog::Ignored };
            match signer {
                Some(Signer::Identity { .. }) => {
                    for Root { name, root, .. } in &self.roots {
                        note(name, verify_with_certificate(candidate, image, log, root));
                    }
                }
                Some(Signer::Key(_)) | None => {
                    for (name, key, _) in &self.keys {
                        let alone = verify_with_key(candidate, image, key, TransparencyLog::Ignored, None);
                        let holds = alone.is_ok();
                        note(name, alone);
                        if !(holds && *logged) {
                            continue;
                        }
                        for (root_name, root) in self.roots.iter().map(|root| (&root.name, &root.root)) {
                            let log = TransparencyLog::Required;
                            let checked = verify_with_key(candidate, image, key, log, Some(root));
                            note(&format!("{name} and its log entry by {root_name}"), checked);
                        }
                    }
                }
            }
        }
        Shown { place: candidate.place.clone(), unverified, holds, fails }
    }
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    anyhow::ensure!(size <= FILE_LIMIT, "{name} is larger than {FILE_LIMIT} bytes");
    fs::read_to_string(path).with_context(|| format!("cannot read {name}"))
}

/// What a claim is, in a few words.
fn claimed(claim: &Result<Claim, Rejection>) -> String {
    match claim {
        Ok(Claim::Image { annotations, .. }) if annotations.is_empty() => "signature".to_owned(),
        Ok(Claim::Image { annotations, .. }) => {
            let pairs: Vec<String> = annotations
                .iter()
                .map(|(key, value)| format!("{}={}", printable(key, 60), printable(value, 60)))
                .collect();
            format!("signature with {}", pairs.join(", "))
        }
        Ok(Claim::Attestation { predicate_type, .. }) => {
            format!("attestation {}", printable(predicate_type, 200))
        }
        Err(rejection) => {
            format!("says nothing about this image: {}", printable(&rejection.to_string(), 200))
        }
    }
}

fn signer_text(signer: Option<&Signer>) -> String {
    match signer {
        Some(Signer::Identity { subject, issuer }) => {
            format!("{} (issuer {})", printable(subject, 300), printable(issuer, 200))
        }
        Some(Signer::Key(fingerprint)) => format!("key {fingerprint}"),
        None => "a key that is not named".to_owned(),
    }
}

fn text(args: &Args, known: &Known<'_>) -> String {
    let Known { digest, manifest, shown, scans, now } = known;
    let mut text = format!("image      {}\ndigest     {digest}\n", args.image);
    // OK below because writing to a String cannot fail
    writeln!(text, "type       {}", manifest.media_type).unwrap();
    for platform in &manifest.platforms {
        writeln!(text, "platform   {} {}", printable(&platform.name, 60), platform.digest).unwrap();
    }
    if shown.is_empty() {
        text.push_str("signed     by nobody: there is neither signature nor attestation\n");
    }
    for one in *shown {
        text.push('\n');
        match &one.unverified {
            Err(rejection) => {
                writeln!(text, "unreadable {}", one.place).unwrap();
                writeln!(text, "  why      {}", printable(&rejection.to_string(), 300)).unwrap();
            }
            Ok(unverified) => {
                writeln!(text, "{}", claimed(&unverified.claim)).unwrap();
                writeln!(text, "  stored   {} {}", unverified.format.as_str(), one.place).unwrap();
                writeln!(text, "  signer   {}", signer_text(unverified.signer.as_ref())).unwrap();
                writeln!(text, "  logged   {}", if unverified.logged { "yes" } else { "no" }).unwrap();
            }
        }
        for (by, verified) in &one.holds {
            let times: Vec<String> = verified.times.iter().map(ToString::to_string).collect();
            let when =
                if times.is_empty() { String::new() } else { format!(", signed {}", times.join(", ")) };
            writeln!(text, "  holds    by {by}{when}").unwrap();
        }
        for (by, rejection) in &one.fails {
            writeln!(text, "  fails    by {by}: {}", printable(&rejection.to_string(), 300)).unwrap();
        }
        if one.unverified.is_ok() && one.holds.is_empty() && one.fails.is_empty() {
            text.push_str("  unknown  no key was given to check it by: --key FILE\n");
        }
    }
    if scans.is_empty() && args.asks_for_scans() {
        text.push_str("\nscanned    by nobody: there is no verdict\n");
    }
    for scan in *scans {
        text.push_str(&scans::text(scan, digest, *now));
    }
    text
}

fn document(args: &Args, known: &Known<'_>) -> Value {
    let Known { digest, manifest, shown, scans, .. } = known;
    let claim = |claim: &Result<Claim, Rejection>| match claim {
        Ok(Claim::Image { annotations, identity }) => {
            json!({"kind": "signature", "annotations": annotations, "dockerReference": identity})
        }
        Ok(Claim::Attestation { predicate_type, statement }) => {
            json!({"kind": "attestation", "predicateType": predicate_type, "predicate": statement["predicate"]})
        }
        Err(rejection) => json!({"kind": "none", "problem": rejection.to_string()}),
    };
    let platforms: Vec<Value> = manifest
        .platforms
        .iter()
        .map(|platform| json!({"platform": platform.name, "digest": platform.digest}))
        .collect();
    let beside: Vec<Value> = shown
        .iter()
        .map(|one| {
            let mut value = match &one.unverified {
                Ok(unverified) => json!({
                    "format": unverified.format.as_str(),
                    "signer": unverified.signer.as_ref().map(signer_document),
                    "logged": unverified.logged,
                    "claim": claim(&unverified.claim),
                }),
                Err(rejection) => json!({"problem": rejection.to_string()}),
            };
            value["place"] = json!(one.place);
            value["holds"] = one
                .holds
                .iter()
                .map(|(by, verified)| {
                    let times: Vec<String> = verified.times.iter().map(ToString::to_string).collect();
                    json!({"by": by, "signer": signer_document(&verified.signer), "logged": verified.logged, "times": times})
                })
                .collect();
            let fails = one.fails.iter();
            value["fails"] = fails.map(|(by, why)| json!({"by": by, "problem": why.to_string()})).collect();
            value
        })
        .collect();
    let mut document = json!({
        "image": args.image.to_string(),
        "digest": digest,
        "mediaType": manifest.media_type,
        "platforms": platforms,
        "beside": beside,
    });
    if !scans.is_empty() || args.asks_for_scans() {
        document["scans"] = scans.iter().map(scans::document).collect();
    }
    document
}

fn signer_document(signer: &Signer) -> Value {
    match signer {
        Signer::Identity { subject, issuer } => json!({"subject": subject, "issuer": issuer}),
        Signer::Key(fingerprint) => json!({"keyFingerprint": fingerprint.to_string()}),
    }
}
