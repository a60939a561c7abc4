//! Replacing a device: another one takes over all that it had.
//!
//! The two twins see to it between themselves (`twins::trust::Handover`), and go on whatever becomes of this call. What is
//! here asks for it, and waits until it is done: until the successor has committed what it took over.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Path};
use runtime::access::Verb;
use runtime::router::Router;
use runtime::watch::Whom;
use serde::Deserialize;
use twins::id::TwinId;
use twins::input::Input;
use twins::rejection::{Code, Rejection};
use twins::trust::{Step, Succession, What};
use twins::twin::Twin;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::{Allowed, Caller};
use super::devices::Device;
use super::lifecycle::read_reason;
use super::problem::Problem;
use super::wait::Wait;

/// How long a call waits, in seconds, for what takes two or three commits.
const WAIT_S: f64 = 10.0;

/// What of a successor is written that is an operator's.
const WRITTEN: [&str; 3] = ["tags", "desired", "catalogue"];

/// By what a device is replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `by`, and `reason` or not")]
pub(super) struct Replacement {
    /// The device that takes its place: registered, of the same kind, without a desired section but that of its enrolment
    /// group, and without a reported section, commands or a state of its own. Its tags and business data are replaced.
    by: String,
    /// For whoever reads the events of both.
    #[serde(default)]
    reason: Option<String>,
}

/// Lets another device take the place of this one.
///
/// The other one takes over tags, desired and reported section, business data, the behaviour's state, timers and the
/// commands that have not ended. It keeps its own credentials; this one loses all of its, is closed at once, and remains as
/// `replaced`: it can be read and removed. When this is answered, it is done; the same request again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/replace",
    tag = "devices",
    params(("id" = String, Path, description = "The device that goes.")),
    request_body = Replacement,
    responses(
        (status = 200, description = "It is done: the device that went, with `replaced_by`.", body = Device),
        (status = 403, description = "`forbidden`: also where a policy keeps from being written what the other one gets"),
        (status = 404, description = "`unknown-twin`: one of the two"),
        (status = 409, description = "`conflict`: the other one cannot take its place, and nothing has changed"),
        (status = 410, description = "`replaced`: a third one has taken its place"),
        (status = 504, description = "`timeout`: it is under way and goes on; ask again to see it done"),
    )
)]
pub(super) async fn replace(
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    Object(replacement): Object<Replacement>,
) -> Result<web::Json<Device>, Problem> {
    caller.refuse_repeats("send it without the key: it is done once, however often it is sent")?;
    let Replacement { by, reason } = replacement;
    let (old, new) = (caller.may(Verb::Secure, &id, "")?, caller.may(Verb::Secure, &by, "")?);
    for section in WRITTEN {
        // What a policy keeps from being written, replacing does not write.
        if new.reach(Verb::Write).denies_below(section) {
            caller.may_whole(Verb::Write, &by, &[section.to_owned()])?;
        }
    }
    let reason = read_reason(reason)?;
    let mut wait = Wait::new(&request, WAIT_S)?;
    let router = old.router();
    let (mut of_old, mut of_new) =
        (router.watch(old.id().clone(), Whom::Any)?, router.watch(new.id().clone(), Whom::Any)?);
    let before = known(router, old.id()).await?;
    if before.trust().replaced_by().is_none() {
        // The successor would say so itself; here it is said before anything is written.
        let wanted = known(router, new.id()).await?;
        let has_taken = wanted.trust().has_place_of(old.id(), before.generation());
        if !has_taken && !is_promised(&wanted, old.id(), &before) {
            wanted.may_succeed(new.id(), before.kind())?;
        }
    }
    let what = What::Replace { by: new.id().clone() };
    old.ask(Input::Trust(Box::new(Step { what, reason }))).await?;
    loop {
        let (left, taken) = (known(router, old.id()).await?, router.look(new.id()).await?);
        match progress((old.id(), &left), (new.id(), taken.as_deref())) {
            Progress::Done => return Ok(web::Json(Device::of(&old, &left))),
            Progress::UnderWay => {}
            Progress::NotTaken => return Err(not_taken(&old, &new)),
        }
        if wait.either_changed([&mut of_old, &mut of_new]).await.is_none() {
            let (old, new) = (old.id().id(), new.id().id());
            let why = format!("`{new}` has not taken the place of `{old}` yet; it goes on by itself");
            let next = "send it again: it waits for the same";
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", why, next));
        }
    }
}

/// How far it is that a device takes the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Done,
    /// It did not, and will not.
    NotTaken,
}

/// How far it is, by what the two twins are now: the one that goes, and the one that comes.
fn progress((old, left): (&TwinId, &Twin), (new, taken): (&TwinId, Option<&Twin>)) -> Progress {
    match (left.trust().replaced_by(), left.trust().succession(), taken) {
        (Some(successor), _, _) if successor != new => Progress::NotTaken,
        // One that was removed since had taken it.
        (Some(_), _, None) => Progress::Done,
        (Some(_), _, Some(taken)) if is_promised(taken, old, left) => Progress::UnderWay,
        (Some(_), _, Some(taken)) if taken.trust().has_place_of(old, left.generation()) => Progress::Done,
        (None, Some(Succession::Offered { to, .. }), _) if to == new => Progress::UnderWay,
        _ => Progress::NotTaken,
    }
}

/// Whether a device is bound to take the place of another one, and has not taken it yet.
fn is_promised(twin: &Twin, old: &TwinId, before: &Twin) -> bool {
    match twin.trust().succession() {
        Some(Succession::Promised { of, generation, .. }) => (of, *generation) == (old, before.generation()),
        _ => false,
    }
}

fn not_taken(old: &Allowed<'_>, new: &Allowed<'_>) -> Problem {
    let (old, new) = (old.id().id(), new.id().id());
    let why = format!("`{new}` did not take the place of `{old}`: the events of both say why");
    Rejection::new(Code::Conflict, why).into()
}

async fn known(router: &Router, id: &TwinId) -> Result<Arc<Twin>, Problem> {
    let unknown = || Rejection::new(Code::UnknownTwin, format!("no twin `{}`", id.id()));
    Ok(router.look(id).await?.ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use twins::decide::Live;
    use twins::header::{Cause, Header, Principal};
    use twins::kind::Kinds;
    use twins::name::Name;
    use twins::trust::Handover;

    use super::*;

    /// Two devices, and the words that are under way between them.
    #[derive(Default)]
    struct Pair {
        old: Live,
        new: Live,
        words: VecDeque<(TwinId, Cause, Handover)>,
    }

    fn twin(id: &str) -> TwinId {
        TwinId::in_default_tenant(id).unwrap()
    }

    impl Pair {
        fn of_two() -> Self {
            let mut pair = Self::default();
            for id in ["old", "new"] {
                let (kind, header) = (Name::fixed("device"), Header::default());
                pair.say(id, Input::Register { kind, tags: None, with: None }, header);
            }
            pair
        }

        fn say(&mut self, to: &str, input: Input, header: Header) {
            let id = twin(to);
            let live = if to == "old" { &mut self.old } else { &mut self.new };
            let header = Header { principal: Principal::System, ..header };
            let decided = Kinds::default().decide(&id, live, &input, header);
            decided.reply.unwrap();
            let transition = decided.transition.expect("it changes something");
            self.words
                .extend(transition.handovers(&id).map(|(cause, to, word)| (to.clone(), cause, word.clone())));
        }

        fn replace(&mut self) {
            let what = What::Replace { by: twin("new") };
            let step = Step { what, reason: None };
            self.say("old", Input::Trust(Box::new(step)), Header::default());
        }

        /// The next word arrives.
        fn carry(&mut self) {
            let (to, cause, word) = self.words.pop_front().expect("one is under way");
            let header = Header { cause: Some(Box::new(cause)), ..Header::default() };
            self.say(to.id(), Input::Handover(Box::new(word)), header);
        }

        fn progress_of(&self, new: &str) -> Progress {
            progress((&twin("old"), self.old.twin()), (&twin(new), Some(self.new.twin())))
        }
    }

    #[test]
    fn it_is_under_way_from_the_offer_until_the_successor_has_what_it_took_over() {
        let mut pair = Pair::of_two();
        assert_eq!(pair.progress_of("new"), Progress::NotTaken, "nobody has asked for it");

        pair.replace();

        for word in ["offered", "promised", "given up"] {
            assert_eq!(pair.progress_of("new"), Progress::UnderWay, "{word}");
            assert_eq!(pair.progress_of("other"), Progress::NotTaken, "{word}");
            pair.carry();
        }
        assert_eq!(pair.progress_of("new"), Progress::Done);
        assert_eq!(pair.progress_of("other"), Progress::NotTaken);
    }

    #[test]
    fn a_successor_that_was_removed_since_had_taken_it() {
        let mut pair = Pair::of_two();
        pair.replace();
        (0..3).for_each(|_| pair.carry());

        let gone = progress((&twin("old"), pair.old.twin()), (&twin("new"), None));
        pair.say("new", Input::Remove { reason: None }, Header::default());
        let (kind, header) = (Name::fixed("device"), Header::default());
        pair.say("new", Input::Register { kind, tags: None, with: None }, header);

        assert_eq!(gone, Progress::Done);
        assert_eq!(pair.progress_of("new"), Progress::NotTaken, "who has its id now is another one");
    }
}
