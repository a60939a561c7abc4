//! What waits for the writer: records that become durable together, and who wants to know.

use super::record::{Kind, Record};
use runtime::log::Error;

/// Called once, with whether the records are durable. It holds up the writer, so it must return at once, and not panic.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Records that are written in one batch.
pub(crate) struct Job {
    pub(crate) records: Vec<Record>,
    /// It frees space on the disk.
    is_upkeep: bool,
    done: Option<Done>,
}

impl Job {
    pub(crate) fn new(records: Vec<Record>, done: Done) -> Self {
        Self { records, is_upkeep: false, done: Some(done) }
    }

    pub(crate) fn upkeep(records: Vec<Record>, done: Done) -> Self {
        Self { records, is_upkeep: true, done: Some(done) }
    }

    /// Bytes of its records.
    pub(crate) fn len(&self) -> usize {
        self.records.iter().map(Record::encoded_len).sum()
    }

    /// Whether it has a proposal. Those a full disk refuses; all else has a reserve, so that a node starts with it.
    pub(crate) fn proposes(&self) -> bool {
        !self.is_upkeep && self.records.iter().any(|record| record.kind == Kind::Normal)
    }

    /// The groups that it adds entries to.
    pub(crate) fn adds(&self) -> impl Iterator<Item = u32> + '_ {
        self.records.iter().filter(|record| record.kind.is_entry()).map(|record| record.group)
    }

    /// The groups whose log ends elsewhere with it.
    pub(crate) fn changes(&self) -> impl Iterator<Item = u32> + '_ {
        let changes =
            |kind: Kind| kind.is_entry() || [Kind::Truncate, Kind::Purged, Kind::Forgotten].contains(&kind);
        self.records.iter().filter(move |record| changes(record.kind)).map(|record| record.group)
    }

    /// The groups that it forgets.
    pub(crate) fn forgets(&self) -> impl Iterator<Item = u32> {
        let forgets = self.records.iter().filter(|record| record.kind == Kind::Forgotten);
        forgets.map(|record| record.group)
    }

    pub(crate) fn finish(mut self, fate: Result<(), Error>) {
        self.done.take().expect("a job is finished once")(fate);
    }
}

/// A job that is dropped unanswered was lost with its writer.
impl Drop for Job {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(Error::Unknown("the log's writer has ended".to_owned())));
        }
    }
}
