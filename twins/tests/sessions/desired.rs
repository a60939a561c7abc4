//! What a session is told of the desired section where it cannot be told all of it.

use twins::decide::redeliver;
use twins::input::{Desire, Input, Message};
use twins::name::Name;
use twins::reply::Delivery;
use twins::session::{Subscription, Topic};

use super::{Device, json};

#[test]
fn a_desired_change_that_is_too_large_to_be_sent_is_told_again_with_the_next_one() {
    let mut device = Device::new();
    let (epoch, _) = device.resume();
    let filter = Name::fixed("twins/me/desired");
    let listens = Subscription { filter, topic: Topic::Desired, qos: 1, identifier: None };
    device.say(epoch, Input::Subscribe(vec![listens])).unwrap();
    device.say(epoch, Input::Acknowledge(Message::Desired(0))).unwrap();
    let desire = |device: &mut Device, patch| {
        let desired = Some(Desire::Merge(json(patch)));
        device.system(Input::Update { tags: None, desired, if_match: None });
    };
    desire(&mut device, r#"{"a":"large"}"#);
    desire(&mut device, r#"{"b":1}"#);
    device.got.clear();

    device.say(epoch, Input::Unsent(1)).unwrap();
    device.say(epoch, Input::Acknowledge(Message::Desired(2))).unwrap();
    assert_eq!(device.got, [], "it would be too large again");
    desire(&mut device, r#"{"a":"s"}"#);

    let [Delivery::Desired { version: 3, patch, full: false, .. }] = &device.got[..] else {
        panic!("{:?}", device.got)
    };
    assert_eq!(patch.as_str(), r#"{"a":"s","b":1}"#);
    device.say(epoch, Input::Acknowledge(Message::Desired(3))).unwrap();
    assert_eq!(device.twin().sessions().at(epoch).unwrap().desired.acknowledged, Some(3));
}

#[test]
fn what_is_not_acknowledged_is_told_again_whole_and_decides_nothing() {
    let (mut device, epoch) = Device::listening();
    device.say(epoch, Input::Acknowledge(Message::Desired(0))).unwrap();
    device.send(1);
    device.desire(r#"{"a":1}"#);
    device.desire(r#"{"b":2}"#);
    let packet_of = |what: &Delivery| match what {
        Delivery::Command { packet, .. } | Delivery::Desired { packet, .. } => packet.unwrap().id,
        other => panic!("{other:?}"),
    };
    let first: Vec<_> = device.got.iter().rev().take(3).map(packet_of).collect();

    let again = redeliver(device.twin(), epoch);

    let [
        Delivery::Command { attempt: 1, .. },
        Delivery::Desired { version: 1, patch, full: true, .. },
        Delivery::Desired { version: 2, full: true, .. },
    ] = &again[..]
    else {
        panic!("{again:?}")
    };
    assert_eq!(patch.as_str(), r#"{"a":1,"b":2}"#);
    assert_eq!(again.iter().rev().map(packet_of).collect::<Vec<_>>(), first);
    device.say(epoch, Input::Acknowledge(Message::Desired(1))).unwrap();
    device.say(epoch, Input::Acknowledge(Message::Desired(2))).unwrap();
    assert_eq!(redeliver(device.twin(), epoch).len(), 1, "the command alone");
    assert_eq!(redeliver(device.twin(), epoch + 1), []);
}
