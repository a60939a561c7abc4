//! What a connection gets from its shard: answers to what it said, and messages for its device.
//!
//! A shard commits many inputs of one connection at once. It puts all their answers here and wakes the connection
//! once; the connection takes everything that is there.

use std::sync::Mutex;

use tokio::sync::Notify;
use twins::reply::Delivery;

use crate::error::Outcome;

/// One thing for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// The answer to the input with this token. Answers come in the order of the inputs.
    Reply {
        /// The token that the connection gave the input.
        token: u64,
        /// The answer.
        outcome: Outcome,
    },
    /// Something for the device, of the connection with this epoch.
    Delivery {
        /// The epoch.
        epoch: u64,
        /// What it gets.
        what: Delivery,
    },
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
}

#[derive(Debug, Default)]
struct Held {
    mail: Vec<Mail>,
    closed: bool,
}

impl Mailbox {
    /// Puts mail in, and wakes the connection if it waits. Mail for a connection that is gone is dropped.
    pub fn put(&self, mail: impl IntoIterator<Item = Mail>) {
        let mut held = self.lock();
        if !held.closed {
            held.mail.extend(mail);
            self.arrived.notify_one();
        }
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        // Nobody panics while holding it: what is done under it are moves.
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
