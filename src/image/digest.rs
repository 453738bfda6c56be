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

    /// The hash itself: 32 or 64 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        self.hex().as_bytes().chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[rstest]
    #[case(EMPTY, "sha256", 64)]
    #[case(EMPTY_512, "sha512", 128)]
    fn a_canonical_digest_prints_as_it_was_written(
        #[case] text: &str,
        #[case] algorithm: &str,
        #[case] digits: usize,
    ) {
        let digest: Digest = text.parse().unwrap();
        assert_eq!(
            (digest.algorithm(), digest.hex().len(), digest.to_string().as_str()),
            (algorithm, digits, text)
        );
    }

    #[rstest]
    #[case::empty("", DigestError::Algorithm)]
    #[case::no_algorithm(&EMPTY[7..], DigestError::Algorithm)]
    #[case::unregistered(&EMPTY.replace("sha256", "sha384"), DigestError::Algorithm)]
    #[case::weak("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm)]
    #[case::capital_algorithm(&EMPTY.replace("sha", "SHA"), DigestError::Algorithm)]
    #[case::capital_hex(&EMPTY.replace('e', "E"), DigestError::Value { algorithm: "sha256", wanted: 64 })]
    #[case::one_digit_less(&EMPTY[..70], DigestError::Value { algorithm: "sha256", wanted: 64 })]
    #[case::one_digit_more(&format!("{EMPTY}0"), DigestError::Value { algorithm: "sha256", wanted: 64 })]
    #[case::no_hex(&EMPTY.replace('c', "g"), DigestError::Value { algorithm: "sha256", wanted: 64 })]
    #[case::newline(&format!("{EMPTY}\n"), DigestError::Value { algorithm: "sha256", wanted: 64 })]
    #[case::swapped_lengths(&EMPTY.replace("256", "512"), DigestError::Value { algorithm: "sha512", wanted: 128 })]
    fn what_is_not_canonical_is_refused(#[case] text: &str, #[case] expected: DigestError) {
        assert_eq!(text.parse::<Digest>(), Err(expected));
    }

    #[rstest]
    #[case(EMPTY)]
    #[case(EMPTY_512)]
    fn a_digest_matches_what_it_was_made_of_and_nothing_else(#[case] text: &str) {
        let digest: Digest = text.parse().unwrap();
        assert!(digest.matches(b""));
        assert!(!digest.matches(b" "));
    }

    #[test]
    fn the_digest_of_content_is_its_sha256() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
    }

    #[test]
    fn a_digest_that_is_read_from_json_is_checked() {
        assert!(serde_json::from_str::<Digest>(&format!("\"{EMPTY}\"")).is_ok());
        assert!(serde_json::from_str::<Digest>("\"sha256:0\"").is_err());
    }
}
