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
    },
    /// The activation key of this number. With it a device may do nothing but activate itself.
    #[n(3)]
    Activation(#[n(0)] u64),
}

impl Proof {
    /// Whether it is only good for activation.
    pub fn is_of_activation(&self) -> bool {
        matches!(self, Self::Activation(_))
    }
}
