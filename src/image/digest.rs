use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A content digest in canonical form: `sha256:` and 64, or `sha512:` and 128 lowercase hex digits.
///
/// Source: OCI image-spec, "Digests" (registered algorithms).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

/// Why a text is not a digest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:` before the value, or an algorithm that is not registered.
    #[error("a digest begins with \"sha256:\" or \"sha512:\"")]
    Algorithm,
    /// The value is not the right number of lowercase hex digits.
    #[error("a {algorithm} digest has {wanted} lowercase hex digits")]
    Value {
        /// The algorithm that was named.
        algorithm: &'static str,
        /// How many hex digits it wants.
        wanted: usize,
    },
}

impl Digest {
    /// The SHA-256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        Self::from_hash("sha256", hash.as_ref())
    }

    /// Whether `content` is what this digest names, under this digest's own algorithm.
    pub fn matches(&self, content: &[u8]) -> bool {
        let (name, algorithm) = match self.algorithm() {
            "sha512" => ("sha512", &aws_lc_rs::digest::SHA512),
            _ => ("sha256", &aws_lc_rs::digest::SHA256),
        };
        *self == Self::from_hash(name, aws_lc_rs::digest::digest(algorithm, content).as_ref())
    }

    fn from_hash(algorithm: &str, hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(algorithm.len() + 1 + 2 * hash.len());
        text.push_str(algorithm);
        text.push(':');
        for byte in hash {
            // OK because writing to a String cannot fail
            write!(text, "{byte:02x}").unwrap();
        }
        Self(text.into())
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        // OK because every constructor puts a colon behind the algorithm
        self.0.split_once(':').unwrap().0
    }

    /// The hex digits behind the colon.
    pub fn hex(&self) -> &str {
        // OK because every constructor puts a colon behind the algorithm
        self.0.split_once(':').unwrap().1
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, wanted, hex) = if let Some(hex) = text.strip_prefix("sha256:") {
            ("sha256", 64, hex)
        } else if let Some(hex) = text.strip_prefix("sha512:") {
            ("sha512", 128, hex)
        } else {
            return Err(DigestError::Algorithm);
        };
        if hex.len() != wanted || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Value { algorithm, wanted });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
