//! `twinfold dev`: its flags; the node itself is [`crate::dev`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use twins::kind::Kinds;

use super::Error;
use super::limits::Limits;
use crate::dev::{self, Options};
use crate::telemetry::Flags;

/// Run one node on loopback, without credentials.
#[derive(Args)]
#[command(
    after_help = "Example:\n  twinfold dev --devices 3 --data ./data\n\nIt logs warnings to stderr; TWINFOLD_LOG=info, or runtime=debug, shows more, and path=debug each step of the path."
)]
pub(super) struct Dev {
    /// Where data is kept; else in a temporary folder, which is removed at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where MQTT listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Where HTTP listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// How many simulated thermostats connect: thermostat-0001 and so on
    #[arg(long, value_name = "N", default_value_t = 0)]
    devices: u32,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    telemetry: Flags,
}

impl Dev {
    pub(super) fn run(self, kinds: Kinds) -> Result<ExitCode, Error> {
        let telemetry = self.telemetry.start()?;
        let settings = self.limits.settings();
        let Self { data, mqtt, http, devices, .. } = self;
        let ran = dev::run(Options { data, mqtt, http, devices, settings }, kinds, telemetry.voice());
        telemetry.end();
        ran?;
        Ok(ExitCode::SUCCESS)
    }
}
