//! `twinfold completions`: what a shell needs to complete verbs and flags.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Error;

/// Print the completions of a shell.
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  twinfold completions bash > ~/.local/share/bash-completion/completions/twinfold\n",
    "  twinfold completions zsh > ~/.zfunc/_twinfold\n",
    "  twinfold completions fish > ~/.config/fish/completions/twinfold.fish",
))]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: Command, out: &mut dyn Write) -> Result<ExitCode, Error> {
        // Its generator takes a failed write for a bug, and a reader may close the pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "twinfold", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    #[test]
    fn each_shell_completes_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            Completions { shell }.run(grammar(), &mut script).unwrap();

            let script = String::from_utf8(script).unwrap();
            for noun in grammar().get_subcommands() {
                for word in noun.get_subcommands().chain([noun]).map(Command::get_name) {
                    assert!(script.contains(word), "{shell} completes {word}");
                }
            }
        }
    }
}
