//! Taking inputs (step 6): each is decided on its twin's newest state, or waits until the twin is read.

use std::time::Instant;

use twins::decide::Decision;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Output, Reply};
use twins::time::Timestamp;
use twins::transition::{Change, Transition};
use twins::twin::Twin;

use crate::admission::CHANNELS_FULL;
use crate::error::Error;
use crate::meter::{self, What};
use crate::path::step;
use crate::record;

use super::commit::Release;
use super::entry::Decided;
use super::erasing::erases;
use super::resident::{Resident, Slot, Stored, Waiting};
use super::work::{Answer, Work};
use super::{Failed, Image, Setting, Shard, connections};

/// When the forming batch has so many bytes, nothing more from outside is decided before the log has taken it: small
/// inputs may make many records.
pub(super) const FORMING_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Shard {
    /// Takes a buffer of inputs.
    pub(crate) fn take(&mut self, now: Timestamp, inputs: Vec<Work>) -> Result<(), Failed> {
        self.pass(now);
        inputs.into_iter().for_each(|work| self.one(work));
        self.turn()
    }

    /// Images that were asked for have been read; a twin without one is absent.
    pub(crate) fn loaded(&mut self, now: Timestamp, images: Vec<Image>) -> Result<(), Failed> {
        self.pass(now);
        for (id, image) in images {
            let Some(Slot::Loading(waiting)) = self.twins.remove(&id) else { continue };
            self.loading -= 1;
            if let Err(why) = &image
                && self.following.needs(&id)
            {
                // Applied without a twin that is whole, an entry would be lost.
                return Err(self.failed(why));
            }
            match self.read(&id, image) {
                Ok(resident) => self.settle_in(id, resident),
                Err(error) => {
                    self.following.do_without(&id);
                    self.inbox.refuse(&id, &Rejection::new(Code::BehaviorFailed, error.to_string()));
                    let Setting { meter, refusals, .. } = &self.setting;
                    for waiting in waiting {
                        meter.answered(refusals, waiting.what(), &Err(error.clone()));
                        waiting.refuse(&error);
                    }
                    continue;
                }
            }
            for waiting in waiting {
                match waiting {
                    Waiting::Work(work) => self.one(*work),
                    Waiting::Asked(asked) => self.ask(asked),
                    Waiting::Attaching(attaching) => self.attach_one(*attaching),
                }
            }
        }
        self.turn()
    }

    /// A twin from its image. One that cannot be read fails alone: nothing is taken for it, and its image stays.
    pub(super) fn read(
        &self,
        id: &TwinId,
        image: Result<Option<Vec<u8>>, String>,
    ) -> Result<Resident, Error> {
        let twin = image.and_then(|image| match image {
            None => Ok(Twin::default()),
            Some(image) => minicbor::decode(&image).map_err(|error| error.to_string()),
        });
        let twin: Twin = twin.map_err(|error| {
            let shard = self.setting.number;
            let why = format!("the image of `{id}` cannot be read: {error}; restore the node from a backup");
            tracing::error!(twin = %id, shard, %error, "the image of a twin cannot be read; the twin is refused");
            Error::Unwritten { shard, why }
        })?;
        let stored = Stored::of(&twin);
        Ok(Resident::new(twin, stored))
    }

    pub(super) fn settle_in(&mut self, id: TwinId, resident: Resident) {
        self.bytes += resident.bytes;
        self.hand.push_back(id.clone());
        self.arrived += 1;
        meter::add(&self.setting.meter.activations, 1);
        self.twins.insert(id, Slot::Resident(Box::new(resident)));
    }

    /// Reads a twin, if nobody has begun to; `waiting` comes when it is here.
    pub(super) fn load(&mut self, id: &TwinId, waiting: Option<Waiting>) {
        match self.twins.get_mut(id) {
            Some(Slot::Loading(queue)) => queue.extend(waiting),
            _ => {
                self.loading += 1;
                self.twins.insert(id.clone(), Slot::Loading(waiting.into_iter().collect()));
                self.loads.push(id.clone());
            }
        }
    }

    pub(super) fn one(&mut self, work: Work) {
        if !self.leads() {
            return self.refuse(work.answer, self.not_leading());
        }
        match self.twins.get_mut(&work.twin) {
            Some(Slot::Resident(_)) => self.decide(work),
            _ => self.load(&work.twin.clone(), Some(Waiting::Work(Box::new(work)))),
        }
    }

    fn decide(&mut self, work: Work) {
        let Work { twin: id, header, input, mut answer, permit } = work;
        answer.what = What::of(&input);
        if let Some(limit) = self.limit().filter(|_| permit.is_some()) {
            return self.refuse(answer, Error::Overloaded { shard: self.setting.number, limit });
        }
        let erased = self.room_to_erase(&input).map_err(Error::from);
        let reserved = match erased.and_then(|()| self.room_for(&id, &input)) {
            Ok(reserved) => reserved,
            Err(error) => return self.refuse(answer, error),
        };
        let trace = header.trace;
        let decided = self.decide_on(&id, &input, header);
        if reserved {
            self.setting.registered.release(self.setting.number, id.tenant());
        }
        let Some((reply, outputs)) = decided else { return };
        let batch = self.resident(&id).map_or(0, |resident| resident.batch);
        let outcome = reply.map_err(Into::into);
        self.when_committed(batch, Release { twin: id, outcome, answer, outputs, permit, trace });
    }

    /// The limit that leaves no room for an input from outside: small inputs may make many records, and many effects.
    fn limit(&self) -> Option<&'static str> {
        let is_large = self.forming.bytes >= FORMING_BYTES_MAX;
        let large = || is_large.then_some("what is decided and waits for the log has too many bytes");
        self.is_full(1).then_some(CHANNELS_FULL).or_else(large)
    }

    /// Decides an input on a twin that is here, into the forming batch. Returns the answer, and what the twin's
    /// connections get once it is committed.
    pub(super) fn decide_on(
        &mut self,
        id: &TwinId,
        input: &Input,
        mut header: Header,
    ) -> Option<(Result<Reply, Rejection>, Vec<Output>)> {
        header.received = self.now;
        let (shard, trace) = (self.setting.number, header.trace);
        let _span = step!("6.decide" in trace, shard, twin = %id).entered();
        let (kinds, options) = (self.setting.kinds.clone(), self.setting.options.clone());
        let number = self.forming.number;
        let resident = self.resident(id)?;
        resident.used = true;
        let kind_before = resident.live.twin().kind_name().cloned();
        let had_device = resident.live.twin().has_device();
        let started = Instant::now();
        let Decision { transition, reply, outputs } = kinds.decide(id, &mut resident.live, input, header);
        let took = started.elapsed();
        let overran = (took > options.handler_budget).then(|| resident.live.twin().kind().to_owned());
        if let Some(transition) = transition {
            resident.batch = number;
            let mut bytes = input.bytes() + unrecorded(&transition);
            let after = resident.live.twin().clone();
            if after.has_device() != had_device {
                self.setting.registered.changed(shard, id.tenant(), !had_device);
            }
            let kind = after.kind_name().cloned().or(kind_before);
            // One that was removed before has none when it is erased.
            let kind = kind.unwrap_or_else(|| Name::fixed("unknown"));
            for record in record::records(id, &kind, &after, &transition) {
                let (received, record) = (record.header.received, encoded(&record));
                bytes += record.len();
                self.forming.tally.recorded(record.len());
                self.forming.records.push((received, record));
            }
            bytes += self.forming.exchange.send(&self.setting.slots, id, &transition);
            self.forming.bytes += bytes;
            if erases(&transition) {
                self.forming.erased.push((id.clone(), transition.sequence));
            }
            self.forming.tally.decided(What::of(input), &transition);
            self.forming.decisions.push(Decided { twin: id.clone(), transition });
        }
        if let Some(kind) = overran
            && let Some(count) = self.setting.overruns.count(&kind, started + took)
        {
            let micros = took.as_micros();
            tracing::warn!(twin = %id, kind, micros, count, "a decision took longer than its budget");
        }
        Some((reply, outputs))
    }

    /// Answers at once, apart from everything else.
    fn refuse(&self, answer: Answer, error: Error) {
        let Setting { meter, refusals, .. } = &self.setting;
        let outcome = Err(error);
        meter.answered(refusals, answer.what, &outcome);
        answer.give(outcome);
    }

    /// Whether a device may be registered, where this input does that: by the node itself, and in its tenant. Returns
    /// whether a place of the tenant is reserved for it.
    fn room_for(&mut self, id: &TwinId, input: &Input) -> Result<bool, Error> {
        let by_itself = match input {
            Input::Connect { register: Some(_), .. } | Input::Appear { .. } => true,
            Input::Register { .. } => false,
            _ => return Ok(false),
        };
        if self.resident(id).is_some_and(|resident| resident.live.twin().exists()) {
            return Ok(false);
        }
        let Setting { registered, options, access, .. } = &self.setting;
        let max = options.auto_registered_max;
        if by_itself && registered.all() >= max {
            let why = format!("{max} devices are registered, which is the most in `dev`");
            return Err(Rejection::new(Code::TooMany, why).into());
        }
        let tenant = id.tenant();
        let Some(max) = access.limits(tenant).devices.or(options.tenant_devices_max) else {
            return Ok(false);
        };
        let shards = self.setting.shards;
        if !registered.is_known_of(shards) {
            let limit = "not all shards have said yet how many devices there are";
            return Err(Error::Overloaded { shard: self.setting.number, limit });
        }
        if registered.reserve(self.setting.number, tenant, max.get().into()) {
            return Ok(true);
        }
        let why = format!("the tenant `{tenant}` has {max} devices, which is as many as it may (`devices`)");
        Err(Rejection::new(Code::TooMany, why).into())
    }
}

/// The bytes of what a behaviour decided and no record tells: its state, and what it sends.
pub(super) fn unrecorded(transition: &Transition) -> usize {
    let bytes = transition.changes.iter().map(|change| match change {
        Change::State { patch, .. } => patch.growth(),
        Change::Queued(command) => command.bytes(),
        Change::Seen { returned: Some(json) } | Change::Answered { returned: Some(json), .. } => json.len(),
        _ => 0,
    });
    bytes.sum()
}

pub(super) fn encoded(record: &record::Record) -> Vec<u8> {
    minicbor::to_vec(record).expect("writing to memory does not fail")
}

impl Stored {
    /// What the state store has of a twin whose image this is.
    pub(super) fn of(twin: &Twin) -> Self {
        Self {
            sequence: twin.sequence(),
            due: twin.next_due(),
            connected: connections::mark(twin),
            registered: twin.exists(),
        }
    }
}
