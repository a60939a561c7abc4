//! `twinfold user` and `twinfold service`: who may come in, and as what. The two are one verb with two names.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use runtime::directory::{Role, Roles, Sort, check_name};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};
use crate::{first, node};

/// Add people, and say what they may do.
#[derive(Subcommand)]
pub(super) enum User {
    /// Add a user, or give one that is there these roles; who is disabled stays so
    #[command(
        after_help = "Examples:\n  twinfold user add ada --role operator --role installer\n  twinfold user add ada --role admin --data ./data\n\nWith --data it writes to the data folder of a node that does not run, lets them in again where they were disabled, and\nprints a token: this is how the first one comes in."
    )]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        /// What they may do: viewer, operator, installer, security, admin; several add up
        #[arg(long = "role", value_name = "ROLE", value_parser = role)]
        roles: Vec<Role>,
        /// Shut them out from the beginning
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        reason: Reason,
        /// Write to this data folder, of a node that does not run
        #[arg(long, value_name = "DIR", conflicts_with = "disabled")]
        data: Option<PathBuf>,
        #[command(flatten)]
        at: Remote,
    },
    /// Shut a user out: no token lets them in, and their streams end
    #[command(after_help = "Example:\n  twinfold user disable ada --reason 'token in a log'")]
    Disable {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Let a user in again, with the roles and tokens that are left
    #[command(after_help = "Example:\n  twinfold user enable ada")]
    Enable {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a user
    #[command(after_help = "Example:\n  twinfold user show ada")]
    Show {
        /// The user
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the users, in the order of their names
    #[command(after_help = "Example:\n  twinfold user list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove a user and their tokens
    #[command(after_help = "Example:\n  twinfold user remove ada --reason 'left in May'")]
    Remove {
        /// The user
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

/// Add programs, and say what they may do.
#[derive(Subcommand)]
pub(super) enum Service {
    /// Add a service, or give one that is there these roles; one that is disabled stays so
    #[command(
        after_help = "Example:\n  twinfold service add dashboard --role viewer\n  twinfold token add --owner dashboard"
    )]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        /// What it may do: viewer, operator, installer, security, admin; several add up
        #[arg(long = "role", value_name = "ROLE", value_parser = role)]
        roles: Vec<Role>,
        /// Shut it out from the beginning
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Shut a service out: no token lets them in, and their streams end
    #[command(after_help = "Example:\n  twinfold service disable dashboard --reason 'token in a log'")]
    Disable {
        /// The service
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Let a service in again, with the roles and tokens that are left
    #[command(after_help = "Example:\n  twinfold service enable dashboard")]
    Enable {
        /// The service
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a service
    #[command(after_help = "Example:\n  twinfold service show dashboard")]
    Show {
        /// The service
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the services, in the order of their names
    #[command(after_help = "Example:\n  twinfold service list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove a service and its tokens
    #[command(after_help = "Example:\n  twinfold service remove dashboard")]
    Remove {
        /// The service
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Serialize)]
struct Membership<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    roles: Vec<String>,
    disabled: bool,
    created: String,
}

impl User {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { name, roles, reason, data: Some(data), at, .. } => {
                let name = check_name("a name", &name).map_err(first::Error::from)?;
                let roles = Roles::from_iter(roles);
                let token =
                    first::admit(&data, node::log_options(), name, Sort::User, roles, reason.into_text())?;
                match at.json {
                    true => writeln!(out, "{}", json!({"token": token}))?,
                    false => writeln!(out, "{token}")?,
                }
                out.flush()?;
                note(
                    "keep the token: it is not shown again\nnext: pass it with --token, or in TWINFOLD_TOKEN",
                );
            }
            Self::Add { name, roles, disabled, reason, data: None, at } => {
                add(Sort::User, &name, &roles, disabled, &reason, &at, out)?;
            }
            Self::Show { name, at } => show(Sort::User, &name, &at, out)?,
            Self::List { limit, after, at } => list_all(Sort::User, &limit, &after, &at, out)?,
            Self::Remove { name, reason, at } => remove(Sort::User, &name, &reason, &at)?,
            Self::Disable { name, reason, at } => disable(Sort::User, &name, true, &reason, &at, out)?,
            Self::Enable { name, reason, at } => disable(Sort::User, &name, false, &reason, &at, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Service {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { name, roles, disabled, reason, at } => {
                add(Sort::Service, &name, &roles, disabled, &reason, &at, out)?;
            }
            Self::Show { name, at } => show(Sort::Service, &name, &at, out)?,
            Self::List { limit, after, at } => list_all(Sort::Service, &limit, &after, &at, out)?,
            Self::Remove { name, reason, at } => remove(Sort::Service, &name, &reason, &at)?,
            Self::Disable { name, reason, at } => disable(Sort::Service, &name, true, &reason, &at, out)?,
            Self::Enable { name, reason, at } => disable(Sort::Service, &name, false, &reason, &at, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn plural(sort: Sort) -> &'static str {
    match sort {
        Sort::User => "users",
        Sort::Service => "services",
    }
}

/// Adds one; of one that is there, what is not said stays.
fn add(
    sort: Sort,
    name: &str,
    roles: &[Role],
    disabled: bool,
    reason: &Reason,
    at: &Remote,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let roles = (!roles.is_empty()).then(|| roles.iter().map(|role| role.as_str()).collect());
    put(sort, name, &Membership { roles, disabled: disabled.then_some(true), reason: reason.text() }, at, out)
}

/// Shuts one out that is there, or lets it in again.
fn disable(
    sort: Sort,
    name: &str,
    disabled: bool,
    reason: &Reason,
    at: &Remote,
    out: &mut dyn Write,
) -> Result<(), Error> {
    // A misspelled name is not to become one that is there.
    drop(at.call(Call::get(&[plural(sort), name]))?);
    put(sort, name, &Membership { roles: None, disabled: Some(disabled), reason: reason.text() }, at, out)
}

fn put(
    sort: Sort,
    name: &str,
    membership: &Membership<'_>,
    at: &Remote,
    out: &mut dyn Write,
) -> Result<(), Error> {
    at.show::<Shown>(&at.call(Call::put(&[plural(sort), name], membership))?, out)
}

fn show(sort: Sort, name: &str, at: &Remote, out: &mut dyn Write) -> Result<(), Error> {
    at.show::<Shown>(&at.call(Call::get(&[plural(sort), name]))?, out)
}

fn list_all(sort: Sort, limit: &Limit, after: &After, at: &Remote, out: &mut dyn Write) -> Result<(), Error> {
    list::show::<Shown>(at, after.of(limit.of(Call::get(&[plural(sort)]))), "--after", out)
}

fn remove(sort: Sort, name: &str, reason: &Reason, at: &Remote) -> Result<(), Error> {
    at.call(Call::delete(&[plural(sort), name]).query("reason", reason.text())).map(drop)
}

/// A role by its name.
pub(super) fn role(name: &str) -> Result<Role, String> {
    let names = || format!("it is one of {}", Role::ALL.map(Role::as_str).join(", "));
    Role::parse(name).ok_or_else(names)
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["NAME", "ROLES", "STATE", "CREATED"];

    fn row(&self, table: &mut Table) {
        let state = if self.disabled { "disabled" } else { "enabled" };
        table.row(&[&self.name, &self.roles.join(","), &state, &self.created]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}
