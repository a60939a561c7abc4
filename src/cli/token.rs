//! `twinfold token`: what people and programs show.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use runtime::directory::Role;
use serde::{Deserialize, Serialize};

use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::member::role;
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};

/// Make tokens, see which there are, and remove them.
#[derive(Subcommand)]
pub(super) enum Token {
    /// Make a token and print it: once, since it is not kept
    #[command(after_help = "Example:\n  twinfold token add --owner dashboard --role viewer --ttl 2592000")]
    Add {
        /// Whose it is: a user or a service; else your own
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// What it may be used for at most; else for all that its owner may
        #[arg(long = "role", value_name = "ROLE", value_parser = role)]
        roles: Vec<Role>,
        /// It ends after so many seconds: 90 days where nothing is said, at most ten years
        #[arg(long, value_name = "S")]
        ttl: Option<u64>,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// List the tokens: all of the tenant, or your own where you may not see those of others
    #[command(after_help = "Example:\n  twinfold token list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove a token: it lets nobody in from now on
    #[command(after_help = "Example:\n  twinfold token remove 5f0c1e2a77b90d14 --reason 'was in a log'")]
    Remove {
        /// The token's id, as `token list` prints it; it is the first part of the token itself
        id: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// A token that was made: alone on its line, so that a script can take it.
#[derive(Deserialize)]
struct Made {
    token: String,
}

#[derive(Deserialize)]
struct Shown {
    id: String,
    owner: String,
    roles: Option<Vec<String>>,
    expires: String,
    exposed: Option<String>,
}

impl Token {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { owner, roles, ttl: ttl_s, reason, at } => {
                let roles = (!roles.is_empty()).then(|| roles.iter().map(|role| role.as_str()).collect());
                let wanted = Wanted { owner: owner.as_deref(), roles, ttl_s, reason: reason.text() };
                at.show::<Made>(&at.call(Call::post(&["tokens"], &wanted))?, out)?;
                out.flush()?;
                note("keep it: it is not shown again");
            }
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["tokens"]))), "--after", out)?;
            }
            Self::Remove { id, reason, at } => {
                drop(at.call(Call::delete(&["tokens", &id]).query("reason", reason.text()))?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.token)
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["ID", "OWNER", "ROLES", "EXPIRES", "EXPOSED"];

    fn row(&self, table: &mut Table) {
        let roles = self.roles.as_ref().map_or("all".to_owned(), |roles| roles.join(","));
        let exposed = self.exposed.as_deref().unwrap_or("no");
        table.row(&[&self.id, &self.owner, &roles, &self.expires, &exposed]);
    }
}
