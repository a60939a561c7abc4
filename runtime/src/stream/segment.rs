//! A segment's file, open for reading: finding the page to begin with.

use super::index::Identity;
use super::page::{HEADER, Header, PAGE};
use super::walk::Walk;
use super::{Error, Offset, frame};
use crate::files::{File, Files};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SUFFIX: &str = ".stream";

/// A segment as long as it was when it was opened.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    pub(super) first: Offset,
}

/// The file of the segment that begins with a record: its offset in twenty digits, so that names sort by offset.
pub(super) fn path(folder: &Path, first: Offset) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// The first offsets of a folder's segments, in order. Files that are none of ours are left alone.
pub(super) fn firsts(files: &dyn Files, folder: &Path) -> Result<Vec<Offset>, Error> {
    let names = files.list(folder).map_err(Error::io("listing", folder))?;
    Ok(names.iter().filter_map(|name| first(name)).collect())
}

/// The first offset of a segment, from the name of its file.
pub(super) fn first(name: &str) -> Option<Offset> {
    name.strip_suffix(SUFFIX).and_then(number)
}

/// The offset that the files of a segment have in their names.
pub(super) fn number(digits: &str) -> Option<Offset> {
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

impl Segment {
    pub(super) fn open(files: &dyn Files, folder: &Path, first: Offset) -> Result<Self, Error> {
        let path = path(folder, first);
        let opened = files.open(&path).and_then(|file| Ok((file.len()?, file)));
        let (len, file) = opened.map_err(Error::io("opening", &path))?;
        Ok(Self { path, file, len, first })
    }

    /// The walk that begins with the last page for which `is_before` holds. It must hold for a front part of the pages.
    ///
    /// Behind what was synced, pages may be torn after a crash: those count as not before.
    pub(super) fn walk(&self, is_before: impl Fn(&Header) -> bool) -> Result<Walk<'_>, Error> {
        let mut found = (0, self.begin()?);
        let mut pages = 1..self.len.div_ceil(PAGE);
        while !pages.is_empty() {
            let middle = pages.start + (pages.end - pages.start) / 2;
            match self.header(middle)? {
                Some(header) if is_before(&header) => {
                    found = (middle, header);
                    pages.start = middle + 1;
                }
                _ => pages.end = middle,
            }
        }
        Ok(Walk::new(self, found.0, found.1))
    }

    /// The header of the first page.
    pub(super) fn begin(&self) -> Result<Header, Error> {
        self.header(0)?.filter(|header| header.offset == self.first).ok_or_else(|| self.damaged(self.first))
    }

    /// The records that begin on these pages. One that goes on behind them is not among them: whoever asks for its pages
    /// asks for all of them.
    pub(super) fn records(&self, pages: Range<u32>, end: Offset) -> Result<Range<Offset>, Error> {
        let header = |page: u32| self.header(page.into())?.ok_or_else(|| self.damaged(self.first));
        let start = header(pages.start)?.offset;
        if u64::from(pages.end) >= self.len.div_ceil(PAGE) {
            return Ok(start..end);
        }
        let after = header(pages.end)?;
        Ok(start..after.offset - Offset::from(after.skip > 0))
    }

    /// What tells the segment from others, once its records end before `end`.
    pub(super) fn identity(&self, end: Offset) -> Result<Identity, Error> {
        let (mut begin, mut last) = ([0; HEADER + frame::HEADER], [0; HEADER]);
        let page = self.len.div_ceil(PAGE).saturating_sub(1);
        let read = self.file.read_at(&mut begin, 0).and_then(|()| self.file.read_at(&mut last, page * PAGE));
        read.map_err(Error::io("reading", &self.path))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&begin);
        hasher.update(&last);
        Ok(Identity { first: self.first, end, len: self.len, ends: hasher.finalize() })
    }

    pub(super) fn header(&self, page: u64) -> Result<Option<Header>, Error> {
        let mut bytes = [0; HEADER];
        match self.file.read_at(&mut bytes, page * PAGE) {
            Ok(()) => Ok(Header::decode(&bytes, page)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::io("reading", &self.path)(error)),
        }
    }

    pub(super) fn damaged(&self, offset: Offset) -> Error {
        Error::Damaged { path: self.path.clone(), offset }
    }
}
