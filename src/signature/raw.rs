//! Signatures of keys over bytes. The key's kind says how; neither a signature nor an annotation chooses.

use aws_lc_rs::{
    digest::{Digest as Hash, SHA256},
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1,
        ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use ed25519_dalek::{Digest as _, Sha512};

use crate::{
    evidence::Rejection,
    image::Digest,
    policy::{KeyAlgorithm, PublicKey},
};

/// Whether `signature` is one of `key` over `message`.
///
/// cosign hashes by the curve; other tools sign with SHA-256 on any curve, and with Ed25519 unhashed.
pub(super) fn holds(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let verifies = |algorithm: &'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(algorithm, key.bits()).verify(message, signature).is_ok()
    };
    match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => verifies(&ECDSA_P256_SHA256_ASN1),
        KeyAlgorithm::EcdsaP384 => verifies(&ECDSA_P384_SHA384_ASN1) || verifies(&ECDSA_P384_SHA256_ASN1),
        KeyAlgorithm::EcdsaP521 => verifies(&ECDSA_P521_SHA512_ASN1) || verifies(&ECDSA_P521_SHA256_ASN1),
        KeyAlgorithm::Rsa => verifies(&RSA_PKCS1_2048_8192_SHA256),
        KeyAlgorithm::Ed25519 => holds_prehashed(key, message, signature) || verifies(&ED25519),
    }
}

/// Whether `signature` is one of `key` over the image's manifest, of which only the digest is at hand.
pub(super) fn holds_for_digest(key: &PublicKey, image: &Digest, signature: &[u8]) -> Result<bool, Rejection> {
    let unsupported = |what: &str| Err(Rejection::Unsupported(what.to_owned()));
    let algorithm: &'static dyn VerificationAlgorithm = match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcdsaP384 => &ECDSA_P384_SHA256_ASN1,
        KeyAlgorithm::EcdsaP521 => &ECDSA_P521_SHA256_ASN1,
        KeyAlgorithm::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::Ed25519 => return unsupported("a signature of a bare digest with Ed25519"),
    };
    let Ok(hash) = Hash::import_less_safe(&image.bytes(), &SHA256) else {
        return unsupported("a signature of a bare digest that is not SHA-256");
    };
    Ok(UnparsedPublicKey::new(algorithm, key.bits()).verify_digest(&hash, signature).is_ok())
}

/// Ed25519ph with an empty context (RFC 8032 §5.1), which is how cosign signs with Ed25519.
fn holds_prehashed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let key = <&[u8; 32]>::try_from(key.bits())
        .ok()
        .and_then(|bits| ed25519_dalek::VerifyingKey::from_bytes(bits).ok());
    let signature = ed25519_dalek::Signature::from_slice(signature);
    let (Some(key), Ok(signature)) = (key, signature) else { return false };
    key.verify_prehashed_strict(Sha512::new_with_prefix(message), None, &signature).is_ok()
}
