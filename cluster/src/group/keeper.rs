//! Keeps a group under consensus: tells its shard who leads, and begins again when consensus has failed.
//!
//! openraft ends a group where a read of the disk fails, or where it finds itself in a state that it does not know. The
//! log is whole then: the group reads it again, as after a restart of the node, and another node leads meanwhile. Only
//! when the log itself has stopped, nothing but a restart helps.

use super::rule::Rule;
use super::{Group, Stuck};
use crate::consensus::Running;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause before a group begins again, at first; each failure after it doubles it.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause; whatever has run for longer than that begins with the first again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Keeps a group as long as it is here, or until the log stops.
pub(super) async fn keep(group: Weak<Group>, mut running: Arc<Running>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let mut failed = running.watch().await;
        if began.elapsed() >= PAUSE_MAX {
            pause = PAUSE;
        }
        running = loop {
            sleep(pause).await;
            let Some(group) = group.upgrade() else { return };
            let number = group.number;
            if let Some(reason) = group.wal.health().why_stopped() {
                tracing::error!(group = number, reason, "the group ends with the log; restart the node");
                return;
            }
            tracing::warn!(group = number, failed, "consensus of the group has ended, and begins again");
            pause = (2 * pause).min(PAUSE_MAX);
            match group.begin_again(&running).await {
                Ok(next) => break next,
                Err(stuck) => failed = stuck.to_string(),
            }
        };
    }
}

impl Group {
    async fn begin_again(&self, failed: &Running) -> Result<Arc<Running>, Stuck> {
        let _changing = self.changing.lock().await;
        failed.stop().await;
        let desk = self.desk.get().ok_or(Stuck::Unjoined { group: self.number })?;
        let running = self.start(desk).await?;
        self.set(Rule::Consensus(running.clone()));
        Ok(running)
    }
}
