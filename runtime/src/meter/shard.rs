//! What one shard counts. It gathers in a [`Tally`] of its own what a batch brings, and adds it here at its commit.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use twins::command::State;
use twins::input::Input;
use twins::queue::Step;
use twins::transition::{Change, Transition};

use crate::error::{Error, Outcome};

use super::{Distribution, Histogram, add, read};

/// What an input asks for, as the label `input` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct What(u8);

impl What {
    /// The names.
    pub(crate) const NAMES: [&'static str; 29] = [
        "other",
        "register",
        "remove",
        "connect",
        "disconnect",
        "subscribe",
        "unsubscribe",
        "acknowledge",
        "sample",
        "telemetry",
        "report",
        "outcome",
        "update",
        "command",
        "call",
        "read",
        "due",
        "release",
        "complete",
        "poll",
        "appear",
        "cancel",
        "redrive",
        "call-refused",
        "trust",
        "unsent",
        "handover",
        "erase",
        "prove",
    ];

    pub(crate) fn of(input: &Input) -> Self {
        Self(match input {
            Input::Register { .. } => 1,
            Input::Remove { .. } => 2,
            Input::Connect { .. } => 3,
            Input::Disconnect { .. } => 4,
            Input::Subscribe(_) => 5,
            Input::Unsubscribe(_) => 6,
            Input::Acknowledge(_) => 7,
            Input::Sample { .. } => 8,
            Input::Telemetry(_) => 9,
            Input::Report(_) => 10,
            Input::Outcome { .. } => 11,
            Input::Update { .. } => 12,
            Input::Command(_) => 13,
            Input::Call { .. } => 14,
            Input::Read => 15,
            Input::Due => 16,
            Input::Release(_) => 17,
            Input::Complete(_) => 18,
            Input::Poll => 19,
            Input::Appear { .. } => 20,
            Input::Cancel(_) => 21,
            Input::Redrive { .. } => 22,
            Input::CallRefused(_) => 23,
            Input::Trust(_) => 24,
            Input::Unsent(_) => 25,
            Input::Handover(_) => 26,
            Input::Erase { .. } => 27,
            Input::Prove => 28,
        })
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

const WHATS: usize = What::NAMES.len();

/// How an input ended, where it was no refusal.
pub(crate) const ENDS: [&str; 5] = ["accepted", "overloaded", "unwritten", "unknown", "stopping"];

/// Refusals, of all shards: rare enough to be added where they happen.
#[derive(Debug, Default)]
pub(crate) struct Refusals([[AtomicU64; CODES]; WHATS], [std::sync::OnceLock<&'static str>; CODES]);

/// Room for the codes of refusals; those beyond share the last place.
const CODES: usize = 32;

impl Refusals {
    fn count(&self, what: What, code: twins::rejection::Code) {
        let place = (code as usize).min(CODES - 1);
        self.1[place].get_or_init(|| code.as_str());
        self.0[what.index()][place].fetch_add(1, Relaxed);
    }

    /// What was refused with which code how often.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let codes = (0..CODES).filter_map(|code| Some((code, *self.1[code].get()?)));
        codes.flat_map(|(code, name)| {
            let counts = self.0.iter().zip(What::NAMES).map(move |(row, what)| (what, read(&row[code])));
            counts.filter(|(_, n)| *n > 0).map(move |(what, n)| (what, name, n))
        })
    }
}

/// The steps of a command, as the label `step` names them.
pub(crate) const STEPS: [State; 9] = [
    State::Queued,
    State::Sent,
    State::Delivered,
    State::Done,
    State::Rejected,
    State::Expired,
    State::Cancelled,
    State::Superseded,
    State::Dead,
];

/// What the decisions of a batch bring, once it is committed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    steps: [u32; STEPS.len()],
    fired: u32,
    decisions: u32,
    record_bytes: u64,
}

impl Tally {
    /// One more decision.
    pub(crate) fn decided(&mut self, what: What, transition: &Transition) {
        self.decisions += 1;
        for change in &transition.changes {
            let step = match change {
                Change::Queued(_) => State::Queued,
                Change::Stepped { step, .. } => state(step),
                Change::Disarmed { .. } if what == What::of(&Input::Due) => {
                    self.fired += 1;
                    continue;
                }
                _ => continue,
            };
            self.steps[step as usize] += 1;
        }
    }

    /// One more record.
    pub(crate) fn recorded(&mut self, bytes: usize) {
        self.record_bytes += bytes as u64;
    }
}

fn state(step: &Step) -> State {
    match step {
        Step::Sent(_) => State::Sent,
        Step::Delivered => State::Delivered,
        Step::Done(_) => State::Done,
        Step::Rejected(_) => State::Rejected,
        Step::Expired => State::Expired,
        Step::Cancelled => State::Cancelled,
        Step::Superseded => State::Superseded,
        Step::Dead => State::Dead,
    }
}

/// The counts of one shard. Those without a remark are written by the shard alone.
#[derive(Debug, Default)]
pub(crate) struct ShardMeter {
    ended: [[AtomicU64; ENDS.len()]; WHATS],
    /// Before the shard, by whoever asked.
    turned_away: [[AtomicU64; ENDS.len()]; WHATS],
    pub(crate) latency: Histogram,
    pub(crate) batches: AtomicU64,
    pub(crate) decisions: AtomicU64,
    pub(crate) entry_bytes: AtomicU64,
    pub(crate) steps: [AtomicU64; STEPS.len()],
    pub(crate) timers_fired: AtomicU64,
    /// By the thread that writes it.
    pub(crate) checkpoints: Histogram,
    pub(crate) checkpoint_bytes: AtomicU64,
    pub(crate) checkpoint_images: AtomicU64,
    pub(crate) activations: AtomicU64,
    pub(crate) passivations: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) residents: AtomicU64,
    pub(crate) resident_bytes: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) stream_bytes: AtomicU64,
    pub(crate) stream_end: AtomicU64,
    pub(crate) stream_earliest: AtomicU64,
    pub(crate) stream_trims: AtomicU64,
    /// While it recovers: entries that were replayed, and how many there are.
    pub(crate) replayed: AtomicU64,
    pub(crate) to_replay: AtomicU64,
}

impl ShardMeter {
    /// An input was answered by the shard.
    pub(crate) fn answered(&self, refusals: &Refusals, what: What, outcome: &Outcome) {
        match end(outcome) {
            Ok(end) => add(&self.ended[what.index()][end], 1),
            Err(code) => refusals.count(what, code),
        }
    }

    /// An input never came to the shard.
    pub(crate) fn turned_away(&self, what: What, error: &Error) {
        if let Some(end) = failure(error) {
            self.turned_away[what.index()][end].fetch_add(1, Relaxed);
        }
    }

    /// A batch is committed.
    pub(crate) fn committed(&self, entry_bytes: u64, tally: &Tally) {
        add(&self.batches, 1);
        add(&self.decisions, u64::from(tally.decisions));
        add(&self.entry_bytes, entry_bytes);
        add(&self.stream_bytes, tally.record_bytes);
        for (count, n) in self.steps.iter().zip(tally.steps).filter(|(_, n)| *n > 0) {
            add(count, u64::from(n));
        }
        add(&self.timers_fired, u64::from(tally.fired));
    }

    /// Where the stream begins and ends now.
    pub(crate) fn streamed(&self, earliest: u64, end: u64) {
        if self.stream_earliest.swap(earliest, Relaxed) < earliest {
            add(&self.stream_trims, 1);
        }
        self.stream_end.store(end, Relaxed);
    }

    /// How often inputs asked for what ended how.
    pub(crate) fn ends(&self, what: usize, end: usize) -> u64 {
        read(&self.ended[what][end]) + read(&self.turned_away[what][end])
    }

    /// How far a recovery is, where one replays.
    pub(crate) fn progress(&self) -> Option<String> {
        let (done, all) = (read(&self.replayed), read(&self.to_replay));
        (all > 0).then(|| format!("recovering: replayed {done} of {all} entries"))
    }

    /// Adds what was gathered.
    pub(crate) fn took(&self, latency: &Distribution) {
        self.latency.add(latency);
    }
}

fn end(outcome: &Outcome) -> Result<usize, twins::rejection::Code> {
    match outcome {
        Ok(_) => Ok(0),
        Err(Error::Rejected(rejection)) => Err(rejection.code()),
        Err(error) => Ok(failure(error).unwrap_or(0)),
    }
}

fn failure(error: &Error) -> Option<usize> {
    match error {
        Error::Rejected(_) => None,
        Error::Overloaded { .. } => Some(1),
        Error::Unwritten { .. } => Some(2),
        Error::Unknown { .. } => Some(3),
        Error::Stopping => Some(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_stand_at_their_own_places() {
        for (place, step) in STEPS.into_iter().enumerate() {
            assert_eq!(step as usize, place, "{}", step.as_str());
        }
    }

    #[test]
    fn an_input_is_counted_once_however_it_ends() {
        let (meter, refusals) = (ShardMeter::default(), Refusals::default());
        let read = What::of(&Input::Read);
        let refused = twins::rejection::Rejection::new(twins::rejection::Code::UnknownTwin, "no");

        meter.answered(&refusals, read, &Ok(twins::reply::Reply::Done));
        meter.answered(&refusals, read, &Err(refused.into()));
        meter.turned_away(read, &Error::Overloaded { shard: 0, limit: "inputs" });

        let read = What::NAMES.iter().position(|name| *name == "read").unwrap();
        assert_eq!((meter.ends(read, 0), meter.ends(read, 1), meter.ends(read, 2)), (1, 1, 0));
        assert_eq!(refusals.each().collect::<Vec<_>>(), [("read", "unknown-twin", 1)]);
    }
}
