//! A device that speaks faster than it may is read more slowly: TCP's own flow control then holds it back, and nothing
//! is lost or refused. While it pauses, its keep-alive stands still, and what was said is answered as always.

use std::time::Instant;

use super::Session;

/// Until when a client pauses.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Nothing is taken until then, if anything has to wait.
    pub(super) until: Option<Instant>,
    /// How many there were since they were last counted.
    begun: u64,
}

impl Pauses {
    /// A packet, or a part of one, was taken: the next one is when its account says.
    pub(super) fn until(&mut self, until: Option<Instant>) {
        self.begun += u64::from(until.is_some() && self.until.is_none());
        self.until = until;
    }
}

impl Session {
    /// How many pauses began since this was last asked.
    pub(in super::super) fn paused(&mut self) -> u64 {
        std::mem::take(&mut self.pauses.begun)
    }

    /// Listens again, if it is time.
    pub(super) fn resume(&mut self, now: Instant) {
        if self.pauses.until.take_if(|until| *until <= now).is_some() {
            // While it did not listen the client could not be heard.
            self.heard = now;
            self.go_on(now);
        }
    }
}
