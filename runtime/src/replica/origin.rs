//! Where a state came from, as a row of it.

use minicbor::{Decode, Encode};

use crate::store::Space;

use super::Origin;

/// The name of the row.
const NAME: &[u8] = b"origin";

/// [`Origin`], and the entry of which it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Row {
    #[n(0)]
    index: u64,
    #[n(1)]
    term: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    membership: Vec<u8>,
}

impl Row {
    /// Its key.
    pub(super) const KEY: (Space, &[u8]) = (Space::Mark, NAME);

    pub(super) fn of(index: u64, Origin { term, membership }: Origin) -> Vec<u8> {
        let row = Self { index, term, membership };
        minicbor::to_vec(&row).expect("writing to memory does not fail")
    }

    /// What a row says of a state that contains everything through an index.
    pub(super) fn read(row: &[u8], applied: u64) -> Result<Option<Origin>, String> {
        let Self { index, term, membership } =
            minicbor::decode(row).map_err(|error| format!("the origin of the state: {error}"))?;
        Ok((index == applied).then_some(Origin { term, membership }))
    }
}

/// Whether a row is that.
pub(crate) fn is_row(space: Space, key: &[u8]) -> bool {
    (space, key) == Row::KEY
}
