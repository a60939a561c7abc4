//! Samples: told to the behaviour, then kept. A refused sample is not kept; a behaviour that panics loses none.

use crate::body::Body;
use crate::effects::Effects;
use crate::json::{Document, Json, Operation, Patch, Pointer, Raw};
use crate::logic::{Decoded, Logic};
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::routes::Plane;
use crate::time::Timestamp;
use crate::transition::Effect;

use super::draft::Draft;

/// The channel of what the kind does not declare.
const UNDECLARED: &str = "_";
/// How many objects a batch may have.
const BATCH_MAX: usize = 1_000;
/// The member that holds the event time.
pub(super) const TIME: &str = "$time";

struct Sample {
    channel: Name,
    body: Body,
    time: Option<Timestamp>,
}

impl Draft<'_> {
    pub(super) fn sample(&mut self, channel: &Name, body: &Body) -> Result<Reply, Rejection> {
        let declared = self.kind.logic.as_ref().is_some_and(|logic| logic.reacts(Plane::Telemetry, channel));
        if declared && body.json().is_none() {
            return Err(Rejection::new(Code::Malformed, format!("channel `{channel}` takes JSON")));
        }
        self.take_samples(vec![Sample { channel: channel.clone(), body: body.clone(), time: None }])
    }

    pub(super) fn telemetry(&mut self, body: &Body) -> Result<Reply, Rejection> {
        let Some(json) = body.json() else {
            return self.sample(&Name::trusted(UNDECLARED), body);
        };
        let mut samples = Vec::new();
        match json.elements() {
            None => self.tell_apart(json.as_raw(), &mut samples)?,
            Some(elements) => {
                for element in elements {
                    if samples.len() >= BATCH_MAX {
                        return Err(Rejection::new(Code::TooLarge, format!("a batch has at most {BATCH_MAX} samples")));
                    }
                    self.tell_apart(element, &mut samples)?;
                }
            }
        }
        self.take_samples(samples)
    }

    /// An object's declared members go to their channels, the rest is kept whole; so is what is not an object.
    fn tell_apart(&self, value: Raw<'_>, samples: &mut Vec<Sample>) -> Result<(), Rejection> {
        let Some(members) = value.members() else {
            samples.push(Sample { channel: Name::trusted(UNDECLARED), body: value.to_json().into(), time: None });
            return Ok(());
        };
        let time = event_time(value)?;
        let mut taken = Patch::default();
        let mut rest = 0;
        for (name, member) in members {
            let mut push = |channel: Name, member: Raw<'_>| {
                samples.push(Sample { channel, body: member.to_json().into(), time });
            };
            match self.declared(&name) {
                _ if name == TIME => {}
                Declared::No => {
                    rest += 1;
                    continue;
                }
                Declared::One(channel) => push(channel, member),
                Declared::Keyed => {
                    let not_keyed = || Rejection::new(Code::Malformed, format!("`{name}` takes an object by key"));
                    for (key, member) in member.members().ok_or_else(not_keyed)? {
                        push(Name::new("a channel", &format!("{name}/{key}"))?, member);
                    }
                }
            }
            taken.push(Operation::Remove { path: Pointer::root().join(&name) });
        }
        if rest > 0 || taken.is_empty() {
            let whole = Document::try_from(value.to_json())?.apply(&taken);
            samples.push(Sample { channel: Name::trusted(UNDECLARED), body: Json::from(whole).into(), time });
        }
        Ok(())
    }

    fn declared(&self, name: &str) -> Declared {
        let Some(logic) = &self.kind.logic else { return Declared::No };
        if logic.reacts(Plane::Telemetry, name) {
            return Declared::One(Name::trusted(name));
        }
        if logic.reacts(Plane::Telemetry, &format!("{name}/")) { Declared::Keyed } else { Declared::No }
    }

    fn take_samples(&mut self, samples: Vec<Sample>) -> Result<Reply, Rejection> {
        let reacts = |logic: &dyn Logic, sample: &Sample| logic.reacts(Plane::Telemetry, &sample.channel);
        if self.kind.logic.as_ref().is_some_and(|logic| samples.iter().any(|sample| reacts(&**logic, sample))) {
            let ran = self.run(|logic, state, fx| tell(logic, state, fx, &samples));
            match ran {
                Ok(part) => part.into_iter().for_each(|part| self.record(part)),
                Err(failed) if failed.code() == Code::BehaviorFailed => self.complain(&failed),
                Err(refused) => return Err(refused),
            }
        }
        for Sample { channel, body, time } in samples {
            self.effect(Effect::Sample { channel, body, time });
        }
        Ok(Reply::Done)
    }
}

enum Declared {
    No,
    One(Name),
    Keyed,
}

fn tell(
    logic: &dyn Logic,
    state: &mut Decoded,
    fx: &mut Effects<'_>,
    samples: &[Sample],
) -> Result<(), Rejection> {
    let arrived = fx.context.time;
    for Sample { channel, body, time } in samples {
        let Some(value) = body.json() else { continue };
        fx.context.time = time.unwrap_or(arrived);
        let reacted = logic.react(state, Plane::Telemetry, channel, (value, None), fx);
        reacted.map_err(|rejection| rejection.of("channel", channel))?;
    }
    Ok(())
}

/// The member `$time`, where there is one.
pub(super) fn event_time(object: Raw<'_>) -> Result<Option<Timestamp>, Rejection> {
    let time = object.get(&format!("/{TIME}")).map(Raw::decode::<Timestamp>);
    time.transpose().map_err(|error| Rejection::new(Code::Malformed, format!("{TIME}: {error}")))
}
