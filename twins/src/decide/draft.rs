//! A decision in the making: each change is applied as it is recorded, by the code that will apply it everywhere.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::{Command, CommandId};
use crate::header::Header;
use crate::id::TwinId;
use crate::json::Json;
use crate::kind::Kind;
use crate::name::Name;
use crate::queue::Step;
use crate::rejection::{Code, Rejection};
use crate::reply::{Delivery, Output, Reply};
use crate::transition::{Change, Effect, Transition};
use crate::twin::Twin;

use super::{Decision, Live};

pub(super) struct Draft<'a> {
    pub(super) id: &'a TwinId,
    pub(super) kind: &'a Kind,
    pub(super) live: &'a mut Live,
    pub(super) header: Header,
    /// Commands that ended by this decision and whose outcome nobody has heard of yet.
    pub(super) ended: VecDeque<Command>,
    changes: Vec<Change>,
    effects: Vec<Effect>,
    outputs: Vec<Output>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(id: &'a TwinId, kind: &'a Kind, live: &'a mut Live, header: Header) -> Self {
        let (changes, effects, outputs) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, kind, live, header, ended: VecDeque::new(), changes, effects, outputs }
    }

    /// The twin as the decision has made it so far.
    pub(super) fn twin(&self) -> &Twin {
        &self.live.twin
    }

    pub(super) fn twin_shared(&self) -> Arc<Twin> {
        self.live.twin.clone()
    }

    /// Looks at the input's place in its session: an answer means that it goes no further.
    pub(super) fn enter(&self) -> Option<Result<Reply, Rejection>> {
        let mark = self.header.mark?;
        let Some(session) = self.twin().sessions().at(mark.epoch) else {
            return Some(Err(Rejection::new(Code::SessionEnded, "the session has ended")));
        };
        if mark.n <= session.n {
            return Some(self.repeated().unwrap_or(Ok(Reply::Done)));
        }
        if mark.n > session.n + 1 {
            let why = format!("input {} came after {}: those between are missing", mark.n, session.n);
            return Some(Err(Rejection::new(Code::OutOfOrder, why)));
        }
        None
    }

    pub(super) fn change(&mut self, change: Change) {
        Arc::make_mut(&mut self.live.twin).change(&change, &self.header);
        self.changes.push(change);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn announce(&mut self, name: &str, data: Json) {
        self.effect(Effect::Event { name: Name::trusted(name), data });
    }

    pub(super) fn output(&mut self, epoch: u64, what: Delivery) {
        self.outputs.push(Output { epoch, what });
    }

    /// Takes a command's step; one that ends the command is heard of when the decision settles.
    pub(super) fn step(&mut self, id: CommandId, step: Step) {
        if step == Step::Dead {
            let displaced = self.twin().commands().displaced_by(id).map(about_dropped);
            for data in displaced.collect::<Vec<_>>() {
                self.announce("command-dropped", data);
            }
        }
        self.change(Change::Stepped { id, step });
        let ended = self.twin().commands().just_ended(id).cloned();
        self.ended.extend(ended);
    }

    /// A number for something that this decision makes: the same on every replay of it.
    pub(super) fn ordinal(&self) -> u64 {
        (self.changes.len() + self.effects.len()) as u64
    }

    pub(super) fn without_a_trace(self, reply: Result<Reply, Rejection>) -> Decision {
        Decision { transition: None, reply, outputs: Vec::new() }
    }

    pub(super) fn finish(self, reply: Result<Reply, Rejection>) -> Decision {
        let Self { live, header, changes, effects, outputs, .. } = self;
        if changes.is_empty() && effects.is_empty() && header.mark.is_none() {
            return Decision { transition: None, reply, outputs };
        }
        let twin = Arc::make_mut(&mut live.twin);
        twin.finish(&header);
        let transition = Transition { sequence: twin.sequence(), header, changes, effects };
        // An answer that shows the twin shows it as the whole decision left it.
        let reply = reply.map(|reply| match reply {
            Reply::Twin(_) => Reply::Twin(live.twin.clone()),
            Reply::Registered { created, .. } => Reply::Registered { created, twin: live.twin.clone() },
            other => other,
        });
        Decision { transition: Some(transition), reply, outputs }
    }
}

/// A dead letter that is no longer kept.
fn about_dropped(command: &Command) -> Json {
    #[derive(serde::Serialize)]
    struct About<'a> {
        command: String,
        name: &'a str,
    }
    let about = About { command: command.id.to_string(), name: &command.name };
    Json::of(&about).unwrap_or_else(|_| Json::null())
}
