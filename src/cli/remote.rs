//! What all verbs that ask a node have in common: which node, as whom, and how its answer is shown.

use std::fmt::Display;
use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;

use super::Error;
use super::client::{Answer, Call, Target, Url};

/// The node that is asked.
#[derive(Args)]
#[command(next_help_heading = "Node and output")]
pub(super) struct Remote {
    /// Where the node's HTTP API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Url,
    /// Who is asking; a node in dev asks for none
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Who may have signed for the node, where --url is https: PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
    /// Print the API's JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Remote {
    /// Asks the node.
    pub(super) fn call(&self, call: Call) -> Result<Answer, Error> {
        Ok(call.send(&self.target())?)
    }

    /// Asks the node for a stream of events, after the one with the id `last`.
    pub(super) fn open(&self, call: Call, last: Option<&str>) -> Result<impl Read + use<>, Error> {
        Ok(call.open(&self.target(), last)?)
    }

    /// Asks the node for something long, and writes it as it comes.
    pub(super) fn download(&self, call: Call, to: &mut impl Write) -> Result<(), Error> {
        Ok(call.download(&self.target(), to)?)
    }

    fn target(&self) -> Target {
        Target { url: self.url.clone(), token: self.token.clone(), authorities: self.ca.clone() }
    }

    /// Shows an answer: to programs as it came, to people as `T` is written.
    pub(super) fn show<T>(&self, answer: &Answer, out: &mut dyn Write) -> Result<(), Error>
    where
        T: DeserializeOwned + Display,
    {
        if self.json {
            return Ok(writeln!(out, "{}", answer.body)?);
        }
        Ok(write!(out, "{}", answer.read::<T>()?)?)
    }
}
