//! Whom a node believes when somebody signs for a device: the authorities of all tenants, its own and those of enrolment
//! groups, as the directory has them at that moment.
//!
//! A handshake asks whether any of them signed; a login asks again whether the one did whose device it would be. So no
//! tenant, and no group, is let in by what another one trusts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use runtime::directory::audit::hash;
use runtime::directory::{Definitions, Directory, Trust};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::Fingerprint;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use super::{CHAIN_BYTES_MAX, CHAIN_MAX, Leaf, moment, parse};

/// The roots of the newest version of the directory.
pub struct Roots {
    definitions: Arc<dyn Definitions>,
    /// Those that were asked for last, and of which version they are.
    last: RwLock<(u64, Arc<Anchors>)>,
}

/// The roots of one version: each tenant's by themselves, so that what one of them trusts is no matter to another, not even
/// by what it costs to look at.
#[derive(Debug)]
pub struct Anchors {
    tenants: BTreeMap<String, Tenant>,
    mark: Fingerprint,
}

/// The roots of a tenant.
#[derive(Debug, Default)]
struct Tenant {
    all: Set,
    /// Those of ours.
    own: Set,
    groups: BTreeMap<Name, Set>,
}

/// Some who sign.
#[derive(Debug, Default)]
struct Set {
    anchors: Vec<TrustAnchor<'static>>,
    /// Until when each is believed.
    until: Vec<Timestamp>,
}

/// What a device shows.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// Its own certificate.
    pub first: &'a CertificateDer<'a>,
    /// Those that may lead from it to one who is believed.
    pub others: &'a [CertificateDer<'a>],
}

impl<'a> Chain<'a> {
    /// Of certificates in the order in which a client shows them. `None`: it shows none.
    pub fn of(shown: &'a [CertificateDer<'a>]) -> Option<Self> {
        shown.split_first().map(|(first, others)| Self { first, others })
    }
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbelieved {
    /// A chain of too many certificates, or of too many bytes.
    #[error("the chain has more than {CHAIN_MAX} certificates or {CHAIN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no certificate, names nobody, or is not for clients.
    #[error("it is no certificate of a device: it names none, or is not for client authentication")]
    NoDevice,
    /// It, or who signed it, has expired or is not valid yet.
    #[error("it is not valid now")]
    NotNow,
    /// Nobody who is believed signed it.
    #[error("nobody who is believed signed it")]
    Unknown,
}

impl Roots {
    /// Those of this directory.
    pub fn of(definitions: Arc<dyn Definitions>) -> Self {
        let directory = definitions.current();
        let last = RwLock::new((directory.version, Arc::new(Anchors::of(&directory))));
        Self { definitions, last }
    }

    /// Those of its newest version.
    pub fn current(&self) -> Arc<Anchors> {
        let directory = self.definitions.current();
        {
            let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
            if last.0 >= directory.version {
                return last.1.clone();
            }
        }
        // One makes them; whoever comes meanwhile needs the same.
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.0 < directory.version {
            *last = (directory.version, Arc::new(Anchors::of(&directory)));
        }
        last.1.clone()
    }
}

impl Anchors {
    pub(super) fn of(directory: &Directory) -> Self {
        let (mut tenants, mut bytes) = (BTreeMap::new(), Vec::new());
        for (name, known) in directory.tenants.iter().filter(|(_, known)| !known.disabled) {
            let mut tenant = Tenant::default();
            for (group, known) in known.groups.iter().filter(|(_, known)| !known.disabled) {
                let Trust::Authority { certificates } = &known.trust else { continue };
                let set = tenant.groups.entry(group.clone()).or_default();
                for certificate in certificates {
                    set.add(certificate);
                    tenant.all.add(certificate);
                    bytes.extend_from_slice(certificate);
                }
            }
            for certificate in known.authorities.values().filter_map(|known| known.certificates.first()) {
                tenant.own.add(certificate);
                tenant.all.add(certificate);
                bytes.extend_from_slice(certificate);
            }
            // What was ours stays so when its time is over.
            tenant.own.until.fill(Timestamp::MAX);
            tenants.insert(name.clone(), tenant);
        }
        Self { tenants, mark: hash(&bytes) }
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.tenants.values().all(|tenant| tenant.all.anchors.is_empty())
    }

    /// What tells them from those who are believed in another version.
    pub fn mark(&self) -> Fingerprint {
        self.mark
    }

    /// Whether anybody signed for this who is believed in the tenant that it names, or in any where it names none.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn believe(&self, chain: Chain<'_>, now: Timestamp) -> Result<(), Unbelieved> {
        let path = Path::of(chain)?;
        match path.leaf.tenant() {
            Some(tenant) => self.tenants.get(tenant).ok_or(Unbelieved::Unknown)?.all.believe(&path, now),
            None => {
                let mut refused = Unbelieved::Unknown;
                for tenant in self.tenants.values() {
                    match tenant.all.believe(&path, now) {
                        Err(Unbelieved::Unknown) => {}
                        Err(why) => refused = why,
                        Ok(()) => return Ok(()),
                    }
                }
                Err(refused)
            }
        }
    }

    /// Whether an authority of ours signed for this: then a group that believes who signed for that authority is nothing to
    /// go by.
    pub fn is_of_ours(&self, tenant: &str, chain: Chain<'_>, now: Timestamp) -> bool {
        let set = self.tenants.get(tenant).map(|tenant| &tenant.own);
        set.is_some_and(|set| set.signed(chain, now))
    }

    /// Whether an authority of this group signed for this.
    pub fn is_of_group(&self, tenant: &str, group: &Name, chain: Chain<'_>, now: Timestamp) -> bool {
        let set = self.tenants.get(tenant).and_then(|tenant| tenant.groups.get(group));
        set.is_some_and(|set| set.signed(chain, now))
    }

    /// The tenant of which a group's authority signed for this. There is one: nobody's authority is another one's.
    pub fn tenant_of(&self, chain: Chain<'_>, now: Timestamp) -> Option<&str> {
        let path = Path::of(chain).ok()?;
        let (name, _) = self.tenants.iter().find(|(_, tenant)| tenant.all.believe(&path, now).is_ok())?;
        Some(name)
    }
}

/// A chain that may be looked at: what it costs is bounded, whoever shows it.
struct Path<'a> {
    leaf: Leaf,
    certificate: EndEntityCert<'a>,
    others: &'a [CertificateDer<'a>],
}

impl<'a> Path<'a> {
    fn of(chain: Chain<'a>) -> Result<Self, Unbelieved> {
        let Chain { first, others } = chain;
        let bytes = others.iter().fold(first.len(), |bytes, one| bytes + one.len());
        if others.len() >= CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(Unbelieved::TooLong);
        }
        let leaf = Leaf::read(first).ok_or(Unbelieved::NoDevice)?;
        let certificate = EndEntityCert::try_from(first).map_err(|_| Unbelieved::NoDevice)?;
        Ok(Self { leaf, certificate, others })
    }
}

impl Set {
    /// What cannot be read signs for nobody; it could when it was taken.
    fn add(&mut self, certificate: &[u8]) {
        let until = parse(certificate).map(|certificate| moment(certificate.validity().not_after));
        let certificate = CertificateDer::from(certificate);
        let (Ok(anchor), Some(until)) = (anchor_from_trusted_cert(&certificate), until) else { return };
        match self.anchors.iter().position(|known| *known == anchor) {
            Some(known) => self.until[known] = self.until[known].max(until),
            None => {
                self.anchors.push(anchor.to_owned());
                self.until.push(until);
            }
        }
    }

    fn signed(&self, chain: Chain<'_>, now: Timestamp) -> bool {
        Path::of(chain).is_ok_and(|path| self.believe(&path, now).is_ok())
    }

    fn believe(&self, path: &Path<'_>, now: Timestamp) -> Result<(), Unbelieved> {
        // A root has no date to whoever verifies, so that this is asked of each path.
        let is_valid = |path: &VerifiedPath<'_>| {
            let mut signers = self.anchors.iter().zip(&self.until);
            match signers.any(|(anchor, until)| anchor == path.anchor() && now < *until) {
                true => Ok(()),
                false => Err(webpki::Error::UnknownIssuer),
            }
        };
        let (leaf, others) = (&path.certificate, path.others);
        let time = UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis()));
        let algorithms = default_provider().signature_verification_algorithms.all;
        let usage = KeyUsage::client_auth();
        let verified =
            leaf.verify_for_usage(algorithms, &self.anchors, others, time, usage, None, Some(&is_valid));
        verified.map(drop).map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => Unbelieved::NotNow,
            _ => Unbelieved::Unknown,
        })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots")
    }
}
