//! Calls to other nodes: a message out, and an answer, a deadline or a lost connection for it.

use super::codec::{Envelope, Message};
use crate::wire::{Lane, NotSent, Wire};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Messages longer than this go where they hold up no vote.
const PULSE_BYTES: usize = 64 << 10;

/// The calls of a node that wait for their answers, of all its groups.
pub(super) struct Calls {
    wire: Arc<dyn Wire>,
    deadline: Duration,
    next: AtomicU64,
    /// By node and number of the call. As many as the groups have replicas, times what one sends to one at a time.
    waiting: Mutex<BTreeMap<(u64, u64), oneshot::Sender<Message>>>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("node {0} is not reached: {1}")]
    NotSent(u64, NotSent),
    #[error("node {0} has not answered within {1:?}")]
    Late(u64, Duration),
    #[error("the connection to node {0} was lost before it answered")]
    Lost(u64),
    #[error("node {0} does not answer: {1}")]
    Refused(u64, String),
}

impl Calls {
    pub(super) fn new(wire: Arc<dyn Wire>, deadline: Duration) -> Self {
        Self { wire, deadline, next: AtomicU64::new(0), waiting: Mutex::default() }
    }

    /// Says something to a node, and waits for its answer.
    pub(super) async fn call(&self, to: u64, group: u32, message: Message) -> Result<Message, Failed> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().insert((to, call), sender);
        let _waits = Waits { calls: self, key: (to, call) };
        self.send(to, Envelope { group, call, message }).map_err(|error| Failed::NotSent(to, error))?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(Message::Refused(reason))) => Err(Failed::Refused(to, reason)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failed::Lost(to)),
            Err(_) => Err(Failed::Late(to, self.deadline)),
        }
    }

    /// Answers a node's call. An answer that does not leave is missed by the caller's deadline.
    pub(super) fn answer(&self, to: u64, group: u32, call: u64, message: Message) {
        if let Err(error) = self.send(to, Envelope { group, call, message }) {
            tracing::debug!(to, group, %error, "an answer did not leave");
        }
    }

    /// Hands an answer to whoever waits for it. One that comes late is for nobody.
    pub(super) fn answered(&self, from: u64, call: u64, message: Message) {
        if let Some(waiting) = self.waiting().remove(&(from, call)) {
            drop(waiting.send(message));
        }
    }

    /// Ends the calls to a node.
    pub(super) fn lost(&self, peer: u64) {
        let ended: Vec<_> = self.waiting().extract_if((peer, 0)..=(peer, u64::MAX), |_, _| true).collect();
        drop(ended);
    }

    fn send(&self, to: u64, envelope: Envelope) -> Result<(), NotSent> {
        let message: Bytes = envelope.encode();
        let lane = if message.len() > PULSE_BYTES { Lane::Log } else { Lane::Pulse };
        self.wire.send(to, lane, message)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), oneshot::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is given up leaves nothing behind.
struct Waits<'a> {
    calls: &'a Calls,
    key: (u64, u64),
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.calls.waiting().remove(&self.key);
    }
}
