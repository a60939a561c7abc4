//! Watching one twin: whoever waits for a change of it is woken by the commit that makes one.
//!
//! Nothing here is durable. A watch is put up before its twin is read, so that no change falls between the two. It keeps
//! the newest state only, so that one that is slow makes nothing grow; it is gone when it is dropped. While a shard has
//! none, a commit costs it one load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use twins::id::TwinId;
use twins::rejection::{Code, Rejection};
use twins::twin::Twin;

/// How many watches there may be on a node: half of the connections that its API takes by default, so that calls which
/// wait leave room for calls which do not. Each takes about 300 bytes, and holds one state of its twin.
pub const WATCHES_MAX: usize = 512;
/// How many of one twin.
pub const WATCHES_OF_ONE_MAX: usize = 16;

/// What a watch hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The twin is now this: committed.
    Twin(Arc<Twin>),
    /// It may have changed: it has to be read.
    Perhaps,
    /// A newer watch for [`Whom::Newest`] took the place of this one.
    TakenOver,
}

/// For whom a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom {
    /// For one of many.
    Any,
    /// For the newest of its twin alone: the one before hears [`Changed::TakenOver`].
    Newest,
}

/// All watches of a node.
pub(crate) struct Watches {
    all: AtomicUsize,
    shards: Box<[Watched]>,
}

/// The watches on a shard's twins.
#[derive(Default)]
struct Watched {
    count: AtomicUsize,
    twins: Mutex<HashMap<TwinId, Vec<Entry>>>,
}

struct Entry {
    whom: Whom,
    sender: Arc<watch::Sender<Changed>>,
}

/// A watch on one twin.
pub struct Watch {
    watches: Arc<Watches>,
    shard: u32,
    twin: TwinId,
    sender: Arc<watch::Sender<Changed>>,
    changed: watch::Receiver<Changed>,
}

impl Watches {
    pub(crate) fn new(shards: u32) -> Self {
        Self { all: AtomicUsize::new(0), shards: (0..shards).map(|_| Watched::default()).collect() }
    }

    /// Puts up a watch.
    ///
    /// # Errors
    /// `too-many` past [`WATCHES_MAX`] or [`WATCHES_OF_ONE_MAX`].
    pub(crate) fn watch(self: &Arc<Self>, shard: u32, twin: TwinId, whom: Whom) -> Result<Watch, Rejection> {
        let (sender, changed) = watch::channel(Changed::Perhaps);
        let sender = Arc::new(sender);
        self.shards[shard as usize].change(|twins| {
            if self.all.load(Ordering::Relaxed) >= WATCHES_MAX {
                let why = format!("{WATCHES_MAX} calls wait for twins to change, which is the most");
                return Err(Rejection::new(Code::TooMany, why));
            }
            let entries = twins.entry(twin.clone()).or_default();
            if whom == Whom::Newest {
                let before = entries.iter().filter(|entry| entry.whom == Whom::Newest);
                before.for_each(|entry| drop(entry.sender.send_replace(Changed::TakenOver)));
                let count = entries.len();
                entries.retain(|entry| entry.whom != Whom::Newest);
                self.all.fetch_sub(count - entries.len(), Ordering::Relaxed);
            }
            if entries.len() >= WATCHES_OF_ONE_MAX {
                let why = format!("{WATCHES_OF_ONE_MAX} calls wait for `{}` to change", twin.id());
                return Err(Rejection::new(Code::TooMany, why));
            }
            entries.push(Entry { whom, sender: sender.clone() });
            self.all.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })?;
        Ok(Watch { watches: self.clone(), shard, twin, sender, changed })
    }

    /// These twins were committed.
    pub(crate) fn committed(&self, shard: u32, twins: &[(TwinId, Arc<Twin>)]) {
        let watched = &self.shards[shard as usize];
        if watched.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let watchers = watched.lock();
        for (id, twin) in twins {
            for entry in watchers.get(id).into_iter().flatten() {
                entry.sender.send_replace(Changed::Twin(twin.clone()));
            }
        }
    }

    /// The shard began again: its twins may have changed without anybody's having said so.
    pub(crate) fn began_again(&self, shard: u32) {
        for entry in self.shards[shard as usize].lock().values().flatten() {
            entry.sender.send_replace(Changed::Perhaps);
        }
    }
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TwinId, Vec<Entry>>> {
        // Nobody panics while holding it.
        self.twins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<TwinId, Vec<Entry>>) -> T) -> T {
        let mut twins = self.lock();
        let changed = change(&mut twins);
        self.count.store(twins.len(), Ordering::Release);
        changed
    }
}

impl Watch {
    /// Waits until the twin has changed. What came since the last time is one change. Cancel safe.
    pub async fn changed(&mut self) -> Changed {
        // This watch holds a sender, so that the channel is open.
        let _open = self.changed.changed().await;
        self.changed.borrow_and_update().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.shards[self.shard as usize].change(|twins| {
            let Some(entries) = twins.get_mut(&self.twin) else { return };
            let count = entries.len();
            entries.retain(|entry| !Arc::ptr_eq(&entry.sender, &self.sender));
            self.watches.all.fetch_sub(count - entries.len(), Ordering::Relaxed);
            if entries.is_empty() {
                twins.remove(&self.twin);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(id: &str) -> TwinId {
        TwinId::in_default_tenant(id).unwrap()
    }

    /// What a watch has heard and not looked at.
    fn heard(watch: &mut Watch) -> Option<Changed> {
        watch.changed.has_changed().unwrap().then(|| watch.changed.borrow_and_update().clone())
    }

    #[test]
    fn a_watch_hears_of_its_twin_alone_and_until_it_goes() {
        let watches = Arc::new(Watches::new(2));
        let mut watch = watches.watch(1, twin("a"), Whom::Any).unwrap();
        let state = Arc::new(Twin::default());

        watches.committed(1, &[(twin("b"), state.clone())]);
        assert_eq!(heard(&mut watch), None);
        watches.committed(1, &[(twin("a"), state.clone())]);
        assert_eq!(heard(&mut watch), Some(Changed::Twin(state)));
        watches.began_again(1);
        assert_eq!(heard(&mut watch), Some(Changed::Perhaps));

        drop(watch);
        assert_eq!(watches.all.load(Ordering::Relaxed), 0);
        assert_eq!(watches.shards[1].count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_newest_takes_over_and_leaves_the_others_alone() {
        let watches = Arc::new(Watches::new(1));
        let mut any = watches.watch(0, twin("a"), Whom::Any).unwrap();
        let mut older = watches.watch(0, twin("a"), Whom::Newest).unwrap();
        let mut newer = watches.watch(0, twin("a"), Whom::Newest).unwrap();

        assert_eq!(heard(&mut older), Some(Changed::TakenOver));
        drop(older);
        watches.committed(0, &[(twin("a"), Arc::default())]);

        assert!(heard(&mut any).is_some() && heard(&mut newer).is_some());
        assert_eq!(watches.all.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn there_are_only_so_many_of_one_twin() {
        let watches = Arc::new(Watches::new(1));
        let held: Vec<_> =
            (0..WATCHES_OF_ONE_MAX).map(|_| watches.watch(0, twin("a"), Whom::Any).unwrap()).collect();

        assert_eq!(watches.watch(0, twin("a"), Whom::Any).err().unwrap().code(), Code::TooMany);
        assert!(watches.watch(0, twin("b"), Whom::Any).is_ok());

        drop(held);
        assert!(watches.watch(0, twin("a"), Whom::Any).is_ok());
    }
}
