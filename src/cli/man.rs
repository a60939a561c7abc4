//! `twinfold man`: the manual, made of the grammar as `--help` is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};

use super::{Error, note};

/// Print a page of the manual, or write them all.
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  twinfold man twin set | man -l -\n",
    "  twinfold man --to ~/.local/share/man/man1",
))]
pub(super) struct Man {
    /// Of which verb; else of twinfold itself
    verb: Vec<String>,
    /// Write the pages of all verbs to this folder
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    to: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, command: Command, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let mut command = command.disable_help_subcommand(true);
        // Gives the verbs their full names.
        command.build();
        match self.to {
            Some(folder) => {
                let no_folder = |why| Error::NoFolder { folder: folder.clone(), why };
                std::fs::create_dir_all(&folder).map_err(no_folder)?;
                let pages = write(&command, &folder).map_err(no_folder)?;
                note(&format!("{pages} pages are in {}", folder.display()));
            }
            None => {
                let found = self.verb.iter().try_fold(&command, |at, word| at.find_subcommand(word));
                let unknown = || Error::UnknownVerb { verb: self.verb.join(" ") };
                clap_mangen::Man::new(found.ok_or_else(unknown)?.clone()).render(out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the page of a command and those of its verbs; how many.
fn write(command: &Command, folder: &Path) -> std::io::Result<usize> {
    let page = clap_mangen::Man::new(command.clone());
    page.generate_to(folder)?;
    let mut shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown.try_fold(1, |pages, verb| Ok(pages + write(verb, folder)?))
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    fn page(verb: &[&str]) -> Result<String, Error> {
        let mut out = Vec::new();
        let man = Man { verb: verb.iter().map(|&word| word.to_owned()).collect(), to: None };
        man.run(grammar(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_page_names_its_verbs() {
        let plain = |page: String| page.replace("\\-", "-");
        let command = grammar();
        let top = plain(page(&[]).unwrap());
        for noun in command.get_subcommands() {
            let name = noun.get_name();
            assert!(top.contains(&format!("twinfold-{name}(1)")), "{name} is in\n{top}");
            let below = plain(page(&[name]).unwrap());
            assert!(below.contains(&format!("twinfold-{name}")), "{below}");
            let shown = noun.get_subcommands().filter(|verb| !verb.is_hide_set());
            for verb in shown.map(Command::get_name) {
                assert!(below.contains(&format!("twinfold-{name}-{verb}(1)")), "{verb} is in\n{below}");
            }
        }
    }

    #[test]
    fn all_pages_go_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let man = Man { verb: vec![], to: Some(folder.path().to_owned()) };

        man.run(grammar(), &mut Vec::new()).unwrap();

        for page in ["twinfold.1", "twinfold-twin-set.1", "twinfold-dev.1"] {
            assert!(std::fs::metadata(folder.path().join(page)).unwrap().len() > 0, "{page}");
        }
    }

    #[test]
    fn an_unknown_verb_is_refused_with_where_the_verbs_are() {
        let refused = page(&["twin", "sit"]).unwrap_err().to_string();
        assert!(refused.contains("`twin sit`") && refused.ends_with("twinfold --help"), "{refused}");
    }
}
