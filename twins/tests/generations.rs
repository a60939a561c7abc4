//! An id that is registered again is another device: nothing of the one before reaches it, whatever was under way.

use std::time::Duration;

use twins::command::{Answer, CommandId, Mode};
use twins::decide::{Decision, Live};
use twins::header::{Cause, Header, Mark, Principal, Transport};
use twins::input::{Input, Message, Refused, Send};
use twins::json::Json;
use twins::kind::{Kind, Kinds};
use twins::name::Name;
use twins::prelude::*;
use twins::rejection::Code;
use twins::reply::{Closed, Delivery, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::transition::{Effect, Transition};
use twins::trust::Proof;
use twins::twin::Twin;
use twins::will::{Will, Words};

const RING: Timer = Timer::named("ring");
const WIND: Telemetry<u64> = Telemetry::named("wind");
const RANG: Event<u64> = Event::named("rang");

/// Rings a while after it was wound up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Clock {
    wound: u64,
}

impl Behavior for Clock {
    const KIND: &'static str = "clock";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&WIND, Self::wind).timer(RING, Self::ring);
    }
}

impl Clock {
    fn wind(&mut self, times: u64, fx: &mut Effects) {
        self.wound += times;
        fx.arm(RING, Duration::from_secs(60));
    }

    fn ring(&mut self, fx: &mut Effects) {
        fx.emit(&RANG, &self.wound);
    }
}

struct Device {
    id: TwinId,
    kinds: Kinds,
    live: Live,
    now: Timestamp,
    journal: Vec<Transition>,
    got: Vec<(u64, Delivery)>,
}

impl Device {
    /// One of which there is all that can wait: a command that was sent, one that was not, a timer, a session without a
    /// connection with a will that is to be said, one with a connection that listens.
    fn with_all_that_waits() -> (Self, u64) {
        let id = TwinId::in_default_tenant("clock-7").unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000);
        let kinds = Kinds::default().with(Kind::of::<Clock>());
        let mut device = Self { id, kinds, live: Live::default(), now, journal: Vec::new(), got: Vec::new() };
        device.register();
        let kept = device.connect("kept");
        let reason = Name::fixed("gone");
        let gone = Input::Disconnect { epoch: kept, reason, with_will: true, expiry_s: None };
        device.system(gone).unwrap();
        let epoch = device.connect("here");
        let filter = Name::fixed("twins/me/commands/+");
        let listens = Subscription { filter, topic: Topic::Commands, qos: 1, identifier: None };
        device.say(epoch, 1, Input::Subscribe(vec![listens])).unwrap();
        let body = Json::of(&3).unwrap().into();
        device.say(epoch, 2, Input::Sample { channel: Name::fixed("wind"), body }).unwrap();
        (1..=2).for_each(|n| device.send(n));
        let twin = device.live.twin();
        assert_eq!((twin.commands().len(), twin.timers().len(), twin.sessions().iter().count()), (2, 1, 2));
        assert!(device.got.iter().any(|(_, what)| matches!(what, Delivery::Command { .. })));
        (device, epoch)
    }

    fn decide(&mut self, input: Input, header: Header) -> Result<Reply, Rejection> {
        let header = Header { received: self.now, ..header };
        let Decision { transition, reply, outputs } =
            self.kinds.decide(&self.id, &mut self.live, &input, header);
        self.journal.extend(transition);
        self.got.extend(outputs.into_iter().map(|output| (output.epoch, output.what)));
        reply
    }

    fn system(&mut self, input: Input) -> Result<Reply, Rejection> {
        self.decide(input, Header { principal: Principal::System, ..Header::default() })
    }

    fn say(&mut self, epoch: u64, n: u64, input: Input) -> Result<Reply, Rejection> {
        self.decide(input, Header { mark: Some(Mark { epoch, n }), ..Header::default() })
    }

    fn register(&mut self) {
        self.system(Input::Register { kind: Name::fixed("clock"), tags: None, with: None }).unwrap();
    }

    /// It is removed, and its id registered again.
    fn begin_anew(&mut self) {
        self.system(Input::Remove { reason: Some(Name::fixed("scrapped")) }).unwrap();
        self.register();
        self.got.clear();
        self.journal.clear();
    }

    fn connect(&mut self, client: &'static str) -> u64 {
        let (client, address) = (Name::fixed(client), Name::fixed("192.0.2.1:1"));
        let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
        let words = Words::Report(Json::of(&serde_json::json!({"lost": true})).unwrap());
        let will = Some(Box::new(Will { words, delay_s: 30, due: None }));
        let (keep, resumes, expiry_s, proof) = (true, true, None, Proof::Open);
        let connect = Connect { client, keep, resumes, connection, expiry_s, will, proof };
        match self.decide(Input::Connect { connect, register: None }, Header::default()).unwrap() {
            Reply::Connected { epoch, present, .. } => {
                assert!(!present, "a session of another device");
                epoch
            }
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, n: u128) {
        let send = Send {
            id: command(n),
            name: Name::fixed("turn"),
            payload: Json::of(&n).unwrap().into(),
            deadline: self.now + Duration::from_secs(600),
            mode: Mode::Queue,
            answer: Answer::None,
        };
        self.system(Input::Command(send)).unwrap();
    }

    fn twin(&self) -> &Twin {
        self.live.twin()
    }
}

fn command(n: u128) -> CommandId {
    CommandId(uuid::Uuid::from_u128(n))
}

#[test]
fn commands_timers_and_sessions_die_with_their_generation() {
    let (mut device, _) = Device::with_all_that_waits();

    device.begin_anew();

    let twin = device.twin();
    assert_eq!((twin.generation(), twin.next_due(), twin.sessions().iter().count()), (2, None, 0));
    assert_eq!((twin.commands().all().count(), twin.timers().len(), twin.state().version), (0, 0, 0));
    assert_eq!([twin.tags(), twin.desired(), twin.reported()].map(|section| section.version()), [0, 0, 0]);
}

#[test]
fn a_timer_and_a_will_of_the_one_before_are_not_heard_of_again() {
    let (mut device, _) = Device::with_all_that_waits();
    device.begin_anew();

    device.now = device.now + Duration::from_secs(3600);
    device.system(Input::Due).unwrap();

    assert!(device.journal.is_empty(), "{:?}", device.journal);
    assert_eq!(device.twin().reported().document().as_str(), "{}");
}

#[test]
fn a_command_of_the_one_before_reaches_nobody_and_is_answered_by_nobody() {
    let (mut device, _) = Device::with_all_that_waits();
    device.begin_anew();

    let epoch = device.connect("here");
    let filter = Name::fixed("twins/me/commands/+");
    let listens = Subscription { filter, topic: Topic::Commands, qos: 1, identifier: None };
    device.say(epoch, 1, Input::Subscribe(vec![listens])).unwrap();

    assert!(device.got.is_empty(), "{:?}", device.got);
    device.say(epoch, 2, Input::Acknowledge(Message::Command(command(1)))).unwrap();
    assert_eq!(device.twin().commands().all().count(), 0);
    assert_eq!(device.system(Input::Cancel(command(2))).unwrap_err().code(), Code::UnknownCommand);
}

#[test]
fn a_session_of_the_one_before_is_closed_and_no_epoch_comes_again() {
    let (mut device, epoch) = Device::with_all_that_waits();

    device.system(Input::Remove { reason: None }).unwrap();
    assert!(device.got.contains(&(epoch, Delivery::Close(Closed::Removed))));
    device.register();

    let late = device.say(epoch, 3, Input::Report(Json::of(&serde_json::json!({"on": true})).unwrap()));
    assert_eq!(late.unwrap_err().code(), Code::SessionEnded);
    assert!(device.connect("here") > epoch);
}

#[test]
fn the_refusal_of_a_call_of_the_one_before_is_not_heard() {
    let (mut device, _) = Device::with_all_that_waits();
    let (twin, method) = (TwinId::in_default_tenant("lamp").unwrap(), Name::fixed("switch"));
    let refusal = Rejection::new(Code::UnknownTwin, "no twin `lamp`");
    let refused = Refused::of(&refusal, twin, method, device.twin().generation());
    let cause = Cause { twin: device.id.clone(), generation: 1, sequence: 3, ordinal: 0, hops: 1 };
    device.begin_anew();

    let header = Header { principal: Principal::System, cause: Some(Box::new(cause)), ..Header::default() };
    device.decide(Input::CallRefused(refused), header).unwrap();

    assert!(device.journal.is_empty(), "{:?}", device.journal);
}

#[test]
fn a_removal_says_who_why_and_where_the_chain_is_which_goes_on() {
    let (mut device, _) = Device::with_all_that_waits();
    let before = *device.twin().trust().chain();
    device.journal.clear();
    let principal = Principal::User(Name::fixed("ann"));

    let reason = Some(Name::fixed("scrapped"));
    device
        .decide(Input::Remove { reason }, Header { principal: principal.clone(), ..Header::default() })
        .unwrap();

    let chain = *device.twin().trust().chain();
    assert_eq!(chain.length, before.length + 1);
    let [Transition { header, effects, .. }] = &device.journal[..] else { panic!("{:?}", device.journal) };
    let data = format!(r#"{{"reason":"scrapped","audit":{{"n":{},"hash":"{}"}}}}"#, chain.length, chain.head);
    let [Effect::Event { name, data: said }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((&header.principal, name.as_str(), said.as_str()), (&principal, "removed", &*data));
    device.register();
    assert_eq!(*device.twin().trust().chain(), chain, "it goes on with the next generation");
}

#[test]
fn nothing_is_left_of_a_device_that_is_erased_but_who_why_and_the_chain() {
    let (mut device, epoch) = Device::with_all_that_waits();
    let chain = device.twin().trust().chain().length;
    let principal = Principal::User(Name::fixed("ann"));
    device.journal.clear();

    let (reason, header) = (Some(Name::fixed("asked to")), Header { principal, ..Header::default() });
    device.decide(Input::Erase { reason }, header).unwrap();

    assert!(device.got.contains(&(epoch, Delivery::Close(Closed::Removed))));
    let twin = device.twin();
    let image = String::from_utf8_lossy(&minicbor::to_vec(twin).unwrap()).into_owned();
    assert!(!["clock", "turn", "here", "kept"].iter().any(|word| image.contains(word)), "{image}");
    assert_eq!((twin.exists(), twin.generation(), twin.trust().chain().length), (false, 1, chain + 1));
    let [Transition { effects, .. }] = &device.journal[..] else { panic!("{:?}", device.journal) };
    let [Effect::Event { name, data }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(name.as_str(), "erased");
    assert!(data.as_str().starts_with(r#"{"reason":"asked to","audit":{"n":1,"#), "{data}");
}

#[test]
fn what_was_removed_before_can_still_be_erased_and_what_never_was_cannot() {
    let (mut device, _) = Device::with_all_that_waits();
    device.system(Input::Remove { reason: None }).unwrap();

    device.system(Input::Erase { reason: None }).unwrap();
    device.register();

    assert_eq!((device.twin().generation(), device.twin().trust().chain().length), (2, 2));
    let id = TwinId::in_default_tenant("nobody").unwrap();
    let header = Header { received: device.now, ..Header::default() };
    let never = device.kinds.decide(&id, &mut Live::default(), &Input::Erase { reason: None }, header);
    assert_eq!(never.reply.unwrap_err().code(), Code::UnknownTwin);
}
