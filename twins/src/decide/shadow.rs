//! The shadow: what the device reports, what it should become, its tags; and calls of its behaviour.

use crate::effects::Effects;
use crate::input::Desire;
use crate::json::{Document, Json, Patch, Raw, diff, merge};
use crate::logic::{Decoded, Logic, Property};
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::routes::Plane;
use crate::section::{SECTION_BYTES_MAX, Which};
use crate::transition::Change;

use super::draft::Draft;
use super::telemetry::{TIME, event_time};

impl Draft<'_> {
    pub(super) fn report(&mut self, patch: &Json) -> Result<Reply, Rejection> {
        let time = event_time(patch.as_raw())?;
        self.header.time = self.header.time.or(time);
        let patch = self.merged(Which::Reported, patch)?;
        self.check_size(Which::Reported, &patch)?;
        let after = self.twin().reported().document().apply(&patch);
        let part = match self.tell_changes(Plane::Reported, Which::Reported, &after) {
            Err(failed) if failed.code() == Code::BehaviorFailed => {
                self.complain(&failed);
                None
            }
            told => told?,
        };
        self.patch(Which::Reported, patch);
        part.into_iter().for_each(|part| self.record(part));
        Ok(Reply::Done)
    }

    pub(super) fn update(
        &mut self,
        tags: Option<&Json>,
        desired: Option<&Desire>,
        if_match: Option<&[String]>,
    ) -> Result<Reply, Rejection> {
        let etag = self.twin().etag();
        if if_match.is_some_and(|seen| !seen.iter().any(|seen| *seen == etag || seen == "*")) {
            return Err(Rejection::new(Code::VersionMismatch, format!("the twin's ETag is {etag}")));
        }
        let tags = tags.map_or(Ok(Patch::default()), |patch| self.merged(Which::Tags, patch))?;
        let desired = match desired {
            None => Patch::default(),
            Some(Desire::Merge(patch)) => self.merged(Which::Desired, patch)?,
            Some(Desire::Replace(whole)) => {
                // Through a merge, so that a null means absent here too.
                let with = Document::default().apply(&merge(&Document::default(), &whole.clone().into())?);
                refuse_reserved(with.as_raw())?;
                diff(self.twin().desired().document(), &with)
            }
        };
        self.check_size(Which::Tags, &tags)?;
        self.check_size(Which::Desired, &desired)?;
        let after = self.twin().desired().document().apply(&desired);
        let part = self.tell_changes(Plane::Desired, Which::Desired, &after)?;
        self.patch(Which::Tags, tags);
        self.patch(Which::Desired, desired);
        part.into_iter().for_each(|part| self.record(part));
        Ok(Reply::Twin(self.twin_shared()))
    }

    pub(super) fn call(&mut self, name: &str, argument: &Json) -> Result<Reply, Rejection> {
        let unknown = || {
            let why = format!("kind `{}` has no method `{name}`", self.kind.name());
            Rejection::new(Code::UnknownMethod, why)
        };
        let logic = self.kind.logic.as_ref().ok_or_else(unknown)?;
        let plane = logic.callable(name).ok_or_else(unknown)?;
        let part = self.run(|logic, state, fx| match plane {
            Plane::Query => logic.ask(state, name, argument, &fx.context),
            _ => logic.call(state, name, argument, fx),
        })?;
        part.map(|part| Reply::Returned(self.record(part))).ok_or_else(|| Rejection::because("no behaviour"))
    }

    /// A merge patch from outside as a patch of ours.
    pub(super) fn merged(&self, which: Which, patch: &Json) -> Result<Patch, Rejection> {
        refuse_reserved(patch.as_raw())?;
        let section = self.twin().section(which).document();
        let timed = patch.as_raw().get(&format!("/{TIME}")).is_some();
        if !timed {
            return Ok(merge(section, patch)?);
        }
        let mut untimed = Document::try_from(patch.clone())?;
        let mut remove = Patch::default();
        remove.push(crate::json::Operation::Remove { path: crate::json::Pointer::root().join(TIME) });
        untimed = untimed.apply(&remove);
        Ok(merge(section, &untimed.into())?)
    }

    /// Refuses a patch that would make a section too large.
    pub(super) fn check_size(&self, which: Which, patch: &Patch) -> Result<(), Rejection> {
        let document = self.twin().section(which).document();
        if document.len() + patch.growth() <= SECTION_BYTES_MAX {
            return Ok(());
        }
        let bytes = document.apply(patch).len();
        if bytes <= SECTION_BYTES_MAX {
            return Ok(());
        }
        let why = format!("{} would have {bytes} bytes; the limit is {SECTION_BYTES_MAX}", which.as_str());
        Err(Rejection::new(Code::TooLarge, why))
    }

    fn patch(&mut self, section: Which, patch: Patch) {
        if !patch.is_empty() {
            self.change(Change::Patched { section, patch, by_behavior: false });
        }
    }

    /// Tells the behaviour which of its properties a section's new document changes.
    pub(super) fn tell_changes(
        &mut self,
        plane: Plane,
        which: Which,
        after: &Document,
    ) -> Result<Option<super::react::Part<()>>, Rejection> {
        let Some(logic) = self.kind.logic.clone() else { return Ok(None) };
        let before = self.twin().section(which).document();
        let changes: Vec<_> =
            logic.properties(plane).iter().flat_map(|property| changed(property, before, after)).collect();
        if changes.is_empty() {
            return Ok(None);
        }
        self.run(|logic, state, fx| tell(logic, state, fx, plane, &changes))
    }
}

fn tell(
    logic: &dyn Logic,
    state: &mut Decoded,
    fx: &mut Effects<'_>,
    plane: Plane,
    changes: &[(String, Json)],
) -> Result<(), Rejection> {
    for (name, value) in changes {
        let reacted = logic.react(state, plane, name, (value, None), fx);
        reacted.map_err(|rejection| rejection.of("property", name))?;
    }
    Ok(())
}

/// The instances of a property whose values differ, with the new value: null where it was removed.
fn changed(property: &Property, before: &Document, after: &Document) -> Vec<(String, Json)> {
    let path = property.path.as_str();
    let (before, after) = (before.get(path), after.get(path));
    let text = |value: Option<Raw<'_>>| value.map_or_else(Json::null, Raw::to_json);
    if before.map(Raw::as_str) == after.map(Raw::as_str) {
        return Vec::new();
    }
    if !property.keyed {
        return vec![(property.name.to_owned(), text(after))];
    }
    let keys = |value: Option<Raw<'_>>| -> Vec<String> {
        let members = value.and_then(Raw::members).unwrap_or_default();
        members.map(|(key, _)| key.into_owned()).collect()
    };
    let at = |value: Option<Raw<'_>>, key: &str| {
        let mut members = value.and_then(Raw::members).unwrap_or_default();
        members.find(|(name, _)| name == key).map(|(_, member)| member.to_json())
    };
    let mut all = keys(after);
    all.extend(keys(before).into_iter().filter(|key| at(after, key).is_none()));
    let differs = all.into_iter().filter(|key| at(before, key) != at(after, key));
    differs.map(|key| (format!("{}/{key}", property.name), at(after, &key).unwrap_or_else(Json::null))).collect()
}

/// Members that begin with `$` are the system's: `$version` in what is shown, `$time` in what is said.
fn refuse_reserved(patch: Raw<'_>) -> Result<(), Rejection> {
    let mut members = patch.members().unwrap_or_default();
    match members.find(|(name, _)| name.starts_with('$') && name != TIME) {
        None => Ok(()),
        Some((name, _)) => {
            let name = Name::new("a member", &name)?;
            Err(Rejection::new(Code::Malformed, format!("member `{name}` is reserved, as all that begin with $")))
        }
    }
}
