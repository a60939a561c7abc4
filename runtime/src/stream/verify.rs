//! Checks the stream of a stopped node without changing it: each page, each record, and what the indexes say.
//!
//! What no checkpoint had made durable may be torn after a power loss; the start cuts it, and the log writes it again.
//! The files do not tell where the last checkpoint was, but an [index](super::index) is made of what is durable alone: so
//! where one stands at or behind what cannot be read, that is damage, and elsewhere it may be a torn end.

use super::index::{self, rows::Rows};
use super::page::{self, BODY, HEADER, Header, PAGE, in_file};
use super::segment::{self, Segment};
use super::{Error, Offset};
use crate::files::Files;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a stream holds, and how far it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many segments it has.
    pub segments: u64,
    /// How many of them have an index.
    pub indexed: u64,
    /// The records that were found whole, up to the first fault.
    pub records: Range<Offset>,
    /// The bytes of its segments.
    pub bytes: u64,
    /// What was found.
    pub verdict: Verdict,
}

/// How a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Whole,
    /// It ends in what cannot be read, and nothing shows that this was ever durable: a power loss leaves that. The start
    /// cuts it off where the last checkpoint says, and the log writes it again.
    Torn(Fault),
    /// Something that was durable cannot be read.
    Damaged(Fault),
    /// All records are whole, but an index does not say what they say. Without it, the node makes another one.
    Misled {
        /// The index.
        path: PathBuf,
    },
}

/// Where a stream cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The segment's file.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub byte: u64,
    /// The first record that is not whole.
    pub record: Offset,
}

/// Reads the stream in a folder, up to the first fault; a folder that is not there holds none. Blocks.
///
/// # Errors
/// [`Error::Io`]. What is damaged is no error here.
pub fn verify(files: &dyn Files, folder: &Path) -> Result<Report, Error> {
    let firsts = match files.list(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        _ => segment::firsts(files, folder)?,
    };
    let begin = firsts.first().copied().unwrap_or(0);
    let segments = firsts.len() as u64;
    let mut report =
        Report { segments, indexed: 0, records: begin..begin, bytes: 0, verdict: Verdict::Whole };
    let has_index = |first: &Offset| files.open(&index::path(folder, *first)).is_ok();
    let indexed: Vec<_> = firsts.iter().copied().filter(has_index).collect();
    report.indexed = indexed.len() as u64;
    for (n, first) in firsts.iter().enumerate() {
        let segment = Segment::open(files, folder, *first)?;
        report.bytes += segment.len;
        if !matches!(report.verdict, Verdict::Whole | Verdict::Misled { .. }) {
            continue;
        }
        let end = firsts.get(n + 1).copied();
        match check(&segment, end)? {
            (through, Err(fault)) => {
                let is_durable = indexed.last().is_some_and(|last| first <= last);
                report.verdict = if is_durable { Verdict::Damaged(fault) } else { Verdict::Torn(fault) };
                report.records.end = through;
            }
            (through, Ok(rows)) => {
                report.records.end = through;
                let path = index::path(folder, *first);
                if indexed.binary_search(first).is_ok() && !agrees(files, &path, &segment, through, rows)? {
                    report.verdict = Verdict::Misled { path };
                }
            }
        }
    }
    Ok(report)
}

/// Whether an index says what the records say.
fn agrees(files: &dyn Files, path: &Path, segment: &Segment, end: Offset, rows: Rows) -> Result<bool, Error> {
    let expected = rows.encode(&segment.identity(end)?);
    let file = files.open(path).map_err(Error::io("opening", path))?;
    if file.len().map_err(Error::io("reading", path))? != expected.len() as u64 {
        return Ok(false);
    }
    let mut found = vec![0; expected.len()];
    file.read_at(&mut found, 0).map_err(Error::io("reading", path))?;
    Ok(found == expected)
}

/// Reads a segment to its end: the offset before which all records are whole, and either what its index should say or
/// what is wrong. The last one has no `end`: it ends where its file does.
fn check(segment: &Segment, end: Option<Offset>) -> Result<(Offset, Result<Rows, Fault>), Error> {
    let body = segment.len - segment.len.div_ceil(PAGE) * HEADER as u64;
    let fault = |record, byte| Ok((record, Err(Fault { path: segment.path.clone(), byte, record })));
    let mut rows = Rows::default();
    if body == 0 && end.is_none() {
        return Ok((segment.first, Ok(rows)));
    }
    let mut walk = match segment.walk(|_| false) {
        Err(Error::Damaged { .. }) => return fault(segment.first, 0),
        walk => walk?,
    };
    while end.map_or(walk.position < body, |end| walk.offset < end) {
        let (record, begin, latest) = (walk.offset, walk.position, walk.latest);
        let step = match walk.step() {
            Err(Error::Damaged { .. }) => return fault(record, in_file(begin)),
            step => step?,
        };
        for page in begin.div_ceil(BODY)..walk.position.div_ceil(BODY) {
            let expected = match page * BODY {
                start if start == begin => Header { offset: record, latest, skip: 0 },
                start => {
                    let skip = (walk.position - start) as u32;
                    Header { offset: walk.offset, latest: walk.latest, skip }
                }
            };
            if segment.header(page)? != Some(expected) {
                return fault(record, page * PAGE);
            }
        }
        rows.note_record(walk.record(&step), begin..walk.position);
        walk.forget();
    }
    if page::file_len(walk.position) != segment.len {
        return fault(walk.offset, in_file(walk.position));
    }
    Ok((walk.offset, Ok(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::sim::Sim;
    use crate::stream::{Indexer, Place, open};
    use std::sync::Arc;
    use twins::time::Timestamp;

    const FOLDER: &str = "streams/7";

    /// Three segments of 40 records with 10,000 bytes each, and the beginning of a fourth; `indexed` of them have an index.
    fn stream(indexed: usize) -> Sim {
        let disk = Sim::new(1);
        let indexer = Indexer::by_hand();
        let opened = open(Arc::new(disk.clone()), Path::new(FOLDER), Place::default(), &indexer);
        let (mut writer, _reader) = opened.unwrap();
        for n in 0..125 {
            writer.append(Timestamp::from_millis(n), &vec![n as u8; 10_000]).unwrap();
            if n % 40 == 39 {
                writer.seal();
            }
            writer.flush().unwrap();
        }
        writer.sync().unwrap();
        (0..indexed).for_each(|_| assert!(indexer.work()));
        disk
    }

    fn segment(first: Offset) -> PathBuf {
        segment::path(Path::new(FOLDER), first)
    }

    fn look(disk: &Sim) -> Report {
        verify(disk, Path::new(FOLDER)).unwrap()
    }

    #[test]
    fn a_whole_stream_is_counted() {
        let report = look(&stream(2));

        let Report { segments, indexed, records, bytes, verdict } = report;
        assert_eq!((segments, indexed, records, verdict), (4, 2, 0..125, Verdict::Whole));
        assert!(bytes > 125 * 10_000, "{bytes}");
        let none = verify(&Sim::new(1), Path::new("nowhere")).unwrap();
        assert_eq!((none.segments, none.records, none.verdict), (0, 0..0, Verdict::Whole));
    }

    #[test]
    fn any_flipped_bit_is_found_where_it_is() {
        let len = stream(0).open(&segment(40)).unwrap().len().unwrap();
        for byte in (0..len).step_by(7_919).chain([0, 40, PAGE + 9, len - 1]) {
            let disk = stream(3);
            disk.flip(&segment(40), byte, 2).unwrap();

            let report = look(&disk);

            let Verdict::Damaged(fault) = report.verdict else { panic!("byte {byte}: {:?}", report.verdict) };
            assert_eq!(fault.path, segment(40));
            assert!((40..80).contains(&fault.record) && fault.record == report.records.end, "{fault:?}");
            assert!(fault.byte <= byte && byte < fault.byte + PAGE, "byte {byte}: {fault:?}");
        }
    }

    #[test]
    fn what_was_perhaps_never_durable_is_no_damage() {
        let disk = stream(2);
        disk.flip(&segment(120), 100, 1).unwrap();
        assert!(matches!(look(&disk).verdict, Verdict::Torn(Fault { record: 120, .. })));

        disk.flip(&segment(80), 100, 1).unwrap();
        assert!(matches!(look(&disk).verdict, Verdict::Torn(Fault { record: 80, .. })));

        disk.flip(&segment(40), 100, 1).unwrap();
        assert!(matches!(look(&disk).verdict, Verdict::Damaged(Fault { record: 40, .. })));
    }

    #[test]
    fn a_missing_or_short_segment_is_found() {
        let disk = stream(3);
        disk.remove(&segment(40)).unwrap();
        assert!(
            matches!(look(&disk).verdict, Verdict::Damaged(Fault { record: 40, .. })),
            "{:?}",
            look(&disk)
        );

        let disk = stream(3);
        disk.open(&segment(80)).unwrap().set_len(70_000).unwrap();
        assert!(
            matches!(look(&disk).verdict, Verdict::Damaged(Fault { record: 86, .. })),
            "{:?}",
            look(&disk)
        );
    }

    #[test]
    fn an_index_that_says_something_else_is_named() {
        let disk = stream(3);
        let path = index::path(Path::new(FOLDER), 40);
        disk.flip(&path, 4_105, 1).unwrap();

        let report = look(&disk);

        assert_eq!((report.verdict, report.records), (Verdict::Misled { path }, 0..125));
    }
}
