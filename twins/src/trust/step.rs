//! What can be asked of the trust in a device.

use std::time::Duration;

use super::{Fingerprint, Secret, Sort, Standing, Verifier};
use crate::id::TwinId;
use crate::json::{Document, Json};
use crate::name::Name;
use crate::time::Timestamp;

/// A step in the life of a device.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Step {
    /// What is to be done.
    #[n(0)]
    pub what: What,
    /// Why, for those who read the audit.
    #[n(1)]
    pub reason: Option<Name>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum What {
    /// It gets a new activation key; one that it had is void.
    #[n(0)]
    Invite(#[n(0)] Invitation),
    /// It becomes active: all credentials that it had go, and it gets this one.
    #[n(1)]
    Activate {
        /// On whose word.
        #[n(0)]
        by: By,
        /// What it gets.
        #[n(1)]
        grant: Grant,
    },
    /// It gets a credential more; of the same sort, the one before stays valid for so long, and older ones go.
    #[n(2)]
    Issue {
        /// What it gets.
        #[n(0)]
        grant: Grant,
        /// How long the one before stays valid.
        #[n(1)]
        grace: Duration,
    },
    /// This credential goes; where none is named, all do, with the activation key and what its group gave it.
    #[n(3)]
    Withdraw(#[n(0)] Option<u64>),
    /// All credentials of this sort go.
    #[n(4)]
    WithdrawAll(#[n(0)] Sort),
    /// It may come in, or not, or only so far.
    #[n(5)]
    Stand(#[n(0)] Standing),
    /// Its place is offered to another device, which has to have nothing of its own yet.
    #[n(6)]
    Replace {
        /// Which one.
        #[n(0)]
        by: TwinId,
    },
}

/// A new activation key.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Invitation {
    /// What verifies it.
    #[n(0)]
    pub verifier: Verifier,
    /// From when on it is not taken.
    #[n(1)]
    pub expires: Option<Timestamp>,
}

/// On whose word a device becomes active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum By {
    /// The device's own: it showed the activation key of this number.
    #[n(0)]
    Key(#[n(0)] u64),
    /// Of a person who is there.
    #[n(1)]
    Installer,
}

/// A credential that is to be given.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Grant {
    /// What it is.
    #[n(0)]
    pub secret: Secret,
    /// Until when it is valid.
    #[n(1)]
    pub expires: Option<Timestamp>,
    /// The hash of the request: the same one again is answered with the same credential, as long as that is valid.
    #[n(2)]
    pub request: Fingerprint,
}

/// What a device is registered with, beside its kind and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Registration {
    /// Its business data: replaces what is there.
    #[n(0)]
    pub catalogue: Option<Document>,
    /// Its activation key.
    #[n(1)]
    pub invitation: Option<Invitation>,
    /// The enrolment group that speaks for it.
    #[n(2)]
    pub group: Option<Name>,
    /// The gateway that speaks for it.
    #[n(3)]
    pub gateway: Option<Name>,
    /// The first desired section of a twin that comes into being.
    #[n(4)]
    pub desired: Option<Json>,
    /// Whoever registers it has seen that it is not there: one that was registered meanwhile stays what it is.
    #[n(5)]
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
