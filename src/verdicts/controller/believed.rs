use jiff::{SignedDuration, Timestamp};

use super::{
    super::{Scanned, object_name, to_object},
    source::Source,
};
use crate::{
    api::v1alpha1::{ImageScanVerdict, ImageScanVerdictSpec, ScannedPlatform},
    evidence::Platform,
    image::Digest,
    reports::{Binding, Bound, ReadError, Report},
};

/// How far ahead of ours a clock may be.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// A report that a source is believed for, bound to its digest.
#[derive(Clone, Debug)]
pub struct Believed {
    source: Box<str>,
    report: Report,
    bound: Bound,
    scanned_at: Timestamp,
}

/// Why a report makes no verdict.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Disbelief {
    /// It is dated in the future: as a verdict it would stand in the way of every later one.
    #[error(
        "the report says that the image was scanned at {0}, which is yet to come: check the scanner's clock"
    )]
    FutureDated(Timestamp),
    /// It does not say when the image was scanned.
    #[error("the report does not say when the image was scanned")]
    Undated,
    /// It is about something else, about nothing, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Disbelief {
    /// The name in metrics and statuses.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::FutureDated(_) => "FutureDated",
            Self::Undated | Self::Read(ReadError::Undated) => "Undated",
            Self::Read(ReadError::Unbound) => "NoDigest",
            Self::Read(ReadError::OtherImage { .. }) => "OtherImage",
            Self::Read(_) => "Unreadable",
        }
    }
}

impl Believed {
    /// A report that somebody else has ordered: it must itself say what it is about and when that was scanned.
    pub fn found(source: &Source, report: Report, now: Timestamp) -> Result<Self, Disbelief> {
        let scanned_at = report.scanned_at.ok_or(Disbelief::Undated)?;
        Self::new(source, of_platform_of(source, report), None, scanned_at, now)
    }

    /// A report that we have ordered, on `digest`. What it does not say of itself is what was ordered; if it is
    /// about something else it is not believed. Where it bears no date, the image was scanned `now`.
    pub fn ordered(
        source: &Source,
        report: Report,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Self, Disbelief> {
        let scanned_at = report.scanned_at.unwrap_or(now);
        Self::new(source, of_platform_of(source, report), Some(digest), scanned_at, now)
    }

    /// The same where `digest` is known to be that of what was scanned as a whole, of whatever platform that is.
    pub fn of_manifest(
        source: &Source,
        report: Report,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Self, Disbelief> {
        let scanned_at = report.scanned_at.unwrap_or(now);
        Self::new(source, report, Some(digest), scanned_at, now)
    }

    /// The same of all that is in an index, of which these are the digests. The report may speak of them in place of the
    /// index, and need not name one in which nothing was found.
    pub fn of_whole_index(
        source: &Source,
        mut report: Report,
        index: &Digest,
        children: &[Digest],
        now: Timestamp,
    ) -> Result<Self, Disbelief> {
        report.subject.digests.retain(|digest| !children.contains(digest));
        Self::of_manifest(source, report, index, now)
    }

    /// The same of one platform of the index `index`, in which it has this digest, and which was what was ordered.
    pub fn of_platform(
        source: &Source,
        report: Report,
        index: &Digest,
        (platform, manifest): (Platform, &Digest),
        now: Timestamp,
    ) -> Result<Self, Disbelief> {
        let of = Self::of_manifest(source, report, manifest, now)?;
        let platforms = vec![(platform, Some(manifest.clone()))];
        let bound = Bound { digest: index.clone(), platforms, by: Binding::Platform };
        Ok(Self { bound, ..of })
    }

    fn new(
        source: &Source,
        report: Report,
        wanted: Option<&Digest>,
        scanned_at: Timestamp,
        now: Timestamp,
    ) -> Result<Self, Disbelief> {
        if scanned_at > now + CLOCKS {
            return Err(Disbelief::FutureDated(scanned_at));
        }
        let bound = report.bind(wanted, None)?;
        Ok(Self { source: source.name.clone(), report, bound, scanned_at: scanned_at.min(now) })
    }

    /// What it is about.
    pub fn digest(&self) -> &Digest {
        &self.bound.digest
    }

    /// The name of its verdict.
    pub fn name(&self) -> String {
        object_name(&self.bound.digest, &self.source)
    }

    /// Its verdict, by what was said `before`.
    pub fn verdict(&self, before: Option<&ImageScanVerdictSpec>) -> ImageScanVerdict {
        let platform = |(platform, digest): &(Platform, Option<Digest>)| ScannedPlatform {
            platform: platform.to_string(),
            digest: digest.as_ref().map(Digest::to_string),
        };
        let platforms: Vec<_> = self.bound.platforms.iter().map(platform).collect();
        to_object(
            &self.report,
            Scanned {
                digest: &self.bound.digest,
                platforms: &platforms,
                source: &self.source,
                scanned_at: self.scanned_at,
                previous: before,
            },
        )
    }
}

/// A report that speaks of the platform of its source, unless it says one itself.
fn of_platform_of(source: &Source, mut report: Report) -> Report {
    if report.subject.platform.is_none() {
        report.subject.platform = source.platform.clone();
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Subject;

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn source(yaml: &str) -> Source {
        Source::new("s", "u", 1, &serde_saphyr::from_str(yaml).unwrap()).unwrap()
    }

    fn operator() -> Source {
        source("{trivyOperator: {allNamespaces: true}}")
    }

    fn report(digests: &[&Digest], scanned_at: Option<Timestamp>) -> Report {
        let digests = digests.iter().map(|digest| (*digest).clone()).collect();
        let subject = Subject { digests, ..Subject::default() };
        Report { subject, scanner: "trivy".to_owned(), scanned_at, ..Report::default() }
    }

    #[test]
    fn a_report_that_was_found_must_say_what_and_when() {
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let found = |digests: &[&Digest], at| Believed::found(&operator(), report(digests, at), now());
        let believed = found(&[&one], Some(now())).unwrap();
        assert_eq!((believed.digest(), believed.name()), (&one, object_name(&one, "s")));
        let reason = |found: Result<Believed, Disbelief>| found.unwrap_err().as_str();
        assert_eq!(reason(found(&[&one], None)), "Undated");
        assert_eq!(reason(found(&[], Some(now()))), "NoDigest");
        assert_eq!(reason(found(&[&one, &other], Some(now()))), "Unreadable");
        assert_eq!(reason(found(&[&one], Some(now() + CLOCKS * 2))), "FutureDated");
        assert_eq!(found(&[&one], Some(now() + CLOCKS)).unwrap().scanned_at, now());
    }

    #[test]
    fn a_report_that_was_ordered_is_about_what_was_ordered_or_about_nothing() {
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let jobs = source("{scanJob: {trivy: {server: 'http://t'}}, platform: linux/arm64}");
        let ordered = |digests: &[&Digest]| Believed::ordered(&jobs, report(digests, None), &one, now());
        for digests in [&[][..], &[&one], &[&one, &other]] {
            let spec = ordered(digests).unwrap().verdict(None).spec;
            assert_eq!(spec.digest, one.as_str());
            assert_eq!(spec.scanned_at.0, now());
            assert_eq!(spec.platforms.unwrap()[0].platform, "linux/arm64", "as it was ordered");
        }
        assert_eq!(ordered(&[&other]).unwrap_err().as_str(), "OtherImage");
    }

    #[test]
    fn the_platform_that_the_report_names_counts() {
        let one = Digest::sha256(b"1");
        let mut report = report(&[&one], None);
        report.subject.platform = Some("linux/s390x".parse().unwrap());
        let jobs = source("{scanJob: {trivy: {server: 'http://t'}}}");
        let spec = Believed::ordered(&jobs, report, &one, now()).unwrap().verdict(None).spec;
        assert_eq!(spec.platforms.unwrap()[0].platform, "linux/s390x");
    }
}
