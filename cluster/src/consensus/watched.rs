//! Values that openraft's tasks watch, which wake whoever waits in the order in which they wait.
//!
//! tokio's own wakes in an order of chance, so that many who wait on many processors do not hold each other up. A group
//! has a few, and a simulation needs the same order each time.

use openraft::async_runtime::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// The kind of them.
#[derive(Debug)]
pub struct Watched;

/// Changes a value.
pub struct Sender<T>(Arc<Shared<T>>);

/// Sees a value, and waits for the next.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

struct Shared<T> {
    value: RwLock<T>,
    /// Raised under the value's lock.
    version: AtomicU64,
    bell: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

impl<T> Shared<T> {
    /// Nothing is left half done that a panic of whoever changed it would show.
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut value) {
            return false;
        }
        self.version.fetch_add(1, Ordering::Release);
        drop(value);
        self.bell.notify_waiters();
        true
    }

    fn receiver(self: &Arc<Self>, seen: u64) -> Receiver<T> {
        self.receivers.fetch_add(1, Ordering::AcqRel);
        Receiver { shared: self.clone(), seen }
    }
}

impl Watch for Watched {
    type Sender<T: Send + Sync> = Sender<T>;
    type Receiver<T: Send + Sync> = Receiver<T>;
    type Ref<'a, T: Send + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: Send + Sync>(init: T) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared {
            value: RwLock::new(init),
            version: AtomicU64::new(0),
            bell: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
        });
        let receiver = shared.receiver(0);
        (Sender(shared), receiver)
    }
}

impl<T: Send + Sync> WatchSender<Watched, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(SendError(value));
        }
        self.0.change(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.change(modify)
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.receiver(self.0.version.load(Ordering::Acquire))
    }
}

impl<T: Send + Sync> WatchReceiver<Watched, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            // It hears of whatever comes from here on.
            let rung = self.shared.bell.notified();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                return Err(RecvError(()));
            }
            rung.await;
        }
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version.load(Ordering::Acquire);
        value
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::AcqRel);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.bell.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receiver(self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn whoever_waits_is_woken_in_order_and_once_for_each_change_seen() {
        let (sender, receiver) = Watched::channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (mut receiver, woken) = (receiver.clone(), woken.clone());
                tokio::spawn(async move {
                    while receiver.changed().await.is_ok() {
                        woken.lock().unwrap().push((n, *receiver.borrow_watched()));
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;

        assert!(sender.send_if_modified(|value| std::mem::replace(value, 7) != 7));
        assert!(!sender.send_if_modified(|value| std::mem::replace(value, 7) != 7));
        tokio::task::yield_now().await;
        drop(sender);
        for task in tasks {
            task.await.unwrap();
        }

        assert_eq!(*woken.lock().unwrap(), (0..20).map(|n| (n, 7)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_the_end_is_still_seen_and_nobody_is_told_where_nobody_listens() {
        let (sender, mut receiver) = Watched::channel(0);
        sender.send(1).unwrap();
        drop(sender.clone());
        drop(sender);

        assert!(receiver.changed().await.is_ok());
        assert_eq!(*receiver.borrow_and_update(), 1);
        assert!(receiver.changed().await.is_err());

        let (sender, receiver) = Watched::channel(0);
        drop(receiver);
        assert!(sender.send(1).is_err());
        assert_eq!(*sender.borrow_watched(), 0);
        assert!(!sender.send_if_modified(|_| false));
    }
}
