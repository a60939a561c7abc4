//! `twinfold audit`: who changed who may what, and whether what one is told of that is whole.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use gateway::audit::{NotALine, fingerprint, read};
use runtime::directory::audit::{Broken, Chain, Fingerprint};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Call;
use super::remote::Remote;
use super::{Error as Failure, note};

/// Read the audit, and check it.
#[derive(Subcommand)]
pub(super) enum Audit {
    /// Print every change of who may what, oldest first, a JSON object a line
    #[command(after_help = "Example:\n  twinfold audit list > audit.jsonl")]
    List {
        /// Begin after that entry
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        at: Remote,
    },
    /// Check that no entry was changed, left out, or cut off at the end
    #[command(
        after_help = "Examples:\n  twinfold audit verify\n  twinfold audit verify audit.jsonl --head 7:5f0c...\n\nIt prints the head, LENGTH:HASH. Whoever keeps one can tell later, with --head, that nothing before it was rewritten.\nWithout one, the end of a file may have been cut off."
    )]
    Verify {
        /// What `audit list` printed, from the first entry on; else the node is asked
        file: Option<PathBuf>,
        /// A head that was printed before: the audit must lead to it
        #[arg(long, value_name = "LENGTH:HASH")]
        head: Option<Head>,
        #[command(flatten)]
        at: Remote,
    },
}

/// Why an audit is not whole. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("reading {}: {why}\nnext: name a file that `twinfold audit list` printed", file.display())]
    Unreadable { file: PathBuf, why: std::io::Error },
    #[error("line {line}: {why}\nnext: compare the file with the node's: twinfold audit list")]
    NotALine { line: u64, why: NotALine },
    #[error(
        "{0}\nnext: do not trust it; compare it with a copy that was kept elsewhere, or with a backup of the node"
    )]
    Broken(#[from] Broken),
    #[error(
        "the audit does not lead to the head {0}: it was cut off before, or rewritten\nnext: do not trust it; compare it with a copy that was kept elsewhere"
    )]
    OtherHead(String),
}

/// A head, as it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(Chain);

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    length: u64,
    hash: String,
}

impl Audit {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        match self {
            Self::List { after, at } => pages(&at, after, &mut |line| Ok(writeln!(out, "{line}")?))?,
            Self::Verify { file: Some(file), head, .. } => {
                let head = verify_file(&file, head)?;
                conclude(&head, out)?;
            }
            Self::Verify { file: None, head, at } => {
                // What is added meanwhile lies behind it.
                let now: Shown = at.call(Call::get(&["audit", "head"]))?.read()?;
                let hash = fingerprint(&now.hash).unwrap_or(Fingerprint([0; 32]));
                let now = Head(Chain { length: now.length, head: hash });
                let mut check = Check::new([Some(now), head].into_iter().flatten().collect());
                let mut number = 0;
                pages(&at, 0, &mut |line| {
                    number += 1;
                    Ok(check.line(number, line)?)
                })?;
                conclude(&check.end()?, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All lines of a node, page by page.
fn pages(
    at: &Remote,
    mut after: u64,
    visit: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let call = Call::get(&["audit"]).query("after", Some(after)).query("limit", Some(1_000));
        let page: Page = at.call(call)?.read()?;
        page.items.iter().try_for_each(|line| visit(line.get()))?;
        match page.next.and_then(|next| next.parse().ok()) {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

fn verify_file(file: &Path, head: Option<Head>) -> Result<Head, Error> {
    let unreadable = |why| Error::Unreadable { file: file.to_owned(), why };
    let lines = BufReader::new(File::open(file).map_err(unreadable)?).lines();
    let mut check = Check::new(head.into_iter().collect());
    for (line, number) in lines.zip(1..) {
        check.line(number, &line.map_err(unreadable)?)?;
    }
    check.end()
}

/// A walk along the chain, past the heads that it has to lead to.
struct Check {
    chain: Chain,
    heads: Vec<Head>,
}

impl Check {
    fn new(heads: Vec<Head>) -> Self {
        let mut check = Self { chain: Chain::NEW, heads };
        check.pass();
        check
    }

    fn line(&mut self, number: u64, line: &str) -> Result<(), Error> {
        let line = read(line).map_err(|why| Error::NotALine { line: number, why })?;
        line.follow(&mut self.chain)?;
        self.pass();
        Ok(())
    }

    fn pass(&mut self) {
        self.heads.retain(|Head(head)| *head != self.chain);
    }

    fn end(self) -> Result<Head, Error> {
        match self.heads.first() {
            Some(head) => Err(Error::OtherHead(head.to_string())),
            None => Ok(Head(self.chain)),
        }
    }
}

fn conclude(head: &Head, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{head}")?;
    out.flush()?;
    note(&format!("whole: {} entries; keep the head, and compare it later with --head", head.0.length));
    Ok(())
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.length, self.0.head)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(length, hash)| {
            Some(Self(Chain { length: length.parse().ok()?, head: fingerprint(hash)? }))
        });
        parts.ok_or_else(|| "a head is LENGTH:HASH, as `twinfold audit verify` prints it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use gateway::audit::show;
    use runtime::directory::{By, Change, Directory, Entry, Sort, check_name};
    use twins::time::Timestamp;

    use super::*;

    /// Three entries as `audit list` prints them, and where their chain ends.
    fn printed() -> (Vec<String>, Head) {
        let mut directory = Directory::default();
        let lines = (0..3).map(|n| {
            let name = check_name("a name", &format!("user-{n}")).unwrap();
            let roles = Default::default();
            let change = Change::PutPrincipal { name, sort: Sort::User, roles, disabled: false };
            let (at, tenant) = (Timestamp::from_millis(n), "default".to_owned());
            let entry = Entry { at, by: By::Folder, reason: None, tenant, change };
            let line = show(&directory.line(&entry)).to_string();
            directory.apply(&entry).unwrap();
            line
        });
        let lines = lines.collect();
        (lines, Head(directory.chain))
    }

    fn verify(lines: &[String], head: Option<Head>) -> Result<Head, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        verify_file(file.path(), head)
    }

    #[test]
    fn a_whole_file_leads_to_its_head() {
        let (lines, head) = printed();

        assert_eq!(verify(&lines, Some(head)).unwrap(), head);
        assert_eq!(head.to_string().parse(), Ok(head));
    }

    #[test]
    fn an_edited_a_missing_and_a_cut_entry_are_found() {
        let (lines, head) = printed();
        let refused = |lines: &[String]| verify(lines, Some(head)).unwrap_err().to_string();

        let edited = [lines[0].clone(), lines[1].replace("folder", "nobody"), lines[2].clone()];
        assert!(refused(&edited).contains("entry 2 was changed: its `by`"));
        let missing = [lines[0].clone(), lines[2].clone()];
        assert!(refused(&missing).starts_with("entry 2 is missing: entry 3 stands in its place"));
        assert!(refused(&lines[..2]).starts_with("the audit does not lead to the head 3:"));
    }
}
