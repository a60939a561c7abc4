//! Coming into being and ceasing to be.

use crate::json::{Document, diff};
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::{Closed, Delivery, Reply};
use crate::section::Which;
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn register(&mut self, kind: &Name, tags: Option<&Document>) -> Result<Reply, Rejection> {
        if self.twin().exists() && self.twin().kind() != kind.as_str() {
            let why = format!("`{}` is a `{}`, not a `{kind}`", self.id.id(), self.twin().kind());
            return Err(Rejection::new(Code::Conflict, why));
        }
        let patch = tags.map(|tags| diff(self.twin().tags().document(), tags)).filter(|patch| !patch.is_empty());
        if let Some(patch) = &patch {
            self.check_size(Which::Tags, patch)?;
        }
        let created = !self.twin().exists();
        if created {
            self.change(Change::Created { kind: kind.clone() });
        }
        if let Some(patch) = patch {
            self.change(Change::Patched { section: Which::Tags, patch, by_behavior: false });
        }
        Ok(Reply::Registered { created, twin: self.twin_shared() })
    }

    pub(super) fn appear(&mut self, kind: &Name) -> Result<Reply, Rejection> {
        if !self.twin().exists() {
            self.change(Change::Created { kind: kind.clone() });
        }
        Ok(Reply::Done)
    }

    pub(super) fn remove(&mut self) -> Result<Reply, Rejection> {
        let epochs: Vec<_> = self.twin().sessions().connected().map(|session| session.epoch).collect();
        for epoch in epochs {
            self.output(epoch, Delivery::Close(Closed::Removed));
        }
        self.live.state = None;
        self.change(Change::Removed);
        Ok(Reply::Done)
    }
}
