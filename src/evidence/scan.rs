use std::{fmt, str::FromStr, sync::Arc};

use jiff::{Timestamp, civil::Date};

use super::{RegistryError, Vulnerabilities, VulnerabilityRef};
use crate::image::Digest;

/// How bad a vulnerability is. Ordered: [`Critical`](Self::Critical) is greatest.
///
/// A severity that nobody has stated is no case of its own but the absence of one: what it counts as is
/// for a policy to say.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// CVSS v3 0.
    Negligible,
    /// CVSS v3 0.1 to 3.9.
    Low,
    /// CVSS v3 4.0 to 6.9.
    Medium,
    /// CVSS v3 7.0 to 8.9.
    High,
    /// CVSS v3 9.0 to 10.
    Critical,
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Negligible];

    /// The name in policies, verdicts and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negligible => "Negligible",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the maker of an image says about one vulnerability in it (VEX, "Vulnerability Exploitability
/// eXchange").
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VexStatus {
    /// The image is affected.
    Affected,
    /// The image contains the fix.
    Fixed,
    /// The vulnerability cannot be exploited in the image.
    NotAffected,
    /// Nobody knows yet.
    UnderInvestigation,
}

impl VexStatus {
    /// The name in verdicts and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Affected => "Affected",
            Self::Fixed => "Fixed",
            Self::NotAffected => "NotAffected",
            Self::UnderInvestigation => "UnderInvestigation",
        }
    }

    /// Whether a policy that honours VEX leaves the finding out.
    pub fn subtracts(self) -> bool {
        matches!(self, Self::Fixed | Self::NotAffected)
    }
}

/// A platform in the way `os/architecture[/variant]`, as in an index (OCI image-spec, "Image Index").
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Platform(Box<str>);

/// Why a text is not a platform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a platform is written os/architecture or os/architecture/variant, in lowercase, as linux/amd64")]
pub struct PlatformError;

impl Platform {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is said of this platform is said of `other`: `linux/arm64` speaks of `linux/arm64/v8` too,
    /// which is the only variant that there is.
    pub fn covers(&self, other: &Self) -> bool {
        let plain = |platform: &str| platform.strip_suffix("/v8").unwrap_or(platform).to_owned();
        match (self.0.starts_with("linux/arm64"), other.0.starts_with("linux/arm64")) {
            (true, true) => plain(&self.0) == plain(&other.0),
            _ => self == other,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let part = |part: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.len() <= 32 && part.chars().all(fits)
        };
        let parts: Vec<_> = text.split('/').collect();
        match matches!(parts.len(), 2 | 3) && parts.into_iter().all(part) {
            true => Ok(Self(text.into())),
            false => Err(PlatformError),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One vulnerability in one package of an image.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Vulnerability {
    /// By which the scanner calls it: `CVE-2021-44228`, `GHSA-…`, `RHSA-…`. Never empty.
    pub id: String,
    /// Other names of it, as far as the scanner says them.
    pub aliases: Vec<String>,
    /// How bad it is; none where nobody says, or in a word that we do not know.
    pub severity: Option<Severity>,
    /// Its CVSS base score in tenths, 0 to 100; none where nobody says.
    pub score: Option<u8>,
    /// The package's name.
    pub package: String,
    /// What kind of package: `deb`, `apk`, `npm`; empty where nobody says.
    pub package_type: String,
    /// The version that is there; empty where nobody says.
    pub installed: String,
    /// The version, or versions, that mend it: empty where there is one that nobody names. None where
    /// nobody says that there is a fix.
    pub fixed: Option<String>,
    /// When it was published.
    pub published: Option<Date>,
    /// When we first saw it in this image, for those that nobody says the day of publication of.
    pub first_seen: Option<Date>,
    /// What the image's maker says of it.
    pub vex: Option<VexStatus>,
}

impl Vulnerability {
    /// Whether a version that mends it exists.
    pub fn is_fixable(&self) -> bool {
        self.fixed.is_some()
    }

    /// Whether `id` is its name, or one of its other names.
    pub fn is_called(&self, id: &str) -> bool {
        self.id.eq_ignore_ascii_case(id) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(id))
    }
}

/// How many vulnerabilities of one severity a scan found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// All of them.
    pub found: u32,
    /// Those with a fix. Never more than all.
    pub fixable: u32,
}

/// How many vulnerabilities a scan found, whether or not all of them are listed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// By severity, in the order of [`Severity::ALL`].
    pub known: [Count; 5],
    /// Those whose severity nobody says.
    pub unknown: Count,
}

impl Counts {
    /// Of one severity; of those whose severity nobody says if none.
    pub fn of(&self, severity: Option<Severity>) -> Count {
        match severity.and_then(|severity| Severity::ALL.iter().position(|one| *one == severity)) {
            Some(at) => self.known[at],
            None => self.unknown,
        }
    }

    /// Counts one more.
    pub fn add<'a>(&mut self, vulnerability: impl Into<VulnerabilityRef<'a>>) {
        let vulnerability = vulnerability.into();
        let severity = vulnerability.severity;
        let count = match severity.and_then(|severity| Severity::ALL.iter().position(|one| *one == severity))
        {
            Some(at) => &mut self.known[at],
            None => &mut self.unknown,
        };
        count.found += 1;
        count.fixable += u32::from(vulnerability.is_fixable());
    }
}

/// What one source says of one digest, from an ImageScanVerdict or a signed attestation.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanVerdict {
    /// Which source says it: a VulnerabilitySource, an importer, or `attestation`.
    pub source: Box<str>,
    /// What was scanned: an image's manifest or its index.
    pub digest: Digest,
    /// Of which platforms of an index it speaks. Empty: of all that the digest stands for.
    pub platforms: Vec<Platform>,
    /// What was found; why nobody can read it otherwise. What cannot be read is never clean.
    pub content: Result<Scan, String>,
}

/// What a scan found, and how old it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// When the image was scanned.
    pub scanned_at: Timestamp,
    /// How old the scanner's database was; none where nobody says.
    pub database_at: Option<Timestamp>,
    /// The distribution, where its makers no longer publish advisories for it: what is not listed means little. None:
    /// they do, or nobody says.
    pub end_of_life: Option<Box<str>>,
    /// How many vulnerabilities were found. Where `vulnerabilities` lists fewer, the list was cut short, and
    /// what it leaves out is not known to be harmless.
    pub counts: Counts,
    /// What was found, the worst first.
    pub vulnerabilities: Vulnerabilities,
}

/// What is known of one image's scans.
#[derive(Clone, Debug, Default)]
pub enum ScanEvidence {
    /// Nobody asked: no matching policy wants to know, or another check refuses the image already.
    #[default]
    NotAsked,
    /// Nobody could look.
    Unseen(ScanError),
    /// This is all that is known.
    Seen {
        /// Each thing that must have been scanned: the image's digest, or the digest of each platform that the
        /// cluster runs. At least one.
        subjects: Vec<ScanSubject>,
        /// The names of the cluster's VulnerabilitySources, for policies that want to hear all of them.
        sources: Arc<[Box<str>]>,
    },
}

/// Why nobody could look for verdicts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScanError {
    /// The cluster's verdicts have not been listed, or not for so long that they may be out of date.
    #[error("the cluster's scan verdicts are not known: {0}")]
    Unlisted(String),
    /// The registry was asked which platforms the image has.
    #[error("the image's platforms are not known: {0}")]
    Platforms(RegistryError),
}

/// One thing that must have been scanned, and what was said of it.
#[derive(Clone, Debug)]
pub struct ScanSubject {
    /// Its digest.
    pub digest: Digest,
    /// Which platform of the image it is; none where it is the image as a whole.
    pub platform: Option<Platform>,
    /// What each source says of it. Empty: nobody has scanned it.
    pub verdicts: Vec<Arc<ScanVerdict>>,
    /// Whether somebody has been told to scan it.
    pub requested: bool,
}
