//! What a connection gets from its shard: answers to what it said, and messages for its device.
//!
//! A shard commits many inputs of one connection at once. It puts all their answers here and wakes the connection
//! once; the connection takes everything that is there.
//!
//! A connection of another node's gateway has a mailbox here too, which keeps nothing: what is put into it goes there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use twins::reply::Delivery;

use crate::error::Outcome;

/// One thing for a connection.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Mail {
    /// The answer to the input with this token. Answers come in the order of the inputs.
    #[n(0)]
    Reply {
        /// The token that the connection gave the input.
        #[n(0)]
        token: u64,
        /// The answer.
        #[n(1)]
        outcome: Outcome,
    },
    /// Something for the device, of the connection with this epoch.
    #[n(1)]
    Delivery {
        /// The epoch.
        #[n(0)]
        epoch: u64,
        /// What it gets.
        #[n(1)]
        what: Delivery,
    },
    /// The same, told again after another node began to lead: the connection may have had it.
    #[n(2)]
    Redelivery {
        /// The epoch.
        #[n(0)]
        epoch: u64,
        /// What it gets.
        #[n(1)]
        what: Delivery,
    },
    /// Another node leads now: what was not taken for a reason that passes may be said again at once.
    #[n(3)]
    Again,
}

/// A connection's mailbox.
///
/// It needs no limit of its own, since what can be in it is limited where it comes from: answers by the inputs that
/// the connection has sent and not yet seen answered, commands by one at a time, desired changes by
/// [`DESIRED_IN_FLIGHT_MAX`](twins::session::DESIRED_IN_FLIGHT_MAX), requests by
/// [`REQUESTS_MAX`](crate::router::REQUESTS_MAX).
#[derive(Debug, Default)]
pub struct Mailbox {
    held: Mutex<Held>,
    arrived: Notify,
    /// What other nodes call the connection; 0 while none knows of it.
    number: AtomicU64,
    /// It is another node's.
    relay: Option<Box<dyn Relay>>,
}

#[derive(Debug, Default)]
struct Held {
    mail: Vec<Mail>,
    closed: bool,
}

/// The way to a connection of another node.
pub(crate) trait Relay: std::fmt::Debug + Send + Sync {
    /// Sends mail there, unless the connection is closed.
    fn relay(&self, mail: Vec<Mail>, is_closed: bool);
}

impl Mailbox {
    /// One of a connection of another node.
    pub(crate) fn relayed(relay: Box<dyn Relay>) -> Self {
        Self { relay: Some(relay), ..Self::default() }
    }

    /// Puts mail in, and wakes the connection if it waits. Mail for a connection that is gone is dropped; returns whether
    /// it is there.
    pub fn put(&self, mail: impl IntoIterator<Item = Mail>) -> bool {
        let mut held = self.lock();
        let is_there = !held.closed;
        if let Some(relay) = &self.relay {
            drop(held);
            relay.relay(mail.into_iter().collect(), !is_there);
        } else if is_there {
            held.mail.extend(mail);
            self.arrived.notify_one();
        }
        is_there
    }

    /// The connection is gone; returns what it has not taken.
    pub fn close(&self) -> Vec<Mail> {
        let mut held = self.lock();
        held.closed = true;
        std::mem::take(&mut held.mail)
    }

    /// Whether the connection is gone. What was put in before it went is its to look at.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until there is mail, and moves all of it to the end of `into`. Cancel safe.
    pub async fn take(&self, into: &mut Vec<Mail>) {
        loop {
            {
                let mut held = self.lock();
                if !held.mail.is_empty() {
                    into.append(&mut held.mail);
                    return;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// What other nodes call the connection, if they know of it.
    pub(crate) fn number(&self) -> Option<u64> {
        Some(self.number.load(Ordering::Relaxed)).filter(|number| *number > 0)
    }

    /// Other nodes call it this, unless they had a number for it before. Returns that which they use.
    pub(crate) fn call(&self, number: u64) -> u64 {
        let before = self.number.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        before.map_or_else(|before| before, |_| number)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // Nobody panics while holding it: what is done under it are moves.
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
