//! `twinfold backup` and `twinfold restore`: a running node as one file, and a data folder made of it.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use runtime::backup::{self, Head};
use serde_json::json;

use super::client::Call;
use super::remote::Remote;
use super::{Error, note};
use crate::{node, restore};

/// Take a backup of a running node, while it serves.
#[derive(Args)]
#[command(
    after_help = "Example:\n  twinfold backup ./monday.tar\n\nEverything that the node acknowledged before is in it. It is written beside FILE first, and has the name\nonce it is whole and was read again."
)]
pub(super) struct Backup {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// Make a data folder of a backup.
#[derive(Args)]
#[command(
    after_help = "Example:\n  twinfold restore ./monday.tar --data ./data\n\nThe folder appears once everything was read and checked. Data that is there is never overwritten: data of the\nsame node that is not newer, or is damaged, is moved aside with --force."
)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder to make
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Move data aside that is there and not newer, also when it is damaged
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let Self { file, remote } = self;
        if file.exists() {
            return Err(Error::FileExists { file });
        }
        // It goes when anything fails.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let no_folder = |why| Error::NoFolder { folder: folder.to_owned(), why };
        let mut draft = tempfile::Builder::new().prefix(".backup-").tempfile_in(folder).map_err(no_folder)?;
        // It begins with checkpoints of all shards.
        let call = Call::post(&["backup"], &json!({})).waits(Duration::from_secs(60));
        remote.download(call, draft.as_file_mut())?;
        draft.as_file().sync_all()?;
        let read = BufReader::new(File::open(draft.path())?);
        let (head, summary) = backup::verify(read).map_err(Error::Backup)?;
        let kept = draft.persist_noclobber(&file).map_err(|error| error.error)?;
        drop(kept);
        File::open(folder).and_then(|folder| folder.sync_all())?;
        show(out, remote.json, &file, &head, summary.files, summary.bytes)?;
        out.flush()?;
        note(&format!("next: twinfold restore {} --data DIR", file.display()));
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let Self { file, data, force, json } = self;
        let restored = restore::run(&file, &data, force, node::log_options())?;
        show(out, json, &data, &restored.head, restored.files, restored.bytes)?;
        out.flush()?;
        if let Some(aside) = restored.aside {
            note(&format!("what was there is now {}", aside.display()));
        }
        let data = data.display();
        note(&match restored.is_sealed {
            false => format!("next: twinfold dev --data {data}"),
            true => format!(
                "no backup has the master key\nnext: put the one of the node that was saved into {data}/master.key, then: twinfold serve --data {data}"
            ),
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn show(
    out: &mut dyn Write,
    as_json: bool,
    path: &Path,
    head: &Head,
    files: u64,
    bytes: u64,
) -> io::Result<()> {
    let Head { node, generation, taken, .. } = head;
    let (path, taken) = (path.display().to_string(), taken.to_string());
    if as_json {
        let object = json!({
            "path": path, "node": node, "generation": generation, "taken": taken, "files": files, "bytes": bytes,
        });
        return writeln!(out, "{object}");
    }
    writeln!(out, "{path}: node {node}, generation {generation}, taken {taken}")
}
