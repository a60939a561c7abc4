//! What the devices of a load show, and who gives it to them: an enrolment group of the measured node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
};
use rcgen::{KeyPair, KeyUsagePurpose, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::json;

use crate::cli::client::{Call, Target};

use super::Error;

/// The group whose devices a load is.
const GROUP: &str = "bench";
/// What the measured node is called in its certificate.
pub(super) const HOST: &str = "localhost";

/// What the devices of a load show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Credentials {
    /// Nothing: the node is `dev`, or a broker that asks for nothing
    #[default]
    None,
    /// A key as password: the node is `serve`, without TLS
    Key,
    /// A certificate: the node is `serve`, with TLS
    Certificate,
}

/// What one device shows.
#[derive(Clone)]
pub(super) enum Shown {
    Nothing,
    Key(String),
    Certificate(Arc<ClientConfig>),
}

/// Who gives the devices of a load what they show.
#[derive(Clone)]
pub(super) enum Giver {
    Nobody,
    /// The node derives a key for each.
    Node(Target),
    Authority(Arc<Authority>),
}

/// An authority whose certificates let devices in.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    root: String,
    /// What the node shows.
    node: CertificateDer<'static>,
}

/// The certificate of a measured node, in a folder: `node.pem`, `node.key`.
pub(super) struct OwnCertificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    shown: CertificateDer<'static>,
}

#[derive(Deserialize)]
struct Derived {
    key: String,
}

impl Credentials {
    /// Its name on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Key => "key",
            Self::Certificate => "certificate",
        }
    }
}

impl Shown {
    /// The TLS that it speaks, if it does.
    pub(super) fn config(&self) -> Option<Arc<ClientConfig>> {
        match self {
            Self::Nothing | Self::Key(_) => None,
            Self::Certificate(config) => Some(config.clone()),
        }
    }

    /// What it says as password.
    pub(super) fn password(&self) -> Option<&str> {
        match self {
            Self::Nothing | Self::Certificate(_) => None,
            Self::Key(key) => Some(key),
        }
    }
}

impl OwnCertificate {
    pub(super) fn make(folder: &Path) -> Result<Self, Error> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([HOST.to_owned()]).map_err(refused)?;
        let made =
            Self { chain: folder.join("node.pem"), key: folder.join("node.key"), shown: cert.der().clone() };
        for (file, pem) in [(&made.chain, cert.pem()), (&made.key, signing_key.serialize_pem())] {
            std::fs::write(file, pem).map_err(|why| Error::Data(file.clone(), why))?;
        }
        Ok(made)
    }
}

impl Giver {
    /// Makes the group at a node in the open.
    pub(super) fn enrol(
        credentials: Credentials,
        node: &Target,
        shown: &OwnCertificate,
    ) -> Result<Self, Error> {
        let mut body = json!({"name": GROUP, "registers": true});
        let giver = match credentials {
            Credentials::None => return Ok(Self::Nobody),
            Credentials::Key => {
                body["generate_key"] = true.into();
                Self::Node(node.clone())
            }
            Credentials::Certificate => {
                let authority = Authority::new(shown.shown.clone())?;
                body["ca"] = authority.root.clone().into();
                Self::Authority(Arc::new(authority))
            }
        };
        Call::post(&["enrolment-groups"], &body).send(node).map_err(refused)?;
        Ok(giver)
    }

    /// What a device shows each time it connects.
    pub(super) fn give(&self, device: &str) -> Result<Shown, Error> {
        Ok(match self {
            Self::Nobody => Shown::Nothing,
            Self::Node(node) => {
                let call = Call::post(&["enrolment-groups", GROUP, "keys"], &json!({"device_id": device}));
                let Derived { key } = call.send(node).and_then(|answer| answer.read()).map_err(refused)?;
                Shown::Key(key)
            }
            Self::Authority(authority) => {
                let mut config = authority.sign(device)?;
                // Each handshake is a full one.
                config.resumption = Resumption::disabled();
                Shown::Certificate(Arc::new(config))
            }
        })
    }
}

impl Authority {
    fn new(node: CertificateDer<'static>) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(refused)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, GROUP);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).map_err(refused)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root, node })
    }

    /// A client of TLS that shows a certificate of this device.
    pub(super) fn sign(&self, device: &str) -> Result<ClientConfig, Error> {
        let key = KeyPair::generate().map_err(refused)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&key, &self.issuer).map_err(refused)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.node.clone()).map_err(refused)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![signed.der().clone()], key)
            .map_err(refused)
    }
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::Credentials(why.to_string())
}
