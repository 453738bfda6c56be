use std::{fmt, time::Duration};

use url::Url;

use super::{CompileError, ObjectKey};

/// What a document of an ImageTrustRoot turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustRootReading {
    /// `metadata.name`, by which policies name it.
    pub name: Box<str>,
    /// `metadata.generation`; 0 for one that comes from a file.
    pub generation: i64,
    /// Where its content comes from. An error is a root that cannot be used, never one that is not there.
    pub source: Result<TrustRootSource, CompileError>,
}

/// Where the content of a trust root comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TrustRootSource {
    /// It is part of the program.
    Sigstore(SigstoreRoot),
    /// It stands in the document: a `trusted_root.json`.
    Inline(Box<str>),
    /// It stands in a ConfigMap.
    ConfigMap(ObjectKey),
    /// It is the file of this name in the operator's directory.
    File(Box<str>),
    /// A repository of The Update Framework has it.
    Tuf(TufRepository),
}

/// A trust root that is part of the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigstoreRoot {
    /// That of Sigstore's public-good instance.
    PublicGood,
    /// That of GitHub's own instance.
    GitHub,
}

/// A repository of The Update Framework that has a `trusted_root.json`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TufRepository {
    /// Its address, with a slash behind.
    pub mirror: Url,
    /// The `root.json` that trust in it begins with.
    pub root: Box<str>,
    /// How often it is asked.
    pub refresh: Duration,
}

impl TrustRootSource {
    /// The name of the kind of source, as in the resource's status.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sigstore(SigstoreRoot::PublicGood) => "PublicGood",
            Self::Sigstore(SigstoreRoot::GitHub) => "GitHub",
            Self::Inline(_) => "Inline",
            Self::ConfigMap(_) => "ConfigMap",
            Self::File(_) => "File",
            Self::Tuf(_) => "TUF",
        }
    }
}

/// Which of the two kinds of objects that hold data.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl ObjectKind {
    /// The `kind` that a document carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// The name of a Secret or a ConfigMap.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName {
    /// Which of the two.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl ObjectName {
    /// The object that `key` is a part of.
    pub fn of(kind: ObjectKind, key: &ObjectKey) -> Self {
        Self { kind, namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}
