//! The grammar that references and patterns share: a registry's host, and the path below it.
//!
//! Source: distribution/reference v0.6 `regexp.go` and `normalize.go`, which containerd and the kubelet
//! read references with.

use std::{fmt::Write as _, net::Ipv6Addr};

/// Docker Hub, which a name without a host means.
pub(super) const DOCKER_HUB: &str = "docker.io";
/// What Docker Hub's own images are kept under: `nginx` is `library/nginx`.
pub(super) const OFFICIAL: &str = "library/";
/// The longest host without its port: 255 octets on the wire are 253 written ones (RFC 1035, section 2.3.4).
pub(super) const HOST_BYTES: usize = 253;
/// The longest path, `library/` included (distribution/reference: `RepositoryNameTotalLengthMax`).
pub(super) const PATH_BYTES: usize = 255;

/// Docker Hub's older name, which stands for the same registry in a reference.
const DOCKER_INDEX: &str = "index.docker.io";
/// How much of a stranger's text an error carries.
const QUOTED_BYTES: usize = 64;

/// What is wrong with the host or the path of a reference or a pattern.
///
/// What is quoted is cut after 64 bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// A character that no part of a name may have: a space, a control, a letter that only looks like one of ours.
    #[error("{} at byte {at} cannot stand in an image's name: use ASCII letters, digits and . _ - / : @", shown(*.character))]
    Character {
        /// The first such character.
        character: char,
        /// Where it begins, counted in bytes from 0.
        at: usize,
    },
    /// An URL instead of a name.
    #[error("leave out what stands before and with \"://\": a registry is named by host and port alone")]
    Scheme,
    /// The part before the first `/` is no host name.
    #[error(
        "\"{host}\" is no registry's host: write labels of letters, digits and inner \"-\", joined by \".\""
    )]
    Host {
        /// The host without its port.
        host: Box<str>,
    },
    /// A host that would name another registry if it were read in lowercase, as names in the DNS are.
    ///
    /// Runtimes take `Team/app` for a host `Team`, but `team/app` for Docker Hub's, and `DOCKER.IO` for
    /// another registry than `docker.io`.
    #[error(
        "\"{host}\" and its lowercase form name two registries: write it in lowercase, with its dot or its port"
    )]
    HostCase {
        /// The host as it was written.
        host: Box<str>,
    },
    /// A host that the DNS has no room for.
    #[error("the registry's host is {length} bytes long: at most {HOST_BYTES} are possible")]
    HostLength {
        /// Its length in bytes, without the port.
        length: usize,
    },
    /// Square brackets around something else than an IPv6 address, or around an IPv4 address in disguise.
    #[error(
        "\"{address}\" is no IPv6 address of a registry: write one as [2001:db8::1], an IPv4 address without brackets"
    )]
    Ipv6 {
        /// What was written, brackets included.
        address: Box<str>,
    },
    /// What stands behind the host's colon is no port.
    #[error("\"{port}\" is no port of a registry: write a number from 1 to 65535 without leading zeros")]
    Port {
        /// What was written.
        port: Box<str>,
    },
    /// A capital letter below the host.
    #[error("\"{segment}\" has capital letters: the path of an image is lowercase")]
    PathCase {
        /// The part between two slashes.
        segment: Box<str>,
    },
    /// A part of the path that is empty or has a separator in the wrong place.
    #[error(
        "\"{segment}\" is no part of an image's path: write letters and digits, singly joined by . _ __ or -"
    )]
    PathSegment {
        /// The part between two slashes; empty for two slashes in a row, and for one at an end.
        segment: Box<str>,
    },
    /// A path that registries have no room for.
    #[error(
        "the image's path is {length} bytes long with \"library/\" where it belongs: at most {PATH_BYTES} are allowed"
    )]
    PathLength {
        /// Its length in bytes.
        length: usize,
    },
}

/// A text of bounded length for an error. `text` is ASCII: see [`check_characters`].
pub(super) fn quoted(text: &str) -> Box<str> {
    match text.get(..QUOTED_BYTES) {
        Some(start) if start.len() < text.len() => format!("{start}…").into(),
        _ => text.into(),
    }
}

fn shown(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        '!'..='~' => format!("'{character}'"),
        _ => format!("U+{:04X}", u32::from(character)),
    }
}

/// Refuses what no part of a reference may have, so that all that follows deals with ASCII; `*` passes
/// where `wildcards` says so.
pub(super) fn check_characters(text: &str, wildcards: bool) -> Result<(), NameError> {
    let allowed = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '[' | ']')
            || (wildcards && c == '*')
    };
    match text.char_indices().find(|&(_, c)| !allowed(c)) {
        Some((at, character)) => Err(NameError::Character { character, at }),
        None if text.contains("://") => Err(NameError::Scheme),
        None => Ok(()),
    }
}

/// Whether what stands before the first `/` is a host and not the first part of a path on Docker Hub
/// (distribution/reference: `splitDockerDomain`).
pub(super) fn names_host(first: &str) -> bool {
    first == "localhost" || first.bytes().any(|b| matches!(b, b'.' | b':') || b.is_ascii_uppercase())
}

/// Whether `host` is one of the names that runtimes take for Docker Hub. `registry-1.docker.io`, where
/// its content lies, is not: runtimes treat it as any other registry.
pub(super) fn is_docker_hub(host: &str) -> bool {
    host == DOCKER_HUB || host == DOCKER_INDEX
}

/// Appends `host` in canonical form: lowercase, an IPv6 address as RFC 5952 writes it, Docker Hub by its
/// one name.
pub(super) fn push_host(host: &str, canonical: &mut String) -> Result<(), NameError> {
    if is_docker_hub(host) {
        canonical.push_str(DOCKER_HUB);
        return Ok(());
    }
    let (name, port) = split_port(host)?;
    if name.starts_with('[') {
        let address = parse_ipv6(name)?;
        // OK because writing to a String cannot fail
        write!(canonical, "[{address}]").unwrap();
    } else {
        check_labels(name)?;
        check_case(host)?;
        canonical.extend(name.chars().map(|c| c.to_ascii_lowercase()));
    }
    if let Some(port) = port {
        canonical.push(':');
        canonical.push_str(port);
    }
    Ok(())
}

/// The host's name, brackets included, and its port.
pub(super) fn split_port(host: &str) -> Result<(&str, Option<&str>), NameError> {
    let name_end = match host.find(']') {
        Some(bracket) if host.starts_with('[') => bracket + 1,
        None if host.starts_with('[') => return Err(NameError::Ipv6 { address: quoted(host) }),
        _ => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(name_end);
    match rest.strip_prefix(':') {
        Some(port) if is_port(port) => Ok((name, Some(port))),
        Some(port) => Err(NameError::Port { port: quoted(port) }),
        None if rest.is_empty() => Ok((name, None)),
        None => Err(NameError::Host { host: quoted(host) }),
    }
}

fn is_port(text: &str) -> bool {
    // One spelling for each port: a rule about registry:5000 is not to be passed by with registry:05000
    !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn parse_ipv6(bracketed: &str) -> Result<Ipv6Addr, NameError> {
    let inside = bracketed.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    // An IPv4 address inside an IPv6 one is written with dots, which no runtime reads; without them it
    // would be a second name for the same registry
    inside
        .filter(|text| !text.contains('.'))
        .and_then(|text| text.parse::<Ipv6Addr>().ok())
        .filter(|address| address.to_ipv4_mapped().is_none())
        .ok_or_else(|| NameError::Ipv6 { address: quoted(bracketed) })
}

/// Checks a host without its port, in which `*` may stand for a part of a label.
pub(super) fn check_labels(name: &str) -> Result<(), NameError> {
    if !name.split('.').all(is_label) {
        return Err(NameError::Host { host: quoted(name) });
    }
    match name.bytes().filter(|&b| b != b'*').count() {
        length if length > HOST_BYTES => Err(NameError::HostLength { length }),
        _ => Ok(()),
    }
}

/// Refuses a host that means something else in lowercase. See [`NameError::HostCase`].
pub(super) fn check_case(host: &str) -> Result<(), NameError> {
    if !host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    let folded = host.to_ascii_lowercase();
    if names_host(&folded) && !is_docker_hub(&folded) {
        return Ok(());
    }
    Err(NameError::HostCase { host: quoted(host) })
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'*');
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
}

/// Checks a whole path, in which `*` may stand for a part of a segment.
///
/// A path with wildcards passes only if some path without them could match it.
pub(super) fn check_path(path: &str) -> Result<(), NameError> {
    path.split('/').try_for_each(check_segment)?;
    match path.bytes().filter(|&b| b != b'*').count() {
        length if length > PATH_BYTES => Err(NameError::PathLength { length }),
        _ => Ok(()),
    }
}

fn check_segment(segment: &str) -> Result<(), NameError> {
    if segment.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(NameError::PathCase { segment: quoted(segment) });
    }
    if is_segment(segment) { Ok(()) } else { Err(NameError::PathSegment { segment: quoted(segment) }) }
}

/// Runs of letters and digits, joined by `.`, `_`, `__` or any number of `-`.
///
/// A wildcard counts as a letter. That is exact: whatever it would stand for, a letter in its place
/// splits the separators around it into parts that are separators too.
fn is_segment(segment: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'*';
    let joins = |separator: &[u8]| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
    };
    let bytes = segment.as_bytes();
    bytes.first().is_some_and(|&b| is_letter(b))
        && bytes.last().is_some_and(|&b| is_letter(b))
        && bytes.split(|&b| is_letter(b)).all(joins)
}
