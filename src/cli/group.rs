//! `twinfold group`: devices that come in by what they have in common, without each being named before.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;
use twins::json::Json;

use super::Error;
use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;
use super::value::{Members, Value};

/// Let devices in by the authority that signed for them, or by a key that they share.
#[derive(Subcommand)]
pub(super) enum Group {
    /// Make an enrolment group
    #[command(
        after_help = "Examples:\n  twinfold group add pumps --authority factory-ca.pem --register --kind device --tag line=4\n  twinfold group add valves --generate-key --register"
    )]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        #[command(flatten)]
        trust: Trust,
        /// Register a device that is unknown when it proves that it belongs to the group
        #[arg(long)]
        register: bool,
        /// As what its devices are registered; `device` where nothing is said
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// A tag that its devices begin with
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<Members>,
        /// The desired section that its devices begin with, as a JSON object
        #[arg(long, value_name = "JSON")]
        desired: Option<Value>,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Show an enrolment group
    #[command(after_help = "Example:\n  twinfold group show pumps --json")]
    Show {
        /// The group
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the enrolment groups, in the order of their names
    #[command(after_help = "Example:\n  twinfold group list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Print the key that a device of the group has, for whoever puts it there
    #[command(after_help = "Example:\n  twinfold group key valves valve-12")]
    Key {
        /// The group
        name: String,
        /// The device
        id: String,
        #[command(flatten)]
        at: Remote,
    },
    /// Bar what the group gave up to now: derived keys for good, and certificates that began before
    #[command(
        after_help = "Example:\n  twinfold group bar pumps --reason 'the factory was broken into'\n\nA certificate counts by its beginning, which many authorities set some minutes back."
    )]
    Bar {
        /// The group
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Let none of a group's devices in by it
    #[command(after_help = "Example:\n  twinfold group disable pumps --reason 'recalled'")]
    Disable {
        /// The group
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Let a group's devices in again
    #[command(after_help = "Example:\n  twinfold group enable pumps")]
    Enable {
        /// The group
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove an enrolment group: its devices are not let in by it any more
    #[command(after_help = "Example:\n  twinfold group remove pumps")]
    Remove {
        /// The group
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

/// What its devices prove that they belong to it.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Trust {
    /// They have certificates of these authorities: PEM
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// They have keys that are derived from one that the node makes now
    #[arg(long)]
    generate_key: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a str>,
    generate_key: bool,
    registers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<&'a str, &'a Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    sort: String,
    registers: bool,
    disabled: bool,
    barred: Option<String>,
    kind: String,
    tags: Json,
}

/// The key of a device: alone on its line, so that a script can take it.
#[derive(Deserialize)]
struct Derived {
    key: String,
}

impl Group {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { name, trust, register, kind, tags, desired, reason, at } => {
                let read =
                    |file: PathBuf| std::fs::read_to_string(&file).map_err(|why| Error::NoPem { file, why });
                let ca = trust.authority.map(read).transpose()?;
                let body = Body {
                    name: &name,
                    ca: ca.as_deref(),
                    generate_key: trust.generate_key,
                    registers: register,
                    kind: kind.as_deref(),
                    tags: (!tags.is_empty()).then(|| Members::merged(&tags)),
                    desired: desired.as_ref(),
                    reason: reason.text(),
                };
                at.show::<Shown>(&at.call(Call::post(&["enrolment-groups"], &body))?, out)?;
            }
            Self::Show { name, at } => {
                at.show::<Shown>(&at.call(Call::get(&["enrolment-groups", &name]))?, out)?;
            }
            Self::List { limit, after, at } => {
                let call = after.of(limit.of(Call::get(&["enrolment-groups"])));
                list::show::<Shown>(&at, call, "--after", out)?;
            }
            Self::Key { name, id, at } => {
                let call = Call::post(&["enrolment-groups", &name, "keys"], &json!({"device_id": id}));
                at.show::<Derived>(&at.call(call)?, out)?;
            }
            Self::Bar { name, reason, at } => {
                let call = Call::post(&["enrolment-groups", &name, "bar"], &reason.body());
                at.show::<Shown>(&at.call(call)?, out)?;
            }
            Self::Disable { name, reason, at } => change(&name, true, reason, &at, out)?,
            Self::Enable { name, reason, at } => change(&name, false, reason, &at, out)?,
            Self::Remove { name, reason, at } => {
                drop(at.call(Call::delete(&["enrolment-groups", &name]).query("reason", reason.text()))?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn change(name: &str, disabled: bool, reason: Reason, at: &Remote, out: &mut dyn Write) -> Result<(), Error> {
    let mut body = reason.body();
    body["disabled"] = disabled.into();
    at.show::<Shown>(&at.call(Call::patch(&["enrolment-groups", name], &body))?, out)
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["NAME", "SORT", "STATE", "REGISTERS", "KIND", "TAGS"];

    fn row(&self, table: &mut Table) {
        let state = match (self.disabled, &self.barred) {
            (true, _) => "disabled".to_owned(),
            (false, Some(since)) => format!("barred {since}"),
            (false, None) => "enabled".to_owned(),
        };
        let registers = if self.registers { "yes" } else { "no" };
        table.row(&[&self.name, &self.sort, &state, &registers, &self.kind, &self.tags]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}

impl fmt::Display for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.key)
    }
}
