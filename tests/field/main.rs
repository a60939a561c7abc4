//! From factory to field on a node in the open, by HTTP, MQTT and the command line: a device is registered, activated,
//! connected, given a new key by its connection, replaced, quarantined, shut out, revoked and removed. After each step the
//! node is killed, and then whoever has ever had a key tries to come in: one device does, the one whose place it is.

mod certificates;
#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::http::Api;
use support::node::eventually;
use support::online::Online;
use support::process::{Addresses, Process};
use support::served::{certify, twinfold, words};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_twinfold");
const NONCE: &str = "7f1f0c5e9a0b4d3c";

/// A node in the open that can be killed, its admin, and all keys that were ever given out, with whose they are.
struct Field {
    data: TempDir,
    at: Addresses,
    process: Option<Process>,
    token: String,
    keys: Vec<(String, String)>,
}

impl Field {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        certify(data.path());
        let folder = data.path().join("node");
        let added = twinfold(&["user", "add", "ada", "--role", "admin", "--data", folder.to_str().unwrap()]);
        let token = String::from_utf8(added.stdout).unwrap().trim().to_owned();
        let mut field = Self { data, at: Addresses::free(), process: None, token, keys: Vec::new() };
        field.start();
        field
    }

    fn start(&mut self) {
        let mut command = Command::new(PROGRAM);
        command.args(words(self.data.path())).arg("--allow-plaintext");
        command.args(["--mqtt", &self.at.mqtt.to_string(), "--http", &self.at.http.to_string()]);
        self.process = Some(Process::ready(command).0);
    }

    /// SIGKILL, and the same node again.
    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
        self.start();
    }

    fn api(&self) -> Api {
        Api::with_token(self.at.http, &self.token)
    }

    /// The command line, as the admin: whether it did it, and what it printed.
    fn run(&self, words: &[&str]) -> (bool, String) {
        let url = format!("http://{}", self.at.http);
        let output = twinfold(&[words, &["--url", &url, "--token", &self.token]].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let (done, said) = self.run(words);
        assert!(done, "{words:?}: {said}");
        said
    }

    /// Registers a device and activates it by what only it has. Its key.
    fn activated(&mut self, id: &str) -> String {
        let shown: Value =
            serde_json::from_str(&self.done(&["device", "add", id, "--generate", "--json"])).unwrap();
        let body = json!({"device_id": id, "activation_key": shown["activation_key"], "nonce": NONCE});
        self.kill();
        let (status, handed) = Api::of(self.at.http).post("/provision/activate", &body).unwrap();
        assert_eq!(status, 200, "{handed}");
        self.kill();
        assert_eq!(Api::of(self.at.http).post("/provision/activate", &body), Some((200, handed.clone())));
        self.keep(id, &handed)
    }

    fn keep(&mut self, id: &str, handed: &Value) -> String {
        let key = handed["key"].as_str().unwrap_or_else(|| panic!("no key: {handed}")).to_owned();
        self.keys.push((id.to_owned(), key.clone()));
        key
    }

    /// The devices that some key lets in, and that are told what the one in this place is told.
    fn holders(&self) -> Vec<&str> {
        let mut holders: Vec<_> = self.keys.iter().filter(|(id, key)| self.holds(id, key)).collect();
        holders.dedup_by(|(one, _), (other, _)| one == other);
        holders.into_iter().map(|(id, _)| &**id).collect()
    }

    fn holds(&self, id: &str, key: &str) -> bool {
        let told = Api::of_device_with(self.at.http, id, key).get("/desired").expect("the node answers");
        assert!([200, 204, 401, 403, 410].contains(&told.0), "{told:?}");
        told.1["patch"]["speed"] == 5
    }

    /// Kills the node. Then the place is this device's, and no other's.
    #[track_caller]
    fn is_of(&mut self, id: &str) {
        self.kill();
        assert_eq!(self.holders(), [id]);
    }

    fn lifecycle(&self, id: &str) -> Value {
        self.api().get(&format!("/devices/{id}")).unwrap().1["lifecycle"].clone()
    }
}

#[test]
fn after_each_step_and_each_kill_the_place_is_one_devices() {
    let mut field = Field::new();
    let first = field.activated("pump-1");
    let changed = field.api().patch("/twins/pump-1", &json!({"desired": {"speed": 5}, "tags": {"hall": 7}}));
    assert_eq!(changed.unwrap().0, 200);
    field.is_of("pump-1");

    // Its key is rotated by the connection that it has.
    let mut online = Online::connect_with(field.at.mqtt, "pump-1", &first, false);
    online.report(&json!({"speed": 3}));
    online.subscribe("twins/me/credentials/+/+/reply");
    online.publish("twins/me/credentials/rotate/r1", json!({"nonce": NONCE, "grace_s": 3600}).to_string());
    let rotated = online.hear_on("twins/me/credentials/rotate/r1/reply");
    let second = field.keep("pump-1", &rotated["payload"]);
    field.is_of("pump-1");
    assert!(field.holds("pump-1", &first) && field.holds("pump-1", &second), "both, for a while");

    // A command waits; and another device takes its place.
    let sent = field.api().post("/twins/pump-1/commands", &json!({"name": "open", "payload": 1}));
    assert_eq!(sent.unwrap().0, 202);
    let third = field.activated("pump-2");
    field.is_of("pump-1");
    let online = Online::connect_with(field.at.mqtt, "pump-1", &second, true);
    let said = field.done(&["device", "replace", "pump-1", "--by", "pump-2", "--reason", "burnt out"]);
    assert!(said.contains("replaced"), "{said}");
    online.await_end();
    field.is_of("pump-2");
    assert_eq!((field.lifecycle("pump-1"), field.lifecycle("pump-2")), (json!("replaced"), json!("active")));
    let (status, gone) = field.api().get("/twins/pump-1").unwrap();
    assert_eq!((status, &gone["code"]), (410, &json!("replaced")));
    assert!(gone["detail"].as_str().unwrap().contains("`pump-2` has taken the place of `pump-1`"), "{gone}");
    let twin = field.api().get("/twins/pump-2").unwrap().1;
    assert_eq!((&twin["tags"]["hall"], &twin["reported"]["speed"]), (&json!(7), &json!(3)), "{twin}");
    let mut online = Online::connect_with(field.at.mqtt, "pump-2", &third, true);
    online.subscribe("twins/me/commands");
    assert_eq!(online.hear_on("twins/me/commands")["payload"], json!(1), "it was the other one's");
    online.leave();

    // What the one before did is read through the one that it is now.
    let before = field.api().all("/twins/pump-2/events?ancestor=pump-1&type=event", "from");
    let names: Vec<_> = before.iter().map(|record| record["data"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["invited", "activated", "rotated", "offered", "replaced"]);
    assert_eq!(field.api().get("/twins/pump-2/events?ancestor=pump-9").unwrap().0, 400);

    // It is quarantined, shut out, let in again; without its credentials nobody comes in.
    field.done(&["device", "quarantine", "pump-2", "--reason", "talks too much"]);
    field.kill();
    assert_eq!(field.lifecycle("pump-2"), "quarantined");
    field.done(&["device", "disable", "pump-2", "--reason", "stolen"]);
    field.kill();
    assert!(field.holders().is_empty());
    field.done(&["device", "enable", "pump-2", "--reason", "found again"]);
    field.is_of("pump-2");
    field.done(&["device", "revoke", "pump-2", "--reason", "its key was in a log"]);
    field.kill();
    assert!(field.holders().is_empty());
    let handed = field.done(&["device", "activate", "pump-2", "--reason", "on site", "--json"]);
    field.keep("pump-2", &serde_json::from_str(&handed).unwrap());
    field.is_of("pump-2");

    // It is removed, and its id is another device's.
    field.done(&["device", "remove", "pump-2", "--reason", "scrapped"]);
    field.kill();
    assert!(field.holders().is_empty());
    field.done(&["device", "add", "pump-2"]);
    field.kill();
    assert!(field.holders().is_empty(), "an old key of the id");
    assert!(field.api().all("/twins/pump-2/events?type=event", "from").is_empty());

    // All that was ever known of them is forgotten.
    for id in ["pump-1", "pump-2"] {
        field.done(&["device", "remove", id, "--erase", "--reason", "asked to"]);
        field.kill();
        let all = field.api().all(&format!("/twins/{id}/events?generation=all"), "from");
        assert!(all.iter().all(|record| record["sequence"] == all[0]["sequence"]), "{all:?}");
        assert_eq!(
            (all.len(), &all[1]["data"]["name"]),
            (2, &json!("erased")),
            "that it went, and who had it so"
        );
    }
    assert!(field.holders().is_empty());
}

#[test]
fn what_is_erased_is_not_in_the_files_of_the_streams_any_more() {
    let (planted, kept) = ("planted-4711", "kept-0815");
    let mut field = Field::new();
    for (id, word) in [("pump-1", planted), ("pump-2", kept)] {
        field.done(&["device", "add", id, "--tag", &format!("word={word}")]);
    }
    let holds = |field: &Field, word: &str| holds(&field.data.path().join("node/streams"), word.as_bytes());
    assert!(holds(&field, planted) && holds(&field, kept));

    field.done(&["device", "remove", "pump-1", "--erase", "--reason", "asked to"]);
    let seen = field.api().all("/events", "from");
    let of = |id: &str| seen.iter().filter(|record| record["twin"] == id).count();
    assert!(!serde_json::to_string(&seen).unwrap().contains(planted), "{seen:?}");
    assert!(of("pump-1") > 0 && of("pump-2") > 0);
    field.kill();
    // An orderly stop writes a checkpoint, which is what the files wait for.
    assert_eq!(field.process.take().unwrap().stop(), Some(0));
    field.start();

    eventually(|| (!holds(&field, planted)).then_some(())).expect("the files are written anew");
    field.kill();
    assert!(!holds(&field, planted) && holds(&field, kept));
    assert_eq!(field.process.take().unwrap().stop(), Some(0));
    let folder = field.data.path().join("node");
    let verified = twinfold(&["log", "verify", folder.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

/// Whether a file below a folder has these bytes.
fn holds(folder: &Path, word: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        // One that is replaced just now is looked at again.
        let read = || std::fs::read(&path).unwrap_or_default();
        if path.is_dir() { holds(&path, word) } else { read().windows(word.len()).any(|part| part == word) }
    })
}

#[test]
fn a_node_that_is_killed_while_a_device_is_replaced_finds_nothing_done_or_does_the_rest() {
    let mut field = Field::new();
    field.activated("pump-0");
    let changed = field.api().patch("/twins/pump-0", &json!({"desired": {"speed": 5}}));
    assert_eq!(changed.unwrap().0, 200);
    for (n, patience) in [0, 1, 2, 4, 6, 9, 13, 20].map(Duration::from_millis).into_iter().enumerate() {
        let (old, new) = (format!("pump-{n}"), format!("pump-{}", n + 1));
        field.activated(&new);
        let (api, path, body) =
            (field.api(), format!("/devices/{old}/replace"), json!({"by": new, "reason": "burnt out"}));
        let (said, begun) = std::sync::mpsc::channel();
        let asked = std::thread::spawn({
            let (api, path, body) = (api.clone(), path.clone(), body.clone());
            move || {
                said.send(()).unwrap();
                api.post(&path, &body)
            }
        });
        begun.recv().unwrap();
        std::thread::sleep(patience);

        field.kill();

        let answered = asked.join().unwrap();
        let holder = eventually(|| match &field.holders()[..] {
            [holder] => Some((*holder).to_owned()),
            [] => None,
            several => panic!("the place is of {several:?}"),
        });
        let holder = holder.expect("the place is somebody's");
        if answered.is_some_and(|(status, _)| status == 200) {
            assert_eq!(holder, new, "it was acknowledged");
        }
        let (status, shown) = field.api().post(&path, &body).unwrap();
        assert_eq!((status, &shown["replaced_by"]), (200, &json!(new)), "{shown}");
        assert_eq!(field.holders(), [&*new]);
        // Keys of those that went have been tried often enough.
        field.keys.retain(|(id, _)| *id == new);
    }
    let ancestors = field.api().get("/devices/pump-8").unwrap().1["ancestors"].clone();
    assert_eq!(ancestors.as_array().map(Vec::len), Some(8), "{ancestors}");
}
