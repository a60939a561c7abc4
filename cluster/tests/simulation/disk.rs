//! A node's disk: the simulated one, on which a sync takes time, and which may be made to lie.

use cluster::wal::Pace;
use runtime::files::sim::{Random, Sim};
use runtime::files::{File, Files, Lock};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A sync takes less than this, while the disk is not slow.
const SYNC_MICROS: u64 = 4_000;
/// And so long while it is.
const SLOW_MILLIS: u64 = 900;
/// How long a disk that lies has not written what it said it had.
const LIE: Duration = Duration::from_millis(250);

/// What a disk that lies has not synced yet, and for how long.
type Owed = Arc<Mutex<Vec<(Duration, Arc<dyn File>)>>>;

/// The disk of one node, which stays when the node goes.
pub struct Disk {
    sim: Sim,
    random: Mutex<Random>,
    is_slow: AtomicBool,
    /// It fails, or will: the node on it is lost.
    fails: AtomicBool,
    lies: bool,
    owed: Owed,
}

impl Disk {
    pub fn new(seed: u64, lies: bool) -> Self {
        let (sim, random) = (Sim::new(seed), Mutex::new(Random::new(seed ^ 0xd15c)));
        Self {
            sim,
            random,
            is_slow: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            lies,
            owed: Arc::default(),
        }
    }

    pub fn files(&self) -> Arc<dyn Files> {
        if self.lies {
            Arc::new(Liar { sim: self.sim.clone(), owed: self.owed.clone() })
        } else {
            Arc::new(self.sim.clone())
        }
    }

    /// How long its syncs take.
    pub fn pace(self: &Arc<Self>) -> Pace {
        let disk = self.clone();
        Pace::new(move || {
            let mut random = disk.random.lock().unwrap();
            let slow = if disk.is_slow.load(Ordering::Relaxed) { random.below(SLOW_MILLIS) } else { 0 };
            Duration::from_micros(slow * 1_000 + 100 + random.below(SYNC_MICROS))
        })
    }

    pub fn be_slow(&self, is_slow: bool) {
        self.is_slow.store(is_slow, Ordering::Relaxed);
    }

    /// The power goes after a few operations more.
    pub fn cut_power_after(&self, operations: u64) {
        self.fails.store(true, Ordering::Relaxed);
        self.sim.cut_power_after(operations);
    }

    /// The next sync fails.
    pub fn fail_sync(&self) {
        self.fails.store(true, Ordering::Relaxed);
        self.sim.fail_sync_after(0);
    }

    /// Whether somebody has let it fail, since it had its power back.
    pub fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }

    /// What was not synced is lost, and the power is back.
    pub fn crash(&self) {
        self.owed.lock().unwrap().clear();
        self.sim.crash();
        self.fails.store(false, Ordering::Relaxed);
    }

    /// A moment has passed: a disk that lies does what it owes for long enough.
    pub fn pass(&self, moment: Duration) {
        let mut owed = self.owed.lock().unwrap();
        owed.iter_mut().for_each(|(since, _)| *since += moment);
        for (_, file) in owed.extract_if(.., |(since, _)| *since >= LIE) {
            // Where the power is gone, nobody expects it.
            drop(file.sync_data());
        }
    }
}

/// Acknowledges a sync before it has done it: the bug *ack before fsync*.
struct Liar {
    sim: Sim,
    owed: Owed,
}

impl Liar {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(Promise { file, owed: self.owed.clone() })
    }
}

impl Files for Liar {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.sim.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.sim.list(folder)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.sim.folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.sim.remove_folder(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.sim.open(path).map(|file| self.wrap(file))
    }

    /// A file that is made is made as it should be: without its zeros there would be no log to lose anything from.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.sim.create(path).map(|file| self.wrap(file))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        // What is named has its content.
        for (_, file) in self.owed.lock().unwrap().drain(..) {
            file.sync_data()?;
        }
        self.sim.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.sim.sync_folder(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.sim.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.sim.lock(path)
    }
}

struct Promise {
    file: Arc<dyn File>,
    owed: Owed,
}

impl File for Promise {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A disk without power does not even lie.
        self.file.len()?;
        self.owed.lock().unwrap().push((Duration::ZERO, self.file.clone()));
        Ok(())
    }
}
