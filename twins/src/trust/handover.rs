//! How a device takes the place of another: in three words between their twins, each the effect of a transition, so that
//! it is said once and over any crash.
//!
//! ```text
//! the one that goes                          its successor
//! offers its place           -- offer -->    has nothing of its own yet: promises to take it
//! gives up: credentials,     <-- promise --
//! connections, all it has    -- estate -->   takes it, and remembers whose it was
//! ```
//!
//! Up to its promise the successor may say no (`declined`), and nothing has changed but that both say so; up to the
//! arrival of the promise, the one that goes is what it was and gives up nothing. From its promise on, the successor is
//! neither removed nor replaced, and nobody but its own device changes it, but for what is trusted of it, so that the
//! estate finds it; taking it is never refused. So at each moment the place is one device's: the old one's, or on its
//! way to a successor that is bound to take it.
//!
//! A successor whose image cannot be read can take nothing: then the estate goes back, and the device has its place again,
//! though not its credentials. And where a restored backup has one of the two in a state from before the other's, asking
//! again mends it as far as it can be: who has taken the place says so again, and a successor that waits for what was lost
//! with the backup is told that it comes to nothing (`given`).
//!
//! What the successor's own device reported meanwhile stands, and the other one's reported section falls away; its own timers
//! and commands are kept beside those that come, so that there may be twice as many as one twin may have.
//!
//! Whoever asks again offers again. An offer that was taken, a promise to a device that has given up, and a refusal of
//! anything but the last word change nothing: each side knows the sequence of the last word it said.

use super::Ancestor;
use crate::command::{Command, State as Stage};
use crate::header::Principal;
use crate::id::TwinId;
use crate::json::Document;
use crate::name::Name;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::twin::{State, Twin};

/// The bytes of a refusal that the other one gets to know.
const REASON_BYTES_MAX: usize = 1024;

/// A word of one twin to the other.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Handover {
    /// Who wanted the device to be replaced.
    #[n(0)]
    pub by: Principal,
    /// Why.
    #[n(1)]
    pub reason: Option<Name>,
    /// What is said.
    #[n(2)]
    pub word: Word,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Word {
    /// Take my place.
    #[n(0)]
    Offer {
        /// Only a twin of this kind can.
        #[n(0)]
        kind: Name,
    },
    /// I will.
    #[n(1)]
    Promise {
        /// The generation of the device that offered it.
        #[n(0)]
        generation: u32,
    },
    /// I have given up; all this is yours.
    #[n(2)]
    Estate(#[n(0)] Box<Estate>),
    /// It could not be taken; you have it again.
    #[n(4)]
    Returned(#[n(0)] Box<Estate>),
    /// I have given up before; if nothing came, nothing will.
    #[n(5)]
    Given,
    /// No.
    #[n(3)]
    Declined {
        /// The [code](crate::rejection::Code) of the refusal.
        #[n(0)]
        code: Name,
        /// The reason in words.
        #[n(1)]
        message: String,
    },
}

/// What a device leaves to its successor. Credentials are not among it: each device has its own.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Estate {
    /// The labels that operators gave.
    #[n(0)]
    pub tags: Document,
    /// What it should have become.
    #[n(1)]
    pub desired: Document,
    /// What it said it was.
    #[n(2)]
    pub reported: Document,
    /// Its business data.
    #[n(3)]
    pub catalogue: Document,
    /// The behaviour's state.
    #[n(4)]
    pub state: State,
    /// The commands that have not ended, as if they had never been sent.
    #[n(5)]
    pub commands: Vec<Command>,
    /// The timers that are armed.
    #[n(6)]
    pub timers: Vec<Timer>,
    /// Whose place it had taken itself, oldest first.
    #[n(7)]
    pub ancestors: Vec<Ancestor>,
}

/// A handover that is under way, as one of the two twins knows it.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Succession {
    /// The device has offered its place.
    #[n(0)]
    Offered {
        /// To which one.
        #[n(0)]
        to: TwinId,
        /// The sequence of the twin with the offer.
        #[n(1)]
        sequence: u64,
    },
    /// The device will take the place of another.
    #[n(1)]
    Promised {
        /// Of which one.
        #[n(0)]
        of: TwinId,
        /// Of which generation of that.
        #[n(1)]
        generation: u32,
        /// The sequence of the twin with the promise.
        #[n(2)]
        sequence: u64,
    },
}

impl Succession {
    /// The sequence of the twin with its last word.
    pub(crate) fn sequence(&self) -> u64 {
        let (Self::Offered { sequence, .. } | Self::Promised { sequence, .. }) = self;
        *sequence
    }
}

impl Estate {
    /// What a twin leaves at a time.
    pub(crate) fn of(twin: &Twin, now: Timestamp) -> Self {
        let fresh = |command: &Command| Command {
            state: Stage::Queued,
            attempt: 0,
            epoch: 0,
            result: None,
            changed: now,
            ..command.clone()
        };
        Self {
            tags: twin.tags().document().clone(),
            desired: twin.desired().document().clone(),
            reported: twin.reported().document().clone(),
            catalogue: twin.catalogue().document().clone(),
            state: twin.state().clone(),
            commands: twin.commands().open().map(fresh).collect(),
            timers: twin.timers().iter().cloned().collect(),
            ancestors: twin.trust().ancestors().to_vec(),
        }
    }

    fn bytes(&self) -> usize {
        let documents = [&self.tags, &self.desired, &self.reported, &self.catalogue, &self.state.document];
        let commands = self.commands.iter().map(|command| 200 + command.bytes()).sum::<usize>();
        documents.map(Document::len).iter().sum::<usize>() + commands + 48 * self.timers.len()
    }
}

impl Handover {
    /// What goes back when it is refused; nothing for what came back itself. An estate is never lost by that.
    pub fn declined(&self, refusal: &Rejection) -> Option<Self> {
        let word = match &self.word {
            Word::Estate(estate) => Word::Returned(estate.clone()),
            Word::Declined { .. } | Word::Returned(_) | Word::Given => return None,
            Word::Offer { .. } | Word::Promise { .. } => {
                let (code, message) = (Name::fixed(refusal.code().as_str()), refusal.message());
                let cut = message.floor_char_boundary(REASON_BYTES_MAX);
                Word::Declined { code, message: message[..cut].to_owned() }
            }
        };
        Some(Self { word, ..self.clone() })
    }

    /// About how many bytes it has.
    pub fn bytes(&self) -> usize {
        match &self.word {
            Word::Offer { .. } | Word::Promise { .. } | Word::Given => 0,
            Word::Estate(estate) | Word::Returned(estate) => estate.bytes(),
            Word::Declined { message, .. } => message.len(),
        }
    }
}
