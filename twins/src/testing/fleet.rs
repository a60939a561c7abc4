//! A bench of several twins: one clock that is cranked by hand, and the calls between them carried as a node does.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::behavior::Behavior;
use crate::decide::Live;
use crate::header::{Cause, Principal};
use crate::id::TwinId;
use crate::input::{Input, Refused};
use crate::rejection::{Code, Rejection};
use crate::time::Timestamp;
use crate::transition::{Call, Transition};

use super::{Bench, START};

/// Calls that are carried at once before it is said that they have no end.
const CARRIED_MAX: usize = 100_000;

/// Several twins, each on a [`Bench`] of its own, that call each other.
///
/// After whatever is done to one of them, its calls are carried, and those that follow from them, in order, until none
/// is left; a refusal comes back as `call-refused`. All of it happens at one moment. Time passes with [`Fleet::pass`].
/// [`Effects::call`](crate::effects::Effects::call) shows an example.
#[derive(Default)]
pub struct Fleet {
    passed: Duration,
    members: BTreeMap<TwinId, Member>,
}

struct Member {
    bench: Box<dyn Erased>,
    /// How many of its transitions have had their calls carried.
    carried: usize,
}

/// What a fleet needs of a bench, whatever its behaviour.
trait Erased {
    fn any(&mut self) -> &mut dyn Any;
    fn now(&self) -> Timestamp;
    fn next_due(&self) -> Option<Timestamp>;
    fn pass_until(&mut self, end: Timestamp);
    fn hear(&mut self, input: Input, by: Principal, cause: Cause) -> Result<(), Rejection>;
    fn journal(&self) -> &[Transition];
}

impl<B: Behavior> Erased for Bench<B> {
    fn any(&mut self) -> &mut dyn Any {
        self
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.live.twin().next_due()
    }

    fn pass_until(&mut self, end: Timestamp) {
        self.pass(end.since(self.now));
    }

    fn hear(&mut self, input: Input, by: Principal, cause: Cause) -> Result<(), Rejection> {
        self.caused(input, by, Some(cause)).map(drop)
    }

    fn journal(&self) -> &[Transition] {
        &self.journal
    }
}

impl Fleet {
    /// One more registered twin, with a connected device.
    ///
    /// # Panics
    /// If the id is none, or is taken.
    pub fn add<B: Behavior>(&mut self, id: &str) -> &mut Self {
        let bench = Bench::<B>::of(id, self.now(), Live::default());
        let member = Member { carried: bench.journal.len(), bench: Box::new(bench) };
        let id = TwinId::in_default_tenant(id).expect("an id of plain characters");
        assert!(self.members.insert(id.clone(), member).is_none(), "`{}` is there already", id.id());
        self
    }

    /// Does something to a twin, or looks at it; then its calls are carried.
    ///
    /// # Panics
    /// If there is no such twin, it is of another kind, or the calls have no end.
    pub fn with<B: Behavior, R>(&mut self, id: &str, act: impl FnOnce(&mut Bench<B>) -> R) -> R {
        let member = TwinId::in_default_tenant(id).ok().and_then(|id| self.members.get_mut(&id));
        let bench = &mut member.unwrap_or_else(|| panic!("there is no `{id}`")).bench;
        let result = act(bench.any().downcast_mut().unwrap_or_else(|| panic!("`{id}` is no `{}`", B::KIND)));
        let now = bench.now();
        self.carry();
        self.pass(now.since(self.now()));
        result
    }

    /// Time passes for all; timers fire and commands expire at their moments, and the calls that they make are carried.
    pub fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now() + time;
        loop {
            let due = self.members.values().filter_map(|member| member.bench.next_due()).min();
            let moment = due.filter(|due| *due <= end).map_or(end, |due| due.max(self.now()));
            self.passed = moment.since(START);
            for member in self.members.values_mut().filter(|member| member.bench.now() <= moment) {
                member.bench.pass_until(moment);
            }
            self.carry();
            let due = self.members.values().filter_map(|member| member.bench.next_due()).min();
            if moment == end && due.is_none_or(|due| due > end) {
                return self;
            }
        }
    }

    /// The fleet's now.
    pub fn now(&self) -> Timestamp {
        START + self.passed
    }

    fn carry(&mut self) {
        let mut calls = VecDeque::new();
        self.collect(&mut calls);
        let mut carried = 0;
        while let Some((cause, call)) = calls.pop_front() {
            carried += 1;
            assert!(carried <= CARRIED_MAX, "the calls have no end: {call:?}");
            self.carry_one(cause, call);
            self.collect(&mut calls);
        }
    }

    /// The calls that were made since the last time.
    fn collect(&mut self, calls: &mut VecDeque<(Cause, Call)>) {
        for (id, member) in &mut self.members {
            let journal = member.bench.journal();
            let made = journal[member.carried..].iter().flat_map(|transition| transition.calls(id));
            calls.extend(made.map(|(cause, call)| (cause, call.clone())));
            member.carried = journal.len();
        }
    }

    fn carry_one(&mut self, cause: Cause, call: Call) {
        let Call { twin, method, argument, generation, .. } = call;
        let caller = cause.twin.clone();
        let heard = match self.members.get_mut(&twin) {
            Some(member) => {
                let input = Input::Call { name: method.clone(), argument };
                member.bench.hear(input, Principal::Twin(caller.clone()), cause.clone())
            }
            None => Err(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", twin.id()))),
        };
        if let (Err(refusal), Some(member)) = (heard, self.members.get_mut(&caller)) {
            let refused = Refused::of(&refusal, twin, method, generation);
            let heard = member.bench.hear(Input::CallRefused(refused), Principal::System, cause);
            heard.expect("a refusal is never refused");
        }
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.members.keys()).finish()
    }
}
