//! What was said is answered, in the order it was said.

use std::time::Instant;

use runtime::error::{Error, Outcome};
use serde::Serialize;
use twins::json::Json;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::session::{Subscription, Topic};
use twins::trust::Proof;

use crate::document::document;

use super::super::options::UNWRITTEN_BYTES_MAX;
use super::packet::Ack;
use super::queue::Answer;
use super::reason::Reason;
use super::refusal::Refusal;
use super::topic::Verb;
use super::{Phase, Session};

/// What is to be done with an answer.
#[derive(Debug)]
pub(super) enum Then {
    Connect,
    Published(Published),
    Subscribed {
        id: u16,
        reasons: Vec<Reason>,
        subscriptions: Vec<Subscription>,
    },
    Unsubscribed {
        id: u16,
        reasons: Vec<Reason>,
        filters: Vec<Name>,
    },
    /// The device's packet id is released.
    LetGo {
        id: u16,
        reason: Reason,
    },
    /// The packet id of a message that the device has is to be released.
    Release(u16),
    /// The device has authenticated anew, by this.
    Proved(Proof),
    /// Nobody waits for it.
    Nothing,
}

/// A publish of the device.
#[derive(Debug)]
pub(super) struct Published {
    /// Absent under QoS 0.
    pub(super) id: Option<u16>,
    pub(super) qos: u8,
    pub(super) topic: String,
    pub(super) mid: Option<String>,
    pub(super) asked: Option<Asked>,
}

/// An answer that the device asked for.
#[derive(Debug)]
pub(super) enum Asked {
    /// What a method returned.
    Method { name: Name, id: Name },
    /// The twin's document.
    Document { id: Name },
    /// A key, or why there is none.
    Key { verb: Verb, id: Name },
}

/// An answer that is given on this side.
#[derive(Debug)]
pub(super) enum Own {
    Done,
    Refused(Refusal),
    /// A response was handed on; whether anybody still waited.
    Heard(bool),
    /// What the device asked for.
    Said(Json),
}

/// An answer on `methods/{name}/{id}/reply`.
#[derive(Serialize)]
struct Returned<'a, T> {
    status: u16,
    payload: &'a T,
}

impl Session {
    /// Gives the answers whose turn it is, while there is room for them.
    pub(super) fn settle(&mut self, now: Instant) {
        while self.has_room_for_answers()
            && let Some((then, answer)) = self.queue.pop()
        {
            match answer {
                Answer::Shard(outcome) => self.answered(now, then, outcome),
                Answer::Own(own) => self.answered_here(now, then, own),
            }
        }
        match self.phase {
            Phase::Connected if self.draining.is_some() && self.queue.is_empty() => self.drained(now),
            Phase::Ending(_) if self.queue.is_empty() => self.phase = Phase::Over,
            _ => {}
        }
    }

    fn has_room_for_answers(&self) -> bool {
        !matches!(self.phase, Phase::Connected) || self.actions.bytes.len() < UNWRITTEN_BYTES_MAX
    }

    fn answered(&mut self, now: Instant, then: Then, outcome: Outcome) {
        if let Then::Connect = then {
            return self.connected(now, outcome);
        }
        if !matches!(self.phase, Phase::Connected) {
            return;
        }
        let outcome = match outcome {
            Ok(reply) => Ok(reply),
            Err(Error::Rejected(rejection)) if rejection.code() == Code::SessionEnded => {
                return self.close(now, Reason::TakenOver, rejection.message());
            }
            Err(Error::Rejected(rejection)) => Err(rejection),
            Err(error) => return self.close(now, Reason::ShuttingDown, &error.to_string()),
        };
        match then {
            Then::Published(published) => self.published(now, published, outcome),
            Then::Subscribed { id, reasons, subscriptions } => match outcome {
                Ok(_) => self.subscribed(id, &reasons, subscriptions),
                Err(rejection) => {
                    let reasons = vec![Reason::Quota; reasons.len()];
                    self.acknowledge(Ack::Suback { id, reasons: &reasons, why: rejection.message() });
                }
            },
            Then::Unsubscribed { id, reasons, filters } => self.unsubscribed(id, &reasons, &filters),
            Then::LetGo { id, reason } => self.acknowledge(Ack::Pubcomp { id, reason }),
            Then::Release(id) => self.codec.release(id, &mut self.actions.bytes),
            Then::Proved(proof) => self.proved(now, proof, outcome.map(|_| ())),
            Then::Connect | Then::Nothing => {}
        }
    }

    fn answered_here(&mut self, now: Instant, then: Then, own: Own) {
        if !matches!(self.phase, Phase::Connected) {
            return;
        }
        match (then, own) {
            (Then::Published(published), Own::Refused(refusal)) => self.refuse(now, &published, &refusal),
            (Then::Published(published), Own::Heard(false)) => {
                self.puback(&published, Reason::NobodyListens, "nobody waits for this answer any more");
            }
            (Then::Published(published), Own::Said(reply)) => {
                self.puback(&published, Reason::Success, "");
                if let Some(Asked::Key { verb, id }) = &published.asked {
                    let level = format!("credentials/{}/{id}/reply", verb.as_str());
                    self.say(now, Topic::Credentials, &level, &reply);
                }
            }
            (Then::Published(published), _) => self.puback(&published, Reason::Success, ""),
            (Then::Subscribed { id, reasons, subscriptions }, _) => {
                self.subscribed(id, &reasons, subscriptions)
            }
            (Then::Unsubscribed { id, reasons, filters }, _) => self.unsubscribed(id, &reasons, &filters),
            (Then::LetGo { id, reason }, _) => self.acknowledge(Ack::Pubcomp { id, reason }),
            (Then::Connect | Then::Release(_) | Then::Proved(_) | Then::Nothing, _) => {}
        }
    }

    fn published(&mut self, now: Instant, published: Published, outcome: Result<Reply, Rejection>) {
        match (&published.asked, outcome) {
            // A key is applied for beside the session's inputs.
            (None | Some(Asked::Key { .. }), Ok(_)) => self.puback(&published, Reason::Success, ""),
            (None | Some(Asked::Document { .. } | Asked::Key { .. }), Err(rejection)) => {
                self.refuse(now, &published, &rejection.into());
            }
            (Some(Asked::Method { name, id }), outcome) => {
                self.puback(&published, Reason::Success, "");
                let level = format!("methods/{name}/{id}/reply");
                self.say(now, Topic::Methods, &level, &returned(outcome));
            }
            (Some(Asked::Document { id }), Ok(reply)) => {
                self.puback(&published, Reason::Success, "");
                if let (Reply::Twin(twin), Some(device)) = (reply, &self.device) {
                    let document = document(&device.twin, &twin);
                    self.say(now, Topic::Document, &format!("document/{id}"), &document);
                }
            }
        }
    }

    /// A publish is refused for good: it is acknowledged, or it would come again for ever.
    fn refuse(&mut self, now: Instant, published: &Published, refusal: &Refusal) {
        self.puback(published, refusal.reason, &refusal.message);
        let report = refusal.report(&published.topic, published.mid.as_deref());
        self.say(now, Topic::Errors, "errors", &report);
    }

    fn puback(&mut self, published: &Published, reason: Reason, why: &str) {
        let Some(id) = published.id else { return };
        if published.qos == 1 {
            return self.acknowledge(Ack::Puback { id, reason, why });
        }
        if reason.is_failure() && self.codec.is_v5() {
            // A client of 3.1.1 cannot be told so: it will release the id like any other.
            self.unreleased.remove(&id);
        }
        self.acknowledge(Ack::Pubrec { id, reason, why });
    }

    pub(super) fn acknowledge(&mut self, ack: Ack<'_>) {
        self.codec.acknowledge(ack, &mut self.actions.bytes);
    }
}

/// What a call came to, as its caller reads it.
fn returned(outcome: Result<Reply, Rejection>) -> Json {
    #[derive(Serialize)]
    struct Refused<'a> {
        code: &'a str,
        message: &'a str,
        next: &'a str,
    }

    let written = match outcome {
        Ok(Reply::Returned(json)) => Json::of(&Returned { status: 200, payload: &json }),
        // A call that was made before and came again: it was done; what it returned is not kept, or not any more.
        Ok(_) => Json::of(&Returned { status: 208, payload: &Json::null() }),
        Err(rejection) => {
            let code = rejection.code();
            let refused = Refused { code: code.as_str(), message: rejection.message(), next: code.next() };
            Json::of(&Returned { status: status(code), payload: &refused })
        }
    };
    written.unwrap_or_else(|_| Json::null())
}

/// As HTTP would say it.
fn status(code: Code) -> u16 {
    match code {
        Code::UnknownTwin | Code::UnknownMethod => 404,
        Code::BehaviorFailed | Code::NewerState => 500,
        Code::TooLarge => 413,
        Code::QueueFull | Code::TooMany => 429,
        _ => 422,
    }
}
