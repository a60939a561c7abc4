//! The idempotency keys of applications: a request that comes again under its key is answered as it was, and does
//! nothing more.
//!
//! A key is never forgotten before its time: when as many are kept as may be, new ones are refused. Keys outlive the
//! twin, since the request that removed it may come again too.

use std::time::Duration;

use crate::chunks::Chunks;
use crate::command::{CommandId, State};
use crate::digest::Digest;
use crate::header::{Header, Idempotency};
use crate::json::Json;
use crate::results::Results;
use crate::time::Timestamp;

/// How many keys are kept; past it, new ones are refused.
pub const KEYS_MAX: usize = 1_000;
/// How long a key is kept.
pub const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys. They own nothing where there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Keys {
    #[n(0)]
    kept: Chunks<Kept>,
    #[n(1)]
    results: Results,
}

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Kept {
    /// What it was.
    #[n(0)]
    pub request: Idempotency,
    /// When it was taken.
    #[n(1)]
    pub at: Timestamp,
    /// What it was answered.
    #[n(2)]
    pub answer: Answer,
    /// The generation of the twin that answered.
    #[n(3)]
    #[cbor(default)]
    pub generation: u32,
}

/// What is kept of an answer. A twin that it showed is shown as it is when the request comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Answer {
    /// It was done.
    #[n(0)]
    Done,
    /// The id was registered, for the first time or again.
    #[n(1)]
    Registered(#[n(0)] bool),
    /// The twin.
    #[n(2)]
    Twin,
    /// A command, and how far it was.
    #[n(3)]
    Command(#[n(0)] CommandId, #[n(1)] State),
    /// What a method returned, which is kept apart.
    #[n(4)]
    Returned,
}

impl Keys {
    /// The request of this key.
    pub fn get(&self, key: Digest, now: Timestamp) -> Option<&Kept> {
        let found = self.kept.iter().rev().find(|kept| kept.request.key == key);
        found.filter(|kept| kept.at + AGE > now)
    }

    /// The request that came before under the key of this header.
    pub(crate) fn get_of(&self, header: &Header) -> Option<&Kept> {
        header.idempotency.and_then(|request| self.get(request.key, header.received))
    }

    /// Whether as many are kept as may be.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.kept.iter().filter(|kept| kept.at + AGE > now).count() >= KEYS_MAX
    }

    /// What the method returned that the request called, as long as that is kept.
    pub fn result(&self, key: Digest) -> Option<&Json> {
        self.results.get(key)
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        self.kept.len() * size_of::<Kept>() + self.results.bytes()
    }

    /// What of them a device that gets the id later keeps: that the requests were made, and nothing that was answered.
    pub(crate) fn of_before(&self) -> Self {
        Self { kept: self.kept.clone(), results: Results::default() }
    }

    pub(crate) fn remember(&mut self, kept: Kept, returned: Option<&Json>) {
        let now = kept.at;
        self.kept.push(kept);
        self.kept.forget(|newest, _| newest.at + AGE <= now);
        if let Some(returned) = returned {
            self.results.keep(kept.request.key, returned);
        }
    }
}
