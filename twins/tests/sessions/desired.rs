//! What a session is told of the desired section where it cannot be told all of it.

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
