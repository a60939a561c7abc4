//! What can be said to a twin, by whichever protocol it came.

use std::time::Duration;

use crate::body::Body;
use crate::command::{Answer, CommandId, Mode};
use crate::id::TwinId;
use crate::json::{Document, Json};
use crate::name::Name;
use crate::rejection::Rejection;
use crate::session::{Connect, Subscription};
use crate::time::Timestamp;
use crate::trust;

/// An input. Topics, routes and verbs are mapped to these at the edge; past it nobody knows the protocol.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Input {
    /// Registers the id as a twin of a kind, with these tags. A twin that is there already keeps its kind.
    #[n(0)]
    Register {
        /// What kind of twin.
        #[n(0)]
        kind: Name,
        /// Its tags, which replace those that it has.
        #[n(1)]
        tags: Option<Document>,
        /// What else is said of it.
        #[n(2)]
        with: Option<Box<trust::Registration>>,
    },
    /// A step in the life of the device.
    #[n(1)]
    Trust(#[n(0)] Box<trust::Step>),
    /// A device without a connection speaks for the first time: an absent twin is registered as that kind.
    #[n(2)]
    Appear {
        /// The kind to register an unknown device as.
        #[n(0)]
        kind: Name,
    },
    /// Removes the twin. Its id may be registered again: as another device, which inherits nothing.
    #[n(3)]
    Remove {
        /// Why, for those who read the audit.
        #[n(0)]
        reason: Option<Name>,
    },
    /// Removes the twin, if it is there, and has all that was ever known of its device, and of those that had the id before,
    /// forgotten.
    #[n(4)]
    Erase {
        /// Why, for those who read the audit.
        #[n(0)]
        reason: Option<Name>,
    },

    /// A connection begins; where `register` is given, an absent twin is registered as that kind.
    #[n(5)]
    Connect {
        /// The session and where it is.
        #[n(0)]
        connect: Connect,
        /// The kind to register an unknown device as.
        #[n(1)]
        register: Option<Name>,
    },
    /// A connection ends.
    #[n(6)]
    Disconnect {
        /// Its epoch.
        #[n(0)]
        epoch: u64,
        /// Why, for people.
        #[n(1)]
        reason: Name,
        /// It ends without a goodbye: the will is said, now or after its delay.
        #[n(2)]
        with_will: bool,
        /// The client wants its session kept for so many seconds instead; `u32::MAX` is for ever.
        #[n(3)]
        expiry_s: Option<u32>,
    },
    /// A session listens to these.
    #[n(7)]
    Subscribe(#[n(0)] Vec<Subscription>),
    /// A session no longer listens to these filters.
    #[n(8)]
    Unsubscribe(#[n(0)] Vec<Name>),
    /// The device of a session has proved anew who it is: the header's proof takes the place of what it came by.
    #[n(9)]
    Prove,
    /// The device acknowledged a message.
    #[n(10)]
    Acknowledge(#[n(0)] Message),
    /// The desired section, up to this version, was not sent: the client takes no packet as large as that.
    #[n(11)]
    Unsent(#[n(0)] u64),
    /// The client releases its packet id of QoS 2: a message with it is a new one from now on.
    #[n(12)]
    Release(#[n(0)] u16),
    /// The client has heard that the twin's packet id of QoS 2 is released.
    #[n(13)]
    Complete(#[n(0)] u16),

    /// A sample of one channel.
    #[n(14)]
    Sample {
        /// The channel.
        #[n(0)]
        channel: Name,
        /// The value.
        #[n(1)]
        body: Body,
    },
    /// Telemetry without a channel: an object's members are told apart by name; an array is a batch of such objects.
    #[n(15)]
    Telemetry(#[n(0)] Body),
    /// The device reports: a merge patch of the reported section.
    #[n(16)]
    Report(#[n(0)] Json),
    /// A device without a connection asks for its next command. Where a connection listens to commands, there is none.
    #[n(17)]
    Poll,
    /// What became of a command.
    #[n(18)]
    Outcome {
        /// Which command.
        #[n(0)]
        id: CommandId,
        /// What became of it.
        #[n(1)]
        outcome: Said,
        /// What the device says about it.
        #[n(2)]
        result: Option<Json>,
    },

    /// Changes tags and desired, all or nothing.
    #[n(19)]
    Update {
        /// A merge patch of the tags.
        #[n(0)]
        tags: Option<Json>,
        /// How the desired section changes.
        #[n(1)]
        desired: Option<Desire>,
        /// The ETags that the sender saw; one must be the twin's. `None` asks for none; an empty list never matches.
        #[n(2)]
        if_match: Option<Vec<String>>,
    },
    /// Queues a command.
    #[n(20)]
    Command(#[n(0)] Send),
    /// Withdraws a command.
    #[n(21)]
    Cancel(#[n(0)] CommandId),
    /// Sends a dead command anew.
    #[n(22)]
    Redrive {
        /// Which one.
        #[n(0)]
        dead: CommandId,
        /// The id of the command that takes its place.
        #[n(1)]
        id: CommandId,
        /// How long that one lives; else as long as the dead one was to.
        #[n(2)]
        ttl: Option<Duration>,
    },
    /// Calls a method or a query of the behaviour.
    #[n(23)]
    Call {
        /// Its name.
        #[n(0)]
        name: Name,
        /// Its argument.
        #[n(1)]
        argument: Json,
    },
    /// A twin that this one called refused the call.
    #[n(24)]
    CallRefused(#[n(0)] Refused),
    /// A twin that takes the place of this one, or whose place this one takes, says a word. Its header has the cause.
    #[n(25)]
    Handover(#[n(0)] Box<trust::Handover>),
    /// Reads the twin.
    #[n(26)]
    Read,

    /// Time has passed: what is due by now fires or expires.
    #[n(27)]
    Due,
}

impl Input {
    /// The bytes of what it carries, as admission counts them.
    pub fn bytes(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, Json::len);
        match self {
            Self::Register { tags, with, .. } => {
                let with = with.as_ref().map_or(0, |with| with.bytes());
                tags.as_ref().map_or(0, Document::len) + with
            }
            Self::Trust(step) => step.bytes(),
            Self::Sample { body, .. } | Self::Telemetry(body) => body.len(),
            Self::Report(patch) => patch.len(),
            Self::Outcome { result, .. } => json(result),
            Self::Update { tags, desired, .. } => {
                json(tags)
                    + desired.as_ref().map_or(0, |desire| match desire {
                        Desire::Merge(patch) => patch.len(),
                        Desire::Replace(whole) => whole.len(),
                    })
            }
            Self::Command(send) => send.payload.len(),
            Self::Call { argument, .. } => argument.len(),
            Self::CallRefused(refused) => refused.message.len(),
            Self::Handover(handover) => handover.bytes(),
            Self::Subscribe(subscriptions) => subscriptions.iter().map(|s| s.filter.len()).sum(),
            Self::Unsubscribe(filters) => filters.iter().map(|filter| filter.len()).sum(),
            Self::Connect { connect, .. } => connect.will.as_ref().map_or(0, |will| will.bytes()),
            Self::Remove { .. }
            | Self::Erase { .. }
            | Self::Disconnect { .. }
            | Self::Acknowledge(_)
            | Self::Unsent(_)
            | Self::Appear { .. }
            | Self::Poll
            | Self::Release(_)
            | Self::Complete(_)
            | Self::Prove
            | Self::Cancel(_)
            | Self::Redrive { .. }
            | Self::Read
            | Self::Due => 0,
        }
    }
}

impl Input {
    /// Whether it needs nothing of a kind, so that it is taken also where the kind is unknown.
    pub(crate) fn is_of_the_system(&self) -> bool {
        matches!(
            self,
            Self::Remove { .. }
                | Self::Erase { .. }
                | Self::Trust(_)
                | Self::Disconnect { .. }
                | Self::Acknowledge(_)
                | Self::Unsent(_)
                | Self::CallRefused(_)
                | Self::Handover(_)
                | Self::Release(_)
                | Self::Complete(_)
                | Self::Prove
                | Self::Read
                | Self::Due
        )
    }

    /// Whether it manages the connection or the trust in the device, and says nothing of the device itself: it passes
    /// whatever the device's standing.
    pub(crate) fn is_of_management(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Disconnect { .. }
                | Self::Subscribe(_)
                | Self::Unsubscribe(_)
                | Self::Acknowledge(_)
                | Self::Unsent(_)
                | Self::Release(_)
                | Self::Complete(_)
                | Self::Prove
                | Self::Trust(_)
        )
    }
}

/// How the desired section changes.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Desire {
    /// By a merge patch.
    #[n(0)]
    Merge(#[n(0)] Json),
    /// It becomes this.
    #[n(1)]
    Replace(#[n(0)] Document),
}

/// A command to be queued.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Send {
    /// The id it will have.
    #[n(0)]
    pub id: CommandId,
    /// What to do.
    #[n(1)]
    pub name: Name,
    /// With what.
    #[n(2)]
    pub payload: Body,
    /// When it expires.
    #[n(3)]
    pub deadline: Timestamp,
    /// Whether it waits in line or replaces.
    #[n(4)]
    pub mode: Mode,
    /// Whether an outcome is expected.
    #[n(5)]
    pub answer: Answer,
}

/// The bytes of a call's refusal that its caller gets to know.
const REASON_BYTES_MAX: usize = 1024;

/// The refusal of a call, as it comes back to the twin that called.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Refused {
    /// The twin that was called.
    #[n(0)]
    pub twin: TwinId,
    /// Which method.
    #[n(1)]
    pub method: Name,
    /// The generation of the twin that called: another device of the same id does not hear of it.
    #[n(2)]
    pub generation: u32,
    /// The [code](crate::rejection::Code) of the refusal.
    #[n(3)]
    pub code: Name,
    /// The reason in words.
    #[n(4)]
    pub message: String,
}

impl Refused {
    /// Of a call of `method` of `twin`, by a twin of this generation.
    pub fn of(refusal: &Rejection, twin: TwinId, method: Name, generation: u32) -> Self {
        let (code, message) = (Name::fixed(refusal.code().as_str()), refusal.message());
        let cut = message.floor_char_boundary(REASON_BYTES_MAX);
        Self { twin, method, generation, code, message: message[..cut].to_owned() }
    }
}

/// A durable message that a device acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
pub enum Message {
    /// The desired section, up to a version.
    #[n(0)]
    Desired(#[n(0)] u64),
    /// A command.
    #[n(1)]
    Command(#[n(0)] CommandId),
}

/// What a device says of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Said {
    /// It is there, which over MQTT a PUBACK says.
    #[n(0)]
    Delivered,
    /// It is done.
    #[n(1)]
    Done,
    /// It will not be done.
    #[n(2)]
    Rejected,
    /// It is being done.
    #[n(3)]
    Progress,
}

/// A request to a device: answered now, or not at all. It changes no twin, so it is not an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id that its reply will carry.
    pub id: Name,
    /// What is asked.
    pub name: Name,
    /// With what.
    pub payload: Body,
}
