//! Taking a backup: everything is read from one snapshot of the state store, and the streams up to where it ends.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use twins::time::Timestamp;

use crate::files::Files;
use crate::store::StateStore;

use super::archive::Packer;
use super::{Definitions, Error, Head, part};

/// What a backup is made of.
pub(crate) struct Source {
    pub(crate) node: (u64, u64),
    pub(crate) shards: u32,
    pub(crate) taken: Timestamp,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) streams: PathBuf,
    pub(crate) definitions: Option<Arc<dyn Definitions>>,
}

impl Source {
    /// Writes the archive. Blocks. At any time no more than a file of rows, or a piece of a stream, is in memory.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        let failed = Error::io("writing the backup");
        let snapshot = self.store.snapshot()?;
        let mut packer = Packer::new(out);
        let (node, generation) = self.node;
        let head = Head { node, generation, shards: self.shards, taken: self.taken }.to_string();
        packer.add("backup", head.len() as u64, head.as_bytes()).map_err(&failed)?;
        if let Some(definitions) = &self.definitions {
            let saved = definitions.save().map_err(Error::Log)?;
            packer.add("log", saved.len() as u64, saved.as_slice()).map_err(&failed)?;
        }
        let part = part::Source { snapshot: &*snapshot, files: &*self.files, streams: &self.streams };
        for shard in 0..self.shards {
            part.add(&mut packer, shard)?;
        }
        packer.finish().map_err(failed).map(drop)
    }
}
