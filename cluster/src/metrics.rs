//! The metrics of the storage: what `/metrics` says of the log and its disk.

use crate::Watch;
use crate::wal::{BUCKETS, SEGMENT_STATES};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use runtime::meter::{Distribution, Exposition, Metric};
use std::fmt;

/// Syncs.
pub const WAL_SYNC_SECONDS: Metric = Metric::new(
    "twinfold_wal_sync_duration_seconds",
    "Writing a batch of the log and syncing it; its count is that of the syncs",
);
/// Bytes.
pub const WAL_WRITTEN_BYTES: Metric =
    Metric::new("twinfold_wal_written_bytes", "Bytes that were written to the log");
/// Segments.
pub const WAL_SEGMENTS: Metric =
    Metric::new("twinfold_wal_segments", "Segments of the log: used, spare (to be filled next) or retired");
/// Segments.
pub const WAL_SEGMENTS_BYTES: Metric =
    Metric::new("twinfold_wal_segments_bytes", "What the segments of the log take on the disk");
/// Refusals.
pub const WAL_REFUSALS: Metric = Metric::new(
    "twinfold_wal_full_refusals",
    "How often batches were refused since the disk had no room beyond its reserve",
);
/// Stopped.
pub const WAL_STOPPED: Metric = Metric::new(
    "twinfold_wal_stopped",
    "1 when the log stopped after a failed write or sync, until a restart",
);
/// Disk.
pub const DISK_FREE_BYTES: Metric =
    Metric::new("twinfold_disk_free_bytes", "Free space of the disk of the log");
/// Disk.
pub const DISK_RESERVE_BYTES: Metric = Metric::new(
    "twinfold_disk_reserve_bytes",
    "Free space below which inputs from outside are refused, so that the node can still tidy up",
);

impl Collector for Watch {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Exposition::new(encoder);
        let (syncs, health) = (self.wal.syncs(), self.wal.health());
        // Both histograms have the powers of two of a microsecond.
        const { assert!(BUCKETS == runtime::meter::BUCKETS) };
        page.histogram(WAL_SYNC_SECONDS, &Distribution { total: syncs.total, buckets: syncs.buckets })?;
        page.counter(WAL_WRITTEN_BYTES, syncs.bytes)?;
        let segments = SEGMENT_STATES.into_iter().zip(health.segments());
        page.gauges(WAL_SEGMENTS, segments.map(|(state, n)| ([("state", state)], n as f64)))?;
        page.gauge(WAL_SEGMENTS_BYTES, health.bytes() as f64)?;
        page.counter(WAL_REFUSALS, health.refusals())?;
        page.gauge(WAL_STOPPED, f64::from(u8::from(health.why_stopped().is_some())))?;
        page.gauge(DISK_FREE_BYTES, self.free_bytes().unwrap_or(0) as f64)?;
        page.gauge(DISK_RESERVE_BYTES, self.reserve_bytes as f64)
    }
}
