//! Files as the log and the streams need them: every byte and every name is durable only once it was synced.
//!
//! The two traits say no more than a disk promises. [`disk::Disk`] is the operating system; [`sim::Sim`] is a disk in
//! memory whose power can be cut at any operation, and which then keeps what was synced and a seeded part of the rest.
//! Whatever must survive a power loss is written over these traits, so that the simulation can test it.
//!
//! All calls block. Both traits are object-safe: hold `Arc<dyn Files>` and `Arc<dyn File>`.

pub mod disk;
pub mod sim;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// A tree of folders and files.
///
/// # Durability
/// A name made, moved or removed here is durable after [`Files::sync_folder`] of its folder, and not before: a power
/// loss may keep any part of the changes that were not synced.
pub trait Files: Send + Sync + 'static {
    /// Makes a folder, and those above it, unless they are there. Durable when it returns.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names of the files in a folder, sorted; folders in it are not shown.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// The names of the folders in a folder, sorted.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such folder.
    fn folders(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Removes a folder that holds nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist, [`io::ErrorKind::DirectoryNotEmpty`].
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Makes a file that does not exist yet, empty, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when it exists, [`io::ErrorKind::NotFound`] when its folder does not.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Moves a file within its folder, at once and whole; a file already at `target` is replaced. Open handles follow.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when `source` does not exist.
    fn rename(&self, source: &Path, target: &Path) -> io::Result<()>;

    /// Removes a file. Its space returns when the last open handle is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Those of the operating system. After one, nobody knows which names are durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system of a folder.
    ///
    /// # Errors
    /// Those of the operating system.
    fn free_space(&self, folder: &Path) -> io::Result<u64>;

    /// Takes a lock of the whole process on a file, made when missing, until the answer is dropped or the process ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when somebody holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file, read and written by offset. Handles are shared freely between threads.
pub trait File: Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds no byte.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. Past the end the file grows, with zeros in between.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and others; a part may have been written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros that take no space yet. Durable after [`File::sync_data`].
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the content and the length durable (fdatasync).
    ///
    /// # Errors
    /// After one, what was written since the last success is in doubt for ever: a second call may answer success
    /// without having written it. Stop, and write it again after a restart.
    fn sync_data(&self) -> io::Result<()>;
}

/// A lock that is held while this lives.
pub trait Lock: Send + Sync + 'static {}

#[cfg(test)]
mod contract;
