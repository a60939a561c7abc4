//! The twin speaks to its device.

use std::time::Instant;

use bytes::Bytes;
use runtime::path::step;
use runtime::router::Response;
use serde::Serialize;
use twins::body::Body;
use twins::handshake::Packet;
use twins::header::Trace;
use twins::input;
use twins::input::{Input, Said};
use twins::json::Json;
use twins::name::Name;
use twins::reply::{Closed, Delivery};
use twins::session::Topic;
use twins::time::Timestamp;

use crate::envelope::Content;

use super::answer::Then;
use super::filter;
use super::outbox::{Full, Letter};
use super::packet::Message;
use super::publish::text;
use super::reason::Reason;
use super::{Phase, Respond, Session};

/// A command on `commands`.
#[derive(Serialize)]
struct Command<'a> {
    id: String,
    name: &'a str,
    payload: Content<'a>,
    deadline: Timestamp,
    attempt: u32,
}

/// What goes to the device: its topic below the device, and its content.
struct Post<'a> {
    topic: Topic,
    level: &'a str,
    payload: Bytes,
    content_type: Option<String>,
    acknowledges: Option<input::Message>,
    packet: Option<Packet>,
    trace: Option<Trace>,
}

impl Session {
    pub(super) fn deliver(&mut self, now: Instant, epoch: u64, what: Delivery) {
        let mine = self.device.as_ref().is_some_and(|device| device.epoch == epoch);
        if !mine || !matches!(self.phase, Phase::Connected) {
            return;
        }
        let trace = what.trace();
        let _span = step!("12.message" in trace, epoch).entered();
        match what {
            Delivery::Desired { version, patch, full, packet } => {
                let payload = text(format!(r#"{{"version":{version},"patch":{patch},"full":{full}}}"#));
                let acknowledges = Some(input::Message::Desired(version));
                let (topic, level, content_type) = (Topic::Desired, "desired", None);
                self.post(now, Post { topic, level, payload, content_type, acknowledges, packet, trace });
            }
            Delivery::Command { id, name, payload, deadline, attempt, packet, .. } => {
                let payload = Content::from(&payload);
                let command = Command { id: id.to_string(), name: &name, payload, deadline, attempt };
                let payload = Json::of(&command).map_or_else(|_| Bytes::new(), |json| text(json.as_str()));
                let acknowledges = Some(input::Message::Command(id));
                let (topic, level, content_type) = (Topic::Commands, "commands", None);
                self.post(now, Post { topic, level, payload, content_type, acknowledges, packet, trace });
            }
            Delivery::Request { id, name, payload, .. } => self.request(now, id, &name, payload, trace),
            Delivery::Close(closed) => self.closed(now, closed),
        }
    }

    /// What the twin tells again because it does not know whether it came. It came if it is on its way to the device, or
    /// if that the device has it is on its way to the twin.
    pub(super) fn deliver_again(&mut self, now: Instant, epoch: u64, what: Delivery) {
        let message = match &what {
            Delivery::Desired { version, .. } => input::Message::Desired(*version),
            Delivery::Command { id, .. } => input::Message::Command(*id),
            Delivery::Request { .. } | Delivery::Close(_) => return self.deliver(now, epoch, what),
        };
        let is_heard = |input: &Input| match (input, message) {
            (Input::Acknowledge(heard), message) => *heard == message,
            (Input::Outcome { id, .. }, input::Message::Command(command)) => *id == command,
            (Input::Unsent(version), input::Message::Desired(desired)) => *version >= desired,
            _ => false,
        };
        if !self.outbox.has(message) && !self.queue.has(is_heard) {
            self.deliver(now, epoch, what);
        }
    }

    /// Says something that nobody waits to be acknowledged, if the device listens to it.
    pub(super) fn say<T: Serialize>(&mut self, now: Instant, topic: Topic, level: &str, what: &T) {
        let Ok(json) = Json::of(what) else { return };
        let payload = text(json.as_str());
        let (content_type, acknowledges, packet, trace) = (None, None, None, None);
        self.post(now, Post { topic, level, payload, content_type, acknowledges, packet, trace });
    }

    /// A request that the device's filters leave out is answered for it, so that nobody waits in vain.
    fn request(&mut self, now: Instant, id: Name, name: &Name, payload: Body, trace: Option<Trace>) {
        let (payload, content_type) = match payload {
            Body::Json(json) => (text(json.as_str()), None),
            Body::Octets { content_type, bytes } => {
                (bytes, content_type.map(|name| name.as_str().to_owned()))
            }
        };
        let level = format!("requests/{name}/{id}");
        let (topic, level) = (Topic::Requests, level.as_str());
        let post = Post { topic, level, payload, content_type, acknowledges: None, packet: None, trace };
        if self.post(now, post) {
            return;
        }
        let Some(device) = &self.device else { return };
        let twin = device.twin.clone();
        let token = self.queue.push_own(now, Then::Nothing, 0);
        let response = Response { status: 404, payload: Json::null().into() };
        self.actions.responses.push(Respond { token, twin, id, response });
    }

    /// Puts a message in the outbox, if the device listens to it.
    fn post(&mut self, now: Instant, post: Post<'_>) -> bool {
        let Post { topic, level, payload, content_type, acknowledges, packet, trace } = post;
        let Some(subscription) = filter::best(&self.subscriptions, topic, level) else { return false };
        // What is durable has its twin's packet id under QoS 2.
        let qos = match packet {
            Some(_) => 2,
            None if acknowledges.is_some() => subscription.qos.min(1),
            None => subscription.qos,
        };
        let often = matches!(topic, Topic::Desired | Topic::Commands | Topic::Errors);
        let identifiers = filter::identifiers(&self.subscriptions, topic, level);
        let topic = filter::spelled(&subscription.filter, level);
        let message = Message { topic, payload, content_type, qos, packet, trace, often, identifiers };
        // Under QoS 0 a desired change counts as known when the twin tells it.
        let known = |acknowledged: &input::Message| {
            matches!(acknowledged, input::Message::Desired(_)) && message.qos == 0
        };
        let (acknowledges, tells) = (acknowledges.filter(|acknowledged| !known(acknowledged)), acknowledges);
        match self.outbox.push(Letter { message, acknowledges, tells }) {
            Ok(()) => self.send(now),
            Err(Full) => self.close(now, Reason::Quota, "the device does not acknowledge what it is sent"),
        }
        true
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self, now: Instant) {
        for letter in self.outbox.send(&mut self.codec, &mut self.actions.bytes) {
            self.too_large(now, &letter);
        }
    }

    /// A command that the client cannot take is rejected in its name: it would stop all that follow it. Of a desired
    /// change the twin hears that the device does not know it.
    fn too_large(&mut self, now: Instant, letter: &Letter) {
        let bytes = letter.message.payload.len();
        let Some(device) = &self.device else { return };
        tracing::warn!(twin = %device.twin, topic = letter.message.topic, bytes, "a message is larger than its client takes");
        match letter.tells {
            Some(input::Message::Command(id)) => {
                let result = Json::of("the command is larger than the client takes").ok();
                self.tell(now, Input::Outcome { id, outcome: Said::Rejected, result }, Then::Nothing);
            }
            Some(input::Message::Desired(version)) => self.tell(now, Input::Unsent(version), Then::Nothing),
            None => {}
        }
        // The client never had it, so there is nothing that it could complete.
        if let Some(packet) = letter.message.packet {
            self.complete(now, packet.id);
        }
    }

    fn closed(&mut self, now: Instant, closed: Closed) {
        match closed {
            Closed::TakenOver => self.close(now, Reason::TakenOver, "the same client connected again"),
            Closed::Removed => self.close(now, Reason::Administrative, "the device was removed"),
            Closed::NotAuthorized => {
                self.close(now, Reason::NotAuthorized, "what the connection came with is not valid any more");
            }
            Closed::Unavailable => self.close(now, Reason::Busy, "the twin cannot be reached; connect again"),
        }
    }
}
