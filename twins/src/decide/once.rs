//! Once: what comes again under its message id or its idempotency key is answered as it was, and has no second effect.
//!
//! What was refused is not remembered, since it had no effect: when it comes again, it is looked at anew.

use crate::input::Input;
use crate::json::Json;
use crate::keys::{Answer, KEYS_MAX};
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    /// Takes an input, unless it was taken before.
    pub(super) fn once(&mut self, input: &Input) -> Result<Reply, Rejection> {
        if let Some(reply) = self.repeated() {
            return reply;
        }
        if self.header.idempotency.is_some() && self.twin().keys().is_full(self.header.received) {
            let why = format!("{KEYS_MAX} idempotency keys of the last 24 hours are kept, which is the most");
            return Err(Rejection::new(Code::IdempotencyFull, why));
        }
        let reply = self.take(input)?;
        self.remember(&reply);
        Ok(reply)
    }

    /// The answer to what was taken before; `None` lets it in.
    pub(super) fn repeated(&self) -> Option<Result<Reply, Rejection>> {
        let (twin, header) = (self.twin(), &self.header);
        if let Some(mid) = header.mid.filter(|mid| twin.mids().has(*mid, header.received)) {
            return Some(Ok(returned(twin.mids().result(mid))));
        }
        let request = header.idempotency?;
        let kept = twin.keys().get(request.key, header.received)?;
        if kept.request != request {
            let why = format!("this `Idempotency-Key` was used at {} for a request with another body", kept.at);
            return Some(Err(Rejection::new(Code::IdempotencyMismatch, why)));
        }
        Some(match kept.answer {
            answer if answer != Answer::Done && twin.exists() && kept.generation != twin.generation() => {
                let why = format!("this `Idempotency-Key` was used at {} for a device that had the id before", kept.at);
                Err(Rejection::new(Code::Conflict, why))
            }
            Answer::Done => Ok(Reply::Done),
            Answer::Command(id, state) => Ok(Reply::Command { id, state }),
            Answer::Returned => Ok(returned(twin.keys().result(request.key))),
            Answer::Registered(_) | Answer::Twin if !twin.exists() => {
                let why = format!("it was done at {}, and `{}` was removed since", kept.at, self.id.id());
                Err(Rejection::new(Code::UnknownTwin, why))
            }
            Answer::Registered(created) => Ok(Reply::Registered { created, twin: self.twin_shared() }),
            Answer::Twin => Ok(Reply::Twin(self.twin_shared())),
        })
    }

    /// Remembers what has just been taken, in the same transition.
    fn remember(&mut self, reply: &Reply) {
        let returned = match reply {
            Reply::Returned(json) => Some(json.clone()),
            _ => None,
        };
        if self.header.mid.is_some() {
            self.change(Change::Seen { returned: returned.clone() });
        }
        if self.header.idempotency.is_some() {
            let answer = match reply {
                // A credential is not repeated by an idempotency key: its own request does that.
                Reply::Done | Reply::Connected { .. } | Reply::Polled(_) | Reply::Granted(_) => Answer::Done,
                Reply::Registered { created, .. } => Answer::Registered(*created),
                Reply::Twin(_) => Answer::Twin,
                Reply::Command { id, state } => Answer::Command(*id, *state),
                Reply::Returned(_) => Answer::Returned,
            };
            self.change(Change::Answered { answer, returned });
        }
    }
}

/// What a call returned; where that is forgotten, only that it was made.
fn returned(result: Option<&Json>) -> Reply {
    result.map_or(Reply::Done, |json| Reply::Returned(json.clone()))
}
