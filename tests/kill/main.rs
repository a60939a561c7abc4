//! SIGKILL at fifty seeded moments under load from real MQTT clients, with checkpoints and passivation forced often.
//!
//! The node is this very program, started with `serve` as its first argument: a binary of a developer's own, with a
//! kind whose timers can be counted.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test speaks to whoever runs it")]

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod kind;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

use load::{Load, Promises};
use support::http::Api;
use support::process::{Addresses, Process};

const KILLS: u32 = 50;
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
    let claim = Trial::test("nothing_acknowledged_is_lost_over_fifty_kills", || {
        fifty_kills();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![claim]).exit_code()
}

fn fifty_kills() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let at = Addresses::free();
    let program = std::env::current_exe().expect("this program is a file");
    let start = || Process::dev(&program, &["serve"], data.path(), at, &HURRIED);
    let promises = Arc::new(Mutex::new(Promises::default()));
    let mut moments = Moments(SEED);

    let mut node = start();
    load::register(&Api::of(at.http));
    let load = Load::start(at, promises.clone());
    for _ in 0..KILLS {
        std::thread::sleep(moments.next());
        node.kill();
        node = start();
    }
    std::thread::sleep(Duration::from_secs(1));
    load.stop_saying();
    let api = Api::of(at.http);
    await_commands(&api, &promises);
    load.stop();
    // One more time: what is checked has to come from the disk.
    node.kill();
    let node = start();

    let promises = promises.lock().expect("nobody panicked");
    assert!(promises.counts() > 1_000, "the load was too small to show anything: {}", promises.counts());
    for device in load::DEVICES {
        check_calls(&api, device, &promises);
    }
    println!("{KILLS} kills, {} promises", promises.counts());
    for device in load::DEVICES {
        check(&api, device, &promises);
    }
    assert_eq!(node.stop(), Some(0), "SIGTERM ends it in order");
}

/// Waits until every command that was taken has ended, as far as its device is there to end it.
fn await_commands(api: &Api, promises: &Mutex<Promises>) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let open: usize = load::DEVICES.iter().map(|device| ended(api, device, promises).1).sum();
        if open == 0 {
            return;
        }
        assert!(Instant::now() < end, "{open} commands never ended");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How often each command of a device has ended, and how many that were taken have not. Kills that come quickly may
/// make one dead: it was sent five times, and each time the node died before the device could say that it is there.
fn ended(api: &Api, device: &str, promises: &Mutex<Promises>) -> (BTreeMap<String, u32>, usize) {
    let mut done = BTreeMap::<String, u32>::new();
    for event in api.all(&format!("/twins/{device}/events?type=command"), "from") {
        if event["data"]["state"] == "done" || event["data"]["state"] == "dead" {
            *done.entry(text(&event["data"]["id"])).or_default() += 1;
        }
    }
    let promises = promises.lock().expect("nobody panicked");
    let taken = promises.commands.iter().filter(|(of, _)| of == device);
    let open = taken.filter(|(_, id)| !done.contains_key(id)).count();
    (done, open)
}

fn check(api: &Api, device: &str, promises: &Promises) {
    let (status, twin) = api.get(&format!("/twins/{device}")).expect("the node answers");
    assert_eq!(status, 200, "{twin}");
    let reported = twin["reported"]["n"].as_u64().unwrap_or(0);
    let promised = promises.reported.get(device).copied().unwrap_or(0);
    assert!(reported >= promised, "{device}: report {promised} was acknowledged, the twin has {reported}");

    let samples = api.all(&format!("/twins/{device}/telemetry?channel=serial"), "from");
    let serials: Vec<u64> = samples.iter().filter_map(|sample| sample["data"]["value"].as_u64()).collect();
    assert!(serials.is_sorted_by(|a, b| a < b), "{device}: samples are out of order, or twice");
    let kept: BTreeSet<u64> = serials.into_iter().collect();
    let lost: Vec<_> = promises.samples(device).filter(|serial| !kept.contains(serial)).collect();
    assert!(lost.is_empty(), "{device}: samples {lost:?} were acknowledged and lost");

    let mut fired = BTreeMap::<u64, u32>::new();
    for event in api.all(&format!("/twins/{device}/events?type=event"), "from") {
        if event["data"]["name"] == "fired" {
            *fired.entry(event["data"]["data"].as_u64().expect("a serial")).or_default() += 1;
        }
    }
    for armed in promises.armed(device) {
        assert_eq!(fired.get(&armed), Some(&1), "{device}: timer {armed} was armed before a kill");
    }
    assert!(fired.values().all(|times| *times == 1), "{device}: a timer fired twice");

    let (done, _) = ended(api, device, &Mutex::new(Promises::default()));
    assert!(!done.is_empty() && done.values().all(|times| *times == 1), "{device}: a command ended twice");
}

/// Each timer that a device armed was told to its neighbour once. What was under way when the power failed may still be.
fn check_calls(api: &Api, device: &str, promises: &Promises) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let mut told = BTreeMap::<u64, u32>::new();
        let callee = kind::neighbour(device);
        for event in api.all(&format!("/twins/{callee}/events?type=event"), "from") {
            let data = &event["data"]["data"];
            if event["data"]["name"] == "tallied" && data[0] == device {
                let cause = text(&event["cause"]);
                assert!(cause.starts_with(&format!("{device}/")), "{cause} is no transition of {device}");
                *told.entry(data[1].as_u64().expect("a serial")).or_default() += 1;
            }
        }
        assert!(told.values().all(|times| *times == 1), "{device}: a call was executed twice");
        let missing: Vec<_> = promises.armed(device).filter(|serial| !told.contains_key(serial)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{device}: the calls of {missing:?} were committed and lost");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
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
