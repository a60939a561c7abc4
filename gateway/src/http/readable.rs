//! What of a twin somebody may read, and what a change of it touches.
//!
//! Where a policy speaks of parts, a document is shown without those that it hides: by the same [`Reach`] that decides
//! single paths. Where none does, which is nearly always, nothing is looked at.

use std::borrow::Cow;

use runtime::directory::Reach;
use runtime::record::{Fact, Record};
use serde::{Serialize, Serializer};
use twins::json::{Document, Json, Operation, Patch, Pointer, Raw};
use twins::rejection::{Code, Rejection};

/// As long as the paths of a change may be in sum: what is longer would be refused by its twin.
const PATHS_BYTES_MAX: usize = 256 << 10;

/// What a path may be below: sections of a twin, and what else has parts.
const SECTIONS: [&str; 4] = ["tags", "desired", "reported", "state"];

/// The document of a twin without what may not be read.
pub(super) fn document(document: Json, reach: &Reach) -> Json {
    if reach.is_everything() {
        return document;
    }
    let members = document.as_raw().members().into_iter().flatten();
    let shown = members.filter_map(|(name, value)| {
        let shown = match &*name {
            "id" | "kind" | "version" => Some(value.to_json()),
            "metadata" => Some(metadata(value, reach)),
            section => visible(value, section, reach),
        };
        shown.map(|shown| (name, shown))
    });
    object(shown.collect())
}

/// A section of a twin without what may not be read.
pub(super) fn section(section: &Document, name: &str, reach: &Reach) -> Document {
    let shown = visible(section.as_raw(), name, reach).unwrap_or_else(|| object(Vec::new()));
    shown.decode().unwrap_or_default()
}

/// A record without what may not be read; `None` where nothing is left.
pub(super) fn record(mut record: Record, reach: &Reach) -> Option<Record> {
    if reach.is_everything() {
        return Some(record);
    }
    let shown = match &mut record.fact {
        Fact::Telemetry { channel, .. } => reach.may(&format!("telemetry/{channel}")),
        Fact::Event { name, .. } => reach.may(&format!("events/{name}")),
        Fact::Command { name: Some(name), .. } => reach.may(&format!("commands/{name}")),
        Fact::Command { name: None, .. } => reach.may_whole("commands"),
        Fact::Shadow { section, patch, .. } => {
            *patch = changes(patch, section.as_str(), reach);
            !patch.is_empty()
        }
        Fact::Connected { .. } | Fact::Disconnected { .. } | Fact::Registered | Fact::Removed => {
            reach.may("system")
        }
    };
    shown.then_some(record)
}

/// The paths that a merge patch (RFC 7396) of a section changes, each with all that is below it. Where it leads below
/// something that is no object in the section as it is, that is replaced, and so the whole of it is touched.
///
/// # Errors
/// When they are longer in sum than a change may be.
pub(super) fn touched(
    patch: &Json,
    section: &str,
    before: Option<&Document>,
) -> Result<Vec<String>, Rejection> {
    let mut paths = Touched::default();
    paths.add(patch.as_raw(), before.map(Document::as_raw), section)?;
    Ok(paths.paths)
}

/// Paths that are touched.
#[derive(Default)]
struct Touched {
    paths: Vec<String>,
    bytes: usize,
}

impl Touched {
    fn add(&mut self, patch: Raw<'_>, before: Option<Raw<'_>>, path: &str) -> Result<(), Rejection> {
        let mut members = patch.members().into_iter().flatten().peekable();
        let is_in_the_way = before.is_some_and(|before| before.members().is_none());
        if is_in_the_way || members.peek().is_none() {
            self.bytes += path.len();
            if self.bytes > PATHS_BYTES_MAX {
                let why = format!("the paths of a change have at most {PATHS_BYTES_MAX} bytes in sum");
                return Err(Rejection::new(Code::TooLarge, why));
            }
            self.paths.push(path.to_owned());
            return Ok(());
        }
        for (name, value) in members {
            let before = before.and_then(|before| before.get(Pointer::root().join(&name).as_str()));
            self.add(value, before, &below(path, &name))?;
        }
        Ok(())
    }
}

/// A value without what may not be read; `None` where nothing is left.
fn visible(value: Raw<'_>, path: &str, reach: &Reach) -> Option<Json> {
    if reach.may_whole(path) {
        return Some(value.to_json());
    }
    if !reach.may_some(path) {
        return None;
    }
    if let Some(elements) = value.elements() {
        // An array is shown whole or not at all: its elements have no names that could stay.
        let is_whole = |(n, element): (usize, Raw<'_>)| {
            let shown = visible(element, &below(path, &n.to_string()), reach);
            shown.is_some_and(|shown| shown.as_str() == element.as_str())
        };
        return (reach.may(path) && elements.enumerate().all(is_whole)).then(|| value.to_json());
    }
    let Some(members) = value.members() else {
        return reach.may(path).then(|| value.to_json());
    };
    let shown: Vec<_> = members
        .filter_map(|(name, value)| {
            let is_version = name == "$version" && SECTIONS.contains(&path);
            let shown = match is_version {
                true => Some(value.to_json()),
                false => visible(value, &below(path, &name), reach),
            };
            shown.map(|shown| (name, shown))
        })
        .collect();
    (!shown.is_empty() || reach.may(path)).then(|| object(shown))
}

/// The stamps of the paths that may be read.
fn metadata(metadata: Raw<'_>, reach: &Reach) -> Json {
    let sections = metadata.members().into_iter().flatten().map(|(section, stamps)| {
        let stamps = stamps.members().into_iter().flatten();
        let shown = stamps.filter(|(path, _)| reach.may(&format!("{section}{path}")));
        let shown = shown.map(|(path, stamp)| (path, stamp.to_json())).collect();
        (section, object(shown))
    });
    object(sections.collect())
}

fn changes(patch: &Patch, section: &str, reach: &Reach) -> Patch {
    let mut shown = Patch::default();
    for operation in patch.operations() {
        let path = format!("{section}{}", operation.path().as_str());
        match operation {
            Operation::Remove { .. } if reach.may(&path) => shown.push(operation.clone()),
            Operation::Remove { .. } => {}
            Operation::Set { path: at, value } => {
                if let Some(value) = visible(value.as_raw(), &path, reach) {
                    shown.push(Operation::Set { path: at.clone(), value });
                }
            }
        }
    }
    shown
}

/// The path of a member, its name escaped as in a JSON pointer (RFC 6901).
fn below(path: &str, name: &str) -> String {
    format!("{path}{}", Pointer::root().join(name).as_str())
}

fn object(members: Vec<(Cow<'_, str>, Json)>) -> Json {
    Json::of(&Members(members)).expect("members of an object have a form in JSON")
}

struct Members<'a>(Vec<(Cow<'a, str>, Json)>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runtime::access::Verb;
    use runtime::directory::{
        By, Change, DevicePattern, Directory, Effect, Entry, PathPattern, Policy, Role, Roles, Sort, Verbs,
        Who, Whom,
    };
    use twins::id::TwinId;
    use twins::name::Name;
    use twins::time::Timestamp;

    use super::*;

    /// What `ada` may read, who has these roles, under policies of paths.
    fn reach(roles: &[Role], policies: &[(Effect, &str)]) -> Reach {
        let mut directory = Directory::default();
        let mut change = |change| {
            let (at, tenant) = (Timestamp::ZERO, "default".to_owned());
            directory.apply(&Entry { at, by: By::Folder, reason: None, tenant, change }).unwrap();
        };
        let (name, roles) = (Name::fixed("ada"), Roles::from_iter(roles.iter().copied()));
        change(Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(false) });
        for (n, (effect, path)) in policies.iter().enumerate() {
            let policy = Policy {
                effect: *effect,
                who: vec![Whom::Everybody],
                devices: DevicePattern::new("*").unwrap(),
                path: PathPattern::new(path).unwrap(),
                verbs: Verbs::from_iter([Verb::Read]),
            };
            change(Change::PutPolicy { name: Name::new("a", &format!("p{n}")).unwrap(), policy });
        }
        let who = Who { tenant: "default", name: "ada", scope: None };
        directory.reach(who, Verb::Read, &TwinId::in_default_tenant("t-1").unwrap())
    }

    fn json(text: &str) -> Json {
        Json::of(&serde_json::from_str::<Box<serde_json::value::RawValue>>(text).unwrap()).unwrap()
    }

    const TWIN: &str = r#"{"id":"t","tags":{"a":1},"desired":{"h":{"m":1,"s":2},"$version":3},"system":{"x":1},"metadata":{"desired":{"/h/m":1,"/h/s":2}}}"#;

    #[track_caller]
    fn check(roles: &[Role], policies: &[(Effect, &str)], shown: &str) {
        assert_eq!(document(json(TWIN), &reach(roles, policies)).as_str(), shown);
    }

    #[test]
    fn a_document_is_shown_without_what_is_denied() {
        check(&[Role::Viewer], &[], TWIN);
        check(
            &[Role::Viewer],
            &[(Effect::Deny, "desired/h/s"), (Effect::Deny, "tags"), (Effect::Deny, "system")],
            r#"{"id":"t","desired":{"h":{"m":1},"$version":3},"metadata":{"desired":{"/h/m":1}}}"#,
        );
    }

    #[test]
    fn without_a_role_only_what_is_allowed_is_shown() {
        check(
            &[],
            &[(Effect::Allow, "desired/h/m")],
            r#"{"id":"t","desired":{"h":{"m":1},"$version":3},"metadata":{"desired":{"/h/m":1}}}"#,
        );
    }

    #[test]
    fn a_change_touches_what_it_sets_and_what_it_removes() {
        let touched = |patch| touched(&json(patch), "desired", None).unwrap();
        assert_eq!(
            touched(r#"{"h":{"m":1,"s":null},"a/b":[1],"e":{}}"#),
            ["desired/h/m", "desired/h/s", "desired/a~1b", "desired/e"]
        );
        assert_eq!(touched("null"), ["desired"]);
        assert_eq!(touched("{}"), ["desired"]);
    }

    #[test]
    fn a_change_touches_the_whole_of_what_stands_in_its_way() {
        let before: Document = json(r#"{"h":5,"a":{"b":[1],"c":1}}"#).decode().unwrap();
        let touched = |patch| touched(&json(patch), "desired", Some(&before)).unwrap();
        assert_eq!(touched(r#"{"h":{"m":{"x":1}}}"#), ["desired/h"]);
        assert_eq!(touched(r#"{"a":{"b":{"0":2},"d":{"e":1}}}"#), ["desired/a/b", "desired/a/d/e"]);
    }

    #[test]
    fn paths_that_are_longer_than_a_change_may_be_are_not_made() {
        let deep = format!("{}1{}", format!("{{{:?}:", "x".repeat(2_000)).repeat(20), "}".repeat(20));
        let wide: Vec<_> = (0..7).map(|n| format!("{:?}:{deep}", n.to_string())).collect();
        let patch = json(&format!("{{{}}}", wide.join(",")));

        assert_eq!(touched(&patch, "desired", None).unwrap_err().code(), Code::TooLarge);
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_was_denied(
            denied in prop::collection::vec(prop::sample::select(vec![
                "a", "a/b", "*/b", "**/c", "b/**", "a/*/c", "c", "c/0/x",
            ]), 1..4),
        ) {
            let policies: Vec<_> = denied.iter().map(|path| format!("desired/{path}")).collect();
            let policies: Vec<_> = policies.iter().map(|path| (Effect::Deny, path.as_str())).collect();
            let reach = reach(&[Role::Viewer], &policies);
            let text = r#"{"a":{"b":{"c":1,"d":2},"c":3},"b":{"a":4},"c":[5],"d":6}"#;

            let shown = visible(json(text).as_raw(), "desired", &reach).unwrap();

            for pointer in ["/a", "/a/b", "/a/b/c", "/a/b/d", "/a/c", "/b", "/b/a", "/c", "/d"] {
                let is_shown = shown.as_raw().get(pointer).is_some();
                let may = reach.may(&format!("desired{pointer}"));
                prop_assert_eq!(is_shown, may, "{} {:?}", pointer, denied);
            }
        }
    }
}
