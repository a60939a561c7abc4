//! A node that is told to stop while everybody speaks to it: it answers what it has taken, says goodbye, and ends.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use support::http::Api;
use support::online::Online;
use support::process::{Addresses, Process};
use support::wire::{self, Wire};

const DEVICES: usize = 4;
const WINDOW: u64 = 20;

fn dev(data: &Path, at: Addresses) -> Process {
    Process::dev(Path::new(env!("CARGO_BIN_EXE_twinfold")), &[], data, at, &[])
}

fn name(device: usize) -> String {
    format!("speaker-{device}")
}

/// Speaks, a window at a time, until the node closes the connection: what was acknowledged, and the last word.
fn speak(at: SocketAddr, device: usize) -> (BTreeSet<u64>, Option<u8>) {
    let mut wire = Wire::connect(at, true, &name(device));
    let (mut acknowledged, mut serial, mut reason) = (BTreeSet::new(), 0, None);
    loop {
        let first = serial;
        for _ in 0..WINDOW {
            let id = u16::try_from(serial - first + 1).expect("a small window");
            wire.publish("twins/me/telemetry/serial", serial.to_string().as_bytes(), Some(id));
            serial += 1;
        }
        for _ in 0..WINDOW {
            let Some(packet) = wire.next() else { return (acknowledged, reason) };
            match packet.kind {
                wire::PUBACK if packet.reason() == 0 => {
                    let id = u64::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
                    acknowledged.insert(first + id - 1);
                }
                wire::DISCONNECT => reason = Some(packet.reason()),
                other => panic!("{other}: {packet:?}"),
            }
        }
    }
}

/// Changes a twin again and again until the node does not take it any more; the last number that it took.
fn change(api: &Api, id: &str) -> u64 {
    api.put(&format!("/devices/{id}"), &json!({"kind": "device"})).expect("an answer");
    for serial in 1.. {
        match api.patch(&format!("/twins/{id}"), &json!({"desired": {"serial": serial}})) {
            Some((200, _)) => {}
            Some((503, _)) | None => return serial - 1,
            Some(other) => panic!("{other:?}"),
        }
    }
    unreachable!("the numbers do not end")
}

#[test]
fn a_node_that_stops_under_load_loses_nothing_and_closes_everybody_cleanly() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let at = Addresses::free();
    let mut process = dev(data.path(), at);
    let speakers: Vec<_> = (0..DEVICES).map(|n| thread::spawn(move || speak(at.mqtt, n))).collect();
    let changer = thread::spawn(move || change(&Api::of(at.http), "changed"));
    thread::sleep(Duration::from_millis(700));

    let began = Instant::now();
    process.terminate();
    let code = process.end_within(Duration::from_secs(20));

    assert_eq!(code, Some(0), "after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let spoken: Vec<_> = speakers.into_iter().map(|thread| thread.join().expect("it ran")).collect();
    let changed = changer.join().expect("it ran");
    assert!(changed > 0 && spoken.iter().all(|(acknowledged, _)| acknowledged.len() > 50));
    let _process = dev(data.path(), at);
    let api = Api::of(at.http);
    let (_, twin) = api.get("/twins/changed").expect("an answer");
    assert!(twin["desired"]["serial"].as_u64() >= Some(changed), "{changed}: {twin}");
    for (n, (acknowledged, reason)) in spoken.into_iter().enumerate() {
        assert_eq!(reason, Some(0x8B), "{} was told why", name(n));
        let items = api.all(&format!("/twins/{}/telemetry", name(n)), "from");
        let kept: BTreeSet<u64> = items.iter().filter_map(|item| item["data"]["value"].as_u64()).collect();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "{} lost {lost:?}", name(n));
        let (_, twin) = api.get(&format!("/twins/{}", name(n))).expect("an answer");
        let connection = &twin["system"]["connection"];
        assert_eq!(connection["state"], "disconnected", "{connection}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let at = Addresses::free();
    let mut process = dev(data.path(), at);
    let mut device = Online::connect(at.mqtt, "silent", false);
    device.subscribe("twins/me/requests/+/+");
    let asked = move || Api::of(at.http).post("/twins/silent/requests/ping?timeout_s=60", &json!(null));
    thread::spawn(asked);
    device.hear("twins/me/requests/ping/");

    process.terminate();
    assert_eq!(process.end_within(Duration::from_millis(500)), None, "it waits for the answer");
    process.terminate();

    assert_eq!(process.end_within(Duration::from_secs(2)), Some(130));
}
