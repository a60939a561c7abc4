//! The stop of a node, in the mirror order of its start.

use super::{NotStopped, Running, STOP_WITHIN};

impl Running {
    /// [Stops](Self::stop) everything, if the disk answers.
    pub(crate) async fn stop_in_time(self) -> Result<(), NotStopped> {
        tokio::time::timeout(STOP_WITHIN, self.stop()).await.map_err(|_| NotStopped)
    }

    /// Stops everything: those who let devices and people in, twins, the wire to other nodes, state, log.
    pub(crate) async fn stop(self) {
        let Self { storage, others, member, node, mqtt, http } = self;
        if let Err(error) = http.stop().await {
            tracing::warn!(%error, "HTTP had ended before");
        }
        mqtt.stop().await;
        others.end();
        // Whoever leads next serves while this node writes its last checkpoints; it is not heard any more, or it would be
        // handed the lead again.
        storage.leave().await;
        member.end().await;
        node.stop().await;
        drop(member);
        // Its threads are joined, which blocks.
        drop(tokio::task::spawn_blocking(move || drop(storage)).await);
    }
}
