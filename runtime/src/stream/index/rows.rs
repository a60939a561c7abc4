//! The rows of an index: gathered from a segment record by record, then written in the order of their keys.

use super::{BLOCK, HEAD, Identity, MARK, Runs, VERSION};
use crate::record::Record;
use crate::stream::page::BODY;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use std::ops::Range;

/// How many pairs of a key and a page are in memory, 16 bytes each: 16 MiB. A segment of the default length has a third
/// of them at most. Where there are more, the index says that everybody is everywhere.
const PAIRS_MAX: usize = 1 << 20;
/// How many runs a row has at most, so that each fits into a block. Where there are more, the shortest gaps are closed.
const RUNS_MAX: usize = 256;

/// Who is on which pages.
#[derive(Default)]
pub(in crate::stream) struct Rows {
    pairs: Vec<(u64, u32)>,
    pages: u32,
    is_too_much: bool,
}

impl Rows {
    /// Notes a record that lies at these bytes of the pages' bodies. They come in order. One that was erased is nobody's.
    pub(in crate::stream) fn note_record(&mut self, record: &[u8], at: Range<u64>) {
        if !Record::is_blank(record) {
            self.note(Record::key(record), at);
        }
    }

    fn note(&mut self, key: u64, at: Range<u64>) {
        let pages = (at.start / BODY) as u32..at.end.div_ceil(BODY) as u32;
        self.pages = pages.end;
        if self.is_too_much {
            return;
        }
        self.pairs.extend(pages.map(|page| (key, page)));
        if self.pairs.len() >= PAIRS_MAX {
            self.settle();
            self.is_too_much = self.pairs.len() > PAIRS_MAX / 2;
        }
    }

    fn settle(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.dedup();
    }

    /// The bytes of the index.
    pub(in crate::stream) fn encode(mut self, identity: &Identity) -> Vec<u8> {
        if self.is_too_much {
            self.pairs = (0..self.pages).map(|page| (0, page)).collect();
        }
        self.settle();
        let mut blocks = vec![Vec::new()];
        for pairs in self.pairs.chunk_by(|one, next| one.0 == next.0) {
            let runs = join(pairs.iter().map(|(_, page)| *page..page + 1).collect());
            let mut row = Vec::new();
            encode(&mut row, pairs[0].0, &runs);
            match blocks.last_mut() {
                Some(last) if has_room(last, &row) => last.extend(row),
                _ => blocks.push(row),
            }
        }
        // The first one is not for rows.
        let count = blocks.len() as u32 - 1;
        blocks[0] = [&MARK[..], &VERSION.to_le_bytes(), &count.to_le_bytes()].concat();
        let mut bytes = Vec::with_capacity(blocks.len() * BLOCK);
        for (number, block) in blocks.into_iter().enumerate() {
            let mut rest = (block.len() as u16).to_le_bytes().to_vec();
            rest.extend(block);
            rest.resize(BLOCK - 4, 0);
            bytes.extend(identity.checksum(number as u64, &rest).to_le_bytes());
            bytes.extend(rest);
        }
        bytes
    }
}

/// Whether a row fits into a block that has rows already.
fn has_room(block: &[u8], row: &[u8]) -> bool {
    !block.is_empty() && block.len() + row.len() <= BLOCK - HEAD
}

/// Puts runs in order and together where they touch, and closes gaps while they are too many.
pub(super) fn join(mut runs: Runs) -> Runs {
    runs.sort_unstable_by_key(|run| run.start);
    let mut gap_closed = 0;
    loop {
        let mut joined = Runs::new();
        for run in runs {
            match joined.last_mut() {
                Some(last) if run.start <= last.end + gap_closed => last.end = last.end.max(run.end),
                _ => joined.push(run),
            }
        }
        if joined.len() <= RUNS_MAX {
            return joined;
        }
        (runs, gap_closed) = (joined, gap_closed * 2 + 1);
    }
}

fn encode(row: &mut Vec<u8>, key: u64, runs: &Runs) {
    let mut encoder = Encoder::new(row);
    let mut put = || {
        encoder.u64(key)?.array(runs.len() as u64 * 2)?;
        let mut before = 0;
        for run in runs {
            encoder.u32(run.start - before)?.u32(run.end - run.start)?;
            before = run.end;
        }
        Ok::<(), minicbor::encode::Error<std::convert::Infallible>>(())
    };
    put().expect("writing to memory does not fail");
}

/// Reads a row: its key and its runs.
pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<(u64, Runs), Error> {
    let key = decoder.u64()?;
    let count = decoder.array()?.filter(|count| *count <= RUNS_MAX as u64 * 2);
    let count = count.ok_or_else(|| Error::message("too many runs"))?;
    let (mut runs, mut before) = (Runs::new(), 0_u32);
    for _ in 0..count / 2 {
        let (gap, pages) = (decoder.u32()?, decoder.u32()?);
        let start = before.checked_add(gap);
        let run = start.and_then(|start| Some(start..start.checked_add(pages)?));
        let run = run.ok_or_else(|| Error::message("a run is too long"))?;
        before = run.end;
        runs.push(run);
    }
    Ok((key, runs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn joined_runs_hold_every_page_and_fit_a_block(pages in prop::collection::vec(0..20_000_u32, 1..2_000)) {
            let runs = join(pages.iter().map(|page| *page..page + 1).collect());
            let mut row = Vec::new();
            encode(&mut row, u64::MAX, &runs);

            prop_assert!(runs.len() <= RUNS_MAX && row.len() <= BLOCK - HEAD);
            prop_assert!(pages.iter().all(|page| runs.iter().any(|run| run.contains(page))));
            prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
            prop_assert_eq!(decode(&mut Decoder::new(&row)).unwrap(), (u64::MAX, runs));
        }
    }

    #[test]
    fn few_pages_are_told_exactly() {
        let runs = join(vec![7..8, 1..2, 8..9, 3..4, 7..8]);

        assert_eq!(runs, [1..2, 3..4, 7..9]);
    }

    #[test]
    fn where_too_many_twins_are_everybody_is_everywhere() {
        let mut rows = Rows::default();
        for n in 0..PAIRS_MAX as u64 {
            rows.note(n + 1, n..n + 1);
        }
        let identity = Identity { first: 0, end: 1, len: 1, ends: 1 };

        let bytes = rows.encode(&identity);

        assert_eq!(bytes.len(), 2 * BLOCK);
        let (key, runs) = decode(&mut Decoder::new(&bytes[BLOCK + HEAD..])).unwrap();
        let pages = (PAIRS_MAX as u64).div_ceil(BODY) as u32;
        assert_eq!((key, &runs[..]), (0, std::slice::from_ref(&(0..pages))));
    }
}
