//! A shard that writes and reads: it hears its log as the runtime's do, and tells the oracle of all that it does.

use crate::oracle::{Event, Oracle};
use bytes::Bytes;
use runtime::files::sim::Random;
use runtime::log::{Done, Error, LogId, ShardLog, Sure, Tenure, Told};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const READ_BYTES: usize = 1 << 16;
/// A payload is at most so much longer than its number.
const FILLING_MAX: u64 = 1_500;
/// Between two things that a shard does.
const PAUSE_MILLIS: u64 = 60;

/// What comes to a shard, in the order in which it comes.
enum Mail {
    Told(Told),
    Answer(u64, Result<LogId, Error>),
    /// Whether it led, to a question before which everything through an entry had been acknowledged.
    Sure(u64, Result<(), Error>),
}

/// Where a shard is, and whom it tells.
#[derive(Clone)]
pub struct Setting {
    pub node: u64,
    pub group: u32,
    pub log: Arc<dyn ShardLog>,
    pub oracle: Oracle,
    /// Whether anybody writes at this time.
    pub writes: Arc<AtomicBool>,
    pub seed: u64,
}

pub struct Shard {
    setting: Setting,
    post: mpsc::UnboundedSender<Mail>,
    mail: mpsc::UnboundedReceiver<Mail>,
    random: Random,
    /// So often of a hundred it writes, and reads else: who leads and does not write hears late that it was replaced.
    share: u64,
    through: u64,
    /// Follows from all that was applied.
    state: u64,
    tenure: Option<Tenure>,
    /// The number of its proposal under way.
    waits: Option<u64>,
}

impl Shard {
    /// Writes and reads until it is dropped, or its disk is gone.
    pub async fn live(setting: Setting) {
        let (post, mail) = mpsc::unbounded_channel();
        let told = post.clone();
        // Whoever listens no more is told in vain.
        let standing =
            setting.log.listen(Box::new(move |what| told.send(Mail::Told(what)).unwrap_or_default()));
        let mut random = Random::new(setting.seed);
        let share = [5, 50, 80][random.below(3) as usize];
        let mut shard =
            Self { setting, post, mail, random, share, through: 0, state: 0, tenure: None, waits: None };
        if shard.read(standing.through).is_err() {
            return;
        }
        if let Some(tenure) = standing.leads {
            shard.lead(tenure);
        }
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                mail = shard.mail.recv() => {
                    let mail = mail.expect("it holds a sender itself");
                    if shard.take(mail).is_err() {
                        return;
                    }
                }
                () = sleep_until(next) => {
                    shard.act();
                    next = Instant::now() + Duration::from_millis(1 + shard.random.below(PAUSE_MILLIS));
                }
            }
        }
    }

    fn tell(&self, event: Event) {
        self.setting.oracle.tell(self.setting.node, self.setting.group, event);
    }

    fn lead(&mut self, tenure: Tenure) {
        self.tenure = Some(tenure);
        self.tell(Event::Leads { term: tenure.term, number: tenure.number });
    }

    fn read(&mut self, through: u64) -> Result<(), Error> {
        while self.through < through {
            let log = &self.setting.log;
            let entries = match log.recent(self.through, through, READ_BYTES) {
                Some(entries) => entries,
                None => log.read(self.through, through, READ_BYTES)?,
            };
            let last = entries.last().map_or(through, |last| last.id.index);
            for entry in entries {
                self.apply(entry.id, number(&entry.payload));
            }
            self.through = last;
        }
        Ok(())
    }

    fn apply(&mut self, id: LogId, number: u64) {
        self.through = id.index;
        // FNV-1a, by words.
        for word in [id.term, id.index, number] {
            self.state = (self.state ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        self.tell(Event::Applied { number, id, state: self.state });
    }

    fn take(&mut self, mail: Mail) -> Result<(), Error> {
        match mail {
            Mail::Told(Told::Committed { through }) => {
                self.check(self.waits.is_none() || self.tenure.is_none(), "a leader is told of a commit");
                self.read(through)?;
            }
            Mail::Told(Told::Leads { tenure, through }) => {
                self.check(self.waits.is_none(), "it leads before its proposal is answered");
                self.read(through)?;
                self.lead(tenure);
            }
            Mail::Told(Told::Follows { .. }) => {
                self.check(self.waits.is_none(), "it follows before its proposal is answered");
                if self.tenure.take().is_some() {
                    self.tell(Event::Follows);
                }
            }
            Mail::Told(Told::Replaced) => self.check(false, "nobody sends state here"),
            Mail::Answer(number, fate) => self.answered(number, fate),
            Mail::Sure(floor, Ok(())) => self.tell(Event::Read { floor, through: self.through }),
            Mail::Sure(_, Err(_)) => {}
        }
        Ok(())
    }

    fn answered(&mut self, number: u64, fate: Result<LogId, Error>) {
        self.waits = None;
        match fate {
            Ok(id) => {
                self.check(self.through < id.index, "its own entry was told to it before");
                self.tell(Event::Acknowledged { number, id });
                self.apply(id, number);
            }
            Err(Error::NotLeader { .. } | Error::Full(_)) => self.tell(Event::Refused { number }),
            Err(_) => self.tell(Event::Unknown { number }),
        }
    }

    /// Proposes, or answers somebody who asks for what is here.
    fn act(&mut self) {
        let Some(tenure) = self.tenure else { return };
        if !self.setting.writes.load(Ordering::Relaxed) {
            return;
        }
        if !self.random.chance(self.share) {
            let floor = self.setting.oracle.acknowledged(self.setting.group);
            if self.setting.log.needs_confirming() {
                let post = self.post.clone();
                let sure: Sure = Box::new(move |sure| post.send(Mail::Sure(floor, sure)).unwrap_or_default());
                self.setting.log.confirm(tenure, sure);
            } else {
                self.tell(Event::Read { floor, through: self.through });
            }
        } else if self.waits.is_none() {
            self.propose(tenure);
        }
    }

    fn propose(&mut self, tenure: Tenure) {
        let number = self.setting.oracle.number();
        self.tell(Event::Proposed { number, term: tenure.term });
        self.waits = Some(number);
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(8 + self.random.below(FILLING_MAX) as usize, 7);
        let post = self.post.clone();
        let done: Done = Box::new(move |fate| post.send(Mail::Answer(number, fate)).unwrap_or_default());
        self.setting.log.propose(tenure, payload.into(), done);
    }

    fn check(&self, holds: bool, what: &str) {
        if !holds {
            let Setting { node, group, oracle, .. } = &self.setting;
            oracle.fail(format!("node {node}, group {group}: {what}"));
        }
    }
}

fn number(payload: &Bytes) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().expect("it has eight bytes"))
}
