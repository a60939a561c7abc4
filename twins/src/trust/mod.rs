//! What a twin knows of who its device is: how the device may prove that, whether it may come in, and who it was before.
//!
//! It holds no secret. Of what a device shows it keeps digests, and what must be recovered is sealed by whoever gave it.
//! Checking a secret is the gateway's work, outside the twin; that what it stands for is still valid is decided here,
//! with every connection and every input, since a credential may be withdrawn while it is being checked.
//!
//! Each change adds to a hash chain, so that history cannot be edited without a trace: [`Chain`].

mod activation;
mod chain;
mod change;
mod credential;
mod handover;
mod lineage;
mod opaque;
mod proof;
mod standing;
mod step;

pub use activation::{Activation, Used, Verifier};
pub use chain::Chain;
pub(crate) use chain::link;
pub use change::Change;
pub use credential::{Credential, SLOTS, Secret, Sort};
pub use handover::{Estate, Handover, Succession, Word};
pub use lineage::{ANCESTORS_MAX, Ancestor};
pub use opaque::{Fingerprint, Sealed};
pub use proof::Proof;
pub use standing::{Lifecycle, Standing};
pub use step::{By, Grant, Invitation, Registration, Step, What};

use crate::id::TwinId;
use crate::name::Name;
use crate::time::Timestamp;

/// The trust in one device. One of which nothing was ever said has the default: enabled, without a credential.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Trust {
    #[n(0)]
    standing: Standing,
    /// The last number that was given to a credential or an activation key. It goes on over generations.
    #[n(1)]
    issued: u64,
    #[n(2)]
    activation: Option<Activation>,
    #[n(3)]
    credentials: Vec<Credential>,
    #[n(4)]
    group: Option<Name>,
    #[n(5)]
    barred: Option<Timestamp>,
    #[n(6)]
    gateway: Option<Name>,
    #[n(7)]
    was_active: bool,
    #[n(8)]
    replaced_by: Option<TwinId>,
    #[n(9)]
    ancestors: Vec<Ancestor>,
    #[n(10)]
    chain: Chain,
    #[n(11)]
    succession: Option<Succession>,
}

impl Trust {
    /// The trust in a device of which nothing was ever said.
    const NONE: Self = Self {
        standing: Standing::Enabled,
        issued: 0,
        activation: None,
        credentials: Vec::new(),
        group: None,
        barred: None,
        gateway: None,
        was_active: false,
        replaced_by: None,
        ancestors: Vec::new(),
        chain: Chain::NEW,
        succession: None,
    };

    /// The same, for those who want one to look at.
    pub(crate) fn none() -> &'static Self {
        static NONE: Trust = Trust::NONE;
        &NONE
    }

    /// Whether it may come in, as an operator left it.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Its activation key, used or not.
    pub fn activation(&self) -> Option<&Activation> {
        self.activation.as_ref()
    }

    /// Its credentials, oldest first: at most [`SLOTS`] of each sort. Some may have expired.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// The credential of this number.
    pub fn credential(&self, issue: u64) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.issue == issue)
    }

    /// The enrolment group that speaks for it.
    pub fn group(&self) -> Option<&Name> {
        self.group.as_ref()
    }

    /// What its group gave it before this time is not taken.
    pub fn barred(&self) -> Option<Timestamp> {
        self.barred
    }

    /// Whether what its group gave it is not taken that is valid since then, also by who registers its id anew.
    pub(crate) fn bars(&self, issued: Option<Timestamp>) -> bool {
        self.barred.is_some_and(|barred| issued <= Some(barred))
    }

    /// The only gateway that may speak for it; without one it speaks for itself.
    pub fn gateway(&self) -> Option<&Name> {
        self.gateway.as_ref()
    }

    /// The device that has taken its place.
    pub fn replaced_by(&self) -> Option<&TwinId> {
        self.replaced_by.as_ref()
    }

    /// The devices whose place it has taken, oldest first.
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }

    /// Whether it has taken the place of this generation of a device.
    pub fn has_place_of(&self, twin: &TwinId, generation: u32) -> bool {
        self.ancestors.iter().any(|ancestor| ancestor.twin == *twin && ancestor.generation == generation)
    }

    /// The handover of a place that is under way.
    pub fn succession(&self) -> Option<&Succession> {
        self.succession.as_ref()
    }

    /// What was ever changed here, as one number and one hash.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The number of the next credential or activation key.
    pub fn next_issue(&self) -> u64 {
        self.issued + 1
    }

    /// Where the device is in its life. `has_connected` tells of a device that needs no credential, as in `dev`.
    pub fn lifecycle(&self, has_connected: bool) -> Lifecycle {
        let holds = !self.credentials.is_empty() || self.group.is_some();
        match self.standing {
            _ if self.replaced_by.is_some() => Lifecycle::Replaced,
            Standing::Disabled => Lifecycle::Disabled,
            Standing::Quarantined => Lifecycle::Quarantined,
            Standing::Enabled if holds => Lifecycle::Active,
            Standing::Enabled if self.was_active => Lifecycle::Revoked,
            Standing::Enabled if has_connected => Lifecycle::Active,
            Standing::Enabled => Lifecycle::Registered,
        }
    }

    /// Whether what a device proved is valid now.
    pub fn holds(&self, proof: &Proof, now: Timestamp) -> bool {
        match proof {
            Proof::Open => true,
            Proof::Credential(issue) | Proof::Certificate { issue, .. } => {
                self.credential(*issue).is_some_and(|credential| credential.is_valid(now))
            }
            Proof::Group { group, issued, until } => {
                let is_over = until.is_some_and(|until| until <= now);
                self.group.as_ref() == Some(group) && !self.bars(*issued) && !is_over
            }
            Proof::Activation(issue) => {
                self.activation.as_ref().is_some_and(|key| key.issue == *issue && key.is_open(now))
            }
        }
    }

    /// When time alone changes it: a credential expires.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.credentials.iter().filter_map(|credential| credential.expires).min()
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let credentials = self.credentials.iter().map(Credential::bytes).sum::<usize>();
        let activation = self.activation.as_ref().map_or(0, Activation::bytes);
        size_of::<Self>() + credentials + activation + size_of::<Ancestor>() * self.ancestors.len()
    }

    /// What of it outlives the twin: the numbers that must never come again, what was shut out, and the chain.
    pub(crate) fn bare(&self) -> Self {
        Self { issued: self.issued, barred: self.barred, chain: self.chain, ..Self::NONE }
    }

    /// Whether it differs from that of a device of which nothing was ever said.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// One change, at `at`. Total: what does not fit changes nothing.
    pub(crate) fn apply(&mut self, change: &Change, at: Timestamp) {
        match change {
            Change::Registered { group, gateway } => {
                (self.group, self.gateway) = (group.clone(), gateway.clone());
            }
            Change::Invited(activation) => {
                self.issued = self.issued.max(activation.issue);
                self.activation = Some(activation.clone());
            }
            Change::Activated(used) => {
                self.was_active = true;
                self.activation.iter_mut().for_each(|activation| activation.used = Some(*used));
            }
            Change::Issued(credential) => {
                self.issued = self.issued.max(credential.issue);
                self.was_active = true;
                self.credentials.push(credential.clone());
            }
            Change::Limited { issue, expires } => {
                let known = self.credentials.iter_mut().find(|credential| credential.issue == *issue);
                known.into_iter().for_each(|credential| credential.expires = Some(*expires));
            }
            Change::Withdrawn { issue } => self.credentials.retain(|credential| credential.issue != *issue),
            Change::Stands(standing) => self.standing = *standing,
            Change::Barred => self.barred = Some(at),
            Change::Closed => self.activation = None,
            Change::Replaced { by } => {
                // What its group gave it must not let it in again when its id is removed.
                if self.group.is_some() {
                    self.barred = Some(at);
                }
                (self.activation, self.group, self.gateway) = (None, None, None);
                self.credentials = Vec::new();
                self.replaced_by = Some(by.clone());
                self.succession = None;
            }
            Change::Inherited(ancestor) => {
                self.succession = None;
                self.ancestors.push(ancestor.clone());
                let excess = self.ancestors.len().saturating_sub(ANCESTORS_MAX);
                self.ancestors.drain(..excess);
            }
            // What is left is for the twin to say. Whoever was shut out is so when the id is registered again, too.
            Change::Removed | Change::Erased if self.standing != Standing::Enabled && self.group.is_some() => {
                self.barred = Some(at);
            }
            Change::Removed | Change::Erased => {}
            Change::Offered { to, sequence } => {
                self.succession = Some(Succession::Offered { to: to.clone(), sequence: *sequence });
            }
            Change::Promised { of, generation, sequence } => {
                let (of, generation, sequence) = (of.clone(), *generation, *sequence);
                self.succession = Some(Succession::Promised { of, generation, sequence });
            }
            Change::Declined => self.succession = None,
            Change::Resumed => self.replaced_by = None,
        }
    }

    /// Adds a change to the chain.
    pub(crate) fn chain_on(&mut self, link: &[u8]) {
        self.chain.add(link);
    }
}
