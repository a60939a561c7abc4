//! A record of a stream: one fact of a twin's history, with the envelope of the input that caused it.
//!
//! Records are not journaled apart: they follow from the transition, so that every replica has the same ones at the
//! same offsets.

use twins::body::Body;
use twins::command::{CommandId, State};
use twins::header::Header;
use twins::id::TwinId;
use twins::json::{Json, Patch};
use twins::name::Name;
use twins::queue::Step;
use twins::section::Which;
use twins::transition::{Change, Effect, Transition};
use twins::twin::Twin;
use twox_hash::XxHash3_64;

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Record {
    /// Whose.
    #[n(0)]
    pub twin: TwinId,
    /// Of which generation of the id.
    #[n(1)]
    pub generation: u32,
    /// What kind of twin it was.
    #[n(2)]
    pub kind: Name,
    /// The twin's sequence with it: the cause, together with the ordinal.
    #[n(3)]
    pub sequence: u64,
    /// Its place among the facts of one transition.
    #[n(4)]
    pub ordinal: u32,
    /// The envelope of the input.
    #[n(5)]
    pub header: Header,
    /// What happened.
    #[n(6)]
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Fact {
    /// A sample.
    #[n(0)]
    Telemetry {
        /// Its channel.
        #[n(0)]
        channel: Name,
        /// Its value.
        #[n(1)]
        body: Body,
    },
    /// The behaviour or the system announced something.
    #[n(1)]
    Event {
        /// What.
        #[n(0)]
        name: Name,
        /// The details.
        #[n(1)]
        data: Json,
    },
    /// A section of the shadow changed.
    #[n(2)]
    Shadow {
        /// Which.
        #[n(0)]
        section: Which,
        /// How.
        #[n(1)]
        patch: Patch,
        /// The behaviour did it.
        #[n(2)]
        by_behavior: bool,
    },
    /// A command was queued or took a step.
    #[n(3)]
    Command {
        /// Which.
        #[n(0)]
        id: CommandId,
        /// What it asks for; known for those that are still remembered.
        #[n(1)]
        name: Option<Name>,
        /// What it became.
        #[n(2)]
        state: State,
        /// What the device said about it.
        #[n(3)]
        result: Option<Json>,
    },
    /// A connection began.
    #[n(4)]
    Connected {
        /// The client id.
        #[n(0)]
        client: Name,
        /// The device's address.
        #[n(1)]
        address: Name,
    },
    /// A connection ended.
    #[n(5)]
    Disconnected {
        /// Its epoch.
        #[n(0)]
        epoch: u64,
        /// Why.
        #[n(1)]
        reason: Name,
    },
    /// The twin came into being.
    #[n(6)]
    Registered,
    /// The twin is no more.
    #[n(7)]
    Removed,
}

impl Record {
    /// What stands for the twin of the record in these bytes, as far as its beginning tells: 0 where it does not.
    pub(crate) fn key(bytes: &[u8]) -> u64 {
        Self::twin_of(bytes).map_or(0, Self::key_of)
    }

    /// What stands for a twin, as [`TwinId::as_str`] writes it. Two may have the same.
    pub(crate) fn key_of(twin: &str) -> u64 {
        XxHash3_64::oneshot(twin.as_bytes()).max(1)
    }

    /// Whose the record in these bytes is, as far as its beginning tells.
    pub(crate) fn twin_of(bytes: &[u8]) -> Option<&str> {
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.array().and_then(|_| decoder.str()).ok()
    }

    /// Whether these bytes are what is left of a record that was erased: zeros, with which no record begins.
    pub(crate) fn is_blank(bytes: &[u8]) -> bool {
        bytes.first() == Some(&0) && bytes.iter().all(|byte| *byte == 0)
    }

    /// Whether the record in these bytes is of a twin, as far as its beginning tells: false is sure. It allocates
    /// nothing.
    pub(crate) fn may_be_of(bytes: &[u8], twin: &TwinId) -> bool {
        Self::twin_of(bytes).is_none_or(|id| id == twin.as_str())
    }
}

impl Fact {
    /// The record's type, as readers select it: `telemetry`, `reported`, `connected`, ...; an event has its own name
    /// in the data.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Telemetry { .. } => "telemetry",
            Self::Event { .. } => "event",
            Self::Shadow { section, .. } => section.as_str(),
            Self::Command { .. } => "command",
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Registered => "registered",
            Self::Removed => "removed",
        }
    }
}

/// The records of a transition, in order. `after` is the twin that it led to.
pub fn records<'a>(
    id: &'a TwinId,
    kind: &'a Name,
    after: &'a Twin,
    transition: &'a Transition,
) -> impl Iterator<Item = Record> + 'a {
    let changes = transition.changes.iter().filter_map(move |change| of_change(change, after));
    let effects = transition.effects.iter().filter_map(|effect| match effect {
        Effect::Sample { channel, body, time } => {
            Some((Fact::Telemetry { channel: channel.clone(), body: body.clone() }, *time))
        }
        Effect::Event { name, data } => Some((Fact::Event { name: name.clone(), data: data.clone() }, None)),
        // It shows at the twin that it calls.
        Effect::Call(_) | Effect::Handover { .. } => None,
    });
    let facts = changes.map(|fact| (fact, None)).chain(effects);
    facts.zip(0..).map(move |((fact, time), ordinal)| {
        // What tells a repeat from the first is the twin's, not history's.
        let mut header = Header { mid: None, idempotency: None, ..transition.header.clone() };
        header.time = time.or(header.time);
        Record {
            twin: id.clone(),
            generation: after.generation(),
            kind: kind.clone(),
            sequence: transition.sequence,
            ordinal,
            header,
            fact,
        }
    })
}

fn of_change(change: &Change, after: &Twin) -> Option<Fact> {
    let command = |id: CommandId, state, result: Option<&Json>| {
        let name = after.commands().get(id).map(|command| command.name.clone());
        Some(Fact::Command { id, name, state, result: result.cloned() })
    };
    match change {
        Change::Created { .. } => Some(Fact::Registered),
        Change::Removed => Some(Fact::Removed),
        Change::Patched { section, patch, by_behavior } => {
            Some(Fact::Shadow { section: *section, patch: patch.clone(), by_behavior: *by_behavior })
        }
        Change::Queued(queued) => command(queued.id, State::Queued, None),
        Change::Stepped { id, step } => match step {
            Step::Sent(_) => command(*id, State::Sent, None),
            Step::Delivered => command(*id, State::Delivered, None),
            Step::Done(result) => command(*id, State::Done, result.as_ref()),
            Step::Rejected(result) => command(*id, State::Rejected, result.as_ref()),
            Step::Expired => command(*id, State::Expired, None),
            Step::Cancelled => command(*id, State::Cancelled, None),
            Step::Superseded => command(*id, State::Superseded, None),
            Step::Dead => command(*id, State::Dead, None),
        },
        Change::Connected(connect) => Some(Fact::Connected {
            client: connect.client.clone(),
            address: connect.connection.address.clone(),
        }),
        Change::Disconnected { epoch, reason } => {
            Some(Fact::Disconnected { epoch: *epoch, reason: reason.clone() })
        }
        Change::State { .. }
        | Change::Armed { .. }
        | Change::Disarmed { .. }
        | Change::Subscribed { .. }
        | Change::Unsubscribed { .. }
        | Change::DesiredSent { .. }
        | Change::DesiredAcknowledged { .. }
        | Change::DesiredUnsent { .. }
        | Change::Held { .. }
        | Change::LetGo { .. }
        | Change::HandshakeBegun { .. }
        | Change::HandshakeReleased { .. }
        | Change::HandshakeCompleted { .. }
        | Change::WillTimed { .. }
        | Change::WillEnded { .. }
        | Change::ExpiryChanged { .. }
        | Change::SessionEnded { .. }
        | Change::Redriven { .. }
        | Change::Proved { .. }
        | Change::Begun
        | Change::Trust(_)
        | Change::Seen { .. }
        | Change::Answered { .. } => None,
    }
}
