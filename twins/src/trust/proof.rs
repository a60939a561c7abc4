//! What a device proved of itself, without the secret that it proved it with.

use crate::name::Name;
use crate::time::Timestamp;

/// What the gateway has verified. Whether it is still valid is for the twin to say: [`Trust::holds`](super::Trust::holds).
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub enum Proof {
    /// Nothing: nobody is asked, as in `dev`.
    #[default]
    #[n(0)]
    Open,
    /// The credential of this number.
    #[n(1)]
    Credential(#[n(0)] u64),
    /// What its enrolment group gives: a key derived for it, or a certificate of the group's authority.
    #[n(2)]
    Group {
        /// The group.
        #[n(0)]
        group: Name,
        /// Since when what it showed is valid.
        #[n(1)]
        issued: Option<Timestamp>,
        /// Until when it is.
        #[n(2)]
        until: Option<Timestamp>,
    },
    /// The activation key of this number. With it a device may do nothing but activate itself.
    #[n(3)]
    Activation(#[n(0)] u64),
    /// The certificate of this number among its credentials, which an authority of the node signed.
    #[n(4)]
    Certificate {
        /// The number.
        #[n(0)]
        issue: u64,
        /// The authority, whose end is the end of all that it signed.
        #[n(1)]
        authority: Name,
    },
}

impl Proof {
    /// The credential of the device that it is.
    pub fn credential(&self) -> Option<u64> {
        match self {
            Self::Credential(issue) | Self::Certificate { issue, .. } => Some(*issue),
            Self::Open | Self::Group { .. } | Self::Activation(_) => None,
        }
    }

    /// When it ends by itself, where the twin keeps nothing that says so.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        match self {
            Self::Group { until, .. } => *until,
            _ => None,
        }
    }

    /// Whether it is only good for activation.
    pub fn is_of_activation(&self) -> bool {
        matches!(self, Self::Activation(_))
    }
}
