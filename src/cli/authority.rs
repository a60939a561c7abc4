//! `twinfold cert ca`: authorities of ours, which sign certificates of devices.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};

/// Have authorities that sign certificates of devices.
#[derive(Subcommand)]
pub(super) enum Ca {
    /// Make an authority; it is its own root, until one of yours signs for it
    #[command(after_help = "Example:\n  twinfold cert ca create devices")]
    Create {
        /// 1 to 64 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Print an authority's certificates, PEM: its own one first
    #[command(after_help = "Example:\n  twinfold cert ca show devices > devices-ca.pem")]
    Show {
        /// The authority
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the authorities, in the order of their names
    #[command(after_help = "Example:\n  twinfold cert ca list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Print an authority's own certificate request, for a root of yours to sign
    #[command(
        after_help = "Example:\n  twinfold cert ca csr devices > devices.csr\n  openssl x509 -req -in devices.csr -copy_extensions copy -days 3650 -CA root.pem -CAkey root.key -out devices.pem\n  cat devices.pem root.pem > chain.pem\n  twinfold cert ca import devices chain.pem"
    )]
    Csr {
        /// The authority
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// Give an authority the certificates that came of its request; what it signed before stays valid, as long as they are
    #[command(after_help = "Example:\n  twinfold cert ca import devices chain.pem")]
    Import {
        /// The authority
        name: String,
        /// Its own certificate, then each that signed the one before: PEM
        file: PathBuf,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Have an authority sign no more; what it signed goes on until it ends or is revoked
    #[command(after_help = "Example:\n  twinfold cert ca retire devices-2026")]
    Retire {
        /// The authority
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove an authority with its key: what it signed lets nobody in any more
    #[command(after_help = "Example:\n  twinfold cert ca remove devices-2026")]
    Remove {
        /// The authority
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Serialize)]
struct Brought<'a> {
    certificates: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    retired: bool,
    expires: String,
    fingerprint: String,
}

/// The certificates of an authority.
#[derive(Deserialize)]
struct Chain {
    certificates: String,
}

#[derive(Deserialize)]
struct Request {
    csr: String,
}

impl Ca {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Create { name, reason, at } => {
                let mut body = reason.body();
                body["name"] = name.into();
                at.show::<Shown>(&at.call(Call::post(&["authorities"], &body))?, out)?;
                out.flush()?;
                if !at.json {
                    note("next: twinfold cert issue DEVICE --generate DIR");
                }
            }
            Self::Show { name, at } => {
                at.show::<Chain>(&at.call(Call::get(&["authorities", &name]))?, out)?
            }
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["authorities"]))), "--after", out)?;
            }
            Self::Csr { name, at } => {
                at.show::<Request>(&at.call(Call::get(&["authorities", &name, "request"]))?, out)?;
            }
            Self::Import { name, file, reason, at } => {
                let read = std::fs::read_to_string(&file);
                let certificates = read.map_err(|why| Error::NoPem { file: file.clone(), why })?;
                let body = Brought { certificates: &certificates, reason: reason.text() };
                let call = Call::put(&["authorities", &name, "certificates"], &body);
                at.show::<Shown>(&at.call(call)?, out)?;
            }
            Self::Retire { name, reason, at } => {
                let call = Call::post(&["authorities", &name, "retire"], &reason.body());
                at.show::<Shown>(&at.call(call)?, out)?;
            }
            Self::Remove { name, reason, at } => {
                drop(at.call(Call::delete(&["authorities", &name]).query("reason", reason.text()))?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["NAME", "STATE", "EXPIRES", "FINGERPRINT"];

    fn row(&self, table: &mut Table) {
        let state = if self.retired { "retired" } else { "signs" };
        table.row(&[&self.name, &state, &self.expires, &self.fingerprint]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.certificates)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.csr)
    }
}
