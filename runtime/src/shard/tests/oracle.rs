//! What must be true, worked out from the log alone by the simplest code there is.

use std::collections::BTreeMap;

use twins::id::TwinId;
use twins::name::Name;
use twins::twin::Twin;

use crate::log::Entry;
use crate::record::{Record, records};
use crate::shard::entry::Batch;
use crate::shard::erasing::erases;

/// All twins and all records that the log makes, from its first entry on.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) twins: BTreeMap<TwinId, Twin>,
    pub(super) records: Vec<Record>,
    /// Whose records are erased, up to which sequence.
    pub(super) erased: BTreeMap<TwinId, u64>,
    /// The first offsets of the stream's segments that are kept.
    pub(super) segments: Vec<u64>,
}

impl Oracle {
    pub(super) fn of(history: &[Entry]) -> Self {
        let mut oracle = Self { segments: vec![0], ..Self::default() };
        for entry in history {
            let batch = Batch::decode(&entry.payload).expect("what the shard wrote can be read");
            assert_eq!(batch.term, entry.id.term);
            for decided in &batch.decisions {
                let twin = oracle.twins.entry(decided.twin.clone()).or_default();
                let kind = twin.kind_name().cloned();
                assert!(twin.apply(&decided.transition), "a decision follows its predecessor");
                let kind = twin.kind_name().cloned().or(kind).unwrap_or_else(|| Name::fixed("unknown"));
                if erases(&decided.transition) {
                    oracle.erased.insert(decided.twin.clone(), decided.transition.sequence);
                }
                oracle.records.extend(records(&decided.twin, &kind, twin, &decided.transition));
            }
            let end = oracle.records.len() as u64;
            if batch.sealed && oracle.segments.last().is_some_and(|last| *last < end) {
                oracle.segments.push(end);
            }
            while oracle
                .segments
                .get(1)
                .is_some_and(|next| batch.trimmed.is_some_and(|before| *next <= before))
            {
                oracle.segments.remove(0);
            }
        }
        oracle
    }
}
