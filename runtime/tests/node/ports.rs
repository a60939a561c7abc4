//! Ports in memory that note what is done to them.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use runtime::files::sim::Sim;
use runtime::files::{File, Files, Lock};
use runtime::log::{self, Done, Ear, Entry, LogId, ShardLog, Standing, Tenure, Told};
use runtime::store::memory::Memory;
use runtime::store::{self, Batch, Home, Range, Row, Space, StateStore};

/// What was done, in order.
pub type Notes = Arc<Mutex<Vec<&'static str>>>;

/// A log in memory that commits at once, until it is told not to.
pub struct Log {
    pub notes: Notes,
    pub entries: Mutex<Vec<Entry>>,
    pub term: Mutex<u64>,
    pub fate: Mutex<Option<log::Error>>,
    pub ear: Mutex<Option<Ear>>,
}

impl Log {
    /// The log says something.
    pub fn tell(&self, told: Told) {
        self.ear.lock().unwrap().as_ref().expect("the shard listens")(told);
    }
}

impl ShardLog for Log {
    fn listen(&self, ear: Ear) -> Standing {
        *self.ear.lock().unwrap() = Some(ear);
        let mut term = self.term.lock().unwrap();
        *term += 1;
        Standing { through: self.entries.lock().unwrap().len() as u64, leads: Some(Tenure::whole(*term)) }
    }

    fn read(&self, after: u64, through: u64, _: usize) -> Result<Vec<Entry>, log::Error> {
        let entries = self.entries.lock().unwrap();
        let wanted = |entry: &&Entry| entry.id.index > after && entry.id.index <= through;
        Ok(entries.iter().filter(wanted).cloned().collect())
    }

    fn propose(&self, Tenure { term, .. }: Tenure, payload: Bytes, done: Done) {
        if let Some(error) = self.fate.lock().unwrap().clone() {
            return done(Err(error));
        }
        let id = {
            let mut entries = self.entries.lock().unwrap();
            let id = LogId { term, index: entries.len() as u64 + 1 };
            entries.push(Entry { id, payload });
            id
        };
        done(Ok(id));
    }

    fn propose_upkeep(&self, tenure: Tenure, payload: Bytes, done: Done) {
        self.propose(tenure, payload, done);
    }

    fn purge(&self, _: u64) {
        self.notes.lock().unwrap().push("purge");
    }
}

/// A state store that notes its writes.
pub struct Store(pub Memory, pub Notes);

impl StateStore for Store {
    fn home(&self, shard: u32) -> Result<Home, store::Error> {
        self.0.home(shard)
    }

    fn stage(&self, shard: u32) -> Result<Home, store::Error> {
        self.0.stage(shard)
    }

    fn switch(&self, home: Home) -> Result<(), store::Error> {
        self.0.switch(home)
    }

    fn discard(&self, home: Home) -> Result<(), store::Error> {
        self.0.discard(home)
    }

    fn get(&self, home: Home, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
        self.0.get(home, space, key)
    }

    fn scan(
        &self,
        home: Home,
        space: Space,
        range: Range<'_>,
        limit: usize,
    ) -> Result<Vec<Row>, store::Error> {
        self.0.scan(home, space, range, limit)
    }

    fn keys(
        &self,
        home: Home,
        space: Space,
        range: Range<'_>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, store::Error> {
        self.0.keys(home, space, range, limit)
    }

    fn write(&self, home: Home, batch: Batch) -> Result<(), store::Error> {
        let written = self.0.write(home, batch);
        self.1.lock().unwrap().push("write");
        written
    }

    fn snapshot(&self) -> Result<Box<dyn store::Snapshot>, store::Error> {
        self.0.snapshot()
    }

    fn reopen(&self) -> Result<(), store::Error> {
        self.0.reopen()
    }
}

/// Files that note their syncs.
pub struct Noting(pub Sim, pub Notes);
struct NotingFile(Arc<dyn File>, Notes);

impl Files for Noting {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.remove_folder(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NotingFile(self.0.open(path)?, self.1.clone())))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NotingFile(self.0.create(path)?, self.1.clone())))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.0.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.0.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }
}

impl File for NotingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.0.sync_data();
        self.1.lock().unwrap().push("sync");
        synced
    }
}
