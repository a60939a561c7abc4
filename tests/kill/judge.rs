//! What nodes show when all is over, and what of their promises it breaks.

use std::time::{Duration, Instant};

use serde_json::Value;
use twins::time::Timestamp;

use crate::support::history::{History, Shown, Step};
use crate::support::http::Api;
use crate::{kind, load};

/// Waits until every command that was taken has ended.
pub fn await_commands(api: &Api, history: &History) {
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
pub fn broken(api: &Api, history: &History) -> Vec<String> {
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
