//! Passivation: past the memory budget, twins that nobody used lately go, if the state store has them.
//!
//! A clock over the residents: each that was used gets a second chance. Going is forgetting: the image is written, the
//! connections' mailboxes are kept apart, and whatever arrives reads the image again.

use crate::meter;

use super::resident::Slot;
use super::{Failed, Shard};

/// How many residents one turn looks at, so that a shard whose twins all wait for a checkpoint stays responsive.
const STEPS: usize = 256;
/// And how many more for each that has come: each needs two looks to go, and they must not come faster than they go.
const STEPS_FOR_ARRIVED: usize = 4;

impl Shard {
    pub(super) fn passivate(&mut self) -> Result<(), Failed> {
        let arrived = std::mem::take(&mut self.arrived);
        if self.bytes <= self.setting.options.memory_bytes {
            return Ok(());
        }
        let steps = STEPS + STEPS_FOR_ARRIVED * arrived;
        let mut kept_dirty = false;
        for _ in 0..steps.min(2 * self.hand.len()) {
            if self.bytes <= self.setting.options.memory_bytes {
                return Ok(());
            }
            let Some(id) = self.hand.pop_front() else { return Ok(()) };
            let Some(Slot::Resident(resident)) = self.twins.get_mut(&id) else { continue };
            let is_used = std::mem::take(&mut resident.used) || self.following.needs(&id);
            if is_used || resident.is_ahead() || resident.is_dirty() {
                kept_dirty |= resident.is_dirty();
                self.hand.push_back(id);
                continue;
            }
            self.bytes -= resident.bytes;
            self.twins.remove(&id);
            meter::add(&self.setting.meter.passivations, 1);
        }
        if kept_dirty { self.checkpoint() } else { Ok(()) }
    }
}
