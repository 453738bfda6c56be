use std::{fmt, str::FromStr};

use super::{
    ImageReference, NameError,
    glob::Glob,
    name::{
        DOCKER_HUB, OFFICIAL, check_case, check_characters, check_labels, check_path, is_docker_hub,
        names_host, push_host, quoted, split_port,
    },
};

/// The longest pattern. The resources' schema has the same bound.
const PATTERN_BYTES: usize = 512;
/// The most wildcards in one pattern, `**` counted once: more than any rule needs, few enough to stay cheap.
const WILDCARDS: usize = 16;

/// An anchored pattern over canonical `host[:port]/path`; tags and digests are never part of it.
///
/// * `*` stands for any characters within one host label or one path segment;
/// * `**` stands for one or more whole labels at the start of a host (`**.example.com`), or for one or
///   more whole segments of a path (`registry.example.com/**`);
/// * `**` in the host's place is any registry, on any port; alone it is every image.
///
/// What is written without a host is Docker Hub's, and `library/` is filled in, as in a reference. A
/// port matches itself only; a pattern without one matches hosts without one. Hosts are compared in
/// lowercase, as references have them.
///
/// ```
/// use tidewaiter::image::{ImagePattern, ImageReference};
///
/// let ours: ImagePattern = "registry.example.com/**".parse()?;
/// let matches = |image: &str| ours.matches(&image.parse::<ImageReference>().unwrap());
/// assert!(matches("registry.example.com/team/app:1.2"));
/// assert!(!matches("registry.example.com.evil.example/team/app:1.2"));
/// # Ok::<(), tidewaiter::image::PatternError>(())
/// ```
///
/// Matching takes at most (segments of the path × segments of the pattern) steps, whatever both say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImagePattern {
    source: Box<str>,
    host: HostPattern,
    path: Box<[PathPart]>,
}

/// Why a text is not an image pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was written.
    #[error("the image pattern is empty: \"**\" is every image")]
    Empty,
    /// More bytes than a pattern may have.
    #[error("the image pattern is {length} bytes long: at most {PATTERN_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More wildcards than a pattern may have.
    #[error(
        "the image pattern has {count} wildcards: at most {WILDCARDS} are allowed; write several patterns"
    )]
    Wildcards {
        /// How many there are, `**` counted once.
        count: usize,
    },
    /// `*` alone, which people write for every image, and which is one segment on Docker Hub.
    #[error(
        "\"*\" alone is ambiguous: write \"**\" for every image, \"docker.io/library/*\" for Docker Hub's own"
    )]
    LoneStar,
    /// `*` before the first slash: any registry, or any namespace on Docker Hub?
    #[error(
        "\"*/\" at the start is ambiguous: write \"**/\" for any registry, \"docker.io/*/\" for any namespace there"
    )]
    FirstStar,
    /// A name without a slash that looks like a registry's host.
    #[error(
        "\"{name}\" could be a registry: write \"{name}/**\" for all in it, \"docker.io/library/{name}\" for Docker Hub's image"
    )]
    LoneHost {
        /// What was written, cut after 64 bytes.
        name: Box<str>,
    },
    /// `**` beside other characters, or in the middle of a host.
    #[error(
        "\"{part}\": \"**\" stands for whole parts alone: \"**/\" or \"**.\" at the start, \"/**\" behind a host; within a part write one \"*\""
    )]
    DoubleStar {
        /// The host or the path's segment in which it stands, cut after 64 bytes.
        part: Box<str>,
    },
    /// A tag or a digest, or a port without a path behind it.
    #[error(
        "an image pattern has no tag and no digest: use references.denyTags, denyDigests or requireDigest; a host with a port needs a path behind it, \"/**\" for all"
    )]
    TagOrDigest,
    /// The host or the path.
    #[error(transparent)]
    Name(#[from] NameError),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum HostPattern {
    /// `**`
    Any,
    /// Without wildcards: the canonical host with its port.
    Exact(Box<str>),
    /// Label by label. `above`: at least one more label stands before these.
    Labels { above: bool, labels: Box<[Glob]>, port: Option<Box<str>> },
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum PathPart {
    /// One segment.
    Segment(Glob),
    /// Any number of segments, none included: `**` is compiled to `*` and this.
    Rest,
}

impl ImagePattern {
    /// Whether the reference's host and path match; its tag and digest play no part.
    pub fn matches(&self, image: &ImageReference) -> bool {
        self.host.matches(image.host()) && path_matches(&self.path, image.repository())
    }

    /// The host of every image that matches, as [`ImageReference::host`] gives it; none where the pattern
    /// leaves the host open.
    pub fn host(&self) -> Option<&str> {
        self.source.split_once('/').map(|(host, _)| host).filter(|host| !host.contains('*'))
    }

    /// The pattern as its author wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        let (above, labels, port) = match self {
            Self::Any => return true,
            Self::Exact(exact) => return **exact == *host,
            Self::Labels { above, labels, port } => (*above, labels, port.as_deref()),
        };
        if host.starts_with('[') {
            return false;
        }
        let (name, written_port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        // From the right, where a domain's owner is named
        let mut written = name.rsplit('.');
        written_port == port
            && labels.iter().rev().all(|label| written.next().is_some_and(|text| label.matches(text)))
            && written.next().is_some() == above
    }

    fn compile(host: &str) -> Result<Self, PatternError> {
        if !host.contains('*') {
            let mut exact = String::with_capacity(host.len());
            push_host(host, &mut exact)?;
            return Ok(Self::Exact(exact.into()));
        }
        let (name, port) = split_port(host)?;
        let (above, name) = match name.strip_prefix("**.") {
            Some(below) => (true, below),
            None => (false, name),
        };
        if name.contains("**") {
            return Err(PatternError::DoubleStar { part: quoted(host) });
        }
        check_labels(name)?;
        check_case(host)?;
        let labels = name.to_ascii_lowercase().split('.').map(Glob::new).collect();
        Ok(Self::Labels { above, labels, port: port.map(Box::from) })
    }
}

/// Walks pattern and path side by side. At a mismatch only the last [`PathPart::Rest`] takes one segment
/// more: an earlier one could not make the remainder match where the last cannot.
fn path_matches(pattern: &[PathPart], path: &str) -> bool {
    let mut segments = path.split('/');
    let mut at = 0;
    let mut retry = None;
    loop {
        let here = segments.clone();
        if let Some(PathPart::Rest) = pattern.get(at) {
            at += 1;
            retry = Some((at, here));
            continue;
        }
        match (pattern.get(at), segments.next()) {
            (None, None) => return true,
            (Some(PathPart::Segment(glob)), Some(segment)) if glob.matches(segment) => at += 1,
            (_, None) => return false,
            (_, Some(_)) => {
                let Some((behind_rest, taken)) = &mut retry else { return false };
                taken.next();
                at = *behind_rest;
                segments = taken.clone();
            }
        }
    }
}

fn compile_path(path: &str) -> Result<Box<[PathPart]>, PatternError> {
    let mut parts = Vec::new();
    for segment in path.split('/') {
        match segment {
            "**" => parts.extend([PathPart::Segment(Glob::new("*")), PathPart::Rest]),
            _ if segment.contains("**") => return Err(PatternError::DoubleStar { part: quoted(segment) }),
            _ => parts.push(PathPart::Segment(Glob::new(segment))),
        }
    }
    check_path(path)?;
    Ok(parts.into())
}

/// The host, where one is written, and the path.
fn split_host(text: &str) -> Result<(Option<&str>, &str), PatternError> {
    let (host, path) = match text.split_once('/') {
        Some(("*", _)) => return Err(PatternError::FirstStar),
        Some((first, path)) if first == "**" || names_host(first) => (Some(first), path),
        Some(_) => (None, text),
        None if text == "*" => return Err(PatternError::LoneStar),
        None if text == "**" => (Some("**"), "**"),
        None if text == "localhost" || (text.contains('.') && !text.contains(':')) => {
            return Err(PatternError::LoneHost { name: quoted(text) });
        }
        None => (None, text),
    };
    if path.contains(':') || text.contains('@') {
        return Err(PatternError::TagOrDigest);
    }
    Ok((host, path))
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES {
            return Err(PatternError::TooLong { length: text.len() });
        }
        check_characters(text, true)?;
        let count = count_wildcards(text);
        if count > WILDCARDS {
            return Err(PatternError::Wildcards { count });
        }
        let (host, path) = split_host(text)?;
        let host_pattern = match host {
            Some("**") => HostPattern::Any,
            Some(host) => HostPattern::compile(host)?,
            None => HostPattern::Exact(DOCKER_HUB.into()),
        };
        let on_docker_hub = host.is_none_or(is_docker_hub);
        let path = if on_docker_hub && path != "**" && !path.contains('/') {
            compile_path(&format!("{OFFICIAL}{path}"))?
        } else {
            compile_path(path)?
        };
        Ok(Self { source: text.into(), host: host_pattern, path })
    }
}

fn count_wildcards(text: &str) -> usize {
    text.as_bytes().chunk_by(|one, next| one == next).filter(|run| run[0] == b'*').count()
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
