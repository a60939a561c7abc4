//! What the meta group's log says while the node runs: who leads, and what another node's leader has agreed on.
//!
//! The ear only notes it, as it must not wait. Whoever decides on the state brings it forward before; on a node of several
//! a task does whenever something is committed elsewhere.

use super::{Meta, State, replay};
use crate::Error;
use runtime::log::{ShardLog, Standing, Tenure, Told};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use tokio::sync::watch;

/// What was heard last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Everything through this index is committed.
    through: u64,
    /// In which tenure this node leads, if it does.
    tenure: Option<Tenure>,
}

impl Heard {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Committed { through } => self.through = self.through.max(through),
            Told::Leads { tenure, through } => {
                *self = Self { through: self.through.max(through), tenure: Some(tenure) };
            }
            Told::Follows { .. } => self.tenure = None,
            // Its log is never dropped, so that no state is sent.
            Told::Replaced => {}
        }
    }
}

/// Listens to the log.
pub(super) fn listen(log: &dyn ShardLog) -> Arc<watch::Sender<Heard>> {
    let heard = Arc::new(watch::Sender::new(Heard::default()));
    let ear = heard.clone();
    let Standing { through, leads } =
        log.listen(Box::new(move |told| ear.send_modify(|heard| heard.hear(told))));
    heard.send_modify(|heard| {
        heard.through = heard.through.max(through);
        heard.tenure = heard.tenure.or(leads);
    });
    heard
}

impl Meta {
    /// Brings the state forward whenever the group has agreed on something, until the group is closed. To be called on a
    /// runtime.
    pub(crate) fn follow(self: &Arc<Self>) {
        let (meta, mut heard) = (Arc::downgrade(self), self.heard.subscribe());
        heard.mark_changed();
        tokio::spawn(async move {
            while heard.changed().await.is_ok() {
                let Some(meta) = meta.upgrade() else { return };
                let caught_up = tokio::task::spawn_blocking(move || meta.catch_up()).await;
                if let Ok(Err(error)) = caught_up {
                    tracing::error!(%error, "the meta group is not followed; restart the node");
                }
            }
        });
    }

    /// The tenure in which this node leads the group.
    pub(super) fn tenure(&self) -> Option<Tenure> {
        self.heard.borrow().tenure
    }

    /// Takes in everything that is known to be committed. May read the disk.
    pub(super) fn catch_up(&self) -> Result<(), Error> {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, through) = (self.through.load(Ordering::Acquire), self.heard.borrow().through);
        if after >= through {
            return Ok(());
        }
        let mut state = State::clone(&self.state());
        replay(&*self.log, after, through, &mut |entry| {
            // An entry whose condition failed is in the log all the same, and changes nothing here either.
            drop(state.apply(entry.expected, &entry.command));
            true
        })?;
        self.show(through, state);
        Ok(())
    }

    /// Takes in an entry of this node's own.
    pub(super) fn decided(&self, index: u64, after: State) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        // If others have agreed on more since, it was read with that.
        if self.through.load(Ordering::Acquire) < index {
            self.show(index, after);
        }
    }

    fn show(&self, through: u64, state: State) {
        let directory = state.directory.version;
        let mut current = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_changed = current.directory.version != directory;
        *current = Arc::new(state);
        drop(current);
        self.through.store(through, Ordering::Release);
        if is_changed {
            self.changes.announce(directory);
        }
    }
}
