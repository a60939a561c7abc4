//! The master key of a node: where it is kept, and that a new folder gets one.

use std::path::{Path, PathBuf};

use gateway::trust::master::{EnvKms, Error, FileKms, Kms};

/// The variable that may hold it.
const VARIABLE: &str = "TWINFOLD_MASTER_KEY";
/// The file in the data folder that has it where nothing else is said.
pub(crate) const FILE: &str = "master.key";

/// The master key: from the file that was named, else from the environment, else from the data folder.
pub(crate) fn open(data: &Path, named: Option<PathBuf>) -> Result<[u8; 32], Error> {
    match named {
        Some(file) => FileKms::new(file).master_key(),
        None if is_in_the_environment() => EnvKms::new(VARIABLE).master_key(),
        None => FileKms::new(data.join(FILE)).master_key(),
    }
}

/// Makes one for a new data folder, unless the environment has it. A folder in use never gets another one: what was sealed
/// under the one that it lost would only be found out device by device.
pub(crate) fn make(data: &Path) -> Result<(), Error> {
    if !is_in_the_environment() {
        FileKms::new(data.join(FILE)).make()?;
    }
    Ok(())
}

fn is_in_the_environment() -> bool {
    std::env::var_os(VARIABLE).is_some()
}
