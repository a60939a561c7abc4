//! Replicas that have applied as much have the same state.

use super::Invariant;
use crate::oracle::Event;
use std::collections::BTreeMap;

/// By group and index.
#[derive(Default)]
pub struct Replicas(BTreeMap<(u32, u64), (u64, u64)>);

impl Invariant for Replicas {
    fn claim(&self) -> &'static str {
        "replicas are equal where they have applied as much"
    }

    fn hear(&mut self, node: u64, group: u32, event: &Event) -> Result<(), String> {
        let Event::Applied { id, state, .. } = *event else { return Ok(()) };
        let (other, before) = *self.0.entry((group, id.index)).or_insert((node, state));
        match before == state {
            true => Ok(()),
            false => {
                Err(format!("at {id:?} its state is {state:x}, and that of node {other} was {before:x}"))
            }
        }
    }
}
