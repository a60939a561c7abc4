//! What has happened, in one order, and whether it may have.
//!
//! Everybody tells it what happens; each [invariant](crate::invariants) hears all of that. The first one that does not
//! hold ends the run. What is told makes the history, whose hash two runs of one seed have in common. Bytes of TLS are not
//! told: their keys are never the same.

use crate::invariants::{self, Invariant};
use runtime::log::LogId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Something that happened on a node, in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its shard leads.
    Leads { term: u64, number: u64 },
    /// Its shard does not lead any more.
    Follows,
    /// It proposes what has this number, in a term.
    Proposed { number: u64, term: u64 },
    /// It was told that its proposal is committed.
    Acknowledged { number: u64, id: LogId },
    /// It was told that its proposal was surely not appended.
    Refused { number: u64 },
    /// Nobody knows what became of its proposal.
    Unknown { number: u64 },
    /// It applies an entry; `state` follows from all that it applied.
    Applied { number: u64, id: LogId, state: u64 },
    /// Somebody asks for what it has: everything through `floor` was acknowledged before.
    Read { floor: u64, through: u64 },
}

/// Who hears of everything. Clones are the same.
#[derive(Clone)]
pub struct Oracle(Arc<Mutex<Inner>>);

struct Inner {
    now: Duration,
    hash: u64,
    history: Vec<String>,
    invariants: Vec<Box<dyn Invariant>>,
    violation: Option<String>,
    numbers: u64,
    acknowledged: BTreeMap<u32, u64>,
    /// Through which entry a node has applied a group, by both.
    applied: BTreeMap<(u64, u32), u64>,
    counts: BTreeMap<String, u64>,
}

impl Oracle {
    pub fn new() -> Self {
        let inner = Inner {
            now: Duration::ZERO,
            // FNV-1a.
            hash: 0xcbf2_9ce4_8422_2325,
            history: Vec::new(),
            invariants: invariants::all(),
            violation: None,
            numbers: 0,
            acknowledged: BTreeMap::new(),
            applied: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub fn tell(&self, node: u64, group: u32, event: Event) {
        let inner = &mut *self.0.lock().unwrap();
        match event {
            Event::Acknowledged { id, .. } => {
                let last = inner.acknowledged.entry(group).or_default();
                *last = id.index.max(*last);
            }
            Event::Applied { id, .. } => drop(inner.applied.insert((node, group), id.index)),
            _ => {}
        }
        let broken = inner.invariants.iter_mut().filter_map(|invariant| {
            let held = invariant.hear(node, group, &event);
            held.err().map(|why| format!("{}: {why}", invariant.claim()))
        });
        let broken: Vec<String> = broken.collect();
        inner.write(format!("node {node} group {group} {event:?}"));
        broken.into_iter().for_each(|why| inner.fail(format!("node {node}, group {group}: {why}")));
    }

    /// Something that is no event of a group: a fault, an order.
    pub fn note(&self, kind: &str, what: String) {
        let inner = &mut *self.0.lock().unwrap();
        *inner.counts.entry(kind.to_owned()).or_default() += 1;
        inner.write(format!("{kind} {what}"));
    }

    pub fn fail(&self, why: String) {
        self.0.lock().unwrap().fail(why);
    }

    pub fn set_now(&self, now: Duration) {
        self.0.lock().unwrap().now = now;
    }

    pub fn now(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    /// A number that no other proposal has.
    pub fn number(&self) -> u64 {
        let inner = &mut *self.0.lock().unwrap();
        inner.numbers += 1;
        inner.numbers
    }

    /// Through which entry a group was acknowledged to anybody.
    pub fn acknowledged(&self, group: u32) -> u64 {
        self.0.lock().unwrap().acknowledged.get(&group).copied().unwrap_or(0)
    }

    /// Through which entry a node has applied a group.
    pub fn applied(&self, node: u64, group: u32) -> u64 {
        self.0.lock().unwrap().applied.get(&(node, group)).copied().unwrap_or(0)
    }

    pub fn violation(&self) -> Option<String> {
        self.0.lock().unwrap().violation.clone()
    }

    /// All is over, and everybody has applied the same: what had to be there is.
    pub fn end(&self) {
        let inner = &mut *self.0.lock().unwrap();
        let broken = inner.invariants.iter().filter_map(|invariant| {
            let held = invariant.end();
            held.err().map(|why| format!("{}: {why}", invariant.claim()))
        });
        let broken: Vec<String> = broken.collect();
        broken.into_iter().for_each(|why| inner.fail(why));
    }

    pub fn history(&self) -> (u64, Vec<String>) {
        let inner = self.0.lock().unwrap();
        (inner.hash, inner.history.clone())
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().counts.clone()
    }
}

impl Inner {
    fn write(&mut self, what: String) {
        let line = format!("{:>9.3} {what}", self.now.as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.history.push(line);
    }

    fn fail(&mut self, why: String) {
        self.write(format!("VIOLATION {why}"));
        self.violation.get_or_insert(why);
    }
}
