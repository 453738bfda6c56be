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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_digest_wins_over_a_looked_up_one() {
        let (written, looked_up) = (Digest::sha256(b"written"), Digest::sha256(b"looked up"));
        let pinned: ImageReference = format!("nginx:1.27@{written}").parse().unwrap();
        assert_eq!(ResolvedImage::assertion(pinned, looked_up.clone()).digest(), &written);
        let tagged: ImageReference = "nginx:1.27".parse().unwrap();
        assert_eq!(ResolvedImage::assertion(tagged, looked_up.clone()).digest(), &looked_up);
    }
}
