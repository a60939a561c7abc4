//! One simulated life of a log: proposals, turns, chores, faults and restarts, in an order that follows from a seed.

use super::FOLDER;
use super::model::{Group, Model};
use crate::wal::chore::Chore;
use crate::wal::job::{Done, Job};
use crate::wal::record::{Kind, Record, Vote};
use crate::wal::writer::{Turn, Writer};
use crate::{Error, Options};
use bytes::Bytes;
use runtime::files::Files;
use runtime::files::sim::{Random, Sim};
use runtime::log::{Error as LogError, LogId};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(super) const GROUPS: u64 = 5;

/// How many proposals of a group are in flight at most.
const IN_FLIGHT: usize = 4;

type Fate = Result<(), LogError>;

pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) disk: Sim,
    options: Options,
    pub(super) writer: Option<Writer>,
    jobs: VecDeque<Job>,
    chore: Option<Chore>,
    /// The effect of all that was acknowledged.
    pub(super) model: Model,
    /// What was proposed and not yet answered, in order.
    pub(super) waiting: BTreeMap<u64, Vec<Record>>,
    /// What was answered with `Unknown` since the last restart, in order.
    unknown: Vec<Vec<Record>>,
    /// What was noted since the last restart of how far groups are committed.
    noted: BTreeMap<u32, Vec<LogId>>,
    fates: Arc<Mutex<Vec<(u64, Fate)>>>,
    proposed: u64,
    pub(super) trace: Vec<String>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let options = Options {
            segment_bytes: 4096 << random.below(2),
            batch_bytes: 400 + random.below(4000) as usize,
            tail_bytes: random.below(3) as usize * 1000,
            reserve_bytes: random.below(2) * 4096,
            ..Options::default()
        };
        let disk = Sim::new(seed);
        disk.create_folder(Path::new(FOLDER)).unwrap();
        let mut run = Self {
            seed,
            random,
            disk,
            options,
            writer: None,
            jobs: VecDeque::new(),
            chore: None,
            model: Model::default(),
            waiting: BTreeMap::new(),
            unknown: Vec::new(),
            noted: BTreeMap::new(),
            fates: Arc::default(),
            proposed: 0,
            trace: Vec::new(),
        };
        run.reopen().unwrap();
        run
    }

    pub(super) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("the log is open")
    }

    fn writer_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("the log is open")
    }

    /// Any steps, with faults.
    pub(super) fn steps(&mut self, count: u64) {
        for _ in 0..count {
            match self.random.below(100) {
                0..45 => self.propose(),
                45..50 => self.note(),
                50..70 => self.turn(),
                70..80 => drop(self.writer_mut().tidy()),
                80..93 => self.chore(),
                93..97 => self.fault(),
                97..99 => self.crash(),
                _ => self.restart(),
            }
            self.take_fates();
        }
    }

    /// Steps without a fault, in which each proposal is acknowledged.
    pub(super) fn quiet_steps(&mut self, count: u64) {
        for _ in 0..count {
            self.append_one();
            self.writer_mut().tidy();
        }
    }

    /// Faults stop: the log must take, keep, move and drop entries.
    pub(super) fn heal(&mut self) {
        self.disk.set_capacity(u64::MAX);
        self.crash();
        for _ in 0..20 {
            self.append_one();
        }
        for group in 0..GROUPS as u32 {
            if let Some(last) = self.model.groups.get(&group).and_then(|group| group.state.last) {
                self.append(Record::purged(group, last));
            }
        }
        while self.writer_mut().tidy() {
            self.finish_chores();
        }
        assert!(self.writer().used.len() <= 5, "seed {}: a log without entries is short", self.seed);
        self.crash();
        self.append_one();
        let found = Model::read(self.writer()).unwrap();
        assert_eq!(found, self.model.visible(), "seed {}", self.seed);
        self.trace.push(format!("{found:?}"));
    }

    fn propose(&mut self) {
        let group = self.random.below(GROUPS) as u32;
        let is_of_group = |records: &&Vec<Record>| records.iter().any(|record| record.group == group);
        if self.waiting.values().filter(is_of_group).count() == IN_FLIGHT {
            return;
        }
        let records = self.records(group);
        let job = if self.random.chance(50) { Job::upkeep } else { Job::new };
        self.submit(records, job);
    }

    /// Notes how far a group is committed; the groups that write that down themselves do not.
    fn note(&mut self) {
        let group = 2 * self.random.below(GROUPS / 2 + 1) as u32;
        if let Some(last) = self.ahead(group).state.last {
            self.note_committed(group, last);
        }
    }

    pub(super) fn note_committed(&mut self, group: u32, id: LogId) {
        self.writer_mut().note(BTreeMap::from([(group, Record::committed(group, id))]));
        self.noted.entry(group).or_default().push(id);
    }

    /// The writer ends as it does when the log is closed.
    pub(super) fn close(&mut self) {
        self.writer_mut().write_notes();
        self.drop_writer();
    }

    /// What the log will hold of a group if all that waits is written.
    fn ahead(&self, group: u32) -> Group {
        let mut ahead = self.model.groups.get(&group).cloned().unwrap_or_default();
        let waiting = self.waiting.values().flatten().filter(|record| record.group == group);
        waiting.for_each(|record| ahead.apply(record));
        ahead
    }

    pub(super) fn submit(&mut self, records: Vec<Record>, job: fn(Vec<Record>, Done) -> Job) {
        let (id, fates) = (self.proposed, self.fates.clone());
        self.proposed += 1;
        self.waiting.insert(id, records.clone());
        let done = Box::new(move |fate| fates.lock().unwrap().push((id, fate)));
        self.jobs.push_back(job(records, done));
    }

    /// What a group may write next.
    fn records(&mut self, group: u32) -> Vec<Record> {
        let Group { state, entries, .. } = self.ahead(group);
        let random = &mut self.random;
        let next = state.last.map_or(0, |last| last.index + 1);
        let term = state.last.map_or(0, |last| last.term) + random.below(2);
        let len = match random.below(20) {
            0 => 9000,
            1..5 => random.below(3000),
            _ => random.below(200),
        };
        let payload: Bytes = (0..len).map(|_| random.bits() as u8).collect();
        let entry = |kind, index, payload| Record::entry(group, kind, LogId { term, index }, payload);
        match random.below(20) {
            0 => vec![entry(Kind::Membership, next, payload.slice(..payload.len().min(100)))],
            1 => vec![Record::vote(group, Vote { term, node: random.below(3), committed: true })],
            2 if group % 2 == 1 => {
                state.last.map(|last| Record::committed(group, last)).into_iter().collect()
            }
            3 => vec![Record::generation(self.model.generation + 1)],
            4 => {
                let first = state.purged.map_or(0, |purged| purged.index + 1);
                let since = first + random.below(next - first + 1);
                vec![Record::truncate(group, since), entry(Kind::Blank, since, Bytes::new())]
            }
            5 => {
                let id = LogId { term, index: next + random.below(5) };
                let least = state.membership.map_or(0, |(id, _)| id.index);
                let before = LogId { term, index: least + random.below(id.index + 1 - least) };
                let membership =
                    Record::entry(group, Kind::Membership, before, Bytes::from_static(b"theirs"));
                vec![Record::purged(group, id), Record { moved: true, ..membership }]
            }
            6 => {
                let blank = Record::entry(group, Kind::Blank, LogId { term, index: 0 }, Bytes::new());
                let begins_again = random.chance(50).then_some(blank);
                let forgotten = Record::forgotten(group, state.forgotten + 1);
                [forgotten].into_iter().chain(begins_again).collect()
            }
            7..9 => {
                let skip = random.below(entries.len() as u64) as usize;
                let id = entries
                    .iter()
                    .nth(skip)
                    .map(|(index, (_, term, _))| LogId { term: *term, index: *index });
                id.map(|id| Record::purged(group, id)).into_iter().collect()
            }
            _ => vec![entry(Kind::Normal, next, payload)],
        }
    }

    pub(super) fn turn(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let Self { writer, jobs, .. } = self;
        let writer = writer.as_mut().expect("the log is open");
        if writer.turn(jobs) == Turn::Waits && self.chore.is_none() {
            self.chore = writer.chore();
            assert!(self.chore.is_some(), "seed {}: who waits for a chore finds one", self.seed);
        }
    }

    fn chore(&mut self) {
        match self.chore.take() {
            Some(chore) => {
                let finished = chore.run(&self.disk, Path::new(FOLDER));
                self.writer_mut().finish(finished);
            }
            None => self.chore = self.writer_mut().chore(),
        }
    }

    pub(super) fn finish_chores(&mut self) {
        loop {
            self.chore();
            if self.chore.is_none() {
                self.chore = self.writer_mut().chore();
            }
            if self.chore.is_none() {
                return;
            }
        }
    }

    fn fault(&mut self) {
        match self.random.below(6) {
            0 => self.disk.fail_sync_after(self.random.below(3)),
            1 => self.disk.cut_power_after(self.random.below(12)),
            2 => self.disk.set_capacity(self.disk.used() + self.random.below(20_000)),
            3 => self.disk.set_capacity(u64::MAX),
            4 => self.disk.fail_reads(true),
            _ => self.disk.fail_reads(false),
        }
    }

    /// The power goes, perhaps once more during recovery.
    fn crash(&mut self) {
        self.drop_writer();
        self.disk.crash();
        while self.random.chance(30) {
            self.disk.cut_power_after(self.random.below(10));
            drop(self.open());
            self.disk.crash();
        }
        let recovered = self.reopen().and_then(|()| Model::read(self.writer()));
        self.compare(recovered.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
    }

    /// The process ends and starts again, while the system's cache stays. A fault may stop the start.
    fn restart(&mut self) {
        for _ in 0..2 {
            match self.reopen().and_then(|()| Model::read(self.writer())) {
                Ok(found) => return self.compare(found),
                Err(Error::Io { .. } | Error::Unread { .. }) => {}
                Err(other) => panic!("seed {}: {other}", self.seed),
            }
        }
        self.crash();
    }

    fn open(&self) -> Result<Writer, Error> {
        let files = Arc::new(self.disk.clone());
        Writer::open(files, Path::new(FOLDER), self.options.clone(), self.random.clone().bits())
    }

    /// What waited for the writer when it went has an unknown fate.
    pub(super) fn drop_writer(&mut self) {
        self.take_fates();
        self.jobs.clear();
        self.take_fates();
        self.writer = None;
        self.chore = None;
    }

    /// Compares what the log holds with all that it may hold after a restart.
    fn compare(&mut self, found: Model) {
        let mut candidate = self.model.clone();
        let mut unknown = std::mem::take(&mut self.unknown).into_iter();
        let noted = std::mem::take(&mut self.noted);
        // Whether a note was written nobody knows. It may be about an entry that found no room.
        let settle = |candidate: &mut Model| {
            for (group, ids) in &noted {
                let found = found.groups.get(group).and_then(|group| group.state.committed);
                if let Some(found) = found.filter(|found| ids.contains(found)) {
                    candidate.groups.entry(*group).or_default().state.committed = Some(found);
                }
            }
        };
        settle(&mut candidate);
        while candidate.visible() != found {
            let next = unknown.next();
            let next = next.unwrap_or_else(|| {
                panic!("seed {}: found {found:#?}\nacknowledged {:#?}", self.seed, self.model.visible())
            });
            next.iter().for_each(|record| candidate.apply(record));
            settle(&mut candidate);
        }
        self.model = candidate;
    }

    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        self.drop_writer();
        self.random.bits();
        self.writer = Some(self.open()?);
        Ok(())
    }

    pub(super) fn take_fates(&mut self) {
        let fates = std::mem::take(&mut *self.fates.lock().unwrap());
        for (id, fate) in fates {
            let records = self.waiting.remove(&id).expect("each is answered once");
            self.trace.push(format!("{id} {fate:?}"));
            match fate {
                Ok(()) => {
                    assert!(
                        self.unknown.is_empty(),
                        "seed {}: nothing is acknowledged after a failure",
                        self.seed
                    );
                    records.iter().for_each(|record| self.model.apply(record));
                }
                Err(LogError::Unknown(_)) => self.unknown.push(records),
                Err(LogError::Full(_)) => {}
                Err(other) => panic!("seed {}: {other}", self.seed),
            }
        }
    }

    /// Appends a proposal of any group, and sees it acknowledged.
    pub(super) fn append_one(&mut self) {
        let group = self.random.below(GROUPS) as u32;
        let id = LogId { term: self.random.below(2), index: self.model.next(group) };
        let id = LogId { term: id.term.max(self.term(group)), ..id };
        let payload = (0..self.random.below(1500)).map(|_| self.random.bits() as u8).collect();
        self.append(Record::entry(group, Kind::Normal, id, payload));
    }

    pub(super) fn term(&self, group: u32) -> u64 {
        self.model.groups.get(&group).and_then(|group| group.state.last).map_or(0, |last| last.term)
    }

    pub(super) fn append(&mut self, record: Record) {
        let mut expected = self.model.clone();
        expected.apply(&record);
        self.submit(vec![record], Job::new);
        self.work();
        assert_eq!(self.model, expected, "seed {}: the proposal was acknowledged", self.seed);
    }

    /// Drives the writer until all that waits is answered.
    pub(super) fn work(&mut self) {
        while !self.jobs.is_empty() {
            self.turn();
            self.finish_chores();
        }
        self.take_fates();
    }
}
