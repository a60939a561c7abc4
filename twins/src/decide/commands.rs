//! Commands from applications, and what devices say of them.

use crate::command::{Command, CommandId, Mode, State};
use crate::input::{Said, Send};
use crate::json::Json;
use crate::queue::{OPEN_BYTES_MAX, OPEN_MAX, Step};
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn command(&mut self, send: &Send) -> Result<Reply, Rejection> {
        let queue = self.twin().commands();
        if let Some(same) = queue.get(send.id) {
            return Ok(Reply::Command(same.clone()));
        }
        let replaced = queue.pending(&send.name).filter(|_| send.mode == Mode::Latest);
        let (places, bytes) = replaced.fold((0, 0), |(n, bytes), command| (n + 1, bytes + command.bytes()));
        if queue.len() - places >= OPEN_MAX {
            let why = format!("{OPEN_MAX} commands are open, which is the most");
            return Err(Rejection::new(Code::QueueFull, why));
        }
        if queue.open_bytes() - bytes + send.payload.len() > OPEN_BYTES_MAX {
            let why = format!("the payloads of the open commands would pass {OPEN_BYTES_MAX} bytes");
            return Err(Rejection::new(Code::QueueFull, why));
        }
        let command = self.queue(Command {
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
        });
        Ok(Reply::Command(command))
    }

    pub(super) fn outcome(
        &mut self,
        id: CommandId,
        outcome: Said,
        result: Option<&Json>,
    ) -> Result<Reply, Rejection> {
        self.expire(id);
        let unknown = || Rejection::new(Code::UnknownCommand, format!("no command `{id}`"));
        let command = self.twin().commands().get(id).ok_or_else(unknown)?;
        let (is_final, state) = (command.is_final(), command.state);
        let said = match outcome {
            Said::Delivered => "delivered",
            Said::Done => "done",
            Said::Rejected => "rejected",
            Said::Progress => "progress",
        };
        if is_final {
            // An acknowledgement that is said again is nothing new.
            if outcome != Said::Delivered {
                self.announce("command-late", about(id, said, result));
            }
            return Ok(Reply::Done);
        }
        match outcome {
            Said::Done => self.step(id, Step::Done(result.cloned())),
            Said::Rejected => self.step(id, Step::Rejected(result.cloned())),
            Said::Delivered if state == State::Sent => self.step(id, Step::Delivered),
            Said::Delivered => {}
            Said::Progress => {
                if matches!(state, State::Queued | State::Sent) {
                    self.step(id, Step::Delivered);
                }
                self.announce("command-progress", about(id, said, result));
            }
        }
        Ok(Reply::Done)
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

fn about(id: CommandId, said: &str, result: Option<&Json>) -> Json {
    #[derive(serde::Serialize)]
    struct About<'a> {
        command: String,
        outcome: &'a str,
        result: Option<&'a Json>,
    }
    Json::of(&About { command: id.to_string(), outcome: said, result }).unwrap_or_else(|_| Json::null())
}
