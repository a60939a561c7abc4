//! The files of a certificate: PEM, read whole and checked together, so that half of a renewal is never shown.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The largest file that is read: a hundred certificates.
const BYTES_MAX: u64 = 256 << 10;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The node's certificate, then those that signed it, up to the one below the root: PEM.
    pub certificate: PathBuf,
    /// Its private key: PEM, not encrypted.
    pub key: PathBuf,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {}: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A file is larger than any certificate.
    #[error("{} has more than {BYTES_MAX} bytes, which is no certificate", .0.display())]
    TooLarge(PathBuf),
    /// It is not PEM, or not of that.
    #[error("{} holds no {what} in PEM: {why}", file.display())]
    NoPem {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The two do not belong together, or the key is of a sort that is not known.
    #[error("{} and {} do not go together: {why}", certificate.display(), key.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        why: rustls::Error,
    },
    /// The keys of tickets could not be made, for want of randomness.
    #[error("preparing TLS: {0}")]
    Unprepared(rustls::Error),
}

/// What stands in the files.
#[derive(PartialEq, Eq)]
pub(super) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub(super) fn read(&self) -> Result<Content, Error> {
        Ok(Content { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }
}

impl Content {
    /// The certificate with its key, which belong together.
    pub(super) fn certified(&self, files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        let no_pem = |file: &Path, what, why: String| Error::NoPem { file: file.to_owned(), what, why };
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|why| no_pem(&files.certificate, "certificate", why.to_string()))?;
        if chain.is_empty() {
            return Err(no_pem(&files.certificate, "certificate", "it has none".to_owned()));
        }
        // What stands in the file of a key is never shown, also not in an error.
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key =
            key.map_err(|_| no_pem(&files.key, "private key", "it has none that is whole".to_owned()))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|why| Error::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why,
        })
    }
}

/// Without what stands in it.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |why| Error::Unreadable { file: file.to_owned(), why };
    let mut bytes = Vec::new();
    let mut opened = std::fs::File::open(file).map_err(unreadable)?.take(BYTES_MAX + 1);
    opened.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::TooLarge(file.to_owned()));
    }
    Ok(bytes)
}
