//! What methods returned, kept for those who call again because no answer reached them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::digest::Digest;
use crate::json::Json;

/// How many results are kept.
pub const RESULTS_MAX: usize = 256;
/// How many bytes they may have together. Past either the oldest are forgotten; one that is larger alone is not kept.
pub const RESULTS_BYTES_MAX: usize = 256 * 1024;

/// The results. They own nothing where there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub(crate) struct Results(
    #[n(0)]
    #[cbor(with = "crate::codec::sparse")]
    Option<Arc<VecDeque<Kept>>>,
);

#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
struct Kept {
    #[n(0)]
    of: Digest,
    #[n(1)]
    result: Json,
}

impl Results {
    /// What the call of this digest returned; `None` also where that is forgotten.
    pub(crate) fn get(&self, of: Digest) -> Option<&Json> {
        self.0.iter().flat_map(|kept| kept.iter()).find(|kept| kept.of == of).map(|kept| &kept.result)
    }

    /// The bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().flat_map(|kept| kept.iter()).map(|kept| kept.result.len()).sum()
    }

    /// Keeps a result.
    pub(crate) fn keep(&mut self, of: Digest, result: &Json) {
        if result.len() > RESULTS_BYTES_MAX {
            return;
        }
        let mut bytes = self.bytes() + result.len();
        let kept = Arc::make_mut(self.0.get_or_insert_default());
        kept.push_back(Kept { of, result: result.clone() });
        while kept.len() > RESULTS_MAX || bytes > RESULTS_BYTES_MAX {
            bytes -= kept.pop_front().map_or(0, |oldest| oldest.result.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: usize) -> Json {
        Json::of(&"x".repeat(bytes - 2)).unwrap()
    }

    #[test]
    fn the_oldest_results_are_forgotten_past_a_number_and_past_their_bytes() {
        let of = |n: usize| Digest::of(&[&n.to_be_bytes()]);
        let mut results = Results::default();
        (0..RESULTS_MAX + 2).for_each(|n| results.keep(of(n), &json(10)));
        assert!(results.get(of(1)).is_none() && results.get(of(2)).is_some());

        results.keep(of(1_000), &json(RESULTS_BYTES_MAX - 20));
        results.keep(of(1_001), &json(RESULTS_BYTES_MAX + 1));

        assert!(results.get(of(1_000)).is_some() && results.get(of(1_001)).is_none());
        assert_eq!(results.bytes(), RESULTS_BYTES_MAX);
    }
}
