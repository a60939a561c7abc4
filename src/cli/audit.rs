//! `twinfold audit`: who changed who may what, and whether what one is told of that is whole.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use gateway::audit::{NotALine, fingerprint, read};
use gateway::head::{Forged, SignedHead};
use runtime::directory::audit::{Broken, Chain};
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
    /// Print where the audit ends, signed by the node: keep it elsewhere, for `audit verify --head`
    #[command(after_help = "Example:\n  twinfold audit head > head.json")]
    Head {
        #[command(flatten)]
        at: Remote,
    },
    /// Check that no entry was changed, left out, or cut off at the end
    #[command(
        after_help = "Examples:\n  twinfold audit verify\n  twinfold audit verify --head head.json\n  twinfold audit verify audit.jsonl --head 7:5f0c...\n\nIt prints the head, LENGTH:HASH. Whoever keeps one, or a signed one of `audit head`, can tell later, with --head, that\nnothing before it was rewritten. Without one, the end of a file may have been cut off."
    )]
    Verify {
        /// What `audit list` printed, from the first entry on; else the node is asked
        file: Option<PathBuf>,
        /// A head that was printed before, or a file with a signed one: the audit must lead to it
        #[arg(long, value_name = "LENGTH:HASH|FILE")]
        head: Option<Kept>,
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
    #[error("{}: {why}\nnext: name a file that `twinfold audit head` printed, or a head LENGTH:HASH", file.display())]
    NotAHead { file: PathBuf, why: String },
    #[error(
        "the node signs with another key than the head that was kept\nnext: do not trust it, unless you changed its master key since; then keep a new head: twinfold audit head"
    )]
    OtherKey,
}

/// A head, as it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(Chain);

/// A head that somebody kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    Plain(Head),
    Signed(PathBuf),
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Audit {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        match self {
            Self::List { after, at } => pages(&at, after, &mut |line| Ok(writeln!(out, "{line}")?))?,
            Self::Head { at } => {
                let head: SignedHead = at.call(Call::get(&["audit", "head"]))?.read()?;
                head.check()
                    .map_err(|forged| Error::NotAHead { file: "the node".into(), why: forged.to_string() })?;
                writeln!(out, "{}", serde_json::to_string(&head).expect("it has a form in JSON"))?;
            }
            Self::Verify { file: Some(file), head, .. } => {
                let kept = head.map(Kept::read).transpose()?;
                let head = verify_file(&file, kept.map(|(head, _)| head))?;
                conclude(&head, out)?;
            }
            Self::Verify { file: None, head, at } => {
                // What is added meanwhile lies behind it.
                let now: SignedHead = at.call(Call::get(&["audit", "head"]))?.read()?;
                let kept = head.map(Kept::read).transpose()?;
                let heads = heads(&now, kept)?;
                let mut check = Check::new(heads);
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

/// Where the audit of a node has to lead to: where it says that it ends, and to what was kept.
fn heads(now: &SignedHead, kept: Option<(Head, Option<String>)>) -> Result<Vec<Head>, Error> {
    let forged = |forged: Forged| Error::NotAHead { file: "the node".into(), why: forged.to_string() };
    let mut heads = vec![Head(now.check().map_err(forged)?)];
    if let Some((head, key)) = kept {
        if key.is_some_and(|key| key != now.key) {
            return Err(Error::OtherKey);
        }
        heads.push(head);
    }
    Ok(heads)
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

impl Kept {
    /// The head, and the key that signed it.
    fn read(self) -> Result<(Head, Option<String>), Error> {
        let file = match self {
            Self::Plain(head) => return Ok((head, None)),
            Self::Signed(file) => file,
        };
        let text =
            std::fs::read_to_string(&file).map_err(|why| Error::Unreadable { file: file.clone(), why })?;
        let not_a_head = |why: String| Error::NotAHead { file: file.clone(), why };
        let head: SignedHead = serde_json::from_str(&text).map_err(|error| not_a_head(error.to_string()))?;
        let chain = head.check().map_err(|forged| not_a_head(forged.to_string()))?;
        Ok((Head(chain), Some(head.key)))
    }
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(head) => Ok(Self::Plain(head)),
            Err(_) if Path::new(text).is_file() => Ok(Self::Signed(text.into())),
            Err(why) => Err(format!("{why}, or a file that `twinfold audit head` printed")),
        }
    }
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
    use gateway::trust::vault::Vault;
    use runtime::directory::{By, Change, Directory, Entry, Sort, check_name};
    use twins::time::Timestamp;

    use super::*;

    /// Three entries as `audit list` prints them, and where their chain ends.
    fn printed() -> (Vec<String>, Head) {
        printed_with("user")
    }

    fn printed_with(name: &str) -> (Vec<String>, Head) {
        let mut directory = Directory::default();
        let lines = (0..3).map(|n| {
            let name = check_name("a name", &format!("{name}-{n}")).unwrap();
            let roles = Default::default();
            let change =
                Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(false) };
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

    #[test]
    fn a_log_that_was_cut_or_rewritten_does_not_lead_to_the_signed_head_that_was_kept() {
        let (lines, Head(chain)) = printed();
        let (ours, theirs) = (Vault::new([1; 32]), Vault::new([2; 32]));
        let signed = SignedHead::sign(&ours, &chain, Timestamp::ZERO);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), serde_json::to_string(&signed).unwrap()).unwrap();
        let kept = || Kept::Signed(file.path().to_owned()).read().unwrap();
        assert_eq!(verify(&lines, Some(kept().0)).unwrap(), Head(chain));

        // A chain that is whole, and another one.
        let rewritten: Vec<_> = printed_with("someone-else").0;
        assert!(verify(&rewritten, None).is_ok());
        assert!(matches!(verify(&rewritten, Some(kept().0)), Err(Error::OtherHead(_))));
        assert!(matches!(verify(&lines[..2], Some(kept().0)), Err(Error::OtherHead(_))));
        // And a node that says so itself, without the key, or with a head that was changed.
        let forged = SignedHead::sign(&theirs, &printed_with("someone-else").1.0, Timestamp::ZERO);
        assert!(matches!(heads(&forged, Some(kept())), Err(Error::OtherKey)));
        let changed = SignedHead { key: signed.key.clone(), ..forged };
        assert!(matches!(heads(&changed, None), Err(Error::NotAHead { .. })));
        std::fs::write(file.path(), serde_json::to_string(&changed).unwrap()).unwrap();
        assert!(matches!(Kept::Signed(file.path().to_owned()).read(), Err(Error::NotAHead { .. })));
    }
}
