//! Whoever asks hears of everything that was acknowledged before the question.

use super::Invariant;
use crate::oracle::Event;

pub struct Reads;

impl Invariant for Reads {
    fn claim(&self) -> &'static str {
        "no read is stale"
    }

    fn hear(&mut self, _node: u64, _group: u32, event: &Event) -> Result<(), String> {
        match *event {
            Event::Read { floor, through } if through < floor => {
                Err(format!("it answers through {through}, and {floor} was acknowledged before"))
            }
            _ => Ok(()),
        }
    }
}
