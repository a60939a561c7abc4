//! Where the master key comes from: a file, the environment, or whatever else keeps keys, behind one port.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use super::vault::{self, random};

/// What the text of a key may have at most: more is none, and is not read.
const TEXT_BYTES_MAX: u64 = 256;

/// Keeps the master key: a key management service, a hardware module, or a file.
pub trait Kms: Send + Sync {
    /// The master key. It is asked for once, when the node starts; it may block.
    ///
    /// # Errors
    /// Why there is none.
    fn master_key(&self) -> Result<[u8; 32], Error>;
}

/// A file that nobody but its owner may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKms {
    path: PathBuf,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvKms {
    variable: String,
}

/// Why there is no master key. None of these shows anything of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or cannot be read.
    #[error("reading the master key {}: {why}; name the file that has it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Others may read the file.
    #[error(
        "the master key {} may be read by others (mode {mode:03o}); run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Who may what with it.
        mode: u32,
    },
    /// The variable is not set, or is no text.
    #[error("{0} is not set; set it to the master key, or name a file that has it")]
    Unset(String),
    /// What is there is no key.
    #[error(
        "the master key in {0} is not 32 bytes in base64 or in 64 hexadecimal digits; `openssl rand -base64 32` makes one"
    )]
    Malformed(String),
    /// The file could not be made.
    #[error("making the master key {}: {why}; see whether its folder may be written to", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// There are no random numbers to make one of.
    #[error(transparent)]
    Random(#[from] vault::Error),
}

impl FileKms {
    /// The key in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes a new key where there is no such file yet, for nobody but its owner to read, and durable when this returns.
    /// One that is there stays. Returns whether it made one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(&self) -> Result<bool, Error> {
        self.keep(&random()?)
    }

    /// Keeps a key that was made elsewhere, in the same way.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, key: &[u8; 32]) -> Result<bool, Error> {
        let unwritable = |why| Error::Unwritable { path: self.path.clone(), why };
        if self.path.try_exists().map_err(unwritable)? {
            return Ok(false);
        }
        let text = BASE64_STANDARD.encode(key);
        // Whoever finds the file finds the whole key: half of one would be no key, and its node would not start.
        let beside = self.path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            // Unlike a rename, a link takes nobody's place: of two who make a key at once, one does.
            let linked = std::fs::hard_link(&beside, &self.path);
            std::fs::remove_file(&beside)?;
            let is_made = match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                linked => linked.map(|()| true)?,
            };
            File::open(
                self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")),
            )?
            .sync_all()?;
            Ok(is_made)
        };
        write().map_err(unwritable)
    }
}

impl EnvKms {
    /// The key in the variable of this name.
    pub fn new(variable: impl Into<String>) -> Self {
        Self { variable: variable.into() }
    }
}

impl Kms for FileKms {
    fn master_key(&self) -> Result<[u8; 32], Error> {
        let path = || self.path.clone();
        let read = || {
            let file = File::open(&self.path)?;
            let mode = file.metadata()?.mode() & 0o777;
            let mut text = String::new();
            file.take(TEXT_BYTES_MAX).read_to_string(&mut text).map(|_| (mode, text))
        };
        let (mode, text) = read().map_err(|why| Error::Unreadable { path: path(), why })?;
        if mode & 0o077 != 0 {
            return Err(Error::Open { path: path(), mode });
        }
        parse(&text).ok_or_else(|| Error::Malformed(self.path.display().to_string()))
    }
}

impl Kms for EnvKms {
    fn master_key(&self) -> Result<[u8; 32], Error> {
        let text = std::env::var(&self.variable).map_err(|_| Error::Unset(self.variable.clone()))?;
        parse(&text).ok_or_else(|| Error::Malformed(self.variable.clone()))
    }
}

/// 32 bytes, in hexadecimal digits or in base64 of either alphabet.
fn parse(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let bytes = match text.len() {
        64 => {
            let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
            digits?.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
        }
        _ => {
            let text = text.trim_end_matches('=');
            BASE64_STANDARD_NO_PAD.decode(text).or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text)).ok()?
        }
    };
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_read_in_either_writing() {
        let key: [u8; 32] = std::array::from_fn(|n| n as u8 * 8 + 7);
        let hexadecimal: String = key.iter().map(|byte| format!("{byte:02x}")).collect();

        for text in [
            BASE64_STANDARD.encode(key),
            BASE64_URL_SAFE_NO_PAD.encode(key),
            format!("  {}\n", BASE64_STANDARD_NO_PAD.encode(key)),
            hexadecimal.to_uppercase(),
            hexadecimal,
        ] {
            assert_eq!(parse(&text), Some(key), "{text}");
        }
        for text in ["", "secret", &BASE64_STANDARD.encode([1; 31]), &"g".repeat(64), &"ä".repeat(32)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kms = FileKms::new(folder.path().join("master.key"));

        assert!(kms.make().unwrap());
        let key = kms.master_key().unwrap();

        assert!(!kms.make().unwrap());
        assert_eq!(kms.master_key().unwrap(), key);
        assert_eq!(fs::metadata(&kms.path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let kms = FileKms::new(folder.path().join("master.key"));
        let refused = || kms.master_key().unwrap_err().to_string();

        assert!(refused().contains("name the file that has it"));
        fs::write(&kms.path, "s3cret").unwrap();
        fs::set_permissions(&kms.path, Permissions::from_mode(0o640)).unwrap();
        assert!(refused().contains("run `chmod 600 "), "{}", refused());
        fs::set_permissions(&kms.path, Permissions::from_mode(0o600)).unwrap();
        assert!(refused().contains("`openssl rand -base64 32` makes one"), "{}", refused());
        assert!(!refused().contains("s3cret"));
        let unset = EnvKms::new("TWINFOLD_TEST_THAT_NOBODY_SETS").master_key().unwrap_err();
        assert!(unset.to_string().contains("TWINFOLD_TEST_THAT_NOBODY_SETS is not set"));
    }
}
