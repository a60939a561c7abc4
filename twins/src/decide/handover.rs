//! A device takes the place of another, as both twins decide on it: [`crate::trust::Handover`] tells the whole.

use crate::header::{Cause, Principal};
use crate::id::TwinId;
use crate::input::Input;
use crate::json::{Document, diff};
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::section::Which;
use crate::transition::{Change, Effect};
use crate::trust::{Ancestor, Change as Trusted, Estate, Handover, Succession, Word};

use super::draft::Draft;
use super::trust::About;

impl Draft<'_> {
    /// Offers the place of the device to another one. Whether that takes it, shows in both twins.
    pub(super) fn replace(&mut self, by: &TwinId, reason: Option<&Name>) -> Result<Reply, Rejection> {
        if by.tenant() != self.id.tenant() {
            return Err(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", by.id())));
        }
        if by == self.id {
            return Err(conflict(format!("`{}` cannot take its own place", by.id())));
        }
        if let Some(Succession::Promised { of, .. }) = self.twin().trust().succession() {
            return Err(conflict(format!("`{}` is about to take the place of `{}`", self.id.id(), of.id())));
        }
        let Some(kind) = self.twin().kind_name().cloned() else {
            return Err(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", self.id.id())));
        };
        let sequence = self.twin().sequence() + 1;
        self.change(Change::Trust(Trusted::Offered { to: by.clone(), sequence }));
        self.tell(by, reason, Word::Offer { kind });
        self.announce_about("offered", About { twin: Some(by), ..About::why(reason) });
        Ok(Reply::Twin(self.twin_shared()))
    }

    /// Its place was given up before. The successor hears so behind all that it was sent.
    pub(super) fn replace_again(&mut self, by: &TwinId, reason: Option<&Name>) -> Result<Reply, Rejection> {
        self.tell(by, reason, Word::Given);
        Ok(Reply::Twin(self.twin_shared()))
    }

    /// The other twin has said a word.
    pub(super) fn handover(&mut self, handover: &Handover) -> Result<Reply, Rejection> {
        let Some(cause) = self.header.cause.clone() else {
            return Err(Rejection::new(Code::NotAuthorized, "a place is handed over by a twin alone"));
        };
        let reason = handover.reason.as_ref();
        match &handover.word {
            Word::Offer { kind } => self.promise(kind, &cause, reason)?,
            Word::Promise { generation } => self.give_up(*generation, &cause.twin, reason)?,
            Word::Estate(estate) => self.take_over(estate, &cause, reason)?,
            Word::Declined { code, message } => self.declined(&cause, code, message),
            Word::Returned(estate) => self.take_back(estate, &cause, reason),
            Word::Given => self.nothing_comes(&cause),
        }
        Ok(Reply::Done)
    }

    /// A place is offered: it is promised that this device will take it, if it can.
    fn promise(&mut self, kind: &Name, cause: &Cause, reason: Option<&Name>) -> Result<(), Rejection> {
        let Cause { twin: of, generation, .. } = cause;
        if self.twin().trust().has_place_of(of, *generation) {
            // It has given up, or was restored from a backup and does not know.
            self.tell(of, reason, Word::Promise { generation: *generation });
            return Ok(());
        }
        if !self.is_promised_to(of, *generation) {
            self.twin().may_succeed(self.id, kind)?;
        }
        let sequence = self.twin().sequence() + 1;
        let promised = Trusted::Promised { of: of.clone(), generation: *generation, sequence };
        self.change(Change::Trust(promised));
        self.tell(of, reason, Word::Promise { generation: *generation });
        self.announce_about("promised", About { twin: Some(of), ..About::why(reason) });
        Ok(())
    }

    /// Another device will take the place: everything goes to it, and nobody comes in by this id any more.
    fn give_up(&mut self, generation: u32, to: &TwinId, reason: Option<&Name>) -> Result<(), Rejection> {
        let trust = self.twin().trust();
        if generation == self.twin().generation() && trust.replaced_by() == Some(to) {
            return Ok(());
        }
        let offered = |known: &Succession| matches!(known, Succession::Offered { to: other, .. } if other == to);
        if generation != self.twin().generation() || !trust.succession().is_some_and(offered) {
            return Err(conflict(format!("the place of `{}` is not offered to `{}`", self.id.id(), to.id())));
        }
        self.close("replaced", |_| true);
        let estate = Estate::of(self.twin(), self.header.received);
        self.live.state = None;
        self.change(Change::Trust(Trusted::Replaced { by: to.clone() }));
        self.tell(to, reason, Word::Estate(Box::new(estate)));
        self.announce_about("replaced", About { twin: Some(to), ..About::why(reason) });
        Ok(())
    }

    /// All that the other device had is this one's. What its own device reported meanwhile stands.
    fn take_over(&mut self, estate: &Estate, cause: &Cause, reason: Option<&Name>) -> Result<(), Rejection> {
        let Cause { twin: of, generation, .. } = cause;
        if self.twin().trust().has_place_of(of, *generation) {
            return Ok(());
        }
        if !self.is_promised_to(of, *generation) {
            return Err(conflict(format!("`{}` has not promised to take the place of `{}`", self.id.id(), of.id())));
        }
        self.receive(estate);
        let last = Ancestor { twin: of.clone(), generation: *generation, at: self.header.received };
        for ancestor in estate.ancestors.iter().cloned().chain([last]) {
            self.change(Change::Trust(Trusted::Inherited(ancestor)));
        }
        let about = About { twin: Some(of), generation: Some(*generation), ..About::why(reason) };
        self.announce_about("inherited", about);
        Ok(())
    }

    /// The successor could not take it.
    fn take_back(&mut self, estate: &Estate, cause: &Cause, reason: Option<&Name>) {
        let Some(by) = self.twin().trust().replaced_by().cloned() else { return };
        if cause.generation != self.twin().generation() {
            return;
        }
        self.change(Change::Trust(Trusted::Resumed));
        self.receive(estate);
        self.announce_about("resumed", About { twin: Some(&by), ..About::why(reason) });
    }

    fn receive(&mut self, estate: &Estate) {
        let sections = [
            (Which::Tags, &estate.tags),
            (Which::Desired, &estate.desired),
            (Which::Catalogue, &estate.catalogue),
            (Which::Reported, &estate.reported),
        ];
        for (section, document) in sections {
            let own = self.twin().section(section).document();
            let patch = diff(own, document);
            let stands = section == Which::Reported && *own != Document::default();
            if !stands && !patch.is_empty() {
                self.change(Change::Patched { section, patch, by_behavior: false });
            }
        }
        if estate.state.version > 0 {
            self.live.state = None;
            let patch = diff(&self.twin().state().document, &estate.state.document);
            self.change(Change::State { version: estate.state.version, patch });
        }
        for timer in &estate.timers {
            self.change(Change::Armed { name: timer.name.clone(), due: timer.due });
        }
        for command in &estate.commands {
            self.change(Change::Queued(command.clone()));
        }
    }

    /// What the other device had does not come any more: with a backup that was restored, it was lost.
    fn nothing_comes(&mut self, cause: &Cause) {
        if self.is_promised_to(&cause.twin, cause.generation) {
            self.change(Change::Trust(Trusted::Declined));
            let why = "what it had was given up before, and is not there any more";
            let about = About { twin: Some(&cause.twin), message: Some(why), ..About::default() };
            self.announce_about("declined", about);
        }
    }

    fn is_promised_to(&self, other: &TwinId, of_generation: u32) -> bool {
        match self.twin().trust().succession() {
            Some(Succession::Promised { of, generation, .. }) => (of, *generation) == (other, of_generation),
            _ => false,
        }
    }

    /// The other one said no to the last word of this one: nothing is offered or promised any more.
    fn declined(&mut self, cause: &Cause, code: &Name, message: &str) {
        let Some(succession) = self.twin().trust().succession().filter(|s| s.sequence() == cause.sequence) else {
            return;
        };
        let (Succession::Offered { to: other, .. } | Succession::Promised { of: other, .. }) = succession.clone();
        self.change(Change::Trust(Trusted::Declined));
        let about = About { twin: Some(&other), code: Some(code), message: Some(message), ..About::default() };
        self.announce_about("declined", about);
    }

    fn tell(&mut self, to: &TwinId, reason: Option<&Name>, word: Word) {
        let handover = Handover { by: self.header.principal.clone(), reason: reason.cloned(), word };
        let (to, generation) = (to.clone(), self.twin().generation());
        self.effect(Effect::Handover { to, generation, handover });
    }

    /// Whether an input may pass while the device is about to take another's place, or has lost its own.
    pub(super) fn let_pass_between(&self, input: &Input) -> Result<(), Rejection> {
        let trust = self.twin().trust();
        if trust.replaced_by().is_some() && !input.is_of_the_system() {
            return Err(self.barred());
        }
        let Some(Succession::Promised { of, .. }) = trust.succession() else { return Ok(()) };
        let changes = match input {
            Input::Remove { .. } | Input::Erase { .. } => true,
            other => self.header.principal != Principal::Device && !other.is_of_the_system(),
        };
        if !changes {
            return Ok(());
        }
        Err(conflict(format!("`{}` is just taking the place of `{}`", self.id.id(), of.id())))
    }
}

fn conflict(why: String) -> Rejection {
    Rejection::new(Code::Conflict, why)
}
