//! The webhook's certificate: read from files, and read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_cert::der::Decode as _;

/// The largest PEM file that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A file is no PEM with what belongs into it.
    #[error("{}: {problem}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key do not belong together, or the key is of no kind that we sign with.
    #[error("the key in {} does not fit the certificate in {}: {cause}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        cause: rustls::Error,
    },
}

/// A certificate that follows its files.
///
/// The content is compared, not the files' dates, so a Secret volume that swaps a symlink and a file
/// that is written in place are noticed alike. A new pair that cannot be used, such as one that is
/// half written, leaves the last good one in use.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Certificate {
    /// Reads a PEM certificate chain, the server's own first, and its unencrypted PEM key.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let content = (read(&certificate)?, read(&key)?);
        let pair = parse(&content, &certificate, &key, &provider)?;
        let current = ArcSwap::from_pointee(pair);
        Ok(Arc::new(Self { certificate, key, provider, current, seen: Mutex::new(content) }))
    }

    /// A server's configuration: TLS 1.2 and 1.3, HTTP/1.1, no client certificates.
    pub fn server_config(self: &Arc<Self>) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            // OK because the provider has cipher suites for both versions
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// Reads the files again. `Ok(true)` if there is a new certificate, `Ok(false)` if nothing changed.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let content = (read(&self.certificate)?, read(&self.key)?);
        // OK because nothing that holds this lock can panic
        let mut seen = self.seen.lock().unwrap();
        if *seen == content {
            return Ok(false);
        }
        let pair = parse(&content, &self.certificate, &self.key, &self.provider)?;
        *seen = content;
        self.current.store(Arc::new(pair));
        Ok(true)
    }

    /// When what is shown can no longer be believed, in seconds since 1970: the earliest end of a certificate in the chain
    /// (RFC 5280 §4.1.2.5). None if one of them cannot be read: nobody knows then.
    pub fn expiry(&self) -> Option<i64> {
        let ends: Option<Vec<_>> = self.current.load().cert.iter().map(not_after).collect();
        ends?.into_iter().min()
    }

    /// Looks at the files for ever, and tells `hear` of every new certificate and every failure that
    /// is not the last one again.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        mut hear: impl FnMut(Result<(), CertificateError>) + Send + 'static,
    ) {
        let mut last_failure = None;
        loop {
            tokio::time::sleep(every).await;
            let certificate = self.clone();
            match tokio::task::spawn_blocking(move || certificate.reload()).await {
                Ok(Ok(changed)) => {
                    last_failure = None;
                    if changed {
                        hear(Ok(()));
                    }
                }
                Ok(Err(error)) => {
                    let text = error.to_string();
                    if last_failure.as_ref() != Some(&text) {
                        last_failure = Some(text);
                        hear(Err(error));
                    }
                }
                // The runtime shuts down.
                Err(_) => return,
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    i64::try_from(end.as_secs()).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut content = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, FILE_LIMIT), &mut content));
    read.map_err(|cause| CertificateError::Io { path: path.to_owned(), cause })?;
    Ok(content)
}

fn parse(
    (certificate, key): &(Vec<u8>, Vec<u8>),
    certificate_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let pem = |path: &Path, problem: String| CertificateError::Pem { path: path.to_owned(), problem };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(certificate_path, format!("no PEM certificate chain: {error}")))?;
    if chain.is_empty() {
        return Err(pem(certificate_path, "holds no CERTIFICATE block".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        // The parser's words could repeat what is in the file.
        pem(key_path, "holds no unencrypted private key (PKCS#8, SEC1 or PKCS#1 PEM)".to_owned())
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|cause| CertificateError::Mismatch {
        certificate: certificate_path.to_owned(),
        key: key_path.to_owned(),
        cause,
    })
}
