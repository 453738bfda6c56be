//! Registry credentials and the rule that says where each may go.

use std::fmt;

/// One user name and password, bound to a registry and perhaps a repository prefix.
#[derive(Clone, Eq, PartialEq)]
pub struct Credential {
    username: String,
    password: String,
}

/// All credentials from one origin, in the order in which they are tried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keyring {
    entries: Vec<Credential>,
}

impl Credential {
    /// The user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password. Goes into an `Authorization` header and nowhere else.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(****)")
    }
}

impl Keyring {
    /// Stub.
    pub fn lookup(&self, _image: &crate::image::ImageReference) -> Vec<Credential> {
        self.entries.clone()
    }
}

/// Stub.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CredentialClass;

impl CredentialClass {
    /// Stub.
    pub fn of(_: &[Credential]) -> Self {
        Self
    }
}
