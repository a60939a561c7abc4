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

/// The roots of one version.
#[derive(Debug)]
pub struct Anchors {
    all: Set,
    /// Those of ours, in each tenant.
    own: BTreeMap<String, Set>,
    groups: BTreeMap<String, BTreeMap<Name, Set>>,
    mark: Fingerprint,
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
        let anchors = Arc::new(Anchors::of(&directory));
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.0 < directory.version {
            *last = (directory.version, anchors);
        }
        last.1.clone()
    }
}

impl Anchors {
    pub(super) fn of(directory: &Directory) -> Self {
        let (mut all, mut bytes) = (Set::default(), Vec::new());
        let (mut own, mut groups) = (BTreeMap::new(), BTreeMap::new());
        let tenants = directory.tenants.iter().filter(|(_, tenant)| !tenant.disabled);
        for (name, tenant) in tenants {
            let mut of_tenant = BTreeMap::<Name, Set>::new();
            for (group, known) in tenant.groups.iter().filter(|(_, known)| !known.disabled) {
                let Trust::Authority { certificates } = &known.trust else { continue };
                let set = of_tenant.entry(group.clone()).or_default();
                for certificate in certificates {
                    set.add(certificate);
                    all.add(certificate);
                    bytes.extend_from_slice(certificate);
                }
            }
            let mut ours = Set::default();
            for certificate in tenant.authorities.values().filter_map(|known| known.certificates.first()) {
                ours.add(certificate);
                all.add(certificate);
                bytes.extend_from_slice(certificate);
            }
            // What was ours stays so when its time is over.
            ours.until.fill(Timestamp::MAX);
            own.insert(name.clone(), ours);
            groups.insert(name.clone(), of_tenant);
        }
        Self { all, own, groups, mark: hash(&bytes) }
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.all.anchors.is_empty()
    }

    /// What tells them from those who are believed in another version.
    pub fn mark(&self) -> Fingerprint {
        self.mark
    }

    /// Whether anybody who is believed signed for this.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn believe(&self, chain: Chain<'_>, now: Timestamp) -> Result<(), Unbelieved> {
        self.all.believe(chain, now)
    }

    /// Whether an authority of ours signed for this: then a group that believes who signed for that authority is nothing to
    /// go by.
    pub fn is_of_ours(&self, tenant: &str, chain: Chain<'_>, now: Timestamp) -> bool {
        self.own.get(tenant).is_some_and(|set| set.believe(chain, now).is_ok())
    }

    /// Whether an authority of this group signed for this.
    pub fn is_of_group(&self, tenant: &str, group: &Name, chain: Chain<'_>, now: Timestamp) -> bool {
        let set = self.groups.get(tenant).and_then(|groups| groups.get(group));
        set.is_some_and(|set| set.believe(chain, now).is_ok())
    }

    /// The tenant of which a group's authority signed for this, if it is of one alone.
    pub fn tenant_of(&self, chain: Chain<'_>, now: Timestamp) -> Option<&str> {
        let signed = |groups: &BTreeMap<_, Set>| groups.values().any(|set| set.believe(chain, now).is_ok());
        let mut tenants = self.groups.iter().filter(|(_, groups)| signed(groups));
        let (name, _) = tenants.next()?;
        tenants.next().is_none().then_some(name)
    }
}

impl Set {
    /// What cannot be read signs for nobody; it could when it was taken.
    fn add(&mut self, certificate: &[u8]) {
        let until = parse(certificate).map(|certificate| moment(certificate.validity().not_after));
        let certificate = CertificateDer::from(certificate);
        if let (Ok(anchor), Some(until)) = (anchor_from_trusted_cert(&certificate), until) {
            self.anchors.push(anchor.to_owned());
            self.until.push(until);
        }
    }

    fn believe(&self, chain: Chain<'_>, now: Timestamp) -> Result<(), Unbelieved> {
        let Chain { first, others } = chain;
        let bytes = others.iter().fold(first.len(), |bytes, one| bytes + one.len());
        if others.len() >= CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(Unbelieved::TooLong);
        }
        Leaf::read(first).ok_or(Unbelieved::NoDevice)?;
        let leaf = EndEntityCert::try_from(first).map_err(|_| Unbelieved::NoDevice)?;
        // A root has no date to whoever verifies, so that this is asked of each path.
        let is_valid = |path: &VerifiedPath<'_>| {
            let mut signers = self.anchors.iter().zip(&self.until);
            match signers.any(|(anchor, until)| anchor == path.anchor() && now < *until) {
                true => Ok(()),
                false => Err(webpki::Error::UnknownIssuer),
            }
        };
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
