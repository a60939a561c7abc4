//! Anything said to a twin in any order, and any bytes in place of a transition or an image: nothing panics, the journal
//! alone makes the twin, and what is read is written as it was.

use std::time::Duration;

use proptest::prelude::*;
use twins::body::Body;
use twins::command::{Answer, CommandId, Mode};
use twins::decide::{Decision, Live};
use twins::header::{Header, Mark, Principal, Transport};
use twins::id::TwinId;
use twins::input::{Desire, Input, Message, Said, Send};
use twins::json::{Document, Json, Limits};
use twins::kind::Kinds;
use twins::name::Name;
use twins::reply::Reply;
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::time::Timestamp;
use twins::transition::Transition;
use twins::trust::Proof;
use twins::twin::Twin;
use twins::will::{Will, Words};

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn patch() -> impl Strategy<Value = Json> {
    let texts = [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"a":{"b":[1,2],"c":null}}"#,
        r#"{"$version":1}"#,
        "[1]",
        "null",
    ];
    prop::sample::select(texts.to_vec()).prop_map(json)
}

fn client() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(Name::fixed)
}

fn command() -> impl Strategy<Value = CommandId> {
    (0..6_u128).prop_map(|n| CommandId(uuid::Uuid::from_u128(n)))
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let topics = [Topic::Desired, Topic::Commands, Topic::Requests, Topic::Errors];
    (prop::sample::select(topics.to_vec()), 0..3_u8).prop_map(|(topic, qos)| Subscription {
        filter: Name::fixed("twins/me/#"),
        topic,
        qos,
        identifier: None,
    })
}

fn connect() -> impl Strategy<Value = Connect> {
    let will = (patch(), prop::sample::select(vec![0, 5, 30]))
        .prop_map(|(patch, delay_s)| Box::new(Will { words: Words::Report(patch), delay_s, due: None }));
    let lives = (any::<bool>(), any::<bool>(), prop::option::of(0..60_u32));
    (client(), lives, prop::option::of(will)).prop_map(|(client, (keep, resumes, expiry_s), will)| {
        let address = Name::fixed("127.0.0.1");
        let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
        Connect { client, keep, resumes, connection, expiry_s, will, proof: Proof::Open }
    })
}

/// Any input, about few things, so that they meet.
fn input() -> impl Strategy<Value = Input> {
    let kind = || Name::fixed("device");
    let said = prop::sample::select(vec![Said::Delivered, Said::Done, Said::Rejected, Said::Progress]);
    let message = prop_oneof![(0..4_u64).prop_map(Message::Desired), command().prop_map(Message::Command)];
    let send =
        (command(), any::<bool>(), any::<bool>(), 0..100_u64).prop_map(move |(id, latest, answered, ttl)| {
            Send {
                id,
                name: Name::fixed("turn"),
                payload: Body::from(json("1")),
                deadline: START + Duration::from_secs(ttl),
                mode: if latest { Mode::Latest } else { Mode::Queue },
                answer: if answered { Answer::Expected } else { Answer::None },
            }
        });
    prop_oneof![
        1 => Just(Input::Register { kind: kind(), tags: Some(Document::default()), with: None }),
        1 => Just(Input::Remove { reason: None }),
        3 => (connect(), any::<bool>()).prop_map(move |(connect, register)| Input::Connect {
            connect,
            register: register.then(kind),
        }),
        2 => (0..6_u64, any::<bool>(), prop::option::of(0..60_u32)).prop_map(|(epoch, with_will, expiry_s)| {
            Input::Disconnect { epoch, reason: Name::fixed("gone"), with_will, expiry_s }
        }),
        1 => (1..4_u16).prop_map(Input::Release),
        1 => (1..9_u16).prop_map(Input::Complete),
        3 => prop::collection::vec(subscription(), 1..3).prop_map(Input::Subscribe),
        1 => Just(Input::Unsubscribe(vec![Name::fixed("twins/me/#")])),
        3 => message.prop_map(Input::Acknowledge),
        1 => patch().prop_map(|value| Input::Sample { channel: Name::fixed("c"), body: Body::from(value) }),
        1 => patch().prop_map(|value| Input::Telemetry(Body::from(value))),
        2 => patch().prop_map(Input::Report),
        2 => (command(), said, prop::option::of(patch()))
            .prop_map(|(id, outcome, result)| Input::Outcome { id, outcome, result }),
        3 => (prop::option::of(patch()), prop::option::of(patch())).prop_map(|(tags, desired)| Input::Update {
            tags,
            desired: desired.map(Desire::Merge),
            if_match: None,
        }),
        4 => send.prop_map(Input::Command),
        1 => Just(Input::Read),
        2 => Just(Input::Due),
    ]
}

/// An input, the epoch of the session that says it, if one does, and the seconds that pass before.
fn said() -> impl Strategy<Value = (Input, Option<u64>, u64)> {
    (input(), prop::option::weighted(0.7, 1..6_u64), prop_oneof![3 => Just(0), 1 => 0..40_u64])
}

/// What came of registering a device and saying all that: the twin and its journal.
fn lived(all: Vec<(Input, Option<u64>, u64)>) -> (Twin, Vec<Transition>) {
    let (id, kinds) = (TwinId::in_default_tenant("pump-7").unwrap(), Kinds::default());
    let (mut live, mut journal, mut now) = (Live::default(), Vec::new(), START);
    let mut newest = 0;
    let register = Input::Register { kind: Name::fixed("device"), tags: None, with: None };
    for (input, epoch, seconds) in std::iter::once((register, None, 0)).chain(all) {
        now = now + Duration::from_secs(seconds);
        // Half of what sessions say comes by the newest one, at its turn.
        let epoch = epoch.map(|epoch| if epoch % 2 == 0 { newest } else { epoch });
        let mark = epoch.map(|epoch| Mark {
            epoch,
            n: live.twin().sessions().at(epoch).map_or(1, |session| session.n + 1),
        });
        let packet = mark.filter(|_| seconds == 0).map(|mark| u16::try_from(mark.n % 3 + 1).unwrap());
        let header =
            Header { received: now, mark, packet, principal: Principal::System, ..Header::default() };
        let Decision { transition, reply, .. } = kinds.decide(&id, &mut live, &input, header);
        if let Ok(Reply::Connected { epoch, .. }) = reply {
            newest = epoch;
        }
        journal.extend(transition);
    }
    (Twin::clone(live.twin()), journal)
}

proptest! {
    #[test]
    fn the_journal_alone_makes_the_twin(all in prop::collection::vec(said(), 0..60)) {
        let (twin, journal) = lived(all);

        let mut again = Twin::default();
        for transition in &journal {
            let bytes = minicbor::to_vec(transition).unwrap();
            let read: Transition = minicbor::decode(&bytes).unwrap();
            prop_assert_eq!(&read, transition);
            prop_assert!(again.apply(&read));
        }

        prop_assert_eq!(&again, &twin);
        let image = minicbor::to_vec(&twin).unwrap();
        prop_assert_eq!(minicbor::decode::<Twin>(&image).unwrap(), twin);
    }

    #[test]
    fn any_change_of_a_transition_is_applied_or_is_none(
        all in prop::collection::vec(said(), 1..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (mut twin, journal) = lived(all);
        for (which, at, byte) in changes {
            let mut bytes = minicbor::to_vec(which.get(&journal)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let Ok(mut transition) = minicbor::decode::<Transition>(&bytes) else { continue };

            transition.sequence = twin.sequence().wrapping_add(1);
            let applied = twin.apply(&transition);

            prop_assert!(applied);
            let image = minicbor::to_vec(&twin).unwrap();
            prop_assert_eq!(&minicbor::decode::<Twin>(&image).unwrap(), &twin);
            // What a damaged journal would leave is still a twin that can be asked anything.
            let _ = (twin.next_due(), twin.bytes(), twin.etag());
        }
    }

    #[test]
    fn an_image_that_was_changed_in_any_way_is_read_or_refused(
        all in prop::collection::vec(said(), 1..30), at: prop::sample::Index, byte: u8, input in input(),
    ) {
        let (twin, _) = lived(all);
        let mut image = minicbor::to_vec(&twin).unwrap();
        let at = at.index(image.len());
        image[at] = byte;

        if let Ok(twin) = minicbor::decode::<Twin>(&image) {
            let mut live = Live::new(twin.into());
            let header = Header { received: START + Duration::from_secs(3600), ..Header::default() };
            drop(Kinds::default().decide(&TwinId::in_default_tenant("pump-7").unwrap(), &mut live, &input, header));
        }
    }
}
