use super::{Digest, ImageReference};

/// An image whose digest is known: the one value that is judged, cached and pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedImage {
    reference: ImageReference,
    digest: Digest,
}

impl ResolvedImage {
    /// Vouches that `digest` is what the registry holds under `reference`, or what `reference`
    /// itself names: a written digest always wins over a looked-up one.
    pub fn assertion(reference: ImageReference, looked_up: Digest) -> Self {
        let digest = reference.digest().cloned().unwrap_or(looked_up);
        Self { reference, digest }
    }

    /// The reference as it was asked for.
    pub fn reference(&self) -> &ImageReference {
        &self.reference
    }

    /// The digest that stands for this image from here on.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}
