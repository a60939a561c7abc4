//! `twinfold command`: what became of the commands to a device, and what becomes of them yet.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use twins::json::Json;

use super::client::{Answer, Call};
use super::list::{self, After, Limit, Row};
use super::remote::Remote;
use super::send::Taken;
use super::table::Table;
use super::{Error, note};

/// How long to wait before looking again whether a command has ended, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// See what became of commands, cancel them, and send dead ones anew.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the commands of a device: those that are open, the last ones that ended, and the dead ones
    #[command(after_help = "Example:\n  twinfold command list boiler-7 --state queued")]
    List {
        /// The device
        id: String,
        /// Only those in this state: queued, sent, delivered, done, rejected, expired, cancelled,
        /// superseded, dead
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
    /// Cancel a command: it is not sent any more
    #[command(
        after_help = "Example:\n  twinfold command cancel boiler-7 0197f3a2-7c1e-7d6b-9b1a-3f2f6f0c5a11"
    )]
    Cancel {
        /// The device
        id: String,
        /// The command, as `twin send` and `command list` print it
        command: String,
        #[command(flatten)]
        at: Remote,
    },
    /// Send dead commands anew: those that the device never acknowledged, however often they were sent
    #[command(
        after_help = "Examples:\n  twinfold command redrive boiler-7 0197f3a2-7c1e-7d6b-9b1a-3f2f6f0c5a11\n  \
                            twinfold command redrive boiler-7 --all --ttl 3600"
    )]
    Redrive {
        /// The device
        id: String,
        /// The command, as `command list --state dead` prints it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        command: Option<String>,
        /// All that are dead, oldest first
        #[arg(long)]
        all: bool,
        /// They expire after so many seconds, at most 30 days; else after as many as they had at first
        #[arg(long, value_name = "S")]
        ttl: Option<f64>,
        #[command(flatten)]
        at: Remote,
    },
}

/// The body of a redrive.
#[derive(Serialize)]
struct Again {
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<f64>,
}

/// Some commands, and where the list goes on.
#[derive(Deserialize)]
struct Page {
    items: Vec<Shown>,
    next: Option<String>,
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
            Self::Cancel { id, command, at } => {
                at.show::<Taken>(&at.call(Call::delete(&["twins", &id, "commands", &command]))?, out)?;
            }
            Self::Redrive { id, command: Some(command), ttl, at, .. } => {
                redrive(&at, &id, &command, ttl, out)?;
            }
            Self::Redrive { id, command: None, ttl, at, .. } => redrive_all(&at, &id, ttl, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn redrive(
    at: &Remote,
    twin: &str,
    command: &str,
    ttl_s: Option<f64>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let call = Call::post(&["twins", twin, "commands", command, "redrive"], &Again { ttl_s });
    at.show::<Taken>(&at.call(call)?, out)
}

/// Redrives what is dead now. Each leaves the dead ones by it; those that die again meanwhile are left alone, as are
/// those of which a newer one counts.
fn redrive_all(at: &Remote, twin: &str, ttl_s: Option<f64>, out: &mut dyn Write) -> Result<(), Error> {
    let (mut dead, mut after) = (Vec::new(), None);
    loop {
        let call = Call::get(&["twins", twin, "commands"]).query("state", Some("dead")).query("after", after);
        let page: Page = at.call(call)?.read()?;
        dead.extend(page.items.into_iter().map(|command| command.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if dead.is_empty() {
        note("no command is dead");
    }
    dead.iter().try_for_each(|command| match redrive(at, twin, command, ttl_s, out) {
        Err(Error::Client(super::client::Error::Problem(problem))) if problem.code() == "superseded" => {
            note(&format!("{command} is left: a newer one counts"));
            Ok(())
        }
        redriven => redriven,
    })
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
