//! A decision as data: what it changes in the twin, and what leaves it. Decided once, never decided again.

use crate::body::Body;
use crate::command::{Command, CommandId};
use crate::header::{Cause, Header};
use crate::id::TwinId;
use crate::input::Message;
use crate::json::{Json, Patch};
use crate::keys::Answer;
use crate::name::Name;
use crate::queue::Step;
use crate::section::Which;
use crate::session::{Connect, Subscription};
use crate::time::Timestamp;
use crate::trust::{self, Handover};

/// What one input made of one twin. All of it happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Transition {
    /// The twin's sequence after it. It applies only to the twin whose sequence is one less.
    #[n(0)]
    pub sequence: u64,
    /// The envelope of the input that caused it.
    #[n(1)]
    pub header: Header,
    /// What changes, in order.
    #[n(2)]
    pub changes: Vec<Change>,
    /// What leaves the twin, in order: the place of each in this list is its ordinal.
    #[n(3)]
    pub effects: Vec<Effect>,
}

impl Transition {
    /// The calls among its effects, each with its id. `id` is the twin's own.
    pub fn calls<'a>(&'a self, id: &'a TwinId) -> impl Iterator<Item = (Cause, &'a Call)> {
        let call = move |(effect, ordinal): (&'a Effect, u32)| match effect {
            Effect::Call(call) => {
                let (twin, sequence) = (id.clone(), self.sequence);
                let (generation, hops) = (call.generation, call.hops);
                Some((Cause { twin, generation, sequence, ordinal, hops }, call))
            }
            _ => None,
        };
        self.effects.iter().zip(0..).filter_map(call)
    }

    /// The words of handovers among its effects, each with its id and for whom it is. `id` is the twin's own.
    pub fn handovers<'a>(
        &'a self,
        id: &'a TwinId,
    ) -> impl Iterator<Item = (Cause, &'a TwinId, &'a Handover)> {
        let word = move |(effect, ordinal): (&'a Effect, u32)| match effect {
            Effect::Handover { to, generation, handover } => {
                let (twin, generation, sequence) = (id.clone(), *generation, self.sequence);
                Some((Cause { twin, generation, sequence, ordinal, hops: 1 }, to, handover))
            }
            _ => None,
        };
        self.effects.iter().zip(0..).filter_map(word)
    }
}

/// A change of the twin.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Change {
    /// The twin comes into being, as the next generation of its id.
    #[n(0)]
    Created {
        /// What kind of twin it is.
        #[n(0)]
        kind: Name,
    },
    /// The twin is no more; its id, generation and sequence are remembered.
    #[n(1)]
    Removed,
    /// A section of the shadow changes.
    #[n(2)]
    Patched {
        /// Which one.
        #[n(0)]
        section: Which,
        /// How.
        #[n(1)]
        patch: Patch,
        /// The behaviour did it, not the sender of the input.
        #[n(2)]
        by_behavior: bool,
    },
    /// The behaviour's own state changes.
    #[n(3)]
    State {
        /// The version of the kind that wrote it.
        #[n(0)]
        version: u32,
        /// How.
        #[n(1)]
        patch: Patch,
    },
    /// A timer is armed, or moved.
    #[n(4)]
    Armed {
        /// Its name.
        #[n(0)]
        name: Name,
        /// When it fires.
        #[n(1)]
        due: Timestamp,
    },
    /// A timer fired or was taken back.
    #[n(5)]
    Disarmed {
        /// Its name.
        #[n(0)]
        name: Name,
    },
    /// A command enters the queue.
    #[n(6)]
    Queued(#[n(0)] Command),
    /// A command takes a step.
    #[n(7)]
    Stepped {
        /// Which command.
        #[n(0)]
        id: CommandId,
        /// Which step.
        #[n(1)]
        step: Step,
    },
    /// A connection begins.
    #[n(8)]
    Connected(#[n(0)] Connect),
    /// A connection ends.
    #[n(9)]
    Disconnected {
        /// Its epoch.
        #[n(0)]
        epoch: u64,
        /// Why, for people.
        #[n(1)]
        reason: Name,
    },
    /// A session listens to something more, or at another quality of service.
    #[n(10)]
    Subscribed {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// To what.
        #[n(1)]
        subscription: Subscription,
    },
    /// A session no longer listens to something.
    #[n(11)]
    Unsubscribed {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The filter as it was subscribed.
        #[n(1)]
        filter: Name,
    },
    /// The desired section, up to a version, was handed to a session.
    #[n(12)]
    DesiredSent {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The version.
        #[n(1)]
        version: u64,
    },
    /// The device acknowledged the desired section, up to a version.
    #[n(13)]
    DesiredAcknowledged {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The version.
        #[n(1)]
        version: u64,
    },
    /// A message of QoS 2 is taken: its packet id is held until the client releases it.
    #[n(14)]
    Held {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The client's packet id.
        #[n(1)]
        packet: u16,
    },
    /// The client released a packet id.
    #[n(15)]
    LetGo {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The client's packet id.
        #[n(1)]
        packet: u16,
    },
    /// A message goes out under QoS 2, in a packet of this id.
    #[n(16)]
    HandshakeBegun {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The twin's packet id.
        #[n(1)]
        packet: u16,
        /// The message.
        #[n(2)]
        message: Message,
    },
    /// The client has the message, or it is given up: the packet id is to be released.
    #[n(17)]
    HandshakeReleased {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The twin's packet id.
        #[n(1)]
        packet: u16,
    },
    /// The client knows that the packet id is released.
    #[n(18)]
    HandshakeCompleted {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The twin's packet id.
        #[n(1)]
        packet: u16,
    },
    /// The will is to be said later.
    #[n(19)]
    WillTimed {
        /// The epoch of the session's last connection.
        #[n(0)]
        epoch: u64,
        /// When.
        #[n(1)]
        due: Timestamp,
    },
    /// The will is said, or is not to be said any more.
    #[n(20)]
    WillEnded {
        /// The epoch of the session's last connection.
        #[n(0)]
        epoch: u64,
    },
    /// How long the session outlives its connection is changed.
    #[n(21)]
    ExpiryChanged {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// Whether it does.
        #[n(1)]
        kept: bool,
        /// How many seconds; absent is for ever.
        #[n(2)]
        expiry_s: Option<u32>,
    },
    /// A session without a connection is no more.
    #[n(22)]
    SessionEnded {
        /// The epoch of its last connection.
        #[n(0)]
        epoch: u64,
    },
    /// A dead command leaves the dead letters: another takes its place.
    #[n(25)]
    Redriven {
        /// Which one.
        #[n(0)]
        id: CommandId,
    },
    /// The message of the header's `mid` had its effect.
    #[n(26)]
    Seen {
        /// What the method that it called returned.
        #[n(0)]
        returned: Option<Json>,
    },
    /// The request of the header's idempotency key was taken.
    #[n(27)]
    Answered {
        /// What it was answered.
        #[n(0)]
        answer: Answer,
        /// What the method that it called returned.
        #[n(1)]
        returned: Option<Json>,
    },
    /// The desired section, up to a version, was too large for a session: it does not know it, nor what was told on top of it.
    #[n(29)]
    DesiredUnsent {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// The version.
        #[n(1)]
        version: u64,
    },
    /// The session goes on by another proof than it began with.
    #[n(30)]
    Proved {
        /// The session's epoch.
        #[n(0)]
        epoch: u64,
        /// What its device has proved.
        #[n(1)]
        proof: trust::Proof,
    },
    /// The desired section is so far what the device was registered with.
    #[n(31)]
    Begun,
    /// The trust in the device changes. It adds to the [chain](trust::Chain).
    #[n(28)]
    Trust(#[n(0)] trust::Change),
}

/// Something that leaves the twin. Numbers 3 to 9 are reserved: integrations, alarms, webhooks.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Effect {
    /// A sample of telemetry.
    #[n(0)]
    Sample {
        /// Its channel; `_` is what the kind does not declare.
        #[n(0)]
        channel: Name,
        /// Its value.
        #[n(1)]
        body: Body,
        /// When it was taken, where that differs from the input's event time.
        #[n(2)]
        time: Option<Timestamp>,
    },
    /// A fact that the behaviour or the system announces.
    #[n(1)]
    Event {
        /// What happened, as a past participle: `overheated`.
        #[n(0)]
        name: Name,
        /// The details.
        #[n(1)]
        data: Json,
    },
    /// A call of another twin's method.
    #[n(2)]
    Call(#[n(0)] Call),
    /// A word to the twin whose place this one takes, or that takes this one's.
    #[n(10)]
    Handover {
        /// Which twin.
        #[n(0)]
        to: TwinId,
        /// The generation of this one.
        #[n(1)]
        generation: u32,
        /// The word.
        #[n(2)]
        handover: Handover,
    },
}

/// A call of another twin's method. With the calling twin, its sequence and the place among the effects it has an id.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Call {
    /// Whose method, in the tenant of the caller.
    #[n(0)]
    pub twin: TwinId,
    /// Which method.
    #[n(1)]
    pub method: Name,
    /// With what.
    #[n(2)]
    pub argument: Json,
    /// The generation of the caller.
    #[n(3)]
    pub generation: u32,
    /// How many calls in a row led here, this one included.
    #[n(4)]
    pub hops: u32,
}
