//! SIGKILL at seeded moments under load from real MQTT clients, with checkpoints and passivation forced often.
//!
//! The node is this very program, started with `serve` as its first argument: a binary of a developer's own, with a
//! kind whose timers can be counted. `TWINFOLD_KILLS` says how many kills there are, `TWINFOLD_SEED` when.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test speaks to whoever runs it")]

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod judge;
mod kind;
mod load;
mod moments;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use judge::{await_commands, broken};
use libtest_mimic::{Arguments, Trial};
use load::{Doors, Load};
use moments::Moments;
use support::history::History;
use support::http::Api;
use support::process::{Addresses, Process};

/// As many as take about half a minute; a release is worth a hundred and more.
const KILLS: u64 = 30;
const SEED: u64 = 2_026;
/// What makes checkpoints and passivation happen all the time.
const HURRIED: [&str; 6] =
    ["--checkpoint-every-ms", "50", "--checkpoint-bytes", "20000", "--shard-memory-bytes", "4000"];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "serve") {
        let name = std::ffi::OsString::from("kill");
        return twinfold::Server::new().kind::<kind::Alarm>().run(std::iter::once(name).chain(arguments));
    }
    let claim = Trial::test("a_node_that_is_killed_again_and_again_keeps_its_promises", || {
        killed(number("TWINFOLD_KILLS", KILLS), number("TWINFOLD_SEED", SEED));
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![claim]).exit_code()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("it is a number"))
}

fn killed(kills: u64, seed: u64) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let at = Addresses::free();
    let program = std::env::current_exe().expect("this program is a file");
    let start = || Process::dev(&program, &["serve"], data.path(), at, &HURRIED);
    let history = Arc::new(History::default());
    let mut moments = Moments::new(seed);

    let mut node = start();
    load::register(&Api::of(at.http), &history);
    let load = Load::start(Doors::open(at), history.clone());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(50 + moments.below(500)));
        node.kill();
        node = start();
    }
    std::thread::sleep(Duration::from_secs(1));
    load.stop_saying();
    let api = Api::of(at.http);
    await_commands(&api, &history);
    assert!(load.stop(), "a session that was to be kept was not there");
    // One more time: what is judged has to come from the disk.
    node.kill();
    let node = start();

    let (promises, reads) = (history.promises(), history.reads());
    println!("{kills} kills, {promises} promises, {reads} reads");
    assert!(promises as u64 > kills * 20 && reads > 0, "the load was too small to show anything");
    let broken = broken(&api, &history);
    assert!(broken.is_empty(), "seed {seed}: {} promises were broken:\n{}", broken.len(), broken.join("\n"));
    assert_eq!(node.stop(), Some(0), "SIGTERM ends it in order");
}
