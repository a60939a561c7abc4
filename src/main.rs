//! The stock binary: the generic kind, and the thermostat that its simulated devices are.

use std::process::ExitCode;

#[allow(dead_code, reason = "an example has a main of its own")]
#[path = "../examples/thermostat.rs"]
mod thermostat;

fn main() -> ExitCode {
    twinfold::Server::new().kind::<thermostat::Thermostat>().main()
}
