//! Sweeping: the files of what was trimmed are removed, once no recovery can ask for them.
//!
//! A stream is opened where the last checkpoint recorded that it stood: in a segment that was written then. So a file
//! goes when its records are all before that segment. A sweep that is lost, with its power or its shard, loses nothing: the
//! log says again what is trimmed, or the next checkpoint has, and opening removes it.

use super::extent::Extent;
use super::{Error, Offset, index, segment};
use std::sync::Arc;

/// Files to be removed, on any thread. Several at once do it in order.
#[must_use = "the disk is free only after `remove`"]
pub struct Sweep {
    extent: Arc<Extent>,
    /// All whose records are before it.
    before: Offset,
}

impl Sweep {
    pub(super) fn new(extent: Arc<Extent>, before: Offset) -> Self {
        Self { extent, before }
    }

    /// Removes them, oldest first. Removed names are durable when it returns.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn remove(self) -> Result<(), Error> {
        let Self { extent, before } = self;
        extent.running()?;
        if extent.is_closed() {
            return Ok(());
        }
        // One after the other, so that no crash leaves a hole.
        extent.sweep(before, |first| {
            let path = segment::path(&extent.folder, first);
            let removed = index::remove(&*extent.files, &extent.folder, first);
            let removed = removed.and_then(|()| extent.files.remove(&path));
            let removed = removed.and_then(|()| extent.files.sync_folder(&extent.folder));
            removed.map_err(|error| extent.stop(Error::io("removing", &path)(error)))
        })
    }
}
