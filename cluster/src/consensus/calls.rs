//! Calls to other nodes: a message out, and an answer, a deadline or a lost connection for it.

use super::codec::{Envelope, Message};
use crate::wire::{Contact, Lane, NotSent, Wire};
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
    waiting: Mutex<BTreeMap<(u64, u64), Waiting>>,
}

/// Whoever waits for an answer: the start of the node that was asked, and the group that it is about.
struct Waiting {
    of: Contact,
    group: u32,
    answer: oneshot::Sender<Message>,
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
    /// The calls are numbered from `first` on. That is other for each start of this node, so that what was meant for the
    /// one before answers nothing.
    pub(super) fn new(wire: Arc<dyn Wire>, deadline: Duration, first: u64) -> Self {
        Self { wire, deadline, next: AtomicU64::new(first), waiting: Mutex::default() }
    }

    pub(super) fn wire(&self) -> &Arc<dyn Wire> {
        &self.wire
    }

    /// Says something to a node, and waits for its answer.
    pub(super) async fn call(&self, to: u64, group: u32, message: Message) -> Result<Message, Failed> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let of = self.wire.contact(to).ok_or(Failed::NotSent(to, NotSent::Unreached))?;
        let (sender, answer) = oneshot::channel();
        self.waiting().insert((to, call), Waiting { of, group, answer: sender });
        let _waits = Waits { calls: self, key: (to, call) };
        self.send(to, Envelope { group, call, message }).map_err(|error| Failed::NotSent(to, error))?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(Message::Refused(reason))) => Err(Failed::Refused(to, reason)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failed::Lost(to)),
            Err(_) => Err(Failed::Late(to, self.deadline)),
        }
    }

    /// Answers a node's call. An answer that does not leave is missed by the caller's deadline; one to a node that was
    /// started again is for nobody.
    pub(super) fn answer(&self, to: Contact, group: u32, call: u64, message: Message) {
        if self.wire.contact(to.node) != Some(to) {
            return;
        }
        if let Err(error) = self.send(to.node, Envelope { group, call, message }) {
            tracing::debug!(to = to.node, group, %error, "an answer did not leave");
        }
    }

    /// Hands an answer to whoever waits for it. One that comes late is for nobody, as is one of another start of the node,
    /// or about another group.
    pub(super) fn answered(&self, from: Contact, group: u32, call: u64, message: Message) {
        let mut waiting = self.waiting();
        let key = (from.node, call);
        if waiting.get(&key).is_some_and(|waiting| (waiting.of, waiting.group) == (from, group))
            && let Some(waiting) = waiting.remove(&key)
        {
            drop(waiting.answer.send(message));
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

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Waiting>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Boxed, BulkWrite};
    use std::io;
    use tokio::task::JoinHandle;

    /// A wire to one node, which keeps what is sent to it.
    struct ToOne {
        is: Mutex<Contact>,
        sent: Mutex<Vec<Bytes>>,
    }

    impl Wire for ToOne {
        fn send(&self, _: u64, _: Lane, message: Bytes) -> Result<(), NotSent> {
            self.sent.lock().unwrap().push(message);
            Ok(())
        }

        fn bulk(&self, _: u64, _: Bytes) -> Boxed<io::Result<Box<dyn BulkWrite>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn contact(&self, node: u64) -> Option<Contact> {
            Some(*self.is.lock().unwrap()).filter(|contact| contact.node == node)
        }

        fn silent(&self) -> Vec<(u64, Duration)> {
            Vec::new()
        }
    }

    const PEER: Contact = Contact { node: 2, generation: 7 };
    const GROUP: u32 = 5;
    const FIRST: u64 = 90;

    fn message(why: &str) -> Message {
        Message::Refused(why.to_owned())
    }

    /// Calls to node 2, of which one about a group is under way.
    async fn called() -> (Arc<ToOne>, Arc<Calls>, JoinHandle<Result<Message, Failed>>) {
        let wire = Arc::new(ToOne { is: Mutex::new(PEER), sent: Mutex::default() });
        let calls = Arc::new(Calls::new(wire.clone(), Duration::from_secs(60), FIRST));
        let calling = calls.clone();
        let call = tokio::spawn(async move { calling.call(PEER.node, GROUP, message("a call")).await });
        while wire.sent.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        (wire, calls, call)
    }

    #[tokio::test]
    async fn a_call_is_answered_by_the_start_of_the_node_that_was_asked_and_about_its_group() {
        let (_, calls, call) = called().await;

        calls.answered(Contact { generation: 6, ..PEER }, GROUP, FIRST, message("of the start before"));
        calls.answered(PEER, GROUP + 1, FIRST, message("about another group"));
        calls.answered(PEER, GROUP, FIRST + 1, message("to another call"));
        calls.answered(PEER, GROUP, FIRST, message("this"));

        let answer = call.await.unwrap();
        assert!(matches!(answer, Err(Failed::Refused(2, why)) if why == "this"));
    }

    #[tokio::test]
    async fn a_call_is_not_answered_to_the_next_start_of_the_node_that_made_it() {
        let (wire, calls, _call) = called().await;
        *wire.is.lock().unwrap() = Contact { generation: 8, ..PEER };

        calls.answer(PEER, GROUP, 3, message("too late"));

        assert_eq!(wire.sent.lock().unwrap().len(), 1, "the call alone");
    }
}
