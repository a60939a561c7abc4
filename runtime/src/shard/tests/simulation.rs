//! Random inputs, completions in any order, crashes and faults at any point; then the faults stop, and all must be well.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use twins::body::Body;
use twins::command::{Answer, CommandId, Mode};
use twins::header::{Header, Mark, Principal, Trace, Transport};
use twins::id::TwinId;
use twins::input::{Desire, Input, Message, Send};
use twins::json::Json;
use twins::name::Name;
use twins::reply::Reply;
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::trust::Proof;

use crate::error::{Error, Outcome};
use crate::files::sim::Random;
use crate::log;
use crate::record::Record;
use crate::shard::entry::Batch;
use crate::shard::{Failed, Options};
use crate::stream;

use super::oracle::Oracle;
use super::world::World;

const SEEDS: u64 = 3_000;
const STEPS: u64 = 120;

#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    for seed in 0..SEEDS {
        Run::new(seed).run();
    }
}

#[test]
fn a_seed_replays_to_the_same_history() {
    for seed in [3, 1_000, 2_999] {
        assert_eq!(Run::new(seed).run(), Run::new(seed).run());
    }
}

/// A run from one seed.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) world: World,
    twins: Vec<TwinId>,
    /// The input's number is its trace id, so that the log tells what became of it.
    serial: u64,
    /// Each input with the turn of the world in which it was said.
    waiting: Vec<(u64, u64, Receiver<Outcome>)>,
    acknowledged: BTreeSet<u64>,
    /// The inputs that leave something whenever they are taken: others may find that all is so already.
    samples: BTreeSet<u64>,
    surely_not: BTreeSet<u64>,
    /// The epoch of each twin's connection, as it was acknowledged, and the inputs that it has sent.
    pub(super) connected: BTreeMap<TwinId, (u64, u64)>,
    connecting: Vec<(TwinId, u64)>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let options = Options {
            memory_bytes: [0, 3_000, 1 << 20][random.below(3) as usize],
            checkpoint_bytes: [200, 2_000, 1 << 20][random.below(3) as usize],
            checkpoint_every: Duration::from_millis(1 + random.below(2_000)),
            handler_budget: Duration::MAX,
            ..Options::default()
        };
        let stream = stream::Options {
            segment_bytes: NonZeroU64::new(4_096).unwrap(),
            keep_for: Duration::from_millis([300, 2_000, 1 << 40][random.below(3) as usize]),
            keep_bytes: NonZeroU64::new([2_000, 16_000, 1 << 40][random.below(3) as usize]).unwrap(),
        };
        let twins = (0..4).map(|n| TwinId::in_default_tenant(&format!("twin-{n}")).unwrap());
        Self {
            seed,
            random,
            world: World::new(seed, options, stream),
            twins: twins.collect(),
            serial: 0,
            waiting: Vec::new(),
            acknowledged: BTreeSet::new(),
            samples: BTreeSet::new(),
            surely_not: BTreeSet::new(),
            connected: BTreeMap::new(),
            connecting: Vec::new(),
        }
    }

    /// Runs it, and returns the bytes of the log.
    fn run(mut self) -> Vec<bytes::Bytes> {
        self.world.start().expect("an empty disk can be begun");
        for _ in 0..STEPS {
            if self.step().is_err() {
                self.restart();
            }
            self.hear();
        }
        self.heal();
        self.check();
        self.world.history().into_iter().map(|entry| entry.payload).collect()
    }

    pub(super) fn step(&mut self) -> Result<(), Failed> {
        let asked = self.world.asked.len() as u64;
        match self.random.below(100) {
            0..50 => self.say(),
            50..85 if asked > 0 => {
                let index = self.random.below(asked) as usize;
                self.world.carry_out(index)
            }
            85..92 => {
                self.world.now = self.world.now + Duration::from_millis(self.random.below(300));
                self.world.with(|shard, now| shard.tick(now))
            }
            92..94 if asked > 0 => {
                let index = self.random.below(asked) as usize;
                self.world.refuse(index, &log::Error::Full("no room".into()))
            }
            94 if asked > 0 => {
                let index = self.random.below(asked) as usize;
                self.world.append_unheard(index);
                Err(Failed { shard: 0, why: "the power failed".into() })
            }
            95 => {
                self.world.files().fail_sync_after(self.random.below(3));
                Ok(())
            }
            96 => {
                self.world.files().cut_power_after(self.random.below(6));
                Ok(())
            }
            97 => {
                self.world.store().fail_write_after(self.random.below(3));
                Ok(())
            }
            98 => Err(Failed { shard: 0, why: "the power failed".into() }),
            _ => Ok(()),
        }
    }

    fn say(&mut self) -> Result<(), Failed> {
        let twin = self.twins[self.random.below(self.twins.len() as u64) as usize].clone();
        self.serial += 1;
        let serial = self.serial;
        let kind = Name::fixed(if twin.id() == "twin-0" { "device" } else { "adder" });
        let number = || Json::of(&serial).unwrap();
        let input = match self.random.below(12) {
            0 => Input::Register { kind, tags: None, with: None },
            1 => self.connect(&twin, serial, kind),
            2 => Input::Report(Json::of(&BTreeMap::from([(format!("k{}", serial % 5), serial)])).unwrap()),
            3 => {
                let patch = Json::of(&BTreeMap::from([(format!("k{}", serial % 3), serial)])).unwrap();
                Input::Update { tags: None, desired: Some(Desire::Merge(patch)), if_match: None }
            }
            4 => Input::Command(Send {
                id: CommandId(uuid::Uuid::from_u128(u128::from(serial))),
                name: Name::fixed("turn"),
                payload: Body::from(number()),
                deadline: self.world.now + Duration::from_millis(self.random.below(2_000)),
                mode: if serial.is_multiple_of(2) { Mode::Queue } else { Mode::Latest },
                answer: Answer::None,
            }),
            5 => self.subscribe(),
            6 => Input::Acknowledge(Message::Desired(self.random.below(5))),
            7 => Input::Read,
            8 if serial.is_multiple_of(9) => Input::Remove { reason: None },
            8 if serial.is_multiple_of(13) => Input::Erase { reason: None },
            _ => {
                self.samples.insert(serial);
                let n = [7, 10, 13, 20, 30, 666, serial, serial][self.random.below(8) as usize];
                Input::Sample { channel: Name::fixed("count"), body: Json::of(&n).unwrap().into() }
            }
        };
        let header = self.header(&twin, serial, &input);
        let wait = self.world.say(&twin, header, input)?;
        self.waiting.push((serial, self.world.turns, wait));
        Ok(())
    }

    fn connect(&mut self, twin: &TwinId, serial: u64, kind: Name) -> Input {
        let address = Name::fixed("127.0.0.1");
        let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
        let keep = self.random.chance(50);
        let connect = Connect {
            client: Name::fixed("c"),
            keep,
            resumes: keep,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        self.connecting.push((twin.clone(), serial));
        Input::Connect { connect, register: Some(kind) }
    }

    fn subscribe(&mut self) -> Input {
        let topic = if self.random.chance(50) { Topic::Desired } else { Topic::Commands };
        let filter = Name::fixed(if topic == Topic::Desired { "desired" } else { "commands" });
        Input::Subscribe(vec![Subscription { filter, topic, qos: 1, identifier: None }])
    }

    /// A connected device speaks over its session, with numbers that have no gaps as long as nothing is refused.
    fn header(&mut self, twin: &TwinId, serial: u64, input: &Input) -> Header {
        let trace = Some(Trace { id: u128::from(serial).to_be_bytes(), parent: [1; 8], sampled: false });
        let by_device = matches!(
            input,
            Input::Sample { .. } | Input::Report(_) | Input::Subscribe(_) | Input::Acknowledge(_)
        );
        let session = self.connected.get_mut(twin).filter(|_| by_device);
        let mark = session.map(|(epoch, n)| {
            *n += 1;
            Mark { epoch: *epoch, n: *n }
        });
        let principal = if mark.is_some() { Principal::Device } else { Principal::System };
        Header { trace, mark, principal, ..Header::default() }
    }

    /// Takes the answers that have come.
    pub(super) fn hear(&mut self) {
        for (serial, said, mut wait) in std::mem::take(&mut self.waiting) {
            let heard = wait.try_recv();
            if let Ok(Ok(_) | Err(Error::Rejected(_))) = &heard
                && self.world.is_replaceable()
            {
                let is_proven = self.world.proven >= said;
                assert!(is_proven, "seed {}: {serial} was answered by a node that may not lead", self.seed);
            }
            match heard {
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                    self.waiting.push((serial, said, wait));
                }
                Err(_) | Ok(Err(Error::Unknown { .. })) => {}
                Ok(Ok(reply)) => self.answered(serial, &reply),
                Ok(Err(Error::Rejected(_))) => {}
                Ok(Err(_)) => {
                    self.surely_not.insert(serial);
                    // Its number was not taken either: the session starts over.
                    self.connected.clear();
                }
            }
        }
    }

    fn answered(&mut self, serial: u64, reply: &Reply) {
        match reply {
            Reply::Connected { epoch, .. } => {
                let connecting = self.connecting.iter().find(|(_, of)| *of == serial);
                let (twin, _) = connecting.expect("only a connect is answered so").clone();
                self.connected.insert(twin, (*epoch, 0));
            }
            Reply::Twin(_) | Reply::Command { .. } => return,
            _ => {}
        }
        if matches!(reply, Reply::Done | Reply::Connected { .. }) {
            self.acknowledged.insert(serial);
        }
    }

    pub(super) fn restart(&mut self) {
        self.hear();
        loop {
            let seed = self.random.bits();
            self.world.crash(seed);
            self.connected.clear();
            if self.random.chance(10) {
                self.world.files().cut_power_after(self.random.below(4));
            }
            let Err(failed) = self.world.start() else { return };
            assert!(
                !failed.why.contains("restore"),
                "seed {}: nothing that was synced is lost: {failed}",
                self.seed
            );
        }
    }

    /// The faults stop.
    pub(super) fn heal(&mut self) {
        let seed = self.random.bits();
        self.hear();
        self.world.crash(seed);
        self.world.start().expect("without faults the shard starts");
        self.calm().expect("without faults nothing fails");
    }

    /// All that is asked for happens, and time passes.
    pub(super) fn calm(&mut self) -> Result<(), Failed> {
        self.world.settle()?;
        for _ in 0..50 {
            self.world.now = self.world.now + Duration::from_millis(100);
            self.world.with(|shard, now| shard.tick(now))?;
            self.world.settle()?;
        }
        self.hear();
        Ok(())
    }

    pub(super) fn check(&mut self) {
        let (seed, history) = (self.seed, self.world.history());
        let oracle = Oracle::of(&history);
        for twin in self.twins.clone() {
            let read = self.world.read(&twin).expect("the shard serves");
            let expected = oracle.twins.get(&twin).filter(|twin| twin.exists());
            assert_eq!(read.as_deref(), expected, "seed {seed}: `{twin}` is not what its log says");
            let overdue = expected.and_then(|twin| twin.next_due()).filter(|due| *due <= self.world.now);
            assert_eq!(overdue, None, "seed {seed}: a timer of `{twin}` did not fire");
            let connected = expected.is_some_and(|twin| twin.sessions().connected().next().is_some());
            assert!(!connected, "seed {seed}: `{twin}` shows a connection that ended with the power");
        }
        self.check_answers(&history);
        self.check_stream(&oracle);
    }

    /// What was acknowledged is in the log once, what was surely not taken is not in it.
    fn check_answers(&self, history: &[log::Entry]) {
        let seed = self.seed;
        let mut seen = BTreeMap::<u64, u32>::new();
        for entry in history {
            for decided in Batch::decode(&entry.payload).unwrap().decisions {
                if let Some(Trace { id, .. }) = decided.transition.header.trace {
                    *seen.entry(u128::from_be_bytes(id) as u64).or_default() += 1;
                }
            }
        }
        assert!(seen.values().all(|times| *times == 1), "seed {seed}: an input had its effect twice");
        for serial in &self.surely_not {
            assert!(!seen.contains_key(serial), "seed {seed}: input {serial} was refused, and had an effect");
        }
        for serial in self.acknowledged.intersection(&self.samples) {
            assert!(seen.contains_key(serial), "seed {seed}: sample {serial} was acknowledged and lost");
        }
    }

    fn check_stream(&self, oracle: &Oracle) {
        let seed = self.seed;
        let reader = self.world.reader.as_ref().expect("the shard runs");
        let earliest = oracle.segments[0];
        assert_eq!(reader.earliest(), earliest, "seed {seed}: the stream does not begin where its log says");
        let expected = &oracle.records[earliest as usize..];
        let mut read = Vec::new();
        loop {
            let from = earliest + read.len() as u64;
            let batch = reader.read(from, 100, 1 << 20).expect("the stream can be read");
            if batch.items.is_empty() {
                break;
            }
            read.extend(batch.items.iter().map(|item| match Record::is_blank(&item.record) {
                true => None,
                false => Some(minicbor::decode::<Record>(&item.record).unwrap()),
            }));
        }
        let is_erased = |record: &&Record| {
            oracle.erased.get(&record.twin).is_some_and(|sequence| record.sequence < *sequence)
        };
        let expected: Vec<_> =
            expected.iter().map(|record| Some(record).filter(|r| !is_erased(r)).cloned()).collect();
        assert_eq!(read.len(), expected.len(), "seed {seed}: records are missing, or too many");
        assert_eq!(read, expected, "seed {seed}: the stream is not what the log says, or not all is erased");
    }
}
