//! The connections of the shard's twins, by the node that holds them: those that end without a word are ended by whoever
//! leads.
//!
//! The table follows from the log as the twins do, on every replica. A checkpoint has a row for each twin with connections,
//! so that a start reads no image for it.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use twins::id::TwinId;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::presence::{ATTACH_WITHIN, Held, Holder, Seen, View, Why};
use crate::store::{Space, StateStore};

use super::recovery::KEYS_AT_ONCE;
use super::resident::Slot;
use super::work::Work;
use super::{Failed, Shard};

/// How many connections are ended at once: the others follow when the nodes are looked at again.
const AT_ONCE: usize = 4_096;
/// What is not attached is looked at once more after this: a connection that has just begun is attached when it is sure
/// that this node leads.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The connections, and which of them are being ended.
#[derive(Debug, Default)]
pub(super) struct Connections {
    held: Held,
    /// Those that were told to end in this tenure, and did not yet.
    ending: BTreeSet<(TwinId, u64)>,
    /// When the shard was first told of the nodes in this tenure.
    led_since: Option<Timestamp>,
    /// Those of live nodes that are not attached.
    unattached: Unattached,
    /// There are nodes that attach their connections.
    has_nodes: bool,
}

/// What is known of connections that no live node has attached.
#[derive(Debug, Default)]
enum Unattached {
    /// There is time left to attach them.
    #[default]
    Waiting,
    /// These were not at a time.
    Suspected(Timestamp, BTreeSet<(TwinId, u64)>),
    /// They were told to end.
    Ended,
}

/// The connections of a twin: epoch, and who holds it.
fn of(twin: &Twin) -> impl Iterator<Item = (u64, Holder)> {
    let connection = |session: &twins::session::Session| {
        let connection = session.connection.as_ref()?;
        Some((session.epoch, (connection.node, connection.generation)))
    };
    twin.sessions().connected().filter_map(connection)
}

/// A twin's row: its connections, each with its epoch, its node and that node's generation. None where it has none.
pub(super) fn row(twin: &Twin) -> Option<Vec<u8>> {
    let all: Vec<_> = of(twin).map(|(epoch, (node, generation))| (epoch, node, generation)).collect();
    (!all.is_empty()).then(|| minicbor::to_vec(&all).expect("writing to memory does not fail"))
}

/// What tells the rows of a twin apart: epochs grow, so that another set has another last one, or another count.
pub(super) fn mark(twin: &Twin) -> Option<(u64, usize)> {
    of(twin).map(|(epoch, _)| epoch).max().map(|last| (last, of(twin).count()))
}

impl Connections {
    fn add(&mut self, id: &TwinId, epoch: u64, holder: Holder) {
        self.held.entry(holder).or_default().insert((id.clone(), epoch));
    }

    fn remove(&mut self, id: &TwinId, epoch: u64, holder: Holder) {
        let connection = (id.clone(), epoch);
        self.ending.remove(&connection);
        if let Some(all) = self.held.get_mut(&holder) {
            all.remove(&connection);
            if all.is_empty() {
                self.held.remove(&holder);
            }
        }
    }

    /// A twin was committed.
    pub(super) fn change(&mut self, id: &TwinId, before: &Twin, after: &Twin) {
        if of(before).eq(of(after)) {
            return;
        }
        of(before).for_each(|(epoch, holder)| self.remove(id, epoch, holder));
        of(after).for_each(|(epoch, holder)| self.add(id, epoch, holder));
    }

    /// What was told to end may not have: it is told again.
    pub(super) fn begin_again(&mut self) {
        self.ending.clear();
        self.unattached = Unattached::Waiting;
    }

    /// Another one leads, or the shard leads anew.
    pub(super) fn change_leader(&mut self) {
        self.begin_again();
        self.led_since = None;
    }
}

impl Shard {
    /// Reads the table as the last checkpoint has it. Blocks.
    pub(super) fn read_connections(&mut self, store: &dyn StateStore) -> Result<(), Failed> {
        let mut last: Option<Vec<u8>> = None;
        loop {
            let after = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = store.scan(self.home, Space::Connected, (after, Bound::Unbounded), KEYS_AT_ONCE);
            let rows = rows.map_err(|error| self.failed(error))?;
            let Some((key, _)) = rows.last() else { return Ok(()) };
            last = Some(key.clone());
            for (key, row) in rows {
                let id = std::str::from_utf8(&key).ok().and_then(|key| TwinId::parse(key).ok());
                let Some(id) = id else { continue };
                match minicbor::decode::<Vec<(u64, u64, u64)>>(&row) {
                    Ok(all) => all.into_iter().for_each(|(epoch, node, generation)| {
                        self.connections.add(&id, epoch, (node, generation));
                    }),
                    // An earlier version wrote no value.
                    Err(_) => self.read_connections_of(&id, store)?,
                }
            }
        }
    }

    fn read_connections_of(&mut self, id: &TwinId, store: &dyn StateStore) -> Result<(), Failed> {
        self.bring_in(id, store)?;
        let Some(Slot::Resident(resident)) = self.twins.get(id) else { return Ok(()) };
        let twin = resident.committed.clone();
        of(&twin).for_each(|(epoch, holder)| self.connections.add(id, epoch, holder));
        Ok(())
    }

    /// The ends of the connections that this node held and knows no mailbox of: they ended with the process, or with the
    /// tenure that knew it. Where nodes attach their connections, only those of an earlier process.
    pub(super) fn ended(&mut self) -> Vec<Work> {
        let me = self.setting.node;
        let has_nodes = self.connections.has_nodes || self.setting.away.is_used();
        self.connections.change_leader();
        let own: Held =
            self.connections.held.range((me.0, 0)..=me).map(|(of, all)| (*of, all.clone())).collect();
        let attach_within = (!has_nodes).then_some(Duration::ZERO);
        let view = View { me, seen: &Seen::new(), led_for: Duration::ZERO, attach_within };
        let ended = view.ended(&own, |twin, epoch| self.is_attached(twin, epoch));
        ended.map(|(twin, epoch, _)| Work::restarted(twin.clone(), epoch)).collect()
    }

    /// What is known of the other nodes: connections that have ended with one of them are ended.
    pub(crate) fn nodes(&mut self, now: Timestamp, seen: &Seen) -> Result<(), Failed> {
        self.pass(now);
        self.connections.has_nodes = true;
        if !self.leads() {
            return Ok(());
        }
        let led_for = now.since(*self.connections.led_since.get_or_insert(now));
        let attach_within = match &self.connections.unattached {
            Unattached::Waiting => Some(ATTACH_WITHIN),
            Unattached::Suspected(since, _) => (now.since(*since) >= LOOK_AGAIN).then_some(ATTACH_WITHIN),
            Unattached::Ended => None,
        };
        let view = View { me: self.setting.node, seen, led_for, attach_within };
        let Connections { held, ending, unattached, .. } = &self.connections;
        let ended = view.ended(held, |twin, epoch| self.is_attached(twin, epoch));
        let ended = ended.map(|(twin, epoch, why)| ((twin.clone(), epoch), why));
        let mut ended: Vec<_> = ended.filter(|(of, _)| !ending.contains(of)).take(AT_ONCE).collect();
        let are_all = ended.len() < AT_ONCE;
        let is_late = led_for >= ATTACH_WITHIN && attach_within.is_some();
        let next = match unattached {
            Unattached::Waiting if is_late => {
                let (late, gone) = ended.into_iter().partition(|(_, why)| *why == Why::Unattached);
                ended = gone;
                let late: Vec<((TwinId, u64), Why)> = late;
                Some(Unattached::Suspected(now, late.into_iter().map(|(of, _)| of).collect()))
            }
            Unattached::Suspected(_, suspected) if is_late => {
                ended.retain(|(of, why)| *why != Why::Unattached || suspected.contains(of));
                Some(if are_all { Unattached::Ended } else { Unattached::Waiting })
            }
            _ => None,
        };
        if let Some(next) = next {
            self.connections.unattached = next;
        }
        if ended.is_empty() {
            return Ok(());
        }
        for ((twin, epoch), why) in ended {
            self.connections.ending.insert((twin.clone(), epoch));
            self.one(match why {
                Why::Restarted => Work::restarted(twin, epoch),
                Why::Silent | Why::Unattached => Work::cut_off(twin, epoch),
            });
        }
        self.turn()
    }

    fn is_attached(&self, twin: &TwinId, epoch: u64) -> bool {
        self.mailboxes.get(twin).is_some_and(|all| all.iter().any(|(of, _)| *of == epoch))
    }
}
