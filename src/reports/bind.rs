use super::{ReadError, Report};
use crate::{evidence::Platform, image::Digest};

/// What the caller knows of an image, from its registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownImage {
    /// The digest of its manifest, or of its index.
    pub digest: Digest,
    /// Of an index: every platform in it, and the digest of its manifest. Empty: it is no index.
    pub platforms: Vec<(Platform, Digest)>,
    /// The digest of the configuration that the manifest names. None: it is an index, or nobody has looked.
    pub config: Option<Digest>,
}

/// What a report speaks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bound {
    /// The digest: the one that was wanted or, where that is an index and the report names one of its platforms,
    /// that platform's.
    pub digest: Digest,
    /// Of which platforms it speaks, and their digests where they are known. Empty: of all that the digest stands
    /// for. Where nobody has said what the image is ([`KnownImage`]), this is the report's own word: the platform
    /// of a plain manifest says nothing more than the digest does, and a digest without a platform may still be
    /// that of an index.
    pub platforms: Vec<(Platform, Option<Digest>)>,
    /// What ties the report to the digest.
    pub by: Binding,
}

/// What ties a report to a digest, the strongest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The report names the digest.
    Named,
    /// The report names a platform of the index.
    Platform,
    /// The report names the configuration, which the manifest names.
    Config,
    /// The report names nothing: only the caller's word.
    Told,
}

impl Report {
    /// Ties the report to `wanted` or, without it, to the digest that `image` has or the report itself names.
    ///
    /// 1. A report that contradicts itself is about nothing.
    /// 2. Without a wanted digest the report must name exactly one.
    /// 3. A report that names digests must name the wanted one, or a platform of its index, or the index of which
    ///    the wanted one is the scanned platform, or by its configuration the image. It is about another image
    ///    otherwise. Docker with containerd gives the digest of a manifest where a configuration's is expected.
    /// 4. A configuration that is known not to be the image's makes it another image, whatever else is named.
    /// 5. A report that names nothing is bound by the caller's word.
    /// 6. The digest of an index does not say which platform was scanned: the report must say it
    ///    ([`Subject::platform`](super::Subject::platform), which a caller that knows may set), unless there is one only.
    /// 7. A report that was in a statement must fit as any other does, and the statement must be about the wanted
    ///    digest too, or about the platform that the report is bound to.
    ///
    /// `image` counts only if it is about the wanted digest, or has it among its platforms.
    pub fn bind(&self, wanted: Option<&Digest>, image: Option<&KnownImage>) -> Result<Bound, ReadError> {
        let subject = &self.subject;
        if let Some(problem) = &subject.contradiction {
            return Err(ReadError::malformed("what the report says of its image", problem.clone()));
        }
        let wanted = match (wanted.or(image.map(|image| &image.digest)), &subject.digests[..]) {
            (Some(wanted), _) => wanted,
            (None, _) if subject.attested.len() == 1 => &subject.attested[0],
            (None, []) => return Err(ReadError::Unbound),
            (None, [named]) => named,
            (None, several) => return Err(ReadError::Ambiguous { found: list(several) }),
        };
        let bound = self.tie(wanted, image)?;
        let attested = &subject.attested;
        if !attested.is_empty() && !attested.contains(wanted) && !attested.contains(&bound.digest) {
            return Err(ReadError::OtherImage { found: list(attested), wanted: wanted.to_string() });
        }
        Ok(bound)
    }

    /// Ties the report itself to `wanted`, whatever the statement says that it was in.
    fn tie(&self, wanted: &Digest, image: Option<&KnownImage>) -> Result<Bound, ReadError> {
        let subject = &self.subject;
        let image = image.filter(|image| {
            image.digest == *wanted || image.platforms.iter().any(|(_, digest)| digest == wanted)
        });
        let of_index = image.filter(|image| image.digest == *wanted && !image.platforms.is_empty());
        let config = image.filter(|image| image.digest == *wanted).and_then(|image| image.config.as_ref());
        let other = || ReadError::OtherImage { found: self.names(), wanted: wanted.to_string() };

        let named =
            |digest: &Digest| subject.digests.contains(digest) || subject.config.as_ref() == Some(digest);
        if let (Some(ours), Some(theirs)) = (config, &subject.config)
            && ours != theirs
            && theirs != wanted
        {
            return Err(other());
        }
        let parts: Vec<_> = of_index
            .map(|index| index.platforms.iter().filter(|(_, digest)| named(digest)).collect())
            .unwrap_or_default();
        match (&parts[..], named(wanted)) {
            ([], true) => return self.scope(wanted, of_index, Binding::Named),
            ([], false) => {}
            ([(_, digest)], false) => {
                return Ok(Bound { digest: digest.clone(), platforms: Vec::new(), by: Binding::Platform });
            }
            (parts, by_itself) => {
                let platforms =
                    parts.iter().map(|(platform, digest)| (platform.clone(), Some(digest.clone())));
                let by = if by_itself { Binding::Named } else { Binding::Platform };
                return Ok(Bound { digest: wanted.clone(), platforms: platforms.collect(), by });
            }
        }
        if config.is_some_and(|config| subject.config.as_ref() == Some(config)) {
            return Ok(Bound { digest: wanted.clone(), platforms: Vec::new(), by: Binding::Config });
        }
        if self.scanned_as_part_of(image, wanted) {
            return Ok(Bound { digest: wanted.clone(), platforms: Vec::new(), by: Binding::Platform });
        }
        match subject.digests.is_empty() {
            true => self.scope(wanted, of_index, Binding::Told),
            false => Err(other()),
        }
    }

    /// Whether the report names the index that has `wanted` among its platforms, and says that it is the one that
    /// was scanned.
    fn scanned_as_part_of(&self, image: Option<&KnownImage>, wanted: &Digest) -> bool {
        let (Some(image), Some(scanned)) = (image, &self.subject.platform) else { return false };
        let mut of_platform =
            image.platforms.iter().filter(|(platform, _)| scanned.covers(platform)).peekable();
        self.subject.digests.contains(&image.digest)
            && of_platform.peek().is_some()
            && of_platform.all(|(_, digest)| digest == wanted)
    }

    /// Of which platforms of `wanted` the report speaks.
    fn scope(&self, wanted: &Digest, index: Option<&KnownImage>, by: Binding) -> Result<Bound, ReadError> {
        let bound = |platforms| Ok(Bound { digest: wanted.clone(), platforms, by });
        match (index, &self.subject.platform) {
            (None, None) => bound(Vec::new()),
            (None, Some(platform)) => bound(vec![(platform.clone(), None)]),
            (Some(index), Some(scanned)) => {
                let of = index.platforms.iter().filter(|(platform, _)| scanned.covers(platform));
                let of: Vec<_> =
                    of.map(|(platform, digest)| (platform.clone(), Some(digest.clone()))).collect();
                match of.is_empty() {
                    true => Err(ReadError::OtherImage {
                        found: format!("{scanned}, which is no platform of the image"),
                        wanted: wanted.to_string(),
                    }),
                    false => bound(of),
                }
            }
            (Some(index), None) => match &index.platforms[..] {
                [(platform, digest)] => bound(vec![(platform.clone(), Some(digest.clone()))]),
                several => Err(ReadError::NoPlatform { digest: wanted.clone(), count: several.len() }),
            },
        }
    }

    /// What the report names, for a message.
    fn names(&self) -> String {
        match (&self.subject.digests[..], &self.subject.config) {
            ([], Some(config)) => format!("the image with the configuration {}", short(config)),
            ([], None) => "no digest".to_owned(),
            (several, _) => list(several),
        }
    }
}

/// The first digests, shortened.
fn list(digests: &[Digest]) -> String {
    let some: Vec<_> = digests.iter().take(4).map(short).collect();
    match digests.len() - some.len() {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

fn short(digest: &Digest) -> String {
    format!("{}:{}…", digest.algorithm(), &digest.hex()[..12])
}
