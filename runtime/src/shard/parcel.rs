//! A parcel: an effect on its way from one shard to another, where it becomes an input.

use twins::header::{Cause, Header, Principal, Trace};
use twins::id::TwinId;
use twins::input::{Input, Refused};
use twins::json::Json;
use twins::name::Name;
use twins::rejection::Rejection;
use twins::transition::Transition;
use twins::trust::{Handover, Word};

/// What a parcel takes beside its content, in bytes, by estimate.
const ENVELOPE_BYTES: usize = 256;

/// An effect for a twin of another shard, or of the same.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Parcel {
    /// For whom.
    #[n(0)]
    pub to: TwinId,
    /// The effect's id. A refusal has that of the call.
    #[n(1)]
    pub cause: Cause,
    /// The trace that it belongs to.
    #[n(2)]
    pub trace: Option<Trace>,
    /// What it is.
    #[n(3)]
    pub content: Content,
}

/// What a parcel is.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Content {
    /// A call.
    #[n(0)]
    Call {
        /// Of which method.
        #[n(0)]
        method: Name,
        /// With what.
        #[n(1)]
        argument: Json,
    },
    /// The refusal of a call, on its way back.
    #[n(1)]
    Refused(#[n(0)] Refused),
    /// A word of a handover.
    #[n(2)]
    Handover(#[n(0)] Handover),
}

impl Parcel {
    /// The parcels that a transition of the twin `id` sends, in order.
    pub(crate) fn of<'a>(id: &'a TwinId, transition: &'a Transition) -> impl Iterator<Item = Self> + 'a {
        let trace = transition.header.trace;
        let calls = transition.calls(id).map(move |(cause, call)| Self {
            to: call.twin.clone(),
            cause,
            trace,
            content: Content::Call { method: call.method.clone(), argument: call.argument.clone() },
        });
        let words = transition.handovers(id).map(move |(cause, to, handover)| {
            let content = Content::Handover(handover.clone());
            Self { to: to.clone(), cause, trace, content }
        });
        calls.chain(words)
    }

    /// The envelope of the input that it becomes.
    pub(crate) fn header(&self) -> Header {
        let principal = match &self.content {
            Content::Call { .. } => Principal::Twin(self.cause.twin.clone()),
            Content::Refused(_) => Principal::System,
            Content::Handover(handover) => handover.by.clone(),
        };
        let cause = Some(Box::new(self.cause.clone()));
        Header { principal, trace: self.trace, cause, ..Header::default() }
    }

    /// The input that it becomes.
    pub(crate) fn input(&self) -> Input {
        match &self.content {
            Content::Call { method, argument } => {
                Input::Call { name: method.clone(), argument: argument.clone() }
            }
            Content::Refused(refused) => Input::CallRefused(refused.clone()),
            Content::Handover(handover) => Input::Handover(Box::new(handover.clone())),
        }
    }

    /// What goes back when it is refused: nothing for a refusal, or answers would be answered for ever.
    pub(crate) fn refused(&self, refusal: &Rejection) -> Option<Self> {
        let content = match &self.content {
            Content::Call { method, .. } => {
                let generation = self.cause.generation;
                Content::Refused(Refused::of(refusal, self.to.clone(), method.clone(), generation))
            }
            Content::Handover(handover) => Content::Handover(handover.declined(refusal)?),
            Content::Refused(_) => return None,
        };
        let (to, cause) = (self.cause.twin.clone(), self.cause.clone());
        Some(Self { to, cause, trace: self.trace, content })
    }

    /// Whether what it leads to may be as large again, and it can be refused: a call, and the promise that has a device send
    /// all that it has.
    pub(crate) fn makes_more(&self) -> bool {
        match &self.content {
            Content::Call { .. } => true,
            Content::Handover(handover) => matches!(handover.word, Word::Promise { .. }),
            Content::Refused(_) => false,
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Call { argument, .. } => argument.len(),
            Content::Refused(refused) => refused.message.len(),
            Content::Handover(handover) => handover.bytes(),
        };
        ENVELOPE_BYTES + content
    }
}
