//! The two threads of the log: one writes and syncs, one makes and removes segments meanwhile.

use super::chore::Chore;
use super::queue::{Queue, Wait};
use super::writer::{Turn, Writer};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// Starts them. The answer is joined after [`Queue::close`], when all that waited is done.
pub(crate) fn start(writer: Writer, queue: Arc<Queue>) -> io::Result<JoinHandle<()>> {
    // One chore is out at a time, so the channel is never full.
    let (chores, received) = mpsc::sync_channel::<Chore>(1);
    let (files, folder, results) = (writer.files.clone(), writer.folder.clone(), queue.clone());
    let helper = thread::Builder::new().name("log-segments".to_owned()).spawn(move || {
        for chore in received {
            results.finish(chore.run(&*files, &folder));
        }
    })?;
    thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
        let _closes = Closes(&queue);
        write(writer, &queue, &chores);
        drop(chores);
        drop(helper.join());
    })
}

fn write(mut writer: Writer, queue: &Queue, chores: &mpsc::SyncSender<Chore>) {
    let mut jobs = VecDeque::new();
    let mut wait = Wait::No;
    loop {
        let taken = queue.take(&mut jobs, wait);
        writer.note(taken.notes);
        if let Some(finished) = taken.finished {
            writer.finish(finished);
        }
        if taken.closed && jobs.is_empty() {
            writer.write_notes();
            return;
        }
        let turn = if jobs.is_empty() { Turn::Answered } else { writer.turn(&mut jobs) };
        let tidied = writer.tidy();
        if let Some(chore) = writer.chore() {
            chores.send(chore).expect("the helper waits for chores until this thread ends");
        }
        wait = match turn {
            Turn::Waits if writer.chore_is_out => Wait::ForChore,
            // The room for the chore is gone again: the next turn refuses.
            Turn::Waits => Wait::No,
            Turn::Answered if tidied || !jobs.is_empty() => Wait::No,
            Turn::Answered => Wait::ForAnything,
        };
    }
}

/// Lets nobody wait for a writer that has ended, however it ended.
struct Closes<'a>(&'a Queue);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.take(&mut VecDeque::new(), Wait::No);
    }
}
