//! What time alone brings: wills that are said, sessions that end, timers that fire, commands that expire.

use crate::json::Json;
use crate::queue::Step;
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::routes::Plane;
use crate::timers::TIMERS_MAX;
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn due(&mut self) -> Result<Reply, Rejection> {
        let now = self.header.received;
        // What a will says is the device's, and the rest is not: it has a transition of its own.
        if let Some(epoch) = self.twin().sessions().will_due(now) {
            self.say_will(epoch);
            return Ok(Reply::Done);
        }
        for epoch in self.twin().sessions().expired(now) {
            self.change(Change::SessionEnded { epoch });
        }
        self.expire_credentials();
        self.expire_sessions();
        let late = self.twin().commands().open().filter(|command| command.deadline <= now);
        for id in late.map(|command| command.id).collect::<Vec<_>>() {
            self.step(id, Step::Expired);
        }
        // A handler may arm a timer that is due at once; past the limit it waits for the next turn.
        for _ in 0..TIMERS_MAX {
            let Some(timer) = self.twin().timers().due(now) else { break };
            let name = timer.name.clone();
            self.change(Change::Disarmed { name: name.clone() });
            let null = Json::null();
            match self.run(|logic, state, fx| logic.react(state, Plane::Timer, &name, (&null, None), fx)) {
                Ok(part) => part.into_iter().for_each(|part| self.record(part)),
                Err(rejection) => self.complain(&rejection),
            }
        }
        Ok(Reply::Done)
    }
}
