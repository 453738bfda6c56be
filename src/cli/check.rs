use std::{
    collections::HashMap,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    ports::{HeldPolicies, StatedNamespaces, SystemClock, Unobserved},
    scans::hold_scans,
    settings::{Origin, Settings, Surroundings},
};
use crate::{
    cluster::NoPullSecrets,
    decision::{Decision, ImageDecision, Refusal, denial, printable, warnings},
    files::{self, Document, Filed, FiledRoot, Place},
    policy::PolicySet,
    review::{
        ReviewedObject, Reviewer, Stage,
        documents::{DocumentReview, review_trust_root},
        ports::Labels,
    },
    trust::RootCheck,
    verdicts::VerdictIndex,
    workload::{self, Patch, Pin, Workload, WorkloadKind},
};

/// How long one object may take, registries included.
const TIME: Duration = Duration::from_secs(30);
/// How many objects are judged at a time.
const AT_ONCE: usize = 16;
/// The label that the API server gives every namespace (`LabelMetadataName`).
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Judge manifests or images by policies, as the webhook would.
///
/// Exits with 0 if all would be admitted, 1 if something would be denied, and 2 if something could not
/// be asked: a bad flag, an unreadable file, a policy that does not compile.
///
/// Objects that run no images are passed over. Namespaces among the manifests lend their labels to the
/// objects in them. Pull secrets are not looked up: registry credentials come from the settings file.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub struct Args {
    /// Policies: a file or a directory of YAML or JSON, with the ImageTrustRoots, Secrets and ConfigMaps that
    /// they name. May be given several times.
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// What scanners have said: a file or a directory of ImageScanVerdicts, as `tidewaiter verdict import` writes them,
    /// and of VulnerabilitySources. They may stand among the policies too. May be given several times.
    #[arg(long, value_name = "PATH")]
    verdicts: Vec<PathBuf>,
    /// The settings file that the webhook runs with.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The namespace of objects that do not say theirs.
    #[arg(long, short = 'n', value_name = "NS", default_value = "default")]
    namespace: String,
    /// Labels that every namespace is taken to have.
    #[arg(long, value_name = "K=V", value_delimiter = ',', value_parser = label)]
    namespace_labels: Vec<(String, String)>,
    /// How to answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// Manifests: a file, a directory, or - for standard input. May be given several times.
    #[arg(long = "filename", short, value_name = "FILE", group = "what")]
    files: Vec<PathBuf>,
    /// Images, each judged as if a Pod in the namespace ran it.
    #[arg(value_name = "IMAGE", group = "what")]
    images: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  tidewaiter check --policies policies/ -f manifests/
  helm template . | tidewaiter check --policies policies/ -f - -o json
  tidewaiter check --policies policies/ registry.example.com/team/app:1.4";

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document: {"decisions": […]}.
    Json,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wanted KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// One thing to judge.
struct Target {
    source: String,
    kind: WorkloadKind,
    namespace: String,
    /// The object's name, or its `generateName` with a star behind; empty where it has neither.
    name: String,
    json: String,
}

/// What would become of it.
#[derive(Serialize)]
struct Outcome {
    source: String,
    kind: &'static str,
    namespace: String,
    name: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    warnings: Vec<String>,
    patch: Patch,
    images: Vec<Value>,
}

/// All that was given, sorted.
#[derive(Default)]
struct Targets {
    targets: Vec<Target>,
    namespaces: HashMap<String, Labels>,
    passed_over: usize,
    troubles: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(args.config.as_deref())?;
    let Read { policies: set, filed, verdicts } = read_policies(&args.policies, &args.verdicts)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let trust = settings.trust(Origin::Files, Arc::new(Unobserved))?;
    trust.filed(&set, filed.roots.into_iter().map(|filed| filed.root).collect(), filed.objects);
    runtime.block_on(trust.settle());
    for trouble in trust.troubles() {
        writeln!(io::stderr(), "warning: {trouble}: whatever needs it fails")?;
    }
    let policies = HeldPolicies::default();
    policies.hold(set);

    let mut found = Targets::default();
    found.add_files(&args);
    found.add_images(&args);
    let labels = args.namespace_labels.into_iter().collect();
    let namespaces = StatedNamespaces::new(found.namespaces, labels, NAME_LABEL);
    let surroundings = Surroundings {
        policies: Arc::new(policies),
        namespaces: Arc::new(namespaces),
        pull_secrets: Arc::new(NoPullSecrets),
        clock: Arc::new(SystemClock),
        trust,
        verdicts,
    };
    let reviewer = settings.reviewer(surroundings, Arc::new(Unobserved), runtime.handle())?;

    let outcomes = runtime.block_on(judge(&reviewer, &found.targets));
    match args.output {
        Output::Text => text(&outcomes)?,
        Output::Json => {
            let mut line = serde_json::to_vec(&json!({ "decisions": outcomes }))?;
            line.push(b'\n');
            super::print(&line)?;
        }
    }
    let mut stderr = io::stderr().lock();
    if found.passed_over > 0 {
        writeln!(stderr, "passed over {} objects that run no images", found.passed_over)?;
    }
    for trouble in &found.troubles {
        writeln!(stderr, "error: {trouble}")?;
    }
    Ok(match (found.troubles.is_empty(), outcomes.iter().all(|outcome| outcome.allowed)) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// What `--policies` holds.
struct Read {
    policies: PolicySet,
    filed: Filed,
    verdicts: Arc<VerdictIndex>,
}

/// The policies of `paths`, and what scanners have said there and in `scans`. A policy that does not compile and a verdict
/// that cannot be read are errors here: this is where their author looks.
fn read_policies(paths: &[PathBuf], scans: &[PathBuf]) -> anyhow::Result<Read> {
    let mut stderr = io::stderr().lock();
    if paths.is_empty() {
        writeln!(stderr, "warning: no --policies: no policy is about any image")?;
    }
    let mut filed = files::read_policies_and_scans(paths, scans)?;
    let mut broken = Vec::new();
    for FiledRoot { place, root } in &filed.roots {
        if let DocumentReview::Refused(error) = review_trust_root(root, &RootCheck) {
            broken.push(format!("{place}: ImageTrustRoot/{}: {error}", root.name));
        }
    }
    for filed in &filed.policies {
        let id = filed.policy.id();
        for warning in &filed.warnings {
            writeln!(stderr, "warning: {}: {id}: {warning}", filed.place)?;
        }
        if let Some(error) = filed.policy.compile_error() {
            broken.push(format!("{}: {id}: {error}", filed.place));
        }
    }
    let verdicts = VerdictIndex::fixed(Arc::new(Unobserved));
    for trouble in hold_scans(&verdicts, &mut filed) {
        broken.push(trouble);
    }
    anyhow::ensure!(broken.is_empty(), "{}", broken.join("\nerror: "));
    let policies = PolicySet::new(filed.policies.iter().map(|filed| filed.policy.clone()));
    Ok(Read { policies, filed, verdicts })
}

impl Targets {
    fn add_files(&mut self, args: &Args) {
        for document in args.files.iter().flat_map(|path| files::read_each(path)) {
            let added = document.map_err(Into::into).and_then(|document| self.add(document, &args.namespace));
            if let Err(trouble) = added {
                self.troubles.push(format!("{trouble:#}"));
            }
        }
    }

    fn add_images(&mut self, args: &Args) {
        for image in &args.images {
            let pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "name": "image" },
                "spec": { "containers": [{ "name": "image", "image": image }] },
            });
            self.targets.push(Target {
                source: image.clone(),
                kind: WorkloadKind::Pod,
                namespace: args.namespace.clone(),
                name: "image".to_owned(),
                json: pod.to_string(),
            });
        }
    }

    fn add(&mut self, Document { place, value }: Document, namespace: &str) -> anyhow::Result<()> {
        let field = |name: &str| {
            let text = value[name].as_str().filter(|text| !text.is_empty());
            text.with_context(|| {
                format!("{place}: {name} is missing or no text; is this a Kubernetes manifest?")
            })
        };
        let (api_version, kind) = (field("apiVersion")?, field("kind")?);
        let Some(workload) = WorkloadKind::of_manifest(api_version, kind) else {
            let known = WorkloadKind::ALL.into_iter().find(|known| known.name() == kind);
            if let Some(known) = known {
                return Err(wrong_version(&place, api_version, known));
            }
            return self.pass_over(&place, api_version, kind, &value);
        };
        if api_version != written_version(workload) {
            return Err(wrong_version(&place, api_version, workload));
        }
        let metadata = |name: &str| value["metadata"][name].as_str().filter(|text| !text.is_empty());
        let generated = || metadata("generateName").map(|start| format!("{start}*"));
        self.targets.push(Target {
            source: place.to_string(),
            kind: workload,
            namespace: metadata("namespace").unwrap_or(namespace).to_owned(),
            name: metadata("name").map(str::to_owned).or_else(generated).unwrap_or_default(),
            json: value.to_string(),
        });
        Ok(())
    }

    fn pass_over(
        &mut self,
        place: &Place,
        api_version: &str,
        kind: &str,
        value: &Value,
    ) -> anyhow::Result<()> {
        if (api_version, kind) == ("v1", "Namespace")
            && let Some(name) = value["metadata"]["name"].as_str()
        {
            // Labels that are none would otherwise be no labels, and a policy might pass the namespace over.
            let labels: Option<Labels> = serde_json::from_value(value["metadata"]["labels"].clone())
                .with_context(|| format!("{place}: metadata.labels is no map of texts"))?;
            self.namespaces.insert(name.to_owned(), labels.unwrap_or_default());
        }
        self.passed_over += 1;
        Ok(())
    }
}

/// The one version in which the API server has served a kind since Kubernetes 1.25.
fn written_version(kind: WorkloadKind) -> String {
    match kind.group() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    }
}

fn wrong_version(place: &Place, found: &str, kind: WorkloadKind) -> anyhow::Error {
    let (found, wanted) = (printable(found, 100), written_version(kind));
    anyhow::anyhow!("{place}: apiVersion \"{found}\" has no kind {kind}; write apiVersion: {wanted}")
}

async fn judge(reviewer: &Reviewer, targets: &[Target]) -> Vec<Outcome> {
    let progress = io::stderr().is_terminal() && targets.len() > 1;
    let mut outcomes = Vec::with_capacity(targets.len());
    let mut judged = stream::iter(targets.iter().map(|target| judge_one(reviewer, target))).buffered(AT_ONCE);
    while let Some(outcome) = judged.next().await {
        outcomes.push(outcome);
        if progress {
            let end = if outcomes.len() == targets.len() { "\r\x1b[K" } else { "" };
            // Where standard error is closed there is nobody to tell.
            let _ = write!(io::stderr(), "\rjudged {} of {}{end}", outcomes.len(), targets.len());
        }
    }
    outcomes
}

async fn judge_one(reviewer: &Reviewer, target: &Target) -> Outcome {
    let read = workload::Document::from_json(&target.json).map_err(workload::ExtractError::from);
    let workload = match read.and_then(|document| Workload::extract(target.kind, document, None)) {
        Ok(workload) => workload,
        Err(error) => {
            let message = format!("{}: {error}", error.reason());
            return target.outcome(&Decision::default(), Some(message), Patch::default());
        }
    };
    let stage = if target.kind.is_pod() { Stage::Mutate } else { Stage::Validate };
    let object = ReviewedObject::new(&workload);
    let question = object.question(stage, &target.namespace);
    let decision = reviewer.review(&question, Instant::now() + TIME).await;
    if decision.allowed() {
        let pins = reviewer.pins(&question, &decision).into_iter();
        let patch = Patch::pinning(pins.map(|(at, digest)| {
            let slot = question.images[at];
            Pin { pointer: slot.pointer, image: slot.image, digest }
        }));
        return target.outcome(&decision, None, patch);
    }
    let (kind, namespace, name) = (target.kind.name(), &*target.namespace, &*target.name);
    let message = denial(&decision, Refusal { kind, namespace, name, decision_id: "check" });
    target.outcome(&decision, Some(message), Patch::default())
}

impl Target {
    fn outcome(&self, decision: &Decision, message: Option<String>, patch: Patch) -> Outcome {
        Outcome {
            source: self.source.clone(),
            kind: self.kind.name(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            allowed: message.is_none(),
            message,
            warnings: warnings(decision),
            patch,
            images: decision.images.iter().map(image).collect(),
        }
    }
}

fn image(image: &ImageDecision) -> Value {
    let results = image.results.iter().map(|result| {
        let finding = result.verdict.finding();
        json!({
            "policy": result.policy.as_ref().map(ToString::to_string),
            "check": result.check.as_str(),
            "verdict": result.verdict.as_str(),
            "action": result.action.as_str(),
            "reason": finding.map(|finding| finding.reason.as_str()),
            "message": finding.map(|finding| {
                format!("found {}; wanted {}; {}", finding.found, finding.wanted, finding.remedy)
            }),
        })
    });
    let mut value = json!({
        "pointer": image.pointer,
        "image": image.image,
        "digest": image.digest.as_ref().map(ToString::to_string),
        "results": results.collect::<Vec<_>>(),
    });
    if let Some(reference) = &image.reference {
        value["reference"] = reference.to_string().into();
    }
    if let Some(detail) = &image.detail {
        value["detail"] = detail.clone().into();
    }
    value
}

fn text(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut text = String::new();
    for outcome in outcomes {
        let Outcome { source, kind, namespace, name, .. } = outcome;
        let verdict = if outcome.allowed { "admitted" } else { "DENIED" };
        text.push_str(&format!("{verdict}  {kind} {namespace}/{name}  ({source})\n"));
        for line in outcome.message.iter().flat_map(|message| message.lines()) {
            text.push_str(&format!("    {line}\n"));
        }
        for warning in &outcome.warnings {
            text.push_str(&format!("    warning: {warning}\n"));
        }
        for image in &outcome.images {
            if let (true, Some(detail)) = (!outcome.allowed, image["detail"].as_str()) {
                text.push_str(&format!("    detail: {}: {}\n", image["image"], printable(detail, 300)));
            }
        }
        for (path, value) in outcome.patch.changes() {
            text.push_str(&format!("    pinned {path}: {value}\n"));
        }
    }
    let denied = outcomes.iter().filter(|outcome| !outcome.allowed).count();
    text.push_str(&format!(
        "{} judged: {} admitted, {denied} denied\n",
        outcomes.len(),
        outcomes.len() - denied
    ));
    super::print(text.as_bytes())
}
