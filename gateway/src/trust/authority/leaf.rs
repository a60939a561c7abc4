//! The certificate that a device shows: whom it names, and since when and until when it is valid.
//!
//! A name of ours, `urn:twinfold:TENANT:DEVICE` among its alternative names, goes before its common name. Where there is
//! one it has to be whole and alone: a certificate that says two things says nothing.

use rustls::pki_types::CertificateDer;
use twins::id::TwinId;
use twins::time::Timestamp;
use twins::trust::Fingerprint;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use runtime::directory::audit::hash;

use super::{moment, parse};

/// What begins a name of ours.
const URN: &str = "urn:twinfold:";
/// What parts the tenant from the device, and how it is written within a tenant's name.
const COLON: (&str, &str) = (":", "%3A");

/// What a device's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    named: Named,
    /// Since when it is valid.
    pub since: Timestamp,
    /// Until when it is.
    pub until: Timestamp,
    /// SHA-256 of its DER form.
    pub fingerprint: Fingerprint,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// By a name of ours.
    Whole(TwinId),
    /// By its common name, which says nothing of a tenant.
    Common(String),
}

/// The name of ours that a device has.
pub(super) fn urn(device: &TwinId) -> String {
    format!("{URN}{}:{}", device.tenant().replace(COLON.0, COLON.1), device.id())
}

impl Leaf {
    /// Reads it. `None`: it is none, names nobody, or is not for clients.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = parse(der)?;
        let usage = certificate.extended_key_usage().ok()??;
        if !usage.value.client_auth {
            return None;
        }
        let (since, until) = (certificate.validity().not_before, certificate.validity().not_after);
        let fingerprint = hash(der);
        Some(Self {
            named: Named::of(&certificate)?,
            since: moment(since),
            until: moment(until),
            fingerprint,
        })
    }

    /// The tenant that it names itself.
    pub fn tenant(&self) -> Option<&str> {
        match &self.named {
            Named::Whole(twin) => Some(twin.tenant()),
            Named::Common(_) => None,
        }
    }

    /// The device that it names, where the tenant is this one.
    pub fn device(&self, tenant: &str) -> Option<TwinId> {
        match &self.named {
            Named::Whole(twin) => (twin.tenant() == tenant).then(|| twin.clone()),
            Named::Common(name) => TwinId::new(tenant, name).ok(),
        }
    }
}

impl Named {
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let mut ours = names.filter_map(|name| match name {
            // Of a URN, case counts only behind its name space (RFC 8141).
            GeneralName::URI(uri) => {
                let (start, rest) = uri.split_at_checked(URN.len())?;
                start.eq_ignore_ascii_case(URN).then_some(rest)
            }
            _ => None,
        });
        match (ours.next(), ours.next()) {
            (Some(name), None) => {
                let (tenant, device) = name.split_once(COLON.0)?;
                return TwinId::new(&tenant.replace(COLON.1, COLON.0), device).ok().map(Self::Whole);
            }
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        let mut common = certificate.subject().iter_common_name();
        let name = common.next()?.as_str().ok()?;
        common.next().is_none().then(|| Self::Common(name.to_owned()))
    }
}
