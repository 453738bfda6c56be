use std::{fmt, str::FromStr};

use super::{ImageReference, ReferenceError};

/// One repository in canonical form: `host[:port]/path`, without tag and digest.
///
/// ```
/// use tidewaiter::image::Repository;
///
/// let repository: Repository = "registry.example.com/team/signatures".parse()?;
/// assert_eq!((repository.host(), repository.path()), ("registry.example.com", "team/signatures"));
/// assert!("registry.example.com/team/app:1.4".parse::<Repository>().is_err());
/// # Ok::<(), tidewaiter::image::ReferenceError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repository {
    text: Box<str>,
    host_end: usize,
}

impl Repository {
    /// The registry: `host` or `host:port`, lowercase, `docker.io` for Docker Hub under any of its names.
    pub fn host(&self) -> &str {
        &self.text[..self.host_end]
    }

    /// The path below the host, `library/nginx`.
    pub fn path(&self) -> &str {
        &self.text[self.host_end + 1..]
    }
}

impl From<&ImageReference> for Repository {
    fn from(image: &ImageReference) -> Self {
        Self { text: image.name().into(), host_end: image.host().len() }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// A tag or a digest is an error, as nothing would become of it.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // Behind a tag or a digest there is no place for another tag.
        let image: ImageReference = format!("{text}:any").parse()?;
        Ok(Self::from(&image))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("nginx", "docker.io", "library/nginx")]
    #[case("Registry.Example.com:5000/team/app", "registry.example.com:5000", "team/app")]
    fn a_repository_has_a_host_and_a_path(#[case] text: &str, #[case] host: &str, #[case] path: &str) {
        let repository: Repository = text.parse().unwrap();
        assert_eq!((repository.host(), repository.path()), (host, path));
        assert_eq!(repository.to_string().parse(), Ok(repository));
    }

    #[rstest]
    #[case("")]
    #[case("registry.example.com/team/app:1")]
    #[case(
        "registry.example.com/team/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    )]
    #[case("registry.example.com/")]
    #[case("https://registry.example.com/team/app")]
    fn what_names_no_repository_alone_is_an_error(#[case] text: &str) {
        assert!(text.parse::<Repository>().is_err());
    }
}
