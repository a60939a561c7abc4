//! Devices that speak all the time, an application that sends them commands, and one that reads: all of it is history.
//!
//! Half of the devices make a new client for each connection, which says nothing twice: plain QoS 1. The others keep
//! their client, which says again what was not acknowledged: QoS 2, and QoS 1 with a `mid`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::{ConnectionError, QoS};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::device::{Device, Happened};
use crate::support::history::{History, LATEST, What, command_name};
use crate::support::http::Api;
use crate::support::process::Addresses;

pub const DEVICES: [&str; 8] =
    ["plain-1", "plain-2", "plain-3", "plain-4", "again-1", "again-2", "again-3", "again-4"];

/// How long a command lives that is not meant to expire.
const LONG: Duration = Duration::from_secs(3_600);
/// How long one lives that is.
const SHORT: Duration = Duration::from_secs(1);

/// Registers the devices as the kind that counts.
pub fn register(api: &Api, history: &History) {
    for device in DEVICES {
        let (status, body) =
            api.put(&format!("/devices/{device}"), &json!({ "kind": "alarm" })).expect("it answers");
        assert_eq!(status, 201, "{body}");
    }
    register_enrolled(history);
}

/// Devices that register themselves when they connect.
pub fn register_enrolled(history: &History) {
    for device in DEVICES.iter().filter(|device| says_again(device)) {
        history.unordered(device);
    }
}

fn says_again(device: &str) -> bool {
    device.starts_with("again")
}

/// Where the nodes of a fleet are, and what is shown to them.
#[derive(Debug, Clone)]
pub struct Doors {
    /// One node, or several of a cluster: whoever loses one goes to the next.
    pub nodes: Vec<Addresses>,
    /// The token of an application; a node that asks for none gets none.
    pub token: Option<String>,
    /// The keys of the devices, in their order.
    pub keys: Vec<String>,
    /// Each so many messages of a device one arms a timer. What is said while nobody leads is taken at once afterwards, and
    /// a twin has 64 timers at most: another one is refused.
    pub arm_every: u64,
}

impl Doors {
    /// One node that asks for nothing.
    pub fn open(node: Addresses) -> Self {
        Self { nodes: vec![node], token: None, keys: vec![String::new(); DEVICES.len()], arm_every: 10 }
    }

    /// The API of a node, counted on past the last one.
    pub fn api(&self, node: usize) -> Api {
        let at = self.nodes[node % self.nodes.len()].http;
        self.token.as_ref().map_or_else(|| Api::of(at), |token| Api::with_token(at, token))
    }

    /// A client of a device, at a node.
    fn device(&self, number: usize, node: usize) -> Device {
        let at = self.nodes[node % self.nodes.len()].mqtt;
        Device::with_key(at, DEVICES[number], true, &self.keys[number])
    }
}

/// What all who make the load share.
#[derive(Clone)]
struct Shared {
    doors: Doors,
    history: Arc<History>,
    speaking: Arc<AtomicBool>,
    /// A session that was to be kept was not there.
    forgotten: Arc<AtomicBool>,
}

/// The load, until it is stopped.
pub struct Load {
    runtime: Runtime,
    shared: Shared,
    applications: [JoinHandle<()>; 2],
}

impl Load {
    pub fn start(doors: Doors, history: Arc<History>) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let speaking = Arc::new(AtomicBool::new(true));
        let shared = Shared { doors, history, speaking, forgotten: Arc::default() };
        for number in 0..DEVICES.len() {
            runtime.spawn(live(number, shared.clone()));
        }
        let (sends, reads) = (shared.clone(), shared.clone());
        let applications =
            [std::thread::spawn(move || command(&sends)), std::thread::spawn(move || read(&reads))];
        Self { runtime, shared, applications }
    }

    /// Nothing new is said; devices still answer, and say again what was not acknowledged.
    pub fn stop_saying(&self) {
        self.shared.speaking.store(false, Ordering::Relaxed);
    }

    /// Ends it; whether every kept session was there when its device came back.
    pub fn stop(self) -> bool {
        for application in self.applications {
            application.join().expect("the application did not panic");
        }
        self.runtime.shutdown_background();
        !self.shared.forgotten.load(Ordering::Relaxed)
    }
}

/// What a device knows over all its connections.
#[derive(Default)]
struct Life {
    said: u64,
    subscribed: bool,
    duties: Duties,
}

/// A device connects again and again. Where it is a new client each time, it goes from node to node.
async fn live(number: usize, shared: Shared) {
    let (id, mut life, mut node) = (DEVICES[number], Life::default(), number);
    let mut device = shared.doors.device(number, node);
    loop {
        let _ended = connection(id, &mut device, &mut life, &shared).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if !says_again(id) {
            node += 1;
            device = shared.doors.device(number, node);
            // What this client has not said, the next one does.
            life.duties.answer_all_again();
        }
    }
}

async fn connection(
    id: &str,
    device: &mut Device,
    life: &mut Life,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    let mut tick = tokio::time::interval(Duration::from_millis(4));
    let mut connected = false;
    loop {
        let happened = tokio::select! {
            happened = device.next() => happened?,
            // Before it is connected nothing may come between: the client would begin anew.
            _ = tick.tick(), if connected => {
                if shared.speaking.load(Ordering::Relaxed) {
                    life.said += 1;
                    speak(id, device, life.said, shared);
                }
                life.duties.answer(device);
                continue;
            }
        };
        match happened {
            Happened::Connected { session_present } => {
                connected = true;
                if life.subscribed && !session_present {
                    shared.forgotten.store(true, Ordering::Relaxed);
                }
                // A session that was told so once keeps its subscription.
                if !life.subscribed {
                    drop(device.client.try_subscribe("twins/me/commands", QoS::AtLeastOnce));
                }
            }
            Happened::Subscribed => life.subscribed = true,
            Happened::Other => {}
            Happened::Acknowledged(number) if number >= ANSWERS => life.duties.answered(number),
            Happened::Acknowledged(serial) => shared.history.acknowledged(serial),
            Happened::Message { payload, .. } => {
                life.duties.take(payload["id"].as_str().unwrap_or_default());
            }
        }
    }
}

/// Says the `n`-th thing.
fn speak(id: &str, device: &mut Device, n: u64, shared: &Shared) {
    let again = says_again(id);
    let what = match n % 10 {
        _ if n.is_multiple_of(shared.doors.arm_every) => What::Arm,
        // A client that says things again may mix up their order.
        1..=3 if !again => What::Report,
        _ => What::Sample,
    };
    let serial = shared.history.say(id, what);
    let (topic, payload) = match what {
        What::Report => ("twins/me/reported", json!({ "n": serial })),
        What::Arm => ("twins/me/telemetry/arm", json!(serial)),
        _ => ("twins/me/telemetry/serial", json!(serial)),
    };
    let (qos, topic) = match (again, n % 2) {
        (false, _) => (QoS::AtLeastOnce, topic.to_owned()),
        (true, 0) => (QoS::ExactlyOnce, topic.to_owned()),
        (true, _) => (QoS::AtLeastOnce, format!("{topic}?mid={serial}")),
    };
    device.say_with(qos, serial, &topic, &payload);
}

/// Answers have numbers from here on; what is said by itself stays below.
const ANSWERS: u64 = 1 << 40;

/// The commands that a device has taken and not seen its answer to acknowledged: it must not forget them, since what
/// is delivered once is not delivered again.
#[derive(Default)]
struct Duties {
    open: BTreeMap<u64, String>,
    said: u64,
    last: u64,
}

impl Duties {
    fn take(&mut self, id: &str) {
        if !self.open.values().any(|open| open == id) {
            self.last = self.last.max(ANSWERS) + 1;
            self.open.insert(self.last, id.to_owned());
        }
    }

    /// Says what was not said, as far as the client has room.
    fn answer(&mut self, device: &mut Device) {
        for (number, id) in self.open.range(self.said + 1..) {
            if !device.say(*number, &format!("twins/me/commands/{id}/done"), &json!({ "by": "the test" })) {
                return;
            }
            self.said = *number;
        }
    }

    fn answer_all_again(&mut self) {
        self.said = 0;
    }

    fn answered(&mut self, number: u64) {
        self.open.remove(&number);
    }
}

/// An application sends commands to one device after the other: plain ones, ones that live shortly, ones of which only
/// the latest counts, and ones that it says again until they are answered.
fn command(shared: &Shared) {
    let Shared { doors, history, speaking, .. } = shared;
    let apis: Vec<_> = (0..doors.nodes.len()).map(|node| doors.api(node)).collect();
    for (n, device) in (0..).zip(DEVICES.iter().cycle()) {
        if !speaking.load(Ordering::Relaxed) {
            return;
        }
        // The count of devices is even, so that each gets each of these in turn.
        let (what, ttl) = match (n / DEVICES.len()) % 4 {
            0 => (What::Command { repeated: false, ttl: LONG }, LONG),
            1 => (What::Command { repeated: false, ttl: SHORT }, SHORT),
            2 => (What::Command { repeated: true, ttl: LONG }, LONG),
            _ => (What::Latest, LONG),
        };
        let serial = history.say(device, what);
        let (name, mode) = match what {
            What::Latest => (LATEST.to_owned(), "latest"),
            _ => (command_name(serial), "queue"),
        };
        let order = json!({
            "name": name, "payload": serial, "answer": "expected", "mode": mode, "ttl_s": ttl.as_secs(),
        });
        let path = format!("/twins/{device}/commands");
        let answer = match what {
            What::Command { repeated: true, .. } => insist(&apis, &path, &format!("key-{serial}"), &order),
            _ => apis[n / DEVICES.len() % apis.len()].post(&path, &order),
        };
        if let Some((202, body)) = answer {
            history.taken(serial, body["id"].as_str().expect("a command has an id"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says it until it is answered for good, under one key, to one node after the other.
fn insist(apis: &[Api], path: &str, key: &str, order: &Value) -> Option<(u16, Value)> {
    for api in apis.iter().cycle().take(500) {
        match api.post_once(path, key, order) {
            Some((status, body)) if status < 500 => return Some((status, body)),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    None
}

/// An application reads what the plain devices report.
fn read(shared: &Shared) {
    let Shared { doors, history, speaking, .. } = shared;
    let apis: Vec<_> = (0..doors.nodes.len()).map(|node| doors.api(node)).collect();
    for (device, api) in DEVICES.iter().filter(|device| !says_again(device)).cycle().zip(apis.iter().cycle())
    {
        if !speaking.load(Ordering::Relaxed) {
            return;
        }
        history.read(device, || match api.get(&format!("/twins/{device}"))? {
            (200, twin) => Some(twin["reported"]["n"].as_u64().unwrap_or(0)),
            _ => None,
        });
        std::thread::sleep(Duration::from_millis(5));
    }
}
