use std::borrow::Cow;

use super::text;
use crate::{evidence::Vulnerability, image::Digest};

/// A package URL: `pkg:deb/debian/bash@5.0-4?arch=amd64`, its parts without percent signs.
///
/// Source: package-url specification, "Rules for each purl component".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Purl {
    /// `deb`, `npm`, `oci`, in lowercase.
    pub(super) kind: String,
    /// `debian`; empty where there is none.
    pub(super) namespace: String,
    /// `bash`.
    pub(super) name: String,
    /// `5.0-4`; empty where there is none.
    pub(super) version: String,
    qualifiers: Vec<(String, String)>,
}

impl Purl {
    /// Reads a package URL; none for what is no package URL.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let kind = text::purl_type(url)?;
        let (_, rest) = url.trim().strip_prefix("pkg:")?.trim_start_matches('/').split_once('/')?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        // an `@` before the last slash begins a scope of npm, and no version
        let (path, version) = match (path.rfind('@'), path.rfind('/')) {
            (Some(at), slash) if slash.is_none_or(|slash| slash < at) => (&path[..at], &path[at + 1..]),
            _ => (path, ""),
        };
        let path = path.trim_matches('/');
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let qualifiers = qualifiers.split('&').filter_map(|pair| pair.split_once('='));
        let parsed = Self {
            kind,
            namespace: decoded(namespace)?.into_owned(),
            name: decoded(name)?.into_owned(),
            version: decoded(version)?.into_owned(),
            qualifiers: qualifiers
                .map(|(key, value)| Some((key.to_ascii_lowercase(), decoded(value)?.into_owned())))
                .collect::<Option<_>>()?,
        };
        (!parsed.name.is_empty()).then_some(parsed)
    }

    /// The value of a qualifier, if it is there and not empty.
    pub(super) fn qualifier(&self, key: &str) -> Option<&str> {
        let found = self.qualifiers.iter().find(|(at, _)| at == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Of an image: its digest.
    pub(super) fn image(&self) -> Option<Digest> {
        (self.kind == "oci").then(|| self.version.parse().ok()).flatten()
    }

    /// The name by which the package's own tools call it: `@scope/name`, `group:artifact`, `example.com/module`.
    pub(super) fn package(&self) -> String {
        match (self.kind.as_str(), self.namespace.as_str()) {
            (_, "") | ("deb" | "apk" | "rpm" | "alpm" | "oci", _) => self.name.clone(),
            ("maven", group) => format!("{group}:{}", self.name),
            (_, namespace) => format!("{namespace}/{}", self.name),
        }
    }

    /// Whether this is the package in which `found` was found.
    ///
    /// Name and version must be the same; without a version all are meant. The kind must be the same too: where the
    /// report does not say it, only a version tells the package from another with its name.
    pub(super) fn is_package_of(&self, found: &Vulnerability) -> bool {
        // by far the most packages are others
        if !found.package.ends_with(&self.name) {
            return false;
        }
        let kind = match kind(&found.package_type).as_str() {
            "" => !self.version.is_empty(),
            kind => kind == self.kind,
        };
        let epoch = self.qualifier("epoch").map(|epoch| format!("{epoch}:{}", self.version));
        let version = self.version.is_empty()
            || self.version == found.installed
            || epoch.is_some_and(|version| version == found.installed);
        kind && version && !found.package.is_empty() && self.package() == found.package
    }
}

/// The type of package URLs that a scanner's word for a kind of package stands for, in lowercase; empty for words that
/// stand for several.
///
/// Source: package-url specification, "PURL types"; Trivy, `pkg/purl`; Amazon Inspector API, "VulnerablePackage".
pub(super) fn kind(word: &str) -> String {
    let word = text::kind(word).to_lowercase();
    let kind = match word.as_str() {
        "os" | "linux" => "",
        "alpine" | "wolfi" | "chainguard" => "apk",
        "debian" | "ubuntu" => "deb",
        "redhat" | "centos" | "rocky" | "alma" | "amazon" | "oracle" | "fedora" | "photon" | "suse" => "rpm",
        "gomod" | "gobinary" | "go-module" | "go" => "golang",
        "jar" | "pom" | "java-archive" | "gradle" => "maven",
        "node-pkg" | "nodepkg" | "yarn" | "pnpm" => "npm",
        "python" | "python-pkg" | "pythonpkg" | "pip" | "pipenv" | "poetry" => "pypi",
        "gemspec" | "bundler" => "gem",
        other => other,
    };
    kind.to_owned()
}

/// A text without percent signs; none where they do not stand for UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        bytes.push(match (first, more) {
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(*high)? << 4 | digit(*low)?
            }
            (b'%', _) => return None,
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("pkg:deb/debian/bash@5.0-4?arch=amd64", "deb", "debian", "bash", "5.0-4")]
    #[case::encoded("pkg:deb/debian/tar@1.30%2Bdfsg-6#sub", "deb", "debian", "tar", "1.30+dfsg-6")]
    #[case::scope("pkg:npm/%40scope/name@1", "npm", "@scope", "name", "1")]
    #[case::bare_scope("pkg:npm/@scope/name", "npm", "@scope", "name", "")]
    #[case::image("pkg:oci/debian@sha256%3Aab?repository_url=a", "oci", "", "debian", "sha256:ab")]
    #[case::no_version("pkg:OCI/debian", "oci", "", "debian", "")]
    fn the_parts_of_a_package_url(
        #[case] url: &str,
        #[case] kind: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] version: &str,
    ) {
        let purl = Purl::parse(url).unwrap();
        let parts = [&purl.kind, &purl.namespace, &purl.name, &purl.version];
        assert_eq!(parts.map(String::as_str), [kind, namespace, name, version]);
    }

    #[rstest]
    #[case("nginx")]
    #[case("pkg:")]
    #[case("pkg:deb")]
    #[case("pkg:deb/")]
    #[case("pkg:deb/a%")]
    #[case("pkg:deb/a%4")]
    #[case("pkg:deb/a%zz")]
    #[case("pkg:deb/a%ff")]
    fn what_is_no_package_url(#[case] url: &str) {
        assert_eq!(Purl::parse(url), None);
    }

    #[rstest]
    #[case::same("pkg:deb/debian/bash@5.0-4", "deb", "bash", "5.0-4", true)]
    #[case::any_version("pkg:deb/debian/bash", "deb", "bash", "5.0-4", true)]
    #[case::word_of_trivy("pkg:apk/alpine/bash@5.0-4", "alpine", "bash", "5.0-4", true)]
    #[case::other_version("pkg:deb/debian/bash@5.0-5", "deb", "bash", "5.0-4", false)]
    #[case::other_kind("pkg:npm/bash@5.0-4", "deb", "bash", "5.0-4", false)]
    #[case::no_kind("pkg:deb/debian/bash@5.0-4", "", "bash", "5.0-4", true)]
    #[case::no_kind_and_no_version("pkg:deb/debian/bash", "", "bash", "5.0-4", false)]
    #[case::other_name("pkg:deb/debian/bash-doc@5.0-4", "deb", "bash", "5.0-4", false)]
    #[case::no_package("pkg:deb/debian/bash", "deb", "", "", false)]
    #[case::epoch("pkg:rpm/redhat/bash@5.0-4?epoch=1", "rpm", "bash", "1:5.0-4", true)]
    #[case::maven("pkg:maven/org.acme/lib@1", "jar", "org.acme:lib", "1", true)]
    #[case::golang("pkg:golang/example.com/a/b@v1", "gobinary", "example.com/a/b", "v1", true)]
    #[case::other_group("pkg:maven/com.acme/lib@1", "jar", "org.acme:lib", "1", false)]
    fn a_package_is_told_from_others(
        #[case] url: &str,
        #[case] kind: &str,
        #[case] package: &str,
        #[case] installed: &str,
        #[case] is: bool,
    ) {
        let found = Vulnerability {
            package: package.into(),
            package_type: kind.into(),
            installed: installed.into(),
            ..Vulnerability::default()
        };
        assert_eq!(Purl::parse(url).unwrap().is_package_of(&found), is);
    }
}
