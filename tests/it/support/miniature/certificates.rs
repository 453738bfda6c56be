//! The certificate authority, and what it issues.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use x509_cert::der::{Decode as _, Encode as _};

use super::{ALWAYS, Key, Log, Period, SIGNED, sha256};

/// A root, and the intermediate that issues for it, as Fulcio has them. All of this kind have the same names.
#[derive(Clone)]
pub struct CertificateAuthority {
    /// The root's key.
    pub root: Key,
    /// When the root's certificate is valid.
    pub root_valid: Period,
    /// The intermediate's key.
    pub intermediate: Key,
    /// When the intermediate's certificate is valid.
    pub intermediate_valid: Period,
    /// Whether the trust root lists the intermediate, as those of Sigstore do. If not, it is for the signer to
    /// [carry](Leaf::carries_intermediate) it.
    pub lists_intermediate: bool,
    /// From when to when the trust root says that the authority can be trusted.
    pub trusted: Period,
}

impl CertificateAuthority {
    /// A new authority.
    pub fn new() -> Self {
        Self {
            root: Key::new(),
            root_valid: ALWAYS,
            intermediate: Key::new(),
            intermediate_valid: ALWAYS,
            lists_intermediate: true,
            trusted: ALWAYS,
        }
    }

    /// The certificates that the trust root lists, the root last.
    pub fn listed(&self) -> Vec<Vec<u8>> {
        let root = der(&self.root_params().self_signed(&*self.root.0).unwrap());
        if self.lists_intermediate { vec![self.intermediate_certificate(), root] } else { vec![root] }
    }

    /// The intermediate's certificate.
    pub fn intermediate_certificate(&self) -> Vec<u8> {
        let params = self.intermediate_params();
        der(&params
            .signed_by(&*self.intermediate.0, &Issuer::new(self.root_params(), &*self.root.0))
            .unwrap())
    }

    /// A certificate for whoever holds `key`.
    pub fn issue(&self, leaf: &Leaf, key: &Key, log: &Log) -> Vec<u8> {
        let authority = leaf.by.as_ref().unwrap_or(self);
        let issuer = Issuer::new(authority.intermediate_params(), &*authority.intermediate.0);
        let sign = |params: &CertificateParams| der(&params.signed_by(&*key.0, &issuer).unwrap());
        let mut params = leaf.params();
        let precertificate = tbs(&sign(&params));
        let scts = leaf.scts.iter().map(|sct| {
            let logged = if sct.of_another {
                let mut other = params.clone();
                other.serial_number = Some(SerialNumber::from_slice(&[2]));
                tbs(&sign(&other))
            } else {
                precertificate.clone()
            };
            sct.signed(&logged, &authority.intermediate, log)
        });
        let scts: Vec<u8> = scts.flat_map(|sct| prefixed(&sct)).collect();
        if !leaf.scts.is_empty() {
            let list = yasna::construct_der(|writer| writer.write_bytes(&prefixed(&scts)));
            params.custom_extensions.push(CustomExtension::from_oid_content(SCT_LIST, list));
        }
        sign(&params)
    }

    fn root_params(&self) -> CertificateParams {
        authority("root", &self.root_valid, BasicConstraints::Unconstrained)
    }

    fn intermediate_params(&self) -> CertificateParams {
        let mut params =
            authority("intermediate", &self.intermediate_valid, BasicConstraints::Constrained(0));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params
    }
}

/// The extension that holds SCTs (RFC 6962 §3.3).
const SCT_LIST: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
/// Fulcio's extensions for the issuer: the old one with bare bytes, the new one with a UTF8String.
const ISSUER_V1: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];
const ISSUER_V2: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 8];

/// What a signer's certificate shall say.
#[derive(Clone)]
pub struct Leaf {
    /// Who holds it.
    pub subject: Subject,
    /// Who vouched for the subject.
    pub issuer: Option<String>,
    /// When it is valid.
    pub valid: Period,
    /// What its key is for.
    pub usages: Vec<ExtendedKeyUsagePurpose>,
    /// Whether its holder may issue certificates himself.
    pub is_authority: bool,
    /// Whose key it is about; none if the signer's.
    pub key: Option<Key>,
    /// Who issues it; none if the instance's authority.
    pub by: Option<CertificateAuthority>,
    /// Promises to log it.
    pub scts: Vec<Sct>,
    /// Whether the intermediate's certificate comes with it, where a format has room for it.
    pub carries_intermediate: bool,
}

/// A certificate's subject alternative name.
#[derive(Clone)]
pub enum Subject {
    /// A machine's or a workflow's.
    Uri(String),
    /// A person's.
    Email(String),
    /// Nobody's.
    Nobody,
}

/// A signed certificate timestamp.
#[derive(Clone)]
pub struct Sct {
    /// Whose key signs it; none if the log's.
    pub by: Option<Key>,
    /// When, in seconds since 1970.
    pub time: i64,
    /// Whether it was signed over another certificate, of the same holder and key.
    pub of_another: bool,
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            subject: Subject::Uri(
                "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1".to_owned(),
            ),
            issuer: Some("https://token.actions.githubusercontent.com".to_owned()),
            valid: SIGNED - 60..=SIGNED + 540,
            usages: vec![ExtendedKeyUsagePurpose::CodeSigning],
            is_authority: false,
            key: None,
            by: None,
            scts: vec![Sct::default()],
            carries_intermediate: false,
        }
    }
}

impl Default for Sct {
    fn default() -> Self {
        Self { by: None, time: SIGNED - 60, of_another: false }
    }
}

impl Leaf {
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        set_validity(&mut params, &self.valid);
        params.serial_number = Some(SerialNumber::from_slice(&[1]));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.subject_alt_names = match &self.subject {
            Subject::Uri(uri) => vec![SanType::URI(uri.as_str().try_into().unwrap())],
            Subject::Email(email) => vec![SanType::Rfc822Name(email.as_str().try_into().unwrap())],
            Subject::Nobody => vec![],
        };
        if let Some(issuer) = &self.issuer {
            let text = yasna::construct_der(|writer| writer.write_utf8_string(issuer));
            params.custom_extensions = vec![
                CustomExtension::from_oid_content(ISSUER_V1, issuer.as_bytes().to_vec()),
                CustomExtension::from_oid_content(ISSUER_V2, text),
            ];
        }
        params
    }
}

impl Sct {
    /// RFC 6962 §3.2: version 1, by ECDSA with SHA-256, without extensions.
    fn signed(&self, tbs: &[u8], issuer: &Key, log: &Log) -> Vec<u8> {
        let key = self.by.as_ref().unwrap_or(&log.key);
        let time = u64::try_from(self.time * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
        let of = [&[0, 0][..], &time, &[0, 1], &sha256(&issuer.spki()), &length[1..], tbs, &[0, 0]].concat();
        let signature = prefixed(&key.sign(&of));
        [&[0][..], &key.id(), &time, &[0, 0], &[4, 3], &signature].concat()
    }
}

/// The bytes behind their length in two bytes.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// What an authority's own certificate says.
pub(super) fn authority(name: &str, valid: &Period, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "example.com");
    params.distinguished_name.push(DnType::CommonName, name);
    set_validity(&mut params, valid);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Makes the certificate valid in this time.
pub(super) fn set_validity(params: &mut CertificateParams, valid: &Period) {
    let moment = |second: &i64| {
        date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(u64::try_from(*second).unwrap())
    };
    (params.not_before, params.not_after) = (moment(valid.start()), moment(valid.end()));
}

pub(super) fn der(certificate: &Certificate) -> Vec<u8> {
    certificate.der().to_vec()
}

/// The part of a certificate that is signed.
fn tbs(certificate: &[u8]) -> Vec<u8> {
    x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate.to_der().unwrap()
}

/// A certificate's issuer and serial number, each in DER.
pub(super) fn issuer_and_serial(certificate: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let tbs = x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate;
    (tbs.issuer.to_der().unwrap(), tbs.serial_number.to_der().unwrap())
}
