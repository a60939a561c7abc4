//! Backups of a node that is under load, restored and started: by the commands that an operator types.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tempfile::TempDir;

use support::http::Api;
use support::node::{Node, eventually};
use support::online::Online;
use support::process::{Addresses, Process};
use support::raw::request;

const WRITERS: usize = 3;

fn twinfold(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinfold")).args(arguments).output().expect("the binary can be started")
}

/// What a command that must succeed printed.
#[track_caller]
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that must fail says.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

fn backup(node: &Node, file: &Path) -> Output {
    twinfold(&["backup", text(file), "--url", &format!("http://{}", node.at.http)])
}

fn restore(file: &Path, data: &Path, more: &[&str]) -> Output {
    twinfold(&[&["restore", text(file), "--data", text(data)], more].concat())
}

/// A node on a folder that was restored.
struct Again {
    process: Process,
    api: Api,
    at: Addresses,
}

fn start(data: &Path) -> Again {
    let at = Addresses::free();
    let process = Process::dev(Path::new(env!("CARGO_BIN_EXE_twinfold")), &[], data, at, &[]);
    Again { process, api: Api::of(at.http), at }
}

/// Somebody who changes a twin again and again, one number after the other.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    /// Both members of the section always have the same number.
    fn of_desired(node: &Node, id: String) -> Self {
        let api = node.api();
        Self::start(move |serial| {
            let change = json!({"desired": {"a": serial, "b": serial}});
            api.patch(&format!("/twins/{id}"), &change).is_some_and(|(status, _)| status == 200)
        })
    }

    fn of_telemetry(node: &Node, id: &str) -> Self {
        let mut device = Online::connect(node.at.mqtt, id, true);
        Self::start(move |serial| {
            device.publish("twins/me/telemetry/serial", serial.to_string());
            true
        })
    }

    fn start(mut say: impl FnMut(u64) -> bool + Send + 'static) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (said, stopped) = (acknowledged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut serial = 0;
            while !stopped.load(Ordering::Relaxed) {
                serial += 1;
                assert!(say(serial), "{serial} was not taken");
                said.store(serial, Ordering::SeqCst);
            }
            serial
        });
        Self { acknowledged, stop, thread }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("everything was taken")
    }
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it_and_nothing_half() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, data) = (folder.path().join("backup.tar"), folder.path().join("restored"));
    let node = Node::start_with(&["--checkpoint-bytes", "20000"]);
    let names: Vec<String> = (0..WRITERS).map(|n| format!("written-{n}")).collect();
    for name in &names {
        node.api().put(&format!("/devices/{name}"), &json!({"kind": "thermostat"})).expect("an answer");
    }
    let order = json!({"name": "later"});
    let waiting = Online::connect(node.at.mqtt, "written-meter", true);
    let (status, command) = node.api().post("/twins/written-meter/commands", &order).expect("an answer");
    assert_eq!(status, 202, "{command}");
    waiting.leave();
    let writers = names.iter().map(|name| Writer::of_desired(&node, name.clone()));
    let writers: Vec<_> = writers.chain([Writer::of_telemetry(&node, "written-meter")]).collect();
    eventually(|| writers.iter().all(|writer| writer.acknowledged() > 20).then_some(())).expect("they write");

    let before: Vec<u64> = writers.iter().map(Writer::acknowledged).collect();
    let said = done(&backup(&node, &file));
    let after: Vec<u64> = writers.iter().map(Writer::acknowledged).collect();

    assert!(said.contains("node 1, generation 1, taken "), "{said}");
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?}, {after:?}");
    let last: Vec<u64> = writers.into_iter().map(Writer::stop).collect();
    let said = done(&restore(&file, &data, &[]));
    assert!(said.starts_with(text(&data)), "{said}");
    let again = start(&data);
    for (n, name) in names.iter().enumerate() {
        let (_, twin) = again.api.get(&format!("/twins/{name}")).expect("an answer");
        let found = twin["desired"]["a"].as_u64().expect("a number");
        assert!((before[n]..=last[n]).contains(&found), "{name}: {found}, acknowledged was {}", before[n]);
        assert_eq!(twin["desired"]["a"], twin["desired"]["b"]);
    }
    let samples = samples(&again.api, "written-meter");
    let expected: Vec<u64> = (1..=samples.len() as u64).collect();
    assert_eq!(samples, expected, "history is a prefix");
    assert!(samples.len() as u64 >= before[WRITERS], "{} of {}", samples.len(), before[WRITERS]);
    let id = command["id"].as_str().expect("an id");
    let (_, kept) = again.api.get(&format!("/twins/written-meter/commands/{id}")).expect("an answer");
    assert_eq!(kept["state"], "queued");

    // It is a node like any other: it takes what is said to it, and survives a kill.
    let mut device = Online::connect(again.at.mqtt, "written-meter", true);
    device.publish("twins/me/telemetry/serial", (expected.len() + 1).to_string());
    again.process.kill();
    let again = start(&data);
    assert_eq!(self::samples(&again.api, "written-meter").len(), expected.len() + 1);
    assert_eq!(again.process.stop(), Some(0));
    let refusal = refused(&restore(&file, &data, &["--force"]));
    assert!(refusal.contains("is newer: it has generation 3, the backup 1"), "{refusal}");
}

/// All samples of a device, page by page.
fn samples(api: &Api, id: &str) -> Vec<u64> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let (_, page) = api.get(&format!("/twins/{id}/telemetry?limit=1000{from}")).expect("an answer");
        let items = page["items"].as_array().expect("a page has items");
        if items.is_empty() {
            return all;
        }
        all.extend(items.iter().filter_map(|item| item["data"]["value"].as_u64()));
        from = format!("&from={}", page["next"].as_str().expect("a place to read on"));
    }
}

/// A stopped node's backup, and its folder.
fn taken() -> (TempDir, PathBuf, Node) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup.tar");
    let node = Node::start();
    let (status, _) = node.api().put("/devices/kept", &json!({"kind": "device"})).expect("an answer");
    assert_eq!(status, 201);
    done(&backup(&node, &file));
    (folder, file, node)
}

#[test]
fn a_backup_that_is_not_whole_makes_nothing() {
    let (folder, file, _node) = taken();
    let whole = std::fs::read(&file).expect("it can be read");
    let data = folder.path().join("data");
    let bad = folder.path().join("bad.tar");
    let mut flipped = whole.clone();
    // In the second file; between files there are zeros that nobody reads.
    flipped[3 * 512 + 20] ^= 1;
    let cut = &whole[..whole.len() * 2 / 3];
    for (bytes, says) in [(cut, "cut off"), (&flipped[..], "damaged"), (&b"something else"[..], "no backup")]
    {
        std::fs::write(&bad, bytes).expect("it can be written");

        let refusal = refused(&restore(&bad, &data, &[]));

        assert!(refusal.contains(says), "{refusal}");
        assert!(!data.exists());
        let left = std::fs::read_dir(folder.path()).expect("it can be listed").count();
        assert_eq!(left, 2, "nothing is left behind");
    }
}

#[test]
fn a_backup_that_nobody_reads_is_broken_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = Node::start_with(&["--http-stall-s", "1"]);
    let mut device = Online::connect(node.at.mqtt, "large", false);
    // More than the buffers of both ends of a connection hold.
    let body = format!("\"{}\"", "x".repeat(200_000));
    (0..100).for_each(|_| device.publish("twins/me/telemetry/large", body.clone()));
    let mut silent = TcpStream::connect(node.at.http).expect("the node listens");
    let asked = request("POST", "/v1/backup", &[], b"");
    silent.write_all(&asked).expect("it is taken");
    eventually(|| {
        let refused = backup(&node, &folder.path().join("refused.tar"));
        String::from_utf8_lossy(&refused.stderr).contains("another backup is being taken").then_some(())
    })
    .expect("one is taken at a time");

    eventually(|| backup(&node, &folder.path().join("taken.tar")).status.success().then_some(()))
        .expect("the silent one is given up");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let (folder, file, node) = taken();
    let refusal = refused(&backup(&node, &file));
    assert!(refusal.contains("is there already"), "{refusal}");
    let refusal = refused(&backup(&node, &folder.path().join("none").join("a.tar")));
    assert!(
        refusal.contains("no file can be made in ") && refusal.contains("next: name a file"),
        "{refusal}"
    );
    let refusal = refused(&restore(&folder.path().join("none.tar"), &folder.path().join("data"), &[]));
    assert!(refusal.ends_with("next: name a file that `twinfold backup` made\n"), "{refusal}");

    let running = node.data();
    let refusal = refused(&restore(&file, running, &["--force"]));
    assert!(refusal.contains("is in use by another process"), "{refusal}");

    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).expect("it can be made");
    done(&restore(&file, &foreign, &[]));
    std::fs::remove_dir_all(&foreign).expect("it can be removed");
    std::fs::create_dir(&foreign).expect("it can be made");
    std::fs::write(foreign.join("letters"), "dear").expect("it can be written");
    let refusal = refused(&restore(&file, &foreign, &["--force"]));
    assert!(refusal.contains("no node's data"), "{refusal}");
    assert!(refusal.contains(&format!("mv {0} {0}.before", text(&foreign))), "{refusal}");
    assert_eq!(std::fs::read_dir(&foreign).expect("it is there").count(), 1, "nothing is left in it");

    let data = folder.path().join("data");
    done(&restore(&file, &data, &[]));
    let refusal = refused(&restore(&file, &data, &[]));
    let forced = format!("twinfold restore {} --data {} --force", text(&file), text(&data));
    assert!(refusal.contains(&forced), "{refusal}");
    done(&restore(&file, &data, &["--force"]));
    assert!(folder.path().join("data.before-1.1").join("log").is_dir());
    let again = start(&data);
    let (status, twin) = again.api.get("/twins/kept").expect("an answer");
    assert_eq!((status, &twin["kind"]), (200, &Value::from("device")));
}

#[test]
fn a_damaged_folder_is_named_and_kept_aside() {
    let (folder, file, _node) = taken();
    let data = folder.path().join("data");
    done(&restore(&file, &data, &[]));
    let segment = data.join("log").join("000000000001.wal");
    let whole = std::fs::read(&segment).expect("the log's first segment");
    let damage: [(&str, Vec<u8>); 2] =
        [("no segment", b"something else".to_vec()), ("its head", [&[0; 64], &whole[64..]].concat())];
    for (what, bytes) in damage {
        std::fs::write(&segment, bytes).expect("it can be written");

        let refusal = refused(&restore(&file, &data, &[]));

        assert!(refusal.contains("holds data whose log is damaged: segment 1"), "{what}: {refusal}");
        let forced = format!("next: keep it aside and restore: twinfold restore {} --data", text(&file));
        assert!(refusal.contains(&forced), "{what}: {refusal}");
    }
    // A later segment without those between.
    std::fs::write(&segment, &whole).expect("it can be written");
    std::fs::copy(&segment, data.join("log").join("000000000009.wal")).expect("it can be copied");
    let refusal = refused(&restore(&file, &data, &[]));
    assert!(refusal.contains("is missing") && refusal.contains("--force"), "{refusal}");

    done(&restore(&file, &data, &["--force"]));

    assert!(folder.path().join("data.before-1.1").join("log").join("000000000009.wal").is_file());
    let again = start(&data);
    assert_eq!(again.api.get("/twins/kept").expect("an answer").0, 200);
}
