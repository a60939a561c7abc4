//! A lane: a queue bounded in bytes, and the one task that empties it. It takes all that waits into one frame and writes
//! it; while it writes, the next frame gathers. So nothing waits for a timer, and at load frames fill by themselves.

use bytes::Bytes;
use quinn::SendStream;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::frame::{self, Channel, Kind};
use super::stream::Ended;
use crate::wire::{Lane, NotSent};

/// All lanes.
pub(super) const LANES: [Lane; 3] = [Lane::Pulse, Lane::Log, Lane::Forward];

/// What has left on a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of the messages.
    pub bytes: u64,
}

/// What waits to leave on a lane.
#[derive(Debug)]
pub(super) struct Queue {
    channel: Channel,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    more: Notify,
    frames: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    /// Of all that has not left: what waits, and what is being written.
    bytes: usize,
}

/// What goes into one frame.
struct Gathered {
    messages: Vec<Bytes>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(lane: Lane, bytes_max: usize) -> Self {
        Self {
            channel: Channel::Lane(lane),
            bytes_max,
            waiting: Mutex::default(),
            more: Notify::new(),
            frames: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Puts a message behind the others. Full: more than the lane may hold would wait, or no frame can carry it.
    pub(super) fn put(&self, message: Bytes) -> Result<(), NotSent> {
        if message.is_empty() {
            return Ok(());
        }
        let bytes = frame::message_bytes(&message);
        let mut waiting = self.waiting();
        if message.len() > self.channel.message_bytes_max() || waiting.bytes + bytes > self.bytes_max {
            return Err(NotSent::Full);
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(message);
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    pub(super) fn traffic(&self) -> Traffic {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Traffic { frames: read(&self.frames), messages: read(&self.messages), bytes: read(&self.bytes) }
    }

    /// Writes what comes, for as long as the stream takes it.
    pub(super) async fn write(&self, stream: &mut SendStream, version: u8) -> Result<(), Ended> {
        loop {
            let gathered = self.gather().await;
            self.write_one(stream, version, gathered).await?;
        }
    }

    /// The same, with a frame of `ping` in each period.
    pub(super) async fn write_with_pings(
        &self,
        stream: &mut SendStream,
        version: u8,
        every: Duration,
        ping: impl Fn() -> Vec<u8>,
    ) -> Result<(), Ended> {
        let mut due = Instant::now();
        loop {
            if let Ok(gathered) = timeout_at(due, self.gather()).await {
                self.write_one(stream, version, gathered).await?;
            }
            let now = Instant::now();
            if now >= due {
                stream.write_all(&frame::whole(version, self.channel, Kind::Ping, &ping())).await?;
                due = now + every;
            }
        }
    }

    async fn write_one(&self, stream: &mut SendStream, version: u8, gathered: Gathered) -> Result<(), Ended> {
        let mut pieces = frame::of_messages(version, self.channel, &gathered.messages);
        stream.write_all_chunks(&mut pieces).await?;
        self.waiting().bytes -= gathered.bytes;
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(gathered.messages.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(gathered.messages.iter().map(|one| one.len() as u64).sum(), Ordering::Relaxed);
        Ok(())
    }

    /// All that waits, as far as one frame carries it; waits for the first one. What it does not return stays.
    async fn gather(&self) -> Gathered {
        loop {
            if let Some(gathered) = self.take() {
                return gathered;
            }
            self.more.notified().await;
        }
    }

    fn take(&self) -> Option<Gathered> {
        let mut waiting = self.waiting();
        let room = self.channel.body_bytes_max();
        let (mut count, mut bytes) = (0, 0);
        for message in &waiting.messages {
            let more = frame::message_bytes(message);
            if bytes + more > room {
                break;
            }
            (count, bytes) = (count + 1, bytes + more);
        }
        // The first one always fits, or it would not have been taken.
        (count > 0).then(|| Gathered { messages: waiting.messages.drain(..count).collect(), bytes })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Bytes {
        Bytes::from(vec![7; bytes])
    }

    #[test]
    fn all_that_waits_is_one_frame() {
        let queue = Queue::new(Lane::Forward, 1 << 20);
        (0..1_000).for_each(|_| queue.put(message(100)).unwrap());

        let gathered = queue.take().unwrap();

        assert_eq!(gathered.messages.len(), 1_000);
        assert!(queue.take().is_none());
    }

    #[test]
    fn what_does_not_fit_into_a_frame_any_more_is_the_next_one() {
        let queue = Queue::new(Lane::Pulse, 4 << 20);
        (0..3).for_each(|_| queue.put(message(400 << 10)).unwrap());

        let sizes = [queue.take(), queue.take()].map(|gathered| gathered.unwrap().messages.len());

        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn a_lane_is_full_until_what_was_taken_has_left() {
        let queue = Queue::new(Lane::Pulse, 1_000);
        queue.put(message(900)).unwrap();
        assert_eq!(queue.put(message(100)), Err(NotSent::Full));

        let gathered = queue.take().unwrap();

        assert_eq!(queue.put(message(100)), Err(NotSent::Full), "it is being written, and still in memory");
        queue.waiting().bytes -= gathered.bytes;
        assert_eq!(queue.put(message(100)), Ok(()));
    }

    #[test]
    fn what_no_frame_can_carry_is_not_taken() {
        let queue = Queue::new(Lane::Pulse, 16 << 20);

        assert_eq!(queue.put(message((1 << 20) - 3)), Err(NotSent::Full));
        assert_eq!(queue.put(message((1 << 20) - 4)), Ok(()));
        assert_eq!(queue.take().unwrap().bytes, 1 << 20);
    }
}
