use std::{fmt, time::Instant};

use futures::future::BoxFuture;

use crate::{
    evidence::{Platform, RegistryError},
    image::{Digest, Repository},
};

/// Says where the layers of an image are, for a scanner that fetches them itself.
pub trait Layers: Send + Sync + 'static {
    /// The layers of `image` in `place` or, where that is an index, of the one image in it for `platform`. None if the
    /// index has no such image. More than 256 layers, and one that is no layer of an image, is an error.
    ///
    /// Asks with the operator's own credentials, and then without any. Answers before `deadline`.
    fn layers<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        platform: &'a Platform,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<ImageLayers>, RegistryError>>;
}

/// The layers of one image.
#[derive(Clone, Debug)]
pub struct ImageLayers {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Which platform of an index it is for; none if there was no index.
    pub platform: Option<Platform>,
    /// From the lowest to the highest: each digest, and where it is at the registry.
    pub layers: Vec<(Digest, String)>,
    /// What the registry wants to be shown for them; none if it wants nothing.
    pub pass: Option<Pass>,
}

/// What a registry lets somebody read a repository for. Is not printed.
#[derive(Clone, Eq, PartialEq)]
pub enum Pass {
    /// The value of an `Authorization` header with a token to read this one repository with, for a few minutes.
    Token(Box<str>),
    /// The same with a user name and a password, of a registry that gives no tokens.
    Password(Box<str>),
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(****)",
            Self::Password(_) => "Password(****)",
        })
    }
}
