use super::RegistryError;
use crate::image::Digest;

/// What became of the question which digest a reference stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolution {
    /// Nobody asked: no matching rule wanted to know, or an earlier rule already said no.
    NotAsked,
    /// The author wrote the digest into the reference; no registry can change it.
    Pinned(Digest),
    /// The registry said that the tag stands for this digest.
    Resolved(Digest),
    /// The question has no usable answer.
    Failed(RegistryError),
}

impl Resolution {
    /// The digest that stands for the image, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Pinned(digest) | Self::Resolved(digest) => Some(digest),
            Self::NotAsked | Self::Failed(_) => None,
        }
    }
}
