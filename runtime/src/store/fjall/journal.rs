//! The journals of a database that is closed, after a write of it failed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What is read and written at a time.
const PART: usize = 1 << 20;

/// Writes the journals again in their places, and syncs them.
///
/// After a failed sync the system's cache counts as clean, though the disk may lack what is in it: whoever reads the
/// journal sees it, later batches follow it, and a power loss then takes it and all that follows. Written again, it is
/// synced like anything else.
pub(super) fn write_again(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            write_file_again(&path)?;
        }
    }
    Ok(())
}

fn write_file_again(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut part = vec![0; PART];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let length = file.read(&mut part)?;
        if length == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&part[..length])?;
        at += length as u64;
    }
}
