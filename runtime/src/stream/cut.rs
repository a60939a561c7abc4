//! The cut of a checkpoint: what must be synced before it may record the end.

use super::extent::Extent;
use super::{Error, Offset};
use crate::files::File;
use std::sync::Arc;

/// What a checkpoint must sync. Dropping it loses nothing: the next one takes it over.
#[must_use = "the end may only be recorded after `sync`"]
pub struct Cut {
    extent: Arc<Extent>,
    end: Offset,
    files: Vec<Arc<dyn File>>,
    has_new_names: bool,
}

impl Cut {
    pub(super) fn new(
        extent: Arc<Extent>,
        end: Offset,
        files: Vec<Arc<dyn File>>,
        has_new_names: bool,
    ) -> Self {
        Self { extent, end, files, has_new_names }
    }

    /// Where the stream ended.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Makes everything before [`Cut::end`] durable, and answers that end.
    ///
    /// # Errors
    /// [`Error::Stopped`], for this and everything later: what a failed sync left behind, nobody knows.
    pub fn sync(self) -> Result<Offset, Error> {
        self.extent.running()?;
        let folder = &self.extent.folder;
        let mut synced = self.files.iter().try_for_each(|file| file.sync_data());
        if self.has_new_names {
            synced = synced.and_then(|()| self.extent.files.sync_folder(folder));
        }
        synced.map_err(|error| self.extent.stop(Error::io("syncing", folder)(error)))?;
        self.extent.mark_synced(self.end);
        Ok(self.end)
    }
}
