//! Coming into being and ceasing to be.

use crate::json::{Document, Patch, diff};
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::{Closed, Delivery, Reply};
use crate::routes::Plane;
use crate::section::Which;
use crate::transition::Change;
use crate::trust::{self, Invitation, Proof, Registration};

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn register(
        &mut self,
        kind: &Name,
        tags: Option<&Document>,
        with: Option<&Registration>,
    ) -> Result<Reply, Rejection> {
        if self.twin().exists() && self.twin().kind() != kind.as_str() {
            let why = format!("`{}` is a `{}`, not a `{kind}`", self.id.id(), self.twin().kind());
            return Err(Rejection::new(Code::Conflict, why));
        }
        let catalogue = with.and_then(|with| with.catalogue.as_ref());
        let patches = [(Which::Tags, tags), (Which::Catalogue, catalogue)].map(|(section, whole)| {
            let patch = whole.map(|whole| diff(self.twin().section(section).document(), whole));
            (section, patch.unwrap_or_default())
        });
        for (section, patch) in &patches {
            self.check_size(*section, patch)?;
        }
        let created = !self.twin().exists();
        if let Some(with) = with {
            if let Some(answered) = self.enrolled(with) {
                return answered;
            }
            self.check_trust(with)?;
        }
        let desired = with.and_then(|with| with.desired.as_ref()).filter(|_| created);
        let desired = desired.map_or(Ok(Patch::default()), |desired| self.merged(Which::Desired, desired))?;
        self.check_size(Which::Desired, &desired)?;
        if created {
            self.change(Change::Created { kind: kind.clone() });
        }
        for (section, patch) in patches.into_iter().filter(|(_, patch)| !patch.is_empty()) {
            self.change(Change::Patched { section, patch, by_behavior: false });
        }
        self.begin_with(desired);
        with.into_iter().for_each(|with| self.register_trust(with));
        Ok(Reply::Registered { created, twin: self.twin_shared() })
    }

    /// What is answered to somebody who registers what was not there when they looked, where that is another matter now: a
    /// device that shows what its group gave it comes in as that, or not at all; everybody else looks again.
    fn enrolled(&self, with: &Registration) -> Option<Result<Reply, Rejection>> {
        let (id, trust) = (self.id.id(), self.twin().trust());
        let shown = match self.header.proof.as_deref() {
            Some(Proof::Group { issued, .. }) => Some(*issued),
            _ => None,
        };
        if shown.is_some_and(|issued| trust.bars(issued)) {
            let why = format!("what its group gave `{id}` before it was shut out is not valid any more");
            return Some(Err(Rejection::new(Code::NotAuthorized, why)));
        }
        if !with.is_new || !self.twin().exists() {
            return None;
        }
        if shown.is_some() && with.group.as_ref() == trust.group() {
            return Some(Ok(Reply::Registered { created: false, twin: self.twin_shared() }));
        }
        let why = format!("`{id}` was registered just now; send it again, to change what it is");
        Some(Err(Rejection::new(Code::Conflict, why)))
    }

    /// A device that was activated is invited again only once its credentials are revoked.
    fn check_trust(&self, with: &Registration) -> Result<(), Rejection> {
        let trust = self.twin().trust();
        let known = trust.activation().map(|activation| &activation.verifier);
        let invites = with.invitation.as_ref().is_some_and(|invitation| Some(&invitation.verifier) != known);
        if invites && !trust.credentials().is_empty() {
            let why = format!("`{}` is active already; its activation key was used", self.id.id());
            return Err(Rejection::new(Code::Conflict, why));
        }
        Ok(())
    }

    /// The first desired section of a twin, from a template: what the behaviour says against it is an event.
    fn begin_with(&mut self, desired: Patch) {
        if desired.is_empty() {
            return;
        }
        let after = self.twin().desired().document().apply(&desired);
        let part = self.tell_changes(Plane::Desired, Which::Desired, &after);
        self.change(Change::Patched { section: Which::Desired, patch: desired, by_behavior: false });
        self.change(Change::Begun);
        match part {
            Ok(part) => part.into_iter().for_each(|part| self.record(part)),
            Err(rejection) => self.complain(&rejection),
        }
    }

    fn register_trust(&mut self, with: &Registration) {
        let Registration { invitation, group, gateway, .. } = with;
        let trust = self.twin().trust();
        let named = (group.as_ref().or(trust.group()).cloned(), gateway.as_ref().or(trust.gateway()).cloned());
        if (named.0.as_ref(), named.1.as_ref()) != (trust.group(), trust.gateway()) {
            let (group, gateway) = named;
            self.change(Change::Trust(trust::Change::Registered { group, gateway }));
        }
        let known = self.twin().trust().activation();
        // A key that was used is not valid again because it is said again.
        let is_new = |invitation: &&Invitation| {
            known.is_none_or(|known| {
                known.verifier != invitation.verifier || known.used.is_none() && known.expires != invitation.expires
            })
        };
        if let Some(invitation) = invitation.as_ref().filter(is_new) {
            let issue = self.invite(invitation);
            self.announce_trust("invited", Some(issue), None);
        }
        self.close_invalid("registered anew");
    }

    pub(super) fn appear(&mut self, kind: &Name) -> Result<Reply, Rejection> {
        if !self.twin().exists() {
            self.change(Change::Created { kind: kind.clone() });
        }
        Ok(Reply::Done)
    }

    pub(super) fn remove(&mut self, reason: Option<&Name>) -> Result<Reply, Rejection> {
        self.end();
        self.change(Change::Trust(trust::Change::Removed));
        self.change(Change::Removed);
        self.announce_trust("removed", None, reason);
        Ok(Reply::Done)
    }

    /// Nothing of what was known is left but who wanted it so, why, and the end of the chain.
    pub(super) fn erase(&mut self, reason: Option<&Name>) -> Result<Reply, Rejection> {
        if self.twin().exists() {
            self.end();
            self.change(Change::Removed);
        }
        self.change(Change::Trust(trust::Change::Erased));
        self.announce_trust("erased", None, reason);
        Ok(Reply::Done)
    }

    /// Its connections are closed.
    fn end(&mut self) {
        let epochs: Vec<_> = self.twin().sessions().connected().map(|session| session.epoch).collect();
        for epoch in epochs {
            self.output(epoch, Delivery::Close(Closed::Removed));
        }
        self.live.state = None;
    }
}
