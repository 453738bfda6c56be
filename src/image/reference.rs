use std::{fmt, str::FromStr};

use super::Digest;

/// One image reference in canonical form: `host[:port]/path[:tag][@digest]`.
///
/// A short name has its defaults filled in as Docker and containerd do (`nginx` is
/// `docker.io/library/nginx`); where neither tag nor digest is written, [`tag`](Self::tag) is
/// `latest`, which is what a runtime would pull.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ImageReference {
    host: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was written.
    #[error("the image reference is empty")]
    Empty,
}

impl ImageReference {
    /// The registry: `host` or `host:port`, lowercase, `docker.io` for Docker Hub under any of its names.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the host, `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The part that patterns look at, `host[:port]/path`.
    pub fn name(&self) -> impl fmt::Display {
        format!("{}/{}", self.host, self.repository)
    }

    /// The tag; `latest` where neither tag nor digest was written; none where only a digest was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written. It decides what runs, whatever the tag says.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, digest.parse().ok()),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.into())),
            _ => (name, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".into()));
        Ok(Self { host: host.into(), repository: repository.into(), tag, digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
