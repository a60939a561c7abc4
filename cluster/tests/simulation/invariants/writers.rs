//! Whatever is committed was proposed by the one who led its term: nobody else writes.

use super::Invariant;
use crate::oracle::Event;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Writers {
    /// Who proposed a number, and in which term.
    proposed: BTreeMap<u64, (u64, u64)>,
    /// Whose entries a term has.
    writers: BTreeMap<(u32, u64), u64>,
}

impl Invariant for Writers {
    fn claim(&self) -> &'static str {
        "a term has one writer"
    }

    fn hear(&mut self, node: u64, group: u32, event: &Event) -> Result<(), String> {
        match *event {
            Event::Proposed { number, term } => drop(self.proposed.insert(number, (node, term))),
            Event::Applied { number, id, .. } => {
                let Some((writer, term)) = self.proposed.get(&number).copied() else {
                    return Err(format!("nobody proposed number {number}"));
                };
                let first = *self.writers.entry((group, id.term)).or_insert(writer);
                if (first, id.term) != (writer, term) {
                    return Err(format!(
                        "{id:?} is by node {writer} of term {term}, and the term is node {first}'s"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
