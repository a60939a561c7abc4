//! The log driven by a task, for simulations of whole nodes: there is one thread, and time is the runtime's.
//!
//! A sync costs no time on a simulated disk. So the task takes what waits, lets the time pass that a [`Pace`] asks for,
//! and then writes, syncs and answers at once. What comes meanwhile waits for the next batch, as it does in a node.

use super::job::Job;
use super::queue::{Queue, Wait};
use super::writer::{Turn, Writer};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// Says before each batch how long it takes to become durable, in the time of the runtime.
#[derive(Clone)]
pub struct Pace(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Pace {
    /// Asks this. It must return at once.
    pub fn new(pace: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(pace))
    }
}

impl PartialEq for Pace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Pace {}

impl fmt::Debug for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pace")
    }
}

/// The writer, and what it took from the queue.
pub(super) struct Inline {
    queue: Arc<Queue>,
    work: Mutex<Work>,
}

struct Work {
    writer: Writer,
    jobs: VecDeque<Job>,
    has_ended: bool,
}

impl Inline {
    /// Drives the writer on the runtime that this is called on, until the queue is closed or the log is gone.
    pub(super) fn start(writer: Writer, queue: Arc<Queue>, pace: Pace) -> Arc<Self> {
        let work = Work { writer, jobs: VecDeque::new(), has_ended: false };
        let inline = Arc::new(Self { queue: queue.clone(), work: Mutex::new(work) });
        tokio::spawn(drive(Arc::downgrade(&inline), queue, pace));
        inline
    }

    /// Writes all that waits, in no time.
    pub(super) fn drain(&self) {
        while self.take() {
            while super::lock(&self.work).write() {}
        }
    }

    fn take(&self) -> bool {
        super::lock(&self.work).take(&self.queue)
    }
}

async fn drive(inline: Weak<Inline>, queue: Arc<Queue>, Pace(pace): Pace) {
    loop {
        queue.rung().await;
        while inline.upgrade().is_some_and(|inline| inline.take()) {
            sleep(pace()).await;
            let Some(inline) = inline.upgrade() else { return };
            // All of that may have been written since, by whoever could not wait.
            while super::lock(&inline.work).write() {}
        }
        if inline.upgrade().is_none_or(|inline| super::lock(&inline.work).has_ended) {
            return;
        }
    }
}

impl Work {
    /// Takes what waits; whether there is anything to write.
    fn take(&mut self, queue: &Queue) -> bool {
        let taken = queue.take(&mut self.jobs, Wait::No);
        self.writer.note(taken.notes);
        if taken.closed && self.jobs.is_empty() {
            self.writer.write_notes();
            self.has_ended = true;
        }
        !self.jobs.is_empty()
    }

    /// Writes a batch of what was taken, and does what is to be done beside; whether there is more to write.
    fn write(&mut self) -> bool {
        let turn = if self.jobs.is_empty() { Turn::Answered } else { self.writer.turn(&mut self.jobs) };
        let tidied = self.writer.tidy();
        if let Some(chore) = self.writer.chore() {
            let finished = chore.run(&*self.writer.files, &self.writer.folder);
            self.writer.finish(finished);
        }
        turn == Turn::Waits || tidied || !self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::{Record, Wal};
    use crate::{Drive, Options};
    use runtime::files::{Files, sim::Sim};
    use std::path::Path;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    const PACE: Duration = Duration::from_millis(5);

    fn wal(disk: &Sim) -> Wal {
        let folder = Path::new("log");
        disk.create_folder(folder).unwrap();
        let drive = Drive::Inline(Pace::new(|| PACE));
        let options = Options { segment_bytes: 4096, reserve_bytes: 0, drive, ..Options::default() };
        Wal::open(Arc::new(disk.clone()), folder, options).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_takes_as_long_as_the_pace_says_and_none_where_somebody_cannot_wait() {
        let wal = wal(&Sim::new(1));
        let began = Instant::now();

        let (sender, fate) = oneshot::channel();
        wal.append(vec![Record::generation(1)], Box::new(move |fate| drop(sender.send(fate))));
        assert_eq!(wal.generation(), 0);
        fate.await.unwrap().unwrap();
        let waited = began.elapsed();
        wal.append_blocking(vec![Record::generation(2)]).unwrap();

        assert!((PACE..2 * PACE).contains(&waited), "{waited:?}");
        assert_eq!((wal.generation(), began.elapsed()), (2, waited));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_when_the_log_is_closed_is_written_and_answered() {
        let disk = Sim::new(2);
        let log = wal(&disk);
        let (sender, mut fate) = oneshot::channel();
        log.append(vec![Record::generation(7)], Box::new(move |fate| drop(sender.send(fate))));

        drop(log);

        assert_eq!(fate.try_recv(), Ok(Ok(())));
        disk.crash();
        assert_eq!(wal(&disk).generation(), 7);
    }
}
