//! Reading what a selection asks for: from one shard, or merged from all by the time of receipt.

use twins::rejection::{Code, Rejection};
use twins::time::Timestamp;

use crate::record::{Fact, Record};

use super::{Cursor, Error, From, Item, Offset, Page, Placed, Reader, Selection};

/// How many records one call looks at in a shard, at most: a reader of something rare gets a cursor to read on from.
const LOOK_MAX: usize = 20_000;
/// Records and bytes of one read of a shard.
const READ: (usize, usize) = (512, 1 << 20);

/// Reads a page. `shard` is the one to read, or all of `shards`. Blocks.
///
/// # Errors
/// [`Code::Malformed`] for a cursor that is none or of another shard, [`Code::Trimmed`] for records that are gone, and
/// what `reader` or the disk says.
pub(crate) fn read(
    selection: &Selection,
    shard: Option<u32>,
    shards: u32,
    reader: impl Fn(u32) -> Result<Reader, String>,
) -> Result<Page, crate::error::Error> {
    let read = match shard {
        Some(shard) => vec![shard],
        None => (0..shards).collect(),
    };
    let mut sources = Vec::with_capacity(read.len());
    for number in read {
        let unwritten = |why: String| crate::error::Error::Unwritten { shard: number, why };
        let reader = reader(number).map_err(unwritten)?;
        let at = begin(selection, shard, shards, number, &reader)?;
        sources.push(Source { number, reader, at, looked: 0, ahead: None, items: Vec::new().into_iter() });
    }
    let mut records = Vec::new();
    while records.len() < selection.limit {
        // The oldest next record of all shards.
        let mut oldest: Option<(Timestamp, usize)> = None;
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(time) = source.peek(selection)?
                && oldest.is_none_or(|(before, _)| time < before)
            {
                oldest = Some((time, index));
            }
        }
        let Some((_, index)) = oldest else { break };
        let Some((offset, record)) = sources[index].ahead.take() else { break };
        sources[index].at = offset + 1;
        records.push(Placed { cursor: cursor(&sources, shard).to_string(), record });
    }
    Ok(Page { records, next: cursor(&sources, shard).to_string() })
}

/// A shard that is read.
struct Source {
    number: u32,
    reader: Reader,
    /// What has been handed out or passed over ends here.
    at: Offset,
    looked: usize,
    ahead: Option<(Offset, Record)>,
    items: std::vec::IntoIter<Item>,
}

impl Source {
    /// When its next record that was asked for was received, if there is one and not too much lies before it.
    fn peek(&mut self, selection: &Selection) -> Result<Option<Timestamp>, crate::error::Error> {
        while self.ahead.is_none() && self.looked < LOOK_MAX {
            let Some(item) = self.next()? else { return Ok(None) };
            self.looked += 1;
            if selection.until.is_some_and(|until| item.time >= until) {
                return Ok(None);
            }
            let record: Record = minicbor::decode(&item.record).map_err(|error| {
                let why = format!("record {} cannot be read: {error}", item.offset);
                crate::error::Error::Unwritten { shard: self.number, why }
            })?;
            if wanted(selection, &record) {
                self.ahead = Some((item.offset, record));
            } else {
                self.at = item.offset + 1;
            }
        }
        Ok(self.ahead.as_ref().map(|(_, record)| record.header.received))
    }

    fn next(&mut self) -> Result<Option<Item>, crate::error::Error> {
        if let Some(item) = self.items.next() {
            return Ok(Some(item));
        }
        let batch = self.reader.read(self.at, READ.0, READ.1).map_err(|error| failed(self.number, &error))?;
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
        && (kinds.is_empty() || kinds.iter().any(|kind| kind == record.fact.kind()))
        && selection.channel.as_ref().is_none_or(channel)
}

/// The offset to begin with in a shard.
fn begin(
    selection: &Selection,
    one: Option<u32>,
    shards: u32,
    number: u32,
    reader: &Reader,
) -> Result<Offset, crate::error::Error> {
    match &selection.from {
        From::Earliest => Ok(reader.earliest()),
        From::Latest => Ok(reader.end()),
        From::Time(time) => reader.seek(*time).map_err(|error| failed(number, &error)),
        From::Cursor(text) => {
            let malformed = |why: String| Rejection::new(Code::Malformed, why);
            let offset = match Cursor::parse(text, shards).map_err(|error| malformed(error.to_string()))? {
                Cursor::All(offsets) => offsets.get(number as usize).copied().unwrap_or(0),
                Cursor::One { shard, offset } if Some(shard) == one => offset,
                Cursor::One { shard, .. } => {
                    let why = format!(
                        "`{text}` is a cursor of shard {shard} alone; give one that came from this call"
                    );
                    return Err(malformed(why).into());
                }
            };
            let earliest = reader.earliest();
            if offset < earliest {
                return Err(failed(number, &Error::Trimmed { earliest }));
            }
            Ok(offset)
        }
    }
}

fn cursor(sources: &[Source], one: Option<u32>) -> Cursor {
    match (one, sources) {
        (Some(shard), [source]) => Cursor::One { shard, offset: source.at },
        _ => Cursor::All(sources.iter().map(|source| source.at).collect()),
    }
}

fn failed(shard: u32, error: &Error) -> crate::error::Error {
    match error {
        Error::Trimmed { earliest } => {
            let why = format!("the records there were trimmed; the earliest cursor is `{shard}:{earliest}`");
            Rejection::new(Code::Trimmed, why).into()
        }
        other => crate::error::Error::Unwritten { shard, why: other.to_string() },
    }
}
