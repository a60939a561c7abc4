//! Devices that come in over MQTT and HTTP, and those who pretend to be one.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gateway::trust::key::Key;
use gateway::trust::password::{Generated, Hashing};
use gateway::trust::signed::Claims;
use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS};
use runtime::clock::Clock;
use runtime::directory::{Change, Group, Template, Trust};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Document;
use twins::name::Name;
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::trust::{Fingerprint, Grant, Invitation, Registration, Standing, Step, Verifier, What};

use crate::support::node::{PATIENCE, eventually};
use crate::support::raw::request;
use crate::world::{AUDIENCE, World, vault};

/// A connection that stays.
pub(crate) struct Online {
    client: AsyncClient,
    events: EventLoop,
}

const ALLOWED: Result<(), ConnectReturnCode> = Ok(());
const WRONG: Result<(), ConnectReturnCode> = Err(ConnectReturnCode::BadUserNamePassword);
const REFUSED: Result<(), ConnectReturnCode> = Err(ConnectReturnCode::NotAuthorized);

fn twin(id: &str) -> TwinId {
    TwinId::in_default_tenant(id).unwrap()
}

impl World {
    /// Registers a device, and gives it a key; returns its number, too.
    pub(crate) fn equip(&self, id: &str) -> (Key, u64) {
        self.register(id, Registration::default());
        self.issue(id)
    }

    fn register(&self, id: &str, with: Registration) {
        let with = Some(Box::new(with));
        self.ask(&twin(id), Input::Register { kind: Name::fixed("device"), tags: None, with }).unwrap();
    }

    fn invite(&self, id: &str, verifier: Verifier) {
        let invitation = Some(Invitation { verifier, expires: None });
        self.register(id, Registration { invitation, ..Registration::default() });
    }

    /// Registers a device of any tenant, with an activation key, which is returned.
    pub(crate) fn invited(&self, twin: &TwinId) -> String {
        let generated = Generated::new().unwrap();
        let invitation = Some(Invitation { verifier: generated.keep(&vault()), expires: None });
        let with = Some(Box::new(Registration { invitation, ..Registration::default() }));
        self.ask(twin, Input::Register { kind: Name::fixed("device"), tags: None, with }).unwrap();
        generated.reveal()
    }

    pub(crate) fn issue(&self, id: &str) -> (Key, u64) {
        let key = Key::new().unwrap();
        let secret = key.keep(&vault(), &twin(id)).unwrap();
        let request = Fingerprint(gateway::trust::vault::random().unwrap());
        let grant = Grant { secret, expires: None, request };
        match self.step(id, What::Issue { grant, grace: Duration::from_secs(3_600) }) {
            Reply::Granted(credential) => (key, credential.issue),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn step(&self, id: &str, what: What) -> Reply {
        self.ask(&twin(id), Input::Trust(Box::new(Step { what, reason: None }))).unwrap()
    }

    /// An enrolment group, with the key that its devices' keys are derived from.
    pub(crate) fn group(&self, name: &'static str, registers: bool) -> Key {
        let key = Key::new().unwrap();
        let sealed = key.keep_for_group(&vault(), "default", name).unwrap();
        let document = |text: &str| Document::parse(text.as_bytes(), &Default::default()).unwrap();
        let template = Template {
            kind: Name::fixed("device"),
            tags: document(r#"{"line":4}"#),
            desired: document(r#"{"rate":2}"#),
        };
        let trust = Trust::Key { sealed, issue: 1 };
        let group = Group { template, trust, registers, disabled: false, barred: None };
        self.change(Change::PutGroup { name: Name::fixed(name), group });
        key
    }

    /// Connects by MQTT, and says something: whether it was let in.
    pub(crate) fn connect(&self, name: &str, password: &str) -> Result<(), ConnectReturnCode> {
        let (address, _) = self.addresses();
        let mut options = MqttOptions::new("client", address.ip().to_string(), address.port());
        options.set_credentials(name, password);
        self.block_on(async {
            let (_client, mut events) = AsyncClient::new(options, 8);
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(()),
                Err(ConnectionError::ConnectionRefused(code)) => Err(code),
                other => panic!("{other:?}"),
            }
        })
    }

    /// Connects by MQTT, and stays.
    pub(crate) fn online(&self, name: &str, password: &str) -> Online {
        let (address, _) = self.addresses();
        let mut options = MqttOptions::new("client", address.ip().to_string(), address.port());
        options.set_credentials(name, password);
        let (client, mut events) = AsyncClient::new(options, 8);
        let first = self.block_on(events.poll());
        assert!(matches!(first, Ok(Event::Incoming(Packet::ConnAck(_)))), "{first:?}");
        Online { client, events }
    }

    /// Whether it is still there: what it says is acknowledged.
    fn is_there(&self, Online { client, events }: &mut Online) -> bool {
        self.block_on(async {
            let topic = "twins/me/telemetry";
            client.publish(topic, QoS::AtLeastOnce, false, r#"{"on":true}"#).await.unwrap();
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        })
    }

    /// Waits until the node ends its connection.
    fn await_end(&self, Online { mut events, .. }: Online) {
        let end = async { while events.poll().await.is_ok() {} };
        self.block_on(async { tokio::time::timeout(PATIENCE, end).await.expect("it ends") });
    }

    /// Changes an enrolment group.
    fn regroup(&self, name: &'static str, change: impl FnOnce(&mut Group)) {
        let mut group = (*self.definitions().current().tenants["default"].groups[name]).clone();
        change(&mut group);
        self.change(Change::PutGroup { name: Name::fixed(name), group });
    }

    /// Reports by HTTP: the status.
    pub(crate) fn report(&self, authorization: &str) -> u16 {
        self.report_from([127, 0, 0, 1], authorization)
    }

    /// The same from this address.
    fn report_from(&self, from: [u8; 4], authorization: &str) -> u16 {
        let read = self.report_raw(from, authorization);
        read.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("the node answers")
    }

    /// The same: all that is answered.
    pub(crate) fn report_raw(&self, from: [u8; 4], authorization: &str) -> String {
        let headers = [("Authorization", authorization), ("Content-Type", "application/json")];
        self.send(from, request("PATCH", "/v1/twins/me/reported", &headers, br#"{"on":true}"#))
    }

    /// Shows an activation key: the status.
    fn activate(&self, from: [u8; 4], id: &str, key: &str) -> u16 {
        let (tenant, id) = id.split_once('/').unwrap_or(("default", id));
        let body =
            json!({"tenant": tenant, "device_id": id, "activation_key": key, "nonce": "7f1f0c5e9a0b4d3c"});
        let body = body.to_string();
        let headers = [("Content-Type", "application/json")];
        let read = self.send(from, request("POST", "/v1/provision/activate", &headers, body.as_bytes()));
        read.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("the node answers")
    }

    /// Sends a request from this address: all that is answered.
    fn send(&self, from: [u8; 4], request: Vec<u8>) -> String {
        self.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            let mut stream = socket.connect(self.addresses().1).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let mut read = String::new();
            stream.read_to_string(&mut read).await.unwrap();
            read
        })
    }
}

pub(crate) fn basic(id: &str, key: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{key}")))
}

fn claims(world: &World, id: &str, slot: u64) -> Claims {
    let exp = world.clock.now().as_millis() / 1_000 + 60;
    Claims { tenant: "default".into(), device: id.into(), aud: AUDIENCE.into(), exp, slot }
}

#[test]
fn a_device_comes_in_with_its_key_and_nobody_else_does() {
    let (world, root) = World::new();
    let ((key, _), (other, _)) = (world.equip("pump-1"), world.equip("pump-2"));
    let (key, other) = (key.reveal(), other.reveal());

    assert_eq!(world.connect("pump-1", &key), ALLOWED);
    assert_eq!(world.connect("default/pump-1", &key), ALLOWED);
    assert_eq!(world.report(&basic("pump-1", &key)), 204);
    for (name, password) in [
        ("pump-1", &*other),
        ("pump-1", ""),
        ("pump-1", "s3cret"),
        ("pump-1", &root.token),
        ("pump-9", &key),
        ("acme/pump-1", &key),
    ] {
        assert_eq!(world.connect(name, password), WRONG, "{name} {password}");
        assert_eq!(world.report(&basic(name, password)), 401, "{name} {password}");
    }
    assert_eq!(root.get("/devices/pump-9").0, 404);
}

#[test]
fn a_device_that_is_disabled_or_revoked_stays_outside() {
    let (world, _) = World::new();
    let (key, issue) = world.equip("pump-1");
    let key = key.reveal();

    world.step("pump-1", What::Stand(Standing::Disabled));
    assert_eq!(world.connect("pump-1", &key), REFUSED);
    assert_eq!(world.report(&basic("pump-1", &key)), 403);
    world.step("pump-1", What::Stand(Standing::Enabled));
    assert_eq!(world.connect("pump-1", &key), ALLOWED);
    world.step("pump-1", What::Withdraw(Some(issue)));
    assert_eq!(world.connect("pump-1", &key), WRONG);
    assert_eq!(world.report(&basic("pump-1", &key)), 401);
}

#[test]
fn both_keys_are_good_while_one_replaces_the_other() {
    let (mut world, _) = World::new();
    let (old, _) = world.equip("pump-1");
    let (new, _) = world.issue("pump-1");

    world.crash();
    assert_eq!(world.connect("pump-1", &old.reveal()), ALLOWED);
    assert_eq!(world.connect("pump-1", &new.reveal()), ALLOWED);
    world.clock.ahead(Duration::from_secs(3_601));
    assert_eq!(world.connect("pump-1", &old.reveal()), WRONG);
    assert_eq!(world.connect("pump-1", &new.reveal()), ALLOWED);
}

#[test]
fn a_token_is_good_until_it_ends_for_its_audience_device_and_slot() {
    let (world, _) = World::new();
    let ((key, slot), (other, _)) = (world.equip("pump-1"), world.equip("pump-2"));
    let right = claims(&world, "pump-1", slot);
    let token = right.sign(&key);

    assert_eq!(world.connect("pump-1", &token), ALLOWED);
    assert_eq!(world.report(&format!("Bearer {token}")), 204);
    assert_eq!(world.connect("pump-2", &token), WRONG);
    for stolen in [
        Claims { exp: right.exp - 120, ..right.clone() }.sign(&key),
        Claims { aud: "elsewhere".into(), ..right.clone() }.sign(&key),
        Claims { slot: slot + 1, ..right.clone() }.sign(&key),
        Claims { tenant: "acme".into(), ..right.clone() }.sign(&key),
        Claims { device: "pump-2".into(), ..right.clone() }.sign(&key),
        right.sign(&other),
    ] {
        assert_eq!(world.connect("pump-1", &stolen), WRONG, "{stolen}");
        assert_eq!(world.report(&format!("Bearer {stolen}")), 401, "{stolen}");
    }
    world.step("pump-1", What::Withdraw(Some(slot)));
    assert_eq!(world.connect("pump-1", &token), WRONG);
}

#[test]
fn an_activation_key_lets_in_for_activation_alone() {
    let (world, root) = World::new();
    let generated = Generated::new().unwrap();
    world.invite("pump-1", generated.keep(&vault()));
    let chosen = world.block_on(async { Hashing::default().keep(&vault(), "correct horse").await.unwrap() });
    world.invite("pump-2", chosen);

    for (id, key) in [("pump-1", generated.reveal()), ("pump-2", "correct horse".to_owned())] {
        assert_eq!(world.connect(id, &key), ALLOWED, "{id}");
        assert_eq!(world.report(&basic(id, &key)), 403, "{id}");
        assert_eq!(root.get(&format!("/twins/{id}")).1["reported"]["on"], serde_json::Value::Null);
        assert_eq!(world.connect(id, "correct hors"), WRONG, "{id}");
        assert_eq!(world.connect(id, &Generated::new().unwrap().reveal()), WRONG, "{id}");
    }
}

#[test]
fn a_groups_device_is_registered_as_the_group_has_it() {
    let (world, root) = World::new();
    let (pumps, valves) = (world.group("pumps", true), world.group("valves", false));

    let key = pumps.derive(&twin("pump-1")).reveal();
    assert_eq!(world.connect("pump-1", &key), ALLOWED);
    assert_eq!(world.connect("pump-1", &key), ALLOWED);
    let (_, shown) = root.get("/twins/pump-1");
    assert_eq!((&shown["tags"]["line"], &shown["desired"]["rate"]), (&4.into(), &2.into()), "{shown}");
    // Another device's key, that of a group that registers nobody, and that of another group than its own.
    assert_eq!(world.connect("pump-2", &key), WRONG);
    assert_eq!(world.connect("valve-1", &valves.derive(&twin("valve-1")).reveal()), WRONG);
    assert_eq!(world.connect("pump-1", &valves.derive(&twin("pump-1")).reveal()), WRONG);
    for unknown in ["pump-2", "valve-1"] {
        assert_eq!(root.get(&format!("/devices/{unknown}")).0, 404, "{unknown}");
    }
    // What its group gave it is withdrawn with everything else.
    world.step("pump-1", What::Withdraw(None));
    assert_eq!(world.connect("pump-1", &key), REFUSED);
}

#[test]
fn who_came_by_a_group_goes_with_it_and_nobody_else_does() {
    let (world, root) = World::new();
    let (pumps, valves) = (world.group("pumps", true), world.group("valves", true));
    let key = |of: &Key, id: &str| of.derive(&twin(id)).reveal();
    let mut own = world.online("fan-1", &world.equip("fan-1").0.reveal());
    let mut valve = world.online("valve-1", &key(&valves, "valve-1"));
    let pump = || world.online("pump-1", &key(&pumps, "pump-1"));

    for shuts in
        [|group: &mut Group| group.barred = Some(Timestamp::ZERO), |group: &mut Group| group.disabled = true]
    {
        let pump = pump();
        let before = (*world.definitions().current().tenants["default"].groups["pumps"]).clone();
        world.regroup("pumps", shuts);
        world.await_end(pump);
        let state = || root.get("/twins/pump-1").1["system"]["connection"]["state"].clone();
        assert_eq!(eventually(|| (state() == "disconnected").then_some(())), Some(()), "its twin knows");
        world.regroup("pumps", |group| *group = before);
    }
    let pump = pump();
    world.change(Change::RemoveGroup { name: Name::fixed("pumps") });
    world.await_end(pump);

    assert!(world.is_there(&mut own) && world.is_there(&mut valve));
}

#[test]
fn the_devices_of_a_tenant_that_is_shut_out_go_with_it() {
    let (world, root) = World::new();
    world.tenant(&root, "acme");
    let mut here = world.online("pump-1", &world.equip("pump-1").0.reveal());
    let key = world.invited(&TwinId::parse("acme/pump-1").unwrap());
    let there = world.online("acme/pump-1", &key);

    assert_eq!(root.patch("/tenants/acme", json!({"disabled": true})).0, 200);

    world.await_end(there);
    assert_eq!(world.connect("acme/pump-1", &key), WRONG);
    let activate = || world.activate([127, 0, 0, 9], "acme/pump-1", &key);
    assert_eq!(activate(), 401, "and its activation key is not used up");
    assert_eq!(root.patch("/tenants/acme", json!({"disabled": false})).0, 200);
    assert_eq!(activate(), 200);
    assert!(world.is_there(&mut here));
}

#[test]
fn a_device_that_was_let_in_touches_its_own_topics_alone() {
    let (world, root) = World::new();
    let ((key, _), _) = (world.equip("pump-1"), world.equip("pump-2"));
    let (address, _) = world.addresses();
    let mut options = MqttOptions::new("client", address.ip().to_string(), address.port());
    options.set_credentials("pump-1", key.reveal());

    let codes = world.block_on(async {
        let (client, mut events) = AsyncClient::new(options, 8);
        client.publish("twins/pump-2/reported", QoS::AtLeastOnce, false, r#"{"on":true}"#).await.unwrap();
        for filter in ["twins/+/desired", "#", "twins/pump-2/desired", "twins/me/desired"] {
            client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        }
        let mut codes = Vec::new();
        while codes.len() < 4 {
            if let Event::Incoming(Packet::SubAck(ack)) = events.poll().await.unwrap() {
                codes.extend(ack.return_codes);
            }
        }
        codes
    });

    let granted: Vec<_> =
        codes.iter().map(|code| matches!(code, rumqttc::SubscribeReasonCode::Success(_))).collect();
    assert_eq!(granted, [false, false, false, true], "{codes:?}");
    assert_eq!(root.get("/twins/pump-2").1["reported"]["on"], serde_json::Value::Null);
}

#[test]
fn who_guesses_activation_keys_at_once_is_turned_away_as_one_who_does_so_one_by_one() {
    let (world, _) = World::new();
    let keys: Vec<_> = (0..40).map(|n| world.invited(&twin(&format!("pump-{n}")))).collect();

    let guess = |n: usize| world.activate([127, 0, 0, 1], &format!("pump-{n}"), "battery staple");
    let statuses: Vec<_> = std::thread::scope(|threads| {
        let all: Vec<_> = (0..80).map(|n| threads.spawn(move || guess(n))).collect();
        all.into_iter().map(|guess| guess.join().unwrap()).collect()
    });

    let seen = statuses.iter().filter(|status| **status == 401).count();
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    // Thirty at once, and one more for each second that some waited.
    assert!((30..=45).contains(&seen), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(world.activate([127, 0, 0, 2], "pump-7", &keys[7]), 200);
}

#[test]
fn who_guesses_is_turned_away_and_locks_out_nobody_elsewhere() {
    let (world, _) = World::new();
    let right = basic("pump-1", &world.equip("pump-1").0.reveal());
    let wrong = basic("pump-1", &Key::new().unwrap().reveal());

    // None of them waits for the one before.
    let statuses: Vec<_> = std::thread::scope(|threads| {
        let all: Vec<_> = (0..60).map(|_| threads.spawn(|| world.report(&wrong))).collect();
        all.into_iter().map(|guess| guess.join().unwrap()).collect()
    });

    assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{statuses:?}");
    // Thirty were looked at, and one more for each second that some waited; the others were not.
    let seen = statuses.iter().filter(|status| **status == 401).count();
    assert!((20..=45).contains(&seen), "{statuses:?}");
    assert_eq!(world.report_from([127, 0, 0, 2], &right), 204);
}
