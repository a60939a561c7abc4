//! Letting in devices that show a certificate. The handshake has seen to it that somebody who is believed signed it, and
//! that whoever shows it has its key; here it becomes a device.
//!
//! A certificate that we gave is good as long as its twin has it: of all that stands in it, the hash is what counts. Any
//! other one is good for a device of the enrolment group whose authority signed it, in the tenant of that group.
//!
//! Nobody guesses a certificate, so that one that is right waits for nobody who guesses. One that is wrong is counted with
//! what is guessed, and waits its turn to hear so: it was stolen, or is used by another device than its own.
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
use super::devices::{WRONG, enrol, refused, too_often};
use super::failures::Why;
use super::guesses::Guesses;

/// Knows which certificates let which devices in.
pub(super) struct Certified {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    roots: Arc<Roots>,
    guesses: Guesses,
}

impl Certified {
    pub(super) fn new(definitions: Arc<dyn Definitions>, clock: Arc<dyn Clock>, guesses: Guesses) -> Self {
        let roots = Arc::new(Roots::of(definitions.clone()));
        Self { definitions, clock, roots, guesses }
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
        let (id, agrees) = whose(&leaf, shown.username, || anchors.tenant_of(chain, now))?;
        let twin = router.look(&id).await.map_err(|error| Denied::Later(error.to_string()))?;
        let trust = twin.as_deref().map(Twin::trust);
        let directory = self.definitions.current();
        let tenant = directory.tenants.get(id.tenant()).filter(|tenant| !tenant.disabled && agrees);
        let proof = match tenant {
            None => None,
            // Where its twin has it no more, it is nobody's.
            Some(tenant) if anchors.is_of_ours(id.tenant(), chain, now) => {
                trust.and_then(|trust| of_ours(tenant, trust, &leaf, now))
            }
            Some(tenant) => {
                let signed = |name: &Name| anchors.is_of_group(id.tenant(), name, chain, now);
                match of_group(tenant, trust, &leaf, signed) {
                    Some(group) => {
                        Some(enrol(router, &id, trust, group, Some((leaf.since, leaf.until))).await?)
                    }
                    None => None,
                }
            }
        };
        match proof {
            Some(proof) => Ok(Identity::Device { twin: id, register: None, proof }),
            None => {
                let attempt = self.guesses.attempt(shown.address, &id).await.map_err(too_often)?;
                attempt.was_wrong(Why::Credentials, trust.is_some());
                Err(refused(if agrees { WRONG } else { ANOTHER }))
            }
        }
    }
}

/// The username names another device than the certificate.
const ANOTHER: &str = "the username is not the device of the certificate";

/// The device that a certificate names, and whether the username names it, too. Where the certificate says nothing of a
/// tenant, the username may; else it is the one tenant of whose authorities one signed.
fn whose<'a>(
    leaf: &'a Leaf,
    username: Option<&'a str>,
    signed_for: impl FnOnce() -> Option<&'a str>,
) -> Result<(TwinId, bool), Denied> {
    let username = username.filter(|name| !name.is_empty());
    let said =
        username.map(|name| name.split_once('/').map_or((None, name), |(tenant, id)| (Some(tenant), id)));
    let tenant = leaf.tenant().or(said.and_then(|(tenant, _)| tenant)).or_else(signed_for);
    let id = tenant.and_then(|tenant| leaf.device(tenant)).ok_or_else(|| refused(WRONG))?;
    let agrees = said.is_none_or(|(tenant, device)| {
        device == id.id() && tenant.is_none_or(|tenant| tenant == id.tenant())
    });
    Ok((id, agrees))
}

/// What a certificate proves that its twin has, of an authority that is still there.
fn of_ours(tenant: &Tenant, trust: &Trust, leaf: &Leaf, now: Timestamp) -> Option<Proof> {
    let own = trust.credentials().iter().find(|credential| match &credential.secret {
        Secret::Certificate { fingerprint, authority, .. } => {
            *fingerprint == leaf.fingerprint && tenant.authorities.contains_key(authority)
        }
        Secret::Key { .. } => false,
    })?;
    let Secret::Certificate { authority, .. } = &own.secret else { return None };
    own.is_valid(now).then(|| Proof::Certificate { issue: own.issue, authority: authority.clone() })
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
