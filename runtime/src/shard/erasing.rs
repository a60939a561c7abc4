//! Erasing devices from the shard's stream: decided with the transition that forgets the device, seen by readers with its
//! commit, and carried out in the files behind a checkpoint, as often as it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use twins::id::TwinId;
use twins::input::Input;
use twins::rejection::{Code, Rejection};
use twins::time::Timestamp;
use twins::transition::{Change, Transition};
use twins::trust;

use crate::store::{Batch, Home, Space, StateStore};
use crate::stream::{ERASURES_MAX, Erasure};

use super::{Action, Failed, Shard};

/// The name of the row of what is to be erased.
const ERASURES: &[u8] = b"erasures";
/// After the disk was full, say, how long files wait before they are tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What the last checkpoint remembers.
pub(super) fn read(store: &dyn StateStore, home: Home) -> Result<BTreeMap<TwinId, Erasure>, String> {
    let row = store.get(home, Space::Mark, ERASURES).map_err(|error| error.to_string())?;
    row.map_or_else(
        || Ok(BTreeMap::new()),
        |row| minicbor::decode(&row).map_err(|error| format!("erasures: {error}")),
    )
}

pub(super) fn put(batch: &mut Batch, erasures: &BTreeMap<TwinId, Erasure>) {
    match erasures.is_empty() {
        true => batch.delete(Space::Mark, ERASURES),
        false => {
            let row = minicbor::to_vec(erasures).expect("writing to memory does not fail");
            batch.put(Space::Mark, ERASURES, row);
        }
    }
}

/// Whether a transition has all that its device ever said erased.
pub(super) fn erases(transition: &Transition) -> bool {
    transition.changes.iter().any(|change| matches!(change, Change::Trust(trust::Change::Erased)))
}

impl Shard {
    /// Whether one more device may be erased.
    pub(super) fn room_to_erase(&self, input: &Input) -> Result<(), Rejection> {
        if !matches!(input, Input::Erase { .. }) || !self.stream.is_full_of_erasures() {
            return Ok(());
        }
        let why = format!("{ERASURES_MAX} devices of the shard are being erased, which is the most");
        Err(Rejection::new(Code::TooMany, why))
    }

    /// Has files written anew, as far as no recovery appends what is in them.
    pub(super) fn erase(&mut self) {
        if self.erasing || self.time() < self.erase_after {
            return;
        }
        if let Some(erase) = self.stream.erase_files(self.recorded) {
            self.erasing = true;
            self.actions.push_back(Action::Erase(erase));
        }
    }

    /// Files were written anew, or why not.
    pub(crate) fn erased(&mut self, now: Timestamp, outcome: Result<(), String>) -> Result<(), Failed> {
        self.pass(now);
        self.erasing = false;
        match outcome {
            // The next checkpoint forgets it.
            Ok(()) => {
                let now = self.time();
                self.dirty_since.get_or_insert(now);
            }
            Err(why) => {
                let shard = self.setting.number;
                tracing::warn!(
                    shard,
                    why,
                    "what is to be erased is still in a file; it is tried again in a minute"
                );
                self.erase_after = self.time() + AGAIN_AFTER;
            }
        }
        self.turn()
    }
}
