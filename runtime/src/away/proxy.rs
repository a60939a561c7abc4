//! What stands here for a connection or a caller of another node: what it is given goes there.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use twins::rejection::{Code, Rejection};

use crate::error::{Error, Outcome};
use crate::mailbox::{Mail, Relay};

use super::codec::LIST_MAX;
use super::{Answer, Away, Frame, NotSaid};

/// How much of a node's is unanswered here.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) inputs: AtomicUsize,
    pub(super) calls: AtomicUsize,
    /// The node was lost since: nothing of it is waited for any more.
    is_severed: AtomicBool,
}

impl Load {
    pub(super) fn sever(&self) {
        self.is_severed.store(true, Ordering::Release);
    }

    fn is_severed(&self) -> bool {
        self.is_severed.load(Ordering::Acquire)
    }
}

/// The way to a connection of another node.
pub(super) struct Way {
    pub(super) away: Weak<Away>,
    pub(super) to: u64,
    pub(super) shard: u32,
    pub(super) connection: u64,
    pub(super) load: Arc<Load>,
}

impl Way {
    /// Sends mail: together where it is not too much. What is lost on the way breaks it, so that both sides begin anew.
    fn send(&self, away: &Away, mut mail: Vec<Mail>) {
        if mail.len() > LIST_MAX {
            let rest = mail.split_off(LIST_MAX);
            self.send(away, mail);
            return self.send(away, rest);
        }
        let count = mail.len();
        let frame = Frame::Mail { shard: self.shard, connection: self.connection, mail };
        match (away.say(self.to, &frame), frame) {
            (Ok(()), _) => {}
            (Err(NotSaid::TooLarge(_)), Frame::Mail { mut mail, .. }) if count > 1 => {
                let rest = mail.split_off(count / 2);
                self.send(away, mail);
                self.send(away, rest);
            }
            (Err(NotSaid::TooLarge(bytes)), Frame::Mail { mail, .. }) => {
                // An answer that no node can be given is refused; nothing else is as large.
                for mail in mail {
                    if let Mail::Reply { token, .. } = mail {
                        let outcome = Err(too_large(bytes));
                        self.send(away, vec![Mail::Reply { token, outcome }]);
                    }
                }
            }
            (Err(_), _) => away.lost(self.to),
        }
    }
}

impl Relay for Way {
    fn relay(&self, mail: Vec<Mail>, is_closed: bool) {
        let replies = mail.iter().filter(|mail| matches!(mail, Mail::Reply { .. })).count();
        self.load.inputs.fetch_sub(replies, Ordering::Relaxed);
        if is_closed || mail.is_empty() || self.load.is_severed() {
            return;
        }
        if let Some(away) = self.away.upgrade() {
            self.send(&away, mail);
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("to", &self.to).field("connection", &self.connection).finish()
    }
}

/// Another node that waits for the answer to a call.
pub(crate) struct Caller {
    pub(super) away: Weak<Away>,
    pub(super) to: u64,
    pub(super) call: u64,
    pub(super) load: Arc<Load>,
}

impl Caller {
    pub(crate) fn hear(self, outcome: Outcome) {
        self.answer(outcome.map(Answer::Reply));
    }

    pub(super) fn answer(&self, answer: Result<Answer, Error>) {
        let Some(away) = self.away.upgrade().filter(|_| !self.load.is_severed()) else { return };
        let call = self.call;
        match away.say(self.to, &Frame::Answer { call, answer }) {
            Ok(()) => {}
            Err(NotSaid::TooLarge(bytes)) => self.answer(Err(too_large(bytes))),
            Err(_) => away.lost(self.to),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("to", &self.to).field("call", &self.call).finish()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.load.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_large(bytes: usize) -> Error {
    let why = format!("the answer has {bytes} bytes, too many to be sent between nodes");
    Rejection::new(Code::TooLarge, why).into()
}
