//! The cut of a checkpoint: what must be synced before it may record the end.

use super::extent::Extent;
use super::{Error, Offset};
use crate::files::File;
use std::sync::Arc;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The offset after its last record.
    pub end: Offset,
    /// The first offset of the segment that is written.
    pub tail: Offset,
    /// The first offset that is kept.
    pub earliest: Offset,
}

/// What a checkpoint must sync. Dropping it loses nothing: the next one takes it over.
#[must_use = "the end may only be recorded after `sync`"]
pub struct Cut {
    extent: Arc<Extent>,
    place: Place,
    files: Vec<Arc<dyn File>>,
}

impl Cut {
    pub(super) fn new(extent: Arc<Extent>, place: Place, files: Vec<Arc<dyn File>>) -> Self {
        Self { extent, place, files }
    }

    /// Where the stream stood.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Makes everything before the place's end durable, and answers the place.
    ///
    /// # Errors
    /// [`Error::Stopped`], for this and everything later: what a failed sync left behind, nobody knows.
    pub fn sync(self) -> Result<Place, Error> {
        self.extent.running()?;
        let folder = &self.extent.folder;
        let mut synced = self.files.iter().try_for_each(|file| file.sync_data());
        if self.place.tail > self.extent.named() {
            synced = synced.and_then(|()| self.extent.files.sync_folder(folder));
        }
        synced.map_err(|error| self.extent.stop(Error::io("syncing", folder)(error)))?;
        self.extent.mark_synced(self.place);
        self.extent.ask_for_synced();
        Ok(self.place)
    }
}
