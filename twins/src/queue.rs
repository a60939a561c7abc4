//! The commands of a twin: those that are open, in the order they were queued, the last ones that ended, and apart from
//! these the dead ones.
//!
//! The queue only takes steps; which step to take when is decided in `decide`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::{Command, CommandId, Mode, State};
use crate::dead::Dead;
use crate::json::Json;
use crate::time::Timestamp;

/// How many commands may be open.
pub const OPEN_MAX: usize = 1_000;
/// How many bytes the payloads of open commands may have together.
pub const OPEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many commands that ended are remembered.
pub const ENDED_MAX: usize = 32;
/// How many bytes they may have together; the newest is remembered whatever it has.
pub const ENDED_BYTES_MAX: usize = 64 * 1024;
/// How often a command is sent before it is given up.
pub const ATTEMPTS_MAX: u32 = 5;
/// The longest time to live, and the default: 30 days.
pub const TTL_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// The commands. Cheap to clone, and each step is cheap, however many there are: what a step leaves as it was is shared.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Queue {
    #[n(0)]
    #[cbor(with = "crate::codec::shared")]
    open: Arc<VecDeque<Shared>>,
    #[n(1)]
    #[cbor(with = "crate::codec::shared")]
    ended: Arc<VecDeque<Shared>>,
    #[n(2)]
    dead: Dead,
}

/// A command that several states of the queue have in common.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub(crate) struct Shared(
    #[n(0)]
    #[cbor(with = "crate::codec::shared")]
    pub(crate) Arc<Command>,
);

/// One step of a command.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Step {
    /// Handed to the session of this epoch, once more.
    #[n(0)]
    Sent(#[n(0)] u64),
    /// The device acknowledged it.
    #[n(1)]
    Delivered,
    /// The device did it.
    #[n(2)]
    Done(#[n(0)] Option<Json>),
    /// The device would not.
    #[n(3)]
    Rejected(#[n(0)] Option<Json>),
    /// Its deadline passed.
    #[n(4)]
    Expired,
    /// It was withdrawn.
    #[n(5)]
    Cancelled,
    /// A newer one took its place.
    #[n(6)]
    Superseded,
    /// It is given up.
    #[n(7)]
    Dead,
}

impl Queue {
    /// Those that are open, oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.open.iter().map(|Shared(command)| &**command)
    }

    /// The last ones that ended, but for the dead ones, oldest first.
    pub fn ended(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.ended.iter().map(|Shared(command)| &**command)
    }

    /// Those that are dead, oldest first.
    pub fn dead(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.dead.iter()
    }

    /// All that are remembered.
    pub fn all(&self) -> impl Iterator<Item = &Command> {
        self.open().chain(self.ended()).chain(self.dead())
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A command by its id.
    pub fn get(&self, id: CommandId) -> Option<&Command> {
        self.all().find(|command| command.id == id)
    }

    /// The one that ended last, if it is this one.
    pub(crate) fn just_ended(&self, id: CommandId) -> Option<&Command> {
        let newest = [self.ended().next_back(), self.dead().next_back()];
        newest.into_iter().flatten().find(|command| command.id == id)
    }

    /// The oldest dead ones, which have to go where this one dies.
    pub(crate) fn displaced_by(&self, id: CommandId) -> impl Iterator<Item = &Command> {
        let dying = self.open().find(|command| command.id == id);
        dying.into_iter().flat_map(|dying| self.dead.displaced_by(dying))
    }

    /// The bytes of the payloads of those that are open.
    pub fn open_bytes(&self) -> usize {
        self.open().map(Command::bytes).sum()
    }

    /// Whether it is on its way to the session of this epoch.
    pub fn is_sent(&self, id: CommandId, epoch: u64) -> bool {
        self.open().any(|command| command.id == id && command.state == State::Sent && command.epoch == epoch)
    }

    /// The one whose turn it is: the next waits until this one is delivered.
    pub fn head(&self) -> Option<&Command> {
        self.open().find(|command| matches!(command.state, State::Queued | State::Sent))
    }

    /// The latest-only ones of this name that a new one would supersede, oldest first.
    pub fn pending(&self, name: &str) -> impl Iterator<Item = &Command> {
        self.open().filter(move |command| command.mode == Mode::Latest && command.name.as_str() == name)
    }

    /// When the next one expires.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open().map(|command| command.deadline).min()
    }

    pub(crate) fn push(&mut self, command: &Command) {
        Arc::make_mut(&mut self.open).push_back(Shared(Arc::new(command.clone())));
    }

    /// Takes a step; a command that ends by it moves to the ended ones, or to the dead ones. A step of a command that
    /// is not open is none.
    pub(crate) fn step(&mut self, id: CommandId, step: &Step, at: Timestamp) {
        let Some(index) = self.open().position(|command| command.id == id) else { return };
        let open = Arc::make_mut(&mut self.open);
        let command = Arc::make_mut(&mut open[index].0);
        command.changed = at;
        match step {
            Step::Sent(epoch) => {
                command.state = State::Sent;
                command.epoch = *epoch;
                command.attempt += 1;
            }
            Step::Delivered => command.state = State::Delivered,
            Step::Done(result) => {
                command.state = State::Done;
                command.result.clone_from(result);
            }
            Step::Rejected(result) => {
                command.state = State::Rejected;
                command.result.clone_from(result);
            }
            Step::Expired => command.state = State::Expired,
            Step::Cancelled => command.state = State::Cancelled,
            Step::Superseded => command.state = State::Superseded,
            Step::Dead => command.state = State::Dead,
        }
        if !command.is_final() {
            return;
        }
        let Some(command) = open.remove(index) else { return };
        if *step == Step::Dead {
            return self.dead.push(command);
        }
        Arc::make_mut(&mut self.ended).push_back(command);
        self.forget();
    }

    /// A dead one leaves: another takes its place.
    pub(crate) fn redriven(&mut self, id: CommandId) {
        self.dead.remove(id);
    }

    /// Forgets the oldest of those that ended, past what is remembered.
    fn forget(&mut self) {
        let ended = Arc::make_mut(&mut self.ended);
        let mut bytes: usize = ended.iter().rev().skip(1).map(|Shared(command)| command.bytes()).sum();
        while ended.len() > 1 && (ended.len() > ENDED_MAX || bytes > ENDED_BYTES_MAX) {
            bytes -= ended.pop_front().map_or(0, |Shared(command)| command.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Answer;
    use crate::dead::{DEAD_BYTES_MAX, DEAD_MAX};
    use crate::header::Principal;
    use crate::name::Name;

    fn queue(commands: u128, payload: usize) -> Queue {
        let mut queue = Queue::default();
        for n in 0..commands {
            queue.push(&Command {
                id: CommandId(uuid::Uuid::from_u128(n)),
                name: Name::fixed("turn"),
                payload: json(payload).into(),
                created: Timestamp::ZERO,
                deadline: Timestamp::MAX,
                by: Principal::System,
                mode: Mode::Queue,
                answer: Answer::Expected,
                state: State::Queued,
                attempt: 0,
                epoch: 0,
                result: None,
                changed: Timestamp::ZERO,
                trace: None,
            });
        }
        queue
    }

    fn json(bytes: usize) -> Json {
        Json::of(&"x".repeat(bytes - 2)).unwrap()
    }

    fn id(n: u128) -> CommandId {
        CommandId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn what_ended_is_remembered_up_to_its_bytes_and_the_newest_always() {
        let mut queue = queue(ENDED_MAX as u128 + 8, 4_096);
        for n in 0..ENDED_MAX as u128 + 8 {
            queue.step(id(n), &Step::Done(Some(json(4_096))), Timestamp::ZERO);
        }

        let ids: Vec<_> = queue.ended().map(|command| command.id.0.as_u128()).collect();
        assert_eq!(ids, (31..40).collect::<Vec<_>>(), "eight of 8 KiB, and the newest");

        let before = queue.get(id(39)).unwrap().clone();
        queue.push(&Command { id: id(40), payload: json(200_000).into(), ..before });
        queue.step(id(40), &Step::Expired, Timestamp::ZERO);

        let ids: Vec<_> = queue.ended().map(|command| command.id.0.as_u128()).collect();
        assert_eq!(ids, (32..41).collect::<Vec<_>>(), "the newest, whatever it has");
    }

    #[test]
    fn the_oldest_dead_letters_go_past_a_number_and_past_their_bytes() {
        let count = DEAD_MAX as u128 + 2;
        let mut queue = queue(count, 10);
        for n in 0..count {
            let displaced: Vec<_> = queue.displaced_by(id(n)).map(|command| command.id.0.as_u128()).collect();
            assert_eq!(displaced, if n < 1_000 { vec![] } else { vec![n - 1_000] });
            queue.step(id(n), &Step::Dead, Timestamp::ZERO);
        }
        assert_eq!((queue.dead().count(), queue.ended().count()), (DEAD_MAX, 0));

        let before = queue.dead().next().unwrap().clone();
        queue.push(&Command { id: id(count), payload: json(DEAD_BYTES_MAX - 25).into(), ..before });
        queue.step(id(count), &Step::Dead, Timestamp::ZERO);

        let left: Vec<_> = queue.dead().map(|command| command.id.0.as_u128()).collect();
        assert_eq!(left, [count - 2, count - 1, count]);
    }

    #[test]
    fn a_step_shares_all_the_commands_that_it_leaves_as_they_were() {
        let mut queue = queue(3, 10);
        let before = queue.clone();

        queue.step(id(1), &Step::Sent(7), Timestamp::ZERO);

        let shared = |n: usize| Arc::ptr_eq(&queue.open[n].0, &before.open[n].0);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
        assert_eq!(before.get(id(1)).map(|command| command.state), Some(State::Queued));
    }
}
