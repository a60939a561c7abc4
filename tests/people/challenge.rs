//! Devices that come in by answering a challenge (the enhanced authentication of MQTT 5), and those who cannot.

use gateway::trust::challenge::{METHOD, answer};
use gateway::trust::key::Key;
use twins::id::TwinId;
use twins::trust::What;

use crate::done;
use crate::support::wire::{CONNACK, Connect, DISCONNECT, PUBACK, Packet, Wire, packet};
use crate::world::World;

const AUTH: u8 = 15;

fn field(id: u8, bytes: &[u8]) -> Vec<u8> {
    [&[id], &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn auth(reason: u8, data: &[u8]) -> Vec<u8> {
    let data = if data.is_empty() { Vec::new() } else { field(22, data) };
    let properties = [field(21, METHOD.as_bytes()), data].concat();
    packet(0xF0, &[&[reason, u8::try_from(properties.len()).unwrap()], &properties[..]].concat())
}

/// The random bytes of a challenge: they are the end of it.
fn random(asked: &Packet) -> [u8; 32] {
    assert_eq!((asked.kind, asked.reason()), (AUTH, 0x18), "{asked:?}");
    asked.body[asked.body.len() - 32..].try_into().unwrap()
}

/// Begins a connection, and returns what it is asked.
fn begin(world: &World, id: &str) -> (Wire, [u8; 32]) {
    let method = field(21, METHOD.as_bytes());
    let mut wire = Wire::open(world.addresses().0, true);
    let connect = Connect { client: "c", properties: (&method, &[]), ..Connect::of(true, id) };
    let asked = wire.send(&connect.bytes()).next().expect("a challenge");
    (wire, random(&asked))
}

/// Answers a challenge as this device with this key: the connection, where it is let in, else the reason why not.
fn connect(world: &World, id: &str, key: &Key) -> Result<Wire, u8> {
    let (mut wire, random) = begin(world, id);
    let twin = TwinId::in_default_tenant(id).unwrap();
    let told = wire.send(&auth(0x18, &answer(key, &random, &twin, "c"))).next().expect("a CONNACK");
    assert_eq!(told.kind, CONNACK, "{told:?}");
    if told.reason() == 0 { Ok(wire) } else { Err(told.reason()) }
}

#[test]
fn a_device_proves_that_it_has_its_key_and_nobody_else_does() {
    let (world, _) = World::new();
    let ((key, issue), (other, _)) = (world.equip("pump-1"), world.equip("pump-2"));
    let mut wire = connect(&world, "pump-1", &key).expect("it is let in");
    wire.publish("twins/me/telemetry", b"1", Some(1));
    assert_eq!(wire.next().map(|ack| (ack.kind, ack.reason())), Some((PUBACK, 0)));

    assert_eq!(connect(&world, "pump-1", &other).err(), Some(0x86));
    assert_eq!(connect(&world, "nobody", &key).err(), Some(0x86));
    // An answer that somebody heard is good for nothing: they are asked something else.
    let (_, heard) = begin(&world, "pump-1");
    let twin = TwinId::in_default_tenant("pump-1").unwrap();
    let (mut wire, asked) = begin(&world, "pump-1");
    assert_ne!(heard, asked);
    let told = wire.send(&auth(0x18, &answer(&key, &heard, &twin, "c"))).next().expect("a CONNACK");
    assert_eq!((told.kind, told.reason()), (CONNACK, 0x86));

    world.step("pump-1", What::Withdraw(Some(issue)));
    assert_eq!(connect(&world, "pump-1", &key).err(), Some(0x86));
}

#[test]
fn a_groups_device_answers_with_the_key_that_is_derived_for_it() {
    let (world, root) = World::new();
    let pumps = world.group("pumps", true);
    let derived = |id: &str| pumps.derive(&TwinId::in_default_tenant(id).unwrap());

    assert!(connect(&world, "pump-1", &derived("pump-1")).is_ok());
    assert_eq!(connect(&world, "pump-2", &derived("pump-1")).err(), Some(0x86));
    assert_eq!((root.get("/devices/pump-1").0, root.get("/devices/pump-2").0), (200, 404));
}

#[test]
fn who_is_connected_proves_it_anew_or_goes() {
    let (world, _) = World::new();
    let (key, _) = world.equip("pump-1");
    let twin = TwinId::in_default_tenant("pump-1").unwrap();
    let mut wire = connect(&world, "pump-1", &key).expect("it is let in");

    let asked = random(&wire.send(&auth(0x19, &[])).next().expect("a challenge"));
    let told = wire.send(&auth(0x18, &answer(&key, &asked, &twin, "c"))).next().expect("an AUTH");
    assert_eq!((told.kind, told.reason()), (AUTH, 0));
    let asked = random(&wire.send(&auth(0x19, &[])).next().expect("a challenge"));
    let wrong = answer(&Key::new().unwrap(), &asked, &twin, "c");
    let told = wire.send(&auth(0x18, &wrong)).next().expect("a DISCONNECT");

    assert_eq!((told.kind, told.reason()), (DISCONNECT, 0x87));
    assert!(wire.next().is_none());
}

#[test]
fn who_has_proved_it_by_another_key_goes_on_by_that_and_ends_with_it() {
    let (world, _) = World::new();
    let (first, first_issue) = world.equip("pump-1");
    let (second, second_issue) = world.issue("pump-1");
    let twin = TwinId::in_default_tenant("pump-1").unwrap();
    let mut wire = connect(&world, "pump-1", &first).expect("it is let in");

    let asked = random(&wire.send(&auth(0x19, &[])).next().expect("a challenge"));
    let told = wire.send(&auth(0x18, &answer(&second, &asked, &twin, "c"))).next().expect("an AUTH");
    assert_eq!((told.kind, told.reason()), (AUTH, 0));

    world.step("pump-1", What::Withdraw(Some(first_issue)));
    wire.publish("twins/me/telemetry", b"1", Some(1));
    assert_eq!(wire.next().map(|ack| (ack.kind, ack.reason())), Some((PUBACK, 0)));
    world.step("pump-1", What::Withdraw(Some(second_issue)));
    assert_eq!(wire.next().map(|told| (told.kind, told.reason())), Some((DISCONNECT, 0x87)));
    assert!(wire.next().is_none());
}

#[test]
fn who_has_proved_it_by_a_key_of_its_own_does_not_go_with_its_group_any_more() {
    let (world, root) = World::new();
    let (group, twin) = (world.group("pumps", true), |id: &str| TwinId::in_default_tenant(id).unwrap());
    let key = |id: &str| group.derive(&twin(id));
    let pumps = key("pump-1");
    let mut wire = connect(&world, "pump-1", &pumps).expect("it is let in");
    let mut other = connect(&world, "pump-2", &key("pump-2")).expect("it is let in");
    let (own, _) = world.issue("pump-1");

    let asked = random(&wire.send(&auth(0x19, &[])).next().expect("a challenge"));
    let told = wire.send(&auth(0x18, &answer(&own, &asked, &twin("pump-1"), "c"))).next().expect("an AUTH");
    assert_eq!((told.kind, told.reason()), (AUTH, 0));
    done(root.delete("/enrolment-groups/pumps"));

    assert_eq!(other.next().map(|told| (told.kind, told.reason())), Some((DISCONNECT, 0x87)));
    wire.publish("twins/me/telemetry", b"1", Some(1));
    assert_eq!(wire.next().map(|ack| (ack.kind, ack.reason())), Some((PUBACK, 0)));
    assert_eq!(connect(&world, "pump-1", &pumps).err(), Some(0x86));
}
