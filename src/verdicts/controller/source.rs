use jiff::SignedDuration;

use crate::{
    api::v1alpha1::{
        ClairSource, HarborSource, QuaySource, ReportFormat, ScanJobSource, TrivyOperatorSource,
        VulnerabilitySourceSpec,
    },
    evidence::Platform,
    image::{ImagePattern, ImageReference},
    reports::Format,
};

/// How old a verdict may become where nobody says.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// How old it may be allowed to become.
const AGES: [SignedDuration; 2] = [SignedDuration::from_hours(1), SignedDuration::from_hours(30 * 24)];
/// How many scans a source makes at once where nobody says.
const PARALLELISM: u8 = 2;
/// How often a scan that fails is tried again soon, where nobody says.
const RETRIES: u8 = 2;

/// A VulnerabilitySource that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name, and that of its verdicts' source.
    pub name: Box<str>,
    /// The identity of its object.
    pub uid: String,
    /// The generation of its object's spec.
    pub generation: i64,
    /// What it is.
    pub kind: SourceKind,
    /// Which platform its verdicts speak of. None: nobody says.
    pub platform: Option<Platform>,
    /// How old a verdict may become.
    pub max_age: SignedDuration,
    /// Whether nothing new comes from it.
    pub suspended: bool,
    /// Which images it is about; all if none.
    images: Option<Vec<ImagePattern>>,
}

/// What a source is.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// A Clair that is asked.
    Clair(ClairSource),
    /// A Harbor that is asked what its scanner has found.
    Harbor(HarborSource),
    /// Verdicts that somebody else writes.
    Imported,
    /// A Quay that is asked what its scanner has found.
    Quay(QuaySource),
    /// Jobs that scan.
    ScanJob(Box<ScanJobSource>),
    /// Reports of the Trivy operator.
    TrivyOperator(TrivyOperatorSource),
}

impl SourceKind {
    /// The name in statuses.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Clair(_) => "Clair",
            Self::Harbor(_) => "Harbor",
            Self::Imported => "Imported",
            Self::Quay(_) => "Quay",
            Self::ScanJob(_) => "ScanJob",
            Self::TrivyOperator(_) => "TrivyOperator",
        }
    }
}

impl Source {
    /// Reads `spec`. The error names the field, the value and the remedy.
    pub fn new(
        name: &str,
        uid: &str,
        generation: i64,
        spec: &VulnerabilitySourceSpec,
    ) -> Result<Self, String> {
        let kind = kind(spec)?;
        let pattern = |(at, text): (usize, &String)| {
            text.parse().map_err(|error| format!("spec.match.images[{at}]: {text:?}: {error}"))
        };
        let images = spec.images.as_ref().map(|of| of.images.iter().enumerate().map(pattern).collect());
        let platform = spec
            .platform
            .as_ref()
            .map(|text| text.parse().map_err(|error| format!("spec.platform: {text:?}: {error}")));
        Ok(Self {
            name: name.into(),
            uid: uid.to_owned(),
            generation,
            platform: platform.transpose()?.or_else(|| kind.default_platform()),
            kind,
            max_age: spec.max_age.as_deref().map_or(Ok(MAX_AGE), age)?,
            suspended: spec.suspend,
            images: images.transpose()?,
        })
    }

    /// Whether it is asked about `image`, or believed about it.
    pub fn is_about(&self, image: &ImageReference) -> bool {
        let registry = match &self.kind {
            SourceKind::Harbor(HarborSource { registry, .. })
            | SourceKind::Quay(QuaySource { registry, .. }) => Some(registry),
            _ => None,
        };
        registry.is_none_or(|registry| registry == image.host()) && self.has_among_its_images(image)
    }

    fn has_among_its_images(&self, image: &ImageReference) -> bool {
        self.images.as_ref().is_none_or(|images| images.iter().any(|pattern| pattern.matches(image)))
    }

    /// Whether it is about all images.
    pub fn is_about_all(&self) -> bool {
        self.images.is_none()
    }

    /// Whether it is asked about images, and may be asked now.
    pub fn scans(&self) -> bool {
        !self.suspended && !matches!(self.kind, SourceKind::Imported | SourceKind::TrivyOperator(_))
    }

    /// How many scans it makes at once.
    pub fn parallelism(&self) -> usize {
        match &self.kind {
            SourceKind::ScanJob(job) => job.parallelism.unwrap_or(PARALLELISM).into(),
            _ => PARALLELISM.into(),
        }
    }

    /// How often a scan that fails is tried again soon.
    pub fn retries(&self) -> u32 {
        match &self.kind {
            SourceKind::ScanJob(job) => job.retries.unwrap_or(RETRIES).into(),
            _ => RETRIES.into(),
        }
    }

    /// How soon an image is looked at again at the earliest, whatever date its verdict bears. Who cannot be told to scan
    /// says the same for long.
    pub fn apart(&self) -> SignedDuration {
        match self.kind {
            SourceKind::Harbor(_) => SignedDuration::from_hours(1),
            _ => SignedDuration::from_mins(10),
        }
    }
}

fn kind(spec: &VulnerabilitySourceSpec) -> Result<SourceKind, String> {
    let VulnerabilitySourceSpec { trivy_operator, scan_job, clair, harbor, quay, imported, .. } = spec;
    let kinds = [
        trivy_operator.clone().map(SourceKind::TrivyOperator),
        scan_job.clone().map(|job| SourceKind::ScanJob(Box::new(job))),
        clair.clone().map(SourceKind::Clair),
        harbor.clone().map(SourceKind::Harbor),
        quay.clone().map(SourceKind::Quay),
        imported.as_ref().map(|_| SourceKind::Imported),
    ];
    let mut set = kinds.into_iter().flatten();
    let (Some(kind), None) = (set.next(), set.next()) else {
        let wanted = "spec: set exactly one of trivyOperator, scanJob, clair, harbor, quay and imported";
        return Err(wanted.to_owned());
    };
    let registry = match &kind {
        SourceKind::Harbor(harbor) => Some(("harbor", &harbor.registry)),
        SourceKind::Quay(quay) => Some(("quay", &quay.registry)),
        _ => None,
    };
    if let Some((kind, registry)) = registry {
        let host = format!("{registry}/a/b").parse::<ImageReference>();
        if !host.is_ok_and(|image| image.host() == registry) {
            return Err(format!(
                "spec.{kind}.registry: {registry:?}: wanted host[:port] as in an image's canonical name"
            ));
        }
    }
    Ok(kind)
}

impl SourceKind {
    fn default_platform(&self) -> Option<Platform> {
        matches!(self, Self::ScanJob(_)).then(default_platform)
    }
}

/// Which platform of an index is scanned where nobody says.
pub fn default_platform() -> Platform {
    // OK because the text is a platform
    "linux/amd64".parse().unwrap()
}

/// The format of what a scan Job prints.
pub fn format_of(job: &ScanJobSource) -> Format {
    match job.format {
        Some(ReportFormat::Grype) => Format::Grype,
        Some(ReportFormat::Trivy) | None => Format::Trivy,
    }
}

fn age(text: &str) -> Result<SignedDuration, String> {
    let wanted = || format!("spec.maxAge: {text:?}: wanted 1h to 30d, as 90m, 24h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wanted)?;
    let number: i64 = number.parse().map_err(|_| wanted())?;
    let minutes = match unit {
        "m" => Some(number),
        "h" => number.checked_mul(60),
        "d" => number.checked_mul(24 * 60),
        _ => None,
    };
    let age = minutes.and_then(SignedDuration::try_from_mins).ok_or_else(wanted)?;
    (AGES[0] <= age && age <= AGES[1]).then_some(age).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(yaml: &str) -> Result<Source, String> {
        Source::new("s", "u", 1, &serde_saphyr::from_str(yaml).unwrap())
    }

    #[rstest]
    #[case("{imported: {}}", "Imported", false)]
    #[case("{clair: {url: 'https://clair'}}", "Clair", true)]
    #[case("{clair: {url: 'https://clair'}, suspend: true}", "Clair", false)]
    #[case("{scanJob: {trivy: {server: 'http://t'}}}", "ScanJob", true)]
    #[case("{harbor: {url: 'https://h', registry: h.example.com}}", "Harbor", true)]
    #[case("{quay: {url: 'https://q', registry: 'q.example.com:8443'}}", "Quay", true)]
    #[case("{trivyOperator: {allNamespaces: true}}", "TrivyOperator", false)]
    fn some_kinds_scan_when_they_are_asked(#[case] yaml: &str, #[case] kind: &str, #[case] scans: bool) {
        let source = read(yaml).unwrap();
        assert_eq!((source.kind.as_str(), source.scans()), (kind, scans));
    }

    #[rstest]
    #[case("{imported: {}, match: {images: ['a b']}}", "spec.match.images[0]: \"a b\": ")]
    #[case("{clair: {url: 'https://clair'}, maxAge: 59m}", "spec.maxAge: \"59m\": wanted 1h to 30d")]
    #[case("{clair: {url: 'https://clair'}, maxAge: 31d}", "spec.maxAge: \"31d\": wanted 1h to 30d")]
    #[case("{clair: {url: 'https://clair'}, maxAge: 999999999999999999d}", "wanted 1h to 30d")]
    #[case("{imported: {}, platform: a}", "spec.platform: \"a\": ")]
    #[case("{}", "spec: set exactly one of")]
    #[case("{imported: {}, quay: {url: 'https://q', registry: q.example.com}}", "spec: set exactly one of")]
    #[case("{harbor: {url: 'https://h', registry: harbor}}", "spec.harbor.registry: \"harbor\": wanted host")]
    #[case("{quay: {url: 'https://q', registry: index.docker.io}}", "spec.quay.registry: ")]
    fn what_cannot_work_is_named(#[case] yaml: &str, #[case] message: &str) {
        let error = read(yaml).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_source_is_about_what_its_patterns_name() {
        let one = read("{imported: {}, match: {images: ['registry.example.com/**']}}").unwrap();
        assert!(one.is_about(&"registry.example.com/a/b:1".parse().unwrap()));
        assert!(!one.is_about(&"nginx".parse().unwrap()) && !one.is_about_all());
        assert!(read("{imported: {}}").unwrap().is_about(&"nginx".parse().unwrap()));
    }

    #[rstest]
    #[case("{harbor: {url: 'https://h', registry: registry.example.com}}")]
    #[case("{quay: {url: 'https://q', registry: registry.example.com}}")]
    #[case(
        "{quay: {url: 'https://q', registry: registry.example.com}, match: {images: ['registry.example.com/*/a', 'other.example.com/**']}}"
    )]
    fn a_registry_is_asked_about_its_own_images_only(#[case] yaml: &str) {
        let about = |image: &str| read(yaml).unwrap().is_about(&image.parse().unwrap());
        assert!(about("registry.example.com/team/a:1"));
        assert!(!about("registry.example.com:5000/team/a:1") && !about("other.example.com/team/a:1"));
        assert_eq!(about("registry.example.com/team/b:1"), !yaml.contains("match"));
    }

    #[rstest]
    #[case("90m", 90)]
    #[case("24h", 24 * 60)]
    #[case("30d", 30 * 24 * 60)]
    fn an_age_has_a_unit(#[case] text: &str, #[case] minutes: i64) {
        assert_eq!(age(text), Ok(SignedDuration::from_mins(minutes)));
    }

    #[test]
    fn scan_jobs_scan_one_platform_and_reports_speak_of_what_they_are_said_to() {
        let platform = |yaml| read(yaml).unwrap().platform.map(|platform| platform.to_string());
        assert_eq!(platform("{scanJob: {trivy: {server: 'http://t'}}}").as_deref(), Some("linux/amd64"));
        let arm = "{scanJob: {trivy: {server: 'http://t'}}, platform: linux/arm64}";
        assert_eq!(platform(arm).as_deref(), Some("linux/arm64"));
        assert_eq!(platform("{trivyOperator: {allNamespaces: true}}"), None);
    }
}
