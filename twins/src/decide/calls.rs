//! Calls to other twins: they leave with the transition, and come back only if they are refused.

use serde::Serialize;

use crate::id::TwinId;
use crate::input::Refused;
use crate::json::Json;
use crate::name::Name;
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::transition::{Call, Effect};

use super::draft::Draft;

/// How many calls may follow from each other. Twins that call each other in a circle are cut there.
pub const HOPS_MAX: u32 = 16;

/// The data of `call-refused`.
#[derive(Serialize)]
struct CallRefused<'a> {
    twin: &'a str,
    method: &'a str,
    code: &'a str,
    message: &'a str,
}

/// The data of `call-cut`.
#[derive(Serialize)]
struct CallCut<'a> {
    twin: &'a str,
    method: &'a str,
    hops: u32,
}

impl Draft<'_> {
    /// The call leaves, unless too many calls led here.
    pub(super) fn call_out(&mut self, twin: TwinId, method: Name, argument: Json) {
        let hops = self.header.cause.as_ref().map_or(0, |cause| cause.hops) + 1;
        if hops > HOPS_MAX {
            let cut = CallCut { twin: twin.id(), method: &method, hops: HOPS_MAX };
            return self.announce("call-cut", json(&cut));
        }
        let generation = self.twin().generation();
        self.effect(Effect::Call(Call { twin, method, argument, generation, hops }));
    }

    /// Announces that a call came to nothing. A device that was registered since did not make it.
    pub(super) fn call_refused(&mut self, refused: &Refused) -> Result<Reply, Rejection> {
        let Refused { twin, method, generation, code, message } = refused;
        if *generation == self.twin().generation() {
            self.announce("call-refused", json(&CallRefused { twin: twin.id(), method, code, message }));
        }
        Ok(Reply::Done)
    }
}

fn json<T: Serialize>(data: &T) -> Json {
    Json::of(data).unwrap_or_else(|_| Json::null())
}
