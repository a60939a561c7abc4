//! A device without a connection asks for its commands: the head of the queue is handed out as to a connection, by a
//! step in the log, and again each time it asks, until it says what became of it.

use crate::command::Command;
use crate::queue::{ATTEMPTS_MAX, Step};
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::session::Topic;
use crate::twin::Twin;

use super::draft::Draft;

/// The epoch of what is handed out without a connection: none has it.
const POLLED: u64 = 0;

impl Twin {
    /// What a device without a connection would be handed: nothing while a connection listens to commands, since that
    /// one is handed them.
    pub fn polled(&self) -> Option<&Command> {
        let listens = self.sessions().newest(Topic::Commands).is_some();
        self.commands().head().filter(|_| !listens)
    }
}

impl Draft<'_> {
    pub(super) fn poll(&mut self) -> Result<Reply, Rejection> {
        while let Some(head) = self.twin().polled() {
            let id = head.id;
            if head.deadline <= self.header.received {
                self.step(id, Step::Expired);
                continue;
            }
            if head.attempt >= ATTEMPTS_MAX {
                self.step(id, Step::Dead);
                continue;
            }
            self.step(id, Step::Sent(POLLED));
            let sent = self.twin().commands().get(id).cloned();
            return Ok(sent.map_or(Reply::Done, Reply::Polled));
        }
        Ok(Reply::Done)
    }
}
