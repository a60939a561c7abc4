//! Listing: the ids that the state store has, and what is committed since.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use twins::id::TwinId;
use twins::twin::Twin;

use crate::store::{Home, Space, StateStore};

use super::Shard;
use super::resident::Slot;

/// What a shard knows of ids that its state store does not, or no longer rightly.
pub(crate) struct Overlay {
    home: Home,
    tenant: String,
    after: Option<TwinId>,
    limit: usize,
    there: BTreeSet<TwinId>,
    gone: BTreeSet<TwinId>,
}

impl Shard {
    /// The generation of its state that it was read from.
    pub(crate) fn home(&self) -> Home {
        self.home
    }

    /// A twin as it is committed, if it is here.
    pub(crate) fn look(&self, id: &TwinId) -> Option<Arc<Twin>> {
        match self.twins.get(id) {
            Some(Slot::Resident(resident)) => Some(resident.committed.clone()),
            _ => None,
        }
    }

    /// The registered ids of a tenant after `after`, as far as they are not in the state store.
    pub(crate) fn overlay(&self, tenant: &str, after: Option<&TwinId>, limit: usize) -> Overlay {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for newer in [&self.dirty, &self.writing] {
            // What comes after as many as were asked for is not listed, whether it is there or gone.
            let mut left = limit;
            for id in newer.range((from, Bound::Unbounded)).filter(|id| id.tenant() == tenant) {
                let Some(Slot::Resident(resident)) = self.twins.get(id) else { continue };
                let exists = resident.committed.exists();
                let ids = if exists { &mut there } else { &mut gone };
                ids.insert(id.clone());
                left -= usize::from(exists && left > 0);
                if left == 0 {
                    break;
                }
            }
        }
        let (home, tenant, after) = (self.home, tenant.to_owned(), after.cloned());
        Overlay { home, tenant, after, limit, there, gone }
    }
}

impl Overlay {
    /// How many ids it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.there.len() + self.gone.len()
    }

    /// The ids in order, at most as many as were asked for. Blocks on the state store.
    pub(crate) fn merge(self, store: &dyn StateStore) -> Result<Vec<TwinId>, String> {
        let Self { home, tenant, after, limit, mut there, gone } = self;
        let first = format!("{tenant}/");
        let mut last = after.map_or_else(|| first.clone().into_bytes(), |id| id.as_str().as_bytes().to_vec());
        let mut found = 0;
        while found < limit {
            let range = (Bound::Excluded(last.as_slice()), Bound::Unbounded);
            let rows =
                store.keys(home, Space::Registered, range, limit).map_err(|error| error.to_string())?;
            let Some(key) = rows.last() else { break };
            let key = key.clone();
            let ids = rows.iter().map_while(|key| std::str::from_utf8(key).ok());
            let ids = ids.take_while(|id| id.starts_with(&first)).filter_map(|id| TwinId::parse(id).ok());
            let before = there.len();
            let (mut seen, rows) = (0, rows.len());
            for id in ids {
                seen += 1;
                if !gone.contains(&id) {
                    there.insert(id);
                }
            }
            found += there.len() - before;
            if seen < rows {
                break;
            }
            last = key;
        }
        Ok(there.into_iter().take(limit).collect())
    }
}
