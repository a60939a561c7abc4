//! The binary as a value: the kinds it knows, and its command line.

use std::ffi::OsString;
use std::process::ExitCode;

use twins::behavior::Behavior;
use twins::kind::{Kind, Kinds};

use crate::cli;

/// A Twinfold binary. The generic kind `device` is always in it.
#[derive(Debug, Default)]
pub struct Server {
    kinds: Kinds,
}

impl Server {
    /// With no kind but the generic one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more kind of twin.
    #[must_use]
    pub fn kind<B: Behavior>(mut self) -> Self {
        self.kinds = self.kinds.with(Kind::of::<B>());
        self
    }

    /// Does what the command line says, and returns how it went: the body of `main`.
    #[must_use]
    pub fn main(self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// As [`Server::main`], with a command line of the caller's: its first word is the program's name.
    #[must_use]
    pub fn run(self, line: impl IntoIterator<Item = OsString>) -> ExitCode {
        cli::run(line, self.kinds)
    }
}
