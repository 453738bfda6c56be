use std::fmt;

use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use spki::{
    ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode as _, Reader as _, SliceReader, asn1::UintRef},
};

use crate::evidence::KeyFingerprint;

/// The longest PEM that is read for a key, in bytes. RSA with 4096 bits takes 800.
const PEM_LIMIT: usize = 4096;
/// The smallest and the largest RSA modulus, in bits.
const RSA_BITS: (usize, usize) = (2048, 4096);

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A public key that signatures are checked with.
///
/// Source: RFC 5280 §4.1.2.7 (SubjectPublicKeyInfo), RFC 7468 §13 (PEM).
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Box<[u8]>,
    bits: Box<[u8]>,
}

/// What kind of key it is. The kind alone says how its signatures are checked: no signature chooses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519, signed as it is or prehashed.
    Ed25519,
    /// RSA with 2048 to 4096 bits, PKCS #1 v1.5.
    Rsa,
}

/// Why a text is no public key. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// A private key, which no policy needs.
    #[error(
        "this is a private key: whoever can read the policy can now sign as its owner; replace that key, and write the public one here"
    )]
    Private,
    /// A certificate instead of its key.
    #[error("this is a certificate: write its public key (openssl x509 -pubkey -noout)")]
    Certificate,
    /// No PEM block with a public key.
    #[error("there is no PEM block that begins with -----BEGIN PUBLIC KEY-----")]
    Missing,
    /// More than one key.
    #[error("there is more than one key: give each an authority of its own")]
    Several,
    /// The block is not what its first line says.
    #[error("the PEM block holds no public key")]
    Malformed,
    /// A kind of key or a curve that nothing here can check.
    #[error("keys are ECDSA on P-256, P-384 or P-521, Ed25519, or RSA")]
    Algorithm,
    /// An RSA key that is too weak, or larger than anybody needs.
    #[error("RSA keys have {} to {} bits; this one has {bits}", RSA_BITS.0, RSA_BITS.1)]
    Size {
        /// How many bits its modulus has.
        bits: usize,
    },
}

impl PublicKey {
    /// Reads the one `PUBLIC KEY` block of a PEM text.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > PEM_LIMIT {
            return Err(KeyError::Malformed);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if text.contains("BEGIN CERTIFICATE-----") {
            return Err(KeyError::Certificate);
        }
        let mut blocks = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
        let spki = blocks.next().ok_or(KeyError::Missing)?.map_err(|_| KeyError::Malformed)?;
        match blocks.next() {
            None => Self::from_der(&spki),
            Some(_) => Err(KeyError::Several),
        }
    }

    fn from_der(spki: &[u8]) -> Result<Self, KeyError> {
        let read = SubjectPublicKeyInfoRef::try_from(spki).map_err(|_| KeyError::Malformed)?;
        let bits = read.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        let curve = || read.algorithm.parameters_oid().map_err(|_| KeyError::Algorithm);
        let algorithm = match read.algorithm.oid {
            EC => match curve()? {
                P256 => KeyAlgorithm::EcdsaP256,
                P384 => KeyAlgorithm::EcdsaP384,
                P521 => KeyAlgorithm::EcdsaP521,
                _ => return Err(KeyError::Algorithm),
            },
            RSA => match rsa_bits(bits).ok_or(KeyError::Malformed)? {
                size if (RSA_BITS.0..=RSA_BITS.1).contains(&size) => KeyAlgorithm::Rsa,
                bits => return Err(KeyError::Size { bits }),
            },
            ED25519 if bits.len() == 32 => KeyAlgorithm::Ed25519,
            ED25519 => return Err(KeyError::Malformed),
            _ => return Err(KeyError::Algorithm),
        };
        Ok(Self { algorithm, spki: spki.into(), bits: bits.into() })
    }

    /// What kind of key it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The whole SubjectPublicKeyInfo, in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key itself: an uncompressed point, an RSAPublicKey in DER, or 32 bytes.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> KeyFingerprint {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.spki);
        // OK because SHA-256 has 32 bytes
        KeyFingerprint::new(hash.as_ref().try_into().unwrap())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?} {})", self.algorithm, self.fingerprint())
    }
}

/// The bits of the modulus in an RSAPublicKey (RFC 8017 §A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let (modulus, _): (UintRef<'_>, UintRef<'_>) =
        reader.sequence(|inner| Ok((UintRef::decode(inner)?, UintRef::decode(inner)?))).ok()?;
    reader.finish(()).ok()?;
    let bytes = modulus.as_bytes();
    let first = bytes.first().filter(|first| **first != 0)?;
    Some(bytes.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// What a policy wants of the transparency log, which makes a signature public: whose key or identity it
/// is can then be watched by its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TransparencyLog {
    /// A log of the trust root holds the signature.
    Required,
    /// If there is a log entry, it holds. Weak: whoever forges a signature leaves the entry out.
    IfPresent,
    /// Nobody looks.
    Ignored,
}
