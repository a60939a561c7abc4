//! What a thermostat makes of its room and of what it is told: a state machine that speaks the topics of a device.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::room::Room;

const FIRMWARE: &str = "1.0.0";

/// Something that a device publishes.
#[derive(Debug, PartialEq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) body: Value,
}

/// A thermostat: its room, and what it makes of what it is told.
pub(super) struct Device {
    room: Room,
}

/// A command, as the topic `commands` brings it.
#[derive(Deserialize)]
struct Command {
    id: String,
    name: String,
    payload: Value,
}

/// A change of what the device should become.
#[derive(Deserialize)]
struct Change {
    patch: Value,
}

impl Device {
    pub(super) fn new(number: u32) -> Self {
        Self { room: Room::new(number) }
    }

    /// How warm its room is, a time of `passed` later.
    pub(super) fn sample(&mut self, passed: Duration) -> Message {
        self.room.step(passed);
        message("twins/me/telemetry/temperature", json!(self.room.measured_c()))
    }

    /// What it says of itself when it has connected.
    pub(super) fn introduction(&self) -> Message {
        message("twins/me/reported", json!({"heater": self.heater(), "firmware": FIRMWARE}))
    }

    /// Answers what came on a topic.
    pub(super) fn hear(&mut self, topic: &str, body: &[u8]) -> Vec<Message> {
        match topic {
            "twins/me/commands" => serde_json::from_slice(body).map_or_else(|_| vec![], |it| self.obey(it)),
            "twins/me/desired" => serde_json::from_slice(body).map_or_else(|_| vec![], |it| Self::adopt(&it)),
            _ => vec![],
        }
    }

    fn obey(&mut self, Command { id, name, payload }: Command) -> Vec<Message> {
        let on = match (name.as_str(), payload.as_str()) {
            ("heater", Some("on")) => true,
            ("heater", Some("off")) => false,
            _ => {
                let why = json!({"reason": "a thermostat knows `heater`, with \"on\" or \"off\""});
                return vec![message(format!("twins/me/commands/{id}/rejected"), why)];
            }
        };
        self.room.heater = on;
        vec![
            message("twins/me/reported", json!({"heater": self.heater()})),
            message(format!("twins/me/commands/{id}/done"), json!({"heater": self.heater()})),
        ]
    }

    /// Takes over the setpoint, which it only shows: the twin decides when to heat.
    fn adopt(Change { patch }: &Change) -> Vec<Message> {
        let setpoint = patch.get("setpoint");
        setpoint
            .map(|setpoint| message("twins/me/reported", json!({"setpoint": setpoint})))
            .into_iter()
            .collect()
    }

    fn heater(&self) -> &'static str {
        if self.room.heater { "on" } else { "off" }
    }
}

fn message(topic: impl Into<String>, body: Value) -> Message {
    Message { topic: topic.into(), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(device: &mut Device, topic: &str, body: &str, said: &[(&str, Value)]) {
        let said: Vec<_> = said.iter().map(|(topic, body)| message(*topic, body.clone())).collect();
        assert_eq!(device.hear(topic, body.as_bytes()), said);
    }

    #[test]
    fn a_heater_does_as_it_is_told_and_says_so() {
        let mut device = Device::new(7);
        let on = r#"{"id":"c-1","name":"heater","payload":"on","deadline":null,"attempt":1}"#;
        let heater = || json!({"heater": "on"});

        let said = [("twins/me/reported", heater()), ("twins/me/commands/c-1/done", heater())];
        check(&mut device, "twins/me/commands", on, &said);
        assert!(device.room.heater);
        assert_eq!(device.introduction().body, json!({"heater": "on", "firmware": "1.0.0"}));
    }

    #[test]
    fn what_it_does_not_know_it_rejects() {
        let mut device = Device::new(7);
        for order in [r#""name":"heater","payload":"warm""#, r#""name":"explode","payload":null"#] {
            let said = device.hear("twins/me/commands", format!(r#"{{"id":"c-1",{order}}}"#).as_bytes());
            assert_eq!(said[0].topic, "twins/me/commands/c-1/rejected");
        }
        check(&mut device, "twins/me/commands", "not a command", &[]);
    }

    #[test]
    fn a_setpoint_is_adopted() {
        let mut device = Device::new(7);
        let change = |patch: &str| format!(r#"{{"version":3,"patch":{patch},"full":false}}"#);
        let reported = |body| [("twins/me/reported", body)];
        for setpoint in ["21", "null"] {
            let patch = format!(r#"{{"setpoint":{setpoint}}}"#);
            let said = reported(serde_json::from_str(&patch).unwrap());
            check(&mut device, "twins/me/desired", &change(&patch), &said);
        }
        check(&mut device, "twins/me/desired", &change(r#"{"mode":"eco"}"#), &[]);
    }
}
