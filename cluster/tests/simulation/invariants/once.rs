//! What was refused is nowhere, and what is there is there once.

use super::Invariant;
use crate::oracle::Event;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Once {
    refused: BTreeSet<u64>,
    /// Where each number is, by group and index.
    places: BTreeMap<u64, (u32, u64)>,
}

impl Invariant for Once {
    fn claim(&self) -> &'static str {
        "an entry is there once, or not at all where it was refused"
    }

    fn hear(&mut self, _node: u64, group: u32, event: &Event) -> Result<(), String> {
        match *event {
            Event::Refused { number } => drop(self.refused.insert(number)),
            Event::Applied { number, id, .. } | Event::Acknowledged { number, id } => {
                let place = *self.places.entry(number).or_insert((group, id.index));
                if place != (group, id.index) {
                    return Err(format!("number {number} is at {place:?} and at {id:?}"));
                }
            }
            _ => {}
        }
        let (Event::Refused { number } | Event::Applied { number, .. }) = *event else { return Ok(()) };
        match self.refused.contains(&number) && self.places.contains_key(&number) {
            true => Err(format!("number {number} was refused, and is there")),
            false => Ok(()),
        }
    }
}
