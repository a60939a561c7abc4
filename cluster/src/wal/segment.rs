//! A segment: one file of the log. It is made with zeros, so that writing into it later changes no file size.
//!
//! A segment is named by its number, `000000000001.wal`, and begins with a header of 512 bytes; batches follow, and
//! zeros after them. Little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | the mark `TwfLog01`, which holds the version of the format |
//! | 8..16 | number |
//! | 16..24 | salt of the batches' checksums |
//! | 24..28 | CRC-32 of bytes 0..24 |
//! | 28..512 | zero |
//!
//! A file gets its number only when header and zeros are durable. So a numbered file with a bad header is damaged, and
//! the writer never waits for a file to be made or named.

use super::record::{u32_at, u64_at};
use crate::Error;
use runtime::files::{File, Files};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the batches begin: the header has a sector of its own, which is never written again.
pub(crate) const HEADER: usize = 512;

const MARK: [u8; 8] = *b"TwfLog01";
const ZEROS: usize = 1 << 20;
const DRAFT: &str = "next.draft";

/// An open segment.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    /// The length up to which batches are written, one larger batch in an otherwise empty segment excepted.
    pub(crate) capacity: u64,
    pub(crate) file: Arc<dyn File>,
}

impl Segment {
    /// Makes a segment under its number: zeros and header first, then the name, each durable before the next.
    /// A `source` that is no longer needed gives its file for it.
    pub(crate) fn make(
        files: &dyn Files,
        folder: &Path,
        number: u64,
        salt: u64,
        capacity: u64,
        source: Option<u64>,
    ) -> io::Result<Self> {
        let draft = folder.join(DRAFT);
        let file = match source {
            Some(source) => {
                // The old number must be gone before the old bytes are.
                files.rename(&path(folder, source), &draft)?;
                files.sync_folder(folder)?;
                files.open(&draft)?
            }
            None => files.create(&draft)?,
        };
        file.set_len(capacity)?;
        let zeros = vec![0; ZEROS.min(capacity as usize)];
        let mut at = 0;
        while at < capacity {
            let part = &zeros[..ZEROS.min((capacity - at) as usize)];
            file.write_at(part, at)?;
            // Synced bit by bit: the writer's next sync would wait behind a whole segment of zeros.
            file.sync_data()?;
            at += part.len() as u64;
        }
        file.write_at(&header(number, salt), 0)?;
        file.sync_data()?;
        files.rename(&draft, &path(folder, number))?;
        files.sync_folder(folder)?;
        Ok(Self { number, salt, capacity, file })
    }

    /// Opens a segment and reads all of it.
    pub(crate) fn load(files: &dyn Files, folder: &Path, number: u64) -> Result<(Self, Vec<u8>), Error> {
        let path = path(folder, number);
        let failed = |source| Error::io("reading", &path, source);
        let file = files.open(&path).map_err(failed)?;
        let capacity = file.len().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(capacity).map_err(|_| Error::damaged(number, 0))?];
        file.read_at(&mut bytes, 0).map_err(failed)?;
        let salt = salt(&bytes, number).ok_or_else(|| Error::damaged(number, 0))?;
        Ok((Self { number, salt, capacity, file }, bytes))
    }
}

/// The numbers of the segments in a folder, in order and without gaps.
pub(crate) fn numbers(files: &dyn Files, folder: &Path) -> Result<Vec<u64>, Error> {
    let names = files.list(folder).map_err(|source| Error::io("listing", folder, source))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    match numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        Some(pair) => Err(Error::Missing { segment: pair[0] + 1 }),
        None => Ok(numbers),
    }
}

/// Whether there is a segment of this number.
pub(crate) fn exists(files: &dyn Files, folder: &Path, number: u64) -> bool {
    files.open(&path(folder, number)).is_ok()
}

/// Removes a segment, durably.
pub(crate) fn remove(files: &dyn Files, folder: &Path, number: u64) -> io::Result<()> {
    files.remove(&path(folder, number))?;
    files.sync_folder(folder)
}

/// Removes what a crash, or a full disk, left of a segment that was being made.
pub(crate) fn remove_draft(files: &dyn Files, folder: &Path) -> io::Result<()> {
    match files.remove(&folder.join(DRAFT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => files.sync_folder(folder),
    }
}

/// The path of a segment.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.wal"))
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn header(number: u64, salt: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MARK);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn salt(bytes: &[u8], number: u64) -> Option<u64> {
    let header = bytes.get(..HEADER)?;
    let whole = header[..8] == MARK && u64_at(header, 8) == number;
    (whole && u32_at(header, 24) == crc32fast::hash(&header[..24])).then(|| u64_at(header, 16))
}
