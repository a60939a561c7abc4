//! Running a behaviour's handlers: all that one input calls is one part, taken whole or dropped whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::command::{Answer, Command, CommandId, Mode, State};
use crate::context::Context;
use crate::effects::{Effects, Intent};
use crate::header::Principal;
use crate::json::{Json, Operation, diff, merge};
use crate::logic::{Decoded, Logic};
use crate::queue::Step;
use crate::rejection::{Code, Rejection};
use crate::routes::Plane;
use crate::section::SECTION_BYTES_MAX;
use crate::transition::{Change, Effect};
use crate::twin::Twin;

use super::draft::Draft;

/// How many outcomes one decision tells its behaviour of; a handler that sends and supersedes for ever is cut there.
const OUTCOMES_MAX: usize = 32;

/// The behaviour's part, decided but not yet recorded. Recording it cannot fail.
pub(super) struct Part<R> {
    pub(super) result: R,
    state: Option<Change>,
    intents: Vec<Intent>,
}

impl Draft<'_> {
    /// Runs handlers. On a refusal or a panic the behaviour's state is as it was.
    pub(super) fn run<R>(
        &mut self,
        handlers: impl FnOnce(&dyn Logic, &mut Decoded, &mut Effects<'_>) -> Result<R, Rejection>,
    ) -> Result<Option<Part<R>>, Rejection> {
        if self.kind.is_missing {
            return Err(self.missing());
        }
        let Some(logic) = self.kind.logic.clone() else { return Ok(None) };
        let held = self.live.state.take();
        let twin: &Twin = &self.live.twin;
        // Reading a state is the developer's code too: migrations, and what makes a type of JSON.
        let (mut state, before) = caught(|| {
            let state = held.map_or_else(|| logic.load(twin.state()), Ok)?;
            let before = logic.copy(&state);
            Ok((state, before))
        })?;
        let time = self.header.event_time();
        let mut fx = Effects::new(Context { id: self.id, twin, header: &self.header, time });
        let ran = caught(|| {
            let result = handlers(&*logic, &mut state, &mut fx)?;
            let intents = fx.finish()?;
            let state = written(&*logic, &state, twin)?;
            Ok(Part { result, state, intents })
        });
        self.live.state = Some(if ran.is_ok() { state } else { before });
        ran.map(Some)
    }

    /// Records what the behaviour decided.
    pub(super) fn record<R>(&mut self, part: Part<R>) -> R {
        let Part { result, state, intents } = part;
        state.into_iter().for_each(|state| self.change(state));
        intents.into_iter().for_each(|intent| self.carry_out(intent));
        result
    }

    /// Tells the behaviour of the commands that ended, and hands on what waits for the device, until nothing is left.
    pub(super) fn settle(&mut self) {
        for _ in 0..OUTCOMES_MAX {
            self.deliver();
            let Some(command) = self.ended.pop_front() else { return };
            self.tell_outcome(&command);
        }
        if !self.ended.is_empty() {
            self.announce("behavior-cut", Json::null());
            self.deliver();
        }
    }

    fn tell_outcome(&mut self, command: &Command) {
        let (Some(outcome), Some(logic)) = (command.outcome(), &self.kind.logic) else { return };
        if !logic.reacts(Plane::Command, &command.name) {
            return;
        }
        let null = Json::null();
        let payload = command.payload.json().unwrap_or(&null);
        let ran = self.run(|logic, state, fx| {
            logic.react(state, Plane::Command, &command.name, (payload, Some(outcome)), fx)
        });
        match ran {
            Ok(part) => part.into_iter().for_each(|part| self.record(part)),
            Err(rejection) => self.complain(&rejection),
        }
    }

    /// Announces that a handler failed where nobody waits for an answer that could say so.
    pub(super) fn complain(&mut self, rejection: &Rejection) {
        let name = if rejection.code() == Code::BehaviorFailed { "behavior-failed" } else { "behavior-refused" };
        let data = Json::of(rejection.message()).unwrap_or_else(|_| Json::null());
        self.announce(name, data);
    }

    fn carry_out(&mut self, intent: Intent) {
        match intent {
            Intent::Send { name, payload, deadline, mode } => {
                let expects = self.kind.logic.as_ref().is_some_and(|logic| logic.reacts(Plane::Command, &name));
                let command = Command {
                    id: self.command_id(),
                    name,
                    payload,
                    created: self.header.received,
                    deadline,
                    by: Principal::Behavior,
                    mode,
                    answer: if expects { Answer::Expected } else { Answer::None },
                    state: State::Queued,
                    attempt: 0,
                    epoch: 0,
                    result: None,
                    changed: self.header.received,
                    trace: self.header.trace,
                };
                self.queue(command);
            }
            Intent::Emit { name, data } => self.effect(Effect::Event { name, data }),
            Intent::Call { twin, method, argument } => self.call_out(twin, method, argument),
            Intent::Arm { name, due } => self.change(Change::Armed { name, due }),
            Intent::Disarm { name } => self.change(Change::Disarmed { name }),
            Intent::Put { section, path, value } => {
                let mut whole = value.clone();
                for segment in path.segments().collect::<Vec<_>>().into_iter().rev() {
                    whole = Json::of(&std::collections::BTreeMap::from([(segment, whole)])).unwrap_or_else(|_| Json::null());
                }
                // What has too many changes for a merge replaces what is there.
                let patch = merge(self.twin().section(section).document(), &whole);
                let patch = patch.unwrap_or_else(|_| [Operation::Set { path, value }].into_iter().collect());
                if !patch.is_empty() {
                    self.change(Change::Patched { section, patch, by_behavior: true });
                }
            }
        }
    }

    /// Queues a command. A latest-only one supersedes those of its name; one that equals the pending one is none, unless
    /// that one's time is over and nothing has said so yet.
    /// Returns the command that stands in the queue for it.
    pub(super) fn queue(&mut self, command: Command) -> Command {
        if command.mode == Mode::Latest {
            let pending: Vec<_> = self.twin().commands().pending(&command.name).cloned().collect();
            let now = self.header.received;
            let same = |pending: &&Command| pending.payload == command.payload && pending.deadline > now;
            if let Some(same) = pending.last().filter(same) {
                return same.clone();
            }
            for superseded in pending {
                self.step(superseded.id, Step::Superseded);
            }
        }
        self.change(Change::Queued(command.clone()));
        command
    }

    /// A UUIDv7 of the input's received time and a hash of (cause, ordinal): deciding is pure, so it draws no lots.
    fn command_id(&self) -> CommandId {
        let cause = (self.twin().generation(), self.twin().sequence(), self.ordinal());
        let text = format!("{} {cause:?}", self.id);
        let hash = |seed| twox_hash::XxHash3_64::oneshot_with_seed(seed, text.as_bytes()).to_be_bytes();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&hash(0));
        random[8..].copy_from_slice(&hash(1)[..2]);
        CommandId(
            uuid::Builder::from_unix_timestamp_millis(self.header.received.as_millis(), &random).into_uuid(),
        )
    }
}

/// The change from the state that the twin holds to the one that the handlers left.
fn written(logic: &dyn Logic, state: &Decoded, twin: &Twin) -> Result<Option<Change>, Rejection> {
    let document = logic.save(state)?;
    let held = twin.state();
    if document == held.document && held.version == logic.version() {
        return Ok(None);
    }
    if document.len() > SECTION_BYTES_MAX {
        let why = format!("the state would have {} bytes; the limit is {SECTION_BYTES_MAX}", document.len());
        return Err(Rejection::new(Code::TooLarge, why));
    }
    Ok(Some(Change::State { version: logic.version(), patch: diff(&held.document, &document) }))
}

/// A panic of a developer's code is a refusal.
fn caught<T>(code: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Rejection {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Rejection::new(Code::BehaviorFailed, format!("the behaviour panicked: {text}"))
}
