//! A disk in memory that loses power, for tests and simulations only.
//!
//! It has no thread, no clock and no randomness but its seed: the same calls with the same seed leave the same bytes.
//! What was synced survives [`Sim::crash`]. Of what was not, a seeded part survives, as on a real disk:
//!
//! * each write whole, not at all, or torn at a sector (512 bytes, written whole or not at all);
//! * a later write may survive while an earlier one is lost;
//! * each name made, moved or removed since its folder was synced, or not.
//!
//! Faults are asked for: [`Sim::cut_power_after`], [`Sim::fail_sync_after`], [`Sim::fail_after`],
//! [`Sim::set_capacity`], [`Sim::fail_reads`], [`Sim::flip`]. Handles and locks from before a crash answer errors after it.
//!
//! ```
//! use runtime::files::{Files, sim::Sim};
//! use std::path::Path;
//!
//! let disk = Sim::new(7);
//! disk.create_folder(Path::new("data"))?;
//! let file = disk.create(Path::new("data/log"))?;
//! file.write_at(b"kept", 0)?;
//! file.sync_data()?;
//! disk.sync_folder(Path::new("data"))?;
//! file.write_at(b"perhaps lost", 4)?;
//!
//! disk.crash();
//!
//! let mut bytes = [0; 4];
//! disk.open(Path::new("data/log"))?.read_at(&mut bytes, 0)?;
//! assert_eq!(&bytes, b"kept");
//! # Ok::<(), std::io::Error>(())
//! ```

mod fault;
mod inode;
mod names;
mod random;

pub use fault::{Fault, Operation};
pub use random::Random;

use super::{File, Files, Lock};
use fault::Trap;
use inode::Inode;
use names::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The simulated disk. Clones share it.
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    names: Names,
    locks: BTreeSet<PathBuf>,
    capacity: u64,
    /// Raised by each crash; handles remember theirs.
    epoch: u64,
    /// Operations until the power goes, and until a sync fails.
    power: Option<u64>,
    sync_failure: Option<u64>,
    trap: Trap,
    reads_fail: bool,
    operations: u64,
}

impl Sim {
    /// An empty disk without a limit, whose losses follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            inodes: BTreeMap::new(),
            inode_next: 0,
            names: Names::default(),
            locks: BTreeSet::new(),
            capacity: u64::MAX,
            epoch: 0,
            power: None,
            sync_failure: None,
            trap: Trap::default(),
            reads_fail: false,
            operations: 0,
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Loses the power and comes back: what was not synced is lost in part, faults that were asked for are over
    /// (the capacity stays), and every handle and lock from before is dead.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { random, inodes, names, .. } = &mut *state;
        names.crash(random);
        inodes.retain(|id, _| names.refers(*id));
        inodes.values_mut().for_each(|inode| inode.crash(random));
        state.locks.clear();
        state.epoch += 1;
        state.power = None;
        state.sync_failure = None;
        state.trap.disarm();
        state.reads_fail = false;
    }

    /// Lets `operations` more operations that change the disk pass; then every operation fails until [`Sim::crash`].
    /// Where the last one that passed was a write, the crash may tear it.
    pub fn cut_power_after(&self, operations: u64) {
        self.state().power = Some(operations);
    }

    /// Lets `syncs` more calls of [`File::sync_data`] pass; the next one fails. As on Linux, what it should have
    /// written is then seen by readers until the crash, written in part, and never written by a later sync.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state().sync_failure = Some(syncs);
    }

    /// Lets `operations` more operations that change the disk pass; the next one meets the fault.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        self.state().trap.arm(operations, fault);
    }

    /// The operation that met the fault of the last [`Sim::fail_after`]; none while that waits.
    #[must_use]
    pub fn struck(&self) -> Option<Operation> {
        self.state().trap.struck()
    }

    /// Limits the sum of all files' lengths, in bytes; writes past it fail with [`io::ErrorKind::StorageFull`].
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// The sum of all files' lengths, in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Makes reads fail, or work again.
    pub fn fail_reads(&self, fail: bool) {
        self.state().reads_fail = fail;
    }

    /// How many operations have changed the disk so far: a range for [`Sim::cut_power_after`].
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Flips one bit of a file, in what is synced and in what is seen.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such file, [`io::ErrorKind::UnexpectedEof`] past its end.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.state();
        let id = state.names.find(path)?;
        state.inode(id).flip(offset, bit)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed while it held the lock has left nothing half done that matters.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for an operation on names: none when the power is gone, or a fault meets it.
    fn change(&self, operation: Operation) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.spend()?;
        match state.strike(operation) {
            Some(kind) => Err(kind.into()),
            None => Ok(state),
        }
    }

    fn handle(&self, id: u64, epoch: u64) -> Arc<dyn File> {
        Arc::new(Handle { sim: self.clone(), id, epoch })
    }
}

impl State {
    fn spend(&mut self) -> io::Result<()> {
        if self.power == Some(0) {
            return Err(power_is_gone());
        }
        self.power = self.power.map(|left| left - 1);
        self.operations += 1;
        Ok(())
    }

    /// How this operation fails, if a fault meets it.
    fn strike(&mut self, operation: Operation) -> Option<io::ErrorKind> {
        match self.trap.spring(operation)? {
            Fault::Once(kind) => Some(kind),
            Fault::Full => {
                self.capacity = 0;
                None
            }
        }
    }

    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("inodes with a handle of this epoch stay")
    }

    fn used(&self) -> u64 {
        self.inodes.iter().filter(|(id, _)| self.names.shows(**id)).map(|(_, inode)| inode.len()).sum()
    }

    /// Whether a file may reach the length `len`.
    fn room(&mut self, id: u64, len: u64) -> io::Result<()> {
        let now = self.inode(id).len();
        let grown = len.saturating_sub(now);
        if grown > 0 && self.used().saturating_add(grown) > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Files for Sim {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(Operation::CreateFolder)?.names.create_folder(folder);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.state().names.list(folder)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.state().names.folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(Operation::Remove)?.names.remove_folder(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let state = self.state();
        Ok(self.handle(state.names.find(path)?, state.epoch))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.change(Operation::Create)?;
        if state.capacity == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let id = state.inode_next;
        state.names.create(path, id)?;
        state.inode_next += 1;
        state.inodes.insert(id, Inode::default());
        Ok(self.handle(id, state.epoch))
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.change(Operation::Rename)?.names.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove)?.names.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(Operation::SyncFolder)?.names.sync(folder)
    }

    fn free_space(&self, _folder: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { sim: self.clone(), path: path.to_owned(), epoch: state.epoch }))
    }
}

struct Handle {
    sim: Sim,
    id: u64,
    epoch: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.sim.state();
        if state.epoch != self.epoch || state.power == Some(0) {
            return Err(power_is_gone());
        }
        Ok(state)
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inode(self.id).len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if state.reads_fail {
            return Err(io::Error::other("simulated: the read failed"));
        }
        state.inode(self.id).read(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.spend()?;
        if let Some(kind) = state.strike(Operation::Write) {
            let part = state.random.below(bytes.len() as u64 + 1);
            state.inode(self.id).write(&bytes[..part as usize], offset);
            return Err(kind.into());
        }
        let room = state.room(self.id, offset + bytes.len() as u64);
        if room.is_err() {
            // A part that needs no new space may be written before the error comes.
            let held = state.inode(self.id).len().saturating_sub(offset);
            let part = state.random.below(held.min(bytes.len() as u64) + 1);
            state.inode(self.id).write(&bytes[..part as usize], offset);
            return room;
        }
        state.inode(self.id).write(bytes, offset);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.spend()?;
        if let Some(kind) = state.strike(Operation::SetLen) {
            return Err(kind.into());
        }
        state.room(self.id, len)?;
        state.inode(self.id).set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.spend()?;
        let struck = state.strike(Operation::Sync);
        let State { random, inodes, sync_failure, .. } = &mut *state;
        let inode = inodes.get_mut(&self.id).expect("inodes with a handle of this epoch stay");
        if let Some(kind) = struck {
            inode.lose(random);
            return Err(kind.into());
        }
        if *sync_failure == Some(0) {
            *sync_failure = None;
            inode.lose(random);
            return Err(io::Error::other("simulated: the sync failed"));
        }
        *sync_failure = sync_failure.map(|left| left - 1);
        inode.sync();
        Ok(())
    }
}

struct Held {
    sim: Sim,
    path: PathBuf,
    epoch: u64,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.sim.state();
        if state.epoch == self.epoch {
            state.locks.remove(&self.path);
        }
    }
}

fn power_is_gone() -> io::Error {
    io::Error::other("simulated: the power is gone")
}
