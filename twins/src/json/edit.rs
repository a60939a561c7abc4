//! All changes of a document as one tree, so that the text is rewritten once however many they are.

use super::named::Named;
use super::raw::Raw;
use super::{DEPTH_MAX, Document, name};

/// What becomes of one value: it stays, is replaced or goes, and then its members are edited.
#[derive(Default)]
pub(super) struct Edit<'a> {
    base: Base<'a>,
    /// Something was set below, so an object stands here in the end, whatever stood here before.
    parent: bool,
    members: Named<'a, Edit<'a>>,
    /// Whether the document has this value: what it does not have is added behind what it has.
    met: bool,
}

#[derive(Default, Clone, Copy)]
enum Base<'a> {
    #[default]
    Kept,
    Set(Raw<'a>),
    Removed,
}

impl<'a> Edit<'a> {
    /// Adds to the edit of a document that `value` is set at `path`, or removed with `None`. A later change wins.
    pub(super) fn record(&mut self, path: &'a str, value: Option<Raw<'a>>) {
        if path.is_empty() && value.is_some_and(|value| !value.is_object()) {
            return;
        }
        if path.bytes().filter(|&byte| byte == b'/').count() > DEPTH_MAX {
            return;
        }
        let mut edit = self;
        for segment in path.split('/').skip(1) {
            edit.parent |= value.is_some();
            edit = edit.members.find_or_insert(name::to_json(name::from_segment(segment)), Edit::default);
        }
        edit.base = value.map_or(Base::Removed, Base::Set);
        edit.parent = false;
        edit.members.clear();
    }

    /// Rewrites the document; `growth` is a guess of how many bytes it gains.
    pub(super) fn apply(mut self, document: &Document, growth: usize) -> Document {
        let mut text = String::with_capacity(document.len() + growth);
        let root = self.base(Some(document.as_raw())).unwrap_or(Raw::new("{}"));
        self.write(root, &mut text);
        Document::trusted(&text)
    }

    /// The value whose members are edited, given what stands here now; `None` for no value.
    fn base<'t>(&self, current: Option<Raw<'t>>) -> Option<Raw<'t>>
    where
        'a: 't,
    {
        let base = match self.base {
            Base::Kept => current,
            Base::Set(value) => Some(value),
            Base::Removed => None,
        };
        let stays = !self.parent || base.is_some_and(Raw::is_object);
        if stays { base } else { Some(Raw::new("{}")) }
    }

    fn write(&mut self, base: Raw<'_>, text: &mut String) {
        let Some(mut members) = base.members().filter(|_| !self.members.is_empty()) else {
            text.push_str(base.as_str());
            return;
        };
        text.push('{');
        let opened = text.len();
        let mut unmet = self.members.len();
        while unmet > 0
            && let Some(member) = members.span()
        {
            let Some(edit) = self.members.find(member.name) else {
                separate(text, opened);
                text.push_str(member.text);
                continue;
            };
            unmet -= usize::from(!edit.met);
            edit.met = true;
            edit.write_member(member.name, Some(member.value), opened, text);
        }
        if unmet == 0 && members.rest().starts_with('"') {
            separate(text, opened);
            text.push_str(members.rest());
            return;
        }
        for (name, edit) in self.members.iter_mut().filter(|(_, edit)| !edit.met) {
            edit.write_member(name, None, opened, text);
        }
        text.push('}');
    }

    fn write_member(&mut self, name: &str, current: Option<Raw<'_>>, opened: usize, text: &mut String) {
        let Some(base) = self.base(current) else { return };
        separate(text, opened);
        text.extend(["\"", name, "\":"]);
        self.write(base, text);
    }
}

/// A comma, unless the object that `opened` there has no members yet.
fn separate(text: &mut String, opened: usize) {
    if text.len() > opened {
        text.push(',');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::super::arbitrary::{self, document, tree};
    use super::super::{Document, Json, Operation, Patch, Pointer};
    use super::*;

    /// The meaning of a patch, one operation after the other on a tree.
    fn reference(mut root: Value, patch: &Patch) -> Value {
        for operation in patch.operations() {
            let mut names: Vec<_> = operation.path().segments().collect();
            let value = operation.value().map(|value| value.decode::<Value>().unwrap());
            let Some(last) = names.pop() else {
                match value {
                    Some(Value::Object(object)) => root = Value::Object(object),
                    Some(_) => {}
                    None => root = json!({}),
                }
                continue;
            };
            match value {
                Some(value) => {
                    let parent = names
                        .iter()
                        .fold(&mut root, |at, name| object(at).entry(&**name).or_insert(Value::Null));
                    object(parent).insert(last.into_owned(), value);
                }
                None => {
                    let parent =
                        names.iter().try_fold(&mut root, |at, name| at.as_object_mut()?.get_mut(&**name));
                    parent.and_then(Value::as_object_mut).and_then(|parent| parent.remove(&*last));
                }
            }
        }
        root
    }

    fn object(value: &mut Value) -> &mut Map<String, Value> {
        if !value.is_object() {
            *value = json!({});
        }
        value.as_object_mut().unwrap()
    }

    fn set(path: &str, value: Value) -> Operation {
        Operation::Set { path: Pointer::parse(path).unwrap(), value: Json::of(&value).unwrap() }
    }

    fn remove(path: &str) -> Operation {
        Operation::Remove { path: Pointer::parse(path).unwrap() }
    }

    #[track_caller]
    fn check(before: &str, patch: impl IntoIterator<Item = Operation>, after: &str) {
        let before = Document::parse(before.as_bytes(), &Default::default()).unwrap();
        assert_eq!(before.apply(&patch.into_iter().collect()).as_str(), after);
    }

    #[test]
    fn members_keep_their_order_and_new_ones_come_last() {
        check(
            r#"{"b":1,"a":2,"c":3}"#,
            [set("/z", json!(9)), set("/a", json!(8)), set("/y", json!(7))],
            r#"{"b":1,"a":8,"c":3,"z":9,"y":7}"#,
        );
        check(r#"{"b":1,"a":2,"c":3}"#, [remove("/b"), remove("/c")], r#"{"a":2}"#);
        check(r#"{"b":1,"a":2}"#, [remove("/b"), remove("/a")], "{}");
        check(r#"{"b":1,"a":2}"#, [remove("/b")], r#"{"a":2}"#);
    }

    #[test]
    fn a_set_makes_the_parents_it_needs() {
        check("{}", [set("/a/b/c", json!(1))], r#"{"a":{"b":{"c":1}}}"#);
        check(r#"{"a":[1]}"#, [set("/a/0", json!(2))], r#"{"a":{"0":2}}"#);
        check(r#"{"a":5}"#, [set("/a/b", json!(1)), remove("/a/b")], r#"{"a":{}}"#);
    }

    #[test]
    fn a_removal_of_what_is_not_there_does_nothing() {
        check(r#"{"a":5}"#, [remove("/a/b"), remove("/b/c")], r#"{"a":5}"#);
    }

    #[test]
    fn a_later_operation_sees_what_an_earlier_one_did() {
        check("{}", [set("/a", json!({"b": 1, "c": 2})), remove("/a/b")], r#"{"a":{"c":2}}"#);
        check(r#"{"a":{"b":1}}"#, [set("/a/b", json!(2)), set("/a", json!({"c": 3}))], r#"{"a":{"c":3}}"#);
        check(r#"{"a":{"b":1}}"#, [remove("/a"), set("/a/c", json!(3))], r#"{"a":{"c":3}}"#);
    }

    #[test]
    fn the_root_is_always_an_object() {
        check(r#"{"a":1}"#, [remove("")], "{}");
        check(r#"{"a":1}"#, [set("", json!([1]))], r#"{"a":1}"#);
        check(r#"{"a":1}"#, [set("", json!({"b": 2})), set("/c", json!(3))], r#"{"b":2,"c":3}"#);
    }

    #[test]
    fn a_path_deeper_than_any_document_does_nothing() {
        let deep = (0..=DEPTH_MAX).fold(Pointer::root(), |pointer, _| pointer.join("a"));
        check("{}", [Operation::Set { path: deep, value: Json::null() }], "{}");
    }

    #[test]
    fn a_very_wide_patch_is_done_in_one_pass() {
        let wide: Vec<_> = (0..100_000).map(|n| set(&format!("/{n}"), Value::Null)).collect();
        let document = Document::default().apply(&wide.iter().cloned().collect());
        assert_eq!(document.members().count(), wide.len());
        assert_eq!(document.apply(&wide.into_iter().rev().collect()), document);
    }

    proptest! {
        #[test]
        fn a_patch_does_what_its_operations_do_one_by_one(before in arbitrary::object(), patch in arbitrary::patch()) {
            let after = document(&before).apply(&patch);

            prop_assert_eq!(tree(after.as_str()), reference(before, &patch));
        }

        #[test]
        fn a_document_grows_by_no_more_than_the_patch_says(before in arbitrary::object(), patch in arbitrary::patch()) {
            let before = document(&before);
            prop_assert!(before.apply(&patch).len() <= before.len() + patch.growth());
        }

        #[test]
        fn text_of_any_kind_is_edited_without_a_panic(text in r#"[\[\]{},:"\\a1é]{0,24}"#, patch in arbitrary::patch()) {
            let text = Document::trusted(&format!("{{{text}"));
            let _ = text.apply(&patch);
        }
    }
}
