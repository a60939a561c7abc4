//! What must hold at every moment, one file each.

mod acknowledged;
mod committed;
mod leaders;
mod once;
mod reads;
mod replicas;
mod writers;

use crate::oracle::Event;

/// Something that must hold.
pub trait Invariant: Send {
    /// It, in words.
    fn claim(&self) -> &'static str;

    /// Takes what has happened, or says why that may not have.
    fn hear(&mut self, node: u64, group: u32, event: &Event) -> Result<(), String>;

    /// All is over: nothing that had to happen is missing.
    fn end(&self) -> Result<(), String> {
        Ok(())
    }
}

pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(acknowledged::Acknowledged::default()),
        Box::new(committed::Committed::default()),
        Box::new(leaders::Leaders::default()),
        Box::new(once::Once::default()),
        Box::new(reads::Reads),
        Box::new(replicas::Replicas::default()),
        Box::new(writers::Writers::default()),
    ]
}
