//! Proposals on their way to openraft: each is answered by its own responder.
//!
//! openraft takes nothing from whoever may have lost the lead without knowing it. It also says so to a leader whose voters
//! have just changed, for as long as the new ones have not answered it. A proposal that it did not take is given to it again
//! after a moment, while its tenure lasts; whoever watches the lead ends that when it takes too long.

use super::machine::Machine;
use super::types::{self, Heard, Payload, Types};
use crate::group::Telling;
use bytes::Bytes;
use futures_util::FutureExt;
use openraft::Raft;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use runtime::log::Error;
use std::sync::Arc;
use std::time::Duration;

/// The pause before a proposal is given again.
const PAUSE: Duration = Duration::from_millis(5);

/// The way to openraft of one group.
#[derive(Clone)]
pub(super) struct Proposing {
    raft: Raft<Types, Machine>,
    telling: Arc<Telling>,
    runtime: tokio::runtime::Handle,
}

impl Proposing {
    /// Gives again on the runtime that this is called on.
    pub(super) fn new(raft: Raft<Types, Machine>, telling: Arc<Telling>) -> Self {
        Self { raft, telling, runtime: tokio::runtime::Handle::current() }
    }

    /// Gives openraft a proposal of a term, unless it was answered already.
    pub(super) fn submit(&self, number: u64, term: u64, payload: Bytes) {
        let (later, bytes) = (self.clone(), payload.clone());
        let heard = Heard::new(move |result: ClientWriteResult<Types>| match result {
            Ok(written) => later.telling.accepted(number, types::from_raft(&written.log_id)),
            Err(ClientWriteError::ForwardToLeader(forward))
                if forward.reason == ForwardReason::LeaseExpired =>
            {
                later.submit_later(number, term, bytes);
            }
            Err(ClientWriteError::ForwardToLeader(_)) => {
                later.telling.refused(number, Error::NotLeader { term });
            }
            Err(_) => later.telling.refused(number, Error::Deposed { term }),
        });
        let request = self.raft.write(Payload(payload.clone())).responder(heard).with_leader(term);
        // The core takes it at once, or it was never given the entry: it is full, or has ended. The share of this task in
        // the runtime, which may be used up, is no reason.
        let send = || tokio::task::unconstrained(request.into_future()).now_or_never();
        match self.telling.while_awaited(number, send) {
            Some(None) => self.submit_later(number, term, payload),
            Some(Some(Err(_))) => self.telling.refused(number, Error::NotLeader { term }),
            Some(Some(Ok(()))) | None => {}
        }
    }

    fn submit_later(&self, number: u64, term: u64, payload: Bytes) {
        let later = self.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(PAUSE).await;
            later.submit(number, term, payload);
        });
    }
}
