use crate::{
    evidence::Vulnerability,
    image::{Digest, ImageReference},
    reports::purl::Purl,
};

/// An image, and those of its packages that are meant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Product {
    /// All digests that the product is said to have. None, or several that differ: it is no image that we know.
    pub(super) digests: Vec<Digest>,
    /// Where it lies: one of these, each `host/path`. None: anywhere.
    repositories: Option<Vec<String>>,
    pub(super) parts: Parts,
}

/// Which packages of an image are meant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Parts {
    /// The image as a whole.
    #[default]
    All,
    /// These, as far as they can be told. None: the author has named some that cannot be.
    Some(Vec<Purl>),
}

impl Product {
    /// An image by an identifier: a package URL `pkg:oci/name@sha256%3A…`, a reference `host/path@sha256:…`, or a
    /// digest. What is none of these names no image that we know.
    pub(super) fn new(identifier: &str, parts: Parts) -> Self {
        let mut product = Self { parts, ..Self::default() };
        product.also(identifier);
        product
    }

    /// Another identifier of the same product.
    pub(super) fn also(&mut self, identifier: &str) {
        if let Some(purl) = Purl::parse(identifier) {
            if let Some(digest) = purl.image() {
                self.digests.push(digest);
            }
            if let Some(url) = purl.qualifier("repository_url") {
                // with and without the image's own name, since both are written
                self.lies_in([url.to_owned(), format!("{}/{}", url.trim_end_matches('/'), purl.name)]);
            }
        } else if let Ok(digest) = identifier.parse() {
            self.digests.push(digest);
        } else if let Ok(reference) = identifier.parse::<ImageReference>()
            && let Some(digest) = reference.digest()
        {
            self.digests.push(digest.clone());
            self.lies_in([reference.name().to_owned()]);
        }
    }

    /// It lies in one of `repositories`. Where several identifiers say where it lies, all must be right.
    fn lies_in<const N: usize>(&mut self, repositories: [String; N]) {
        let new: Vec<String> = repositories.iter().filter_map(|repository| name(repository)).collect();
        self.repositories = Some(match self.repositories.take() {
            None => new,
            Some(old) => old.into_iter().filter(|one| new.contains(one)).collect(),
        });
    }

    /// Whether it is the image with `digest`, as far as it is said in `repository`.
    pub(super) fn is_image(&self, digest: &Digest, repository: Option<&str>) -> bool {
        let lies_there =
            |theirs: &Vec<String>| repository.and_then(name).is_some_and(|ours| theirs.contains(&ours));
        !self.digests.is_empty()
            && self.digests.iter().all(|one| one == digest)
            && self.repositories.as_ref().is_none_or(lies_there)
    }

    /// Whether it is about the package in which `found` was found.
    pub(super) fn has_part(&self, found: &Vulnerability) -> bool {
        match &self.parts {
            Parts::All => true,
            Parts::Some(parts) => parts.iter().any(|part| part.is_package_of(found)),
        }
    }
}

/// A repository's name in its one form: `docker.io/library/debian` for `index.docker.io/library/debian`.
fn name(repository: &str) -> Option<String> {
    let repository = repository.strip_prefix("https://").unwrap_or(repository);
    let reference: ImageReference = repository.parse().ok()?;
    Some(reference.name().to_owned())
}
