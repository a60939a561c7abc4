//! A group has one leader a term.

use super::Invariant;
use crate::oracle::Event;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Leaders(BTreeMap<(u32, u64), u64>);

impl Invariant for Leaders {
    fn claim(&self) -> &'static str {
        "a term has one leader"
    }

    fn hear(&mut self, node: u64, group: u32, event: &Event) -> Result<(), String> {
        let Event::Leads { term, .. } = event else { return Ok(()) };
        let leader = *self.0.entry((group, *term)).or_insert(node);
        if leader == node { Ok(()) } else { Err(format!("node {leader} led term {term} before")) }
    }
}
