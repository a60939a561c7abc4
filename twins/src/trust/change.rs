//! A change of trust as data, journaled like every change of a twin.

use super::{Activation, Ancestor, Credential, Standing, Used};
use crate::id::TwinId;
use crate::name::Name;
use crate::time::Timestamp;

/// What changes in the trust in a device.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Change {
    /// It is registered as one that a group or a gateway speaks for; absent where none does.
    #[n(0)]
    Registered {
        /// The enrolment group.
        #[n(0)]
        group: Option<Name>,
        /// The gateway.
        #[n(1)]
        gateway: Option<Name>,
    },
    /// It has an activation key, instead of any that it had.
    #[n(1)]
    Invited(#[n(0)] Activation),
    /// The activation key was used.
    #[n(2)]
    Activated(#[n(0)] Used),
    /// It has one credential more.
    #[n(3)]
    Issued(#[n(0)] Credential),
    /// A credential is valid until then.
    #[n(4)]
    Limited {
        /// Which one.
        #[n(0)]
        issue: u64,
        /// Until when.
        #[n(1)]
        expires: Timestamp,
    },
    /// A credential is not valid any more.
    #[n(5)]
    Withdrawn {
        /// Which one.
        #[n(0)]
        issue: u64,
    },
    /// It may come in, or not, or only so far.
    #[n(6)]
    Stands(#[n(0)] Standing),
    /// What its group gave it up to now is not taken any more.
    #[n(7)]
    Barred,
    /// The activation key is not valid any more.
    #[n(8)]
    Closed,
    /// Another device takes its place, and all that it had.
    #[n(9)]
    Replaced {
        /// Which one.
        #[n(0)]
        by: TwinId,
    },
    /// It has taken the place of another.
    #[n(10)]
    Inherited(#[n(0)] Ancestor),
    /// It is no more; the chain goes on with whatever is registered under its id.
    #[n(11)]
    Removed,
    /// Its place is offered to another device.
    #[n(12)]
    Offered {
        /// To which one.
        #[n(0)]
        to: TwinId,
        /// The sequence of the twin with it.
        #[n(1)]
        sequence: u64,
    },
    /// It will take the place of another device.
    #[n(13)]
    Promised {
        /// Of which one.
        #[n(0)]
        of: TwinId,
        /// Of which generation of that.
        #[n(1)]
        generation: u32,
        /// The sequence of the twin with it.
        #[n(2)]
        sequence: u64,
    },
    /// What it offered or promised last comes to nothing.
    #[n(14)]
    Declined,
    /// What it had given up is back: nobody has taken its place.
    #[n(16)]
    Resumed,
    /// All that was ever known of it is forgotten, but for the chain.
    #[n(15)]
    Erased,
}
