//! Deciding: an input, and what the twin is, become a transition, an answer, and what its connections get.
//!
//! A decision has two parts. The system's part (a connection, a consumed timer, a command's step, the input's place in
//! its session) happens whatever the behaviour does. The behaviour's part (its handlers' effects and its new state, and
//! the change that it may refuse) happens whole or not at all, so a handler that refuses or panics leaves no trace.
//!
//! A twin whose kind this binary lacks has the system's part only: connections end, timers and commands that are due are
//! consumed (each timer with an event that says so), it can be read and removed; all else is refused.

mod calls;
mod commands;
mod delivery;
mod draft;
mod due;
mod handover;
mod handshakes;
mod life;
mod once;
mod poll;
mod react;
mod sessions;
mod shadow;
mod telemetry;
mod trust;
mod wills;

use std::sync::Arc;

use crate::header::Header;
use crate::id::TwinId;
use crate::input::Input;
use crate::kind::{Kind, Kinds, MISSING};
use crate::logic::Decoded;
use crate::rejection::{Code, Rejection};
use crate::reply::{Output, Reply};
use crate::transition::Transition;
use crate::twin::Twin;

pub use calls::HOPS_MAX;
pub use delivery::redeliver;
use draft::Draft;

/// A twin that is being decided on: its newest state, committed or not, and the behaviour's state beside it, decoded.
///
/// Whoever keeps an older `Arc` of the twin keeps an older state: a decision never changes what it shares.
#[derive(Default)]
pub struct Live {
    twin: Arc<Twin>,
    state: Option<Decoded>,
}

impl Live {
    /// A twin as it was committed.
    pub fn new(twin: Arc<Twin>) -> Self {
        Self { twin, state: None }
    }

    /// The newest state.
    pub fn twin(&self) -> &Arc<Twin> {
        &self.twin
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("twin", &self.twin).field("decoded", &self.state.is_some()).finish()
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What is to be journaled; `None` if the input changed nothing.
    pub transition: Option<Transition>,
    /// The answer, to be given once everything it saw is committed.
    pub reply: Result<Reply, Rejection>,
    /// What the device's connections get, once the transition is committed.
    pub outputs: Vec<Output>,
}

impl Kinds {
    /// Decides an input to the twin `id`. `live` becomes what the transition makes of it.
    ///
    /// The header's `received` is the shard's now; it must not be before that of the twin's last input.
    pub fn decide(&self, id: &TwinId, live: &mut Live, input: &Input, header: Header) -> Decision {
        let refused = |rejection| Decision { transition: None, reply: Err(rejection), outputs: Vec::new() };
        let name = match input {
            _ if live.twin.exists() => live.twin.kind(),
            // A request that came again is answered, also the one that removed the twin.
            _ if live.twin.keys().get_of(&header).is_some() => return MISSING.decide(id, live, input, header),
            // What was removed may still be known of.
            Input::Erase { .. } if live.twin.generation() > 0 => return MISSING.decide(id, live, input, header),
            Input::Register { kind, .. }
            | Input::Appear { kind }
            | Input::Connect { register: Some(kind), .. } => kind.as_str(),
            _ => return refused(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", id.id()))),
        };
        match self.get(name) {
            Some(kind) => kind.decide(id, live, input, header),
            None if live.twin.exists() => MISSING.decide(id, live, input, header),
            None => refused(unknown_kind(name)),
        }
    }
}

impl Kind {
    /// Decides an input to a twin of this kind, or to an absent one that is to become of this kind.
    pub fn decide(&self, id: &TwinId, live: &mut Live, input: &Input, header: Header) -> Decision {
        let mut draft = Draft::new(id, self, live, header);
        let reply = match draft.enter() {
            Some(reply) => return draft.without_a_trace(reply),
            None => draft.take_once(input),
        };
        draft.settle();
        draft.finish(reply)
    }
}

fn unknown_kind(name: &str) -> Rejection {
    Rejection::new(Code::UnknownKind, format!("this node has no kind `{name}`"))
}

impl Draft<'_> {
    fn take(&mut self, input: &Input) -> Result<Reply, Rejection> {
        self.let_pass(input)?;
        self.let_pass_between(input)?;
        match input {
            _ if self.kind.is_missing && !input.is_of_the_system() => Err(self.missing()),
            Input::Register { kind, tags, with } => self.register(kind, tags.as_ref(), with.as_deref()),
            Input::Trust(step) => self.trust(step),
            Input::Appear { kind } => self.appear(kind),
            Input::Remove { reason } => self.remove(reason.as_ref()),
            Input::Erase { reason } => self.erase(reason.as_ref()),
            Input::Connect { connect, register } => self.connect(connect, register.as_ref()),
            Input::Disconnect { epoch, reason, with_will, expiry_s } => {
                self.disconnect(*epoch, reason, *with_will, *expiry_s)
            }
            Input::Subscribe(subscriptions) => self.subscribe(subscriptions),
            Input::Unsubscribe(filters) => self.unsubscribe(filters),
            Input::Prove => self.prove(),
            Input::Acknowledge(message) => self.acknowledge(*message),
            Input::Unsent(version) => self.unsent(*version),
            Input::Release(packet) => self.let_go(*packet),
            Input::Complete(packet) => self.complete(*packet),
            Input::Sample { channel, body } => self.sample(channel, body),
            Input::Telemetry(body) => self.telemetry(body),
            Input::Report(patch) => self.report(patch),
            Input::Poll => self.poll(),
            Input::Outcome { id, outcome, result } => self.outcome(*id, *outcome, result.as_ref()),
            Input::Update { tags, desired, if_match } => {
                self.update(tags.as_ref(), desired.as_ref(), if_match.as_deref())
            }
            Input::Command(send) => self.command(send),
            Input::Cancel(id) => self.cancel(*id),
            Input::Redrive { dead, id, ttl } => self.redrive(*dead, *id, *ttl),
            Input::Call { name, argument } => self.call(name, argument),
            Input::CallRefused(refused) => self.call_refused(refused),
            Input::Handover(handover) => self.handover(handover),
            Input::Read => Ok(Reply::Twin(self.twin_shared())),
            Input::Due => self.due(),
        }
    }

    fn missing(&self) -> Rejection {
        unknown_kind(self.twin().kind())
    }
}
