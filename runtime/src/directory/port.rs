//! The port to the directory: what is committed of it, how to change it, and how to hear of changes.

use std::sync::Arc;

use tokio::sync::watch;

use super::audit::Line;
use super::{Directory, Entry, Refused};

/// Waits for newer versions.
pub type Listener = watch::Receiver<u64>;

/// The directory as it is committed. The cluster fills this port.
pub trait Definitions: Send + Sync + 'static {
    /// The newest version. It waits for nobody.
    fn current(&self) -> Arc<Directory>;

    /// Makes a change durable, and returns the version with it. With `expected` only if the directory still has that
    /// version.
    ///
    /// Blocks until the commit: not for the thread of an async runtime.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then, [`Refused::Log`] with `Unknown` excepted.
    fn change(&self, entry: Entry, expected: Option<u64>) -> Result<u64, Refused>;

    /// Turns when there is a newer version, which is its value.
    fn changes(&self) -> Listener;

    /// Shows the audit from line `from` on, with each entry as it may be shown, until `visit` returns false.
    ///
    /// Blocks: it reads the log from its beginning.
    ///
    /// # Errors
    /// [`Refused::Log`] when the log cannot be read.
    fn audit(&self, from: u64, visit: &mut dyn FnMut(Line, &Entry) -> bool) -> Result<(), Refused>;
}

/// What those who wait for changes hear them from.
#[derive(Debug)]
pub struct Changes(watch::Sender<u64>);

impl Changes {
    /// From this version on.
    pub fn new(version: u64) -> Self {
        Self(watch::Sender::new(version))
    }

    /// There is a newer one.
    pub fn announce(&self, version: u64) {
        self.0.send_replace(version);
    }

    /// Turns with each.
    pub fn listen(&self) -> Listener {
        self.0.subscribe()
    }
}
