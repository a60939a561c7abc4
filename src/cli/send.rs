//! `twinfold twin send`: a command, and what becomes of it.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::client::Call;
use super::command;
use super::remote::Remote;
use super::value::Value;
use super::{Error, note};

/// A command to be sent.
#[derive(Args)]
pub(super) struct Send {
    /// The device
    id: String,
    /// What to do
    name: String,
    /// JSON, or a word
    #[arg(allow_negative_numbers = true)]
    payload: Option<Value>,
    /// It expires after so many seconds, at most 30 days, which is what it gets where nothing is said
    #[arg(long, value_name = "S")]
    ttl: Option<f64>,
    /// Whether it waits in line, or supersedes those of its name that have not ended
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Whether the device is expected to say what became of it
    #[arg(long, value_enum, default_value_t)]
    answer: Expectation,
    /// Wait until it has ended, and fail unless it was done
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    at: Remote,
}

#[derive(Clone, Copy, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Queue,
    Latest,
}

#[derive(Clone, Copy, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Expectation {
    #[default]
    None,
    Expected,
}

/// The body of the call.
#[derive(Serialize)]
struct Order<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<f64>,
    mode: Mode,
    answer: Expectation,
}

/// A command that was taken.
#[derive(Deserialize)]
pub(super) struct Taken {
    id: String,
    state: String,
}

impl Send {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let Self { id, name, payload, ttl, mode, answer, wait, at } = self;
        let order = Order { name: &name, payload: payload.as_ref(), ttl_s: ttl, mode, answer };
        let taken = at.call(Call::post(&["twins", &id, "commands"], &order))?;
        if !wait {
            at.show::<Taken>(&taken, out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let command = taken.read::<Taken>()?.id;
        note(&format!("waiting for {command}"));
        let (answer, ended) = command::ended(&at, &id, &command)?;
        at.show::<command::Shown>(&answer, out)?;
        Ok(if ended.has_succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}", self.id, self.state)
    }
}
