//! Commands from applications, and what devices say of them.

use std::time::Duration;

use crate::command::{Command, CommandId, Mode, State};
use crate::input::{Said, Send};
use crate::json::Json;
use crate::queue::{OPEN_BYTES_MAX, OPEN_MAX, Step};
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn command(&mut self, send: &Send) -> Result<Reply, Rejection> {
        if let Some(same) = self.twin().commands().get(send.id) {
            return Ok(Reply::Command { id: same.id, state: same.state });
        }
        let command = Command {
            id: send.id,
            name: send.name.clone(),
            payload: send.payload.clone(),
            created: self.header.received,
            deadline: send.deadline,
            by: self.header.principal.clone(),
            mode: send.mode,
            answer: send.answer,
            state: State::Queued,
            attempt: 0,
            epoch: 0,
            result: None,
            changed: self.header.received,
            trace: self.header.trace,
        };
        self.check_room(&command)?;
        let Command { id, state, .. } = self.queue(command);
        Ok(Reply::Command { id, state })
    }

    /// Whether the queue has room for one more.
    fn check_room(&self, command: &Command) -> Result<(), Rejection> {
        let queue = self.twin().commands();
        let replaced = queue.pending(&command.name).filter(|_| command.mode == Mode::Latest);
        let (places, bytes) = replaced.fold((0, 0), |(n, bytes), replaced| (n + 1, bytes + replaced.bytes()));
        if queue.len() - places >= OPEN_MAX {
            let why = format!("{OPEN_MAX} commands are open, which is the most");
            return Err(Rejection::new(Code::QueueFull, why));
        }
        if queue.open_bytes() - bytes + command.payload.len() > OPEN_BYTES_MAX {
            let why = format!("the payloads of the open commands would pass {OPEN_BYTES_MAX} bytes");
            return Err(Rejection::new(Code::QueueFull, why));
        }
        Ok(())
    }

    /// Withdraws a command, also one that the device has and has not answered. It is never sent again.
    pub(super) fn cancel(&mut self, id: CommandId) -> Result<Reply, Rejection> {
        self.expire(id);
        let command = self.remembered(id)?;
        let state = command.state;
        if command.is_final() && state != State::Cancelled {
            let why = format!("command `{id}` has ended: it is `{}`", state.as_str());
            return Err(Rejection::new(Code::CommandEnded, why));
        }
        if state != State::Cancelled {
            self.step(id, Step::Cancelled);
        }
        Ok(Reply::Command { id, state: State::Cancelled })
    }

    /// Queues a dead command anew, with fresh attempts; the dead one leaves.
    pub(super) fn redrive(
        &mut self,
        dead: CommandId,
        id: CommandId,
        ttl: Option<Duration>,
    ) -> Result<Reply, Rejection> {
        let before = self.remembered(dead)?;
        if before.state != State::Dead {
            let why = format!("command `{dead}` is not dead: it is `{}`", before.state.as_str());
            return Err(Rejection::new(Code::NotDead, why));
        }
        let commands = self.twin().commands();
        let is_newer = |other: &&Command| other.mode == Mode::Latest && other.name == before.name;
        let newest_dead = commands.dead().filter(is_newer).map(|other| other.id).max();
        if before.mode == Mode::Latest
            && (commands.pending(&before.name).next().is_some() || newest_dead > Some(dead))
        {
            let why = format!("there is a newer `{}`, and only the latest counts", before.name);
            return Err(Rejection::new(Code::Superseded, why));
        }
        let now = self.header.received;
        let command = Command {
            id,
            created: now,
            deadline: now + ttl.unwrap_or_else(|| before.deadline.since(before.created)),
            by: self.header.principal.clone(),
            state: State::Queued,
            attempt: 0,
            epoch: 0,
            result: None,
            changed: now,
            trace: self.header.trace,
            ..before.clone()
        };
        self.check_room(&command)?;
        self.change(Change::Redriven { id: dead });
        self.announce("command-redriven", about_redriven(dead, id));
        self.queue(command);
        Ok(Reply::Command { id, state: State::Queued })
    }

    /// What the device says of a command. The first end stands: what comes after it, or of a command that nobody
    /// remembers, is an event.
    pub(super) fn outcome(
        &mut self,
        id: CommandId,
        outcome: Said,
        result: Option<&Json>,
    ) -> Result<Reply, Rejection> {
        self.expire(id);
        let said = match outcome {
            Said::Delivered => "delivered",
            Said::Done => "done",
            Said::Rejected => "rejected",
            Said::Progress => "progress",
        };
        let command = self.twin().commands().get(id);
        let state = command.map(|command| command.state);
        let Some(open) = state.filter(|_| command.is_some_and(|command| !command.is_final())) else {
            // An acknowledgement that is said again is nothing new.
            if outcome != Said::Delivered {
                self.announce("command-late", about(id, said, result, state));
            }
            return Ok(Reply::Done);
        };
        match outcome {
            Said::Done => self.step(id, Step::Done(result.cloned())),
            Said::Rejected => self.step(id, Step::Rejected(result.cloned())),
            Said::Delivered if open == State::Sent => self.step(id, Step::Delivered),
            Said::Delivered => {}
            Said::Progress => {
                if matches!(open, State::Queued | State::Sent) {
                    self.step(id, Step::Delivered);
                }
                let state = self.twin().commands().get(id).map(|command| command.state);
                self.announce("command-progress", about(id, said, result, state));
            }
        }
        Ok(Reply::Done)
    }

    fn remembered(&self, id: CommandId) -> Result<&Command, Rejection> {
        let unknown = || Rejection::new(Code::UnknownCommand, format!("no command `{id}`"));
        self.twin().commands().get(id).ok_or_else(unknown)
    }

    /// Ends a command whose deadline has passed, though nothing has said so yet.
    fn expire(&mut self, id: CommandId) {
        let now = self.header.received;
        let late = |command: &Command| command.id == id && command.deadline <= now;
        if self.twin().commands().open().any(late) {
            self.step(id, Step::Expired);
        }
    }
}

/// What the device said of a command, and how that stands; null where it is no longer remembered.
fn about(id: CommandId, said: &str, result: Option<&Json>, state: Option<State>) -> Json {
    #[derive(serde::Serialize)]
    struct About<'a> {
        command: String,
        outcome: &'a str,
        result: Option<&'a Json>,
        state: Option<&'static str>,
    }
    let about = About { command: id.to_string(), outcome: said, result, state: state.map(State::as_str) };
    Json::of(&about).unwrap_or_else(|_| Json::null())
}

fn about_redriven(dead: CommandId, id: CommandId) -> Json {
    #[derive(serde::Serialize)]
    struct About {
        command: String,
        r#as: String,
    }
    let about = About { command: dead.to_string(), r#as: id.to_string() };
    Json::of(&about).unwrap_or_else(|_| Json::null())
}
