//! What can go wrong with a backup.

use std::io;

/// Why a backup cannot be taken or restored. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the node, or the archive itself, cannot be read or written.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The archive ends before its manifest.
    #[error("the backup is cut off after {files} whole files; take it again")]
    CutOff {
        /// How many files are whole.
        files: u64,
    },
    /// A file is not what the manifest says, or is none that a backup has.
    #[error("`{name}` in the backup is damaged: {why}; use another one")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is something else.
    #[error("this is no backup of a node: it does not begin with a file `backup`")]
    NotABackup,
    /// A later version wrote it.
    #[error(
        "the backup has format {found}, this version reads {}; use the version that wrote it",
        super::FORMAT
    )]
    Format {
        /// Its format.
        found: u32,
    },
    /// Retention dropped what the backup was to have.
    #[error(
        "the stream of shard {shard} was trimmed past its end while it was copied; take the backup again, or keep more"
    )]
    Overtaken {
        /// Whose.
        shard: u32,
    },
    /// The state store did not do its part.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The log did not.
    #[error("the log cannot be saved: {0}")]
    Log(String),
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn damaged(name: &str, why: impl Into<String>) -> Self {
        Self::Damaged { name: name.to_owned(), why: why.into() }
    }
}
