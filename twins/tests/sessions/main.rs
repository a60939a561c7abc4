//! Sessions of a device, through the one door that all inputs take: QoS 2, wills, expiry.

mod desired;

use std::time::Duration;

use twins::command::{Answer, CommandId, Mode, State};
use twins::decide::{Decision, Live};
use twins::handshake::{HELD_MAX, OPEN_MAX, Packet};
use twins::header::{Header, Mark, Transport};
use twins::id::TwinId;
use twins::input::{Desire, Input, Message, Send};
use twins::json::{Json, Limits};
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Delivery, Reply};
use twins::session::{Connect, Connection, KEPT_MAX, Subscription, Topic};
use twins::time::Timestamp;
use twins::transition::Transition;
use twins::trust::Proof;
use twins::twin::Twin;
use twins::will::{Will, Words};

struct Device {
    id: TwinId,
    live: Live,
    now: Timestamp,
    n: u64,
    journal: Vec<Transition>,
    got: Vec<Delivery>,
}

impl Device {
    fn new() -> Self {
        let id = TwinId::in_default_tenant("pump-7").unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000);
        let mut device = Self { id, live: Live::default(), now, n: 0, journal: Vec::new(), got: Vec::new() };
        device
            .decide(
                Input::Register { kind: Name::fixed("device"), tags: None, with: None },
                Header::default(),
            )
            .unwrap();
        device
    }

    /// One that listens with QoS 2 in a session that is kept for ever.
    fn listening() -> (Self, u64) {
        let mut device = Self::new();
        let (epoch, _) = device.resume();
        let listens = [("twins/me/commands", Topic::Commands), ("twins/me/desired", Topic::Desired)];
        let listens = listens.map(|(filter, topic)| Subscription {
            filter: Name::fixed(filter),
            topic,
            qos: 2,
            identifier: None,
        });
        device.say(epoch, Input::Subscribe(listens.into())).unwrap();
        (device, epoch)
    }

    fn decide(&mut self, input: Input, header: Header) -> Result<Reply, Rejection> {
        let header = Header { received: self.now, ..header };
        let Decision { transition, reply, outputs } =
            Kinds::default().decide(&self.id, &mut self.live, &input, header);
        self.journal.extend(transition);
        self.got.extend(outputs.into_iter().map(|output| output.what));
        reply
    }

    fn system(&mut self, input: Input) -> Reply {
        self.decide(input, Header::default()).unwrap()
    }

    fn say(&mut self, epoch: u64, input: Input) -> Result<Reply, Rejection> {
        self.say_in(epoch, None, input)
    }

    /// Says something under QoS 2.
    fn say_in(&mut self, epoch: u64, packet: Option<u16>, input: Input) -> Result<Reply, Rejection> {
        self.n += 1;
        let mark = Some(Mark { epoch, n: self.n });
        self.decide(input, Header { mark, packet, ..Header::default() })
    }

    fn connect(
        &mut self,
        client: &str,
        keep: bool,
        expiry_s: Option<u32>,
        will: Option<Will>,
    ) -> (u64, bool) {
        self.connect_as(client, (keep, keep), expiry_s, will)
    }

    fn connect_as(
        &mut self,
        client: &str,
        (keep, resumes): (bool, bool),
        expiry_s: Option<u32>,
        will: Option<Will>,
    ) -> (u64, bool) {
        let address = Name::fixed("127.0.0.1");
        let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
        let (client, will) = (Name::new("a client", client).unwrap(), will.map(Box::new));
        let connect = Connect { client, keep, resumes, connection, expiry_s, will, proof: Proof::Open };
        self.n = 0;
        match self.system(Input::Connect { connect, register: None }) {
            Reply::Connected { epoch, present, .. } => (epoch, present),
            other => panic!("{other:?}"),
        }
    }

    fn resume(&mut self) -> (u64, bool) {
        self.connect("c", true, None, None)
    }

    fn cut(&mut self, epoch: u64) {
        self.end(epoch, true, None);
    }

    fn end(&mut self, epoch: u64, with_will: bool, expiry_s: Option<u32>) {
        let reason = Name::fixed("test");
        self.system(Input::Disconnect { epoch, reason, with_will, expiry_s });
    }

    /// Time passes, as a shard lets it.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.twin().next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.system(Input::Due);
        }
        self.now = end;
    }

    fn send(&mut self, number: u128) -> CommandId {
        let id = CommandId(uuid::Uuid::from_u128(number));
        let (name, payload, deadline) = (Name::fixed("turn"), json("1").into(), Timestamp::MAX);
        let send = Send { id, name, payload, deadline, mode: Mode::Queue, answer: Answer::None };
        self.system(Input::Command(send));
        id
    }

    fn desire(&mut self, patch: &str) {
        let desired = Some(Desire::Merge(json(patch)));
        self.system(Input::Update { tags: None, desired, if_match: None });
    }

    fn twin(&self) -> &Twin {
        self.live.twin()
    }

    fn reported(&self) -> &str {
        self.twin().reported().document().as_str()
    }

    /// The packets of what came since the last call.
    fn packets(&mut self) -> Vec<(u16, bool)> {
        let packet = |delivery| match delivery {
            Delivery::Command { packet, .. } | Delivery::Desired { packet, .. } => packet,
            _ => None,
        };
        self.got.drain(..).filter_map(packet).map(|Packet { id, again }| (id, again)).collect()
    }

    /// The packet ids that a client is told to release when it resumes.
    fn released(&self) -> Vec<u16> {
        let session = self.twin().sessions().of("c").unwrap();
        let open = session.handshakes.iter().flat_map(|all| all.open());
        open.filter(|open| open.released).map(|open| open.packet).collect()
    }
}

impl Drop for Device {
    /// Whatever was decided, a follower that only applies it has the same twin, and so has who reads its image.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut follower = Twin::default();
        for transition in &self.journal {
            let bytes = minicbor::to_vec(transition).unwrap();
            assert!(follower.apply(&minicbor::decode(&bytes).unwrap()));
        }
        assert_eq!(&follower, self.twin());
        let image = minicbor::to_vec(&follower).unwrap();
        assert_eq!(minicbor::decode::<Twin>(&image).unwrap(), follower);
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn report(text: &str) -> Input {
    Input::Report(json(text))
}

fn will(delay_s: u32) -> Option<Will> {
    Some(Will { words: Words::Report(json(r#"{"on":false}"#)), delay_s, due: None })
}

#[test]
fn what_came_under_a_packet_id_that_is_held_has_no_second_effect_also_on_a_later_connection() {
    let (mut device, epoch) = Device::listening();
    device.say_in(epoch, Some(5), report(r#"{"n":1}"#)).unwrap();
    device.say_in(epoch, Some(5), report(r#"{"n":2}"#)).unwrap();
    device.cut(epoch);
    let (epoch, _) = device.resume();
    device.say_in(epoch, Some(5), report(r#"{"n":3}"#)).unwrap();
    assert_eq!(device.reported(), r#"{"n":1}"#);

    device.say(epoch, Input::Release(5)).unwrap();
    device.say_in(epoch, Some(5), report(r#"{"n":4}"#)).unwrap();
    assert_eq!(device.reported(), r#"{"n":4}"#);
}

#[test]
fn a_refusal_holds_nothing_and_a_session_that_begins_anew_forgets() {
    let (mut device, epoch) = Device::listening();
    device.say_in(epoch, Some(5), report("[]")).unwrap_err();
    device.say_in(epoch, Some(5), report(r#"{"n":1}"#)).unwrap();

    let (epoch, present) = device.connect_as("c", (true, false), None, None);
    assert!(!present);
    device.say_in(epoch, Some(5), report(r#"{"n":2}"#)).unwrap();
    assert_eq!(device.reported(), r#"{"n":2}"#);
}

#[test]
fn a_client_that_releases_nothing_is_refused_at_the_limit() {
    let (mut device, epoch) = Device::listening();
    for packet in 1..=u16::try_from(HELD_MAX).unwrap() {
        device.say_in(epoch, Some(packet), report("{}")).unwrap();
    }
    assert_eq!(device.say_in(epoch, Some(9_999), report("{}")).unwrap_err().code(), Code::TooMany);
    device.say(epoch, Input::Release(7)).unwrap();
    device.say_in(epoch, Some(9_999), report("{}")).unwrap();
}

#[test]
fn an_unacknowledged_command_comes_again_in_the_same_packet_and_counts_its_attempts() {
    let (mut device, epoch) = Device::listening();
    device.say(epoch, Input::Acknowledge(Message::Desired(0))).unwrap();
    device.say(epoch, Input::Complete(1)).unwrap();
    device.packets();
    let id = device.send(1);
    let first = device.packets();
    device.cut(epoch);
    let (epoch, _) = device.resume();

    assert!(matches!(device.got[..], [Delivery::Command { attempt: 2, .. }]));
    assert_eq!(device.packets(), [(first[0].0, true)]);

    device.say(epoch, Input::Acknowledge(Message::Command(id))).unwrap();
    assert_eq!(device.twin().commands().get(id).unwrap().state, State::Delivered);
    device.cut(epoch);
    let (epoch, _) = device.resume();
    assert_eq!(
        (device.packets(), device.released()),
        (vec![], vec![first[0].0]),
        "it is to be released again"
    );
    device.say(epoch, Input::Complete(first[0].0)).unwrap();
    assert_eq!(device.twin().sessions().of("c").unwrap().handshakes, None, "nothing is open");
}

#[test]
fn a_packet_whose_message_never_comes_again_is_released() {
    let (mut device, epoch) = Device::listening();
    device.say(epoch, Input::Acknowledge(Message::Desired(0))).unwrap();
    device.say(epoch, Input::Complete(1)).unwrap();
    device.send(1);
    device.desire(r#"{"a":1}"#);
    device.packets();
    device.cut(epoch);
    device.desire(r#"{"a":2}"#);

    // Another session of the device takes the command.
    let (other, _) = device.connect("other", false, None, None);
    let listens = Subscription { filter: Name::fixed("x"), topic: Topic::Commands, qos: 1, identifier: None };
    device.say(other, Input::Subscribe(vec![listens])).unwrap();
    device.got.clear();
    device.resume();

    assert_eq!(device.released(), [1, 2]);
    assert!(matches!(&device.got[..], [Delivery::Desired { version: 2, patch, packet, .. }]
        if patch.as_str() == r#"{"a":2}"# && *packet == Some(Packet { id: 3, again: false })));
}

#[test]
fn a_desired_change_that_is_still_the_last_comes_again_in_the_same_packet() {
    let (mut device, epoch) = Device::listening();
    device.say(epoch, Input::Acknowledge(Message::Desired(0))).unwrap();
    device.desire(r#"{"a":1}"#);
    let before = device.got.pop().unwrap();
    device.cut(epoch);
    device.resume();

    let Delivery::Desired { version, patch, full, packet: Some(packet) } = before else {
        panic!("{before:?}")
    };
    let again = Delivery::Desired { version, patch, full, packet: Some(Packet { again: true, ..packet }) };
    assert_eq!(device.got.pop(), Some(again));
}

#[test]
fn a_client_that_completes_nothing_is_sent_no_more() {
    let (mut device, epoch) = Device::listening();
    for n in 0..2 * OPEN_MAX as u128 {
        let id = device.send(n);
        device.say(epoch, Input::Acknowledge(Message::Command(id))).unwrap();
    }
    assert_eq!(device.packets().len(), OPEN_MAX);
    device.say(epoch, Input::Complete(1)).unwrap();
    assert_eq!(device.packets(), [(OPEN_MAX as u16 + 1, false)]);
}

#[test]
fn a_session_ends_at_its_expiry_and_not_before() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, Some(60), None);
    device.cut(epoch);
    device.pass(59);
    let (epoch, present) = device.connect("c", true, Some(60), None);
    assert!(present);

    device.cut(epoch);
    device.pass(60);
    assert_eq!(device.twin().sessions().iter().count(), 0);
    assert_eq!((device.twin().next_due(), device.connect("c", true, None, None).1), (None, false));
}

#[test]
fn a_session_whose_time_is_over_is_not_resumed_and_its_will_is_said_though_nobody_was_told() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, Some(60), will(30));
    device.cut(epoch);
    // As after a long stop, where the device is quicker than the node's own clock.
    device.now = device.now + Duration::from_secs(3_600);

    let (_, present) = device.connect("c", true, Some(60), None);

    assert_eq!((present, device.reported()), (false, r#"{"on":false}"#));
}

#[test]
fn a_command_on_its_way_is_not_sent_again_where_it_is_subscribed_to_again() {
    let (mut device, epoch) = Device::listening();
    device.send(1);
    device.got.clear();
    let filter = Name::fixed("twins/me/commands");
    device.say(epoch, Input::Unsubscribe(vec![filter.clone()])).unwrap();
    let listens = Subscription { filter, topic: Topic::Commands, qos: 2, identifier: None };
    device.say(epoch, Input::Subscribe(vec![listens])).unwrap();
    assert_eq!(device.got, []);
}

#[test]
fn a_goodbye_changes_for_how_long_a_session_is_kept() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, Some(60), None);
    device.end(epoch, false, Some(0));
    assert_eq!(device.twin().sessions().iter().count(), 0);

    let (epoch, _) = device.connect("c", true, Some(60), None);
    device.end(epoch, false, Some(u32::MAX));
    device.pass(1_000_000);
    assert_eq!(device.twin().sessions().iter().count(), 1);
}

#[test]
fn a_will_is_said_unless_there_is_a_goodbye() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", false, None, will(0));
    device.end(epoch, false, None);
    assert_eq!(device.reported(), "{}");

    // The session ends with the connection, and the delay with it.
    let (epoch, _) = device.connect("c", false, None, will(60));
    device.cut(epoch);
    assert_eq!(device.reported(), r#"{"on":false}"#);
    let by = device.journal.last().unwrap().header.principal.to_string();
    assert_eq!((by.as_str(), device.twin().next_due()), ("device", None));
}

#[test]
fn a_delayed_will_is_said_in_time_unless_the_session_is_resumed() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, Some(100), will(30));
    device.cut(epoch);
    device.pass(29);
    let (epoch, _) = device.connect("c", true, Some(10), will(30));
    device.pass(1_000);
    assert_eq!(device.reported(), "{}");

    device.cut(epoch);
    device.pass(9);
    assert_eq!(device.reported(), "{}");
    device.pass(1);
    assert_eq!(device.reported(), r#"{"on":false}"#, "the session ends before the delay");
}

#[test]
fn who_is_taken_over_says_its_will_unless_the_session_goes_on_and_it_has_a_delay() {
    for (delay_s, resumes, said) in [(0, true, true), (30, true, false), (30, false, true), (0, false, true)]
    {
        let mut device = Device::new();
        device.connect("c", true, None, will(delay_s));
        device.connect_as("c", (true, resumes), None, None);
        device.pass(100);
        assert_eq!(device.reported() != "{}", said, "delay {delay_s}, resumes: {resumes}");
    }
}

#[test]
fn a_session_that_begins_anew_or_is_crowded_out_says_the_will_that_waited() {
    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, None, will(30));
    device.cut(epoch);
    device.connect_as("c", (true, false), None, None);
    assert_eq!(device.reported(), r#"{"on":false}"#);

    let mut device = Device::new();
    let (epoch, _) = device.connect("c", true, None, will(30));
    device.cut(epoch);
    for n in 0..KEPT_MAX {
        assert_eq!(device.reported(), "{}");
        let (epoch, _) = device.connect(&format!("c{n}"), true, None, None);
        device.cut(epoch);
    }
    assert_eq!(device.reported(), r#"{"on":false}"#);
    assert_eq!(device.twin().sessions().iter().count(), KEPT_MAX);
}

#[test]
fn a_will_that_is_refused_leaves_an_event_and_ends_the_connection_all_the_same() {
    let mut device = Device::new();
    let words = Words::Report(json("[]"));
    let (epoch, _) = device.connect("c", false, None, Some(Will { words, delay_s: 0, due: None }));
    device.cut(epoch);
    assert_eq!(device.twin().sessions().connected().count(), 0);
    assert_eq!(device.journal.last().unwrap().effects.len(), 1);
}
