//! The folders of the streams: one for each shard, and for each generation of its state that is kept.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::files::Files;
use crate::store::Home;

/// Where the stream of a home is, in the folder of all streams: `N` for the first generation of shard `N`, `N.G` for a
/// later one.
pub(crate) fn folder(streams: &Path, home: Home) -> PathBuf {
    match home {
        Home { shard, generation: 0 } => streams.join(shard.to_string()),
        Home { shard, generation } => streams.join(format!("{shard}.{generation}")),
    }
}

/// Whose a folder is, by its name.
fn home(name: &str) -> Option<Home> {
    let (shard, generation) = name.split_once('.').unwrap_or((name, "0"));
    let home = Home { shard: shard.parse().ok()?, generation: generation.parse().ok()? };
    // No other spelling of a number.
    folder(Path::new(""), home).to_str().filter(|same| *same == name).map(|_| home)
}

/// The folders in which a shard has a stream, in the folder of all streams: one, unless its state was just replaced. Blocks.
///
/// # Errors
/// [`Error::Io`].
pub fn folders(files: &dyn Files, streams: &Path, shard: u32) -> Result<Vec<PathBuf>, Error> {
    let names = match files.folders(streams) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(Error::io("listing", streams))?,
    };
    let own = names.into_iter().filter(|name| home(name).is_some_and(|home| home.shard == shard));
    Ok(own.map(|name| streams.join(name)).collect())
}

/// Removes the folders of homes that are not needed, with what is in them.
pub(crate) fn remove(files: &dyn Files, streams: &Path, is_needed: impl Fn(Home) -> bool) -> io::Result<()> {
    let names = match files.folders(streams) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        if home(&name).is_some_and(|home| !is_needed(home)) {
            remove_one(files, &streams.join(name))?;
        }
    }
    Ok(())
}

/// Removes a folder with the files in it, if it is there.
pub(crate) fn remove_one(files: &dyn Files, folder: &Path) -> io::Result<()> {
    let names = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        files.remove(&folder.join(name))?;
    }
    files.remove_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::sim::Sim;

    #[test]
    fn only_folders_of_homes_that_are_not_needed_are_removed() {
        let sim = Sim::new(1);
        let streams = Path::new("/streams");
        for name in ["0", "1", "1.2", "1.3", "01", "1.0", "1.02", "2.x", "other"] {
            sim.create_folder(&streams.join(name)).unwrap();
            sim.create(&streams.join(name).join("file")).unwrap();
        }
        let current = [Home::first(0), Home { shard: 1, generation: 2 }];

        remove(&sim, streams, |home| current.contains(&home)).unwrap();
        remove(&sim, Path::new("/none"), |_| false).unwrap();

        assert_eq!(sim.folders(streams).unwrap(), ["0", "01", "1.0", "1.02", "1.2", "2.x", "other"]);
        assert_eq!(sim.list(&folder(streams, current[1])).unwrap(), ["file"]);
        assert_eq!(folders(&sim, streams, 1).unwrap(), [folder(streams, current[1])]);
        assert!(folders(&sim, streams, 2).unwrap().is_empty());
    }
}
