//! What an index promises: one twin's history reads its own pages alone, and nothing is missed whatever becomes of the
//! index.

use super::super::trail::Trail;
use super::super::{From, Page, Place, Reader, Selection, Writer, open, read};
use super::*;
use crate::files::sim::{Random, Sim};
use crate::files::{Lock, disk::Disk};
use crate::record::{Fact, Record};
use crate::stream::Indexer;
use crate::stream::page::{HEADER, PAGE};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Mutex;
use twins::body::Body;
use twins::header::Header;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;

const FOLDER: &str = "streams/7";

/// Pages whose bodies were read: the segment's file and the page's number.
type Pages = Arc<Mutex<BTreeSet<(String, u64)>>>;

/// A disk that notes the pages of segments that are read.
#[derive(Clone)]
struct Counting {
    disk: Sim,
    pages: Pages,
}

struct Counted {
    file: Arc<dyn File>,
    name: String,
    pages: Pages,
}

impl Files for Counting {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.remove_folder(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(Arc::new(Counted { file: self.disk.open(path)?, name, pages: self.pages.clone() }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }

    fn rename(&self, source: &Path, target: &Path) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

impl File for Counted {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // What tells a segment from others is its header and the head of its first record.
        if self.name.ends_with(".stream") && offset % PAGE + buffer.len() as u64 > 2 * HEADER as u64 {
            self.pages.lock().unwrap().insert((self.name.clone(), offset / PAGE));
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn twin(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("t-{n}")).unwrap()
}

fn record(of: u64, sequence: u64, bytes: usize) -> Vec<u8> {
    let record = Record {
        twin: twin(of),
        generation: 1,
        kind: Name::fixed("device"),
        sequence,
        ordinal: 0,
        header: Header::default(),
        fact: Fact::Telemetry {
            channel: Name::fixed("c"),
            body: Body::Octets { content_type: None, bytes: vec![7; bytes].into() },
        },
    };
    minicbor::to_vec(&record).unwrap()
}

/// A stream on a disk that notes what is read, with an indexer that waits to be told.
struct Stream {
    files: Counting,
    indexer: Arc<Indexer>,
    writer: Writer,
    reader: Reader,
}

impl Stream {
    fn new() -> Self {
        let files = Counting { disk: Sim::new(1), pages: Pages::default() };
        Self::open(files, Place::default())
    }

    fn open(files: Counting, place: Place) -> Self {
        let indexer = Indexer::by_hand();
        let (writer, reader) = open(Arc::new(files.clone()), Path::new(FOLDER), place, &indexer).unwrap();
        Self { files, indexer, writer, reader }
    }

    fn append(&mut self, of: u64, bytes: usize) {
        let n = self.writer.end();
        self.writer.append(Timestamp::from_millis(n), &record(of, n, bytes)).unwrap();
    }

    fn seal(&mut self) {
        self.writer.seal();
        self.writer.flush().unwrap();
    }

    fn index(&mut self) {
        self.writer.sync().unwrap();
        while self.indexer.work() {}
    }

    fn indexes(&self) -> Vec<String> {
        let names = self.files.list(Path::new(FOLDER)).unwrap();
        names.into_iter().filter(|name| name.contains(SUFFIX)).collect()
    }

    /// The sequences of a twin's records, and how many pages were read for them.
    fn history(&self, of: u64) -> (Vec<u64>, usize) {
        self.files.pages.lock().unwrap().clear();
        let (mut sequences, mut from) = (Vec::new(), From::Earliest);
        loop {
            let selection = Selection {
                tenant: "default".into(),
                twin: Some(twin(of)),
                generation: None,
                shard: None,
                kinds: Vec::new(),
                channel: None,
                from,
                until: None,
                limit: 7,
                bytes: usize::MAX,
            };
            let Page { records, next } = read(&selection, Some(0), 1, |_| Ok(self.reader.clone())).unwrap();
            if records.is_empty() {
                assert_eq!(next, format!("0:{}", self.reader.end()));
                return (sequences, self.files.pages.lock().unwrap().len());
            }
            sequences.extend(records.iter().map(|placed| placed.record.sequence));
            from = From::Cursor(next);
        }
    }
}

/// Eight sealed segments of about ten pages each; twin 0 has a record in the middle of every other one.
fn with_a_rare_twin() -> (Stream, Vec<u64>) {
    let (mut stream, mut rare) = (Stream::new(), Vec::new());
    for segment in 0..8 {
        for n in 0..2_000 {
            if segment % 2 == 1 && n == 1_000 {
                rare.push(stream.writer.end());
                stream.append(0, 100);
            }
            stream.append(1 + n % 50, 200 + n as usize % 100);
        }
        stream.seal();
    }
    (stream, rare)
}

#[test]
fn the_history_of_one_twin_reads_only_the_pages_that_hold_it() {
    let (mut stream, rare) = with_a_rare_twin();
    let (scanned, all_pages) = stream.history(0);

    stream.index();
    let (found, pages) = stream.history(0);

    assert_eq!((&scanned, &found), (&rare, &rare));
    assert!(all_pages >= 80, "{all_pages}");
    assert_eq!(pages, 4, "one page for each record");
    assert_eq!(stream.history(99), (Vec::new(), 0), "nothing is read for a twin that is not there");
    assert_eq!(stream.history(7).0.len(), 8 * 40);
}

#[test]
fn a_record_over_many_pages_is_read_with_all_of_them_and_its_neighbours_are_not() {
    let mut stream = Stream::new();
    for of in [1, 2, 0, 3, 1] {
        stream.append(of, 150_000);
    }
    stream.seal();
    stream.index();

    assert_eq!(stream.history(0), (vec![2], 3));
    assert_eq!(stream.history(1).0, [0, 4]);
}

#[test]
fn a_missing_damaged_or_foreign_index_is_not_trusted_and_made_again() {
    let (mut stream, rare) = with_a_rare_twin();
    stream.index();
    let names = stream.indexes();
    assert_eq!(names.len(), 8);
    let path = |n: usize| Path::new(FOLDER).join(&names[n]);
    let disk = stream.files.disk.clone();
    let bytes_of = |n: usize| {
        let file = disk.open(&path(n)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let good = bytes_of(1);
    let spoil: [(&str, &dyn Fn()); 5] = [
        ("missing", &|| disk.remove(&path(1)).unwrap()),
        ("damaged at its head", &|| disk.flip(&path(1), 9, 3).unwrap()),
        ("damaged in a row", &|| disk.flip(&path(1), BLOCK as u64 + 20, 3).unwrap()),
        ("cut off", &|| disk.open(&path(1)).unwrap().set_len(BLOCK as u64 + 9).unwrap()),
        ("of another segment", &|| {
            disk.open(&path(1)).unwrap().write_at(&bytes_of(0), 0).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        spoil();

        let (found, pages) = stream.history(0);
        assert_eq!(found, rare, "{what}");
        assert!(pages > 10, "{what}: that segment is read whole");
        while stream.indexer.work() {}
        assert_eq!(stream.history(0), (rare.clone(), 4), "{what}: another one was made");
        assert_eq!(bytes_of(1), good, "{what}");
    }
}

#[test]
fn an_index_goes_with_its_segment_and_what_is_nobodys_goes_at_the_start() {
    let (mut stream, _) = with_a_rare_twin();
    stream.index();
    let third = stream.reader.end() / 8 * 2;
    stream.writer.trim(third);
    let place = stream.writer.sync().unwrap();
    stream.writer.sweep(place.tail).expect("files of what was trimmed").remove().unwrap();
    assert_eq!(stream.indexes().len() as u64, 8 - 1, "whole segments go");

    let Stream { files, .. } = stream;
    let strays = ["00000000000000000001.index", "00000000000000000000.index.new"];
    strays.iter().for_each(|name| drop(files.disk.create(&Path::new(FOLDER).join(name)).unwrap()));
    let stream = Stream::open(files, place);

    assert_eq!(stream.indexes().len(), 7);
    assert!(!stream.indexer.work(), "none is missing");
}

#[test]
fn an_index_is_made_of_what_is_durable_and_a_start_asks_for_what_is_missing() {
    let (mut stream, rare) = with_a_rare_twin();
    assert!(!stream.indexer.work(), "nothing is durable yet");
    let place = stream.writer.sync().unwrap();
    assert!(stream.indexer.work());
    let Stream { files, .. } = stream;
    files.disk.crash();

    let stream = Stream::open(files, place);
    let made = std::iter::from_fn(|| stream.indexer.work().then_some(())).count();

    // A name that was not synced may have been lost.
    assert!((7..=8).contains(&made), "{made}");
    assert_eq!(stream.history(0), (rare, 4));
}

#[test]
fn an_index_that_cannot_be_written_stops_nothing() {
    let (mut stream, rare) = with_a_rare_twin();
    stream.writer.sync().unwrap();
    stream.files.disk.set_capacity(stream.files.disk.used());

    while stream.indexer.work() {}

    assert_eq!(stream.indexes(), Vec::<String>::new(), "nothing half is left");
    assert_eq!(stream.history(0).0, rare);
    stream.files.disk.set_capacity(u64::MAX);
    while stream.indexer.work() {}
    assert_eq!(stream.history(0), (rare, 4), "whoever read asked again");
}

#[test]
fn a_thread_makes_them_and_ends_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let indexer = Indexer::with_thread();
    let (mut writer, _reader) = open(Arc::new(Disk), folder.path(), Place::default(), &indexer).unwrap();
    for n in 0..5 {
        writer.append(Timestamp::from_millis(n), &record(n, n, 100)).unwrap();
        writer.seal();
        writer.sync().unwrap();
    }

    indexer.close();

    let left = Disk.list(folder.path()).unwrap();
    assert!(!left.iter().any(|name| name.ends_with(DRAFT_SUFFIX)), "{left:?}");
    writer.sync().unwrap();
    assert!(!indexer.work(), "nothing is taken any more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_trail_of_a_twin_misses_none_of_its_records(
        records in prop::collection::vec((0..20_u64, 0..4_usize), 1..300),
        seals in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        from in any::<prop::sample::Index>(),
    ) {
        let mut stream = Stream::new();
        let seals: BTreeSet<_> = seals.into_iter().map(|seal| seal.index(records.len())).collect();
        let mut random = Random::new(records.len() as u64);
        for (n, (of, size)) in records.iter().enumerate() {
            let bytes = random.below([10, 1_000, 30_000, 200_000][*size]) as usize;
            stream.append(*of, bytes);
            if seals.contains(&n) {
                stream.seal();
            }
        }
        stream.index();

        for of in 0..21 {
            let expected: Vec<u64> = (0..).zip(&records).filter(|(_, (by, _))| *by == of).map(|(n, _)| n).collect();
            prop_assert_eq!(&stream.history(of).0, &expected);

            let first = from.index(records.len()) as u64;
            let (mut trail, mut at, mut found) = (Trail::of(&twin(of)), first, Vec::new());
            while at < stream.reader.end() {
                let stretch = trail.next(&stream.reader, at).unwrap();
                found.extend(stretch.clone());
                at = stretch.end;
            }
            let missed = expected.iter().find(|n| **n >= first && found.binary_search(n).is_err());
            prop_assert_eq!(missed, None, "found {:?}", found);
        }
    }
}
