//! Devices that speak nothing but HTTP: the main job without a connection, over a real node of the stock binary.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::http::Api;
use support::node::{Node, eventually};
use support::online::Online;

/// Longer than a wake-up may take on a busy machine, and far shorter than any wait of these tests.
const SOON: Duration = Duration::from_secs(2);

fn device(node: &Node, id: &str) -> Api {
    Api::of_device(node.at.http, id)
}

/// The body of a call that has to answer with a status.
#[track_caller]
fn answer(status: u16, answered: Option<(u16, Value)>) -> Value {
    let (got, body) = answered.expect("the node answers");
    assert_eq!(got, status, "{body}");
    body
}

fn send(node: &Node, device: &str, order: &Value) -> String {
    let taken = answer(202, node.api().post(&format!("/twins/{device}/commands"), order));
    taken["id"].as_str().expect("a command has an id").to_owned()
}

fn command(node: &Node, device: &str, id: &str) -> Value {
    answer(200, node.api().get(&format!("/twins/{device}/commands/{id}")))
}

/// Calls in another thread, and says how long the answer took from `begin` on.
fn later(api: &Api, path: &'static str) -> std::thread::JoinHandle<(Instant, Option<(u16, Value)>)> {
    let api = api.clone();
    std::thread::spawn(move || {
        let answered = api.get(path);
        (Instant::now(), answered)
    })
}

#[test]
fn what_a_device_says_over_http_its_twin_has_when_it_is_answered() {
    let node = Node::shared();
    let device = device(&node, "http-speaker");

    answer(204, device.patch("/reported", &json!({"firmware": "1.0.0", "fan": {"on": true, "speed": 3}})));
    answer(204, device.patch("/reported?time=2026-01-02T03:04:05Z", &json!({"fan": {"on": null}})));
    answer(204, device.post("/telemetry/temperature", &json!(21.5)));
    answer(204, device.post("/telemetry/phase%2F2?time=2026-01-02T03:04:05.678Z", &json!(7)));
    answer(204, device.post("/telemetry", &json!([{"a": 1, "$time": "2026-01-02T00:00:00Z"}, {"a": 2}])));
    answer(204, device.post_bytes("/telemetry/picture", "image/png", &[0x89, b'P']));

    let twin = node.twin("http-speaker");
    assert_eq!((&twin["kind"], &twin["reported"]["fan"]), (&"device".into(), &json!({"speed": 3})));
    assert_eq!(twin["system"]["connection"], json!({"state": "disconnected"}));
    let records = node.api().all("/twins/http-speaker/telemetry", "from");
    let channels: Vec<_> = records.iter().map(|record| record["data"]["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["temperature", "phase/2", "_", "_", "picture"]);
    assert_eq!(records[1]["time"], "2026-01-02T03:04:05.678Z");
    assert_eq!(records[2]["time"], "2026-01-02T00:00:00.000Z");
    assert_eq!(records[4]["data"]["content_type"], "image/png");
}

#[test]
fn what_comes_again_under_its_own_id_has_no_second_effect() {
    let node = Node::start();
    let device = device(&node, "http-again");
    answer(204, device.post("/telemetry/level?mid=a/1", &json!(1)));
    answer(204, device.post("/telemetry/level?mid=a/1", &json!(1)));

    let node = node.kill_and_restart();
    answer(204, device.post("/telemetry/level?mid=a/1", &json!(1)));
    answer(204, device.post("/telemetry/level?mid=a/2", &json!(2)));
    answer(422, device.post("/telemetry/level?mid=", &json!(3)));

    let samples = node.api().all("/twins/http-again/telemetry", "from");
    let values: Vec<_> = samples.iter().map(|sample| &sample["data"]["value"]).collect();
    assert_eq!(values, [&json!(1), &json!(2)]);
}

#[test]
fn a_call_that_nobody_waits_for_any_more_uses_no_attempt() {
    let node = Node::shared();
    let device = device(&node, "http-hasty");
    answer(204, device.post("/telemetry/level", &json!(1)));
    for _ in 0..8 {
        let mut hasty = TcpStream::connect(node.at.http).expect("it listens");
        let host = node.at.http;
        let call = format!(
            "GET /v1/twins/me/commands?wait_s=60 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic aHR0cC1oYXN0eTpr\r\n\r\n"
        );
        hasty.write_all(call.as_bytes()).expect("it is read");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The ends of those connections are seen at once, but not before they are there.
    std::thread::sleep(Duration::from_millis(500));

    send(&node, "http-hasty", &json!({"name": "turn", "payload": 1}));
    std::thread::sleep(Duration::from_millis(100));

    let listed = answer(200, device.get("/commands"));
    assert_eq!(listed["items"][0]["attempt"], 1, "{listed}");
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_no_trace() {
    let node = Node::shared();
    answer(201, node.api().put("/devices/http-refused", &json!({"kind": "thermostat"})));
    let device = device(&node, "http-refused");

    let problem = answer(422, device.post("/telemetry/temperature", &json!("warm")));
    assert_eq!(problem["code"], "malformed");
    answer(400, device.post_bytes("/telemetry", "application/json", b"{"));
    answer(415, device.post_bytes("/telemetry", "application/x-www-form-urlencoded", b"a=1"));
    answer(413, device.patch("/reported", &json!({"large": "x".repeat(70_000)})));
    answer(422, device.patch("/reported", &json!([1])));
    answer(400, device.get("/desired?wait_s=61"));
    answer(400, device.get("/desired?until=1"));
    answer(404, device.post_empty("/commands/7/done"));
    answer(404, device.post_empty("/commands/7/maybe"));
    let nobody = answer(401, node.api().post("/twins/me/telemetry", &json!(1)));
    assert!(nobody["next"].as_str().unwrap().contains("Basic"), "{nobody}");

    let twin = node.twin("http-refused");
    assert_eq!((&twin["version"], &twin["reported"]["$version"]), (&1.into(), &0.into()), "{twin}");
    assert!(node.api().all("/twins/http-refused/telemetry", "from").is_empty());
}

#[test]
fn a_device_asks_what_it_should_become_and_gets_what_it_lacks() {
    let node = Node::shared();
    let device = device(&node, "http-follower");
    let path = "/twins/http-follower";

    let first = answer(200, device.get("/desired"));
    assert_eq!(first, json!({"version": 0, "patch": {}, "full": true}));
    answer(200, node.api().patch(path, &json!({"desired": {"mode": "eco", "setpoint": 21}})));
    answer(200, node.api().patch(path, &json!({"desired": {"mode": null, "setpoint": 19}})));

    let missed = answer(200, device.get("/desired?since=1"));
    assert_eq!(missed, json!({"version": 2, "patch": {"mode": null, "setpoint": 19}, "full": false}));
    let whole = answer(200, device.get("/desired?since=99"));
    assert_eq!(whole, json!({"version": 2, "patch": {"setpoint": 19}, "full": true}));
    answer(204, device.get("/desired?since=2"));
}

#[test]
fn a_call_that_waits_is_woken_by_the_change_and_by_nothing_else() {
    let node = Node::shared();
    let device = device(&node, "http-sleeper");
    answer(204, device.patch("/reported", &json!({"a": 1})));

    let waiting = later(&device, "/desired?since=0&wait_s=8");
    std::thread::sleep(Duration::from_millis(200));
    answer(204, device.patch("/reported", &json!({"a": 2})));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished(), "a report is no change of the desired section");
    answer(200, node.api().patch("/twins/http-sleeper", &json!({"desired": {"on": true}})));
    let changed = Instant::now();

    let (woken, answered) = waiting.join().unwrap();
    assert_eq!(answer(200, answered), json!({"version": 1, "patch": {"on": true}, "full": false}));
    let late = woken.saturating_duration_since(changed);
    assert!(late < SOON, "{late:?}");

    let began = Instant::now();
    answer(204, device.get("/desired?since=1&wait_s=0.3"));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_call_that_waits_is_woken_within_milliseconds() {
    let node = Node::shared();
    let device = device(&node, "http-quick");
    answer(204, device.patch("/reported", &json!({})));
    let waits = ["0", "1", "2", "3", "4"].map(|since| format!("/desired?since={since}&wait_s=8"));

    // The quickest of a few: the machine may be busy with other things, but not all the time.
    let late = waits.into_iter().zip(1..).map(|(path, version)| {
        let waiting = later(&device, path.leak());
        std::thread::sleep(Duration::from_millis(100));
        answer(200, node.api().patch("/twins/http-quick", &json!({"desired": {"n": version}})));
        let changed = Instant::now();
        let (woken, answered) = waiting.join().unwrap();
        assert_eq!(answer(200, answered)["version"], json!(version));
        woken.saturating_duration_since(changed)
    });

    let late = late.min().unwrap();
    assert!(late < Duration::from_millis(20), "{late:?} after the change was answered");
}

#[test]
fn a_command_is_handed_out_until_the_device_says_what_became_of_it() {
    let node = Node::shared();
    let device = device(&node, "http-worker");
    assert_eq!(answer(200, device.get("/commands")), json!({"items": [], "next": null}));

    let waiting = later(&device, "/commands?wait_s=8");
    std::thread::sleep(Duration::from_millis(100));
    let order = json!({"name": "restart", "payload": {"in_s": 5}, "answer": "expected"});
    let (first, second) = (send(&node, "http-worker", &order), send(&node, "http-worker", &order));
    let sent = Instant::now();
    let (woken, answered) = waiting.join().unwrap();
    let handed = answer(200, answered)["items"][0].take();
    assert!(woken.saturating_duration_since(sent) < SOON);
    assert_eq!((&handed["id"], &handed["name"]), (&json!(first), &json!("restart")));
    assert_eq!((&handed["payload"]["in_s"], &handed["attempt"]), (&json!(5), &json!(1)));
    assert_eq!(command(&node, "http-worker", &first)["state"], "sent");

    let again = answer(200, device.get("/commands"));
    assert_eq!((&again["items"][0]["id"], &again["items"][0]["attempt"]), (&json!(first), &json!(2)));
    answer(204, device.post_empty(&format!("/commands/{first}/delivered")));
    answer(204, device.post_empty(&format!("/commands/{first}/delivered")));
    assert_eq!(command(&node, "http-worker", &first)["state"], "delivered");

    let next = answer(200, device.get("/commands"));
    assert_eq!(next["items"][0]["id"], json!(second));
    answer(204, device.post(&format!("/commands/{second}/rejected"), &json!("no time")));
    answer(204, device.post(&format!("/commands/{first}/done"), &json!({"took_s": 4})));
    let done = command(&node, "http-worker", &first);
    assert_eq!((&done["state"], &done["result"]["took_s"]), (&json!("done"), &json!(4)));
    assert_eq!(command(&node, "http-worker", &second)["state"], "rejected");
    assert_eq!(answer(200, device.get("/commands"))["items"], json!([]));
}

#[test]
fn a_command_that_is_never_acknowledged_dies_and_makes_room() {
    let node = Node::shared();
    let device = device(&node, "http-deaf");
    answer(204, device.patch("/reported", &json!({})));
    let first = send(&node, "http-deaf", &json!({"name": "a"}));
    let second = send(&node, "http-deaf", &json!({"name": "b"}));

    for attempt in 1..=5 {
        let handed = answer(200, device.get("/commands"));
        assert_eq!(
            (&handed["items"][0]["id"], &handed["items"][0]["attempt"]),
            (&json!(first), &json!(attempt))
        );
    }
    let handed = answer(200, device.get("/commands"));

    assert_eq!(handed["items"][0]["id"], json!(second));
    assert_eq!(command(&node, "http-deaf", &first)["state"], "dead");
}

#[test]
fn of_calls_that_wait_the_newest_gets_the_command() {
    let node = Node::shared();
    let device = device(&node, "http-twice");
    answer(204, device.patch("/reported", &json!({})));

    let older = later(&device, "/commands?wait_s=8");
    std::thread::sleep(Duration::from_millis(200));
    let newer = later(&device, "/commands?wait_s=8");
    let (_, given_up) = older.join().unwrap();
    assert_eq!(answer(200, given_up)["items"], json!([]));
    let id = send(&node, "http-twice", &json!({"name": "blink"}));

    let handed = answer(200, newer.join().unwrap().1);
    assert_eq!((&handed["items"][0]["id"], &handed["items"][0]["attempt"]), (&json!(id), &json!(1)));
}

#[test]
fn a_connection_that_listens_goes_before_a_device_that_asks() {
    let node = Node::shared();
    let device = device(&node, "http-both");
    let mut online = Online::connect(node.at.mqtt, "http-both", false);
    online.subscribe("twins/me/commands");

    let id = send(&node, "http-both", &json!({"name": "blink"}));
    assert_eq!(answer(200, device.get("/commands?wait_s=0.5"))["items"], json!([]));

    assert_eq!(online.hear_on("twins/me/commands")["id"], json!(id));
    assert_eq!(node.twin("http-both")["system"]["connection"]["transport"], "mqtt");
}

#[test]
fn what_was_answered_is_there_after_a_kill_and_what_was_handed_out_is_handed_out_again() {
    let node = Node::start();
    let speaker = device(&node, "http-lasting");
    answer(204, speaker.patch("/reported", &json!({"n": 1})));
    answer(204, speaker.post("/telemetry/n", &json!(1)));
    let id = send(&node, "http-lasting", &json!({"name": "blink"}));
    assert_eq!(answer(200, speaker.get("/commands"))["items"][0]["attempt"], json!(1));
    answer(200, node.api().patch("/twins/http-lasting", &json!({"desired": {"on": true}})));

    let node = node.kill_and_restart();

    let speaker = device(&node, "http-lasting");
    assert_eq!(node.twin("http-lasting")["reported"]["n"], json!(1));
    assert_eq!(node.api().all("/twins/http-lasting/telemetry", "from").len(), 1);
    let handed = answer(200, speaker.get("/commands"));
    assert_eq!((&handed["items"][0]["id"], &handed["items"][0]["attempt"]), (&json!(id), &json!(2)));
    assert_eq!(answer(200, speaker.get("/desired?since=0"))["patch"], json!({"on": true}));
    answer(204, speaker.post_empty(&format!("/commands/{id}/delivered")));
    assert_eq!(command(&node, "http-lasting", &id)["state"], "delivered");
}

#[test]
fn a_node_that_stops_lets_no_call_wait() {
    let node = Node::start();
    let speaker = device(&node, "http-stopped");
    answer(204, speaker.patch("/reported", &json!({})));
    let waiting = later(&speaker, "/desired?since=0&wait_s=9");
    eventually(|| (!waiting.is_finished()).then_some(())).expect("it waits");
    std::thread::sleep(Duration::from_millis(300));

    let began = Instant::now();
    assert_eq!(node.stop(), Some(0));

    answer(204, waiting.join().unwrap().1);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
