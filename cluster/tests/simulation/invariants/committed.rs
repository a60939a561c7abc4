//! What is committed stays what it is, at its place, and terms never fall.

use super::Invariant;
use crate::oracle::Event;
use runtime::log::LogId;
use std::collections::BTreeMap;

/// By group and index.
#[derive(Default)]
pub struct Committed(BTreeMap<(u32, u64), (LogId, u64)>);

impl Invariant for Committed {
    fn claim(&self) -> &'static str {
        "a committed entry is immutable"
    }

    fn hear(&mut self, _node: u64, group: u32, event: &Event) -> Result<(), String> {
        let (Event::Applied { number, id, .. } | Event::Acknowledged { number, id }) = *event else {
            return Ok(());
        };
        let before = *self.0.entry((group, id.index)).or_insert((id, number));
        if before != (id, number) {
            return Err(format!("{id:?} is number {number}, and was {before:?}"));
        }
        let earlier = self.0.range((group, 0)..(group, id.index)).next_back();
        let later = self.0.range((group, id.index + 1)..(group, u64::MAX)).next();
        let falls = earlier.is_some_and(|(_, (earlier, _))| earlier.term > id.term)
            || later.is_some_and(|(_, (later, _))| later.term < id.term);
        if falls { Err(format!("{id:?} is between {earlier:?} and {later:?}")) } else { Ok(()) }
    }
}
