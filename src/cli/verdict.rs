use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::v1alpha1::{ImageScanVerdict, ImageScanVerdictSpec, ScannedPlatform},
    evidence::Platform,
    files,
    image::{Digest, Repository},
    reports::{self, Bound, Format, LIMITS, ReadError, Report, VexDocument},
    verdicts::{Scanned, to_object},
};

/// How far ahead of ours a scanner's clock may be.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);
/// The source that no object speaks for.
const ATTESTATION: &str = "attestation";
/// The longest name of a source.
const SOURCE_LIMIT: usize = 63;

/// Turn the reports of scanners into the verdicts that the webhook looks into.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Import(Box<Import>),
}

/// Print ImageScanVerdicts for the reports of scanners, ready for kubectl apply --server-side -f -.
///
/// Every report is tied to the digest of what was scanned: the one that it names, or --digest. A report that names
/// another digest is refused, and so is one in which not everything was looked at. Of a file with several
/// reports all are printed or none; what is wrong with one file does not hold back the others.
///
/// The verdict stands for what the report says. Whoever may apply it is believed: give that right to none but
/// the pipeline that scans.
///
/// A vulnerability that nobody says the day of publication of is granted no grace by a rule with olderThanDays, unless
/// --previous says when it was first seen.
///
/// Exits with 0 if all reports were printed, 1 if one is refused, and 2 if one cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Import {
    /// In which format the reports are: auto tells it by their shape.
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format_parser())]
    format: Format,
    /// What was scanned, for reports that do not name it. Those that do must name this one.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// Who says it, for sources in policies: lowercase letters, digits and -. Absent: the scanner's name.
    #[arg(long, value_name = "NAME", value_parser = source)]
    source: Option<String>,
    /// Which platform of an index was scanned, for reports that do not say it: linux/amd64.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// When the image was scanned, for reports that do not say it: 2026-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    scanned_at: Option<Timestamp>,
    /// A VEX document by somebody whom you believe: OpenVEX, CSAF or CycloneDX. It counts for images that it names
    /// by digest. May be given several times.
    #[arg(long, value_name = "FILE")]
    vex: Vec<PathBuf>,
    /// Where the image lies, for statements in VEX documents that name a repository.
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<Repository>,
    /// The verdicts that stand there now, as kubectl get -o yaml prints them: they know since when a vulnerability has
    /// been in the image. An empty list where there are none yet.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// How to print them.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    /// Reports: files, or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  trivy image --format json IMAGE@sha256:… | tidewaiter verdict import - | kubectl apply --server-side -f -
  grype -o json IMAGE@sha256:… | tidewaiter verdict import --source nightly - | kubectl apply --server-side -f -
  snyk container test --json IMAGE | tidewaiter verdict import --digest sha256:… --scanned-at 2026-01-01T00:00:00Z -

  Keep the days on which vulnerabilities were first seen:
  kubectl get imagescanverdicts -o json > before.json
  tidewaiter verdict import --previous before.json reports/*.json | kubectl apply --server-side -f -";

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Output {
    /// One YAML document for each.
    #[default]
    Yaml,
    /// One line of JSON for each.
    Json,
}

fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    use clap::builder::TypedValueParser as _;
    let names = Format::ALL.map(Format::as_str);
    clap::builder::PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}

fn source(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text == ATTESTATION {
        return Err("attestation is the source of what is signed beside images: use another name".to_owned());
    }
    match !text.is_empty()
        && text.len() <= SOURCE_LIMIT
        && text.chars().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "use lowercase letters, digits and - between them, {SOURCE_LIMIT} at most, as in nightly-trivy"
        )),
    }
}

/// Why a file makes no verdicts.
#[derive(Debug)]
enum Trouble {
    /// It was read, and says nothing that may be believed of the image.
    Refused(String),
    /// Nobody can read it.
    Unreadable(String),
}

impl Trouble {
    /// A report that is read only in part, or is about something else, is refused; what is no report is unreadable.
    fn of(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::Foreign { .. } | ReadError::Malformed { .. } | ReadError::TooLarge { .. } => {
                Self::Unreadable(text)
            }
            _ => Self::Refused(text),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Import(import) = args.command;
    let vex = import.vex.iter().map(|path| read_vex(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let previous = import.previous.as_deref().map(read_previous).transpose()?;
    let importer = Importer { import: &import, vex, previous, now: Timestamp::now() };

    // By the object's name: in which file it stands.
    let mut printed: BTreeMap<String, &Path> = BTreeMap::new();
    let (mut refused, mut unreadable) = (false, false);
    for path in &import.files {
        let trouble = match importer.verdicts(path, &printed) {
            Ok(verdicts) => {
                for verdict in &verdicts {
                    super::print(&import.output.write(verdict)?)?;
                }
                printed.extend(
                    verdicts.into_iter().filter_map(|one| Some((one.metadata.name?, path.as_path()))),
                );
                continue;
            }
            Err(trouble) => trouble,
        };
        writeln!(io::stderr(), "{}: {trouble}", path.display())?;
        match trouble {
            Trouble::Refused(_) => refused = true,
            Trouble::Unreadable(_) => unreadable = true,
        }
    }
    Ok(match (unreadable, refused) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::SUCCESS,
    })
}

impl Output {
    fn write(self, verdict: &ImageScanVerdict) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Yaml => format!("---\n{}", serde_saphyr::to_string(verdict)?).into_bytes(),
            Self::Json => format!("{}\n", serde_json::to_string(verdict)?).into_bytes(),
        })
    }
}

struct Importer<'a> {
    import: &'a Import,
    vex: Vec<VexDocument>,
    /// What stands there now, by name; none where nobody has said.
    previous: Option<HashMap<String, ImageScanVerdictSpec>>,
    now: Timestamp,
}

impl Importer<'_> {
    /// The verdicts of one file, all or none.
    fn verdicts(
        &self,
        path: &Path,
        printed: &BTreeMap<String, &Path>,
    ) -> Result<Vec<ImageScanVerdict>, Trouble> {
        let bytes = read(path).map_err(|error| Trouble::Unreadable(error.to_string()))?;
        let reports = reports::read(self.import.format, &bytes).map_err(Trouble::of)?;
        let several = reports.len() > 1;
        let mut verdicts: Vec<ImageScanVerdict> = Vec::with_capacity(reports.len());
        for (at, report) in reports.into_iter().enumerate() {
            let refused = |why: String| match several {
                true => Trouble::Refused(format!("report {} of the file: {why}", at + 1)),
                false => Trouble::Refused(why),
            };
            let verdict = self.verdict(report).map_err(refused)?;
            let name = verdict.metadata.name.as_deref().unwrap_or_default();
            let before = printed.get(name).copied();
            let here = verdicts.iter().any(|one| one.metadata.name.as_deref() == Some(name)).then_some(path);
            if let Some(other) = before.or(here) {
                return Err(refused(format!(
                    "{} speaks of {} for the source {} already, and one would overwrite the other: give each a --source, or scan each platform by its own digest",
                    other.display(),
                    verdict.spec.digest,
                    verdict.spec.source,
                )));
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    fn verdict(&self, mut report: Report) -> Result<ImageScanVerdict, String> {
        let Import { digest, platform, scanned_at, .. } = self.import;
        match (&report.subject.platform, platform) {
            (Some(said), Some(wanted)) if said != wanted => {
                return Err(format!("the report is about the platform {said}, and not about {wanted}"));
            }
            (None, Some(wanted)) => report.subject.platform = Some(wanted.clone()),
            _ => {}
        }
        let bound = report.bind(digest.as_ref(), None).map_err(|error| error.to_string())?;
        let scanned_at = report.scanned_at.or(*scanned_at).ok_or_else(|| ReadError::Undated.to_string())?;
        if scanned_at > self.now + CLOCKS {
            return Err(format!("{scanned_at} is yet to come: no image was scanned then"));
        }
        let repository = self.import.repository.as_ref().map(ToString::to_string);
        for document in &self.vex {
            document.apply(&mut report, &bound.digest, repository.as_deref());
        }
        let source = match &self.import.source {
            Some(source) => source.clone(),
            None => source(&report.scanner).map_err(|_| {
                format!(
                    "the scanner is called {:?}, which is no name of a source: give one with --source",
                    report.scanner
                )
            })?,
        };
        Ok(self.object(&report, &bound, &source, scanned_at))
    }

    fn object(
        &self,
        report: &Report,
        bound: &Bound,
        source: &str,
        scanned_at: Timestamp,
    ) -> ImageScanVerdict {
        let platforms: Vec<_> = bound.platforms.iter().map(scanned_platform).collect();
        let name = crate::verdicts::object_name(&bound.digest, source);
        let previous = self.previous.as_ref().and_then(|previous| previous.get(&name));
        let scanned = Scanned { digest: &bound.digest, platforms: &platforms, source, scanned_at, previous };
        let mut object = to_object(report, scanned);
        if self.previous.is_none() {
            // Nobody knows since when: today would be a new grace with every import.
            let findings = object.spec.packages.iter_mut().flat_map(|package| &mut package.findings);
            findings.for_each(|finding| finding.seen = None);
        }
        object
    }
}

fn scanned_platform((platform, digest): &(Platform, Option<Digest>)) -> ScannedPlatform {
    ScannedPlatform { platform: platform.to_string(), digest: digest.as_ref().map(ToString::to_string) }
}

/// One byte more than is read of a report, so that the reader says what is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = LIMITS.bytes as u64 + 1;
    match path.to_str() {
        Some("-") => io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
        _ => File::open(path)?.take(limit).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn read_vex(path: &Path) -> anyhow::Result<VexDocument> {
    let named = |error: &dyn fmt::Display| anyhow::anyhow!("{}: {error}", path.display());
    let bytes = read(path).map_err(|error| named(&error))?;
    reports::read_vex(&bytes).map_err(|error| named(&error))
}

fn read_previous(path: &Path) -> anyhow::Result<HashMap<String, ImageScanVerdictSpec>> {
    let mut previous = HashMap::new();
    for document in files::read(path)? {
        if document.value["kind"] != "ImageScanVerdict" {
            continue;
        }
        let verdict: ImageScanVerdict = serde_path_to_error::deserialize(document.value)
            .map_err(|error| anyhow::anyhow!("{}: {}: {}", document.place, error.path(), error.inner()))?;
        previous.extend(verdict.metadata.name.map(|name| (name, verdict.spec)));
    }
    Ok(previous)
}
