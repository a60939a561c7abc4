//! Devices that speak all the time, an application that sends them commands, and what they were promised.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::QoS;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::device::{Device, Happened};
use crate::support::http::Api;
use crate::support::process::Addresses;

pub const DEVICES: [&str; 8] =
    ["alarm-1", "alarm-2", "alarm-3", "alarm-4", "alarm-5", "alarm-6", "alarm-7", "alarm-8"];

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Promises {
    /// The last report of each device.
    pub reported: BTreeMap<String, u64>,
    said: Vec<(String, What, u64)>,
    /// Commands that were taken, by device.
    pub commands: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Sample,
    Report,
    Arm,
}

/// What is said under a number.
fn what(serial: u64) -> What {
    match serial % 10 {
        0 => What::Arm,
        1..=3 => What::Report,
        _ => What::Sample,
    }
}

impl Promises {
    pub fn counts(&self) -> usize {
        self.said.len() + self.commands.len()
    }

    pub fn samples(&self, device: &str) -> impl Iterator<Item = u64> {
        self.of(device, What::Sample)
    }

    pub fn armed(&self, device: &str) -> impl Iterator<Item = u64> {
        self.of(device, What::Arm)
    }

    fn of(&self, device: &str, what: What) -> impl Iterator<Item = u64> {
        self.said
            .iter()
            .filter(move |(of, said, _)| of == device && *said == what)
            .map(|(_, _, serial)| *serial)
    }
}

/// Registers the devices as the kind that counts.
pub fn register(api: &Api) {
    for device in DEVICES {
        let (status, body) =
            api.put(&format!("/devices/{device}"), &json!({ "kind": "alarm" })).expect("it answers");
        assert_eq!(status, 201, "{body}");
    }
}

/// The load, until it is stopped.
pub struct Load {
    runtime: Runtime,
    speaking: Arc<AtomicBool>,
    application: std::thread::JoinHandle<()>,
}

impl Load {
    pub fn start(at: Addresses, promises: Arc<Mutex<Promises>>) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let speaking = Arc::new(AtomicBool::new(true));
        for device in DEVICES {
            runtime.spawn(live(device, at, promises.clone(), speaking.clone()));
        }
        let saying = speaking.clone();
        let application = std::thread::spawn(move || command(&Api::of(at.http), &promises, &saying));
        Self { runtime, speaking, application }
    }

    /// Nothing new is said; devices still answer.
    pub fn stop_saying(&self) {
        self.speaking.store(false, Ordering::Relaxed);
    }

    pub fn stop(self) {
        self.application.join().expect("the application did not panic");
        self.runtime.shutdown_background();
    }
}

/// A device connects again and again; over each connection it goes on with new numbers.
async fn live(id: &'static str, at: Addresses, promises: Arc<Mutex<Promises>>, speaking: Arc<AtomicBool>) {
    let serial = AtomicU64::new(0);
    let mut duties = Duties::default();
    loop {
        let mut device = Device::new(at.mqtt, id, true);
        let _ended = connection(id, &mut device, &serial, &mut duties, &promises, &speaking).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connection(
    id: &str,
    device: &mut Device,
    serial: &AtomicU64,
    duties: &mut Duties,
    promises: &Mutex<Promises>,
    speaking: &AtomicBool,
) -> Result<(), rumqttc::ConnectionError> {
    let mut tick = tokio::time::interval(Duration::from_millis(4));
    let mut connected = false;
    loop {
        let happened = tokio::select! {
            happened = device.next() => happened?,
            _ = tick.tick() => {
                if connected && speaking.load(Ordering::Relaxed) {
                    speak(device, serial);
                }
                duties.answer(device);
                continue;
            }
        };
        match happened {
            Happened::Connected { .. } => {
                connected = true;
                duties.answer_all_again();
                drop(device.client.try_subscribe("twins/me/commands", QoS::AtLeastOnce));
            }
            Happened::Other => {}
            Happened::Acknowledged(number) if number >= ANSWERS => duties.answered(number),
            Happened::Acknowledged(serial) => {
                let mut promises = promises.lock().expect("nobody panicked");
                let what = what(serial);
                if what == What::Report {
                    promises.reported.insert(id.to_owned(), serial);
                }
                promises.said.push((id.to_owned(), what, serial));
            }
            Happened::Message { payload, .. } => {
                duties.take(payload["id"].as_str().unwrap_or_default());
            }
        }
    }
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

    /// Says what was not said over this connection, as far as the client has room.
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

fn speak(device: &mut Device, serial: &AtomicU64) {
    let next = serial.fetch_add(1, Ordering::Relaxed) + 1;
    let (topic, payload) = match what(next) {
        What::Sample => ("twins/me/telemetry/serial", json!(next)),
        What::Report => ("twins/me/reported", json!({ "n": next })),
        What::Arm => ("twins/me/telemetry/arm", json!(next)),
    };
    device.say(next, topic, &payload);
}

/// An application sends commands to one device after the other.
fn command(api: &Api, promises: &Mutex<Promises>, speaking: &AtomicBool) {
    for device in DEVICES.iter().cycle() {
        if !speaking.load(Ordering::Relaxed) {
            return;
        }
        let command = json!({ "name": "turn", "payload": 1, "answer": "expected" });
        if let Some((202, body)) = api.post(&format!("/twins/{device}/commands"), &command) {
            let id = body["id"].as_str().expect("a command has an id").to_owned();
            promises.lock().expect("nobody panicked").commands.push(((*device).to_owned(), id));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
