//! How the log is, for whoever watches it: what it holds, and what is in its way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a refusal for want of room counts as the present.
const RECENT: Duration = Duration::from_secs(10);

/// What a segment is for, as metrics name it: it holds batches, it will be filled next, or nothing needs it any more.
pub const SEGMENT_STATES: [&str; 3] = ["used", "spare", "retired"];

/// A view of a log, which goes on to show how it is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    segments: [AtomicU64; SEGMENT_STATES.len()],
    bytes: AtomicU64,
    refusals: AtomicU64,
    /// Touched when something fails, and by those who look.
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    stopped: Option<String>,
    refused: Option<(Instant, String)>,
}

impl Health {
    /// How many segments there are, by [`SEGMENT_STATES`].
    #[must_use]
    pub fn segments(&self) -> [u64; SEGMENT_STATES.len()] {
        self.0.segments.each_ref().map(|count| count.load(Relaxed))
    }

    /// What they take on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    /// How often proposals were refused since the disk had no room beyond its reserve.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Relaxed)
    }

    /// Why the log stopped, if it did. It stays stopped until the node is restarted.
    #[must_use]
    pub fn why_stopped(&self) -> Option<String> {
        self.trouble().stopped.clone()
    }

    /// Why proposals were refused a moment ago, if they were.
    #[must_use]
    pub fn why_refused(&self) -> Option<String> {
        let trouble = self.trouble();
        let (at, why) = trouble.refused.as_ref()?;
        (at.elapsed() < RECENT).then(|| why.clone())
    }

    pub(super) fn holds(&self, segments: [u64; SEGMENT_STATES.len()], bytes: u64) {
        self.0.segments.iter().zip(segments).for_each(|(cell, n)| cell.store(n, Relaxed));
        self.0.bytes.store(bytes, Relaxed);
    }

    pub(super) fn refused(&self, why: &str) {
        self.0.refusals.fetch_add(1, Relaxed);
        self.trouble().refused = Some((Instant::now(), why.to_owned()));
    }

    pub(super) fn stopped(&self, why: &str) {
        self.trouble().stopped = Some(why.to_owned());
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
