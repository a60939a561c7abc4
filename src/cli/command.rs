//! `twinfold command`: what became of the commands to a device.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use twins::json::Json;

use super::Error;
use super::client::{Answer, Call};
use super::list::{self, After, Limit, Row};
use super::remote::Remote;
use super::table::Table;

/// How long to wait before looking again whether a command has ended, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// See what became of commands.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the commands of a device: those that are open, and the last ones that ended
    #[command(after_help = "Example:\n  twinfold command list boiler-7 --state queued")]
    List {
        /// The device
        id: String,
        /// Only those in this state: queued, sent, delivered, done, rejected, expired, superseded
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a command
    #[command(after_help = "Example:\n  twinfold command show boiler-7 0197f3a2-7c1e-7d6b-9b1a-3f2f6f0c5a11")]
    Show {
        /// The device
        id: String,
        /// The command, as `twin send` and `command list` print it
        command: String,
        #[command(flatten)]
        at: Remote,
    },
}

/// A command as the API shows it.
#[derive(Deserialize)]
pub(super) struct Shown {
    id: String,
    name: String,
    payload: Json,
    state: String,
    answer: String,
    attempt: u32,
    created: String,
    deadline: String,
    changed: String,
    by: String,
    result: Option<Json>,
}

impl Command {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::List { id, state, limit, after, at } => {
                let call = Call::get(&["twins", &id, "commands"]).query("state", state);
                list::show::<Shown>(&at, after.of(limit.of(call)), "--after", out)?;
            }
            Self::Show { id, command, at } => {
                at.show::<Shown>(&at.call(Call::get(&["twins", &id, "commands", &command]))?, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits until a command has ended, and returns it. Its deadline bounds this: the node lets it expire.
pub(super) fn ended(at: &Remote, twin: &str, command: &str) -> Result<(Answer, Shown), Error> {
    let (mut pause, pause_max) = LOOK_AGAIN;
    loop {
        let answer = at.call(Call::get(&["twins", twin, "commands", command]))?;
        let shown: Shown = answer.read()?;
        if shown.has_ended() {
            return Ok((answer, shown));
        }
        sleep(pause);
        pause = (pause * 2).min(pause_max);
    }
}

impl Shown {
    fn has_ended(&self) -> bool {
        match self.state.as_str() {
            "queued" | "sent" => false,
            "delivered" => self.answer == "none",
            _ => true,
        }
    }

    /// Whether the device has it or did it, as far as it was asked to say.
    pub(super) fn has_succeeded(&self) -> bool {
        self.has_ended() && matches!(self.state.as_str(), "delivered" | "done")
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["ID", "NAME", "STATE", "ATTEMPT", "CHANGED", "PAYLOAD"];

    fn row(&self, table: &mut Table) {
        let Self { id, name, state, attempt, changed, payload, .. } = self;
        table.row(&[id, name, state, attempt, changed, payload]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        table.row(&[&"id", &self.id]);
        table.row(&[&"name", &self.name]);
        table.row(&[&"payload", &self.payload]);
        table.row(&[&"state", &format_args!("{} since {}", self.state, self.changed)]);
        if let Some(result) = &self.result {
            table.row(&[&"result", result]);
        }
        table.row(&[&"attempt", &self.attempt]);
        table.row(&[&"answer", &self.answer]);
        table.row(&[&"created", &format_args!("{} by {}", self.created, self.by)]);
        table.row(&[&"deadline", &self.deadline]);
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: &str, answer: &str, has_ended: bool, has_succeeded: bool) {
        let text = format!(
            r#"{{"id":"c","name":"heater","payload":"on","state":"{state}","mode":"queue","answer":"{answer}",
                "attempt":1,"created":"","deadline":"","changed":"","by":"user:dev","result":null}}"#
        );
        let shown: Shown = serde_json::from_str(&text).unwrap();
        assert_eq!((shown.has_ended(), shown.has_succeeded()), (has_ended, has_succeeded), "{text}");
    }

    #[test]
    fn delivered_is_the_end_where_no_answer_is_expected() {
        check("sent", "none", false, false);
        check("delivered", "none", true, true);
        check("delivered", "expected", false, false);
        check("done", "expected", true, true);
        check("rejected", "expected", true, false);
        check("superseded", "none", true, false);
    }
}
