//! A group's snapshot as openraft hands it about: where the state is, and never its bytes.
//!
//! A shard's state on the disk is its snapshot; nothing is built for it. What openraft knows of it is an entry and the
//! membership there. A state that comes from another node brings both along: the log of this node has none of the entries
//! that would tell them. They are kept with the state until the log has them too, so that a crash in between is mended.

use super::body::{Body, Place};
use super::entries::Entries;
use super::retention::Hold;
use super::states::{Arrived, States};
use super::types::{self, RaftLeader, StoredMembership};
use crate::wal::{Kind, Record};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use openraft::BasicNode;
use openraft::storage::SnapshotMeta;
use runtime::log::LogId;
use runtime::replica::{Origin, Saved};
use std::io;
use std::sync::Arc;

/// What openraft knows of a snapshot.
pub(super) type Meta = SnapshotMeta<RaftLeader, u64, BasicNode>;

/// What openraft takes for a snapshot.
pub enum Snap {
    /// It is known, and cannot be sent from here.
    Known,
    /// The state that is durable here.
    Saved(Source),
    /// A state that has come from another node.
    Arrived(Arrived),
}

/// A state that is durable here, with all that follows it in the log.
pub struct Source {
    pub(super) states: Arc<States>,
    pub(super) entries: Entries,
    pub(super) hold: Hold,
}

/// An entry, and the membership that holds there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) id: LogId,
    pub(super) membership: Option<(LogId, Bytes)>,
}

impl Point {
    /// Where a group's log has an index, if it is there or was the last to be dropped.
    pub(super) fn find(entries: &Entries, index: u64) -> Option<Self> {
        let id = entries.id(index)?;
        Some(Self { id, membership: entries.wal().membership(entries.group(), index) })
    }

    pub(super) fn meta(&self) -> io::Result<Meta> {
        let membership = self.membership.as_ref();
        let last_membership =
            membership.map(|(id, bytes)| types::stored_membership(*id, bytes)).transpose()?;
        let last_membership = last_membership.unwrap_or_default();
        Ok(Meta { last_log_id: Some(types::to_raft(self.id)), last_membership })
    }

    pub(super) fn from_meta(meta: &Meta) -> io::Result<Self> {
        let id = meta.last_log_id.ok_or_else(|| io::Error::other("a state without any entry"))?;
        Ok(Self { id: types::from_raft(&id), membership: stored(&meta.last_membership) })
    }

    /// What a log has to say when its group has a state that came from another node.
    pub(super) fn records(&self, group: u32) -> Vec<Record> {
        // In this order: the membership is an entry no more, and still holds.
        let mut records = vec![Record::purged(group, self.id)];
        records.extend(self.membership.clone().map(|(id, bytes)| {
            let membership = Record::entry(group, Kind::Membership, id, bytes);
            Record { moved: true, ..membership }
        }));
        records
    }

    /// What is kept with a state that makes a group's state in a life of it.
    pub(super) fn origin(&self, life: u64) -> Origin {
        let (place, bytes) = self.membership.clone().unzip();
        let (place, bytes) = (place.map(Place::from), bytes.as_deref().unwrap_or_default());
        let mut membership = Vec::new();
        Came { life, place, bytes }.write(&mut membership);
        Origin { term: self.id.term, membership }
    }

    /// The life in which a saved state came from another node, and where it stood; none if it was made here.
    pub(super) fn of(saved: &Saved) -> io::Result<Option<(u64, Self)>> {
        let Some(Origin { term, membership }) = &saved.origin else { return Ok(None) };
        let Came { life, place, bytes } = Came::read(membership).map_err(io::Error::other)?;
        let membership = place.map(|place| (LogId::from(place), Bytes::copy_from_slice(bytes)));
        Ok(Some((life, Self { id: LogId { term: *term, index: saved.applied }, membership })))
    }
}

fn stored(membership: &StoredMembership) -> Option<(LogId, Bytes)> {
    let id = membership.log_id().as_ref().map(types::from_raft)?;
    Some((id, types::membership_from_raft(membership.membership()).encode().into()))
}

/// How a state that came is described beside it.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Came<'b> {
    /// How often the group had been forgotten.
    #[n(0)]
    life: u64,
    #[n(1)]
    place: Option<Place>,
    #[cbor(b(2), with = "minicbor::bytes")]
    bytes: &'b [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_state_came_from_is_read_as_it_was_written() {
        let id = |index| LogId { term: 3, index };
        for membership in [None, Some((id(4), Bytes::from_static(b"members")))] {
            let point = Point { id: id(9), membership };

            let saved = Saved { applied: 9, origin: Some(point.origin(2)) };

            assert_eq!(Point::of(&saved).unwrap(), Some((2, point)));
        }
        assert_eq!(Point::of(&Saved { applied: 9, origin: None }).unwrap(), None);
    }
}
