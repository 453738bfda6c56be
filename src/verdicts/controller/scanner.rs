use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::sync::OnceCell;

use super::{
    believed::{Believed, Disbelief},
    clair::{Clair, at_work},
    harbor::Harbor,
    http::AskError,
    operator,
    quay::Quay,
    scan_job::{manifest, report_bytes, report_in},
    schedule::{Ended, Scan},
    source::{Source, SourceKind, default_platform, format_of},
};
use crate::{
    api::v1alpha1::{ClairSource, HarborSource, QuaySource, ScanJobSource},
    cluster::{ClusterError, JobEnd, JobRunner, read_secret},
    image::Repository,
    reports::{self, Format, Report},
    review::ports::{Clock, ImageLayers, Layers},
};

/// How long a registry may take to say what an image's layers are.
const LAYERS: Duration = Duration::from_secs(30);

/// What a scanner works with.
pub(super) struct Surroundings {
    pub(super) client: Client,
    pub(super) namespace: Box<str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) layers: Arc<dyn Layers>,
}

/// A source that is asked for reports.
pub(super) struct Scanner {
    source: Arc<Source>,
    surroundings: Surroundings,
    clair: OnceCell<Clair>,
    harbor: OnceCell<Harbor>,
    quay: OnceCell<Quay>,
    swept: OnceCell<()>,
}

/// Why there is no report on an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    /// The server that was asked gives none.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is one, and it is not believed.
    #[error(transparent)]
    Disbelief(#[from] Disbelief),
    /// The API server could not be asked, or does not want what it was asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The scanner has failed.
    #[error("{0}")]
    Failed(String),
    /// The scanner has not come to an end in time.
    #[error("the scan has not ended in time: {0}")]
    TimedOut(String),
    /// The report is longer than is read.
    #[error(
        "the report is longer than {0} bytes: raise spec.scanJob.maxReportBytes, and the kubelet's containerLogMaxSize"
    )]
    TooLong(u32),
}

impl ScanError {
    /// The name in metrics and statuses.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Ask(error) => error.as_str(),
            Self::Disbelief(disbelief) => disbelief.as_str(),
            Self::Cluster(error) => operator::reason(error),
            Self::Failed(_) => "ScanFailed",
            Self::TimedOut(_) => "TimedOut",
            Self::TooLong(_) => "TooLong",
        }
    }

    /// What it means for the schedule.
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Ask(error) => match error.again() {
                Some(pause) => Ended::NotYet(pause),
                None if error.is_about_the_image() => Ended::Failed,
                None => Ended::Trouble,
            },
            Self::Cluster(_) => Ended::Trouble,
            Self::Disbelief(_) | Self::Failed(_) | Self::TimedOut(_) | Self::TooLong(_) => Ended::Failed,
        }
    }
}

impl Scanner {
    /// Asks nobody yet.
    pub(super) fn new(source: Arc<Source>, surroundings: Surroundings) -> Self {
        let (clair, harbor, quay) = Default::default();
        Self { source, surroundings, clair, harbor, quay, swept: OnceCell::new() }
    }

    /// Whose reports these are.
    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Has the image scanned.
    pub(super) async fn scan(&self, scan: &Scan) -> Result<Believed, ScanError> {
        match &self.source.kind {
            SourceKind::ScanJob(job) => self.run(job, scan).await,
            SourceKind::Clair(settings) => self.ask_clair(settings, scan).await,
            SourceKind::Harbor(settings) => self.ask_harbor(settings, scan).await,
            SourceKind::Quay(settings) => self.ask_quay(settings, scan).await,
            // The schedule asks none of these.
            SourceKind::Imported | SourceKind::TrivyOperator(_) => {
                Err(ScanError::Failed("nobody scans here when asked".to_owned()))
            }
        }
    }

    /// Asks Clair about the digest and, where it has not indexed that, about the image that the registry has for it,
    /// which it is given if it does not know that either.
    async fn ask_clair(&self, settings: &ClairSource, scan: &Scan) -> Result<Believed, ScanError> {
        let clock = &self.surroundings.clock;
        let (source, digest) = (&self.source, &scan.digest);
        let clair = self.clair.get_or_try_init(async || Clair::new(settings)).await?;
        let key = match &settings.psk_secret_ref {
            None => None,
            Some(secret) => Some(self.secret(&secret.name, &secret.key).await?),
        };
        let key = key.as_deref();
        if let Some(bytes) = clair.report(digest, key, clock.now()).await? {
            return Ok(Believed::of_manifest(source, only(Format::Clair, &bytes)?, digest, clock.now())?);
        }
        let image = self.image_of(scan).await?;
        let known = match image.manifest == *digest {
            true => None,
            false => clair.report(&image.manifest, key, clock.now()).await?,
        };
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                clair.index(&image, key, clock.now()).await?;
                clair.report(&image.manifest, key, clock.now()).await?.ok_or_else(at_work)?
            }
        };
        let report = only(Format::Clair, &bytes)?;
        Ok(match image.platform {
            None => Believed::of_manifest(source, report, digest, clock.now())?,
            Some(of) => Believed::of_platform(source, report, digest, (of, &image.manifest), clock.now())?,
        })
    }

    /// Asks Harbor, which speaks of an index as a whole.
    async fn ask_harbor(&self, settings: &HarborSource, scan: &Scan) -> Result<Believed, ScanError> {
        let harbor = self.harbor.get_or_try_init(async || Harbor::new(settings)).await?;
        let login = match &settings.credentials_secret_ref {
            None => None,
            Some(secret) => {
                let key = |key: &Option<String>, usual: &str| key.as_deref().unwrap_or(usual).to_owned();
                let name = self.text(&secret.name, &key(&secret.username_key, "username")).await?;
                Some((name, self.text(&secret.name, &key(&secret.password_key, "password")).await?))
            }
        };
        let place = Repository::from(&scan.image);
        let kept = harbor.report(&place, &scan.digest, login.as_ref()).await?;
        let (report, now) = (only(Format::Harbor, &kept.report)?, self.surroundings.clock.now());
        Ok(Believed::of_whole_index(&self.source, report, &scan.digest, &kept.children, now)?)
    }

    /// Asks Quay about the digest and, where that is an index, about the image that the registry has for it.
    async fn ask_quay(&self, settings: &QuaySource, scan: &Scan) -> Result<Believed, ScanError> {
        let quay = self.quay.get_or_try_init(async || Quay::new(settings)).await?;
        let token = match &settings.token_secret_ref {
            None => None,
            Some(secret) => Some(self.text(&secret.name, &secret.key).await?),
        };
        let (token, place, now) =
            (token.as_deref(), Repository::from(&scan.image), self.surroundings.clock.now());
        if let Some(bytes) = quay.report(&place, &scan.digest, token).await? {
            let report = only(Format::Quay, &bytes)?;
            return Ok(Believed::of_manifest(&self.source, report, &scan.digest, now)?);
        }
        let image = self.image_of(scan).await?;
        let unsupported = || AskError::Failed("Quay's scanner does not support the image".to_owned());
        let platform = image.platform.ok_or_else(unsupported)?;
        let bytes = quay.report(&place, &image.manifest, token).await?.ok_or_else(unsupported)?;
        let report = only(Format::Quay, &bytes)?;
        Ok(Believed::of_platform(&self.source, report, &scan.digest, (platform, &image.manifest), now)?)
    }

    /// What the registry has for the digest: that image or, where it is an index, the one for the source's platform.
    async fn image_of(&self, scan: &Scan) -> Result<ImageLayers, ScanError> {
        let platform = self.source.platform.clone().unwrap_or_else(default_platform);
        let (place, deadline) = (Repository::from(&scan.image), Instant::now() + LAYERS);
        let found = self.surroundings.layers.layers(&place, &scan.digest, &platform, deadline).await;
        let missing = || {
            let problem =
                format!("its index has no image for {platform}: set spec.platform to one that it has");
            AskError::NoReport(problem)
        };
        Ok(found.map_err(AskError::from)?.ok_or_else(missing)?)
    }

    /// A secret text, without the end of the line that it may have.
    async fn text(&self, name: &str, key: &str) -> Result<String, ScanError> {
        let text = String::from_utf8(self.secret(name, key).await?);
        let text =
            text.map_err(|_| AskError::Settings(format!("the key {key} in the Secret {name} is no text")))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// What the Secret `name` holds under `key`. Read each time, so that a new one acts at once.
    async fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>, ScanError> {
        let Surroundings { client, namespace, .. } = &self.surroundings;
        let found = read_secret(client, namespace, name, key).await?;
        Ok(found.ok_or_else(|| {
            AskError::Settings(format!("there is no key {key} in a Secret {name} in {namespace}"))
        })?)
    }

    async fn run(&self, job: &ScanJobSource, scan: &Scan) -> Result<Believed, ScanError> {
        let Surroundings { client, namespace, clock, .. } = &self.surroundings;
        let namespace = job.namespace.as_deref().unwrap_or(namespace);
        let runner = JobRunner::new(client.clone());
        let swept = self.swept.get_or_try_init(async || {
            let left = runner.sweep(namespace, &self.source.name).await?;
            if left > 0 {
                tracing::info!(
                    source.name = &*self.source.name,
                    left,
                    "Jobs of a former process are deleted"
                );
            }
            Ok::<_, ClusterError>(())
        });
        swept.await?;
        let limit = report_bytes(job);
        let manifest = manifest(&self.source, job, &scan.image, &scan.digest, namespace, rand::random());
        let printed = match runner.run(&manifest, limit).await? {
            JobEnd::Done(printed) => printed,
            JobEnd::Failed(why) => return Err(ScanError::Failed(why)),
            JobEnd::TimedOut(why) => return Err(ScanError::TimedOut(why)),
            JobEnd::TooLong => return Err(ScanError::TooLong(limit)),
        };
        let report = only(format_of(job), report_in(&printed).as_bytes())?;
        Ok(Believed::ordered(&self.source, report, &scan.digest, clock.now())?)
    }
}

/// The one report in `bytes`.
fn only(format: Format, bytes: &[u8]) -> Result<Report, ScanError> {
    let mut reports = reports::read(format, bytes).map_err(Disbelief::from)?;
    match (reports.pop(), reports.len()) {
        (Some(report), 0) => Ok(report),
        (_, more) => Err(ScanError::Failed(format!("it printed {} reports, and not one", more + 1))),
    }
}
