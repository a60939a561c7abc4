//! The connections of this node's gateway, by the shards of their twins: whoever begins to lead a shard hears of them.
//!
//! A connection outlives the leader of its shard. When another one leads, it is *attached* there: its mailbox is known
//! again, it is told again what it may not have had, and it says again what was not taken. What has no leader that this
//! node is in contact with for a while is closed: its devices may be better served by another node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use twins::id::TwinId;
use twins::reply::{Closed, Delivery};

use crate::away::Held;
use crate::mailbox::{Mail, Mailbox};

/// A gateway without contact to the leader of a shard for so long closes the shard's connections: less than after which
/// the leader takes them for gone, so that nobody is absent while served.
const CONTACT_MAX: Duration = Duration::from_secs(2);
/// A connection that begins so soon after another node began to lead may have begun under the one before.
const UNSURE: Duration = Duration::from_secs(30);

/// All of them.
pub(crate) struct Attached {
    shards: Box<[Mutex<OfShard>]>,
}

#[derive(Default)]
struct OfShard {
    connections: BTreeMap<u64, Connection>,
    /// They are to be attached.
    is_due: bool,
    /// When another one last began to lead.
    led: Option<Instant>,
    /// When this node was last in contact with the leader.
    contact: Option<Instant>,
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) twin: TwinId,
    pub(crate) epoch: u64,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Attached {
    pub(crate) fn new(shards: u32) -> Self {
        Self { shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// A connection has begun. Returns whether it has to be attached.
    pub(crate) fn add(&self, shard: u32, number: u64, connection: Connection) -> bool {
        let mut of = self.of(shard);
        of.connections.insert(number, connection);
        of.contact = Some(Instant::now());
        of.led.is_some_and(|led| led.elapsed() < UNSURE)
    }

    /// A connection has ended.
    pub(crate) fn remove(&self, shard: u32, number: u64) {
        self.of(shard).connections.remove(&number);
    }

    /// Another one leads.
    pub(crate) fn led(&self, shard: u32) {
        let mut of = self.of(shard);
        (of.led, of.is_due) = (Some(Instant::now()), true);
    }

    /// They are to be attached once more.
    pub(crate) fn lapse(&self, shard: u32) {
        self.of(shard).is_due = true;
    }

    /// All of a shard, to be attached; nothing if they are.
    pub(crate) fn take_due(&self, shard: u32) -> Vec<(u64, Connection)> {
        let mut of = self.of(shard);
        if !std::mem::take(&mut of.is_due) {
            return Vec::new();
        }
        of.connections.iter().map(|(number, connection)| (*number, connection.clone())).collect()
    }

    /// What was not taken may be said again.
    pub(crate) fn again(&self, shard: u32) {
        for connection in self.of(shard).connections.values() {
            connection.mailbox.put([Mail::Again]);
        }
    }

    /// For how long the leader of a shard was silent, where there is one. Closes the shard's connections once this node had
    /// no contact for too long.
    pub(crate) fn contact(&self, shard: u32, silent: Option<Duration>) {
        let now = Instant::now();
        let mut of = self.of(shard);
        let heard = silent.and_then(|silent| now.checked_sub(silent));
        let last = heard.max(of.contact).unwrap_or(now);
        of.contact = Some(last);
        if now.duration_since(last) < CONTACT_MAX {
            return;
        }
        for (_, Connection { epoch, mailbox, .. }) in std::mem::take(&mut of.connections) {
            mailbox.put([Mail::Delivery { epoch, what: Delivery::Close(Closed::Unavailable) }]);
        }
    }

    fn of(&self, shard: u32) -> MutexGuard<'_, OfShard> {
        // Nobody panics while holding it.
        self.shards[shard as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// As other nodes hear of it.
    pub(crate) fn held(&self, number: u64) -> Held {
        Held { connection: number, twin: self.twin.clone(), epoch: self.epoch }
    }
}
