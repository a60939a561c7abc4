//! The generic kind, through the one door that all inputs take: `Kinds::decide`.

use std::time::Duration;

use twins::body::Body;
use twins::command::{Answer, CommandId, Mode, State};
use twins::decide::{Decision, Live};
use twins::header::{Header, Mark, Principal, Transport};
use twins::id::TwinId;
use twins::input::{Desire, Input, Message, Said, Send};
use twins::json::{Json, Limits};
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Closed, Delivery, Output, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::time::Timestamp;
use twins::transition::{Effect, Transition};
use twins::trust::Proof;
use twins::twin::Twin;

/// A device's twin, its journal, and what its connections got.
struct Device {
    id: TwinId,
    live: Live,
    now: Timestamp,
    marks: std::collections::BTreeMap<u64, u64>,
    journal: Vec<Transition>,
    got: Vec<Output>,
}

impl Device {
    fn registered() -> Self {
        let mut device = Self {
            id: TwinId::in_default_tenant("pump-7").unwrap(),
            live: Live::default(),
            now: Timestamp::from_millis(1_767_225_600_000),
            marks: Default::default(),
            journal: Vec::new(),
            got: Vec::new(),
        };
        device.system(Input::Register { kind: Name::fixed("device"), tags: None, with: None }).unwrap();
        device
    }

    fn decide(&mut self, input: Input, header: Header) -> Result<Reply, Rejection> {
        let header = Header { received: self.now, ..header };
        let Decision { transition, reply, outputs } =
            Kinds::default().decide(&self.id, &mut self.live, &input, header);
        self.journal.extend(transition);
        self.got.extend(outputs);
        reply
    }

    fn system(&mut self, input: Input) -> Result<Reply, Rejection> {
        self.decide(input, Header { principal: Principal::System, ..Header::default() })
    }

    /// Says something over the connection with this epoch, with the next number.
    fn say(&mut self, epoch: u64, input: Input) -> Result<Reply, Rejection> {
        let n = self.marks.entry(epoch).or_default();
        *n += 1;
        let mark = Some(Mark { epoch, n: *n });
        self.decide(input, Header { mark, ..Header::default() })
    }

    fn try_connect(&mut self, client: &'static str, keep: bool) -> Result<Reply, Rejection> {
        let address = Name::fixed("127.0.0.1");
        let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
        let connect = Connect {
            client: Name::fixed(client),
            keep,
            resumes: keep,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        self.system(Input::Connect { connect, register: None })
    }

    fn connect(&mut self, client: &'static str, keep: bool) -> (u64, bool) {
        match self.try_connect(client, keep) {
            Ok(Reply::Connected { epoch, present, .. }) => (epoch, present),
            other => panic!("{other:?}"),
        }
    }

    fn listen(&mut self, epoch: u64, filter: &'static str, topic: Topic, qos: u8) {
        let subscription = Subscription { filter: Name::fixed(filter), topic, qos, identifier: None };
        self.say(epoch, Input::Subscribe(vec![subscription])).unwrap();
    }

    fn disconnect(&mut self, epoch: u64) {
        let reason = Name::fixed("test");
        self.system(Input::Disconnect { epoch, reason, with_will: true, expiry_s: None }).unwrap();
    }

    fn desire(&mut self, patch: &str) {
        let desired = Some(Desire::Merge(json(patch)));
        self.system(Input::Update { tags: None, desired, if_match: None }).unwrap();
    }

    fn send(&mut self, number: u128, mode: Mode, answer: Answer) -> CommandId {
        self.send_payload(number, "1", mode, answer)
    }

    fn send_payload(&mut self, number: u128, payload: &str, mode: Mode, answer: Answer) -> CommandId {
        let id = CommandId(uuid::Uuid::from_u128(number));
        let deadline = self.now + Duration::from_secs(60);
        let (name, payload) = (Name::fixed("turn"), Body::from(json(payload)));
        match self.system(Input::Command(Send { id, name, payload, deadline, mode, answer })).unwrap() {
            Reply::Command { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, id: CommandId) -> State {
        self.twin().commands().get(id).expect("it is remembered").state
    }

    fn twin(&self) -> &Twin {
        self.live.twin()
    }

    /// What the connections got since the last call, as short texts.
    fn got(&mut self) -> Vec<String> {
        let text = |output: Output| match output.what {
            Delivery::Desired { version, patch, full, .. } => {
                format!("{}: desired {version} {patch}{}", output.epoch, if full { " full" } else { "" })
            }
            Delivery::Command { id, attempt, .. } => {
                format!("{}: command {} #{attempt}", output.epoch, id.0.as_u128())
            }
            Delivery::Close(Closed::TakenOver) => format!("{}: taken over", output.epoch),
            other => format!("{}: {other:?}", output.epoch),
        };
        self.got.drain(..).map(text).collect()
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn a_follower_that_only_applies_reaches_the_same_twin() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", true);
    device.listen(epoch, "twins/me/#", Topic::Commands, 1);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 1);
    device.desire(r#"{"a":{"b":1}}"#);
    let id = device.send(1, Mode::Queue, Answer::Expected);
    device.say(epoch, Input::Report(json(r#"{"x":[1,2],"y":null}"#))).unwrap();
    device.say(epoch, Input::Outcome { id, outcome: Said::Done, result: Some(json("7")) }).unwrap();
    device.disconnect(epoch);

    let mut follower = Twin::default();
    for transition in &device.journal {
        let bytes = minicbor::to_vec(transition).unwrap();
        assert!(follower.apply(&minicbor::decode(&bytes).unwrap()));
        assert!(!follower.apply(transition), "a transition applies once");
    }
    assert_eq!(&follower, device.twin());
    let image = minicbor::to_vec(&follower).unwrap();
    assert_eq!(minicbor::decode::<Twin>(&image).unwrap(), follower);
}

#[test]
fn a_repeated_input_has_its_effect_once_and_a_gap_is_refused() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", false);
    let sample = || Input::Sample { channel: Name::fixed("t"), body: json("1").into() };
    let marked = |n| Header { mark: Some(Mark { epoch, n }), ..Header::default() };

    device.decide(sample(), marked(1)).unwrap();
    let before = device.journal.len();
    assert_eq!(device.decide(sample(), marked(1)), Ok(Reply::Done));
    assert_eq!(device.decide(sample(), marked(3)).unwrap_err().code(), Code::OutOfOrder);

    assert_eq!(device.journal.len(), before);
    device.disconnect(epoch);
    assert_eq!(device.decide(sample(), marked(2)).unwrap_err().code(), Code::SessionEnded);
}

#[test]
fn a_refused_input_counts_in_its_session() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", false);

    assert_eq!(device.say(epoch, Input::Report(json("[1]"))).unwrap_err().code(), Code::Malformed);
    assert_eq!(device.say(epoch, Input::Report(json(r#"{"a":1}"#))), Ok(Reply::Done));
    assert_eq!(device.twin().reported().version(), 1);
}

#[test]
fn a_new_listener_gets_the_whole_desired_section_and_then_each_change() {
    let mut device = Device::registered();
    let (epoch, present) = device.connect("c", true);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 1);
    device.desire(r#"{"a":1,"b":2}"#);
    device.desire(r#"{"a":null}"#);

    assert!(!present);
    assert_eq!(
        device.got(),
        ["1: desired 0 {} full", r#"1: desired 1 {"a":1,"b":2}"#, r#"1: desired 2 {"a":null}"#]
    );
}

#[test]
fn a_device_that_was_away_gets_the_difference_since_what_it_acknowledged() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", true);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 1);
    device.desire(r#"{"a":1,"b":2}"#);
    device.say(epoch, Input::Acknowledge(Message::Desired(1))).unwrap();
    device.desire(r#"{"a":7}"#);
    device.disconnect(epoch);
    device.desire(r#"{"b":null,"c":3}"#);
    device.got();

    let (epoch, present) = device.connect("c", true);

    assert!(present);
    assert_eq!(device.got(), [r#"2: desired 3 {"a":7,"b":null,"c":3}"#]);
    device.say(epoch, Input::Acknowledge(Message::Desired(3))).unwrap();
    device.disconnect(epoch);
    device.connect("c", true);
    assert_eq!(device.got(), [""; 0], "it lacks nothing");
}

#[test]
fn a_listener_without_acknowledgements_gets_the_whole_on_each_subscribe() {
    let mut device = Device::registered();
    device.desire(r#"{"a":1}"#);
    let (epoch, _) = device.connect("c", true);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 0);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 0);
    device.desire(r#"{"b":2}"#);

    assert_eq!(
        device.got(),
        [r#"1: desired 1 {"a":1} full"#, r#"1: desired 1 {"a":1} full"#, r#"1: desired 2 {"b":2}"#]
    );
}

#[test]
fn a_slow_listener_is_told_of_many_changes_together() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", true);
    device.listen(epoch, "twins/me/desired", Topic::Desired, 1);
    for n in 0..30 {
        device.desire(&format!(r#"{{"n":{n}}}"#));
    }
    assert_eq!(device.got().len(), 16);

    device.say(epoch, Input::Acknowledge(Message::Desired(15))).unwrap();

    assert_eq!(device.got(), [r#"1: desired 30 {"n":29}"#]);
}

#[test]
fn the_next_command_waits_until_this_one_is_delivered() {
    let mut device = Device::registered();
    let (first, second) =
        (device.send(1, Mode::Queue, Answer::None), device.send(2, Mode::Queue, Answer::Expected));
    let (epoch, _) = device.connect("c", false);
    device.listen(epoch, "twins/me/commands", Topic::Commands, 1);
    assert_eq!(device.got(), ["1: command 1 #1"]);
    assert_eq!((device.state(first), device.state(second)), (State::Sent, State::Queued));

    device.say(epoch, Input::Acknowledge(Message::Command(first))).unwrap();

    assert_eq!(device.got(), ["1: command 2 #1"]);
    assert_eq!((device.state(first), device.state(second)), (State::Delivered, State::Sent));
    device.say(epoch, Input::Outcome { id: second, outcome: Said::Rejected, result: None }).unwrap();
    assert_eq!(device.state(second), State::Rejected);
}

#[test]
fn a_command_without_acknowledgement_is_sent_again_and_dies_at_last() {
    let mut device = Device::registered();
    let id = device.send(1, Mode::Queue, Answer::None);
    for attempt in 1..=5 {
        let (epoch, _) = device.connect("c", false);
        device.listen(epoch, "twins/me/commands", Topic::Commands, 1);
        assert_eq!(device.got(), [format!("{attempt}: command 1 #{attempt}")]);
        device.disconnect(epoch);
    }

    let (epoch, _) = device.connect("c", false);
    device.listen(epoch, "twins/me/commands", Topic::Commands, 1);

    assert_eq!((device.got(), device.state(id)), (vec![], State::Dead));
}

#[test]
fn a_command_expires_instead_of_being_sent_late() {
    let mut device = Device::registered();
    let (sent, queued) =
        (device.send(1, Mode::Queue, Answer::Expected), device.send(2, Mode::Queue, Answer::None));
    device.now = device.twin().next_due().unwrap();
    let (epoch, _) = device.connect("c", false);
    device.listen(epoch, "twins/me/commands", Topic::Commands, 1);

    assert!(device.got().is_empty());
    device.system(Input::Due).unwrap();
    assert_eq!((device.state(sent), device.state(queued)), (State::Expired, State::Expired));
    assert_eq!(device.twin().next_due(), None);
}

#[test]
fn an_outcome_after_the_deadline_is_an_event_and_changes_nothing() {
    let mut device = Device::registered();
    let (epoch, _) = device.connect("c", false);
    device.listen(epoch, "twins/me/commands", Topic::Commands, 1);
    let id = device.send(1, Mode::Queue, Answer::Expected);
    device.now = device.now + Duration::from_secs(60);

    device.say(epoch, Input::Outcome { id, outcome: Said::Done, result: None }).unwrap();

    assert_eq!(device.state(id), State::Expired);
    let late =
        |effect: &Effect| matches!(effect, Effect::Event { name, .. } if name.as_str() == "command-late");
    assert!(device.journal.last().unwrap().effects.iter().any(late));
}

#[test]
fn only_the_latest_of_latest_only_commands_waits() {
    let mut device = Device::registered();
    let first = device.send_payload(1, "1", Mode::Latest, Answer::Expected);
    let before = device.journal.len();
    assert_eq!(device.send_payload(2, "1", Mode::Latest, Answer::Expected), first, "an equal one is none");
    assert_eq!(device.journal.len(), before);

    let second = device.send_payload(3, "2", Mode::Latest, Answer::Expected);

    assert_eq!((device.state(first), device.state(second)), (State::Superseded, State::Queued));
}

#[test]
fn the_queue_is_full_at_its_limit() {
    let mut device = Device::registered();
    for n in 0..1_000 {
        device.send(n, Mode::Queue, Answer::None);
    }
    let send = Send {
        id: CommandId(uuid::Uuid::from_u128(9_999)),
        name: Name::fixed("turn"),
        payload: json("1").into(),
        deadline: Timestamp::MAX,
        mode: Mode::Queue,
        answer: Answer::None,
    };
    assert_eq!(device.system(Input::Command(send)).unwrap_err().code(), Code::QueueFull);
}

#[test]
fn the_same_client_takes_over_and_a_fifth_connection_is_refused() {
    let mut device = Device::registered();
    let (first, _) = device.connect("a", false);
    let (second, _) = device.connect("a", false);
    assert_eq!(device.got(), [format!("{first}: taken over")]);
    assert_eq!(device.twin().sessions().connected().map(|s| s.epoch).collect::<Vec<_>>(), [second]);

    for client in ["b", "c", "d"] {
        device.connect(client, false);
    }
    assert_eq!(device.try_connect("e", false).unwrap_err().code(), Code::TooMany);
}

#[test]
fn commands_go_to_the_newest_connection_that_listens() {
    let mut device = Device::registered();
    let (older, _) = device.connect("older", false);
    let (newer, _) = device.connect("newer", false);
    device.listen(older, "twins/me/commands", Topic::Commands, 1);
    device.listen(newer, "twins/me/commands", Topic::Commands, 1);

    device.send(1, Mode::Queue, Answer::None);
    device.disconnect(newer);

    assert_eq!(device.got(), [format!("{newer}: command 1 #1"), format!("{older}: command 1 #2")]);
}

#[test]
fn an_update_on_another_version_is_refused_whole() {
    let mut device = Device::registered();
    let etag = device.twin().etag();
    device.desire(r#"{"a":1}"#);
    let update = |etag: &str| Input::Update {
        tags: Some(json(r#"{"site":"x"}"#)),
        desired: Some(Desire::Merge(json(r#"{"a":2}"#))),
        if_match: Some(vec![etag.to_owned()]),
    };

    assert_eq!(device.system(update(&etag)).unwrap_err().code(), Code::VersionMismatch);
    assert_eq!((device.twin().tags().version(), device.twin().desired().version()), (0, 1));
    let etag = device.twin().etag();
    device.system(update(&etag)).unwrap();
    assert_eq!(device.twin().desired().document().as_str(), r#"{"a":2}"#);
}

#[test]
fn a_section_past_its_limit_is_refused_by_name() {
    let mut device = Device::registered();
    let big = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 * 1024));
    let refusal = device.system(Input::Report(json(&big))).unwrap_err();
    assert_eq!(refusal.code(), Code::TooLarge);
    assert!(refusal.message().contains("65536"), "{refusal}");
    assert_eq!(device.twin().reported().version(), 0);
}

#[test]
fn an_id_that_is_registered_again_inherits_nothing() {
    let mut device = Device::registered();
    device.desire(r#"{"a":1}"#);
    device.send(1, Mode::Queue, Answer::None);
    device.system(Input::Remove { reason: None }).unwrap();
    assert_eq!(device.system(Input::Read).unwrap_err().code(), Code::UnknownTwin);

    device.system(Input::Register { kind: Name::fixed("device"), tags: None, with: None }).unwrap();

    assert_eq!(device.twin().generation(), 2);
    assert_eq!((device.twin().desired().document().as_str(), device.twin().commands().len()), ("{}", 0));
}
