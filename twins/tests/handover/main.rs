//! A device takes the place of another: all that there is to lose is at one of the two, or on its way, after every word.

mod group;
mod mended;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use twins::command::{Answer, CommandId, Mode, State};
use twins::decide::{Decision, Live};
use twins::header::{Cause, Header, Mark, Principal, Transport};
use twins::input::{Desire, Input, Send};
use twins::json::{Json, Limits};
use twins::kind::{Kind, Kinds};
use twins::name::Name;
use twins::prelude::*;
use twins::rejection::Code;
use twins::reply::{Closed, Delivery, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::transition::{Effect, Transition};
use twins::trust::{
    By, Fingerprint, Grant, Handover, Lifecycle, Proof, Registration, Sealed, Secret, Standing, Step,
    Succession, What, Word,
};
use twins::twin::Twin;

const RING: Timer = Timer::named("ring");
const WIND: Telemetry<u64> = Telemetry::named("wind");
const RANG: Event<u64> = Event::named("rang");

/// Rings a minute after it was wound up.
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

/// Some devices, and the words that are on their way between them, oldest first.
struct Place {
    kinds: Kinds,
    twins: BTreeMap<TwinId, Live>,
    now: Timestamp,
    journal: Vec<(TwinId, Transition)>,
    got: Vec<(TwinId, Delivery)>,
    words: VecDeque<(TwinId, Cause, Handover)>,
}

impl Place {
    /// `old` is active, connected, and has all that there is to lose; `new` and `other` have been activated, no more.
    fn new() -> Self {
        let mut place = Self {
            kinds: Kinds::default().with(Kind::of::<Clock>()),
            twins: BTreeMap::new(),
            now: Timestamp::from_millis(1_767_225_600_000),
            journal: Vec::new(),
            got: Vec::new(),
            words: VecDeque::new(),
        };
        for id in ["old", "new", "other"] {
            place.register(id, "clock");
            let activate = What::Activate { by: By::Installer, grant: key(id) };
            place.step(id, activate).unwrap();
        }
        let catalogue = serde_json::from_str(r#"{"customer":"acme"}"#).unwrap();
        let with = Registration { catalogue: Some(catalogue), ..Registration::default() };
        let tags = Some(serde_json::from_str(r#"{"hall":7}"#).unwrap());
        let register = Input::Register { kind: Name::fixed("clock"), tags, with: Some(Box::new(with)) };
        place.operator("old", register).unwrap();
        let epoch = place.connect("old").unwrap();
        let filter = Name::fixed("twins/me/commands/+");
        let listens = Subscription { filter, topic: Topic::Commands, qos: 1, identifier: None };
        place.say("old", epoch, 1, Input::Subscribe(vec![listens])).unwrap();
        place.say("old", epoch, 2, Input::Report(json(r#"{"speed":3}"#))).unwrap();
        let body = json("3").into();
        place.say("old", epoch, 3, Input::Sample { channel: Name::fixed("wind"), body }).unwrap();
        let desired = Some(Desire::Merge(json(r#"{"speed":5}"#)));
        place.operator("old", Input::Update { tags: None, desired, if_match: None }).unwrap();
        (1..=2).for_each(|n| place.send("old", n));
        place.got.clear();
        place
    }

    fn decide(&mut self, id: &str, input: Input, header: Header) -> Result<Reply, Rejection> {
        let id = twin(id);
        let header = Header { received: self.now, ..header };
        let live = self.twins.entry(id.clone()).or_default();
        let Decision { transition, reply, outputs } = self.kinds.decide(&id, live, &input, header);
        if let Some(transition) = transition {
            let words = transition.handovers(&id).map(|(cause, to, word)| (to.clone(), cause, word.clone()));
            self.words.extend(words);
            self.journal.push((id.clone(), transition));
        }
        self.got.extend(outputs.into_iter().map(|output| (id.clone(), output.what)));
        reply
    }

    fn operator(&mut self, id: &str, input: Input) -> Result<Reply, Rejection> {
        let principal = Principal::User(Name::fixed("ann"));
        self.decide(id, input, Header { principal, ..Header::default() })
    }

    fn say(&mut self, id: &str, epoch: u64, n: u64, input: Input) -> Result<Reply, Rejection> {
        self.decide(id, input, Header { mark: Some(Mark { epoch, n }), ..Header::default() })
    }

    fn register(&mut self, id: &str, kind: &'static str) {
        self.operator(id, Input::Register { kind: Name::fixed(kind), tags: None, with: None }).unwrap();
    }

    fn step(&mut self, id: &str, what: What) -> Result<Reply, Rejection> {
        self.operator(id, Input::Trust(Box::new(Step { what, reason: Some(Name::fixed("burnt out")) })))
    }

    fn replace(&mut self, old: &str, by: &str) -> Result<Reply, Rejection> {
        self.step(old, What::Replace { by: twin(by) })
    }

    fn remove(&mut self, id: &str) -> Result<Reply, Rejection> {
        self.operator(id, Input::Remove { reason: None })
    }

    fn connect(&mut self, id: &str) -> Result<u64, Rejection> {
        let (client, address) = (Name::fixed("client"), Name::fixed("192.0.2.1:1"));
        let connection = Connection { node: 1, generation: 1, transport: Transport::MqttTls, address };
        let proof = Proof::Credential(1);
        let (keep, resumes, expiry_s, will) = (true, true, None, None);
        let connect = Connect { client, keep, resumes, connection, expiry_s, will, proof };
        match self.decide(id, Input::Connect { connect, register: None }, Header::default())? {
            Reply::Connected { epoch, .. } => Ok(epoch),
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, id: &str, n: u128) {
        let send = Send {
            id: CommandId(uuid::Uuid::from_u128(n)),
            name: Name::fixed("turn"),
            payload: json(&n.to_string()).into(),
            deadline: self.now + Duration::from_secs(600),
            mode: Mode::Queue,
            answer: Answer::None,
        };
        self.operator(id, Input::Command(send)).unwrap();
    }

    /// The first word that is under way arrives; one that is refused is answered.
    fn carry_one(&mut self) {
        let Some((to, cause, word)) = self.words.pop_front() else { return };
        let (from, again) = (cause.twin.clone(), cause.clone());
        let header = Header { principal: word.by.clone(), cause: Some(Box::new(cause)), ..Header::default() };
        let refused = self.decide(to.id(), Input::Handover(Box::new(word.clone())), header).err();
        if let Some(no) = refused.and_then(|refusal| word.declined(&refusal)) {
            self.words.push_back((from, again, no));
        }
    }

    /// All words arrive; after each, the place is at one of the devices or on its way.
    fn carry(&mut self) {
        while !self.words.is_empty() {
            self.carry_one();
            self.check();
        }
    }

    /// All words arrive, wherever that leads.
    fn settle(&mut self) {
        while !self.words.is_empty() {
            self.carry_one();
        }
    }

    #[track_caller]
    fn check(&self) {
        let is_of = |twin: &Twin| twin.tags().document().as_str() == r#"{"hall":7}"#;
        let held = self.twins.values().filter(|live| is_of(live.twin())).count();
        let sent = self.words.iter().filter(|(.., word)| matches!(word.word, Word::Estate(_))).count();
        assert_eq!(held + sent, 1, "{:?}", self.words);
        let old = self.twin("old");
        assert_eq!(is_of(old), old.trust().replaced_by().is_none());
        assert_eq!(
            old.trust().holds(&Proof::Credential(1), self.now),
            is_of(old),
            "who holds it comes in by it"
        );
    }

    fn twin(&self, id: &str) -> &Twin {
        self.twins[&twin(id)].twin()
    }

    fn events(&self, id: &str) -> Vec<&str> {
        let of = self.journal.iter().filter(|(of, _)| *of == twin(id));
        let effects = of.flat_map(|(_, transition)| &transition.effects);
        let names = effects.filter_map(|effect| match effect {
            Effect::Event { name, .. } => Some(name.as_str()),
            _ => None,
        });
        names.filter(|name| *name != "activated").collect()
    }
}

fn twin(id: &str) -> TwinId {
    TwinId::in_default_tenant(id).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn key(of: &str) -> Grant {
    let print = Fingerprint([of.len() as u8; 32]);
    let secret = Secret::Key { digest: print, sealed: Sealed(Bytes::copy_from_slice(of.as_bytes())) };
    Grant { secret, expires: None, request: print }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Rejection>, code: Code) {
    assert_eq!(answer.unwrap_err().code(), code);
}

#[test]
fn a_successor_takes_over_all_but_who_the_device_was() {
    let mut place = Place::new();

    place.replace("old", "new").unwrap();
    place.carry();

    let new = place.twin("new");
    assert_eq!(new.tags().document().as_str(), r#"{"hall":7}"#);
    assert_eq!(new.desired().document().as_str(), r#"{"speed":5}"#);
    assert_eq!(new.reported().document().as_str(), r#"{"speed":3}"#);
    assert_eq!(new.catalogue().document().as_str(), r#"{"customer":"acme"}"#);
    assert_eq!(new.state().document.as_str(), r#"{"wound":3}"#);
    let commands: Vec<_> = new.commands().open().map(|known| (known.id.0.as_u128(), known.state)).collect();
    assert_eq!(
        commands,
        [(1, State::Queued), (2, State::Queued)],
        "the first was on its way to the other one"
    );
    let ancestors: Vec<_> =
        new.trust().ancestors().iter().map(|known| (known.twin.id(), known.generation)).collect();
    assert_eq!(ancestors, [("old", 1)]);
    assert_eq!((new.lifecycle(), new.trust().credentials().len()), (Lifecycle::Active, 1));
    assert_eq!(new.trust().credentials()[0].secret, key("new").secret);
    assert_eq!(place.events("new"), ["promised", "inherited"]);

    place.now = place.now + Duration::from_secs(60);
    place.decide("new", Input::Due, Header::default()).unwrap();
    assert_eq!(place.events("new"), ["promised", "inherited", "rang"]);
}

#[test]
fn what_is_left_is_a_tombstone_that_can_only_be_read_and_removed() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();

    place.carry();

    assert!(place.got.contains(&(twin("old"), Delivery::Close(Closed::NotAuthorized))));
    let old = place.twin("old");
    assert_eq!((old.lifecycle(), old.trust().replaced_by()), (Lifecycle::Replaced, Some(&twin("new"))));
    assert_eq!((old.next_due(), old.commands().all().count(), old.sessions().iter().count()), (None, 0, 0));
    assert_eq!(place.events("old"), ["offered", "replaced"]);
    refused(place.connect("old"), Code::Replaced);
    refused(place.step("old", What::Stand(Standing::Enabled)), Code::Replaced);
    refused(place.step("old", What::Activate { by: By::Installer, grant: key("x") }), Code::Replaced);
    refused(place.replace("old", "other"), Code::Replaced);
    let call = Input::Call { name: Name::fixed("wind"), argument: json("1") };
    refused(place.operator("old", call), Code::Replaced);
    let register = Input::Register { kind: Name::fixed("clock"), tags: None, with: None };
    refused(place.operator("old", register), Code::Replaced);
    place.operator("old", Input::Read).unwrap();

    place.remove("old").unwrap();
    place.register("old", "clock");
    assert_eq!((place.twin("old").generation(), place.twin("old").lifecycle()), (2, Lifecycle::Registered));
}

#[test]
fn who_cannot_take_a_place_says_no_before_anything_is_given_up() {
    let mut place = Place::new();
    place.register("lamp", "device");
    place.step("other", What::Stand(Standing::Disabled)).unwrap();
    let before = place.twin("old").clone();

    for by in ["nobody", "lamp", "other"] {
        place.replace("old", by).unwrap();
        place.carry();
        assert_eq!(place.twin("old").trust().succession(), None, "{by}");
    }
    place.connect("new").unwrap();
    place.say("new", 1, 1, Input::Report(json(r#"{"speed":1}"#))).unwrap();
    place.replace("old", "new").unwrap();
    place.carry();

    let after = place.twin("old");
    assert_eq!((after.desired(), after.commands()), (before.desired(), before.commands()));
    assert_eq!(after.sessions().connected().count(), 1, "nobody was cut off");
    assert_eq!(place.events("old"), ["offered", "declined"].repeat(4));
    refused(place.replace("old", "old"), Code::Conflict);
    refused(place.step("old", What::Replace { by: TwinId::new("acme", "x").unwrap() }), Code::UnknownTwin);
}

#[test]
fn who_asks_again_does_no_harm_whichever_words_are_under_way() {
    for carried in 0..4 {
        let mut place = Place::new();
        place.replace("old", "new").unwrap();
        (0..carried).for_each(|_| place.carry_one());

        place.replace("old", "new").unwrap();
        place.carry();
        place.replace("old", "new").unwrap();
        place.carry();

        assert_eq!(place.twin("new").trust().ancestors().len(), 1, "{carried} words before");
        assert_eq!(place.twin("new").trust().succession(), None, "{carried} words before");
        assert_eq!(place.twin("new").commands().open().count(), 2);
    }
}

#[test]
fn the_last_successor_that_was_named_is_the_one() {
    for carried in 0..2 {
        let mut place = Place::new();
        place.replace("old", "new").unwrap();
        (0..carried).for_each(|_| place.carry_one());

        place.replace("old", "other").unwrap();
        place.carry();

        assert_eq!(place.twin("old").trust().replaced_by(), Some(&twin("other")));
        assert_eq!(place.twin("new").trust().succession(), None, "it is free again");
        place.remove("new").unwrap();
    }
}

#[test]
fn a_device_that_has_promised_is_neither_removed_nor_changed_but_by_itself() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry_one();

    refused(place.remove("new"), Code::Conflict);
    refused(place.replace("new", "other"), Code::Conflict);
    let tags = Some(json(r#"{"hall":8}"#));
    refused(place.operator("new", Input::Update { tags, desired: None, if_match: None }), Code::Conflict);
    let epoch = place.connect("new").unwrap();
    place.say("new", epoch, 1, Input::Report(json(r#"{"speed":0}"#))).unwrap();
    place.carry();

    assert_eq!(place.twin("new").reported().document().as_str(), r#"{"speed":0}"#, "its own word stands");
    place.remove("new").unwrap();
}

#[test]
fn a_promise_to_a_device_that_went_binds_nobody() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry_one();

    place.remove("old").unwrap();
    place.register("old", "clock");
    place.settle();

    assert_eq!(place.twin("new").trust().succession(), None);
    assert_eq!(place.twin("old").lifecycle(), Lifecycle::Registered, "it offered nothing");
    place.remove("new").unwrap();
}

#[test]
fn a_refusal_of_an_older_promise_does_not_undo_a_newer_one() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry_one();
    let Some(Succession::Promised { sequence, .. }) = place.twin("new").trust().succession().cloned() else {
        panic!("no promise")
    };
    place.replace("old", "new").unwrap();
    place.carry_one();
    place.carry_one();
    let word = Word::Declined { code: Name::fixed("conflict"), message: "no".into() };
    let no = Handover { by: Principal::System, reason: None, word };
    let cause = Cause { twin: twin("new"), generation: 1, sequence, ordinal: 0, hops: 1 };

    place.words.push_front((twin("new"), cause, no));
    place.carry_one();

    refused(place.remove("new"), Code::Conflict);
    place.carry();
    assert_eq!(place.twin("new").trust().ancestors().len(), 1);
}

#[test]
fn a_place_that_was_taken_over_is_handed_on_with_all_before() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry();

    place.replace("new", "other").unwrap();
    place.settle();

    let before: Vec<_> =
        place.twin("other").trust().ancestors().iter().map(|known| known.twin.id()).collect();
    assert_eq!(before, ["old", "new"]);
    assert_eq!(place.twin("other").state().document.as_str(), r#"{"wound":3}"#);
}

#[test]
fn the_log_alone_makes_both_of_it() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry();

    for id in ["old", "new"] {
        let mut replayed = Twin::default();
        for (_, transition) in place.journal.iter().filter(|(of, _)| *of == twin(id)) {
            let bytes = minicbor::to_vec(transition).unwrap();
            assert!(replayed.apply(&minicbor::decode(&bytes).unwrap()));
        }
        assert_eq!(&replayed, place.twin(id));
        let image = minicbor::to_vec(place.twin(id)).unwrap();
        assert_eq!(&minicbor::decode::<Twin>(&image).unwrap(), place.twin(id));
    }
}
