//! `twinfold device`: which devices there are, and as what.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use twins::json::Json;

use super::Error;
use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::remote::Remote;
use super::stock;
use super::table::Table;
use super::value::Members;

/// Register devices, and see which there are.
#[derive(Subcommand)]
pub(super) enum Device {
    /// Register a device; one that is there gets these tags
    #[command(
        after_help = "Example:\n  twinfold device add boiler-7 --kind thermostat --tag building=12 --tag room=attic"
    )]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
        id: String,
        /// What kind of twin it has; `device` where nothing is said
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// A tag; the tags together replace those that it has
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<Members>,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a device
    #[command(after_help = "Example:\n  twinfold device get boiler-7 --json")]
    Get {
        /// The device
        id: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the devices, in the order of their ids
    #[command(after_help = "Example:\n  twinfold device list --limit 20")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    Import(stock::Import),
    Export(stock::Export),
    /// Remove a device with its twin; its history stays
    #[command(after_help = "Example:\n  twinfold device remove boiler-7")]
    Remove {
        /// The device
        id: String,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Serialize)]
struct Registration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<&'a str, &'a Json>>,
}

#[derive(Deserialize)]
struct Shown {
    id: String,
    kind: String,
    created: String,
    connection: String,
    tags: Json,
}

impl Device {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { id, kind, tags, at } => {
                let tags = (!tags.is_empty()).then(|| Members::merged(&tags));
                let registration = Registration { kind: kind.as_deref(), tags };
                let answer = at.call(Call::put(&["devices", &id], &registration))?;
                at.show::<Shown>(&answer, out)?;
            }
            Self::Get { id, at } => at.show::<Shown>(&at.call(Call::get(&["devices", &id]))?, out)?,
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["devices"]))), "--after", out)?;
            }
            Self::Import(import) => return import.run(),
            Self::Export(export) => return export.run(out),
            Self::Remove { id, at } => drop(at.call(Call::delete(&["devices", &id]))?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["ID", "KIND", "CONNECTION", "CREATED", "TAGS"];

    fn row(&self, table: &mut Table) {
        table.row(&[&self.id, &self.kind, &self.connection, &self.created, &self.tags]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}
