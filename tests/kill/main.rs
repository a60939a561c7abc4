//! SIGKILL at seeded moments under load from real MQTT clients, with checkpoints and passivation forced often.
//!
//! The node is this very program, started with `serve` as its first argument: a binary of a developer's own, with a
//! kind whose timers can be counted. `TWINFOLD_KILLS` says how many kills there are, `TWINFOLD_SEED` when.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test speaks to whoever runs it")]

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod kind;
mod load;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use twins::time::Timestamp;

use load::Load;
use support::history::{History, Shown, Step};
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
    let mut moments = Moments(seed);

    let mut node = start();
    load::register(&Api::of(at.http), &history);
    let load = Load::start(at, history.clone());
    for _ in 0..kills {
        std::thread::sleep(moments.next());
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

/// Waits until every command that was taken has ended.
fn await_commands(api: &Api, history: &History) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let open = |device: &&str| history.open_commands(device, &shown(api, device));
        let open: usize = load::DEVICES.iter().map(open).sum();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < end, "{open} commands never ended");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the node broke. Calls between twins that were under way at the last kill are still being made, for a while.
fn broken(api: &Api, history: &History) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let broken = load::DEVICES.iter().flat_map(|device| history.broken(device, &shown(api, device)));
        let broken: Vec<_> = broken.collect();
        if broken.is_empty() || Instant::now() > end {
            return broken;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What the node shows of a device.
fn shown(api: &Api, device: &str) -> Shown {
    let (status, twin) = api.get(&format!("/twins/{device}")).expect("the node answers");
    assert_eq!(status, 200, "{twin}");
    let samples = api.all(&format!("/twins/{device}/telemetry?channel=serial"), "from");
    let events = api.all(&format!("/twins/{device}/events?type=event"), "from");
    let fired = events.iter().filter(|event| event["data"]["name"] == "fired");
    let heard = api.all(&format!("/twins/{}/events?type=event", kind::neighbour(device)), "from");
    let told =
        heard.iter().filter(|event| event["data"]["name"] == "tallied" && event["data"]["data"][0] == device);
    let steps = api.all(&format!("/twins/{device}/events?type=command"), "from");
    Shown {
        n: twin["reported"]["n"].as_u64().unwrap_or(0),
        samples: samples.iter().filter_map(|sample| sample["data"]["value"].as_u64()).collect(),
        fired: fired.filter_map(|event| event["data"]["data"].as_u64()).collect(),
        told: told.filter_map(|event| event["data"]["data"][1].as_u64()).collect(),
        steps: steps.iter().map(step).collect(),
    }
}

fn step(event: &Value) -> Step {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at: Timestamp = text(&event["received"]).parse().expect("a record has its time");
    let data = &event["data"];
    Step {
        id: text(&data["id"]),
        name: text(&data["name"]),
        state: text(&data["state"]),
        at_ms: at.as_millis(),
    }
}

/// Moments to kill at: SplitMix64 of a seed, so that a run can be repeated.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(50 + (z ^ (z >> 31)) % 500)
    }
}
