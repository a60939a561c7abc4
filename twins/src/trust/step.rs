//! What can be asked of the trust in a device.

use std::time::Duration;

use super::{Fingerprint, Secret, Sort, Standing, Verifier};
use crate::id::TwinId;
use crate::json::{Document, Json};
use crate::name::Name;
use crate::time::Timestamp;

/// A step in the life of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is to be done.
    pub what: What,
    /// Why, for those who read the audit.
    pub reason: Option<Name>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It gets a new activation key; one that it had is void.
    Invite(Invitation),
    /// It becomes active: all credentials that it had go, and it gets this one.
    Activate {
        /// On whose word.
        by: By,
        /// What it gets.
        grant: Grant,
    },
    /// It gets a credential more; of the same sort, the one before stays valid for so long, and older ones go.
    Issue {
        /// What it gets.
        grant: Grant,
        /// How long the one before stays valid.
        grace: Duration,
    },
    /// This credential goes; where none is named, all do, with the activation key and what its group gave it.
    Withdraw(Option<u64>),
    /// All credentials of this sort go.
    WithdrawAll(Sort),
    /// It may come in, or not, or only so far.
    Stand(Standing),
    /// Its place is offered to another device, which has to have nothing of its own yet.
    Replace {
        /// Which one.
        by: TwinId,
    },
}

/// A new activation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// What verifies it.
    pub verifier: Verifier,
    /// From when on it is not taken.
    pub expires: Option<Timestamp>,
}

/// On whose word a device becomes active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The device's own: it showed the activation key of this number.
    Key(u64),
    /// Of a person who is there.
    Installer,
}

/// A credential that is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it is.
    pub secret: Secret,
    /// Until when it is valid.
    pub expires: Option<Timestamp>,
    /// The hash of the request: the same one again is answered with the same credential, as long as that is valid.
    pub request: Fingerprint,
}

/// What a device is registered with, beside its kind and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Its business data: replaces what is there.
    pub catalogue: Option<Document>,
    /// Its activation key.
    pub invitation: Option<Invitation>,
    /// The enrolment group that speaks for it.
    pub group: Option<Name>,
    /// The gateway that speaks for it.
    pub gateway: Option<Name>,
    /// The first desired section of a twin that comes into being.
    pub desired: Option<Json>,
    /// Whoever registers it has seen that it is not there: one that was registered meanwhile stays what it is.
    pub is_new: bool,
}

impl Step {
    /// The bytes of what it carries.
    pub(crate) fn bytes(&self) -> usize {
        match &self.what {
            What::Activate { grant, .. } | What::Issue { grant, .. } => grant.bytes(),
            What::Invite(_) => 128,
            What::Withdraw(_) | What::WithdrawAll(_) | What::Stand(_) | What::Replace { .. } => 0,
        }
    }
}

impl Grant {
    fn bytes(&self) -> usize {
        match &self.secret {
            Secret::Key { sealed, .. } => sealed.0.len(),
            Secret::Certificate { certificate, .. } => certificate.0.len(),
        }
    }
}

impl Registration {
    /// The bytes of what it carries.
    pub(crate) fn bytes(&self) -> usize {
        self.catalogue.as_ref().map_or(0, Document::len) + self.desired.as_ref().map_or(0, Json::len)
    }
}
