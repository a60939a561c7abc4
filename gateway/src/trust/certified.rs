//! Letting in devices that show a certificate. The handshake has seen to it that somebody who is believed signed it, and
//! that whoever shows it has its key; here it becomes a device.
//!
//! A certificate that we gave is good as long as its twin has it: of all that stands in it, the hash is what counts. Any
//! other one is good for a device of the enrolment group whose authority signed it, in the tenant of that group.
//!
//! A username, where there is one, must name the same device. A password beside a certificate is refused: which of the two
//! counts is nothing to guess about.

use std::sync::Arc;

use runtime::access::{Denied, Identity, Shown};
use runtime::clock::Clock;
use runtime::directory::{Definitions, Group, Tenant};
use runtime::router::Router;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::{Proof, Secret, Trust};
use twins::twin::Twin;

use super::authority::{self, Chain, Leaf, Roots};
use super::devices::{WRONG, enrol, refused};

/// Knows which certificates let which devices in.
pub(super) struct Certified {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    roots: Arc<Roots>,
}

impl Certified {
    pub(super) fn new(definitions: Arc<dyn Definitions>, clock: Arc<dyn Clock>) -> Self {
        let roots = Arc::new(Roots::of(definitions.clone()));
        Self { definitions, clock, roots }
    }

    pub(super) fn roots(&self) -> Arc<Roots> {
        self.roots.clone()
    }

    /// Lets a device in by the certificate that it shows.
    pub(super) async fn admit(&self, router: &Router, shown: Shown<'_>) -> Result<Identity, Denied> {
        if shown.password.is_some_and(|password| !password.is_empty()) {
            return Err(refused("it shows a certificate and a password; leave one of them out"));
        }
        let certificates = authority::read(shown.certificates);
        let chain = Chain::of(&certificates).ok_or_else(|| refused(WRONG))?;
        let leaf = Leaf::read(chain.first).ok_or_else(|| refused(WRONG))?;
        let (anchors, now) = (self.roots.current(), self.clock.now());
        let id = whose(&leaf, shown.username, || anchors.tenant_of(chain, now))?;
        let directory = self.definitions.current();
        let tenant = directory.tenants.get(id.tenant()).filter(|tenant| !tenant.disabled);
        let tenant = tenant.ok_or_else(|| refused(WRONG))?;
        let twin = router.look(&id).await.map_err(|error| Denied::Later(error.to_string()))?;
        let trust = twin.as_deref().map(Twin::trust);
        let proof = match anchors.is_of_ours(id.tenant(), chain, now) {
            // Where its twin has it no more, it is nobody's.
            true => {
                trust.and_then(|trust| of_ours(tenant, trust, &leaf, now)).ok_or_else(|| refused(WRONG))?
            }
            false => {
                let group =
                    of_group(tenant, trust, &leaf, |name| anchors.is_of_group(id.tenant(), name, chain, now));
                let group = group.ok_or_else(|| refused(WRONG))?;
                enrol(router, &id, trust, group, Some(leaf.since)).await?
            }
        };
        Ok(Identity::Device { twin: id, register: None, proof })
    }
}

/// The device that a certificate names, which a username has to name, too. Where the certificate says nothing of a tenant,
/// the username may; else it is the one tenant of whose authorities one signed.
fn whose<'a>(
    leaf: &'a Leaf,
    username: Option<&'a str>,
    signed_for: impl FnOnce() -> Option<&'a str>,
) -> Result<TwinId, Denied> {
    let username = username.filter(|name| !name.is_empty());
    let said =
        username.map(|name| name.split_once('/').map_or((None, name), |(tenant, id)| (Some(tenant), id)));
    let tenant = leaf.tenant().or(said.and_then(|(tenant, _)| tenant)).or_else(signed_for);
    let id = tenant.and_then(|tenant| leaf.device(tenant)).ok_or_else(|| refused(WRONG))?;
    let agrees = said.is_none_or(|(tenant, device)| {
        device == id.id() && tenant.is_none_or(|tenant| tenant == id.tenant())
    });
    match agrees {
        true => Ok(id),
        false => Err(refused("the username is not the device of the certificate")),
    }
}

/// What a certificate proves that its twin has, of an authority that is still there.
fn of_ours(tenant: &Tenant, trust: &Trust, leaf: &Leaf, now: Timestamp) -> Option<Proof> {
    let own = trust.credentials().iter().find(|credential| match &credential.secret {
        Secret::Certificate { fingerprint, authority, .. } => {
            *fingerprint == leaf.fingerprint && tenant.authorities.contains_key(authority)
        }
        Secret::Key { .. } => false,
    })?;
    own.is_valid(now).then_some(Proof::Credential(own.issue))
}

/// The group whose authority signed: the one that the twin belongs to, or one that registers devices.
fn of_group<'a>(
    tenant: &'a Tenant,
    trust: Option<&Trust>,
    leaf: &Leaf,
    signed: impl Fn(&Name) -> bool,
) -> Option<(&'a Name, &'a Group)> {
    let mut groups = tenant.groups.iter().filter(|(name, group)| match trust {
        Some(trust) => trust.group() == Some(name),
        None => group.registers,
    });
    let (name, group) = groups.find(|(name, group)| group.admits(Some(leaf.since)) && signed(name))?;
    Some((name, group))
}
