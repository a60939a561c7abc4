//! What a shard is given to do, and where the answer goes.

use std::sync::Arc;

use tokio::sync::oneshot;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;

use crate::admission::Permit;
use crate::away::Caller;
use crate::error::{Error, Outcome};
use crate::mailbox::{Mail, Mailbox};
use crate::meter::What;

/// An input on its way through the shard.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) twin: TwinId,
    pub(crate) header: Header,
    pub(crate) input: Input,
    pub(crate) answer: Answer,
    /// Held until it is answered. What the shard says to itself has none.
    pub(crate) permit: Option<Permit>,
}

impl Work {
    /// What the shard says to a twin of its own.
    pub(crate) fn internal(twin: TwinId, input: Input) -> Self {
        let header = Header { principal: twins::header::Principal::System, ..Header::default() };
        Self { twin, header, input, answer: Answer::new(0, Asker::Nobody), permit: None }
    }

    /// That the gateway of a connection has gone without a word.
    pub(crate) fn cut_off(twin: TwinId, epoch: u64) -> Self {
        Self::ended(twin, epoch, Name::fixed("cut off"))
    }

    /// That a connection has ended with the node that held it.
    pub(crate) fn restarted(twin: TwinId, epoch: u64) -> Self {
        Self::ended(twin, epoch, Name::fixed("the node restarted"))
    }

    fn ended(twin: TwinId, epoch: u64, reason: Name) -> Self {
        Self::internal(twin, Input::Disconnect { epoch, reason, with_will: true, expiry_s: None })
    }
}

/// The duty to answer. Whoever lets it go unanswered, by a failure or a stop, answers that the fate is unknown.
#[derive(Debug)]
pub(crate) struct Answer {
    shard: u32,
    asker: Asker,
    /// To what it is the answer.
    pub(super) what: What,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Asker {
    /// Nobody.
    Nobody,
    /// One caller.
    Once(oneshot::Sender<Outcome>),
    /// Another node.
    Away(Caller),
    /// A connection.
    Mailbox { mailbox: Arc<Mailbox>, token: u64 },
}

impl Answer {
    pub(crate) fn new(shard: u32, asker: Asker) -> Self {
        Self { shard, asker, what: What::default() }
    }

    /// Answers at once, apart from everything else.
    pub(crate) fn give(mut self, outcome: Outcome) {
        self.take().hear(outcome);
    }

    /// The asker, for whoever will answer.
    pub(super) fn take(&mut self) -> Asker {
        std::mem::replace(&mut self.asker, Asker::Nobody)
    }

    /// The mailbox of the connection that asked.
    pub(super) fn mailbox(&self) -> Option<&Arc<Mailbox>> {
        match &self.asker {
            Asker::Mailbox { mailbox, .. } => Some(mailbox),
            _ => None,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let why = "the shard stopped before it answered".to_owned();
        self.take().hear(Err(Error::Unknown { shard: self.shard, why }));
    }
}

impl Asker {
    pub(super) fn hear(self, outcome: Outcome) {
        match self {
            Self::Nobody => {}
            // A caller that went away does not want it.
            Self::Once(sender) => drop(sender.send(outcome)),
            Self::Away(caller) => caller.hear(outcome),
            Self::Mailbox { mailbox, token } => drop(mailbox.put([Mail::Reply { token, outcome }])),
        }
    }
}
