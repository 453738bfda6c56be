//! Timestamp authorities (RFC 3161).

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SerialNumber};
use yasna::{DERWriter, Tag, models::ObjectIdentifier};

use super::{
    ALWAYS, Key, Period, SIGNED,
    certificates::{authority, der, issuer_and_serial},
    sha256,
};

/// An authority that says when something was signed. All of this kind have the same names.
#[derive(Clone)]
pub struct TimestampAuthority {
    /// The root's key.
    pub root: Key,
    /// When the root's certificate is valid.
    pub root_valid: Period,
    /// The key that signs tokens.
    pub key: Key,
    /// When the certificate of that key is valid.
    pub valid: Period,
    /// What that key is for.
    pub usages: Vec<ExtendedKeyUsagePurpose>,
    /// From when to when the trust root says that the authority can be trusted.
    pub trusted: Period,
}

impl TimestampAuthority {
    /// A new authority.
    pub fn new() -> Self {
        Self {
            root: Key::new(),
            root_valid: ALWAYS,
            key: Key::new(),
            valid: ALWAYS,
            usages: vec![ExtendedKeyUsagePurpose::TimeStamping],
            trusted: ALWAYS,
        }
    }

    /// Its certificate and that of its root.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let root = authority("timestamp root", &self.root_valid, BasicConstraints::Unconstrained);
        let certificate = der(&root.self_signed(&*self.root.0).unwrap());
        let mut params = authority("timestamps", &self.valid, BasicConstraints::Unconstrained);
        params.is_ca = IsCa::NoCa;
        params.serial_number = Some(SerialNumber::from_slice(&[1]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        let issued = params.signed_by(&*self.key.0, &Issuer::new(root, &*self.root.0)).unwrap();
        vec![der(&issued), certificate]
    }
}

/// A timestamp.
#[derive(Clone)]
pub struct Token {
    /// Who gives it; none if the instance's first authority.
    pub by: Option<TimestampAuthority>,
    /// Whose key signs it; none if the authority's.
    pub key: Option<Key>,
    /// Which time it says.
    pub time: i64,
    /// Of what; none if of the signature.
    pub over: Option<Vec<u8>>,
    /// Whether the authority's answer is that it granted it.
    pub granted: bool,
}

impl Default for Token {
    fn default() -> Self {
        Self { by: None, key: None, time: SIGNED, over: None, granted: true }
    }
}

const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const SIGNED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 2];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113549, 1, 9, 4];
const TST_INFO: &[u64] = &[1, 2, 840, 113549, 1, 9, 16, 1, 4];
/// Some policy of the authority's. Any will do.
const POLICY: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 2];
const GENERALIZED_TIME: Tag = Tag { tag_class: yasna::TagClass::Universal, tag_number: 24 };

impl Token {
    /// The authority's answer (TimeStampResp) about `signature`.
    pub(super) fn answer(&self, instance: &TimestampAuthority, signature: &[u8]) -> Vec<u8> {
        let authority = self.by.as_ref().unwrap_or(instance);
        let info = self.info(self.over.as_deref().unwrap_or(signature));
        let token = self.signed_data(authority, &info);
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                let status = if self.granted { 0 } else { 2 };
                writer.next().write_sequence(|writer| writer.next().write_u8(status));
                writer.next().write_sequence(|writer| {
                    oid(writer.next(), SIGNED_DATA);
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_der(&token));
                });
            });
        })
    }

    /// TSTInfo (RFC 3161 §2.4.2).
    fn info(&self, over: &[u8]) -> Vec<u8> {
        let time = jiff::Timestamp::from_second(self.time).unwrap().strftime("%Y%m%d%H%M%SZ").to_string();
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(1);
                oid(writer.next(), POLICY);
                writer.next().write_sequence(|writer| {
                    algorithm(writer.next(), SHA256);
                    writer.next().write_bytes(&sha256(over));
                });
                writer.next().write_u8(1);
                writer
                    .next()
                    .write_tagged_implicit(GENERALIZED_TIME, |writer| writer.write_bytes(time.as_bytes()));
            });
        })
    }

    /// SignedData (RFC 5652 §5.1) with one signer and no certificates.
    fn signed_data(&self, authority: &TimestampAuthority, info: &[u8]) -> Vec<u8> {
        let attributes = |writer: DERWriter<'_>| {
            writer.write_set_of(|writer| {
                for (kind, value) in [
                    (CONTENT_TYPE, yasna::construct_der(|writer| oid(writer, TST_INFO))),
                    (MESSAGE_DIGEST, yasna::construct_der(|writer| writer.write_bytes(&sha256(info)))),
                ] {
                    writer.next().write_sequence(|writer| {
                        oid(writer.next(), kind);
                        writer.next().write_set(|writer| writer.next().write_der(&value));
                    });
                }
            });
        };
        let signature = self.key.as_ref().unwrap_or(&authority.key).sign(&yasna::construct_der(attributes));
        let (issuer, serial) = issuer_and_serial(&authority.chain()[0]);
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(3);
                writer.next().write_set(|writer| algorithm(writer.next(), SHA256));
                writer.next().write_sequence(|writer| {
                    oid(writer.next(), TST_INFO);
                    writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(info));
                });
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_u8(1);
                        writer.next().write_sequence(|writer| {
                            writer.next().write_der(&issuer);
                            writer.next().write_der(&serial);
                        });
                        algorithm(writer.next(), SHA256);
                        writer.next().write_tagged_implicit(Tag::context(0), attributes);
                        algorithm(writer.next(), ECDSA_SHA256);
                        writer.next().write_bytes(&signature);
                    });
                });
            });
        })
    }
}

fn oid(writer: DERWriter<'_>, components: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(components));
}

fn algorithm(writer: DERWriter<'_>, components: &[u64]) {
    writer.write_sequence(|writer| oid(writer.next(), components));
}
