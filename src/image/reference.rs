use std::{borrow::Cow, fmt, str::FromStr};

use super::{
    Digest, DigestError, NameError,
    name::{
        DOCKER_HUB, HOST_BYTES, OFFICIAL, PATH_BYTES, check_characters, check_path, is_docker_hub,
        names_host, push_host, quoted,
    },
};

/// The longest tag (OCI distribution-spec, "Pulling manifests").
const TAG_BYTES: usize = 128;
/// The longest text that can be a reference: each part at its longest. What is longer is refused unread.
const REFERENCE_BYTES: usize =
    HOST_BYTES + ":65535/".len() + PATH_BYTES + ":".len() + TAG_BYTES + "@sha512:".len() + 128;
/// What a runtime pulls where neither tag nor digest is written.
const DEFAULT_TAG: &str = "latest";

/// One image reference in canonical form: `host[:port]/path[:tag][@digest]`.
///
/// A short name has its defaults filled in as Docker and containerd do (`nginx` is
/// `docker.io/library/nginx`); where neither tag nor digest is written, [`tag`](Self::tag) is
/// `latest`, which is what a runtime would pull. Both are kept where both are written.
///
/// Two references are equal where a runtime would ask the same registry the same question. What is
/// printed parses back to the same reference.
///
/// ```
/// use tidewaiter::image::ImageReference;
///
/// let image: ImageReference = "Registry.Example.com:5000/team/app:1.2".parse()?;
/// assert_eq!(image.host(), "registry.example.com:5000");
/// assert_eq!(image.repository(), "team/app");
/// assert_eq!("nginx".parse::<ImageReference>()?.to_string(), "docker.io/library/nginx:latest");
/// # Ok::<(), tidewaiter::image::ReferenceError>(())
/// ```
///
/// Source: distribution/reference v0.6, `ParseDockerRef`; where we differ, and why, stands in
/// `docs/references-and-patterns.md` and is tested against it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ImageReference {
    /// `host[:port]/path[:tag]`
    text: Box<str>,
    host_end: usize,
    name_end: usize,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was written.
    #[error("the image reference is empty")]
    Empty,
    /// More bytes than the longest host, path, tag and digest have together.
    #[error("the image reference is {length} bytes long: no valid one has more than {REFERENCE_BYTES}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// 64 hex digits, which some tools take for the id of a local image.
    #[error("64 hex digits name no image: write the repository before them, as in name@sha256:…")]
    Identifier,
    /// A user name, or what looks like one, before the host. It is not quoted: a password may stand beside it.
    #[error("leave out what stands before the \"@\": credentials do not belong into a reference")]
    UserName,
    /// The host or the path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What stands behind the last colon is no tag.
    #[error(
        "\"{tag}\" is no tag: write up to {TAG_BYTES} letters, digits, \"_\", \".\" and \"-\", of which \".\" and \"-\" do not come first"
    )]
    Tag {
        /// What was written, cut after 64 bytes.
        tag: Box<str>,
    },
    /// What stands behind the `@` is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ImageReference {
    /// The registry: `host` or `host:port`, lowercase, `docker.io` for Docker Hub under any of its names.
    pub fn host(&self) -> &str {
        &self.text[..self.host_end]
    }

    /// The path below the host, `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.text[self.host_end + 1..self.name_end]
    }

    /// The part that patterns look at, `host[:port]/path`.
    pub fn name(&self) -> &str {
        &self.text[..self.name_end]
    }

    /// The tag; `latest` where neither tag nor digest was written; none where only a digest was.
    pub fn tag(&self) -> Option<&str> {
        self.text.get(self.name_end + 1..)
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
        if text.len() > REFERENCE_BYTES {
            return Err(ReferenceError::TooLong { length: text.len() });
        }
        check_characters(text, false)?;
        if is_identifier(text) {
            return Err(ReferenceError::Identifier);
        }
        let (name, digest) = match text.split_once('@') {
            Some((_, rest)) if rest.contains('/') => return Err(ReferenceError::UserName),
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, rest) = match name.split_once('/') {
            Some((first, rest)) if names_host(first) => (first, rest),
            _ => (DOCKER_HUB, name),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag)),
            Some((_, tag)) => return Err(ReferenceError::Tag { tag: quoted(tag) }),
            None => (rest, digest.is_none().then_some(DEFAULT_TAG)),
        };
        let official = if is_docker_hub(host) && !path.contains('/') { OFFICIAL } else { "" };

        let tag_bytes = tag.map_or(0, |tag| 1 + tag.len());
        let mut text = String::with_capacity(host.len() + 1 + official.len() + path.len() + tag_bytes);
        push_host(host, &mut text)?;
        let host_end = text.len();
        text.extend(["/", official, path]);
        check_path(&text[host_end + 1..])?;
        let name_end = text.len();
        if let Some(tag) = tag {
            text.extend([":", tag]);
        }
        Ok(Self { text: text.into(), host_end, name_end, digest })
    }
}

/// `text` with `****` for a user name and password that somebody wrote before the host: what stands
/// before the last `@` that has a `/` behind it, as a digest's never has. No reference holds one, so only
/// a text that is none ([`ReferenceError::UserName`]) is changed.
pub fn without_user_name(text: &str) -> Cow<'_, str> {
    let Some(path) = text.rfind('/') else { return text.into() };
    match text[..path].rfind('@') {
        Some(at) => format!("****{}", &text[at..]).into(),
        None => text.into(),
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=TAG_BYTES).contains(&text.len())
        && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
        && text.bytes().next().is_some_and(is_word)
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
