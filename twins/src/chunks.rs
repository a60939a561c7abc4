//! A list that grows at its end and is forgotten from its start, and whose clones share what they have in common.
//!
//! The committed twin and the newest one differ by a few items at the end, so an item must not cost a copy of all: full
//! chunks are shared, and only the last one is ever copied. An empty list owns nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// How many items are shared, copied and forgotten together.
pub(crate) const CHUNK: usize = 64;

/// The list. All chunks but the last are full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks<T>(Option<Arc<VecDeque<Arc<Vec<T>>>>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Chunks<T> {
    /// All items, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks().flatten()
    }

    /// The same in pieces of [`CHUNK`], the last of which may be shorter.
    pub(crate) fn chunks(&self) -> impl DoubleEndedIterator<Item = &[T]> {
        self.0.iter().flat_map(|chunks| chunks.iter()).map(|chunk| chunk.as_slice())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let Some(chunks) = &self.0 else { return 0 };
        let last = chunks.back().map_or(0, |chunk| chunk.len());
        chunks.len().saturating_sub(1) * CHUNK + last
    }
}

impl<T: Clone> Chunks<T> {
    /// Adds an item at the end.
    pub(crate) fn push(&mut self, item: T) {
        let chunks = Arc::make_mut(self.0.get_or_insert_default());
        match chunks.back_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => Arc::make_mut(last).push(item),
            None => chunks.push_back(Arc::new(vec![item])),
        }
    }

    /// Forgets the oldest chunk, as long as `is_past` says so of its newest item and of how many items come behind it.
    pub(crate) fn forget(&mut self, is_past: impl Fn(&T, usize) -> bool) {
        while let Some(first) = self.0.as_ref().and_then(|chunks| chunks.front()) {
            let behind = self.len() - first.len();
            if !first.last().is_some_and(|newest| is_past(newest, behind)) {
                return;
            }
            let chunks = self.0.as_mut().map(Arc::make_mut);
            let is_empty = chunks.is_none_or(|chunks| {
                chunks.pop_front();
                chunks.is_empty()
            });
            if is_empty {
                self.0 = None;
            }
        }
    }
}

impl<C, T: Encode<C>> Encode<C> for Chunks<T> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, context: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(self.len() as u64)?;
        self.iter().try_for_each(|item| item.encode(e, context))
    }
}

impl<'b, C, T: Clone + Decode<'b, C>> Decode<'b, C> for Chunks<T> {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let mut chunks = Self::default();
        for item in d.array_iter_with(context)? {
            chunks.push(item?);
        }
        Ok(chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(items: impl IntoIterator<Item = u32>) -> Chunks<u32> {
        let mut chunks = Chunks::default();
        items.into_iter().for_each(|item| chunks.push(item));
        chunks
    }

    #[test]
    fn a_clone_that_grows_copies_its_last_chunk_only() {
        let before = of(0..150);
        let mut after = before.clone();

        after.push(150);

        let chunks = |chunks: &Chunks<u32>| chunks.0.clone().unwrap();
        let (old, new) = (chunks(&before), chunks(&after));
        assert_eq!([0, 1, 2].map(|n| Arc::ptr_eq(&old[n], &new[n])), [true, true, false]);
        assert_eq!((before.len(), after.len()), (150, 151));
        assert!(after.iter().copied().eq(0..151));
    }

    #[test]
    fn what_is_read_back_is_what_was_written_and_an_empty_list_owns_nothing() {
        let mut chunks = of(0..200);
        chunks.forget(|newest, behind| *newest < 70 && behind > 100);

        let read: Chunks<u32> = minicbor::decode(&minicbor::to_vec(&chunks).unwrap()).unwrap();
        chunks.forget(|_, _| true);

        assert_eq!(read, of(64..200));
        assert_eq!(chunks, Chunks(None));
    }
}
