//! What a device wants said when its connection ends without a goodbye: at once, or when the session is not resumed in
//! time.

use std::time::Duration;

use crate::header::Principal;
use crate::transition::Change;
use crate::will::Words;

use super::draft::Draft;

impl Draft<'_> {
    /// Says the will of the session whose newest connection has or had this epoch, as the device would have: it may be
    /// refused, which leaves an event.
    pub(super) fn say_will(&mut self, epoch: u64) {
        let session = self.twin().sessions().known(epoch);
        let Some((will, proof)) = session.and_then(|s| Some((s.will.clone()?, s.proof.clone()))) else { return };
        self.change(Change::WillEnded { epoch });
        // Whoever was shut out meanwhile, or has shown no more than an activation key, says nothing.
        let trust = self.twin().trust();
        let speaks = trust.holds(&proof, self.header.received) && trust.replaced_by().is_none();
        if !speaks || proof.is_of_activation() || self.is_cut_off() {
            return;
        }
        self.header.principal = Principal::Device;
        let said = match &will.words {
            Words::Sample { channel, body } => self.sample(channel, body),
            Words::Telemetry(body) => self.telemetry(body),
            Words::Report(patch) => self.report(patch),
        };
        if let Err(rejection) = said {
            self.complain(&rejection);
        }
    }

    /// Nobody says it any more.
    pub(super) fn drop_will(&mut self, epoch: u64) {
        if self.twin().sessions().known(epoch).is_some_and(|session| session.will.is_some()) {
            self.change(Change::WillEnded { epoch });
        }
    }

    /// The connection is about to end without a goodbye: says the will, or times it. A session that ends earlier than
    /// the delay says it when it ends.
    pub(super) fn time_will(&mut self, epoch: u64) {
        let Some(session) = self.twin().sessions().at(epoch) else { return };
        let Some(will) = &session.will else { return };
        let kept_s = if session.kept { session.expiry_s.unwrap_or(u32::MAX) } else { 0 };
        let delay = Duration::from_secs(will.delay_s.min(kept_s).into());
        if delay.is_zero() {
            return self.say_will(epoch);
        }
        self.change(Change::WillTimed { epoch, due: self.header.received + delay });
    }
}
