//! Three nodes as three processes on loopback, under load from real MQTT clients: one of them is killed, stopped for a
//! while, or cut off, at seeded moments, again and again. What was acknowledged has happened, once.
//!
//! The nodes are this very program, as in `tests/kill`, whose load and judge these are. `TWINFOLD_ROUNDS` says how many
//! rounds there are, `TWINFOLD_SEED` what happens in each.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test speaks to whoever runs it")]

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../kill/judge.rs"]
mod judge;
#[path = "../kill/kind.rs"]
mod kind;
#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../kill/load.rs"]
mod load;
#[path = "../kill/moments.rs"]
mod moments;

mod paths;
mod trio;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use judge::{await_commands, broken};
use load::{DEVICES, Load};
use moments::Moments;
use support::history::History;
use trio::Trio;

/// As many as take about a minute; CI has more.
const ROUNDS: u64 = 3;
const SEED: u64 = 2_026;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "serve") {
        let name = std::ffi::OsString::from("cluster");
        return twinfold::Server::new().kind::<kind::Alarm>().run(std::iter::once(name).chain(arguments));
    }
    let claims = vec![
        Trial::test("one_node_grows_to_three_under_load_and_no_client_notices", || {
            grown();
            Ok(())
        }),
        Trial::test("a_cluster_whose_nodes_die_hang_and_are_cut_off_keeps_its_promises", || {
            tortured(number("TWINFOLD_ROUNDS", ROUNDS), number("TWINFOLD_SEED", SEED));
            Ok(())
        }),
    ];
    // Six processes would share the machine, and be slow for no fault of theirs.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, claims).exit_code()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("it is a number"))
}

fn grown() {
    let mut trio = Trio::alone();
    let history = Arc::new(History::default());
    let doors = trio.enrol(&history);
    let only_first = load::Doors { nodes: doors.nodes[..1].to_vec(), ..doors.clone() };
    let load = Load::start(only_first, history.clone());
    std::thread::sleep(Duration::from_secs(1));

    trio.grow();

    std::thread::sleep(Duration::from_secs(1));
    let longest = history.longest_pause(&DEVICES);
    judged(&trio, load, &history, "growing");
    println!(
        "grown from one node to three; the longest time without an acknowledgement for one device: {longest:?}"
    );
}

/// What befalls a node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL, and a start.
    Killed,
    /// SIGSTOP, and SIGCONT after a while: a leader that sleeps, and wakes as one.
    Stopped,
    /// Nobody hears it, and it hears nobody; clients still reach it.
    CutOff,
}

fn tortured(rounds: u64, seed: u64) {
    let mut trio = Trio::alone();
    trio.grow();
    let history = Arc::new(History::default());
    let load = Load::start(trio.enrol(&history), history.clone());
    let (mut moments, mut gaps) = (Moments::new(seed), Vec::new());
    std::thread::sleep(Duration::from_secs(1));

    for round in 0..rounds {
        let victim = moments.below(3) as usize;
        let fault = [Fault::Killed, Fault::Stopped, Fault::CutOff][moments.below(3) as usize];
        // Shorter and longer than what makes others take its place.
        let lasts = Duration::from_millis(200 + moments.below(4_000));
        let from = history.now();
        match fault {
            Fault::Killed => {
                trio.kill(victim);
                std::thread::sleep(lasts);
                trio.start(victim);
            }
            Fault::Stopped => {
                trio.stop(victim);
                std::thread::sleep(lasts);
                trio.go_on(victim);
            }
            Fault::CutOff => {
                trio.paths.cut(victim);
                std::thread::sleep(lasts);
                trio.paths.heal();
            }
        }
        trio.await_whole();
        std::thread::sleep(Duration::from_millis(moments.below(500)));
        // A device whose own node is gone waits for that; what others wait for is the shard's next leader.
        let waits: Vec<_> = DEVICES.iter().filter_map(|device| history.wait_since(device, from)).collect();
        let longest = waits.iter().max().copied().unwrap_or_default();
        println!("round {round}: node {} {fault:?} for {lasts:?}; longest wait {longest:?}", victim + 1);
        gaps.push(longest);
    }
    gaps.sort();
    judged(&trio, load, &history, &format!("seed {seed}, {rounds} rounds"));
    if let (Some(middle), Some(last)) = (gaps.get(gaps.len() / 2), gaps.last()) {
        println!(
            "{rounds} rounds; the longest wait of a device for an acknowledgement: p50 {middle:?}, worst {last:?}"
        );
    }
}

/// Ends the load, and judges what each node shows of it.
fn judged(trio: &Trio, load: Load, history: &History, what: &str) {
    load.stop_saying();
    await_commands(&trio.api(0), history);
    assert!(load.stop(), "a session that was to be kept was not there");
    let (promises, reads) = (history.promises(), history.reads());
    println!("{what}: {promises} promises, {reads} reads");
    assert!(promises > 500 && reads > 0, "the load was too small to show anything");
    for node in 0..3 {
        let broken = broken(&trio.api(node), history);
        let (count, list) = (broken.len(), broken.join("\n"));
        assert!(
            broken.is_empty(),
            "{what}: {count} promises were broken, as node {} shows:\n{list}",
            node + 1
        );
    }
}
