//! The device publishes: to its twin, to whoever asked it something, or to nobody.

use std::time::Instant;

use bytes::Bytes;
use runtime::path::step;
use runtime::router::Response;
use serde::Deserialize;
use twins::body::{Body, is_json};
use twins::command::CommandId;
use twins::digest::Digest;
use twins::handshake::HELD_MAX;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::json::{Json, Limits};
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::time::{NotATime, Timestamp};

use super::super::Options;
use super::answer::{Asked, Own, Published, Then};
use super::credentials::{Application, Applied};
use super::login::Rights;
use super::packet::Publish;
use super::reason::Reason;
use super::refusal::Refusal;
use super::topic::{self, Says, TOPIC_BYTES_MAX};
use super::{Respond, Session};

/// What a publish means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Something for the twin, which may have asked for an answer.
    Input(Input, Option<Asked>),
    /// An answer to the request of this id.
    Response(Name, Response),
    /// It applies for a key; the reply has this id.
    Application(Applied, Name),
}

impl Session {
    pub(super) fn publish(&mut self, now: Instant, publish: Publish) {
        if publish.topic.len() > TOPIC_BYTES_MAX {
            let why = format!("a topic has at most {TOPIC_BYTES_MAX} bytes");
            return self.close(now, Reason::TopicName, &why);
        }
        let Some(device) = &self.device else { return };
        let trace = publish.trace;
        let _span = step!("3.input" in trace, twin = %device.twin).entered();
        let meaning = understand(&publish, &device.twin, device.rights, &self.options);
        let meaning = meaning.and_then(|meaning| Ok((meaning, event_time(publish.time.as_deref())?)));
        let mid = publish.mid.or_else(|| topic::split_mid(&publish.topic).1.map(str::to_owned));
        let meaning =
            meaning.and_then(|meaning| Ok((meaning, mid.as_deref().map(Digest::of_mid).transpose()?)));
        let (id, qos) = (publish.id, publish.qos);
        let packet = id.filter(|_| qos == 2);
        let is_repeated = packet.is_some_and(|id| self.unreleased.insert(id, true) == Some(true));
        if self.unreleased.len() > HELD_MAX {
            return self.close(now, Reason::ReceiveMaximum, "too many packet ids of QoS 2 are not released");
        }
        let published = |asked: Option<Asked>| {
            let asked = asked.filter(|_| !is_repeated);
            Then::Published(Published { id, qos, topic: publish.topic, mid, asked })
        };
        match meaning {
            // What is not for the twin to remember is remembered while the connection lasts.
            Ok((
                (Meaning::Input(Input::Read, _) | Meaning::Response(..) | Meaning::Application(..), _),
                _,
            )) if is_repeated => {
                self.queue.push_answered(now, published(None), Own::Done);
            }
            Ok(((Meaning::Input(Input::Read, asked), _), _)) => {
                let proof = Some(Box::new(device.proof.clone()));
                self.submit(now, Input::Read, Header { trace, proof, ..Header::default() }, published(asked));
            }
            Ok(((Meaning::Input(input, asked), time), mid)) => {
                let header = Header { time, packet, mid, trace, ..Header::default() };
                self.tell_at(now, input, header, published(asked));
            }
            Ok(((Meaning::Response(id, response), _), _)) => {
                let twin = device.twin.clone();
                let token = self.queue.push_own(now, published(None), response.payload.len());
                self.actions.responses.push(Respond { token, twin, id, response });
            }
            Ok(((Meaning::Application(applied, id), _), _)) => {
                let (twin, proof) = (device.twin.clone(), device.proof.clone());
                let asked = Asked::Key { verb: applied.verb, id };
                let token = self.queue.push_own(now, published(Some(asked)), publish.payload.len());
                let transport = self.origin.transport;
                self.actions.applications.push(Application { token, twin, proof, transport, trace, applied });
            }
            Err(refusal) => self.queue.push_answered(now, published(None), Own::Refused(refusal)),
        }
        self.settle(now);
    }
}

/// What a publish by the device of `twin` means, or why it means nothing.
pub(super) fn understand(
    publish: &Publish,
    twin: &TwinId,
    rights: Rights,
    options: &Options,
) -> Result<Meaning, Refusal> {
    let says = topic::read(&publish.topic, twin.id())?;
    let allowed = match says {
        Says::Get { .. } => rights.reads,
        Says::Call { .. } => rights.controls,
        // Its own credentials: the twin decides.
        Says::Credential { .. } => true,
        _ => rights.speaks,
    };
    if !allowed {
        return Err(Refusal::forbidden("the device may not publish this"));
    }
    if publish.text && std::str::from_utf8(&publish.payload).is_err() {
        return Err(Rejection::new(Code::Malformed, "the payload is said to be UTF-8 and is not").into());
    }
    let limits = Limits { bytes: options.payload_bytes, ..Limits::default() };
    let body = || Body::read(publish.content_type.as_deref(), publish.payload.clone(), &limits);
    Ok(match says {
        Says::Sample { channel } => {
            Meaning::Input(Input::Sample { channel: Name::new("the channel", channel)?, body: body()? }, None)
        }
        Says::Telemetry => Meaning::Input(Input::Telemetry(body()?), None),
        Says::Report => Meaning::Input(Input::Report(json(publish, &limits)?), None),
        Says::Outcome { id, said } => {
            let bad = |_| Rejection::new(Code::UnknownCommand, format!("`{id}` is no id of a command"));
            let id: CommandId = id.parse().map_err(bad)?;
            let _span = step!("13.outcome", %twin, command = %id).entered();
            let result = (!publish.payload.is_empty()).then(|| json(publish, &limits)).transpose()?;
            Meaning::Input(Input::Outcome { id, outcome: said, result }, None)
        }
        Says::Response { id } => {
            Meaning::Response(Name::new("the request's id", id)?, response(&json(publish, &limits)?)?)
        }
        Says::Call { name, id } => {
            let argument = if publish.payload.is_empty() { Json::null() } else { json(publish, &limits)? };
            let (name, id) = (Name::new("the method", name)?, Name::new("the call's id", id)?);
            Meaning::Input(Input::Call { name: name.clone(), argument }, Some(Asked::Method { name, id }))
        }
        Says::Credential { verb, id } => {
            let applied = Applied::read(verb, &json(publish, &limits)?)?;
            Meaning::Application(applied, Name::new("the application's id", id)?)
        }
        Says::Get { id } => {
            let id = Name::new("the question's id", id)?;
            Meaning::Input(Input::Read, Some(Asked::Document { id }))
        }
    })
}

fn event_time(time: Option<&str>) -> Result<Option<Timestamp>, Rejection> {
    let time = time.map(str::parse).transpose();
    time.map_err(|bad: NotATime| Rejection::new(Code::Malformed, format!("time: {bad}")))
}

/// The payload where it has to be JSON.
fn json(publish: &Publish, limits: &Limits) -> Result<Json, Refusal> {
    match publish.content_type.as_deref() {
        Some(other) if !is_json(other) => {
            let other: String = other.chars().take(64).collect();
            let why = format!("this topic takes JSON, not {other:?}");
            Err(Rejection::new(Code::Malformed, why).into())
        }
        _ => Ok(Json::parse(&publish.payload, limits)?),
    }
}

/// `{"status": 200, "payload": ...}`
fn response(json: &Json) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Written {
        status: u16,
    }

    if !json.is_object() {
        let why = "a reply is an object with `status` and `payload`";
        return Err(Rejection::new(Code::Malformed, why).into());
    }
    let Written { status } = json.decode()?;
    if !(100..600).contains(&status) {
        return Err(Rejection::new(Code::Malformed, format!("status {status} is not one of HTTP")).into());
    }
    let payload = json.as_raw().get("/payload").map_or_else(Json::null, |payload| payload.to_json());
    Ok(Response { status, payload: payload.into() })
}

/// Bytes of a text.
pub(super) fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}
