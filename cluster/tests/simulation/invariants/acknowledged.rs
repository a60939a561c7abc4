//! What was acknowledged is there in the end, on every node.

use super::Invariant;
use crate::oracle::Event;
use runtime::log::LogId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Acknowledged {
    entries: BTreeSet<(u32, LogId, u64)>,
    /// What each node has applied since it last began with nothing.
    applied: BTreeMap<(u64, u32), BTreeSet<(LogId, u64)>>,
}

impl Invariant for Acknowledged {
    fn claim(&self) -> &'static str {
        "what was acknowledged is kept"
    }

    fn hear(&mut self, node: u64, group: u32, event: &Event) -> Result<(), String> {
        match *event {
            Event::Acknowledged { number, id } => drop(self.entries.insert((group, id, number))),
            Event::Applied { number, id, .. } => {
                let applied = self.applied.entry((node, group)).or_default();
                // Whoever begins anew applies everything again.
                if applied.first().is_some_and(|(first, _)| id.index <= first.index) {
                    applied.clear();
                }
                applied.insert((id, number));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        for (group, id, number) in &self.entries {
            for ((node, _), applied) in self.applied.iter().filter(|((_, of), _)| of == group) {
                if !applied.contains(&(*id, *number)) {
                    return Err(format!("group {group}: {id:?}, number {number}, is not on node {node}"));
                }
            }
        }
        Ok(())
    }
}
