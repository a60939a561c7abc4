//! Reading what a selection asks for: from one shard, or merged from all by the time of receipt.
//!
//! At worst one call holds a page of [`PAGE_BYTES_MAX`] and one record more, and what it has read ahead: for each shard
//! 192 KiB, or one record where that is larger. With 64 shards and payloads of 256 KiB that is 20 to 24 MiB.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use twins::id::TwinId;
use twins::time::Timestamp;

use crate::error;
use crate::record::{Fact, Record};

use super::erase::Erasure;
use super::trail::Trail;
use super::{Cursor, Error, From, Item, Offset, Page, Placed, Reader, Selection, Unread};

/// How many records one call looks at in a shard, at most, and how many of them it reads whole: a reader of something
/// rare gets a cursor to read on from.
const LOOK_MAX: (usize, usize) = (200_000, 20_000);
/// After so many bytes of records a page ends, whatever its limit.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Records of one read of a shard.
const READ: usize = 512;
/// Bytes of one read of a shard: where one is read, and where many are.
const READ_BYTES: (usize, usize) = (256 << 10, 64 << 10);

/// How often a page is begun anew because a stream that it is read from was replaced by another one.
const AGAIN_MAX: usize = 3;

/// Reads a page. `shard` is the one to read, or all of `shards`. Blocks.
///
/// # Errors
/// [`Unread`].
pub(crate) fn read(
    selection: &Selection,
    shard: Option<u32>,
    shards: u32,
    reader: impl Fn(u32) -> Result<Reader, String>,
) -> Result<Page, Unread> {
    let used = RefCell::new(Vec::new());
    let noted = |shard: u32| {
        let reader = reader(shard)?;
        used.borrow_mut().push(reader.clone());
        Ok(reader)
    };
    for _ in 0..AGAIN_MAX {
        let page = read_once(selection, shard, shards, noted);
        // The files of one that was replaced may be gone. Offsets are the same in the other one.
        let may_be_replaced = used.take().iter().any(Reader::is_closed);
        if !matches!(page, Err(Unread::Failed(_))) || !may_be_replaced {
            return page;
        }
    }
    read_once(selection, shard, shards, noted)
}

fn read_once(
    selection: &Selection,
    shard: Option<u32>,
    shards: u32,
    reader: impl Fn(u32) -> Result<Reader, String>,
) -> Result<Page, Unread> {
    let read = match shard {
        Some(shard) => vec![shard],
        None => (0..shards).collect(),
    };
    let from = Begin::of(&selection.from, shard, shards)?;
    let ahead_bytes = if read.len() == 1 { READ_BYTES.0 } else { READ_BYTES.1 };
    let mut sources = Vec::with_capacity(read.len());
    for number in read {
        let unwritten = |why: String| error::Error::Unwritten { shard: number, why };
        let reader = reader(number).map_err(unwritten)?;
        let at = from.at(number, &reader).map_err(|error| unwritten(error.to_string()))?;
        let (ahead, items) = (None, Vec::new().into_iter());
        sources.push(Source {
            number,
            reader,
            trail: selection.twin.as_ref().map(Trail::of),
            at,
            looked: (0, 0),
            is_over: false,
            ahead,
            ahead_bytes,
            items,
            erasures: None,
        });
    }
    let was_there = |source: &Source| source.at >= source.reader.earliest();
    if matches!(from, Begin::Cursor(_)) && !sources.iter().all(was_there) {
        return Err(trimmed(&sources, shard));
    }
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < selection.limit && bytes < selection.bytes.min(PAGE_BYTES_MAX) {
        let oldest = match oldest(&mut sources, selection) {
            Err((_, Error::Trimmed { .. })) if records.is_empty() => return Err(trimmed(&sources, shard)),
            // Retention was faster than this reader: what it has is whole, and the next call says so.
            Err((_, Error::Trimmed { .. })) => break,
            Err((shard, error)) => {
                return Err(error::Error::Unwritten { shard, why: error.to_string() }.into());
            }
            Ok(oldest) => oldest,
        };
        let Some(index) = oldest else { break };
        let Some(Ahead { offset, record, len }) = sources[index].ahead.take() else { break };
        sources[index].at = offset + 1;
        bytes += len;
        records.push(Placed { cursor: cursor(&sources, shard).to_string(), record });
    }
    Ok(Page { records, next: cursor(&sources, shard).to_string() })
}

/// Which source has the oldest next record of all shards.
fn oldest(sources: &mut [Source], selection: &Selection) -> Result<Option<usize>, (u32, Error)> {
    let mut oldest: Option<(Timestamp, usize)> = None;
    for (index, source) in sources.iter_mut().enumerate() {
        let time = source.peek(selection).map_err(|error| (source.number, error))?;
        if let Some(time) = time
            && oldest.is_none_or(|(before, _)| time < before)
        {
            oldest = Some((time, index));
        }
    }
    Ok(oldest.map(|(_, index)| index))
}

/// A shard that is read.
struct Source {
    number: u32,
    reader: Reader,
    /// Where the records of the twin are, where only those of one are asked for.
    trail: Option<Trail>,
    /// What has been handed out or passed over ends here.
    at: Offset,
    /// How many records it has looked at, and how many of them it has read whole.
    looked: (usize, usize),
    /// Nothing more of it is asked for.
    is_over: bool,
    ahead: Option<Ahead>,
    ahead_bytes: usize,
    items: std::vec::IntoIter<Item>,
    /// Whose records among those are not to be seen.
    erasures: Option<Arc<BTreeMap<TwinId, Erasure>>>,
}

/// The next record of a shard that was asked for.
struct Ahead {
    offset: Offset,
    record: Record,
    /// Its bytes in the stream.
    len: usize,
}

impl Source {
    /// When its next record that was asked for was received, if there is one and not too much lies before it.
    fn peek(&mut self, selection: &Selection) -> Result<Option<Timestamp>, Error> {
        while self.ahead.is_none()
            && self.looked.0 < LOOK_MAX.0
            && self.looked.1 < LOOK_MAX.1
            && !self.is_over
        {
            let item = self.next()?.filter(|item| selection.until.is_none_or(|until| item.time < until));
            let Some(item) = item else {
                self.is_over = true;
                return Ok(None);
            };
            self.looked.0 += 1;
            if Record::is_blank(&item.record) {
                self.at = item.offset + 1;
                continue;
            }
            if selection.twin.as_ref().is_some_and(|twin| !Record::may_be_of(&item.record, twin)) {
                self.at = item.offset + 1;
                continue;
            }
            self.looked.1 += 1;
            let unreadable = |error: minicbor::decode::Error| Error::Unreadable {
                offset: item.offset,
                why: error.to_string(),
            };
            let record: Record = minicbor::decode(&item.record).map_err(unreadable)?;
            let is_erased = self.erasures.as_ref().is_some_and(|all| Erasure::has(all, &record));
            if wanted(selection, &record) && !is_erased {
                self.ahead = Some(Ahead { offset: item.offset, record, len: item.record.len() });
            } else {
                self.at = item.offset + 1;
            }
        }
        Ok(self.ahead.as_ref().map(|ahead| ahead.record.header.received))
    }

    fn next(&mut self) -> Result<Option<Item>, Error> {
        if let Some(item) = self.items.next() {
            return Ok(Some(item));
        }
        let limit = match &mut self.trail {
            None => READ,
            Some(trail) => {
                let stretch = trail.next(&self.reader, self.at)?;
                self.at = stretch.start;
                READ.min((stretch.end - stretch.start) as usize)
            }
        };
        self.erasures = self.reader.erasures();
        let batch = self.reader.read(self.at, limit, self.ahead_bytes)?;
        self.items = batch.items.into_iter();
        Ok(self.items.next())
    }
}

fn wanted(selection: &Selection, record: &Record) -> bool {
    let kinds = &selection.kinds;
    let channel = |wanted: &twins::name::Name| match &record.fact {
        Fact::Telemetry { channel, .. } => channel == wanted,
        _ => false,
    };
    record.twin.tenant() == selection.tenant
        && selection.twin.as_ref().is_none_or(|twin| *twin == record.twin)
        && selection.generation.is_none_or(|generation| generation == record.generation)
        && (kinds.is_empty() || kinds.iter().any(|kind| kind == record.fact.kind()))
        && selection.channel.as_ref().is_none_or(channel)
}

/// Where a selection begins, once its cursor is read.
enum Begin<'a> {
    Cursor(Cursor),
    Else(&'a From),
}

impl<'a> Begin<'a> {
    fn of(from: &'a From, one: Option<u32>, shards: u32) -> Result<Self, Unread> {
        let From::Cursor(text) = from else { return Ok(Self::Else(from)) };
        match Cursor::parse(text, shards)? {
            Cursor::One { shard, .. } if Some(shard) != one => Err(Unread::OtherShard(text.clone(), shard)),
            cursor => Ok(Self::Cursor(cursor)),
        }
    }

    /// The offset to begin with in a shard.
    fn at(&self, number: u32, reader: &Reader) -> Result<Offset, Error> {
        match self {
            Self::Cursor(Cursor::All(offsets)) => Ok(offsets.get(number as usize).copied().unwrap_or(0)),
            Self::Cursor(Cursor::One { offset, .. }) => Ok(*offset),
            Self::Else(From::Time(time)) => reader.seek(*time),
            Self::Else(From::Latest) => Ok(reader.end()),
            Self::Else(_) => Ok(reader.earliest()),
        }
    }
}

/// Where whoever missed something may read on.
fn trimmed(sources: &[Source], one: Option<u32>) -> Unread {
    let kept = |source: &Source| source.at.max(source.reader.earliest());
    let earliest = match (one, sources) {
        (Some(shard), [source]) => Cursor::One { shard, offset: kept(source) },
        _ => Cursor::All(sources.iter().map(kept).collect()),
    };
    Unread::Trimmed { earliest }
}

fn cursor(sources: &[Source], one: Option<u32>) -> Cursor {
    match (one, sources) {
        (Some(shard), [source]) => Cursor::One { shard, offset: source.at },
        _ => Cursor::All(sources.iter().map(|source| source.at).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use twins::header::Header;
    use twins::id::TwinId;
    use twins::name::Name;

    use super::*;
    use crate::files::sim::Sim;
    use crate::stream::{Indexer, Place, open};

    /// Streams with a record of each length, in turns one in each shard.
    fn streams(shards: u32, lengths: &[usize]) -> Vec<Reader> {
        let disk = Arc::new(Sim::new(1));
        let opened = (0..shards).map(|shard| {
            let folder = format!("streams/{shard}");
            let opened = open(disk.clone(), Path::new(&folder), Place::default(), &Indexer::by_hand());
            let (mut writer, reader) = opened.unwrap();
            for (n, len) in lengths.iter().enumerate().filter(|(n, _)| *n as u32 % shards == shard) {
                let received = Timestamp::from_millis(n as u64);
                let record = Record {
                    twin: TwinId::in_default_tenant("t").unwrap(),
                    generation: 1,
                    kind: Name::fixed("device"),
                    sequence: n as u64,
                    ordinal: 0,
                    header: Header { received, ..Header::default() },
                    fact: Fact::Telemetry {
                        channel: Name::fixed("c"),
                        body: twins::body::Body::Octets { content_type: None, bytes: vec![7; *len].into() },
                    },
                };
                writer.append(received, &minicbor::to_vec(&record).unwrap()).unwrap();
            }
            writer.flush().unwrap();
            reader
        });
        opened.collect()
    }

    fn everything(from: From) -> Selection {
        Selection {
            tenant: "default".into(),
            twin: None,
            generation: None,
            shard: None,
            kinds: Vec::new(),
            channel: None,
            from,
            until: None,
            limit: 1_000,
            bytes: usize::MAX,
        }
    }

    fn page(readers: &[Reader], from: From, until: Option<u64>) -> Page {
        let selection = Selection { until: until.map(Timestamp::from_millis), ..everything(from) };
        let reader = |shard: u32| Ok(readers[shard as usize].clone());
        read(&selection, None, readers.len() as u32, reader).unwrap()
    }

    fn sequences(page: &Page) -> Vec<u64> {
        page.records.iter().map(|placed| placed.record.sequence).collect()
    }

    #[test]
    fn a_page_ends_at_its_bytes_and_the_next_one_goes_on_without_a_gap() {
        let readers = streams(4, &[250_000; 40]);

        let (mut read, mut pages, mut from) = (Vec::new(), 0, From::Earliest);
        loop {
            let page = page(&readers, from, None);
            if page.records.is_empty() {
                break;
            }
            assert!(page.records.len() <= 17, "{} records of 250 kB", page.records.len());
            read.extend(sequences(&page));
            (pages, from) = (pages + 1, From::Cursor(page.next));
        }

        assert_eq!((read, pages), ((0..40).collect(), 3));
    }

    #[test]
    fn what_is_not_asked_for_yet_is_there_for_the_next_call() {
        let readers = streams(4, &[10; 40]);

        let first = page(&readers, From::Earliest, Some(13));
        let second = page(&readers, From::Cursor(first.next.clone()), None);

        assert_eq!(sequences(&first), (0..13).collect::<Vec<_>>());
        assert_eq!(sequences(&second), (13..40).collect::<Vec<_>>());
    }

    #[test]
    fn one_twin_is_read_past_the_records_of_all_others() {
        let readers = streams(1, &[10; 40]);
        let other = TwinId::in_default_tenant("u").unwrap();
        let of = |twin: Option<TwinId>| {
            let selection = Selection { twin, ..everything(From::Earliest) };
            read(&selection, Some(0), 1, |_| Ok(readers[0].clone())).unwrap()
        };

        let (all, none) = (of(Some(TwinId::in_default_tenant("t").unwrap())), of(Some(other)));

        assert_eq!((all.records.len(), all.next.as_str()), (40, "0:40"));
        assert_eq!((none.records.len(), none.next.as_str()), (0, "0:40"));
    }
}
